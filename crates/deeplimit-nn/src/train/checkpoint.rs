//! Checkpoints: weights, optimiser state and position, so that a run resumes to the bit.
//!
//! The optimiser's state is a file of its own, named after its step and written first; the weights
//! file, which names that step inside, is moved into place last. Whenever a run is killed, the
//! weights file that is there has its optimiser state beside it.

use super::refine::in_order;
use super::{Config, Difference, TrainError, Trainer};
use crate::data::{Options, Schema};
use crate::network::{WeightsError, WeightsFile};
use deeplimit::control::ProlongBy;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where training stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Steps done.
    pub step: usize,
    /// Hits and loss of the best validation so far, of networks of these depths.
    pub best_validation: Option<(usize, f64)>,
    /// Steps of each flow; in files of earlier versions nothing, for those of the configuration.
    #[serde(default)]
    pub depths: Vec<usize>,
    /// Whether weights that began in a basis have values of their own at the nodes (`train.untie`).
    #[serde(default)]
    pub untied: bool,
    /// With `gradient.method = "auto"`: which flows are walked back by checkpoints, once that is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stored: Vec<bool>,
    /// Where the number of epochs was changed: the steps done then, and the number before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed_epochs: Vec<[usize; 2]>,
}

/// Why a checkpoint cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A weights file does not fit.
    #[error("{path}: {source}", path = path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: WeightsError,
    },
    /// Weights were trained with another configuration than that of the run.
    #[error(
        "{path}: {difference}; put it back: in a run only data.path and train.epochs may change",
        path = path.display()
    )]
    OtherConfig {
        /// The weights file.
        path: PathBuf,
        /// A setting that is another one.
        difference: Difference,
    },
    /// An entry in a file is missing or garbled.
    #[error("{path}: {reason}", path = path.display())]
    Garbled {
        /// The file.
        path: PathBuf,
        /// What was found and expected.
        reason: String,
    },
}

/// The extension of a file that is being written.
const PARTIAL: &str = "partial";

/// Writes a file so that it is there whole or not at all: to a temporary file beside it, renamed.
///
/// # Errors
/// If the folder cannot be written to or the disk is full; the temporary file is removed then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    write_whole_by(path, |temporary| fs::write(temporary, bytes))
}

