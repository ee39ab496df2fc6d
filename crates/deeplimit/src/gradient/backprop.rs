//! Backpropagation: every linearised step is kept. Exact, with memory proportional to depth.

use super::{Evidence, GradientMethod, Turn};
use crate::scheme::{StepTape, Stepper, Work};
use crate::{Bytes, Field, Flow, State};
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

    fn record(&self, flow: &Flow<F>, x0: F::State) -> (F::State, BackpropTape<F>) {
        let mut stepper = flow.stepper(&x0);
        let (mut x, mut steps) = (x0, Vec::new());
        linearize(flow, &mut stepper, 0..flow.steps(), &mut x, &mut steps);
        let bytes = steps.iter().map(|step| step.bytes(flow.field())).sum();
        let work = stepper.work;
        (x, BackpropTape { steps, bytes, work })
    }

    fn pull_back(
        &self,
        flow: &Flow<F>,
        tape: BackpropTape<F>,
        x_bar: &mut F::State,
        sink: &F::Sink<'_>,
        turn: &Turn<'_>,
    ) -> Evidence {
        let mut stepper = flow.stepper(x_bar);
        stepper.work = tape.work;
        for (step, mut kept) in tape.steps.into_iter().enumerate().rev() {
            turn.take(step, || stepper.pull_back(step, &mut kept, x_bar, Some(sink)));
        }
        Evidence { work: stepper.work, ..Evidence::default() }
    }
}

/// Walks `x` through some steps, keeping each linearised; tapes already in `steps` are reused.
pub(super) fn linearize<F: Field>(
    flow: &Flow<F>,
    stepper: &mut Stepper<'_, F>,
    range: Range<usize>,
    x: &mut F::State,
    steps: &mut Vec<StepTape<F>>,
) {
    let mut increment = x.scratch();
    for (slot, step) in range.enumerate() {
        if slot == steps.len() {
            steps.push(stepper.step_tape());
        }
        stepper.linearize(step, x, &mut increment, &mut steps[slot]);
        steps[slot].release(flow.field());
        x.add_scaled(flow.h(), &increment);
    }
}
