//! What other slopes of a chain's units could change of its gradient.

use super::{Chain, ChainTape, LinkMap, Norm, Tile};
use crate::field::exposure::{Ways, slope_changes};
use crate::field::windows::{window_change, window_norms};
use crate::field::{Apart, Kinks, Tiled};
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
    /// The formula is the convolutional field's, link by link, with each w as the normalisation scales it. The
    /// units of a link without a convolution have one weight, 1. Of units that see the state itself it is known
    /// where the way between the two states takes them, but for what that changes of the batch's variance, and
    /// units that only the batch's mean moves are left out; behind another nonlinearity or normalisation
    /// a hidden image is as far away as the units' weights can bring it, or as they do in the root mean square over
    /// all ways. Other slopes of a nonlinearity before the first link change no gradient of the chain itself.
    pub(in crate::field) fn exposure<R: Real>(
        &self,
        theta: &[&[R]],
        x: &Tiled<R>,
        tape: &ChainTape<R>,
        apart: Apart<'_, Tiled<R>>,
    ) -> f64 {
        // Only units that see the state itself are moved by it in a way that is known.
        let known = self.bend() == Bend::Kinked && self.links[0].before == Activation::Identity;
        let shifts = match (known && tape.by_batch, apart.kinks) {
            (true, Kinks::Crossed) => mean_changes(self.outputs(), apart),
            _ => Vec::new(),
        };
        let pairs = apart.point.tiles.par_iter().zip(&apart.truth.tiles);
        let tiles = tape.tiles.par_iter().zip(&x.tiles).zip(pairs);
        let parts: Vec<Vec<f64>> = tiles
            .map(|((tile, x), (point, truth))| {
                let apart = Apart { point, truth, kinks: apart.kinks };
                self.tile_exposure(theta, x, tile, (&tape.norms, &shifts), apart)
            })
            .collect();
        let units = parts.first().map_or(0, Vec::len);
        let total = |unit: usize| parts.iter().map(|tile| tile[unit]).sum::<f64>();
        (0..units).map(|unit| total(unit).powi(2)).sum()
    }

    /// Of every hidden unit of one tile: Σ Δ |a̅| size, times what its weights are scaled by. `shifts` are the
    /// mean changes of the channels that the first normalisation takes away.
    fn tile_exposure<R: Real>(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        Tile { kept, back }: &Tile<R>,
        (norms, shifts): (&[Norm], &[f64]),
        apart: Apart<'_, Rows<R>>,
    ) -> Vec<f64> {
        let samples = x.rows();
        let length = self.out().pixels() * samples;
        let states = [apart.point, apart.truth].map(Rows::columns);
        R::with_scratch(4 * length, |scratch| {
            let (squares, rest) = scratch.split_at_mut(length);
            squares.fill(R::zero());
            vector::add_column_squared_differences(squares, states[0], states[1]);
            let mut found = Vec::with_capacity(self.normalised());
            for (index, pair) in self.links.windows(2).enumerate() {
                let (link, next) = (&pair[0], &pair[1]);
                let gain = theta[self.norm_place(index)];
                let inverse = &norms[index].inverse;
                let scale = |unit: usize| gain[unit].wide() * inverse[unit];
                let following = &kept[index + 1];
                let bends = next.before != Activation::Identity;
                let units = [&kept[index].y[..], &following.a, &back[index + 1].a];
                let LinkMap::Convolution(windows) = &link.map else {
                    let bend = bends.then_some(next.before);
                    let normal = &kept[index].normal;
                    let ways = (states, shifts, apart.kinks);
                    found.extend(norm_exposure(bend, scale, units, normal, ways, squares, rest));
                    continue;
                };
                let input = match (link.before, index) {
                    (Activation::Identity, 0) => x.columns(),
                    (Activation::Identity, _) => &kept[index - 1].y,
                    _ => &kept[index].a,
                };
                let places = window_norms(windows, squares, input, rest, samples);

                let weight = theta[self.place(index)];
                let inputs = weight.len() / gain.len();
                let rows = || weight.chunks_exact(inputs).enumerate();
                let first = index == 0 && link.before == Activation::Identity;
                if bends {
                    let shifted = rows().map(|(_, row)| mean_of_windows(row, shifts));
                    let shifted: Vec<f64> = if first { shifted.collect() } else { Vec::new() };
                    let change = window_change(windows, weight, states, samples);
                    let moved = |unit: usize, place: usize| change(unit, place) - shifted[unit];
                    let ways = match apart.kinks {
                        Kinks::Crossed if !first => Ways::Typical,
                        kinks => kinks.ways(&moved),
                    };
                    let before = next.before;
                    let changes = slope_changes(before, weight, inputs, scale, units, places, ways);
                    found.extend(changes.iter().enumerate().map(|(unit, by)| scale(unit) * by));
                }
                let further = rows().map(|(unit, row)| scale(unit).powi(2) * sums::dot(row, row));
                let directions = if apart.kinks == Kinks::Near { 1.0 } else { inputs as f64 };
                let further = R::of(further.sum::<f64>() / directions);
                vector::set_product(squares, further, places[0], places[0]);
            }
            found
        })
    }
}