/// Writes a file by `write`, which is given another path, so that it is there whole or not at all.
///
/// # Errors
/// As [`write_whole`], or those of `write`.
pub fn write_whole_by(
    path: &Path,
    write: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<(), CheckpointError> {
    let temporary = path.with_extension(PARTIAL);
    let written = || {
        write(&temporary)?;
        fs::File::options().write(true).open(&temporary)?.sync_all()?;
        fs::rename(&temporary, path)
    };
    written().map_err(|source| {
        // The disk may be full: what was begun is of no use to anyone.
        let _ = fs::remove_file(&temporary);
        CheckpointError::Io { path: path.to_owned(), source }
    })
}

/// Reads a weights file and the configuration inside it.
///
/// # Errors
/// If the file cannot be read, or is not one of a run.
pub fn read_weights(path: &Path) -> Result<(WeightsFile, Config, Position), CheckpointError> {
    let bytes =
        fs::read(path).map_err(|source| CheckpointError::Io { path: path.to_owned(), source })?;
    let file = WeightsFile::from_bytes(&bytes)
        .map_err(|source| CheckpointError::Weights { path: path.to_owned(), source })?;
    let (config, position) = entries(&file, path)?;
    Ok((file, config, position))
}

/// The configuration in a weights file, and where training stood.
///
/// # Errors
/// If they are not there, or garbled.
pub fn entries(file: &WeightsFile, path: &Path) -> Result<(Config, Position), CheckpointError> {
    let entry = |key: &str| {
        file.metadata.get(key).ok_or_else(|| CheckpointError::Garbled {
            path: path.to_owned(),
            reason: format!("no entry {key:?}: not a weights file of deeplimit"),
        })
    };
    let garbled = |reason: String| CheckpointError::Garbled { path: path.to_owned(), reason };
    let config: Config =
        toml::from_str(entry("config")?).map_err(|error| garbled(error.to_string()))?;
    let mut position: Position =
        serde_json::from_str(entry("position")?).map_err(|error| garbled(error.to_string()))?;
    if position.depths.is_empty() {
        position.depths = config.depths_at(0);
    }
    if position.depths.len() != config.network.stage.len() || position.depths.contains(&0) {
        let (depths, stages) = (&position.depths, config.network.stage.len());
        return Err(garbled(format!("depths {depths:?} of {stages} stages")));
    }
    Ok((config, position))
}

/// The entry of a weights file with the [`Schema`] of its run's data.
pub(crate) const SCHEMA: &str = "schema";

/// What a weights file says of its run's data; `None` in files of earlier versions, and in those that no run
/// has written.
///
/// # Errors
/// If the entry is garbled.
pub fn schema(file: &WeightsFile, path: &Path) -> Result<Option<Schema>, CheckpointError> {
    let read = |text: &String| {
        serde_json::from_str(text).map_err(|error| CheckpointError::Garbled {
            path: path.to_owned(),
            reason: format!("entry {SCHEMA:?}: {error}"),
        })
    };
    file.metadata.get(SCHEMA).map(read).transpose()
}

/// The optimiser's state after so many steps.
pub(super) fn optimiser_path(folder: &Path, step: usize) -> PathBuf {
    folder.join(format!("optimiser-{step:08}.bpk"))
}

impl Trainer {
    /// The weights file of the network as it stands.
    fn weights(&self) -> WeightsFile {
        let mut file = WeightsFile::of(&self.network);
        // Where a run began is no part of its weights.
        let data = Options { folder: None, ..self.config.data.clone() };
        let config = Config { data, ..self.config.clone() };
        let config = toml::to_string(&config).expect("a configuration is plain data");
        let position = serde_json::to_string(&self.position).expect("a position is plain data");
        file.metadata.insert("config".to_owned(), config);
        file.metadata.insert("position".to_owned(), position);
        let schema = serde_json::to_string(&self.splits.schema());
        file.metadata.insert(SCHEMA.to_owned(), schema.expect("a schema is plain data"));
        let normalisation = serde_json::to_string(&self.splits.normalisation);
        let normalisation = normalisation.expect("a normalisation is plain data");
        file.metadata.insert("normalisation".to_owned(), normalisation);
        file.metadata.extend([self.digests()]);
        file
    }

    /// Writes the weights alone, as `best.safetensors`.
    ///
    /// # Errors
    /// If the folder cannot be written to.
    pub fn save_best(&self, folder: &Path) -> Result<(), TrainError> {
        self.save_weights(&folder.join("best.safetensors"))
    }

    fn save_weights(&self, path: &Path) -> Result<(), TrainError> {
        let file = self.weights();
        Ok(write_whole_by(path, |temporary| file.write_to(temporary))?)
    }

    /// Writes a checkpoint to resume from: `last.safetensors` and the optimiser's state.
    ///
    /// # Errors
    /// If the folder cannot be written to; the checkpoint before is then still whole.
    pub fn save(&self, folder: &Path) -> Result<(), TrainError> {
        let path = optimiser_path(folder, self.position.step);
        write_whole_by(&path, |temporary| self.write_optimiser(temporary))?;
        self.save_weights(&folder.join("last.safetensors"))?;
        self.remove_older(folder, &path);
        Ok(())
    }

    /// Writes what the optimiser remembers.
    fn write_optimiser(&self, path: &Path) -> io::Result<()> {
        let state = self.optimiser.into_bytes().map_err(io::Error::other)?;
        let writer = in_order(state).map_err(io::Error::other)?;
        writer.write_to_file_in_place(path).map_err(io::Error::other)
    }

    /// Optimiser states of earlier steps are of no use any more, nor is what a killed run has begun to
    /// write; one left behind does no harm.
    fn remove_older(&self, folder: &Path, keep: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let optimiser = entry.file_name().to_string_lossy().starts_with("optimiser-");
            let begun = path.extension().is_some_and(|extension| extension == PARTIAL);
            if (optimiser || begun) && path != keep {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Sets where training stands, and the schedule of learning rates there.
    pub(super) fn go_to(&mut self, position: Position) {
        self.schedule = self.scheduled();
        for _ in 0..position.step {
            self.schedule.step();
        }
        self.position = position;
    }

    /// Takes the weights of a file of the same network, whose flows may have had other depths when it was
    /// written.
    ///
    /// # Errors
    /// If a tensor is missing or does not fit.
    pub fn load_weights(
        &mut self,
        path: &Path,
        file: &WeightsFile,
        position: &Position,
    ) -> Result<(), TrainError> {
        let network = self.network.prolonged(&position.depths, ProlongBy::Constant);
        let network = if position.untied { network.untied() } else { network };
        let network = file
            .load_into(network)
            .map_err(|source| CheckpointError::Weights { path: path.to_owned(), source })?;
        self.network = network;
        Ok(())
    }
}
