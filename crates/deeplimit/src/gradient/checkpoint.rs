//! Checkpointing: the states at the starts of segments are kept, and each segment is walked
//! again with all its steps when its turn comes (Griewank 1992; Chen et al. 2016). Exact.

use super::{Evidence, GradientMethod, Turn, backprop};
use crate::scheme::Work;
use crate::{Bytes, Field, Flow};
use std::num::NonZeroUsize;
use std::ops::Range;

/// Keeps the first state of each of some segments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// Number of segments; √N, rounded, where none is given.
    pub segments: Option<NonZeroUsize>,
}

impl Checkpoint {
    /// The steps of each segment: as even as possible, and never empty.
    fn ranges(self, steps: usize) -> Vec<Range<usize>> {
        let root = (steps as f64).sqrt().round() as usize;
        let count = self.segments.map_or(root, NonZeroUsize::get).clamp(1, steps);
        (0..count).map(|k| k * steps / count..(k + 1) * steps / count).collect()
    }
}

/// The states at the starts of the segments.
pub struct CheckpointTape<S> {
    starts: Vec<S>,
    work: Work,
}

impl<S: Bytes> Bytes for CheckpointTape<S> {
    fn bytes(&self) -> usize {
        self.starts.iter().map(Bytes::bytes).sum()
    }
}

impl<F: Field> GradientMethod<F> for Checkpoint {
    type Tape = CheckpointTape<F::State>;

    fn record(
        &self,
        flow: &Flow<F>,
        x0: F::State,
        _spent: Option<CheckpointTape<F::State>>,
    ) -> (F::State, CheckpointTape<F::State>) {
        let mut stepper = flow.stepper(&x0);
        let (mut x, mut starts) = (x0, Vec::new());
        for range in self.ranges(flow.steps()) {
            starts.push(x.clone());
            stepper.advance(range, &mut x);
        }
        (x, CheckpointTape { starts, work: stepper.work })
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
        let mut steps = Vec::new();
        for (range, mut x) in self.ranges(flow.steps()).into_iter().zip(tape.starts).rev() {
            backprop::linearize(&mut stepper, range.clone(), &mut x, &mut steps);
            let kept = &mut steps[..range.len()];
            backprop::pull_back(&mut stepper, range, kept, x_bar, sink, turn);
        }
        (Evidence { work: stepper.work, ..Evidence::default() }, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_every_step_once_and_none_is_empty() {
        for steps in [1, 2, 3, 7, 10, 100] {
            for segments in [None, NonZeroUsize::new(1), NonZeroUsize::new(7)] {
                let ranges = Checkpoint { segments }.ranges(steps);
                let covered: Vec<usize> = ranges.iter().cloned().flatten().collect();
                assert_eq!(covered, (0..steps).collect::<Vec<_>>());
                assert!(ranges.iter().all(|range| !range.is_empty()));
            }
        }
    }
}
