//! A run is taken up again: at its last checkpoint, on the data that it had, for as many epochs as its
//! configuration says now.
//!
//! The schedule of learning rates depends on the number of all steps and on the step alone. With another
//! number of epochs a run goes on with the rates that a run of that many epochs has from this step on.

use super::checkpoint::{optimiser_path, schema};
use super::config::out_of_range;
use super::{CheckpointError, Config, Position, TrainError, Trainer, read_weights};
use crate::data::{DataChanged, Identity, Part, digests};
use crate::network::WeightsFile;
use burn::tensor::Bytes;
use std::fmt;
use std::fs;
use std::path::Path;
use toml::Value;

/// The entry of a weights file with the digests of its run's data.
const DIGESTS: &str = "digests";

/// What becomes of a run whose data have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangedData {
    /// It does not go on.
    Refuse,
    /// It goes on with them, normalised as its own data were.
    Accept,
}

/// What was found when a run was taken up again.
#[derive(Clone, Debug, PartialEq)]
pub struct Resumed {
    /// How the data differ from those that the run had, where that was accepted.
    pub changed: Option<DataChanged>,
    /// Whether the run has kept what its data were: runs of earlier versions have not.
    pub known: bool,
    /// Where the number of epochs is another now: the one before, and the learning rates of the next step
    /// before and now.
    pub epochs: Option<(usize, [f64; 2])>,
}

/// A setting in which a configuration and the one that weights were trained with differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The setting.
    pub key: String,
    /// Its value in the configuration.
    pub here: String,
    /// Its value in training.
    pub trained: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, here, trained } = self;
        write!(f, "{key} is {here}, but the weights were trained with {trained}")
    }
}

impl Config {
    /// The first setting that is another one than in training. Where the data lie and the number of epochs
    /// are no part of that: they may change in the life of a run.
    pub fn difference(&self, trained: &Self) -> Option<Difference> {
        let mut trained = trained.clone();
        trained.data.path.clone_from(&self.data.path);
        trained.data.folder.clone_from(&self.data.folder);
        trained.train.epochs = self.train.epochs;
        if trained == *self {
            return None;
        }
        let [here, trained] = [self, &trained]
            .map(|config| Value::try_from(config).expect("a configuration is plain data"));
        first_difference(String::new(), Some(&here), Some(&trained))
    }
}

fn first_difference(
    key: String,
    here: Option<&Value>,
    trained: Option<&Value>,
) -> Option<Difference> {
    let below = |name: &str| match key.is_empty() {
        true => name.to_owned(),
        false => format!("{key}.{name}"),
    };
    match (here, trained) {
        (here, trained) if here == trained => None,
        (Some(Value::Table(here)), Some(Value::Table(trained))) => {
            let mut names = here.keys().chain(trained.keys());
            names.find_map(|name| first_difference(below(name), here.get(name), trained.get(name)))
        }
        (Some(Value::Array(here)), Some(Value::Array(trained))) if here.len() == trained.len() => {
            let mut pairs = here.iter().zip(trained).enumerate();
            pairs.find_map(|(index, (here, trained))| {
                first_difference(below(&index.to_string()), Some(here), Some(trained))
            })
        }
        (here, trained) => {
            let told =
                |value: Option<&Value>| value.map_or("not given".to_owned(), Value::to_string);
            Some(Difference { key, here: told(here), trained: told(trained) })
        }
    }
}

impl Trainer {
    /// Takes up training at the checkpoint in a folder, on the same data.
    ///
    /// # Errors
    /// If the checkpoint is not whole, does not fit the configuration, or was trained on other data.
    pub fn resume(&mut self, folder: &Path) -> Result<Resumed, TrainError> {
        self.resume_on(folder, ChangedData::Refuse)
    }

