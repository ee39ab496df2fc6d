//! x'(s) = f(x, s) on [0, 1] with control of the error: the pair of Dormand and Prince (1980), order 5
//! with an error estimate of order 4, its step size chosen as in Hairer, Nørsett, Wanner (1993, II.4).
//!
//! A step of size h from x to x̂ is taken where
//!
//! ```text
//! ‖x̂ − x̂₍₄₎‖ ≤ tolerance · max(‖x‖, ‖x̂‖),
//! ```
//!
//! norms over all numbers of the state, x̂₍₄₎ the solution of order 4 beside it. The tolerance is one of a
//! step: errors of the steps add up, and grow or shrink with the solution. No step crosses a depth at
//! which f may jump.

use crate::State;
use crate::control::Side;

/// Stages' depths, and the weights of the slopes before in each; the last row is the step of order 5.
const C: [f64; 7] = [0.0, 0.2, 0.3, 0.8, 8.0 / 9.0, 1.0, 1.0];
const A: [&[f64]; 7] = [
    &[],
    &[1.0 / 5.0],
    &[3.0 / 40.0, 9.0 / 40.0],
    &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
    &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
    &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
    &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
];
/// Weights of order 5 less those of order 4.
const E: [f64; 7] = [
    71.0 / 57600.0,
    0.0,
    -71.0 / 16695.0,
    71.0 / 1920.0,
    -17253.0 / 339200.0,
    22.0 / 525.0,
    -1.0 / 40.0,
];

/// A step aims at this share of the tolerance, and changes by no more than these factors.
const SAFETY: f64 = 0.9;
const SHRINK: f64 = 0.2;
const GROW: f64 = 5.0;

/// The solver with its tolerance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DormandPrince {
    tolerance: f64,
    most_steps: usize,
}

/// What a solver found, and what it took.
#[derive(Clone, Debug)]
pub struct Solution<S> {
    /// x(1).
    pub end: S,
    /// Steps taken.
    pub steps: usize,
    /// Steps given up because of their error.
    pub rejected: usize,
    /// Evaluations of f.
    pub evaluations: usize,
}

/// An ODE that was not solved.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OdeError {
    /// The start, or f there, is infinite or not a number.
    #[error("the state or its slope at depth {s} is not finite; look at weights from before")]
    NotFinite {
        /// Where.
        s: f64,
    },
    /// The steps became too many.
    #[error(
        "{steps} steps with a tolerance of {tolerance:e} have come to depth {s:.4} of 1 only; the ODE is \
         too steep for it: take a larger tolerance"
    )]
    TooManySteps {
        /// Steps taken and given up.
        steps: usize,
        /// The tolerance.
        tolerance: f64,
        /// How far they came.
        s: f64,
    },
}

impl DormandPrince {
    /// The range of tolerances that double precision can meet and that mean something.
    pub const TOLERANCES: std::ops::RangeInclusive<f64> = 1e-13..=0.1;

    /// A relative error a step.
    ///
    /// # Panics
    /// If the tolerance is out of [`DormandPrince::TOLERANCES`].
    pub fn new(tolerance: f64) -> Self {
        assert!(Self::TOLERANCES.contains(&tolerance), "a tolerance of {tolerance}");
        Self { tolerance, most_steps: 10_000 }
    }

    /// The tolerance.
    pub fn tolerance(&self) -> f64 {
        self.tolerance
    }

    /// x(1) from x(0), for the slope f that `slope(s, side, x, out)` puts into `out`. `breaks`, strictly
    /// between 0 and 1 and in order, are the depths at which f may jump; `side` says which value counts
    /// there.
    ///
    /// # Errors
    /// If the numbers are not finite, or the steps too many.
    pub fn solve<S: State>(
        &self,
        x0: &S,
        breaks: &[f64],
        slope: impl FnMut(f64, Side, &S, &mut S),
    ) -> Result<Solution<S>, OdeError> {
        let mut walk = Walk {
            solver: *self,
            slope,
            x: x0.clone(),
            next: x0.scratch(),
            error: x0.scratch(),
            slopes: std::array::from_fn(|_| x0.scratch()),
            done: Solution { end: (), steps: 0, rejected: 0, evaluations: 0 },
        };
        let mut h = f64::NAN;
        let mut start = 0.0;
        for end in breaks.iter().copied().chain([1.0]) {
            h = walk.piece(start, end, h)?;
            start = end;
        }
        let Solution { steps, rejected, evaluations, .. } = walk.done;
        Ok(Solution { end: walk.x, steps, rejected, evaluations })
    }
}

