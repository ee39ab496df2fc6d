//! A line of the table of results.

use super::transfer::Start;
use serde::{Deserialize, Serialize};

/// What a row is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Accuracy of the network as it was.
    #[default]
    Original,
    /// Accuracy of its flows.
    Converted,
    /// A step of a fine-tuning.
    Step,
    /// A fine-tuning.
    Tuned,
    /// One gradient.
    Gradient,
    /// Accuracy of flows of more steps.
    Carried,
    /// A step of a training of deep flows.
    DeepStep,
    /// A training of deep flows.
    Deep,
    /// A step of a training on other images.
    TransferStep,
    /// A training on other images.
    Transfer,
}

/// A measured network, gradient or step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub kind: Kind,
    /// The gradient method with its settings.
    pub method: String,
    /// What normalisations go by in training.
    pub statistics: String,
    /// How weights were carried to this depth.
    pub by: String,
    /// What weights a training on other images begins with.
    pub start: Option<Start>,
    /// Steps of each flow.
    pub depths: String,
    /// Steps of all flows.
    pub blocks: usize,
    /// Steps of the optimisation.
    pub step: Option<usize>,
    /// Per cent of held-out images.
    pub accuracy: Option<f64>,
    /// Mean over the images of this step's or gradient's batch.
    pub loss: Option<f64>,
    /// Means over the first and the last tenth of the steps.
    pub first_loss: Option<f64>,
    pub last_loss: Option<f64>,
    /// The certificate's estimate of the relative gradient error: the worst flow's, and of a training the
    /// median over its steps; 0 for exact methods, none where it is no number.
    pub estimate: Option<f64>,
    /// Relative error of the recovered states, likewise.
    pub state_error: Option<f64>,
    /// Share of the layers that were walked again, mean over flows and steps.
    pub again: Option<f64>,
    /// Seconds of training, or of the gradient on one thread.
    pub seconds: Option<f64>,
    /// Most bytes that one gradient on one thread has allocated at any time, beyond the gradient itself.
    pub peak_bytes: Option<usize>,
    /// Of them those that the method states that it keeps.
    pub tape_bytes: Option<usize>,
    /// Bytes that one image more takes at the peak.
    pub image_bytes: Option<usize>,
    /// Bytes of the parameters, and of their gradient.
    pub parameter_bytes: Option<usize>,
    /// Images of the gradient.
    pub images: Option<usize>,
    /// The step at which the training left the numbers, if it did.
    pub diverged_at: Option<usize>,
}
