//! The gradient of a convolution's weights: sums over pixels and samples.

use super::convolution::Convolution;
use super::simd::dispatch;
use crate::Real;
use pulp::{Simd, WithSimd};

/// Pixels, times output channels, of the strip of an image that is worked on at a time: it stays
/// in a core's own cache while all pairs of channels pass over it.
const STRIP: usize = 4096;

pub(super) fn add_weight_gradient<R: Real>(
    convolution: &Convolution,
    bar: &[R],
    x: &[R],
    gradient: &mut [R],
    samples: usize,
    scratch: &mut Vec<R>,
) {
    let out = convolution.out();
    let pixels = (STRIP / convolution.outputs.max(1)).clamp(96, 512);
    let strip = pixels.div_ceil(out.width).min(out.height);
    let height = (strip - 1) * convolution.stride + convolution.side;
    let width = (out.width - 1) * convolution.stride + convolution.side;
    let most_lanes = 64 / size_of::<R>();
    scratch.resize(height * width * most_lanes, R::zero());
    dispatch(Gradient { convolution, bar, x, gradient, samples, strip, padded: [height, width], scratch });
}

struct Gradient<'a, R> {
    convolution: &'a Convolution,
    bar: &'a [R],
    x: &'a [R],
    gradient: &'a mut [R],
    samples: usize,
    /// Rows of a strip of the image that comes out.
    strip: usize,
    /// Height and width of what a strip sees, padding included.
    padded: [usize; 2],
    scratch: &'a mut [R],
}

impl<R: Real> WithSimd for Gradient<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let lanes = R::lanes::<S>();
        let height = self.convolution.out().height;
        for sample in (0..self.samples).step_by(lanes) {
            let count = lanes.min(self.samples - sample);
            for first in (0..height).step_by(self.strip) {
                let rows = self.strip.min(height - first);
                for input in 0..self.convolution.inputs {
                    self.pad(simd, input, first, sample, count);
                    if self.convolution.side.is_multiple_of(3) {
                        self.taps::<S, 3, 2>(simd, input, first..first + rows, sample, count);
                    } else {
                        self.taps::<S, 1, 4>(simd, input, first..first + rows, sample, count);
                    }
                }
            }
        }
    }
}

impl<R: Real> Gradient<'_, R> {
    /// Copies what a strip sees of one channel, zeros where it sees beyond the image.
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn pad<S: Simd>(&mut self, simd: S, input: usize, first: usize, sample: usize, count: usize) {
        let Convolution { image, stride, padding, .. } = *self.convolution;
        let (lanes, mask) = (R::lanes::<S>(), R::mask(simd, count));
        for row in 0..self.padded[0] {
            let y = (first * stride + row).wrapping_sub(padding);
            for column in 0..self.padded[1] {
                let x = column.wrapping_sub(padding);
                let to = (row * self.padded[1] + column) * lanes;
                let mut value = R::splat(simd, R::zero());
                if y < image.height && x < image.width {
                    let pixel = input * image.pixels() + y * image.width + x;
                    let from = self.x[pixel * self.samples + sample..][..count].as_ptr();
                    // SAFETY: the slice has `count` numbers.
                    value = unsafe {
                        if count == lanes {
                            R::load(simd, from)
                        } else {
                            R::load_masked(simd, mask, from)
                        }
                    };
                }
                // SAFETY: the slice has as many numbers as a vector has lanes.
                unsafe { R::store(simd, self.scratch[to..][..lanes].as_mut_ptr(), value) };
            }
        }
    }

    /// Adds the gradients of all weights of one input channel, from a strip of rows: squares of
    /// `SIDE` × `SIDE` taps of `OUTPUTS` output channels stay in registers.
    #[inline(always)]
    fn taps<S: Simd, const SIDE: usize, const OUTPUTS: usize>(
        &mut self,
        simd: S,
        input: usize,
        rows: std::ops::Range<usize>,
        sample: usize,
        count: usize,
    ) {
        let Convolution { inputs, outputs, side, .. } = *self.convolution;
        for down in (0..side).step_by(SIDE) {
            for right in (0..side).step_by(SIDE) {
                let mut output = 0;
                while output < outputs {
                    let square = Square {
                        of: &*self,
                        rows: rows.clone(),
                        first: [down, right],
                        output,
                        sample,
                        count,
                    };
                    let mut sums = [[[R::zero(); SIDE]; SIDE]; OUTPUTS];
                    let many = if output + OUTPUTS <= outputs {
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

/// Some taps of some output channels.
struct Square<'a, R> {
    of: &'a Gradient<'a, R>,
    rows: std::ops::Range<usize>,
    /// The first tap, down and right.
    first: [usize; 2],
    output: usize,
    sample: usize,
    count: usize,
}

struct Taps<'a, R, const SIDE: usize, const OUTPUTS: usize>(Square<'a, R>);

impl<R: Real, const SIDE: usize, const OUTPUTS: usize> WithSimd for Taps<'_, R, SIDE, OUTPUTS> {
    type Output = [[[R; SIDE]; SIDE]; OUTPUTS];

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Square { of, rows, first, output, sample, count } = self.0;
        let (lanes, mask) = (R::lanes::<S>(), R::mask(simd, count));
        let (out, stride) = (of.convolution.out(), of.convolution.stride);
        let plane = out.pixels() * of.samples;
        let padded_row = of.padded[1] * lanes;
        let mut sums = [[[R::splat(simd, R::zero()); SIDE]; SIDE]; OUTPUTS];
        for y in rows.clone() {
            let bar = output * plane + y * out.width * of.samples + sample;
            let mut bar = of.bar[bar..].as_ptr();
            let row = (y - rows.start) * stride + first[0];
            let mut x = of.scratch[(row * of.padded[1] + first[1]) * lanes..].as_ptr();
            for _ in 0..out.width {
                // SAFETY: `check` has seen the length of `bar`: `plane` numbers a channel, of which
                // `samples` a pixel; `scratch` holds every pixel that the strip's windows see.
                unsafe {
                    let mut bars = [R::splat(simd, R::zero()); OUTPUTS];
                    for (channel, slot) in bars.iter_mut().enumerate() {
                        let from = bar.wrapping_add(channel * plane);
                        *slot = if count == lanes {
                            R::load(simd, from)
                        } else {
                            R::load_masked(simd, mask, from)
                        };
                    }
                    for k in 0..SIDE {
                        for l in 0..SIDE {
                            let pixel = R::load(simd, x.add(k * padded_row + l * lanes));
                            for (sums, bar) in sums.iter_mut().zip(bars) {
                                sums[k][l] = R::multiply_add(simd, pixel, bar, sums[k][l]);
                            }
                        }
                    }
                }
                bar = bar.wrapping_add(of.samples);
                x = x.wrapping_add(stride * lanes);
            }
        }
        sums.map(|sums| sums.map(|sums| sums.map(|sum| R::lane_sum(simd, sum))))
    }
}
