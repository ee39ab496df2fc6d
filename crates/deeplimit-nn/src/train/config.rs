//! The configuration of a run, and its check.

use super::finetune::{NormStatistics, RateGroup};
use super::gradient::GradientConfig;
use super::objective::ObjectiveConfig;
use crate::data::{Augment, Options};
use crate::network::NetworkConfig;
use burn::grad_clipping::GradientClippingConfig;
use burn::lr_scheduler::LrSchedulerConfig;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrSchedulerConfig;
use burn::lr_scheduler::step::StepLrSchedulerConfig;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, ModuleOptimizer, SgdConfig};
use deeplimit::Method;
use deeplimit::control::ProlongBy;
use deeplimit::gradient::TooSmall;
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;

/// Everything that decides a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Decides initial weights, the order of samples and their augmentation.
    pub seed: u64,
    /// The data set.
    pub data: Options,
    /// What is done to training images.
    pub augment: Augment,
    /// How gradients are computed.
    pub gradient: GradientConfig,
    /// What is minimised beside the loss.
    pub objective: ObjectiveConfig,
    /// The optimisation.
    pub train: TrainConfig,
    /// The network.
    pub network: NetworkConfig,
}

impl Config {
    /// The gradient method with its settings.
    pub(super) fn method(&self) -> Result<Method, ConfigError> {
        let depths = self.eras().into_iter().flat_map(|(_, depths)| depths);
        self.gradient.check(depths.min().unwrap_or(0))
    }
}

/// Samples a step where nobody names another number.
const USUAL_BATCH: usize = 128;

/// The optimisation.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `epochs` | 20 | passes over the training samples | ≥ 1 |
/// | `batch` | 128, or all training samples where there are fewer | samples a step | 1 to the training samples |
/// | `optimiser` | `adamw` | update rule | `adamw`, `adam`, `sgd` |
/// | `rate` | 2e-3 | learning rate at the start | 0 < rate ≤ 1 |
/// | `schedule` | `cosine` | learning rate over the steps | `constant`, `cosine`, `step` (÷ 10 at ⅓ and ⅔) |
/// | `momentum` | 0.9 | only for `sgd` | 0 ≤ momentum < 1 |
/// | `weight_decay` | 1e-4 | decoupled for `adamw`, added to the gradient else | ≥ 0 |
/// | `clip` | none | largest norm of one parameter array's gradient | > 0 |
/// | `checkpoint_every` | none | steps between checkpoints; else one an epoch | ≥ 1 |
/// | `refine` | none | pairs of an epoch and the depth of all flows from there on | epochs ascending from 0; the last depth is that of every stage |
/// | `refine_by` | `linear` | how weights get from one depth to the next | see [`ProlongBy`](deeplimit::control::ProlongBy); only with `refine` |
/// | `untie` | none | epoch from which weights in a basis have a value of their own at every node | 1 to `epochs` − 1; some stage with a `control` |
/// | `statistics` | `batch` | what normalisations go by in training | `batch`, `frozen` |
/// | `rates` | none | groups of weights, and their rate over `rate` | see [`RateGroup`] |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Passes over the training samples.
    pub epochs: usize,
    /// Samples a step; without it 128, or all training samples where there are fewer. See
    /// [`batch`](Self::batch).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Update rule.
    pub optimiser: Optimiser,
    /// Learning rate at the start.
    pub rate: f64,
    /// Learning rate over the steps.
    pub schedule: Schedule,
    /// Momentum of `sgd`.
    pub momentum: Option<f64>,
    /// Weight decay.
    pub weight_decay: f64,
    /// Largest norm of one parameter array's gradient.
    pub clip: Option<f64>,
    /// Steps between checkpoints, besides the one at the end of each epoch.
    pub checkpoint_every: Option<NonZeroUsize>,
    /// Pairs of an epoch and the depth that all flows have from there on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refine: Vec<[usize; 2]>,
    /// How weights get from one depth to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refine_by: Option<ProlongBy>,
    /// The epoch from which weights in a basis have a value of their own at every node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untie: Option<usize>,
    /// Where normalisations take mean and variance from.
    pub statistics: NormStatistics,
    /// Weights that learn at rates of their own; of a later group where two hold the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rates: Vec<RateGroup>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 20,
            batch: None,
            optimiser: Optimiser::Adamw,
            rate: 2e-3,
            schedule: Schedule::Cosine,
            momentum: None,
            weight_decay: 1e-4,
            clip: None,
            checkpoint_every: None,
            refine: Vec::new(),
            refine_by: None,
            untie: None,
            statistics: NormStatistics::Batch,
            rates: Vec::new(),
        }
    }
}

