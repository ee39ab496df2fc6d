//! What a walk through a chain keeps for the way back.

use crate::field::LayerStatistics;
use crate::kernel::normalise::{self, Moments};
use crate::kernel::{Buffer, vector};
use crate::{Heap, Real};

/// Added to variances (Ioffe, Szegedy 2015; the value PyTorch uses).
const EPSILON: f64 = 1e-5;

/// A link's share of a tile's tape.
pub(super) struct Kept<R> {
    /// σ(y) of what goes in; empty without a nonlinearity.
    pub(super) a: Buffer<R>,
    /// (conv − mean) / √(variance + ε).
    pub(super) normal: Buffer<R>,
    /// What comes out, where another link follows.
    pub(super) y: Buffer<R>,
}

/// A link's cotangents of a tile.
pub(super) struct Back<R> {
    /// Of what comes out, and then of the convolution.
    pub(super) y: Buffer<R>,
    /// Of σ(y) of what goes in.
    pub(super) a: Buffer<R>,
}

pub(super) struct Tile<R> {
    pub(super) kept: Vec<Kept<R>>,
    pub(super) back: Vec<Back<R>>,
}

/// What a normalisation divides by.
pub(super) struct Norm {
    /// 1 / √(variance + ε) a channel.
    pub(super) inverse: Vec<f64>,
    pub(super) moments: Vec<Moments>,
}

/// What a walk through a chain leaves behind for the way back, tile by tile; and the cotangents of that.
pub struct ChainTape<R> {
    pub(super) tiles: Vec<Tile<R>>,
    pub(super) norms: Vec<Norm>,
    pub(super) by_batch: bool,
}

impl<R> Heap for Kept<R> {
    fn heap(&self) -> usize {
        self.a.heap() + self.normal.heap() + self.y.heap()
    }
}

impl<R> Heap for Back<R> {
    fn heap(&self) -> usize {
        self.y.heap() + self.a.heap()
    }
}

impl<R> Heap for Tile<R> {
    fn heap(&self) -> usize {
        self.kept.heap() + self.back.heap()
    }
}

impl Heap for Norm {
    fn heap(&self) -> usize {
        self.inverse.capacity() * size_of::<f64>() + self.moments.capacity() * size_of::<Moments>()
    }
}

impl<R> Heap for ChainTape<R> {
    fn heap(&self) -> usize {
        self.tiles.heap() + self.norms.heap()
    }
}

impl<R: Real> ChainTape<R> {
    /// Bytes of the numbers that it keeps.
    pub fn bytes(&self) -> usize {
        let kept = |kept: &Kept<R>| kept.a.len() + kept.normal.len() + kept.y.len();
        let back = |back: &Back<R>| back.y.len() + back.a.len();
        let tile = |tile: &Tile<R>| -> usize {
            tile.kept.iter().map(kept).sum::<usize>() + tile.back.iter().map(back).sum::<usize>()
        };
        self.tiles.iter().map(tile).sum::<usize>() * size_of::<R>()
    }

    /// (mean, variance) that the last evaluation used: of every channel of every link.
    pub fn statistics(&self) -> LayerStatistics {
        self.moments().map(|moments| [moments.mean, moments.variance()]).collect()
    }

    /// What the last evaluation normalised by.
    pub(in crate::field) fn moments(&self) -> impl Iterator<Item = &Moments> {
        self.norms.iter().flat_map(|norm| &norm.moments)
    }

    /// Mean and unbiased variance of the batch: of every channel of every link.
    pub fn met(&self) -> LayerStatistics {
        self.moments().map(|moments| [moments.mean, moments.unbiased_variance()]).collect()
    }

    /// Takes over the buffers of the way back.
    pub(in crate::field) fn take_back(&mut self, from: &mut Self) {
        for (to, from) in self.tiles.iter_mut().zip(&mut from.tiles) {
            to.back = std::mem::take(&mut from.back);
        }
    }
}

impl Norm {
    /// Settles mean and deviation of every channel, given those that are held, or the moments of each
    /// tile's channels.
    pub(super) fn settle(&mut self, held: Option<&[[f64; 2]]>, parts: &[Vec<Moments>]) {
        let known =
            |[mean, variance]: &[f64; 2]| Moments { count: 1.0, mean: *mean, spread: *variance };
        self.moments = match held {
            Some(held) => held.iter().map(known).collect(),
            None => {
                let channels = parts.first().map_or(0, Vec::len);
                let merged = |channel: usize| {
                    let parts = parts.iter().map(|tile| tile[channel]);
                    parts.fold(Moments::default(), Moments::merge)
                };
                (0..channels).map(merged).collect()
            }
        };
        let inverse = |moments: &Moments| 1.0 / (moments.variance() + EPSILON).sqrt();
        self.inverse = self.moments.iter().map(inverse).collect();
    }

    /// Normalises the convolution in place; `y` is what gain and shift make of it.
    pub(super) fn apply<R: Real>(&self, normal: &mut [R], y: &mut [R], [gain, shift]: [&[R]; 2]) {
        let plane = normal.len() / gain.len();
        let channels = normal.chunks_exact_mut(plane).zip(y.chunks_exact_mut(plane));
        for (channel, (normal, y)) in channels.enumerate() {
            normalise::in_place(normal, self.moments[channel].mean, self.inverse[channel]);
            vector::affine(y, normal, gain[channel], shift[channel]);
        }
    }

    /// The cotangent of the convolution for that of y, in place.
    pub(super) fn pull_back<R: Real>(
        &self,
        bar: &mut [R],
        normal: &[R],
        means: &[[f64; 2]],
        gain: &[R],
    ) {
        let plane = bar.len() / gain.len();
        let channels = bar.chunks_exact_mut(plane).zip(normal.chunks_exact(plane));
        for (channel, (bar, normal)) in channels.enumerate() {
            let factor = gain[channel].wide() * self.inverse[channel];
            normalise::pull_back(bar, normal, means[channel], factor);
        }
    }
}
