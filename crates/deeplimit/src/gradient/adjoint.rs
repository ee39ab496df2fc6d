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
use super::{Due, Evidence, GradientMethod, Turn, certified};
use crate::field::Kinks;
use crate::kernel::Bend;
use crate::scheme::reversible::zeros;
use crate::scheme::{StepTape, Stepper, Work};
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
    /// How many states are kept on the way forward to check and reset the reconstruction: x at the
    /// layers round(N j / anchors), j = 0 … anchors − 1; at least 1, which is x_0. Where none is given
    /// √N, rounded, with a tolerance, and 1 without.
    pub anchors: Option<usize>,
    /// The certificate of a segment, from one anchor to the next, above which the segment is walked
    /// again with stored steps, relative to the segment's gradient. None where all are accepted.
    pub tolerance: Option<f64>,
}

impl Adjoint {
    /// The same, with a certified gradient: segments whose certificate exceeds the tolerance are
    /// walked again. Evaluations that go on until they are within something stop at a third of it.
    pub fn within(self, tolerance: f64) -> Self {
        let sweeps = match self.sweeps {
            Sweeps::UntilWithin { most, .. } => {
                Sweeps::UntilWithin { tolerance: tolerance / 3.0, most }
            }
            fixed => fixed,
        };
        Self { sweeps, tolerance: Some(tolerance), ..self }
    }

    /// How many states of a tile are kept from the way forward to the way back of so many steps: x_N,
    /// those that start the predictor, and the anchors. Nothing else is, whatever the tolerance.
    pub fn states_kept(&self, steps: usize) -> usize {
        1 + self.tail(steps) + self.anchor_layers(steps).len()
    }

    /// Whether a walk back through a field keeps the drift of its states, which is one more of them: what it
    /// says of kinks is wrong without it where it goes on from p, and what it says within a tolerance.
    pub(super) fn drifts(&self, bend: Bend) -> bool {
        match bend {
            Bend::Kinked => self.tolerance.is_some() || !self.refine,
            Bend::Curved => self.tolerance.is_some() && !self.refine,
            Bend::Straight => false,
        }
    }

    /// The layers whose inputs are kept, first to last.
    fn anchor_layers(&self, steps: usize) -> Vec<usize> {
        let root = (steps as f64).sqrt().round() as usize;
        let unasked = if self.tolerance.is_some() { root } else { 1 };
        let count = self.anchors.unwrap_or(unasked).clamp(1, steps);
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

    /// Evaluations for the layer that is the `processed`-th since the predictor knew nothing.
    fn evaluations(&self, processed: usize) -> usize {
        match (self.sweeps, self.predictor) {
            (Sweeps::Fixed(count), Predictor::Learned(size)) if processed <= size => count + size,
            (Sweeps::Fixed(count), _) => count,
            (Sweeps::UntilWithin { .. }, _) => 1,
        }
    }
}

/// How far from the linearisation point a tolerance looks for kinks, in distances of the
/// reconstructed state, which is itself not the true one.
const REACH: f64 = 2.0;

/// What share of Σ (p − x̃) a refined walk's state may be off by, for kinks. Measured at anchors of random
/// networks with a learned predictor: 0.02 in the median, over 0.4 in 1 % of the segments. Curves respond to
/// the typical value and ignore it; kinks respond to the worst.
const CARRIED: f64 = 0.5;

/// x_N, the anchors, and the states that start the predictor: a number independent of depth.
pub struct AdjointTape<S> {
    pub(super) end: S,
    /// x_{N−1}, x_{N−2}, …
    pub(super) tail: VecDeque<S>,
    /// Deepest last.
    pub(super) anchors: Vec<(usize, S)>,
    pub(super) work: Work,
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
        let evidence = match self.tolerance {
            Some(tolerance) => {
                certified::pull_back(*self, tolerance, flow, tape, x_bar, sink, turn)
            }
            None => self.pull_back_observed(flow, tape, x_bar, sink, turn, |_| {}),
        };
        (evidence, None)
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
    /// [`pull_back`](GradientMethod::pull_back) without a tolerance, showing every layer to `observe`,
    /// deepest first.
    pub fn pull_back_observed<F: Field>(
        &self,
        flow: &Flow<F>,
        tape: AdjointTape<F::State>,
        x_bar: &mut F::State,
        sink: &F::Sink<'_>,
        turn: &Turn<'_>,
        mut observe: impl FnMut(Passage<'_, F::State>),
    ) -> Evidence {
        let AdjointTape { end, tail, mut anchors, work } = tape;
        let mut walk = Walk::new(*self, flow, end, tail, work);
        let mut evidence = Evidence::of(flow.field(), false);
        for step in (0..flow.steps()).rev() {
            walk.layer(step, x_bar, sink, Some(turn), &mut evidence);
            let point = walk.tape.state();
            observe(Passage { layer: step, point, state: &walk.y, cotangent: x_bar });
            if let Some((_, exact)) = anchors.pop_if(|(layer, _)| *layer == step) {
                let error = walk.reset(exact);
                evidence.anchors.push((step, error, walk.squared));
            }
        }
        evidence.work = walk.stepper.work;
        evidence
    }
}

/// The way back of one tile: the reconstruction, and what the next layer is guessed from.
pub(super) struct Walk<'f, F: Field> {
    adjoint: Adjoint,
    flow: &'f Flow<F>,
    pub(super) stepper: Stepper<'f, F>,
    prediction: Prediction<F::State>,
    tape: StepTape<F>,
    /// Exact states of the next layers.
    tail: VecDeque<F::State>,
    /// The reconstruction of x_{n+1}, after a layer that of x_n, and its squared norm.
    y: F::State,
    squared: f64,
    /// The linearisation point, y − h ĝ.
    p: F::State,
    /// Whether p is the next layer's already.
    guessed: bool,
    /// o
    increment: F::State,
    /// How far the true x_{n+1} may lie from y, since the last exact state (see [`Adjoint::drifts`]).
    drift: Option<F::State>,
    /// Layers since the predictor knew nothing.
    processed: usize,
}

impl<'f, F: Field> Walk<'f, F> {
    pub(super) fn new(
        adjoint: Adjoint,
        flow: &'f Flow<F>,
        end: F::State,
        tail: VecDeque<F::State>,
        work: Work,
    ) -> Self {
        let mut stepper = flow.stepper(&end);
        stepper.work = work;
        let drifts = adjoint.drifts(flow.field().bend());
        Self {
            adjoint,
            flow,
            prediction: Prediction::new(adjoint.predictor, &end, F::SINGLE_PRECISION),
            tape: stepper.step_tape(),
            stepper,
            tail,
            p: end.scratch(),
            guessed: false,
            increment: end.scratch(),
            drift: drifts.then(|| zeros(&end)),
            squared: end.norm_squared(),
            y: end,
            processed: 0,
        }
    }

