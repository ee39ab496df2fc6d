//! The same weights as functions of depth, in flows of more steps.

use super::Finetune;
use super::entrants::{Entrant, told};
use super::rows::{Kind, Row};
use super::tuned::{Course, finite, percent};
use crate::memory::peak_on_one_thread;
use crate::metrics::{again, worst};
use anyhow::{Context, Result};
use deeplimit::control::ProlongBy;
use deeplimit_nn::data::batch;
use deeplimit_nn::network::Score;
use deeplimit_nn::train::{Schedule, Trainer};
use std::time::Instant;

/// How weights are carried in what is measured and trained: each block's over its interval.
const BY: ProlongBy = ProlongBy::Constant;

impl Finetune {
    /// The gradient of every method on some images and on twice as many, with flows of so many steps or
    /// their own: the difference is what images take, without what is there for any number of them.
    pub(super) fn gradients(&self, depth: Option<usize>) -> Result<Vec<Row>> {
        let images = self.sizes.gradient_images;
        let mut rows = Vec::new();
        for entrant in Entrant::measured() {
            let trainer = self.trainer(&entrant, depth, BY, images, Schedule::Constant)?;
            let of = |images| self.gradient(&trainer, &entrant, depth, images);
            let (few, many) = (of(images)?, of(2 * images)?);
            let more = many.peak_bytes.zip(few.peak_bytes);
            let image_bytes = more.map(|(many, few)| many.saturating_sub(few) / images);
            rows.push(Row { image_bytes, ..many });
        }
        Ok(rows)
    }

    /// One gradient on the first training images.
    pub(super) fn gradient(
        &self,
        trainer: &Trainer,
        entrant: &Entrant,
        depth: Option<usize>,
        images: usize,
    ) -> Result<Row> {
        let indices: Vec<u32> = (0..images as u32).collect();
        let batch = batch(&self.splits.train, &indices, &self.splits.normalisation, None)?;
        let shallowest = self.depths(depth)?.into_iter().min().unwrap_or(0);
        let method = entrant.for_depth(shallowest)?;
        let network = trainer.network();
        let parameter_bytes = size_of::<f32>() * network.parameters();
        let ((gradient, seconds), peak) = peak_on_one_thread(|| {
            let began = Instant::now();
            let gradient = network.gradient(&batch, &method);
            (gradient, began.elapsed().as_secs_f64())
        })?;
        Ok(Row {
            method: entrant.name(),
            statistics: told(entrant.statistics).to_owned(),
            by: if depth.is_some() { BY.name().to_owned() } else { String::new() },
            loss: finite(gradient.score.loss),
            estimate: finite(worst(&gradient.certificates, |c| c.error_estimate())),
            state_error: finite(worst(&gradient.certificates, |c| c.largest_state_error())),
            again: finite(again(&gradient.certificates)),
            seconds: Some(seconds),
            peak_bytes: Some(peak.saturating_sub(parameter_bytes)),
            tape_bytes: Some(gradient.tape_bytes),
            parameter_bytes: Some(parameter_bytes),
            images: Some(images),
            ..self.row(Kind::Gradient, depth)?
        })
    }

    /// The accuracy before any training, by weights that are constant and linear between blocks.
    pub(super) fn carried(&self, depth: usize) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for by in [ProlongBy::Constant, ProlongBy::Linear] {
            let entrant = Entrant::CHECKPOINT;
            let trainer =
                self.trainer(&entrant, Some(depth), by, self.sizes.batch, Schedule::Constant)?;
            let score = self.held_out(&trainer)?;
            rows.push(Row {
                by: by.name().to_owned(),
                accuracy: score.and_then(|score| percent(&score)),
                loss: score.map(|score| score.loss),
                images: score.map(|score| score.samples),
                ..self.row(Kind::Carried, Some(depth))?
            });
        }
        Ok(rows)
    }

    /// Score on the first held-out images; none where an output is not finite.
    fn held_out(&self, trainer: &Trainer) -> Result<Option<Score>> {
        let test = self.splits.test.as_ref().context("CIFAR-10 has held-out images")?;
        let (evaluator, mut score) = (trainer.network().evaluator(), Score::default());
        for batch in trainer.batches(test).take(self.sizes.evaluated_batches) {
            let batch = batch?;
            let Ok(part) = evaluator.reach(&batch).score(&batch) else { return Ok(None) };
            score.add(&part);
        }
        Ok(Some(score))
    }

    /// A few steps of training with deep flows, and their score afterwards.
    pub(super) fn deep(&self, entrant: &Entrant) -> Result<Vec<Row>> {
        let (depth, batch) = (Some(self.sizes.deep), self.sizes.deep_batch);
        let mut trainer = self.trainer(entrant, depth, BY, batch, Schedule::Constant)?;
        let course = Course::of(&mut trainer, self.sizes.deep_steps)?;
        let score = self.held_out(&trainer)?;
        let row = Row {
            method: entrant.name(),
            statistics: told(entrant.statistics).to_owned(),
            by: BY.name().to_owned(),
            ..self.row(Kind::Deep, depth)?
        };
        let mut rows = course.rows(Kind::DeepStep, row);
        if let Some(whole) = rows.last_mut() {
            whole.accuracy = score.and_then(|score| percent(&score));
            whole.loss = score.and_then(|score| finite(score.loss));
            whole.images = score.map(|score| score.samples);
        }
        Ok(rows)
    }
}
