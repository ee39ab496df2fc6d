//! The control θ(s): parameters as a function of depth, one array `[nodes, …]` a parameter kind.
//!
//! Node `n` of a residual network with Euler steps holds θ_n of layer `n`; the other schemes read
//! the control at and between the nodes `s_n = n h`, `n = 0 … N`, linearly interpolated
//! (the *weight interpolant* of Sander, Ablin, Peyré 2022, section 2).
//!
//! A [`Curve`] is a control at every depth: an [`Expansion`] in a [`Basis`] with few coefficients, which is
//! sampled at the nodes of any depth ([`Sampling`]) and has one deep limit.
//!
//! # Example
//! ```
//! use deeplimit::control::{Basis, Curve, Expansion};
//! use deeplimit::field::Layer;
//! use deeplimit::prelude::*;
//!
//! let layer = Mlp { width: 4, hidden: 8, activation: Activation::Tanh };
//! let expansion = Expansion::new(Basis::Spline, 6)?;
//! let kinds = Layer::<f64>::kinds(&layer);
//! let coefficients = Control::random(kinds, 6, deeplimit::control::Family::Smooth, 1);
//! let curve = Curve::new(expansion, coefficients);
//! let x0 = Rows::from_fn(1, 4, |_, column| column as f64 - 1.5);
//!
//! let end = |steps: usize| {
//!     let scheme = AnyScheme::from(Scheme::EULER);
//!     let control = curve.sample(scheme.node_depths(steps));
//!     Flow::new(Stacked::new(layer.clone(), control), scheme).forward(&x0)
//! };
//! let (coarse, fine, finer) = (end(8), end(64), end(512));
//! assert!(fine.distance_squared(&finer) < 0.1 * coarse.distance_squared(&finer));
//! # Ok::<(), deeplimit::control::BasisError>(())
//! ```

mod basis;
mod curve;
mod distance;
mod expanded_penalty;
mod expansion;
mod family;
mod fit;
mod numbers;
pub mod penalty;
pub mod prolong;
mod tridiagonal;

pub use basis::{Basis, BasisError, Side};
pub use curve::Curve;
pub use distance::DepthDistance;
pub use expanded_penalty::ExpandedPenalty;
pub use expansion::{Expansion, Sampling};
pub use family::Family;
pub use fit::Undetermined;
pub use numbers::{Numbers, SharedNumbers};
pub use penalty::DepthPenalty;
pub use prolong::{ProlongBy, Prolongation};

use crate::gradient::larger;
use crate::kernel::{large_pages, sums};
use crate::{Bytes, Heap, Real, seed};

/// One kind of parameter of a layer, such as the first weight matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its name in weight files, such as `w1`.
    pub name: &'static str,
    /// Its shape in one layer.
    pub shape: Vec<usize>,
    /// How many inputs one output sums over; sets the scale of random weights.
    pub fan_in: usize,
}

impl Kind {
    /// Numbers of this kind in one layer.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether a layer has no number of this kind.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Depth-stacked parameters (or their gradient): for each kind one array `[nodes, shape…]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Control<R> {
    nodes: usize,
    kinds: Vec<Kind>,
    values: Vec<Numbers<R>>,
}

impl<R: Real> Control<R> {
    /// All zeros.
    pub fn zeros(kinds: Vec<Kind>, nodes: usize) -> Self {
        let zeros = |kind: &Kind| {
            let mut zeros = vec![R::zero(); nodes * kind.len()];
            large_pages(&mut zeros, false);
            Numbers::Own(zeros)
        };
        Self { nodes, values: kinds.iter().map(zeros).collect(), kinds }
    }

    /// Takes one array `[nodes, shape…]` a kind.
    ///
    /// # Panics
    /// If there is not one array a kind, or one has the wrong length.
    pub fn new(kinds: Vec<Kind>, nodes: usize, values: Vec<Vec<R>>) -> Self {
        Self::of(kinds, nodes, values.into_iter().map(Numbers::from).collect())
    }

