//! Networks as they are drawn: what the factor L^{−α} makes of them.

use super::Family;
use super::fractional::Increments;
use deeplimit::seed;
use std::f64::consts::{PI, TAU};

/// d.
pub const WIDTH: usize = 16;

/// Numbers of V and W in a layer.
const SQUARE: usize = WIDTH * WIDTH;

/// V and W of all layers of a network.
pub struct Weights {
    /// `[layers, 2, WIDTH, WIDTH]`.
    values: Vec<f64>,
}

impl Weights {
    /// Weights of variance 1/d.
    pub fn draw(family: Family, layers: usize, increments: Option<&Increments>, seed: u64) -> Self {
        let scale = 1.0 / (WIDTH as f64).sqrt();
        let mut values = vec![0.0; layers * 2 * SQUARE];
        let mut set = |entry: usize, value: &dyn Fn(usize) -> f64| {
            for (layer, row) in values.chunks_exact_mut(2 * SQUARE).enumerate() {
                row[entry] = scale * value(layer);
            }
        };
        for entry in 0..2 * SQUARE {
            let own = seed::derive(seed, entry as u64);
            match (family, increments) {
                (Family::Smooth, _) => {
                    let [a, b, c] = [0, 1, 2].map(|part| seed::normal(own, part) / 3f64.sqrt());
                    let at = |layer: usize| {
                        let s = layer as f64 / layers as f64;
                        // Of variance 1 over all of depth: cos² and sin² have the mean ½.
                        a + 2f64.sqrt() * ((PI * s).cos() * b + (TAU * s).sin() * c)
                    };
                    set(entry, &at);
                }
                (_, None) => set(entry, &|layer| seed::normal(own, layer as u64)),
                // Two sequences come together.
                (_, Some(increments)) if entry.is_multiple_of(2) => {
                    let pair = increments.pair(own);
                    for (part, sequence) in pair.iter().enumerate() {
                        set(entry + part, &|layer| sequence[layer]);
                    }
                }
                _ => {}
            }
        }
        Self { values }
    }

    /// The same with a random sign of every V, which leaves nothing of how layers hang together.
    pub fn scrambled(mut self, seed: u64) -> Self {
        for (layer, weights) in self.values.chunks_exact_mut(2 * SQUARE).enumerate() {
            let sign = seed::uniform(seed, layer as u64).signum();
            weights[..SQUARE].iter_mut().for_each(|v| *v *= sign);
        }
        self
    }

    /// Logarithms of ‖x_L − x_0‖/‖x_0‖ and of ‖x_L‖/‖x_0‖ after the first L layers,
    /// x_{n+1} = x_n + L^{−α} V_n relu(W_n x_n).
    pub fn growth(&self, layers: usize, alpha: f64, seed: u64) -> [f64; 2] {
        let factor = (layers as f64).powf(-alpha);
        let mut x: [f64; WIDTH] = std::array::from_fn(|i| seed::normal(seed, i as u64));
        let norm = |x: &[f64; WIDTH]| x.iter().map(|v| v * v).sum::<f64>().sqrt();
        let (first, start, mut grown) = (norm(&x), x, 0.0);
        for weights in self.values.chunks_exact(2 * SQUARE).take(layers) {
            let (v, w) = weights.split_at(SQUARE);
            let times = |matrix: &[f64], x: &[f64; WIDTH]| -> [f64; WIDTH] {
                let row = |i: usize| &matrix[i * WIDTH..][..WIDTH];
                std::array::from_fn(|i| row(i).iter().zip(x).map(|(a, b)| a * b).sum())
            };
            let hidden = times(w, &x).map(|z| z.max(0.0));
            let step = times(v, &hidden);
            x.iter_mut().zip(step).for_each(|(x, step)| *x += factor * step);
            // relu is homogeneous: the size of the state can be kept beside it.
            let size = norm(&x) / first;
            if size > 1e100 {
                grown += size.ln();
                x.iter_mut().for_each(|x| *x /= size);
            }
        }
        let whole = grown + (norm(&x) / first).ln();
        let apart: [f64; WIDTH] = std::array::from_fn(|i| x[i] - start[i]);
        let distance = if grown > 0.0 { whole } else { (norm(&apart) / first).ln() };
        [distance, whole]
    }
}
