//! What `deeplimit diagnose` found of a network: as an object, as text, and as a page.

mod charts;
mod page;
mod text;

pub use page::page;
pub use text::{line, text};

use deeplimit::limit::Diagnosis;
use serde::Serialize;
use std::path::PathBuf;

/// The diagnosis of every flow of a network.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The weights file.
    pub weights: PathBuf,
    /// Steps trained.
    pub step: usize,
    /// What went through the network.
    pub inputs: Inputs,
    /// The flows, from the input on.
    pub flows: Vec<Diagnosis>,
    /// Those of them whose steps have relu behind them, diagnosed as the flows that they are without it.
    pub rectified: Vec<usize>,
}

impl Report {
    /// What is to be said of a flow before all else, where there is something.
    fn caveat(&self, flow: usize) -> Option<&'static str> {
        self.rectified.contains(&flow).then_some(
            "Relu follows every step: this is no flow, and its gradients need checkpoint or backprop. What \
             is said here is said of the flow without relu behind its steps.",
        )
    }
}

/// What went through the network.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Inputs {
    /// Training samples, without augmentation, and the gradient of their mean loss.
    Data {
        /// The data set.
        name: String,
        samples: usize,
    },
    /// Standard normal numbers, as inputs and as cotangents of the outputs.
    Synthetic {
        samples: usize,
        /// Why there were no others.
        reason: String,
    },
}

impl Inputs {
    /// One sentence.
    fn told(&self) -> String {
        match self {
            Self::Data { name, samples } => format!(
                "{samples} training samples of {name}, without augmentation, and the gradient of their \
                 mean loss."
            ),
            Self::Synthetic { samples, reason } => format!(
                "SYNTHETIC: {samples} samples of standard normal numbers as inputs, and standard normal \
                 cotangents of the outputs, because the data set is not there ({reason}). Distances and \
                 errors of real samples may differ; --data DIR takes them."
            ),
        }
    }
}

/// What the settings of a recommended method look like in a configuration.
fn settings(method: &deeplimit::limit::diagnosis::Recommendation) -> String {
    let tolerance = method.tolerance.map(|t| format!("\ntolerance = {t}")).unwrap_or_default();
    format!("[gradient]\nmethod = {:?}{tolerance}", method.method)
}

/// Orders and differences with a true minus sign.
fn signed(value: f64) -> String {
    format!("{value:.2}").replace('-', "−")
}