    /// [`new`](Self::new) from arrays that may be somebody else's.
    ///
    /// # Panics
    /// If there is not one array a kind, or one has the wrong length.
    pub fn of(kinds: Vec<Kind>, nodes: usize, mut values: Vec<Numbers<R>>) -> Self {
        assert_eq!(kinds.len(), values.len(), "one array a parameter kind");
        for (kind, values) in kinds.iter().zip(&values) {
            assert_eq!(values.len(), nodes * kind.len(), "{} at {nodes} nodes", kind.name);
        }
        for values in &mut values {
            if let Numbers::Own(values) = values {
                large_pages(values, true);
            }
        }
        Self { nodes, kinds, values }
    }

    /// Random weights of a family, from a seed: entries of size `1/√fan_in`.
    pub fn random(kinds: Vec<Kind>, nodes: usize, family: Family, seed: u64) -> Self {
        let values = kinds.iter().enumerate().map(|(index, kind)| {
            let scale = 1.0 / (kind.fan_in as f64).sqrt();
            family.sample(nodes, kind.len(), scale, seed::derive(seed, index as u64))
        });
        let values = values.map(|v| v.into_iter().map(R::of).collect()).collect();
        Self::new(kinds, nodes, values)
    }

    /// Control nodes.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// The parameter kinds, in order.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The arrays `[nodes, shape…]`, one a kind.
    pub fn values(&self) -> &[Numbers<R>] {
        &self.values
    }

    /// The arrays `[nodes, shape…]`, one a kind; those that are shared are copied before they are changed.
    pub fn values_mut(&mut self) -> &mut [Numbers<R>] {
        &mut self.values
    }

    /// The arrays, without a copy but of those that are shared.
    pub fn into_values(self) -> Vec<Vec<R>> {
        self.values.into_iter().map(Numbers::into_vec).collect()
    }

    /// The parameters of kind `kind` at node `node`.
    pub fn at(&self, kind: usize, node: usize) -> &[R] {
        let length = self.kinds[kind].len();
        &self.values[kind][node * length..(node + 1) * length]
    }

    /// All numbers of all kinds, kind by kind.
    pub fn iter(&self) -> impl Iterator<Item = R> + '_ {
        self.values.iter().flatten().copied()
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.values.iter().map(|values| values.len()).sum()
    }

    /// Whether there is no parameter at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// 2-norm over all parameters.
    pub fn norm(&self) -> f64 {
        self.values.iter().map(|values| sums::dot(values, values)).sum::<f64>().sqrt()
    }

    /// 2-norm of the difference relative to the norm of `reference`.
    ///
    /// # Panics
    /// If the two do not have the same kinds and nodes.
    pub fn relative_error(&self, reference: &Self) -> f64 {
        assert_eq!(self.kinds, reference.kinds, "controls of the same kinds");
        assert_eq!(self.nodes, reference.nodes, "controls with the same nodes");
        let squares = self.iter().zip(reference.iter());
        let difference: f64 = squares.map(|(a, b)| (a.wide() - b.wide()).powi(2)).sum();
        difference.sqrt() / reference.norm()
    }

    /// [`relative_error`](Self::relative_error) at each node by itself; 0 where two gradients vanish.
    ///
    /// # Panics
    /// If the two do not have the same kinds and nodes.
    pub fn relative_errors(&self, reference: &Self) -> Vec<f64> {
        assert_eq!(self.kinds, reference.kinds, "controls of the same kinds");
        assert_eq!(self.nodes, reference.nodes, "controls with the same nodes");
        let error = |node: usize| {
            let (mut difference, mut size) = (0.0, 0.0);
            for kind in 0..self.kinds.len() {
                for (a, b) in self.at(kind, node).iter().zip(reference.at(kind, node)) {
                    difference += (a.wide() - b.wide()).powi(2);
                    size += b.wide().powi(2);
                }
            }
            if difference == 0.0 { 0.0 } else { (difference / size).sqrt() }
        };
        (0..self.nodes).map(error).collect()
    }

    /// Rounds or widens every number.
    pub fn cast<S: Real>(&self) -> Control<S> {
        let values = self.values.iter().map(|v| v.iter().map(|v| S::of(v.wide())).collect());
        Control::new(self.kinds.clone(), self.nodes, values.collect())
    }

    /// `max_n ‖θ_{n+1} − θ_n‖₂` of each kind: small as 1/N where the weights are smooth in depth.
    pub fn largest_increments(&self) -> Vec<f64> {
        let increment = |kind: usize, node: usize| {
            let pairs = self.at(kind, node).iter().zip(self.at(kind, node + 1));
            pairs.map(|(a, b)| (b.wide() - a.wide()).powi(2)).sum::<f64>().sqrt()
        };
        let largest = |kind| {
            (0..self.nodes.saturating_sub(1)).map(|node| increment(kind, node)).fold(0.0, larger)
        };
        (0..self.kinds.len()).map(largest).collect()
    }
}

