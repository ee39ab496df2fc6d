//! What other slopes of hidden units could change of a gradient.

use crate::kernel::{Activation, Bend, sums, vector};
use crate::{Real, Rows};

/// How far the true state lies from the point of a linearisation, and which units that concerns.
pub struct Apart<'a, S> {
    /// The point.
    pub point: &'a S,
    /// What is thought to be the true state, or a state as far away as that may be.
    pub truth: &'a S,
    /// Which units with kinks count.
    pub kinks: Kinks,
}

// Derived, it would ask the same of S.
impl<S> Copy for Apart<'_, S> {}

impl<S> Clone for Apart<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

/// Which units with kinks count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kinks {
    /// All that are near theirs: those that a way of that length, in whatever direction, could take across.
    Near,
    /// Those that the way to the true state takes across.
    Crossed,
}

impl Kinks {
    /// Where units may be moved, if it is known by how much.
    pub(super) fn ways(self, moved: &dyn Fn(usize, usize) -> f64) -> Ways<'_> {
        match self {
            Self::Near => Ways::All,
            Self::Crossed => Ways::Known(moved),
        }
    }
}

/// Where a difference of inputs may move a unit.
#[derive(Clone, Copy)]
pub(super) enum Ways<'a> {
    /// Anywhere that is not further away.
    All,
    /// By so much as the difference does in the root mean square over its directions.
    Typical,
    /// By what is told of a unit and a place, before the unit's scale.
    Known(&'a dyn Fn(usize, usize) -> f64),
}

/// A unit that a known way takes next to its kink counts, too: within this share of what it can be moved by at
/// most.
const BESIDE: f64 = 0.05;

/// Of a unit about so many places near its kink are looked at, and one more of 64 of all; where there are
/// more, every n-th of them stands for all.
const LOOKED_AT: usize = 16;

/// Σ_j [Σ_s Δ_js |a̅_js| √(1 + |x_s|²)]²: what other slopes of the hidden units could change of the
/// layer's gradient, where two states are d `apart` and the slope of unit j changes by Δ_js
/// ([`slope_changes`]). The units are z, a and a̅.
pub(super) fn exposure<R: Real>(
    activation: Activation,
    weight: &[R],
    units: [&[R]; 3],
    x: &Rows<R>,
    apart: Apart<'_, Rows<R>>,
) -> f64 {
    let samples = x.rows();
    let [here, there] = [apart.point, apart.truth].map(Rows::columns);
    R::with_scratch(2 * samples, |scratch| {
        let (distances, sizes) = scratch.split_at_mut(samples);
        distances.fill(R::zero());
        sizes.fill(R::one());
        vector::add_column_squared_differences(distances, here, there);
        vector::add_column_squares(sizes, x.columns());
        vector::root(distances);
        vector::root(sizes);
        let (inputs, places) = (x.width(), [&*distances, &*sizes]);
        let moved = |unit: usize, sample: usize| {
            let row = weight[unit * inputs..][..inputs].iter().enumerate();
            row.map(|(input, w)| {
                let at = input * samples + sample;
                w.wide() * (there[at].wide() - here[at].wide())
            })
            .sum()
        };
        let ways = apart.kinks.ways(&moved);
        let changes = slope_changes(activation, weight, inputs, |_| 1.0, units, places, ways);
        changes.iter().map(|sum| sum.powi(2)).sum()
    })
}

/// Σ_s Δ_js |a̅_js| size_s of every hidden unit j, where an input that is d_s away changes the unit's
/// slope by Δ_js. With w_j its weights, `inputs` in number, times its `scale`:
///
/// ```text
/// kinked   1{|z_js| ≤ |w_j| d_s}               it may lie beyond the kink: all ways
///          1{|z_js| ≤ |w_j| d_s / √inputs}     a typical way
///          1{z_js (z_js + v_js) < 0}           a known way, which moves it by v
/// curved   |σ''(z_js)| |w_j| d_s / √inputs     root mean square over the directions that the
///                                              difference of the inputs may have
/// ```
pub(super) fn slope_changes<R: Real>(
    activation: Activation,
    weight: &[R],
    inputs: usize,
    scale: impl Fn(usize) -> f64,
    [z, a, a_bar]: [&[R]; 3],
    [distances, sizes]: [&[R]; 2],
    ways: Ways<'_>,
) -> Vec<f64> {
    let typical = R::of(1.0 / (inputs as f64).sqrt());
    let mut changes = vec![R::zero(); weight.len() / inputs];
    sums::row_squares(&mut changes, weight);
    for (unit, change) in changes.iter_mut().enumerate() {
        *change = change.sqrt() * R::of(scale(unit).abs());
    }
    match (activation.bend(), ways) {
        (Bend::Straight, _) => changes.fill(R::zero()),
        (Bend::Kinked, Ways::All) => sums::rows_within(&mut changes, z, a_bar, distances, sizes),
        (Bend::Kinked, Ways::Typical) => {
            vector::scale(&mut changes, typical);
            sums::rows_within(&mut changes, z, a_bar, distances, sizes);
        }
        (Bend::Kinked, Ways::Known(moved)) => {
            let moved = |unit: usize, place: usize| R::of(scale(unit) * moved(unit, place));
            crossed(&mut changes, [z, a_bar], [distances, sizes], moved);
        }
        (Bend::Curved, _) => {
            let samples = distances.len();
            // As many units at once as the nearest cache holds.
            let units = (4096 / samples).max(1);
            R::with_scratch((units + 1) * samples, |scratch| {
                let (weights, scratch) = scratch.split_at_mut(samples);
                vector::set_product(weights, typical, distances, sizes);
                for (i, changes) in changes.chunks_mut(units).enumerate() {
                    let part = i * units * samples..(i * units + changes.len()) * samples;
                    let curved = &mut scratch[..part.len()];
                    activation.curvature(&z[part.clone()], &a[part.clone()], &a_bar[part], curved);
                    sums::rows_weighted(changes, curved, weights);
                }
            });
        }
    }
    changes.into_iter().map(R::wide).collect()
}

