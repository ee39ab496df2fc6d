//! Transitions and controls as Burn modules, with deterministic initial values.

use super::config::{StagePlan, TransitionConfig};
use super::field::Formula;
use super::flow::{AnyFlow, Found};
use super::map::{Map, Slopes};
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use deeplimit::control::{Control, Prolongation};
use deeplimit::field::{ConvBn, LayerStatistics, Stacked, Statistics};
use deeplimit::kernel::{Convolution, Image};
use deeplimit::limit::Diagnosis;
use deeplimit::limit::diagnosis::DiagnosisError;
use deeplimit::{Flow, Rows, seed};

/// A map that changes the state's shape.
#[derive(Module, Debug)]
pub(super) struct Transition {
    linear: Option<Linear>,
    conv: Option<Conv2d>,
}

/// Uniform values in ±1/√fan_in, decided by the seed alone.
fn uniform<const D: usize>(
    shape: [usize; D],
    fan_in: usize,
    seed: u64,
    device: &Device,
) -> Param<Tensor<D>> {
    let scale = 1.0 / (fan_in as f64).sqrt();
    let count = shape.iter().product::<usize>() as u64;
    let values = (0..count).map(|i| (scale * seed::uniform(seed, i)) as f32).collect();
    Param::from_data(TensorData::new::<f32, _>(values, shape), device)
}

/// An affine map with values decided by the seed alone.
pub(super) fn affine(inputs: usize, outputs: usize, seed: u64, device: &Device) -> Linear {
    let mut linear = LinearConfig::new(inputs, outputs).init(device);
    linear.weight = uniform([inputs, outputs], inputs, seed::derive(seed, 0), device);
    linear.bias = Some(uniform([outputs], inputs, seed::derive(seed, 1), device));
    linear
}

/// The numbers of a parameter.
fn numbers<const D: usize>(param: &Param<Tensor<D>>) -> Vec<f32> {
    let data = param.val().inner().into_data();
    data.try_into_vec().expect("parameters are kept in single precision")
}

/// The parameter with other numbers, which may have another number of nodes.
fn replaced(param: &Param<Tensor<2>>, values: Vec<f32>, nodes: usize) -> Param<Tensor<2>> {
    let shape = [nodes, values.len() / nodes];
    param.clone().map(|old| {
        let new = Tensor::from_data(TensorData::new(values, shape), &old.device());
        if old.is_require_grad() { new.require_grad() } else { new }
    })
}

/// The map of an affine module.
pub(super) fn affine_map(linear: &Linear) -> Map {
    let bias = linear.bias.as_ref().map(numbers).unwrap_or_default();
    Map::Affine { weight: numbers(&linear.weight), bias }
}

impl Transition {
    fn new(plan: &StagePlan, seed: u64, device: &Device) -> Self {
        let mut transition = Self { linear: None, conv: None };
        match plan.transition {
            TransitionConfig::None {} => {}
            TransitionConfig::Linear { width } => {
                transition.linear = Some(affine(plan.input.elements(), width, seed, device));
            }
            TransitionConfig::Conv { channels, kernel, .. } => {
                let inputs = plan.input.channels;
                let fan_in = inputs * kernel * kernel;
                let mut conv = Conv2dConfig::new([inputs, channels], [kernel, kernel]).init(device);
                let shape = [channels, inputs, kernel, kernel];
                conv.weight = uniform(shape, fan_in, seed::derive(seed, 0), device);
                conv.bias = Some(uniform([channels], fan_in, seed::derive(seed, 1), device));
                transition.conv = Some(conv);
            }
        }
        transition
    }
}

/// A transition, and the control of the flow behind it: one array `[nodes, numbers]` a kind.
#[derive(Module, Debug)]
pub(super) struct Stage {
    transition: Transition,
    control: Vec<Param<Tensor<2>>>,
    /// Running mean and variance `[nodes, channels]` of a field that normalises; of others nothing.
    running: Vec<Param<Tensor<2>>>,
    #[module(skip)]
    plan: StagePlan,
}

/// Share of a training step's statistics in the running ones.
const MOMENTUM: f64 = 0.1;

impl Stage {
    pub(super) fn new(plan: StagePlan, seed: u64, device: &Device) -> Self {
        let transition = Transition::new(&plan, seed::derive(seed, 0), device);
        let nodes = plan.nodes();
        let control =
            plan.formula.initial::<f32>(nodes, plan.init, plan.gain, seed::derive(seed, 1));
        let array = |values: Vec<f32>| {
            let shape = [nodes, values.len() / nodes];
            Param::from_data(TensorData::new::<f32, _>(values, shape), device)
        };
        let control = control.into_values().into_iter().map(array).collect();
        let channels = plan.formula.normalised();
        let starts: &[f32] = if channels > 0 { &[0.0, 1.0] } else { &[] };
        let running = starts.iter().map(|start| array(vec![*start; nodes * channels])).collect();
        Self { transition, control, running, plan }
    }

    pub(super) fn plan(&self) -> &StagePlan {
        &self.plan
    }

    /// Numbers that are kept beside the parameters.
    pub(super) fn running_numbers(&self) -> usize {
        self.running.iter().map(|param| param.lazy_shape().num_elements()).sum()
    }

