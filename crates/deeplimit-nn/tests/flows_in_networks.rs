//! Flows anywhere in a Burn network: every gradient beside that of plain automatic differentiation.

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::{gelu, tanh};
use burn::tensor::{Device, Tensor, TensorData};
use deeplimit_nn::deeplimit::{Method, Scheme, seed};
use deeplimit_nn::{FlowPass, Residual, gradients_of};
use std::cell::Cell;

#[derive(Module, Debug)]
struct Block {
    norm: LayerNorm,
    up: Linear,
    down: Linear,
}

impl Residual<2> for Block {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.down.forward(gelu(self.norm.forward(self.up.forward(x))))
    }
}

/// Flows of two widths, and a map between them.
#[derive(Module, Debug)]
struct Net {
    stem: Linear,
    first: Vec<Block>,
    wide: Vec<Block>,
    narrow: Linear,
    last: Vec<Block>,
    head: Linear,
}

fn random<const D: usize>(shape: [usize; D], part: u64, device: &Device) -> Tensor<D> {
    let values = (0..shape.iter().product::<usize>() as u64).map(|i| 0.6 * seed::uniform(part, i));
    let values: Vec<f32> = values.map(|value| value as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn linear([inputs, outputs]: [usize; 2], part: u64, device: &Device) -> Linear {
    let mut linear = LinearConfig::new(inputs, outputs).init(device);
    linear.weight = Param::from_tensor(random([inputs, outputs], part, device));
    linear.bias = Some(Param::from_tensor(random([outputs], part + 1000, device)));
    linear
}

/// Weights of neighbours are the same four by four: reconstruction is good.
fn blocks(count: u64, width: usize, part: u64, device: &Device) -> Vec<Block> {
    let block = |index: u64| Block {
        norm: LayerNormConfig::new(6).init(device),
        up: linear([width, 6], part + index / 4, device),
        down: linear([6, width], part + 50 + index / 4, device),
    };
    (0..count).map(block).collect()
}

fn net(device: &Device) -> Net {
    Net {
        stem: linear([2, 4], 1, device),
        first: blocks(12, 4, 100, device),
        wide: blocks(16, 4, 200, device),
        narrow: linear([4, 3], 2, device),
        last: blocks(12, 3, 300, device),
        head: linear([3, 2], 3, device),
    }
}

/// A flow of some blocks, however it is walked.
type Run<'r> = &'r dyn Fn(&[Block], Tensor<2>) -> Tensor<2>;

/// The loss of a network in which flows stand in some way.
type Loss = fn(&Net, Run, Tensor<2>) -> Tensor<1>;

fn mean_square(net: &Net, end: Tensor<2>) -> Tensor<1> {
    tanh(net.head.forward(end)).powi_scalar(2).mean()
}

/// Stem, flow, flow, map, flow, head.
fn behind(net: &Net, run: Run, x: Tensor<2>) -> Tensor<1> {
    let x = run(&net.wide, tanh(run(&net.first, net.stem.forward(x))));
    mean_square(net, run(&net.last, tanh(net.narrow.forward(x))))
}

fn without_a_map_between(net: &Net, run: Run, x: Tensor<2>) -> Tensor<1> {
    let x = run(&net.wide, run(&net.first, net.stem.forward(x)));
    mean_square(net, run(&net.last, net.narrow.forward(x)))
}

fn twice(net: &Net, run: Run, x: Tensor<2>) -> Tensor<1> {
    let x = run(&net.wide, run(&net.first, net.stem.forward(x)));
    let x = net.narrow.forward(run(&net.first, tanh(x)));
    mean_square(net, run(&net.last, tanh(run(&net.last, x))))
}

fn beside(net: &Net, run: Run, x: Tensor<2>) -> Tensor<1> {
    let x = tanh(net.stem.forward(x));
    let x = run(&net.first, x.clone()) * run(&net.wide, x);
    mean_square(net, run(&net.last, net.narrow.forward(x)))
}

/// Connections around flows, from one before another and into the loss.
fn around(net: &Net, run: Run, x: Tensor<2>) -> Tensor<1> {
    let start = tanh(net.stem.forward(x));
    let first = run(&net.first, start.clone());
    let wide = run(&net.wide, first.clone() + start.clone());
    let end = run(&net.last, net.narrow.forward(wide + first));
    mean_square(net, end.clone()) + end.mul(net.narrow.forward(start)).mean()
}

/// Weights of a flow in the loss, and in another place of the network.
fn weights_elsewhere(net: &Net, run: Run, x: Tensor<2>) -> Tensor<1> {
    let x = net.wide[3].forward(run(&net.first, net.stem.forward(x)));
    let x = run(&net.wide, x);
    let decay = net.first[2].up.weight.val().powi_scalar(2).sum();
    mean_square(net, run(&net.last, net.narrow.forward(x))) + decay.mul_scalar(0.01)
}

const ALL: [(&str, Loss); 6] = [
    ("one behind another", behind),
    ("without a map between", without_a_map_between),
    ("one of them twice", twice),
    ("beside one another", beside),
    ("connections around them", around),
    ("weights elsewhere", weights_elsewhere),
];

fn euler(blocks: &[Block], x: Tensor<2>) -> Tensor<2> {
    let h = 1.0 / blocks.len() as f64;
    blocks.iter().fold(x, |x, block| x.clone() + block.forward(x).mul_scalar(h))
}

fn flow(method: Method) -> impl Fn(&[Block], Tensor<2>) -> Tensor<2> {
    move |blocks, x0| {
        let flow = FlowPass::new(blocks, Scheme::EULER, &x0).expect("reconstructible blocks");
        flow.forward(&method, x0).0
    }
}

fn named(method: &str) -> Method {
    method.parse().expect("a method")
}

fn inputs(device: &Device) -> Tensor<2> {
    random([5, 2], 500, device)
}

/// The gradient of every trained parameter, in the order of the network.
fn each(net: &Net, record: &GradientsParams) -> Vec<Vec<f32>> {
    struct Collector<'g>(&'g GradientsParams, Vec<Vec<f32>>);
    impl ModuleVisitor for Collector<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad() {
                let gradient = self.0.get::<D>(param.id).expect("a gradient of every parameter");
                assert_eq!(gradient.shape(), param.shape());
                self.1.push(gradient.into_data().iter::<f32>().collect());
            }
        }
    }
    let mut collector = Collector(record, Vec::new());
    net.visit(&mut collector);
    collector.1
}

