//! Transitions of residual networks of images, on the library's normalised convolutions: stems, and blocks
//! that change the image's size (He, Zhang, Ren, Sun 2015, 2016).
//!
//! Samples see each other while training. Between the way forward and the way back only the inputs are
//! kept: the way back walks the block again.

mod preactivation;
mod windows;

use super::config::StagePlan;
use super::map::{self, cut};
use super::relu::relu;
use super::stem_end::StemEnd;
use super::transition::{Shortcut, TransitionConfig};
use crate::data::Shape;
use deeplimit::control::Kind;
use deeplimit::field::{Chain, ChainTape, LayerStatistics, Link, Tiled};
use deeplimit::kernel::{Activation, Convolution, Image, Lanes};
use deeplimit::{Heap, Rows, State};
use rayon::prelude::*;
use windows::{Windows, projection};

/// What is built of a transition's configuration: one block after the other.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Blueprint(Vec<Piece>);

/// A stem, a block or a part of one.
#[derive(Clone, Debug, PartialEq)]
struct Piece {
    /// How the names of its arrays begin.
    prefix: &'static str,
    body: Chain,
    shortcut: Around,
    /// What follows both.
    end: StemEnd,
}

/// What is added to the convolutions.
#[derive(Clone, Debug, PartialEq)]
enum Around {
    Nothing,
    /// Every `stride`-th pixel of relu(x), or of x, with zeros for the channels that are new, half before and
    /// half behind (He et al. 2015, option A).
    Pad {
        from: Shape,
        stride: usize,
        channels: usize,
        relu: bool,
    },
    /// A 1×1 convolution (option B).
    Project(Chain),
}

/// A transition with its present weights.
pub(super) struct Normalised(Vec<Weighted>);

/// A stem or a block with its present weights.
struct Weighted {
    plan: Piece,
    /// The arrays of [`Piece::kinds`].
    theta: Vec<Vec<f32>>,
    /// (mean, variance) of every normalised channel; the batch's own where none are held.
    held: Option<LayerStatistics>,
}

/// Everything that a walk forward leaves behind.
struct Walk {
    body: ChainTape<f32>,
    shortcut: Option<ChainTape<f32>>,
    /// Before what follows.
    end: Tiled<f32>,
}

fn image(shape: Shape) -> Image {
    Image { height: shape.height, width: shape.width }
}

impl Blueprint {
    /// What a stage's transition is made of, if of normalised convolutions.
    pub(super) fn of(plan: &StagePlan) -> Option<Self> {
        let input = plan.input;
        match plan.transition {
            TransitionConfig::Stem {
                channels,
                kernel,
                stride,
                padding,
                relu,
                pool,
                widen,
                hidden,
                bottleneck,
                preactivation,
                shortcut,
            } => {
                let channels = [input.channels, channels];
                let windows = Convolution::new(channels, image(input), kernel, stride, padding);
                let link = if preactivation { Link::bare } else { Link::normalised };
                let body = Chain::new(vec![link(Activation::Identity, windows)]);
                // The relu of a stem that is normalised stands before its maxima.
                let end = StemEnd { relu: relu || pool && !preactivation, maxima: pool };
                let stem = Piece { prefix: "", body, shortcut: Around::Nothing, end };
                let Image { height, width } = stem.end();
                let stemmed = Shape::image(channels[1], height, width);
                let inner = hidden.unwrap_or(channels[1]);
                let windows = if bottleneck { Windows::Bottleneck } else { Windows::Two };
                let block = |to| match preactivation {
                    true => Piece::preactivated(stemmed, [inner, to], 1, windows, shortcut),
                    false => vec![Piece::block(stemmed, [inner, to], 1, windows, shortcut)],
                };
                let block = widen.into_iter().flat_map(block).map(Piece::behind_a_stem);
                Some(Self(std::iter::once(stem).chain(block).collect()))
            }
            TransitionConfig::Block {
                channels,
                hidden,
                stride,
                bottleneck,
                stride_in_1x1,
                preactivation,
                shortcut,
            } => {
                let channels = [hidden.unwrap_or(channels), channels];
                let windows = match (bottleneck, stride_in_1x1) {
                    (false, _) => Windows::Two,
                    (true, false) => Windows::Bottleneck,
                    (true, true) => Windows::EarlyBottleneck,
                };
                Some(Self(match preactivation {
                    true => Piece::preactivated(input, channels, stride, windows, shortcut),
                    false => vec![Piece::block(input, channels, stride, windows, shortcut)],
                }))
            }
            _ => None,
        }
    }

