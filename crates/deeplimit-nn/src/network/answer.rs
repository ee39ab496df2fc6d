//! What the outputs of a network say of one input: the class and how probable each is, or a value.

use super::loss;
use crate::data::TargetScale;

/// What the outputs of a network say.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Of a classification.
    Class {
        /// The most probable class; the first of equals.
        class: usize,
        /// The probability of each class, by the softmax of the outputs.
        probabilities: Vec<f64>,
    },
    /// Of a regression, in the target's units.
    Value(f64),
}

impl Answer {
    /// The class that outputs say, one for each; `None` where one of them is not finite.
    pub fn class(outputs: &[f32]) -> Option<Self> {
        if outputs.iter().any(|output| !output.is_finite()) {
            return None;
        }
        let class = loss::largest(outputs);
        let top = f64::from(outputs[class]);
        let powers: Vec<f64> = outputs.iter().map(|z| (f64::from(*z) - top).exp()).collect();
        let total: f64 = powers.iter().sum();
        let probabilities = powers.into_iter().map(|power| power / total).collect();
        Some(Self::Class { class, probabilities })
    }

    /// The value that an output says; `None` where it is not finite.
    pub fn value(output: f32, scale: Option<&TargetScale>) -> Option<Self> {
        let value = scale.map_or(f64::from(output), |scale| scale.restore(output));
        value.is_finite().then_some(Self::Value(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_the_softmax_whatever_the_size_of_the_outputs() {
        let Some(Answer::Class { class, probabilities }) = Answer::class(&[0.0, 1.0, 3f32.ln()])
        else {
            panic!("finite outputs");
        };
        // e⁰, e¹ and 3 over their sum; the logarithm is rounded to single precision.
        let total = 1.0 + 1f64.exp() + 3.0;
        for (found, power) in probabilities.iter().zip([1.0, 1f64.exp(), 3.0]) {
            assert!((found - power / total).abs() < 1e-7, "{found}");
        }
        assert_eq!(class, 2);
        let Some(Answer::Class { class, probabilities }) = Answer::class(&[3e38, -3e38, 3e38])
        else {
            panic!("finite outputs");
        };
        assert_eq!((class, probabilities), (0, vec![0.5, 0.0, 0.5]));
    }

    #[test]
    fn what_is_not_finite_is_no_answer() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(Answer::class(&[0.0, bad]), None);
            assert_eq!(Answer::value(bad, None), None);
        }
    }

    #[test]
    fn a_value_is_in_the_units_of_the_target() {
        let scale = TargetScale { mean: 100.0, std: 20.0 };
        assert_eq!(Answer::value(-1.5, Some(&scale)), Some(Answer::Value(70.0)));
        assert_eq!(Answer::value(-1.5, None), Some(Answer::Value(-1.5)));
    }
}
