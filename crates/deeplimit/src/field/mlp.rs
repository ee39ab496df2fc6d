//! The two-matrix field f(x, θ) = W₂ σ(W₁ x + b₁) + b₂.

use super::{Layer, NodeGradient};
use crate::control::Kind;
use crate::kernel::{Activation, Bend, Buffer, Matrix, Start, multiply, outer, sums, vector};
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
        apart: [&Rows<R>; 2],
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

/// Σ_j [Σ_s Δ_js |a̅_js| √(1 + |x_s|²)]²: what other slopes of the hidden units could change of the
/// layer's gradient, where two states are d `apart` and the slope of unit j changes by Δ_js
/// ([`slope_changes`]). The units are z, a and a̅.
pub(super) fn exposure<R: Real>(
    activation: Activation,
    weight: &[R],
    units: [&[R]; 3],
    x: &Rows<R>,
    [here, there]: [&Rows<R>; 2],
) -> f64 {
    let samples = x.rows();
    R::with_scratch(2 * samples, |scratch| {
        let (distances, sizes) = scratch.split_at_mut(samples);
        distances.fill(R::zero());
        sizes.fill(R::one());
        vector::add_column_squared_differences(distances, here.columns(), there.columns());
        vector::add_column_squares(sizes, x.columns());
        vector::root(distances);
        vector::root(sizes);
        let (inputs, there) = (x.width(), [&*distances, &*sizes]);
        slope_changes(activation, weight, inputs, |_| 1.0, units, there)
            .iter()
            .map(|sum| sum.powi(2))
            .sum()
    })
}

/// Σ_s Δ_js |a̅_js| size_s of every hidden unit j, where an input that is d_s away changes the unit's
/// slope by Δ_js. With w_j its weights, `inputs` in number, times its `scale`:
///
/// ```text
/// kinked   1{|z_js| ≤ |w_j| d_s}               it may lie beyond the kink
/// curved   |σ''(z_js)| |w_j| d_s / √inputs     root mean square over the directions that the
///                                              difference of the inputs may have
/// ```
pub(super) fn slope_changes<R: Real>(
    activation: Activation,
    weight: &[R],
    inputs: usize,
    scale: impl Fn(usize) -> f64,
    [z, a, a_bar]: [&[R]; 3],
    [distances, sizes]: [&[R]; 2],
) -> Vec<f64> {
    let mut changes = vec![R::zero(); weight.len() / inputs];
    sums::row_squares(&mut changes, weight);
    for (unit, change) in changes.iter_mut().enumerate() {
        *change = change.sqrt() * R::of(scale(unit));
    }
    match activation.bend() {
        Bend::Straight => changes.fill(R::zero()),
        Bend::Kinked => sums::rows_within(&mut changes, z, a_bar, distances, sizes),
        Bend::Curved => {
            let samples = distances.len();
            // As many units at once as the nearest cache holds.
            let units = (4096 / samples).max(1);
            R::with_scratch((units + 1) * samples, |scratch| {
                let (weights, scratch) = scratch.split_at_mut(samples);
                let typical = R::of(1.0 / (inputs as f64).sqrt());
                vector::set_product(weights, typical, distances, sizes);
                for (i, changes) in changes.chunks_mut(units).enumerate() {
                    let part = i * units * samples..(i * units + changes.len()) * samples;
                    let curved = &mut scratch[..part.len()];
                    activation.curvature(&z[part.clone()], &a[part.clone()], &a_bar[part], curved);
                    sums::rows_weighted(changes, curved, weights);
                }
            });
        }
    }
    changes.into_iter().map(R::wide).collect()
}
