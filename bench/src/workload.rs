//! The workloads, built from a formula that any language can rebuild: splitmix64 as a counter,
//! one sequence of numbers a workload, layer by layer, then x_0.

use anyhow::{Context, Result, bail};
use deeplimit::control::{Control, Kind};
use deeplimit::field::{AnyLayer, ConvBn, ConvBnLayer, Layer, LayerName, Order, Stacked};
use deeplimit::kernel::{Activation, Image};
use deeplimit::{Rows, State, seed};
use serde_json::Value;
use std::ops::Range;

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

/// W1 … W9.
pub fn names() -> Vec<String> {
    (1..=GOLDEN.len()).map(|id| format!("W{id}")).collect()
}

/// A problem and its golden numbers.
pub struct Workload {
    /// `W1` … `W9`.
    pub name: String,
    id: u64,
    field: Formula,
    depth: usize,
    batch: usize,
    golden: Value,
}

/// The residual function of a workload.
#[expect(clippy::large_enum_variant, reason = "there is one of them")]
enum Formula {
    /// Of samples that do not see each other.
    Layer(AnyLayer),
    /// With batch normalisation.
    Normalised(ConvBnLayer),
}

/// A field with its weights.
#[expect(clippy::large_enum_variant, reason = "there is one of them")]
pub enum WorkloadField {
    /// Of samples that do not see each other.
    Layer(Stacked<f32, AnyLayer>),
    /// With batch normalisation.
    Normalised(ConvBn<f32>),
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
        let golden: Value = serde_json::from_str(GOLDEN[id - 1])?;
        let size = |key: &str| golden["definition"][key].as_u64().map(|size| size as usize);
        let field = match (size("d"), size("c"), size("hw")) {
            (Some(width), ..) => {
                let hidden = size("h").context("a hidden width")?;
                let image = Image { height: 1, width: 1 };
                Formula::Layer(LayerName::Mlp.layer(width, image, hidden, Activation::Tanh))
            }
            (None, Some(channels), Some(side)) => {
                let image = Image { height: side, width: side };
                if golden["definition"]["kind"] == "convbn" {
                    let (hidden, activation) = (channels, Activation::Relu);
                    let order = Order::Post;
                    Formula::Normalised(ConvBnLayer { channels, hidden, image, activation, order })
                } else {
                    let conv = LayerName::Conv;
                    Formula::Layer(conv.layer(channels, image, channels, Activation::Relu))
                }
            }
            _ => bail!("{name}: neither a width nor channels in its definition"),
        };
        let depth = size("N").context("a depth")?;
        let batch = size("batch").context("a batch")?;
        Ok(Self { name: name.to_owned(), id: id as u64, field, depth, batch, golden })
    }

    /// Layers.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The same network at another depth. It has no golden numbers.
    pub fn with_depth(self, depth: usize) -> Self {
        Self { depth, golden: Value::Null, ..self }
    }

    fn kinds(&self) -> Vec<Kind> {
        match &self.field {
            Formula::Layer(layer) => Layer::<f32>::kinds(layer),
            Formula::Normalised(layer) => layer.kinds(),
        }
    }

    /// Numbers a sample.
    fn width(&self) -> usize {
        match &self.field {
            Formula::Layer(layer) => Layer::<f32>::width(layer),
            Formula::Normalised(layer) => layer.channels * layer.image.pixels(),
        }
    }

    /// Parameters of one layer.
    fn layer_size(&self) -> usize {
        self.kinds().iter().map(Kind::len).sum()
    }

    /// The field with the workload's weights, checked against the golden inputs.
    pub fn field(&self) -> Result<WorkloadField> {
        let (size, kinds) = (self.layer_size(), self.kinds());
        let mut offset = 0;
        let mut values = Vec::new();
        for kind in &kinds {
            let (length, start) = (kind.len(), offset);
            let (base, scale) = match kind.name {
                "g1" | "g2" => (1.0, 0.1),
                "be1" | "be2" => (0.0, 0.1),
                _ => (0.0, 1.0 / (kind.fan_in as f64).sqrt()),
            };
            let value = |index: usize| {
                let place = index / length * size + start + index % length;
                (base + scale * seed::uniform(self.id, place as u64)) as f32
            };
            values.push((0..self.depth * length).map(value).collect());
            offset += length;
        }
        let control = Control::new(kinds, self.depth, values);
        let x0 = self.state();
        for entry in self.golden["inputs"].as_array().into_iter().flatten() {
            let (found, expected) = (self.entry(entry, &control, &x0)?, number(entry)?);
            if (found - expected).abs() > 1e-7 {
                bail!("{}: input {entry} is {found} here", self.name);
            }
        }
        Ok(match &self.field {
            Formula::Layer(layer) => WorkloadField::Layer(Stacked::new(layer.clone(), control)),
            Formula::Normalised(layer) => WorkloadField::Normalised(ConvBn::new(*layer, control)),
        })
    }

    /// x_0, `[batch, width]`.
    pub fn state(&self) -> Rows<f32> {
        let width = self.width();
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
    pub fn errors(&self, loss: f64, gradient: &Control<f32>, x0_bar: &Rows<f32>) -> Option<Errors> {
        let golden_loss = self.golden["loss"].as_f64()?;
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
        Some(Errors { gradient: worst, loss: (loss - golden_loss).abs() / golden_loss })
    }

    /// Floating point operations of the matrix products or convolutions of one way forward.
    pub fn forward_flops(&self) -> f64 {
        let products: usize =
            self.kinds().iter().filter(|kind| kind.shape.len() > 1).map(Kind::len).sum();
        let pixels = match &self.field {
            Formula::Normalised(layer) => layer.image.pixels(),
            Formula::Layer(AnyLayer::Conv(conv)) => conv.image().pixels(),
            Formula::Layer(_) => 1,
        };
        2.0 * (self.batch * self.depth * products * pixels) as f64
    }
}

