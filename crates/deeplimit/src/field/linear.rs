//! The linear field f(x, θ) = θ x of deep linear residual networks
//! (Sander, Ablin, Peyré 2022, section 3).

use super::{Layer, NodeGradient};
use crate::control::Kind;
use crate::kernel::{Matrix, Start, multiply, outer};
use crate::{Heap, Real, Rows};

/// f(x) = θ x, with θ of shape `[width, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Numbers a sample.
    pub width: usize,
}

impl Heap for () {
    fn heap(&self) -> usize {
        0
    }
}

impl<R: Real> Layer<R> for Linear {
    type Tape = ();

    fn kinds(&self) -> Vec<Kind> {
        vec![Kind { name: "theta", shape: vec![self.width, self.width], fan_in: self.width }]
    }

    fn width(&self) -> usize {
        self.width
    }

    fn tape(&self, _rows: usize) {}

    fn tape_bytes(&self, _tape: &()) -> usize {
        0
    }

    fn linearize(&self, theta: &[&[R]], x: &Rows<R>, out: &mut Rows<R>, _tape: &mut ()) {
        let weight = Matrix::new(theta[0], self.width, self.width);
        multiply(out.columns_mut(), Start::Zero, weight, x.columns(), x.rows());
    }

    fn pull_back(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        _tape: &mut (),
        cotangent: &Rows<R>,
        x_bar: &mut Rows<R>,
        _with_gradient: bool,
    ) {
        let weight = Matrix::new(theta[0], self.width, self.width);
        multiply(x_bar.columns_mut(), Start::Add, weight.t(), cotangent.columns(), x.rows());
    }

    fn add_gradient(
        &self,
        x: &Rows<R>,
        _tape: &(),
        cotangent: &Rows<R>,
        gradient: &mut NodeGradient<'_, R>,
        fresh: bool,
    ) {
        let start = Start::zero_or_add(fresh);
        outer(gradient[0], start, cotangent.columns(), x.columns(), x.rows());
    }
}
