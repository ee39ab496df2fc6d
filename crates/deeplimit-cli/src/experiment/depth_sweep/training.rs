//! One training of a sweep, epoch by epoch: a killed one goes on with the epoch that it was in.

use crate::experiment::or_infinite;
use anyhow::{Context, Result};
use deeplimit_nn::network::Score;
use deeplimit_nn::train::{TrainError, Trainer, write_whole};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Instant;

/// What is known of a training.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Course {
    /// Whole epochs.
    pub epochs: usize,
    /// Share of the held-out images that are classified wrongly after the last epoch, in per cent.
    pub test_error: f64,
    /// The lowest such share after any epoch.
    pub best_error: f64,
    /// Share of the last epoch's training images that were classified wrongly on the way, in per cent.
    pub train_error: f64,
    /// Their mean loss.
    #[serde(deserialize_with = "or_infinite")]
    pub train_loss: f64,
    /// Median over the last epoch of the gradient's error estimate; 0 for exact methods.
    #[serde(deserialize_with = "or_infinite")]
    pub certificate: f64,
    /// Seconds of all epochs.
    pub seconds: f64,
    /// Whether loss, gradient or outputs left the numbers, with which the training ended.
    pub diverged: bool,
}

impl Default for Course {
    /// Before the first epoch nothing is classified.
    fn default() -> Self {
        Self {
            epochs: 0,
            test_error: 100.0,
            best_error: 100.0,
            train_error: 100.0,
            train_loss: 0.0,
            certificate: 0.0,
            seconds: 0.0,
            diverged: false,
        }
    }
}

impl Course {
    /// Trains to the end, from where a killed training in the same folder stood.
    ///
    /// # Errors
    /// If the folder cannot be read or written, or there are no held-out images.
    pub fn of(trainer: &mut Trainer, folder: &Path) -> Result<Self> {
        let notes = folder.join("epochs.json");
        let mut course = Self::default();
        if folder.join("last.safetensors").is_file() {
            trainer.resume(folder)?;
            course = serde_json::from_slice(&std::fs::read(&notes)?)?;
        }
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        while !trainer.finished() {
            match course.epoch(trainer) {
                Err(TrainError::Diverged { .. } | TrainError::Outputs(_)) => {
                    course.diverged = true;
                    break;
                }
                done => done?,
            }
            // Killed between the two, the epoch is done again, and ends the same.
            write_whole(&notes, &serde_json::to_vec(&course)?)?;
            trainer.save(folder)?;
        }
        Ok(course)
    }

    /// The steps of one epoch, and the test after it.
    fn epoch(&mut self, trainer: &mut Trainer) -> Result<(), TrainError> {
        let began = Instant::now();
        let (mut losses, mut estimates, mut hits) = (Vec::new(), Vec::new(), 0);
        let epoch = loop {
            let step = trainer.step()?;
            losses.push(step.score.loss);
            estimates.push(step.certificates[0].error_estimate());
            hits += step.score.hits;
            if step.epoch_ended {
                break step.epoch;
            }
        };
        let test = trainer.test()?.expect("a sweep has held-out images");
        let samples = losses.len() * trainer.config().train.batch();
        let passed = Score { hits, samples, ..Score::default() };
        estimates.sort_by(f64::total_cmp);
        self.epochs = epoch + 1;
        self.test_error = error(&test);
        self.best_error = self.best_error.min(self.test_error);
        self.train_error = error(&passed);
        self.train_loss = losses.iter().sum::<f64>() / losses.len() as f64;
        self.certificate = estimates[estimates.len() / 2];
        self.seconds += began.elapsed().as_secs_f64();
        Ok(())
    }
}

/// The share that is classified wrongly, in per cent.
pub fn error(score: &Score) -> f64 {
    100.0 * (1.0 - score.hits as f64 / score.samples as f64)
}
