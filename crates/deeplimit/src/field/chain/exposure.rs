//! What other slopes of a chain's units could change of its gradient.

use super::{Chain, ChainTape, Link, Norm, Tile};
use crate::field::Tiled;
use crate::field::mlp::slope_changes;
use crate::field::windows::window_norms;
use crate::kernel::{Activation, Bend, sums, vector};
use crate::{Real, Rows};
use rayon::prelude::*;

impl Chain {
    /// Whether slopes change with the state, and how: as the nonlinearity within does.
    pub(in crate::field) fn bend(&self) -> Bend {
        self.links.last().map_or(Bend::Straight, |link| link.before.bend())
    }

    /// After a pull-back at `x`: the squared change of this chain's own gradient that other slopes of its
    /// hidden units could make, if the true state were as far away as two states are `apart`.
    ///
    /// The formula is the convolutional field's, link by link, with each w as the normalisation scales it;
    /// a hidden image is as far away as the units' weights can bring it. Other slopes of a nonlinearity
    /// before the first link change no gradient of the chain itself.
    pub(in crate::field) fn exposure<R: Real>(
        &self,
        theta: &[&[R]],
        x: &Tiled<R>,
        tape: &ChainTape<R>,
        apart: [&Tiled<R>; 2],
    ) -> f64 {
        let pairs = apart[0].tiles.par_iter().zip(&apart[1].tiles);
        let tiles = tape.tiles.par_iter().zip(&x.tiles).zip(pairs);
        let parts: Vec<Vec<f64>> = tiles
            .map(|((tile, x), apart)| self.tile_exposure(theta, x, tile, &tape.norms, apart))
            .collect();
        let units = parts.first().map_or(0, Vec::len);
        let total = |unit: usize| parts.iter().map(|tile| tile[unit]).sum::<f64>();
        (0..units).map(|unit| total(unit).powi(2)).sum()
    }

    /// Of every hidden unit of one tile: Σ Δ |a̅| size, times what its weights are scaled by.
    fn tile_exposure<R: Real>(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        Tile { kept, back }: &Tile<R>,
        norms: &[Norm],
        (here, there): (&Rows<R>, &Rows<R>),
    ) -> Vec<f64> {
        let samples = x.rows();
        let length = self.out().pixels() * samples;
        R::with_scratch(4 * length, |scratch| {
            let (apart, rest) = scratch.split_at_mut(length);
            apart.fill(R::zero());
            vector::add_column_squared_differences(apart, here.columns(), there.columns());
            let mut found = Vec::with_capacity(self.normalised());
            for (index, pair) in self.links.windows(2).enumerate() {
                let (Link { before, windows }, next) = (&pair[0], &pair[1]);
                let input = match (before, index) {
                    (Activation::Identity, 0) => x.columns(),
                    (Activation::Identity, _) => &kept[index - 1].y,
                    _ => &kept[index].a,
                };
                let [distances, sizes] = window_norms(windows, apart, input, rest, samples);

                let [weight, gain] = [theta[3 * index], theta[3 * index + 1]];
                let inputs = weight.len() / gain.len();
                let inverse = &norms[index].inverse;
                let scale = |unit: usize| (gain[unit].wide() * inverse[unit]).abs();
                if next.before != Activation::Identity {
                    let following = &kept[index + 1];
                    let units = [&kept[index].y[..], &following.a, &back[index + 1].a];
                    let places = [distances, sizes];
                    let changes = slope_changes(next.before, weight, inputs, scale, units, places);
                    let scaled = changes.iter().enumerate().map(|(unit, by)| scale(unit) * by);
                    found.extend(scaled);
                }
                let rows = weight.chunks_exact(inputs).enumerate();
                let further = rows.map(|(unit, row)| scale(unit).powi(2) * sums::dot(row, row));
                vector::set_product(apart, R::of(further.sum()), distances, distances);
            }
            found
        })
    }
}
