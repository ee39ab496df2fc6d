//! What other slopes of a chain's units could change of its gradient.

use super::{Chain, ChainTape, LinkMap, Norm, Tile};
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
    /// a hidden image is as far away as the units' weights can bring it. The units of a link without a
    /// convolution have one weight, 1. Other slopes of a nonlinearity before the first link change no gradient
    /// of the chain itself.
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
                let (link, next) = (&pair[0], &pair[1]);
                let gain = theta[self.norm_place(index)];
                let inverse = &norms[index].inverse;
                let scale = |unit: usize| (gain[unit].wide() * inverse[unit]).abs();
                let following = &kept[index + 1];
                let bends = next.before != Activation::Identity;
                let LinkMap::Convolution(windows) = &link.map else {
                    let units = [&kept[index].y[..], &following.a, &back[index + 1].a];
                    let bend = bends.then_some(next.before);
                    let states = [here, there].map(Rows::columns);
                    let normal = &kept[index].normal;
                    found.extend(norm_exposure(bend, scale, units, normal, states, apart, rest));
                    continue;
                };
                let input = match (link.before, index) {
                    (Activation::Identity, 0) => x.columns(),
                    (Activation::Identity, _) => &kept[index - 1].y,
                    _ => &kept[index].a,
                };
                let [distances, sizes] = window_norms(windows, apart, input, rest, samples);

                let weight = theta[self.place(index)];
                let inputs = weight.len() / gain.len();
                if bends {
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

/// The same of every unit of a normalisation of the states themselves; sets `apart` to the squared distances
/// of what comes out.
fn norm_exposure<R: Real>(
    bend: Option<Activation>,
    scale: impl Fn(usize) -> f64,
    units: [&[R]; 3],
    normal: &[R],
    [here, there]: [&[R]; 2],
    apart: &mut [R],
    scratch: &mut [R],
) -> Vec<f64> {
    let plane = apart.len();
    let (distances, rest) = scratch.split_at_mut(plane);
    let sizes = &mut rest[..plane];
    apart.fill(R::zero());
    let mut found = Vec::new();
    for unit in 0..normal.len() / plane {
        let range = unit * plane..(unit + 1) * plane;
        distances.fill(R::zero());
        let states = [&here[range.clone()], &there[range.clone()]];
        vector::add_column_squared_differences(distances, states[0], states[1]);
        vector::add_scaled(apart, R::of(scale(unit).powi(2)), distances);
        let Some(activation) = bend else { continue };
        vector::root(distances);
        sizes.fill(R::one());
        vector::add_column_squares(sizes, &normal[range.clone()]);
        vector::root(sizes);
        let units = units.map(|all| &all[range.clone()]);
        let places = [&*distances, &*sizes];
        found.extend(slope_changes(activation, &[R::one()], 1, |_| scale(unit), units, places));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;
    use crate::field::{ConvBnLayer, Order};
    use crate::kernel::Image;
    use crate::seed::uniform;

    const IMAGE: Image = Image { height: 3, width: 4 };
    const CHANNELS: usize = 2;
    const HIDDEN: usize = 3;
    const SAMPLES: usize = 5;

    fn numbers(count: usize, seed: u64) -> Vec<f64> {
        (0..count).map(|i| uniform(seed, i as u64)).collect()
    }

    fn state(seed: u64) -> Tiled<f64> {
        let width = CHANNELS * IMAGE.pixels();
        Tiled::cut(&Rows::new(SAMPLES, width, &numbers(SAMPLES * width, seed)))
    }

    /// The formula of pre-activation, pixel by pixel: the units of the first normalisation see their own
    /// channel alone, those of the first convolution the windows of all.
    #[test]
    fn exposures_of_preactivation_are_those_of_their_formula() {
        let (activation, order) = (Activation::Relu, Order::Full);
        let layer =
            ConvBnLayer { channels: CHANNELS, hidden: HIDDEN, image: IMAGE, activation, order };
        let chain = layer.chain();
        let kinds = chain.kinds().into_iter().enumerate();
        let theta: Vec<Vec<f64>> = kinds
            .map(|(seed, kind)| {
                let mut values = numbers(kind.shape.iter().product(), seed as u64);
                let shift = if kind.name.starts_with('g') { 1.5 } else { 0.0 };
                values.iter_mut().for_each(|value| *value += shift);
                values
            })
            .collect();
        let theta: Vec<&[f64]> = theta.iter().map(Vec::as_slice).collect();
        let (x, mut there, bar) = (state(20), state(20), state(22));
        there.add_scaled(0.05, &state(21));
        let (mut out, mut x_bar, mut tape) = (x.clone(), x.clone(), chain.tape(&x));
        chain.linearize(&theta, None, &x, &mut out, &mut tape);
        chain.pull_back(&theta, &x, &mut tape, &bar, &mut x_bar, None);
        let found = chain.exposure(&theta, &x, &tape, [&x, &there]);

        let (Tile { kept, back }, plane) = (&tape.tiles[0], IMAGE.pixels() * SAMPLES);
        let [before, after] = [&x, &there].map(|state| state.tiles[0].columns());
        let scales = |norm: usize, gain: &[f64]| -> Vec<f64> {
            gain.iter().zip(&tape.norms[norm].inverse).map(|(g, i)| (g * i).abs()).collect()
        };
        let [first, second] = [scales(0, theta[0]), scales(1, theta[3])];
        let apart = |channel: usize, place: usize| {
            let at = channel * plane + place;
            (before[at] - after[at]).abs()
        };
        let (mut expected, mut touched) = (0.0, [0; 2]);
        for (channel, scale) in first.iter().enumerate() {
            let mut sum = 0.0;
            for place in 0..plane {
                let at = channel * plane + place;
                if kept[0].y[at].abs() <= scale * apart(channel, place) {
                    sum += back[1].a[at].abs() * (1.0 + kept[0].normal[at].powi(2)).sqrt();
                    touched[0] += 1;
                }
            }
            expected += sum * sum;
        }
        for (unit, scale) in second.iter().enumerate() {
            let weight = &theta[2][unit * 9 * CHANNELS..][..9 * CHANNELS];
            let size = weight.iter().map(|w| w * w).sum::<f64>().sqrt() * scale;
            let mut sum = 0.0;
            for (pixel, sample) in
                (0..IMAGE.pixels()).flat_map(|p| (0..SAMPLES).map(move |s| (p, s)))
            {
                let [y, x] = [pixel / IMAGE.width, pixel % IMAGE.width];
                let (mut distance, mut inputs) = (0f64, 1f64);
                for ny in y.saturating_sub(1)..(y + 2).min(IMAGE.height) {
                    for nx in x.saturating_sub(1)..(x + 2).min(IMAGE.width) {
                        let place = (ny * IMAGE.width + nx) * SAMPLES + sample;
                        for (channel, scale) in first.iter().enumerate() {
                            distance += (scale * apart(channel, place)).powi(2);
                            inputs += kept[1].a[channel * plane + place].powi(2);
                        }
                    }
                }
                let at = unit * plane + pixel * SAMPLES + sample;
                if kept[1].y[at].abs() <= size * distance.sqrt() {
                    sum += scale * back[2].a[at].abs() * inputs.sqrt();
                    touched[1] += 1;
                }
            }
            expected += sum * sum;
        }
        assert!(touched[0] > 1 && touched[1] > 5, "kinks are near: {touched:?}");
        assert!((found - expected).abs() <= 1e-12 * expected, "{found}, not {expected}");
    }
}
