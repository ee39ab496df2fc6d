//! Convolutions, without unrolling: samples lie in vector lanes, so a window's share of a sum is
//! one number times one vector, whatever the number of channels.

mod runs;
#[cfg(test)]
mod tests;

use super::contract::{Place, Start, Sums, contract};
use super::correlate;
use super::simd::dispatch;
use super::vector;
use super::winograd::{self, Winograd};
use crate::Real;
use pulp::{Simd, WithSimd};
use runs::{Axis, Run};
use std::ops::Range;

/// Height and width of the images of a convolutional field, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl Image {
    /// Pixels a channel.
    pub fn pixels(self) -> usize {
        self.height * self.width
    }
}

/// Square windows that slide over an image with zeros around it: the cross-correlation
///
/// ```text
/// out[o, y, x] = Σ_{i, k, l} w[o, i, k, l] · in[i, y·stride + k − padding, x·stride + l − padding]
/// ```
///
/// Images are `[channels, height, width, samples]`, weights `[outputs, inputs, side, side]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Convolution {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) image: Image,
    pub(super) side: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
    /// Along height and width.
    forward: [Vec<Run>; 2],
    transposed: [Vec<Run>; 2],
}

impl Convolution {
    /// Windows of `side` × `side` pixels.
    ///
    /// # Panics
    /// If the stride is 0, or the windows do not fit into the padded image.
    pub fn new(
        [inputs, outputs]: [usize; 2],
        image: Image,
        side: usize,
        stride: usize,
        padding: usize,
    ) -> Self {
        assert!(stride > 0, "windows move on");
        let least = image.height.min(image.width) + 2 * padding;
        assert!(side > 0 && side <= least, "windows of {side} fit into {least} pixels");
        let axes = [image.height, image.width].map(|length| Axis { length, side, stride, padding });
        let forward = axes.map(Axis::forward);
        let transposed = axes.map(Axis::transposed);
        Self { inputs, outputs, image, side, stride, padding, forward, transposed }
    }

    /// 3 × 3 windows that leave the image's size as it is.
    pub fn same(channels: [usize; 2], image: Image) -> Self {
        Self::new(channels, image, 3, 1, 1)
    }

    /// Channels that go in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Channels that come out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The size of the images that go in.
    pub fn image(&self) -> Image {
        self.image
    }

    /// The size of the images that come out.
    pub fn out(&self) -> Image {
        let [height, width] = [self.image.height, self.image.width]
            .map(|length| (length + 2 * self.padding - self.side) / self.stride + 1);
        Image { height, width }
    }

    fn is_winograd(&self) -> bool {
        (self.side, self.stride, self.padding) == (3, 1, 1)
            && winograd::pays([self.inputs, self.outputs], self.image)
    }

    fn check(&self, weight: usize, x: usize, out: usize, samples: usize) {
        let windows = self.side * self.side;
        assert_eq!(weight, self.outputs * self.inputs * windows, "weights of a convolution");
        assert_eq!(x, self.inputs * self.image.pixels() * samples, "what goes in");
        assert_eq!(out, self.outputs * self.out().pixels() * samples, "what comes out");
    }

