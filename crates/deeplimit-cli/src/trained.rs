//! Trained weights that a command is pointed at.

use crate::config;
use anyhow::{Context, Result, bail};
use deeplimit_nn::data::{
    Batch, DataError, Normalisation, Normalise, Schema, Shape, Splits, batch, epoch_order,
    load_scored,
};
use deeplimit_nn::network::{Network, Outputs, WeightsFile};
use deeplimit_nn::train::{Config, Position, Trainer, read_weights, schema};
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
        let path = match (run.is_dir(), weights) {
            (true, _) => crate::commands::train::weights_of(run, weights)?,
            (false, None) => run.to_owned(),
            (false, Some(_)) => {
                bail!(
                    "--weights chooses among those of a run folder; leave it out with a weights file"
                )
            }
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

    /// What must be known of the run's data to use its network, and how inputs are normalised. Files of earlier
    /// versions do not hold all of it; then the data set is read.
    pub fn known(&self) -> Result<(Schema, Normalisation)> {
        let kept = schema(&self.file, &self.path)?.filter(|schema| schema.shape.is_some());
        let normalisation = match &self.config.data.normalise {
            Normalise::Given(given) => Some(given.clone()),
            Normalise::Measured | Normalise::Off => None,
        };
        if let (Some(schema), Some(normalisation)) = (kept, normalisation) {
            return Ok((schema, normalisation));
        }
        let scored =
            load_scored(&self.config.data).with_context(|| {
                format!(
                    "{}: was written by an earlier version, and does not say the shape of inputs and the \
                     names of classes, for which the run's data set is needed",
                    self.path.display()
                )
            })?;
        Ok((scored.schema(), scored.normalisation))
    }

    /// The network, for inputs of a shape.
    pub fn network(&self, shape: Shape, outputs: Outputs) -> Result<Network> {
        let place = || self.path.display().to_string();
        let plan = self.config.network.check(shape, outputs).with_context(place)?;
        self.file.load_into(Network::new(&plan, self.config.seed)).with_context(place)
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
