//! CIFAR-10 over depths, schemes and gradient methods: a small convolutional network after that of Sander,
//! Ablin, Peyré (2022, section 5). [`Paper`] trains theirs.
//!
//! Every cell is one training; at its trained weights the gradient of each memory-free method is held
//! against backprop's, layer by layer, on one batch of training images.

mod findings;
pub mod paper;
pub mod training;

pub use paper::{Asked, Paper};

use super::{Experiment, Findings, Size, or_infinite};
use crate::page::Text;
use anyhow::{Result, bail, ensure};
use deeplimit::control::Family;
use deeplimit::gradient::Backprop;
use deeplimit::kernel::Activation;
use deeplimit::{Method, Scheme};
use deeplimit_nn::data::{Augment, HeldOut, Options, Source, Splits, batch};
use deeplimit_nn::network::{FieldName, HeadConfig, NetworkConfig, StageConfig, TransitionConfig};
use deeplimit_nn::train::{Config, GradientConfig, Optimiser, TrainConfig, Trainer};
use findings::Sweep;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use training::Course;

/// Gradient methods that train, the exact one first.
const METHODS: [&str; 4] =
    ["backprop", "adjoint-published", "adjoint-corrected", "adjoint-adaptive"];

/// The sweep.
pub struct DepthSweep {
    splits: Splits,
    options: Options,
    /// All depths of the sweep.
    depths: Vec<usize>,
    /// Depths and methods that are measured now; none stands for all.
    only: (Vec<usize>, Vec<String>),
    epochs: usize,
    seed: u64,
}

/// One training.
pub struct Case {
    scheme: Scheme,
    depth: usize,
    method: &'static str,
}

/// A layer of a trained network, and the gradient error of one method there.
#[derive(Serialize, Deserialize)]
pub struct Row {
    scheme: String,
    depth: usize,
    /// The method that trained.
    method: String,
    epochs: usize,
    /// Share of the held-out images that are classified wrongly, in per cent.
    test_error: f64,
    /// Mean loss of the last epoch.
    #[serde(deserialize_with = "or_infinite")]
    train_loss: f64,
    /// Median over the last epoch of the certificate's estimate; 0 for exact methods.
    #[serde(deserialize_with = "or_infinite")]
    certificate: f64,
    /// Seconds of the training.
    seconds: f64,
    /// The method whose gradient is held against backprop's at the trained weights.
    probe: String,
    /// Relative error over all parameters of the flow.
    #[serde(deserialize_with = "or_infinite")]
    gradient_error: f64,
    /// Control node, from the input on.
    layer: usize,
    /// Relative error over the parameters of this layer.
    #[serde(deserialize_with = "or_infinite")]
    layer_error: f64,
}

#[derive(Serialize)]
pub struct Settings {
    epochs: usize,
    training_images: usize,
    held_out_images: usize,
}

impl DepthSweep {
    /// Reads the images.
    ///
    /// # Errors
    /// If the folder does not hold CIFAR-10, or a depth or a method cannot be.
    pub fn new(
        data: PathBuf,
        size: Size,
        epochs: Option<usize>,
        depths: &[usize],
        methods: &[String],
        seed: u64,
    ) -> Result<Self> {
        ensure!(epochs != Some(0), "--epochs 0 is out of range, expected at least 1");
        let all = size.pick(vec![2, 4, 8], vec![2, 4, 8, 16, 32, 64]);
        if let Some(depth) = depths.iter().find(|depth| !all.contains(depth)) {
            bail!("--depth {depth} is not in the sweep; its depths are {all:?}");
        }
        let known = |name: &String| METHODS.contains(&name.as_str());
        if let Some(name) = methods.iter().find(|name| !known(name)) {
            bail!("--method {name} is not in the sweep; known are {}", METHODS.join(", "));
        }
        let options = Options {
            source: Source::Cifar10,
            path: Some(data),
            validation: HeldOut::Count(0),
            limit_train: size.pick(Some(5_120), None),
            limit_test: size.pick(Some(1_000), None),
            ..Options::default()
        };
        Ok(Self {
            splits: deeplimit_nn::data::load(&options)?,
            options,
            depths: all,
            only: (depths.to_vec(), methods.to_vec()),
            epochs: epochs.unwrap_or(size.pick(2, 5)),
            seed,
        })
    }

