//! One link of a chain.

use crate::Real;
use crate::kernel::{Activation, Convolution, Image, Start, vector};

/// norm(conv(σ(·))), where norm or conv may be missing; the nonlinearity comes first.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// σ; [`Activation::Identity`] costs nothing.
    pub before: Activation,
    /// The convolution.
    pub map: LinkMap,
    /// Whether a normalisation follows.
    pub normalised: bool,
}

/// What a link does to σ(·).
#[derive(Clone, Debug, PartialEq)]
pub enum LinkMap {
    /// A convolution, without a bias: the normalisation that follows, or the next one of the network, has one.
    Convolution(Convolution),
    /// Nothing.
    Same {
        /// Channels of the images.
        channels: usize,
        /// Their size.
        image: Image,
    },
}

impl Link {
    /// norm(conv(σ(·))).
    pub fn normalised(before: Activation, windows: Convolution) -> Self {
        Self { before, map: LinkMap::Convolution(windows), normalised: true }
    }

    /// conv(σ(·)).
    pub fn bare(before: Activation, windows: Convolution) -> Self {
        Self { before, map: LinkMap::Convolution(windows), normalised: false }
    }

    /// norm(·).
    pub fn norm(channels: usize, image: Image) -> Self {
        let map = LinkMap::Same { channels, image };
        Self { before: Activation::Identity, map, normalised: true }
    }

    /// Channels that are normalised.
    pub(super) fn normalised_channels(&self) -> usize {
        if self.normalised { self.map.outputs() } else { 0 }
    }

    /// Numbers of the convolution.
    pub(super) fn weights(&self) -> usize {
        match &self.map {
            LinkMap::Convolution(windows) => {
                windows.outputs() * windows.inputs() * windows.side().pow(2)
            }
            LinkMap::Same { .. } => 0,
        }
    }

    /// Arrays of parameters.
    pub(super) fn arrays(&self) -> usize {
        usize::from(self.weights() > 0) + if self.normalised { 2 } else { 0 }
    }
}

impl LinkMap {
    pub(super) fn inputs(&self) -> usize {
        match self {
            Self::Convolution(windows) => windows.inputs(),
            Self::Same { channels, .. } => *channels,
        }
    }

    pub(super) fn outputs(&self) -> usize {
        match self {
            Self::Convolution(windows) => windows.outputs(),
            Self::Same { channels, .. } => *channels,
        }
    }

    /// The size of the images that go in.
    pub(super) fn image(&self) -> Image {
        match self {
            Self::Convolution(windows) => windows.image(),
            Self::Same { image, .. } => *image,
        }
    }

    /// The size of the images that come out.
    pub(super) fn out(&self) -> Image {
        match self {
            Self::Convolution(windows) => windows.out(),
            Self::Same { image, .. } => *image,
        }
    }

    /// `out` = conv(`x`) with these weights, which [`Same`](Self::Same) has none of.
    pub(super) fn apply<R: Real>(&self, weight: &[R], x: &[R], out: &mut [R], samples: usize) {
        match self {
            Self::Convolution(windows) => windows.apply(weight, Start::Zero, x, out, samples),
            Self::Same { .. } => out.copy_from_slice(x),
        }
    }

    /// The transpose of [`apply`](Self::apply), which adds to `out` or sets it.
    pub(super) fn apply_transposed<R: Real>(
        &self,
        weight: &[R],
        adds: bool,
        bar: &[R],
        out: &mut [R],
        samples: usize,
    ) {
        match (self, adds) {
            (Self::Convolution(windows), _) => {
                let start = Start::zero_or_add(!adds);
                windows.apply_transposed(weight, start, bar, out, samples);
            }
            (Self::Same { .. }, true) => vector::add_scaled(out, R::one(), bar),
            (Self::Same { .. }, false) => out.copy_from_slice(bar),
        }
    }
}
