//! Networks described by a configuration: transitions as Burn modules, flows on the CPU kernels.

mod config;
mod stage;
mod weights;

pub use config::{
    HeadConfig, NetworkConfig, NetworkError, NetworkPlan, Outputs, StageConfig, StagePlan,
    TransitionConfig,
};
pub use weights::{WeightsError, WeightsFile, named_gradients};

use crate::data::{Batch, BatchTargets};
use crate::gradients;
use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use deeplimit::control::Control;
use deeplimit::{Bytes, Certificate, Field, Method, Rows, seed};
use stage::{Head, Stage};

/// A network whose flows train memory-free.
#[derive(Module, Debug)]
pub struct Network {
    stages: Vec<Stage>,
    head: Head,
    #[module(skip)]
    outputs: Outputs,
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
    /// Bytes that the gradient method kept from the way forward to the way back.
    pub tape_bytes: usize,
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
            outputs: plan.outputs,
        };
        network.map(&mut Numbered(0))
    }

    /// Networks run on the CPU: their flows are the library's own kernels.
    fn device() -> Device {
        Device::flex().autodiff()
    }

    /// The checked description of each stage, with its present control.
    pub fn controls(&self) -> Vec<(&StagePlan, Control<f32>)> {
        self.stages.iter().map(|stage| (stage.plan(), stage.control())).collect()
    }

    /// Number of trained numbers.
    pub fn parameters(&self) -> usize {
        self.num_params()
    }

    /// Outputs `[samples, outputs]` for a batch, without any graph.
    pub fn infer(&self, batch: &Batch) -> Tensor<2> {
        let mut x = inputs(batch);
        for stage in &self.stages {
            let x0 = rows(stage.enter(x));
            x = tensor(stage.flow().forward(&x0));
        }
        self.head.forward(Tensor::from_inner(x)).inner()
    }

    /// Loss and hits of a batch.
    pub fn score(&self, batch: &Batch) -> Score {
        let outputs = self.infer(batch);
        let loss = self.loss(outputs.clone(), batch).into_scalar::<f32>();
        self.scored(outputs, batch, loss.into())
    }

    /// The gradient of the mean loss over a batch.
    pub fn gradient(&self, batch: &Batch, method: &Method) -> Gradient {
        let mut x = Tensor::from_inner(inputs(batch));
        let mut walked = Vec::new();
        for stage in &self.stages {
            let flow = stage.flow();
            let start = stage.enter(x);
            let (end, recording) = flow.record(method, &rows(start.clone()));
            x = Tensor::from_inner(tensor(end)).require_grad();
            walked.push((stage, flow, recording, start, x.clone()));
        }
        let tape_bytes = walked.iter().map(|(_, _, recording, ..)| recording.bytes()).sum();
        let outputs = self.head.forward(x);
        let loss = self.loss(outputs.clone(), batch);
        let value = loss.clone().inner().into_scalar::<f32>();
        let score = self.scored(outputs.inner(), batch, value.into());

        let mut found = loss.backward();
        let mut record = GradientsParams::new();
        let mut certificates = Vec::new();
        for (stage, flow, recording, start, end) in walked.into_iter().rev() {
            let x_bar = end.grad_remove(&mut found).expect("the loss depends on every state");
            gradients::merge(self, &mut record, GradientsParams::from_module(&mut found, self));
            let mut gradient = flow.field().zero_gradient();
            let (x0_bar, certificate) =
                flow.pull_back(method, recording, &rows(x_bar), &mut gradient);
            certificates.push(certificate);
            for (param, values) in stage.parameters().iter().zip(gradient.into_values()) {
                let shape: [usize; 2] = param.lazy_shape().dims();
                let data = TensorData::new(values, shape);
                record.register::<2>(param.id, Tensor::from_data(data, &Device::flex()));
            }
            if start.is_tracked() {
                found = start.mul(Tensor::from_inner(tensor(x0_bar))).sum().backward();
            }
        }
        gradients::merge(self, &mut record, GradientsParams::from_module(&mut found, self));
        certificates.reverse();
        let norm = gradients::record_norm(self, &record);
        Gradient { score, record, norm, certificates, tape_bytes }
    }

    /// Mean cross-entropy or mean squared error.
    fn loss(&self, outputs: Tensor<2>, batch: &Batch) -> Tensor<1> {
        let (device, samples) = (outputs.device(), batch.len());
        match &batch.targets {
            BatchTargets::Labels(labels) => {
                let labels: Vec<i64> = labels.iter().map(|label| i64::from(*label)).collect();
                let data = TensorData::new(labels, [samples]);
                let targets = Tensor::<1, Int>::from_data(data, &device);
                CrossEntropyLossConfig::new().init(&device).forward(outputs, targets)
            }
            BatchTargets::Values(values) => {
                let data = TensorData::new(values.clone(), [samples, 1]);
                let targets = Tensor::<2>::from_data(data, &device);
                outputs.sub(targets).powi_scalar(2).mean()
            }
        }
    }

    fn scored(&self, outputs: Tensor<2>, batch: &Batch, loss: f64) -> Score {
        let hits = match &batch.targets {
            BatchTargets::Values(_) => 0,
            BatchTargets::Labels(labels) => {
                let outputs = rows(outputs);
                let hit =
                    |(row, label): &(usize, &u32)| largest(&outputs.row(*row)) == **label as usize;
                labels.iter().enumerate().filter(hit).count()
            }
        };
        Score { loss, hits, samples: batch.len() }
    }
}

/// Index of the largest number; the first of equals.
fn largest(row: &[f32]) -> usize {
    let better = |best: usize, index: usize| if row[index] > row[best] { index } else { best };
    (0..row.len()).fold(0, better)
}

/// `[samples, numbers]` outside any graph.
fn inputs(batch: &Batch) -> Tensor<2> {
    let shape = [batch.len(), batch.shape.elements()];
    Tensor::from_data(TensorData::new(batch.inputs.clone(), shape), &Device::flex())
}

/// A tensor's numbers as a state of the flow.
fn rows(x: Tensor<2>) -> Rows<f32> {
    let [samples, width] = x.dims();
    let data = x.inner().into_data().try_into_vec::<f32>();
    Rows::new(samples, width, &data.expect("states are kept in single precision"))
}

/// A state of the flow as a tensor outside any graph.
fn tensor(x: Rows<f32>) -> Tensor<2> {
    let shape = [x.rows(), x.width()];
    Tensor::from_data(TensorData::new(x.to_vec(), shape), &Device::flex())
}
