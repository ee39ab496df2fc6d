//! Least squares: the coefficients whose function is nearest to a sampled control.
//!
//! ```text
//! min_c Σ_n ‖Σ_k S_nk c_k − θ_n‖²
//! ```
//!
//! by Gram and Schmidt's orthogonalisation of the columns of S, each made orthogonal twice (Giraud,
//! Langou, Rozložník 2005: then orthogonal to rounding), in double precision. It projects: fitting what
//! was fitted changes nothing but rounding.

use super::{Control, Sampling};
use crate::Real;

/// Nodes that do not tell the functions of a basis apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{nodes} nodes do not tell {coefficients} coefficients apart; take fewer coefficients or more nodes"
)]
pub struct Undetermined {
    /// Nodes.
    pub nodes: usize,
    /// Coefficients.
    pub coefficients: usize,
}

/// S = Q R.
#[derive(Default)]
struct Factors {
    /// The columns of Q, orthonormal.
    columns: Vec<Vec<f64>>,
    /// Of each column of S its parts in those up to its own.
    triangle: Vec<Vec<f64>>,
}

/// A column counts as a sum of those before it when no more than this is left of it in root mean square:
/// the functions are of size 1, and known to rounding.
const NOTHING: f64 = 1e-12;

impl Sampling {
    /// The coefficients of the function that is nearest to a control at the nodes, in the sum of squares.
    ///
    /// # Errors
    /// If other coefficients give the same function at the nodes.
    ///
    /// # Panics
    /// If the control has another number of nodes.
    pub fn fit<R: Real>(&self, control: &Control<R>) -> Result<Control<R>, Undetermined> {
        let (nodes, count) = (self.nodes(), self.coefficients());
        assert_eq!(control.nodes(), nodes, "a control at the nodes");
        let undetermined = Undetermined { nodes, coefficients: count };
        let Factors { columns, triangle } = self.orthogonalise().ok_or(undetermined)?;
        let mut found = Control::zeros(control.kinds().to_vec(), count);
        for kind in 0..control.kinds().len() {
            let length = control.kinds()[kind].len();
            // Qᵀ θ, and then R c = Qᵀ θ from the last row up.
            let mut rows = vec![vec![0.0; length]; count];
            for (row, column) in rows.iter_mut().zip(&columns) {
                for (node, q) in column.iter().enumerate() {
                    add(row, *q, control.at(kind, node).iter().map(|x| x.wide()));
                }
            }
            for k in (0..count).rev() {
                let (above, below) = rows.split_at_mut(k + 1);
                let row = &mut above[k];
                for (j, known) in (k + 1..count).zip(below) {
                    add(row, -triangle[j][k], known.iter().copied());
                }
                row.iter_mut().for_each(|x| *x /= triangle[k][k]);
            }
            let numbers = rows.into_iter().flatten().map(R::of);
            found.values_mut()[kind] = numbers.collect();
        }
        Ok(found)
    }

    /// S = Q R, where no column is a sum of those before it.
    fn orthogonalise(&self) -> Option<Factors> {
        let Factors { mut columns, mut triangle } = Factors::default();
        for k in 0..self.coefficients() {
            let mut column: Vec<f64> = (0..self.nodes()).map(|node| self.entry(node, k)).collect();
            let mut parts = vec![0.0; k + 1];
            for _ in 0..2 {
                for (part, done) in parts.iter_mut().zip(&columns) {
                    let share: f64 = column.iter().zip(done).map(|(a, b)| a * b).sum();
                    *part += share;
                    add(&mut column, -share, done.iter().copied());
                }
            }
            let left = norm(&column);
            if left <= NOTHING * (self.nodes() as f64).sqrt() {
                return None;
            }
            parts[k] = left;
            column.iter_mut().for_each(|x| *x /= left);
            columns.push(column);
            triangle.push(parts);
        }
        Some(Factors { columns, triangle })
    }
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// `sum += factor · x`.
fn add(sum: &mut [f64], factor: f64, x: impl Iterator<Item = f64>) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += factor * x);
}

#[cfg(test)]
mod tests {
    use super::super::expansion::tests::expansions;
    use super::*;
    use crate::control::{Basis, Expansion, Family, Kind};
    use crate::limit::Slope;

    fn kinds() -> Vec<Kind> {
        vec![Kind { name: "w", shape: vec![2], fan_in: 1 }]
    }

    fn sampled(nodes: usize, f: impl Fn(f64) -> f64) -> Control<f64> {
        Control::sampled(kinds(), nodes, |_, entry, s| (entry as f64 + 1.0) * f(s))
    }

