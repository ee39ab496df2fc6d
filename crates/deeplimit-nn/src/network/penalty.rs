//! The H¹ penalty on the controls of a network: what a training objective has beside the loss.
//!
//! ```text
//! P = Σ over flows and parameter kinds of h1 ( N Σ_{n ≥ 1} |θ_n − θ_{n−1}|² + τ |θ_0|² )
//! ```
//!
//! after Thorpe, van Gennip 2023; [`DepthPenalty`] has the formulas. Every kind of every flow is
//! penalised, biases included. Of batch normalisations the scale and the shift are penalised in their
//! differences alone, τ = 0: a pull of the scale towards 0 would switch the layer off, whatever the
//! weights before it are. Transitions and the head have no depth, and no penalty. A control in a basis is
//! penalised by its values at the nodes; gradient and proximal step are those of its coefficients.

use super::{Network, Stage, StagePlan};
use deeplimit::control::{Control, DepthPenalty};
use serde::{Deserialize, Serialize};

/// The penalty on all controls of a network, and how training descends along it.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `h1` | 1e-4 | factor of the whole penalty | > 0 |
/// | `tau` | 1 | factor of the squared weights of node 0; 0 leaves constants free | ≥ 0 |
/// | `step` | `proximal` | how it is descended along | `explicit`, `proximal` |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DepthObjective {
    /// Factor of the whole penalty.
    pub h1: f64,
    /// Factor of the squared weights of node 0.
    pub tau: f64,
    /// How training descends along it.
    pub step: PenaltyStep,
}

impl Default for DepthObjective {
    fn default() -> Self {
        Self { h1: 1e-4, tau: 1.0, step: PenaltyStep::Proximal }
    }
}

/// How training descends along the penalty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PenaltyStep {
    /// Its gradient is added to that of the loss, before the optimiser sees it.
    Explicit,
    /// After the optimiser's step with learning rate η, θ ← (I + 2 η h1 A)⁻¹ θ: the proximal step of
    /// plain gradient descent. Behind Adam it is the same step, in the plain metric: Adam's scales are
    /// not in it.
    Proximal,
}

impl StagePlan {
    /// The penalty of each parameter kind of the flow.
    pub fn penalties(&self, objective: &DepthObjective) -> Vec<DepthPenalty> {
        let penalty = |kind: &str| DepthPenalty {
            alpha: objective.h1,
            tau: if self.formula.normalises(kind) { 0.0 } else { objective.tau },
            depth: self.depth,
        };
        self.formula.kinds().iter().map(|kind| penalty(kind.name)).collect()
    }

    /// The largest eigenvalue of the penalty's Hessian over all kinds: an explicit step of gradient
    /// descent with learning rate η is stable if η times it is below 2.
    pub fn largest_curvature(&self, objective: &DepthObjective) -> f64 {
        let sampling = self.sampling();
        let curvature = |penalty: DepthPenalty| match &sampling {
            Some(sampling) => penalty.expanded(sampling).largest_curvature(),
            None => penalty.largest_curvature(self.nodes()),
        };
        self.penalties(objective).into_iter().map(curvature).fold(0.0, f64::max)
    }
}

impl Stage {
    /// Adds the gradient of the penalty at the present control.
    pub(super) fn add_penalty(&self, objective: &DepthObjective, gradient: &mut Control<f32>) {
        let (control, penalties) = (self.control(), self.plan().penalties(objective));
        let kinds = penalties.iter().zip(control.values()).zip(gradient.values_mut());
        for ((penalty, values), gradient) in kinds {
            penalty.add_gradient(control.nodes(), values, gradient);
        }
    }

    fn penalty(&self, objective: &DepthObjective) -> f64 {
        let control = self.control();
        let penalties = self.plan().penalties(objective);
        let kinds = penalties.iter().zip(control.values());
        kinds.map(|(penalty, values)| penalty.value(control.nodes(), values)).sum()
    }
}

impl Network {
    /// The penalty of the present controls.
    pub fn penalty(&self, objective: &DepthObjective) -> f64 {
        self.stages.iter().map(|stage| stage.penalty(objective)).sum()
    }

    /// The proximal step of length `rate` along the penalty.
    pub fn proximal(&mut self, objective: &DepthObjective, rate: f64) {
        for stage in &mut self.stages {
            let (nodes, penalties) = (stage.plan().nodes(), stage.plan().penalties(objective));
            match stage.plan().sampling() {
                None => stage.change_control(|kind, values| {
                    penalties[kind].proximal(nodes, rate, values);
                }),
                Some(sampling) => stage.change_control(|kind, values| {
                    penalties[kind].expanded(&sampling).proximal(rate, values);
                }),
            }
        }
    }
}
