//! The layer δ σ(A x + b) with a trainable factor δ (Cohen, Cont, Rossier, Xu 2021).

use deeplimit::control::Kind;
use deeplimit::field::{Dense, DenseTape, Layer, NodeGradient};
use deeplimit::{Rows, State};

/// f(x) = δ σ(A x + b).
#[derive(Clone, Debug)]
pub struct Factored {
    pub dense: Dense,
}

/// What the dense layer keeps, σ(A x + b), and what a pull-back leaves.
pub struct Tape {
    dense: DenseTape<f64>,
    values: Rows<f64>,
    scaled: Rows<f64>,
    slope: f64,
}

impl Layer<f64> for Factored {
    type Tape = Tape;

    fn kinds(&self) -> Vec<Kind> {
        let mut kinds = Layer::<f64>::kinds(&self.dense);
        kinds.push(Kind { name: "delta", shape: vec![1], fan_in: 1 });
        kinds
    }

    fn width(&self) -> usize {
        self.dense.width
    }

    fn tape(&self, rows: usize) -> Tape {
        let state = || Rows::zeros(rows, self.dense.width);
        Tape { dense: self.dense.tape(rows), values: state(), scaled: state(), slope: 0.0 }
    }

    fn tape_bytes(&self, tape: &Tape) -> usize {
        let states = [&tape.values, &tape.scaled].map(|rows| size_of_val(rows.columns()));
        Layer::<f64>::tape_bytes(&self.dense, &tape.dense) + states.iter().sum::<usize>()
    }

    fn linearize(&self, theta: &[&[f64]], x: &Rows<f64>, out: &mut Rows<f64>, tape: &mut Tape) {
        self.dense.linearize(&theta[..2], x, &mut tape.values, &mut tape.dense);
        out.set_scaled(theta[2][0], &tape.values);
    }

    fn pull_back(
        &self,
        theta: &[&[f64]],
        x: &Rows<f64>,
        tape: &mut Tape,
        cotangent: &Rows<f64>,
        x_bar: &mut Rows<f64>,
        with_gradient: bool,
    ) {
        let pairs = tape.values.columns().iter().zip(cotangent.columns());
        tape.slope = pairs.map(|(value, cotangent)| value * cotangent).sum();
        tape.scaled.set_scaled(theta[2][0], cotangent);
        let Tape { dense, scaled, .. } = tape;
        self.dense.pull_back(&theta[..2], x, dense, scaled, x_bar, with_gradient);
    }

    fn add_gradient(
        &self,
        x: &Rows<f64>,
        tape: &Tape,
        _cotangent: &Rows<f64>,
        gradient: &mut NodeGradient<'_, f64>,
        fresh: bool,
    ) {
        self.dense.add_gradient(x, &tape.dense, &tape.scaled, &mut gradient[..2], fresh);
        let before = if fresh { 0.0 } else { gradient[2][0] };
        gradient[2][0] = before + tape.slope;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deeplimit::control::{Control, Family};
    use deeplimit::field::Stacked;
    use deeplimit::kernel::Activation;
    use deeplimit::objective::descent::Quadratic;
    use deeplimit::{Flow, Scheme};

    #[test]
    fn the_gradient_agrees_with_central_differences() {
        let layer = Factored { dense: Dense { width: 3, activation: Activation::Tanh } };
        let rows = |phase: f64| {
            Rows::from_fn(4, 3, |row, column| (row as f64 + 0.4 * column as f64 + phase).cos())
        };
        let loss = Quadratic::data(rows(0.0), rows(1.0));
        let control = Control::<f64>::random(layer.kinds(), 3, Family::Independent, 4);
        let flow = |control: &Control<f64>| {
            Flow::new(Stacked::new(layer.clone(), control.clone()), Scheme::EULER)
        };
        let (_, gradient) = loss.gradient(&flow(&control));
        for kind in 0..3 {
            for index in 0..control.values()[kind].len() {
                let at = |step: f64| {
                    let mut moved = control.clone();
                    moved.values_mut()[kind][index] += step;
                    loss.loss(&flow(&moved))
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                let slope = gradient.values()[kind][index];
                assert!((slope - difference).abs() < 1e-8, "{kind} {index}: {slope} {difference}");
            }
        }
    }
}
