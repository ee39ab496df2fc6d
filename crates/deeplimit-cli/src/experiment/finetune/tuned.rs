//! The network as it was, as flows, and fine-tuned.

use super::Finetune;
use super::entrants::{Entrant, told};
use super::rows::{Kind, Row};
use crate::imported;
use crate::metrics::{again, worst};
use anyhow::{Context, Result};
use deeplimit::control::ProlongBy;
use deeplimit_nn::network::Score;
use deeplimit_nn::pretrained::Stages;
use deeplimit_nn::train::{Schedule, StepReport, TrainError, Trainer};
use std::time::Instant;

/// What a training was like, step by step.
pub struct Course {
    steps: Vec<StepReport>,
    seconds: f64,
    diverged_at: Option<usize>,
}

/// A number, none where it is not finite.
pub fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len() as f64;
    finite(values.sum::<f64>() / count)
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().and_then(finite)
}

/// Per cent of hits.
pub fn percent(score: &Score) -> Option<f64> {
    finite(100.0 * score.hits as f64 / score.samples as f64)
}

impl Course {
    /// So many steps, or those before the loss leaves the numbers.
    pub fn of(trainer: &mut Trainer, steps: usize) -> Result<Self> {
        let began = Instant::now();
        let mut course = Self { steps: Vec::new(), seconds: 0.0, diverged_at: None };
        while course.steps.len() < steps {
            match trainer.step() {
                Ok(step) => course.steps.push(step),
                Err(TrainError::Diverged { step, .. }) => {
                    course.diverged_at = Some(step);
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        course.seconds = began.elapsed().as_secs_f64();
        Ok(course)
    }

    /// A row for every step, and last one for the whole, like `row`.
    pub fn rows(&self, kind_of_step: Kind, row: Row) -> Vec<Row> {
        let estimate = |step: &StepReport| worst(&step.certificates, |c| c.error_estimate());
        let state_error =
            |step: &StepReport| worst(&step.certificates, |c| c.largest_state_error());
        let of_step = |step: &StepReport| Row {
            kind: kind_of_step,
            step: Some(step.step),
            loss: finite(step.score.loss),
            estimate: finite(estimate(step)),
            state_error: finite(state_error(step)),
            again: finite(again(&step.certificates)),
            ..row.clone()
        };
        let mut rows: Vec<Row> = self.steps.iter().map(of_step).collect();
        let tenth = self.steps.len().div_ceil(10);
        let losses = |steps: &[StepReport]| mean(steps.iter().map(|step| step.score.loss));
        rows.push(Row {
            step: Some(self.steps.len()),
            first_loss: losses(&self.steps[..tenth]),
            last_loss: losses(&self.steps[self.steps.len() - tenth..]),
            estimate: median(self.steps.iter().map(estimate)),
            state_error: median(self.steps.iter().map(state_error)),
            again: mean(self.steps.iter().map(|step| again(&step.certificates))),
            seconds: Some(self.seconds),
            diverged_at: self.diverged_at,
            ..row
        });
        rows
    }
}

impl Finetune {
    /// Accuracy as it was, with relu after every sum, and as flows.
    pub(super) fn conversion(&self) -> Result<Vec<Row>> {
        let (_, samples) = imported::part(&self.splits).context("there are held-out images")?;
        let accuracy = |flows: &Stages| -> Result<Option<f64>> {
            let network = self.original.converted(self.splits.train.shape(), flows)?;
            Ok(percent(
                &imported::outputs(&network.evaluator(), samples, &self.splits.normalisation)?.0,
            ))
        };
        Ok(vec![
            Row { accuracy: accuracy(&Stages::none())?, ..self.row(Kind::Original, None)? },
            Row { accuracy: accuracy(&Stages::All)?, ..self.row(Kind::Converted, None)? },
        ])
    }

    /// A fine-tuning of one pass over the training images, and the memory of its gradient.
    pub(super) fn tune(&self, entrant: &Entrant) -> Result<Vec<Row>> {
        let batch = self.sizes.batch;
        let by = ProlongBy::Constant;
        let mut trainer = self.trainer(entrant, None, by, batch, Schedule::Cosine)?;
        let steps = trainer.total_steps();
        let course = Course::of(&mut trainer, steps)?;
        let test = trainer.test()?.context("CIFAR-10 has held-out images")?;
        let row = Row {
            method: entrant.name(),
            statistics: told(entrant.statistics).to_owned(),
            ..self.row(Kind::Tuned, None)?
        };
        let mut rows = course.rows(Kind::Step, row);
        if let Some(whole) = rows.last_mut() {
            let gradient = self.gradient(&trainer, entrant, None, batch)?;
            whole.accuracy = percent(&test);
            whole.peak_bytes = gradient.peak_bytes;
            whole.tape_bytes = gradient.tape_bytes;
            whole.parameter_bytes = gradient.parameter_bytes;
            whole.images = gradient.images;
        }
        Ok(rows)
    }
}
