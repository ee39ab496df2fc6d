//! A whole batch that stays together, cut into tiles that threads share.

use crate::{Bytes, Heap, Real, Rows, State};
use rayon::prelude::*;

/// Samples of a tile: what the widest vectors hold in single precision.
const SAMPLES: usize = 16;

/// A batch as tiles of 16 samples; the last may be smaller. Every operation works on the tiles in
/// parallel, and adds up over them in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tiled<R> {
    pub(super) tiles: Vec<Rows<R>>,
}

impl<R: Real> Tiled<R> {
    /// Samples of a tile.
    pub const SAMPLES: usize = SAMPLES;

    /// A batch that is cut already.
    ///
    /// # Panics
    /// If a tile but the last has not 16 samples.
    pub fn new(tiles: Vec<Rows<R>>) -> Self {
        let whole = tiles.len().saturating_sub(1);
        let cut = tiles.iter().enumerate();
        let fits = |(index, tile): (usize, &Rows<R>)| {
            if index < whole { tile.rows() == SAMPLES } else { tile.rows() <= SAMPLES }
        };
        assert!(cut.clone().all(fits), "tiles of {SAMPLES} samples");
        Self { tiles }
    }

    /// The tiles.
    pub fn tiles(&self) -> &[Rows<R>] {
        &self.tiles
    }

    /// The tiles, to be changed.
    pub fn tiles_mut(&mut self) -> &mut [Rows<R>] {
        &mut self.tiles
    }

    /// Cuts a batch.
    pub fn cut(x: &Rows<R>) -> Self {
        let starts = (0..x.rows()).step_by(SAMPLES);
        Self { tiles: starts.map(|s| x.slice(s, SAMPLES.min(x.rows() - s))).collect() }
    }

    /// The batch in one piece.
    pub fn whole(self) -> Rows<R> {
        Rows::join(self.tiles)
    }

    fn each(&mut self, work: impl Fn(usize, &mut Rows<R>) + Sync) {
        self.tiles.par_iter_mut().enumerate().for_each(|(index, tile)| work(index, tile));
    }

    fn sum(&self, term: impl Fn(usize, &Rows<R>) -> f64 + Sync) -> f64 {
        let terms = self.tiles.par_iter().enumerate().map(|(index, tile)| term(index, tile));
        terms.collect::<Vec<f64>>().iter().sum()
    }
}

impl<R: Real> Bytes for Tiled<R> {
    fn bytes(&self) -> usize {
        self.tiles.iter().map(Bytes::bytes).sum()
    }
}

impl<R> Heap for Tiled<R> {
    fn heap(&self) -> usize {
        self.tiles.heap()
    }
}

impl<R: Real> State for Tiled<R> {
    fn scratch(&self) -> Self {
        Self { tiles: self.tiles.iter().map(State::scratch).collect() }
    }

    fn samples(&self) -> usize {
        self.tiles.iter().map(Rows::rows).sum()
    }

    fn copy_from(&mut self, x: &Self) {
        self.each(|index, tile| tile.copy_from(&x.tiles[index]));
    }

    fn set_zero(&mut self) {
        self.each(|_, tile| tile.set_zero());
    }

    fn scale(&mut self, factor: f64) {
        self.each(|_, tile| tile.scale(factor));
    }

    fn set_scaled(&mut self, factor: f64, x: &Self) {
        self.each(|index, tile| tile.set_scaled(factor, &x.tiles[index]));
    }

    fn add_scaled(&mut self, factor: f64, x: &Self) {
        self.each(|index, tile| tile.add_scaled(factor, &x.tiles[index]));
    }

    fn set_sum(&mut self, x: &Self, factor: f64, y: &Self) {
        self.each(|index, tile| tile.set_sum(&x.tiles[index], factor, &y.tiles[index]));
    }

    fn add_to(&mut self, factor: f64, x: &Self) {
        self.each(|index, tile| tile.add_to(factor, &x.tiles[index]));
    }

    fn step_and_measure(&mut self, factor: f64, x: &Self, other: &Self) -> [f64; 2] {
        let tiles = self.tiles.par_iter_mut().zip(&x.tiles).zip(&other.tiles);
        in_order(tiles.map(|((tile, x), other)| tile.step_and_measure(factor, x, other)))
    }

    fn step_measure_and_combine(
        &mut self,
        factor: f64,
        x: &Self,
        other: &Self,
        out: &mut Self,
        terms: &[(f64, &Self)],
    ) -> [f64; 2] {
        let tiles = self.tiles.par_iter_mut().zip(&mut out.tiles).enumerate();
        in_order(tiles.map(|(index, (tile, out))| {
            let terms = terms.iter().map(|(weight, term)| (*weight, &term.tiles[index]));
            let terms = terms.collect::<Vec<_>>();
            let (x, other) = (&x.tiles[index], &other.tiles[index]);
            tile.step_measure_and_combine(factor, x, other, out, &terms)
        }))
    }

    fn defect_squared(&self, factor: f64, x: &Self, other: &Self) -> f64 {
        self.sum(|index, tile| tile.defect_squared(factor, &x.tiles[index], &other.tiles[index]))
    }

    fn dot(&self, other: &Self) -> f64 {
        self.sum(|index, tile| tile.dot(&other.tiles[index]))
    }

    fn distance_squared(&self, other: &Self) -> f64 {
        self.sum(|index, tile| tile.distance_squared(&other.tiles[index]))
    }

    fn slice(&self, start: usize, count: usize) -> Self {
        Self::cut(&Rows::join(self.tiles.clone()).slice(start, count))
    }

    fn join(parts: Vec<Self>) -> Self {
        if let [_] = parts[..] {
            return parts.into_iter().next().expect("one part");
        }
        let whole: Vec<Rows<R>> = parts.into_iter().map(Self::whole).collect();
        Self::cut(&Rows::join(whole))
    }
}

/// Sums of the tiles' norms, in their order.
fn in_order(norms: impl IndexedParallelIterator<Item = [f64; 2]>) -> [f64; 2] {
    let norms: Vec<[f64; 2]> = norms.collect();
    norms.iter().fold([0.0; 2], |sum, norms| [sum[0] + norms[0], sum[1] + norms[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_the_batch() {
        let x = Rows::from_fn(37, 3, |row, column| (row * 3 + column) as f64);
        let tiled = Tiled::cut(&x);
        assert_eq!(tiled.samples(), 37);
        assert_eq!(tiled.norm_squared(), x.norm_squared());
        assert_eq!(tiled.slice(5, 20).whole(), x.slice(5, 20));
        let parts = vec![tiled.slice(0, 5), tiled.slice(5, 32)];
        assert_eq!(Tiled::join(parts), tiled);
        assert_eq!(tiled.whole(), x);
    }
}