    /// Names and shapes of the arrays, piece by piece: those of the convolutions, then those of the shortcut.
    pub(super) fn kinds(&self) -> Vec<(String, Kind)> {
        let named = |piece: &Piece| {
            let prefix = piece.prefix;
            piece.kinds().into_iter().map(move |(name, kind)| (format!("{prefix}{name}"), kind))
        };
        self.0.iter().flat_map(named).collect()
    }

    /// Channels that are normalised, of each piece the shortcut's last.
    pub(super) fn normalised(&self) -> usize {
        self.0.iter().map(Piece::normalised).sum()
    }

    /// Pixels of the smallest image that is normalised, where one is.
    pub(super) fn fewest_pixels(&self) -> Option<usize> {
        self.0.iter().filter_map(Piece::fewest_pixels).min()
    }

    /// With its weights, and the statistics that it normalises by where they are not the batch's.
    pub(super) fn with(self, theta: Vec<Vec<f32>>, held: Option<LayerStatistics>) -> Normalised {
        let (mut theta, mut held) = (theta.into_iter(), held.map(Vec::into_iter));
        let weighted = |plan: Piece| Weighted {
            theta: theta.by_ref().take(plan.kinds().len()).collect(),
            held: held.as_mut().map(|held| held.by_ref().take(plan.normalised()).collect()),
            plan,
        };
        Normalised(self.0.into_iter().map(weighted).collect())
    }
}

impl Piece {
    /// A block that changes the shape.
    fn block(
        input: Shape,
        [inner, channels]: [usize; 2],
        stride: usize,
        windows: Windows,
        shortcut: Shortcut,
    ) -> Self {
        let relu = Activation::Relu;
        let links = windows.convolutions(input, [inner, channels], stride).into_iter();
        let links = links.map(|windows| Link::normalised(relu, windows)).collect();
        let shortcut = match shortcut {
            Shortcut::Pad => Around::Pad { from: input, stride, channels, relu: true },
            Shortcut::Project | Shortcut::Raw => {
                let windows = projection(input, channels, stride);
                Around::Project(Chain::new(vec![Link::normalised(relu, windows)]))
            }
        };
        Self { prefix: "", body: Chain::new(links), shortcut, end: StemEnd::default() }
    }

    /// The size of the images that come out.
    fn end(&self) -> Image {
        self.end.size(self.body.out())
    }

    fn kinds(&self) -> Vec<(String, Kind)> {
        let named = |prefix: &str, chain: &Chain| -> Vec<(String, Kind)> {
            chain.kinds().into_iter().map(|kind| (format!("{prefix}{}", kind.name), kind)).collect()
        };
        let mut kinds = named("", &self.body);
        if let Around::Project(chain) = &self.shortcut {
            kinds.extend(named("shortcut.", chain));
        }
        kinds
    }

    fn fewest_pixels(&self) -> Option<usize> {
        let shortcut = match &self.shortcut {
            Around::Project(chain) => chain.fewest_pixels(),
            _ => None,
        };
        self.body.fewest_pixels().into_iter().chain(shortcut).min()
    }

    fn normalised(&self) -> usize {
        let shortcut = match &self.shortcut {
            Around::Project(chain) => chain.normalised(),
            _ => 0,
        };
        self.body.normalised() + shortcut
    }
}

/// The shape after windows that are `stride` apart and padded so that all pixels are looked at.
pub(super) fn after(input: Shape, channels: usize, stride: usize) -> Shape {
    let size = |size: usize| (size - 1) / stride + 1;
    Shape::image(channels, size(input.height), size(input.width))
}

impl Weighted {
    /// The arrays of the body, and of the shortcut.
    fn theta(&self) -> [Vec<&[f32]>; 2] {
        let all: Vec<&[f32]> = self.theta.iter().map(Vec::as_slice).collect();
        let (body, shortcut) = all.split_at(self.plan.body.kinds().len());
        [body.to_vec(), shortcut.to_vec()]
    }

    fn held(&self) -> [Option<&[[f64; 2]]>; 2] {
        let held = self.held.as_ref().map(|held| held.split_at(self.plan.body.normalised()));
        [held.map(|(body, _)| body), held.map(|(_, shortcut)| shortcut)]
    }

