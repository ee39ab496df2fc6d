//! Which units of a chain are on the other side of their kink at the true state.

use super::{Chain, ChainTape, LinkMap, Norm, Tile, backward_means};
use crate::field::exposure::kinks_crossed;
use crate::field::windows::window_norms;
use crate::field::{Apart, Tiled};
use crate::kernel::{Activation, sums, vector};
use crate::{Real, Rows};
use rayon::prelude::*;

impl Chain {
    /// [`exposure`](Self::exposure) of kinks, where it is known which way the true state lies, give or take
    /// so many times a spread. Takes the place of cotangents that the tape holds.
    pub(super) fn crossed<R: Real>(
        &self,
        theta: &[&[R]],
        x: &Tiled<R>,
        tape: &mut ChainTape<R>,
        apart: Apart<'_, Tiled<R>>,
        (factor, spread): (f64, &Tiled<R>),
    ) -> f64 {
        let image = self.links[0].map.image();
        let squares = |spread: &Rows<R>| {
            let mut squares = vec![R::zero(); image.pixels() * spread.rows()];
            vector::add_column_squares(&mut squares, spread.columns());
            vector::scale(&mut squares, R::of(factor.powi(2)));
            squares
        };
        let mut distances: Vec<Vec<R>> = spread.tiles.iter().map(squares).collect();
        let mut found = 0.0;
        for index in 0..self.links.len() - 1 {
            self.move_units(theta, index, x, tape, apart);
            let ChainTape { tiles, norms, .. } = &*tape;
            let tiles = tiles.par_iter().zip(&x.tiles).zip(&mut distances);
            let parts: Vec<Vec<f64>> = tiles
                .map(|((tile, x), distances)| {
                    self.tile_crossed((theta, index), x, tile, &norms[index], distances)
                })
                .collect();
            let units = parts.first().map_or(0, Vec::len);
            let total = |unit: usize| parts.iter().map(|tile| tile[unit]).sum::<f64>();
            found += (0..units).map(|unit| total(unit).powi(2)).sum::<f64>();
        }
        found
    }

    /// What the true state moves the y of a link by, to first order but for the kinks before: in place of
    /// y's cotangent.
    fn move_units<R: Real>(
        &self,
        theta: &[&[R]],
        index: usize,
        x: &Tiled<R>,
        ChainTape { tiles, norms, by_batch }: &mut ChainTape<R>,
        apart: Apart<'_, Tiled<R>>,
    ) {
        let (link, weight) = (&self.links[index], theta[self.place(index)]);
        let pairs = apart.point.tiles.par_iter().zip(&apart.truth.tiles);
        tiles.par_iter_mut().zip(&x.tiles).zip(pairs).for_each(|((tile, x), (point, truth))| {
            let (earlier, back) = tile.back.split_at_mut(index);
            let (y, moved) = match earlier.last() {
                None => (x.columns(), None),
                Some(earlier) => (&tile.kept[index - 1].y[..], Some(&earlier.y[..])),
            };
            R::with_scratch(y.len(), |input| {
                match moved {
                    None => vector::set_sum(input, truth.columns(), -R::one(), point.columns()),
                    Some(moved) => input.copy_from_slice(moved),
                }
                if link.before != Activation::Identity {
                    // σ(y + what it is moved by) − σ(y).
                    vector::add_scaled(input, R::one(), y);
                    let moved = &mut back[0].a;
                    link.before.apply(input, moved);
                    vector::set_sum(input, moved, -R::one(), &tile.kept[index].a);
                }
                link.map.apply(weight, input, &mut back[0].y, x.rows());
            });
        });
        if link.normalised {
            // The derivative of a normalisation is symmetric.
            let means = backward_means(tiles, index, link.map.outputs(), *by_batch, None);
            let (norm, gain) = (&norms[index], theta[self.norm_place(index)]);
            tiles.par_iter_mut().for_each(|tile| {
                norm.pull_back(&mut tile.back[index].y, &tile.kept[index].normal, &means, gain);
            });
        }
    }

