//! `deeplimit evaluate`.

mod over_depth;

use crate::Outcome;
use crate::imported;
use crate::trained::Trained;
use anyhow::{Result, bail};
use deeplimit_nn::pretrained::Stages;
use deeplimit_nn::train::{Trainer, write_whole};
use over_depth::{Depth, Sweep};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Arguments {
    /// Run folder, a weights file of a run, or an imported network.
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
    /// Write the outputs of every sample to a table, a row a sample.
    #[arg(long, value_name = "CSV", conflicts_with = "depth")]
    outputs: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Evaluation {
    weights: PathBuf,
    /// Steps trained; null for an imported network.
    step: Option<usize>,
    /// "test", or "validation" where the data set has no test samples.
    part: &'static str,
    samples: usize,
    loss: f64,
    /// In 0 … 1; null in regression.
    accuracy: Option<f64>,
}

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    if imported::is_here(&arguments.run) {
        return of_imported(arguments);
    }
    let solver = over_depth::solver(&arguments.depth, arguments.tolerance)?;
    let Trained { path, file, config, position } =
        Trained::read(&arguments.run, arguments.weights.as_deref(), arguments.data.as_deref())?;
    let mut trainer = Trainer::scoring(config)?;
    trainer.load_weights(&path, &file, &position)?;
    let Some((part, samples)) = imported::part(trainer.splits()) else {
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
    let score = match &arguments.outputs {
        None => trainer.evaluate(samples)?,
        Some(table) => {
            let evaluator = trainer.network().evaluator();
            let found = imported::outputs(&evaluator, trainer.splits(), samples);
            let (score, outputs) = found?;
            write_outputs(table, &outputs)?;
            score
        }
    };
    let classes = trainer.splits().train.classes();
    Evaluation {
        weights: path,
        step: Some(position.step),
        part,
        samples: score.samples,
        loss: score.loss,
        accuracy: classes.map(|_| score.hits as f64 / score.samples as f64),
    }
    .print(arguments.json)
}

/// A network as it was trained elsewhere.
fn of_imported(arguments: &Arguments) -> Result<Outcome> {
    let Arguments { run, weights, data, depth, outputs, tolerance, json } = arguments;
    let name = run.display();
    if weights.is_some() || !depth.is_empty() || tolerance.is_some() {
        bail!(
            "{name}: an imported network has one set of weights and its own depth; convert it first"
        );
    }
    let Some(data) = data else { bail!("{name}: an imported network needs --data DIR") };
    let network = imported::read(run)?;
    let splits = imported::data(&network, data)?;
    let Some((part, samples)) = imported::part(&splits) else {
        bail!("{name}: the data set has nothing to evaluate on");
    };
    let evaluator = network.converted(splits.train.shape(), &Stages::none())?.evaluator();
    let (score, found) = imported::outputs(&evaluator, &splits, samples)?;
    if let Some(table) = outputs {
        write_outputs(table, &found)?;
    }
    Evaluation {
        weights: run.clone(),
        step: None,
        part,
        samples: score.samples,
        loss: score.loss,
        accuracy: Some(score.hits as f64 / score.samples as f64),
    }
    .print(*json)
}

impl Evaluation {
    fn print(&self, json: bool) -> Result<Outcome> {
        super::print(&if json {
            serde_json::to_string(self)?
        } else {
            let Self { part, samples, loss, accuracy, weights, step } = self;
            let accuracy =
                accuracy.map_or(String::new(), |a| format!(", accuracy {:.2} %", 100.0 * a));
            let weights = weights.display();
            let step = step.map_or(", imported".to_owned(), |step| format!(" after {step} steps"));
            format!("{part} loss {loss:.4}{accuracy} on {samples} samples\n{weights}{step}")
        })?;
        Ok(Outcome::Success)
    }
}

/// A table `output0, output1, …`, with as many digits as tell neighbouring numbers apart.
fn write_outputs(path: &Path, outputs: &[Vec<f32>]) -> Result<()> {
    let count = outputs.first().map_or(0, Vec::len);
    let head: Vec<String> = (0..count).map(|index| format!("output{index}")).collect();
    let mut text = head.join(",") + "\n";
    for row in outputs {
        let row: Vec<String> = row.iter().map(f32::to_string).collect();
        text += &(row.join(",") + "\n");
    }
    Ok(write_whole(path, text.as_bytes())?)
}
