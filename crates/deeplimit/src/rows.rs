//! States of the CPU fields: one sample a row, contiguous.

use crate::{Bytes, Real, State};

/// A matrix `[rows, width]`, row-major; a row is one sample.
///
/// Images are rows of `channels · height · width` numbers, channel first.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows<R> {
    rows: usize,
    width: usize,
    data: Vec<R>,
}

impl<R: Real> Rows<R> {
    /// Wraps `data` of length `rows · width`.
    ///
    /// # Panics
    /// If the length of `data` is not `rows · width`.
    pub fn new(rows: usize, width: usize, data: Vec<R>) -> Self {
        assert_eq!(
            data.len(),
            rows * width,
            "{rows} rows of width {width} need {} numbers",
            rows * width
        );
        Self { rows, width, data }
    }

    /// All zeros.
    pub fn zeros(rows: usize, width: usize) -> Self {
        Self::new(rows, width, vec![R::zero(); rows * width])
    }

    /// Entries given by (row, column).
    pub fn from_fn(rows: usize, width: usize, f: impl Fn(usize, usize) -> R) -> Self {
        let data = (0..rows * width).map(|i| f(i / width, i % width)).collect();
        Self::new(rows, width, data)
    }

    /// Number of samples.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers a sample.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All numbers, row-major.
    pub fn data(&self) -> &[R] {
        &self.data
    }

    /// All numbers, row-major.
    pub fn data_mut(&mut self) -> &mut [R] {
        &mut self.data
    }

    /// The numbers, without a copy.
    pub fn into_data(self) -> Vec<R> {
        self.data
    }

    /// One sample.
    pub fn row(&self, row: usize) -> &[R] {
        &self.data[row * self.width..(row + 1) * self.width]
    }

    /// Rounds or widens every entry.
    pub fn cast<S: Real>(&self) -> Rows<S> {
        let data = self.data.iter().map(|v| S::of(v.wide())).collect();
        Rows::new(self.rows, self.width, data)
    }
}

impl<R> Bytes for Rows<R> {
    fn bytes(&self) -> usize {
        std::mem::size_of_val(self.data.as_slice())
    }
}

/// Sums `term(i)` in eight interleaved accumulators: the compiler can keep them in vector lanes,
/// and the order of additions is fixed.
#[inline(always)]
fn lane_sum<R: Real>(a: &[R], b: &[R], term: impl Fn(f64, f64) -> f64) -> f64 {
    const LANES: usize = 8;
    let mut lanes = [0.0; LANES];
    let (mut chunks_a, mut chunks_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (xs, ys) in (&mut chunks_a).zip(&mut chunks_b) {
        for lane in 0..LANES {
            lanes[lane] += term(xs[lane].wide(), ys[lane].wide());
        }
    }
    let tail = chunks_a.remainder().iter().zip(chunks_b.remainder());
    lanes.iter().sum::<f64>() + tail.map(|(x, y)| term(x.wide(), y.wide())).sum::<f64>()
}

impl<R: Real> State for Rows<R> {
    fn scratch(&self) -> Self {
        Self::zeros(self.rows, self.width)
    }

    fn samples(&self) -> usize {
        self.rows
    }

    fn copy_from(&mut self, x: &Self) {
        self.data.copy_from_slice(&x.data);
    }

    fn set_zero(&mut self) {
        self.data.fill(R::zero());
    }

    fn scale(&mut self, factor: f64) {
        let factor = R::of(factor);
        self.data.iter_mut().for_each(|v| *v *= factor);
    }

    fn add_scaled(&mut self, factor: f64, x: &Self) {
        let factor = R::of(factor);
        for (v, x) in self.data.iter_mut().zip(&x.data) {
            *v += factor * *x;
        }
    }

    fn set_sum(&mut self, x: &Self, factor: f64, y: &Self) {
        let factor = R::of(factor);
        for ((v, x), y) in self.data.iter_mut().zip(&x.data).zip(&y.data) {
            *v = *x + factor * *y;
        }
    }

    fn dot(&self, other: &Self) -> f64 {
        lane_sum(&self.data, &other.data, |x, y| x * y)
    }

    fn distance_squared(&self, other: &Self) -> f64 {
        lane_sum(&self.data, &other.data, |x, y| (x - y) * (x - y))
    }

    fn slice(&self, start: usize, count: usize) -> Self {
        let range = start * self.width..(start + count) * self.width;
        Self::new(count, self.width, self.data[range].to_vec())
    }

    fn join(tiles: Vec<Self>) -> Self {
        let rows = tiles.iter().map(|tile| tile.rows).sum();
        let width = tiles.first().map_or(0, |tile| tile.width);
        let mut data = Vec::with_capacity(rows * width);
        tiles.iter().for_each(|tile| data.extend_from_slice(&tile.data));
        Self::new(rows, width, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_join_to_the_rows_they_were_cut_from() {
        let x = Rows::from_fn(7, 3, |row, column| (row * 3 + column) as f64);
        let tiles = vec![x.slice(0, 3), x.slice(3, 3), x.slice(6, 1)];
        assert_eq!(Rows::join(tiles), x);
    }

    #[test]
    fn inner_products_cover_lanes_and_remainder() {
        for length in [1, 7, 8, 9, 31] {
            let x = Rows::from_fn(1, length, |_, i| (i + 1) as f32);
            let expected: f64 = (1..=length).map(|i| (i * i) as f64).sum();
            assert_eq!(x.norm_squared(), expected);
            assert_eq!(x.distance_squared(&Rows::zeros(1, length)), expected);
        }
    }
}
