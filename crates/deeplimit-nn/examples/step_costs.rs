//! What a training step costs, and which share of it lies outside the flows.
//!
//!     cargo run --release -p deeplimit-nn --example step_costs -- examples/cifar10.toml DIR 40 [METHOD]
//!
//! Every step is timed beside the gradient of its flows alone, on a batch of the same size.

use deeplimit_nn::deeplimit::field::{ConvBn, Stacked, Tiled};
use deeplimit_nn::deeplimit::{Field, Flow, Method, Rows, Spare};
use deeplimit_nn::network::Formula;
use deeplimit_nn::train::{Config, Trainer};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("a configuration is missing")?;
    let mut config: Config = toml::from_str(&std::fs::read_to_string(file)?)?;
    config.data.path = arguments.next().filter(|path| path != "-").map(Into::into);
    let steps: usize = arguments.next().ok_or("a number of steps is missing")?.parse()?;
    if let Some(method) = arguments.next() {
        config.gradient.method = method;
    }
    let method: Method = config.gradient.method.parse()?;
    let batch = config.train.batch();
    let mut trainer = Trainer::new(config)?;
    let (mut whole, mut flows) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        let began = Instant::now();
        trainer.step()?;
        whole.push(1e3 * began.elapsed().as_secs_f64());
        let mut milliseconds = 0.0;
        for (plan, control) in trainer.network().controls() {
            let width = plan.formula.width();
            let x =
                Rows::from_fn(batch, width, |row, column| ((row * width + column) as f32).sin());
            let scheme = plan.scheme.clone();
            milliseconds += match &plan.formula {
                Formula::Layer(layer) => {
                    timed(&Flow::new(Stacked::new(layer.clone(), control), scheme), &method, &x)
                }
                Formula::ConvBn(layer) => {
                    let field = ConvBn::new(*layer, control);
                    timed(&Flow::new(field, scheme), &method, &Tiled::cut(&x))
                }
            };
        }
        flows.push(milliseconds);
    }
    let (whole, flows) = (median(whole), median(flows));
    let per_epoch = trainer.steps_per_epoch();
    println!(
        "step {whole:.2} ms, flows {flows:.2} ms, outside {:.1} %",
        100.0 * (1.0 - flows / whole)
    );
    println!(
        "{:.0} images/s, {:.2} s an epoch of {per_epoch} steps",
        1e3 * batch as f64 / whole,
        whole * per_epoch as f64 / 1e3
    );
    Ok(())
}

/// Milliseconds of one gradient of a flow, in the memory of the one before.
fn timed<F: Field>(flow: &Flow<F>, method: &Method, x0: &F::State) -> f64 {
    let mut gradient = flow.field().zero_gradient();
    let spare = Spare::default();
    flow.gradient(method, x0, |end, _| ((), end), &mut gradient, &spare);
    let began = Instant::now();
    flow.gradient(method, x0, |end, _| ((), end), &mut gradient, &spare);
    1e3 * began.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
