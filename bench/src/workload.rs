//! The workloads, built from a formula that any language can rebuild: splitmix64 as a counter,
//! one sequence of numbers a workload, layer by layer, then x_0.

use anyhow::{Context, Result, bail};
use deeplimit::control::{Control, Kind};
use deeplimit::field::{AnyLayer, Layer, LayerName, Stacked};
use deeplimit::kernel::{Activation, Image};
use deeplimit::{Rows, seed};
use serde_json::Value;

/// Golden numbers: definition, inputs to check the generator, loss, gradient norms and entries.
const GOLDEN: [&str; 9] = [
    include_str!("../golden/w1.json"),
    include_str!("../golden/w2.json"),
    include_str!("../golden/w3.json"),
    include_str!("../golden/w4.json"),
    include_str!("../golden/w5.json"),
    include_str!("../golden/w6.json"),
    include_str!("../golden/w7.json"),
    include_str!("../golden/w8.json"),
    include_str!("../golden/w9.json"),
];

/// Why a workload cannot run.
pub const UNSUPPORTED: &str = "batch normalisation in a field is not there yet";

/// W1 … W9.
pub fn names() -> Vec<String> {
    (1..=GOLDEN.len()).map(|id| format!("W{id}")).collect()
}

/// Whether the library has the workload's field.
pub fn is_supported(name: &str) -> bool {
    name != "W8"
}

/// A problem and its golden numbers.
pub struct Workload {
    /// `W1` … `W9`.
    pub name: String,
    id: u64,
    layer: AnyLayer,
    depth: usize,
    batch: usize,
    golden: Value,
}

/// Errors against the golden numbers.
pub struct Errors {
    /// Largest error of the golden gradient entries, relative to the largest of them.
    pub gradient: f64,
    /// Relative error of the loss.
    pub loss: f64,
}

impl Workload {
    /// The workload of a name.
    pub fn named(name: &str) -> Result<Self> {
        let number = name.strip_prefix('W').and_then(|id| id.parse::<usize>().ok());
        let id = number.filter(|id| (1..=GOLDEN.len()).contains(id));
        let id = id.with_context(|| format!("{name}: expected W1 … W{}", GOLDEN.len()))?;
        if !is_supported(name) {
            bail!("{name}: {UNSUPPORTED}");
        }
        let golden: Value = serde_json::from_str(GOLDEN[id - 1])?;
        let size = |key: &str| golden["definition"][key].as_u64().map(|size| size as usize);
        let layer = match (size("d"), size("c"), size("hw")) {
            (Some(width), ..) => {
                let hidden = size("h").context("a hidden width")?;
                let image = Image { height: 1, width: 1 };
                LayerName::Mlp.layer(width, image, hidden, Activation::Tanh)
            }
            (None, Some(channels), Some(side)) => {
                let image = Image { height: side, width: side };
                LayerName::Conv.layer(channels, image, channels, Activation::Relu)
            }
            _ => bail!("{name}: neither a width nor channels in its definition"),
        };
        let depth = size("N").context("a depth")?;
        let batch = size("batch").context("a batch")?;
        Ok(Self { name: name.to_owned(), id: id as u64, layer, depth, batch, golden })
    }

    fn kinds(&self) -> Vec<Kind> {
        Layer::<f32>::kinds(&self.layer)
    }

    /// Parameters of one layer.
    fn layer_size(&self) -> usize {
        self.kinds().iter().map(Kind::len).sum()
    }

    /// The field with the workload's weights, checked against the golden inputs.
    pub fn field(&self) -> Result<Stacked<f32, AnyLayer>> {
        let (size, kinds) = (self.layer_size(), self.kinds());
        let mut offset = 0;
        let mut values = Vec::new();
        for kind in &kinds {
            let (length, start) = (kind.len(), offset);
            let scale = 1.0 / (kind.fan_in as f64).sqrt();
            let value = |index: usize| {
                let place = index / length * size + start + index % length;
                (scale * seed::uniform(self.id, place as u64)) as f32
            };
            values.push((0..self.depth * length).map(value).collect());
            offset += length;
        }
        let control = Control::new(kinds, self.depth, values);
        let x0 = self.state();
        for entry in self.golden["inputs"].as_array().context("golden inputs")? {
            let (found, expected) = (self.entry(entry, &control, &x0)?, number(entry)?);
            if (found - expected).abs() > 1e-7 {
                bail!("{}: input {entry} is {found} here", self.name);
            }
        }
        Ok(Stacked::new(self.layer.clone(), control))
    }

