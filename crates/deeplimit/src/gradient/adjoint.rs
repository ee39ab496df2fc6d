//! Memory-free adjoints: the states are recovered backwards from x_N.
//!
//! With y the reconstruction of x_{n+1}, o the increment Φ_n and ĝ a prediction of it:
//!
//! ```text
//! p_0 = y − h ĝ,   p_{i+1} = y − h Φ_n(p_i),   pull-back of the step at the last p → o,
//! x̃_n = y − h o
//! ```
//!
//! The evaluation inside the pull-back is a free sweep of the fixed-point iteration
//! x = y − h Φ_n(x); the adjoint of Sander, Ablin, Peyré (2022, equation 8) computes it and
//! discards it, taking x̃_n = p (`refine = false`). Each sweep multiplies the error by −h J.
//! With a predictor of order k and m evaluations a layer (P_kC_m) the reconstruction and the
//! gradient have order k + m on weights smooth in depth, and order m on any bounded weights.

use super::certificate::{larger, relative};
use super::predictor::{Prediction, Predictor};
use super::{Evidence, GradientMethod, Turn};
use crate::scheme::Work;
use crate::{Bytes, Field, Flow, State};
use std::collections::VecDeque;

/// How many evaluations of the step's increment a layer gets on the way back, the one inside the
/// pull-back included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sweeps {
    /// Always this many (more in the first layers of a learned predictor, until it is fitted).
    Fixed(usize),
    /// As many, up to `most`, as it takes until h ‖o − ĝ‖ ≤ tolerance · ‖y‖.
    UntilWithin {
        /// Relative distance of the linearisation point from the reconstructed state.
        tolerance: f64,
        /// Upper limit on the evaluations.
        most: usize,
    },
}

/// The family of memory-free adjoints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adjoint {
    /// The guess of a layer's increment.
    pub predictor: Predictor,
    /// The evaluations a layer.
    pub sweeps: Sweeps,
    /// Whether the evaluation inside the pull-back refines the reconstruction.
    pub refine: bool,
    /// States kept on the way forward to check and reset the reconstruction: x at the layers
    /// round(N j / anchors), j = 0 … anchors − 1. At least 1, which is x_0.
    pub anchors: usize,
}

impl Adjoint {
    /// The layers whose inputs are kept, first to last.
    fn anchor_layers(&self, steps: usize) -> Vec<usize> {
        let count = self.anchors.clamp(1, steps);
        let place = |j: usize| (steps as f64 * j as f64 / count as f64).round() as usize;
        (0..count).map(place).collect()
    }

    /// How many states before x_N are kept to start the predictor.
    fn tail(&self, steps: usize) -> usize {
        match self.predictor {
            Predictor::Extrapolation(order) => order.min(steps),
            Predictor::None | Predictor::Learned(_) => 0,
        }
    }

    /// Evaluations for the layer that is the `processed`-th on the way back.
    fn evaluations(&self, processed: usize) -> usize {
        match (self.sweeps, self.predictor) {
            (Sweeps::Fixed(count), Predictor::Learned(size)) if processed <= size => count + size,
            (Sweeps::Fixed(count), _) => count,
            (Sweeps::UntilWithin { .. }, _) => 1,
        }
    }
}

/// x_N, the anchors, and the states that start the predictor: a number independent of depth.
pub struct AdjointTape<S> {
    end: S,
    /// x_{N−1}, x_{N−2}, …
    tail: VecDeque<S>,
    /// Deepest last.
    anchors: Vec<(usize, S)>,
    work: Work,
}

impl<S: Bytes> Bytes for AdjointTape<S> {
    fn bytes(&self) -> usize {
        self.end.bytes()
            + self.tail.iter().map(Bytes::bytes).sum::<usize>()
            + self.anchors.iter().map(|(_, state)| state.bytes()).sum::<usize>()
    }
}

impl<F: Field> GradientMethod<F> for Adjoint {
    type Tape = AdjointTape<F::State>;

    fn record(
        &self,
        flow: &Flow<F>,
        x0: F::State,
        _spent: Option<AdjointTape<F::State>>,
    ) -> (F::State, AdjointTape<F::State>) {
        let steps = flow.steps();
        let mut stepper = flow.stepper(&x0);
        let mut layers = self.anchor_layers(steps).into_iter().peekable();
        let (mut anchors, mut tail) = (Vec::new(), VecDeque::new());
        let mut x = x0;
        for step in 0..steps {
            if layers.next_if_eq(&step).is_some() {
                anchors.push((step, x.clone()));
            }
            if step + self.tail(steps) >= steps {
                tail.push_front(x.clone());
            }
            stepper.advance(step..step + 1, &mut x);
        }
        (x.clone(), AdjointTape { end: x, tail, anchors, work: stepper.work })
    }

