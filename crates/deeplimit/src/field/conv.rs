//! The convolutional field f(x, θ) = conv₂(σ(conv₁(x) + b₁)) + b₂ with 3×3 windows.

use super::{Layer, NodeGradient};
use crate::control::Kind;
use crate::kernel::{Activation, Buffer, Convolution, Image, Input, Start, sums, vector};
use crate::{Real, Rows};
use std::ops::Range;

/// f(x) = W₂ ∗ σ(W₁ ∗ x + b₁) + b₂: cross-correlations with stride 1 and zero padding 1;
/// W₁ `[hidden, channels, 3, 3]`, b₁ `[hidden]`, W₂ `[channels, hidden, 3, 3]`, b₂ `[channels]`.
#[derive(Clone, Debug)]
pub struct Conv {
    activation: Activation,
    /// conv₁ and conv₂.
    inner: Convolution,
    outer: Convolution,
}

impl Conv {
    /// States of `channels` images, `hidden` channels between the two convolutions.
    pub fn new(channels: usize, hidden: usize, image: Image, activation: Activation) -> Self {
        let inner = Convolution::same([channels, hidden], image);
        let outer = Convolution::same([hidden, channels], image);
        Self { activation, inner, outer }
    }

    /// Height and width of the images.
    pub fn image(&self) -> Image {
        self.inner.image()
    }

    /// Numbers that the hidden channels of one sample hold.
    fn hidden_width(&self) -> usize {
        self.outer.inputs() * self.image().pixels()
    }
}

/// Pixels of a strip of rows: what a few states hold of it stays in a core's own cache.
const STRIP: usize = 128;

/// Pre-activations z where the activation's derivative needs them; activations a, unless they are
/// the positive part of z; and what a pull-back works with, sized at the first one: the cotangents
/// of both, and the gradient of the parameters, one kind after the other.
pub struct ConvTape<R> {
    z: Buffer<R>,
    a: Buffer<R>,
    z_bar: Buffer<R>,
    a_bar: Buffer<R>,
    gradient: Buffer<R>,
}

impl Conv {
    /// Rows of the image, in strips; each with the rows behind it that a second convolution can
    /// make of what a first has made of these.
    fn strips(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let Image { height, width } = self.image();
        let rows = (STRIP / width.max(1)).max(4).next_multiple_of(2);
        let behind = move |end: usize| if end == height { height } else { end - 2 };
        (0..height).step_by(rows).map(move |first| {
            let last = (first + rows).min(height);
            (first..last, behind(first.max(2))..behind(last))
        })
    }

    /// What each of `channels` channels holds of some rows.
    fn parts(&self, channels: usize, rows: Range<usize>, samples: usize) -> Vec<Range<usize>> {
        let Image { height, width } = self.image();
        let line = width * samples;
        let whole = rows == (0..height);
        let (count, rows) = if whole { (1, 0..channels * height) } else { (channels, rows) };
        let part = |channel: usize| {
            (channel * height + rows.start) * line..(channel * height + rows.end) * line
        };
        (0..count).map(part).collect()
    }

    /// Runs `work` on z: on the tape, or in a buffer of the thread's own.
    fn with_z<R: Real>(&self, z: &mut Buffer<R>, samples: usize, work: impl FnOnce(&mut [R])) {
        if self.activation.needs_argument() {
            work(z)
        } else {
            R::with_scratch(samples * self.hidden_width(), work)
        }
    }

    /// What goes into the outer convolution.
    fn hidden<'a, R: Real>(&self, z: &'a [R], a: &'a [R]) -> Input<'a, R> {
        if self.activation == Activation::Relu { Input::positive_part(z) } else { a.into() }
    }

