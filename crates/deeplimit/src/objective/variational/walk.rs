//! One walk of all samples through a control and back: Euler steps of a network, or the fourth-order
//! steps of a curve, whose middles are nodes of their own.

use crate::Rows;
use crate::control::Control;
use crate::field::Dense;
use crate::kernel::march::March;

/// A control, and the steps on it.
pub(super) struct Walk {
    layer: Dense,
    control: Control<f64>,
    /// Whether it is that of a curve.
    is_curve: bool,
}

/// Sees step number, states and their adjoints on the way back.
pub(super) type Visit<'v> = &'v mut dyn FnMut(usize, &Rows<f64>, &Rows<f64>);

impl Walk {
    /// x_{i+1} = x_i + (1/n) σ(K_i x_i + b_i), a step a node.
    pub fn network(layer: &Dense, control: Control<f64>) -> Self {
        Self { layer: layer.clone(), control, is_curve: false }
    }

    /// x' = σ(K x + b) with an odd number of nodes at s = j/(2 steps): errors of order steps⁻⁴.
    pub fn curve(layer: &Dense, control: Control<f64>) -> Self {
        Self { layer: layer.clone(), control, is_curve: true }
    }

    fn march(&self) -> March<'_> {
        let Dense { width, activation } = self.layer;
        let [weights, biases] = [0, 1].map(|kind| &self.control.values()[kind][..]);
        match self.is_curve {
            true => March::classical(activation, width, weights, biases),
            false => March::euler(activation, width, weights, biases),
        }
    }

    /// The states at the end.
    pub fn end(&self, inputs: &Rows<f64>) -> Rows<f64> {
        let turn = |end: &[f64]| (states(inputs, end), None);
        self.march().there_and_back(inputs.columns(), turn, None).0
    }

    /// To the end, and back with the cotangent that `turn` makes of the states there: the gradient of
    /// the control's nodes. On the way back `visit` sees step number, states and their adjoints, from
    /// the end to the start.
    pub fn there_and_back<T>(
        &self,
        inputs: &Rows<f64>,
        turn: impl FnOnce(&Rows<f64>) -> (T, Rows<f64>),
        visit: Option<Visit<'_>>,
    ) -> (T, Control<f64>) {
        let turn = |end: &[f64]| {
            let (found, bar) = turn(&states(inputs, end));
            (found, Some(bar.columns().to_vec()))
        };
        let (found, gradient) = match visit {
            None => self.march().there_and_back(inputs.columns(), turn, None),
            Some(visit) => {
                let mut visit = |step: usize, x: &[f64], bar: &[f64]| {
                    visit(step, &states(inputs, x), &states(inputs, bar));
                };
                self.march().there_and_back(inputs.columns(), turn, Some(&mut visit))
            }
        };
        let (kinds, nodes) = (self.control.kinds().to_vec(), self.control.nodes());
        (found, Control::new(kinds, nodes, gradient.into()))
    }
}

/// Columns as states of as many samples as the inputs have.
fn states(inputs: &Rows<f64>, columns: &[f64]) -> Rows<f64> {
    let mut rows = Rows::zeros(inputs.rows(), inputs.width());
    rows.columns_mut().copy_from_slice(columns);
    rows
}
