//! Normalised convolutions one after the other, y_k = norm_k(conv_k(σ_k(y_{k−1}))): what residual networks
//! of images are made of (Ioffe, Szegedy 2015; He, Zhang, Ren, Sun 2015, 2016).
//!
//! Samples see each other: the batch goes whole, and threads share its tiles.

mod exposure;
mod tape;

use super::{NodeGradient, Tiled};
use crate::control::Kind;
use crate::kernel::normalise::{self, Moments};
use crate::kernel::{Activation, Buffer, Convolution, Image, Start, vector};
use crate::{Real, Rows};
use rayon::prelude::*;
pub use tape::ChainTape;
use tape::{Back, Kept, Norm, Tile};

/// The most links of a chain: their parameters have names.
const MOST: usize = 3;

const NAMES: [[&str; 3]; MOST] = [["w1", "g1", "be1"], ["w2", "g2", "be2"], ["w3", "g3", "be3"]];

/// norm(conv(σ(·))); the nonlinearity comes first.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// σ; [`Activation::Identity`] costs nothing.
    pub before: Activation,
    /// The convolution, without a bias: the normalisation has one.
    pub windows: Convolution,
}

/// One to three [`Link`]s. norm(y) = (y − mean) / √(variance + ε) · g + β a channel; link k has the
/// parameters w_k `[outputs, inputs, side, side]`, g_k, β_k `[outputs]`. The variance is the biased one.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    links: Vec<Link>,
}

impl Chain {
    /// Links that fit to each other.
    ///
    /// # Panics
    /// If there is none, or more than three, or one does not take what the one before gives.
    pub fn new(links: Vec<Link>) -> Self {
        assert!((1..=MOST).contains(&links.len()), "a chain of {} links", links.len());
        for pair in links.windows(2) {
            let (from, to) = (&pair[0].windows, &pair[1].windows);
            assert_eq!((from.outputs(), from.out()), (to.inputs(), to.image()), "links fit");
        }
        Self { links }
    }

