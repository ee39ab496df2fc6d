//! Trained weights that a command is pointed at.

use crate::config;
use anyhow::{Context, Result};
use deeplimit_nn::data::{Batch, DataError, Normalisation, Normalise, Splits, batch, epoch_order};
use deeplimit_nn::network::WeightsFile;
use deeplimit_nn::train::{Config, Position, Trainer, read_weights};
use std::path::{Path, PathBuf};

/// A weights file, read.
pub struct Trained {
    /// Where it lies.
    pub path: PathBuf,
    /// What is in it.
    pub file: WeightsFile,
    /// The configuration of its run, pointed at the data set, with flows as deep as they were then.
    pub config: Config,
    /// Where training stood.
    pub position: Position,
}

impl Trained {
    /// The weights of a run folder, by name or the best there are, or a weights file; the data set
    /// where one is given, else where it was.
    pub fn read(run: &Path, weights: Option<&str>, data: Option<&Path>) -> Result<Self> {
        let path = match run.is_dir() {
            true => crate::commands::train::weights_of(run, weights)?,
            false => run.to_owned(),
        };
        let (file, config, position) = read_weights(&path)?;
        let mut config = config::with_data(config.standing(&position), data, true)?;
        // Inputs are normalised as they were in training, whatever the data folder holds now.
        if let Some(text) = file.metadata.get("normalisation") {
            let kept: Normalisation =
                serde_json::from_str(text).with_context(|| path.display().to_string())?;
            config.data.normalise = Normalise::Given(kept);
        }
        Ok(Self { path, file, config, position })
    }
}

/// So many training samples, all where there are fewer, in the order of the first epoch, without
/// augmentation.
pub fn training_batch(trainer: &Trainer, samples: usize) -> Result<Batch, DataError> {
    first_samples(trainer.splits(), samples, trainer.config().seed)
}

/// The same of a data set, in the order that a seed gives.
pub fn first_samples(splits: &Splits, samples: usize, seed: u64) -> Result<Batch, DataError> {
    let order = epoch_order(splits.train.len(), seed, 0);
    let samples = samples.min(order.len());
    batch(&splits.train, &order[..samples], &splits.normalisation, None)
}
