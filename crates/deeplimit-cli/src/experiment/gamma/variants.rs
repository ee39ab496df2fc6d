//! The problems: the one that is looked at closely, and others of its kind.

use super::data::Set;
use anyhow::Result;
use deeplimit::kernel::Activation;
use deeplimit::objective::variational::{Form, Penalty, Problem};
use std::borrow::Cow;

/// a₃ = a₄.
pub const READOUT: f64 = 0.01;

/// A problem of a set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variant {
    pub name: &'static str,
    pub activation: Activation,
    /// a₁ = a₂.
    pub alpha: f64,
    pub tau: f64,
    /// Numbers a sample, where the set has as many: its first principal components.
    pub width: usize,
}

/// The one that is looked at closely.
pub const BASE: Variant = Variant {
    name: "tanh, α = 0.002, τ = 1",
    activation: Activation::Tanh,
    alpha: 0.002,
    tau: 1.0,
    width: super::data::WIDTH,
};

/// The others; the last needs more starts than the quick size has.
pub const OTHERS: [Variant; 7] = [
    Variant { name: "relu", activation: Activation::Relu, ..BASE },
    Variant { name: "α = 0.008", alpha: 0.008, ..BASE },
    Variant { name: "τ = 0.1", tau: 0.1, ..BASE },
    Variant { name: "τ = 10", tau: 10.0, ..BASE },
    Variant { name: "width 2", width: 2, ..BASE },
    Variant { name: "width 5", width: 5, ..BASE },
    Variant { name: "α = 0.0005", alpha: 0.0005, ..BASE },
];

impl Variant {
    /// Whether σ has a continuous derivative, so that minimisers have an equation and a rate.
    pub fn is_smooth(&self) -> bool {
        self.activation != Activation::Relu
    }

    /// Whether it is another problem than the first, on this set.
    pub fn is_other(&self, set: &Set) -> bool {
        self.width == BASE.width || set.inputs(self.width).is_some()
    }

    /// With the penalty of differences.
    ///
    /// # Errors
    /// If a penalty is out of its range.
    pub fn problem(&self, set: &Set) -> Result<Problem> {
        self.penalised(set, Form::Smooth { tau: self.tau }, self.alpha, READOUT)
    }

    /// With weight decay in its place; of α = 0 without any penalty.
    ///
    /// # Errors
    /// If a penalty is out of its range.
    pub fn decaying(&self, set: &Set, alpha: f64) -> Result<Problem> {
        self.penalised(set, Form::Decay, alpha, if alpha == 0.0 { 0.0 } else { READOUT })
    }

    fn penalised(&self, set: &Set, form: Form, a: f64, readout: f64) -> Result<Problem> {
        let penalty = Penalty { form, weights: a, biases: a, readout, offset: readout };
        let inputs = set.inputs(self.width).map_or(Cow::Borrowed(&set.inputs), Cow::Borrowed);
        let (inputs, targets) = (inputs.into_owned(), set.targets.clone());
        Ok(Problem::new(inputs, targets, self.activation, Activation::Tanh, penalty)?)
    }
}

/// What is wrong with the networks that are measured: nothing, but in the controls of the tests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct World {
    /// The penalty of n layers times n to this power.
    pub power: f64,
    /// Whether the layers of a minimiser are put in another order.
    pub shuffled: bool,
}

/// Nothing is wrong.
pub const RIGHT: World = World { power: 0.0, shuffled: false };
