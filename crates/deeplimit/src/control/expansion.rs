//! A basis with its number of coefficients, and its values at the nodes of a depth.
//!
//! ```text
//! θ_n = Σ_k S_nk c_k,   S_nk = φ_k(s_n),        ∂loss/∂c_k = Σ_n S_nk ∂loss/∂θ_n
//! ```
//!
//! The nodes are s_n = n/N: n = 0 … N−1 for Euler steps and the other schemes with a node a step,
//! n = 0 … N for those with a node at both ends of every step
//! ([`AnyScheme::node_depths`](crate::AnyScheme::node_depths)). Coefficients are a [`Control`] whose rows are
//! coefficients instead of nodes: an array `[coefficients, shape…]` a kind.

use super::{Basis, BasisError, Control, Side};
use crate::Real;
use rayon::prelude::*;

/// θ(s) = Σ_k c_k φ_k(s) with K coefficients, whatever their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expansion {
    basis: Basis,
    coefficients: usize,
}

impl Expansion {
    /// A basis with K coefficients.
    ///
    /// # Errors
    /// If the basis takes more coefficients than that, or has none of that number.
    pub fn new(basis: Basis, coefficients: usize) -> Result<Self, BasisError> {
        basis.check(coefficients)?;
        Ok(Self { basis, coefficients })
    }

    /// The basis.
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// K.
    pub fn coefficients(&self) -> usize {
        self.coefficients
    }

    /// Most coefficients of this basis that `steps` steps with so many nodes can tell apart. Nodes at 0
    /// and 1 are one to functions of period 1.
    pub fn most_coefficients(&self, steps: usize, nodes: usize) -> usize {
        match self.basis {
            Basis::Fourier => steps - (steps + 1) % 2,
            _ => nodes,
        }
    }

    /// The depths strictly between 0 and 1 at which a function, or a derivative of one, jumps.
    pub fn breaks(&self) -> Vec<f64> {
        let pieces = self.basis.pieces(self.coefficients);
        (1..pieces).map(|piece| piece as f64 / pieces as f64).collect()
    }

    /// φ_k at some depths in [0, 1].
    pub fn sampling(&self, depths: impl IntoIterator<Item = f64>) -> Sampling {
        self.sampling_on(depths, Side::After)
    }

    /// φ_k at some depths in [0, 1], from one side.
    pub fn sampling_on(&self, depths: impl IntoIterator<Item = f64>, side: Side) -> Sampling {
        let reach = self.basis.reach(self.coefficients);
        let (mut first, mut values, mut here) = (Vec::new(), Vec::new(), vec![0.0; reach]);
        for s in depths {
            first.push(self.basis.at(self.coefficients, s, side, &mut here));
            values.extend(&here);
        }
        Sampling { coefficients: self.coefficients, reach, first, values }
    }
}

/// Such as `8 spline coefficients`.
impl std::fmt::Display for Expansion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = if self.coefficients == 1 { "" } else { "s" };
        write!(f, "{} {} coefficient{plural}", self.coefficients, self.basis)
    }
}

/// The matrix S `[nodes, coefficients]` of a basis at some nodes; only the entries of the functions that
/// reach a node are kept. Sums are in double precision.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    coefficients: usize,
    reach: usize,
    /// For each node the first function that reaches it.
    first: Vec<usize>,
    /// `[nodes, reach]`.
    values: Vec<f64>,
}

impl Sampling {
    /// Rows of the matrix.
    pub fn nodes(&self) -> usize {
        self.first.len()
    }

    /// Columns of the matrix.
    pub fn coefficients(&self) -> usize {
        self.coefficients
    }

    /// S_nk.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn entry(&self, node: usize, coefficient: usize) -> f64 {
        let place = coefficient.checked_sub(self.first[node]).filter(|place| *place < self.reach);
        place.map_or(0.0, |place| self.values[node * self.reach + place])
    }

    /// S c: the control at the nodes.
    ///
    /// # Panics
    /// If there are not K coefficients.
    pub fn sample<R: Real>(&self, coefficients: &Control<R>) -> Control<R> {
        assert_eq!(coefficients.nodes(), self.coefficients, "as many coefficients as functions");
        combine(coefficients, self.nodes(), |node, add| {
            let values = &self.values[node * self.reach..][..self.reach];
            for (index, value) in values.iter().enumerate() {
                add(self.first[node] + index, *value);
            }
        })
    }

    /// Sᵀ g: the gradient of the coefficients for that of the control at the nodes.
    ///
    /// # Panics
    /// If the gradient has another number of nodes.
    pub fn pull_back<R: Real>(&self, gradient: &Control<R>) -> Control<R> {
        assert_eq!(gradient.nodes(), self.nodes(), "as many nodes as rows");
        combine(gradient, self.coefficients, |coefficient, add| {
            for node in 0..self.nodes() {
                let value = self.entry(node, coefficient);
                if value != 0.0 {
                    add(node, value);
                }
            }
        })
    }
}

