//! Exactly reversible schemes: steps on a small set of states that have a closed inverse.
//!
//! The states of every layer come back from the last ones up to rounding, so the gradient is exact
//! in the memory of one layer: a [`Flow`](crate::Flow) built on such a scheme is walked back by the
//! gradient method `reversible` ([`gradient::Reversible`](crate::gradient::Reversible)). The price is
//! that the network itself changes: it is no longer x_{n+1} = x_n + h f(x_n, θ_n).
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
mod any;
mod leapfrog;
mod mccallum_foster;
mod momentum;
mod reversible_heun;

pub use alf::AsynchronousLeapfrog;
pub use any::AnyReversible;
pub use leapfrog::Leapfrog;
pub use mccallum_foster::McCallumFoster;
pub use momentum::Momentum;
pub use reversible_heun::ReversibleHeun;

use super::{Scheme, StepTape, Stepper, Work};
use crate::field::Accountable;
use crate::gradient::Due;
use crate::{Field, Heap, State};

/// A step with an exact inverse, on a few states of which the first is the network's.
///
/// Parameter gradients go to a node when they are due ([`Due`]): those of step `n` to its own node,
/// and the one above where the control is read there; those of the start, which reads node 0 at
/// most, belong to step 0.
pub trait Reversible: Sync {
    /// The scheme through which the field is read: its increment Φ is what one evaluation gives.
    fn base(&self) -> &Scheme;

    /// Order of accuracy on fields that are smooth in depth.
    fn order(&self) -> usize;

    /// Steps that `nodes` control nodes allow.
    fn steps_for(&self, nodes: usize) -> usize {
        self.base().steps_for(nodes)
    }

    /// Control nodes that `steps` steps need.
    fn nodes_for(&self, steps: usize) -> usize {
        self.base().nodes_for(steps)
    }

    /// The states before step 0.
    fn start<F: Field>(&self, slope: &mut Slope<'_, F>, x0: &F::State) -> Vec<F::State>;

    /// Turns the cotangents of the states before step 0 into that of x_0.
    fn start_pull_back<F: Field>(
        &self,
        slope: &mut Slope<'_, F>,
        x0: &F::State,
        bars: Vec<F::State>,
        gradient: Due<'_, F::Sink<'_>>,
    ) -> F::State;

    /// Step `n`.
    fn step<F: Field>(&self, slope: &mut Slope<'_, F>, n: usize, states: &mut [F::State]);

    /// The inverse of step `n`; where an adjoint is given, its pull-back too, which shares the
    /// evaluations: the cotangents of the states go from after to before the step, and the step's
    /// parameter gradient to the nodes when it is due.
    fn unstep<F: Field>(
        &self,
        slope: &mut Slope<'_, F>,
        n: usize,
        states: &mut [F::State],
        adjoint: Option<Cotangents<'_, '_, F>>,
    );
}

/// The cotangents of a scheme's states, and where parameter gradients go when they are due.
pub type Cotangents<'a, 'g, F> = (&'a mut [<F as Field>::State], Due<'a, <F as Field>::Sink<'g>>);

/// The increment Φ of the base scheme at the point where it was evaluated last.
pub struct Slope<'f, F: Field> {
    field: &'f F,
    stepper: Stepper<'f, F>,
    tape: StepTape<F>,
    value: F::State,
    h: f64,
    forward: bool,
    /// The step whose increment the tape was linearised for, walking forward.
    linear: Option<usize>,
}

impl<F: Accountable> Heap for Slope<'_, F> {
    fn heap(&self) -> usize {
        self.stepper.heap() + self.tape.heap() + self.value.heap()
    }
}

impl<'f, F: Field> Slope<'f, F> {
    /// Scratch space for states of the shape of `like`, and steps of size `h`.
    pub fn new(field: &'f F, base: &'f Scheme, h: f64, like: &F::State) -> Self {
        let stepper = Stepper::new(field, base, h, like);
        let tape = stepper.step_tape();
        Self { field, stepper, tape, value: like.scratch(), h, forward: false, linear: None }
    }

    /// For a walk forward, on which nothing is pulled back: evaluations keep nothing for it.
    pub fn forward_only(self) -> Self {
        Self { forward: true, ..self }
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
        if self.forward {
            self.stepper.increment(n, x, &mut self.value);
        } else {
            self.stepper.linearize(n, x, &mut self.value, &mut self.tape);
            self.linear = Some(n);
        }
        &self.value
    }

    /// Makes ready to pull Φ_n(x) back: an evaluation, unless the last one was the same.
    fn stand_at(&mut self, n: usize, x: &F::State) {
        let stands = self.linear == Some(n) && self.tape.state().distance_squared(x) == 0.0;
        if !stands {
            self.at(n, x);
        }
    }

    /// Φ₋ₕ(y), the increment of the step with −h from the end of step `n`.
    fn backward_at(&mut self, n: usize, y: &F::State) -> &F::State {
        if self.forward {
            self.stepper.increment_backward(n, y, &mut self.value);
        } else {
            self.stepper.linearize_backward(n, y, &mut self.value, &mut self.tape);
            self.linear = None;
        }
        &self.value
    }

    /// `x_bar += factor Φ'ᵀ cotangent` at the point of the last evaluation, which was of step `n`.
    fn pull_back(
        &mut self,
        n: usize,
        factor: f64,
        cotangent: &F::State,
        x_bar: &mut F::State,
        gradient: Due<'_, F::Sink<'_>>,
    ) {
        debug_assert!(!self.forward, "nothing was kept for a pull-back");
        let Self { stepper, tape, .. } = self;
        stepper.pull_back_increment(n, tape, factor, cotangent, x_bar, Some(gradient));
    }

    /// The same for f(·, θ_0), which some schemes start with.
    fn first(&self, like: &F::State) -> Slope<'f, F> {
        let first = Slope::new(self.field, &Scheme::EULER, self.h, like);
        Slope { forward: self.forward, ..first }
    }

    /// Takes over the work done elsewhere.
    pub(crate) fn count(&mut self, work: Work) {
        self.stepper.work += work;
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
        scheme.unstep(&mut slope, n, &mut states, Some((&mut bars, Due::now(&sink))));
    }
    let x0 = states.swap_remove(0);
    (scheme.start_pull_back(&mut slope, &x0, bars, Due::now(&sink)), x0)
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

/// A state of the same shape, all zeros.
pub(crate) fn zeros<S: State>(like: &S) -> S {
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
