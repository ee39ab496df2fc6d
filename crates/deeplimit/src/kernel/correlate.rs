//! The gradient of a convolution's weights: sums over pixels and samples.

use super::convolution::{Convolution, Input, copy_pixels};
use super::simd::dispatch;
use crate::Real;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Pixels of the strip of an image, and output channels, that are worked on at a time: they stay in
/// a core's own cache while all input channels pass over them.
const STRIP: usize = 256;
const GROUP: usize = 16;

pub(super) fn add_weight_gradient<R: Real>(
    convolution: &Convolution,
    bar: &[R],
    x: Input<'_, R>,
    gradient: &mut [R],
    samples: usize,
    rows: Range<usize>,
) {
    let out = convolution.out();
    let strip = STRIP.div_ceil(out.width).min(rows.len().max(1));
    let height = (strip - 1) * convolution.stride + convolution.side;
    let width = (out.width - 1) * convolution.stride + convolution.side;
    let most_lanes = 64 / size_of::<R>();
    let (seen, plane) = (height * width, strip * out.width);
    R::with_scratch((seen + GROUP * plane) * most_lanes, |scratch| {
        let (x_strip, bar_strip) = scratch.split_at_mut(seen * most_lanes);
        dispatch(Gradient {
            convolution,
            bar,
            x,
            gradient,
            samples,
            wanted: rows,
            strip,
            padded: [height, width],
            x_strip,
            bar_strip,
        });
    });
}

struct Gradient<'a, R> {
    convolution: &'a Convolution,
    bar: &'a [R],
    x: Input<'a, R>,
    gradient: &'a mut [R],
    samples: usize,
    /// Rows of the image that comes out.
    wanted: Range<usize>,
    /// Rows of a strip of them.
    strip: usize,
    /// Height and width of what a strip sees, padding included.
    padded: [usize; 2],
    /// What a strip sees of one input channel, a vector a pixel, zeros beyond the image.
    x_strip: &'a mut [R],
    /// The strip of a group of output channels, a vector a pixel.
    bar_strip: &'a mut [R],
}

impl<R: Real> WithSimd for Gradient<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let lanes = R::lanes::<S>();
        let Convolution { inputs, outputs, side, .. } = *self.convolution;
        let out = self.convolution.out();
        for sample in (0..self.samples).step_by(lanes) {
            let count = lanes.min(self.samples - sample);
            for first in self.wanted.clone().step_by(self.strip) {
                let rows = self.strip.min(self.wanted.end - first);
                let plane = rows * out.width * lanes;
                for group in (0..outputs).step_by(GROUP) {
                    let group = group..outputs.min(group + GROUP);
                    for (output, to) in
                        group.clone().zip(self.bar_strip.chunks_exact_mut(plane.max(1)))
                    {
                        let from = (output * out.height + first) * out.width;
                        let from = &self.bar[from * self.samples + sample..];
                        copy_pixels(simd, from.into(), self.samples, count, to);
                    }
                    for input in 0..inputs {
                        self.pad(simd, input, first, sample, count);
                        if side.is_multiple_of(3) {
                            self.taps::<S, 3, 2>(simd, input, rows, group.clone());
                        } else {
                            self.taps::<S, 1, 4>(simd, input, rows, group.clone());
                        }
                    }
                }
            }
        }
    }
}

