//! The configuration of a run, and its check.

use crate::data::{Augment, Options};
use crate::network::{NetworkConfig, NetworkPlan};
use burn::grad_clipping::GradientClippingConfig;
use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::lr_scheduler::step::StepLrSchedulerConfig;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, ModuleOptimizer, SgdConfig};
use deeplimit::Method;
use deeplimit::gradient::{Backprop, Checkpoint, Misfit, Reversible};
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
    /// The optimisation.
    pub train: TrainConfig,
    /// The network.
    pub network: NetworkConfig,
}

impl Config {
    /// The gradient method with its settings.
    pub(super) fn method(&self) -> Result<Method, ConfigError> {
        let depths = self.network.stage.iter().map(|stage| stage.depth);
        self.gradient.check(depths.min().unwrap_or(0))
    }
}

/// How gradients are computed.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `method` | `adjoint-adaptive` | gradient method, or a formula such as `P1C2` | see `deeplimit gradcheck` |
/// | `tolerance` | none | certificate above which a segment is walked again with stored steps | 1e-6 ≤ tolerance < 1 |
/// | `anchors` | √depth with a tolerance, else 1 | states kept to check and reset the reconstruction | 1 to the depth |
/// | `segments` | √depth | segments of `checkpoint` | 1 to the depth |
/// | `slots` | none | most states that `checkpoint` keeps, instead of segments | 1 to the depth |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GradientConfig {
    /// Name of the method.
    pub method: String,
    /// Only for the adjoints.
    pub tolerance: Option<f64>,
    /// Only for the adjoints.
    pub anchors: Option<NonZeroUsize>,
    /// Only for `checkpoint`.
    pub segments: Option<NonZeroUsize>,
    /// Only for `checkpoint`, without `segments`.
    pub slots: Option<NonZeroUsize>,
}

impl Default for GradientConfig {
    fn default() -> Self {
        let method = "adjoint-adaptive".to_owned();
        Self { method, tolerance: None, anchors: None, segments: None, slots: None }
    }
}

/// The optimisation.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `epochs` | 20 | passes over the training samples | ≥ 1 |
/// | `batch` | 128 | samples a step | 1 to the training samples |
/// | `optimiser` | `adamw` | update rule | `adamw`, `adam`, `sgd` |
/// | `rate` | 2e-3 | learning rate at the start | 0 < rate ≤ 1 |
/// | `schedule` | `cosine` | learning rate over the steps | `constant`, `cosine`, `step` (÷ 10 at ⅓ and ⅔) |
/// | `momentum` | 0.9 | only for `sgd` | 0 ≤ momentum < 1 |
/// | `weight_decay` | 1e-4 | decoupled for `adamw`, added to the gradient else | ≥ 0 |
/// | `clip` | none | largest norm of one parameter array's gradient | > 0 |
/// | `checkpoint_every` | none | steps between checkpoints; else one an epoch | ≥ 1 |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Passes over the training samples.
    pub epochs: usize,
    /// Samples a step.
    pub batch: usize,
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
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 20,
            batch: 128,
            optimiser: Optimiser::Adamw,
            rate: 2e-3,
            schedule: Schedule::Cosine,
            momentum: None,
            weight_decay: 1e-4,
            clip: None,
            checkpoint_every: None,
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
    /// A tenth after each third of the steps.
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
        expected: &'static str,
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
    /// The gradient method is unknown.
    #[error("gradient.method: {0}")]
    Method(#[from] deeplimit::gradient::UnknownMethod),
}

fn out_of_range<T>(
    key: &'static str,
    found: impl ToString,
    expected: &'static str,
) -> Result<T, ConfigError> {
    Err(ConfigError::OutOfRange { key, found: found.to_string(), expected })
}