    fn walk(&self, x: &Tiled<f32>) -> Walk {
        let Piece { body, shortcut, .. } = &self.plan;
        let pixels = body.outputs() * body.out().pixels();
        let mut end = Tiled::new(x.tiles().iter().map(|x| Rows::zeros(x.rows(), pixels)).collect());
        let [theta, around] = self.theta();
        let held = self.held();
        let mut tape = body.tape(x);
        body.linearize(&theta, held[0], x, &mut end, &mut tape);
        let shortcut = match shortcut {
            Around::Nothing => None,
            Around::Pad { relu: is_rectified, .. } => {
                let tiles = end.tiles_mut().par_iter_mut().zip(x.tiles());
                tiles.for_each(|(end, x)| {
                    let samples = x.rows();
                    self.padded(|to, from| {
                        let from = &x.columns()[from * samples..][..samples];
                        let to = &mut end.columns_mut()[to * samples..][..samples];
                        to.iter_mut()
                            .zip(from)
                            .for_each(|(to, x)| *to += if *is_rectified { relu(*x) } else { *x });
                    });
                });
                None
            }
            Around::Project(chain) => {
                let (mut tape, mut out) = (chain.tape(x), end.scratch());
                chain.linearize(&around, held[1], x, &mut out, &mut tape);
                end.add_scaled(1.0, &out);
                Some(tape)
            }
        };
        Walk { body: tape, shortcut, end }
    }

    /// Calls `visit(to, from)` for every pixel of every channel that option A carries over.
    fn padded(&self, mut visit: impl FnMut(usize, usize)) {
        let Around::Pad { from, stride, channels, .. } = self.plan.shortcut else { return };
        let to = after(from, channels, stride);
        let before = channels.saturating_sub(from.channels) / 2;
        for channel in 0..from.channels.min(channels) {
            for y in 0..to.height {
                for x in 0..to.width {
                    visit(
                        ((channel + before) * to.height + y) * to.width + x,
                        (channel * from.height + y * stride) * from.width + x * stride,
                    );
                }
            }
        }
    }

    /// The transition of a batch in tiles, and mean and unbiased variance of every normalised channel of
    /// the batch, where it was normalised by these.
    fn forward(&self, x: &[Rows<f32>]) -> (Rows<f32>, Option<LayerStatistics>) {
        let Walk { body, shortcut, end } = self.walk(&Tiled::new(x.to_vec()));
        let met = || {
            let mut met = body.met();
            met.extend(shortcut.iter().flat_map(ChainTape::met));
            met
        };
        let statistics = self.held.is_none().then(met);
        let Piece { body, end: after, .. } = &self.plan;
        (after.apply(end, body.outputs(), body.out()), statistics)
    }

    /// Gradients of the arrays, and the cotangent of a batch's x for that of what it becomes.
    fn backward(&self, x: &[Rows<f32>], bar: &Rows<f32>) -> (Vec<Vec<f32>>, Rows<f32>) {
        let x = Tiled::new(x.to_vec());
        let mut walk = self.walk(&x);
        let own = &self.plan.body;
        let bar = self.plan.end.pull_back(&walk.end, Tiled::cut(bar), own.outputs(), own.out());
        let mut x_bar = x.scratch();
        x_bar.set_zero();
        let mut gradients: Vec<Vec<f32>> =
            self.theta.iter().map(|values| vec![0.0; values.len()]).collect();
        let [theta, around] = self.theta();
        let (body, rest) = gradients.split_at_mut(theta.len());
        let mut body: Vec<&mut [f32]> = body.iter_mut().map(Vec::as_mut_slice).collect();
        own.pull_back(&theta, &x, &mut walk.body, &bar, &mut x_bar, Some(&mut body));
        match (&self.plan.shortcut, &mut walk.shortcut) {
            (Around::Project(chain), Some(tape)) => {
                let mut rest: Vec<&mut [f32]> = rest.iter_mut().map(Vec::as_mut_slice).collect();
                chain.pull_back(&around, &x, tape, &bar, &mut x_bar, Some(&mut rest));
            }
            (Around::Pad { relu, .. }, _) => {
                let tiles = x_bar.tiles_mut().par_iter_mut().zip(bar.tiles()).zip(x.tiles());
                tiles.for_each(|((x_bar, bar), x)| {
                    let samples = x.rows();
                    self.padded(|to, from| {
                        for sample in 0..samples {
                            let x = x.columns()[from * samples + sample];
                            if !relu || super::relu::relu(x) != 0.0 {
                                x_bar.columns_mut()[from * samples + sample] +=
                                    bar.columns()[to * samples + sample];
                            }
                        }
                    });
                });
            }
            _ => {}
        }
        (gradients, x_bar.whole())
    }