/// In place of how far a unit can be moved by a difference of size 1, for every unit: Σ_s |a̅_js| size_s over
/// the places s where it is moved across its kink, or next to it.
fn crossed<R: Real>(
    reaches: &mut [R],
    [z, a_bar]: [&[R]; 2],
    [distances, sizes]: [&[R]; 2],
    moved: impl Fn(usize, usize) -> R,
) {
    let (beside, plane) = (R::of(BESIDE), distances.len());
    let most = LOOKED_AT + plane / 64;
    let mut near: Vec<R> = reaches.iter().map(|reach| *reach * (R::one() + beside)).collect();
    sums::rows_within(&mut near, z, a_bar, distances, sizes);
    for (unit, (reach, near)) in reaches.iter_mut().zip(near).enumerate() {
        let within = std::mem::replace(reach, R::zero());
        if near == R::zero() {
            continue;
        }
        if near.is_nan() {
            *reach = near;
            continue;
        }
        let row = unit * plane..(unit + 1) * plane;
        let (z, a_bar) = (&z[row.clone()], &a_bar[row]);
        let furthest = within * (R::one() + beside);
        let places = || (0..plane).filter(|at| z[*at].abs() <= furthest * distances[*at]);
        // Odd, so that it does not keep to some of the samples, whose number is mostly even.
        let every = places().count().div_ceil(most).max(1) | 1;
        let counted = places().step_by(every).map(|place| {
            let there = z[place] + moved(unit, place);
            let crosses = (z[place] > R::zero()) != (there > R::zero());
            let next = there.abs() <= beside * within * distances[place];
            if crosses | next | there.is_nan() {
                a_bar[place].abs() * sizes[place]
            } else {
                R::zero()
            }
        });
        *reach = counted.fold(R::zero(), |sum, change| sum + change) * R::of(every as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;
    use crate::field::{Layer, Mlp};
    use crate::seed::uniform;

    fn numbers(seed: u64, count: usize) -> Vec<f64> {
        (0..count).map(|i| uniform(seed, i as u64)).collect()
    }

    /// What is found of units that cross their kink, and what the formula says of them; and what is found of those
    /// near it.
    fn found(samples: usize, size: f64) -> [f64; 3] {
        let (width, hidden) = (3, 5);
        let layer = Mlp { width, hidden, activation: Activation::Relu };
        let theta = [numbers(1, 15), numbers(2, 5), numbers(3, 15), numbers(4, 3)];
        let theta = theta.each_ref().map(Vec::as_slice);
        let state = |seed| Rows::new(samples, width, &numbers(seed, samples * width));
        let (x, bar) = (state(5), state(7));
        let mut there = x.clone();
        there.add_scaled(size, &state(6));
        let run = |x: &Rows<f64>| {
            let mut tape = Layer::<f64>::tape(&layer, samples);
            let (mut out, mut back) = (x.scratch(), x.scratch());
            layer.linearize(&theta, x, &mut out, &mut tape);
            layer.pull_back(&theta, x, &mut tape, &bar, &mut back, true);
            tape
        };
        let (here, other) = (run(&x), run(&there));
        let of_unit = |unit: usize| {
            let of_sample = |sample: usize| {
                let at = unit * samples + sample;
                let entry = |of: &Rows<f64>, input: usize| of.columns()[input * samples + sample];
                let inputs = || 0..width;
                let weight = inputs().map(|i| theta[0][unit * width + i].powi(2)).sum::<f64>();
                let apart =
                    inputs().map(|i| (entry(&there, i) - entry(&x, i)).powi(2)).sum::<f64>();
                let beside = other.z[at].abs() <= BESIDE * (weight * apart).sqrt();
                let crosses = (here.z[at] > 0.0) != (other.z[at] > 0.0);
                let size = (1.0 + inputs().map(|i| entry(&x, i).powi(2)).sum::<f64>()).sqrt();
                if beside || crosses { here.a_bar[at].abs() * size } else { 0.0 }
            };
            (0..samples).map(of_sample).sum::<f64>().powi(2)
        };
        let formula = (0..hidden).map(of_unit).sum();
        let of =
            |kinks| layer.exposure(&theta, &x, &here, Apart { point: &x, truth: &there, kinks });
        [of(Kinks::Crossed), formula, of(Kinks::Near)]
    }

    #[test]
    fn units_that_cross_their_kink_are_those_of_the_formula() {
        let [crossed, formula, near] = found(37, 0.1);
        assert!((crossed - formula).abs() <= 1e-12 * formula, "{crossed}, not {formula}");
        assert!(crossed > 0.0 && crossed < 0.7 * near, "{crossed} of {near} near");
        assert_eq!(found(37, 0.0), [0.0; 3], "nothing is apart");
    }

    /// Of many places near a kink some stand for all.
    #[test]
    fn of_many_places_some_stand_for_all() {
        let [crossed, formula, _] = found(6000, 0.5);
        let ratio = crossed / formula;
        assert!(ratio != 1.0 && (0.7..1.4).contains(&ratio), "{ratio}");
    }
}