    /// Runs `work` with weights made ready for the convolution.
    pub fn ready<R: Real, T>(&self, weight: &[R], work: impl FnOnce(Ready<'_, R>) -> T) -> T {
        self.make_ready(weight, false, work)
    }

    /// Runs `work` with weights made ready for the transpose, which turns cotangents of what comes
    /// out into cotangents of what goes in.
    pub fn ready_transposed<R: Real, T>(
        &self,
        weight: &[R],
        work: impl FnOnce(Ready<'_, R>) -> T,
    ) -> T {
        self.make_ready(weight, true, work)
    }

    fn make_ready<R: Real, T>(
        &self,
        weight: &[R],
        transposed: bool,
        work: impl FnOnce(Ready<'_, R>) -> T,
    ) -> T {
        let lengths = self.outputs * self.inputs * self.side * self.side;
        assert_eq!(weight.len(), lengths, "weights of a convolution");
        let ready = Ready { of: self, transposed, weight, squares: None };
        if self.is_winograd() {
            winograd::transformed(weight, transposed, |squares| {
                work(Ready { squares: Some(squares), ..ready })
            })
        } else {
            work(ready)
        }
    }

    /// `out = start + w ∗ x`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn apply<R: Real>(
        &self,
        weight: &[R],
        start: Start<'_, R>,
        x: &[R],
        out: &mut [R],
        samples: usize,
    ) {
        self.ready(weight, |ready| ready.rows(start, x, out, samples, 0..self.out().height));
    }

    /// `x_bar = start + w ∗ᵀ bar`, the transpose of [`apply`](Self::apply).
    ///
    /// # Panics
    /// If the lengths do not fit, or a bias is asked for.
    pub fn apply_transposed<R: Real>(
        &self,
        weight: &[R],
        start: Start<'_, R>,
        bar: &[R],
        x_bar: &mut [R],
        samples: usize,
    ) {
        self.ready_transposed(weight, |ready| {
            ready.rows(start, bar, x_bar, samples, 0..self.image.height);
        });
    }

    /// `gradient += ∂⟨bar, w ∗ x⟩/∂w`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn add_weight_gradient<R: Real>(
        &self,
        bar: &[R],
        x: &[R],
        gradient: &mut [R],
        samples: usize,
    ) {
        let rows = 0..self.out().height;
        self.add_gradients_of_rows(bar, x, [gradient, &mut []], samples, rows);
    }

    /// The share of some rows of `bar` in the gradients of the weights and, unless that is empty, of
    /// the biases, which are its sums over each channel. The first row is even, and the end too
    /// unless it is that of the image.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn add_gradients_of_rows<'i, R: Real>(
        &self,
        bar: &[R],
        x: impl Into<Input<'i, R>>,
        gradients: [&mut [R]; 2],
        samples: usize,
        rows: Range<usize>,
    ) {
        let (x, out) = (x.into(), self.out());
        self.check(gradients[0].len(), x.image.len(), bar.len(), samples);
        self.check_rows(&rows, out.height);
        assert!([0, self.outputs].contains(&gradients[1].len()), "one bias a channel");
        let add = if self.is_winograd() && winograd::gradient::pays(self.inputs) {
            winograd::gradient::add_gradients
        } else if self.is_winograd() && winograd::narrow::pays(self.image, &rows) {
            winograd::narrow::add_gradients
        } else {
            correlate::add_gradients
        };
        add(self, bar, x, gradients, samples, rows);
    }

    fn check_rows(&self, rows: &Range<usize>, height: usize) {
        assert!(rows.end <= height, "rows of the image");
        let even = rows.start % 2 == 0 && (rows.end % 2 == 0 || rows.end == height);
        assert!(even, "rows go in pairs");
    }
}

/// An image that goes into a convolution.
#[derive(Clone, Copy)]
pub struct Input<'a, R> {
    /// The image.
    pub(super) image: &'a [R],
    /// Numbers below count as this one.
    pub(super) floor: R,
}

impl<'a, R: Real> Input<'a, R> {
    /// max(x, 0), without the memory for it.
    pub fn positive_part(image: &'a [R]) -> Self {
        Self { image, floor: R::zero() }
    }

    /// Whether it is the image as it is.
    fn is_plain(&self) -> bool {
        self.floor == R::neg_infinity()
    }
}

impl<'a, R: Real> From<&'a [R]> for Input<'a, R> {
    fn from(image: &'a [R]) -> Self {
        Self { image, floor: R::neg_infinity() }
    }
}

/// Weights that a convolution, or its transpose, can use again and again.
#[derive(Clone, Copy)]
pub struct Ready<'a, R> {
    of: &'a Convolution,
    transposed: bool,
    weight: &'a [R],
    /// For Winograd's algorithm.
    squares: Option<&'a [R]>,
}

