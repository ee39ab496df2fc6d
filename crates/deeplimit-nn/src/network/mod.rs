//! Networks described by a configuration: their parameters are Burn modules, which optimisers know;
//! what runs are the CPU kernels, from the batch to the loss and back.

mod answer;
mod basis;
mod config;
mod depth;
mod dropout;
mod entry;
mod error;
mod evaluator;
mod field;
mod finite;
mod flow;
mod head;
mod loss;
mod map;
mod normalised;
mod passage;
mod penalty;
mod prolong;
mod relu;
mod stage;
mod stem_end;
mod step_size;
mod transition;
mod weights;

pub use answer::Answer;
pub use basis::ControlConfig;
pub use config::{HeadConfig, NetworkConfig, NetworkPlan, Outputs, StageConfig, StagePlan};
pub use depth::{Limit, LimitFault};
pub use error::NetworkError;
pub use evaluator::{Evaluator, Reached};
pub use field::{FieldName, Formula};
pub use finite::{BadOutput, BadWeight};
pub use flow::Memory;
pub use passage::{Probe, StageFault};
pub use penalty::{DepthObjective, PenaltyStep};
pub use step_size::StepSize;
pub use transition::{Shortcut, TransitionConfig};
pub use weights::{WeightsError, WeightsFile, named_gradients};

use crate::data::Batch;
use crate::gradients;
use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use deeplimit::control::Control;
use deeplimit::field::LayerStatistics;
use deeplimit::gradient::{Choice, Planner};
use deeplimit::{Certificate, Method, Rows, seed};
use dropout::Mask;
use head::{Head, HeadSlopes};
use map::cut;
use stage::Stage;

/// A network whose flows train memory-free.
#[derive(Module, Debug)]
pub struct Network {
    stages: Vec<Stage>,
    head: Head,
    /// Whether normalisations go by what they remember in training, too.
    #[module(skip)]
    frozen: bool,
}

/// What the normalisations of a stage met in a training step: mean and unbiased variance of the batch in
/// every channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageStatistics {
    /// Of the transition, where it normalises by the batch.
    pub transition: Option<LayerStatistics>,
    /// Of the flow, node by node, where it does.
    pub flow: Option<Vec<LayerStatistics>>,
    /// Of the head behind the last stage, where it does.
    pub head: Option<LayerStatistics>,
}

/// Loss and hits of one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Mean loss over the samples.
    pub loss: f64,
    /// Samples whose largest output is their class; 0 in regression.
    pub hits: usize,
    /// Number of samples.
    pub samples: usize,
}

impl Score {
    /// Takes in more samples.
    pub fn add(&mut self, more: &Self) {
        let samples = self.samples + more.samples;
        let sum = self.loss * self.samples as f64 + more.loss * more.samples as f64;
        *self = Self { loss: sum / samples as f64, hits: self.hits + more.hits, samples };
    }
}

/// What one gradient gives.
pub struct Gradient {
    /// Loss and hits on the way forward.
    pub score: Score,
    /// Gradients of every parameter, for an optimiser.
    pub record: GradientsParams,
    /// 2-norm over all parameters.
    pub norm: f64,
    /// How good the gradient of each stage's flow is.
    pub certificates: Vec<Certificate>,
    /// Bytes that the gradient method kept from the way forward to the way back: for each stage
    /// those of all samples, for the last one of as many tiles as there are threads.
    pub tape_bytes: usize,
    /// What the normalisations of each stage met. [`Network::remember`] takes them.
    pub statistics: Vec<StageStatistics>,
}

/// What a training step has besides the loss of the batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Regularisation<'a> {
    /// A penalty on roughness in depth.
    pub penalty: Option<&'a DepthObjective>,
    /// Draws the units that dropout leaves out; none leaves out none.
    pub dropout: Option<u64>,
}

/// What a walk there and back finds.
struct Walk {
    score: Score,
    head: HeadSlopes,
    stages: Vec<Walked>,
}

/// What a walk there and back finds of a stage.
struct Walked {
    /// Gradients of the transition's arrays.
    transition: Vec<Vec<f32>>,
    /// What its normalisations met.
    met: Option<LayerStatistics>,
    flow: flow::Found,
}