    /// x_0, `[batch, width]`.
    pub fn state(&self) -> Rows<f32> {
        let width = Layer::<f32>::width(&self.layer);
        let start = self.depth * self.layer_size();
        let value = |row: usize, column: usize| {
            seed::uniform(self.id, (start + row * width + column) as u64) as f32
        };
        Rows::from_fn(self.batch, width, value)
    }

    /// The number that a golden entry names: of a layer's tensor, or of x_0.
    fn entry(&self, entry: &Value, control: &Control<f32>, x0: &Rows<f32>) -> Result<f64> {
        let index = entry["flat_index"].as_u64().context("an index")? as usize;
        let Some(layer) = entry["layer"].as_u64() else {
            return Ok(f64::from(x0.at(index / x0.width(), index % x0.width())));
        };
        let tensor = entry["tensor"].as_str().context("a tensor's name")?.to_lowercase();
        let kind = control.kinds().iter().position(|kind| kind.name == tensor);
        let kind = kind.with_context(|| format!("no tensor {tensor}"))?;
        Ok(f64::from(control.at(kind, layer as usize)[index]))
    }

    /// Loss and gradient against the golden numbers.
    pub fn errors(&self, loss: f64, gradient: &Control<f32>, x0_bar: &Rows<f32>) -> Errors {
        let golden_loss = self.golden["loss"].as_f64().unwrap_or(f64::NAN);
        // The entries of x_0 are larger than those of the parameters: each kind has its own scale.
        let mut worst = 0.0;
        for of_layers in [true, false] {
            let entries = self.golden["grad"].as_array().into_iter().flatten();
            let entries = entries.filter(|entry| entry["layer"].is_u64() == of_layers);
            let pairs: Vec<(f64, f64)> = entries
                .filter_map(|entry| {
                    Some((self.entry(entry, gradient, x0_bar).ok()?, number(entry).ok()?))
                })
                .collect();
            let scale = pairs.iter().map(|(_, expected)| expected.abs()).fold(0.0, f64::max);
            let largest = pairs.iter().map(|(found, expected)| (found - expected).abs());
            worst = largest.map(|error| error / scale).fold(worst, deeplimit::gradient::larger);
        }
        Errors { gradient: worst, loss: (loss - golden_loss).abs() / golden_loss }
    }

    /// Floating point operations of the matrix products or convolutions of one way forward.
    pub fn forward_flops(&self) -> f64 {
        let products: usize =
            self.kinds().iter().filter(|kind| kind.shape.len() > 1).map(Kind::len).sum();
        let pixels = match &self.layer {
            AnyLayer::Conv(conv) => conv.image().pixels(),
            _ => 1,
        };
        2.0 * (self.batch * self.depth * products * pixels) as f64
    }
}

fn number(entry: &Value) -> Result<f64> {
    entry["value"].as_f64().context("a number")
}

#[cfg(test)]
mod tests {
    use super::*;
    use deeplimit::{Field, Flow, Method, Scheme, Spare};

    #[test]
    fn gradients_of_the_workloads_are_the_golden_ones() {
        for (name, method, tolerance) in [
            ("W1", "backprop", 2e-6),
            ("W3", "backprop", 2e-6),
            ("W5", "backprop", 2e-5),
            ("W1", "adjoint-corrected", 1e-4),
        ] {
            let workload = Workload::named(name).expect("a workload");
            let flow = Flow::new(workload.field().expect("the golden inputs"), Scheme::EULER);
            let method: Method = method.parse().expect("a method");
            let mut gradient = flow.field().zero_gradient();
            let spare = Spare::default();
            let (loss, x0_bar) =
                crate::step(&flow, &method, &workload.state(), &mut gradient, &spare);
            let errors = workload.errors(loss, &gradient, &x0_bar);
            assert!(errors.gradient < tolerance, "{name}: {:.1e}", errors.gradient);
            assert!(errors.loss < 1e-6, "{name}: {:.1e}", errors.loss);
        }
    }
}
