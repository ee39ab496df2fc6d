//! Checkpointing: some states are kept, and the others walked to again when their turn comes. Exact.
//!
//! | schedule | kept at any time | evaluations a step | source |
//! |---|---|---|---|
//! | segments | the first state of each, and all linearised steps of one | 2 | Griewank 1992; Chen et al. 2016 |
//! | slots | so many states, and one linearised step | 1 + t(N + 1, s)/N, see [`revolve`] | Griewank, Walther 2000 |

use super::{Evidence, GradientMethod, Turn, backprop, revolve};
use crate::scheme::{Stepper, Work};
use crate::{Bytes, Field, Flow};
use std::num::NonZeroUsize;
use std::ops::Range;

/// Keeps some states: the first of each segment, or as many as there are slots.
///
/// The default is √N segments. Slots and segments are two schedules: a method that names both
/// panics when it is run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// Number of segments; √N, rounded, where none is given and there are no slots.
    pub segments: Option<NonZeroUsize>,
    /// The most states kept at any time, x_0 included, placed so that the fewest steps are repeated.
    pub slots: Option<NonZeroUsize>,
}

impl Checkpoint {
    /// The steps of each segment: as even as possible, and never empty.
    fn ranges(self, steps: usize) -> Vec<Range<usize>> {
        let root = (steps as f64).sqrt().round() as usize;
        let count = self.segments.map_or(root, NonZeroUsize::get).clamp(1, steps);
        (0..count).map(|k| k * steps / count..(k + 1) * steps / count).collect()
    }
}

/// The states kept, first to last, and the steps that they are the start of.
pub struct CheckpointTape<S> {
    kept: Vec<(usize, S)>,
    work: Work,
}

impl<S: Bytes> Bytes for CheckpointTape<S> {
    fn bytes(&self) -> usize {
        self.kept.iter().map(|(_, state)| state.bytes()).sum()
    }
}

impl<F: Field> GradientMethod<F> for Checkpoint {
    type Tape = CheckpointTape<F::State>;

    /// # Panics
    /// If both segments and slots are named.
    fn record(
        &self,
        flow: &Flow<F>,
        x0: F::State,
        _spent: Option<CheckpointTape<F::State>>,
    ) -> (F::State, CheckpointTape<F::State>) {
        assert!(
            self.segments.is_none() || self.slots.is_none(),
            "checkpoint takes segments or slots, not both: {self:?}"
        );
        let mut stepper = flow.stepper(&x0);
        let most = self.slots.map_or_else(|| self.ranges(flow.steps()).len(), NonZeroUsize::get);
        let (mut x, mut kept) = (x0, Vec::with_capacity(most.min(flow.steps())));
        match self.slots {
            // The loss counts as one step more.
            Some(slots) => {
                descend(&mut stepper, 0..flow.steps() + 1, slots.get(), &mut x, &mut kept);
            }
            None => {
                for range in self.ranges(flow.steps()) {
                    kept.push((range.start, x.clone()));
                    stepper.advance(range, &mut x);
                }
            }
        }
        (x, CheckpointTape { kept, work: stepper.work })
    }

    fn pull_back(
        &self,
        flow: &Flow<F>,
        tape: CheckpointTape<F::State>,
        x_bar: &mut F::State,
        sink: &F::Sink<'_>,
        turn: &Turn<'_>,
    ) -> (Evidence, Option<CheckpointTape<F::State>>) {
        let mut stepper = flow.stepper(x_bar);
        stepper.work = tape.work;
        let mut kept = tape.kept;
        if let Some(slots) = self.slots {
            let mut step_tape = stepper.step_tape();
            for step in (0..flow.steps()).rev() {
                let (start, mut x) = kept.pop().expect("x_0 stays until step 0 is pulled back");
                let free = slots.get() - kept.len();
                descend(&mut stepper, start..step + 1, free, &mut x, &mut kept);
                stepper.linearize_step(step, &mut x, &mut step_tape);
                stepper.pull_back(step, &mut step_tape, x_bar, Some(turn.due(step, sink)));
                turn.leave(step);
            }
        } else {
            let mut steps = Vec::new();
            for (range, (_, mut x)) in self.ranges(flow.steps()).into_iter().zip(kept).rev() {
                backprop::linearize(&mut stepper, range.clone(), &mut x, &mut steps);
                let linear = &mut steps[..range.len()];
                backprop::pull_back(&mut stepper, range, linear, x_bar, sink, turn);
            }
        }
        (Evidence { work: stepper.work, ..Evidence::default() }, None)
    }
}

/// Walks `x` from the start of some steps to the start of the last of them, and keeps states on the
/// way, in no more than `slots` slots, for the way back from there. If there is only one step, `x`
/// is needed no longer than for that, and nothing is kept.
fn descend<F: Field>(
    stepper: &mut Stepper<'_, F>,
    steps: Range<usize>,
    slots: usize,
    x: &mut F::State,
    kept: &mut Vec<(usize, F::State)>,
) {
    let (mut at, mut slots) = (steps.start, slots);
    while steps.end - at > 1 {
        kept.push((at, x.clone()));
        let next = at + revolve::stride(steps.end - at, slots);
        stepper.advance(at..next, x);
        (at, slots) = (next, slots - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_every_step_once_and_none_is_empty() {
        for steps in [1, 2, 3, 7, 10, 100] {
            for segments in [None, NonZeroUsize::new(1), NonZeroUsize::new(7)] {
                let ranges = Checkpoint { segments, slots: None }.ranges(steps);
                let covered: Vec<usize> = ranges.iter().cloned().flatten().collect();
                assert_eq!(covered, (0..steps).collect::<Vec<_>>());
                assert!(ranges.iter().all(|range| !range.is_empty()));
            }
        }
    }
}