/// A control whose rows are sums of the rows of another one: `terms(row, add)` calls `add(index, factor)`
/// for each of them. Rows are shared by threads, and each is added up in the order of its terms.
fn combine<R: Real>(
    from: &Control<R>,
    rows: usize,
    terms: impl Fn(usize, &mut dyn FnMut(usize, f64)) + Sync,
) -> Control<R> {
    let mut to = Control::zeros(from.kinds().to_vec(), rows);
    let lengths: Vec<usize> = from.kinds().iter().map(super::Kind::len).collect();
    for (kind, (values, length)) in to.values_mut().iter_mut().zip(lengths).enumerate() {
        values.par_chunks_exact_mut(length.max(1)).enumerate().for_each_init(
            || vec![0.0; length],
            |sum, (row, values)| {
                sum.fill(0.0);
                terms(row, &mut |index, factor| {
                    let term = from.at(kind, index);
                    sum.iter_mut().zip(term).for_each(|(sum, x)| *sum += factor * x.wide());
                });
                values.iter_mut().zip(sum).for_each(|(value, sum)| *value = R::of(*sum));
            },
        );
    }
    to
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::control::{Family, Kind};
    use crate::{AnyScheme, Scheme};

    fn kinds() -> Vec<Kind> {
        vec![
            Kind { name: "w", shape: vec![2, 3], fan_in: 3 },
            Kind { name: "b", shape: vec![2], fan_in: 3 },
        ]
    }

    fn dot(a: &Control<f64>, b: &Control<f64>) -> f64 {
        a.iter().zip(b.iter()).map(|(a, b)| a * b).sum()
    }

    /// Every basis with a number of coefficients that straddles its least.
    pub(in crate::control) fn expansions() -> impl Iterator<Item = Expansion> {
        Basis::ALL.into_iter().flat_map(|basis| {
            let counts = [1, 2, 3, 4, 5, 9].into_iter();
            counts.filter_map(move |count| Expansion::new(basis, count).ok())
        })
    }

    #[test]
    fn the_pull_back_is_the_transpose_of_sampling() {
        for scheme in [Scheme::EULER, Scheme::HEUN].map(AnyScheme::from) {
            for expansion in expansions() {
                for steps in [1, 2, 3, 16, 33] {
                    let sampling = expansion.sampling(scheme.node_depths(steps));
                    let count = expansion.coefficients();
                    let c = Control::random(kinds(), count, Family::Independent, 1);
                    let g = Control::random(kinds(), sampling.nodes(), Family::Independent, 2);
                    let (there, back) =
                        (dot(&sampling.sample(&c), &g), dot(&c, &sampling.pull_back(&g)));
                    // Sums of some hundred products of size 1.
                    assert!((there - back).abs() < 1e-13, "{expansion} at {steps} steps");
                }
            }
        }
    }

    #[test]
    fn samples_are_the_sums_over_the_whole_matrix() {
        let expansion = Expansion::new(Basis::Spline, 7).expect("a spline");
        let sampling = expansion.sampling((0..11).map(|n| f64::from(n) / 11.0));
        let c = Control::<f64>::random(kinds(), 7, Family::Independent, 3);
        let theta = sampling.sample(&c);
        for node in 0..11 {
            for entry in 0..6 {
                let sum: f64 = (0..7).map(|k| sampling.entry(node, k) * c.at(0, k)[entry]).sum();
                assert!((sum - theta.at(0, node)[entry]).abs() < 1e-15);
            }
        }
    }

    #[test]
    fn the_same_coefficients_are_the_same_function_at_any_depth() {
        for expansion in expansions() {
            let c = Control::<f64>::random(kinds(), expansion.coefficients(), Family::Rough, 4);
            let at = |steps: usize| {
                expansion.sampling((0..steps).map(|n| n as f64 / steps as f64)).sample(&c)
            };
            let (coarse, fine) = (at(6), at(18));
            for node in 0..6 {
                assert_eq!(coarse.at(0, node), fine.at(0, 3 * node), "{expansion} at {node}/6");
            }
        }
    }

    #[test]
    fn sums_are_in_double_precision_for_single_precision_too() {
        // 10⁶ + 0.01 + … loses the small terms in single precision.
        let kind = vec![Kind { name: "w", shape: vec![1], fan_in: 1 }];
        let mut values = vec![0.01f32; 4001];
        (values[0], values[4000]) = (1e6, -1e6);
        let gradient = Control::new(kind, 4001, vec![values]);
        let constant = Expansion::new(Basis::Constant, 1).expect("one");
        let sampling = constant.sampling((0..4001).map(|n| f64::from(n) / 4001.0));
        let found = f64::from(sampling.pull_back(&gradient).at(0, 0)[0]);
        assert!((found - 39.99).abs() < 1e-5, "{found}");
    }

    #[test]
    fn as_many_coefficients_as_nodes_are_told_apart_and_no_more() {
        for scheme in [Scheme::EULER, Scheme::RK4].map(AnyScheme::from) {
            for basis in Basis::ALL {
                for steps in [3, 6, 7] {
                    let nodes = scheme.nodes_for(steps);
                    let some = Expansion { basis, coefficients: 5 };
                    let most = some.most_coefficients(steps, nodes);
                    if most < basis.least() {
                        continue;
                    }
                    let rank = |count: usize| {
                        let expansion = Expansion { basis, coefficients: count };
                        let sampling = expansion.sampling(scheme.node_depths(steps));
                        let kind = vec![Kind { name: "w", shape: vec![1], fan_in: 1 }];
                        sampling.fit(&Control::<f64>::zeros(kind, nodes))
                    };
                    assert!(rank(most).is_ok(), "{basis}, {steps} {scheme} steps: {most}");
                    let beyond = if basis == Basis::Fourier { most + 2 } else { most + 1 };
                    assert!(rank(beyond).is_err(), "{basis}, {steps} {scheme} steps: {beyond}");
                }
            }
        }
    }
}
