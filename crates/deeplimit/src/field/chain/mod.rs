//! Convolutions and normalisations one after the other: y_k = norm_k(conv_k(σ_k(y_{k−1}))), what residual
//! networks of images are made of (Ioffe, Szegedy 2015; He, Zhang, Ren, Sun 2015); or, with a normalisation
//! first and none behind the last convolution, the same in the order of He, Zhang, Ren, Sun (2016).
//!
//! Samples see each other: the batch goes whole, and threads share its tiles.

mod exposure;
mod link;
mod tape;

use super::{NodeGradient, Tiled};
use crate::control::Kind;
use crate::kernel::normalise::{self, Moments};
use crate::kernel::{Activation, Buffer, Image, vector};
use crate::{Real, Rows};
pub use link::{Link, LinkMap};
use rayon::prelude::*;
pub use tape::ChainTape;
use tape::{Back, Kept, Norm, Tile};

/// The most convolutions of a chain, and normalisations: their parameters have names.
const MOST: usize = 3;

const NAMES: [[&str; 3]; MOST] = [["w1", "g1", "be1"], ["w2", "g2", "be2"], ["w3", "g3", "be3"]];

/// [`Link`]s one after the other. norm(y) = (y − mean) / √(variance + ε) · g + β a channel; the k-th
/// convolution has the parameter w_k `[outputs, inputs, side, side]`, the k-th normalisation g_k, β_k
/// `[channels]`. The variance is the biased one.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    links: Vec<Link>,
}

impl Chain {
    /// Links that fit to each other.
    ///
    /// # Panics
    /// If there is none, or more than three convolutions or normalisations, or one link does not take what the
    /// one before gives; if a link has neither convolution nor normalisation, another than the first no
    /// convolution, or another than the last no normalisation.
    pub fn new(links: Vec<Link>) -> Self {
        let norms = links.iter().filter(|link| link.normalised).count();
        let convolutions = links.iter().filter(|link| link.weights() > 0).count();
        assert!(!links.is_empty(), "a chain has at least one link");
        assert!(norms <= MOST && convolutions <= MOST, "at most {MOST} of a kind");
        assert!(
            links.iter().all(|link| link.arrays() > 0),
            "every link has a convolution or a norm"
        );
        assert!(links[1..].iter().all(|link| link.weights() > 0), "a convolution a link");
        assert!(links[..links.len() - 1].iter().all(|link| link.normalised), "a norm a link");
        for pair in links.windows(2) {
            let (from, to) = (&pair[0].map, &pair[1].map);
            assert_eq!((from.outputs(), from.out()), (to.inputs(), to.image()), "links fit");
        }
        Self { links }
    }

