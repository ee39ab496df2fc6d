//! The lines of `metrics.jsonl`: one JSON object a training step, and one an epoch.
//!
//! JSON has no NaN and no infinity; serde_json writes both as `null`. Reading turns `null` back
//! into NaN, so that the record of a run that blew up can still be read.

use deeplimit::Certificate;
use deeplimit::gradient::larger;
use serde::{Deserialize, Deserializer, Serialize};

/// The worst of the certificates of a step's flows in one of their numbers.
pub fn worst(certificates: &[Certificate], value: fn(&Certificate) -> f64) -> f64 {
    certificates.iter().map(value).fold(0.0, larger)
}

/// The share of a flow's layers that were walked again, mean over the flows.
pub fn again(certificates: &[Certificate]) -> f64 {
    certificates.iter().map(|certificate| certificate.again).sum::<f64>()
        / certificates.len() as f64
}

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// One optimiser step.
    Step(StepLine),
    /// One pass over the training data.
    Epoch(EpochLine),
}

impl Line {
    /// Steps done when the line was written.
    pub fn step(&self) -> usize {
        match self {
            Self::Step(line) => line.step,
            Self::Epoch(line) => line.step,
        }
    }
}

/// What one training step measured, on its batch and before its update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepLine {
    /// Epoch that the step belongs to.
    pub epoch: usize,
    /// Steps since the start of training.
    pub step: usize,
    /// Steps of each flow.
    #[serde(default)]
    pub depths: Vec<usize>,
    /// Mean loss over the batch, without the penalty.
    #[serde(deserialize_with = "nan_if_null")]
    pub loss: f64,
    /// The penalty of `objective.depth` on the weights before the update; `None` without one.
    #[serde(default)]
    pub penalty: Option<f64>,
    /// Fraction of the batch classified rightly, 0 to 1; `None` in regression.
    pub accuracy: Option<f64>,
    /// Learning rate.
    #[serde(deserialize_with = "nan_if_null")]
    pub rate: f64,
    /// Euclidean norm of the whole gradient, before clipping.
    #[serde(deserialize_with = "nan_if_null")]
    pub gradient_norm: f64,
    /// e of the certificate: ‖x̃ − x‖ / ‖x‖ at x_0, or the largest over the anchors where there are
    /// more; 0 for exact gradient methods.
    #[serde(deserialize_with = "nan_if_null")]
    pub state_error: f64,
    /// D of the certificate, relative to the state; 0 for exact gradient methods.
    #[serde(deserialize_with = "nan_if_null")]
    pub defect: f64,
    /// K of the certificate, of kinks or with a tolerance of curvature, relative to the gradient; `None`
    /// where neither is measured.
    pub kink: Option<f64>,
    /// Layers at which the reconstruction did not contract (h L ≥ 1).
    pub stalled: usize,
    /// Share of the layers and samples that were walked again, because their certificate exceeded
    /// `gradient.tolerance`.
    #[serde(default)]
    pub again: f64,
    /// Cost of the gradient in evaluations of all layers; a pull-back counts 2.
    #[serde(deserialize_with = "nan_if_null")]
    pub cost_units: f64,
    /// Bytes that the gradient method kept between the way forward and the way back.
    pub tape_bytes: usize,
    /// Seconds since the start of training.
    #[serde(deserialize_with = "nan_if_null")]
    pub seconds: f64,
    /// Largest resident memory of the process so far, in megabytes (10⁶ bytes).
    pub peak_mb: Option<f64>,
}

impl StepLine {
    /// Estimate of the relative error of the step's gradient: e + D + K.
    pub fn error_estimate(&self) -> f64 {
        self.state_error + self.defect + self.kink.unwrap_or(0.0)
    }
}

/// What was known at the end of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochLine {
    /// The epoch that ended.
    pub epoch: usize,
    /// Steps done since the start of training.
    pub step: usize,
    /// Steps of each flow in that epoch.
    #[serde(default)]
    pub depths: Vec<usize>,
    /// Mean loss over the epoch's batches, without the penalty.
    #[serde(deserialize_with = "nan_if_null")]
    pub train_loss: f64,
    /// The penalty of `objective.depth` in the epoch's last step; `None` without one.
    #[serde(default)]
    pub penalty: Option<f64>,
    /// Fraction of the training samples classified rightly, 0 to 1; `None` in regression.
    pub train_accuracy: Option<f64>,
    /// Mean loss over the validation data; `None` without such data.
    pub validation_loss: Option<f64>,
    /// Fraction of the validation data classified rightly, 0 to 1.
    pub validation_accuracy: Option<f64>,
    /// Learning rate of the last step.
    #[serde(deserialize_with = "nan_if_null")]
    pub rate: f64,
    /// Seconds since the start of training.
    #[serde(deserialize_with = "nan_if_null")]
    pub seconds: f64,
    /// Largest resident memory of the process so far, in megabytes (10⁶ bytes).
    pub peak_mb: Option<f64>,
}

fn nan_if_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(train_loss: f64) -> Line {
        Line::Epoch(EpochLine {
            epoch: 1,
            step: 10,
            depths: vec![8, 4],
            train_loss,
            penalty: Some(0.125),
            train_accuracy: None,
            validation_loss: Some(0.5),
            validation_accuracy: None,
            rate: 0.1,
            seconds: 2.5,
            peak_mb: None,
        })
    }

    #[test]
    fn a_line_names_its_kind_and_survives_json() {
        let text = serde_json::to_string(&epoch(0.25)).unwrap();
        assert!(text.starts_with(r#"{"kind":"epoch","epoch":1,"#), "{text}");
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), epoch(0.25));
    }

    #[test]
    fn lines_of_runs_before_there_were_depths_and_penalties_can_be_read() {
        let text = serde_json::to_string(&epoch(0.25)).unwrap();
        let old = text.replace(r#""depths":[8,4],"#, "").replace(r#""penalty":0.125,"#, "");
        assert!(old.len() < text.len() - 30, "{text}");
        let Line::Epoch(line) = serde_json::from_str(&old).unwrap() else { panic!("{old}") };
        assert_eq!((line.depths, line.penalty), (vec![], None));
    }

    #[test]
    fn a_loss_that_is_not_a_number_can_be_read_back() {
        let text = serde_json::to_string(&epoch(f64::NAN)).unwrap();
        let Line::Epoch(line) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
        assert!(line.train_loss.is_nan());
    }
}
