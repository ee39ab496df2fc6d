//! Training that begins with trained weights: what of the network goes on, and what learns how fast.

use super::config::out_of_range;
use super::refine::without;
use super::{Config, ConfigError, Position, Schedule, TrainError, Trainer};
use crate::network::{
    DepthObjective, Memory, Network, NetworkError, Outputs, PenaltyStep, WeightsError, WeightsFile,
};
use burn::lr_scheduler::LrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLrScheduler, ModuleLrSchedulerConfig};
use burn::module::ParamGroup;
use deeplimit::control::ProlongBy;
use serde::{Deserialize, Serialize};

/// Where normalisations take mean and variance from in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormStatistics {
    /// The batch; running ones move along.
    #[default]
    Batch,
    /// What they remember, which does not move: samples do not meet, and small batches do no harm.
    Frozen,
}

/// Weights that learn at a rate of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateGroup {
    /// Their name in weights files, or the first parts of it: `head`, `stages.0`, `stages.1.transition`.
    pub weights: String,
    /// Their rate over that of all others; 0 holds them as they are.
    pub factor: f64,
}

/// How trained weights are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Initial {
    /// How they are carried to another depth.
    pub by: ProlongBy,
    /// Whether the head is drawn anew though it would fit.
    pub new_head: bool,
}

/// What [`Trainer::initialise`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initialised {
    /// Steps of each flow in the weights file, and now.
    pub depths: [Vec<usize>; 2],
    /// Outputs of the file's head, where it was left behind: with another number of them, or because it
    /// was asked for.
    pub left_head: Option<usize>,
}

impl Config {
    /// Whether weights that began in a basis have values of their own in an epoch.
    pub(super) fn unties_by(&self, epoch: usize) -> bool {
        self.train.untie.is_some_and(|start| start <= epoch)
    }

    /// Checks the epoch of `train.untie`.
    pub(super) fn check_untie(&self) -> Result<(), ConfigError> {
        let Some(epoch) = self.train.untie else { return Ok(()) };
        if epoch == 0 || epoch >= self.train.epochs {
            let last = self.train.epochs.saturating_sub(1);
            let expected = format!("1 to {last}, an epoch below train.epochs");
            return out_of_range("train.untie", epoch, expected);
        }
        if self.network.stage.iter().all(|stage| stage.control.is_none()) {
            return Err(ConfigError::Unused {
                key: "train.untie",
                beside: "weights that have a value of their own at every node".to_owned(),
                instead: "give a stage a control = { basis, coefficients }, or leave it out",
            });
        }
        let explicit = |objective: &DepthObjective| objective.step == PenaltyStep::Explicit;
        if self.objective.depth.as_ref().is_some_and(explicit) {
            return Err(ConfigError::Unused {
                key: "train.untie",
                beside: "objective.depth.step = \"explicit\"".to_owned(),
                instead: "whose steps are bounded for one kind of weights; use step = \"proximal\"",
            });
        }
        Ok(())
    }

    /// The configuration of the network as training stood at a position: with flows of its depths, and
    /// without a basis where it was left.
    pub fn standing(&self, position: &Position) -> Self {
        let mut config = self.at_depths(&position.depths);
        if position.untied {
            config.train.untie = None;
            config.network.stage.iter_mut().for_each(|stage| stage.control = None);
        }
        config
    }

    /// Checks the groups of weights for a network.
    pub(super) fn check_rates(&self, network: &Network) -> Result<(), ConfigError> {
        for (index, RateGroup { weights, factor }) in self.train.rates.iter().enumerate() {
            // Burn's cosine is for rates up to 1.
            let most = match self.train.schedule {
                Schedule::Cosine => 1.0 / self.train.rate,
                Schedule::Constant | Schedule::Step => f64::MAX,
            };
            if !(0.0..=most).contains(factor) {
                let expected = match self.train.schedule {
                    Schedule::Cosine => format!(
                        "factors of at least 0, with train.schedule = \"cosine\" at most {most} (times \
                         train.rate 1)"
                    ),
                    Schedule::Constant | Schedule::Step => "factors of at least 0".to_owned(),
                };
                return out_of_range("train.rates", factor, expected);
            }
            let ids = network.ids_of(weights);
            if ids.is_empty() {
                let (known, weights) = (network.weight_names().join(", "), weights.clone());
                return Err(ConfigError::NoSuchWeights { weights, known });
            }
            if self.train.rates[..index].iter().any(|other| other.weights == *weights) {
                return out_of_range("train.rates", weights, "each group once");
            }
            let penalised = network.control_ids();
            if self.objective.depth.is_some() && ids.iter().any(|id| penalised.contains(id)) {
                return Err(ConfigError::Unused {
                    key: "objective.depth",
                    beside: format!("a rate of its own for {weights}"),
                    instead: "its steps take train.rate; leave one of them out",
                });
            }
        }
        if self.train.statistics == NormStatistics::Frozen && !network.normalises() {
            return Err(ConfigError::Unused {
                key: "train.statistics",
                beside: "a network that does not normalise".to_owned(),
                instead: "leave it out",
            });
        }
        Ok(())
    }
}

