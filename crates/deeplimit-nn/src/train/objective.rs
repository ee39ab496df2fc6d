//! `[objective]`: what is minimised beside the loss, and whether its steps stay bounded.

use super::config::out_of_range;
use super::{Config, ConfigError, Optimiser};
use crate::network::{DepthObjective, PenaltyStep, StagePlan};
use serde::{Deserialize, Serialize};

/// What is minimised beside the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveConfig {
    /// The H¹ penalty on the controls of all flows; none where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<DepthObjective>,
}

impl ObjectiveConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// If a number is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Some(DepthObjective { h1, tau, .. }) = self.depth else { return Ok(()) };
        if !(h1 > 0.0 && h1.is_finite()) {
            let expected = "a number above 0; without a penalty leave out objective.depth";
            return out_of_range("objective.depth.h1", h1, expected);
        }
        if !(tau >= 0.0 && tau.is_finite()) {
            return out_of_range("objective.depth.tau", tau, "at least 0");
        }
        Ok(())
    }
}

impl Config {
    /// Whether explicit steps along the penalty stay bounded, where that is known: `sgd` multiplies a part
    /// of the weights of curvature λ by the roots of z² − (1 + β − η λ) z + β with momentum β, which lie
    /// inside the unit circle for η λ < 2 (1 + β). (Adam divides by the size of the gradient: its steps
    /// are bounded.)
    pub(super) fn check_stability(
        &self,
        stages: &[StagePlan],
        steps_per_epoch: usize,
    ) -> Result<(), ConfigError> {
        let train = &self.train;
        let objective = self.objective.depth.filter(|o| o.step == PenaltyStep::Explicit);
        let Some(objective) = objective.filter(|_| train.optimiser == Optimiser::Sgd) else {
            return Ok(());
        };
        let limit = 2.0 * (1.0 + train.sgd_momentum());
        for (epoch, depths) in self.eras() {
            let rate = train.rate_at(epoch * steps_per_epoch, train.epochs * steps_per_epoch);
            for (stage, (plan, depth)) in stages.iter().zip(depths).enumerate() {
                let plan = StagePlan { depth, ..plan.clone() };
                let curvature = plan.largest_curvature(&objective) + train.weight_decay;
                let product = rate * curvature;
                if product >= limit {
                    return Err(ConfigError::Unstable { stage, depth, epoch, product, limit });
                }
            }
        }
        Ok(())
    }
}
