//! The one generic step: evaluated, linearised, pulled back, un-stepped.

use super::Scheme;
use crate::field::{Accountable, Apart, Field, Kinks};
use crate::gradient::Due;
use crate::{Bytes, Heap, State};

/// Field evaluations and pull-backs done, each counted once a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Evaluations f(x, θ), with or without a tape.
    pub evaluations: u64,
    /// Pull-backs (a pull-back costs about two evaluations).
    pub pull_backs: u64,
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.evaluations += other.evaluations;
        self.pull_backs += other.pull_backs;
    }
}

/// What one linearised step keeps: for each stage the point, and the field's tape there.
pub struct StepTape<F: Field> {
    points: Vec<F::State>,
    tapes: Vec<F::Tape>,
    backward: bool,
}

impl<F: Field> StepTape<F> {
    /// Bytes of the numbers kept.
    pub fn bytes(&self, field: &F) -> usize {
        self.points.iter().map(Bytes::bytes).sum::<usize>()
            + self.tapes.iter().map(|tape| field.tape_bytes(tape)).sum::<usize>()
    }

    /// Whether the tape was made for states of the shape of `x`.
    pub fn fits(&self, x: &F::State) -> bool {
        self.points[0].samples() == x.samples() && self.points[0].bytes() == x.bytes()
    }

    /// Moves the buffers that only a pull-back needs to the tape of the next step.
    pub fn hand_over(&mut self, field: &F, to: &mut Self) {
        for (from, to) in self.tapes.iter_mut().zip(&mut to.tapes) {
            field.hand_over(from, to);
        }
    }

    /// The state that the step was linearised at.
    pub fn state(&self) -> &F::State {
        &self.points[0]
    }

    /// The sum over the stages of [`Field::exposure`], if the true state is `truth`.
    pub fn exposure(
        &self,
        field: &F,
        scheme: &Scheme,
        step: usize,
        (truth, kinks): (&F::State, Kinks),
    ) -> f64 {
        let apart = Apart { point: &self.points[0], truth, kinks };
        let stages = self.points.iter().zip(&self.tapes).enumerate();
        stages
            .map(|(stage, (point, tape))| {
                field.exposure(scheme.position(step, stage), point, tape, apart)
            })
            .sum()
    }
}

impl<F: Accountable> Heap for StepTape<F> {
    fn heap(&self) -> usize {
        self.points.heap() + self.tapes.heap()
    }
}

/// Why a field with relu after every step has no increments.
const NO_FLOW: &str = "relu follows every step, which only backprop and checkpoint walk back";

/// Scratch space for the steps of one tile, and the count of its work.
pub struct Stepper<'f, F: Field> {
    field: &'f F,
    scheme: &'f Scheme,
    h: f64,
    slopes: Vec<F::State>,
    point: F::State,
    bars: Vec<F::State>,
    tape: F::Tape,
    samples: u64,
    /// Work done so far.
    pub work: Work,
}

impl<F: Accountable> Heap for Stepper<'_, F> {
    fn heap(&self) -> usize {
        self.slopes.heap() + self.bars.heap() + self.point.heap() + self.tape.heap()
    }
}

impl<'f, F: Field> Stepper<'f, F> {
    /// Scratch space for states of the shape of `like`.
    pub fn new(field: &'f F, scheme: &'f Scheme, h: f64, like: &F::State) -> Self {
        let bars = if scheme.is_one_slope() { 1 } else { scheme.stages() + 1 };
        Self {
            field,
            scheme,
            h,
            slopes: (0..scheme.stages()).map(|_| like.scratch()).collect(),
            point: like.scratch(),
            bars: (0..bars).map(|_| like.scratch()).collect(),
            tape: field.tape(like),
            samples: like.samples() as u64,
            work: Work::default(),
        }
    }

