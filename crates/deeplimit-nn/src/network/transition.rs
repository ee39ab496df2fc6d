//! The maps between flows that a configuration can name, and the shapes that they give.

use super::error::NetworkError;
use super::normalised::after;
use super::stem_end::pooled;
use crate::data::Shape;
use deeplimit::kernel::Image;
use serde::{Deserialize, Serialize};

/// A map that changes the state's shape.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
pub enum TransitionConfig {
    /// The state as it is.
    None {},
    /// An affine map to `width` numbers.
    Linear {
        /// Numbers a sample afterwards.
        width: usize,
    },
    /// A convolution to `channels` channels.
    Conv {
        /// Channels afterwards.
        channels: usize,
        /// Height and width of the window.
        #[serde(default = "three")]
        kernel: usize,
        /// Distance of the windows.
        #[serde(default = "one")]
        stride: usize,
        /// Zeros around the image.
        #[serde(default)]
        padding: usize,
    },
    /// A normalised convolution, and where asked for relu, or relu and the maxima of 3×3 windows, two apart:
    /// how residual networks of images begin.
    Stem {
        /// Channels afterwards.
        channels: usize,
        /// Height and width of the window.
        #[serde(default = "three")]
        kernel: usize,
        /// Distance of the windows.
        #[serde(default = "one")]
        stride: usize,
        /// Zeros around the image.
        #[serde(default)]
        padding: usize,
        /// Whether relu follows.
        #[serde(default, skip_serializing_if = "is_no")]
        relu: bool,
        /// Whether relu and maxima follow.
        #[serde(default)]
        pool: bool,
        /// Channels of a block that follows; without one the stem is all.
        #[serde(default)]
        widen: Option<usize>,
        /// Channels within that block; as many as the stem has where none are given.
        #[serde(default)]
        hidden: Option<usize>,
        /// Whether that block has three convolutions, with windows of 1×1, 3×3 and 1×1 pixels, instead of two
        /// with 3×3.
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        bottleneck: bool,
        /// Whether the convolution is not normalised, and the block, if there is one, in the order of He, Zhang,
        /// Ren, Sun (2016), where normalisations come first.
        #[serde(default, skip_serializing_if = "is_no")]
        preactivation: bool,
        /// What is added in that block.
        #[serde(default = "project", skip_serializing_if = "is_project")]
        shortcut: Shortcut,
    },
    /// Normalised convolutions of relu(x), with relu between them, and a shortcut around them: a residual
    /// block that changes the image's size (He, Zhang, Ren, Sun 2015).
    Block {
        /// Channels afterwards.
        channels: usize,
        /// Channels within; as many as afterwards where none are given.
        #[serde(default)]
        hidden: Option<usize>,
        /// Distance of the windows.
        #[serde(default = "two")]
        stride: usize,
        /// Three convolutions, with windows of 1×1, 3×3 and 1×1 pixels, instead of two with 3×3.
        #[serde(default)]
        bottleneck: bool,
        /// With three convolutions: the first one's windows are `stride` apart, not those of the second.
        #[serde(default, skip_serializing_if = "is_no")]
        stride_in_1x1: bool,
        /// Whether every convolution has its normalisation and relu before it, as in He, Zhang, Ren, Sun (2016),
        /// instead of relu before and the normalisation behind it.
        #[serde(default, skip_serializing_if = "is_no")]
        preactivation: bool,
        /// What is added.
        #[serde(default)]
        shortcut: Shortcut,
    },
}

/// The way around the convolutions of a block that changes the shape of x: of relu(x) (He, Zhang, Ren, Sun
/// 2015), or in a block with `preactivation` of what each says (2016).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shortcut {
    /// Every `stride`-th pixel, and zeros for the new channels (option A); with `preactivation` of x itself.
    #[default]
    Pad,
    /// A normalised 1×1 convolution (option B); with `preactivation` of relu(norm(x)), and not normalised.
    Project,
    /// With `preactivation`: a 1×1 convolution of x itself, not normalised.
    Raw,
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

fn is_no(value: &bool) -> bool {
    !*value
}

fn project() -> Shortcut {
    Shortcut::Project
}

fn is_project(value: &Shortcut) -> bool {
    *value == Shortcut::Project
}

fn two() -> usize {
    2
}

fn one() -> usize {
    1
}

fn three() -> usize {
    3
}

impl TransitionConfig {
    /// Whether what comes out are images: of one pixel, only where the transition is of images.
    pub(super) fn gives_images(self, state: Shape) -> bool {
        let of_images = matches!(self, Self::Conv { .. } | Self::Stem { .. } | Self::Block { .. });
        of_images || state.is_image()
    }