    fn config(&self, case: &Case) -> Config {
        let stage = StageConfig {
            field: FieldName::named("conv-bn").expect("a field of the registry"),
            activation: Some(Activation::Relu),
            depth: case.depth,
            scheme: case.scheme.name().to_owned(),
            init: Family::Independent,
            transition: TransitionConfig::Conv { channels: 16, kernel: 5, stride: 3, padding: 0 },
            ..StageConfig::default()
        };
        Config {
            seed: self.seed,
            data: self.options.clone(),
            augment: Augment { crop: 4, flip: true, ..Augment::default() },
            gradient: GradientConfig {
                method: case.method.to_owned(),
                ..GradientConfig::default()
            },
            train: TrainConfig {
                epochs: self.epochs,
                batch: Some(256),
                optimiser: Optimiser::Sgd,
                rate: 0.1,
                momentum: Some(0.9),
                weight_decay: 5e-4,
                ..TrainConfig::default()
            },
            network: NetworkConfig {
                stage: vec![stage],
                head: HeadConfig { pool: true, ..HeadConfig::default() },
            },
            ..Config::default()
        }
    }
}

impl Experiment for DepthSweep {
    type Case = Case;
    type Row = Row;
    type Settings = Settings;

    const NAME: &'static str = "depth-sweep";

    fn title(&self) -> (Text, Text) {
        let about = "A small convolutional network after that of Sander, Ablin, Peyré (2022): a 5×5 stem with \
                     stride 3 to 16 channels of 10×10, one flow through conv – norm – relu – conv – norm \
                     from independent layers, pooled linear outputs; SGD with rate 0.1 (cosine), momentum \
                     0.9, weight decay 5·10⁻⁴, batches of 256, crops and flips. Is a network trained with \
                     memory-free gradients as good as one trained with backprop, and from which depth on?";
        ("CIFAR-10 over depth".into(), about.into())
    }

    fn settings(&self) -> Settings {
        Settings {
            epochs: self.epochs,
            training_images: self.splits.train.len(),
            held_out_images: self.splits.test.as_ref().map_or(0, |test| test.len()),
        }
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for &depth in &self.depths {
            for scheme in [Scheme::EULER, Scheme::HEUN] {
                let case = |method| Case { scheme: scheme.clone(), depth, method };
                cases.extend(METHODS.map(case));
            }
        }
        cases
    }

    fn wanted(&self, case: &Case) -> bool {
        let (depths, methods) = &self.only;
        (depths.is_empty() || depths.contains(&case.depth))
            && (methods.is_empty() || methods.iter().any(|method| method == case.method))
    }

    fn key(&self, case: &Case) -> String {
        format!("{} depth {} {}", case.scheme.name(), case.depth, case.method)
    }

    fn measure(&self, case: &Case, scratch: &Path) -> Result<Vec<Row>> {
        let mut trainer = Trainer::with_splits(self.config(case), self.splits.clone())?;
        let course = Course::of(&mut trainer, scratch)?;
        ensure!(!course.diverged, "the loss left the numbers in epoch {}", course.epochs);
        let row = Row {
            scheme: case.scheme.name().to_owned(),
            depth: case.depth,
            method: case.method.to_owned(),
            epochs: self.epochs,
            test_error: course.test_error,
            train_loss: course.train_loss,
            certificate: course.certificate,
            seconds: course.seconds,
            probe: String::new(),
            gradient_error: 0.0,
            layer: 0,
            layer_error: 0.0,
        };
        self.probe(&trainer, &row)
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        let is_there = |depth: &usize| rows.iter().any(|row| row.depth == *depth);
        let depths: Vec<usize> = self.depths.iter().copied().filter(is_there).collect();
        let table = Sweep { rows, depths: &depths };
        Ok(Findings { claims: table.claims(), sections: table.sections()? })
    }
}

impl DepthSweep {
    /// A row a memory-free method and layer: its gradient's error at the trained weights.
    fn probe(&self, trainer: &Trainer, trained: &Row) -> Result<Vec<Row>> {
        let samples = &self.splits.train;
        let indices: Vec<u32> = (0..256.min(samples.len() as u32)).collect();
        let batch = batch(samples, &indices, &self.splits.normalisation, None)?;
        let network = trainer.network();
        let gradient = |method: &Method| network.flow_gradients(&batch, method).swap_remove(0);
        let exact = gradient(&Method::Backprop(Backprop));
        let mut rows = Vec::new();
        for probe in &METHODS[1..] {
            let found = gradient(&probe.parse()?);
            let gradient_error = found.relative_error(&exact);
            let errors = found.relative_errors(&exact);
            rows.extend(errors.into_iter().enumerate().map(|(layer, layer_error)| Row {
                probe: (*probe).to_owned(),
                gradient_error,
                layer,
                layer_error,
                scheme: trained.scheme.clone(),
                method: trained.method.clone(),
                ..*trained
            }));
        }
        Ok(rows)
    }
}