impl<R: Real> Ready<'_, R> {
    /// Some rows of `to = start + w ∗ from`, or of the transpose. The first row is even, and the
    /// end too unless it is that of the image.
    ///
    /// # Panics
    /// If the lengths do not fit, or a transpose is to start at a bias.
    pub fn rows<'i>(
        &self,
        start: Start<'_, R>,
        from: impl Into<Input<'i, R>>,
        to: &mut [R],
        samples: usize,
        rows: Range<usize>,
    ) where
        R: 'i,
    {
        let from = from.into();
        let Self { of, transposed, weight, squares } = *self;
        let mut images = [of.image, of.out()];
        let mut channels = [of.inputs, of.outputs];
        if transposed {
            images.reverse();
            channels.reverse();
            of.check(weight.len(), to.len(), from.image.len(), samples);
        } else {
            of.check(weight.len(), from.image.len(), to.len(), samples);
        }
        of.check_rows(&rows, images[1].height);
        if let Start::Bias(bias) = start {
            assert!(!transposed, "a transpose has no bias");
            assert_eq!(bias.len(), of.outputs, "one bias a channel");
        }
        if let Some(weights) = squares {
            let image = of.image;
            return dispatch(Winograd {
                weights,
                channels,
                transposed,
                image,
                samples,
                start,
                from,
                to,
                rows,
            });
        }
        if !from.is_plain() {
            return R::with_scratch(from.image.len(), |image| {
                vector::at_least(image, from.image, from.floor);
                self.rows(start, &*image, to, samples, rows);
            });
        }
        let windows = of.side * of.side;
        let (a_row, a_channel) = match transposed {
            false => (of.inputs * windows, windows),
            true => (windows, of.inputs * windows),
        };
        dispatch(Slide {
            runs: if transposed { &of.transposed } else { &of.forward },
            rows: channels[1],
            channels: channels[0],
            a_row: a_row as isize,
            a_channel: a_channel as isize,
            side: of.side,
            images,
            samples,
            weight,
            start,
            from: from.image,
            to: to.as_mut_ptr(),
            wanted: rows,
        });
    }
}

/// A window slid over all pixels of one of the two images.
struct Slide<'a, R> {
    runs: &'a [Vec<Run>; 2],
    rows: usize,
    channels: usize,
    a_row: isize,
    a_channel: isize,
    side: usize,
    /// Where sums are taken from, and where they go.
    images: [Image; 2],
    samples: usize,
    weight: &'a [R],
    start: Start<'a, R>,
    from: &'a [R],
    to: *mut R,
    /// Rows of the target.
    wanted: Range<usize>,
}

/// Planes that lie a multiple of so many bytes apart compete for the same places in a cache.
const ALIASED: usize = 4096;
/// Bytes of a strip of an image that is copied to lie densely: half of a core's own cache.
const STRIP: usize = 512 * 1024;

/// The part of an image that sums are taken from, as it lies in memory.
struct Source<R> {
    first: *const R,
    first_row: usize,
    /// From one pixel to the next, and from one channel to the next.
    pixel: usize,
    plane: usize,
}

impl<R: Real> WithSimd for Slide<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let plane = self.images[0].pixels() * self.samples;
        let aliased = self.channels > 4 && (plane * size_of::<R>()).is_multiple_of(ALIASED);
        for sample in (0..self.samples).step_by(R::lanes::<S>()) {
            let count = R::lanes::<S>().min(self.samples - sample);
            for y in &self.runs[0] {
                let rows = y.within(&self.wanted);
                if aliased {
                    self.in_strips(simd, sample, count, y, rows);
                } else {
                    let first = self.from[sample..].as_ptr();
                    let source = Source { first, first_row: 0, pixel: self.samples, plane };
                    self.rows(simd, sample, count, y, rows, &source);
                }
            }
        }
    }
}

