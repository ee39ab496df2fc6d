//! Minimisers: L-BFGS (Nocedal 1980; Liu, Nocedal 1989) with a line search for the weak Wolfe conditions by
//! bisection, with a parabola's minimum as first guess, which works at kinks, too (Lewis, Overton 2013), then
//! Newton's method with conjugate gradients (Dembo, Steihaug 1983).
//!
//! A line search compares energies, which differ by |∇E|² near a minimiser: where that is a rounding
//! of E, at |∇E| ≈ 1e-8, L-BFGS stalls. Newton's method looks at gradients alone and goes on from there.

use crate::kernel::sums::dot;
use crate::kernel::vector::add_scaled;
use crate::limit::eigenvalues;
use rayon::prelude::*;
use std::collections::VecDeque;

/// A function to minimise.
pub trait Objective {
    /// Its value at a point, and its gradient there.
    fn energy_and_gradient(&self, variables: &[f64]) -> (f64, Vec<f64>);
}

/// What a minimisation has come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Minimum {
    /// The point.
    pub variables: Vec<f64>,
    /// The objective there.
    pub energy: f64,
    /// The gradient there.
    gradient: Vec<f64>,
    /// Evaluations of the objective and its gradient, those of searches that found nothing included.
    pub evaluations: usize,
}

impl Minimum {
    /// 2-norm of the gradient: how near it is to a stationary point.
    pub fn gradient_norm(&self) -> f64 {
        dot(&self.gradient, &self.gradient).sqrt()
    }
}

/// Pairs of steps and gradient changes that L-BFGS remembers.
const MEMORY: usize = 20;

/// Weak Wolfe conditions: least share of the predicted decrease, and largest share of the initial slope that
/// may remain.
const WOLFE: (f64, f64) = (1e-4, 0.9);

/// Points that a line search tries at most.
const TRIALS: usize = 40;

/// Newton steps at most; each multiplies the gradient by about [`FORCING`].
const NEWTON_STEPS: usize = 12;

/// Residual, relative to the gradient, to which the Newton equation is solved.
const FORCING: f64 = 1e-3;

/// L-BFGS from a point until the gradient is at most `tolerance`, energies differ by roundings only, or
/// for `iterations`. Energies never rise.
///
/// # Panics
/// If the tolerance is negative.
pub fn descend<O: Objective>(
    objective: &O,
    start: &[f64],
    tolerance: f64,
    iterations: u64,
) -> Minimum {
    assert!(tolerance >= 0.0, "a tolerance of 0 or more");
    let (energy, gradient) = objective.energy_and_gradient(start);
    let mut at = Minimum { variables: start.to_vec(), energy, gradient, evaluations: 1 };
    let mut memory = Memory::default();
    for _ in 0..iterations {
        let size = at.gradient_norm();
        if size <= tolerance || size.is_nan() {
            break;
        }
        let direction = memory.direction(&at.gradient);
        // Without a memory the first try is of length 1 at most.
        let first = if memory.pairs.is_empty() { size.recip().min(1.0) } else { 1.0 };
        let Some(next) = search(objective, &mut at, &direction, first) else {
            // Along what is remembered a search may find nothing where steepest descent does.
            if memory.pairs.is_empty() {
                break;
            }
            memory.pairs.clear();
            continue;
        };
        memory.learn(&at, &next);
        at = next;
    }
    at
}

/// The last steps and gradient changes: an estimate of the inverse of ∇²E.
#[derive(Default)]
struct Memory {
    /// s, y, 1/sᵀy.
    pairs: VecDeque<(Vec<f64>, Vec<f64>, f64)>,
}

impl Memory {
    /// −H g by the two loops.
    fn direction(&self, gradient: &[f64]) -> Vec<f64> {
        let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut shares = Vec::with_capacity(self.pairs.len());
        for (step, change, factor) in self.pairs.iter().rev() {
            let share = factor * dot(step, &direction);
            add_scaled(&mut direction, -share, change);
            shares.push(share);
        }
        if let Some((_, change, factor)) = self.pairs.back() {
            let size = 1.0 / (factor * dot(change, change));
            direction.iter_mut().for_each(|d| *d *= size);
        }
        for ((step, change, factor), share) in self.pairs.iter().zip(shares.into_iter().rev()) {
            let share = share - factor * dot(change, &direction);
            add_scaled(&mut direction, share, step);
        }
        direction
    }

    fn learn(&mut self, from: &Minimum, to: &Minimum) {
        let difference = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| b - a).collect();
        let step: Vec<f64> = difference(&from.variables, &to.variables);
        let change: Vec<f64> = difference(&from.gradient, &to.gradient);
        let product = dot(&step, &change);
        // A pair that is rounding would spoil the estimate.
        if product <= f64::EPSILON * dot(&change, &change) {
            return;
        }
        if self.pairs.len() == MEMORY {
            self.pairs.pop_front();
        }
        self.pairs.push_back((step, change, 1.0 / product));
    }
}

