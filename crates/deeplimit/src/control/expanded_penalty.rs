//! The H¹ penalty on a control in a basis, as a function of its coefficients.
//!
//! ```text
//! P(S c) = ½ cᵀ H c,   H = 2 α Sᵀ A S
//! ```
//!
//! with the matrix A of [`DepthPenalty`] and the values S of the basis at the nodes. H is dense and as small
//! as there are coefficients. Its gradient needs nothing new: that of the control, carried back by
//! [`Sampling::pull_back`].

use super::{DepthPenalty, Sampling};
use crate::Real;
use crate::limit::eigenvalues;

/// The Hessian of the penalty of one parameter kind with respect to the coefficients.
#[derive(Clone, Debug)]
pub struct ExpandedPenalty {
    /// H, `[coefficients, coefficients]`.
    hessian: Vec<f64>,
    coefficients: usize,
}

impl DepthPenalty {
    /// The penalty of a control in a basis, by its coefficients.
    ///
    /// # Panics
    /// If the nodes are not those of the penalty's depth.
    pub fn expanded(&self, sampling: &Sampling) -> ExpandedPenalty {
        let (nodes, count) = (sampling.nodes(), sampling.coefficients());
        let column = |k| (0..nodes).map(|node| sampling.entry(node, k)).collect::<Vec<f64>>();
        let columns: Vec<Vec<f64>> = (0..count).map(column).collect();
        let row = |column: &Vec<f64>| {
            let mut slope = vec![0.0; nodes];
            self.add_gradient(nodes, column, &mut slope);
            let products = columns.iter().map(|other| dot(other, &slope));
            products.collect::<Vec<f64>>()
        };
        ExpandedPenalty { hessian: columns.iter().flat_map(row).collect(), coefficients: count }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl ExpandedPenalty {
    /// The largest eigenvalue of H; what that says of explicit steps is said at
    /// [`DepthPenalty::largest_curvature`]. Infinite where rounding hides it.
    pub fn largest_curvature(&self) -> f64 {
        let all = eigenvalues(&self.hessian, self.coefficients);
        all.map_or(f64::INFINITY, |all| all.iter().map(|[real, _]| *real).fold(0.0, f64::max))
    }

    /// The proximal step of length η = `rate` in place: c ← (I + η H)⁻¹ c, in the plain metric of the
    /// coefficients, by Cholesky's factorisation in double precision.
    ///
    /// # Panics
    /// If the array is not one of the coefficients, or `rate` is negative.
    pub fn proximal<R: Real>(&self, rate: f64, values: &mut [R]) {
        assert!(rate >= 0.0, "a step has a length");
        let count = self.coefficients;
        assert!(values.len().is_multiple_of(count), "an array of {count} coefficients");
        let (factor, width) = (self.factored(rate), values.len() / count);
        let mut wide: Vec<f64> = values.iter().map(|v| v.wide()).collect();
        // L y = c from the first row down, Lᵀ x = y from the last row up.
        for row in 0..count {
            take(&mut wide, width, row, 0..row, |other| factor[row * count + other]);
            scale(&mut wide[row * width..][..width], factor[row * count + row]);
        }
        for row in (0..count).rev() {
            take(&mut wide, width, row, row + 1..count, |other| factor[other * count + row]);
            scale(&mut wide[row * width..][..width], factor[row * count + row]);
        }
        values.iter_mut().zip(wide).for_each(|(place, v)| *place = R::of(v));
    }

    /// The lower triangle L of I + η H = L Lᵀ.
    fn factored(&self, rate: f64) -> Vec<f64> {
        let count = self.coefficients;
        let mut factor = vec![0.0; count * count];
        for row in 0..count {
            for column in 0..=row {
                let known =
                    dot(&factor[row * count..][..column], &factor[column * count..][..column]);
                let unit = f64::from(u8::from(row == column));
                let left = unit + rate * self.hessian[row * count + column] - known;
                factor[row * count + column] =
                    // The matrix is at least the unit matrix, so its pivots are at least 1.
                    if row == column { left.max(1.0).sqrt() } else { left / factor[column * count + column] };
            }
        }
        factor
    }
}

/// Takes multiples of other rows from a row.
fn take(
    values: &mut [f64],
    width: usize,
    row: usize,
    others: std::ops::Range<usize>,
    factor: impl Fn(usize) -> f64,
) {
    for other in others {
        let factor = factor(other);
        for column in 0..width {
            values[row * width + column] -= factor * values[other * width + column];
        }
    }
}

fn scale(row: &mut [f64], by: f64) {
    row.iter_mut().for_each(|v| *v /= by);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Basis, Control, Expansion, Kind};
    use crate::seed;

    const PENALTY: DepthPenalty = DepthPenalty { alpha: 0.03, tau: 0.7, depth: 24 };

    fn sampling(basis: Basis, coefficients: usize) -> Sampling {
        let expansion = Expansion::new(basis, coefficients).unwrap();
        expansion.sampling((0..24).map(|node| f64::from(node) / 24.0))
    }

    fn random(count: usize, seed: u64) -> Vec<f64> {
        (0..count).map(|i| seed::uniform(seed, i as u64)).collect()
    }

    /// The gradient of P(S c), by the penalty of the sampled control.
    fn gradient(sampling: &Sampling, coefficients: &[f64]) -> Vec<f64> {
        let width = coefficients.len() / sampling.coefficients();
        let kinds = vec![Kind { name: "w", shape: vec![width], fan_in: 1 }];
        let nodes = sampling.nodes();
        let trained =
            Control::new(kinds.clone(), sampling.coefficients(), vec![coefficients.to_vec()]);
        let mut slope = vec![0.0; nodes * width];
        PENALTY.add_gradient(nodes, &sampling.sample(&trained).values()[0], &mut slope);
        sampling.pull_back(&Control::new(kinds, nodes, vec![slope])).into_values().swap_remove(0)
    }

    #[test]
    fn the_proximal_step_of_coefficients_solves_its_optimality_equation() {
        for (basis, count) in [(Basis::Spline, 8), (Basis::Chebyshev, 5), (Basis::Constant, 3)] {
            let sampling = sampling(basis, count);
            let penalty = PENALTY.expanded(&sampling);
            for rate in [0.0, 0.1, 1e4] {
                let start = random(3 * count, 1);
                let mut end = start.clone();
                penalty.proximal(rate, &mut end);
                let slope = gradient(&sampling, &end);
                let scale = 1.0 + rate * penalty.largest_curvature();
                for ((end, start), slope) in end.iter().zip(&start).zip(&slope) {
                    let residual = end - start + rate * slope;
                    assert!(residual.abs() < 1e-13 * scale, "{basis} {rate}: {residual}");
                }
            }
        }
    }

    #[test]
    fn explicit_steps_along_coefficients_diverge_just_above_the_bound_and_not_just_below() {
        let sampling = sampling(Basis::Spline, 8);
        let bound = 2.0 / PENALTY.expanded(&sampling).largest_curvature();
        let after = |rate: f64| {
            let mut c = random(8, 2);
            for _ in 0..2000 {
                let slope = gradient(&sampling, &c);
                c.iter_mut().zip(&slope).for_each(|(c, g)| *c -= rate * g);
            }
            c.iter().map(|c| c * c).sum::<f64>().sqrt()
        };
        assert!(after(0.99 * bound) < 3.0, "below: {}", after(0.99 * bound));
        assert!(after(1.01 * bound) > 1e6, "above: {}", after(1.01 * bound));
    }
}