/// Of every channel the mean difference of two states.
fn mean_changes<R: Real>(channels: usize, apart: Apart<'_, Tiled<R>>) -> Vec<f64> {
    let pairs = apart.point.tiles.par_iter().zip(&apart.truth.tiles);
    let of_tile = |(point, truth): (&Rows<R>, &Rows<R>)| {
        let plane = point.columns().len() / channels;
        let planes = point.columns().chunks_exact(plane).zip(truth.columns().chunks_exact(plane));
        let sums = planes.map(|(point, truth)| sums::sum(truth) - sums::sum(point));
        (plane, sums.collect::<Vec<f64>>())
    };
    let parts: Vec<(usize, Vec<f64>)> = pairs.map(of_tile).collect();
    let count = parts.iter().map(|(plane, _)| plane).sum::<usize>() as f64;
    let total = |channel: usize| parts.iter().map(|(_, sums)| sums[channel]).sum::<f64>();
    (0..channels).map(|channel| total(channel) / count).collect()
}

/// What the windows of a unit's weights make of an image of these channels, borders aside; 0 of no channels.
fn mean_of_windows<R: Real>(row: &[R], channels: &[f64]) -> f64 {
    let side = row.len() / channels.len().max(1);
    row.chunks_exact(side).zip(channels).map(|(window, channel)| sums::sum(window) * channel).sum()
}

