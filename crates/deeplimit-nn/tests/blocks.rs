//! Burn modules as fields: gradients beside plain autodiff, and what is refused.

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::{
    BatchNorm, BatchNormConfig, Dropout, DropoutConfig, LayerNorm, LayerNormConfig, Linear,
    LinearConfig,
};
use burn::optim::GradientsParams;
use burn::tensor::activation::{gelu, tanh};
use burn::tensor::{Device, Tensor, TensorData};
use deeplimit_nn::deeplimit::{Bytes, Flow, GradientMethod, Method, Scheme, seed};
use deeplimit_nn::{BlockError, Blocks, FlowPass, Residual, TensorState, gradients_of};

#[derive(Module, Debug)]
struct Block {
    norm: LayerNorm,
    up: Linear,
    down: Linear,
}

impl Block {
    fn new(index: u64, device: &Device) -> Self {
        let linear = |inputs: usize, outputs: usize, part: u64| {
            let mut linear = LinearConfig::new(inputs, outputs).init(device);
            linear.weight =
                Param::from_tensor(random([inputs, outputs], 10 * index + part, device));
            linear.bias = Some(Param::from_tensor(random([1, outputs], 99, device).squeeze_dim(0)));
            linear
        };
        Self {
            norm: LayerNormConfig::new(4).init(device),
            up: linear(4, 6, 0),
            down: linear(6, 4, 1),
        }
    }
}

impl Residual<2> for Block {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.down.forward(gelu(self.up.forward(self.norm.forward(x))))
    }
}

#[derive(Module, Debug)]
struct Net {
    stem: Linear,
    blocks: Vec<Block>,
    head: Linear,
}

fn device() -> Device {
    Device::flex().autodiff()
}

fn random(shape: [usize; 2], part: u64, device: &Device) -> Tensor<2> {
    let values = (0..shape[0] * shape[1]).map(|i| 0.6 * seed::uniform(part, i as u64) as f32);
    Tensor::from_data(TensorData::new(values.collect::<Vec<f32>>(), shape), device)
}

fn net(depth: u64) -> Net {
    let device = device();
    let block = Block::new(7, &device);
    Net {
        stem: block.up.clone(),
        blocks: (0..depth).map(|index| Block::new(index / 4, &device)).collect(),
        head: block.down.clone(),
    }
}

/// The flow of the net's blocks starts from 4 numbers; stem and head are shaped to that.
fn narrow_net(depth: u64) -> Net {
    let device = device();
    let linear = |part| {
        let mut linear = LinearConfig::new(4, 4).init(&device);
        linear.weight = Param::from_tensor(random([4, 4], part, &device));
        let bias = random([1, 4], part + 1000, &device).squeeze_dim(0);
        linear.bias = Some(Param::from_tensor(bias));
        linear
    };
    Net { stem: linear(1001), head: linear(1002), ..net(depth) }
}

fn loss(net: &Net, x_end: Tensor<2>) -> Tensor<1> {
    tanh(net.head.forward(x_end)).powi_scalar(2).mean()
}

/// All gradients of a record, flattened, in the order of the module's parameters.
fn flatten(net: &Net, record: &GradientsParams) -> Vec<f64> {
    struct Collector<'g>(&'g GradientsParams, Vec<f64>);
    impl ModuleVisitor for Collector<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self.0.get::<D>(param.id).expect("every parameter has a gradient");
            self.1.extend(gradient.into_data().iter::<f64>());
        }
    }
    let mut collector = Collector(record, Vec::new());
    net.visit(&mut collector);
    collector.1
}

fn relative_error(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |v: f64| v * v;
    let difference: f64 = found.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
    (difference / expected.iter().map(|v| square(*v)).sum::<f64>()).sqrt()
}

fn memory_free(net: &Net, method: &str) -> Vec<f64> {
    let x0 = net.stem.forward(random([5, 4], 500, &device()));
    let flow = FlowPass::new(&net.blocks, Scheme::EULER, &x0).expect("a reconstructible block");
    let method: Method = method.parse().expect("a method");
    let (x_end, pass) = flow.forward(&method, x0);
    assert!(pass.certificate().is_none(), "nothing is known before the way back");
    let gradients = gradients_of(&loss(net, x_end), net).expect("all gradients");
    assert!(pass.certificate().is_some());
    flatten(net, &gradients)
}

fn plain_autodiff(net: &Net) -> Vec<f64> {
    let mut x = net.stem.forward(random([5, 4], 500, &device()));
    let h = 1.0 / net.blocks.len() as f64;
    for block in &net.blocks {
        x = x.clone() + block.forward(x).mul_scalar(h);
    }
    flatten(net, &GradientsParams::from_grads(loss(net, x).backward(), net))
}

