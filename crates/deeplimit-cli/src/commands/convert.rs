//! `deeplimit convert`: a pretrained residual network becomes flows.

use crate::imported::{self, Choice, Normalised};
use crate::progress::Waiting;
use crate::shell::word;
use crate::trained::first_samples;
use crate::{Outcome, diagnosis, new_file};
use anyhow::{Context, Result, bail};
use deeplimit::limit::Diagnosis;
use deeplimit_nn::data::Part;
use deeplimit_nn::network::Probe;
use deeplimit_nn::pretrained::Stages;
use serde::Serialize;
use std::path::PathBuf;

/// Training samples that a diagnosis walks through the network.
const SAMPLES: usize = 16;

#[derive(clap::Args)]
pub struct Arguments {
    /// Imported weights, or a checkpoint of PyTorch.
    weights: PathBuf,
    /// The file to write; must not exist yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Stages that become flows, all, none, or numbers from 1 such as 1,3; the others stay as they are, with
    /// relu after every sum [default: all]. Pre-activation networks have no such relu, and are flows as they are.
    #[arg(long)]
    stages: Option<Stages>,
    /// Folder of the data set, to tell what conversion alone does to the accuracy, and how near each stage is
    /// to an ODE.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    choice: Choice,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Converted {
    architecture: String,
    /// How inputs are normalised.
    normalisation: Normalised,
    /// What the file does not tell, and is taken for granted.
    assumed: Vec<String>,
    out: PathBuf,
    stages: Vec<Stage>,
    /// Steps of each stage's flow.
    depths: Vec<usize>,
    /// In 0 … 1, of the network as it was and as converted; null without data.
    accuracy: Option<[f64; 2]>,
    samples: Option<usize>,
    part: Option<Part>,
}

/// A stage of the converted network.
#[derive(Serialize)]
struct Stage {
    /// Steps.
    depth: usize,
    /// Whether it became a flow; else relu follows every step.
    flow: bool,
    /// How near the flow is to an ODE, or would be; null without data.
    near: Option<Near>,
}

#[derive(Serialize)]
struct Near {
    /// h L: a step can move two states by so much of their distance.
    step_lipschitz: f64,
    /// The distance to the ODE of the interpolated layers over the size of the states.
    distance: f64,
    /// The gradient method that a diagnosis recommends for the flow.
    method: String,
    #[serde(skip)]
    told: String,
}

impl Near {
    fn of(flow: &Diagnosis) -> Self {
        Self {
            step_lipschitz: flow.jacobians.step_lipschitz,
            distance: flow.function_interpolant.relative,
            method: flow.verdict.method.method.clone(),
            told: diagnosis::line(flow),
        }
    }
}

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    new_file::check("--out", &arguments.out)?;
    let original = imported::read_as(&arguments.weights, &arguments.choice)?;
    if arguments.stages.is_some() && original.architecture().preactivation {
        bail!(
            "--stages: {} has no relu after its sums, so that all its stages are flows as they are; leave it out",
            original.architecture()
        );
    }
    let flows = &arguments.stages.clone().unwrap_or_default();
    let file = original.converted_file(flows)?;
    let config = original.architecture().flows(flows)?;
    let stage = |(depth, flow)| Stage { depth, flow, near: None };
    let stages = config.stage.iter().map(|stage| (stage.depth, !stage.rectified));
    let mut converted = Converted {
        architecture: original.architecture().to_string(),
        normalisation: Normalised::of(&original),
        assumed: original.assumed(),
        out: arguments.out.clone(),
        depths: config.stage.iter().map(|stage| stage.depth).collect(),
        stages: stages.map(stage).collect(),
        accuracy: None,
        samples: None,
        part: None,
    };
    if let Some(folder) = &arguments.data {
        let _waiting = Waiting::new("conversion");
        let splits = imported::data(&original, folder)?;
        let network = |flows: &Stages| original.converted(splits.train.shape(), flows);
        let network = |flows: &Stages| network(flows).with_context(|| folder.display().to_string());
        let batch = first_samples(&splits, SAMPLES, 0)?;
        let diagnoses = network(flows)?.diagnose(Probe::Batch(&batch))?;
        for (stage, flow) in converted.stages.iter_mut().zip(&diagnoses) {
            stage.near = Some(Near::of(flow));
        }
        if let Some((part, samples)) = imported::part(&splits) {
            let part = imported::part_elsewhere(part, splits.test_held_out);
            let accuracy = |flows: &Stages| -> Result<f64> {
                let evaluator = network(flows)?.evaluator();
                let (score, _) = imported::outputs(&evaluator, samples, &splits.normalisation)?;
                Ok(score.hits as f64 / score.samples as f64)
            };
            converted.accuracy = Some([accuracy(&Stages::none())?, accuracy(flows)?]);
            (converted.samples, converted.part) = (Some(samples.len()), Some(part));
        }
    }
    new_file::write_by("--out", &arguments.out, |path| file.write_to(path))?;
    super::print(&match arguments.json {
        true => serde_json::to_string(&converted)?,
        false => converted.told(),
    })?;
    Ok(Outcome::Success)
}

impl Converted {
    fn told(&self) -> String {
        let out = self.out.display();
        let mut text =
            format!("{}, inputs normalised by {}\n", self.architecture, self.normalisation.told);
        for (index, Stage { depth, flow, near }) in self.stages.iter().enumerate() {
            let what = match flow {
                true => format!("a flow of {depth} steps"),
                false => format!("{depth} blocks with relu behind them"),
            };
            let near = match (near, flow) {
                (None, _) => String::new(),
                (Some(near), true) => format!("; {}", near.told),
                (Some(near), false) => format!("; as a flow {}", near.told),
            };
            text += &format!("  stage {}: {what}{near}\n", index + 1);
        }
        if let (Some([before, after]), Some(samples)) = (self.accuracy, self.samples) {
            let part = self.part.map_or_else(String::new, |part| part.to_string());
            text += &format!(
                "accuracy on {samples} {part} samples: {:.2} % as it was, {:.2} % as converted\n",
                100.0 * before,
                100.0 * after
            );
        }
        text += &imported::notes(self.part, &self.assumed);
        let file = word(&self.out);
        text + &format!(
            "written to {out}; next\n  deeplimit diagnose {file}\n  deeplimit train --init {file} --data DIR --set gradient.method=checkpoint"
        )
    }
}
