//! Networks and their gradient descent.

use super::{Start, Task};
use anyhow::Result;
use deeplimit::control::Control;
use deeplimit::field::{Layer, Mlp, Stacked};
use deeplimit::kernel::Activation;
use deeplimit::objective::descent::Quadratic;
use deeplimit::{Flow, Rows, Scheme, seed};
use deeplimit_nn::data::{BatchTargets, Options, batch, epoch_order, load};

/// d and M.
pub const WIDTH: usize = 16;
pub const HIDDEN: usize = 32;

/// η.
pub const RATE: f64 = 0.5;

/// Classes of the digits.
const CLASSES: usize = 10;

/// The kinds W, V of a layer V σ(W x) and what gradient flow's rate is divided by: V and W are kept as they are
/// multiplied, with the paper's factors M^{−½} and d^{−½} in them.
const TRAINED: [(usize, f64); 2] = [(0, WIDTH as f64), (2, HIDDEN as f64)];

/// The loss of a task.
///
/// # Errors
/// If the digits cannot be read.
pub fn loss(task: Task, samples: usize, seed: u64) -> Result<Quadratic<f64>> {
    match task {
        Task::Gaussian => Ok(gaussian(samples, seed)),
        Task::Digits => digits(samples, seed),
    }
}

/// x ~ N(0, I), and y = x + ½ tanh(B x) with a Gaussian B of variance 1/d.
fn gaussian(samples: usize, seed: u64) -> Quadratic<f64> {
    let [inputs, matrix] = [0, 1].map(|part| seed::derive(seed, part));
    let x = |row: usize, column: usize| seed::normal(inputs, (row * WIDTH + column) as u64);
    let y = |row: usize, column: usize| {
        let b = |other: usize| seed::normal(matrix, (column * WIDTH + other) as u64);
        let sum: f64 = (0..WIDTH).map(|other| b(other) * x(row, other)).sum();
        x(row, column) + 0.5 * (sum / (WIDTH as f64).sqrt()).tanh()
    };
    Quadratic::data(Rows::from_fn(samples, WIDTH, x), Rows::from_fn(samples, WIDTH, y))
}

/// Built-in digits through a fixed Gaussian projection to d numbers; the first ten numbers are to be the class.
fn digits(samples: usize, seed: u64) -> Result<Quadratic<f64>> {
    let splits = load(&Options::default())?;
    let set = &splits.train;
    let order = &epoch_order(set.len(), seed, 0)[..samples];
    let all = batch(set, order, &splits.normalisation, None)?;
    let BatchTargets::Labels(labels) = &all.targets else { unreachable!("digits have classes") };
    let pixels = set.shape().elements();
    let matrix = seed::derive(seed, 2);
    let x = |row: usize, column: usize| {
        let weight = |pixel: usize| seed::normal(matrix, (column * pixels + pixel) as u64);
        let values = all.inputs[row * pixels..][..pixels].iter().enumerate();
        let sum: f64 = values.map(|(pixel, value)| weight(pixel) * f64::from(*value)).sum();
        sum / (pixels as f64).sqrt()
    };
    let y = |row: usize, column: usize| match column < CLASSES {
        true => f64::from(u8::from(labels[row] as usize == column)),
        false => x(row, column),
    };
    Ok(Quadratic::data(Rows::from_fn(samples, WIDTH, x), Rows::from_fn(samples, WIDTH, y)))
}

/// A network in training.
#[derive(Clone)]
pub struct Network {
    flow: Flow<Stacked<f64, Mlp>>,
}

/// What a step saw.
pub struct Seen {
    pub loss: f64,
    /// The rate at which gradient flow lowers the loss, divided by the loss.
    pub constant: f64,
}

impl Network {
    /// V = 0, and W Gaussian: the same in all layers, or of every layer by itself.
    pub fn start(
        start: Start,
        activation: Activation,
        layers: usize,
        tile: usize,
        seed: u64,
    ) -> Self {
        let layer = Mlp { width: WIDTH, hidden: HIDDEN, activation };
        let length = HIDDEN * WIDTH;
        let number = |index: usize| match start {
            Start::Repeated => index % length,
            Start::Independent => index,
        };
        let scale = 1.0 / (WIDTH as f64).sqrt();
        let weights = (0..layers * length).map(|i| scale * seed::normal(seed, number(i) as u64));
        let mut control = Control::zeros(Layer::<f64>::kinds(&layer), layers);
        control.values_mut()[0].iter_mut().zip(weights).for_each(|(w, value)| *w = value);
        let field = Stacked::new(layer, control);
        Self { flow: Flow::new(field, Scheme::EULER).with_tile(tile) }
    }

    pub fn control(&self) -> &Control<f64> {
        self.flow.field().control()
    }

    /// Loss and gradient of the network as it is, without a step.
    pub fn look(&self, loss: &Quadratic<f64>) -> Seen {
        self.seen(loss).0
    }

    fn seen(&self, loss: &Quadratic<f64>) -> (Seen, Control<f64>) {
        let (value, gradient) = loss.gradient(&self.flow);
        let square = |(kind, divisor): (usize, f64)| {
            gradient.values()[kind].iter().map(|slope| slope * slope).sum::<f64>() / divisor
        };
        let rate = self.flow.steps() as f64 * TRAINED.map(square).iter().sum::<f64>();
        (Seen { loss: value, constant: rate / value }, gradient)
    }

    /// One step: W ← W − η (L/d) ∂ℓ/∂W, V ← V − η (L/M) ∂ℓ/∂V.
    pub fn step(self, loss: &Quadratic<f64>) -> Self {
        let (_, gradient) = self.seen(loss);
        let rate = RATE * self.flow.steps() as f64;
        let flow = self.flow.update(|field| {
            for (kind, divisor) in TRAINED {
                let weights = field.control_mut().values_mut()[kind].iter_mut();
                let pairs = weights.zip(gradient.values()[kind].iter());
                pairs.for_each(|(weight, slope)| *weight -= rate / divisor * slope);
            }
        });
        Self { flow }
    }
}

/// max_n ‖θ_{n+1} − θ_n‖ and its root mean square over the layers, of W alone.
pub fn increments(control: &Control<f64>) -> [f64; 2] {
    let square = |layer: usize| -> f64 {
        let pairs = control.at(0, layer).iter().zip(control.at(0, layer + 1));
        pairs.map(|(a, b)| (b - a).powi(2)).sum()
    };
    let squares: Vec<f64> = (0..control.nodes() - 1).map(square).collect();
    [control.largest_increments()[0], (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()]
}
