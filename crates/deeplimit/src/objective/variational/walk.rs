//! One walk of all samples through a control and back: Euler steps of a network, or the fourth-order
//! steps of a curve, whose middles are nodes of their own.

use crate::control::Control;
use crate::field::{Dense, Stacked};
use crate::gradient::Due;
use crate::scheme::{Nodes, Scheme, Stepper};
use crate::{Field, Rows};

/// The classical scheme on a step of *two* node distances: start, middle and end of a step are nodes,
/// so that a smooth control is read exactly. (A linear blend at the middle would cost two orders.)
const OVER_TWO: Scheme = Scheme::new(
    "rk4-over-two",
    4,
    Nodes::PerBoundary,
    &[&[], &[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
    &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
    &[0.0, 1.0, 1.0, 2.0],
);

/// A control, and the steps on it.
pub(super) struct Walk {
    field: Stacked<f64, Dense>,
    scheme: Scheme,
    /// Node distances a step.
    stride: usize,
    steps: usize,
}

impl Walk {
    /// x_{i+1} = x_i + (1/n) σ(K_i x_i + b_i), a step a node.
    pub fn network(layer: &Dense, control: Control<f64>) -> Self {
        let steps = control.nodes();
        let field = Stacked::new(layer.clone(), control);
        Self { field, scheme: Scheme::EULER, stride: 1, steps }
    }

    /// x' = σ(K x + b) with an odd number of nodes at s = j/(2 steps): errors of order steps⁻⁴.
    pub fn curve(layer: &Dense, control: Control<f64>) -> Self {
        let steps = (control.nodes() - 1) / 2;
        let field = Stacked::new(layer.clone(), control);
        Self { field, scheme: OVER_TWO, stride: 2, steps }
    }

    fn stepper(&self, inputs: &Rows<f64>) -> Stepper<'_, Stacked<f64, Dense>> {
        Stepper::new(&self.field, &self.scheme, 1.0 / self.steps as f64, inputs)
    }

    /// The states at the end.
    pub fn end(&self, inputs: &Rows<f64>) -> Rows<f64> {
        let (mut stepper, mut x) = (self.stepper(inputs), inputs.clone());
        for step in 0..self.steps {
            stepper.advance(self.stride * step..self.stride * step + 1, &mut x);
        }
        x
    }

    /// To the end, and back with the cotangent that `turn` makes of the states there: the gradient of
    /// the control's nodes. On the way back `visit` sees step number, states and their adjoints, from
    /// the end to the start.
    pub fn there_and_back<T>(
        &self,
        inputs: &Rows<f64>,
        turn: impl FnOnce(&Rows<f64>) -> (T, Rows<f64>),
        mut visit: impl FnMut(usize, &Rows<f64>, &Rows<f64>),
    ) -> (T, Control<f64>) {
        let (mut stepper, mut x) = (self.stepper(inputs), inputs.clone());
        let mut tapes = Vec::with_capacity(self.steps);
        for step in 0..self.steps {
            let mut tape = stepper.step_tape();
            stepper.linearize_step(self.stride * step, &mut x, &mut tape);
            tapes.push(tape);
        }
        let (found, mut adjoint) = turn(&x);
        visit(self.steps, &x, &adjoint);
        let mut gradient = self.field.zero_gradient();
        {
            let sink = self.field.open_anew(&mut gradient);
            for (step, tape) in tapes.iter_mut().enumerate().rev() {
                let due = Some(Due::now(&sink));
                stepper.pull_back(self.stride * step, tape, &mut adjoint, due);
                visit(step, tape.state(), &adjoint);
            }
        }
        (found, gradient)
    }
}
