//! The training loop: one step at a time, resumable to the bit.

mod auto;
mod checkpoint;
mod config;
mod finetune;
mod gradient;
mod objective;
mod refine;
mod resume;

pub use auto::{AUTO, Doubt, Mistrust};
pub(crate) use checkpoint::SCHEMA;
pub use checkpoint::{
    CheckpointError, Position, entries, read_weights, schema, write_whole, write_whole_by,
};
pub use config::{Config, ConfigError, Optimiser, Schedule, TrainConfig};
pub use finetune::{Initial, Initialised, NormStatistics, RateGroup};
pub use gradient::{GradientConfig, PLANNED};
pub use objective::ObjectiveConfig;
pub use resume::{ChangedData, Difference, Resumed, identity};

use crate::data::{
    Batch, DataChanged, DataError, Digest, Draw, Part, Samples, Splits, batch, epoch_order,
    in_order,
};
use crate::gradients;
use crate::network::{
    BadOutput, DepthObjective, Memory, Network, NetworkError, Outputs, PenaltyStep, Regularisation,
    Score, WeightsError,
};
use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use deeplimit::Certificate;
use deeplimit::control::ProlongBy;
use deeplimit::gradient::{Choice, Plan};
use deeplimit::seed;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Parts the seeds of dropout from others of a run.
const DROPOUT: u64 = 0x6472_6f70_6f75_7400;

/// A run in memory: data, network, optimiser, and where it stands.
pub struct Trainer {
    config: Config,
    splits: Splits,
    /// How each flow is walked.
    choices: Vec<Choice>,
    plan: Option<Plan>,
    network: Network,
    memory: Memory,
    optimiser: ModuleOptimizer,
    schedule: ModuleLrScheduler,
    position: Position,
    /// An epoch, and the order in which it visits the training samples.
    order: Option<(usize, Vec<u32>)>,
    /// Digests of the data, once a weights file was written.
    digests: OnceLock<BTreeMap<Part, Digest>>,
    /// Whether a gradient was found to be mostly error.
    doubted: bool,
}

/// Why a run cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The data cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data are not those of the run that is to go on.
    #[error(transparent)]
    DataChanged(#[from] DataChanged),
    /// The network cannot be built.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A checkpoint cannot be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Weights to begin with do not fit.
    #[error("the weights to begin with: {0}")]
    Initial(WeightsError),
    /// Outputs of the network are not finite.
    #[error(transparent)]
    Outputs(#[from] BadOutput),
    /// The optimiser's memory cannot be carried to another depth.
    #[error("the optimiser's state cannot be carried to another depth: {reason}")]
    Carry {
        /// What was found and expected.
        reason: String,
    },
    /// The loss or its gradient left the numbers.
    #[error(
        "{what} is {value} at step {step} (epoch {epoch}); training stopped, and the last \
         checkpoint is kept. A smaller train.rate or train.clip may help"
    )]
    Diverged {
        /// Steps done before.
        step: usize,
        /// The epoch.
        epoch: usize,
        /// What is not finite.
        what: &'static str,
        /// NaN or infinite.
        value: f64,
    },
}

/// What one step did.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// The epoch that the step belongs to, from 0.
    pub epoch: usize,
    /// Steps done, this one included.
    pub step: usize,
    /// Loss and hits before the update, without the penalty.
    pub score: Score,
    /// The penalty of `objective.depth` before the update, where there is one.
    pub penalty: Option<f64>,
    /// Steps of each flow.
    pub depths: Vec<usize>,
    /// Learning rate of the update.
    pub rate: f64,
    /// 2-norm of the gradient that the optimiser gets: with that of an explicit penalty.
    pub gradient_norm: f64,
    /// How good the gradient of each flow is.
    pub certificates: Vec<Certificate>,
    /// With `gradient.method = "auto"`: flows that are walked back by checkpoints from now on.
    pub mistrusted: Vec<Mistrust>,
    /// The first time that a flow's certificate says that its gradient is mostly error: which.
    pub doubt: Option<Doubt>,
    /// Bytes that the gradient method kept.
    pub tape_bytes: usize,
    /// Whether the epoch ended with this step.
    pub epoch_ended: bool,
}

impl Trainer {
    /// Checks everything, reads the data and builds the network.
    ///
    /// # Errors
    /// If the configuration or the data cannot be used, or no gradient keeps to the memory budget.
    pub fn new(config: Config) -> Result<Self, TrainError> {
        config.method()?;
        let splits = crate::data::load(&config.data)?;
        Self::with_splits(config, splits)
    }

    /// As [`new`](Self::new), for scores alone: a memory budget is not looked at.
    ///
    /// # Errors
    /// If the configuration or the data cannot be used.
    pub fn scoring(config: Config) -> Result<Self, TrainError> {
        config.method()?;
        let splits = crate::data::load(&config.data)?;
        Self::scoring_on(config, splits)
    }

