//! Exactly reversible schemes: steps on a small set of states that have a closed inverse.
//!
//! The states of every layer come back from the last ones up to rounding, so the gradient is exact
//! in the memory of one layer. The price is that the network itself changes: it is no longer
//! x_{n+1} = x_n + h f(x_n, θ_n).
//!
//! | scheme | states | order | evaluations a step | source |
//! |---|---|---|---|---|
//! | [`Leapfrog`] | x_n, x_{n−1} | 2 | 1 | two-step midpoint rule; Chang et al. 2018 |
//! | [`Momentum`] | x, v | 1 | 1 | Sander, Ablin, Blondel, Peyré 2021 |
//! | [`ReversibleHeun`] | y, z, f(z) | 2 | 1 | Kidger, Foster, Li, Lyons 2021 |
//! | [`AsynchronousLeapfrog`] | x, v | 2 | 1 | Mutze 2013; Zhuang et al. 2021 (MALI) |
//! | [`McCallumFoster`] | y, z | the base's | 2 of the base | McCallum, Foster 2024 |
//!
//! Exact inverses are not stable ones. On x' = −a x every pair carries a second mode that grows
//! like e^{+a s} where the solution decays: on contracting networks the output is that mode
//! ([`Momentum`] excepted, whose inverse instead loses the factor γ^{−N} in precision).
//!
//! # Example
//! ```
//! use deeplimit::prelude::*;
//! use deeplimit::scheme::reversible::{AsynchronousLeapfrog, forward, pull_back};
//!
//! let shape = Mlp { width: 4, hidden: 8, activation: Activation::Tanh };
//! let field = Stacked::<f64, _>::smooth(shape, 101, 1); // 100 steps
//! let x0 = Rows::from_fn(1, 4, |_, column| column as f64 - 1.5);
//!
//! let end = forward(&AsynchronousLeapfrog, &field, &x0);
//! let (mut gradient, x_bar) = (field.zero_gradient(), end[0].clone());
//! let (_, x0_again) = pull_back(&AsynchronousLeapfrog, &field, end, &x_bar, &mut gradient);
//! assert!(x0.distance_squared(&x0_again).sqrt() < 1e-12);
//! ```

mod alf;
mod leapfrog;
mod mccallum_foster;
mod momentum;
mod reversible_heun;

pub use alf::AsynchronousLeapfrog;
pub use leapfrog::Leapfrog;
pub use mccallum_foster::McCallumFoster;
pub use momentum::Momentum;
pub use reversible_heun::ReversibleHeun;

use super::{Scheme, StepTape, Stepper, Work};
use crate::gradient::Due;
use crate::{Field, State};

/// A step with an exact inverse, on a few states of which the first is the network's.
pub trait Reversible: Sync {
    /// The scheme through which the field is read: its increment Φ is what one evaluation gives.
    fn base(&self) -> &Scheme;

    /// Order of accuracy on fields that are smooth in depth.
    fn order(&self) -> usize;

    /// Steps that `nodes` control nodes allow.
    fn steps_for(&self, nodes: usize) -> usize {
        self.base().steps_for(nodes)
    }

