//! `deeplimit evaluate`.

mod over_depth;

use crate::Outcome;
use crate::trained::Trained;
use anyhow::{Result, bail};
use deeplimit_nn::data::Samples;
use deeplimit_nn::train::Trainer;
use over_depth::{Depth, Sweep};
use serde::Serialize;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    /// Run folder, or a weights file of a run.
    run: PathBuf,
    /// Which weights of a run folder: best by validation (the default where there are such) or last.
    #[arg(long, value_parser = ["best", "last"])]
    weights: Option<String>,
    /// Folder or file of the data set, if it is not where it was.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Depths at which the network is walked instead of its own, such as 8,64,limit: each flow takes that
    /// many steps, or is its neural ODE.
    #[arg(long, value_name = "DEPTHS", value_delimiter = ',')]
    depth: Vec<Depth>,
    /// Relative error a step of the ODE's solver [default: 1e-6].
    #[arg(long, value_name = "ERROR")]
    tolerance: Option<f64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Evaluation {
    weights: PathBuf,
    /// Steps trained.
    step: usize,
    /// "test", or "validation" where the data set has no test samples.
    part: &'static str,
    samples: usize,
    loss: f64,
    /// In 0 … 1; null in regression.
    accuracy: Option<f64>,
}

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let solver = over_depth::solver(&arguments.depth, arguments.tolerance)?;
    let Trained { path, file, config, position } =
        Trained::read(&arguments.run, arguments.weights.as_deref(), arguments.data.as_deref())?;
    let mut trainer = Trainer::scoring(config)?;
    trainer.load_weights(&path, &file, &position)?;
    let Some((part, samples)) = part(&trainer) else {
        bail!("{}: the data set has nothing to evaluate on", path.display());
    };
    if !arguments.depth.is_empty() {
        let mut sweep = Sweep::new(&trainer, path, position.step, part, samples.len())?;
        sweep.walk(&trainer, samples, &arguments.depth, solver)?;
        super::print(&match arguments.json {
            true => serde_json::to_string(&sweep)?,
            false => sweep.to_string(),
        })?;
        return Ok(Outcome::Success);
    }
    let score = trainer.evaluate(samples)?;
    let classes = trainer.splits().train.classes();
    let evaluation = Evaluation {
        weights: path,
        step: position.step,
        part,
        samples: score.samples,
        loss: score.loss,
        accuracy: classes.map(|_| score.hits as f64 / score.samples as f64),
    };
    super::print(&if arguments.json {
        serde_json::to_string(&evaluation)?
    } else {
        let Evaluation { part, samples, loss, accuracy, weights, step } = &evaluation;
        let accuracy = accuracy.map_or(String::new(), |a| format!(", accuracy {:.2} %", 100.0 * a));
        let weights = weights.display();
        format!(
            "{part} loss {loss:.4}{accuracy} on {samples} samples\n{weights} after {step} steps"
        )
    })?;
    Ok(Outcome::Success)
}

/// The test samples, or the validation samples where there are none.
fn part(trainer: &Trainer) -> Option<(&'static str, &Samples)> {
    let splits = trainer.splits();
    let validation = ("validation", &splits.validation);
    match &splits.test {
        Some(test) => Some(("test", test)),
        None => Some(validation).filter(|(_, samples)| !samples.is_empty()),
    }
}