    /// f(x), or with a step h, x + h f(x): both convolutions strip by strip.
    fn walk<R: Real>(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        step: Option<R>,
        out: &mut Rows<R>,
        tape: &mut ConvTape<R>,
    ) {
        let (hidden, channels, samples) = (self.inner.outputs(), self.inner.inputs(), x.rows());
        let (x, out, a) = (x.columns(), out.columns_mut(), &mut tape.a[..]);
        self.with_z(&mut tape.z, samples, |z| {
            self.inner.ready(theta[0], |inner| {
                self.outer.ready(theta[2], |outer| {
                    for (strip, behind) in self.strips() {
                        inner.rows(Start::Bias(theta[1]), x, z, samples, strip.clone());
                        if !a.is_empty() {
                            for part in self.parts(hidden, strip, samples) {
                                self.activation.apply(&z[part.clone()], &mut a[part]);
                            }
                        }
                        let hidden = self.hidden(z, a);
                        outer.rows(Start::Bias(theta[3]), hidden, out, samples, behind.clone());
                        let Some(h) = step else { continue };
                        for part in self.parts(channels, behind, samples) {
                            vector::add_to(&mut out[part.clone()], h, &x[part]);
                        }
                    }
                });
            });
        });
    }
}

impl<R: Real> Layer<R> for Conv {
    type Tape = ConvTape<R>;

    fn kinds(&self) -> Vec<Kind> {
        let (outer, inner) = (self.inner.inputs(), self.outer.inputs());
        vec![
            Kind { name: "w1", shape: vec![inner, outer, 3, 3], fan_in: 9 * outer },
            Kind { name: "b1", shape: vec![inner], fan_in: 9 * outer },
            Kind { name: "w2", shape: vec![outer, inner, 3, 3], fan_in: 9 * inner },
            Kind { name: "b2", shape: vec![outer], fan_in: 9 * inner },
        ]
    }

    fn width(&self) -> usize {
        self.inner.inputs() * self.image().pixels()
    }

    /// What fills the widest vectors: each weight serves all pixels already.
    fn tile_samples(&self, _batch: usize) -> usize {
        16
    }

    fn tape(&self, rows: usize) -> ConvTape<R> {
        let buffer = |kept: bool| Buffer::zeros(if kept { rows * self.hidden_width() } else { 0 });
        let (z_bar, a_bar, gradient) = Default::default();
        ConvTape {
            z: buffer(self.activation.needs_argument()),
            a: buffer(self.activation != Activation::Relu),
            z_bar,
            a_bar,
            gradient,
        }
    }

    fn tape_bytes(&self, tape: &ConvTape<R>) -> usize {
        let ConvTape { z, a, z_bar, a_bar, gradient } = tape;
        [z, a, z_bar, a_bar, gradient].map(|v| size_of_val(&v[..])).iter().sum()
    }

    fn linearize(&self, theta: &[&[R]], x: &Rows<R>, out: &mut Rows<R>, tape: &mut ConvTape<R>) {
        self.walk(theta, x, None, out, tape);
    }

    fn linearize_step(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        h: f64,
        next: &mut Rows<R>,
        tape: &mut ConvTape<R>,
    ) {
        self.walk(theta, x, Some(R::of(h)), next, tape);
    }

    fn pull_back(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &mut ConvTape<R>,
        cotangent: &Rows<R>,
        x_bar: &mut Rows<R>,
        with_gradient: bool,
    ) {
        let ConvTape { z, a, z_bar, a_bar, gradient } = tape;
        let (hidden, samples) = (self.inner.outputs(), x.rows());
        let (x, bar, x_bar) = (x.columns(), cotangent.columns(), x_bar.columns_mut());
        a_bar.resize(samples * self.hidden_width());
        z_bar.resize(samples * self.hidden_width());
        let sizes = theta.iter().map(|kind| if with_gradient { kind.len() } else { 0 });
        gradient.resize(sizes.sum());
        gradient.fill(R::zero());
        let z = if self.activation.needs_argument() { &z[..] } else { &a[..] };
        self.outer.ready_transposed(theta[2], |outer| {
            self.inner.ready_transposed(theta[0], |inner| {
                for (strip, behind) in self.strips() {
                    outer.rows(Start::Zero, bar, a_bar, samples, strip.clone());
                    for part in self.parts(hidden, strip.clone(), samples) {
                        let z = &z[part.clone()];
                        let a = if a.is_empty() { z } else { &a[part.clone()] };
                        let (g, out) = (&a_bar[part.clone()], &mut z_bar[part]);
                        self.activation.pull_back(z, a, g, out);
                    }
                    if with_gradient {
                        let [w1, b1, w2, b2] = split(gradient, theta);
                        let (rows, seen) = (strip.clone(), self.hidden(z, a));
                        self.inner.add_gradients_of_rows(z_bar, x, [w1, b1], samples, rows.clone());
                        self.outer.add_gradients_of_rows(bar, seen, [w2, b2], samples, rows);
                    }
                    inner.rows(Start::Add, &z_bar[..], x_bar, samples, behind);
                }
            });
        });
    }

