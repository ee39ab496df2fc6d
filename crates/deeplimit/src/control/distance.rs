//! How far two controls are from each other as functions of depth.
//!
//! ```text
//! θ(s) affine between the nodes s_n = n/N, n = 0 … N−1, and constant after the last
//! ```
//!
//! This is the weight interpolant of a residual network of N layers (Sander, Ablin, Peyré 2022,
//! section 2, with θ_N := θ_{N−1}). A norm at one depth is the 2-norm over all numbers of all kinds.

use super::Control;
use crate::Real;

/// Distances between two controls as functions of depth, θ(s) and Θ(s).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DepthDistance {
    /// max_n ‖θ(s_n) − Θ(s_n)‖ over the nodes s_n of θ.
    pub at_nodes: f64,
    /// max_s ‖θ(s) − Θ(s)‖.
    pub largest: f64,
    /// (∫ ‖θ(s) − Θ(s)‖² ds)^½, the distance in L².
    pub root_mean_square: f64,
}

impl<R: Real> Control<R> {
    /// The samples of a function of depth at the layers of a residual network: number `entry` of kind
    /// `kind` at node n is `value(kind, entry, n / nodes)`.
    pub fn sampled(
        kinds: Vec<super::Kind>,
        nodes: usize,
        value: impl Fn(usize, usize, f64) -> f64,
    ) -> Self {
        let array = |(index, kind): (usize, &super::Kind)| {
            let length = kind.len();
            let number = |i: usize| value(index, i % length, (i / length) as f64 / nodes as f64);
            (0..nodes * length).map(|i| R::of(number(i))).collect()
        };
        let values = kinds.iter().enumerate().map(array).collect();
        Self::new(kinds, nodes, values)
    }

    /// max_n ‖θ_{n+1} − θ_n‖ over all numbers of a node: small as 1/N where the weights are smooth in
    /// depth.
    pub fn largest_increment(&self) -> f64 {
        let square = |node: usize| -> f64 {
            let pairs = (0..self.kinds.len())
                .flat_map(|kind| self.at(kind, node).iter().zip(self.at(kind, node + 1)));
            pairs.map(|(a, b)| (b.wide() - a.wide()).powi(2)).sum()
        };
        (0..self.nodes.saturating_sub(1)).map(square).fold(0.0, f64::max).sqrt()
    }

    /// Distances from another control, which may have another number of nodes. They are exact: both
    /// functions are affine between the nodes of either.
    ///
    /// # Panics
    /// If the two do not have the same kinds, or one has no node.
    pub fn depth_distance(&self, other: &Self) -> DepthDistance {
        assert_eq!(self.kinds, other.kinds, "controls of the same kinds");
        assert!(self.nodes > 0 && other.nodes > 0, "a control has at least one node");
        let (mut at_nodes, mut largest, mut integral) = (0.0, 0.0, 0.0);
        let mut before: Option<(usize, Vec<f64>)> = None;
        let size = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>();
        // Depths are whole multiples of 1/(N M), so that nodes of both that coincide are one.
        let whole = self.nodes * other.nodes;
        let (mut own, mut others) = (0, 0);
        loop {
            let depth = (own * other.nodes).min(others * self.nodes).min(whole);
            let mut difference = self.read(depth, other.nodes);
            let theirs = other.read(depth, self.nodes);
            difference.iter_mut().zip(theirs).for_each(|(a, b)| *a -= b);
            let square = size(&difference);
            largest = f64::max(largest, square);
            if depth == own * other.nodes && own < self.nodes {
                at_nodes = f64::max(at_nodes, square);
            }
            if let Some((start, first)) = before {
                let product: f64 = first.iter().zip(&difference).map(|(a, b)| a * b).sum();
                let length = (depth - start) as f64 / whole as f64;
                integral += length * (size(&first) + product + square) / 3.0;
            }
            if depth == whole {
                break;
            }
            before = Some((depth, difference));
            own += usize::from(depth == own * other.nodes);
            others += usize::from(depth == others * self.nodes);
        }
        DepthDistance {
            at_nodes: at_nodes.sqrt(),
            largest: largest.sqrt(),
            root_mean_square: integral.sqrt(),
        }
    }

