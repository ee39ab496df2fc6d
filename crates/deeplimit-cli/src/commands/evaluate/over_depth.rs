//! One trained network at many depths, and in its deep limit.

mod text;

use crate::trained::training_batch;
use anyhow::{Result, bail};
use deeplimit_nn::data::{Part, Samples};
use deeplimit_nn::deeplimit::limit::DormandPrince;
use deeplimit_nn::deeplimit::limit::diagnosis::{Finding, Scaling};
use deeplimit_nn::deeplimit::{Rows, State};
use deeplimit_nn::network::{Reached, Score, StagePlan};
use deeplimit_nn::train::Trainer;
use serde::{Serialize, Serializer};
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;

/// A depth to walk at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// So many steps a flow.
    Steps(NonZeroUsize),
    /// The neural ODE of each flow.
    Limit,
}

impl FromStr for Depth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(steps) => Ok(Self::Steps(steps)),
            Err(_) if text == "limit" => Ok(Self::Limit),
            Err(_) => Err("expected a number of steps above 0, or \"limit\"".to_owned()),
        }
    }
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => steps.fmt(f),
            Self::Limit => f.pad("limit"),
        }
    }
}

impl Serialize for Depth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Steps(steps) => steps.serialize(serializer),
            Self::Limit => serializer.serialize_str("limit"),
        }
    }
}

/// Where no tolerance is given.
const TOLERANCE: f64 = 1e-6;

/// Training samples that tell how rough weights are; as many as a diagnosis takes.
const SAMPLES: usize = 64;

/// The solver of the limit, where the limit is asked for.
pub fn solver(depths: &[Depth], tolerance: Option<f64>) -> Result<Option<DormandPrince>> {
    if !depths.contains(&Depth::Limit) {
        if tolerance.is_some() {
            bail!("--tolerance is that of the limit; add limit to --depth, or leave it out");
        }
        return Ok(None);
    }
    let tolerance = tolerance.unwrap_or(TOLERANCE);
    let range = DormandPrince::TOLERANCES;
    if !range.contains(&tolerance) {
        let (least, most) = (range.start(), range.end());
        bail!("--tolerance {tolerance}: out of range, expected {least:e} to {most}");
    }
    Ok(Some(DormandPrince::new(tolerance)))
}

/// A network over depths.
#[derive(Serialize)]
pub struct Sweep {
    weights: PathBuf,
    /// Steps trained.
    step: usize,
    /// "test", or "validation" where the data set has no test samples.
    part: Part,
    samples: usize,
    /// Relative error a step of the limit's solver; null where no limit was solved.
    tolerance: Option<f64>,
    flows: Vec<Trained>,
    depths: Vec<Row>,
}

/// A flow as it was trained.
#[derive(Serialize)]
struct Trained {
    depth: usize,
    scheme: String,
    /// Such as "8 spline coefficients"; null for a value at every node.
    basis: Option<String>,
    /// Why it has no deep limit; null where it has one.
    without_limit: Option<String>,
}

/// The network at one depth.
#[derive(Clone, Serialize)]
struct Row {
    depth: Depth,
    loss: f64,
    /// In 0 … 1; null in regression.
    accuracy: Option<f64>,
    /// For each flow ‖x_N − x(1)‖ / ‖x(1)‖ at its end, x(1) that of the limit, over all samples; null
    /// without a limit, and of the limit itself.
    states: Option<Vec<f64>>,
    /// The same of the outputs.
    outputs: Option<f64>,
    /// Of walking all samples; without reading them.
    milliseconds: f64,
    /// Of each flow's ODE, the evaluations of its field that the limit took; null at a depth.
    evaluations: Option<Vec<usize>>,
}

impl Sweep {
    /// Looks at the flows: whether each has a limit.
    pub fn new(
        trainer: &Trainer,
        weights: PathBuf,
        step: usize,
        part: Part,
        samples: usize,
    ) -> Result<Self> {
        let network = trainer.network();
        if let Some(stage) = network.plans().position(|plan| plan.rectified) {
            bail!(
                "network.stage.{stage}.rectified = true: blocks with relu behind them are no flow, and \
                 have neither other depths nor a limit; leave out --depth"
            );
        }
        let scalings = network.scalings(&training_batch(trainer, SAMPLES)?);
        let trained = |(plan, scaling): (&StagePlan, Option<Finding<Scaling>>)| Trained {
            depth: plan.depth,
            scheme: plan.scheme.to_string(),
            basis: plan.control.map(|expansion| expansion.to_string()),
            without_limit: scaling.and_then(|scaling| match scaling {
                Finding::Known(scaling) => scaling.without_limit(),
                Finding::Unknown { reason, .. } => Some(format!("cannot be told: {reason}")),
            }),
        };
        let flows = network.plans().zip(scalings).map(trained).collect();
        Ok(Self { weights, step, part, samples, tolerance: None, flows, depths: Vec::new() })
    }

