//! The random nets of the statistical golden blocks, from our own random numbers.

use super::run;
use deeplimit::field::{Conv, Layer};
use deeplimit::kernel::Image;
use deeplimit::prelude::*;
use deeplimit::seed::{derive, normal, uniform};
use std::f64::consts::{PI, TAU};

/// How the last matrix is chosen.
#[derive(Clone, Copy, PartialEq)]
pub enum Flavour {
    /// On its own.
    Free,
    /// V = −0.8 √(d/m) Wᵀ.
    Contracting,
    /// V = +0.8 √(d/m) Wᵀ.
    Expanding,
}

/// A random net with its input and cotangent.
pub struct Net<L: Layer<f64> = Mlp> {
    pub flow: Flow<Stacked<f64, L>>,
    pub x0: Rows<f64>,
    pub bar: Rows<f64>,
    pub exact: run::Run<Stacked<f64, L>>,
}

impl<L: Layer<f64>> Net<L> {
    fn new(layer: L, control: Control<f64>, samples: usize, seed: u64) -> Self {
        let width = layer.width();
        let draw = |part: u64| {
            let seed = derive(seed, 10 + part);
            Rows::from_fn(samples, width, |row, column| normal(seed, (row * width + column) as u64))
        };
        let (x0, bar) = (draw(0), draw(1));
        Self::of(layer, control, x0, bar)
    }

    fn of(layer: L, control: Control<f64>, x0: Rows<f64>, bar: Rows<f64>) -> Self {
        let flow = Flow::new(Stacked::new(layer, control), Scheme::EULER);
        let exact = run::run(&flow, run::parse("backprop"), &x0, &bar);
        Self { flow, x0, bar, exact }
    }

    /// The same net with all numbers rounded to single precision, so that it is the same net in either.
    pub fn rounded(&self) -> Self {
        let field = self.flow.field();
        let round = |x: &Rows<f64>| x.cast::<f32>().cast();
        let control = field.control().cast::<f32>().cast();
        Self::of(field.layer().clone(), control, round(&self.x0), round(&self.bar))
    }
}

/// Uniform in [low, high), the `index`-th choice of a net.
fn choose(seed: u64, index: u64, low: f64, high: f64) -> f64 {
    low + (high - low) * 0.5 * (uniform(derive(seed, 100), index) + 1.0)
}

/// One of the counts low … high.
fn choose_count(seed: u64, index: u64, low: usize, high: usize) -> usize {
    choose(seed, index, low as f64, high as f64 + 1.0).floor() as usize
}

/// A net of the golden distribution: d ~ U{3..12}, m ~ U{4..24}, S ~ U{1..8},
/// N = ⌊2^U(depth)⌋, L = 2^U(−1.5, 2.2), θ = A₀ + 0.6 cos(πs) A₁ + 0.6 sin(2πs) A₂ + noise · ξ,
/// W ~ √(L/d), b ~ 0.5, V ~ √(L/m).
pub fn net(
    seed: u64,
    activation: Activation,
    noise: f64,
    flavour: Flavour,
    depth: (f64, f64),
) -> Net {
    let (width, hidden) = (choose_count(seed, 0, 3, 12), choose_count(seed, 1, 4, 24));
    let samples = choose_count(seed, 2, 1, 8);
    let steps = 2f64.powf(choose(seed, 3, depth.0, depth.1)).floor() as usize;
    let size = 2f64.powf(choose(seed, 4, -1.5, 2.2));
    let layer = Mlp { width, hidden, activation };
    let scales = [(size / width as f64).sqrt(), 0.5, (size / hidden as f64).sqrt()];
    let mut control = weights(&layer, steps, scales, noise, seed);
    let sign = match flavour {
        Flavour::Free => 0.0,
        Flavour::Contracting => -0.8,
        Flavour::Expanding => 0.8,
    };
    if sign != 0.0 {
        let factor = sign * (width as f64 / hidden as f64).sqrt();
        let [inner, _, outer, _] = control.values_mut() else { unreachable!("an mlp's kinds") };
        for (index, slot) in outer.iter_mut().enumerate() {
            let (node, entry) = (index / (width * hidden), index % (width * hidden));
            let (row, column) = (entry / hidden, entry % hidden);
            *slot = factor * inner[node * width * hidden + column * width + row];
        }
    }
    Net::new(layer, control, samples, seed)
}

/// A convolutional net of the like: 2 or 3 channels, 2 … 6 hidden ones, images of 4 × 5.
pub fn conv_net(seed: u64, activation: Activation, noise: f64) -> Net<Conv> {
    let (channels, hidden) = (choose_count(seed, 0, 2, 3), choose_count(seed, 1, 2, 6));
    let samples = choose_count(seed, 2, 1, 4);
    let steps = 2f64.powf(choose(seed, 3, 3.0, 6.0)).floor() as usize;
    let size = 2f64.powf(choose(seed, 4, -1.5, 2.2));
    let layer = Conv::new(channels, hidden, Image { height: 4, width: 5 }, activation);
    let scales = [channels, hidden].map(|inputs| (size / (9 * inputs) as f64).sqrt());
    let control = weights(&layer, steps, [scales[0], 0.5, scales[1]], noise, seed);
    Net::new(layer, control, samples, seed)
}

/// θ of a net: smooth functions of depth and independent parts, of these scales; the last bias is 0.
fn weights<L: Layer<f64>>(
    layer: &L,
    steps: usize,
    scales: [f64; 3],
    noise: f64,
    seed: u64,
) -> Control<f64> {
    let mut control = Control::zeros(layer.kinds(), steps);
    for (kind, scale) in scales.into_iter().enumerate() {
        let length = control.kinds()[kind].len();
        let seed = derive(seed, kind as u64);
        let draw = |part: usize, entry: usize| normal(seed, (part * length + entry) as u64);
        for (index, slot) in control.values_mut()[kind].iter_mut().enumerate() {
            let (node, entry) = (index / length, index % length);
            let s = node as f64 / steps as f64;
            let smooth = draw(0, entry)
                + 0.6 * (PI * s).cos() * draw(1, entry)
                + 0.6 * (TAU * s).sin() * draw(2, entry);
            *slot = scale * (smooth + noise * draw(3 + node, entry));
        }
    }
    control
}

/// The q-quantile, linear between order statistics.
pub fn quantile(values: &mut [f64], q: f64) -> f64 {
    assert!(!values.is_empty(), "a quantile of something");
    values.sort_by(f64::total_cmp);
    let place = q * (values.len() - 1) as f64;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    low + place.fract() * (high - low)
}
