//! The convolutional field f(x, θ) = conv₂(σ(conv₁(x) + b₁)) + b₂ with 3×3 windows.

#[cfg(test)]
mod tests;

use super::exposure::{Apart, slope_changes};
use super::windows::{window_change, window_norms};
use super::{Layer, NodeGradient};
use crate::control::Kind;
use crate::kernel::{Activation, Bend, Buffer, Convolution, Image, Input, Start, vector};
use crate::{Heap, Real, Rows};
use std::ops::Range;

/// f(x) = W₂ ∗ σ(W₁ ∗ x + b₁) + b₂: cross-correlations with stride 1 and zero padding 1;
/// W₁ `[hidden, channels, 3, 3]`, b₁ `[hidden]`, W₂ `[channels, hidden, 3, 3]`, b₂ `[channels]`.
#[derive(Clone, Debug, PartialEq)]
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

    /// The nonlinearity between the convolutions.
    pub fn activation(&self) -> Activation {
        self.activation
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
const STRIP: usize = 256;

/// Pre-activations z where the activation's derivative needs them; activations a, unless they are
/// the positive part of z; and what a pull-back works with, sized at the first one: the cotangents
/// of both, and the gradient of the parameters, one kind after the other.
pub struct ConvTape<R> {
    z: Buffer<R>,
    a: Buffer<R>,
    z_bar: Buffer<R>,
    a_bar: Buffer<R>,
    gradient: Buffer<R>,
    /// What the cotangent was multiplied with, which the outer convolution's gradient still lacks.
    factor: R,
}

impl<R> Heap for ConvTape<R> {
    fn heap(&self) -> usize {
        let Self { z, a, z_bar, a_bar, gradient, .. } = self;
        [z, a, z_bar, a_bar, gradient].map(Heap::heap).iter().sum()
    }
}

/// The cotangent of f, and that of x, to which its pull-back is added.
enum Bars<'a, R> {
    Apart(&'a [R], &'a mut [R]),
    /// One takes the place of the other.
    InPlace(&'a mut [R]),
}

impl<R> Bars<'_, R> {
    fn of_f(&self) -> &[R] {
        match self {
            Self::Apart(bar, _) => bar,
            Self::InPlace(bar) => bar,
        }
    }

    fn of_x(&mut self) -> &mut [R] {
        match self {
            Self::Apart(_, bar) => bar,
            Self::InPlace(bar) => bar,
        }
    }
}

impl Conv {
    /// Rows of the image, in strips; each with the rows behind it that a second convolution can
    /// make of what a first has made of these.
    fn strips(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let Image { height, width } = self.image();
        let rows = (STRIP / width.max(1)).max(4).next_multiple_of(4);
        (0..height).step_by(rows).map(move |first| {
            let last = (first + rows).min(height);
            (first..last, first.saturating_sub(4)..if last == height { height } else { last - 4 })
        })
    }

