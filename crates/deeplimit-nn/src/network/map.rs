//! Affine maps and convolutions between flows, on the library's own kernels, pulled back by hand.
//!
//! A batch goes in tiles, shared by threads. Gradients of the weights are added up in an order
//! that the batch's size alone decides, so that they have the same bits for any number of threads.

use crate::data::Shape;
use deeplimit::field::Tiled;
use deeplimit::kernel::{Convolution, Lanes, Matrix, Start, multiply, outer};
use deeplimit::{Rows, State};
use rayon::prelude::*;

/// Samples of a tile: as many as of a batch whose samples meet.
const SAMPLES: usize = Tiled::<f32>::SAMPLES;
/// Gradient buffers of a batch: enough for many threads, and few where weights are many.
const BUFFERS: usize = 16;

/// A map with its present weights; states are images or plain numbers, a row a sample.
pub(super) enum Map {
    /// x as it is.
    Same,
    /// Wᵀ x + b, with W `[inputs, outputs]`.
    Affine {
        /// W.
        weight: Vec<f32>,
        /// b.
        bias: Vec<f32>,
    },
    /// w ∗ x + b.
    Convolution {
        /// The windows' geometry.
        windows: Convolution,
        /// w.
        weight: Vec<f32>,
        /// b, a number a channel.
        bias: Vec<f32>,
    },
}

/// ∂loss/∂(weight, bias); both are empty for a map without.
#[derive(Clone, Debug, Default)]
pub(super) struct Slopes {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

impl Slopes {
    /// One array a parameter; none for a map without.
    pub(super) fn into_arrays(self) -> Vec<Vec<f32>> {
        [self.weight, self.bias].into_iter().filter(|part| !part.is_empty()).collect()
    }

    /// Adds what other samples say.
    pub(super) fn add(&mut self, more: &Self) {
        for (sum, more) in [(&mut self.weight, &more.weight), (&mut self.bias, &more.bias)] {
            sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
    }
}

impl Map {
    fn weights(&self) -> (&[f32], &[f32]) {
        match self {
            Self::Same => (&[], &[]),
            Self::Affine { weight, bias } | Self::Convolution { weight, bias, .. } => {
                (weight, bias)
            }
        }
    }

    /// Slopes before any sample.
    pub(super) fn no_slopes(&self) -> Slopes {
        let (weight, bias) = self.weights();
        Slopes { weight: vec![0.0; weight.len()], bias: vec![0.0; bias.len()] }
    }

    /// Bytes of the slopes that are added up side by side for a batch of so many samples.
    pub(super) fn buffers(&self, samples: usize) -> usize {
        let (weight, bias) = self.weights();
        let tiles = samples.div_ceil(SAMPLES);
        (tiles.min(BUFFERS) + 1) * size_of::<f32>() * (weight.len() + bias.len())
    }

    /// Bytes that a thread keeps for the kernels, found by a tile there and back on a thread that ends.
    ///
    /// # Panics
    /// If no thread can be started.
    pub(super) fn scratch(&self, width: usize) -> usize {
        let walk = || {
            let x = Rows::zeros(SAMPLES, width);
            let bar = self.apply(&x);
            self.add_slopes(&x, &bar, &mut self.no_slopes());
            self.pull_back(&x, &bar);
            f32::scratch_bytes()
        };
        std::thread::scope(|scope| scope.spawn(walk).join()).expect("a tile of zeros is walked")
    }

    /// The map of one tile.
    pub(super) fn apply(&self, x: &Rows<f32>) -> Rows<f32> {
        let samples = x.rows();
        match self {
            Self::Same => x.clone(),
            Self::Affine { weight, bias } => {
                let mut out = Rows::zeros(samples, bias.len());
                let transposed = Matrix::new(weight, x.width(), bias.len()).t();
                let start = Start::Bias(bias);
                multiply(out.columns_mut(), start, transposed, x.columns(), samples);
                out
            }
            Self::Convolution { windows, weight, bias } => {
                let mut out = Rows::zeros(samples, bias.len() * windows.out().pixels());
                let start = Start::Bias(bias);
                windows.apply(weight, start, x.columns(), out.columns_mut(), samples);
                out
            }
        }
    }

    /// Adds the slopes of one tile, for a cotangent of what [`apply`](Self::apply) gives.
    pub(super) fn add_slopes(&self, x: &Rows<f32>, bar: &Rows<f32>, slopes: &mut Slopes) {
        let samples = x.rows();
        match self {
            Self::Same => return,
            Self::Affine { .. } => {
                outer(&mut slopes.weight, Start::Add, x.columns(), bar.columns(), samples);
            }
            Self::Convolution { windows, .. } => {
                let (x, bar) = (x.columns(), bar.columns());
                windows.add_weight_gradient(bar, x, &mut slopes.weight, samples);
            }
        }
        let planes = bar.columns().chunks_exact(bar.columns().len() / slopes.bias.len());
        for (slope, plane) in slopes.bias.iter_mut().zip(planes) {
            *slope += sum(plane);
        }
    }

    /// The cotangent of one tile's x.
    pub(super) fn pull_back(&self, x: &Rows<f32>, bar: &Rows<f32>) -> Rows<f32> {
        let samples = bar.rows();
        let mut x_bar = Rows::zeros(samples, x.width());
        match self {
            Self::Same => x_bar.copy_from(bar),
            Self::Affine { weight, bias } => {
                let weight = Matrix::new(weight, x.width(), bias.len());
                multiply(x_bar.columns_mut(), Start::Zero, weight, bar.columns(), samples);
            }
            Self::Convolution { windows, weight, .. } => {
                let out = x_bar.columns_mut();
                windows.apply_transposed(weight, Start::Zero, bar.columns(), out, samples);
            }
        }
        x_bar
    }

