//! Transitions and controls as Burn modules, with deterministic initial values.

use super::StageStatistics;
use super::config::StagePlan;
use super::dropout::Mask;
use super::entry::Entry;
use super::field::{Formula, scales, shifts};
use super::flow::{AnyFlow, Found};
use super::map::Map;
use super::normalised::Blueprint;
use super::transition::TransitionConfig;
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use burn_flex::{Flex, FlexTensor};
use deeplimit::control::{Control, Numbers, Prolongation, Sampling};
use deeplimit::field::{ConvBn, LayerStatistics, Stacked, Statistics};
use deeplimit::kernel::{Convolution, Image};
use deeplimit::{Field, Flow, Real, seed};
use std::sync::Arc;

/// A map that changes the state's shape.
#[derive(Module, Debug)]
pub(super) struct Transition {
    linear: Option<Linear>,
    conv: Option<Conv2d>,
    /// The arrays of normalised convolutions, `[1, numbers]` each.
    pub(super) normalised: Vec<Param<Tensor<2>>>,
    /// Their running mean and variance `[1, channels]`; of others nothing.
    pub(super) running: Vec<Param<Tensor<2>>>,
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
pub(super) fn numbers<const D: usize>(param: &Param<Tensor<D>>) -> Vec<f32> {
    let data = param.val().inner().into_data();
    data.try_into_vec().expect("parameters are kept in single precision")
}

/// The numbers of a tensor, where they lie.
struct Lying(FlexTensor);

impl AsRef<[f32]> for Lying {
    fn as_ref(&self) -> &[f32] {
        self.0.storage()
    }
}

/// The numbers of a parameter, without a copy where they lie one after the other, as they do but for views.
fn shared<const D: usize>(param: &Param<Tensor<D>>) -> Numbers<f32> {
    let tensor = param.val().inner().try_into_primitive::<Flex>();
    let tensor = tensor.expect("networks are kept on the CPU");
    let count = tensor.layout().num_elements();
    let lies_whole = tensor.layout().is_contiguous()
        && tensor.layout().start_offset() == 0
        && tensor.storage::<f32>().len() == count;
    match lies_whole {
        true => Numbers::Shared(Arc::new(Lying(tensor))),
        false => numbers(param).into(),
    }
}

/// The parameter with other numbers, which may have another number of nodes.
fn replaced(param: &Param<Tensor<2>>, values: Vec<f32>, nodes: usize) -> Param<Tensor<2>> {
    let shape = [nodes, values.len() / nodes];
    param.clone().map(|old| Tensor::from_data(TensorData::new(values, shape), &old.device()))
}

/// The map of an affine module.
pub(super) fn affine_map(linear: &Linear) -> Map {
    let bias = linear.bias.as_ref().map(numbers).unwrap_or_default();
    Map::Affine { weight: numbers(&linear.weight), bias }
}

impl Transition {
    fn new(plan: &StagePlan, seed: u64, device: &Device) -> Self {
        let (normalised, running) = (Vec::new(), Vec::new());
        let mut transition = Self { linear: None, conv: None, normalised, running };
        if let Some(blueprint) = Blueprint::of(plan) {
            let kinds = blueprint.kinds().into_iter().enumerate();
            transition.normalised = kinds
                .map(|(index, (_, kind))| {
                    let scale = 1.0 / (kind.fan_in as f64).sqrt();
                    let draw = seed::derive(seed, index as u64);
                    let drawn = |i: usize| (scale * seed::uniform(draw, i as u64)) as f32;
                    let values = match kind.name {
                        name if scales(name) => vec![1.0; kind.len()],
                        name if shifts(name) => vec![0.0; kind.len()],
                        _ => (0..kind.len()).map(drawn).collect(),
                    };
                    array(values, 1, device)
                })
                .collect();
            transition.running = unmoved(1, blueprint.normalised(), device);
        }
        match plan.transition {
            TransitionConfig::None {}
            | TransitionConfig::Stem { .. }
            | TransitionConfig::Block { .. } => {}
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

/// A transition, and the control of the flow behind it.
#[derive(Module, Debug)]
pub(super) struct Stage {
    pub(super) transition: Transition,
    /// One array a kind: `[coefficients, numbers]` of the control's basis, or `[nodes, numbers]`.
    pub(super) control: Vec<Param<Tensor<2>>>,
    /// Running mean and variance `[nodes, channels]` of a field that normalises; of others nothing.
    pub(super) running: Vec<Param<Tensor<2>>>,
    #[module(skip)]
    plan: StagePlan,
    /// The values of the control's basis at the nodes, where it has one.
    #[module(skip)]
    sampling: Option<Sampling>,
}

/// Mean and variance, channel by channel.
fn pairs(mean: &[f32], variance: &[f32]) -> LayerStatistics {
    mean.iter().zip(variance).map(|(m, v)| [f64::from(*m), f64::from(*v)]).collect()
}

/// Running mean and variance `[nodes, channels]` before the first step; nothing without a channel.
pub(super) fn unmoved(nodes: usize, channels: usize, device: &Device) -> Vec<Param<Tensor<2>>> {
    let start = |start| array(vec![start; nodes * channels], nodes, device);
    if channels > 0 { [0.0, 1.0].map(start).into() } else { Vec::new() }
}

/// Mean and variance of every channel that running statistics hold.
pub(super) fn remembered(running: &[Param<Tensor<2>>]) -> LayerStatistics {
    match running {
        [mean, variance] => pairs(&numbers(mean), &numbers(variance)),
        _ => Vec::new(),
    }
}

/// Mean and variance of so many channels, node by node.
pub(super) fn held(mean: &[f32], variance: &[f32], channels: usize) -> Statistics {
    Statistics::Held(pairs(mean, variance).chunks(channels).map(<[_]>::to_vec).collect())
}

/// Share of a training step's statistics in the running ones.
const MOMENTUM: f64 = 0.1;

/// Moves running means and variances towards those that a training step met, row by row.
pub(super) fn move_on(running: &mut [Param<Tensor<2>>], met: &[LayerStatistics]) {
    for (part, param) in running.iter_mut().enumerate() {
        let new = met.iter().flatten().map(|pair| pair[part]);
        let step =
            |(old, new): (f32, f64)| (f64::from(old) + MOMENTUM * (new - f64::from(old))) as f32;
        let values: Vec<f32> = numbers(param).into_iter().zip(new).map(step).collect();
        *param = replaced(param, values, met.len());
    }
}

/// An array `[rows, numbers]`.
pub(super) fn array(values: Vec<f32>, rows: usize, device: &Device) -> Param<Tensor<2>> {
    let shape = [rows, values.len() / rows];
    Param::from_data(TensorData::new::<f32, _>(values, shape), device)
}

/// Initial values at so many nodes.
fn drawn<R: Real>(plan: &StagePlan, nodes: usize, seed: u64) -> Control<R> {
    let StagePlan { formula, init, gain, zero_start, .. } = plan;
    let mut control = formula.initial(nodes, *init, *gain, seed);
    if let Some(last) = formula.last_factor().filter(|_| *zero_start) {
        let kind = control.kinds().iter().position(|kind| kind.name == last);
        control.values_mut()[kind.expect("a kind of the formula")].fill(R::of(0.0));
    }
    control
}

/// Initial values of the trained arrays. With a basis the family is drawn at evenly spaced depths from 0
/// to 1, four for each coefficient, whatever the nodes; the function of the basis that is nearest to it is
/// the start at any depth, of the family's size.
fn initial(plan: &StagePlan, seed: u64) -> Control<f32> {
    let Some(expansion) = plan.control else { return drawn(plan, plan.nodes(), seed) };
    let last = 4 * expansion.coefficients();
    let family = drawn::<f64>(plan, last + 1, seed);
    let sampling = expansion.sampling((0..=last).map(|point| point as f64 / last as f64));
    sampling.fit(&family).expect("more points than coefficients").cast()
}

impl Stage {
    pub(super) fn new(plan: StagePlan, seed: u64, device: &Device) -> Self {
        let transition = Transition::new(&plan, seed::derive(seed, 0), device);
        let control = initial(&plan, seed::derive(seed, 1)).into_values().into_iter();
        let control = control.map(|values| array(values, plan.rows(), device)).collect();
        let (nodes, channels) = (plan.nodes(), plan.formula.normalised());
        let running = unmoved(nodes, channels, device);
        let stage = Self { transition, control, running, plan, sampling: None };
        let depth = stage.plan.depth;
        stage.walking(depth)
    }

    /// The same arrays for a flow of so many steps.
    pub(super) fn walking(mut self, depth: usize) -> Self {
        self.plan.depth = depth;
        self.sampling = self.plan.sampling();
        self
    }

    pub(super) fn plan(&self) -> &StagePlan {
        &self.plan
    }

    /// Numbers that are kept beside the parameters.
    pub(super) fn running_numbers(&self) -> usize {
        let kept = self.transition.running.iter().chain(&self.running);
        kept.map(|param| param.lazy_shape().num_elements()).sum()
    }

    /// The transition with its present weights, which normalises by the batch or by what it remembers.
    pub(super) fn entry(&self, by_batch: bool) -> Entry {
        match Blueprint::of(&self.plan) {
            None => Entry::Map(self.map()),
            Some(blueprint) => {
                let theta = self.transition.normalised.iter().map(numbers).collect();
                let held = || remembered(&self.transition.running);
                Entry::Normalised(Box::new(blueprint.with(theta, (!by_batch).then(held))))
            }
        }
    }

    fn map(&self) -> Map {
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

    /// The trained arrays: coefficients of the control's basis, or its values at the nodes.
    pub(super) fn trained(&self) -> Control<f32> {
        let values = self.control.iter().map(shared).collect();
        Control::of(self.plan.formula.kinds(), self.plan.rows(), values)
    }

    /// The control's present values at the nodes.
    pub(super) fn control(&self) -> Control<f32> {
        let trained = self.trained();
        match &self.sampling {
            Some(sampling) => sampling.sample(&trained),
            None => trained,
        }
    }

    /// The flow with the control's present values, in tiles of so many samples, or of as many as the
    /// configuration says. A field that normalises does so by the batch, or by what it remembers.
    pub(super) fn flow(&self, by_batch: bool, tile: Option<usize>) -> AnyFlow {
        self.masked_flow(by_batch, tile, None)
    }

    /// [`flow`](Self::flow) without the units that a mask leaves out.
    pub(super) fn masked_flow(
        &self,
        by_batch: bool,
        tile: Option<usize>,
        mask: Option<&Mask>,
    ) -> AnyFlow {
        let mut control = self.control();
        mask.iter().for_each(|mask| mask.apply(&mut control));
        match self.flow_of(control) {
            AnyFlow::Layer(flow) => AnyFlow::Layer(match tile.or(self.plan.tile) {
                Some(samples) => flow.with_tile(samples),
                None => flow,
            }),
            AnyFlow::ConvBn(flow) => {
                let statistics = if by_batch { Statistics::Batch } else { self.held() };
                let field = flow.into_field().with_statistics(statistics);
                let field = if self.plan.rectified { field.rectified() } else { field };
                AnyFlow::ConvBn(self.flow_on(field))
            }
        }
    }

    /// The flow on a control of its nodes, in any precision; a field that normalises does so by the batch,
    /// and relu follows no step.
    pub(super) fn flow_of<R: Real>(&self, control: Control<R>) -> AnyFlow<R> {
        match &self.plan.formula {
            Formula::Layer(layer) => {
                AnyFlow::Layer(self.flow_on(Stacked::new(layer.clone(), control)))
            }
            Formula::ConvBn(layer) => AnyFlow::ConvBn(self.flow_on(ConvBn::new(*layer, control))),
        }
    }

    /// A field with the stage's scheme and steps.
    fn flow_on<F: Field>(&self, field: F) -> Flow<F> {
        Flow::new(field, self.plan.scheme.clone()).with_step(self.plan.h())
    }

    fn held(&self) -> Statistics {
        let [mean, variance] = [0, 1].map(|index| numbers(&self.running[index]));
        held(&mean, &variance, self.plan.formula.normalised())
    }

    /// Moves the running statistics towards those of a training step.
    pub(super) fn remember(&mut self, met: &StageStatistics) {
        if let Some(met) = &met.transition {
            move_on(&mut self.transition.running, std::slice::from_ref(met));
        }
        if let Some(met) = &met.flow {
            move_on(&mut self.running, met);
        }
    }

    /// Changes the numbers of each of the trained arrays, by its kind.
    pub(super) fn change_control(&mut self, change: impl Fn(usize, &mut [f32])) {
        let rows = self.plan.rows();
        for (kind, param) in self.control.iter_mut().enumerate() {
            let mut values = numbers(param);
            change(kind, &mut values);
            *param = replaced(param, values, rows);
        }
    }

    /// The same weights, which at every node may go their own way from here.
    pub(super) fn untied(mut self) -> Self {
        let (control, nodes) = (self.control(), self.plan.nodes());
        for (param, values) in self.control.iter_mut().zip(control.into_values()) {
            *param = replaced(param, values, nodes);
        }
        self.plan.control = None;
        self.sampling = None;
        self
    }

    /// The ids by which an optimiser knows the trained arrays.
    pub(super) fn control_ids(&self) -> impl Iterator<Item = u64> {
        self.control.iter().map(|param| param.id.val())
    }

    /// The stage with a flow of another depth. Coefficients of a basis stay what they are.
    pub(super) fn carried(&self, way: &Prolongation, depth: usize) -> Self {
        let mut stage = self.clone();
        if self.plan.control.is_none() {
            for param in &mut stage.control {
                *param = replaced(param, way.values(&numbers(param)), way.nodes());
            }
        }
        let [mean, variance] = [Prolongation::values, Prolongation::positive_values];
        for (param, carry) in stage.running.iter_mut().zip([mean, variance]) {
            *param = replaced(param, carry(way, &numbers(param)), way.nodes());
        }
        stage.walking(depth)
    }

    /// The gradient of each of the stage's arrays, in the order of their visit.
    pub(super) fn gradients(
        &self,
        transition: Vec<Vec<f32>>,
        found: Found,
    ) -> Vec<Option<Vec<f32>>> {
        let kept = |arrays: &[Param<Tensor<2>>]| vec![None; arrays.len()];
        let control = match &self.sampling {
            Some(sampling) => sampling.pull_back(&found.gradient),
            None => found.gradient,
        };
        let transition = transition.into_iter().map(Some).chain(kept(&self.transition.running));
        let control = control.into_values().into_iter().map(Some).chain(kept(&self.running));
        transition.chain(control).collect()
    }
}
