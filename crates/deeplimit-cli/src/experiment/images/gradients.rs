//! One trained network at other depths, as for figure 3c of the paper: function n of N is function ⌊n D/N⌋ of
//! the D trained ones. Of each the gradients of all weights and scales of the residual functions, on one batch of
//! training images; as in the paper's code shifts are left out. There the square of the error is drawn, after 60
//! epochs. Here few epochs have to do, in which the functions learn at a rate times N, an option of that code.

use super::{BACKPROP, Images, METHODS, Part, Row, finite};
use crate::experiment::depth_sweep::paper::{Training, resampled};
use crate::experiment::depth_sweep::training::Course;
use anyhow::{Result, ensure};
use deeplimit::control::Control;
use deeplimit::{Method, Scheme};
use deeplimit_nn::data::batch;
use deeplimit_nn::train::Trainer;
use std::path::Path;

/// Images of the batch, as in the paper.
const IMAGES: usize = 256;

impl Images {
    pub(super) fn gradients(&self, scheme: &Scheme, scratch: &Path) -> Result<Vec<Row>> {
        let samples = &self.splits.train;
        let indices: Vec<u32> = (0..IMAGES.min(samples.len()) as u32).collect();
        let images = batch(samples, &indices, &self.splits.normalisation, None)?;
        let training = |depth| Training {
            options: &self.options,
            seed: self.seed,
            scheme,
            depth,
            method: BACKPROP,
            epochs: self.sizes.epochs[0],
            zero_start: true,
            fast: true,
        };
        let trainer = |depth| Trainer::with_splits(training(depth).config(), self.splits.clone());
        let mut trained = trainer(self.sizes.trained)?;
        let course = Course::of(&mut trained, scratch)?;
        ensure!(!course.diverged, "the loss left the numbers in epoch {}", course.epochs);
        let mut rows = Vec::new();
        for &depth in &self.sizes.resampled {
            let mut other = trainer(depth)?;
            resampled::take(&mut other, trained.network())?;
            let gradient = |name: &str| -> Result<Control<f32>> {
                let method: Method = name.parse()?;
                Ok(other.network().flow_gradients(&images, &method).swap_remove(0))
            };
            let exact = gradient(BACKPROP)?;
            for method in METHODS {
                let found = gradient(method)?;
                let row = |(parameter, errors)| {
                    let [quarter, value, three_quarters] = quartiles(errors).map(finite);
                    let row = Row::new(Part::Gradients, scheme, depth, method);
                    Row { parameter, value, quarter, three_quarters, ..row }
                };
                rows.extend(by_parameter(&found, &exact).into_iter().map(row));
            }
        }
        Ok(rows)
    }
}

/// Relative errors of the single parameters: of all, and kind by kind.
fn by_parameter(found: &Control<f32>, exact: &Control<f32>) -> Vec<(String, Vec<f64>)> {
    let mut kinds = vec![(String::new(), Vec::new())];
    for (index, kind) in exact.kinds().iter().enumerate() {
        // A shift of a normalisation.
        if kind.name.starts_with("be") {
            continue;
        }
        let error = |node: usize| {
            let pairs = found.at(index, node).iter().zip(exact.at(index, node));
            let [difference, size] = pairs.fold([0.0; 2], |[difference, size], (a, b)| {
                let (a, b) = (f64::from(*a), f64::from(*b));
                [difference + (a - b).powi(2), size + b * b]
            });
            // A function that is not in the flow, or has no gradient at all, has no relative error; that of a
            // gradient that is no number is as large as can be.
            let error = (difference / size).sqrt();
            let none = size == 0.0 && difference == 0.0;
            (!none).then_some(if error.is_nan() { f64::INFINITY } else { error })
        };
        let errors: Vec<f64> = (0..exact.nodes()).filter_map(error).collect();
        kinds[0].1.extend(&errors);
        kinds.push((kind.name.to_owned(), errors));
    }
    kinds
}

/// The quarter, the middle and three quarters of them.
fn quartiles(mut errors: Vec<f64>) -> [f64; 3] {
    errors.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| match errors.len() {
        0 => f64::NAN,
        count => errors[quarter * (count - 1) / 4],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use deeplimit::control::Kind;

    #[test]
    fn errors_are_of_single_parameters_and_leave_shifts_out() {
        let kind = |name| Kind { name, shape: vec![2], fan_in: 1 };
        let kinds = vec![kind("w1"), kind("be1")];
        let control = |values: [f32; 4]| {
            Control::new(kinds.clone(), 2, vec![values.to_vec(), vec![values[0]; 4]])
        };
        let found = by_parameter(&control([3.0, 4.0, 0.0, 6.0]), &control([3.0, 4.0, 0.0, 4.0]));
        let expected = vec![0.0, 0.5];
        assert_eq!(found, [(String::new(), expected.clone()), ("w1".to_owned(), expected)]);
    }

    #[test]
    fn quartiles_are_of_sorted_numbers() {
        assert_eq!(quartiles(vec![5.0, 1.0, 3.0, 2.0, 4.0]), [2.0, 3.0, 4.0]);
        assert!(quartiles(Vec::new())[1].is_nan());
    }
}
