//! The gradient of [`gradient`](super::gradient) for few channels: sums over squares stay in
//! registers, a vector of samples each, and lanes are added up at the end.
//!
//! Places are taken four at a time, a row of the transformed square: then what all squares of a
//! strip make of them stays in a core's own cache.

use super::super::convolution::{Convolution, Input};
use super::super::simd::dispatch;
use super::PLACES;
use super::columns::{Columns, differences, outside};
use super::gradient::Conclude;
use crate::Real;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Squares whose transforms are kept together.
const SQUARES: usize = 64;

/// Whether it pays: every sum ends with an addition of its lanes.
pub fn pays(Convolution { inputs, image, .. }: &Convolution, rows: &Range<usize>) -> bool {
    !super::gradient::pays(*inputs) && rows.len().div_ceil(2) * image.width.div_ceil(2) >= 16
}

/// `gradient += ∂⟨bar, w ∗ x⟩/∂w`, and sums of `bar` to the biases' unless that is empty; lengths
/// have been checked.
pub fn add_gradients<R: Real>(
    convolution: &Convolution,
    bar: &[R],
    x: Input<'_, R>,
    [gradient, biases]: [&mut [R]; 2],
    samples: usize,
    rows: Range<usize>,
) {
    let Convolution { inputs, outputs, image, .. } = *convolution;
    let across = image.width.div_ceil(2);
    let squares = rows.start / 2 * across..rows.end.div_ceil(2) * across;
    // An odd number of vectors a channel: channels a power of two apart would compete for the same
    // lines of a cache.
    let apart = squares.len().min(SQUARES) | 1;
    let lanes = 64 / size_of::<R>();
    let sizes =
        [4 * inputs * apart * lanes, 4 * outputs * apart * lanes, PLACES * outputs * inputs];
    R::with_scratch(sizes.iter().sum(), |scratch| {
        let (seen, rest) = scratch.split_at_mut(sizes[0]);
        let (bars, products) = rest.split_at_mut(sizes[1]);
        products.fill(R::zero());
        dispatch(Gradient {
            convolution,
            bar,
            x,
            samples,
            squares,
            apart,
            seen,
            bars,
            products,
            biases,
        });
        dispatch(Conclude { products, channels: [inputs, outputs], to: gradient });
    });
}

struct Gradient<'a, R> {
    convolution: &'a Convolution,
    bar: &'a [R],
    x: Input<'a, R>,
    samples: usize,
    squares: Range<usize>,
    /// Vectors from one channel to the next.
    apart: usize,
    /// A row of Bᵀ d B: `[4, inputs, squares]`, a vector of samples each.
    seen: &'a mut [R],
    /// The same row of A bar Aᵀ: `[4, outputs, squares]`.
    bars: &'a mut [R],
    /// `[16, outputs, inputs]`
    products: &'a mut [R],
    biases: &'a mut [R],
}

impl<R: Real> WithSimd for Gradient<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let all = self.squares.clone();
        for sample in (0..self.samples).step_by(R::lanes::<S>()) {
            let count = R::lanes::<S>().min(self.samples - sample);
            for first in all.clone().step_by(SQUARES) {
                let chunk = Chunk { squares: first..all.end.min(first + SQUARES), sample, count };
                self.row::<S, 0>(simd, &chunk);
                self.row::<S, 1>(simd, &chunk);
                self.row::<S, 2>(simd, &chunk);
                self.row::<S, 3>(simd, &chunk);
            }
        }
    }
}

/// Some squares and samples.
struct Chunk {
    squares: Range<usize>,
    sample: usize,
    count: usize,
}

impl<R: Real> Gradient<'_, R> {
    /// One row of places.
    #[inline(always)]
    fn row<S: Simd, const ROW: usize>(&mut self, simd: S, chunk: &Chunk) {
        simd.vectorize(See::<'_, '_, R, ROW> { of: self, chunk });
        simd.vectorize(EnterBar::<'_, '_, R, ROW> { of: self, chunk });
        let (squares, place) = (chunk.squares.len(), 4 * ROW);
        if S::REGISTER_COUNT >= 32 {
            simd.vectorize(Multiply::<'_, '_, R, 4> { of: self, place, squares });
        } else {
            simd.vectorize(Multiply::<'_, '_, R, 2> { of: self, place, squares });
        }
    }
}

/// A row of Bᵀ d B of every square and input channel.
struct See<'s, 'a, R, const ROW: usize> {
    of: &'s mut Gradient<'a, R>,
    chunk: &'s Chunk,
}

impl<R: Real, const ROW: usize> WithSimd for See<'_, '_, R, ROW> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn with_simd<S: Simd>(self, simd: S) {
        let Gradient { convolution, x, samples, apart, .. } = *self.of;
        let Convolution { inputs, image, .. } = *convolution;
        let Chunk { squares, sample, count } = self.chunk;
        let (lanes, across) = (R::lanes::<S>(), image.width.div_ceil(2));
        let place = inputs * apart * lanes;
        assert!(4 * place <= self.of.seen.len() && squares.len() <= apart, "room");
        let outside = outside::<R>();
        for channel in 0..inputs {
            let plane = &x.image[channel * image.pixels() * samples..];
            let plane = Input { image: plane, ..x };
            let mut to = self.of.seen.as_mut_ptr().wrapping_add(channel * apart * lanes);
            let mut square = squares.start;
            while square < squares.end {
                // Neighbours in a row share two columns.
                let (y, x) = (square / across, square % across);
                let run = (squares.end - square).min(across - x);
                let samples = [samples, *sample, *count];
                let see = Columns::new(image, plane, &outside, 2 * y, samples);
                let mut left = [see.row::<S, ROW>(simd, 2 * x), see.row::<S, ROW>(simd, 2 * x + 1)];
                for step in x..x + run {
                    let right = [
                        see.row::<S, ROW>(simd, 2 * step + 2),
                        see.row::<S, ROW>(simd, 2 * step + 3),
                    ];
                    let places = differences::<R, S>(simd, [left[0], left[1], right[0], right[1]]);
                    for j in 0..4 {
                        // SAFETY: there is room for a vector of every place, channel and square.
                        unsafe { R::store(simd, to.wrapping_add(j * place), places[j]) };
                    }
                    to = to.wrapping_add(lanes);
                    left = right;
                }
                square += run;
            }
        }
    }
}

