//! The gradient of a 3×3 convolution's weights with 16 products for 36: the transpose of the
//! bilinear form in [`super`],
//!
//! ```text
//! ∂⟨bar, w ∗ x⟩/∂w = Gᵀ [ Σ (A bar Aᵀ) ⊙ (Bᵀ d B) ] G        the sum over squares and samples
//! ```
//!
//! For each of the 16 places the sum is a matrix product. Its right factor has input channels in
//! vector lanes, so a pixel's channels and samples are transposed once, before `B`.

use super::super::contract::{Place, Start, Sums, contract};
use super::super::convolution::{Convolution, Image, Input};
use super::super::simd::dispatch;
use super::super::transpose::transpose;
use super::PLACES;
use super::columns::differences;
use crate::Real;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Squares that are worked on together, at most.
const SQUARES: usize = 4;

/// Whether it pays: sums over samples, one number of a register at a time, must serve more than one
/// vector of input channels.
pub fn pays(inputs: usize) -> bool {
    inputs >= 32
}

/// `gradient += ∂⟨bar, w ∗ x⟩/∂w`; lengths have been checked.
pub fn add_weight_gradient<R: Real>(
    convolution: &Convolution,
    bar: &[R],
    x: Input<'_, R>,
    gradient: &mut [R],
    samples: usize,
    rows: Range<usize>,
) {
    dispatch(Gradient { convolution, bar, x, gradient, samples, rows });
}

struct Gradient<'a, R> {
    convolution: &'a Convolution,
    bar: &'a [R],
    x: Input<'a, R>,
    gradient: &'a mut [R],
    samples: usize,
    rows: Range<usize>,
}

impl<R: Real> WithSimd for Gradient<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = R::lanes::<S>();
        let Convolution { inputs, outputs, image: Image { width, .. }, .. } = *self.convolution;
        let vectors = inputs.div_ceil(lanes);
        let across = width.div_ceil(2);
        let most = across.div_ceil(across.div_ceil(SQUARES));
        let sizes = [
            4 * width * lanes * inputs,
            PLACES * seen_place(lanes, vectors),
            PLACES * bars_place(lanes, outputs),
            PLACES * outputs * vectors * lanes,
        ];
        R::with_scratch(sizes.iter().sum(), |scratch| {
            let (window, scratch) = scratch.split_at_mut(sizes[0]);
            let (seen, scratch) = scratch.split_at_mut(sizes[1]);
            let (bars, products) = scratch.split_at_mut(sizes[2]);
            let products = &mut products[..sizes[3]];
            products.fill(R::zero());
            let mut part = Part { of: &self, window, seen, bars, products, sample: 0, count: 0 };
            for sample in (0..self.samples).step_by(lanes) {
                (part.sample, part.count) = (sample, lanes.min(self.samples - sample));
                part.turn_row(self.rows.start.wrapping_sub(1));
                part.turn_row(self.rows.start);
                for y in self.rows.start / 2..self.rows.end.div_ceil(2) {
                    part.turn_row(2 * y + 1);
                    part.turn_row(2 * y + 2);
                    for x in (0..across).step_by(most) {
                        let squares = most.min(across - x);
                        simd.vectorize(See { part: &mut part, y, x, squares });
                        simd.vectorize(EnterBar { part: &mut part, y, x, squares });
                        part.multiply(simd, squares);
                    }
                }
            }
            simd.vectorize(Conclude { products, channels: [inputs, outputs], to: self.gradient });
        });
    }
}

/// Numbers of one place of the transformed squares, and one vector: were it a power of two, all
/// places would compete for the same lines of a cache.
fn seen_place(lanes: usize, vectors: usize) -> usize {
    (vectors * SQUARES * lanes + 1) * lanes
}

/// The same of the transformed cotangents.
fn bars_place(lanes: usize, outputs: usize) -> usize {
    (outputs * SQUARES + 1) * lanes
}

/// The work on some samples.
struct Part<'a, 'g, R> {
    of: &'a Gradient<'g, R>,
    /// Four rows of x: `[4, width, samples, inputs]`; row y in place y mod 4.
    window: &'a mut [R],
    /// Bᵀ d B: `[16, vectors of inputs, squares, samples]`.
    seen: &'a mut [R],
    /// A bar Aᵀ: `[16, outputs, squares]`, a vector of samples each.
    bars: &'a mut [R],
    /// `[16, outputs, vectors of inputs]`.
    products: &'a mut [R],
    sample: usize,
    count: usize,
}

impl<R: Real> Part<'_, '_, R> {
    /// Brings a row of x into the window, channels side by side.
    fn turn_row(&mut self, y: usize) {
        let Convolution { inputs, image: Image { height, width }, .. } = *self.of.convolution;
        if y >= height {
            return;
        }
        let samples = self.of.samples;
        let block = self.count * inputs;
        let row = &mut self.window[y % 4 * width * block..][..width * block];
        for (x, to) in row.chunks_exact_mut(block).enumerate() {
            let from = &self.of.x.image[(y * width + x) * samples + self.sample..];
            transpose(from, height * width * samples, to, inputs, self.count);
        }
    }

