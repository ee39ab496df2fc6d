//! Training with a trainable factor, and the statistics of its weights (Cohen, Cont, Rossier, Xu 2021, and their
//! code).

use super::factored::Factored;
use deeplimit::control::Control;
use deeplimit::field::{Dense, Layer, Stacked};
use deeplimit::gradient::Backprop;
use deeplimit::kernel::Activation;
use deeplimit::{Flow, Method, Rows, Scheme, Spare, State, seed};
use deeplimit_nn::data::epoch_order;

/// Numbers a sample.
pub const WIDTH: usize = 10;

pub const BATCH: usize = 32;

/// The recipe.
#[derive(Clone, Copy)]
pub struct Recipe {
    pub samples: usize,
    pub epochs: usize,
    /// The loss at which a training ends.
    pub target: f64,
    pub rate: f64,
}

impl Recipe {
    /// The paper's, with another rate: ten times smaller steps have more epochs.
    pub fn at(rate: f64) -> Self {
        let epochs = if rate < 1e-2 { 40 } else { 10 };
        Self { samples: 1024, epochs, target: 1e-3, rate }
    }
}

/// Inputs and targets of length 1.
pub struct Data {
    inputs: Rows<f64>,
    targets: Rows<f64>,
}

impl Data {
    /// x uniform in [−1, 1), and z(1) of 100 steps z + tanh(sin(5πt) z + cos(5πt))/10 from it.
    pub fn draw(samples: usize, seed: u64) -> Self {
        const STEPS: usize = 100;
        let mut inputs = Rows::from_fn(samples, WIDTH, |row, column| {
            seed::uniform(seed, (row * WIDTH + column) as u64)
        });
        let mut targets = inputs.clone();
        for step in 0..STEPS {
            let (sin, cos) = (5.0 * std::f64::consts::PI * step as f64 / STEPS as f64).sin_cos();
            for z in targets.columns_mut() {
                *z += (STEPS as f64).powf(-0.5) * (sin * *z + cos).tanh();
            }
        }
        for rows in [&mut inputs, &mut targets] {
            let norms: Vec<f64> = (0..samples)
                .map(|row| rows.row(row).iter().map(|v| v * v).sum::<f64>().sqrt())
                .collect();
            *rows = Rows::from_fn(samples, WIDTH, |row, column| rows.at(row, column) / norms[row]);
        }
        Self { inputs, targets }
    }

    fn batch(&self, samples: &[u32]) -> [Rows<f64>; 2] {
        [&self.inputs, &self.targets].map(|rows| {
            Rows::from_fn(samples.len(), WIDTH, |row, column| {
                rows.at(samples[row] as usize, column)
            })
        })
    }
}

type Network = Flow<Stacked<f64, Factored>>;

/// Weights as they are drawn: A and b of size 0.01/L, δ of size 1/L.
fn start(activation: Activation, layers: usize, seed: u64) -> Network {
    let layer = Factored { dense: Dense { width: WIDTH, activation } };
    let kinds = layer.kinds();
    let mut control = Control::zeros(kinds, layers);
    let (depth, width) = (layers as f64, WIDTH as f64);
    let sizes = [0.01 / (depth * width), 0.01 / (depth * width.sqrt()), 1.0 / depth];
    for (kind, (values, size)) in control.values_mut().iter_mut().zip(sizes).enumerate() {
        let own = seed::derive(seed, kind as u64);
        for (index, value) in values.iter_mut().enumerate() {
            let drawn = kind < 2 || !is_shared(activation);
            *value = if drawn { size * seed::normal(own, index as u64) } else { size };
        }
    }
    Flow::new(Stacked::new(layer, control), Scheme::EULER).with_step(1.0).with_tile(BATCH)
}

/// Whether all layers have one δ, as the paper's tanh networks; its relu networks have one a layer.
pub fn is_shared(activation: Activation) -> bool {
    activation == Activation::Tanh
}

/// Adam (Kingma, Ba 2015).
struct Adam {
    rate: f64,
    steps: i32,
    moments: [Control<f64>; 2],
}

impl Adam {
    fn step(&mut self, control: &mut Control<f64>, gradient: &Control<f64>) {
        const DECAYS: [f64; 2] = [0.9, 0.999];
        self.steps += 1;
        let [first, second] = DECAYS.map(|decay| 1.0 - decay.powi(self.steps));
        let [means, squares] = &mut self.moments;
        for (kind, values) in control.values_mut().iter_mut().enumerate() {
            let moments =
                means.values_mut()[kind].iter_mut().zip(squares.values_mut()[kind].iter_mut());
            let slopes = gradient.values()[kind].iter();
            for ((value, slope), (mean, square)) in values.iter_mut().zip(slopes).zip(moments) {
                *mean += (1.0 - DECAYS[0]) * (slope - *mean);
                *square += (1.0 - DECAYS[1]) * (slope * slope - *square);
                *value -= self.rate * (*mean / first) / ((*square / second).sqrt() + 1e-8);
            }
        }
    }
}

