//! Gradients within a tolerance: adjoints whose segments are accepted or walked again.
//!
//! A segment reaches from one anchor, an exact state, to the next. Its gradient is kept apart until
//! the reconstruction has come to the anchor, where e, D and K tell how good it is (see
//! [`Certificate`](super::Certificate)):
//!
//! ```text
//! C + e + D + K ≤ tolerance   the gradient is added, and the walk goes on from the exact state
//! otherwise, or not finite    it is thrown away; the segment is walked again from its anchor, with its
//!                             steps stored
//! ```
//!
//! e, D and K (the exposure of either kind, with the drift since the segment's end) are the segment's
//! own. C = Σ (e + D · segment / depth) over the deeper segments that were accepted is what they may
//! have done to the cotangent with which the segment is entered: without it one network in 500 was off
//! by 12 times the tolerance, every segment by a little in the same direction. Beyond the anchors only
//! the gradient of one segment is kept, and where one is walked again, its steps.

use super::adjoint::{Adjoint, AdjointTape, Walk};
use super::certificate::{larger, relative};
use super::{Evidence, Turn, backprop};
use crate::kernel::Bend;
use crate::scheme::StepTape;
use crate::{Field, Flow, State};
use std::ops::Range;

/// [`pull_back`](super::GradientMethod::pull_back) of an adjoint with a tolerance.
pub(super) fn pull_back<F: Field>(
    adjoint: Adjoint,
    tolerance: f64,
    flow: &Flow<F>,
    tape: AdjointTape<F::State>,
    x_bar: &mut F::State,
    sink: &F::Sink<'_>,
    turn: &Turn<'_>,
) -> Evidence {
    let AdjointTape { end, tail, mut anchors, work } = tape;
    let (field, shared) = (flow.field(), flow.scheme().shared_nodes());
    let mut part = field.zero_part(longest(&anchors, flow.steps()) + shared);
    let mut walk = Walk::new(adjoint, flow, end, tail, work);
    let mut evidence = Evidence::of(field, true);
    let mut stored: Vec<StepTape<F>> = Vec::new();
    let mut entered = x_bar.clone();
    let mut segment_end = flow.steps();
    // What the segments that were accepted may have done to the cotangent.
    let mut carried = 0.0;
    while let Some((start, exact)) = anchors.pop() {
        let segment = start..segment_end;
        entered.copy_from(x_bar);
        let mut found = Evidence::of(field, true);
        {
            let to = field.open_part(&mut part, start);
            for step in segment.clone().rev() {
                walk.layer(step, x_bar, &to, None, &mut found);
                if found.defect > tolerance || found.defect.is_nan() {
                    break;
                }
            }
        }
        let error = walk.reset(exact);
        let exposure = found
            .near_squared
            .or(found.curvature_squared)
            .map_or(0.0, |squared| relative(squared.sqrt(), field.gradient_norm(&part)));
        let relative_error = relative(error, walk.squared()).sqrt();
        let certificate = carried + relative_error + found.defect + exposure;
        // Not a number is not within anything.
        if certificate <= tolerance {
            evidence.accept(&found);
            carried += relative_error + found.defect * segment.len() as f64 / flow.steps() as f64;
            evidence.anchors.push((start, error, walk.squared()));
        } else {
            x_bar.copy_from(&entered);
            walk_again(&mut walk, segment.clone(), &mut stored, x_bar, &mut part);
            evidence.anchors.push((start, 0.0, walk.squared()));
            evidence.again += (segment.len() * x_bar.samples()) as u64;
        }
        for step in segment.clone().rev() {
            let to = turn.due(step, sink).sink();
            // The nodes that the step before has no more share in.
            let nodes =
                if step + 1 == segment.end { step..step + 1 + shared } else { step..step + 1 };
            for node in nodes {
                field.add_part(&part, start, node, to);
            }
            turn.leave(step);
        }
        segment_end = start;
    }
    evidence.work = walk.stepper.work;
    evidence
}

/// Steps of the longest segment.
fn longest<S>(anchors: &[(usize, S)], steps: usize) -> usize {
    let ends = anchors.iter().skip(1).map(|(layer, _)| *layer).chain([steps]);
    anchors.iter().zip(ends).map(|((start, _), end)| end - start).max().unwrap_or(0)
}

/// The gradient of a segment from its exact states, of which the walk has come to the first.
fn walk_again<F: Field>(
    walk: &mut Walk<'_, F>,
    segment: Range<usize>,
    stored: &mut Vec<StepTape<F>>,
    x_bar: &mut F::State,
    part: &mut F::Gradient,
) {
    let field = walk.stepper.field();
    let mut x = walk.state().clone();
    let to = field.open_part(part, segment.start);
    backprop::linearize(&mut walk.stepper, segment.clone(), &mut x, stored);
    let stored = &mut stored[..segment.len()];
    backprop::pull_back(&mut walk.stepper, segment, stored, x_bar, &to, &Turn::alone());
    let states = stored.iter().map(StepTape::state).chain([&x]);
    walk.relearn(states);
}

impl Evidence {
    /// No evidence yet, of a field; whether there is a tolerance that wants the curvature.
    pub(super) fn of<F: Field>(field: &F, within: bool) -> Self {
        let zero_if = |measured: bool| measured.then_some(0.0);
        Self {
            kink_squared: zero_if(field.bend() == Bend::Kinked),
            near_squared: zero_if(within && field.bend() == Bend::Kinked),
            curvature_squared: zero_if(within && field.bend() == Bend::Curved),
            ..Self::default()
        }
    }

    /// Takes in what a segment has shown whose gradient counts.
    fn accept(&mut self, segment: &Self) {
        self.defect = larger(self.defect, segment.defect);
        self.stalled += segment.stalled;
        for (sum, more) in [
            (&mut self.kink_squared, segment.kink_squared),
            (&mut self.near_squared, segment.near_squared),
            (&mut self.curvature_squared, segment.curvature_squared),
        ] {
            if let (Some(sum), Some(more)) = (sum, more) {
                *sum += more;
            }
        }
    }
}