#[test]
fn a_users_block_gets_the_gradient_of_plain_autodiff() {
    let net = narrow_net(16);
    let expected = plain_autodiff(&net);
    for (method, tolerance) in [
        ("backprop", 1e-5), // single precision
        ("checkpoint", 1e-5),
        ("adjoint-learned", 2e-3), // second order at N = 16 on weights that jump
        ("adjoint-adaptive", 5e-3),
    ] {
        let error = relative_error(&memory_free(&net, method), &expected);
        assert!(error < tolerance, "{method}: {error:.2e}");
    }
}

#[test]
fn the_adjoint_of_a_users_block_keeps_the_same_bytes_at_any_depth() {
    let bytes = |depth: u64| {
        let x0 = random([5, 4], 500, &device());
        let blocks = Blocks::new(net(depth).blocks, &x0).expect("reconstructible blocks");
        let flow = Flow::new(blocks, Scheme::EULER);
        let method: Method = "adjoint-adaptive".parse().expect("a method");
        method.record(&flow, TensorState(x0.inner()), None).1.bytes()
    };
    assert_eq!(bytes(4), bytes(200));
}

#[test]
fn schemes_that_read_between_nodes_blend_the_parameters_of_two_blocks() {
    // With all blocks the same, midpoint and RK4 on blended blocks equal those on any of them.
    let device = device();
    let block = Block::new(3, &device);
    let x0 = random([5, 4], 500, &device);
    for scheme in [Scheme::MIDPOINT, Scheme::RK4, Scheme::HEUN] {
        let blocks: Vec<Block> = (0..5).map(|_| Block::new(3, &device)).collect();
        let flow = FlowPass::new(&blocks, scheme.clone(), &x0).expect("blocks");
        let end = flow.infer(x0.clone());
        let f = |x: Tensor<2>| block.forward(Tensor::from_inner(x)).inner();
        let (mut x, h) = (x0.clone().inner(), 0.25);
        for _ in 0..4 {
            let k1 = f(x.clone());
            let slope = match scheme.name() {
                "heun" => (k1.clone() + f(x.clone() + k1.mul_scalar(h))).mul_scalar(0.5),
                "midpoint" => f(x.clone() + k1.mul_scalar(h / 2.0)),
                _ => {
                    let k2 = f(x.clone() + k1.clone().mul_scalar(h / 2.0));
                    let k3 = f(x.clone() + k2.clone().mul_scalar(h / 2.0));
                    let k4 = f(x.clone() + k3.clone().mul_scalar(h));
                    (k1 + (k2 + k3).mul_scalar(2.0) + k4).mul_scalar(1.0 / 6.0)
                }
            };
            x = x + slope.mul_scalar(h);
        }
        let error = (end - x).abs().max().into_scalar::<f32>();
        assert!(error < 1e-6, "{scheme}: {error}");
    }
}

#[derive(Module, Debug)]
struct Normalised {
    norm: BatchNorm,
}

impl Residual<2> for Normalised {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.norm.forward(x)
    }
}

#[derive(Module, Debug)]
struct Dropped {
    dropout: Dropout,
}

impl Residual<2> for Dropped {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.dropout.forward(x)
    }
}

#[derive(Module, Debug)]
struct Widening {
    linear: Linear,
}

impl Residual<2> for Widening {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.linear.forward(x)
    }
}

#[test]
fn blocks_that_cannot_be_recomputed_are_refused_with_a_reason() {
    let device = device();
    let x0 = random([64, 4], 500, &device);
    let normalised = Normalised { norm: BatchNormConfig::new(4).init(&device) };
    let error = Blocks::<_, 2>::new(vec![normalised], &x0).err();
    assert!(matches!(error, Some(BlockError::MovingStatistics { block: 0, .. })), "{error:?}");
    let dropped = Dropped { dropout: DropoutConfig::new(0.5).init() };
    let error = Blocks::<_, 2>::new(vec![dropped], &x0).err();
    assert!(matches!(error, Some(BlockError::Random { block: 0, .. })), "{error:?}");
    let widening = Widening { linear: LinearConfig::new(4, 5).init(&device) };
    let error = Blocks::<_, 2>::new(vec![widening], &x0).err();
    assert!(matches!(error, Some(BlockError::Shape { block: 0, .. })), "{error:?}");
    let error = Blocks::<Block, 2>::new(Vec::new(), &x0).err();
    assert_eq!(error, Some(BlockError::Empty));
}
