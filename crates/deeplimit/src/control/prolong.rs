//! Controls carried to the nodes of another depth: refinement and its reverse.
//!
//! ```text
//! θ given at s_n = n/N  →  θ at s_m = m/M,   N → M > N prolongs, M < N restricts
//! ```
//!
//! Nodes lie as the schemes read them: N nodes n/N, n = 0 … N−1 (one a step), or N + 1 nodes at both
//! ends of every step. Between nodes the values come from a function of depth, after the last of N nodes
//! from θ_N := θ_{N−1}, the convention of the weight interpolant (Sander, Ablin, Peyré 2022, section 2).
//!
//! | [`ProlongBy`] | function of depth | exact for |
//! |---|---|---|
//! | `Constant` | θ_n over step n; with N + 1 nodes that of the nearest node | constants |
//! | `Linear` | affine between nodes: the weight interpolant itself | affine controls |
//! | `Cubic` | cubic spline with not-a-knot ends (de Boor 1978, chapter IV) | cubic controls |
//! | `Average` | its means over the new nodes' steps, of `Constant` | constants |
//!
//! The first three sample their function at the new nodes, in refinement and restriction alike.
//! `Average` is the orthogonal projection in L²(0, 1) from piecewise constants onto piecewise constants;
//! it undoes `Constant` refinement exactly. Where a new node lies on an old one, sampling keeps its bits.
//! With fewer than four nodes the spline is the polynomial through all of them.
//!
//! A network of smooth weights moves by O(1/N) with Euler steps, since both networks are so near to the
//! same neural ODE. h = 1/N is in the flow: weights need no rescaling. *Gradients* do: ∂ℓ/∂θ_n is a
//! density in depth times the share of depth that node n stands for, 1/N, or half of that at the ends of
//! N + 1 nodes. So does what an optimiser remembers of them, of which
//! [`gradients`](Prolongation::gradients) takes care.

use super::Control;
use super::tridiagonal::Tridiagonal;
use crate::Real;
use serde::{Deserialize, Serialize};

/// The function of depth that gives values at the new nodes. See the [module's](self) table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProlongBy {
    /// Piecewise constant.
    Constant,
    /// Piecewise affine.
    #[default]
    Linear,
    /// Cubic spline with not-a-knot ends.
    Cubic,
    /// Means over the new steps of the piecewise constant function.
    Average,
}

impl ProlongBy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Constant, Self::Linear, Self::Cubic, Self::Average];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Linear => "linear",
            Self::Cubic => "cubic",
            Self::Average => "average",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.name() == name)
    }
}

/// A way from the nodes of one depth to those of another.
///
/// # Example
/// ```
/// use deeplimit::control::{ProlongBy, Prolongation};
///
/// let finer = Prolongation::new(ProlongBy::Linear, [2, 4], 2); // N = 2 steps and nodes to 4
/// assert_eq!(finer.values(&[0.0, 1.0]), [0.0, 0.5, 1.0, 1.0]);
/// let both_ends = Prolongation::new(ProlongBy::Linear, [2, 4], 3);
/// assert_eq!(both_ends.values(&[0.0, 1.0, 2.0]), [0.0, 0.5, 1.0, 1.5, 2.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prolongation {
    by: ProlongBy,
    from: Grid,
    to: Grid,
}

/// Nodes of a depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Grid {
    depth: usize,
    /// Whether there is a node at s = 1.
    closed: bool,
}

impl Grid {
    fn nodes(self) -> usize {
        self.depth + usize::from(self.closed)
    }

    /// The part of [0, 1] that a node stands for, as two whole multiples of 1/(2 N).
    fn cell(self, node: usize) -> [usize; 2] {
        match self.closed {
            true => [(2 * node).saturating_sub(1), (2 * node + 1).min(2 * self.depth)],
            false => [2 * node, 2 * node + 2],
        }
    }

    /// Length of that part.
    fn share(self, node: usize) -> f64 {
        let [start, end] = self.cell(node);
        (end - start) as f64 / (2 * self.depth) as f64
    }
}