/// Gives parameters the ids 1, 2, …, so that optimiser states of a run fit the same network built
/// again.
struct Numbered(u64);

impl ModuleMapper for Numbered {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (_, value, mapper) = param.consume();
        self.0 += 1;
        Param::from_mapped_value(ParamId::from(self.0), value, mapper)
    }
}

impl Network {
    /// Builds a checked network with initial values decided by the seed.
    pub fn new(plan: &NetworkPlan, seed: u64) -> Self {
        let device = Self::device();
        let stages = plan.stages.iter().enumerate().map(|(index, stage)| {
            Stage::new(stage.clone(), seed::derive(seed, index as u64 + 1), &device)
        });
        let network = Self {
            stages: stages.collect(),
            head: Head::new(plan, seed::derive(seed, 0), &device),
            frozen: false,
        };
        network.map(&mut Numbered(0))
    }

    /// Checks that normalisations by a batch of so many samples have something to go by.
    ///
    /// # Errors
    /// [`NetworkError::OneNumber`] where one would see one number a channel.
    pub fn check_batch(&self, samples: usize) -> Result<(), NetworkError> {
        match self.one_number(samples).filter(|_| !self.frozen) {
            Some((stage, part)) => Err(NetworkError::OneNumber { stage, part }),
            None => Ok(()),
        }
    }

    /// The first stage and its part of which a batch of so many samples is one number a channel.
    fn one_number(&self, samples: usize) -> Option<(usize, &'static str)> {
        let parts = self.plans().map(StagePlan::normalises_one_pixel).enumerate();
        parts.filter(|_| samples == 1).find_map(|(stage, part)| Some((stage, part?)))
    }

    /// What stands in a network's place while an optimiser has it in its hands.
    pub(crate) fn hollow() -> Self {
        Self { stages: Vec::new(), head: Head::hollow(&Self::device()), frozen: false }
    }

    /// The same network, whose normalisations go by what they remember in training, too, and learn no
    /// statistics; or by the batch again.
    pub fn with_frozen_statistics(self, frozen: bool) -> Self {
        Self { frozen, ..self }
    }

    /// Whether any transition or flow normalises.
    pub(crate) fn normalises(&self) -> bool {
        self.running_numbers() > 0
    }

    /// The same weights, none of them in a basis.
    pub(crate) fn untied(mut self) -> Self {
        self.stages = self.stages.into_iter().map(Stage::untied).collect();
        self
    }

    /// Transitions, controls and running statistics of another network of the same shapes, and where
    /// asked for its head; all under the names that this network's have for an optimiser. A control in a
    /// basis is untied where this network's is in none.
    pub(crate) fn taking(&self, other: Self, head: bool) -> Self {
        let head = match head {
            true => other.head,
            false => self.head.behind_the_norm_of(other.head),
        };
        let untie = |(own, stage): (&Stage, Stage)| match own.plan().control {
            None => stage.untied(),
            Some(_) => stage,
        };
        let stages = self.stages.iter().zip(other.stages).map(untie).collect();
        Self { stages, head, frozen: self.frozen }.map(&mut Numbered(0))
    }

    /// Networks run on the CPU: their flows are the library's own kernels. Their gradients are, too, so
    /// that no parameter is a leaf of Burn's graph, whose tables grow with every leaf until a backward pass.
    fn device() -> Device {
        Device::flex()
    }

    /// The checked description of each stage, with its present control at the nodes.
    pub fn controls(&self) -> Vec<(&StagePlan, Control<f32>)> {
        self.stages.iter().map(|stage| (stage.plan(), stage.control())).collect()
    }

    /// The checked description of each stage.
    pub fn plans(&self) -> impl Iterator<Item = &StagePlan> {
        self.stages.iter().map(Stage::plan)
    }

    /// Number of trained numbers.
    pub fn parameters(&self) -> usize {
        self.num_params() - self.running_numbers()
    }

    /// Number of those that normalisations remember.
    fn running_numbers(&self) -> usize {
        let stages = self.stages.iter().map(Stage::running_numbers);
        stages.sum::<usize>() + self.head.running_numbers()
    }

    /// Outputs for a batch, a row a sample.
    pub fn infer(&self, batch: &Batch) -> Rows<f32> {
        self.evaluator().reach(batch).outputs
    }

