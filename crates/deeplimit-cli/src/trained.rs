//! Trained weights that a command is pointed at.

use crate::shell::word;
use crate::{config, imported, run_folder};
use anyhow::{Context, Result, bail};
use deeplimit_nn::data::{
    Batch, DataError, Identity, Normalisation, Normalise, Part, Samples, Schema, Scored, Shape,
    Source, Splits, batch, epoch_order, load, load_by, load_scored, load_scored_by,
};
use deeplimit_nn::network::{Network, Outputs, WeightsFile};
use deeplimit_nn::pretrained::Stages;
use deeplimit_nn::train::{Config, Position, Trainer, entries, identity, read_weights, schema};
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
    /// What the data of its run were; `None` where the file does not say, or other data are asked for.
    pub identity: Option<Identity>,
}

impl Trained {
    /// The weights of a run folder, by name or the best there are, or a weights file; the data set
    /// where one is given, else where it was.
    pub fn read(run: &Path, weights: Option<&str>, data: Option<&Path>) -> Result<Self> {
        let path = path(run, weights)?;
        let (file, mut config, position) = read_any(&path)?;
        if let Some(run) = run_folder::of(&path) {
            let now = run_folder::config(run)?;
            unedited(run, &now, &config)?;
            // Where the data lie is what may have changed since.
            config.data = now.data;
        }
        let own = data.is_none();
        let mut trained = Self::of(path, file, config, position)?;
        trained.config = config::with_data(trained.config, data, true)?;
        trained.identity = trained.identity.filter(|_| own);
        Ok(trained)
    }

    /// The weights to begin another run with, and the configuration that they were trained with, whatever
    /// that of their run says now.
    pub fn weights(run: &Path) -> Result<Self> {
        let path = path(run, None)?;
        let (file, config, position) = read_any(&path)?;
        Self::of(path, file, config, position)
    }

    fn of(path: PathBuf, file: WeightsFile, config: Config, position: Position) -> Result<Self> {
        let identity = identity(&file, &path)?;
        let mut config = config.standing(&position);
        // Inputs are normalised as they were in training, whatever the data folder holds now.
        if let Some(text) = file.metadata.get("normalisation") {
            let kept: Normalisation =
                serde_json::from_str(text).with_context(|| path.display().to_string())?;
            config.data.normalise = Normalise::Given(kept);
        }
        Ok(Self { path, file, config, position, identity })
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

    /// The data set that is named in the place of the run's own, matched to it by the names of classes and columns.
    /// Runs of earlier versions know none: then it is read as it is.
    pub fn other(&self) -> Result<Splits> {
        let data = &self.config.data;
        Ok(match schema(&self.file, &self.path)? {
            Some(schema) => load_by(data, &schema)?,
            None => load(data)?,
        })
    }

    /// What of that the network is scored on: all of a table, unless it is the run's own, which has moved.
    pub fn other_scored(&self) -> Result<Scored> {
        let data = &self.config.data;
        let Some(schema) = schema(&self.file, &self.path)? else { return Ok(load_scored(data)?) };
        // Read as the run reads it, its own table has the run's digests.
        if data.source == Source::Csv
            && let Some(had) = identity(&self.file, &self.path)?
            && let Ok(splits) = load(data)
            && had.check(&splits.schema(), Part::ALL.map(|part| (part, part.of(&splits)))).is_ok()
        {
            crate::say("these are the data of the run: what it was not trained on is evaluated");
            return Ok(load_scored(data)?);
        }
        let scored = load_scored_by(data, &schema)?;
        scored.told.iter().for_each(|line| crate::say(line));
        Ok(scored)
    }

    /// The network, for inputs of a shape.
    pub fn network(&self, shape: Shape, outputs: Outputs) -> Result<Network> {
        let place = || self.path.display().to_string();
        let plan = self.config.network.check(shape, outputs).with_context(place)?;
        self.file.load_into(Network::new(&plan, self.config.seed)).with_context(place)
    }
}

/// A weights file; of a network that was trained elsewhere the one that `deeplimit convert` would write.
fn read_any(path: &Path) -> Result<(WeightsFile, Config, Position)> {
    if !imported::is_here(path) {
        return Ok(read_weights(path)?);
    }
    let network = imported::read(path)?;
    let (name, architecture) = (path.display(), network.architecture());
    crate::say(&format!("{name}: {architecture}, taken as flows, as deeplimit convert makes them"));
    network.assumed().iter().for_each(|assumed| crate::say(&format!("assumed: {assumed}")));
    let file = network.converted_file(&Stages::All).with_context(|| name.to_string())?;
    let (config, position) = entries(&file, path)?;
    Ok((file, config, position))
}

/// The weights file of a run folder, or the file itself.
fn path(run: &Path, weights: Option<&str>) -> Result<PathBuf> {
    match (run.is_dir(), weights) {
        (true, _) => crate::commands::train::weights_of(run, weights),
        (false, None) => Ok(run.to_owned()),
        (false, Some(_)) => {
            bail!("--weights chooses among those of a run folder; leave it out with a weights file")
        }
    }
}

/// An error where the configuration of a run is not the one that its weights were trained with.
pub fn unedited(run: &Path, now: &Config, trained: &Config) -> Result<()> {
    let Some(difference) = now.difference(trained) else { return Ok(()) };
    let file = run.join("config.toml");
    bail!(
        "{}: {difference}; put it back, or begin a new run: deeplimit train {} --init {}",
        file.display(),
        word(&file),
        word(run)
    )
}

/// An error where the data of a run have changed in parts that are used; a note where that is accepted.
pub fn same_data<'s>(
    identity: Option<&Identity>,
    config: &Config,
    schema: &Schema,
    parts: impl IntoIterator<Item = (Part, Option<&'s Samples>)>,
    accept: bool,
) -> Result<()> {
    let Some(Err(changed)) = identity.map(|identity| identity.check(schema, parts)) else {
        return Ok(());
    };
    let place = config.data.place().map_or(String::new(), |place| format!("{}: ", place.display()));
    if !accept {
        bail!("{place}{changed}; put the data back, or insist with --accept-changed-data");
    }
    crate::say(&format!("{place}{changed}; accepted"));
    Ok(())
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