    /// What each of `channels` channels holds of some rows.
    fn parts(
        &self,
        channels: usize,
        rows: Range<usize>,
        samples: usize,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let Image { height, width } = self.image();
        let line = width * samples;
        let whole = rows == (0..height);
        let (count, rows) = if whole { (1, 0..channels * height) } else { (channels, rows) };
        (0..count).map(move |channel| {
            (channel * height + rows.start) * line..(channel * height + rows.end) * line
        })
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

    /// Pulls a cotangent, times a factor, back, strip by strip. A strip of the cotangent is not read
    /// any more when that of x is written, so that both may be the same.
    fn walk_back<R: Real>(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &mut ConvTape<R>,
        factor: R,
        mut bars: Bars<'_, R>,
        with_gradient: bool,
    ) {
        tape.factor = factor;
        let ConvTape { z, a, z_bar, a_bar, gradient, .. } = tape;
        let (hidden, samples, x) = (self.inner.outputs(), x.rows(), x.columns());
        a_bar.resize(samples * self.hidden_width());
        z_bar.resize(samples * self.hidden_width());
        let sizes = theta.iter().map(|kind| if with_gradient { kind.len() } else { 0 });
        gradient.resize(sizes.sum());
        gradient.fill(R::zero());
        let z = if self.activation.needs_argument() { &z[..] } else { &a[..] };
        R::with_scratch(theta[2].len(), |outer| {
            vector::set_scaled(outer, factor, theta[2]);
            self.outer.ready_transposed(outer, |outer| {
                self.inner.ready_transposed(theta[0], |inner| {
                    for (strip, behind) in self.strips() {
                        outer.rows(Start::Zero, bars.of_f(), a_bar, samples, strip.clone());
                        for part in self.parts(hidden, strip.clone(), samples) {
                            let z = &z[part.clone()];
                            let a = if a.is_empty() { z } else { &a[part.clone()] };
                            let (g, out) = (&a_bar[part.clone()], &mut z_bar[part]);
                            self.activation.pull_back(z, a, g, out);
                        }
                        if with_gradient {
                            let [w1, b1, w2, b2] = split(gradient, theta);
                            let (rows, to) = (strip.clone(), [w1, b1]);
                            self.inner.add_gradients_of_rows(z_bar, x, to, samples, rows);
                            let (seen, to) = (self.hidden(z, a), [w2, b2]);
                            self.outer.add_gradients_of_rows(bars.of_f(), seen, to, samples, strip);
                        }
                        inner.rows(Start::Add, &z_bar[..], bars.of_x(), samples, behind);
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
            factor: R::one(),
        }
    }

    fn tape_bytes(&self, tape: &ConvTape<R>) -> usize {
        let ConvTape { z, a, z_bar, a_bar, gradient, .. } = tape;
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
        let bars = Bars::Apart(cotangent.columns(), x_bar.columns_mut());
        self.walk_back(theta, x, tape, R::one(), bars, with_gradient);
    }

    /// h goes into the weights that a cotangent passes first, and into the gradient of the outer
    /// convolution when it is added: no state is scaled.
    fn pull_back_step(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &mut ConvTape<R>,
        h: f64,
        [a, _]: [&mut Rows<R>; 2],
        with_gradient: bool,
    ) {
        self.walk_back(theta, x, tape, R::of(h), Bars::InPlace(a.columns_mut()), with_gradient);
    }

    fn add_gradient(
        &self,
        _x: &Rows<R>,
        tape: &ConvTape<R>,
        _cotangent: &Rows<R>,
        gradient: &mut NodeGradient<'_, R>,
        fresh: bool,
    ) {
        let mut found = &tape.gradient[..];
        let factors = [R::one(), R::one(), tape.factor, tape.factor];
        for (total, factor) in gradient.iter_mut().zip(factors) {
            let (part, rest) = found.split_at(total.len());
            let add = if fresh { vector::set_scaled } else { vector::add_scaled };
            add(total, factor, part);
            found = rest;
        }
    }

    fn hand_over(&self, from: &mut ConvTape<R>, to: &mut ConvTape<R>) {
        to.z_bar = std::mem::take(&mut from.z_bar);
        to.a_bar = std::mem::take(&mut from.a_bar);
        to.gradient = std::mem::take(&mut from.gradient);
    }

    fn bend(&self) -> Bend {
        self.activation.bend()
    }

    /// The mlp's formula at every pixel: the window there stands for the state.
    fn exposure(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &ConvTape<R>,
        apart: Apart<'_, Rows<R>>,
    ) -> f64 {
        let inputs = 9 * self.inner.inputs();
        // The tape keeps of z and a what the activation needs.
        let z = if tape.z.is_empty() { &tape.a } else { &tape.z };
        let a = if tape.a.is_empty() { &tape.z } else { &tape.a };
        let units = [&z[..], a, &tape.a_bar];
        let (samples, length) = (x.rows(), self.image().pixels() * x.rows());
        R::with_scratch(4 * length, |scratch| {
            let (squares, rest) = scratch.split_at_mut(length);
            squares.fill(R::zero());
            let states = [apart.point, apart.truth].map(Rows::columns);
            vector::add_column_squared_differences(squares, states[0], states[1]);
            let around = window_norms(&self.inner, squares, x.columns(), rest, samples);
            let moved = window_change(&self.inner, theta[0], states, samples);
            let ways = apart.kinks.ways(&moved);
            let activation = self.activation;
            let changes = slope_changes(activation, theta[0], inputs, |_| 1.0, units, around, ways);
            changes.iter().map(|change| change.powi(2)).sum()
        })
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
