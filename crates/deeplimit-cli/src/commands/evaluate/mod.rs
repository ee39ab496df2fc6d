//! `deeplimit evaluate`.

mod outputs;
mod over_depth;

use crate::imported::{self, Normalised};
use crate::progress::Waiting;
use crate::trained::{Trained, same_data};
use crate::{Outcome, new_file, run_folder};
use anyhow::{Result, bail};
use deeplimit::limit::DormandPrince;
use deeplimit_nn::data::{Part, Samples, Scored, load, load_scored};
use deeplimit_nn::network::{Outputs, Score};
use deeplimit_nn::pretrained::Stages;
use deeplimit_nn::train::Trainer;
use over_depth::{Depth, Sweep};
use serde::Serialize;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Arguments {
    /// Run folder, a weights file of a run, an imported network, or a checkpoint of PyTorch.
    run: PathBuf,
    /// Which weights of a run folder: best by validation (the default where there are such) or last.
    #[arg(long, value_parser = ["best", "last"])]
    weights: Option<String>,
    /// Another data set, or where the run's own lies now. Classes are matched by name, the columns of a table, too;
    /// a table is evaluated whole, unless it is the run's own.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Evaluate on the run's data though they have changed since.
    #[arg(long, conflicts_with = "data")]
    accept_changed_data: bool,
    /// Depths at which the network is walked instead of its own, such as 8,64,limit: each flow takes that
    /// many steps, or is its neural ODE.
    #[arg(long, value_name = "DEPTHS", value_delimiter = ',')]
    depth: Vec<Depth>,
    /// Relative error a step of the ODE's solver [default: 1e-6].
    #[arg(long, value_name = "ERROR")]
    tolerance: Option<f64>,
    /// Write a table, a row a sample: its number in the data, its label and the class that the network finds, or
    /// its target and the value that the network finds, and the outputs. Must not exist yet.
    #[arg(long, value_name = "CSV", conflicts_with = "depth")]
    outputs: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// The option of the table of outputs.
const OUTPUTS: &str = "--outputs";

#[derive(Serialize)]
struct Evaluation {
    weights: PathBuf,
    /// Steps trained; null for an imported network.
    step: Option<usize>,
    /// "test", or "validation" where the data set has no test samples; "whole" of another table; "held-out" where
    /// a network trained elsewhere may have been trained on them.
    part: Part,
    samples: usize,
    loss: f64,
    /// In 0 … 1; null in regression.
    accuracy: Option<f64>,
    /// Of a network trained elsewhere: how its inputs are normalised, and whether that is assumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    normalisation: Option<Normalised>,
    /// Of such a network: what its file does not tell, and is taken for granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    assumed: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let Arguments { run, weights, data, accept_changed_data, depth, tolerance, outputs, json } =
        arguments;
    if let Some(table) = outputs {
        new_file::check(OUTPUTS, table)?;
    }
    if imported::is_here(run) {
        return of_imported(arguments);
    }
    let solver = over_depth::solver(depth, *tolerance)?;
    let waiting = Waiting::new("evaluation");
    let trained = Trained::read(run, weights.as_deref(), data.as_deref())?;
    run_folder::data_are_there(&trained.config)?;
    if !depth.is_empty() {
        let sweep = over_depths(trained, data.is_some(), depth, solver, *accept_changed_data)?;
        drop(waiting);
        super::print(&if *json { serde_json::to_string(&sweep)? } else { sweep.to_string() })?;
        return Ok(Outcome::Success);
    }
    let scored = match data {
        Some(_) => trained.other_scored()?,
        None => load_scored(&trained.config.data)?,
    };
    let schema = scored.schema();
    let Scored { part, samples, normalisation, .. } = scored;
    let found = [(part, Some(&samples))];
    let (identity, config) = (trained.identity.as_ref(), &trained.config);
    same_data(identity, config, &schema, found, *accept_changed_data)?;
    let network = trained.network(samples.shape(), Outputs::of(&samples))?;
    let scored = imported::outputs(&network.evaluator(), &samples, &normalisation)?;
    let Trained { path, position, .. } = trained;
    let evaluation = Evaluation::of(path, Some(position.step), part, &samples, &scored.0);
    if let Some(table) = outputs {
        outputs::write(table, &samples, &normalisation, &scored.1)?;
    }
    drop(waiting);
    evaluation.print(*json)
}

/// A trained network at several depths; it takes training samples, too, to tell whether it has a limit.
fn over_depths(
    trained: Trained,
    other: bool,
    depths: &[Depth],
    solver: Option<DormandPrince>,
    accept: bool,
) -> Result<Sweep> {
    let (splits, scored) = match other {
        true => (trained.other()?, Some(trained.other_scored()?)),
        false => (load(&trained.config.data)?, None),
    };
    let Trained { path, file, config, position, identity } = trained;
    let used = if splits.test.is_some() { Part::Test } else { Part::Validation };
    let found = [Part::Train, used].map(|part| (part, part.of(&splits)));
    same_data(identity.as_ref(), &config, &splits.schema(), found, accept)?;
    let mut trainer = Trainer::scoring_on(config, splits)?;
    trainer.load_weights(&path, &file, &position)?;
    let of_scored = scored.as_ref().map(|scored| (scored.part, &scored.samples));
    let Some((part, samples)) = of_scored.or_else(|| imported::part(trainer.splits())) else {
        bail!("{}: the data set has nothing to evaluate on", path.display());
    };
    let mut sweep = Sweep::new(&trainer, path, position.step, part, samples.len())?;
    sweep.walk(&trainer, samples, depths, solver)?;
    Ok(sweep)
}

/// A network as it was trained elsewhere.
fn of_imported(arguments: &Arguments) -> Result<Outcome> {
    let Arguments { run, weights, data, depth, outputs, tolerance, json, .. } = arguments;
    let name = run.display();
    if weights.is_some() || !depth.is_empty() || tolerance.is_some() {
        bail!(
            "{name}: an imported network has one set of weights and its own depth; convert it first"
        );
    }
    let Some(data) = data else { bail!("{name}: an imported network needs --data DIR") };
    let waiting = Waiting::new("evaluation");
    let network = imported::read(run)?;
    let Scored { part, held_out, samples, normalisation, .. } = imported::scored(&network, data)?;
    let part = imported::part_elsewhere(part, held_out);
    let evaluator = network.converted(samples.shape(), &Stages::none())?.evaluator();
    let (score, found) = imported::outputs(&evaluator, &samples, &normalisation)?;
    if let Some(table) = outputs {
        outputs::write(table, &samples, &normalisation, &found)?;
    }
    drop(waiting);
    let normalisation = Some(Normalised::of(&network));
    let evaluation = Evaluation::of(run.clone(), None, part, &samples, &score);
    Evaluation { normalisation, assumed: network.assumed(), ..evaluation }.print(*json)
}

impl Evaluation {
    fn of(
        weights: PathBuf,
        step: Option<usize>,
        part: Part,
        samples: &Samples,
        score: &Score,
    ) -> Self {
        let accuracy = samples.classes().map(|_| score.hits as f64 / score.samples as f64);
        let Score { loss, samples, .. } = *score;
        Self {
            weights,
            step,
            part,
            samples,
            loss,
            accuracy,
            normalisation: None,
            assumed: Vec::new(),
        }
    }

    fn print(&self, json: bool) -> Result<Outcome> {
        super::print(&if json {
            serde_json::to_string(self)?
        } else {
            let Self { part, samples, loss, accuracy, weights, step, normalisation, assumed } =
                self;
            let accuracy =
                accuracy.map_or(String::new(), |a| format!(", accuracy {:.2} %", 100.0 * a));
            let weights = weights.display();
            let step = step.map_or(", imported".to_owned(), |step| format!(" after {step} steps"));
            let inputs = normalisation
                .as_ref()
                .map_or(String::new(), |inputs| format!("; inputs normalised by {}", inputs.told));
            let text = format!(
                "{part} loss {loss:.4}{accuracy} on {samples} samples\n{weights}{step}{inputs}\n{}",
                imported::notes(Some(*part), assumed)
            );
            text.trim_end().to_owned()
        })?;
        Ok(Outcome::Success)
    }
}
