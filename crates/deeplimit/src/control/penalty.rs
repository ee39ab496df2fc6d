//! The H¹ penalty on a control: what makes its limit a function of depth.
//!
//! ```text
//! P(θ) = α ( N Σ_{n ≥ 1} |θ_n − θ_{n−1}|² + τ |θ_0|² ) = α ⟨θ, A θ⟩,   A = N D + τ e₀ e₀ᵀ
//! ```
//!
//! with the second-difference matrix D of a path, whose ends are free. It is the term a₁ of E_n in
//! Thorpe, van Gennip 2023 (section 1.2; first in their 2018 preprint), whose minimisers converge, as
//! N → ∞, to those of a problem with ∫ |θ'|² ds + τ |θ(0)|² in its place. Each parameter kind has its
//! own α and τ. The sum runs over the nodes that there are: N nodes (Euler) cover s ≤ 1 − 1/N, as in
//! the paper; N + 1 nodes cover all of [0, 1], and the sum is ∫ |θ'|² of the affine interpolant.
//!
//! Two ways to descend along a loss f + P with learning rate η:
//!
//! ```text
//! explicit    θ ← θ − η ∇f(θ) − η ∇P(θ),                ∇P = 2 α A θ
//! proximal    θ ← prox(θ − η ∇f(θ)),   prox(y) = argmin ½ |z − y|² + η P(z) = (I + 2 η α A)⁻¹ y
//! ```
//!
//! Both have the same fixed points, ∇f + ∇P = 0. Alone, the explicit step multiplies the roughest part
//! of θ by 1 − η λ, λ = 2 α λ_max(A): it is stable for η λ < 2 only. A is a Laplace matrix, so that
//! λ_max(A) = 2 N (1 + cos(π/m)) < 4 N for τ = 0 and m nodes, and λ_max(A) < 4 N + τ always:
//! η α (8 N + 2 τ) < 2 is enough, and nearly needed; the admissible η falls as 1/N. The proximal step
//! divides every part by 1 + η λ ≥ 1: it is stable for all η, and costs a tridiagonal solve along depth.

use super::tridiagonal::Tridiagonal;
use crate::Real;

/// The penalty of one parameter kind at N steps. See the [module's](self) formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DepthPenalty {
    /// α ≥ 0.
    pub alpha: f64,
    /// τ ≥ 0. With 0 constants are free.
    pub tau: f64,
    /// Steps N, the factor of the squared increments.
    pub depth: usize,
}

impl DepthPenalty {
    /// P of one kind's array `[nodes, …]`, added up in double precision.
    ///
    /// # Panics
    /// If the array is not one of so many nodes.
    pub fn value<R: Real>(&self, nodes: usize, values: &[R]) -> f64 {
        let width = width(nodes, values);
        let pairs = values.iter().zip(&values[width..]);
        let changes: f64 = pairs.map(|(a, b)| (b.wide() - a.wide()).powi(2)).sum();
        let start: f64 = values[..width].iter().map(|v| v.wide().powi(2)).sum();
        self.alpha * (self.depth as f64 * changes + self.tau * start)
    }

    /// `gradient += ∇P`, for arrays `[nodes, …]`; the products are made in double precision.
    ///
    /// # Panics
    /// If the arrays are not of so many nodes, or not of the same size.
    pub fn add_gradient<R: Real>(&self, nodes: usize, values: &[R], gradient: &mut [R]) {
        let width = width(nodes, values);
        assert_eq!(values.len(), gradient.len(), "a gradient is of the size of its values");
        let scale = 2.0 * self.alpha * self.depth as f64;
        let start = 2.0 * self.alpha * self.tau;
        for node in 0..nodes {
            let own = &values[node * width..][..width];
            let before = &values[node.saturating_sub(1) * width..][..width];
            let after = &values[(node + 1).min(nodes - 1) * width..][..width];
            let gradient = &mut gradient[node * width..][..width];
            let start = if node == 0 { start } else { 0.0 };
            // At an end the neighbour that is not there is the node itself: its difference is 0.
            for (((g, own), before), after) in gradient.iter_mut().zip(own).zip(before).zip(after) {
                let (own, before, after) = (own.wide(), before.wide(), after.wide());
                let slope = scale * ((own - before) + (own - after)) + start * own;
                *g = R::of(g.wide() + slope);
            }
        }
    }

