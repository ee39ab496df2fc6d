//! The convolutional field f(x, θ) = conv₂(σ(conv₁(x) + b₁)) + b₂ with 3×3 windows.

use super::mlp::slope_changes;
use super::windows::window_norms;
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
        apart: [&Rows<R>; 2],
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
            let [here, there] = apart.map(Rows::columns);
            vector::add_column_squared_differences(squares, here, there);
            let around = window_norms(&self.inner, squares, x.columns(), rest, samples);
            let changes = slope_changes(self.activation, theta[0], inputs, |_| 1.0, units, around);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::State;
    use crate::kernel::sums;
    use crate::seed::uniform;

    fn numbers(seed: u64, count: usize) -> Vec<f64> {
        (0..count).map(|i| uniform(seed, i as u64)).collect()
    }

    /// On an image of one pixel, with weights at the middle of the window alone, it is an mlp; but of the
    /// window's nine places a curved unit could have been moved along any.
    #[test]
    fn exposures_are_those_of_an_mlp_at_every_pixel_and_of_their_formula() {
        let (channels, hidden, samples) = (3, 5, 37);
        let layer = |activation| super::super::Mlp { width: channels, hidden, activation };
        let small = [numbers(1, 15), numbers(2, 5), numbers(3, 15), numbers(4, 3)];
        let theta = small.each_ref().map(Vec::as_slice);
        let state = |seed| Rows::new(samples, channels, &numbers(seed, samples * channels));
        let (x, there, bar) = (state(5), state(6), state(7));
        for activation in Activation::ALL {
            let mlp = layer(activation);
            let mut tape = Layer::<f64>::tape(&mlp, samples);
            let (mut out, mut back) = (x.scratch(), x.scratch());
            mlp.linearize(&theta, &x, &mut out, &mut tape);
            mlp.pull_back(&theta, &x, &mut tape, &bar, &mut back, true);
            let found = mlp.exposure(&theta, &x, &tape, [&x, &there]);

            let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
            let of_unit = |j: usize| {
                let w = &small[0][3 * j..][..3];
                let of_sample = |s: usize| {
                    let (a, b) =
                        (|k| x.columns()[k * samples + s], |k| there.columns()[k * samples + s]);
                    let z = small[1][j] + (0..3).map(|k| w[k] * a(k)).sum::<f64>();
                    let (mut value, mut curvature) = ([0.0], [0.0]);
                    activation.apply(&[z], &mut value);
                    activation.curvature(&[z], &value, &[1.0], &mut curvature);
                    let reach =
                        norm(&mut w.iter().copied()) * norm(&mut (0..3).map(|k| a(k) - b(k)));
                    let change = match activation.bend() {
                        Bend::Straight => 0.0,
                        Bend::Kinked => f64::from(z.abs() <= reach),
                        Bend::Curved => curvature[0].abs() * reach / 3f64.sqrt(),
                    };
                    let cotangent: f64 =
                        (0..3).map(|k| small[2][5 * k + j] * bar.columns()[k * samples + s]).sum();
                    change
                        * cotangent.abs()
                        * (1.0 + (0..3).map(|k| a(k).powi(2)).sum::<f64>()).sqrt()
                };
                (0..samples).map(of_sample).sum::<f64>().powi(2)
            };
            let expected: f64 = (0..hidden).map(of_unit).sum();
            assert!(
                (found - expected).abs() <= 1e-12 * expected,
                "{activation}: {found}, {expected}"
            );
            assert_eq!(expected > 0.0, activation != Activation::Identity, "{activation}");

            let conv = Conv::new(channels, hidden, Image { height: 1, width: 1 }, activation);
            let wide = |kind: usize| {
                let weights = small[kind].iter();
                weights
                    .flat_map(|w| (0..9).map(move |i| if i == 4 { *w } else { 0.0 }))
                    .collect::<Vec<f64>>()
            };
            let (w1, w2) = (wide(0), wide(2));
            let theta = [&w1[..], &small[1], &w2, &small[3]];
            let mut tape = Layer::<f64>::tape(&conv, samples);
            conv.linearize(&theta, &x, &mut out, &mut tape);
            back.set_zero();
            conv.pull_back(&theta, &x, &mut tape, &bar, &mut back, true);
            let places = if activation.bend() == Bend::Curved { 9.0 } else { 1.0 };
            let found = places * conv.exposure(&theta, &x, &tape, [&x, &there]);
            assert!(
                (found - expected).abs() <= 1e-12 * expected,
                "{activation}: {found}, {expected}"
            );
        }
    }

    /// Strips of every kind: one, several, short last ones, for direct windows and Winograd's.
    #[test]
    fn strips_of_rows_make_the_layer_of_its_formula() {
        for height in 1..=13 {
            for (channels, hidden, activation) in
                [(2, 3, Activation::Relu), (16, 17, Activation::Relu), (3, 2, Activation::Tanh)]
            {
                let (image, samples) = (Image { height, width: 33 }, 3);
                let conv = Conv::new(channels, hidden, image, activation);
                let kinds = Layer::<f64>::kinds(&conv);
                let theta: Vec<Vec<f64>> =
                    kinds.iter().enumerate().map(|(i, k)| numbers(i as u64, k.len())).collect();
                let theta: Vec<&[f64]> = theta.iter().map(Vec::as_slice).collect();
                let width = Layer::<f64>::width(&conv);
                let x = Rows::new(samples, width, &numbers(7, samples * width));
                let bar = Rows::new(samples, width, &numbers(8, samples * width));

                let length = samples * conv.hidden_width();
                let (mut z, mut a) = (vec![0.0; length], vec![0.0; length]);
                let (mut a_bar, mut z_bar) = (vec![0.0; length], vec![0.0; length]);
                let (mut f, mut x_bar) = (x.scratch(), x.scratch());
                conv.inner.apply(theta[0], Start::Bias(theta[1]), x.columns(), &mut z, samples);
                activation.apply(&z, &mut a);
                let start = Start::Bias(theta[3]);
                conv.outer.apply(theta[2], start, &a, f.columns_mut(), samples);
                let bars = bar.columns();
                conv.outer.apply_transposed(theta[2], Start::Zero, bars, &mut a_bar, samples);
                activation.pull_back(&z, &a, &a_bar, &mut z_bar);
                let to = x_bar.columns_mut();
                conv.inner.apply_transposed(theta[0], Start::Zero, &z_bar, to, samples);
                let mut gradient: Vec<Vec<f64>> =
                    kinds.iter().map(|kind| vec![0.0; kind.len()]).collect();
                conv.inner.add_weight_gradient(&z_bar, x.columns(), &mut gradient[0], samples);
                conv.outer.add_weight_gradient(bars, &a, &mut gradient[2], samples);
                sums::add_row_sums(&mut gradient[1], &z_bar, length / hidden);
                sums::add_row_sums(&mut gradient[3], bars, samples * image.pixels());

                let close = |what: &str, ours: &[f64], expected: &[f64]| {
                    let far = ours.iter().zip(expected).map(|(a, b)| (a - b).abs());
                    let far = far.fold(0.0, f64::max);
                    assert!(far < 1e-10, "{what} of {height} rows, {channels} channels: {far}");
                };
                let mut tape = Layer::<f64>::tape(&conv, samples);
                let (mut out, mut back) = (x.scratch(), x.scratch());
                conv.linearize(&theta, &x, &mut out, &mut tape);
                close("f", out.columns(), f.columns());
                conv.pull_back(&theta, &x, &mut tape, &bar, &mut back, true);
                close("the cotangent", back.columns(), x_bar.columns());
                let mut found: Vec<Vec<f64>> =
                    kinds.iter().map(|kind| vec![0.0; kind.len()]).collect();
                let mut slots: Vec<&mut [f64]> = found.iter_mut().map(Vec::as_mut_slice).collect();
                conv.add_gradient(&x, &tape, &bar, &mut slots, false);
                for (kind, (found, expected)) in kinds.iter().zip(found.iter().zip(&gradient)) {
                    close(kind.name, found, expected);
                }
                let (mut a, mut scratch) = (bar.clone(), bar.clone());
                let states = [&mut a, &mut scratch];
                conv.pull_back_step(&theta, &x, &mut tape, 0.25, states, true);
                x_bar.add_to(0.25, &bar);
                close("the cotangent of a step", a.columns(), x_bar.columns());
                found.iter_mut().for_each(|kind| kind.fill(7.0)); // Forgotten.
                let mut slots: Vec<&mut [f64]> = found.iter_mut().map(Vec::as_mut_slice).collect();
                conv.add_gradient(&x, &tape, &scratch, &mut slots, true);
                for (kind, (found, expected)) in kinds.iter().zip(found.iter().zip(&gradient)) {
                    let scaled: Vec<f64> = expected.iter().map(|value| 0.25 * value).collect();
                    close(kind.name, found, &scaled);
                }
                conv.linearize_step(&theta, &x, 0.25, &mut out, &mut tape);
                f.add_to(0.25, &x);
                close("a step", out.columns(), f.columns());
            }
        }
    }
}
