//! What other slopes of a layer's units could change of its gradient.

use crate::kernel::{Activation, Bend, Matrix, Start, multiply, sums, vector};
use crate::{Real, Rows};

/// Where the true state may lie, seen from the point at which a step was linearised.
#[derive(Debug)]
pub struct Apart<'a, S> {
    /// The point.
    pub point: &'a S,
    /// The state that is thought to be the true one; where there is no `spread`, one that is as far from
    /// the point as the true one may be.
    pub truth: &'a S,
    /// By so many times this, the true state of each sample may lie away from `truth`, to any side.
    pub spread: Option<(f64, &'a S)>,
}

impl<S> Clone for Apart<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Apart<'_, S> {}

/// Σ_j [Σ_s Δ_js |a̅_js| √(1 + |x_s|²)]²: what other slopes of the hidden units could change of the
/// layer's gradient, where the slope of unit j changes by Δ_js ([`slope_changes`]; [`kinks_crossed`] where
/// it is known which way the true state lies). The units are z, a and a̅.
pub(super) fn exposure<R: Real>(
    activation: Activation,
    weight: &[R],
    units: [&[R]; 3],
    x: &Rows<R>,
    apart: Apart<'_, Rows<R>>,
) -> f64 {
    let (samples, inputs) = (x.rows(), x.width());
    let moved = match apart.spread {
        Some(_) if activation.bend() == Bend::Kinked => inputs * samples + units[0].len(),
        _ => 0,
    };
    R::with_scratch(2 * samples + moved, |scratch| {
        let (distances, rest) = scratch.split_at_mut(samples);
        let (sizes, rest) = rest.split_at_mut(samples);
        distances.fill(R::zero());
        sizes.fill(R::one());
        let [point, truth] = [apart.point.columns(), apart.truth.columns()];
        vector::add_column_squares(sizes, x.columns());
        vector::root(sizes);
        let changes = match apart.spread {
            Some((factor, spread)) if moved > 0 => {
                let (difference, moved) = rest.split_at_mut(inputs * samples);
                vector::add_column_squares(distances, spread.columns());
                vector::root(distances);
                vector::scale(distances, R::of(factor));
                vector::set_sum(difference, truth, -R::one(), point);
                let matrix = Matrix::new(weight, weight.len() / inputs, inputs);
                multiply(moved, Start::Zero, matrix, difference, samples);
                let units = [units[0], moved, units[2]];
                kinks_crossed(weight, inputs, |_| 1.0, units, [distances, sizes])
            }
            _ => {
                vector::add_column_squared_differences(distances, point, truth);
                vector::root(distances);
                slope_changes(activation, weight, inputs, |_| 1.0, units, [distances, sizes])
            }
        };
        changes.iter().map(|sum| sum.powi(2)).sum()
    })
}

/// The norms of the units' weights, `inputs` in number, times their `scale`.
fn reaches<R: Real>(weight: &[R], inputs: usize, scale: impl Fn(usize) -> f64) -> Vec<R> {
    let mut reaches = vec![R::zero(); weight.len() / inputs];
    sums::row_squares(&mut reaches, weight);
    for (unit, reach) in reaches.iter_mut().enumerate() {
        *reach = reach.sqrt() * R::of(scale(unit));
    }
    reaches
}

/// Σ_s Δ_js |a̅_js| size_s of every hidden unit j with a kink, where the true state is thought to move its
/// z by `moved`, and by up to |w_j| d_s more: Δ = 1 where z may be on the other side of its kink then. The
/// units are z, what it is moved by, and a̅.
pub(super) fn kinks_crossed<R: Real>(
    weight: &[R],
    inputs: usize,
    scale: impl Fn(usize) -> f64,
    [z, moved, a_bar]: [&[R]; 3],
    [distances, sizes]: [&[R]; 2],
) -> Vec<f64> {
    let mut changes = reaches(weight, inputs, scale);
    sums::rows_crossed(&mut changes, [z, moved, a_bar], distances, sizes);
    changes.into_iter().map(R::wide).collect()
}

/// Σ_s Δ_js |a̅_js| size_s of every hidden unit j, where an input that is d_s away changes the unit's
/// slope by Δ_js. With w_j its weights, `inputs` in number, times its `scale`:
///
/// ```text
/// kinked   1{|z_js| ≤ |w_j| d_s}               it may lie beyond the kink
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
) -> Vec<f64> {
    let mut changes = reaches(weight, inputs, scale);
    match activation.bend() {
        Bend::Straight => changes.fill(R::zero()),
        Bend::Kinked => sums::rows_within(&mut changes, z, a_bar, distances, sizes),
        Bend::Curved => {
            let samples = distances.len();
            // As many units at once as the nearest cache holds.
            let units = (4096 / samples).max(1);
            R::with_scratch((units + 1) * samples, |scratch| {
                let (weights, scratch) = scratch.split_at_mut(samples);
                let typical = R::of(1.0 / (inputs as f64).sqrt());
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
