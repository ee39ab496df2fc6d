//! `deeplimit import` and `deeplimit export`.

use crate::{Outcome, new_file};
use anyhow::{Context, Result};
use deeplimit_nn::network::WeightsFile;
use deeplimit_nn::pretrained::{Pretrained, PretrainedError};
use deeplimit_nn::train::read_weights;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Arguments {
    /// Checkpoint of PyTorch (.pt, .pth, .th, .tar) or safetensors file of a residual network, or weights of
    /// a run of deeplimit.
    file: PathBuf,
    /// The file to write; must not exist yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The option of the file that is written.
const OUT: &str = "--out";

#[derive(Serialize)]
struct Written<'p> {
    file: &'p Path,
    out: &'p Path,
    /// Null for the weights of a run.
    architecture: Option<String>,
    parameters: usize,
    tensors: usize,
}

/// What a file holds.
enum Found {
    Pretrained(Box<Pretrained>),
    OwnRun(WeightsFile),
}

impl Found {
    fn read(path: &Path) -> Result<Self> {
        if path.is_dir() {
            let path = super::train::weights_of(path, None)?;
            let (file, ..) = read_weights(&path)?;
            return Self::own(file, &path);
        }
        match Pretrained::read(path) {
            Ok(network) => Ok(Self::Pretrained(Box::new(network))),
            // Tensors of no residual network: perhaps they are those of a run. If not, the first error explains.
            Err(error @ PretrainedError::Unrecognised(_)) => match read_weights(path) {
                Ok((file, ..)) => Self::own(file, path),
                Err(_) => Err(error).with_context(|| path.display().to_string()),
            },
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Weights of a run, which must be some.
    fn own(file: WeightsFile, path: &Path) -> Result<Self> {
        file.check().with_context(|| path.display().to_string())?;
        Ok(Self::OwnRun(file))
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Pretrained(network) => network.to_bytes()?,
            Self::OwnRun(file) => file.to_bytes()?,
        })
    }

    fn written<'p>(&self, file: &'p Path, out: &'p Path) -> Written<'p> {
        let (architecture, parameters, tensors) = match self {
            Self::Pretrained(network) => {
                let name = network.architecture().to_string();
                (Some(name), network.parameters(), network.tensors().len())
            }
            Self::OwnRun(weights) => (None, weights.parameters(), weights.tensors().count()),
        };
        Written { file, out, architecture, parameters, tensors }
    }
}

/// Imports a network.
pub fn import(arguments: &Arguments) -> Result<Outcome> {
    new_file::check(OUT, &arguments.out)?;
    let found = Found::read(&arguments.file)?;
    new_file::write(OUT, &arguments.out, &found.bytes()?)?;
    told(arguments, &found, "next: deeplimit convert, evaluate or export")
}

/// Exports a network: its tensors alone, without what deeplimit adds.
pub fn export(arguments: &Arguments) -> Result<Outcome> {
    new_file::check(OUT, &arguments.out)?;
    let mut found = Found::read(&arguments.file)?;
    if let Found::OwnRun(file) = &mut found {
        file.metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    }
    new_file::write(OUT, &arguments.out, &found.bytes()?)?;
    let after = match found {
        Found::Pretrained(_) => "load it with safetensors.torch.load_file and load_state_dict",
        Found::OwnRun(_) => {
            "safetensors.torch.load_file gives a dictionary of its tensors; controls are [nodes, …]"
        }
    };
    told(arguments, &found, after)
}

fn told(arguments: &Arguments, found: &Found, after: &str) -> Result<Outcome> {
    let written = found.written(&arguments.file, &arguments.out);
    super::print(&if arguments.json {
        serde_json::to_string(&written)?
    } else {
        let Written { out, architecture, parameters, tensors, .. } = &written;
        let name = architecture.as_deref().unwrap_or("weights of a run");
        let out = out.display();
        format!("{name}: {parameters} parameters in {tensors} tensors\nwritten to {out}; {after}")
    })?;
    Ok(Outcome::Success)
}
