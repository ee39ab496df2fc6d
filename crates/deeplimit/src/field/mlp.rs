//! The two-matrix field f(x, θ) = W₂ σ(W₁ x + b₁) + b₂.

use super::exposure::{Apart, exposure};
use super::{Layer, NodeGradient};
use crate::control::Kind;
use crate::kernel::{Activation, Bend, Buffer, Matrix, Start, multiply, outer, sums};
use crate::{Heap, Real, Rows};

/// f(x) = W₂ σ(W₁ x + b₁) + b₂, with W₁ `[hidden, width]`, b₁ `[hidden]`, W₂ `[width, hidden]`,
/// b₂ `[width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp {
    /// Numbers a sample.
    pub width: usize,
    /// Hidden units.
    pub hidden: usize,
    /// The nonlinearity.
    pub activation: Activation,
}

/// Activations a, pre-activations z where the activation's derivative needs them; and the cotangents
/// of both, sized at the first pull-back.
pub struct MlpTape<R> {
    pub(super) z: Buffer<R>,
    a: Buffer<R>,
    z_bar: Buffer<R>,
    pub(super) a_bar: Buffer<R>,
}

impl<R> Heap for MlpTape<R> {
    fn heap(&self) -> usize {
        [&self.z, &self.a, &self.z_bar, &self.a_bar].map(Heap::heap).iter().sum()
    }
}

impl<R: Real> Layer<R> for Mlp {
    type Tape = MlpTape<R>;

    fn kinds(&self) -> Vec<Kind> {
        let (width, hidden) = (self.width, self.hidden);
        vec![
            Kind { name: "w1", shape: vec![hidden, width], fan_in: width },
            Kind { name: "b1", shape: vec![hidden], fan_in: width },
            Kind { name: "w2", shape: vec![width, hidden], fan_in: hidden },
            Kind { name: "b2", shape: vec![width], fan_in: hidden },
        ]
    }

    fn width(&self) -> usize {
        self.width
    }

    fn tape(&self, rows: usize) -> MlpTape<R> {
        let buffer = |needed: bool| Buffer::zeros(if needed { rows * self.hidden } else { 0 });
        let z = buffer(self.activation.needs_argument());
        MlpTape { z, a: buffer(true), z_bar: Buffer::default(), a_bar: Buffer::default() }
    }

    fn tape_bytes(&self, tape: &MlpTape<R>) -> usize {
        [&tape.z, &tape.a, &tape.z_bar, &tape.a_bar].map(|v| size_of_val(&v[..])).iter().sum()
    }

    fn linearize(&self, theta: &[&[R]], x: &Rows<R>, out: &mut Rows<R>, tape: &mut MlpTape<R>) {
        let MlpTape { z, a, .. } = tape;
        let length = a.len();
        let mut hidden = |z: &mut [R]| {
            affine(theta[0], theta[1], x.columns(), z, x.rows());
            self.activation.apply(z, a);
        };
        if z.len() == length {
            hidden(z)
        } else {
            R::with_scratch(length, hidden)
        }
        affine(theta[2], theta[3], a, out.columns_mut(), x.rows());
    }

    fn pull_back(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &mut MlpTape<R>,
        cotangent: &Rows<R>,
        x_bar: &mut Rows<R>,
        _with_gradient: bool,
    ) {
        let (rows, width, hidden) = (x.rows(), self.width, self.hidden);
        tape.a_bar.resize(rows * hidden);
        tape.z_bar.resize(rows * hidden);
        let outer = Matrix::new(theta[2], width, hidden).t();
        multiply(&mut tape.a_bar, Start::Zero, outer, cotangent.columns(), rows);
        let z = if self.activation.needs_argument() { &tape.z } else { &tape.a };
        self.activation.pull_back(z, &tape.a, &tape.a_bar, &mut tape.z_bar);
        let inner = Matrix::new(theta[0], hidden, width).t();
        multiply(x_bar.columns_mut(), Start::Add, inner, &tape.z_bar, rows);
    }

    fn add_gradient(
        &self,
        x: &Rows<R>,
        tape: &MlpTape<R>,
        cotangent: &Rows<R>,
        gradient: &mut NodeGradient<'_, R>,
        fresh: bool,
    ) {
        let (inner, outer) = gradient.split_at_mut(2);
        affine_gradient(&tape.z_bar, x.columns(), x.rows(), inner, fresh);
        affine_gradient(cotangent.columns(), &tape.a, x.rows(), outer, fresh);
    }

    fn hand_over(&self, from: &mut MlpTape<R>, to: &mut MlpTape<R>) {
        to.z_bar = std::mem::take(&mut from.z_bar);
        to.a_bar = std::mem::take(&mut from.a_bar);
    }

    fn bend(&self) -> Bend {
        self.activation.bend()
    }

    fn exposure(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &MlpTape<R>,
        apart: Apart<'_, Rows<R>>,
    ) -> f64 {
        let z = if self.activation.needs_argument() { &tape.z } else { &tape.a };
        exposure(self.activation, theta[0], [z, &tape.a, &tape.a_bar], x, apart)
    }
}

/// `out = W x + b`, for `samples` columns of x.
pub(super) fn affine<R: Real>(weight: &[R], bias: &[R], x: &[R], out: &mut [R], samples: usize) {
    let weight = Matrix::new(weight, bias.len(), weight.len() / bias.len());
    multiply(out, Start::Bias(bias), weight, x, samples);
}

/// Adds `bar xᵀ` to the weight's gradient `gradient[0]` and the sums of `bar` over the samples to the
/// bias's, `gradient[1]`; or sets them, where they are `fresh`.
pub(super) fn affine_gradient<R: Real>(
    bar: &[R],
    x: &[R],
    samples: usize,
    gradient: &mut NodeGradient<'_, R>,
    fresh: bool,
) {
    outer(gradient[0], Start::zero_or_add(fresh), bar, x, samples);
    if fresh {
        gradient[1].fill(R::zero());
    }
    sums::add_row_sums(gradient[1], bar, samples);
}