/// Update rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimiser {
    /// Adam with decoupled weight decay (Loshchilov, Hutter 2019).
    Adamw,
    /// Adam (Kingma, Ba 2015).
    Adam,
    /// Stochastic gradient descent with momentum.
    Sgd,
}

/// Learning rate over the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// The same throughout.
    Constant,
    /// Half a cosine down to 0 (Loshchilov, Hutter 2017).
    Cosine,
    /// A tenth after one third of the steps, a hundredth after two.
    Step,
}

/// A configuration that cannot run.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number is out of its range.
    #[error("{key} = {found} is out of range, expected {expected}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// The range.
        expected: String,
    },
    /// A key means nothing beside another.
    #[error("{key} means nothing with {beside}; {instead}")]
    Unused {
        /// The key.
        key: &'static str,
        /// The setting beside it.
        beside: String,
        /// What to do.
        instead: &'static str,
    },
    /// The gradient method does not walk a flow's steps back.
    #[error(
        "gradient.method = {method:?} does not go with network.stage.{stage}.scheme = {scheme:?}; \
         {instead}"
    )]
    Misfit {
        /// The method, as it was named.
        method: String,
        /// Index of the stage.
        stage: usize,
        /// Its scheme.
        scheme: String,
        /// What to do.
        instead: String,
    },
    /// The gradient method does not walk relu back.
    #[error(
        "gradient.method = {method:?} does not go with network.stage.{stage}.rectified = true: what relu \
         cuts off cannot be recovered; use checkpoint or backprop"
    )]
    Rectified {
        /// The method, as it was named.
        method: String,
        /// Index of the stage.
        stage: usize,
    },
    /// The gradient method is unknown.
    #[error("gradient.method: {0}")]
    Method(#[from] deeplimit::gradient::UnknownMethod),
    /// A plan without a budget.
    #[error(
        "gradient.method = \"planned\" needs gradient.memory_budget, such as \"256 MiB\"; or name one \
         of {known}"
    )]
    NoBudget {
        /// The methods that need none.
        known: String,
    },
    /// A stage has another depth than the schedule ends at.
    #[error(
        "network.stage.{stage}.depth = {found}, but train.refine ends at depth {end} for every flow; \
         make them the same"
    )]
    EndDepth {
        /// Index of the stage.
        stage: usize,
        /// Its depth.
        found: usize,
        /// The last depth of the schedule.
        end: usize,
    },
    /// Explicit steps along the penalty would grow without bound.
    #[error(
        "objective.depth.step = \"explicit\" is unstable at depth {depth} of network.stage.{stage} from \
         epoch {epoch} on: rate × curvature = {product:.3}, where the limit is {limit:.3}; use step = \
         \"proximal\", or a smaller train.rate or objective.depth.h1"
    )]
    Unstable {
        /// Index of the stage.
        stage: usize,
        /// Its depth.
        depth: usize,
        /// The epoch from which it has that depth.
        epoch: usize,
        /// Learning rate there times the largest eigenvalue of the Hessian of penalty and weight decay.
        product: f64,
        /// 2 (1 + momentum), from which on the steps grow.
        limit: f64,
    },
    /// A group of weights is empty.
    #[error("train.rates: no weights are called {weights:?}; there are {known}")]
    NoSuchWeights {
        /// What was named.
        weights: String,
        /// All names.
        known: String,
    },
    /// No way keeps to the budget.
    #[error("gradient.memory_budget: {0}; a smaller train.batch needs less")]
    Budget(#[from] TooSmall),
}

pub(super) fn out_of_range<T>(
    key: &'static str,
    found: impl ToString,
    expected: impl Into<String>,
) -> Result<T, ConfigError> {
    Err(ConfigError::OutOfRange { key, found: found.to_string(), expected: expected.into() })
}

