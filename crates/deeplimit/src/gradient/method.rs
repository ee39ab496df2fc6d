//! The registry of gradient methods, and a value that is one of them.

use super::{
    Adjoint, AdjointTape, Backprop, BackpropTape, Checkpoint, CheckpointTape, Evidence,
    GradientMethod, Predictor, Reversible, ReversibleTape, Sweeps, Turn,
};
use crate::scheme::AnyScheme;
use crate::scheme::reversible::AnyReversible;
use crate::{Bytes, Field, Flow};
use std::str::FromStr;

/// A gradient method of the registry, with its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Keeps every linearised step.
    Backprop(Backprop),
    /// Keeps some states.
    Checkpoint(Checkpoint),
    /// Recovers the states backwards.
    Adjoint(Adjoint),
    /// Recovers the states by the scheme's exact inverse.
    Reversible(Reversible),
}

/// A line of the registry.
pub struct Entry {
    /// Name in configurations.
    pub name: &'static str,
    /// What it is, in a few words.
    pub summary: &'static str,
    /// The method with its default settings.
    pub method: Method,
}

/// Tolerance of `adjoint-adaptive` where none is given.
const TOLERANCE: f64 = 1e-3;

/// Most evaluations a layer of `adjoint-adaptive`.
const MOST_EVALUATIONS: usize = 4;

const fn adjoint(predictor: Predictor, sweeps: Sweeps, refine: bool) -> Method {
    Method::Adjoint(Adjoint { predictor, sweeps, refine, anchors: None, tolerance: None })
}

/// Every gradient method that a configuration can name, with its defaults.
pub const REGISTRY: [Entry; 8] = [
    Entry {
        name: "backprop",
        summary: "keeps every linearised step; exact",
        method: Method::Backprop(Backprop),
    },
    Entry {
        name: "checkpoint",
        summary: "keeps some states, walks to the others again; exact",
        method: Method::Checkpoint(Checkpoint { segments: None, slots: None }),
    },
    Entry {
        name: "adjoint-published",
        summary: "step with -h (Sander, Ablin, Peyré 2022); order 1 (Heun 3)",
        method: adjoint(Predictor::None, Sweeps::Fixed(2), false),
    },
    Entry {
        name: "adjoint-corrected",
        summary: "the same, refined by the pull-back's own evaluation; order 2 (Heun 4)",
        method: adjoint(Predictor::None, Sweeps::Fixed(2), true),
    },
    Entry {
        name: "adjoint-predicted",
        summary: "extrapolated increments, one evaluation; order 3 on smooth weights",
        method: adjoint(Predictor::Extrapolation(2), Sweeps::Fixed(1), true),
    },
    Entry {
        name: "adjoint-learned",
        summary: "fitted increments, two evaluations; order 4 smooth, 2 rough",
        method: adjoint(Predictor::Learned(2), Sweeps::Fixed(2), true),
    },
    Entry {
        name: "adjoint-adaptive",
        summary: "fitted increments, evaluations until a tolerance is met",
        method: adjoint(
            Predictor::Learned(2),
            Sweeps::UntilWithin { tolerance: TOLERANCE, most: MOST_EVALUATIONS },
            true,
        ),
    },
    Entry {
        name: "reversible",
        summary: "the scheme's exact inverse, where it has one; exact but for rounding",
        method: Method::Reversible(Reversible),
    },
];

/// A gradient method and a scheme that do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gradient method {method} does not walk {scheme} steps back; {instead}")]
pub struct Misfit {
    /// The method, or the family that it belongs to.
    pub method: &'static str,
    /// The scheme.
    pub scheme: String,
    /// What to do.
    pub instead: String,
}

impl Method {
    /// Its name, or that of its family.
    fn family(&self) -> &'static str {
        match self {
            Self::Backprop(_) => "backprop",
            Self::Checkpoint(_) => "checkpoint",
            Self::Adjoint(_) => "adjoint",
            Self::Reversible(_) => "reversible",
        }
    }

    /// Its name in the registry, whatever its settings; of a formula's adjoint the family's.
    pub fn name(&self) -> &'static str {
        let alike = |entry: &&Entry| match (entry.method, *self) {
            (Self::Adjoint(known), Self::Adjoint(own)) => {
                let sweeps = match (known.sweeps, own.sweeps) {
                    (Sweeps::UntilWithin { .. }, Sweeps::UntilWithin { .. }) => true,
                    (known, own) => known == own,
                };
                sweeps && (known.predictor, known.refine) == (own.predictor, own.refine)
            }
            (known, own) => std::mem::discriminant(&known) == std::mem::discriminant(&own),
        };
        REGISTRY.iter().find(alike).map_or(self.family(), |entry| entry.name)
    }

    /// Whether the method walks the steps of a scheme back: `reversible` those with an exact
    /// inverse, the others those of a tableau.
    ///
    /// # Errors
    /// If it does not; the error names both.
    pub fn fits(&self, scheme: &AnyScheme) -> Result<(), Misfit> {
        let instead = match (self, scheme) {
            (Self::Reversible(_), AnyScheme::RungeKutta(_)) => {
                let known = AnyReversible::ALL.map(|scheme| scheme.to_string()).join(", ");
                format!("it needs a scheme with an exact inverse: {known}")
            }
            (Self::Reversible(_), _) | (_, AnyScheme::RungeKutta(_)) => return Ok(()),
            (_, AnyScheme::Reversible(_)) => "use the method reversible".to_owned(),
        };
        Err(Misfit { method: self.family(), scheme: scheme.to_string(), instead })
    }
}

/// A name that is no gradient method.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "unknown gradient method {name:?}; known are {known}, and formulas such as P1C2, AR2C1, APC(1e-4)"
)]
pub struct UnknownMethod {
    /// The name asked for.
    pub name: String,
    known: String,
}