    /// As [`scoring`](Self::scoring), on data that was read before with the same options.
    ///
    /// # Errors
    /// If the configuration cannot be used, or not with these data.
    pub fn scoring_on(config: Config, splits: Splits) -> Result<Self, TrainError> {
        Self::built(config, splits)
    }

    /// As [`new`](Self::new), on data that was read before with the same options.
    ///
    /// # Errors
    /// If the configuration cannot be used, or not with these data, or no gradient keeps to the memory
    /// budget.
    pub fn with_splits(config: Config, splits: Splits) -> Result<Self, TrainError> {
        splits.check_classes()?;
        config.train.check(splits.train.len())?;
        let mut trainer = Self::built(config, splits)?;
        trainer.network.check_batch(trainer.config.train.batch())?;
        // A depth that does not fit the budget is known before the run begins.
        for (_, depths) in trainer.config.eras().into_iter().skip(1) {
            trainer.planned(&trainer.network.prolonged(&depths, ProlongBy::Constant))?;
        }
        trainer.plan_gradient()?;
        Ok(trainer)
    }

    /// How the gradient of a network keeps to the memory budget, where there is one.
    fn planned(&self, network: &Network) -> Result<Option<Plan>, ConfigError> {
        let Config { gradient, train, .. } = &self.config;
        gradient.plan(&self.config.method()?, network, train.batch(), rayon::current_num_threads())
    }

    /// Plans the gradient of the network as it stands.
    fn plan_gradient(&mut self) -> Result<(), TrainError> {
        self.plan = self.planned(&self.network)?;
        if let Some(plan) = &self.plan {
            self.choices.clone_from(&plan.choices);
        }
        if self.is_auto() {
            self.choices = self.auto_choices(self.config.method()?);
        }
        Ok(())
    }

