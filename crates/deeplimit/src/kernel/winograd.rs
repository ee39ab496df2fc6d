//! 3×3 convolutions with 16 products for 4 pixels instead of 36: F(2×2, 3×3) of Lavin, Gray (2016),
//! after Winograd (1980).
//!
//! ```text
//! out = Aᵀ [ Σ_i (G w_i Gᵀ) ⊙ (Bᵀ d_i B) ] A        d: 4×4 pixels, out: 2×2 pixels
//! Bᵀ = 1  0 −1  0     G =  1    0    0      Aᵀ = 1  1  1  0
//!      0  1  1  0         ½    ½    ½           0  1 −1 −1
//!      0 −1  1  0         ½   −½    ½
//!      0  1  0 −1         0    0    1
//! ```
//!
//! The sum over channels is a matrix product for each of the 16 places. The transpose of a
//! convolution is one with the window turned round, and turning w round swaps the first and the
//! last row of G w, and its columns: no weight is transformed twice.

mod columns;
pub(super) mod gradient;
pub(super) mod narrow;

use super::contract::{Place, Start, Sums, contract};
use super::convolution::{Image, Input};
use super::simd::dispatch;
use super::transpose::transpose;
use crate::Real;
use columns::{Columns, differences, outside};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Places of a transformed square.
const PLACES: usize = 16;
/// Vectors from one transformed square to the next: were it a power of two, the same place of all
/// squares would compete for the same lines of a cache.
const APART: usize = PLACES + 1;

/// Some rows of a convolution that keeps the image's size, or of its transpose.
pub(super) struct Winograd<'a, R> {
    /// [`transformed`] weights `[16, outputs, inputs]`.
    pub weights: &'a [R],
    /// Channels of `from` and of `to`.
    pub channels: [usize; 2],
    /// Whether `from` is what came out.
    pub transposed: bool,
    pub image: Image,
    pub samples: usize,
    pub start: Start<'a, R>,
    pub from: Input<'a, R>,
    pub to: &'a mut [R],
    /// Rows of `to`: the first is even, and the end too unless it is that of the image.
    pub rows: Range<usize>,
}

/// Whether it pays: sums must be long against their transforms.
pub(super) fn pays(channels: [usize; 2], image: Image) -> bool {
    channels.into_iter().all(|channels| channels >= 16) && image.height.min(image.width) >= 4
}

/// Runs `work` on the weights `[outputs, inputs, 3, 3]`, transformed for a convolution or, turned
/// round, for its transpose.
pub(super) fn transformed<R: Real, T>(
    weight: &[R],
    transposed: bool,
    work: impl FnOnce(&[R]) -> T,
) -> T {
    let pairs = weight.len() / 9;
    R::with_scratch(PLACES * pairs, |weights| {
        R::with_scratch(9 * pairs, |taps| {
            transpose(weight, 9, taps, pairs, 9);
            transform_weights(taps, weights, pairs, transposed);
        });
        work(weights)
    })
}

/// G w Gᵀ of every pair of channels: `taps` `[9, pairs]` to `[16, pairs]`.
fn transform_weights<R: Real>(taps: &[R], out: &mut [R], pairs: usize, turned: bool) {
    struct Transform<'a, R>(&'a [R], &'a mut [R], usize, [usize; 4]);
    impl<R: Real> WithSimd for Transform<'_, R> {
        type Output = ();

        #[inline(always)]
        #[expect(unsafe_code, reason = "kernels address by pointer")]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self(taps, out, pairs, order) = self;
            assert!(taps.len() == 9 * pairs && out.len() == PLACES * pairs, "all pairs");
            for pair in (0..pairs).step_by(R::lanes::<S>()) {
                let mask = R::mask(simd, R::lanes::<S>().min(pairs - pair));
                let mut columns = [[R::splat(simd, R::zero()); 4]; 3];
                for j in 0..3 {
                    let mut column = [R::splat(simd, R::zero()); 3];
                    for k in 0..3 {
                        let from = taps[(3 * k + j) * pairs + pair..].as_ptr();
                        // SAFETY: the lanes of the mask end with the last pair.
                        column[k] = unsafe { R::load_masked(simd, mask, from) };
                    }
                    columns[j] = spread::<R, S>(simd, column);
                }
                for row in 0..4 {
                    let of_row = [columns[0][row], columns[1][row], columns[2][row]];
                    let places = spread::<R, S>(simd, of_row);
                    for column in 0..4 {
                        let place = 4 * order[row] + order[column];
                        let to = out[place * pairs + pair..].as_mut_ptr();
                        // SAFETY: as for reading.
                        unsafe { R::store_masked(simd, mask, to, places[column]) };
                    }
                }
            }
        }
    }
    let order = if turned { [3, 1, 2, 0] } else { [0, 1, 2, 3] };
    dispatch(Transform(taps, out, pairs, order));
}

