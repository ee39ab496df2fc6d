//! Losses: mean cross-entropy of classes, mean squared error of numbers.

use super::Score;
use crate::data::BatchTargets;
use deeplimit::Rows;
use std::ops::Range;

/// Loss and hits of some samples of a batch, and the cotangent of their outputs for the mean loss
/// over the whole batch.
pub(super) fn loss(
    outputs: &Rows<f32>,
    targets: &BatchTargets,
    samples: Range<usize>,
) -> (Score, Rows<f32>) {
    let mut score = Score { samples: samples.len(), ..Score::default() };
    let mut bar = Rows::zeros(outputs.rows(), outputs.width());
    let rows = outputs.rows();
    let mut put = |row: usize, column: usize, value: f64| {
        bar.columns_mut()[column * rows + row] = value as f32;
    };
    let mut sum = 0.0;
    match targets {
        BatchTargets::Labels(labels) => {
            let share = 1.0 / labels.len() as f64;
            for (row, label) in labels[samples].iter().enumerate() {
                let (logits, label) = (outputs.row(row), *label as usize);
                let best = largest(&logits);
                let top = f64::from(logits[best]);
                let powers: Vec<f64> = logits.iter().map(|z| (f64::from(*z) - top).exp()).collect();
                let total: f64 = powers.iter().sum();
                sum += total.ln() - (f64::from(logits[label]) - top);
                score.hits += usize::from(best == label);
                for (column, power) in powers.iter().enumerate() {
                    let hit = f64::from(u8::from(column == label));
                    put(row, column, share * (power / total - hit));
                }
            }
        }
        BatchTargets::Values(values) => {
            let share = 1.0 / values.len() as f64;
            for (row, value) in values[samples].iter().enumerate() {
                let error = f64::from(outputs.at(row, 0)) - f64::from(*value);
                sum += error * error;
                put(row, 0, 2.0 * share * error);
            }
        }
    }
    score.loss = sum / score.samples as f64;
    (score, bar)
}

/// Index of the largest number; the first of equals.
pub(super) fn largest(row: &[f32]) -> usize {
    let better = |best: usize, index: usize| if row[index] > row[best] { index } else { best };
    (0..row.len()).fold(0, better)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cotangents_are_the_slopes_of_the_mean_loss_of_the_batch() {
        let cases = [
            (3, BatchTargets::Labels(vec![2, 0, 1, 1, 2])),
            (1, BatchTargets::Values(vec![0.5, -1.0, 2.0, 0.0, 1.0])),
        ];
        for (width, targets) in cases {
            let outputs = Rows::from_fn(5, width, |row, column| ((row * 3 + column) as f32).sin());
            let (_, bar) = loss(&outputs, &targets, 0..5);
            let (_, part) = loss(&deeplimit::State::slice(&outputs, 2, 2), &targets, 2..4);
            assert_eq!(part, deeplimit::State::slice(&bar, 2, 2));
            for entry in 0..outputs.columns().len() {
                let at = |step: f32| {
                    let mut moved = outputs.clone();
                    moved.columns_mut()[entry] += step;
                    loss(&moved, &targets, 0..5).0.loss
                };
                let difference = (at(5e-3) - at(-5e-3)) / 1e-2;
                // The step is rounded to single precision, and its square is 2.5e-5.
                assert!((difference - f64::from(bar.columns()[entry])).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn the_first_of_equal_outputs_is_the_class() {
        let outputs = Rows::new(2, 3, &[1.0, 1.0, 0.0, 0.0, 2.0, 2.0]);
        let (score, _) = loss(&outputs, &BatchTargets::Labels(vec![0, 2]), 0..2);
        assert_eq!((score.hits, score.samples), (1, 2));
    }
}
