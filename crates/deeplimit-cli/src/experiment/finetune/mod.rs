//! A pretrained residual network as flows, fine-tuned by every gradient method, and made deeper: table 2 of
//! Sander, Ablin, Peyré (2022) with a network that fits two cores.
//!
//! ```text
//! x ← relu(x + F(x))            a block of He, Zhang, Ren, Sun (2015)
//! x ← x + h f(relu(x)),  h f = F    the step of the flow that has its weights (`pretrained::convert`)
//! ```
//!
//! Conversion changes the function. Fine-tuning repairs it, with the gradient of one method after the
//! other; each stage's weights are then carried as functions of depth to flows of more steps, where memory
//! and the state error of the adjoints are measured for one batch, and where the network is trained for a
//! few steps. Last, the flows are trained on other images with a new head, beside flows from random weights.

mod deeper;
mod entrants;
mod findings;
mod page;
mod rows;
mod tables;
#[cfg(test)]
mod tests;
mod transfer;
mod tuned;

use super::{Experiment, Findings, Size};
use crate::imported;
use crate::page::Text;
use anyhow::{Context, Result, ensure};
use deeplimit::control::ProlongBy;
use deeplimit_nn::data::{HeldOut, Normalise, Options, Shape, Source, Splits, load};
use deeplimit_nn::network::WeightsFile;
use deeplimit_nn::pretrained::{Pretrained, Stages};
use deeplimit_nn::train::{Config, Initial, Optimiser, Schedule, TrainConfig, Trainer};
use entrants::Entrant;
use rows::{Kind, Row};
use serde::Serialize;
use std::path::{Path, PathBuf};
use transfer::{Start, Transfer};

/// Learning rate, of Adam without weight decay.
const RATE: f64 = 3e-4;

/// Tolerance of the adjoint that keeps its gradient within one.
const TOLERANCE: f64 = 1e-3;

/// Outputs and images of the networks that are taken.
const CLASSES: usize = 10;
const IMAGE: (usize, usize, usize) = (3, 32, 32);

/// A pretrained network, and what it is fine-tuned on.
pub struct Finetune {
    original: Pretrained,
    /// Its flows.
    flows: WeightsFile,
    /// Name of its file.
    name: String,
    options: Options,
    splits: Splits,
    transfer: Option<Transfer>,
    sizes: Sizes,
    size: Size,
    seed: u64,
}

/// How much is measured.
#[derive(Clone, Serialize)]
struct Sizes {
    /// Samples a step of fine-tuning.
    batch: usize,
    /// Steps of every flow, from few to many, at which one gradient is measured.
    depths: Vec<usize>,
    /// Images of that gradient; and of a second one twice as many.
    gradient_images: usize,
    /// The first of `depths`, so many, at which the accuracy is measured.
    evaluated_depths: usize,
    /// Batches of 256 held-out images for that.
    evaluated_batches: usize,
    /// Steps of every flow of the network that is trained at greater depth.
    deep: usize,
    deep_batch: usize,
    deep_steps: usize,
}

impl Sizes {
    fn of(size: Size) -> Self {
        Self {
            batch: size.pick(32, 128),
            depths: size.pick(vec![32, 256], vec![32, 128, 256]),
            gradient_images: size.pick(2, 8),
            evaluated_depths: size.pick(1, 3),
            evaluated_batches: size.pick(1, 2),
            deep: size.pick(32, 256),
            deep_batch: size.pick(16, 32),
            deep_steps: 16,
        }
    }
}

/// What is measured at once.
pub enum Case {
    /// The network as it was, and as flows.
    Conversion,
    /// A fine-tuning.
    Tuned(Entrant),
    /// One gradient of each method, with flows of so many steps; none stands for their own.
    Gradients(Option<usize>),
    /// The accuracy of flows of so many steps, before any training.
    Carried(usize),
    /// A short training of deep flows.
    Deep(Entrant),
    /// A training on other images.
    Transfer(Start),
}

#[derive(Serialize)]
pub struct Settings {
    weights: String,
    architecture: String,
    training_images: usize,
    held_out_images: usize,
    optimiser: Optimiser,
    rate: f64,
    tolerance: f64,
    #[serde(flatten)]
    sizes: Sizes,
    #[serde(flatten)]
    transfer: Option<transfer::Settings>,
}

impl Finetune {
    /// Reads the network, the images, and those of another set that it is transferred to.
    ///
    /// # Errors
    /// If the file holds no residual network for CIFAR-10, or a folder not its images.
    pub fn new(
        weights: &Path,
        data: &Path,
        transfer: Option<&Path>,
        size: Size,
        seed: u64,
    ) -> Result<Self> {
        let original = imported::read(weights)?;
        let architecture = original.architecture();
        let (channels, height, width) = IMAGE;
        ensure!(
            architecture.classes == CLASSES
                && architecture.input() == Shape::image(channels, height, width),
            "{}: {architecture} takes images of {} and has {} outputs, expected a ResNet for CIFAR-10",
            weights.display(),
            architecture.input(),
            architecture.classes
        );
        let flows =
            original.converted_file(&Stages::All).with_context(|| weights.display().to_string())?;
        let options = Options {
            source: Source::Cifar10,
            path: Some(PathBuf::from(data)),
            validation: HeldOut::Count(0),
            limit_train: Some(size.pick(1_024, 10_000)),
            limit_test: size.pick(Some(1_000), None),
            normalise: Normalise::Given(original.inputs().normalisation()),
            seed,
            ..Options::default()
        };
        let splits = load(&options)?;
        let name = weights.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let transfer = transfer.map(|folder| Transfer::read(folder, &original, size, seed));
        let (transfer, sizes) = (transfer.transpose()?, Sizes::of(size));
        Ok(Self { original, flows, name, options, splits, transfer, sizes, size, seed })
    }

