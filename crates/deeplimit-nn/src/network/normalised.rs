//! Transitions of residual networks of images, on the library's normalised convolutions: stems, and blocks
//! that change the image's size (He, Zhang, Ren, Sun 2015).
//!
//! Samples see each other while training. Between the way forward and the way back only the inputs are
//! kept: the way back walks the block again.

use super::config::StagePlan;
use super::map::{self, cut};
use super::stem_end::StemEnd;
use super::transition::{Shortcut, TransitionConfig};
use crate::data::Shape;
use deeplimit::control::Kind;
use deeplimit::field::{Chain, ChainTape, LayerStatistics, Link, Tiled};
use deeplimit::kernel::{Activation, Convolution, Image, Lanes};
use deeplimit::{Heap, Rows, State};
use rayon::prelude::*;

/// What is built of a transition's configuration: one block after the other.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Blueprint(Vec<Piece>);

/// A stem or a block.
#[derive(Clone, Debug, PartialEq)]
struct Piece {
    body: Chain,
    shortcut: Around,
    /// What follows both.
    end: StemEnd,
}

/// What is added to the convolutions.
#[derive(Clone, Debug, PartialEq)]
enum Around {
    Nothing,
    /// Every `stride`-th pixel of relu(x), with zeros for the channels that are new, half before and half
    /// behind (He et al. 2015, option A).
    Pad {
        from: Shape,
        stride: usize,
        channels: usize,
    },
    /// A normalised 1×1 convolution of relu(x) (option B).
    Project(Chain),
}

/// The convolutions of a block.
#[derive(Clone, Copy)]
enum Windows {
    /// Two of 3×3 pixels, of which the first strides.
    Two,
    /// Of 1×1, 3×3 and 1×1 pixels; the 3×3 one strides, as in torchvision.
    Bottleneck,
    /// The same; the first one strides, as in He et al. (2015).
    EarlyBottleneck,
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

fn link(
    before: Activation,
    channels: [usize; 2],
    image: Image,
    [side, stride]: [usize; 2],
) -> Link {
    Link { before, windows: Convolution::new(channels, image, side, stride, side / 2) }
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
                shortcut,
            } => {
                let channels = [input.channels, channels];
                let windows = Convolution::new(channels, image(input), kernel, stride, padding);
                let body = Chain::new(vec![Link { before: Activation::Identity, windows }]);
                let end = StemEnd::of(relu, pool);
                let stem = Piece { body, shortcut: Around::Nothing, end };
                let Image { height, width } = stem.end();
                let stemmed = Shape::image(channels[1], height, width);
                let inner = hidden.unwrap_or(channels[1]);
                let windows = if bottleneck { Windows::Bottleneck } else { Windows::Two };
                let block = |to| Piece::block(stemmed, [inner, to], 1, windows, shortcut);
                Some(Self(std::iter::once(stem).chain(widen.map(block)).collect()))
            }
            TransitionConfig::Block {
                channels,
                hidden,
                stride,
                bottleneck,
                stride_in_1x1,
                shortcut,
            } => {
                let channels = [hidden.unwrap_or(channels), channels];
                let windows = match (bottleneck, stride_in_1x1) {
                    (false, _) => Windows::Two,
                    (true, false) => Windows::Bottleneck,
                    (true, true) => Windows::EarlyBottleneck,
                };
                Some(Self(vec![Piece::block(input, channels, stride, windows, shortcut)]))
            }
            _ => None,
        }
    }

    /// Names and shapes of the arrays, piece by piece: those of the convolutions, then those of the shortcut.
    pub(super) fn kinds(&self) -> Vec<(String, Kind)> {
        let named = |(index, piece): (usize, &Piece)| {
            let prefix = if index == 0 { "" } else { "block." };
            piece.kinds().into_iter().map(move |(name, kind)| (format!("{prefix}{name}"), kind))
        };
        self.0.iter().enumerate().flat_map(named).collect()
    }

    /// Channels that are normalised, of each piece the shortcut's last.
    pub(super) fn normalised(&self) -> usize {
        self.0.iter().map(Piece::normalised).sum()
    }

    /// Pixels of the smallest image that is normalised.
    pub(super) fn fewest_pixels(&self) -> usize {
        let pieces = self.0.iter().map(Piece::fewest_pixels);
        pieces.min().expect("a transition has a piece")
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
        let (from, to, relu) = (image(input), after(input, channels, stride), Activation::Relu);
        let links = match windows {
            Windows::Two => vec![
                link(relu, [input.channels, inner], from, [3, stride]),
                link(relu, [inner, channels], image(to), [3, 1]),
            ],
            Windows::Bottleneck => vec![
                link(relu, [input.channels, inner], from, [1, 1]),
                link(relu, [inner; 2], from, [3, stride]),
                link(relu, [inner, channels], image(to), [1, 1]),
            ],
            Windows::EarlyBottleneck => vec![
                link(relu, [input.channels, inner], from, [1, stride]),
                link(relu, [inner; 2], image(to), [3, 1]),
                link(relu, [inner, channels], image(to), [1, 1]),
            ],
        };
        let project = || link(relu, [input.channels, channels], from, [1, stride]);
        let shortcut = match shortcut {
            Shortcut::Pad => Around::Pad { from: input, stride, channels },
            Shortcut::Project => Around::Project(Chain::new(vec![project()])),
        };
        Self { body: Chain::new(links), shortcut, end: StemEnd::Nothing }
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

    fn fewest_pixels(&self) -> usize {
        let own = self.body.fewest_pixels();
        match &self.shortcut {
            Around::Project(chain) => own.min(chain.fewest_pixels()),
            _ => own,
        }
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
            Around::Pad { .. } => {
                let tiles = end.tiles_mut().par_iter_mut().zip(x.tiles());
                tiles.for_each(|(end, x)| {
                    let samples = x.rows();
                    self.padded(|to, from| {
                        let from = &x.columns()[from * samples..][..samples];
                        let to = &mut end.columns_mut()[to * samples..][..samples];
                        to.iter_mut().zip(from).for_each(|(to, x)| *to += x.max(0.0));
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
        let Around::Pad { from, stride, channels } = self.plan.shortcut else { return };
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
            (Around::Pad { .. }, _) => {
                let tiles = x_bar.tiles_mut().par_iter_mut().zip(bar.tiles()).zip(x.tiles());
                tiles.for_each(|((x_bar, bar), x)| {
                    let samples = x.rows();
                    self.padded(|to, from| {
                        for sample in 0..samples {
                            if x.columns()[from * samples + sample] > 0.0 {
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
        rest.iter().fold(first.forward(x), |(x, met), piece| {
            let (end, more) = piece.forward(&cut(&x));
            (end, met.zip(more).map(|(met, more)| [met, more].concat()))
        })
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