    /// Recovers the state before `step`, and pulls `x_bar` back through the step linearised there.
    /// Without a turn nobody is waited for.
    pub(super) fn layer(
        &mut self,
        step: usize,
        x_bar: &mut F::State,
        sink: &F::Sink<'_>,
        turn: Option<&Turn<'_>>,
        evidence: &mut Evidence,
    ) {
        let h = self.flow.h();
        let size = self.squared.sqrt();
        if let Some(exact) = self.tail.pop_front() {
            self.p = exact;
            self.linearize(step);
        } else {
            evidence.stalled += usize::from(self.guess_and_linearize(step, size));
        }
        self.processed += 1;
        // From here `y` is y − h o: the refined reconstruction of x_n.
        let [refined, defect] = self.step_back(step, h);
        self.squared = refined;
        evidence.defect = larger(evidence.defect, relative(defect.sqrt(), size));
        self.prediction.learn(&mut self.increment);
        let due = turn.map_or(Due::now(sink), |turn| turn.due(step, sink));
        self.stepper.pull_back(step, &mut self.tape, x_bar, Some(due));
        if let Some(turn) = turn {
            turn.leave(step);
        }
        self.look_at_slopes(step, evidence);
        if !self.adjoint.refine {
            self.y.copy_from(self.tape.state());
            self.squared = self.y.norm_squared();
        }
    }

    /// Adds what other slopes of the units could change of this layer's gradient, squared: at the likely true
    /// state, which is x̃ and what y has drifted by where the walk goes on from p; and, with a tolerance and
    /// kinks, as far away as it may be.
    fn look_at_slopes(&mut self, step: usize, evidence: &mut Evidence) {
        let (field, scheme) = (self.flow.field(), self.stepper.scheme());
        let (p, refine) = (self.tape.state(), self.adjoint.refine);
        if let Some(sum) = evidence.kink_squared.as_mut().or(evidence.curvature_squared.as_mut()) {
            let likely = match &self.drift {
                Some(drift) if !refine => {
                    self.increment.set_sum(&self.y, 1.0, drift);
                    &self.increment
                }
                _ => &self.y,
            };
            *sum += self.tape.exposure(field, scheme, step, (likely, Kinks::Crossed));
        }
        let Some(drift) = &mut self.drift else { return };
        if let Some(sum) = &mut evidence.near_squared {
            let furthest = &mut self.increment;
            furthest.set_combination(drift, 1.0, &[(REACH, &self.y), (1.0 - REACH, p)]);
            *sum += self.tape.exposure(field, scheme, step, (furthest, Kinks::Near));
        }
        let carried = if refine { CARRIED } else { 1.0 };
        drift.add_scaled(carried, &self.y);
        drift.add_scaled(-carried, p);
    }