    /// The states before step 0.
    fn start<F: Field>(&self, slope: &mut Slope<'_, F>, x0: &F::State) -> Vec<F::State>;

    /// Turns the cotangents of the states before step 0 into that of x_0.
    fn start_pull_back<F: Field>(
        &self,
        slope: &mut Slope<'_, F>,
        x0: &F::State,
        bars: Vec<F::State>,
        sink: &F::Sink<'_>,
    ) -> F::State;

    /// Step `n`.
    fn step<F: Field>(&self, slope: &mut Slope<'_, F>, n: usize, states: &mut [F::State]);

    /// The inverse of step `n`; where an adjoint is given, its pull-back too, which shares the
    /// evaluations: the cotangents of the states go from after to before the step, and the step's
    /// parameter gradient to the sink.
    fn unstep<F: Field>(
        &self,
        slope: &mut Slope<'_, F>,
        n: usize,
        states: &mut [F::State],
        adjoint: Option<(&mut [F::State], &F::Sink<'_>)>,
    );
}

/// The increment Φ of the base scheme at the point where it was evaluated last.
pub struct Slope<'f, F: Field> {
    field: &'f F,
    stepper: Stepper<'f, F>,
    tape: StepTape<F>,
    value: F::State,
    h: f64,
}

impl<'f, F: Field> Slope<'f, F> {
    /// Scratch space for states of the shape of `like`, and steps of size `h`.
    pub fn new(field: &'f F, base: &'f Scheme, h: f64, like: &F::State) -> Self {
        let stepper = Stepper::new(field, base, h, like);
        let tape = stepper.step_tape();
        Self { field, stepper, tape, value: like.scratch(), h }
    }

    /// Step size.
    pub fn h(&self) -> f64 {
        self.h
    }

    /// Work done so far.
    pub fn work(&self) -> Work {
        self.stepper.work
    }

    /// Φ_n(x).
    pub fn at(&mut self, n: usize, x: &F::State) -> &F::State {
        self.stepper.linearize(n, x, &mut self.value, &mut self.tape);
        &self.value
    }

    /// Φ₋ₕ(y), the increment of the step with −h from the end of step `n`.
    fn backward_at(&mut self, n: usize, y: &F::State) -> &F::State {
        self.stepper.linearize_backward(n, y, &mut self.value, &mut self.tape);
        &self.value
    }

    /// `x_bar += factor Φ'ᵀ cotangent` at the point of the last evaluation, which was of step `n`.
    fn pull_back(
        &mut self,
        n: usize,
        factor: f64,
        cotangent: &F::State,
        x_bar: &mut F::State,
        sink: &F::Sink<'_>,
    ) {
        let Self { stepper, tape, .. } = self;
        stepper.pull_back_increment(n, tape, factor, cotangent, x_bar, Some(Due::now(sink)));
    }

    /// The same for f(·, θ_0), which some schemes start with.
    fn first(&self, like: &F::State) -> Slope<'f, F> {
        Slope::new(self.field, &Scheme::EULER, self.h, like)
    }
}

/// All steps of size h = 1/N from x_0: the states after the last; the first of them is x_N.
///
/// # Panics
/// If the field has too few control nodes for a step.
pub fn forward<F: Field>(scheme: &impl Reversible, field: &F, x0: &F::State) -> Vec<F::State> {
    let (mut slope, steps) = prepare(scheme, field, x0);
    let mut states = scheme.start(&mut slope, x0);
    (0..steps).for_each(|n| scheme.step(&mut slope, n, &mut states));
    states
}

/// Back from the states after the last step to those before the first.
///
/// # Panics
/// If there are no states, or the field has too few control nodes for a step.
pub fn inverse<F: Field>(
    scheme: &impl Reversible,
    field: &F,
    mut states: Vec<F::State>,
) -> Vec<F::State> {
    let (mut slope, steps) = prepare(scheme, field, &states[0]);
    (0..steps).rev().for_each(|n| scheme.unstep(&mut slope, n, &mut states, None));
    states
}

/// Pulls the cotangent of x_N back to that of x_0 through states recovered by the inverse, from
/// those after the last step, and adds ∂loss/∂θ to `gradient`. Also returns the recovered x_0,
/// whose distance from the true one tells how much precision the inverse has lost.
///
/// # Panics
/// If there are no states, or the field has too few control nodes for a step.
pub fn pull_back<F: Field>(
    scheme: &impl Reversible,
    field: &F,
    mut states: Vec<F::State>,
    x_bar: &F::State,
    gradient: &mut F::Gradient,
) -> (F::State, F::State) {
    let (mut slope, steps) = prepare(scheme, field, x_bar);
    let mut bars: Vec<F::State> = states.iter().map(|_| zeros(x_bar)).collect();
    bars[0].copy_from(x_bar);
    let sink = field.open(gradient);
    for n in (0..steps).rev() {
        scheme.unstep(&mut slope, n, &mut states, Some((&mut bars, &sink)));
    }
    let x0 = states.swap_remove(0);
    (scheme.start_pull_back(&mut slope, &x0, bars, &sink), x0)
}

fn prepare<'f, F: Field>(
    scheme: &'f impl Reversible,
    field: &'f F,
    like: &F::State,
) -> (Slope<'f, F>, usize) {
    let steps = scheme.steps_for(field.nodes());
    assert!(steps > 0, "{} control nodes are too few for a step", field.nodes());
    (Slope::new(field, scheme.base(), 1.0 / steps as f64, like), steps)
}

fn zeros<S: State>(like: &S) -> S {
    let mut zeros = like.scratch();
    zeros.set_zero();
    zeros
}

/// Two different states of a few.
fn two<S>(states: &mut [S]) -> (&mut S, &mut S) {
    let (first, rest) = states.split_at_mut(1);
    (&mut first[0], &mut rest[0])
}

#[cfg(test)]
mod tests;