impl GradientConfig {
    /// The method with its settings, for flows of so many steps at least.
    ///
    /// # Errors
    /// If the method is unknown, or a setting does not belong to it.
    pub fn check(&self, depth: usize) -> Result<Method, ConfigError> {
        for (key, count) in [
            ("gradient.anchors", self.anchors),
            ("gradient.segments", self.segments),
            ("gradient.slots", self.slots),
        ] {
            if let Some(count) = count.filter(|count| count.get() > depth) {
                return out_of_range(key, count, "at most the depth of the shallowest flow");
            }
        }
        let unused = |key, instead| {
            Err(ConfigError::Unused {
                key,
                beside: format!("gradient.method = {:?}", self.method),
                instead,
            })
        };
        // States are kept in single precision: no reconstruction is better than its rounding.
        if let Some(tolerance) = self.tolerance.filter(|t| !(1e-6..1.0).contains(t)) {
            return out_of_range("gradient.tolerance", tolerance, "1e-6 ≤ tolerance < 1");
        }
        let method: Method = self.method.parse()?;
        if !matches!(method, Method::Checkpoint(_)) {
            for (key, count) in
                [("gradient.segments", self.segments), ("gradient.slots", self.slots)]
            {
                if count.is_some() {
                    return unused(key, "use method = \"checkpoint\" or leave it out");
                }
            }
        }
        if let (Some(_), Some(segments)) = (self.slots, self.segments) {
            return Err(ConfigError::Unused {
                key: "gradient.slots",
                beside: format!("gradient.segments = {segments}"),
                instead: "slots and segments are two schedules: leave one of them out",
            });
        }
        if self.anchors.is_some() && !matches!(method, Method::Adjoint(_)) {
            return unused("gradient.anchors", "use one of the adjoints or leave it out");
        }
        if self.tolerance.is_some() && !matches!(method, Method::Adjoint(_)) {
            return unused("gradient.tolerance", "use one of the adjoints or leave it out");
        }
        Ok(match method {
            Method::Backprop(_) => Method::Backprop(Backprop),
            Method::Reversible(_) => Method::Reversible(Reversible),
            Method::Checkpoint(_) => {
                Method::Checkpoint(Checkpoint { segments: self.segments, slots: self.slots })
            }
            Method::Adjoint(mut adjoint) => {
                adjoint.anchors = self.anchors.map(NonZeroUsize::get);
                Method::Adjoint(match self.tolerance {
                    Some(tolerance) => adjoint.within(tolerance),
                    None => adjoint,
                })
            }
        })
    }
}

impl GradientConfig {
    /// Checks that a method of this configuration walks all flows of a network back.
    ///
    /// # Errors
    /// [`ConfigError::Misfit`], which names the method, and the stage with its scheme.
    pub fn check_flows(&self, method: &Method, plan: &NetworkPlan) -> Result<(), ConfigError> {
        for (stage, plan) in plan.stages.iter().enumerate() {
            method.fits(&plan.scheme).map_err(|Misfit { scheme, instead, .. }| {
                ConfigError::Misfit { method: self.method.clone(), stage, scheme, instead }
            })?;
        }
        Ok(())
    }
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
        if self.batch == 0 || self.batch > samples {
            return out_of_range("train.batch", self.batch, "1 to the number of training samples");
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
                let momentum = self.momentum.unwrap_or(0.9);
                let momentum = MomentumConfig::new().with_momentum(momentum).with_dampening(0.0);
                SgdConfig::new()
                    .with_momentum(Some(momentum))
                    .with_weight_decay(decay)
                    .with_gradient_clipping(clip)
                    .init()
            }
        }
    }

    /// Burn's schedule over so many steps.
    pub(super) fn schedule(&self, steps: usize) -> ModuleLrScheduler {
        match self.schedule {
            Schedule::Constant => ModuleLrScheduler::new(ConstantLr::from(self.rate)),
            Schedule::Cosine => CosineAnnealingLrSchedulerConfig::new(self.rate, steps)
                .init()
                .expect("the rate was checked"),
            Schedule::Step => StepLrSchedulerConfig::new(self.rate, (steps / 3).max(1))
                .with_gamma(0.1)
                .init()
                .expect("the rate was checked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Method, String> {
        let config: GradientConfig = toml::from_str(text).expect("a configuration");
        config.check(16).map_err(|error| error.to_string())
    }

    #[test]
    fn slots_go_to_checkpoint_and_are_refused_by_name_elsewhere() {
        let eight = Checkpoint { segments: None, slots: NonZeroUsize::new(8) };
        let found = check("method = 'checkpoint'\nslots = 8");
        assert_eq!(found, Ok(Method::Checkpoint(eight)));
        for (text, parts) in [
            ("method = 'backprop'\nslots = 8", ["gradient.slots", "\"backprop\""]),
            ("method = 'P1C2'\nslots = 8", ["gradient.slots", "\"P1C2\""]),
            ("slots = 8", ["gradient.slots", "\"adjoint-adaptive\""]),
            ("method = 'checkpoint'\nslots = 17", ["gradient.slots = 17", "depth"]),
            (
                "method = 'checkpoint'\nslots = 8\nsegments = 3",
                ["gradient.slots", "gradient.segments = 3"],
            ),
        ] {
            let error = check(text).expect_err(text);
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
    }
}