    /// Adds the sums over `squares` squares and the samples, place by place.
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn multiply<S: Simd>(&mut self, simd: S, squares: usize) {
        let Convolution { inputs, outputs, .. } = *self.of.convolution;
        let lanes = R::lanes::<S>();
        let vectors = inputs.div_ceil(lanes);
        let apart =
            [bars_place(lanes, outputs), seen_place(lanes, vectors), outputs * vectors * lanes];
        let turns =
            if self.count == lanes { [1, 1, squares * lanes] } else { [1, squares, self.count] };
        let sums = Sums {
            more: PLACES - 1,
            apart: apart.map(|numbers| numbers as isize),
            rows: outputs,
            turns,
            a_row: (SQUARES * lanes) as isize,
            a_turn: [0, lanes as isize, 1],
            b_column: (SQUARES * lanes * lanes) as isize,
            b_turn: [0, (lanes * lanes) as isize, lanes as isize],
            out_row: (vectors * lanes) as isize,
            out_column: lanes as isize,
        };
        let place = Place {
            a: self.bars.as_ptr(),
            b: self.seen.as_ptr(),
            out: self.products.as_mut_ptr(),
            start: Start::Add,
        };
        // SAFETY: the three have the sizes that `Gradient` gave them for these channels.
        unsafe { contract(simd, &sums, vectors, lanes, place) };
    }
}

/// Bᵀ d B of some squares from (y, x) on.
struct See<'s, 'a, 'g, R> {
    part: &'s mut Part<'a, 'g, R>,
    y: usize,
    x: usize,
    squares: usize,
}

impl<R: Real> WithSimd for See<'_, '_, '_, R> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { part, y, x, squares } = self;
        let Convolution { inputs, image: Image { height, width }, .. } = *part.of.convolution;
        let lanes = R::lanes::<S>();
        let block = part.count * inputs;
        let apart = seen_place(lanes, inputs.div_ceil(lanes));
        // Rows 2y − 1 … 2y + 2, where they are inside.
        let mut rows = [None; 4];
        for k in 0..4 {
            let at = (2 * y + k).wrapping_sub(1);
            if at < height {
                rows[k] = Some(&part.window[at % 4 * width * block..][..width * block]);
            }
        }
        for sample in 0..part.count {
            for vector in 0..inputs.div_ceil(lanes) {
                let count = lanes.min(inputs - vector * lanes);
                let first = sample * inputs + vector * lanes;
                let see = Column { rows, width, block, first, count, floor: part.of.x.floor };
                let mut left = [see.at(simd, 2 * x), see.at(simd, 2 * x + 1)];
                for step in 0..squares {
                    let beyond = 2 * (x + step) + 2;
                    let right = [see.at(simd, beyond), see.at(simd, beyond + 1)];
                    let at = ((vector * SQUARES + step) * lanes + sample) * lanes;
                    let to = part.seen[at..][..(PLACES - 1) * apart + lanes].as_mut_ptr();
                    for row in 0..4 {
                        let of_row = [left[0][row], left[1][row], right[0][row], right[1][row]];
                        let places = differences::<R, S>(simd, of_row);
                        for place in 0..4 {
                            // SAFETY: the slice has 16 vectors, so far apart.
                            unsafe {
                                R::store(simd, to.add((4 * row + place) * apart), places[place]);
                            }
                        }
                    }
                    left = right;
                }
            }
        }
    }
}

/// Four rows of x, seen by columns.
struct Column<'a, R> {
    rows: [Option<&'a [R]>; 4],
    width: usize,
    /// Numbers of a pixel, and the first that is seen, and how many.
    block: usize,
    first: usize,
    count: usize,
    floor: R,
}

impl<R: Real> Column<'_, R> {
    /// Bᵀ of the column `x` − 1; zeros outside.
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn at<S: Simd>(&self, simd: S, x: usize) -> [R::Vector<S>; 4] {
        let x = x.wrapping_sub(1);
        let mut pixels = [R::splat(simd, R::zero()); 4];
        if x < self.width {
            for k in 0..4 {
                let Some(row) = self.rows[k] else { continue };
                let from = row[x * self.block + self.first..][..self.count].as_ptr();
                // SAFETY: the slice has `count` numbers.
                let pixel = unsafe {
                    if self.count == R::lanes::<S>() {
                        R::load(simd, from)
                    } else {
                        R::load_masked(simd, R::mask(simd, self.count), from)
                    }
                };
                pixels[k] = R::at_least(simd, pixel, R::splat(simd, self.floor));
            }
        }
        differences::<R, S>(simd, pixels)
    }
}