    /// Of every unit of one tile after a link: Σ Δ |a̅| size, times what its weights are scaled by. `apart` are
    /// squared distances that the true state may have from where it is thought to be, and then those after the
    /// link.
    fn tile_crossed<R: Real>(
        &self,
        (theta, index): (&[&[R]], usize),
        x: &Rows<R>,
        Tile { kept, back }: &Tile<R>,
        norm: &Norm,
        apart: &mut [R],
    ) -> Vec<f64> {
        let (link, next) = (&self.links[index], &self.links[index + 1]);
        let (samples, plane) = (x.rows(), apart.len());
        let gain = theta[self.norm_place(index)];
        let scale = |unit: usize| (gain[unit].wide() * norm.inverse[unit]).abs();
        let units = [&kept[index].y[..], &back[index].y, &back[index + 1].a];
        let bends = next.before != Activation::Identity;
        R::with_scratch(3 * plane, |scratch| {
            let mut found = Vec::new();
            let LinkMap::Convolution(windows) = &link.map else {
                let (distances, rest) = scratch.split_at_mut(plane);
                let sizes = &mut rest[..plane];
                distances.copy_from_slice(apart);
                vector::root(distances);
                for unit in (0..gain.len()).filter(|_| bends) {
                    let range = unit * plane..(unit + 1) * plane;
                    sizes.fill(R::one());
                    vector::add_column_squares(sizes, &kept[index].normal[range.clone()]);
                    vector::root(sizes);
                    let units = units.map(|all| &all[range.clone()]);
                    let places = [&*distances, &*sizes];
                    found.extend(kinks_crossed(&[R::one()], 1, |_| scale(unit), units, places));
                }
                let steepest = (0..gain.len()).map(scale).fold(0.0, f64::max);
                vector::scale(apart, R::of(steepest.powi(2)));
                return found;
            };
            let input = match (link.before, index) {
                (Activation::Identity, 0) => x.columns(),
                (Activation::Identity, _) => &kept[index - 1].y,
                _ => &kept[index].a,
            };
            let places = window_norms(windows, apart, input, scratch, samples);
            let weight = theta[self.place(index)];
            let inputs = weight.len() / gain.len();
            if bends {
                let changes = kinks_crossed(weight, inputs, scale, units, places);
                found.extend(changes.iter().enumerate().map(|(unit, by)| scale(unit) * by));
            }
            let rows = weight.chunks_exact(inputs).enumerate();
            let further = rows.map(|(unit, row)| scale(unit).powi(2) * sums::dot(row, row));
            vector::set_product(apart, R::of(further.sum()), places[0], places[0]);
            found
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;
    use crate::field::{ConvBnLayer, Order};
    use crate::kernel::Image;
    use crate::seed::uniform;

    /// Units that a small step takes to the other side of their kink, the statistics moving with it, and no
    /// others.
    #[test]
    fn kinks_that_are_crossed_are_those_between_two_evaluations() {
        for order in Order::ALL {
            let layer = ConvBnLayer {
                channels: 2,
                hidden: 3,
                image: Image { height: 3, width: 4 },
                activation: Activation::Relu,
                order,
            };
            let chain = layer.chain();
            let draw = |seed: u64, count: usize| -> Vec<f64> {
                (0..count).map(|index| uniform(seed, index as u64)).collect()
            };
            let kinds = chain.kinds().into_iter().enumerate();
            let theta: Vec<Vec<f64>> = kinds
                .map(|(seed, kind)| {
                    let shift = if kind.name.starts_with('g') { 1.5 } else { 0.0 };
                    draw(seed as u64, kind.len()).iter().map(|value| value + shift).collect()
                })
                .collect();
            let theta: Vec<&[f64]> = theta.iter().map(Vec::as_slice).collect();
            // More than a tile.
            let (samples, width) = (21, 24);
            let state = |seed| {
                let rows = Rows::new(samples, width, &draw(seed, samples * width));
                Tiled::cut(&rows)
            };
            let (x, bar) = (state(10), state(12));
            let mut there = x.clone();
            there.add_scaled(0.02, &state(11));
            let run = |x: &Tiled<f64>| {
                let (mut tape, mut out, mut back) = (chain.tape(x), x.clone(), x.clone());
                chain.linearize(&theta, None, x, &mut out, &mut tape);
                chain.pull_back(&theta, x, &mut tape, &bar, &mut back, None);
                tape
            };
            let found = |truth, spread| {
                let apart = Apart { point: &x, truth, spread };
                chain.exposure(&theta, &x, &mut run(&x), apart)
            };
            // Of a link after which a kink follows.
            let bent = (0..chain.links.len() - 1)
                .find(|index| chain.links[index + 1].before != Activation::Identity)
                .expect("a kink within");
            let (here, other) = (run(&x), run(&there));
            let crossed: usize = here.tiles.iter().zip(&other.tiles).fold(0, |count, (a, b)| {
                let pairs = a.kept[bent].y.iter().zip(&b.kept[bent].y[..]);
                count + pairs.filter(|(a, b)| (**a > 0.0) != (**b > 0.0)).count()
            });
            let by_step = found(&there, Some((0.0, &x)));
            assert!(crossed > 0 && by_step > 0.0, "{order:?}: {crossed} crossed, {by_step}");
            assert_eq!(found(&x, Some((0.0, &x))), 0.0, "{order:?}: nothing is apart");
            let [around, everything] = [found(&there, None), found(&x, Some((1e6, &x)))];
            assert!(by_step < 0.5 * around, "{order:?}: {by_step}, {around} anywhere around");
            assert!(around < everything, "{order:?}: {around}, {everything}");
        }
    }

    /// Units that are moved as they are by an evaluation at the true state, with the batch's statistics and
    /// with held ones.
    #[test]
    fn units_are_moved_as_an_evaluation_moves_them() {
        let layer = ConvBnLayer {
            channels: 2,
            hidden: 3,
            image: Image { height: 3, width: 4 },
            activation: Activation::Relu,
            order: Order::Post,
        };
        let chain = layer.chain();
        let draw = |seed: u64, count: usize| -> Vec<f64> {
            (0..count).map(|index| uniform(seed, index as u64)).collect()
        };
        let theta: Vec<Vec<f64>> =
            chain.kinds().iter().enumerate().map(|(i, k)| draw(i as u64, k.len())).collect();
        let theta: Vec<&[f64]> = theta.iter().map(Vec::as_slice).collect();
        let state = |seed| Tiled::cut(&Rows::new(5, 24, &draw(seed, 5 * 24)));
        let (x, bar) = (state(10), state(12));
        let (size, mut there) = (1e-5, x.clone());
        there.add_scaled(size, &state(11));
        let held = vec![[0.1, 0.7]; chain.normalised()];
        for held in [None, Some(&held[..])] {
            let run = |x: &Tiled<f64>| {
                let (mut tape, mut out, mut back) = (chain.tape(x), x.clone(), x.clone());
                chain.linearize(&theta, held, x, &mut out, &mut tape);
                chain.pull_back(&theta, x, &mut tape, &bar, &mut back, None);
                tape
            };
            let (mut tape, other) = (run(&x), run(&there));
            let apart = Apart { point: &x, truth: &there, spread: None };
            chain.move_units(&theta, 0, &x, &mut tape, apart);
            let (here, there) = (&tape.tiles[0], &other.tiles[0]);
            for (index, moved) in here.back[0].y.iter().enumerate() {
                let by = there.kept[0].y[index] - here.kept[0].y[index];
                assert!((moved - by).abs() < 1e-3 * size, "{moved}, not {by}");
            }
        }
    }
}