    pub(super) fn shape_after(self, stage: usize, input: Shape) -> Result<Shape, NetworkError> {
        let out_of_range = |setting, found: usize, expected: String| {
            Err(NetworkError::OutOfRange { stage, setting, found: found.to_string(), expected })
        };
        match self {
            Self::Stem { .. } | Self::Block { .. } if !input.is_image() => {
                let reason = "stem and block transitions need images; use kind = \"linear\"";
                Err(NetworkError::Combination { stage, reason: reason.to_owned() })
            }
            Self::Stem { relu: true, pool: true, preactivation: false, .. } => {
                let reason = "a stem with pool = true has relu before its maxima; leave out `relu`";
                Err(NetworkError::Combination { stage, reason: reason.to_owned() })
            }
            Self::Stem { relu: true, widen: Some(_), preactivation: false, .. } => {
                let reason = "the block of a stem with `widen` begins with relu; leave out `relu`";
                Err(NetworkError::Combination { stage, reason: reason.to_owned() })
            }
            Self::Stem { widen: None, hidden: Some(_), .. }
            | Self::Stem { widen: None, shortcut: Shortcut::Raw, .. } => {
                let reason = "hidden and shortcut = \"raw\" are of the block behind a stem; add `widen`, \
                              or leave them out";
                Err(NetworkError::Combination { stage, reason: reason.to_owned() })
            }
            Self::Stem { preactivation: false, shortcut: Shortcut::Raw, .. }
            | Self::Block { preactivation: false, shortcut: Shortcut::Raw, .. } => {
                let reason =
                    "shortcut = \"raw\" is of blocks with preactivation = true; take \"project\"";
                Err(NetworkError::Combination { stage, reason: reason.to_owned() })
            }
            Self::Stem { widen: Some(0), .. } => {
                out_of_range("transition.widen", 0, "at least 1".to_owned())
            }
            Self::Stem { hidden: Some(0), .. } => {
                out_of_range("transition.hidden", 0, "at least 1".to_owned())
            }
            Self::Stem { channels, widen: Some(found), shortcut: Shortcut::Pad, .. }
                if found < channels =>
            {
                let expected = format!("at least {channels}, or shortcut = \"project\"");
                out_of_range("transition.widen", found, expected)
            }
            Self::Stem { channels, kernel, stride, padding, pool, widen, .. } => {
                let conv = Self::Conv { channels, kernel, stride, padding };
                let Shape { height, width, .. } = conv.shape_after(stage, input)?;
                let Image { height, width } = match pool {
                    true => pooled(Image { height, width }),
                    false => Image { height, width },
                };
                Ok(Shape::image(widen.unwrap_or(channels), height, width))
            }
            Self::Block { stride_in_1x1: true, bottleneck: false, .. } => {
                let reason = "stride_in_1x1 is of blocks with bottleneck = true; leave it out";
                Err(NetworkError::Combination { stage, reason: reason.to_owned() })
            }
            Self::Block { channels, hidden, stride, shortcut, .. } => {
                for (setting, found) in [
                    ("transition.channels", channels),
                    ("transition.hidden", hidden.unwrap_or(1)),
                    ("transition.stride", stride),
                ] {
                    if found == 0 {
                        return out_of_range(setting, 0, "at least 1".to_owned());
                    }
                }
                if shortcut == Shortcut::Pad && channels < input.channels {
                    let expected =
                        format!("at least {}, or shortcut = \"project\"", input.channels);
                    return out_of_range("transition.channels", channels, expected);
                }
                Ok(after(input, channels, stride))
            }
            Self::None {} => Ok(input),
            Self::Linear { width: 0 } => {
                out_of_range("transition.width", 0, "at least 1".to_owned())
            }
            Self::Linear { width } => Ok(Shape::table(width)),
            Self::Conv { channels: 0, .. } => {
                out_of_range("transition.channels", 0, "at least 1".to_owned())
            }
            Self::Conv { stride: 0, .. } => {
                out_of_range("transition.stride", 0, "at least 1".to_owned())
            }
            Self::Conv { channels, kernel, stride, padding } => {
                if !input.is_image() {
                    let reason = "a conv transition needs images; use kind = \"linear\"".to_owned();
                    return Err(NetworkError::Combination { stage, reason });
                }
                let smallest = input.height.min(input.width) + 2 * padding;
                if kernel == 0 || kernel > smallest {
                    let expected = format!("1 to {smallest} for this image and padding");
                    return out_of_range("transition.kernel", kernel, expected);
                }
                let after = |size: usize| (size + 2 * padding - kernel) / stride + 1;
                Ok(Shape::image(channels, after(input.height), after(input.width)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strided_convolution_has_the_size_that_its_windows_leave() {
        let conv = TransitionConfig::Conv { channels: 16, kernel: 5, stride: 3, padding: 0 };
        let shape = conv.shape_after(0, Shape::image(3, 32, 32));
        assert_eq!(shape, Ok(Shape::image(16, 10, 10)));
    }
    #[test]
    fn relu_that_would_change_nothing_is_refused() {
        let stem = |text: &str| -> TransitionConfig {
            toml::from_str(&format!("kind = 'stem'\nchannels = 4\n{text}")).expect("a stem")
        };
        for (text, part) in
            [("pool = true", "before its maxima"), ("widen = 8", "begins with relu")]
        {
            let stem = stem(&format!("relu = true\n{text}"));
            let error =
                stem.shape_after(0, Shape::image(3, 32, 32)).expect_err("a superfluous relu");
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