    /// The field whose steps these are.
    pub fn field(&self) -> &'f F {
        self.field
    }

    /// The scheme whose steps these are.
    pub fn scheme(&self) -> &'f Scheme {
        self.scheme
    }

    /// An empty tape for one step.
    pub fn step_tape(&self) -> StepTape<F> {
        let stages = 0..self.scheme.stages();
        StepTape {
            points: stages.clone().map(|_| self.point.scratch()).collect(),
            tapes: stages.map(|_| self.field.tape(&self.point)).collect(),
            backward: false,
        }
    }

    /// `out = Φ_n(x)`.
    pub fn increment(&mut self, step: usize, x: &F::State, out: &mut F::State) {
        self.explicit(step, false, x, out);
    }

    /// `out = Φ₋ₕ(y)`, the increment of the step with −h from the end of step `n`.
    pub fn increment_backward(&mut self, step: usize, y: &F::State, out: &mut F::State) {
        self.explicit(step, true, y, out);
    }

    /// Walks `x` through some steps in place: `x += h Φ_n(x)` for each.
    pub fn advance(&mut self, steps: std::ops::Range<usize>, x: &mut F::State) {
        for step in steps {
            if self.scheme.is_one_slope() {
                let position = self.scheme.position_of(step, 0, false);
                let next = &mut self.slopes[0];
                self.field.step(position, x, self.h, next, &mut self.tape);
                std::mem::swap(x, next);
                self.work.evaluations += self.samples;
                continue;
            }
            self.evaluate(step, false, x);
            for (weight, slope) in self.scheme.b.iter().zip(&self.slopes) {
                if *weight != 0.0 {
                    x.add_scaled(self.h * weight, slope);
                }
            }
        }
    }

    fn explicit(&mut self, step: usize, backward: bool, x: &F::State, out: &mut F::State) {
        assert!(!self.field.is_rectified(), "{NO_FLOW}");
        if self.scheme.is_one_slope() {
            let position = self.scheme.position_of(step, 0, backward);
            self.field.eval(position, x, out, &mut self.tape);
            self.work.evaluations += self.samples;
            return;
        }
        self.evaluate(step, backward, x);
        weighted_sum(self.scheme.b, &self.slopes, out);
    }

    /// The slopes k_i of one step.
    fn evaluate(&mut self, step: usize, backward: bool, x: &F::State) {
        let (scheme, h) = (self.scheme, if backward { -self.h } else { self.h });
        for stage in 0..scheme.stages() {
            let position = scheme.position_of(step, stage, backward);
            let (done, rest) = self.slopes.split_at_mut(stage);
            let at = if stage == 0 {
                x
            } else {
                stage_point(scheme.a[stage], h, x, done, &mut self.point);
                &self.point
            };
            self.field.eval(position, at, &mut rest[0], &mut self.tape);
        }
        self.work.evaluations += self.samples * scheme.stages() as u64;
    }

    /// `out = Φ_n(x)`, keeping on the tape what [`pull_back`](Self::pull_back) needs.
    pub fn linearize(
        &mut self,
        step: usize,
        x: &F::State,
        out: &mut F::State,
        tape: &mut StepTape<F>,
    ) {
        tape.backward = false;
        tape.points[0].copy_from(x);
        self.explicit_on_tape(step, out, tape);
    }

    /// As [`linearize`](Self::linearize), without a copy: the tape takes `x` (see
    /// [`StepTape::state`]) and leaves any state in its place.
    pub fn linearize_taking(
        &mut self,
        step: usize,
        x: &mut F::State,
        out: &mut F::State,
        tape: &mut StepTape<F>,
    ) {
        tape.backward = false;
        std::mem::swap(x, &mut tape.points[0]);
        self.explicit_on_tape(step, out, tape);
    }

    /// Takes one step: the tape takes `x` and what [`pull_back`](Self::pull_back) needs, and leaves
    /// x + h Φ_n(x) in its place.
    pub fn linearize_step(&mut self, step: usize, x: &mut F::State, tape: &mut StepTape<F>) {
        tape.backward = false;
        std::mem::swap(x, &mut tape.points[0]);
        if self.scheme.is_one_slope() {
            let position = self.scheme.position_of(step, 0, false);
            let (point, layer) = (&tape.points[0], &mut tape.tapes[0]);
            self.field.linearize_step(position, point, self.h, x, layer);
            self.work.evaluations += self.samples;
            return;
        }
        self.explicit_on_tape(step, x, tape);
        x.add_to(self.h, &tape.points[0]);
    }

    /// `out = Φ₋ₕ(y)`, keeping on the tape what [`pull_back`](Self::pull_back) needs.
    pub fn linearize_backward(
        &mut self,
        step: usize,
        y: &F::State,
        out: &mut F::State,
        tape: &mut StepTape<F>,
    ) {
        tape.backward = true;
        tape.points[0].copy_from(y);
        self.explicit_on_tape(step, out, tape);
    }

    /// Linearises at the first point of the tape.
    fn explicit_on_tape(&mut self, step: usize, out: &mut F::State, tape: &mut StepTape<F>) {
        let (scheme, h) = (self.scheme, if tape.backward { -self.h } else { self.h });
        self.work.evaluations += self.samples * scheme.stages() as u64;
        if scheme.is_one_slope() {
            let position = scheme.position_of(step, 0, tape.backward);
            return self.field.linearize(position, &tape.points[0], out, &mut tape.tapes[0]);
        }
        for stage in 0..scheme.stages() {
            let (done, rest) = self.slopes.split_at_mut(stage);
            let (x, points) = tape.points.split_at_mut(1);
            let at = match stage.checked_sub(1) {
                None => &x[0],
                Some(later) => {
                    stage_point(scheme.a[stage], h, &x[0], done, &mut points[later]);
                    &points[later]
                }
            };
            let position = scheme.position_of(step, stage, tape.backward);
            self.field.linearize(position, at, &mut rest[0], &mut tape.tapes[stage]);
        }
        weighted_sum(scheme.b, &self.slopes, out);
    }

    /// Pulls the adjoint back through the linearised step: `a = (I + h Φ')ᵀ a` (with −h where it
    /// was linearised backward), and adds the step's parameter gradient where it is due.
    pub fn pull_back(
        &mut self,
        step: usize,
        tape: &mut StepTape<F>,
        a: &mut F::State,
        gradient: Option<Due<'_, F::Sink<'_>>>,
    ) {
        let h = if tape.backward { -self.h } else { self.h };
        if self.scheme.is_one_slope() {
            let position = self.scheme.position_of(step, 0, tape.backward);
            let (point, layer) = (&tape.points[0], &mut tape.tapes[0]);
            let states = [a, &mut self.bars[0]];
            self.field.pull_back_step(position, point, layer, h, states, gradient);
            self.work.pull_backs += self.samples;
            return;
        }
        self.pull_back_stages(step, tape, h, a, gradient);
        for bar in &self.bars[..self.scheme.stages()] {
            a.add_scaled(1.0, bar);
        }
    }

    /// Pulls a cotangent back through the linearised increment alone:
    /// `x_bar += factor Φ'ᵀ cotangent`, and adds its parameter gradient where it is due.
    pub fn pull_back_increment(
        &mut self,
        step: usize,
        tape: &mut StepTape<F>,
        factor: f64,
        cotangent: &F::State,
        x_bar: &mut F::State,
        gradient: Option<Due<'_, F::Sink<'_>>>,
    ) {
        if self.scheme.is_one_slope() {
            self.bars[0].set_scaled(factor, cotangent);
            return self.pull_back_slope(step, tape, x_bar, gradient);
        }
        self.pull_back_stages(step, tape, factor, cotangent, gradient);
        for bar in &self.bars[..self.scheme.stages()] {
            x_bar.add_scaled(1.0, bar);
        }
    }

    /// Adds to `x_bar` what the cotangent `bars[0]` of the only slope makes of it.
    fn pull_back_slope(
        &mut self,
        step: usize,
        tape: &mut StepTape<F>,
        x_bar: &mut F::State,
        gradient: Option<Due<'_, F::Sink<'_>>>,
    ) {
        let position = self.scheme.position_of(step, 0, tape.backward);
        let (point, layer) = (&tape.points[0], &mut tape.tapes[0]);
        self.field.pull_back(position, point, layer, &self.bars[0], x_bar, gradient);
        self.work.pull_backs += self.samples;
    }

    /// Leaves the cotangents of the stage points in `bars`, for a cotangent `factor · a` of Φ.
    fn pull_back_stages(
        &mut self,
        step: usize,
        tape: &mut StepTape<F>,
        factor: f64,
        a: &F::State,
        gradient: Option<Due<'_, F::Sink<'_>>>,
    ) {
        let (scheme, stages) = (self.scheme, self.scheme.stages());
        let h = if tape.backward { -self.h } else { self.h };
        // bars[stage] is the cotangent of that stage's point; the last one is scratch.
        let (bars, slope_bar) = self.bars.split_at_mut(stages);
        for stage in (0..stages).rev() {
            let slope_bar = &mut slope_bar[0];
            slope_bar.set_scaled(factor * scheme.b[stage], a);
            for (row, bar) in scheme.a.iter().zip(bars.iter()).skip(stage + 1) {
                if row[stage] != 0.0 {
                    slope_bar.add_scaled(h * row[stage], bar);
                }
            }
            bars[stage].set_zero();
            self.field.pull_back(
                scheme.position_of(step, stage, tape.backward),
                &tape.points[stage],
                &mut tape.tapes[stage],
                slope_bar,
                &mut bars[stage],
                gradient,
            );
        }
        self.work.pull_backs += self.samples * stages as u64;
    }
}

/// `point = x + h Σ_j a_j k_j`.
fn stage_point<S: State>(weights: &[f64], h: f64, x: &S, slopes: &[S], point: &mut S) {
    point.copy_from(x);
    for (weight, slope) in weights.iter().zip(slopes) {
        if *weight != 0.0 {
            point.add_scaled(h * weight, slope);
        }
    }
}

/// `out = Σ_i b_i k_i`.
fn weighted_sum<S: State>(weights: &[f64], slopes: &[S], out: &mut S) {
    out.copy_from(&slopes[0]);
    if weights[0] != 1.0 {
        out.scale(weights[0]);
    }
    for (weight, slope) in weights.iter().zip(slopes).skip(1) {
        out.add_scaled(*weight, slope);
    }
}