    /// Steps of each flow: so many, or their own.
    fn depths(&self, steps: Option<usize>) -> Result<Vec<usize>> {
        let network = self.original.architecture().flows(&Stages::All)?;
        Ok(network.stage.iter().map(|stage| steps.unwrap_or(stage.depth)).collect())
    }

    /// One pass over the images, with flows of their own depth.
    fn config(&self, entrant: &Entrant, batch: usize, schedule: Schedule) -> Result<Config> {
        Ok(Config {
            seed: self.seed,
            data: self.options.clone(),
            gradient: entrant.gradient(),
            train: TrainConfig {
                epochs: 1,
                batch: Some(batch),
                optimiser: Optimiser::Adam,
                rate: RATE,
                schedule,
                weight_decay: 0.0,
                statistics: entrant.statistics,
                ..TrainConfig::default()
            },
            network: self.original.architecture().flows(&Stages::All)?,
            ..Config::default()
        })
    }

    /// The flows with these weights, of so many steps or their own, about to be trained.
    fn trainer(
        &self,
        entrant: &Entrant,
        steps: Option<usize>,
        by: ProlongBy,
        batch: usize,
        schedule: Schedule,
    ) -> Result<Trainer> {
        let own = self.config(entrant, batch, schedule)?;
        let config = own.at_depths(&self.depths(steps)?);
        let mut trainer = Trainer::with_splits(config, self.splits.clone())?;
        trainer.initialise(&self.flows, &own, Initial { by, new_head: false })?;
        Ok(trainer)
    }

    /// What all rows of a network say.
    fn row(&self, kind: Kind, steps: Option<usize>) -> Result<Row> {
        let depths = self.depths(steps)?;
        let blocks = depths.iter().sum();
        let depths = depths.iter().map(usize::to_string).collect::<Vec<_>>().join(" + ");
        Ok(Row { kind, depths, blocks, ..Row::default() })
    }
}

impl Experiment for Finetune {
    type Case = Case;
    type Row = Row;
    type Settings = Settings;

    const NAME: &'static str = "finetune";

    fn title(&self) -> (Text, Text) {
        let about = format!(
            "{} becomes flows, x ← x + h f(relu(x)), and is fine-tuned on {} images of CIFAR-10 by every \
             gradient method; its weights are then carried to flows of up to {} steps each. Which methods \
             restore the network, in what memory, and from which depth on do adjoints recover the states?",
            self.original.architecture(),
            self.splits.train.len(),
            self.sizes.depths.last().unwrap_or(&0),
        );
        ("A pretrained network as flows".into(), about.into())
    }

    fn settings(&self) -> Settings {
        Settings {
            weights: self.name.clone(),
            architecture: self.original.architecture().to_string(),
            training_images: self.splits.train.len(),
            held_out_images: self.splits.test.as_ref().map_or(0, |test| test.len()),
            optimiser: Optimiser::Adam,
            rate: RATE,
            tolerance: TOLERANCE,
            sizes: self.sizes.clone(),
            transfer: self.transfer.as_ref().map(Transfer::settings),
        }
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = vec![Case::Conversion];
        cases.extend(Entrant::tuned().into_iter().map(Case::Tuned));
        cases.push(Case::Gradients(None));
        cases.extend(self.sizes.depths.iter().map(|depth| Case::Gradients(Some(*depth))));
        let evaluated = &self.sizes.depths[..self.sizes.evaluated_depths];
        cases.extend(evaluated.iter().copied().map(Case::Carried));
        cases.extend(Entrant::deep().into_iter().map(Case::Deep));
        if self.transfer.is_some() {
            cases.extend(Start::ALL.map(Case::Transfer));
        }
        cases
    }

    fn key(&self, case: &Case) -> String {
        match case {
            Case::Conversion => "conversion".into(),
            Case::Tuned(entrant) => format!("fine-tuned by {entrant}"),
            Case::Gradients(None) => "gradients at the network's own depth".into(),
            Case::Gradients(Some(depth)) => format!("gradients at depth {depth}"),
            Case::Carried(depth) => format!("carried to depth {depth}"),
            Case::Deep(entrant) => format!("depth {} trained by {entrant}", self.sizes.deep),
            Case::Transfer(start) => format!("transferred from {} weights", start.name()),
        }
    }

    fn measure(&self, case: &Case, _scratch: &Path) -> Result<Vec<Row>> {
        match case {
            Case::Conversion => self.conversion(),
            Case::Tuned(entrant) => self.tune(entrant),
            Case::Gradients(depth) => self.gradients(*depth),
            Case::Carried(depth) => self.carried(*depth),
            Case::Deep(entrant) => self.deep(entrant),
            Case::Transfer(start) => self.transferred(*start),
        }
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        let transferred = self.transfer.is_some();
        let shown = findings::Shown { rows, size: self.size, transferred };
        Ok(Findings { claims: shown.claims(), sections: shown.sections()? })
    }
}
