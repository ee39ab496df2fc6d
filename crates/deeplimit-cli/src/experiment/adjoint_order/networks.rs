//! The kinds of random networks.

use deeplimit::control::{Control, Family};
use deeplimit::kernel::{Activation, Image};
use deeplimit_nn::network::{FieldName, Formula};
use serde::Serialize;

/// A kind of random network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Net {
    /// tanh, weights that are samples of one smooth function of depth.
    Smooth,
    /// tanh, weights with an independent part in every layer.
    Rough,
    /// relu, smooth weights.
    Relu,
    /// Convolutions with tanh, smooth weights.
    Conv,
    /// The same with batch normalisation.
    ConvBn,
}

impl Net {
    pub const ALL: [Self; 5] = [Self::Smooth, Self::Rough, Self::Relu, Self::Conv, Self::ConvBn];

    pub fn name(self) -> &'static str {
        match self {
            Self::Smooth => "smooth",
            Self::Rough => "rough",
            Self::Relu => "relu",
            Self::Conv => "conv",
            Self::ConvBn => "conv-bn",
        }
    }

    pub fn formula(self) -> Formula {
        let (name, channels, size, hidden) = match self {
            Self::Smooth | Self::Rough | Self::Relu => ("mlp", 4, 1, 6),
            Self::Conv => ("conv", 2, 3, 3),
            Self::ConvBn => ("conv-bn", 2, 3, 3),
        };
        let activation = if self == Self::Relu { Activation::Relu } else { Activation::Tanh };
        let name = FieldName::named(name).expect("a field of the registry");
        name.formula(channels, Image { height: size, width: size }, hidden, activation)
    }

    fn family(self) -> Family {
        if self == Self::Rough { Family::Rough } else { Family::Smooth }
    }

    /// Random weights. A normalised field is of size 1 whatever its weights: its gains are made smaller
    /// so that all networks have h L well below 1 at the least depth.
    pub fn control(self, nodes: usize, seed: u64) -> Control<f64> {
        let mut control = self.formula().initial(nodes, self.family(), 1.0, seed);
        if self == Self::ConvBn {
            let last = control.kinds().iter().position(|kind| kind.name == "g2");
            let gains = &mut control.values_mut()[last.expect("a gain")];
            gains.iter_mut().for_each(|gain| *gain *= 0.5);
        }
        control
    }
}