/// A point along a direction that is lower by enough and where the slope is not as steep any more. Where no
/// trial finds one, the farthest that is lower by enough; `None` where there is none. Evaluations are counted
/// in `from`, too.
fn search<O: Objective>(
    objective: &O,
    from: &mut Minimum,
    direction: &[f64],
    first: f64,
) -> Option<Minimum> {
    let slope = dot(&from.gradient, direction);
    if slope >= 0.0 || slope.is_nan() {
        return None;
    }
    let (mut low, mut high, mut length) = (0.0, f64::INFINITY, first);
    let mut lower = None;
    for _ in 0..TRIALS {
        let mut variables = from.variables.clone();
        add_scaled(&mut variables, length, direction);
        let (energy, gradient) = objective.energy_and_gradient(&variables);
        from.evaluations += 1;
        let gain = from.energy - energy;
        // An energy that is not a number is not lower.
        let is_lower = gain > 0.0 && gain >= -WOLFE.0 * length * slope;
        if !is_lower {
            high = length;
            // The lowest point of the parabola of both energies and the first slope.
            let lowest = 0.5 * slope * length / (slope + gain / length);
            let part = (high - low) * 0.1;
            let is_inside = low == 0.0 && lowest > part && lowest < high - part;
            length = if is_inside { lowest } else { 0.5 * (low + high) };
        } else {
            let is_steep = dot(&gradient, direction) < WOLFE.1 * slope;
            lower = Some((variables, energy, gradient));
            if !is_steep {
                break;
            }
            low = length;
            length = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * low };
        }
    }
    let evaluations = from.evaluations;
    lower.map(|(variables, energy, gradient)| Minimum { variables, energy, gradient, evaluations })
}

/// [`descend`], then Newton steps, until the 2-norm of the gradient is at most `tolerance` or no step
/// makes it smaller; the caller looks at [`Minimum::gradient_norm`].
///
/// # Panics
/// If the tolerance is negative.
pub fn minimise<O: Objective>(
    objective: &O,
    start: &[f64],
    tolerance: f64,
    iterations: u64,
) -> Minimum {
    let mut minimum = descend(objective, start, tolerance, iterations);
    for _ in 0..NEWTON_STEPS {
        if minimum.gradient_norm() <= tolerance {
            break;
        }
        let (step, products) = newton_step(objective, &minimum);
        minimum.evaluations += 2 * products + 1;
        let mut variables = minimum.variables.clone();
        add_scaled(&mut variables, 1.0, &step);
        let (energy, gradient) = objective.energy_and_gradient(&variables);
        let next = Minimum { variables, energy, gradient, evaluations: minimum.evaluations };
        if next.gradient_norm() >= minimum.gradient_norm() || next.gradient_norm().is_nan() {
            break;
        }
        minimum = next;
    }
    minimum
}

/// A step p with ∇²E p ≈ −∇E by conjugate gradients, and how many products ∇²E v it took. Where the
/// objective is not convex, p goes as far as conjugate gradients came.
fn newton_step<O: Objective>(objective: &O, at: &Minimum) -> (Vec<f64>, usize) {
    let mut step = vec![0.0; at.variables.len()];
    let mut residual: Vec<f64> = at.gradient.iter().map(|g| -g).collect();
    let mut direction = residual.clone();
    let (start, mut size) = (at.gradient_norm(), dot(&residual, &residual));
    for products in 0..at.variables.len() {
        if size.sqrt() <= FORCING * start {
            return (step, products);
        }
        let bent = bend(objective, &at.variables, &direction);
        let curvature = dot(&direction, &bent);
        if curvature <= 0.0 {
            return (step, products + 1);
        }
        let length = size / curvature;
        add_scaled(&mut step, length, &direction);
        add_scaled(&mut residual, -length, &bent);
        let before = std::mem::replace(&mut size, dot(&residual, &residual));
        direction.iter_mut().zip(&residual).for_each(|(d, r)| *d = r + size / before * *d);
    }
    (step, at.variables.len())
}

/// ∇²E(u) v, from central differences of the gradient.
fn bend<O: Objective>(objective: &O, variables: &[f64], direction: &[f64]) -> Vec<f64> {
    // Rounding of the gradient over the distance, 1e-16/1e-5, is about the square of the distance.
    const DISTANCE: f64 = 1e-5;
    let factor = DISTANCE / dot(direction, direction).sqrt();
    let at = |factor: f64| {
        let mut moved = variables.to_vec();
        add_scaled(&mut moved, factor, direction);
        objective.energy_and_gradient(&moved).1
    };
    let (plus, minus) = (at(factor), at(-factor));
    plus.iter().zip(minus).map(|(a, b)| (a - b) / (2.0 * factor)).collect()
}