impl Workload {
    /// The loss of some samples of the batch, and the cotangent of their ends: the mean of x_N², or
    /// for normalised images the mean cross-entropy of the channels' means, sample i of class i
    /// modulo channels.
    pub fn loss(&self, mut end: Rows<f32>, samples: Range<usize>) -> (f64, Rows<f32>) {
        let Formula::Normalised(ConvBnLayer { channels, image, .. }) = &self.field else {
            let count = (self.batch * self.width()) as f64;
            let loss = end.norm_squared() / count;
            end.scale(2.0 / count);
            return (loss, end);
        };
        let (pixels, batch) = (image.pixels(), self.batch as f64);
        let rows: Vec<Vec<f32>> = (0..end.rows()).map(|row| end.row(row)).collect();
        let mut loss = 0.0;
        let bars: Vec<Vec<f64>> = rows
            .iter()
            .zip(samples)
            .map(|(row, sample)| {
                let mean = |plane: &[f32]| {
                    plane.iter().map(|v| f64::from(*v)).sum::<f64>() / pixels as f64
                };
                let logits: Vec<f64> = row.chunks_exact(pixels).map(mean).collect();
                let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
                let label = sample % channels;
                loss += (total.ln() - logits[label]) / batch;
                let bar = |(class, logit): (usize, &f64)| {
                    let right = if class == label { 1.0 } else { 0.0 };
                    (logit.exp() / total - right) / (batch * pixels as f64)
                };
                logits.iter().enumerate().map(bar).collect()
            })
            .collect();
        let bar = |row: usize, column: usize| bars[row][column / pixels] as f32;
        (loss, Rows::from_fn(end.rows(), end.width(), bar))
    }
}

fn number(entry: &Value) -> Result<f64> {
    entry["value"].as_f64().context("a number")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Problem;
    use deeplimit::Method;
    use deeplimit::kernel::VARIABLE;

    /// On every path of the kernels that this machine has: each in a process of its own, since the
    /// choice is made once.
    #[test]
    fn gradients_of_the_workloads_are_the_golden_ones_on_every_path() {
        let paths: &[&str] = if cfg!(target_arch = "x86_64") {
            &["avx512", "avx2", "portable"]
        } else {
            &["portable"]
        };
        let test = std::env::current_exe().expect("this test");
        for path in paths {
            let mut command = std::process::Command::new(&test);
            command.args(["--exact", "workload::tests::gradients_of_some_workloads", "--ignored"]);
            let output = command.env(VARIABLE, path).output().expect("this test runs");
            let text = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            if text.contains("where the machine has it") {
                eprintln!("this machine has no {path}: skipped");
                continue;
            }
            assert!(output.status.success(), "{path}: {text}");
            assert!(text.contains("1 passed"), "{path}: {text}");
        }
    }

    #[test]
    #[ignore = "run by the test above, once a path"]
    fn gradients_of_some_workloads() {
        for (name, method, tolerance) in [
            ("W1", "backprop", 2e-6),
            ("W2", "backprop", 2e-5),
            ("W3", "backprop", 5e-6),
            ("W4", "checkpoint", 2e-5),
            ("W5", "backprop", 2e-5),
            ("W8", "backprop", 1e-3), // PyTorch in single precision is off by 3e-4.
            ("W1", "adjoint-corrected", 1e-4),
        ] {
            let workload = Workload::named(name).expect("a workload");
            let mut problem = Problem::new(&workload, None).expect("the golden inputs");
            let method: Method = method.parse().expect("a method");
            let found = problem.step(&workload, &method);
            let errors = workload.errors(found.loss, found.gradient, &found.x0_bar);
            let errors = errors.expect("golden numbers");
            assert!(errors.gradient < tolerance, "{name}: {:.1e}", errors.gradient);
            assert!(errors.loss < 1e-5, "{name}: {:.1e}", errors.loss);
        }
    }
}