impl TrainConfig {
    /// Checks the ranges, for so many training samples.
    ///
    /// # Errors
    /// If a number is out of its range or means nothing.
    pub fn check(&self, samples: usize) -> Result<(), ConfigError> {
        if self.epochs == 0 {
            return out_of_range("train.epochs", 0, "at least 1");
        }
        if let Some(batch) = self.batch.filter(|batch| *batch == 0 || *batch > samples) {
            let expected = format!("1 to {samples}, the number of training samples");
            return out_of_range("train.batch", batch, expected);
        }
        if !(self.rate > 0.0 && self.rate <= 1.0) {
            return out_of_range("train.rate", self.rate, "0 < rate ≤ 1");
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return out_of_range("train.weight_decay", self.weight_decay, "at least 0");
        }
        if let Some(clip) = self.clip.filter(|clip| !(*clip > 0.0 && clip.is_finite())) {
            return out_of_range("train.clip", clip, "a number above 0");
        }
        match self.momentum {
            Some(momentum) if !(0.0..1.0).contains(&momentum) => {
                out_of_range("train.momentum", momentum, "0 ≤ momentum < 1")
            }
            Some(_) if self.optimiser != Optimiser::Sgd => Err(ConfigError::Unused {
                key: "train.momentum",
                beside: format!("train.optimiser = {:?}", self.optimiser).to_lowercase(),
                instead: "use optimiser = \"sgd\" or leave it out",
            }),
            _ => Ok(()),
        }
    }

    /// Samples a step, as they are named, or else as many as are usual.
    pub fn batch(&self) -> usize {
        self.batch.unwrap_or(USUAL_BATCH)
    }

    /// The same with a batch of its own, for so many training samples.
    pub(super) fn with_batch(self, samples: usize) -> Self {
        Self { batch: Some(self.batch.unwrap_or(USUAL_BATCH.min(samples).max(1))), ..self }
    }

    /// Burn's optimiser.
    pub(super) fn optimiser(&self) -> ModuleOptimizer {
        let clip = self.clip.map(|norm| GradientClippingConfig::Norm(norm as f32));
        let decay =
            (self.weight_decay > 0.0).then(|| WeightDecayConfig::new(self.weight_decay as f32));
        match self.optimiser {
            Optimiser::Adamw => AdamWConfig::new()
                .with_weight_decay(self.weight_decay as f32)
                .with_grad_clipping(clip)
                .init(),
            Optimiser::Adam => {
                AdamConfig::new().with_weight_decay(decay).with_grad_clipping(clip).init()
            }
            Optimiser::Sgd => {
                let momentum = self.sgd_momentum();
                let momentum = MomentumConfig::new().with_momentum(momentum).with_dampening(0.0);
                SgdConfig::new()
                    .with_momentum(Some(momentum))
                    .with_weight_decay(decay)
                    .with_gradient_clipping(clip)
                    .init()
            }
        }
    }

    /// The momentum of `sgd`.
    pub(super) fn sgd_momentum(&self) -> f64 {
        self.momentum.unwrap_or(0.9)
    }

    /// The learning rate of a step, counted from 0, of so many.
    pub(super) fn rate_at(&self, step: usize, steps: usize) -> f64 {
        let schedule = ModuleLrSchedulerConfig::new(self.schedule(self.rate, steps)).init();
        let mut schedule = schedule.expect("the rate was checked");
        (0..step).for_each(|_| {
            schedule.step();
        });
        schedule.step().base()
    }

    /// Burn's schedule from a rate on, over so many steps.
    pub(super) fn schedule(&self, rate: f64, steps: usize) -> LrSchedulerConfig {
        // Where there is nothing to train on, there is no step either.
        let steps = steps.max(1);
        match self.schedule {
            Schedule::Constant => LrSchedulerConfig::Constant(rate),
            Schedule::Cosine => CosineAnnealingLrSchedulerConfig::new(rate, steps).into(),
            Schedule::Step => {
                StepLrSchedulerConfig::new(rate, steps.div_ceil(3)).with_gamma(0.1).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_schedule_divides_by_ten_after_one_and_two_thirds_and_no_more() {
        let train = TrainConfig { rate: 0.1, schedule: Schedule::Step, ..TrainConfig::default() };
        let rates = |steps: usize| -> Vec<f64> {
            (0..steps).map(|step| train.rate_at(step, steps)).collect()
        };
        for (steps, [first, second]) in [(90, [30, 60]), (91, [31, 62]), (5, [2, 4]), (2, [1, 2])] {
            for (step, rate) in rates(steps).into_iter().enumerate() {
                let expected = match step {
                    _ if step < first => 0.1,
                    _ if step < second => 0.01,
                    _ => 0.001,
                };
                assert!((rate - expected).abs() < 1e-12, "{step} of {steps}: {rate}");
            }
        }
    }
}