    /// The map of a batch.
    pub(super) fn forward(&self, x: &[Rows<f32>]) -> Rows<f32> {
        Rows::join(x.par_iter().map(|tile| self.apply(tile)).collect())
    }

    /// Slopes of a batch, and where it is asked for the cotangent of x.
    pub(super) fn backward(
        &self,
        x: &[Rows<f32>],
        bar: &Rows<f32>,
        back_to_x: bool,
    ) -> (Slopes, Option<Rows<f32>>) {
        let bars = cut(bar);
        let part = x.len().div_ceil(BUFFERS).max(1);
        let parts: Vec<(Slopes, Vec<Rows<f32>>)> = x
            .par_chunks(part)
            .zip(bars.par_chunks(part))
            .map(|(x, bars)| {
                let mut slopes = self.no_slopes();
                let tiles = x.iter().zip(bars);
                tiles.clone().for_each(|(x, bar)| self.add_slopes(x, bar, &mut slopes));
                let tiles = tiles.take(if back_to_x { x.len() } else { 0 });
                (slopes, tiles.map(|(x, bar)| self.pull_back(x, bar)).collect())
            })
            .collect();
        let mut slopes = self.no_slopes();
        parts.iter().for_each(|(part, _)| slopes.add(part));
        let x_bars = parts.into_iter().flat_map(|(_, tiles)| tiles).collect();
        (slopes, back_to_x.then(|| Rows::join(x_bars)))
    }
}

/// Σ x, in as many lanes as registers have.
fn sum(x: &[f32]) -> f32 {
    let mut lanes = [0.0; 16];
    let (whole, rest) = x.as_chunks::<16>();
    for chunk in whole {
        lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += x);
    }
    lanes.iter().chain(rest).sum()
}

/// Bytes of a batch in tiles, and of what stands for a tile in vectors that grow by doubling.
pub(super) fn bytes(samples: usize, width: usize) -> usize {
    const EDGE: usize = 64;
    let handles = EDGE + 6 * size_of::<Rows<f32>>();
    samples * width * size_of::<f32>() + samples.div_ceil(SAMPLES) * handles
}

/// A batch in tiles.
pub(super) fn cut(x: &Rows<f32>) -> Vec<Rows<f32>> {
    let starts: Vec<usize> = (0..x.rows()).step_by(SAMPLES).collect();
    starts.into_par_iter().map(|start| x.slice(start, SAMPLES.min(x.rows() - start))).collect()
}

/// Inputs of a shape in tiles.
pub(super) fn inputs(shape: Shape, inputs: &[f32]) -> Vec<Rows<f32>> {
    let width = shape.elements();
    let tiles = inputs.par_chunks(SAMPLES * width);
    tiles.map(|tile| Rows::new(tile.len() / width, width, tile)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use deeplimit::kernel::Image;
    use deeplimit::seed::uniform;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        (0..count).map(|i| uniform(seed, i as u64) as f32).collect()
    }

    fn maps() -> [Map; 3] {
        let windows = Convolution::new([2, 3], Image { height: 5, width: 4 }, 3, 2, 1);
        [
            Map::Same,
            Map::Affine { weight: numbers(40 * 7, 1), bias: numbers(7, 2) },
            Map::Convolution { windows, weight: numbers(3 * 2 * 9, 3), bias: numbers(3, 4) },
        ]
    }

    /// A map is linear in x, its weights and its bias together: with `bar` a number in front of
    /// each output, ⟨bar, map(x)⟩ is known from each of the pull-backs.
    #[test]
    fn pull_backs_are_the_transposes_of_the_maps() {
        for map in maps() {
            for samples in [1, 15, 16, 17, 40] {
                let x = Rows::new(samples, 40, &numbers(samples * 40, 5));
                let out = map.forward(&cut(&x));
                let bar = Rows::new(samples, out.width(), &numbers(samples * out.width(), 6));
                let (slopes, x_bar) = map.backward(&cut(&x), &bar, true);
                let dot = |a: &[f32], b: &[f32]| -> f64 {
                    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
                };
                let (weight, bias) = map.weights();
                let shift = dot(&slopes.bias, bias);
                let by_x = x_bar.expect("asked for").dot(&x);
                let expected = out.dot(&bar) - shift;
                let close = |found: f64| (found - expected).abs() < 1e-3 * (1.0 + expected.abs());
                assert!(close(by_x), "{samples}: {by_x} {expected}");
                if !weight.is_empty() {
                    let by_weight = dot(&slopes.weight, weight);
                    assert!(close(by_weight), "{samples}: {by_weight} {expected}");
                }
            }
        }
    }

    #[test]
    fn slopes_have_the_same_bits_for_any_number_of_threads() {
        let x = Rows::new(600, 40, &numbers(600 * 40, 5));
        for map in maps() {
            let on = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                pool.expect("a pool").install(|| {
                    let out = map.forward(&cut(&x));
                    let (slopes, x_bar) = map.backward(&cut(&x), &out, true);
                    (slopes.weight, slopes.bias, x_bar)
                })
            };
            assert!(on(1) == on(2) && on(1) == on(5));
        }
    }
}