impl<R> Bytes for Control<R> {
    fn bytes(&self) -> usize {
        self.values.iter().map(|values| std::mem::size_of_val(&values[..])).sum()
    }
}

impl<R> Heap for Control<R> {
    fn heap(&self) -> usize {
        let shapes = self.kinds.iter().map(|kind| kind.shape.capacity() * size_of::<usize>());
        let handles = self.values.heap() + self.kinds.capacity() * size_of::<Kind>();
        handles + shapes.sum::<usize>()
    }
}

/// A point of the control: node `node`, or between it and the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// The node at or before the point.
    pub node: usize,
    /// How far towards the next node, in [0, 1).
    pub fraction: f64,
}

impl Position {
    /// The node itself.
    pub fn node(node: usize) -> Self {
        Self { node, fraction: 0.0 }
    }

    /// The point at `depth` node distances from node 0.
    pub fn at(depth: f64) -> Self {
        Self { node: depth.floor() as usize, fraction: depth - depth.floor() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds() -> Vec<Kind> {
        vec![Kind { name: "w", shape: vec![2, 3], fan_in: 3 }]
    }

    #[test]
    fn smooth_increments_shrink_with_depth_and_rough_ones_do_not() {
        let increments = |family, nodes| {
            Control::<f64>::random(kinds(), nodes, family, 1).largest_increments()[0]
        };
        let smooth = increments(Family::Smooth, 64) / increments(Family::Smooth, 256);
        assert!((3.5..4.5).contains(&smooth), "{smooth}");
        let rough = increments(Family::Rough, 64) / increments(Family::Rough, 256);
        assert!((0.4..1.6).contains(&rough), "{rough}");
    }

    #[test]
    fn errors_of_nodes_add_up_to_the_error_of_the_control() {
        let reference = Control::<f64>::random(kinds(), 3, Family::Rough, 1);
        let mut control = reference.clone();
        control.values_mut()[0][6] += 0.5; // The first number of node 1.
        let errors = control.relative_errors(&reference);
        assert_eq!((errors[0], errors[2]), (0.0, 0.0));
        let norm = |node| reference.at(0, node).iter().map(|v| v * v).sum::<f64>().sqrt();
        assert!((errors[1] - 0.5 / norm(1)).abs() < 1e-15);
        let whole = control.relative_error(&reference) * reference.norm();
        assert!((whole - errors[1] * norm(1)).abs() < 1e-15);
    }

    #[test]
    fn one_array_a_kind_is_addressed_by_node() {
        let control = Control::new(kinds(), 2, vec![(0..12).map(f64::from).collect()]);
        assert_eq!(control.at(0, 1), [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        assert_eq!(control.bytes(), 96);
    }
}
