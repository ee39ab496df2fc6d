//! Numbers that are none, such as NaN, where weights and outputs should be.

use super::weights::RUNNING_VARIANCE;
use deeplimit::Rows;

/// A weight that no trained network has.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "tensor {name:?} holds {found} at {place:?} ({count} such among its {numbers} numbers), expected {expected}; \
     take weights from before this happened"
)]
#[non_exhaustive]
pub struct BadWeight {
    /// The tensor's name.
    pub name: String,
    /// The first such number.
    pub found: f32,
    /// Its indices, outermost first.
    pub place: Vec<usize>,
    /// How many of the tensor's numbers are no weights.
    pub count: usize,
    /// Of how many.
    pub numbers: usize,
    /// What was expected.
    pub expected: &'static str,
}

impl BadWeight {
    /// Checks the numbers of a tensor: finite, and of a running variance not negative.
    ///
    /// # Errors
    /// The first number that is not.
    pub(crate) fn check(name: &str, shape: &[usize], values: &[f32]) -> Result<(), Self> {
        let variance = name.rsplit('.').next().is_some_and(|end| RUNNING_VARIANCE.contains(&end));
        let bad = |value: &f32| !value.is_finite() || (variance && *value < 0.0);
        let Some(first) = values.iter().position(bad) else { return Ok(()) };
        let (mut place, mut rest) = (Vec::new(), first);
        for extent in shape.iter().rev() {
            place.insert(0, rest % extent);
            rest /= extent;
        }
        Err(Self {
            name: name.to_owned(),
            found: values[first],
            place,
            count: values.iter().filter(|value| bad(value)).count(),
            numbers: values.len(),
            expected: if variance { "finite numbers from 0 on" } else { "finite numbers" },
        })
    }
}

/// Outputs that are no numbers, of which there is no loss and no accuracy.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "an output is {found}, as are {count} of {outputs} outputs of these samples: there is no loss and no accuracy; \
     check the weights and how the inputs are normalised"
)]
#[non_exhaustive]
pub struct BadOutput {
    /// The first such output.
    pub found: f32,
    /// How many of them are not finite.
    pub count: usize,
    /// Of how many.
    pub outputs: usize,
}

impl BadOutput {
    /// Checks that outputs are finite.
    ///
    /// # Errors
    /// The first that is not.
    pub(super) fn check(outputs: &Rows<f32>) -> Result<(), Self> {
        let all = outputs.columns();
        let bad = |value: &&f32| !value.is_finite();
        let Some(found) = all.iter().find(bad) else { return Ok(()) };
        Err(Self { found: *found, count: all.iter().filter(bad).count(), outputs: all.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_that_is_no_weight_is_named_with_its_place() {
        let mut values = vec![1.0; 2 * 3 * 4];
        assert_eq!(BadWeight::check("a.weight", &[2, 3, 4], &values), Ok(()));
        values[4 + 2] = -1.0;
        assert_eq!(BadWeight::check("a.weight", &[2, 3, 4], &values), Ok(()));
        for name in ["layer1.0.bn1.running_var", "stages.0.running_variance"] {
            let error = BadWeight::check(name, &[2, 3, 4], &values).expect_err("negative");
            let text = error.to_string();
            assert!(text.contains(name) && text.contains("-1 at [0, 1, 2] (1 such"), "{text}");
        }
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            values[12 + 3] = bad;
            values[12 + 8 + 3] = bad;
            let error = BadWeight::check("a.weight", &[2, 3, 4], &values).expect_err("not finite");
            assert_eq!((error.place, error.count, error.numbers), (vec![1, 0, 3], 2, 24));
        }
        assert_eq!(BadWeight::check("empty", &[0, 3], &[]), Ok(()));
    }

    #[test]
    fn outputs_that_are_not_finite_are_counted() {
        let outputs = Rows::new(2, 3, &[1.0, f32::NEG_INFINITY, 0.0, 0.0, f32::NAN, 2.0]);
        let error = BadOutput::check(&outputs).expect_err("not finite");
        assert_eq!((error.count, error.outputs), (2, 6));
        assert_eq!(BadOutput::check(&Rows::new(1, 2, &[1.0, -1e38])), Ok(()));
    }
}
