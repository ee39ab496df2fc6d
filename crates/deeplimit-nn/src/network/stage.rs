//! Transitions and controls as Burn modules, with deterministic initial values.

use super::config::{HeadConfig, NetworkPlan, StagePlan, TransitionConfig};
use crate::data::Shape;
use burn::module::{Module, Param};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use deeplimit::control::Control;
use deeplimit::field::{AnyLayer, Layer, Stacked};
use deeplimit::{Flow, seed};

/// A map that changes the state's shape; states are rows `[samples, channels · height · width]`.
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
fn affine(inputs: usize, outputs: usize, seed: u64, device: &Device) -> Linear {
    let mut linear = LinearConfig::new(inputs, outputs).init(device);
    linear.weight = uniform([inputs, outputs], inputs, seed::derive(seed, 0), device);
    linear.bias = Some(uniform([outputs], inputs, seed::derive(seed, 1), device));
    linear
}

impl Transition {
    fn new(plan: &StagePlan, seed: u64, device: &Device) -> Self {
        let mut transition = Self { linear: None, conv: None };
        match plan.transition {
            TransitionConfig::None {} => {}
            TransitionConfig::Linear { width } => {
                transition.linear = Some(affine(plan.input.elements(), width, seed, device));
            }
            TransitionConfig::Conv { channels, kernel, stride, padding } => {
                let inputs = plan.input.channels;
                let fan_in = inputs * kernel * kernel;
                let pad = PaddingConfig2d::Explicit(padding, padding, padding, padding);
                let mut conv = Conv2dConfig::new([inputs, channels], [kernel, kernel])
                    .with_stride([stride, stride])
                    .with_padding(pad)
                    .init(device);
                let shape = [channels, inputs, kernel, kernel];
                conv.weight = uniform(shape, fan_in, seed::derive(seed, 0), device);
                conv.bias = Some(uniform([channels], fan_in, seed::derive(seed, 1), device));
                transition.conv = Some(conv);
            }
        }
        transition
    }

    fn forward(&self, x: Tensor<2>, input: Shape) -> Tensor<2> {
        if let Some(linear) = &self.linear {
            return linear.forward(x);
        }
        let Some(conv) = &self.conv else { return x };
        let samples = x.dims()[0];
        let image = x.reshape([samples, input.channels, input.height, input.width]);
        conv.forward(image).flatten(1, 3) // [samples, channels · height · width]
    }
}

/// A transition, and the control of the flow behind it: one array `[nodes, numbers]` a kind.
#[derive(Module, Debug)]
pub(super) struct Stage {
    transition: Transition,
    control: Vec<Param<Tensor<2>>>,
    #[module(skip)]
    plan: StagePlan,
}

impl Stage {
    pub(super) fn new(plan: StagePlan, seed: u64, device: &Device) -> Self {
        let transition = Transition::new(&plan, seed::derive(seed, 0), device);
        let nodes = plan.scheme.nodes_for(plan.depth);
        let kinds = Layer::<f32>::kinds(&plan.layer);
        let control = Control::<f64>::random(kinds, nodes, plan.init, seed::derive(seed, 1));
        let arrays = control.into_values().into_iter().map(|values| {
            let shape = [nodes, values.len() / nodes];
            let values = values.into_iter().map(|v| (plan.gain * v) as f32).collect();
            Param::from_data(TensorData::new::<f32, _>(values, shape), device)
        });
        Self { control: arrays.collect(), transition, plan }
    }

    pub(super) fn plan(&self) -> &StagePlan {
        &self.plan
    }

    pub(super) fn parameters(&self) -> &[Param<Tensor<2>>] {
        &self.control
    }

    /// The state that the flow starts from.
    pub(super) fn enter(&self, x: Tensor<2>) -> Tensor<2> {
        self.transition.forward(x, self.plan.input)
    }

    /// The control's present values.
    pub(super) fn control(&self) -> Control<f32> {
        let kinds = Layer::<f32>::kinds(&self.plan.layer);
        let nodes = self.plan.scheme.nodes_for(self.plan.depth);
        let values = self.control.iter().map(|param| {
            let data = param.val().inner().into_data();
            data.try_into_vec::<f32>().expect("controls are kept in single precision")
        });
        Control::new(kinds, nodes, values.collect())
    }

    /// The flow with the control's present values.
    pub(super) fn flow(&self) -> Flow<Stacked<f32, AnyLayer>> {
        let field = Stacked::new(self.plan.layer.clone(), self.control());
        Flow::new(field, self.plan.scheme.clone())
    }
}

/// The last state to the outputs.
#[derive(Module, Debug)]
pub(super) struct Head {
    linear: Linear,
    #[module(skip)]
    config: HeadConfig,
    #[module(skip)]
    state: Shape,
}

impl Head {
    pub(super) fn new(plan: &NetworkPlan, seed: u64, device: &Device) -> Self {
        let state = plan.stages.last().expect("a checked network has a stage").state;
        let inputs = if plan.pool { state.channels } else { state.elements() };
        Self {
            linear: affine(inputs, plan.outputs.count(), seed, device),
            config: HeadConfig { pool: plan.pool },
            state,
        }
    }

    /// `[samples, outputs]`.
    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        if !self.config.pool {
            return self.linear.forward(x);
        }
        let samples = x.dims()[0];
        let planes: Tensor<3> = x.reshape([samples, self.state.channels, self.state.plane()]);
        let pooled: Tensor<2> = planes.mean_dim(2).squeeze_dim(2); // [samples, channels]
        self.linear.forward(pooled)
    }
}