/// A bar Aᵀ of some squares from (y, x) on, but for the signs of its last row and column.
struct EnterBar<'s, 'a, 'g, R> {
    part: &'s mut Part<'a, 'g, R>,
    y: usize,
    x: usize,
    squares: usize,
}

impl<R: Real> WithSimd for EnterBar<'_, '_, '_, R> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { part, y, x, squares } = self;
        let Convolution { outputs, image: Image { height, width }, .. } = *part.of.convolution;
        let (lanes, samples) = (R::lanes::<S>(), part.of.samples);
        let (whole, mask) = (part.count == lanes, R::mask(simd, part.count));
        let apart = bars_place(lanes, outputs);
        for output in 0..outputs {
            for step in 0..squares {
                let mut columns = [[R::splat(simd, R::zero()); 2]; 2];
                for j in 0..2 {
                    for k in 0..2 {
                        let (y, x) = (2 * y + k, 2 * (x + step) + j);
                        if y < height && x < width {
                            let at = ((output * height + y) * width + x) * samples + part.sample;
                            let from = part.of.bar[at..at + part.count].as_ptr();
                            // SAFETY: the slice has `count` numbers.
                            columns[j][k] = unsafe {
                                if whole {
                                    R::load(simd, from)
                                } else {
                                    R::load_masked(simd, mask, from)
                                }
                            };
                        }
                    }
                }
                let columns = [spread::<R, S>(simd, columns[0]), spread::<R, S>(simd, columns[1])];
                let at = (output * SQUARES + step) * lanes;
                let to = part.bars[at..][..(PLACES - 1) * apart + lanes].as_mut_ptr();
                for row in 0..4 {
                    let places = spread::<R, S>(simd, [columns[0][row], columns[1][row]]);
                    for place in 0..4 {
                        // SAFETY: the slice has 16 vectors, so far apart.
                        unsafe { R::store(simd, to.add((4 * row + place) * apart), places[place]) };
                    }
                }
            }
        }
    }
}

/// A of two numbers, the last one's sign apart.
#[inline(always)]
fn spread<R: Real, S: Simd>(simd: S, [a, b]: [R::Vector<S>; 2]) -> [R::Vector<S>; 4] {
    [a, R::plus(simd, a, b), R::minus(simd, a, b), b]
}

/// Gᵀ M G of every pair of channels, added to `[outputs, inputs, 3, 3]`.
pub(super) struct Conclude<'a, R> {
    /// `[16, outputs, inputs]`, with room for more after the inputs.
    pub products: &'a [R],
    /// Inputs and outputs.
    pub channels: [usize; 2],
    pub to: &'a mut [R],
}

impl<R: Real> WithSimd for Conclude<'_, R> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn with_simd<S: Simd>(self, simd: S) {
        let ([inputs, outputs], lanes) = (self.channels, R::lanes::<S>());
        let row = self.products.len() / PLACES / outputs;
        let mut taps = [[R::zero(); 16]; 9];
        for output in 0..outputs {
            for input in (0..inputs).step_by(lanes) {
                let count = lanes.min(inputs - input);
                let mask = R::mask(simd, count);
                let mut columns = [[R::splat(simd, R::zero()); 3]; 4];
                for j in 0..4 {
                    let mut m = [R::splat(simd, R::zero()); 4];
                    for k in 0..4 {
                        let at = ((4 * k + j) * outputs + output) * row + input;
                        let from = self.products[at..at + count].as_ptr();
                        // SAFETY: the slice has `count` numbers.
                        m[k] = unsafe { R::load_masked(simd, mask, from) };
                    }
                    columns[j] = gather::<R, S>(simd, m);
                }
                for k in 0..3 {
                    let m = [columns[0][k], columns[1][k], columns[2][k], columns[3][k]];
                    let row = gather::<R, S>(simd, m);
                    for l in 0..3 {
                        // SAFETY: no vector has more than 16 lanes.
                        unsafe { R::store(simd, taps[3 * k + l].as_mut_ptr(), row[l]) };
                    }
                }
                let to = &mut self.to[(output * inputs + input) * 9..][..9 * count];
                for (pair, to) in to.chunks_exact_mut(9).enumerate() {
                    for tap in 0..9 {
                        to[tap] += taps[tap][pair];
                    }
                }
            }
        }
    }
}

/// Gᵀ of four numbers, the last of which has the other sign.
#[inline(always)]
fn gather<R: Real, S: Simd>(simd: S, [a, b, c, d]: [R::Vector<S>; 4]) -> [R::Vector<S>; 3] {
    let (zero, half) = (R::splat(simd, R::zero()), R::splat(simd, R::of(0.5)));
    let sum = R::multiply_add(simd, R::plus(simd, b, c), half, zero);
    let difference = R::multiply_add(simd, R::minus(simd, b, c), half, zero);
    [R::plus(simd, a, sum), difference, R::minus(simd, sum, d)]
}
