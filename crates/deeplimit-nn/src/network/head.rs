//! The last state to the outputs, and on to the loss.

use super::Score;
use super::config::{HeadConfig, NetworkPlan};
use super::loss::loss;
use super::map::{Map, Slopes, cut};
use super::stage::{affine, affine_map};
use crate::data::BatchTargets;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Device;
use deeplimit::kernel::Activation;
use deeplimit::{Rows, State};
use rayon::prelude::*;
use std::ops::Range;

/// An affine map of the last state, or of the means of its channels.
#[derive(Module, Debug)]
pub(super) struct Head {
    linear: Linear,
    #[module(skip)]
    activation: Option<Activation>,
    #[module(skip)]
    pool: Option<Pool>,
}

/// The mean of each channel over its image.
#[derive(Clone, Copy, Debug)]
struct Pool {
    channels: usize,
    pixels: usize,
}

/// A head with its present weights.
pub(super) struct Reader {
    activation: Option<Activation>,
    pool: Option<Pool>,
    map: Map,
}

impl Head {
    pub(super) fn new(plan: &NetworkPlan, seed: u64, device: &Device) -> Self {
        let state = plan.stages.last().expect("a checked network has a stage").state;
        let HeadConfig { pool: pools, activation } = plan.head;
        let inputs = if pools { state.channels } else { state.elements() };
        let pool = Pool { channels: state.channels, pixels: state.plane() };
        let linear = affine(inputs, plan.outputs.count(), seed, device);
        Self { linear, activation, pool: pools.then_some(pool) }
    }

    /// Of no network.
    pub(super) fn hollow(device: &Device) -> Self {
        Self { linear: affine(1, 1, 0, device), activation: None, pool: None }
    }

    pub(super) fn reader(&self) -> Reader {
        Reader { activation: self.activation, pool: self.pool, map: affine_map(&self.linear) }
    }
}

impl Reader {
    /// Slopes before any sample.
    pub(super) fn no_slopes(&self) -> Slopes {
        self.map.no_slopes()
    }

    /// States that [`loss`](Self::loss) holds at most besides the end: what is read, and cotangents.
    pub(super) fn states(&self) -> usize {
        if self.activation.is_some() { 5 } else { 3 }
    }

    /// Bytes that what is found of a tile takes until all tiles are done.
    pub(super) fn bytes(&self) -> usize {
        let slopes = self.no_slopes();
        // In vectors that grow by doubling.
        size_of::<f32>() * (slopes.weight.len() + slopes.bias.len())
            + 6 * size_of::<(Score, Slopes)>()
    }

    /// Bytes of the outputs of a batch and what a loss makes of them, and that threads keep for kernels.
    pub(super) fn around(&self, samples: usize, threads: usize) -> usize {
        let Slopes { weight, bias } = self.no_slopes();
        let inputs = weight.len() / bias.len();
        4 * samples * bias.len() * size_of::<f64>() + threads * self.map.scratch(inputs)
    }

    /// The outputs of a batch.
    pub(super) fn forward(&self, x: &Rows<f32>) -> Rows<f32> {
        let tiles = cut(x);
        Rows::join(tiles.par_iter().map(|tile| self.map.apply(&self.read(tile))).collect())
    }

    /// Score and slopes of some samples of a batch, given their last state, and its cotangent.
    pub(super) fn loss(
        &self,
        x: &Rows<f32>,
        targets: &BatchTargets,
        samples: Range<usize>,
    ) -> ((Score, Slopes), Rows<f32>) {
        let read = self.read(x);
        let (score, bar) = loss(&self.map.apply(&read), targets, samples);
        let mut slopes = self.no_slopes();
        self.map.add_slopes(&read, &bar, &mut slopes);
        ((score, slopes), self.back(x, self.map.pull_back(&read, &bar)))
    }

    /// The cotangent of the last state, for one of the outputs given by (row, column).
    pub(super) fn pull_back(&self, x: &Rows<f32>, bar: impl Fn(usize, usize) -> f32) -> Rows<f32> {
        let read = self.read(x);
        let outputs = self.map.apply(&read).width();
        self.back(x, self.map.pull_back(&read, &Rows::from_fn(x.rows(), outputs, bar)))
    }

    fn read(&self, x: &Rows<f32>) -> Rows<f32> {
        let values = self.activation.map(|activation| values(activation, x));
        let x = values.as_ref().unwrap_or(x);
        self.pool.map_or_else(|| x.clone(), |pool| pool.means(x))
    }

    /// The cotangent of the last state, for that of what was read of it.
    fn back(&self, x: &Rows<f32>, bar: Rows<f32>) -> Rows<f32> {
        let bar = match self.pool {
            None => bar,
            Some(pool) => pool.spread(&bar),
        };
        let Some(activation) = self.activation else { return bar };
        let (a, mut x_bar) = (values(activation, x), bar.clone());
        activation.pull_back(x.columns(), a.columns(), bar.columns(), x_bar.columns_mut());
        x_bar
    }
}

/// σ(x).
fn values(activation: Activation, x: &Rows<f32>) -> Rows<f32> {
    let mut a = x.clone();
    activation.apply(x.columns(), a.columns_mut());
    a
}

impl Pool {
    fn means(self, x: &Rows<f32>) -> Rows<f32> {
        let samples = x.rows();
        let mut means = Rows::zeros(samples, self.channels);
        let channels = x.columns().chunks_exact(self.pixels * samples);
        for (mean, channel) in means.columns_mut().chunks_exact_mut(samples).zip(channels) {
            for pixel in channel.chunks_exact(samples) {
                mean.iter_mut().zip(pixel).for_each(|(mean, x)| *mean += x);
            }
        }
        means.scale(1.0 / self.pixels as f64);
        means
    }

    /// The transpose of [`means`](Self::means).
    fn spread(self, bar: &Rows<f32>) -> Rows<f32> {
        let samples = bar.rows();
        let mut x_bar = Rows::zeros(samples, self.channels * self.pixels);
        let channels = x_bar.columns_mut().chunks_exact_mut(self.pixels * samples);
        for (bar, channel) in bar.columns().chunks_exact(samples).zip(channels) {
            channel.chunks_exact_mut(samples).for_each(|pixel| pixel.copy_from_slice(bar));
        }
        x_bar.scale(1.0 / self.pixels as f64);
        x_bar
    }
}