    /// θ at `depth / parts` node distances from node 0, all kinds one after the other.
    pub(crate) fn read(&self, depth: usize, parts: usize) -> Vec<f64> {
        let here = (depth / parts).min(self.nodes - 1);
        let next = (here + 1).min(self.nodes - 1);
        let fraction = (depth % parts) as f64 / parts as f64;
        let kinds = (0..self.kinds.len())
            .flat_map(|kind| self.at(kind, here).iter().zip(self.at(kind, next)));
        kinds.map(|(a, b)| (1.0 - fraction) * a.wide() + fraction * b.wide()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Kind;

    /// Two numbers a node, in two kinds.
    fn sampled(nodes: usize, value: impl Fn(f64) -> [f64; 2]) -> Control<f64> {
        let kind = |name| Kind { name, shape: vec![1], fan_in: 1 };
        Control::sampled(vec![kind("w"), kind("v")], nodes, |kind, _, s| value(s)[kind])
    }

    #[test]
    fn constants_are_their_difference_apart_at_any_depths() {
        for (nodes, others) in [(1, 1), (1, 7), (4, 6), (8, 2)] {
            let distance =
                sampled(nodes, |_| [3.0, 1.0]).depth_distance(&sampled(others, |_| [0.0, 5.0]));
            for found in [distance.at_nodes, distance.largest, distance.root_mean_square] {
                assert!((found - 5.0).abs() < 1e-14, "{distance:?}");
            }
        }
    }

    #[test]
    fn a_ramp_differs_from_its_coarser_samples_only_after_their_last_node() {
        // s sampled at 0 and 1/2 is constant after 1/2; at 0, 1/4, 1/2, 3/4 after 3/4.
        let (coarse, fine) = (sampled(2, |s| [s, 0.0]), sampled(4, |s| [s, 0.0]));
        let distance = coarse.depth_distance(&fine);
        assert_eq!((distance.at_nodes, distance.largest), (0.0, 0.25));
        // ∫ over [1/2, 3/4] of (s − 1/2)² is 1/192, and 1/4 · 1/16 over the rest.
        let expected = (1.0f64 / 192.0 + 1.0 / 64.0).sqrt();
        assert!((distance.root_mean_square - expected).abs() < 1e-15, "{distance:?}");
        let back = fine.depth_distance(&coarse);
        assert_eq!((back.at_nodes, back.largest), (0.25, 0.25));
        assert_eq!(back.root_mean_square, distance.root_mean_square);
    }

    #[test]
    fn the_integral_is_that_of_many_points_where_the_nodes_do_not_coincide() {
        let (a, b) = (sampled(5, |s| [s.sin(), 0.2]), sampled(3, |s| [s * s, s]));
        let distance = a.depth_distance(&b);
        let at = |control: &Control<f64>, s: f64| {
            let place = s * control.nodes() as f64;
            let last = control.nodes() - 1;
            let (here, w) = ((place.floor() as usize).min(last), place.fract());
            [0, 1].map(|kind| {
                let node = |n: usize| control.at(kind, n.min(last))[0];
                (1.0 - w) * node(here) + w * node(here + 1)
            })
        };
        let points = 300_000;
        let square = |i: usize| {
            let s = (i as f64 + 0.5) / points as f64;
            let (a, b) = (at(&a, s), at(&b, s));
            (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)
        };
        let mean = (0..points).map(square).sum::<f64>() / points as f64;
        let most = (0..points).map(square).fold(0.0, f64::max).sqrt();
        assert!((distance.root_mean_square - mean.sqrt()).abs() < 1e-8, "{distance:?}, {mean}");
        assert!((distance.largest - most).abs() < 1e-4, "{distance:?}, {most}");
    }

    #[test]
    fn the_increment_is_taken_over_all_kinds_together() {
        let control = sampled(3, |s| [9.0 * s, 12.0 * s]);
        assert!((control.largest_increment() - 5.0).abs() < 1e-14);
        assert_eq!(sampled(1, |_| [1.0, 1.0]).largest_increment(), 0.0);
    }
}
