//! The flows on other images, with a new head, beside flows from random weights.
//!
//! Images of any size are seen as 32×32 pixels in three channels (`data.resize`, `data.channels`), and
//! normalised as the network expects them. Both trainings take the same steps by the same recipe, with
//! statistics of the batch: those of random flows are not known before.

use super::entrants::{Entrant, told};
use super::rows::{Kind, Row};
use super::tuned::{Course, percent};
use super::{Finetune, IMAGE, Size};
use anyhow::{Context, Result, ensure};
use deeplimit::control::ProlongBy;
use deeplimit_nn::data::{HeldOut, Normalise, Options, Splits, load};
use deeplimit_nn::pretrained::Pretrained;
use deeplimit_nn::train::{Config, Initial, Schedule, TrainConfig, Trainer};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Learning rate: random weights need a larger one than fine-tuning.
const RATE: f64 = 1e-3;

/// What weights the flows begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Those of the network.
    Pretrained,
    /// None that were trained.
    Random,
}

impl Start {
    pub const ALL: [Self; 2] = [Self::Pretrained, Self::Random];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pretrained => "pretrained",
            Self::Random => "random",
        }
    }
}

/// The other images.
pub struct Transfer {
    options: Options,
    splits: Splits,
    batch: usize,
}

#[derive(Serialize)]
pub struct Settings {
    transfer_data: String,
    transfer_training_images: usize,
    transfer_held_out_images: usize,
    transfer_batch: usize,
    transfer_rate: f64,
}

impl Transfer {
    /// Reads the images in a folder as a network sees them.
    ///
    /// # Errors
    /// If the folder holds no images of some classes.
    pub fn read(folder: &Path, network: &Pretrained, size: Size, seed: u64) -> Result<Self> {
        let (channels, side, _) = IMAGE;
        let options = Options {
            validation: HeldOut::Count(0),
            resize: Some(side),
            channels: Some(channels),
            limit_train: Some(size.pick(640, 6_400)),
            limit_test: Some(size.pick(500, 2_000)),
            normalise: Normalise::Given(network.inputs().normalisation()),
            seed,
            ..Options::at(folder)?
        };
        let splits = load(&options)?;
        ensure!(
            splits.test.is_some(),
            "{}: no images are held out, expected some to tell accuracies",
            folder.display()
        );
        Ok(Self { options, splits, batch: size.pick(32, 64) })
    }

    pub fn settings(&self) -> Settings {
        Settings {
            transfer_data: self.splits.name.clone(),
            transfer_training_images: self.splits.train.len(),
            transfer_held_out_images: self.splits.test.as_ref().map_or(0, |test| test.len()),
            transfer_batch: self.batch,
            transfer_rate: RATE,
        }
    }
}

impl Finetune {
    /// One pass over the other images.
    pub(super) fn transferred(&self, start: Start) -> Result<Vec<Row>> {
        let transfer = self.transfer.as_ref().context("another set of images")?;
        let entrant = Entrant::CHECKPOINT_BY_BATCH;
        let own = self.config(&entrant, transfer.batch, Schedule::Cosine)?;
        let train = TrainConfig { rate: RATE, ..own.train.clone() };
        let config = Config { data: transfer.options.clone(), train, ..own.clone() };
        let mut trainer = Trainer::with_splits(config, transfer.splits.clone())?;
        if start == Start::Pretrained {
            let how = Initial { by: ProlongBy::Constant, new_head: true };
            trainer.initialise(&self.flows, &own, how)?;
        }
        let steps = trainer.total_steps();
        let course = Course::of(&mut trainer, steps)?;
        let test = trainer.test()?.context("images are held out")?;
        let row = Row {
            method: entrant.name(),
            statistics: told(entrant.statistics).to_owned(),
            start: Some(start),
            ..self.row(Kind::Transfer, None)?
        };
        let mut rows = course.rows(Kind::TransferStep, row);
        if let Some(whole) = rows.last_mut() {
            whole.accuracy = percent(&test);
        }
        Ok(rows)
    }
}
