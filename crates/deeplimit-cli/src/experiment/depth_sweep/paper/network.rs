//! The small network of Sander, Ablin, Peyré (2022, section 5), and how it is trained.

use deeplimit::Scheme;
use deeplimit::control::Family;
use deeplimit::kernel::Activation;
use deeplimit_nn::data::{Augment, HeldOut, Normalisation, Normalise, Options, Source};
use deeplimit_nn::network::{
    FieldName, HeadConfig, NetworkConfig, Shortcut, StageConfig, StepSize, TransitionConfig,
};
use deeplimit_nn::train::{Config, GradientConfig, Optimiser, RateGroup, Schedule, TrainConfig};
use std::path::PathBuf;

/// The adjoint method of the paper.
pub const PUBLISHED: &str = "adjoint-published";

/// The paper's method, whose segments are walked again with stored steps where their estimate is above
/// [`TOLERANCE`]: for the depths at which it is lost, as for figure 3b.
pub const WITHIN: &str = "adjoint-published within 0.01";
const TOLERANCE: f64 = 0.01;

/// A training that leaves the residual functions as they start.
pub const FROZEN: &str = "frozen flow";

/// CIFAR-10 as the paper's code normalises it, with so many images at most.
pub fn images(data: PathBuf, train: Option<usize>, test: Option<usize>) -> Options {
    Options {
        source: Source::Cifar10,
        path: Some(data),
        validation: HeldOut::Count(0),
        limit_train: train,
        limit_test: test,
        normalise: Normalise::Given(Normalisation {
            mean: vec![0.4914, 0.4822, 0.4465],
            std: vec![0.2023, 0.1994, 0.2010],
            target: None,
        }),
        ..Options::default()
    }
}

/// One training.
pub struct Training<'a> {
    pub options: &'a Options,
    pub seed: u64,
    pub scheme: &'a Scheme,
    /// Residual functions.
    pub depth: usize,
    /// A gradient method, [`WITHIN`] or [`FROZEN`].
    pub method: &'a str,
    pub epochs: usize,
    /// Whether the residual functions start at 0, as in the paper's code.
    pub zero_start: bool,
    /// Whether the residual functions learn at a rate times their number: an option of the paper's code.
    pub fast: bool,
}

impl Training<'_> {
    pub fn config(&self) -> Config {
        let heun = *self.scheme == Scheme::HEUN;
        let stage = StageConfig {
            field: FieldName::named("conv-bn").expect("a field of the registry"),
            activation: Some(Activation::Relu),
            depth: if heun { self.depth - 1 } else { self.depth },
            scheme: self.scheme.name().to_owned(),
            step_size: if heun { StepSize::Functions } else { StepSize::Steps },
            init: Family::Independent,
            zero_start: self.zero_start,
            transition: TransitionConfig::Stem {
                channels: 16,
                kernel: 5,
                stride: 3,
                padding: 1,
                relu: true,
                pool: false,
                widen: None,
                hidden: None,
                bottleneck: true,
                preactivation: false,
                shortcut: Shortcut::Project,
            },
            ..StageConfig::default()
        };
        let functions = |factor| {
            let group = |weights: &str, factor| RateGroup { weights: weights.to_owned(), factor };
            vec![group("stages.0", factor), group("stages.0.transition", 1.0)]
        };
        let (method, tolerance) = match self.method {
            FROZEN => ("backprop", None),
            WITHIN => (PUBLISHED, Some(TOLERANCE)),
            method => (method, None),
        };
        let rates = match self.method {
            FROZEN => functions(0.0),
            _ if self.fast => functions(self.depth as f64),
            _ => Vec::new(),
        };
        Config {
            seed: self.seed,
            data: self.options.clone(),
            augment: Augment { crop: 4, flip: true, ..Augment::default() },
            gradient: GradientConfig {
                method: method.to_owned(),
                tolerance,
                ..GradientConfig::default()
            },
            train: TrainConfig {
                epochs: self.epochs,
                batch: Some(256),
                optimiser: Optimiser::Sgd,
                rate: 0.1,
                schedule: Schedule::Step,
                momentum: Some(0.9),
                weight_decay: 5e-4,
                rates,
                ..TrainConfig::default()
            },
            network: NetworkConfig {
                stage: vec![stage],
                head: HeadConfig { pool: true, window: Some(4), ..HeadConfig::default() },
            },
            ..Config::default()
        }
    }
}