impl<R: Real> Slide<'_, R> {
    /// Target rows of a run, from copied strips of the image.
    #[inline(always)]
    fn in_strips<S: Simd>(
        &self,
        simd: S,
        sample: usize,
        count: usize,
        y: &Run,
        all: Range<usize>,
    ) {
        let (image, lanes) = (self.images[0], R::lanes::<S>());
        let row_bytes = self.channels * image.width * lanes * size_of::<R>();
        let seen = y.taps.max(1);
        let strip = ((STRIP / row_bytes).saturating_sub(seen) / y.source_per_target + 1).max(1);
        for first in all.clone().step_by(strip) {
            let rows = first..(first + strip).min(all.end);
            let top = |row: usize| y.source + row * y.source_per_target;
            // Going up or down from its first tap, a target sees `seen` rows of the source.
            let above = if y.source_per_tap < 0 { seen - 1 } else { 0 };
            let first_row = top(rows.start) - above;
            let height = top(rows.end - 1) - top(rows.start) + seen;
            R::with_scratch(self.channels * height * image.width * lanes, |dense| {
                let (pixel, plane) = (lanes, height * image.width * lanes);
                for (channel, to) in dense.chunks_exact_mut(plane.max(1)).enumerate() {
                    let from = channel * image.pixels() + first_row * image.width;
                    let from = &self.from[from * self.samples + sample..];
                    copy_pixels(simd, from.into(), self.samples, count, to);
                }
                let source = Source { first: dense.as_ptr(), first_row, pixel, plane };
                self.rows(simd, sample, count, y, rows, &source);
            });
        }
    }

    /// Some target rows of the run `y`.
    #[inline(always)]
    fn rows<S: Simd>(
        &self,
        simd: S,
        sample: usize,
        count: usize,
        y: &Run,
        rows: Range<usize>,
        source: &Source<R>,
    ) {
        for row in rows {
            for x in &self.runs[1] {
                self.run(simd, sample, count, y, row, x, source);
            }
        }
    }

    /// Target row `row` of the run `y`, and all targets of the run `x` in it.
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    #[expect(clippy::too_many_arguments, reason = "a place in two images and two runs")]
    fn run<S: Simd>(
        &self,
        simd: S,
        sample: usize,
        count: usize,
        y: &Run,
        row: usize,
        x: &Run,
        source: &Source<R>,
    ) {
        let [from, to] = self.images;
        let (pixel, samples) = (source.pixel as isize, self.samples as isize);
        let sums = Sums {
            rows: self.rows,
            turns: [self.channels, y.taps, x.taps],
            a_row: self.a_row,
            a_turn: [self.a_channel, (self.side * y.tap_step) as isize, x.tap_step as isize],
            b_column: x.source_per_target as isize * pixel,
            b_turn: [
                source.plane as isize,
                y.source_per_tap * from.width as isize * pixel,
                x.source_per_tap * pixel,
            ],
            out_row: to.pixels() as isize * samples,
            out_column: x.target_step as isize * samples,
            ..Sums::default()
        };
        let from_row = y.source + row * y.source_per_target;
        let from_row = from_row.wrapping_sub(source.first_row).wrapping_mul(from.width);
        let to_row = (y.target + row * y.target_step) * to.width;
        // Vectors with lanes to spare go one by one.
        let whole = count == R::lanes::<S>();
        let (blocks, width) = if whole { (1, x.count) } else { (x.count, 1) };
        for done in 0..blocks {
            let first = from_row.wrapping_add(x.source + done * x.source_per_target);
            let target = to_row + x.target + done * x.target_step;
            let place = Place {
                a: self.weight.as_ptr().wrapping_add(y.tap * self.side + x.tap),
                b: source.first.wrapping_add(first.wrapping_mul(source.pixel)),
                out: self.to.wrapping_add(target * self.samples + sample),
                start: self.start,
            };
            // SAFETY: `check` has seen that weights and images have their full lengths; runs hold
            // only taps whose source lies inside the image, a copied strip holds all rows that its
            // targets see, and the caller holds `to` mutably.
            unsafe { contract(simd, &sums, width, count, place) };
        }
    }
}

/// Copies `count` numbers of each pixel, `stride` apart, to whole vectors; zeros after them.
#[inline(always)]
#[expect(unsafe_code, reason = "kernels address by pointer")]
pub(super) fn copy_pixels<R: Real, S: Simd>(
    simd: S,
    from: Input<'_, R>,
    stride: usize,
    count: usize,
    to: &mut [R],
) {
    let (lanes, mask) = (R::lanes::<S>(), R::mask(simd, count));
    let floor = R::splat(simd, from.floor);
    for (pixel, to) in to.chunks_exact_mut(lanes).enumerate() {
        let from = from.image[pixel * stride..][..count].as_ptr();
        // SAFETY: `from` has `count` numbers, `to` as many as a vector has lanes.
        unsafe {
            let value =
                if count == lanes { R::load(simd, from) } else { R::load_masked(simd, mask, from) };
            R::store(simd, to.as_mut_ptr(), R::at_least(simd, value, floor));
        }
    }
}
