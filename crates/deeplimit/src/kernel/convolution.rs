//! Convolutions, without unrolling: samples lie in vector lanes, so a window's share of a sum is
//! one number times one vector, whatever the number of channels.

mod runs;
mod slide;
#[cfg(test)]
mod tests;

use super::contract::Start;
use super::correlate;
use super::simd::dispatch;
use super::sums;
use super::vector;
use super::winograd::{self, Winograd};
use crate::Real;
use runs::{Axis, Run};
use slide::Slide;
pub(super) use slide::copy_pixels;
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

    /// Height and width of a window.
    pub fn side(&self) -> usize {
        self.side
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
            winograd::transformed(weight, self.image, transposed, |squares| {
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
    /// the biases, which are its sums over each channel. The first row is a multiple of four, and the
    /// end too unless it is that of the image.
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
        let (line, [weights, biases]) = (out.width * samples, gradients);
        for (sum, channel) in biases.iter_mut().zip(bar.chunks_exact(out.height * line)) {
            *sum += R::of(sums::sum(&channel[rows.start * line..rows.end * line]));
        }
        let add = if self.is_winograd() {
            winograd::gradient::add_weight_gradient
        } else {
            correlate::add_weight_gradient
        };
        add(self, bar, x, weights, samples, rows);
    }

    fn check_rows(&self, rows: &Range<usize>, height: usize) {
        assert!(rows.end <= height, "rows of the image");
        let whole =
            rows.start.is_multiple_of(4) && (rows.end.is_multiple_of(4) || rows.end == height);
        assert!(whole, "rows go in fours");
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
    /// Some rows of `to = start + w ∗ from`, or of the transpose. The first row is a multiple of four,
    /// and the end too unless it is that of the image.
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