    /// Walks all samples at every depth, the limit first.
    pub fn walk(
        &mut self,
        trainer: &Trainer,
        samples: &Samples,
        depths: &[Depth],
        solver: Option<DormandPrince>,
    ) -> Result<()> {
        let solver = solver.filter(|_| self.flows.iter().all(|flow| flow.without_limit.is_none()));
        self.tolerance = solver.map(|solver| solver.tolerance());
        let limit = solver.map(|solver| limit(trainer, samples, solver)).transpose()?;
        for depth in depths {
            let row = match (depth, &limit) {
                (Depth::Steps(steps), limit) => {
                    let ends = limit.as_ref().map(|(_, ends)| &ends[..]);
                    at(trainer, samples, *steps, ends)?
                }
                (Depth::Limit, Some((row, _))) => row.clone(),
                (Depth::Limit, None) => continue,
            };
            self.depths.push(row);
        }
        Ok(())
    }
}

/// The limit, and where each batch comes to in it.
fn limit(
    trainer: &Trainer,
    samples: &Samples,
    solver: DormandPrince,
) -> Result<(Row, Vec<Reached>)> {
    crate::say("the limit");
    let limit = trainer.network().limit(solver);
    let (mut total, mut ends) = (Total::default(), Vec::new());
    let mut evaluations: Vec<usize> = Vec::new();
    for batch in trainer.batches(samples) {
        let batch = batch?;
        let began = Instant::now();
        let (reached, taken) = limit.reach(&batch)?;
        total.add(reached.score(&batch)?, began);
        evaluations.resize(taken.len(), 0);
        evaluations.iter_mut().zip(taken).for_each(|(most, taken)| *most = taken.max(*most));
        ends.push(reached);
    }
    let row = total.row(Depth::Limit, trainer);
    Ok((Row { evaluations: Some(evaluations), ..row }, ends))
}

/// A depth; with the ends of the limit, how far it is from them.
fn at(
    trainer: &Trainer,
    samples: &Samples,
    steps: NonZeroUsize,
    limit: Option<&[Reached]>,
) -> Result<Row> {
    crate::say(&format!("depth {steps}"));
    let evaluator = trainer.network().at_depth(steps.get()).evaluator();
    let (mut total, mut apart) = (Total::default(), Vec::<Apart>::new());
    for (index, batch) in trainer.batches(samples).enumerate() {
        let batch = batch?;
        let began = Instant::now();
        let reached = evaluator.reach(&batch);
        total.add(reached.score(&batch)?, began);
        if let Some(limit) = limit.map(|limit| &limit[index]) {
            let limits = limit.ends.iter().chain([&limit.outputs]);
            let pairs = reached.ends.iter().chain([&reached.outputs]).zip(limits);
            apart.resize_with(reached.ends.len() + 1, Apart::default);
            apart.iter_mut().zip(pairs).for_each(|(apart, (found, limit))| apart.add(found, limit));
        }
    }
    let mut distances: Vec<f64> = apart.iter().map(Apart::relative).collect();
    let outputs = distances.pop();
    let row = total.row(Depth::Steps(steps), trainer);
    Ok(Row { states: outputs.map(|_| distances), outputs, ..row })
}

/// Score and time of some batches.
#[derive(Default)]
struct Total {
    score: Score,
    seconds: f64,
}

impl Total {
    fn add(&mut self, score: Score, began: Instant) {
        self.score.add(&score);
        self.seconds += began.elapsed().as_secs_f64();
    }

    fn row(&self, depth: Depth, trainer: &Trainer) -> Row {
        let Score { loss, hits, samples } = self.score;
        Row {
            depth,
            loss,
            accuracy: trainer.splits().train.classes().map(|_| hits as f64 / samples as f64),
            states: None,
            outputs: None,
            milliseconds: 1e3 * self.seconds,
            evaluations: None,
        }
    }
}

/// Squares of a difference and of what it is relative to.
#[derive(Default)]
struct Apart {
    difference: f64,
    size: f64,
}

impl Apart {
    fn add(&mut self, found: &Rows<f32>, limit: &Rows<f32>) {
        self.difference += found.distance_squared(limit);
        self.size += limit.norm_squared();
    }

    fn relative(&self) -> f64 {
        (self.difference / self.size).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_are_numbers_above_zero_or_the_limit() {
        assert_eq!("8".parse(), Ok(Depth::Steps(NonZeroUsize::new(8).expect("8"))));
        assert_eq!("limit".parse(), Ok(Depth::Limit));
        for text in ["0", "-3", "Limit", "1.5", ""] {
            let error = text.parse::<Depth>().expect_err(text);
            assert!(error.contains("above 0, or \"limit\""), "{error}");
        }
    }

    #[test]
    fn a_tolerance_belongs_to_the_limit_and_has_a_range() {
        let steps = "8".parse().expect("a depth");
        let asked = |depths: &[Depth], tolerance| {
            solver(depths, tolerance).map_err(|error| error.to_string())
        };
        assert_eq!(asked(&[steps], None), Ok(None));
        let limit = asked(&[steps, Depth::Limit], None).expect("a solver").expect("the limit's");
        assert_eq!(limit.tolerance(), TOLERANCE);
        assert!(asked(&[steps], Some(1e-6)).expect_err("no limit").contains("add limit"));
        for tolerance in [0.0, 1e-15, 1.0, f64::NAN, -1.0] {
            let error = asked(&[Depth::Limit], Some(tolerance)).expect_err("out of range");
            assert!(error.contains("expected 1e-13 to 0.1"), "{error}");
        }
    }
}