/// A solution under way.
struct Walk<S, F> {
    solver: DormandPrince,
    slope: F,
    x: S,
    next: S,
    error: S,
    slopes: [S; 7],
    done: Solution<()>,
}

impl<S: State, F: FnMut(f64, Side, &S, &mut S)> Walk<S, F> {
    /// From one break to the next, first with steps of size h; returns the size for what follows.
    fn piece(&mut self, start: f64, end: f64, mut h: f64) -> Result<f64, OdeError> {
        let DormandPrince { tolerance, most_steps } = self.solver;
        let mut s = start;
        (self.slope)(s, Side::After, &self.x, &mut self.slopes[0]);
        self.done.evaluations += 1;
        let sizes = [&self.x, &self.slopes[0]].map(|state| state.norm_squared().sqrt());
        if !sizes.iter().all(|size| size.is_finite()) {
            return Err(OdeError::NotFinite { s });
        }
        if h.is_nan() {
            // A step over which the slope changes the state by a share that its order makes small.
            let [x, slope] = sizes;
            h = if slope > 0.0 && x > 0.0 { tolerance.powf(0.2) * x / slope } else { end - start };
        }
        loop {
            // What is left after the last step is no step of its own.
            let last = s + 1.01 * h >= end;
            let step = if last { end - s } else { h };
            let error = self.attempt(s, step, if last { end } else { s + step }) / tolerance;
            let factor = (SAFETY * error.powf(-0.2)).clamp(SHRINK, GROW);
            if error <= 1.0 {
                std::mem::swap(&mut self.x, &mut self.next);
                self.done.steps += 1;
                if last {
                    return Ok(if step < h { h } else { step * factor });
                }
                self.slopes.swap(0, 6);
                (s, h) = (s + step, step * factor);
            } else {
                self.done.rejected += 1;
                h = step * if error.is_finite() { factor.min(1.0) } else { SHRINK };
            }
            let steps = self.done.steps + self.done.rejected;
            if steps >= most_steps {
                return Err(OdeError::TooManySteps { steps, tolerance, s });
            }
        }
    }