/// The least eigenvalue of ∇²E at a point, from central differences of the gradient with errors of about
/// 1e-9 of the largest: a stationary point where it is positive is a non-degenerate minimum. Takes two
/// gradients a variable, on all threads. `None` where a number is not finite.
pub fn least_curvature<O: Objective + Sync>(objective: &O, variables: &[f64]) -> Option<f64> {
    let count = variables.len();
    let column = |index: usize| {
        let mut direction = vec![0.0; count];
        direction[index] = 1.0;
        bend(objective, variables, &direction)
    };
    let columns: Vec<Vec<f64>> = (0..count).into_par_iter().map(column).collect();
    // Of a matrix that is symmetric but for roundings, all eigenvalues are real.
    let entry = |index: usize| {
        let (row, column) = (index / count, index % count);
        (columns[row][column] + columns[column][row]) / 2.0
    };
    let matrix: Vec<f64> = (0..count * count).map(entry).collect();
    let all = eigenvalues(&matrix, count)?;
    all.into_iter().map(|[real, _]| real).min_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// (1 − x)² + 100 (y − x²)², and −cos z: minima (1, 1, 2π k).
    struct Rosenbrock;

    impl Objective for Rosenbrock {
        fn energy_and_gradient(&self, u: &[f64]) -> (f64, Vec<f64>) {
            let [x, y, z] = [u[0], u[1], u[2]];
            let (a, b) = (1.0 - x, y - x * x);
            let gradient = vec![-2.0 * a - 400.0 * x * b, 200.0 * b, z.sin()];
            (a * a + 100.0 * b * b - z.cos(), gradient)
        }
    }

    /// |x| + 10 y², and how often it was evaluated.
    #[derive(Default)]
    struct Kink(Cell<usize>);

    impl Objective for Kink {
        fn energy_and_gradient(&self, u: &[f64]) -> (f64, Vec<f64>) {
            self.0.set(self.0.get() + 1);
            let [x, y] = [u[0], u[1]];
            (x.abs() + 10.0 * y * y, vec![x.signum(), 20.0 * y])
        }
    }

    #[test]
    fn a_descent_ends_at_a_kink_and_never_rises() {
        let mut before = f64::INFINITY;
        for iterations in 0..=100 {
            let kink = Kink::default();
            let end = descend(&kink, &[1.3, -0.7], 0.0, iterations);
            assert!(end.energy <= before, "{iterations}: {} after {before}", end.energy);
            assert_eq!(end.evaluations, kink.0.get(), "{iterations}");
            before = end.energy;
        }
        let end = descend(&Kink::default(), &[1.3, -0.7], 0.0, 100);
        assert!(end.variables.iter().all(|u| u.abs() < 1e-9), "{end:?}");
        // Its gradient never vanishes: a search that finds nothing has ended it, and is counted.
        assert!(end.gradient_norm() >= 1.0 && end.evaluations > TRIALS, "{end:?}");
    }

    /// −x.
    struct Ramp;

    impl Objective for Ramp {
        fn energy_and_gradient(&self, u: &[f64]) -> (f64, Vec<f64>) {
            (-u[0], vec![-1.0])
        }
    }

    #[test]
    fn a_search_without_an_end_returns_the_farthest_that_is_lower() {
        let end = descend(&Ramp, &[0.0], 0.0, 1);
        assert_eq!(end.variables, [2f64.powi(TRIALS as i32 - 1)]);
        assert_eq!((end.energy, end.evaluations), (-end.variables[0], 1 + TRIALS));
    }

    #[test]
    fn newton_steps_go_on_where_the_line_search_stalls() {
        let start = [-1.2, 1.0, 0.4];
        let stalled = descend(&Rosenbrock, &start, 0.0, 1000);
        let minimum = minimise(&Rosenbrock, &start, 1e-13, 1000);
        assert!(minimum.gradient_norm() <= 1e-13, "{minimum:?}");
        assert!(minimum.gradient_norm() < stalled.gradient_norm(), "{stalled:?}");
        for (found, expected) in minimum.variables.iter().zip([1.0, 1.0, 0.0]) {
            assert!((found - expected).abs() < 1e-12, "{minimum:?}");
        }
    }

    #[test]
    fn the_least_curvature_tells_minima_from_saddles() {
        // ∇² of the first part at (1, 1): [[802, −400], [−400, 200]], with eigenvalues 1001.6 and 0.3994.
        let least = least_curvature(&Rosenbrock, &[1.0, 1.0, 0.0]).unwrap();
        let exact = 501.0 - (501.0f64 * 501.0 - 400.0).sqrt();
        assert!((least - exact).abs() < 1e-6, "{least} {exact}");
        let saddle = least_curvature(&Rosenbrock, &[1.0, 1.0, std::f64::consts::PI]).unwrap();
        assert!((saddle + 1.0).abs() < 1e-6, "{saddle}");
    }
}
