//! The adjoint method on images, after figures of Sander, Ablin, Peyré (2022) in a size that two cores reach.
//!
//! | part | question |
//! |---|---|
//! | reconstruction | which error has the recovered x_0 at the start, from few layers to thousands? |
//! | gradients | one trained network at other depths: which error has the gradient of each parameter (figure 3c)? |
//! | training | does the adjoint train a flow with h L > 1 (figure 3b)? |

mod findings;
mod gradients;
mod reconstruction;
#[cfg(test)]
mod tests;
mod training;

use super::depth_sweep::paper::{PUBLISHED, images};
use super::{Experiment, Findings, Size};
use crate::page::Text;
use anyhow::Result;
use deeplimit::Scheme;
use deeplimit_nn::data::{Options, Splits};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const SCHEMES: [Scheme; 2] = [Scheme::EULER, Scheme::HEUN];
const BACKPROP: &str = "backprop";
const CORRECTED: &str = "adjoint-corrected";
const ADAPTIVE: &str = "adjoint-adaptive";

/// Whose way back and gradients are measured, the paper's first.
const METHODS: [&str; 3] = [PUBLISHED, CORRECTED, ADAPTIVE];

/// The experiment.
pub struct Images {
    splits: Splits,
    options: Options,
    sizes: Sizes,
    parts: Vec<Part>,
    seed: u64,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The error of the recovered x_0 over depth, at the start.
    Reconstruction,
    /// The gradient's error parameter by parameter, of one trained network at other depths.
    Gradients,
    /// Trainings of a flow with h L > 1.
    Training,
}

/// How much is measured.
#[derive(Clone, Debug, Serialize)]
struct Sizes {
    training_images: usize,
    held_out_images: usize,
    /// reconstruction: the depths of all methods and schemes, and those of the paper's alone; images of the
    /// batch; channels within a block, whose state has four times as many.
    depths: Vec<usize>,
    deeper: Vec<usize>,
    batch: usize,
    planes: usize,
    /// gradients: residual functions of the trained network, and the depths it is given.
    trained: usize,
    resampled: Vec<usize>,
    /// Passes over the training images: gradients; training, few functions; many.
    epochs: [usize; 3],
    /// training: residual functions of the flow with h L > 1, and of that without.
    flows: [usize; 2],
}

/// One measurement.
pub enum Case {
    Reconstruction { scheme: Scheme, depth: usize },
    Gradients { scheme: Scheme },
    Training { depth: usize, method: &'static str },
}

/// A number of a part; nothing where it is no number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    part: Part,
    scheme: String,
    /// Residual functions; of the reconstruction steps.
    depth: usize,
    /// The gradient method.
    method: String,
    /// gradients: the kind of parameters; empty for all of them.
    parameter: String,
    /// reconstruction: relative error of the recovered x_0. gradients: relative errors of the gradients of
    /// single parameters, their median. training: h L after it, of what backprop has trained.
    value: Option<f64>,
    /// gradients: their quartiles.
    quarter: Option<f64>,
    three_quarters: Option<f64>,
    /// training: mean loss of the last epoch, error on held-out images in per cent, median of the last epoch's
    /// error estimates, and whether it left the numbers.
    loss: Option<f64>,
    test_error: Option<f64>,
    estimate: Option<f64>,
    diverged: bool,
}

impl Row {
    fn new(part: Part, scheme: &Scheme, depth: usize, method: &str) -> Self {
        Self {
            part,
            scheme: scheme.name().to_owned(),
            depth,
            method: method.to_owned(),
            parameter: String::new(),
            value: None,
            quarter: None,
            three_quarters: None,
            loss: None,
            test_error: None,
            estimate: None,
            diverged: false,
        }
    }
}

fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}

impl Images {
    /// Reads the images. Only some `parts` are measured, or all where none is named.
    ///
    /// # Errors
    /// If the folder does not hold CIFAR-10.
    pub fn new(data: PathBuf, size: Size, parts: &[Part], seed: u64) -> Result<Self> {
        let powers =
            |from: u32, to: u32| (from..=to).map(|power| 1 << power).collect::<Vec<usize>>();
        let sizes = Sizes {
            training_images: size.pick(2_560, 10_240),
            held_out_images: size.pick(500, 5_000),
            depths: powers(1, size.pick(6, 8)),
            deeper: powers(size.pick(7, 9), size.pick(8, 12)),
            batch: 16,
            planes: 4,
            trained: size.pick(16, 32),
            resampled: size.pick(vec![4, 8, 16], vec![4, 8, 16, 32, 64]),
            epochs: size.pick([2, 16, 4], [6, 6, 6]),
            flows: size.pick([2, 8], [2, 16]),
        };
        Self::of(data, sizes, parts, seed)
    }

    fn of(data: PathBuf, sizes: Sizes, parts: &[Part], seed: u64) -> Result<Self> {
        let options = Options {
            seed,
            ..images(data, Some(sizes.training_images), Some(sizes.held_out_images))
        };
        let splits = deeplimit_nn::data::load(&options)?;
        Ok(Self { splits, options, sizes, parts: parts.to_vec(), seed })
    }
}

impl Experiment for Images {
    type Case = Case;
    type Row = Row;
    type Settings = serde_json::Value;

    const NAME: &'static str = "images";

    fn title(&self) -> (Text, Text) {
        let about = "Three questions of Sander, Ablin, Peyré (2022) to networks of CIFAR-10, in a size that two \
                     cores reach. How well does the way back recover images at the start? How good is the \
                     gradient of each parameter of one trained network, at other depths? And does the adjoint \
                     method train a flow with h L > 1?";
        ("The adjoint method on images".into(), about.into())
    }

    fn settings(&self) -> serde_json::Value {
        serde_json::to_value(&self.sizes).expect("plain data")
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for &depth in &self.sizes.depths {
            let case = |scheme| Case::Reconstruction { scheme, depth };
            cases.extend(SCHEMES.map(case));
        }
        let deeper = self.sizes.deeper.iter();
        cases.extend(deeper.map(|&depth| Case::Reconstruction { scheme: Scheme::EULER, depth }));
        cases.extend(SCHEMES.map(|scheme| Case::Gradients { scheme }));
        for (depth, methods) in training::all(self.sizes.flows) {
            cases.extend(methods.iter().map(|method| Case::Training { depth, method }));
        }
        cases
    }

    fn wanted(&self, case: &Case) -> bool {
        let part = match case {
            Case::Reconstruction { .. } => Part::Reconstruction,
            Case::Gradients { .. } => Part::Gradients,
            Case::Training { .. } => Part::Training,
        };
        self.parts.is_empty() || self.parts.contains(&part)
    }

    fn key(&self, case: &Case) -> String {
        match case {
            Case::Reconstruction { scheme, depth } => format!("reconstruction {scheme} {depth}"),
            Case::Gradients { scheme } => format!("gradients {scheme}"),
            Case::Training { depth, method } => format!("training {depth} {method}"),
        }
    }

    fn measure(&self, case: &Case, scratch: &Path) -> Result<Vec<Row>> {
        match case {
            Case::Reconstruction { scheme, depth } => self.reconstruction(scheme, *depth, None),
            Case::Gradients { scheme } => self.gradients(scheme, scratch),
            Case::Training { depth, method } => self.training(*depth, method, scratch),
        }
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        let shown = findings::Shown { rows, flows: self.sizes.flows };
        Ok(Findings { claims: shown.claims(), sections: shown.sections()? })
    }
}
