//! Fields: the residual functions f(x, θ_n), with hand-written pull-backs.
//!
//! [`Field`] is what the algorithms over depth see. On the CPU a field is a [`Layer`] (the formula
//! of one layer) put on a depth-stacked [`Control`](crate::control::Control) by [`Stacked`], which does
//! once for all layers what concerns depth: reading the control at and between nodes, and adding
//! gradients to it.

mod any;
mod chain;
mod conv;
mod conv_bn;
mod dense;
mod exposure;
mod linear;
mod mlp;
mod parameters;
mod rectify;
mod stacked;
mod statistics;
mod tiled;
mod windows;

pub use any::{AnyLayer, AnyTape, LayerName};
pub use chain::{Chain, ChainTape, Link, LinkMap};
pub use conv::{Conv, ConvTape};
pub use conv_bn::{ConvBn, ConvBnLayer, Order};
pub use dense::{Dense, DenseTape};
pub use exposure::{Apart, Kinks};
pub use linear::Linear;
pub use mlp::{Mlp, MlpTape};
pub use parameters::{NodeGradient, Sink};
pub use stacked::{Layer, Stacked};
pub use statistics::{LayerStatistics, Statistics};
pub use tiled::Tiled;

use crate::control::Position;
use crate::gradient::Due;
use crate::kernel::Bend;
use crate::{Heap, State};

/// The residual function f(·, θ(s)) on one tile of states.
///
/// A field whose batch is cut into tiles must not start parallel work of its own: tiles wait for
/// one another in order, and a thread that waits for its own pool would wait for ever.
///
/// The pair [`linearize`](Field::linearize), [`pull_back`](Field::pull_back) works on a *tape*:
/// what one evaluation leaves behind for its transposed Jacobian.
pub trait Field: Sync {
    /// Whether states are kept in single precision (the learned predictor regularises by it).
    const SINGLE_PRECISION: bool;

    /// Activations of a tile.
    type State: State;

    /// What `linearize` keeps for one evaluation.
    type Tape: Send;

    /// ∂loss/∂θ for all nodes.
    type Gradient: Send;

    /// A gradient opened for adding, from several threads, at one node at a time.
    type Sink<'g>: Sync;

    /// Number of control nodes.
    fn nodes(&self) -> usize;

    /// An empty tape for states of the shape of `like`.
    fn tape(&self, like: &Self::State) -> Self::Tape;

    /// Bytes of the numbers that a tape keeps.
    fn tape_bytes(&self, tape: &Self::Tape) -> usize;

    /// Moves the buffers that only a pull-back needs from a tape that has had its own to the next,
    /// so that a walk back needs them once.
    fn hand_over(&self, _from: &mut Self::Tape, _to: &mut Self::Tape) {}

    /// `out = f(x, θ(position))`. The tape serves as scratch space and is left without meaning.
    fn eval(
        &self,
        position: Position,
        x: &Self::State,
        out: &mut Self::State,
        tape: &mut Self::Tape,
    );

    /// As [`eval`](Field::eval), and keeps on the tape what the pull-back needs.
    fn linearize(
        &self,
        position: Position,
        x: &Self::State,
        out: &mut Self::State,
        tape: &mut Self::Tape,
    );

    /// As [`eval`](Field::eval) and then a step: `next = x + h f(x, θ(position))`.
    fn step(
        &self,
        position: Position,
        x: &Self::State,
        h: f64,
        next: &mut Self::State,
        tape: &mut Self::Tape,
    ) {
        self.eval(position, x, next, tape);
        next.add_to(h, x);
    }

    /// As [`linearize`](Field::linearize) and then a step: `next = x + h f(x, θ(position))`.
    fn linearize_step(
        &self,
        position: Position,
        x: &Self::State,
        h: f64,
        next: &mut Self::State,
        tape: &mut Self::Tape,
    ) {
        self.linearize(position, x, next, tape);
        next.add_to(h, x);
    }