impl FromStr for Method {
    type Err = UnknownMethod;

    /// Reads a name of the registry, or a formula: `P<k>C<m>` (extrapolation of order k,
    /// m evaluations), `AR<K>C<m>` (learned on K differences), `APC(<tolerance>)`.
    fn from_str(name: &str) -> Result<Self, UnknownMethod> {
        let entry = REGISTRY.iter().find(|entry| entry.name == name);
        entry.map(|entry| entry.method).or_else(|| formula(name)).ok_or_else(|| UnknownMethod {
            name: name.to_owned(),
            known: REGISTRY.map(|entry| entry.name).join(", "),
        })
    }
}

/// Reads `P1C2`, `AR2C1`, `APC(1e-4)`.
fn formula(text: &str) -> Option<Method> {
    if let Some(tolerance) = text.strip_prefix("APC(").and_then(|t| t.strip_suffix(')')) {
        let tolerance: f64 = tolerance.parse().ok().filter(|t: &f64| *t > 0.0 && t.is_finite())?;
        let sweeps = Sweeps::UntilWithin { tolerance, most: MOST_EVALUATIONS };
        return Some(adjoint(Predictor::Learned(2), sweeps, true));
    }
    let learned = text.strip_prefix("AR");
    let (order, evaluations) = learned.or_else(|| text.strip_prefix('P'))?.split_once('C')?;
    let (order, evaluations): (usize, usize) = (order.parse().ok()?, evaluations.parse().ok()?);
    let predictor = match (learned, order) {
        (Some(_), 0) => return None,
        (Some(_), size) => Predictor::Learned(size),
        (None, 0) => Predictor::None,
        (None, order) => Predictor::Extrapolation(order),
    };
    (evaluations > 0).then(|| adjoint(predictor, Sweeps::Fixed(evaluations), true))
}

/// The tape of whichever method it is.
pub enum MethodTape<F: Field> {
    /// Of backprop.
    Backprop(BackpropTape<F>),
    /// Of checkpointing.
    Checkpoint(CheckpointTape<F::State>),
    /// Of an adjoint.
    Adjoint(AdjointTape<F::State>),
    /// Of an exact inverse.
    Reversible(ReversibleTape<F::State>),
}

impl<F: Field> Bytes for MethodTape<F> {
    fn bytes(&self) -> usize {
        match self {
            Self::Backprop(tape) => tape.bytes(),
            Self::Checkpoint(tape) => tape.bytes(),
            Self::Adjoint(tape) => tape.bytes(),
            Self::Reversible(tape) => tape.bytes(),
        }
    }
}

impl<F: Field> GradientMethod<F> for Method {
    type Tape = MethodTape<F>;

    /// # Panics
    /// If the method does not walk the flow's steps back (see [`Method::fits`]).
    fn record(
        &self,
        flow: &Flow<F>,
        x0: F::State,
        spent: Option<MethodTape<F>>,
    ) -> (F::State, MethodTape<F>) {
        if let Err(misfit) = self.fits(flow.scheme()) {
            panic!("{misfit}");
        }
        match self {
            Self::Backprop(method) => {
                let spent = match spent {
                    Some(MethodTape::Backprop(tape)) => Some(tape),
                    _ => None,
                };
                let (end, tape) = method.record(flow, x0, spent);
                (end, MethodTape::Backprop(tape))
            }
            Self::Checkpoint(method) => {
                let (end, tape) = method.record(flow, x0, None);
                (end, MethodTape::Checkpoint(tape))
            }
            Self::Adjoint(method) => {
                let (end, tape) = method.record(flow, x0, None);
                (end, MethodTape::Adjoint(tape))
            }
            Self::Reversible(method) => {
                let (end, tape) = method.record(flow, x0, None);
                (end, MethodTape::Reversible(tape))
            }
        }
    }

    fn pull_back(
        &self,
        flow: &Flow<F>,
        tape: MethodTape<F>,
        x_bar: &mut F::State,
        sink: &F::Sink<'_>,
        turn: &Turn<'_>,
    ) -> (Evidence, Option<MethodTape<F>>) {
        match (self, tape) {
            (Self::Backprop(method), MethodTape::Backprop(tape)) => {
                let (evidence, spent) = method.pull_back(flow, tape, x_bar, sink, turn);
                (evidence, spent.map(MethodTape::Backprop))
            }
            (Self::Checkpoint(method), MethodTape::Checkpoint(tape)) => {
                (method.pull_back(flow, tape, x_bar, sink, turn).0, None)
            }
            (Self::Adjoint(method), MethodTape::Adjoint(tape)) => {
                (method.pull_back(flow, tape, x_bar, sink, turn).0, None)
            }
            (Self::Reversible(method), MethodTape::Reversible(tape)) => {
                (method.pull_back(flow, tape, x_bar, sink, turn).0, None)
            }
            _ => unreachable!("a tape is pulled back by the method that recorded it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_formulas_are_read() {
        for entry in &REGISTRY {
            assert_eq!(entry.name.parse(), Ok(entry.method));
        }
        assert_eq!("P0C2".parse::<Method>(), "adjoint-corrected".parse());
        assert_eq!("P2C1".parse::<Method>(), "adjoint-predicted".parse());
        assert_eq!("AR2C2".parse::<Method>(), "adjoint-learned".parse());
        assert_eq!("APC(1e-3)".parse::<Method>(), "adjoint-adaptive".parse());
        for wrong in ["", "P", "P1", "PC1", "P1C0", "AR0C2", "APC(-1)", "backprob"] {
            assert!(wrong.parse::<Method>().is_err(), "{wrong}");
        }
    }
}