    /// The proximal step of length η = `rate` in place: θ ← (I + 2 η α A)⁻¹ θ, solved in double
    /// precision.
    ///
    /// # Panics
    /// If the array is not one of so many nodes, or `rate` is negative.
    pub fn proximal<R: Real>(&self, nodes: usize, rate: f64, values: &mut [R]) {
        /// Columns that are solved together: they stay in a core's cache.
        const TOGETHER: usize = 64;
        assert!(rate >= 0.0, "a step has a length");
        let width = width(nodes, values);
        let solver = self.shifted(nodes, 2.0 * rate * self.alpha);
        let mut block = Vec::new();
        for first in (0..width).step_by(TOGETHER) {
            let columns = first..width.min(first + TOGETHER);
            block.clear();
            for row in values.chunks_exact(width) {
                block.extend(row[columns.clone()].iter().map(|v| v.wide()));
            }
            solver.solve(&mut block);
            for (row, solved) in
                values.chunks_exact_mut(width).zip(block.chunks_exact(columns.len()))
            {
                let places = row[columns.clone()].iter_mut();
                places.zip(solved).for_each(|(place, v)| *place = R::of(*v));
            }
        }
    }

    /// λ = 2 α λ_max(A), the largest eigenvalue of the Hessian of P at so many nodes, by bisection with
    /// Sturm's count (Givens 1954). Gradient descent with step η is stable if η λ < 2, with heavy-ball
    /// momentum β if η λ < 2 (1 + β).
    pub fn largest_curvature(&self, nodes: usize) -> f64 {
        let rows = self.rows(nodes);
        // All eigenvalues lie below x if all pivots of A − x are negative.
        let below = |x: f64| {
            let mut pivot = -1.0;
            rows.iter().all(|[left, diagonal, _]| {
                pivot = diagonal - x - left * left / pivot;
                pivot < 0.0
            })
        };
        let (mut low, mut high) = (0.0, 4.0 * self.depth as f64 + self.tau);
        for _ in 0..f64::MANTISSA_DIGITS {
            let middle = 0.5 * (low + high);
            if below(middle) { high = middle } else { low = middle }
        }
        2.0 * self.alpha * high
    }

    /// The rows of A, `[left of the diagonal, diagonal, right of it]`.
    fn rows(&self, nodes: usize) -> Vec<[f64; 3]> {
        let n = self.depth as f64;
        let row = |node: usize| {
            let left = if node > 0 { n } else { 0.0 };
            let right = if node + 1 < nodes { n } else { 0.0 };
            let start = if node == 0 { self.tau } else { 0.0 };
            [-left, left + right + start, -right]
        };
        (0..nodes).map(row).collect()
    }

    /// I + `factor` A, factored.
    fn shifted(&self, nodes: usize, factor: f64) -> Tridiagonal {
        let shift = |[left, diagonal, right]: [f64; 3]| {
            [factor * left, 1.0 + factor * diagonal, factor * right]
        };
        Tridiagonal::new(&self.rows(nodes).into_iter().map(shift).collect::<Vec<_>>())
    }
}

