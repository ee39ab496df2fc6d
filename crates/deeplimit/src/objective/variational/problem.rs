//! The problem that networks of all depths and their limit share: data, nonlinearities, penalties.

use crate::field::{Dense, Layer};
use crate::kernel::Activation;
use crate::kernel::sums::dot;
use crate::kernel::vector::add_scaled;
use crate::{Rows, control::Kind};

/// What is penalised of the control.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// n Σ_{i≥1} ‖θ_i − θ_{i−1}‖² + τ ‖θ_0‖², in the limit ∫ ‖θ'‖² ds + τ ‖θ(0)‖².
    Smooth {
        /// τ > 0.
        tau: f64,
    },
    /// (1/n) Σ ‖θ_i‖², weight decay, in the limit ∫ ‖θ‖² ds, which bounds no derivative.
    Decay,
}

/// The penalties of the objective; none of them is negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Penalty {
    /// What is penalised of K and of b.
    pub form: Form,
    /// a₁, of K.
    pub weights: f64,
    /// a₂, of b.
    pub biases: f64,
    /// a₃, of ‖W‖².
    pub readout: f64,
    /// a₄, of ‖c‖².
    pub offset: f64,
}

impl Penalty {
    /// No penalty at all.
    pub const NONE: Self =
        Self { form: Form::Decay, weights: 0.0, biases: 0.0, readout: 0.0, offset: 0.0 };

    /// The factors of K and b, in the order of the layer's kinds.
    pub(super) fn factors(&self) -> [f64; 2] {
        [self.weights, self.biases]
    }
}

/// The affine map W x + c that reads the outputs from the last state.
#[derive(Clone, Debug, PartialEq)]
pub struct Readout {
    /// W, row by row: `[outputs, width]`.
    pub matrix: Vec<f64>,
    /// c: `[outputs]`.
    pub offset: Vec<f64>,
}

/// A problem that cannot be posed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemError {
    /// Not one target a sample, or none at all.
    #[error(
        "{inputs} inputs and {targets} targets; give one target a sample, and a sample or more"
    )]
    Samples {
        /// Samples found.
        inputs: usize,
        /// Targets found.
        targets: usize,
    },
    /// An input or a target is infinite or not a number.
    #[error("sample {sample} has an input or target that is not finite; leave it out")]
    NotFinite {
        /// The first such sample.
        sample: usize,
    },
    /// σ(0) ≠ 0: layers with zero weights would move states.
    #[error("σ = {activation} is {value} at 0, where the theory needs 0; use {others}")]
    Activation {
        /// What was asked for.
        activation: Activation,
        /// σ(0).
        value: f64,
        /// Activations that will do.
        others: String,
    },
    /// A penalty, or τ, is out of its range.
    #[error("{name} = {value} is out of range; penalties are finite and not negative, and τ > 0")]
    Penalty {
        /// Which one.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// A limit was asked for that does not exist.
    #[error("{reason}; ask for the limit of a problem with the smooth form and a₁, a₂ > 0")]
    NoLimit {
        /// Why there is none.
        reason: &'static str,
    },
}

/// Data, nonlinearities and penalties.
#[derive(Clone, Debug)]
pub struct Problem {
    layer: Dense,
    output: Activation,
    inputs: Rows<f64>,
    targets: Rows<f64>,
    penalty: Penalty,
}

impl Problem {
    /// Fits g(W x(1) + c) to targets `[samples, outputs]`, with layers σ(K x + b) on states as wide as
    /// the inputs `[samples, width]`.
    ///
    /// A σ with a kink ([`Activation::Relu`]) is allowed; gradients are then those of one side.
    ///
    /// # Errors
    /// If samples and targets do not match or are not finite, σ(0) ≠ 0, or a penalty is out of range.
    pub fn new(
        inputs: Rows<f64>,
        targets: Rows<f64>,
        activation: Activation,
        output: Activation,
        penalty: Penalty,
    ) -> Result<Self, ProblemError> {
        let (samples, count) = (inputs.rows(), targets.rows());
        if samples != count || samples == 0 {
            return Err(ProblemError::Samples { inputs: samples, targets: count });
        }
        let bad = |sample: &usize| {
            [&inputs, &targets].iter().any(|x| x.row(*sample).iter().any(|v| !v.is_finite()))
        };
        if let Some(sample) = (0..samples).find(bad) {
            return Err(ProblemError::NotFinite { sample });
        }
        let value = at_zero(activation);
        if value != 0.0 {
            let others = Activation::ALL.into_iter().filter(|other| at_zero(*other) == 0.0);
            let others = others.map(Activation::name).collect::<Vec<_>>().join(", ");
            return Err(ProblemError::Activation { activation, value, others });
        }
        let Penalty { form, weights, biases, readout, offset } = penalty;
        let named = [("a₁", weights), ("a₂", biases), ("a₃", readout), ("a₄", offset)];
        if let Some((name, value)) = named.into_iter().find(|(_, a)| !(0.0..f64::MAX).contains(a)) {
            return Err(ProblemError::Penalty { name, value });
        }
        if let Form::Smooth { tau: value } = form
            && !(value > 0.0 && value < f64::MAX)
        {
            return Err(ProblemError::Penalty { name: "τ", value });
        }
        let layer = Dense { width: inputs.width(), activation };
        Ok(Self { layer, output, inputs, targets, penalty })
    }

    /// The same data and nonlinearities with other penalties.
    ///
    /// # Errors
    /// If a penalty is out of range.
    pub fn with_penalty(&self, penalty: Penalty) -> Result<Self, ProblemError> {
        let (inputs, targets) = (self.inputs.clone(), self.targets.clone());
        Self::new(inputs, targets, self.layer.activation, self.output, penalty)
    }