    /// `x_bar += Jᵀ cotangent` and, where one is due,
    /// `gradient += (∂f/∂θ)ᵀ cotangent` at the nodes of `position`; J and ∂f/∂θ as linearised at
    /// `x`, which the caller passes again.
    fn pull_back(
        &self,
        position: Position,
        x: &Self::State,
        tape: &mut Self::Tape,
        cotangent: &Self::State,
        x_bar: &mut Self::State,
        gradient: Option<Due<'_, Self::Sink<'_>>>,
    );

    /// [`pull_back`](Field::pull_back) of a step x + h f(x): `a += h Jᵀ a`, and the gradient of the
    /// cotangent h a. `scratch` may be left with anything.
    fn pull_back_step(
        &self,
        position: Position,
        x: &Self::State,
        tape: &mut Self::Tape,
        h: f64,
        [a, scratch]: [&mut Self::State; 2],
        gradient: Option<Due<'_, Self::Sink<'_>>>,
    ) {
        scratch.set_scaled(h, a);
        self.pull_back(position, x, tape, scratch, a, gradient);
    }

    /// Whether relu follows every step, so that steps are those of no flow (see
    /// [`ConvBn::rectified`]).
    fn is_rectified(&self) -> bool {
        false
    }

    /// Zeros in the shape of the gradient.
    fn zero_gradient(&self) -> Self::Gradient;

    /// Opens a gradient for adding.
    fn open<'g>(&self, gradient: &'g mut Self::Gradient) -> Self::Sink<'g>;

    /// Opens a gradient for adding to zeros: what it holds is forgotten.
    fn open_anew<'g>(&self, gradient: &'g mut Self::Gradient) -> Self::Sink<'g>;

    /// Zeros for the gradients of so many neighbouring nodes, apart from those of all others.
    fn zero_part(&self, nodes: usize) -> Self::Gradient;

    /// Opens a part for adding to zeros, as the gradients of the nodes from `first` on: what it holds is
    /// forgotten.
    fn open_part<'g>(&self, part: &'g mut Self::Gradient, first: usize) -> Self::Sink<'g>;

    /// Adds to the gradient of a node what a part, opened at `first`, holds of it.
    fn add_part(&self, part: &Self::Gradient, first: usize, node: usize, to: &Self::Sink<'_>);

    /// 2-norm of a gradient over all parameters.
    fn gradient_norm(&self, gradient: &Self::Gradient) -> f64;

    /// Samples a tile should hold; `None` where the whole batch must go together (samples see
    /// each other) or tiles would not pay.
    fn tile_samples(&self, like: &Self::State) -> Option<usize>;

    /// How the slopes of f's units change with x (see [`Field::exposure`]); straight where that
    /// cannot be seen.
    fn bend(&self) -> Bend {
        Bend::Straight
    }

    /// After a pull-back at `x`: the squared gradient change that other slopes of the units could make
    /// in this layer, if the true state were as far away from `x` as two states are [`Apart`] (theory of
    /// the certificate in [`gradient::Certificate`](crate::gradient::Certificate)).
    fn exposure(
        &self,
        _position: Position,
        _x: &Self::State,
        _tape: &Self::Tape,
        _apart: Apart<'_, Self::State>,
    ) -> f64 {
        0.0
    }
}

/// A field whose memory is known to the byte, so that a budget can be kept to (see
/// [`gradient::Budget`](crate::gradient::Budget)).
pub trait Accountable: Field<State: Heap, Tape: Heap, Gradient: Heap> {
    /// Bytes that the field itself has come to keep of the walks through it.
    fn remembered(&self) -> usize {
        0
    }

    /// Most bytes that an evaluation or a pull-back asks for and gives back before it returns, besides
    /// its tape and the thread's own scratch space.
    fn passing(&self, _like: &Self::State) -> usize {
        0
    }

    /// Bytes that an opened gradient takes besides the gradient.
    fn sink_heap(&self, sink: &Self::Sink<'_>) -> usize;
}
