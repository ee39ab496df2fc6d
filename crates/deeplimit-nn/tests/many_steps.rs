//! Memory of training does not grow with its steps.

#[path = "../../deeplimit/tests/common/counting.rs"]
mod counting;

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::optim::{AdamWConfig, SgdConfig};
use burn::tensor::{Device, Distribution, Tensor, activation::gelu};
use deeplimit_nn::deeplimit::{Method, Scheme};
use deeplimit_nn::train::{Config, Trainer};
use deeplimit_nn::{FlowPass, Residual, gradients_of};
use std::sync::Mutex;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Tests of this file wait for one another: they share the allocator.
static ALONE: Mutex<()> = Mutex::new(());

/// Steps before memory is looked at, and steps in each of two stretches that are compared.
const STEPS: usize = 1000;

/// What the second stretch may take more than the first: other threads of the process come and go. A
/// kilobyte every ten steps would be twice as much.
const SLACK: usize = 50_000;

/// Steps 1000 to 2000 and 2000 to 3000 take the same memory at most.
fn assert_flat(name: &str, mut step: impl FnMut()) {
    let mut stretch = || counting::most_during(|| (0..STEPS).for_each(|_| step()));
    let [_, first, second] = [(); 3].map(|()| stretch());
    println!("{name}: {first}, then {second} bytes");
    assert!(second <= first + SLACK, "{name}: {first}, then {second} bytes");
}

/// Settings of small networks, and of how they are trained.
const RUNS: [(&str, &str); 4] = [
    (
        "adamw",
        "train.optimiser = 'adamw'
        network.stage = [{ depth = 2, transition = { kind = 'linear', width = 3 } }]",
    ),
    // Running statistics are parameters that no optimiser changes.
    (
        "adam, normalised",
        "train.optimiser = 'adam'
        train.clip = 1.0
        network.stage = [{ depth = 2, field = 'conv-bn', \
            transition = { kind = 'conv', channels = 1, kernel = 4, stride = 4 } }]",
    ),
    // Parameters that are changed once more after each step.
    (
        "sgd, penalised",
        "train.optimiser = 'sgd'
        train.momentum = 0.9
        objective.depth = { h1 = 1e-3, step = 'proximal' }
        network.stage = [{ depth = 4, dropout = 0.5, transition = { kind = 'linear', width = 3 } }]",
    ),
    (
        "rates of their own, in a basis",
        "train.rates = [{ weights = 'head', factor = 0.1 }]
        network.stage = [{ depth = 8, transition = { kind = 'linear', width = 3 }, \
            control = { basis = 'linear', coefficients = 3 } }]",
    ),
];

#[test]
fn memory_of_training_does_not_grow_with_its_steps() {
    let _alone = ALONE.lock();
    for (name, settings) in RUNS {
        let text = format!(
            "data = {{ limit_train = 60, limit_test = 20 }}
            train.epochs = 300
            train.batch = 4
            gradient.method = 'backprop'
            {settings}"
        );
        let config: Config = toml::from_str(&text).expect(name);
        let mut trainer = Trainer::new(config).expect("a trainer");
        assert_flat(name, || drop(trainer.step().expect("a step")));
    }
}

#[derive(Module, Debug)]
struct Block {
    norm: LayerNorm,
    linear: Linear,
}

impl Residual<2> for Block {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        gelu(self.linear.forward(self.norm.forward(x)))
    }
}

/// Two flows, of which the second is frozen, and maps around them.
#[derive(Module, Debug)]
struct Net {
    stem: Linear,
    blocks: Vec<Block>,
    frozen: Vec<Block>,
    head: Linear,
}

#[test]
fn memory_of_flows_in_burn_networks_does_not_grow_with_their_steps() {
    let _alone = ALONE.lock();
    let device = Device::flex().autodiff();
    let linear = || LinearConfig::new(3, 3).init(&device);
    let block = || Block { norm: LayerNormConfig::new(3).init(&device), linear: linear() };
    let flow = || (0..2).map(|_| block()).collect::<Vec<Block>>();
    for (method, mut optimiser) in
        [("backprop", SgdConfig::new().init()), ("adjoint-adaptive", AdamWConfig::new().init())]
    {
        let frozen = flow().no_grad();
        let mut net = Net { stem: linear(), blocks: flow(), frozen, head: linear() };
        let way: Method = method.parse().expect("a method");
        assert_flat(method, || {
            let x = Tensor::<2>::random([2, 3], Distribution::Uniform(-1.0, 1.0), &device);
            let x0 = net.stem.forward(x);
            // Midpoint reads the control between nodes.
            let flow = FlowPass::new(&net.blocks, Scheme::MIDPOINT, &x0).expect("blocks");
            let (end, pass) = flow.forward(&way, x0);
            let frozen = FlowPass::trusted(&net.frozen, Scheme::EULER);
            let (end, _) = frozen.forward(&way, end);
            let loss = net.head.forward(end).powi_scalar(2).mean();
            let gradients = gradients_of(&loss, &net).expect("all gradients");
            assert!(pass.certificate().is_some());
            flow.infer(net.stem.forward(Tensor::ones([1, 3], &device)));
            net = optimiser.step(1e-3, net.clone(), gradients);
        });
    }
}
