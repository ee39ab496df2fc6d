//! Gradients that cannot be trusted: what the default method, `auto`, does about them, and what is said of a
//! method that was named.
//!
//! Every flow begins with `adjoint-adaptive` within a tolerance: segments whose certificate exceeds it are
//! walked again with stored steps, so that its gradient is within the tolerance at every step. A flow of
//! which more than half is walked again in a step is walked back by `checkpoint` from the next step on,
//! which then costs less and keeps less. Flows of another depth begin anew. Schemes with an exact inverse are
//! walked back by that, and flows with relu after every step by checkpoints, from the first step on.
//!
//! A method that was named is used whatever its certificates say: the first that says that a gradient is mostly
//! error is reported, once.

use super::Trainer;
use crate::network::StagePlan;
use deeplimit::gradient::{Checkpoint, Choice, Reversible};
use deeplimit::{AnyScheme, Certificate, Method};

/// The method that is chosen while a run learns what its flows allow.
pub const AUTO: &str = "auto";

/// The tolerance of its adjoints where none is given.
pub(super) const TOLERANCE: f64 = 0.01;

/// With a larger share walked again, an adjoint stores most of the flow anyway.
const MOST_AGAIN: f64 = 0.5;

/// An estimate above which a gradient is more error than not.
const MOSTLY_ERROR: f64 = 0.5;

/// A flow whose gradient is mostly error, as its certificate estimates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Doubt {
    /// Its stage.
    pub stage: usize,
    /// The estimate of the relative error; not a number where the states were none.
    pub estimate: f64,
    /// What to do.
    pub instead: &'static str,
}

/// A flow that is walked back by checkpoints from now on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mistrust {
    /// Its stage.
    pub stage: usize,
    /// Share of its layers and samples that had to be walked again.
    pub again: f64,
}

impl Trainer {
    pub(super) fn is_auto(&self) -> bool {
        self.config.gradient.method == AUTO
    }

    /// What each flow is walked back by, as far as is known; `adjoint` is the certified one.
    pub(super) fn auto_choices(&self, adjoint: Method) -> Vec<Choice> {
        let stages = self.network.plans().enumerate();
        let method = |(stage, plan): (usize, &StagePlan)| match plan.scheme {
            AnyScheme::Reversible(_) => Method::Reversible(Reversible),
            _ if plan.rectified || self.position.stored.get(stage) == Some(&true) => {
                Method::Checkpoint(Checkpoint::default())
            }
            _ => adjoint,
        };
        stages.map(|stage| Choice { method: method(stage), tile: None }).collect()
    }

    /// The worst of the flows whose gradient is mostly error, the first time that there are any.
    pub(super) fn learn_doubt(&mut self, certificates: &[Certificate]) -> Option<Doubt> {
        if self.doubted {
            return None;
        }
        let estimates = certificates.iter().map(Certificate::error_estimate).enumerate();
        // What is not a number is not within anything, and worse than all that is.
        let beyond =
            estimates.filter(|(_, estimate)| estimate.is_nan() || *estimate > MOSTLY_ERROR);
        let (stage, estimate) = beyond.max_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs()))?;
        self.doubted = true;
        let instead = match self.choices[stage].method {
            Method::Reversible(_) => {
                "take scheme = \"euler\", whose gradients gradient.method = \"auto\" keeps near the \
                 exact ones, or more depth"
            }
            _ => {
                "take gradient.method = \"auto\", which walks such flows back by checkpoints, or more \
                 depth"
            }
        };
        Some(Doubt { stage, estimate, instead })
    }

    /// Takes in what a step's certificates say; the flows that are not trusted any more.
    pub(super) fn learn_trust(&mut self, certificates: &[Certificate]) -> Vec<Mistrust> {
        let choices = self.choices.iter().zip(certificates).enumerate();
        let mistrusted = choices.filter_map(|(stage, (choice, certificate))| {
            let again = certificate.again;
            let by_adjoint = matches!(choice.method, Method::Adjoint(_));
            (by_adjoint && again > MOST_AGAIN).then_some(Mistrust { stage, again })
        });
        let mistrusted: Vec<Mistrust> = mistrusted.collect();
        for Mistrust { stage, .. } in &mistrusted {
            self.position.stored.resize(self.choices.len(), false);
            self.position.stored[*stage] = true;
            self.choices[*stage].method = Method::Checkpoint(Checkpoint::default());
        }
        mistrusted
    }
}