    /// Bytes that a way back asks for, for a batch of so many samples of so many numbers.
    fn bytes(&self, samples: usize, width: usize) -> usize {
        let tile = samples.min(Tiled::<f32>::SAMPLES);
        let x = Tiled::cut(&Rows::<f32>::zeros(tile, width));
        let mut walk = self.walk(&x);
        let (bar, mut x_bar) = (walk.end.clone(), x.clone());
        let [theta, around] = self.theta();
        self.plan.body.pull_back(&theta, &x, &mut walk.body, &bar, &mut x_bar, None);
        if let (Around::Project(chain), Some(tape)) = (&self.plan.shortcut, &mut walk.shortcut) {
            chain.pull_back(&around, &x, tape, &bar, &mut x_bar, None);
        }
        let tapes = walk.body.heap() + walk.shortcut.as_ref().map_or(0, Heap::heap);
        let ends = 4 * walk.end.heap() + 3 * x.heap();
        let weights: usize = self.theta.iter().map(Vec::len).sum();
        let tiles = samples.div_ceil(Tiled::<f32>::SAMPLES);
        tiles * (tapes + ends) + (tiles + 2) * weights * size_of::<f32>()
    }
}

impl Normalised {
    /// What enters each piece after the first.
    fn between(&self, x: &[Rows<f32>]) -> Vec<Vec<Rows<f32>>> {
        let mut entering: Vec<Vec<Rows<f32>>> = Vec::new();
        for piece in &self.0[..self.0.len() - 1] {
            let (end, _) = piece.forward(entering.last().map_or(x, |x| x));
            entering.push(cut(&end));
        }
        entering
    }

    /// The transition of a batch in tiles, and mean and unbiased variance of every normalised channel of
    /// the batch, where it was normalised by these.
    pub(super) fn forward(&self, x: &[Rows<f32>]) -> (Rows<f32>, Option<LayerStatistics>) {
        let (first, rest) = self.0.split_first().expect("a transition has a piece");
        let (end, met) = rest.iter().fold(first.forward(x), |(x, met), piece| {
            let (end, more) = piece.forward(&cut(&x));
            (end, met.zip(more).map(|(met, more)| [met, more].concat()))
        });
        (end, met.filter(|met| !met.is_empty()))
    }

    /// Gradients of the arrays, and the cotangent of a batch's x for that of what it becomes.
    pub(super) fn backward(&self, x: &[Rows<f32>], bar: &Rows<f32>) -> (Vec<Vec<f32>>, Rows<f32>) {
        let between = self.between(x);
        let mut gradients = Vec::new();
        let mut bar = bar.clone();
        for (index, piece) in self.0.iter().enumerate().rev() {
            let entering = if index == 0 { x } else { &between[index - 1] };
            let (own, before) = piece.backward(entering, &bar);
            gradients.push(own);
            bar = before;
        }
        gradients.reverse();
        (gradients.concat(), bar)
    }

    /// Bytes that a thread keeps for the kernels, found by a tile there and back on a thread that ends.
    ///
    /// # Panics
    /// If no thread can be started.
    pub(super) fn scratch(&self, width: usize) -> usize {
        let walk = || {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
            let tile = || {
                let x = [Rows::zeros(Tiled::<f32>::SAMPLES, width)];
                let (end, _) = self.forward(&x);
                self.backward(&x, &end);
                f32::scratch_bytes()
            };
            pool.expect("a pool of this thread").install(tile)
        };
        std::thread::scope(|scope| scope.spawn(walk).join()).expect("a tile of zeros is walked")
    }

    /// Bytes that a way back asks for, for a batch of so many samples of so many numbers.
    pub(super) fn bytes(&self, samples: usize, width: usize) -> usize {
        let mut width = width;
        let of = |piece: &Weighted| {
            let own = piece.bytes(samples, width);
            width = piece.plan.body.outputs() * piece.plan.end().pixels();
            own + map::bytes(samples, width)
        };
        self.0.iter().map(of).sum()
    }
}