    /// The layer σ(K x + b).
    pub fn layer(&self) -> &Dense {
        &self.layer
    }

    /// The samples, x_0.
    pub fn inputs(&self) -> &Rows<f64> {
        &self.inputs
    }

    /// Numbers that are read out.
    pub fn outputs(&self) -> usize {
        self.targets.width()
    }

    /// The penalties.
    pub fn penalty(&self) -> &Penalty {
        &self.penalty
    }

    /// The parameter kinds of a layer, K and b.
    pub fn kinds(&self) -> Vec<Kind> {
        Layer::<f64>::kinds(&self.layer)
    }

    /// The misfit (1/S) Σ ‖g(W x + c) − y‖² of the last states; its cotangents, of the states and of the
    /// readout.
    pub(super) fn misfit(&self, end: &Rows<f64>, readout: &Readout) -> (f64, Rows<f64>, Readout) {
        let (samples, width, outputs) = (end.rows(), end.width(), self.outputs());
        let weight = 1.0 / samples as f64;
        let mut loss = 0.0;
        let mut bar = Readout { matrix: vec![0.0; outputs * width], offset: vec![0.0; outputs] };
        let mut end_bar = Rows::zeros(samples, width);
        let (mut z, mut value, mut slope) =
            (vec![0.0; samples], vec![0.0; samples], vec![0.0; samples]);
        for output in 0..outputs {
            let row = &readout.matrix[output * width..][..width];
            z.fill(readout.offset[output]);
            for (w, column) in row.iter().zip(end.columns().chunks_exact(samples)) {
                z.iter_mut().zip(column).for_each(|(z, x)| *z += w * x);
            }
            self.output.apply_and_slope(&z, &mut value, &mut slope);
            for (sample, z_bar) in slope.iter_mut().enumerate() {
                let residual = value[sample] - self.targets.at(sample, output);
                loss += weight * residual * residual;
                *z_bar *= 2.0 * weight * residual;
            }
            bar.offset[output] = slope.iter().sum();
            let columns = end.columns().chunks_exact(samples);
            let bars = end_bar.columns_mut().chunks_exact_mut(samples);
            for (entry, (column, column_bar)) in columns.zip(bars).enumerate() {
                let products = slope.iter().zip(column).map(|(z_bar, x)| z_bar * x);
                bar.matrix[output * width + entry] = products.sum();
                let pairs = column_bar.iter_mut().zip(&slope);
                pairs.for_each(|(x_bar, z_bar)| *x_bar += z_bar * row[entry]);
            }
        }
        (loss, end_bar, bar)
    }

    /// a₃ ‖W‖² + a₄ ‖c‖².
    pub(super) fn readout_penalty(&self, readout: &Readout) -> f64 {
        let Penalty { readout: a3, offset: a4, .. } = self.penalty;
        a3 * dot(&readout.matrix, &readout.matrix) + a4 * dot(&readout.offset, &readout.offset)
    }

    /// Adds the gradient of [`readout_penalty`](Self::readout_penalty) to `bar`.
    pub(super) fn add_readout_slope(&self, readout: &Readout, bar: &mut Readout) {
        let Penalty { readout: a3, offset: a4, .. } = self.penalty;
        add_scaled(&mut bar.matrix, 2.0 * a3, &readout.matrix);
        add_scaled(&mut bar.offset, 2.0 * a4, &readout.offset);
    }
}

/// σ(0).
fn at_zero(activation: Activation) -> f64 {
    let mut value = [0.0];
    activation.apply(&[0.0], &mut value);
    value[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(activation: Activation, penalty: Penalty) -> Result<Problem, ProblemError> {
        let (inputs, targets) = (Rows::new(2, 1, &[1.0, 2.0]), Rows::new(2, 1, &[1.0, -1.0]));
        Problem::new(inputs, targets, activation, Activation::Tanh, penalty)
    }

    #[test]
    fn problems_outside_the_theory_are_refused_by_name() {
        let message = |result: Result<Problem, ProblemError>| result.unwrap_err().to_string();
        assert_eq!(
            message(problem(Activation::Softplus, Penalty::NONE)),
            "σ = softplus is 0.6931471805599453 at 0, where the theory needs 0; use tanh, relu, gelu, \
             identity"
        );
        for activation in Activation::ALL {
            let there = problem(activation, Penalty::NONE).is_ok();
            assert_eq!(there, activation != Activation::Softplus, "{activation}");
        }
        let tau = |tau| Penalty { form: Form::Smooth { tau }, ..Penalty::NONE };
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let text = message(problem(Activation::Tanh, tau(bad)));
            assert!(text.starts_with(&format!("τ = {bad} is out of range")), "{text}");
        }
        let negative = Penalty { biases: -0.5, ..tau(1.0) };
        assert!(message(problem(Activation::Tanh, negative)).starts_with("a₂ = -0.5 is out of"));
        let (one, two) = (Rows::new(1, 1, &[1.0]), Rows::new(2, 1, &[1.0, f64::NAN]));
        let of = |x: &Rows<f64>, y: &Rows<f64>| {
            Problem::new(x.clone(), y.clone(), Activation::Tanh, Activation::Tanh, Penalty::NONE)
        };
        assert!(message(of(&one, &two)).starts_with("1 inputs and 2 targets"));
        assert!(message(of(&Rows::zeros(0, 1), &Rows::zeros(0, 1))).starts_with("0 inputs"));
        assert!(message(of(&two, &two)).starts_with("sample 1 has"));
    }
}
