//! The configuration of a run, and its check.

use super::finetune::{NormStatistics, RateGroup};
use super::objective::ObjectiveConfig;
use crate::data::{Augment, Options};
use crate::network::{Network, NetworkConfig, NetworkPlan};
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
use deeplimit::gradient::{
    Backprop, Budget, Checkpoint, Misfit, Plan, REGISTRY, Reversible, TooSmall, Wish,
};
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

/// How gradients are computed.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `method` | `adjoint-adaptive`, with a `memory_budget` `planned` | gradient method, or a formula such as `P1C2`; `planned` is whichever the budget allows | see `deeplimit gradcheck` |
/// | `memory_budget` | none | most bytes that the gradient of the flows may take beyond weights and their gradient | such as `"256 MiB"`, or a number of bytes |
/// | `tolerance` | none | certificate above which a segment is walked again with stored steps | 1e-6 ≤ tolerance < 1 |
/// | `anchors` | √depth with a tolerance, else 1 | states kept to check and reset the reconstruction | 1 to the depth |
/// | `segments` | √depth | segments of `checkpoint` | 1 to the depth |
/// | `slots` | none | most states that `checkpoint` keeps, instead of segments | 1 to the depth |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct GradientConfig {
    /// Name of the method, or [`PLANNED`].
    pub method: String,
    /// What the method's slots, anchors and tiles are fitted to; with [`PLANNED`] the method too.
    pub memory_budget: Option<Budget>,
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
        Written::default().into()
    }
}

/// The method where a budget alone decides.
pub const PLANNED: &str = "planned";

/// The method where nothing decides, and the adjoint that a plan may choose.
const USUAL: &str = "adjoint-adaptive";

/// The table as it is written: what is not there depends on what is.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename = "GradientConfig")]
struct Written {
    method: Option<String>,
    memory_budget: Option<Budget>,
    tolerance: Option<f64>,
    anchors: Option<NonZeroUsize>,
    segments: Option<NonZeroUsize>,
    slots: Option<NonZeroUsize>,
}

impl From<Written> for GradientConfig {
    fn from(written: Written) -> Self {
        let Written { method, memory_budget, tolerance, anchors, segments, slots } = written;
        let unnamed = if memory_budget.is_some() { PLANNED } else { USUAL };
        let method = method.unwrap_or_else(|| unnamed.to_owned());
        Self { method, memory_budget, tolerance, anchors, segments, slots }
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
            batch: 128,
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
    expected: &'static str,
) -> Result<T, ConfigError> {
    Err(ConfigError::OutOfRange { key, found: found.to_string(), expected })
}

impl GradientConfig {
    /// The method with its settings, for flows of so many steps at least. Where there is a budget, it is
    /// what [`plan`](Self::plan) fits to it; of [`PLANNED`] the adjoint that may be chosen.
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
        let planned = self.method == PLANNED;
        if planned && self.memory_budget.is_none() {
            let known = REGISTRY.map(|entry| entry.name).join(", ");
            return Err(ConfigError::NoBudget { known });
        }
        if let Some(budget) = self.memory_budget {
            for (key, count) in [
                ("gradient.anchors", self.anchors),
                ("gradient.segments", self.segments),
                ("gradient.slots", self.slots),
            ] {
                if count.is_some() {
                    return Err(ConfigError::Unused {
                        key,
                        beside: format!("gradient.memory_budget = \"{budget}\""),
                        instead: "the plan chooses their number: leave one of them out",
                    });
                }
            }
        }
        let name = if planned { USUAL } else { self.method.as_str() };
        let method: Method = name.parse()?;
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
        if self.method == PLANNED {
            // A plan walks a scheme with an exact inverse back by that.
            return Ok(());
        }
        for (stage, plan) in plan.stages.iter().enumerate() {
            method.fits(&plan.scheme).map_err(|Misfit { scheme, instead, .. }| {
                ConfigError::Misfit { method: self.method.clone(), stage, scheme, instead }
            })?;
        }
        Ok(())
    }
}

impl GradientConfig {
    /// How a network's gradient keeps to the budget, for batches of so many samples on so many threads;
    /// `None` without a budget. `method` is the checked one.
    ///
    /// # Errors
    /// If there is no way; the error names the least budget that there is one for.
    pub fn plan(
        &self,
        method: &Method,
        network: &Network,
        samples: usize,
        threads: usize,
    ) -> Result<Option<Plan>, ConfigError> {
        let Some(budget) = self.memory_budget else { return Ok(None) };
        let wish = match method {
            Method::Adjoint(adjoint) if self.method == PLANNED => Wish::Any(*adjoint),
            named => Wish::Family(*named),
        };
        Ok(Some(network.planner(samples, threads).plan(wish, budget)?))
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
        match self.schedule {
            Schedule::Constant => LrSchedulerConfig::Constant(rate),
            Schedule::Cosine => CosineAnnealingLrSchedulerConfig::new(rate, steps).into(),
            Schedule::Step => {
                StepLrSchedulerConfig::new(rate, (steps / 3).max(1)).with_gamma(0.1).into()
            }
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
    fn a_budget_plans_unless_a_method_is_named_and_a_plan_needs_a_budget() {
        let config = |text: &str| toml::from_str::<GradientConfig>(text);
        let method = |text: &str| config(text).expect("a configuration").method;
        assert_eq!(method(""), "adjoint-adaptive");
        assert_eq!(method("memory_budget = '64 KiB'"), "planned");
        assert_eq!(method("memory_budget = 65536\nmethod = 'backprop'"), "backprop");
        let planned = config("memory_budget = '1.5 MiB'").expect("a configuration");
        let written = toml::to_string(&planned).expect("plain data");
        assert!(written.contains("method = \"planned\"") && written.contains("1.50 MiB"));
        assert_eq!(config(&written), Ok(planned));
        assert!(check("method = 'planned'").expect_err("no budget").contains("memory_budget"));
        for (text, part) in [
            ("slots = 3", "gradient.slots means nothing with gradient.memory_budget = \"64 KiB\""),
            ("anchors = 3", "gradient.anchors means nothing"),
            ("method = 'backprop'\ntolerance = 0.1", "gradient.tolerance means nothing"),
        ] {
            let text = format!("memory_budget = '64 KiB'\n{text}");
            let error = check(&text).expect_err(&text);
            assert!(error.contains(part), "{error}");
        }
        for bad in ["'12 parsecs'", "'MiB'", "0", "-5", "'1e3'", "'-1 MiB'"] {
            let error = config(&format!("memory_budget = {bad}")).expect_err(bad);
            assert!(error.to_string().contains("is no memory budget"), "{error}");
        }
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
