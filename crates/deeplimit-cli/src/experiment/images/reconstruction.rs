//! What the way back recovers of x_0 at the start, with the bottleneck blocks of the paper's code (its
//! `expe_discretization_CIFAR.py`, there 64 images, 64 planes and Euler's scheme alone): a 3×3 stem and a block
//! with a projected shortcut, both with relu behind them, then x + f(x)/N with
//!
//! ```text
//! f(x) = norm(W₃ ∗ relu(norm(W₂ ∗ relu(norm(W₁ ∗ relu(x))))))     windows of 1×1, 3×3, 1×1 pixels
//! ```
//!
//! Every layer is drawn by itself; normalisations go by the batch. In double precision, so that what is seen is no
//! rounding.

use super::{Images, METHODS, Part, Row, finite};
use crate::experiment::walks::walk;
use anyhow::Result;
use deeplimit::control::Family;
use deeplimit::field::{ConvBn, Tiled};
use deeplimit::kernel::Activation;
use deeplimit::{Flow, Method, Rows, Scheme, seed};
use deeplimit_nn::data::batch;
use deeplimit_nn::network::{
    FieldName, Formula, Network, NetworkConfig, Outputs, Shortcut, StageConfig, TransitionConfig,
};

impl Images {
    /// A row a method; in the deepest networks of the paper's alone. The step is 1/N, but for a control in which it does not know the depth.
    pub(super) fn reconstruction(
        &self,
        scheme: &Scheme,
        depth: usize,
        step: Option<f64>,
    ) -> Result<Vec<Row>> {
        let own = seed::derive(self.seed, depth as u64);
        let (formula, x0) = self.start(own)?;
        let Formula::ConvBn(layer) = formula else { unreachable!("a field with normalisation") };
        let nodes = scheme.nodes_for(depth);
        let control = Formula::ConvBn(layer).initial::<f64>(nodes, Family::Independent, 1.0, own);
        let flow = Flow::new(ConvBn::new(layer, control), scheme.clone());
        let flow = match step {
            Some(step) => flow.with_step(step),
            None => flow,
        };
        let bar = seed::derive(own, 1);
        let bar = Rows::from_fn(x0.rows(), x0.width(), |row, column| {
            seed::normal(bar, (row * x0.width() + column) as u64)
        });
        let [x0, bar] = [x0, bar].map(|rows| Tiled::cut(&rows));
        let methods = if self.sizes.deeper.contains(&depth) { &METHODS[..1] } else { &METHODS };
        let rows = methods.iter().map(|name| {
            let method: Method = name.parse()?;
            let found = walk(&flow, &method, [&x0, &bar]);
            let value = finite(found.certificate.state_error());
            Ok(Row { value, ..Row::new(Part::Reconstruction, scheme, depth, name) })
        });
        rows.collect()
    }

    /// The residual function, and the images behind stem, block and relu.
    fn start(&self, seed: u64) -> Result<(Formula, Rows<f64>)> {
        let planes = self.sizes.planes;
        let stage = StageConfig {
            field: FieldName::named("conv-bn-bottleneck").expect("a field of the registry"),
            activation: Some(Activation::Relu),
            hidden: Some(planes),
            depth: 1,
            init: Family::Independent,
            transition: TransitionConfig::Stem {
                channels: planes,
                kernel: 3,
                stride: 1,
                padding: 1,
                relu: false,
                pool: false,
                widen: Some(4 * planes),
                hidden: Some(planes),
                bottleneck: true,
                preactivation: false,
                shortcut: Shortcut::Project,
            },
            ..StageConfig::default()
        };
        let config = NetworkConfig { stage: vec![stage], ..NetworkConfig::default() };
        let samples = &self.splits.train;
        let plan = config.check(samples.shape(), Outputs::of(samples))?;
        let indices: Vec<u32> = (0..self.sizes.batch as u32).collect();
        let images = batch(samples, &indices, &self.splits.normalisation, None)?;
        let x0 = Network::new(&plan, seed).entering(&images).swap_remove(0);
        let mut x0 = x0.cast::<f64>();
        x0.columns_mut().iter_mut().for_each(|x| *x = x.max(0.0));
        Ok((plan.stages[0].formula.clone(), x0))
    }
}
