//! The two-matrix field f(x, θ) = W₂ σ(W₁ x + b₁) + b₂.

use super::{Layer, NodeGradient};
use crate::control::Kind;
use crate::kernel::{Activation, Matrix, MatrixMut, multiply};
use crate::{Real, Rows, State};

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

/// Pre-activations z and activations a; and the cotangents of both, sized at the first pull-back.
pub struct MlpTape<R> {
    z: Vec<R>,
    a: Vec<R>,
    z_bar: Vec<R>,
    a_bar: Vec<R>,
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
        let buffer = || vec![R::zero(); rows * self.hidden];
        MlpTape { z: buffer(), a: buffer(), z_bar: Vec::new(), a_bar: Vec::new() }
    }

    fn tape_bytes(&self, tape: &MlpTape<R>) -> usize {
        [&tape.z, &tape.a, &tape.z_bar, &tape.a_bar].map(|v| size_of_val(&v[..])).iter().sum()
    }

    fn linearize(&self, theta: &[&[R]], x: &Rows<R>, out: &mut Rows<R>, tape: &mut MlpTape<R>) {
        affine(theta[0], theta[1], x.data(), &mut tape.z, x.rows());
        self.activation.apply(&tape.z, &mut tape.a);
        affine(theta[2], theta[3], &tape.a, out.data_mut(), x.rows());
    }

    fn pull_back(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &mut MlpTape<R>,
        cotangent: &Rows<R>,
        x_bar: &mut Rows<R>,
        gradient: Option<&mut NodeGradient<'_, R>>,
    ) {
        let (rows, width, hidden) = (x.rows(), self.width, self.hidden);
        let one = R::one();
        tape.a_bar.resize(rows * hidden, R::zero());
        tape.z_bar.resize(rows * hidden, R::zero());
        let bar = Matrix::new(cotangent.data(), rows, width);
        let outer = Matrix::new(theta[2], width, hidden);
        multiply(MatrixMut::new(&mut tape.a_bar, rows, hidden), R::zero(), one, bar, outer);
        self.activation.pull_back(&tape.z, &tape.a, &tape.a_bar, &mut tape.z_bar);
        if let Some(gradient) = gradient {
            affine_gradient(&tape.z_bar, x.data(), rows, gradient, 0);
            affine_gradient(cotangent.data(), &tape.a, rows, gradient, 2);
        }
        let z_bar = Matrix::new(&tape.z_bar, rows, hidden);
        let inner = Matrix::new(theta[0], hidden, width);
        multiply(MatrixMut::new(x_bar.data_mut(), rows, width), one, one, z_bar, inner);
    }

    fn has_kink(&self) -> bool {
        self.activation.has_kink()
    }

    fn kink_exposure(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &MlpTape<R>,
        displacement: &Rows<R>,
    ) -> f64 {
        exposure(theta[0], &tape.z, &tape.a_bar, x, displacement)
    }
}

/// `out = x Wᵀ + b` for `rows` rows of x.
pub(super) fn affine<R: Real>(weight: &[R], bias: &[R], x: &[R], out: &mut [R], rows: usize) {
    let (inputs, outputs) = (weight.len() / bias.len(), bias.len());
    for row in out.chunks_exact_mut(outputs) {
        row.copy_from_slice(bias);
    }
    let weight = Matrix::new(weight, outputs, inputs);
    let out = MatrixMut::new(out, rows, outputs);
    multiply(out, R::one(), R::one(), Matrix::new(x, rows, inputs), weight.t());
}

/// Adds `barᵀ x` to the weight's gradient `gradient[first]` and the column sums of `bar` to the
/// bias's, `gradient[first + 1]`.
pub(super) fn affine_gradient<R: Real>(
    bar: &[R],
    x: &[R],
    rows: usize,
    gradient: &mut NodeGradient<'_, R>,
    first: usize,
) {
    let (outputs, inputs) = (bar.len() / rows, x.len() / rows);
    let slot = MatrixMut::new(gradient[first], outputs, inputs);
    let (left, right) = (Matrix::new(bar, rows, outputs).t(), Matrix::new(x, rows, inputs));
    multiply(slot, R::one(), R::one(), left, right);
    for row in bar.chunks_exact(outputs) {
        gradient[first + 1].iter_mut().zip(row).for_each(|(g, v)| *g += *v);
    }
}

/// Σ_j [Σ_s 1{|z_sj| ≤ |W_j| |d_s|} |a̅_sj| √(1 + |x_s|²)]²: what hidden units within reach of
/// their kink could change of the layer's gradient, for a displacement d of the state.
pub(super) fn exposure<R: Real>(
    weight: &[R],
    z: &[R],
    a_bar: &[R],
    x: &Rows<R>,
    displacement: &Rows<R>,
) -> f64 {
    let norm = |v: &[R]| v.iter().map(|v| v.wide() * v.wide()).sum::<f64>().sqrt();
    let reach: Vec<f64> = weight.chunks_exact(x.width()).map(norm).collect();
    let hidden = reach.len();
    let mut exposed = vec![0.0; hidden];
    for sample in 0..x.samples() {
        let distance = norm(displacement.row(sample));
        let size = norm(x.row(sample)).hypot(1.0);
        let units = sample * hidden..(sample + 1) * hidden;
        for (((sum, reach), z), a_bar) in
            exposed.iter_mut().zip(&reach).zip(&z[units.clone()]).zip(&a_bar[units])
        {
            if z.wide().abs() <= reach * distance {
                *sum += a_bar.wide().abs() * size;
            }
        }
    }
    exposed.iter().map(|sum| sum * sum).sum()
}
