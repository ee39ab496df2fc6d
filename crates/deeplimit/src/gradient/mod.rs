//! Gradient methods: how the pull-back of a flow gets the states it needs.
//!
//! | method | keeps | gradient |
//! |---|---|---|
//! | [`Backprop`] | every linearised step | exact |
//! | [`Checkpoint`] | some states | exact |
//! | [`Adjoint`] | x_N, x_0 and a fixed number of states | of a stated order in h, certified |
//! | [`Reversible`] | x_0 and the scheme's last states | exact but for rounding, certified |
//!
//! [`Reversible`] is for flows on a scheme with an exact inverse, the others are for flows on a
//! tableau.
//!
//! A method works on one tile; [`Flow`] runs it on all tiles of a batch. What it
//! keeps between the way forward and the way back is its `Tape`, and a test counts its bytes.

mod adjoint;
mod backprop;
mod budget;
mod certificate;
mod certified;
mod checkpoint;
mod footprint;
mod method;
mod predictor;
mod reversible;
mod revolve;
mod turn;

pub use adjoint::{Adjoint, AdjointTape, Passage, Sweeps};
pub use backprop::{Backprop, BackpropTape};
pub use budget::{BadBudget, Budget, Choice, Plan, Planner, TooSmall, Wish};
pub use certificate::{AnchorError, Certificate, Evidence, larger};
pub use checkpoint::{Checkpoint, CheckpointTape};
pub use footprint::Footprint;
pub use method::{Entry, Method, MethodTape, Misfit, REGISTRY, UnknownMethod};
pub use predictor::Predictor;
pub use reversible::{Reversible, ReversibleTape};
pub(crate) use turn::Gates;
pub use turn::{Due, Turn};

use crate::{Bytes, Field, Flow};

/// A way to get the gradient of a flow, on one tile.
pub trait GradientMethod<F: Field>: Sync {
    /// Exactly what is kept from the way forward to the way back.
    type Tape: Bytes + Send;

    /// Walks x_0 to x_N and keeps what the way back needs, in the memory of a spent tape where
    /// one is given.
    fn record(
        &self,
        flow: &Flow<F>,
        x0: F::State,
        spent: Option<Self::Tape>,
    ) -> (F::State, Self::Tape);

    /// Turns the cotangent of x_N into that of x_0, and adds ∂loss/∂θ to the sink, step by step
    /// downwards, each in its turn. Gives the spent tape back where its memory is worth keeping.
    fn pull_back(
        &self,
        flow: &Flow<F>,
        tape: Self::Tape,
        x_bar: &mut F::State,
        sink: &F::Sink<'_>,
        turn: &Turn<'_>,
    ) -> (Evidence, Option<Self::Tape>);
}