impl Prolongation {
    /// From `depths[0]` steps on so many nodes to `depths[1]` steps, on as many nodes or one more, as
    /// before.
    ///
    /// # Panics
    /// If a depth is 0, or there are not as many nodes as steps or one more.
    pub fn new(by: ProlongBy, depths: [usize; 2], nodes: usize) -> Self {
        let [from, to] = depths;
        assert!(from > 0 && to > 0, "a flow has at least one step");
        assert!(nodes == from || nodes == from + 1, "{nodes} nodes of {from} steps");
        let grid = |depth| Grid { depth, closed: nodes > from };
        Self { by, from: grid(from), to: grid(to) }
    }

    /// Nodes afterwards.
    pub fn nodes(&self) -> usize {
        self.to.nodes()
    }

    /// A function of depth, such as weights or running statistics, at the new nodes: from one array
    /// `[nodes, …]` to another, computed in double precision.
    ///
    /// # Panics
    /// If the array is not one of the old nodes.
    pub fn values<R: Real>(&self, values: &[R]) -> Vec<R> {
        self.carried(self.by, values, 0)
    }

    /// [`values`](Self::values) of what is never negative, such as variances: `Cubic` is done linearly,
    /// since a spline may undershoot.
    ///
    /// # Panics
    /// If the array is not one of the old nodes.
    pub fn positive_values<R: Real>(&self, values: &[R]) -> Vec<R> {
        self.carried(self.without_undershoot(), values, 0)
    }

    /// Gradients of nodes, or means of their `power`-th powers, at the new nodes: their densities are
    /// carried as [`values`](Self::values), those of squares as
    /// [`positive_values`](Self::positive_values).
    ///
    /// # Panics
    /// If the array is not one of the old nodes.
    pub fn gradients<R: Real>(&self, values: &[R], power: u32) -> Vec<R> {
        let by = if power.is_multiple_of(2) { self.without_undershoot() } else { self.by };
        self.carried(by, values, power)
    }

    fn without_undershoot(&self) -> ProlongBy {
        if self.by == ProlongBy::Cubic { ProlongBy::Linear } else { self.by }
    }

    /// `values` over the `power`-th power of their shares of depth, at the new nodes times that of
    /// theirs.
    fn carried<R: Real>(&self, by: ProlongBy, values: &[R], power: u32) -> Vec<R> {
        let nodes = self.from.nodes();
        assert!(values.len().is_multiple_of(nodes), "an array of {nodes} nodes");
        let width = values.len() / nodes;
        let power = power.cast_signed();
        let bends = if by == ProlongBy::Cubic { self.bends(values, power) } else { Vec::new() };
        let mut carried = Vec::with_capacity(self.nodes() * width);
        let mut row = vec![0.0; width];
        for node in 0..self.nodes() {
            row.fill(0.0);
            let share = self.to.share(node);
            for (source, weight) in self.weights(by, node) {
                let weight = weight * (share / self.from.share(source)).powi(power);
                let values = &values[source * width..][..width];
                row.iter_mut().zip(values).for_each(|(sum, v)| *sum += weight * v.wide());
            }
            if by == ProlongBy::Cubic {
                for (source, weight) in self.bend_weights(node) {
                    let bends = &bends[source * width..][..width];
                    let weight = weight * share.powi(power);
                    row.iter_mut().zip(bends).for_each(|(sum, bend)| *sum += weight * bend);
                }
            }
            carried.extend(row.iter().map(|sum| R::of(*sum)));
        }
        carried
    }

    /// The old node at or before a new one, and the way from it to the next in (0, 1): none on a node,
    /// or after the last.
    fn place(&self, node: usize) -> (usize, Option<f64>) {
        let (whole, rest) =
            (node * self.from.depth / self.to.depth, node * self.from.depth % self.to.depth);
        let last = self.from.nodes() - 1;
        match rest > 0 && whole < last {
            true => (whole, Some(rest as f64 / self.to.depth as f64)),
            false => (whole.min(last), None),
        }
    }