/// A row of A bar Aᵀ of every square and output channel, but for the signs of the last row and
/// column.
struct EnterBar<'s, 'a, R, const ROW: usize> {
    of: &'s mut Gradient<'a, R>,
    chunk: &'s Chunk,
}

impl<R: Real, const ROW: usize> WithSimd for EnterBar<'_, '_, R, ROW> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn with_simd<S: Simd>(self, simd: S) {
        let Gradient { convolution, bar, samples, apart, .. } = *self.of;
        let Convolution { outputs, image, .. } = *convolution;
        let Chunk { squares, sample, count } = self.chunk;
        let (lanes, across) = (R::lanes::<S>(), image.width.div_ceil(2));
        let place = outputs * apart * lanes;
        assert!(4 * place <= self.of.bars.len() && squares.len() <= apart, "room");
        let outside = outside::<R>();
        for channel in 0..outputs {
            let plane = &bar[channel * image.pixels() * samples..];
            let mut to = self.of.bars.as_mut_ptr().wrapping_add(channel * apart * lanes);
            let mut total = R::splat(simd, R::zero());
            let mut square = squares.start;
            while square < squares.end {
                let (y, x) = (square / across, square % across);
                let run = (squares.end - square).min(across - x);
                let samples = [samples, *sample, *count];
                let see = Columns::new(image, plane.into(), &outside, 2 * y, samples);
                for step in x..x + run {
                    let [a, b] = [
                        see.spread::<S, ROW>(simd, 2 * step),
                        see.spread::<S, ROW>(simd, 2 * step + 1),
                    ];
                    let places = [a, R::plus(simd, a, b), R::minus(simd, a, b), b];
                    // In the second row this is the sum of the square.
                    total = R::plus(simd, total, places[1]);
                    for j in 0..4 {
                        // SAFETY: there is room for a vector of every place, channel and square.
                        unsafe { R::store(simd, to.wrapping_add(j * place), places[j]) };
                    }
                    to = to.wrapping_add(lanes);
                }
                square += run;
            }
            if let (1, Some(sum)) = (ROW, self.of.biases.get_mut(channel)) {
                *sum += R::lane_sum(simd, total);
            }
        }
    }
}

/// The sums over squares and samples of four places: blocks of `SIDE` output by four input
/// channels stay in registers.
struct Multiply<'s, 'a, R, const SIDE: usize> {
    of: &'s mut Gradient<'a, R>,
    place: usize,
    squares: usize,
}

impl<R: Real, const SIDE: usize> WithSimd for Multiply<'_, '_, R, SIDE> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Convolution { inputs, outputs, .. } = *self.of.convolution;
        for place in 0..4 {
            let mut output = 0;
            while output < outputs {
                let outputs_left = outputs - output;
                let mut input = 0;
                while input < inputs {
                    let whole = [outputs_left >= SIDE, inputs - input >= 4];
                    match whole {
                        [true, true] => self.block::<S, SIDE, 4>(simd, place, output, input),
                        [true, false] => self.block::<S, SIDE, 1>(simd, place, output, input),
                        [false, true] => self.block::<S, 1, 4>(simd, place, output, input),
                        [false, false] => self.block::<S, 1, 1>(simd, place, output, input),
                    }
                    input += if whole[1] { 4 } else { 1 };
                }
                output += if outputs_left >= SIDE { SIDE } else { 1 };
            }
        }
    }
}

impl<R: Real, const SIDE: usize> Multiply<'_, '_, R, SIDE> {
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn block<S: Simd, const OUTPUTS: usize, const INPUTS: usize>(
        &mut self,
        simd: S,
        place: usize,
        output: usize,
        input: usize,
    ) {
        let Convolution { inputs, outputs, .. } = *self.of.convolution;
        let lanes = R::lanes::<S>();
        let channel = self.of.apart * lanes;
        let bars =
            self.of.bars[(place * outputs + output) * channel..][..OUTPUTS * channel].as_ptr();
        let seen = self.of.seen[(place * inputs + input) * channel..][..INPUTS * channel].as_ptr();
        let mut sums = [[R::splat(simd, R::zero()); INPUTS]; OUTPUTS];
        for square in 0..self.squares {
            let mut x = [R::splat(simd, R::zero()); INPUTS];
            for i in 0..INPUTS {
                // SAFETY: every channel has a vector for each square; there are at most `apart`.
                x[i] = unsafe { R::load(simd, seen.add(i * channel + square * lanes)) };
            }
            for o in 0..OUTPUTS {
                // SAFETY: as above.
                let bar = unsafe { R::load(simd, bars.add(o * channel + square * lanes)) };
                for i in 0..INPUTS {
                    sums[o][i] = R::multiply_add(simd, bar, x[i], sums[o][i]);
                }
            }
        }
        for o in 0..OUTPUTS {
            let at = ((self.place + place) * outputs + output + o) * inputs + input;
            let slots = &mut self.of.products[at..at + INPUTS];
            for i in 0..INPUTS {
                slots[i] += R::lane_sum(simd, sums[o][i]);
            }
        }
    }
}