    fn pull_back(
        &self,
        flow: &Flow<F>,
        tape: AdjointTape<F::State>,
        x_bar: &mut F::State,
        sink: &F::Sink<'_>,
        turn: &Turn<'_>,
    ) -> (Evidence, Option<AdjointTape<F::State>>) {
        (self.pull_back_observed(flow, tape, x_bar, sink, turn, |_| {}), None)
    }
}

/// What an adjoint knows of a layer when it leaves it, on the way back.
pub struct Passage<'a, S> {
    /// The layer n.
    pub layer: usize,
    /// p_n, the point at which the layer was linearised.
    pub point: &'a S,
    /// x̃_n, the reconstructed state, before an anchor resets it.
    pub state: &'a S,
    /// The cotangent of x_n.
    pub cotangent: &'a S,
}

impl Adjoint {
    /// [`pull_back`](GradientMethod::pull_back), showing every layer to `observe`, deepest first.
    pub fn pull_back_observed<F: Field>(
        &self,
        flow: &Flow<F>,
        tape: AdjointTape<F::State>,
        x_bar: &mut F::State,
        sink: &F::Sink<'_>,
        turn: &Turn<'_>,
        mut observe: impl FnMut(Passage<'_, F::State>),
    ) -> Evidence {
        let AdjointTape { end, mut tail, mut anchors, work } = tape;
        let (steps, h, field) = (flow.steps(), flow.h(), flow.field());
        let mut stepper = flow.stepper(&end);
        stepper.work = work;
        let mut prediction = Prediction::new(self.predictor, &end, F::SINGLE_PRECISION);
        let mut step_tape = stepper.step_tape();
        let mut evidence =
            Evidence { kink_squared: field.has_kink().then_some(0.0), ..Evidence::default() };
        let mut y = end; // the reconstruction of x_{n+1}
        let mut p = y.scratch(); // the linearisation point, y − h ĝ
        let mut increment = y.scratch(); // o
        let mut squared = y.norm_squared();
        for (processed, step) in (0..steps).rev().enumerate() {
            let size = squared.sqrt();
            if let Some(exact) = tail.pop_front() {
                p = exact;
                stepper.linearize_taking(step, &mut p, &mut increment, &mut step_tape);
            } else {
                let mut left = self.evaluations(processed);
                if self.predictor == Predictor::None && left > 1 {
                    stepper.increment_backward(step, &y, &mut increment);
                    p.set_sum(&y, -h, &increment);
                    left -= 1;
                } else {
                    prediction.guess(&mut p, &y, -h);
                }
                while left > 1 {
                    stepper.increment(step, &p, &mut increment);
                    p.set_sum(&y, -h, &increment);
                    left -= 1;
                }
                stepper.linearize_taking(step, &mut p, &mut increment, &mut step_tape);
                if let Sweeps::UntilWithin { tolerance, most } = self.sweeps {
                    // h ‖o − ĝ‖ is how far the refined reconstruction lies from p.
                    let mut distance = y.defect_squared(-h, &increment, step_tape.state()).sqrt();
                    let mut stalled = false;
                    for _ in 1..most {
                        if distance <= tolerance * size {
                            break;
                        }
                        p.set_sum(&y, -h, &increment);
                        stepper.linearize_taking(step, &mut p, &mut increment, &mut step_tape);
                        let next = y.defect_squared(-h, &increment, step_tape.state()).sqrt();
                        stalled |= next >= distance;
                        distance = next;
                    }
                    evidence.stalled += usize::from(stalled);
                }
            }
            // From here `y` is y − h o: the refined reconstruction of x_n.
            let [refined, defect] = y.step_and_measure(-h, &increment, step_tape.state());
            squared = refined;
            evidence.defect = larger(evidence.defect, relative(defect.sqrt(), size));
            prediction.learn(&mut increment);
            stepper.pull_back(step, &mut step_tape, x_bar, Some(turn.due(step, sink)));
            turn.leave(step);
            if let Some(sum) = &mut evidence.kink_squared {
                *sum += step_tape.kink_exposure(field, stepper.scheme(), step, &y);
            }
            if !self.refine {
                y.copy_from(step_tape.state());
                squared = y.norm_squared();
            }
            let point = step_tape.state();
            observe(Passage { layer: step, point, state: &y, cotangent: x_bar });
            if let Some((_, exact)) = anchors.pop_if(|(layer, _)| *layer == step) {
                let error = y.distance_squared(&exact);
                squared = exact.norm_squared();
                evidence.anchors.push((step, error, squared));
                y = exact;
            }
        }
        evidence.work = stepper.work;
        evidence
    }
}