    /// What a new node takes of the old ones; of a spline, but for its bends.
    fn weights(&self, by: ProlongBy, node: usize) -> Vec<(usize, f64)> {
        let (before, fraction) = self.place(node);
        match (by, fraction) {
            (ProlongBy::Average, _) => self.overlaps(node),
            (ProlongBy::Constant, Some(fraction)) if self.from.closed && fraction >= 0.5 => {
                vec![(before + 1, 1.0)]
            }
            (ProlongBy::Linear | ProlongBy::Cubic, Some(fraction)) => {
                vec![(before, 1.0 - fraction), (before + 1, fraction)]
            }
            _ => vec![(before, 1.0)],
        }
    }

    /// The shares that old nodes' cells have in the cell of a new node.
    fn overlaps(&self, node: usize) -> Vec<(usize, f64)> {
        // In whole multiples of 1/(2 N M).
        let cell = |grid: Grid, node, other: Grid| grid.cell(node).map(|end| end * other.depth);
        let [start, end] = cell(self.to, node, self.from);
        let overlap = |source: usize| {
            let [first, last] = cell(self.from, source, self.to);
            let common = last.min(end).saturating_sub(first.max(start));
            (common > 0).then(|| (source, common as f64 / (end - start) as f64))
        };
        let first = (start / (2 * self.to.depth)).saturating_sub(1);
        let last = (end / (2 * self.to.depth) + 1).min(self.from.nodes() - 1);
        (first..=last).filter_map(overlap).collect()
    }

    /// What a new node takes of the second derivatives m of the spline on nodes at distance 1:
    /// S(t) = (1−t) y_0 + t y_1 − t (1−t) ((2−t) m_0 + (1+t) m_1) / 6.
    fn bend_weights(&self, node: usize) -> Vec<(usize, f64)> {
        let (before, fraction) = self.place(node);
        let Some(t) = fraction else { return Vec::new() };
        let factor = -t * (1.0 - t) / 6.0;
        vec![(before, factor * (2.0 - t)), (before + 1, factor * (1.0 + t))]
    }

    /// Second derivatives at the old nodes of the spline through densities on nodes at distance 1:
    /// m_{n−1} + 4 m_n + m_{n+1} = 6 (y_{n−1} − 2 y_n + y_{n+1}) inside; not-a-knot, that is
    /// m_0 − 2 m_1 + m_2 = 0, at both ends, which leaves 6 m_1 on the left of the first equation.
    fn bends<R: Real>(&self, values: &[R], power: i32) -> Vec<f64> {
        let nodes = self.from.nodes();
        let width = values.len() / nodes;
        let mut bends = vec![0.0; values.len()];
        if nodes < 3 {
            return bends;
        }
        let density = |node: usize, i: usize| {
            values[node * width + i].wide() / self.from.share(node).powi(power)
        };
        for node in 1..nodes - 1 {
            for i in 0..width {
                let [before, here, after] = [node - 1, node, node + 1].map(|n| density(n, i));
                bends[node * width + i] = 6.0 * (before - 2.0 * here + after);
            }
        }
        let end = [0.0, 6.0, 0.0];
        let rows: Vec<[f64; 3]> = (1..nodes - 1)
            .map(|node| if node == 1 || node == nodes - 2 { end } else { [1.0, 4.0, 1.0] })
            .collect();
        Tridiagonal::new(&rows).solve(&mut bends[width..(nodes - 1) * width]);
        for i in 0..width {
            let m = |node: usize| bends[node * width + i];
            let [first, last] = match nodes {
                3 => [m(1), m(1)],
                _ => [2.0 * m(1) - m(2), 2.0 * m(nodes - 2) - m(nodes - 3)],
            };
            bends[i] = first;
            bends[(nodes - 1) * width + i] = last;
        }
        bends
    }
}