impl Trainer {
    /// Gives weights in a basis values of their own at every node: the same function, of which the
    /// optimiser remembers nothing yet. A best validation before is forgotten: its weights lie in the basis.
    pub(super) fn untie(&mut self) -> Result<(), TrainError> {
        let expanded = self.network.expanded_ids();
        self.change_optimiser(|state| without(state, &expanded))?;
        self.network = self.network.clone().untied();
        self.memory = Memory::default();
        self.position.untied = true;
        self.position.best_validation = None;
        self.plan_gradient()
    }

    /// Burn's schedule over all steps, with a group for the weights that have a rate of their own.
    pub(super) fn scheduled(&self) -> ModuleLrScheduler {
        let (train, steps) = (&self.config.train, self.total_steps());
        let base = ModuleLrSchedulerConfig::new(train.schedule(train.rate, steps));
        let groups = train.rates.iter().fold(base, |groups, RateGroup { weights, factor }| {
            let ids = ParamGroup::from_ids(self.network.ids_of(weights));
            groups.with_group(
                ids,
                match *factor {
                    0.0 => LrSchedulerConfig::Constant(0.0),
                    _ => train.schedule(factor * train.rate, steps),
                },
            )
        });
        groups.init().expect("the rates were checked")
    }

    /// Takes the trained weights of another run, whose configuration is given. Its stages must be those of
    /// this network but for their depths and tiles, to which controls are carried as functions of depth;
    /// a control in a basis goes on in it, or with a value of its own at every node. A head with another
    /// number of outputs stays behind.
    ///
    /// # Errors
    /// If the networks have other stages, inputs of another shape, or another head that is to be taken.
    ///
    /// # Panics
    /// If a step was done.
    pub fn initialise(
        &mut self,
        file: &WeightsFile,
        from: &Config,
        how: Initial,
    ) -> Result<Initialised, TrainError> {
        assert_eq!(self.position.step, 0, "weights are taken before the first step");
        let (_, outputs) = file.ends(&from.network);
        let outputs =
            outputs.ok_or_else(|| WeightsError::Missing { name: "head.linear.weight".into() });
        let outputs = outputs.map_err(TrainError::Initial)?;
        let plan = from.network.check(self.splits.train.shape(), outputs)?;
        let known = Network::new(&plan, 0);
        for (stage, (theirs, ours)) in known.plans().zip(self.network.plans()).enumerate() {
            if !theirs.goes_on_as(ours) {
                let reason = "the weights file has another transition, field, scheme, step_size, rectified or \
                              control here; leave out network.stage to take its own";
                let reason = reason.to_owned();
                return Err(NetworkError::Combination { stage, reason }.into());
            }
        }
        let [theirs, ours] = [&known, &self.network].map(|network| network.plans().count());
        if theirs != ours {
            let reason = format!("the weights file has {theirs} stages, the configuration {ours}");
            return Err(NetworkError::Combination { stage: theirs.min(ours), reason }.into());
        }
        let trained = file.load_into(known).map_err(TrainError::Initial)?;
        let depths = [trained.depths(), self.network.depths()];
        let carried = trained.prolonged(&depths[1], how.by);
        let fits = !how.new_head && plan.outputs == Outputs::of(&self.splits.train);
        let [theirs, ours] = [&from.network.head, &self.config.network.head];
        // Of a head that stays behind only the normalisation before it is taken.
        if if fits { theirs != ours } else { theirs.norm != ours.norm } {
            return Err(NetworkError::OtherHead.into());
        }
        let left_head = (!fits).then(|| plan.outputs.count());
        self.network = self.network.taking(carried, fits);
        Ok(Initialised { depths, left_head })
    }
}