    /// The links, first to last.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    fn last(&self) -> &Convolution {
        &self.links[self.links.len() - 1].windows
    }

    /// Channels that come out.
    pub fn outputs(&self) -> usize {
        self.last().outputs()
    }

    /// The size of the images that come out.
    pub fn out(&self) -> Image {
        self.last().out()
    }

    /// Pixels of the smallest image that is normalised.
    pub fn fewest_pixels(&self) -> usize {
        let pixels = self.links.iter().map(|link| link.windows.out().pixels());
        pixels.min().expect("a chain has a link")
    }

    /// Channels that are normalised, of all links together.
    pub fn normalised(&self) -> usize {
        self.links.iter().map(|link| link.windows.outputs()).sum()
    }

    /// The parameter kinds.
    pub fn kinds(&self) -> Vec<Kind> {
        let kinds = |(link, [w, g, be]): (&Link, [&'static str; 3])| {
            let (inputs, outputs) = (link.windows.inputs(), link.windows.outputs());
            let side = link.windows.side();
            let shape = vec![outputs, inputs, side, side];
            [
                Kind { name: w, shape, fan_in: side * side * inputs },
                Kind { name: g, shape: vec![outputs], fan_in: 1 },
                Kind { name: be, shape: vec![outputs], fan_in: 1 },
            ]
        };
        self.links.iter().zip(NAMES).flat_map(kinds).collect()
    }

    /// An empty tape for a batch.
    pub fn tape<R: Real>(&self, like: &Tiled<R>) -> ChainTape<R> {
        let kept = |index: usize, samples: usize| {
            let Link { before, windows } = &self.links[index];
            let buffer = |length: usize| {
                let mut buffer = Buffer::default();
                buffer.resize(length * samples);
                buffer
            };
            let ends = windows.outputs() * windows.out().pixels();
            let more = index + 1 < self.links.len();
            Kept {
                a: match before {
                    Activation::Identity => Buffer::default(),
                    _ => buffer(windows.inputs() * windows.image().pixels()),
                },
                normal: buffer(ends),
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

    /// y of the last link, normalised by the batch, or by (mean, variance) of every channel of every
    /// link where they are `held`.
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
        let one = x.tiles.iter().map(Rows::rows).sum::<usize>() * self.fewest_pixels() == 1;
        assert!(!(one && *by_batch), "batch normalisation of one number a channel");
        let mut held = held;
        for (index, link) in self.links.iter().enumerate() {
            let (settled, coming) = norms.split_at_mut(index);
            let work = |tile: &mut Tile<R>, x: &[R], samples: usize| {
                let (before, here) = tile.kept.split_at_mut(index);
                let (Kept { a, normal, .. }, mut input) = (&mut here[0], x);
                if let Some((Kept { normal, y, .. }, norm)) = before.last_mut().zip(settled.last())
                {
                    let [gain, shift] = [theta[3 * index - 2], theta[3 * index - 1]];
                    norm.apply(normal, y, [gain, shift]);
                    input = y;
                }
                if link.before != Activation::Identity {
                    link.before.apply(input, a);
                    input = a;
                }
                link.windows.apply(theta[3 * index], Start::Zero, input, normal, samples);
                planes(normal, link.windows.outputs()).map(Moments::of).collect::<Vec<Moments>>()
            };
            let parts: Vec<Vec<Moments>> = tiles
                .par_iter_mut()
                .zip(&x.tiles)
                .map(|(tile, x)| work(tile, x.columns(), x.rows()))
                .collect();
            let known = held.map(|held| held.split_at(link.windows.outputs()));
            held = known.map(|(_, rest)| rest);
            coming[0].settle(known.map(|(known, _)| known), &parts);
        }
        let last = self.links.len() - 1;
        let ends = [theta[3 * last + 1], theta[3 * last + 2]];
        tiles.par_iter_mut().zip(&mut out.tiles).for_each(|(tile, out)| {
            norms[last].apply(&mut tile.kept[last].normal, out.columns_mut(), ends);
        });
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
        self.make_way_back(tape);
        let last = self.links.len() - 1;
        let ChainTape { tiles, norms, by_batch } = tape;
        tiles.par_iter_mut().zip(&cotangent.tiles).for_each(|(tile, cotangent)| {
            tile.back[last].y.copy_from_slice(cotangent.columns());
        });
        for (index, link) in self.links.iter().enumerate().rev() {
            let own = gradient.as_deref_mut().map(|all| &mut all[3 * index..][..3]);
            let means = backward_means(tiles, index, link.windows.outputs(), *by_batch, own);
            let [weight, gain] = [theta[3 * index], theta[3 * index + 1]];
            let keep = gradient.is_some();
            let norm = &norms[index];
            let work = |tile: &mut Tile<R>, x: &[R], x_bar: &mut [R], samples: usize| {
                let (before, here) = tile.kept.split_at(index);
                let Kept { a, normal, .. } = &here[0];
                let y = before.last().map_or(x, |kept| &kept.y[..]);
                let (earlier, back) = tile.back.split_at_mut(index);
                let back = &mut back[0];
                norm.pull_back(&mut back.y, normal, &means, gain);
                let bent = link.before != Activation::Identity;
                let mut part = vec![R::zero(); if keep { weight.len() } else { 0 }];
                if keep {
                    let input = if bent { &a[..] } else { y };
                    link.windows.add_weight_gradient(&back.y, input, &mut part, samples);
                }
                let transposed = |start: Start<'_, R>, out: &mut [R]| {
                    link.windows.apply_transposed(weight, start, &back.y, out, samples);
                };
                match (earlier.last_mut(), bent) {
                    (None, false) => transposed(Start::Add, x_bar),
                    (None, true) => {
                        transposed(Start::Zero, &mut back.a);
                        R::with_scratch(x.len(), |bar| {
                            link.before.pull_back(y, a, &back.a, bar);
                            vector::add_scaled(x_bar, R::one(), bar);
                        });
                    }
                    (Some(earlier), false) => transposed(Start::Zero, &mut earlier.y),
                    (Some(earlier), true) => {
                        transposed(Start::Zero, &mut back.a);
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
            if let Some(all) = gradient.as_deref_mut() {
                parts.iter().for_each(|part| vector::add_scaled(all[3 * index], R::one(), part));
            }
        }
    }

    /// Sizes the buffers of the way back.
    fn make_way_back<R: Real>(&self, tape: &mut ChainTape<R>) {
        for tile in &mut tape.tiles {
            let empty = || Back { y: Buffer::default(), a: Buffer::default() };
            tile.back.resize_with(self.links.len(), empty);
            for (back, kept) in tile.back.iter_mut().zip(&tile.kept) {
                back.y.resize(kept.normal.len());
                back.a.resize(kept.a.len());
            }
        }
    }

    /// Most bytes that a walk asks for and gives back: what the tiles tell of a link, their moments; or, on
    /// the way back, their sums and gradients of the weights.
    pub(super) fn passing<R: Real>(&self, tiles: usize) -> usize {
        let link = |link: &Link| {
            let Link { windows, .. } = link;
            let outputs = windows.outputs();
            let numbers = outputs * windows.inputs() * windows.side().pow(2) * size_of::<R>();
            numbers.max(outputs * size_of::<Moments>())
        };
        let outputs = self.links.iter().map(|link| link.windows.outputs());
        let sums = outputs.max().unwrap_or(0) * size_of::<[f64; 2]>();
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
        if let Some([_, gain, shift]) = gradient.as_deref_mut() {
            gain[channel] += R::of(total[1]);
            shift[channel] += R::of(total[0]);
        }
        if by_batch {
            *mean = total.map(|total| total / count as f64);
        }
    }
    means
}