    /// A trainer of a checked configuration, without a plan.
    fn built(mut config: Config, splits: Splits) -> Result<Self, TrainError> {
        let method = config.method()?;
        config.augment.check(splits.train.shape())?;
        config.train = config.train.with_batch(splits.train.len());
        config.objective.check()?;
        config.check_refine()?;
        config.check_untie()?;
        let plan_at = |depths: &[usize]| {
            let network = config.at_depths(depths).network;
            network.check(splits.train.shape(), Outputs::of(&splits.train))
        };
        for (_, depths) in config.eras().into_iter().skip(1) {
            plan_at(&depths)?;
        }
        let plan = plan_at(&config.depths_at(0))?;
        config.gradient.check_flows(&method, &plan)?;
        let frozen = config.train.statistics == NormStatistics::Frozen;
        let network = Network::new(&plan, config.seed).with_frozen_statistics(frozen);
        config.check_rates(&network)?;
        let choices = vec![Choice { method, tile: None }; plan.stages.len()];
        let optimiser = config.train.optimiser();
        let mut trainer = Self {
            schedule: ModuleLrScheduler::new(ConstantLr::from(config.train.rate)),
            config,
            splits,
            choices,
            plan: None,
            network,
            memory: Memory::default(),
            optimiser,
            position: Position::default(),
            order: None,
            digests: OnceLock::new(),
            doubted: false,
        };
        trainer.position.depths = trainer.network.depths();
        trainer.schedule = trainer.scheduled();
        trainer.config.check_stability(&plan.stages, trainer.steps_per_epoch())?;
        Ok(trainer)
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How the gradient keeps to its memory budget, where there is one.
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// How each flow is walked back, as far as is known.
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// The data.
    pub fn splits(&self) -> &Splits {
        &self.splits
    }

    /// The network as it stands.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Where training stands.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Steps an epoch: whole batches only.
    pub fn steps_per_epoch(&self) -> usize {
        self.splits.train.len() / self.config.train.batch()
    }

    /// Steps of the whole run.
    pub fn total_steps(&self) -> usize {
        self.steps_per_epoch() * self.config.train.epochs
    }

    /// Whether all epochs are done.
    pub fn finished(&self) -> bool {
        self.position.step >= self.total_steps()
    }

    /// The batch of the next step.
    fn next_batch(&mut self, epoch: usize) -> Result<Batch, DataError> {
        let (config, samples) = (&self.config, self.splits.train.len());
        let (_, order) = match self.order.take_if(|(known, _)| *known == epoch) {
            Some(known) => self.order.insert(known),
            None => self.order.insert((epoch, epoch_order(samples, config.seed, epoch as u64))),
        };
        let start = self.position.step % (samples / config.train.batch()) * config.train.batch();
        let indices = &order[start..start + config.train.batch()];
        let draw = Draw { augment: config.augment, seed: config.seed, epoch: epoch as u64 };
        batch(&self.splits.train, indices, &self.splits.normalisation, Some(draw))
    }

    /// One optimisation step.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] if the loss is not finite; the weights then are those before.
    pub fn step(&mut self) -> Result<StepReport, TrainError> {
        let epoch = self.position.step / self.steps_per_epoch();
        let depths = self.config.depths_at(epoch);
        if depths != self.position.depths {
            self.refine(&depths)?;
        }
        if self.config.unties_by(epoch) && !self.position.untied {
            self.untie()?;
        }
        let batch = self.next_batch(epoch)?;
        let objective = self.config.objective.depth;
        let with_step =
            |step| objective.filter(|objective: &DepthObjective| objective.step == step);
        let penalty = objective.map(|objective| self.network.penalty(&objective));
        let explicit = with_step(PenaltyStep::Explicit);
        let dropout = seed::derive(self.config.seed ^ DROPOUT, self.position.step as u64);
        let regularisation = Regularisation { penalty: explicit.as_ref(), dropout: Some(dropout) };
        let gradient =
            self.network.gradient_regularised(&batch, &self.choices, &self.memory, regularisation);
        self.finite("the loss", gradient.score.loss)?;
        self.finite("the penalty", penalty.unwrap_or(0.0))?;
        self.finite("the norm of the gradient", gradient.norm)?;
        let rate = self.schedule.step();
        // The optimiser has the only hold on the weights: old and new ones are not all there at once.
        let network = std::mem::replace(&mut self.network, Network::hollow());
        let network = gradients::lifted(network);
        self.network = self.optimiser.step(rate.clone(), network, gradient.record).valid();
        if let Some(objective) = with_step(PenaltyStep::Proximal) {
            self.network.proximal(&objective, rate.base());
        }
        self.network.remember(&gradient.statistics);
        self.position.step += 1;
        let mistrusted = match self.is_auto() {
            true => self.learn_trust(&gradient.certificates),
            false => Vec::new(),
        };
        let doubt = self.learn_doubt(&gradient.certificates);
        Ok(StepReport {
            epoch,
            step: self.position.step,
            score: gradient.score,
            penalty,
            depths,
            rate: rate.base(),
            gradient_norm: gradient.norm,
            certificates: gradient.certificates,
            mistrusted,
            doubt,
            tape_bytes: gradient.tape_bytes,
            epoch_ended: self.position.step.is_multiple_of(self.steps_per_epoch()),
        })
    }

    /// An error for a number that is none.
    fn finite(&self, what: &'static str, value: f64) -> Result<(), TrainError> {
        if value.is_finite() {
            return Ok(());
        }
        Err(self.diverged(what, value))
    }

    fn diverged(&self, what: &'static str, value: f64) -> TrainError {
        let step = self.position.step;
        TrainError::Diverged { step, epoch: step / self.steps_per_epoch(), what, value }
    }

    /// Loss and hits on the validation samples; `None` where there are none.
    ///
    /// # Errors
    /// If the samples cannot be batched, or an output is not finite.
    pub fn validate(&self) -> Result<Option<Score>, TrainError> {
        let samples = &self.splits.validation;
        if samples.is_empty() {
            return Ok(None);
        }
        match self.evaluate(samples) {
            Ok(score) => Ok(Some(score)),
            Err(TrainError::Outputs(BadOutput { found, .. })) => {
                Err(self.diverged("an output in validation", f64::from(found)))
            }
            Err(error) => Err(error),
        }
    }

    /// Loss and hits on the test samples; `None` where there are none.
    ///
    /// # Errors
    /// If the samples cannot be batched, or an output is not finite.
    pub fn test(&self) -> Result<Option<Score>, TrainError> {
        self.splits.test.as_ref().map(|samples| self.evaluate(samples)).transpose()
    }

    /// Loss and hits on some samples.
    ///
    /// # Errors
    /// If the samples cannot be batched, or an output is not finite.
    pub fn evaluate(&self, samples: &Samples) -> Result<Score, TrainError> {
        let (evaluator, mut total) = (self.network.evaluator(), Score::default());
        for batch in self.batches(samples) {
            let batch = batch?;
            total.add(&evaluator.reach(&batch).score(&batch)?);
        }
        Ok(total)
    }

    /// All of some samples in their order, in batches for evaluation: normalised, without augmentation.
    pub fn batches<'s>(
        &'s self,
        samples: &'s Samples,
    ) -> impl Iterator<Item = Result<Batch, DataError>> + 's {
        in_order(samples, &self.splits.normalisation)
    }

    /// Remembers a validation score; returns whether it is the best so far.
    pub fn is_best(&mut self, score: &Score) -> bool {
        let better = match self.position.best_validation {
            None => true,
            Some((hits, loss)) => (score.hits, -score.loss) > (hits, -loss),
        };
        if better {
            self.position.best_validation = Some((score.hits, score.loss));
        }
        better
    }
}
