//! Backpropagation: every linearised step is kept. Exact, with memory proportional to depth.

use super::{Evidence, GradientMethod, Turn};
use crate::scheme::{StepTape, Stepper, Work};
use crate::{Bytes, Field, Flow};
use std::ops::Range;

/// Keeps every linearised step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backprop;

/// The linearised steps, first to last.
pub struct BackpropTape<F: Field> {
    steps: Vec<StepTape<F>>,
    bytes: usize,
    work: Work,
}

impl<F: Field> Bytes for BackpropTape<F> {
    fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<F: Field> GradientMethod<F> for Backprop {
    type Tape = BackpropTape<F>;

    fn record(
        &self,
        flow: &Flow<F>,
        x0: F::State,
        spent: Option<BackpropTape<F>>,
    ) -> (F::State, BackpropTape<F>) {
        let mut stepper = flow.stepper(&x0);
        let mut steps = spent.map(|tape| tape.steps).unwrap_or_default();
        let mut x = x0;
        linearize(&mut stepper, 0..flow.steps(), &mut x, &mut steps);
        let bytes = steps.iter().map(|step| step.bytes(flow.field())).sum();
        let work = stepper.work;
        (x, BackpropTape { steps, bytes, work })
    }

    fn pull_back(
        &self,
        flow: &Flow<F>,
        mut tape: BackpropTape<F>,
        x_bar: &mut F::State,
        sink: &F::Sink<'_>,
        turn: &Turn<'_>,
    ) -> (Evidence, Option<BackpropTape<F>>) {
        let mut stepper = flow.stepper(x_bar);
        stepper.work = tape.work;
        pull_back(&mut stepper, 0..flow.steps(), &mut tape.steps, x_bar, sink, turn);
        (Evidence { work: stepper.work, ..Evidence::default() }, Some(tape))
    }
}

/// Walks `x` through some steps, keeping each linearised; tapes already in `steps` are reused.
pub(super) fn linearize<F: Field>(
    stepper: &mut Stepper<'_, F>,
    range: Range<usize>,
    x: &mut F::State,
    steps: &mut Vec<StepTape<F>>,
) {
    steps.reserve_exact(range.len().saturating_sub(steps.len()));
    for (slot, step) in range.enumerate() {
        if slot == steps.len() || !steps[slot].fits(x) {
            steps.truncate(slot);
            steps.push(stepper.step_tape());
        }
        stepper.linearize_step(step, x, &mut steps[slot]);
    }
}

/// Pulls `x_bar` back through some linearised steps, last to first.
pub(super) fn pull_back<F: Field>(
    stepper: &mut Stepper<'_, F>,
    range: Range<usize>,
    steps: &mut [StepTape<F>],
    x_bar: &mut F::State,
    sink: &F::Sink<'_>,
    turn: &Turn<'_>,
) {
    let field = stepper.field();
    for (slot, step) in range.enumerate().rev() {
        stepper.pull_back(step, &mut steps[slot], x_bar, Some(turn.due(step, sink)));
        turn.leave(step);
        let next = if slot > 0 { slot - 1 } else { steps.len() - 1 };
        if let Ok([from, to]) = steps.get_disjoint_mut([slot, next]) {
            from.hand_over(field, to);
        }
    }
}