    /// The links, first to last.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    fn last(&self) -> &LinkMap {
        &self.links[self.links.len() - 1].map
    }

    /// Channels that come out.
    pub fn outputs(&self) -> usize {
        self.last().outputs()
    }

    /// The size of the images that come out.
    pub fn out(&self) -> Image {
        self.last().out()
    }

    /// Pixels of the smallest image that is normalised, where one is.
    pub fn fewest_pixels(&self) -> Option<usize> {
        let normalised = self.links.iter().filter(|link| link.normalised);
        normalised.map(|link| link.map.out().pixels()).min()
    }

    /// Channels that are normalised, of all links together.
    pub fn normalised(&self) -> usize {
        self.links.iter().map(Link::normalised_channels).sum()
    }

    /// The parameter kinds, link by link.
    pub fn kinds(&self) -> Vec<Kind> {
        let mut kinds = Vec::new();
        let (mut weights, mut norms) = (NAMES.iter(), NAMES.iter());
        for Link { map, normalised, .. } in &self.links {
            if let LinkMap::Convolution(windows) = map {
                let [name, ..] = weights.next().expect("no more than have names");
                let (inputs, side) = (windows.inputs(), windows.side());
                let shape = vec![windows.outputs(), inputs, side, side];
                kinds.push(Kind { name, shape, fan_in: side * side * inputs });
            }
            if *normalised {
                let [_, names @ ..] = norms.next().expect("no more than have names");
                let kind = |name| Kind { name, shape: vec![map.outputs()], fan_in: 1 };
                kinds.extend(names.map(kind));
            }
        }
        kinds
    }

    /// The place of a link's first array among the kinds.
    fn place(&self, index: usize) -> usize {
        self.links[..index].iter().map(Link::arrays).sum()
    }

    /// The places of a link's g and β, which follow its weights.
    fn norm_place(&self, index: usize) -> usize {
        self.place(index) + usize::from(self.links[index].weights() > 0)
    }

    /// An empty tape for a batch.
    pub fn tape<R: Real>(&self, like: &Tiled<R>) -> ChainTape<R> {
        let kept = |index: usize, samples: usize| {
            let Link { before, map, normalised } = &self.links[index];
            let buffer = |length: usize| {
                let mut buffer = Buffer::default();
                buffer.resize(length * samples);
                buffer
            };
            let ends = map.outputs() * map.out().pixels();
            let more = index + 1 < self.links.len();
            Kept {
                a: match before {
                    Activation::Identity => Buffer::default(),
                    _ => buffer(map.inputs() * map.image().pixels()),
                },
                normal: if *normalised { buffer(ends) } else { Buffer::default() },
                y: if more { buffer(ends) } else { Buffer::default() },
            }
        };
        let count = self.links.len();
        let tile = |samples| Tile {
            kept: (0..count).map(|index| kept(index, samples)).collect(),
            back: Vec::new(),
        };
        let norm = |_| Norm { inverse: Vec::new(), moments: Vec::new() };
        ChainTape {
            tiles: like.tiles.iter().map(|tile_of| tile(tile_of.rows())).collect(),
            norms: (0..count).map(norm).collect(),
            by_batch: true,
        }
    }

    /// y of the last link; normalised by the batch, or by (mean, variance) of every normalised channel of
    /// every link where they are `held`.
    ///
    /// # Panics
    /// If parameters, states or the tape have other shapes, or nothing is held and the batch is one sample
    /// of one pixel: one number a channel has no variance.
    pub fn linearize<R: Real>(
        &self,
        theta: &[&[R]],
        held: Option<&[[f64; 2]]>,
        x: &Tiled<R>,
        out: &mut Tiled<R>,
        tape: &mut ChainTape<R>,
    ) {
        let ChainTape { tiles, norms, by_batch } = tape;
        *by_batch = held.is_none();
        let samples = x.tiles.iter().map(Rows::rows).sum::<usize>();
        let one = self.fewest_pixels().is_some_and(|pixels| samples * pixels == 1);
        assert!(!(one && *by_batch), "batch normalisation of one number a channel");
        let mut held = held;
        for (index, link) in self.links.iter().enumerate() {
            let (settled, coming) = norms.split_at_mut(index);
            let own = self.place(index);
            let work = |tile: &mut Tile<R>, x: &[R], out: &mut [R], samples: usize| {
                let (before, here) = tile.kept.split_at_mut(index);
                let (Kept { a, normal, .. }, mut input) = (&mut here[0], x);
                if let Some((Kept { normal, y, .. }, norm)) = before.last_mut().zip(settled.last())
                {
                    let [gain, shift] = [theta[own - 2], theta[own - 1]];
                    norm.apply(normal, y, [gain, shift]);
                    input = y;
                }
                if link.before != Activation::Identity {
                    link.before.apply(input, a);
                    input = a;
                }
                if !link.normalised {
                    link.map.apply(theta[own], input, out, samples);
                    return Vec::new();
                }
                link.map.apply(theta[own], input, normal, samples);
                planes(normal, link.map.outputs()).map(Moments::of).collect::<Vec<Moments>>()
            };
            let parts: Vec<Vec<Moments>> = tiles
                .par_iter_mut()
                .zip(&x.tiles)
                .zip(&mut out.tiles)
                .map(|((tile, x), out)| work(tile, x.columns(), out.columns_mut(), x.rows()))
                .collect();
            let known = held.map(|held| held.split_at(link.normalised_channels()));
            held = known.map(|(_, rest)| rest);
            coming[0].settle(known.map(|(known, _)| known), &parts);
        }
        let last = self.links.len() - 1;
        if self.links[last].normalised {
            let place = self.norm_place(last);
            let ends = [theta[place], theta[place + 1]];
            tiles.par_iter_mut().zip(&mut out.tiles).for_each(|(tile, out)| {
                norms[last].apply(&mut tile.kept[last].normal, out.columns_mut(), ends);
            });
        }
    }

    /// Adds Jᵀ `cotangent` to `x_bar`, and the parameters' gradients to `gradient`; J as linearised at `x`.
    pub fn pull_back<R: Real>(
        &self,
        theta: &[&[R]],
        x: &Tiled<R>,
        tape: &mut ChainTape<R>,
        cotangent: &Tiled<R>,
        x_bar: &mut Tiled<R>,
        mut gradient: Option<&mut NodeGradient<'_, R>>,
    ) {
        self.make_way_back(tape, x);
        let last = self.links.len() - 1;
        let ChainTape { tiles, norms, by_batch } = tape;
        tiles.par_iter_mut().zip(&cotangent.tiles).for_each(|(tile, cotangent)| {
            tile.back[last].y.copy_from_slice(cotangent.columns());
        });
        for (index, link) in self.links.iter().enumerate().rev() {
            let [own, place] = [self.place(index), self.norm_place(index)];
            let mut means = Vec::new();
            if link.normalised {
                let own = gradient.as_deref_mut().map(|all| &mut all[place..][..2]);
                means = backward_means(tiles, index, link.map.outputs(), *by_batch, own);
            }
            let keep = if gradient.is_some() { link.weights() } else { 0 };
            let norm = &norms[index];
            let work = |tile: &mut Tile<R>, x: &[R], x_bar: &mut [R], samples: usize| {
                let (before, here) = tile.kept.split_at(index);
                let Kept { a, normal, .. } = &here[0];
                let y = before.last().map_or(x, |kept| &kept.y[..]);
                let (earlier, back) = tile.back.split_at_mut(index);
                let back = &mut back[0];
                if link.normalised {
                    norm.pull_back(&mut back.y, normal, &means, theta[place]);
                }
                let bent = link.before != Activation::Identity;
                let mut part = vec![R::zero(); keep];
                if let LinkMap::Convolution(windows) = &link.map
                    && keep > 0
                {
                    let input = if bent { &a[..] } else { y };
                    windows.add_weight_gradient(&back.y, input, &mut part, samples);
                }
                let transposed = |adds: bool, out: &mut [R]| {
                    link.map.apply_transposed(theta[own], adds, &back.y, out, samples);
                };
                match (earlier.last_mut(), bent) {
                    (None, false) => transposed(true, x_bar),
                    (None, true) => {
                        transposed(false, &mut back.a);
                        R::with_scratch(x.len(), |bar| {
                            link.before.pull_back(y, a, &back.a, bar);
                            vector::add_scaled(x_bar, R::one(), bar);
                        });
                    }
                    (Some(earlier), false) => transposed(false, &mut earlier.y),
                    (Some(earlier), true) => {
                        transposed(false, &mut back.a);
                        link.before.pull_back(y, a, &back.a, &mut earlier.y);
                    }
                }
                part
            };
            let parts: Vec<Vec<R>> = tiles
                .par_iter_mut()
                .zip(&x.tiles)
                .zip(&mut x_bar.tiles)
                .map(|((tile, x), x_bar)| work(tile, x.columns(), x_bar.columns_mut(), x.rows()))
                .collect();
            if let Some(all) = gradient.as_deref_mut().filter(|_| keep > 0) {
                parts.iter().for_each(|part| vector::add_scaled(all[own], R::one(), part));
            }
        }
    }

    /// Sizes the buffers of the way back.
    fn make_way_back<R: Real>(&self, tape: &mut ChainTape<R>, x: &Tiled<R>) {
        for (tile, x) in tape.tiles.iter_mut().zip(&x.tiles) {
            let empty = || Back { y: Buffer::default(), a: Buffer::default() };
            tile.back.resize_with(self.links.len(), empty);
            for ((back, kept), link) in tile.back.iter_mut().zip(&tile.kept).zip(&self.links) {
                back.y.resize(link.map.outputs() * link.map.out().pixels() * x.rows());
                back.a.resize(kept.a.len());
            }
        }
    }

    /// Most bytes that a walk asks for and gives back: what the tiles tell of a link, their moments; or, on
    /// the way back, their sums and gradients of the weights.
    pub(super) fn passing<R: Real>(&self, tiles: usize) -> usize {
        let link = |link: &Link| {
            let numbers = link.weights() * size_of::<R>();
            numbers.max(link.normalised_channels() * size_of::<Moments>())
        };
        let channels = self.links.iter().map(Link::normalised_channels);
        let sums = channels.max().unwrap_or(0) * size_of::<[f64; 2]>();
        let handles = 3 * size_of::<Vec<R>>();
        let most = self.links.iter().map(link).max().unwrap_or(0);
        tiles * (handles + most + sums) + 2 * sums
    }
}