impl<R: Real> Gradient<'_, R> {
    /// Copies what a strip sees of one channel, zeros where it sees beyond the image.
    #[inline(always)]
    fn pad<S: Simd>(&mut self, simd: S, input: usize, first: usize, sample: usize, count: usize) {
        let Convolution { image, stride, padding, .. } = *self.convolution;
        let [height, width] = self.padded;
        let lanes = R::lanes::<S>();
        let inside = padding..(padding + image.width).min(width);
        for (row, strip) in self.x_strip.chunks_exact_mut(width * lanes).take(height).enumerate() {
            let y = (first * stride + row).wrapping_sub(padding);
            if y >= image.height {
                strip.fill(R::zero());
                continue;
            }
            let pixel = input * image.pixels() + y * image.width;
            let (before, rest) = strip.split_at_mut(inside.start * lanes);
            let (within, after) = rest.split_at_mut(inside.len() * lanes);
            before.fill(R::zero());
            after.fill(R::zero());
            let image = &self.x.image[pixel * self.samples + sample..];
            copy_pixels(simd, Input { image, ..self.x }, self.samples, count, within);
        }
    }

    /// Adds the gradients of all weights of one input channel, from a strip of rows: squares of
    /// `SIDE` × `SIDE` taps of `OUTPUTS` output channels stay in registers.
    #[inline(always)]
    fn taps<S: Simd, const SIDE: usize, const OUTPUTS: usize>(
        &mut self,
        simd: S,
        input: usize,
        rows: usize,
        group: Range<usize>,
    ) {
        let Convolution { inputs, side, .. } = *self.convolution;
        for down in (0..side).step_by(SIDE) {
            for right in (0..side).step_by(SIDE) {
                let mut output = group.start;
                while output < group.end {
                    let square = Square {
                        of: &*self,
                        rows,
                        first: [down, right],
                        channel: output - group.start,
                    };
                    let mut sums = [[[R::zero(); SIDE]; SIDE]; OUTPUTS];
                    let many = if output + OUTPUTS <= group.end {
                        sums = simd.vectorize(Taps::<'_, R, SIDE, OUTPUTS>(square));
                        OUTPUTS
                    } else {
                        [sums[0]] = simd.vectorize(Taps::<'_, R, SIDE, 1>(square));
                        1
                    };
                    for (channel, sums) in sums[..many].iter().enumerate() {
                        let weights = ((output + channel) * inputs + input) * side * side;
                        for (k, sums) in sums.iter().enumerate() {
                            let at = weights + (down + k) * side + right;
                            let slots = &mut self.gradient[at..at + SIDE];
                            slots.iter_mut().zip(sums).for_each(|(slot, sum)| *slot += *sum);
                        }
                    }
                    output += many;
                }
            }
        }
    }
}

/// Some taps of some output channels, over the rows of a strip.
struct Square<'a, R> {
    of: &'a Gradient<'a, R>,
    rows: usize,
    /// The first tap, down and right.
    first: [usize; 2],
    /// The first channel, in its group.
    channel: usize,
}

struct Taps<'a, R, const SIDE: usize, const OUTPUTS: usize>(Square<'a, R>);

impl<R: Real, const SIDE: usize, const OUTPUTS: usize> WithSimd for Taps<'_, R, SIDE, OUTPUTS> {
    type Output = [[[R; SIDE]; SIDE]; OUTPUTS];

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Square { of, rows, first, channel } = self.0;
        let lanes = R::lanes::<S>();
        let (width, stride) = (of.convolution.out().width, of.convolution.stride);
        let plane = rows * width * lanes;
        let padded_row = of.padded[1] * lanes;
        let mut sums = [[[R::splat(simd, R::zero()); SIDE]; SIDE]; OUTPUTS];
        for y in 0..rows {
            let mut bar = of.bar_strip[channel * plane + y * width * lanes..].as_ptr();
            let row = y * stride + first[0];
            let mut x = of.x_strip[row * padded_row + first[1] * lanes..].as_ptr();
            for _ in 0..width {
                // SAFETY: `bar_strip` holds a plane for every channel of the group, `x_strip` every
                // pixel that the windows of the strip see.
                unsafe {
                    let mut bars = [R::splat(simd, R::zero()); OUTPUTS];
                    for channel in 0..OUTPUTS {
                        bars[channel] = R::load(simd, bar.add(channel * plane));
                    }
                    for k in 0..SIDE {
                        for l in 0..SIDE {
                            let pixel = R::load(simd, x.add(k * padded_row + l * lanes));
                            for channel in 0..OUTPUTS {
                                let sum = &mut sums[channel][k][l];
                                *sum = R::multiply_add(simd, pixel, bars[channel], *sum);
                            }
                        }
                    }
                }
                bar = bar.wrapping_add(lanes);
                x = x.wrapping_add(stride * lanes);
            }
        }
        // Loops, not `map`: a closure handed to it would not be compiled for the instruction set.
        let mut totals = [[[R::zero(); SIDE]; SIDE]; OUTPUTS];
        for channel in 0..OUTPUTS {
            for k in 0..SIDE {
                for l in 0..SIDE {
                    totals[channel][k][l] = R::lane_sum(simd, sums[channel][k][l]);
                }
            }
        }
        totals
    }
}