    fn depths(nodes: usize) -> impl Iterator<Item = f64> {
        (0..nodes).map(move |n| n as f64 / nodes as f64)
    }

    #[test]
    fn what_lies_in_the_span_is_fitted_exactly() {
        for expansion in expansions() {
            let count = expansion.coefficients();
            for nodes in [12, 40] {
                let sampling = expansion.sampling(depths(nodes));
                let c = Control::<f64>::random(kinds(), count, Family::Independent, 1);
                let found = sampling.fit(&sampling.sample(&c)).expect("enough nodes");
                // The worst of these matrices loses a factor of some thousand.
                assert!(found.relative_error(&c) < 1e-12, "{expansion} at {nodes} nodes");
            }
        }
    }

    #[test]
    fn the_residual_of_a_fit_is_orthogonal_to_the_span() {
        for expansion in expansions() {
            let sampling = expansion.sampling(depths(30));
            let theta = Control::<f64>::random(kinds(), 30, Family::Independent, 5);
            let mut rest = sampling.sample(&sampling.fit(&theta).expect("enough nodes"));
            let pairs = rest.values_mut()[0].iter_mut().zip(&theta.values()[0]);
            pairs.for_each(|(fit, x)| *fit -= x);
            assert!(sampling.pull_back(&rest).norm() < 1e-12 * theta.norm(), "{expansion}");
        }
    }

    #[test]
    fn polynomials_are_reproduced_up_to_the_degree_of_the_pieces() {
        for (basis, degree) in
            [(Basis::Constant, 0), (Basis::Linear, 1), (Basis::Spline, 3), (Basis::Chebyshev, 5)]
        {
            let sampling = Expansion::new(basis, 6).expect("six").sampling(depths(50));
            let error = |power: i32| {
                let theta = sampled(50, |s| (s - 0.3).powi(power));
                sampling.sample(&sampling.fit(&theta).expect("enough")).relative_error(&theta)
            };
            for power in 0..=degree {
                assert!(error(power) < 1e-13, "{basis}: degree {power}: {:e}", error(power));
            }
            assert!(error(degree + 1) > 1e-5, "{basis}: degree {}", degree + 1);
        }
    }

    /// L² error of the best fit of a smooth function, as a slope in the number of pieces.
    #[test]
    fn smooth_functions_are_met_with_the_order_of_the_basis() {
        let error = |basis: Basis, count: usize, f: &dyn Fn(f64) -> f64| {
            let sampling = Expansion::new(basis, count).expect("enough").sampling(depths(4096));
            let theta = sampled(4096, f);
            sampling.sample(&sampling.fit(&theta).expect("enough nodes")).relative_error(&theta)
        };
        let wave = |s: f64| (5.0 * s).sin() + s.exp();
        for (basis, order) in [(Basis::Constant, 1.0), (Basis::Linear, 2.0), (Basis::Spline, 4.0)] {
            let points = [8, 16, 32, 64].map(|pieces| {
                let count = pieces + basis.least() - 1;
                (pieces as f64, error(basis, count, &wave))
            });
            let slope = Slope::fit(&points).value;
            assert!((slope + order).abs() < 0.1, "{basis}: {slope:.2}, not −{order}");
        }
        let fast = [5, 9, 13].map(|count| error(Basis::Chebyshev, count, &wave));
        assert!(fast[1] < 1e-2 * fast[0] && fast[2] < 1e-3 * fast[1], "{fast:?}");
        let periodic = |s: f64| (std::f64::consts::TAU * s).cos().exp();
        let fast = [5, 11, 21].map(|count| error(Basis::Fourier, count, &periodic));
        assert!(fast[1] < 1e-2 * fast[0] && fast[2] < 1e-5 * fast[1], "{fast:?}");
        // θ(0) ≠ θ(1) is a jump to functions of period 1.
        let points = [9, 17, 33, 65, 129].map(|n| (n as f64, error(Basis::Fourier, n, &wave)));
        let slope = Slope::fit(&points).value;
        assert!((slope + 0.5).abs() < 0.05, "fourier of a jump: {slope:.2}");
    }

    #[test]
    fn coefficients_that_no_node_sees_are_refused_with_their_number() {
        let spline = Expansion::new(Basis::Spline, 8).expect("eight");
        let error = spline.sampling(depths(7)).fit(&sampled(7, |s| s)).expect_err("too few nodes");
        assert_eq!(error, Undetermined { nodes: 7, coefficients: 8 });
        assert!(error.to_string().starts_with("7 nodes do not tell 8 coefficients apart"));
    }
}
