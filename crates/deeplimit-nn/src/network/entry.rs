//! How a batch comes to the state that enters a flow: through a map that takes every sample by itself, or
//! through normalised convolutions.

use super::map::Map;
use super::normalised::Normalised;
use deeplimit::Rows;
use deeplimit::field::LayerStatistics;

/// A transition with its present weights.
pub(super) enum Entry {
    Map(Map),
    Normalised(Box<Normalised>),
}

impl Entry {
    /// The transition of a batch in tiles; and mean and unbiased variance of every normalised channel,
    /// where it was normalised by the batch.
    pub(super) fn forward(&self, x: &[Rows<f32>]) -> (Rows<f32>, Option<LayerStatistics>) {
        match self {
            Self::Map(map) => (map.forward(x), None),
            Self::Normalised(map) => map.forward(x),
        }
    }

    /// Gradients of the transition's arrays, and where it is asked for the cotangent of x.
    pub(super) fn backward(
        &self,
        x: &[Rows<f32>],
        bar: &Rows<f32>,
        back_to_x: bool,
    ) -> (Vec<Vec<f32>>, Option<Rows<f32>>) {
        match self {
            Self::Map(map) => {
                let (slopes, x_bar) = map.backward(x, bar, back_to_x);
                (slopes.into_arrays(), x_bar)
            }
            Self::Normalised(map) => {
                let (gradients, x_bar) = map.backward(x, bar);
                (gradients, back_to_x.then_some(x_bar))
            }
        }
    }

    /// Bytes that the way back asks for, for a batch of so many samples of so many numbers.
    pub(super) fn buffers(&self, samples: usize, width: usize) -> usize {
        match self {
            Self::Map(map) => map.buffers(samples),
            Self::Normalised(map) => map.bytes(samples, width),
        }
    }

    /// Bytes that a thread keeps for the kernels.
    pub(super) fn scratch(&self, width: usize) -> usize {
        match self {
            Self::Map(map) => map.scratch(width),
            Self::Normalised(map) => map.scratch(width),
        }
    }
}
