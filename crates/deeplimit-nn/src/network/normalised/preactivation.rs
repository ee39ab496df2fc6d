//! Normalisation, relu, convolution: blocks in the order of He, Zhang, Ren, Sun (2016), and the normalisation
//! behind the last of them.

use super::windows::{Windows, projection};
use super::{Around, Blueprint, Piece, image};
use crate::data::Shape;
use crate::network::stem_end::StemEnd;
use crate::network::transition::Shortcut;
use deeplimit::field::{Chain, Link};
use deeplimit::kernel::Activation;

impl Blueprint {
    /// A normalisation of images.
    pub(in crate::network) fn normalisation(of: Shape) -> Self {
        let link = Link::norm(of.channels, image(of));
        Self(vec![Piece::plain("", Chain::new(vec![link]))])
    }
}

impl Piece {
    /// A chain without anything around it.
    fn plain(prefix: &'static str, body: Chain) -> Self {
        Self { prefix, body, shortcut: Around::Nothing, end: StemEnd::default() }
    }

    /// A block that changes the shape.
    pub(super) fn preactivated(
        input: Shape,
        ends: [usize; 2],
        stride: usize,
        windows: Windows,
        shortcut: Shortcut,
    ) -> Vec<Self> {
        let (relu, channels) = (Activation::Relu, ends[1]);
        let norm = Link::norm(input.channels, image(input));
        let mut convolutions = windows.convolutions(input, ends, stride).into_iter().peekable();
        let mut links = Vec::new();
        while let Some(windows) = convolutions.next() {
            let link = if convolutions.peek().is_some() { Link::normalised } else { Link::bare };
            links.push(link(relu, windows));
        }
        let project = |before| {
            let link = Link::bare(before, projection(input, channels, stride));
            Around::Project(Chain::new(vec![link]))
        };
        let whole =
            |links: Vec<Link>, shortcut| Self { shortcut, ..Self::plain("", Chain::new(links)) };
        let with_norm = |links| [vec![norm.clone()], links].concat();
        match shortcut {
            // Both go on from what is normalised.
            Shortcut::Project => {
                vec![Self::plain("norm.", Chain::new(vec![norm])), whole(links, project(relu))]
            }
            Shortcut::Raw => vec![whole(with_norm(links), project(Activation::Identity))],
            Shortcut::Pad => {
                let pad = Around::Pad { from: input, stride, channels, relu: false };
                vec![whole(with_norm(links), pad)]
            }
        }
    }

    /// The same of a block that follows a stem.
    pub(super) fn behind_a_stem(self) -> Self {
        let prefix = if self.prefix.is_empty() { "block." } else { "block.norm." };
        Self { prefix, ..self }
    }
}