    /// y − h o in place of y; its squared norm, and that of its difference from p. Where the next layer's
    /// guess is known by then, it is made on the way.
    fn step_back(&mut self, step: usize, h: f64) -> [f64; 2] {
        let (y, o, p) = (&mut self.y, &self.increment, self.tape.state());
        let goes_on = step > 0 && self.adjoint.refine && self.tail.is_empty();
        let terms = if goes_on { self.prediction.next_terms(o) } else { None };
        self.guessed = terms.is_some();
        match terms {
            Some(terms) => y.step_measure_and_combine(-h, o, p, &mut self.p, &terms),
            None => y.step_and_measure(-h, o, p),
        }
    }

    /// Linearises the step at a point near the state before it; whether the fixed-point iteration
    /// did not contract.
    fn guess_and_linearize(&mut self, step: usize, size: f64) -> bool {
        let h = self.flow.h();
        let mut left = self.adjoint.evaluations(self.processed);
        if self.adjoint.predictor == Predictor::None && left > 1 {
            self.stepper.increment_backward(step, &self.y, &mut self.increment);
            self.p.set_sum(&self.y, -h, &self.increment);
            left -= 1;
        } else if !std::mem::take(&mut self.guessed) {
            self.prediction.guess(&mut self.p, &self.y, -h);
        }
        while left > 1 {
            self.stepper.increment(step, &self.p, &mut self.increment);
            self.p.set_sum(&self.y, -h, &self.increment);
            left -= 1;
        }
        self.linearize(step);
        let Sweeps::UntilWithin { tolerance, most } = self.adjoint.sweeps else { return false };
        // h ‖o − ĝ‖ is how far the refined reconstruction lies from p.
        let mut distance = self.y.defect_squared(-h, &self.increment, self.tape.state()).sqrt();
        let mut stalled = false;
        for _ in 1..most {
            if distance <= tolerance * size {
                break;
            }
            self.p.set_sum(&self.y, -h, &self.increment);
            self.linearize(step);
            let next = self.y.defect_squared(-h, &self.increment, self.tape.state()).sqrt();
            stalled |= next >= distance;
            distance = next;
        }
        stalled
    }

    /// Linearises the step at p, which the tape takes.
    fn linearize(&mut self, step: usize) {
        self.stepper.linearize_taking(step, &mut self.p, &mut self.increment, &mut self.tape);
    }

    /// Goes on from an exact state; the squared error of the reconstructed one.
    pub(super) fn reset(&mut self, exact: F::State) -> f64 {
        let error = self.y.distance_squared(&exact);
        self.squared = exact.norm_squared();
        self.guessed = false;
        self.y = exact;
        if let Some(drift) = &mut self.drift {
            drift.set_zero();
        }
        error
    }

    /// The state that the walk has come to.
    pub(super) fn state(&self) -> &F::State {
        &self.y
    }

    /// Squared norm of the state that the walk has come to.
    pub(super) fn squared(&self) -> f64 {
        self.squared
    }

    /// Forgets all increments and learns those between exact states x_n, x_{n+1}, …, the first of
    /// which the walk goes on from, as far as the predictor looks back.
    pub(super) fn relearn<'s>(&mut self, states: impl Iterator<Item = &'s F::State>)
    where
        F: 's,
    {
        let increments = match self.adjoint.predictor {
            Predictor::None => 0,
            Predictor::Extrapolation(order) => order,
            // Enough equations for the fit; older ones are nearly forgotten.
            Predictor::Learned(size) => 4 * size,
        };
        let states: Vec<&F::State> = states.take(increments + 1).collect();
        self.tail.clear();
        self.prediction = Prediction::new(self.adjoint.predictor, &self.y, F::SINGLE_PRECISION);
        for pair in states.windows(2).rev() {
            self.increment.copy_from(pair[1]);
            self.increment.add_scaled(-1.0, pair[0]);
            self.increment.scale(1.0 / self.flow.h());
            self.prediction.learn(&mut self.increment);
        }
        self.processed = states.len().saturating_sub(1);
    }
}