/// G of three numbers.
#[inline(always)]
fn spread<R: Real, S: Simd>(simd: S, [a, b, c]: [R::Vector<S>; 3]) -> [R::Vector<S>; 4] {
    let (zero, half) = (R::splat(simd, R::zero()), R::splat(simd, R::of(0.5)));
    let ends = R::multiply_add(simd, R::plus(simd, a, c), half, zero);
    let middle = R::multiply_add(simd, b, half, zero);
    [a, R::plus(simd, ends, middle), R::minus(simd, ends, middle), c]
}

impl<R: Real> WithSimd for Winograd<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let lanes = R::lanes::<S>();
        let [from, to] = self.channels;
        let across = self.image.width.div_ceil(2);
        let all = self.rows.start / 2 * across..self.rows.end.div_ceil(2) * across;
        // Target channels whose products stay in the fastest cache until they are transformed back,
        // and squares.
        let (most, group) = if from <= 32 { (2, 8) } else { (4, 16) };
        let sizes = [from, group.min(to)].map(|channels| channels * most * APART * lanes);
        R::with_scratch(sizes[0] + sizes[1], |scratch| {
            let (squares, products) = scratch.split_at_mut(sizes[0]);
            for sample in (0..self.samples).step_by(lanes) {
                let count = lanes.min(self.samples - sample);
                for first in all.clone().step_by(most) {
                    let last = (first + most).min(all.end);
                    let chunk = Chunk { first, last, across, sample, count };
                    simd.vectorize(Enter { of: &self, chunk, squares });
                    for start in (0..to).step_by(group) {
                        let group = start..(start + group).min(to);
                        self.multiply(simd, last - first, group.clone(), squares, products);
                        simd.vectorize(Leave { of: &mut self, chunk, group, products });
                    }
                }
            }
        });
    }
}

impl<R: Real> Winograd<'_, R> {
    /// The sums over channels, place by place.
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn multiply<S: Simd>(
        &self,
        simd: S,
        count: usize,
        group: Range<usize>,
        squares: &[R],
        products: &mut [R],
    ) {
        let [from, to] = self.channels;
        let lanes = R::lanes::<S>();
        // Weights are `[outputs, inputs]`; the transpose sums over outputs.
        let (a_row, a_turn) = if self.transposed { (1, to) } else { (from, 1) };
        let square = APART * lanes;
        let sums = Sums {
            more: PLACES - 1,
            apart: [from * to, lanes, lanes].map(|numbers| numbers as isize),
            rows: group.len(),
            turns: [1, 1, from],
            a_row: a_row as isize,
            a_turn: [0, 0, a_turn as isize],
            b_column: square as isize,
            b_turn: [0, 0, (count * square) as isize],
            out_row: (count * square) as isize,
            out_column: square as isize,
        };
        assert!(self.weights.len() == PLACES * from * to && group.end <= to, "all weights");
        assert!(from * count * square <= squares.len(), "room");
        assert!(group.len() * count * square <= products.len(), "room");
        let place = Place {
            a: self.weights[group.start * a_row..].as_ptr(),
            b: squares.as_ptr(),
            out: products.as_mut_ptr(),
            start: Start::Zero,
        };
        // SAFETY: there are `from` and `to` rows of `count` squares, and for every place a row of
        // `from` weights for each of `to`.
        unsafe { contract(simd, &sums, count, lanes, place) };
    }
}

/// Some squares of an image, row by row, and some samples.
#[derive(Clone, Copy)]
struct Chunk {
    first: usize,
    last: usize,
    /// Squares in a row.
    across: usize,
    sample: usize,
    count: usize,
}

/// Bᵀ d B of every square and channel, to `[channels, squares, 16]`.
struct Enter<'a, 'w, R> {
    of: &'a Winograd<'w, R>,
    chunk: Chunk,
    squares: &'a mut [R],
}

