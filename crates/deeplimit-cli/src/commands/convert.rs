//! `deeplimit convert`: a pretrained residual network becomes flows.

use super::import::write;
use crate::{Outcome, imported};
use anyhow::Result;
use deeplimit_nn::network::Evaluator;
use serde::Serialize;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    /// Imported weights, or a checkpoint of PyTorch.
    weights: PathBuf,
    /// The file to write; must not exist yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Folder of the data set, to tell what conversion alone does to the accuracy.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Converted {
    architecture: String,
    out: PathBuf,
    /// Steps of each stage's flow.
    depths: Vec<usize>,
    /// In 0 … 1, of the network as it was and of its flows; null without data.
    accuracy: Option<[f64; 2]>,
    samples: Option<usize>,
    part: Option<&'static str>,
}

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let original = imported::read(&arguments.weights)?;
    let file = original.converted_file()?;
    let mut converted = Converted {
        architecture: original.architecture().to_string(),
        out: arguments.out.clone(),
        depths: original.architecture().flows()?.stage.iter().map(|stage| stage.depth).collect(),
        accuracy: None,
        samples: None,
        part: None,
    };
    if let Some(folder) = &arguments.data {
        let splits = imported::data(&original, folder)?;
        let evaluator = original.converted(splits.train.shape())?.evaluator();
        if let Some((part, samples)) = imported::part(&splits) {
            let accuracy = |rectified: bool| -> Result<f64> {
                let reach = if rectified { Evaluator::reach_rectified } else { Evaluator::reach };
                let (score, _) = imported::outputs(&evaluator, &splits, samples, reach)?;
                Ok(score.hits as f64 / score.samples as f64)
            };
            converted.accuracy = Some([accuracy(true)?, accuracy(false)?]);
            (converted.samples, converted.part) = (Some(samples.len()), Some(part));
        }
    }
    write(&arguments.out, &file.to_bytes()?)?;
    super::print(&match arguments.json {
        true => serde_json::to_string(&converted)?,
        false => converted.told(),
    })?;
    Ok(Outcome::Success)
}

impl Converted {
    fn told(&self) -> String {
        let (depths, out) = (super::listed(&self.depths, " + "), self.out.display());
        let mut text = format!("{}: flows of {depths} steps\n", self.architecture);
        if let (Some([before, after]), Some(samples)) = (self.accuracy, self.samples) {
            let part = self.part.unwrap_or_default();
            text += &format!(
                "accuracy on {samples} {part} samples: {:.2} % as it was, {:.2} % as flows\n",
                100.0 * before,
                100.0 * after
            );
        }
        text + &format!(
            "written to {out}; next\n  deeplimit diagnose {out}\n  deeplimit train --init {out} --data DIR --set gradient.method=checkpoint"
        )
    }
}
