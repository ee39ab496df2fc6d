//! The one-matrix field f(x, θ) = σ(K x + b) (Thorpe, van Gennip 2018, equation 1).

use super::exposure::Apart;
use super::{Layer, NodeGradient};
use crate::control::Kind;
use crate::kernel::{Activation, Bend, Buffer, Matrix, Start, multiply};
use crate::{Heap, Real, Rows};

/// f(x) = σ(K x + b), with K of shape `[width, width]` and b of shape `[width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// Numbers a sample.
    pub width: usize,
    /// The nonlinearity.
    pub activation: Activation,
}

/// Pre-activations and activations; and the cotangents of both, sized at the first pull-back.
pub struct DenseTape<R> {
    z: Buffer<R>,
    a: Buffer<R>,
    z_bar: Buffer<R>,
    cotangent: Buffer<R>,
}

impl<R> Heap for DenseTape<R> {
    fn heap(&self) -> usize {
        [&self.z, &self.a, &self.z_bar, &self.cotangent].map(Heap::heap).iter().sum()
    }
}

impl<R: Real> Layer<R> for Dense {
    type Tape = DenseTape<R>;

    fn kinds(&self) -> Vec<Kind> {
        let (width, fan_in) = (self.width, self.width);
        vec![
            Kind { name: "k", shape: vec![width, width], fan_in },
            Kind { name: "b", shape: vec![width], fan_in },
        ]
    }

    fn width(&self) -> usize {
        self.width
    }

    fn tape(&self, rows: usize) -> DenseTape<R> {
        let buffer = || Buffer::zeros(rows * self.width);
        DenseTape {
            z: buffer(),
            a: buffer(),
            z_bar: Buffer::default(),
            cotangent: Buffer::default(),
        }
    }

    fn tape_bytes(&self, tape: &DenseTape<R>) -> usize {
        [&tape.z, &tape.a, &tape.z_bar, &tape.cotangent].map(|v| size_of_val(&v[..])).iter().sum()
    }

    fn linearize(&self, theta: &[&[R]], x: &Rows<R>, out: &mut Rows<R>, tape: &mut DenseTape<R>) {
        super::mlp::affine(theta[0], theta[1], x.columns(), &mut tape.z, x.rows());
        self.activation.apply(&tape.z, &mut tape.a);
        out.columns_mut().copy_from_slice(&tape.a);
    }

    fn pull_back(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &mut DenseTape<R>,
        cotangent: &Rows<R>,
        x_bar: &mut Rows<R>,
        _with_gradient: bool,
    ) {
        let (rows, width) = (x.rows(), self.width);
        tape.z_bar.resize(rows * width);
        tape.cotangent.resize(rows * width);
        tape.cotangent.copy_from_slice(cotangent.columns());
        self.activation.pull_back(&tape.z, &tape.a, cotangent.columns(), &mut tape.z_bar);
        let weight = Matrix::new(theta[0], width, width);
        multiply(x_bar.columns_mut(), Start::Add, weight.t(), &tape.z_bar, rows);
    }

    fn add_gradient(
        &self,
        x: &Rows<R>,
        tape: &DenseTape<R>,
        _cotangent: &Rows<R>,
        gradient: &mut NodeGradient<'_, R>,
        fresh: bool,
    ) {
        super::mlp::affine_gradient(&tape.z_bar, x.columns(), x.rows(), &mut gradient[..2], fresh);
    }

    fn hand_over(&self, from: &mut DenseTape<R>, to: &mut DenseTape<R>) {
        to.z_bar = std::mem::take(&mut from.z_bar);
        to.cotangent = std::mem::take(&mut from.cotangent);
    }

    fn bend(&self) -> Bend {
        self.activation.bend()
    }

    fn exposure(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &DenseTape<R>,
        apart: Apart<'_, Rows<R>>,
    ) -> f64 {
        let units = [&tape.z[..], &tape.a, &tape.cotangent];
        super::exposure::exposure(self.activation, theta[0], units, x, apart)
    }
}