    /// Loss and hits of a batch.
    ///
    /// # Errors
    /// If an output is not finite.
    pub fn score(&self, batch: &Batch) -> Result<Score, BadOutput> {
        self.evaluator().reach(batch).score(batch)
    }

    /// The gradient of the mean loss over a batch.
    ///
    /// All stages but the last are recorded for the whole batch. The last one, the head and the loss
    /// go there and back tile by tile.
    ///
    /// # Panics
    /// Like all gradients, for a batch that [`check_batch`](Self::check_batch) refuses.
    pub fn gradient(&self, batch: &Batch, method: &Method) -> Gradient {
        self.gradient_with(batch, method, &Memory::default())
    }

    /// [`gradient`](Self::gradient), in the memory of the one before.
    pub fn gradient_with(&self, batch: &Batch, method: &Method, memory: &Memory) -> Gradient {
        self.gradient_planned(batch, &self.everywhere(method), memory)
    }

    /// [`gradient_with`](Self::gradient_with), with a choice for each stage.
    ///
    /// # Panics
    /// If there is not one choice a stage.
    pub fn gradient_planned(&self, batch: &Batch, choices: &[Choice], memory: &Memory) -> Gradient {
        self.gradient_regularised(batch, choices, memory, Regularisation::default())
    }

    /// [`gradient_planned`](Self::gradient_planned) of the mean loss with dropout, and of a penalty. The
    /// certificates are those of the loss: the penalty's gradient is exact.
    ///
    /// # Panics
    /// If there is not one choice a stage.
    pub fn gradient_regularised(
        &self,
        batch: &Batch,
        choices: &[Choice],
        memory: &Memory,
        Regularisation { penalty, dropout }: Regularisation<'_>,
    ) -> Gradient {
        let Walk { score, head, stages } = self.walk(batch, choices, memory, dropout);
        let mut gradients = Vec::new();
        let (mut certificates, mut statistics, mut tape_bytes) = (Vec::new(), Vec::new(), 0);
        for (stage, Walked { transition, met, mut flow }) in self.stages.iter().zip(stages) {
            certificates.push(flow.certificate.clone());
            let flow_met = flow.statistics.take();
            statistics.push(StageStatistics { transition: met, flow: flow_met, head: None });
            tape_bytes += flow.tape_bytes;
            if let Some(objective) = penalty {
                stage.add_penalty(objective, &mut flow.gradient);
            }
            gradients.extend(stage.gradients(transition, flow));
        }
        if let Some(last) = statistics.last_mut() {
            last.head.clone_from(&head.met);
        }
        gradients.extend(self.head.gradients(head));
        let norm = gradients::norm(gradients.iter().flatten());
        let mut record = GradientsParams::new();
        gradients::register(self, gradients::tensors(gradients), &mut record);
        Gradient { score, record, norm, certificates, tape_bytes, statistics }
    }

    /// The gradient of the mean loss over a batch with respect to the control of each flow.
    pub fn flow_gradients(&self, batch: &Batch, method: &Method) -> Vec<Control<f32>> {
        let stages = self.walk(batch, &self.everywhere(method), &Memory::default(), None).stages;
        stages.into_iter().map(|stage| stage.flow.gradient).collect()
    }

    /// The same method for every stage, with the field's own tiles.
    fn everywhere(&self, method: &Method) -> Vec<Choice> {
        vec![Choice { method: *method, tile: None }; self.stages.len()]
    }