/// A trained network.
pub struct Trained {
    /// Mean square error of a number, in the first epoch and in the last.
    pub losses: [f64; 2],
    pub epochs: usize,
    control: Control<f64>,
    shared: bool,
}

/// Trains until the mean loss of an epoch is at the target, or for all epochs.
pub fn train(
    recipe: &Recipe,
    activation: Activation,
    layers: usize,
    data: &Data,
    seed: u64,
) -> Trained {
    let shared = is_shared(activation);
    let mut flow = start(activation, layers, seed);
    let zeros = || Control::zeros(flow.field().control().kinds().to_vec(), layers);
    let mut adam = Adam { rate: recipe.rate, steps: 0, moments: [zeros(), zeros()] };
    let (mut gradient, spare) = (zeros(), Spare::default());
    let method = Method::Backprop(Backprop);
    let (mut losses, mut done) = ([f64::NAN; 2], 0);
    for epoch in 0..recipe.epochs {
        let order = epoch_order(recipe.samples, seed, epoch as u64);
        let mut sum = 0.0;
        for samples in order.chunks_exact(BATCH) {
            let [inputs, targets] = data.batch(samples);
            let loss = |end: Rows<f64>, own: std::ops::Range<usize>| {
                let mut residual = end;
                residual.add_scaled(-1.0, &targets.slice(own.start, own.len()));
                let weight = 1.0 / (BATCH * WIDTH) as f64;
                let loss = weight * residual.norm_squared();
                residual.scale(2.0 * weight);
                (loss, residual)
            };
            sum += flow
                .gradient(&method, &inputs, loss, &mut gradient, &spare)
                .losses
                .iter()
                .sum::<f64>();
            if shared {
                let deltas = &mut gradient.values_mut()[2];
                let total = deltas.iter().sum();
                deltas.fill(total);
            }
            flow = flow.update(|field| adam.step(field.control_mut(), &gradient));
        }
        let mean = sum / (recipe.samples / BATCH) as f64;
        losses = [if epoch == 0 { mean } else { losses[0] }, mean];
        done = epoch + 1;
        if mean < recipe.target {
            break;
        }
    }
    Trained { losses, epochs: done, control: flow.into_field().into_control(), shared }
}

/// Statistics over the layers of M_k = A_k where the layers share δ, and |δ_k| A_k where they do not.
#[derive(Clone, Copy, Debug)]
pub struct Statistics {
    /// |δ|, the largest where there are several.
    pub delta: f64,
    /// max ‖M_k‖ (Frobenius, as all norms here).
    pub largest: f64,
    /// max ‖M_{k+1} − M_k‖.
    pub increment: f64,
    /// (Σ ‖M_k‖²)^½.
    pub root_sum: f64,
    /// ‖Σ M_k‖.
    pub cumulative: f64,
}

impl Trained {
    /// Of the layers in this order.
    pub fn statistics(&self, order: &[usize]) -> Statistics {
        let deltas = &self.control.values()[2];
        let matrix = |layer: usize| -> Vec<f64> {
            let factor = if self.shared { 1.0 } else { deltas[layer].abs() };
            self.control.at(0, layer).iter().map(|a| factor * a).collect()
        };
        let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
        let mut found = Statistics {
            delta: deltas.iter().fold(0.0, |most: f64, delta| most.max(delta.abs())),
            largest: 0.0,
            increment: 0.0,
            root_sum: 0.0,
            cumulative: 0.0,
        };
        let (mut sum, mut before) = (vec![0.0; WIDTH * WIDTH], None);
        for &layer in order {
            let own = matrix(layer);
            found.largest = found.largest.max(norm(&own));
            found.root_sum = found.root_sum.hypot(norm(&own));
            sum.iter_mut().zip(&own).for_each(|(sum, own)| *sum += own);
            if let Some(before) = before.replace(own.clone()) {
                let steps: Vec<f64> =
                    own.iter().zip(&before).map(|(a, b): (_, &f64)| a - b).collect();
                found.increment = found.increment.max(norm(&steps));
            }
        }
        Statistics { cumulative: norm(&sum), ..found }
    }
}
