//! The convolutions of blocks that change the shape.

use super::{after, image};
use crate::data::Shape;
use deeplimit::kernel::Convolution;

/// The convolutions of a block.
#[derive(Clone, Copy)]
pub(super) enum Windows {
    /// Two of 3×3 pixels, of which the first strides.
    Two,
    /// Of 1×1, 3×3 and 1×1 pixels; the 3×3 one strides, as in torchvision.
    Bottleneck,
    /// The same; the first one strides, as in He et al. (2015).
    EarlyBottleneck,
}

impl Windows {
    /// The convolutions of a block, with so many channels within and behind it.
    pub(super) fn convolutions(
        self,
        input: Shape,
        [inner, channels]: [usize; 2],
        stride: usize,
    ) -> Vec<Convolution> {
        let (from, to) = (image(input), image(after(input, channels, stride)));
        let conv = |channels, image, side, stride| {
            Convolution::new(channels, image, side, stride, side / 2)
        };
        let [first, last] = [[input.channels, inner], [inner, channels]];
        match self {
            Self::Two => vec![conv(first, from, 3, stride), conv(last, to, 3, 1)],
            Self::Bottleneck => {
                vec![
                    conv(first, from, 1, 1),
                    conv([inner; 2], from, 3, stride),
                    conv(last, to, 1, 1),
                ]
            }
            Self::EarlyBottleneck => {
                vec![conv(first, from, 1, stride), conv([inner; 2], to, 3, 1), conv(last, to, 1, 1)]
            }
        }
    }
}

/// The 1×1 convolution of a shortcut.
pub(super) fn projection(input: Shape, channels: usize, stride: usize) -> Convolution {
    Convolution::new([input.channels, channels], image(input), 1, stride, 0)
}
