//! What a diagnosis needs of a network: where a batch enters each flow, and what its loss asks of the
//! flow's end.

use super::flow::AnyFlow;
use super::head::Reader;
use super::map::{self, cut};
use super::{Network, Stage};
use crate::data::Batch;
use deeplimit::gradient::{Backprop, Reversible};
use deeplimit::limit::ScalingError;
use deeplimit::limit::diagnosis::{Diagnosis, DiagnosisError, Scaling};
use deeplimit::{AnyScheme, Method, Rows, seed};

/// Inputs of a network that is to be diagnosed, and what is asked of its outputs.
#[derive(Clone, Copy, Debug)]
pub enum Probe<'b> {
    /// Samples, and the gradient of their mean loss.
    Batch(&'b Batch),
    /// Standard normal inputs and cotangents of the outputs: nothing is known of the data.
    Synthetic {
        /// Samples.
        samples: usize,
        /// Decides them.
        seed: u64,
    },
}

/// A flow that cannot be diagnosed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("flow {stage}: {source}")]
pub struct StageFault {
    /// Which of the network's flows, from the input on.
    pub stage: usize,
    /// Why.
    pub source: DiagnosisError,
}

/// Where a batch enters a flow, and the loss's cotangent where it leaves it.
struct Passage {
    x0: Rows<f32>,
    cotangent: Rows<f32>,
}

impl Network {
    /// Diagnoses every flow, from the input on, in double precision: the trained weights, and the
    /// states and cotangents at its two ends, are widened. A field that normalises does so by the
    /// batch, as in training. One with relu after every step is walked through with it, and diagnosed as
    /// the flow that it is without.
    ///
    /// # Errors
    /// If weights or states are not finite, no gradient reaches a flow, or a normalisation would see one
    /// number a channel; the first such flow is named.
    pub fn diagnose(&self, probe: Probe<'_>) -> Result<Vec<Diagnosis>, StageFault> {
        let samples = match probe {
            Probe::Batch(batch) => batch.len(),
            Probe::Synthetic { samples, .. } => samples,
        };
        if let Some((stage, _)) = self.one_number(samples) {
            return Err(StageFault { stage, source: DiagnosisError::OneNumber });
        }
        let passages = match probe {
            Probe::Batch(batch) => self
                .passages(map::inputs(batch.shape, &batch.inputs), |reader, end| {
                    reader.loss(end, &batch.targets, 0..batch.len()).1
                }),
            Probe::Synthetic { samples, seed } => {
                let width = self.plans().next().expect("a checked network has a stage").input;
                let normal = |seed| {
                    move |row, column| {
                        seed::normal(seed, ((row as u64) << 32) + column as u64) as f32
                    }
                };
                let inputs = Rows::from_fn(samples, width.elements(), normal(seed));
                self.passages(cut(&inputs), |reader, end| {
                    reader.pull_back(end, normal(seed::derive(seed, 1)))
                })
            }
        };
        let stages = self.stages.iter().zip(passages).enumerate();
        let diagnosed = stages.map(|(stage, (own, passage))| {
            let Passage { x0, cotangent } = passage;
            own.diagnose(&x0.cast(), &cotangent.cast())
                .map_err(|source| StageFault { stage, source })
        });
        diagnosed.collect()
    }

    /// Where a batch enters each flow, from the input on; normalisations go by the batch, as in training.
    ///
    /// # Panics
    /// For a batch that [`check_batch`](Self::check_batch) refuses.
    pub fn entering(&self, batch: &Batch) -> Vec<Rows<f32>> {
        if let Err(fault) = self.check_batch(batch.len()) {
            panic!("{fault}");
        }
        let (mut x, mut entered) = (map::inputs(batch.shape, &batch.inputs), Vec::new());
        for (index, stage) in self.stages.iter().enumerate() {
            let (x0, _) = stage.entry(true).forward(&x);
            if index + 1 < self.stages.len() {
                x = cut(&stage.flow(true, None).forward(x0.clone()));
            }
            entered.push(x0);
        }
        entered
    }

    /// There and back, with exact gradients; `ask` gives the cotangent of the last flow's end.
    fn passages(
        &self,
        inputs: Vec<Rows<f32>>,
        ask: impl FnOnce(&Reader, &Rows<f32>) -> Rows<f32>,
    ) -> Vec<Passage> {
        let (mut x, mut walked) = (inputs, Vec::new());
        let mut end = None;
        for stage in &self.stages {
            let map = stage.entry(true);
            let (x0, _) = map.forward(&x);
            let (reached, way_back) = stage.flow(true, None).record(exact(stage), x0.clone());
            walked.push((map, std::mem::replace(&mut x, cut(&reached)), x0, way_back));
            end = Some(reached);
        }
        let end = end.expect("a checked network has a stage");
        let mut cotangent = ask(&self.head.reader(true), &end);
        let mut passages = Vec::new();
        while let Some((map, x, x0, way_back)) = walked.pop() {
            passages.push(Passage { x0, cotangent: cotangent.clone() });
            if !walked.is_empty() {
                let x0_bar = way_back(&cotangent).x0_bar;
                cotangent = map.backward(&x, &x0_bar, true).1.expect("asked for");
            }
        }
        passages.reverse();
        passages
    }
}

impl Stage {
    /// Diagnoses the flow, in double precision.
    fn diagnose(&self, x0: &Rows<f64>, cotangent: &Rows<f64>) -> Result<Diagnosis, DiagnosisError> {
        match self.flow_of(self.control().cast()) {
            AnyFlow::Layer(flow) => Diagnosis::of(&flow, x0, cotangent),
            AnyFlow::ConvBn(flow) => Diagnosis::of(&flow, x0, cotangent),
        }
    }

    /// How the weights vary with depth, in double precision.
    pub(super) fn scaling(&self, x0: &Rows<f64>) -> Result<Scaling, ScalingError> {
        match self.flow_of(self.control().cast()) {
            AnyFlow::Layer(flow) => Scaling::measure(&flow, x0),
            AnyFlow::ConvBn(flow) => Scaling::measure(&flow, x0),
        }
    }
}

/// The exact method of a stage's scheme.
fn exact(stage: &Stage) -> Method {
    match stage.plan().scheme {
        AnyScheme::RungeKutta(_) => Method::Backprop(Backprop),
        AnyScheme::Reversible(_) => Method::Reversible(Reversible),
    }
}