/// The same of every unit of a normalisation of the states themselves, whose mean changes are `shifts`; sets
/// `apart` to the squared distances of what comes out.
fn norm_exposure<R: Real>(
    bend: Option<Activation>,
    scale: impl Fn(usize) -> f64,
    units: [&[R]; 3],
    normal: &[R],
    (states, shifts, kinks): ([&[R]; 2], &[f64], Kinks),
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
        let [here, there] = states.map(|state| &state[range.clone()]);
        vector::add_column_squared_differences(distances, here, there);
        vector::add_scaled(apart, R::of(scale(unit).powi(2)), distances);
        let Some(activation) = bend else { continue };
        vector::root(distances);
        sizes.fill(R::one());
        vector::add_column_squares(sizes, &normal[range.clone()]);
        vector::root(sizes);
        let units = units.map(|all| &all[range.clone()]);
        let places = [&*distances, &*sizes];
        let shift = shifts.get(unit).copied().unwrap_or(0.0);
        let moved = |_: usize, place: usize| there[place].wide() - here[place].wide() - shift;
        let ways = kinks.ways(&moved);
        found.extend(slope_changes(
            activation,
            &[R::one()],
            1,
            |_| scale(unit),
            units,
            places,
            ways,
        ));
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

    /// Parameters of a chain; gains are about 1.5, the first of each about −1.5.
    fn weights(chain: &Chain) -> Vec<Vec<f64>> {
        let values = |(seed, kind): (usize, crate::control::Kind)| {
            let mut values = numbers(kind.len(), seed as u64);
            let shift = if kind.name.starts_with('g') { 1.5 } else { 0.0 };
            values.iter_mut().for_each(|value| *value += shift);
            if kind.name.starts_with('g') {
                values[0] = -values[0];
            }
            values
        };
        chain.kinds().into_iter().enumerate().map(values).collect()
    }

    /// The formula of pre-activation, pixel by pixel: the units of the first normalisation see their own
    /// channel alone, those of the first convolution the windows of all.
    #[test]
    fn exposures_of_preactivation_are_those_of_their_formula() {
        let (activation, order) = (Activation::Relu, Order::Full);
        let layer =
            ConvBnLayer { channels: CHANNELS, hidden: HIDDEN, image: IMAGE, activation, order };
        let chain = layer.chain();
        let theta = weights(&chain);
        let theta: Vec<&[f64]> = theta.iter().map(Vec::as_slice).collect();
        let (x, mut there, bar) = (state(20), state(20), state(22));
        there.add_scaled(0.05, &state(21));
        let (mut out, mut x_bar, mut tape) = (x.clone(), x.clone(), chain.tape(&x));
        chain.linearize(&theta, None, &x, &mut out, &mut tape);
        chain.pull_back(&theta, &x, &mut tape, &bar, &mut x_bar, None);
        let apart = Apart { point: &x, truth: &there, kinks: Kinks::Near };
        let found = chain.exposure(&theta, &x, &tape, apart);

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

    /// Units that a small step takes to the other side of their kink, whatever the order of the links.
    #[test]
    fn kinks_that_are_crossed_are_fewer_than_those_near_and_none_without_a_step() {
        for order in Order::ALL {
            let activation = Activation::Relu;
            let layer =
                ConvBnLayer { channels: CHANNELS, hidden: HIDDEN, image: IMAGE, activation, order };
            let chain = layer.chain();
            let theta = weights(&chain);
            let theta: Vec<&[f64]> = theta.iter().map(Vec::as_slice).collect();
            let (x, mut there, bar) = (state(20), state(20), state(22));
            there.add_scaled(0.1, &state(21));
            let (mut out, mut x_bar, mut tape) = (x.clone(), x.clone(), chain.tape(&x));
            chain.linearize(&theta, None, &x, &mut out, &mut tape);
            chain.pull_back(&theta, &x, &mut tape, &bar, &mut x_bar, None);
            let found =
                |truth, kinks| chain.exposure(&theta, &x, &tape, Apart { point: &x, truth, kinks });
            let [crossed, near] = [Kinks::Crossed, Kinks::Near].map(|kinks| found(&there, kinks));
            assert!(crossed > 0.0 && crossed < 0.5 * near, "{order:?}: {crossed} of {near} near");
            assert_eq!(found(&x, Kinks::Crossed), 0.0, "{order:?}: nothing is apart");
        }
    }

    /// A step of all samples and pixels alike moves no unit behind a normalisation over them.
    #[test]
    fn what_all_samples_share_is_taken_away_by_the_statistics() {
        let (activation, order) = (Activation::Relu, Order::Full);
        let layer =
            ConvBnLayer { channels: CHANNELS, hidden: HIDDEN, image: IMAGE, activation, order };
        let chain = layer.chain();
        let theta = weights(&chain);
        let theta: Vec<&[f64]> = theta.iter().map(Vec::as_slice).collect();
        let (x, bar, width) = (state(20), state(22), CHANNELS * IMAGE.pixels());
        let mut there = x.clone();
        there.add_scaled(0.3, &Tiled::cut(&Rows::new(SAMPLES, width, &vec![1.0; SAMPLES * width])));
        let of_first_link = |held: Option<&[[f64; 2]]>| {
            let (mut out, mut x_bar, mut tape) = (x.clone(), x.clone(), chain.tape(&x));
            chain.linearize(&theta, held, &x, &mut out, &mut tape);
            chain.pull_back(&theta, &x, &mut tape, &bar, &mut x_bar, None);
            let apart = Apart { point: &x, truth: &there, kinks: Kinks::Crossed };
            let shifts = if tape.by_batch { mean_changes(CHANNELS, apart) } else { Vec::new() };
            let tile = Apart { point: &x.tiles[0], truth: &there.tiles[0], kinks: apart.kinks };
            let norms = (&tape.norms[..], &shifts[..]);
            let found = chain.tile_exposure(&theta, &x.tiles[0], &tape.tiles[0], norms, tile);
            found[..CHANNELS].iter().map(|unit| unit.abs()).sum::<f64>()
        };
        let held = vec![[0.0, 1.0]; chain.normalised()];
        let [by_batch, by_held] = [of_first_link(None), of_first_link(Some(&held))];
        assert!(by_batch < 0.5 * by_held, "{by_batch}, held: {by_held}");
    }
}
