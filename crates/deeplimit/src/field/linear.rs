//! The linear field f(x, θ) = θ x of deep linear residual networks
//! (Sander, Ablin, Peyré 2022, section 3).

use super::{Layer, NodeGradient};
use crate::control::Kind;
use crate::kernel::{Matrix, MatrixMut, multiply};
use crate::{Real, Rows};

/// f(x) = θ x, with θ of shape `[width, width]`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Numbers a sample.
    pub width: usize,
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
        let (rows, width) = (x.rows(), self.width);
        let weight = Matrix::new(theta[0], width, width);
        let out = MatrixMut::new(out.data_mut(), rows, width);
        multiply(out, R::zero(), R::one(), Matrix::new(x.data(), rows, width), weight.t());
    }

    fn pull_back(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        _tape: &mut (),
        cotangent: &Rows<R>,
        x_bar: &mut Rows<R>,
        gradient: Option<&mut NodeGradient<'_, R>>,
    ) {
        let (rows, width, one) = (x.rows(), self.width, R::one());
        let bar = Matrix::new(cotangent.data(), rows, width);
        if let Some(gradient) = gradient {
            let slot = MatrixMut::new(gradient[0], width, width);
            multiply(slot, one, one, bar.t(), Matrix::new(x.data(), rows, width));
        }
        let weight = Matrix::new(theta[0], width, width);
        multiply(MatrixMut::new(x_bar.data_mut(), rows, width), one, one, bar, weight);
    }
}