    /// As [`resume`](Self::resume), where the data may be others than the run had.
    ///
    /// # Errors
    /// If the checkpoint is not whole or does not fit the configuration, or the data have changed and that
    /// is refused.
    pub fn resume_on(
        &mut self,
        folder: &Path,
        changed_data: ChangedData,
    ) -> Result<Resumed, TrainError> {
        let path = folder.join("last.safetensors");
        let (file, config, mut position) = read_weights(&path)?;
        if let Some(difference) = self.config.difference(&config) {
            return Err(CheckpointError::OtherConfig { path, difference }.into());
        }
        let identity = identity(&file, &path)?;
        let known = identity.is_some();
        let parts = Part::ALL.map(|part| (part, part.of(&self.splits)));
        let checked = identity.map_or(Ok(()), |had| had.check(&self.splits.schema(), parts));
        let changed = match (checked, changed_data) {
            (Ok(()), _) => None,
            (Err(changed), ChangedData::Refuse) => return Err(changed.into()),
            (Err(changed), ChangedData::Accept) => Some(changed),
        };
        if changed.is_some() {
            self.normalise_as(&file, &path)?;
        }
        self.load_weights(&path, &file, &position)?;
        let path = optimiser_path(folder, position.step);
        let bytes =
            fs::read(&path).map_err(|source| CheckpointError::Io { path: path.clone(), source })?;
        let optimiser = self.config.train.optimiser();
        self.optimiser = optimiser.from_bytes(Bytes::from_bytes_vec(bytes)).map_err(|error| {
            CheckpointError::Garbled { path: path.clone(), reason: error.to_string() }
        })?;
        let epochs = self.other_epochs(&config, &mut position)?;
        self.go_to(position);
        self.plan_gradient()?;
        Ok(Resumed { changed, known, epochs })
    }

    /// Notes in the position that the number of epochs is another one now.
    fn other_epochs(
        &self,
        before: &Config,
        position: &mut Position,
    ) -> Result<Option<(usize, [f64; 2])>, TrainError> {
        let (epochs, now) = (before.train.epochs, self.config.train.epochs);
        if epochs == now {
            return Ok(None);
        }
        let step = position.step;
        if step > self.total_steps() {
            let expected = "at least the epochs that are done or begun";
            return Ok(out_of_range("train.epochs", now, expected)?);
        }
        position.changed_epochs.push([step, epochs]);
        let rate = |epochs: usize| {
            let steps = self.steps_per_epoch() * epochs;
            self.config.train.rate_at(step.min(steps.saturating_sub(1)), steps)
        };
        Ok(Some((epochs, [rate(epochs), rate(now)])))
    }

    /// Normalises as the run of a weights file did.
    fn normalise_as(&mut self, file: &WeightsFile, path: &Path) -> Result<(), TrainError> {
        let Some(text) = file.metadata.get("normalisation") else { return Ok(()) };
        let normalisation = serde_json::from_str(text).map_err(|error| {
            CheckpointError::Garbled { path: path.to_owned(), reason: error.to_string() }
        })?;
        self.splits.normalisation = normalisation;
        Ok(self.splits.normalisation.check(&self.splits.train)?)
    }

    /// The entry of a weights file by which the data are known again.
    pub(super) fn digests(&self) -> (String, String) {
        let digests = self.digests.get_or_init(|| digests(&self.splits));
        (DIGESTS.to_owned(), serde_json::to_string(digests).expect("digests are plain data"))
    }
}

/// What the data of a weights file's run were; `None` in files of earlier versions, and in those that no
/// run has written.
///
/// # Errors
/// If the entry is garbled.
pub fn identity(file: &WeightsFile, path: &Path) -> Result<Option<Identity>, CheckpointError> {
    let read = |text: &String| {
        serde_json::from_str(text).map_err(|error| CheckpointError::Garbled {
            path: path.to_owned(),
            reason: format!("entry {DIGESTS:?}: {error}"),
        })
    };
    let Some(parts) = file.metadata.get(DIGESTS).map(read).transpose()? else { return Ok(None) };
    let schema = schema(file, path)?.unwrap_or_default();
    Ok(Some(Identity { schema, parts }))
}