    fn add_gradient(
        &self,
        _x: &Rows<R>,
        tape: &ConvTape<R>,
        _cotangent: &Rows<R>,
        gradient: &mut NodeGradient<'_, R>,
    ) {
        let mut found = &tape.gradient[..];
        for total in gradient {
            let (part, rest) = found.split_at(total.len());
            vector::add_scaled(total, R::one(), part);
            found = rest;
        }
    }

    fn hand_over(&self, from: &mut ConvTape<R>, to: &mut ConvTape<R>) {
        to.z_bar = std::mem::take(&mut from.z_bar);
        to.a_bar = std::mem::take(&mut from.a_bar);
        to.gradient = std::mem::take(&mut from.gradient);
    }

    fn has_kink(&self) -> bool {
        self.activation.has_kink()
    }

    /// The mlp's formula at every pixel: the window there stands for the state.
    fn kink_exposure(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &ConvTape<R>,
        apart: [&Rows<R>; 2],
    ) -> f64 {
        let rows = x.rows();
        let [distances, sizes] = window_norms(self.image(), x, apart);
        let plane = self.image().pixels() * rows;
        let units = theta[0].chunks_exact(9 * self.inner.inputs());
        let units = units.zip(tape.z.chunks_exact(plane).zip(tape.a_bar.chunks_exact(plane)));
        let exposed = units.map(|(weights, (z, a_bar))| {
            let reach = R::of(sums::dot(weights, weights).sqrt());
            sums::sum_within(reach, z, a_bar, &distances, &sizes).powi(2)
        });
        exposed.sum()
    }
}

/// The parts of a layer's gradient, one kind after the other.
fn split<'g, R>(mut all: &'g mut [R], theta: &[&[R]]) -> [&'g mut [R]; 4] {
    std::array::from_fn(|kind| {
        let (part, rest) = std::mem::take(&mut all).split_at_mut(theta[kind].len());
        all = rest;
        part
    })
}

/// For every pixel and sample, over all channels in the 3×3 window around it: the distance of two
/// states, and √(1 + |x|²).
pub(super) fn window_norms<R: Real>(
    image: Image,
    x: &Rows<R>,
    [here, there]: [&Rows<R>; 2],
) -> [Vec<R>; 2] {
    let samples = x.rows();
    let length = image.pixels() * samples;
    let (mut distances, mut sizes) = (vec![R::zero(); length], vec![R::one(); length]);
    R::with_scratch(length, |squares| {
        squares.fill(R::zero());
        vector::add_column_squared_differences(squares, here.columns(), there.columns());
        add_windows(image, squares, &mut distances, samples);
        squares.fill(R::zero());
        vector::add_column_squares(squares, x.columns());
        add_windows(image, squares, &mut sizes, samples);
    });
    vector::root(&mut distances);
    vector::root(&mut sizes);
    [distances, sizes]
}

/// Adds to every pixel the 3×3 window of another image around it.
fn add_windows<R: Real>(image: Image, of: &[R], to: &mut [R], samples: usize) {
    let line = image.width * samples;
    for (y, to) in to.chunks_exact_mut(line).enumerate() {
        for near in y.saturating_sub(1)..(y + 2).min(image.height) {
            let of = &of[near * line..][..line];
            vector::add_scaled(to, R::one(), of);
            vector::add_scaled(&mut to[samples..], R::one(), &of[..line - samples]);
            vector::add_scaled(&mut to[..line - samples], R::one(), &of[samples..]);
        }
    }
}
