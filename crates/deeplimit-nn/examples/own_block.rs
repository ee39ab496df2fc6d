//! A user's own block, trained memory-free: `cargo run --release -p deeplimit-nn --example own_block`.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig, loss::CrossEntropyLoss};
use burn::optim::AdamWConfig;
use burn::tensor::{Device, Distribution, Int, Tensor, activation::gelu};
use deeplimit_nn::deeplimit::{Method, Scheme};
use deeplimit_nn::{FlowPass, Residual, gradients_of};

#[derive(Module, Debug)]
struct MyBlock {
    norm: LayerNorm,
    up: Linear,
    down: Linear,
}

impl Residual<2> for MyBlock {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.down.forward(gelu(self.up.forward(self.norm.forward(x))))
    }
}

#[derive(Module, Debug)]
struct MyNetwork {
    stem: Linear,
    blocks: Vec<MyBlock>,
    head: Linear,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::default().autodiff(); // or Device::cuda(0).autodiff() with --features cuda
    let linear = |from, to| LinearConfig::new(from, to).init(&device);
    let block = |_| MyBlock {
        norm: LayerNormConfig::new(32).init(&device),
        up: linear(32, 64),
        down: linear(64, 32),
    };
    let mut network = MyNetwork {
        stem: linear(2, 32),
        blocks: (0..50).map(block).collect(),
        head: linear(32, 2),
    };
    let (mut optimiser, method): (_, Method) =
        (AdamWConfig::new().init(), "adjoint-adaptive".parse()?);
    for step in 0..100 {
        let points = Tensor::<2>::random([256, 2], Distribution::Uniform(-1.0, 1.0), &device);
        let inside: Tensor<1, Int> =
            points.clone().powi_scalar(2).sum_dim(1).lower_elem(0.6).int().squeeze_dim(1);
        let x0 = network.stem.forward(points);
        let flow = if step == 0 {
            FlowPass::new(&network.blocks, Scheme::EULER, &x0)?
        } else {
            FlowPass::trusted(&network.blocks, Scheme::EULER)
        };
        let (x_end, pass) = flow.forward(&method, x0); // no graph, the memory of one block
        let loss =
            CrossEntropyLoss::new(None, &device).forward(network.head.forward(x_end), inside);
        let gradients = gradients_of(&loss, &network)?;
        network = optimiser.step(5e-3, network, gradients);
        if let Some(certificate) = pass.certificate().filter(|_| step % 10 == 9) {
            println!(
                "step {:3}  loss {:.4}  gradient error about {:.0e}",
                step + 1,
                loss.into_scalar::<f32>(),
                certificate.error_estimate()
            );
        }
    }
    Ok(())
}