/// Largest difference of two gradients of an array, over the largest entry of either gradient at all.
fn largest_error(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let size = |values: &[f32]| values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let errors = found.iter().zip(expected).map(|(found, expected)| {
        let difference: Vec<f32> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
        size(&difference) / size(expected).max(1e-3)
    });
    errors.fold(0.0, f32::max)
}

/// Relative error of the gradient of all parameters together.
fn relative_error(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f32 {
    let square = |values: f32| values * values;
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    let difference: f32 = pairs.map(|(found, expected)| square(found - expected)).sum();
    (difference / expected.iter().flatten().map(|value| square(*value)).sum::<f32>()).sqrt()
}

fn assert_as_plain(name: &str, loss: Loss, net: &Net, device: &Device) {
    let plain = GradientsParams::from_grads(loss(net, &euler, inputs(device)).backward(), net);
    let plain = each(net, &plain);
    let found = |method: &str| {
        let loss = loss(net, &flow(named(method)), inputs(device));
        each(net, &gradients_of(&loss, net).expect(name))
    };
    for method in ["backprop", "checkpoint"] {
        let error = largest_error(&found(method), &plain);
        println!("{name}, {method}: {error:.1e}");
        assert!(error < 2e-4, "{name}, {method}, in single precision: {error:.1e}");
    }
    // Within its own error, on weights that jump between neighbours.
    let error = relative_error(&found("adjoint-adaptive"), &plain);
    println!("{name}, adjoint-adaptive: {error:.1e}");
    assert!(error < 0.1, "{name}, adjoint-adaptive: {error:.1e}");
}

#[test]
fn wherever_flows_stand_gradients_are_those_of_plain_autodiff() {
    let device = Device::flex().autodiff();
    for (name, loss) in ALL {
        assert_as_plain(name, loss, &net(&device), &device);
    }
}

#[test]
fn frozen_parameters_stay_out_and_all_others_get_their_gradient() {
    let device = Device::flex().autodiff();
    let mut net = net(&device);
    net.stem = net.stem.no_grad();
    net.first = net.first.no_grad();
    net.wide[2].up = net.wide[2].up.clone().no_grad();
    assert_as_plain("frozen", behind, &net, &device);
    // Nothing before the flow is trained, and not the flow itself.
    net.wide = net.wide.no_grad();
    assert_as_plain("frozen flows", behind, &net, &device);
}

#[test]
fn devices_that_recompute_give_the_same_gradients() {
    let device = Device::flex().autodiff().gradient_checkpointing();
    assert_as_plain("recomputing", around, &net(&device), &device);
}

#[test]
fn one_flow_can_be_walked_twice() {
    let device = Device::flex().autodiff();
    let net = net(&device);
    let whole = |run: Run| {
        let x = run(&net.first, tanh(run(&net.first, net.stem.forward(inputs(&device)))));
        mean_square(&net, net.narrow.forward(x))
    };
    let expected = whole(&euler).backward();
    let kept = FlowPass::trusted(&net.first, Scheme::EULER);
    let passes = Cell::new(0);
    let run = |_: &[Block], x0| {
        passes.set(passes.get() + 1);
        kept.forward(&named("checkpoint"), x0).0
    };
    let found = whole(&run).backward();
    assert_eq!(passes.get(), 2);
    let weight = |gradients| {
        let weight = net.first[5].up.weight.val().grad(gradients).expect("a gradient");
        vec![weight.into_data().iter::<f32>().collect::<Vec<f32>>()]
    };
    assert!(largest_error(&weight(&found), &weight(&expected)) < 1e-4);
}

#[test]
fn a_gradient_that_is_missing_is_an_error_with_the_names() {
    let device = Device::flex().autodiff();
    let net = net(&device);
    let run = flow(named("adjoint-adaptive"));
    // As it is written by mistake: the first flow's end is not what goes on.
    let x0 = net.stem.forward(inputs(&device));
    run(&net.first, x0.clone());
    let loss = mean_square(&net, run(&net.last, net.narrow.forward(run(&net.wide, x0))));
    let missing = gradients_of(&loss, &net).expect_err("the first flow is left out");
    assert_eq!(missing.names.len(), 12 * 6);
    assert!(missing.names.iter().all(|name| name.starts_with("first.")));
    assert_eq!(missing.trained, (12 + 16 + 12) * 6 + 3 * 2);
    let text = missing.to_string();
    for part in ["72 of 246", "first.0.norm.gamma", "and 69 more", "no_grad()"] {
        assert!(text.contains(part), "{text}");
    }
    // A step of an optimiser moves every parameter of a network whose gradients are there.
    let loss = behind(&net, &run, inputs(&device));
    let gradients = gradients_of(&loss, &net).expect("all gradients");
    let moved = SgdConfig::new().init().step(0.1, net.clone(), gradients);
    let before = net.first[0].up.weight.val();
    let change = moved.first[0].up.weight.val().sub(before).abs().max().into_scalar::<f32>();
    assert!(change > 0.0);
}