impl<R: Real> Control<R> {
    /// The control at the nodes of another depth.
    ///
    /// # Panics
    /// If the control is not one of the prolongation's old nodes.
    pub fn prolonged(&self, way: &Prolongation) -> Self {
        assert_eq!(self.nodes(), way.from.nodes(), "a control of the old nodes");
        let values = self.values().iter().map(|values| way.values(values)).collect();
        Self::new(self.kinds().to_vec(), way.nodes(), values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::uniform;

    /// Samples of a function of depth.
    fn sampled(grid: Grid, value: impl Fn(f64) -> f64) -> Vec<f64> {
        (0..grid.nodes()).map(|node| value(node as f64 / grid.depth as f64)).collect()
    }

    /// Every pair of small depths with either kind of nodes.
    fn pairs() -> impl Iterator<Item = (bool, [usize; 2])> {
        let depths = (1..=9).flat_map(|from| (1..=13).map(move |to| [from, to]));
        depths.flat_map(|pair| [false, true].map(|closed| (closed, pair)))
    }

    fn way(by: ProlongBy, closed: bool, depths: [usize; 2]) -> Prolongation {
        Prolongation::new(by, depths, depths[0] + usize::from(closed))
    }

    fn random(count: usize) -> Vec<f64> {
        (0..count as u64).map(|i| uniform(7, i)).collect()
    }

    /// Largest error of a prolonged polynomial, up to the last old node.
    fn error(by: ProlongBy, closed: bool, depths: [usize; 2], f: fn(f64) -> f64) -> f64 {
        let way = way(by, closed, depths);
        let found = way.values(&sampled(way.from, f));
        let end = (way.from.nodes() - 1) as f64 / depths[0] as f64;
        let error = |(node, found): (usize, &f64)| {
            let s = node as f64 / depths[1] as f64;
            if s <= end { (found - f(s)).abs() } else { (found - f(end)).abs() }
        };
        found.iter().enumerate().map(error).fold(0.0, f64::max)
    }

    #[test]
    fn polynomials_are_exact_up_to_their_degree_and_held_after_the_last_node() {
        let constant: fn(f64) -> f64 = |_| 2.5;
        let affine: fn(f64) -> f64 = |s| 1.0 - 3.0 * s;
        let parabola: fn(f64) -> f64 = |s| 1.0 - 3.0 * s + 2.0 * s * s;
        let cubic: fn(f64) -> f64 = |s| 1.0 - 3.0 * s + s * s - 4.0 * s.powi(3);
        for (closed, depths) in pairs() {
            let nodes = depths[0] + usize::from(closed);
            for by in ProlongBy::ALL {
                assert!(error(by, closed, depths, constant) < 1e-15, "{by:?} {closed} {depths:?}");
            }
            // A few roundings of numbers around 5.
            let exact = |by, f| {
                let error = error(by, closed, depths, f);
                assert!(error < 1e-14, "{by:?} {closed} {depths:?}: {error}");
            };
            if nodes >= 2 {
                exact(ProlongBy::Linear, affine);
                exact(ProlongBy::Cubic, affine);
            }
            if nodes >= 3 {
                exact(ProlongBy::Cubic, parabola);
            }
            if nodes >= 4 {
                exact(ProlongBy::Cubic, cubic);
            }
        }
        assert!(error(ProlongBy::Linear, true, [4, 8], parabola) > 0.01, "not of the next degree");
        let quartic: fn(f64) -> f64 = |s| s.powi(4);
        assert!(error(ProlongBy::Cubic, true, [5, 10], quartic) > 1e-5, "not of the next degree");
    }

    #[test]
    fn nodes_that_stay_keep_their_bits_and_the_same_depth_changes_nothing() {
        for (closed, [depth, factor]) in pairs() {
            for by in [ProlongBy::Constant, ProlongBy::Linear, ProlongBy::Cubic] {
                let finer = way(by, closed, [depth, factor * depth]);
                let values = random(3 * finer.from.nodes());
                let found = finer.values(&values);
                for node in 0..finer.from.nodes() {
                    let old = &values[3 * node..][..3];
                    assert_eq!(&found[3 * factor * node..][..3], old, "{by:?} {closed} {depth}");
                }
                let back = way(by, closed, [factor * depth, depth]);
                assert_eq!(back.values(&found), values, "sampling undoes it");
            }
            let same = way(ProlongBy::Average, closed, [depth, depth]);
            let values = random(same.from.nodes());
            assert_eq!(same.values(&values), values);
        }
    }

    #[test]
    fn averages_keep_the_integral_and_undo_constant_refinement() {
        for (closed, depths) in pairs() {
            let average = way(ProlongBy::Average, closed, depths);
            let values = random(average.from.nodes());
            let integral = |grid: Grid, values: &[f64]| -> f64 {
                (0..grid.nodes()).map(|node| grid.share(node) * values[node]).sum()
            };
            let (before, after) =
                (integral(average.from, &values), integral(average.to, &average.values(&values)));
            assert!((before - after).abs() < 1e-15, "{closed} {depths:?}: {before} {after}");
        }
        let values = random(5);
        let finer = way(ProlongBy::Constant, false, [5, 15]).values(&values);
        assert_eq!(finer[3..6], [values[1]; 3]);
        let back = way(ProlongBy::Average, false, [15, 5]).values(&finer);
        assert!(back.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-15));
        // By hand: 1/12 of the cell [1/6, 1/2] lies in [0, 1/4], a quarter of it.
        let average = way(ProlongBy::Average, true, [2, 3]).values(&[6.0f64, 0.0, 12.0]);
        assert_eq!(average[0], 6.0);
        assert!((average[1] - 1.5).abs() < 1e-15, "{average:?}");
    }

    #[test]
    fn linear_refinement_is_the_same_function_of_depth() {
        let kinds = vec![super::super::Kind { name: "w", shape: vec![2], fan_in: 1 }];
        let control = Control::new(kinds, 6, vec![random(12)]);
        let finer = control.prolonged(&way(ProlongBy::Linear, false, [6, 18]));
        let distance = control.depth_distance(&finer);
        assert!(distance.largest < 1e-15, "{distance:?}");
        let rough = control.prolonged(&way(ProlongBy::Constant, false, [6, 18]));
        assert!(control.depth_distance(&rough).largest > 0.1);
    }

    /// The gradient of ∫ θ g ds by nodes is g at them times their shares of depth.
    #[test]
    fn gradients_are_carried_as_densities() {
        let density = |s: f64| 2.0 - s + 0.5 * s * s;
        for closed in [false, true] {
            let way = way(ProlongBy::Cubic, closed, [8, 24]);
            let gradient = |grid: Grid, power| -> Vec<f64> {
                let densities = sampled(grid, density).into_iter().enumerate();
                densities.map(|(n, g)| (g * grid.share(n)).powi(power)).collect()
            };
            let found = way.gradients(&gradient(way.from, 1), 1);
            let exact = gradient(way.to, 1);
            let inside = 7 * 3 + 1;
            let close = |bound: f64| {
                move |(a, b): (&f64, &f64)| assert!((a / b - 1.0).abs() < bound, "{a} {b}")
            };
            found.iter().zip(&exact).take(inside).for_each(close(1e-14));
            // Squares are carried linearly: the error is h²/8 of their second derivative.
            let squares = way.gradients(&gradient(way.from, 2), 2);
            squares.iter().zip(&gradient(way.to, 2)).take(inside).for_each(close(0.01));
        }
    }

    #[test]
    fn what_is_not_negative_stays_so() {
        let spike = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
        let way = way(ProlongBy::Cubic, false, [6, 24]);
        assert!(way.values(&spike).iter().any(|v| *v < -0.01), "a spline undershoots");
        assert!(way.positive_values(&spike).iter().all(|v| *v >= 0.0));
        assert!(way.gradients(&spike, 2).iter().all(|v| *v >= 0.0));
    }

    #[test]
    fn names_are_those_of_configurations() {
        for by in ProlongBy::ALL {
            let value = serde_json::to_value(by).expect("a name");
            assert_eq!(value, by.name());
            assert_eq!(ProlongBy::named(by.name()), Some(by));
        }
    }

    #[test]
    fn one_node_gives_every_layer_the_same_weights() {
        for by in ProlongBy::ALL {
            assert_eq!(way(by, false, [1, 5]).values(&[3f32, -1.0]), [3.0, -1.0].repeat(5));
        }
    }
}