    /// A step from s to `end`; its error relative to the state. Slope 0 is known.
    fn attempt(&mut self, s: f64, h: f64, end: f64) -> f64 {
        for stage in 1..7 {
            let (known, rest) = self.slopes.split_at_mut(stage);
            let terms: Vec<(f64, &S)> = A[stage].iter().copied().zip(&*known).collect();
            self.next.set_combination(&self.x, h, &terms);
            let depth = if C[stage] == 1.0 { end } else { s + C[stage] * h };
            (self.slope)(depth, Side::Before, &self.next, &mut rest[0]);
        }
        self.done.evaluations += 6;
        self.error.set_zero();
        for (weight, slope) in E.iter().zip(&self.slopes) {
            self.error.add_scaled(h * weight, slope);
        }
        let [error, x, next] =
            [&self.error, &self.x, &self.next].map(|state| state.norm_squared().sqrt());
        if error == 0.0 { 0.0 } else { error / f64::max(x, next) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rows;
    use crate::limit::Slope;

    #[test]
    fn the_tableau_has_order_five_and_its_estimate_order_four() {
        let b = A[6];
        let sum = |f: &dyn Fn(usize) -> f64| (0..7).map(f).sum::<f64>();
        for stage in 0..7 {
            let row: f64 = A[stage].iter().sum();
            assert!((row - C[stage]).abs() < 1e-14, "row {stage}");
        }
        // Quadrature: Σ b cᵏ = 1/(k + 1); and of the estimate Σ e cᵏ = 0 up to k = 3, not at 4.
        for k in 0..5 {
            let fifth = sum(&|i| b.get(i).map_or(0.0, |b| b * C[i].powi(k)));
            assert!((fifth - 1.0 / f64::from(k + 1)).abs() < 1e-14, "k = {k}: {fifth}");
            let estimate = sum(&|i| E[i] * C[i].powi(k)).abs();
            assert_eq!(estimate < 1e-15, k < 4, "k = {k}: {estimate:e}");
        }
    }

    fn row(values: &[f64]) -> Rows<f64> {
        Rows::new(1, values.len(), values)
    }

    /// A turning and growing pair with a forcing: x' = A x + (cos 3s, 0).
    fn forced(s: f64, _: Side, x: &Rows<f64>, out: &mut Rows<f64>) {
        let (a, b) = (x.at(0, 0), x.at(0, 1));
        let slopes = [0.5 * a - 4.0 * b + (3.0 * s).cos(), 4.0 * a + 0.5 * b];
        out.columns_mut().copy_from_slice(&slopes);
    }

    #[test]
    fn errors_follow_the_tolerance() {
        let x0 = row(&[1.0, 0.5]);
        let solve = |tolerance: f64| {
            DormandPrince::new(tolerance).solve(&x0, &[], forced).expect("an easy ODE")
        };
        let reference = solve(1e-13).end;
        let points = [1e-4, 1e-6, 1e-8, 1e-10].map(|tolerance| {
            let found = solve(tolerance);
            let error = found.end.distance_squared(&reference).sqrt() / 1.7;
            assert!(error < 5.0 * tolerance, "{tolerance}: {error:e}");
            (tolerance, error)
        });
        // An error a step of size h⁵ over 1/h steps: between 4/5 and 1.
        let slope = Slope::fit(&points).value;
        assert!((0.75..1.1).contains(&slope), "{slope}");
        // The work grows as the fifth root.
        let work = [1e-5, 1e-10].map(|tolerance| solve(tolerance).evaluations as f64);
        assert!((5.0..15.0).contains(&(work[1] / work[0])), "{work:?}");
    }

    /// x' = a(s) x with a = 1, −2, 3 on thirds: no step crosses a jump, and each piece is as easy as one.
    #[test]
    fn jumps_cost_no_rejected_steps_when_they_are_told() {
        let rate = |s: f64, side: Side| {
            let third =
                if side == Side::Before { (3.0 * s).ceil() - 1.0 } else { (3.0 * s).floor() };
            [1.0, -2.0, 3.0][third.clamp(0.0, 2.0) as usize]
        };
        let slope = |s: f64, side: Side, x: &Rows<f64>, out: &mut Rows<f64>| {
            out.set_scaled(rate(s, side), x);
        };
        let solver = DormandPrince::new(1e-9);
        let told = solver.solve(&row(&[2.0]), &[1.0 / 3.0, 2.0 / 3.0], slope).expect("easy");
        let expected = 2.0 * (2.0f64 / 3.0).exp();
        assert!((told.end.at(0, 0) / expected - 1.0).abs() < 1e-8);
        let untold = solver.solve(&row(&[2.0]), &[], slope).expect("hard");
        assert!(untold.rejected > 5 + told.rejected, "{} {}", untold.rejected, told.rejected);
    }

    #[test]
    fn what_does_not_move_takes_one_step_a_piece() {
        let still = |_: f64, _: Side, _: &Rows<f64>, out: &mut Rows<f64>| out.set_zero();
        for x0 in [row(&[0.0, 0.0]), row(&[1.0, 2.0])] {
            let found = DormandPrince::new(1e-6).solve(&x0, &[0.25], still).expect("easy");
            assert_eq!((found.end, found.steps, found.rejected), (x0, 2, 0));
        }
    }

    #[test]
    fn an_ode_that_leaves_the_numbers_or_is_too_steep_is_an_error_with_its_depth() {
        // x' = x² from 2 is infinite at s = 1/2.
        let burst = |_: f64, _: Side, x: &Rows<f64>, out: &mut Rows<f64>| {
            out.columns_mut()[0] = x.at(0, 0).powi(2);
        };
        let error = DormandPrince::new(1e-6).solve(&row(&[2.0]), &[], burst).expect_err("no end");
        let OdeError::TooManySteps { s, .. } = error else { panic!("{error}") };
        assert!((s - 0.5).abs() < 1e-3, "{s}");
        let nothing = |_: f64, _: Side, _: &Rows<f64>, out: &mut Rows<f64>| {
            out.columns_mut()[0] = f64::NAN;
        };
        let error =
            DormandPrince::new(1e-6).solve(&row(&[2.0]), &[], nothing).expect_err("no slope");
        assert_eq!(error, OdeError::NotFinite { s: 0.0 });
    }
}