/// The channels of an image.
fn planes<R>(image: &[R], channels: usize) -> impl Iterator<Item = &[R]> {
    image.chunks_exact(image.len() / channels)
}

/// Means over the batch of the cotangents of a link and of their products with the normalised numbers, 0
/// where statistics are held; adds the gradients of gain and shift.
fn backward_means<R: Real>(
    tiles: &[Tile<R>],
    link: usize,
    channels: usize,
    by_batch: bool,
    mut gradient: Option<&mut NodeGradient<'_, R>>,
) -> Vec<[f64; 2]> {
    let sums: Vec<Vec<[f64; 2]>> = tiles
        .par_iter()
        .map(|tile| {
            let [bar, normal] = [&tile.back[link].y[..], &tile.kept[link].normal];
            let planes = planes(bar, channels).zip(planes(normal, channels));
            planes.map(|(bar, normal)| normalise::bar_sums(bar, normal)).collect()
        })
        .collect();
    let count = tiles.iter().map(|tile| tile.back[link].y.len()).sum::<usize>() / channels;
    let mut means = vec![[0.0; 2]; channels];
    for (channel, mean) in means.iter_mut().enumerate() {
        let total = sums.iter().fold([0.0; 2], |total, tile| {
            [total[0] + tile[channel][0], total[1] + tile[channel][1]]
        });
        if let Some([gain, shift]) = gradient.as_deref_mut() {
            gain[channel] += R::of(total[1]);
            shift[channel] += R::of(total[0]);
        }
        if by_batch {
            *mean = total.map(|total| total / count as f64);
        }
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "at least one link")]
    fn no_chain_is_empty() {
        Chain::new(Vec::new());
    }

    #[test]
    #[should_panic(expected = "a convolution or a norm")]
    fn no_link_is_empty() {
        let norm = Link::norm(2, Image { height: 3, width: 4 });
        Chain::new(vec![Link { normalised: false, ..norm }]);
    }
}