    /// There and back through everything.
    fn walk(
        &self,
        batch: &Batch,
        choices: &[Choice],
        memory: &Memory,
        dropout: Option<u64>,
    ) -> Walk {
        assert_eq!(choices.len(), self.stages.len(), "one choice a stage");
        if let Err(fault) = self.check_batch(batch.len()) {
            panic!("{fault}");
        }
        let mask = |(index, stage): (usize, &Stage)| {
            dropout.and_then(|seed| Mask::draw(stage.plan(), seed::derive(seed, index as u64)))
        };
        let masks: Vec<Option<Mask>> = self.stages.iter().enumerate().map(mask).collect();
        let (last, earlier) = self.split();
        let mut x = map::inputs(batch.shape, &batch.inputs);
        let mut walked = Vec::new();
        for ((stage, choice), mask) in earlier.iter().zip(choices).zip(&masks) {
            let entry = stage.entry(!self.frozen);
            let flow = stage.masked_flow(!self.frozen, choice.tile, mask.as_ref());
            let (x0, met) = entry.forward(&x);
            let (end, way_back) = flow.record(choice.method, x0);
            walked.push((entry, met, std::mem::replace(&mut x, cut(&end)), way_back));
        }
        let (entry, head) = (last.entry(!self.frozen), self.head.reader(!self.frozen));
        let loss = |end: &Rows<f32>, samples| head.loss(end, &batch.targets, samples);
        let Choice { method, tile } = choices[earlier.len()];
        let flow = last.masked_flow(!self.frozen, tile, masks[earlier.len()].as_ref());
        let (x0, met) = entry.forward(&x);
        let (tiles, found) = flow.sweep(method, x0, loss, memory);
        let (mut score, mut slopes) = (Score::default(), head.no_slopes());
        for (tile, tile_slopes) in tiles {
            score.add(&tile);
            slopes.add(tile_slopes);
        }

        // From the last stage to the first.
        let mut stages = Vec::new();
        let mut way = Some((entry, met, x, found));
        while let Some((entry, met, x, mut flow)) = way {
            let x0_bar = std::mem::replace(&mut flow.x0_bar, Rows::zeros(0, 0));
            let (transition, bar) = entry.backward(&x, &x0_bar, !walked.is_empty());
            stages.push(Walked { transition, met, flow });
            let before = walked.pop().zip(bar);
            way = before.map(|((entry, met, x, way_back), bar)| (entry, met, x, way_back(&bar)));
        }
        stages.reverse();
        for (Walked { flow, .. }, mask) in stages.iter_mut().zip(&masks) {
            mask.iter().for_each(|mask| mask.apply(&mut flow.gradient));
        }
        Walk { score, head: slopes, stages }
    }

    /// What there is to plan of a gradient for batches of so many samples: the states between and at the
    /// ends of the flows count, weights and their gradients do not.
    pub fn planner(&self, samples: usize, threads: usize) -> Planner {
        let (head, last) = (self.head.reader(!self.frozen), self.stages.len() - 1);
        let flow = |(index, stage): (usize, &Stage)| {
            let state = Rows::zeros(samples, stage.plan().state.elements());
            let footprint = stage.flow(!self.frozen, None).footprint(state);
            if index == last { footprint.with_loss(head.states(), head.bytes()) } else { footprint }
        };
        let inputs = |stage: &Stage| map::bytes(samples, stage.plan().input.elements());
        let states = |stage: &Stage| map::bytes(samples, stage.plan().state.elements());
        let buffers = |stage: &Stage| {
            stage.entry(!self.frozen).buffers(samples, stage.plan().input.elements())
        };
        // A transition goes back between its flow and the one before: both ends, whole and in tiles.
        let transition = |stage: &Stage| 2 * (inputs(stage) + states(stage)) + buffers(stage);
        let scratch = |stage: &Stage| {
            threads * stage.entry(!self.frozen).scratch(stage.plan().input.elements())
        };
        // The way back through the last relu needs its values.
        let relu = |stage: &Stage| if stage.plan().rectified { states(stage) } else { 0 };
        let around = |stage: &Stage| inputs(stage) + scratch(stage) + relu(stage);
        Planner {
            flows: self.stages.iter().enumerate().map(flow).collect(),
            sweeps: true,
            around: self.stages.iter().map(around).sum::<usize>() + head.around(samples, threads),
            between: self.stages.iter().map(transition).max().unwrap_or(0),
            threads,
        }
    }

    /// Moves the running statistics of normalisations by one training step.
    pub fn remember(&mut self, statistics: &[StageStatistics]) {
        for (stage, statistics) in self.stages.iter_mut().zip(statistics) {
            stage.remember(statistics);
        }
        if let Some(met) = statistics.last().and_then(|last| last.head.as_ref()) {
            self.head.remember(met);
        }
    }

    /// The last stage, and those before it.
    fn split(&self) -> (&Stage, &[Stage]) {
        self.stages.split_last().expect("a checked network has a stage")
    }
}
