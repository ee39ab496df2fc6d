//! The two-matrix field f(x, θ) = W₂ σ(W₁ x + b₁) + b₂.

use super::{Layer, NodeGradient};
use crate::control::Kind;
use crate::kernel::{Activation, Buffer, Matrix, Start, add_outer, multiply, sums, vector};
use crate::{Heap, Real, Rows};

/// f(x) = W₂ σ(W₁ x + b₁) + b₂, with W₁ `[hidden, width]`, b₁ `[hidden]`, W₂ `[width, hidden]`,
/// b₂ `[width]`.
#[derive(Clone, Debug)]
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
    z: Buffer<R>,
    a: Buffer<R>,
    z_bar: Buffer<R>,
    a_bar: Buffer<R>,
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
    ) {
        affine_gradient(&tape.z_bar, x.columns(), x.rows(), gradient, 0);
        affine_gradient(cotangent.columns(), &tape.a, x.rows(), gradient, 2);
    }

    fn hand_over(&self, from: &mut MlpTape<R>, to: &mut MlpTape<R>) {
        to.z_bar = std::mem::take(&mut from.z_bar);
        to.a_bar = std::mem::take(&mut from.a_bar);
    }

    fn has_kink(&self) -> bool {
        self.activation.has_kink()
    }

    fn kink_exposure(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &MlpTape<R>,
        apart: [&Rows<R>; 2],
    ) -> f64 {
        exposure(theta[0], &tape.z, &tape.a_bar, x, apart)
    }
}

/// `out = W x + b`, for `samples` columns of x.
pub(super) fn affine<R: Real>(weight: &[R], bias: &[R], x: &[R], out: &mut [R], samples: usize) {
    let weight = Matrix::new(weight, bias.len(), weight.len() / bias.len());
    multiply(out, Start::Bias(bias), weight, x, samples);
}

/// Adds `bar xᵀ` to the weight's gradient `gradient[first]` and the sums of `bar` over the samples
/// to the bias's, `gradient[first + 1]`.
pub(super) fn affine_gradient<R: Real>(
    bar: &[R],
    x: &[R],
    samples: usize,
    gradient: &mut NodeGradient<'_, R>,
    first: usize,
) {
    add_outer(gradient[first], bar, x, samples);
    sums::add_row_sums(gradient[first + 1], bar, samples);
}

/// Σ_j [Σ_s 1{|z_js| ≤ |W_j| |d_s|} |a̅_js| √(1 + |x_s|²)]²: what hidden units within reach of
/// their kink could change of the layer's gradient, where two states are d `apart`.
pub(super) fn exposure<R: Real>(
    weight: &[R],
    z: &[R],
    a_bar: &[R],
    x: &Rows<R>,
    [here, there]: [&Rows<R>; 2],
) -> f64 {
    let samples = x.rows();
    let units = weight.chunks_exact(x.width());
    let units = units.zip(z.chunks_exact(samples).zip(a_bar.chunks_exact(samples)));
    R::with_scratch(2 * samples, |scratch| {
        let (distances, sizes) = scratch.split_at_mut(samples);
        distances.fill(R::zero());
        sizes.fill(R::one());
        vector::add_column_squared_differences(distances, here.columns(), there.columns());
        vector::add_column_squares(sizes, x.columns());
        vector::root(distances);
        vector::root(sizes);
        let exposed = units.map(|(weights, (z, a_bar))| {
            let reach = R::of(sums::dot(weights, weights).sqrt());
            sums::sum_within(reach, z, a_bar, distances, sizes).powi(2)
        });
        exposed.sum()
    })
}
