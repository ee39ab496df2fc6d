//! `deeplimit import` and `deeplimit export`.

use crate::imported::{self, Choice, Normalised, Trial};
use crate::{Outcome, new_file};
use anyhow::{Context, Result, bail};
use deeplimit_nn::network::WeightsFile;
use deeplimit_nn::pretrained::{Pretrained, PretrainedError};
use deeplimit_nn::train::read_weights;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Import {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    choice: Choice,
    /// Folder of a data set, on whose held-out samples the usual normalisations of inputs are tried; the best is
    /// kept, where none is given.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(clap::Args)]
pub struct Export {
    #[command(flatten)]
    files: Files,
    /// Of several networks in the file, that which lies under a name, such as model_ema.
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
}

#[derive(clap::Args)]
struct Files {
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
    /// How inputs are normalised; null for the weights of a run.
    normalisation: Option<Normalised>,
    /// What the file does not tell, and is taken for granted.
    assumed: Vec<String>,
    /// The best first; empty without data.
    tried: Vec<Trial>,
    #[serde(skip)]
    next: &'static str,
}

/// What a file holds.
enum Found {
    Pretrained(Box<Pretrained>),
    OwnRun(WeightsFile),
}

impl Found {
    fn read(path: &Path, choice: &Choice) -> Result<Self> {
        let own = match path.is_dir() {
            true => Some(super::train::weights_of(path, None)?),
            false => imported::is_own(path).then(|| path.to_owned()),
        };
        let Some(path) = own else {
            let network = imported::read_as(path, choice);
            return Ok(Self::Pretrained(Box::new(with_hint(network, path)?)));
        };
        if let Some(option) = choice.given() {
            bail!("{option} is of networks trained elsewhere; leave it out with weights of a run");
        }
        let (file, ..) = read_weights(&path)?;
        file.check().with_context(|| path.display().to_string())?;
        Ok(Self::OwnRun(file))
    }

    fn write(&self, out: &Path) -> Result<()> {
        new_file::write_by(OUT, out, |path| match self {
            Self::Pretrained(network) => network.write_to(path),
            Self::OwnRun(file) => file.write_to(path),
        })
    }

    fn written<'p>(&self, files: &'p Files, tried: Vec<Trial>, next: &'static str) -> Written<'p> {
        let (architecture, parameters, tensors) = match self {
            Self::Pretrained(network) => {
                let name = network.architecture().to_string();
                (Some(name), network.parameters(), network.tensors().len())
            }
            Self::OwnRun(weights) => (None, weights.parameters(), weights.tensors().count()),
        };
        let (normalisation, assumed) = match self {
            Self::Pretrained(network) => (Some(Normalised::of(network)), network.assumed()),
            Self::OwnRun(_) => (None, Vec::new()),
        };
        let Files { file, out, .. } = files;
        Written {
            file,
            out,
            architecture,
            parameters,
            tensors,
            normalisation,
            assumed,
            tried,
            next,
        }
    }
}

/// Weights of a run that have lost their configuration are told from other tensors.
fn with_hint(network: Result<Pretrained>, path: &Path) -> Result<Pretrained> {
    let Err(error) = network else { return network };
    let stages = match error.downcast_ref::<PretrainedError>() {
        Some(PretrainedError::Unrecognised(unknown)) => {
            unknown.unexpected.iter().any(|name| name.starts_with("stages.0."))
        }
        _ => false,
    };
    match stages {
        true => bail!(
            "{}: weights of a run of deeplimit without its configuration, as export writes them; name the run, or \
             its own weights file",
            path.display()
        ),
        false => Err(error),
    }
}

/// Imports a network.
pub fn import(arguments: &Import) -> Result<Outcome> {
    let Import { files, choice, data } = arguments;
    new_file::check(OUT, &files.out)?;
    let mut found = Found::read(&files.file, choice)?;
    let mut tried = Vec::new();
    if let Some(folder) = data {
        let Found::Pretrained(network) = &mut found else {
            bail!(
                "--data tries how inputs are normalised, which the weights of a run tell; leave it out"
            );
        };
        tried = imported::trials(network, choice, folder)?;
        let given = network.knows_inputs();
        if let (Some(best), false) = (tried.first(), given) {
            **network = best.network(network)?;
        }
    }
    found.write(&files.out)?;
    found.written(files, tried, "next: deeplimit convert, evaluate or export").print(files.json)
}

/// Exports a network: its tensors alone, without what deeplimit adds.
pub fn export(arguments: &Export) -> Result<Outcome> {
    let Export { files, key } = arguments;
    new_file::check(OUT, &files.out)?;
    let mut found = Found::read(&files.file, &Choice { key: key.clone(), ..Choice::default() })?;
    if let Found::OwnRun(file) = &mut found {
        file.metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    }
    found.write(&files.out)?;
    let next = match found {
        Found::Pretrained(_) => "load it with safetensors.torch.load_file and load_state_dict",
        Found::OwnRun(_) => {
            "safetensors.torch.load_file gives a dictionary of its tensors; controls are [nodes, …]"
        }
    };
    found.written(files, Vec::new(), next).print(files.json)
}

impl Written<'_> {
    fn print(&self, json: bool) -> Result<Outcome> {
        super::print(&if json { serde_json::to_string(self)? } else { self.told() })?;
        Ok(Outcome::Success)
    }

    fn told(&self) -> String {
        let Self { out, architecture, parameters, tensors, next, .. } = self;
        let name = architecture.as_deref().unwrap_or("weights of a run");
        let mut text = format!("{name}: {parameters} parameters in {tensors} tensors\n");
        if let [best, ..] = &self.tried[..] {
            text += &format!("on {} {} samples, the best first:\n", best.samples, best.part);
            for trial in &self.tried {
                text += &format!("  {trial}\n");
            }
        }
        if let Some(normalised) = &self.normalisation
            && !normalised.assumed
        {
            text += &format!("inputs are normalised by {}\n", normalised.told);
            if let Some(better) = self.tried.first().filter(|best| best.is_better_than(normalised))
            {
                text += &format!("but the best on these samples is {}\n", better.told());
            }
        }
        text += &imported::notes(self.tried.first().map(|best| best.part), &self.assumed);
        text + &format!("written to {}; {next}", out.display())
    }
}