/// Numbers of a node.
fn width<R>(nodes: usize, values: &[R]) -> usize {
    assert!(nodes > 0 && values.len().is_multiple_of(nodes), "an array of so many nodes");
    values.len() / nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::uniform;

    const NODES: [usize; 5] = [1, 2, 3, 8, 33];

    fn random(count: usize, seed: u64) -> Vec<f64> {
        (0..count as u64).map(|i| uniform(seed, i)).collect()
    }

    fn size(values: &[f64]) -> f64 {
        values.iter().map(|v| v * v).sum::<f64>().sqrt()
    }

    fn penalties(nodes: usize) -> impl Iterator<Item = DepthPenalty> {
        // As many nodes as steps, or one more.
        let depths = [nodes, (nodes - 1).max(1)];
        depths
            .into_iter()
            .flat_map(|depth| [0.0, 1.0, 50.0].map(|tau| DepthPenalty { alpha: 0.3, tau, depth }))
    }

    #[test]
    fn a_ramp_has_the_value_of_its_integral() {
        // θ = 2 + 3 s: ∫ θ'² = 9 over [0, 1], or up to 1 − 1/N; τ θ(0)² = 4 τ.
        let ramp = |nodes: usize| -> Vec<f64> {
            (0..nodes).map(|n| 2.0 + 3.0 * n as f64 / 10.0).collect()
        };
        let penalty = DepthPenalty { alpha: 0.5, tau: 7.0, depth: 10 };
        assert!((penalty.value(11, &ramp(11)) - 0.5 * (9.0 + 28.0)).abs() < 1e-13);
        assert!((penalty.value(10, &ramp(10)) - 0.5 * (8.1 + 28.0)).abs() < 1e-13);
        assert_eq!(penalty.value(1, &[2.0]), 0.5 * 28.0);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        for nodes in NODES {
            for penalty in penalties(nodes) {
                let values = random(3 * nodes, 1);
                let mut gradient = vec![0.0; values.len()];
                penalty.add_gradient(nodes, &values, &mut gradient);
                for i in 0..values.len() {
                    let moved = |by: f64| {
                        let mut values = values.clone();
                        values[i] += by;
                        penalty.value(nodes, &values)
                    };
                    // Of a quadratic function central differences are exact for any step but for
                    // roundings of P.
                    let slope = (moved(0.5) - moved(-0.5)) / 1.0;
                    let error = (slope - gradient[i]).abs();
                    assert!(error < 1e-8 * size(&gradient).max(1.0), "{penalty:?}, entry {i}");
                }
            }
        }
    }

    #[test]
    fn single_precision_rounds_the_gradient_of_double_precision_once() {
        let values: Vec<f32> = random(40, 2).iter().map(|v| *v as f32).collect();
        let wide: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
        let penalty = DepthPenalty { alpha: 1e-4, tau: 1.0, depth: 8 };
        let (mut single, mut double) = (vec![0f32; 40], vec![0.0; 40]);
        penalty.add_gradient(8, &values, &mut single);
        penalty.add_gradient(8, &wide, &mut double);
        assert!(single.iter().zip(&double).all(|(single, double)| *single == *double as f32));
        assert_eq!(penalty.value(8, &values), penalty.value(8, &wide));
    }

    #[test]
    fn the_proximal_step_solves_its_optimality_equation() {
        for nodes in NODES {
            for penalty in penalties(nodes) {
                for rate in [0.0, 1e-3, 1.0, 1e6] {
                    let start = random(130 * nodes, 3);
                    let mut end = start.clone();
                    penalty.proximal(nodes, rate, &mut end);
                    // z − y + η ∇P(z) = 0.
                    let mut gradient = vec![0.0; end.len()];
                    penalty.add_gradient(nodes, &end, &mut gradient);
                    let residual: Vec<f64> =
                        (0..end.len()).map(|i| end[i] - start[i] + rate * gradient[i]).collect();
                    // Roundings of the largest of the terms, η λ |z|.
                    let scale = 1.0 + rate * penalty.largest_curvature(nodes);
                    let error = size(&residual);
                    assert!(error < 1e-14 * scale * size(&start), "{penalty:?} {rate}: {error}");
                    assert!(size(&end) <= size(&start) * (1.0 + 1e-12), "never grows");
                }
            }
        }
    }

    #[test]
    fn the_largest_curvature_is_that_of_the_closed_form_and_below_its_bound() {
        for nodes in NODES {
            for penalty in penalties(nodes) {
                let n = penalty.depth as f64;
                let found = penalty.largest_curvature(nodes) / (2.0 * penalty.alpha);
                assert!(found <= 4.0 * n + penalty.tau, "{penalty:?}: {found}");
                let path = 2.0 * n * (1.0 + (std::f64::consts::PI / nodes as f64).cos());
                if penalty.tau == 0.0 {
                    assert!((found - path).abs() < 1e-12 * (1.0 + path), "{found} {path}");
                } else {
                    assert!(found > path, "the start adds to it: {found} {path}");
                }
            }
        }
    }

    /// Descends along ½ |θ − y|² + P, whose minimiser is prox with η = 1.
    fn descend(
        penalty: DepthPenalty,
        nodes: usize,
        steps: usize,
        step: impl Fn(&DepthPenalty, &mut [f64], &[f64]),
    ) -> (Vec<f64>, f64) {
        let target = random(2 * nodes, 4);
        let mut minimiser = target.clone();
        penalty.proximal(nodes, 1.0, &mut minimiser);
        let mut theta = random(2 * nodes, 5);
        for _ in 0..steps {
            step(&penalty, &mut theta, &target);
        }
        let error: Vec<f64> = theta.iter().zip(&minimiser).map(|(a, b)| a - b).collect();
        let error = size(&error);
        (theta, error)
    }

    fn explicit(rate: f64, nodes: usize) -> impl Fn(&DepthPenalty, &mut [f64], &[f64]) {
        move |penalty, theta, target| {
            let mut gradient: Vec<f64> = theta.iter().zip(target).map(|(t, y)| t - y).collect();
            penalty.add_gradient(nodes, theta, &mut gradient);
            theta.iter_mut().zip(&gradient).for_each(|(t, g)| *t -= rate * g);
        }
    }

    fn proximal(rate: f64, nodes: usize) -> impl Fn(&DepthPenalty, &mut [f64], &[f64]) {
        move |penalty, theta, target| {
            theta.iter_mut().zip(target).for_each(|(t, y)| *t -= rate * (*t - y));
            penalty.proximal(nodes, rate, theta);
        }
    }

    #[test]
    fn explicit_and_proximal_steps_reach_the_same_minimiser() {
        for (nodes, depth) in [(1, 1), (12, 12), (13, 12)] {
            let penalty = DepthPenalty { alpha: 0.05, tau: 1.0, depth };
            let stable = 1.0 / (1.0 + penalty.largest_curvature(nodes));
            // The slowest part shrinks by 1 − η at least a step.
            let (_, error) = descend(penalty, nodes, 800, explicit(stable, nodes));
            assert!(error < 1e-12, "explicit, {nodes} nodes: {error}");
            let (_, error) = descend(penalty, nodes, 800, proximal(stable, nodes));
            assert!(error < 1e-12, "proximal, {nodes} nodes: {error}");
            // 60 times the longest stable explicit step, as far as the other term allows.
            let (_, error) = descend(penalty, nodes, 200, proximal(0.9, nodes));
            assert!(error < 1e-12, "proximal with a long step, {nodes} nodes: {error}");
        }
    }

    #[test]
    fn explicit_steps_diverge_just_above_the_bound_and_not_just_below() {
        for (nodes, depth, tau) in [(16, 16, 0.0), (17, 16, 1.0), (3, 3, 40.0)] {
            let penalty = DepthPenalty { alpha: 0.2, tau, depth };
            let bound = 2.0 / (1.0 + penalty.largest_curvature(nodes));
            let after = |rate: f64, steps| descend(penalty, nodes, steps, explicit(rate, nodes)).1;
            let (early, late) = (after(0.99 * bound, 500), after(0.99 * bound, 1500));
            assert!(late < 1e-6 * early.max(1e-3), "below: {early} {late}");
            let (early, late) = (after(1.01 * bound, 500), after(1.01 * bound, 1500));
            // 1.02 a step is 4e8 in 1000 steps.
            assert!(late > 1e6 * early && early > 1.0, "above: {early} {late}");
        }
    }

    #[test]
    fn momentum_moves_the_bound_to_two_times_one_plus_momentum() {
        let penalty = DepthPenalty { alpha: 0.2, tau: 1.0, depth: 16 };
        let curvature = penalty.largest_curvature(16);
        let after = |factor: f64| {
            let rate = factor * 2.0 * (1.0 + 0.9) / curvature;
            let (mut theta, mut velocity) = (random(16, 6), vec![0.0; 16]);
            for _ in 0..2000 {
                let mut gradient = vec![0.0; 16];
                penalty.add_gradient(16, &theta, &mut gradient);
                for ((t, v), g) in theta.iter_mut().zip(&mut velocity).zip(&gradient) {
                    *v = 0.9 * *v + g;
                    *t -= rate * *v;
                }
            }
            size(&theta)
        };
        assert!(after(0.99) < 1e-6, "below: {}", after(0.99));
        assert!(after(1.01) > 1e6, "above: {}", after(1.01));
    }
}