    /// The transition with its present weights.
    pub(super) fn map(&self) -> Map {
        if let Some(linear) = &self.transition.linear {
            return affine_map(linear);
        }
        match (&self.transition.conv, self.plan.transition) {
            (Some(conv), TransitionConfig::Conv { channels, kernel, stride, padding }) => {
                let input = self.plan.input;
                let image = Image { height: input.height, width: input.width };
                let channels = [input.channels, channels];
                Map::Convolution {
                    windows: Convolution::new(channels, image, kernel, stride, padding),
                    weight: numbers(&conv.weight),
                    bias: conv.bias.as_ref().map(numbers).unwrap_or_default(),
                }
            }
            _ => Map::Same,
        }
    }

    /// The control's present values.
    pub(super) fn control(&self) -> Control<f32> {
        let values = self.control.iter().map(numbers).collect();
        Control::new(self.plan.formula.kinds(), self.plan.nodes(), values)
    }

    /// The flow with the control's present values, in tiles of so many samples, or of as many as the
    /// configuration says. In training a field that normalises does so by the batch, otherwise by what
    /// it remembers.
    pub(super) fn flow(&self, training: bool, tile: Option<usize>) -> AnyFlow {
        let (control, scheme) = (self.control(), self.plan.scheme.clone());
        match &self.plan.formula {
            Formula::Layer(layer) => {
                let flow = Flow::new(Stacked::new(layer.clone(), control), scheme);
                AnyFlow::Layer(match tile.or(self.plan.tile) {
                    Some(samples) => flow.with_tile(samples),
                    None => flow,
                })
            }
            Formula::ConvBn { channels, hidden, image, activation } => {
                let field = ConvBn::new(*channels, *hidden, *image, *activation, control);
                let statistics = if training { Statistics::Batch } else { self.held() };
                AnyFlow::ConvBn(Flow::new(field.with_statistics(statistics), scheme))
            }
        }
    }

    /// Diagnoses the flow, in double precision.
    pub(super) fn diagnose(
        &self,
        x0: &Rows<f64>,
        cotangent: &Rows<f64>,
    ) -> Result<Diagnosis, DiagnosisError> {
        let (control, scheme) = (self.control().cast::<f64>(), self.plan.scheme.clone());
        match &self.plan.formula {
            Formula::Layer(layer) => {
                let field = Stacked::new(layer.clone(), control);
                Diagnosis::of(&Flow::new(field, scheme), x0, cotangent)
            }
            Formula::ConvBn { channels, hidden, image, activation } => {
                let field = ConvBn::new(*channels, *hidden, *image, *activation, control);
                Diagnosis::of(&Flow::new(field, scheme), x0, cotangent)
            }
        }
    }

    fn held(&self) -> Statistics {
        let [mean, variance] = [0, 1].map(|index| numbers(&self.running[index]));
        let pairs = mean.iter().zip(&variance).map(|(m, v)| [f64::from(*m), f64::from(*v)]);
        let pairs: Vec<[f64; 2]> = pairs.collect();
        let channels = self.plan.formula.normalised();
        Statistics::Held(pairs.chunks(channels).map(<[_]>::to_vec).collect())
    }

    /// Moves the running statistics towards those of a training step.
    pub(super) fn remember(&mut self, statistics: &[LayerStatistics]) {
        let nodes = self.plan.nodes();
        for (part, param) in self.running.iter_mut().enumerate() {
            let old = numbers(param);
            let new = statistics.iter().flatten().map(|pair| pair[part]);
            let move_on = |(old, new): (f32, f64)| {
                (f64::from(old) + MOMENTUM * (new - f64::from(old))) as f32
            };
            let values: Vec<f32> = old.into_iter().zip(new).map(move_on).collect();
            *param = replaced(param, values, nodes);
        }
    }

    /// Changes the numbers of each of the control's arrays `[nodes, …]`, by its kind.
    pub(super) fn change_control(&mut self, change: impl Fn(usize, &mut [f32])) {
        let nodes = self.plan.nodes();
        for (kind, param) in self.control.iter_mut().enumerate() {
            let mut values = numbers(param);
            change(kind, &mut values);
            *param = replaced(param, values, nodes);
        }
    }

    /// The ids by which an optimiser knows the control's arrays.
    pub(super) fn control_ids(&self) -> impl Iterator<Item = u64> {
        self.control.iter().map(|param| param.id.val())
    }

    /// The stage with a flow of another depth.
    pub(super) fn carried(&self, way: &Prolongation, depth: usize) -> Self {
        let control = self.control.iter().map(|param| way.values(&numbers(param)));
        let [mean, variance] = [Prolongation::values, Prolongation::positive_values];
        let running = self.running.iter().zip([mean, variance]);
        let running = running.map(|(param, carry)| carry(way, &numbers(param)));
        let array = |(param, values)| replaced(param, values, way.nodes());
        Self {
            control: self.control.iter().zip(control).map(array).collect(),
            running: self.running.iter().zip(running).map(array).collect(),
            transition: self.transition.clone(),
            plan: StagePlan { depth, ..self.plan.clone() },
        }
    }

    /// The gradient of each of the stage's arrays, in the order of their visit.
    pub(super) fn gradients(&self, slopes: Slopes, found: Found) -> Vec<Option<Vec<f32>>> {
        let transition = [slopes.weight, slopes.bias].into_iter().filter(|part| !part.is_empty());
        let parameters = transition.chain(found.gradient.into_values()).map(Some);
        parameters.chain(self.running.iter().map(|_| None)).collect()
    }
}