impl<R: Real> WithSimd for Enter<'_, '_, R> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn with_simd<S: Simd>(self, simd: S) {
        let Chunk { first, last, across, sample, count } = self.chunk;
        let pixels = self.of.image.pixels();
        let lanes = R::lanes::<S>();
        let outside = outside::<R>();
        let needed = self.of.channels[0] * (last - first) * APART * lanes;
        assert!(needed <= self.squares.len(), "room");
        assert!(
            self.of.from.image.len() == self.of.channels[0] * pixels * self.of.samples,
            "an image"
        );
        for channel in 0..self.of.channels[0] {
            let image = &self.of.from.image[channel * pixels * self.of.samples..];
            let mut square = first;
            while square < last {
                // Neighbours in a row share two columns.
                let (y, x) = (square / across, square % across);
                let run = (last - square).min(across - x);
                let samples = [self.of.samples, sample, count];
                let see = Columns::new(
                    self.of.image,
                    Input { image, ..self.of.from },
                    &outside,
                    2 * y,
                    samples,
                );
                let at = (channel * (last - first) + square - first) * APART * lanes;
                let mut to = self.squares.as_mut_ptr().wrapping_add(at);
                let mut left = [see.at(simd, 2 * x), see.at(simd, 2 * x + 1)];
                for step in x..x + run {
                    let right = [see.at(simd, 2 * step + 2), see.at(simd, 2 * step + 3)];
                    for row in 0..4 {
                        let of_row = [left[0][row], left[1][row], right[0][row], right[1][row]];
                        let places = differences::<R, S>(simd, of_row);
                        for place in 0..4 {
                            let to = to.wrapping_add((4 * row + place) * lanes);
                            // SAFETY: there is room for every channel and square, as asserted.
                            unsafe { R::store(simd, to, places[place]) };
                        }
                    }
                    to = to.wrapping_add(APART * lanes);
                    left = right;
                }
                square += run;
            }
        }
    }
}

/// Aᵀ of four numbers.
#[inline(always)]
fn totals<R: Real, S: Simd>(simd: S, m: [R::Vector<S>; 4]) -> [R::Vector<S>; 2] {
    [
        R::plus(simd, R::plus(simd, m[0], m[1]), m[2]),
        R::minus(simd, R::minus(simd, m[1], m[2]), m[3]),
    ]
}

/// Aᵀ m A of every square and channel, to the image.
struct Leave<'a, 'w, R> {
    of: &'a mut Winograd<'w, R>,
    chunk: Chunk,
    group: Range<usize>,
    products: &'a [R],
}

impl<R: Real> WithSimd for Leave<'_, '_, R> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn with_simd<S: Simd>(self, simd: S) {
        let Chunk { first, last, across, sample, count } = self.chunk;
        let Winograd { image: Image { height, width }, samples, start, .. } = *self.of;
        let (lanes, mask) = (R::lanes::<S>(), R::mask(simd, count));
        let adds = matches!(start, Start::Add);
        let needed = self.group.len() * (last - first) * APART * lanes;
        assert!(needed <= self.products.len(), "all products");
        assert!(self.of.to.len() == self.of.channels[1] * height * width * samples, "an image");
        for (row, channel) in self.group.enumerate() {
            let image = &mut self.of.to[channel * height * width * samples..];
            let bias = match start {
                Start::Bias(bias) => R::splat(simd, bias[channel]),
                _ => R::splat(simd, R::zero()),
            };
            for square in first..last {
                let at = (row * (last - first) + square - first) * APART * lanes;
                let from = self.products.as_ptr().wrapping_add(at);
                let mut columns = [[R::splat(simd, R::zero()); 2]; 4];
                for j in 0..4 {
                    let mut m = [R::splat(simd, R::zero()); 4];
                    for k in 0..4 {
                        // SAFETY: every channel and square has its products, as asserted.
                        m[k] = unsafe { R::load(simd, from.wrapping_add((4 * k + j) * lanes)) };
                    }
                    columns[j] = totals::<R, S>(simd, m);
                }
                let (y, x) = (2 * (square / across), 2 * (square % across));
                let first = image.as_mut_ptr().wrapping_add((y * width + x) * samples + sample);
                for row in 0..2 {
                    let m = [columns[0][row], columns[1][row], columns[2][row], columns[3][row]];
                    let pixels = totals::<R, S>(simd, m);
                    for column in 0..2 {
                        if y + row >= height || x + column >= width {
                            continue;
                        }
                        let to = first.wrapping_add((row * width + column) * samples);
                        let mut value = R::plus(simd, pixels[column], bias);
                        // SAFETY: the pixel lies inside the image, and so do `count` samples of it.
                        unsafe {
                            if count == lanes {
                                if adds {
                                    value = R::plus(simd, value, R::load(simd, to));
                                }
                                R::store(simd, to, value);
                            } else {
                                if adds {
                                    value = R::plus(simd, value, R::load_masked(simd, mask, to));
                                }
                                R::store_masked(simd, mask, to, value);
                            }
                        }
                    }
                }
            }
        }
    }
}
