//! Convolutional fields with batch normalisation: the residual functions of ResNets.
//!
//! The only fields here whose samples see each other: the batch goes whole, layer by layer, and
//! threads share its tiles.

use super::Apart;
use super::chain::{Chain, ChainTape, Link};
use super::parameters::with_theta;
use super::rectify;
use super::statistics::{LayerStatistics, Met, Statistics};
use super::{Accountable, Field, Sink, Tiled};
use crate::control::{Control, Kind, Position};
use crate::gradient::Due;
use crate::kernel::{Activation, Bend, Convolution, Image};
use crate::{Heap, Real, State};
use std::borrow::Cow;

/// Where a block's nonlinearities stand, and how many convolutions it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// norm(conv(σ(norm(conv(x))))), 3×3 windows (Sander, Ablin, Peyré 2022, section 5).
    Post,
    /// norm(conv(σ(norm(conv(σ(x)))))), 3×3 windows: the function that a block of He, Zhang, Ren, Sun (2015)
    /// applies to σ of the stream before it.
    Pre,
    /// norm(conv(σ(norm(conv(σ(norm(conv(σ(x))))))))), windows of 1×1, 3×3 and 1×1 pixels: the same of their
    /// bottleneck block.
    Bottleneck,
    /// conv(σ(norm(conv(σ(norm(x)))))), 3×3 windows: the residual function of He, Zhang, Ren, Sun (2016), their
    /// full pre-activation.
    Full,
    /// conv(σ(norm(conv(σ(norm(conv(σ(norm(x))))))))), windows of 1×1, 3×3 and 1×1 pixels: the same of their
    /// bottleneck block.
    FullBottleneck,
}

impl Order {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Post, Self::Pre, Self::Bottleneck, Self::Full, Self::FullBottleneck];
}

/// The formula of a convolutional field with batch normalisation; its parameters are those of its
/// [`Chain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvBnLayer {
    /// Channels of the state.
    pub channels: usize,
    /// Channels within.
    pub hidden: usize,
    /// Size of the images.
    pub image: Image,
    /// σ.
    pub activation: Activation,
    /// Which convolutions and nonlinearities.
    pub order: Order,
}

impl ConvBnLayer {
    /// The convolutions and normalisations.
    pub fn chain(&self) -> Chain {
        let Self { channels, hidden, image, activation, order } = *self;
        let windows = |[inputs, outputs]: [usize; 2], side: usize| {
            Convolution::new([inputs, outputs], image, side, 1, side / 2)
        };
        let link = |before, ends, side| Link::normalised(before, windows(ends, side));
        let bare = |ends, side| Link::bare(activation, windows(ends, side));
        let norm = || Link::norm(channels, image);
        let [inner, middle, outer] = [[channels, hidden], [hidden; 2], [hidden, channels]];
        Chain::new(match order {
            Order::Post => vec![link(Activation::Identity, inner, 3), link(activation, outer, 3)],
            Order::Pre => vec![link(activation, inner, 3), link(activation, outer, 3)],
            Order::Bottleneck => vec![
                link(activation, inner, 1),
                link(activation, middle, 3),
                link(activation, outer, 1),
            ],
            Order::Full => vec![norm(), link(activation, inner, 3), bare(outer, 3)],
            Order::FullBottleneck => vec![
                norm(),
                link(activation, inner, 1),
                link(activation, middle, 3),
                bare(outer, 1),
            ],
        })
    }

    /// The parameter kinds.
    pub fn kinds(&self) -> Vec<Kind> {
        self.chain().kinds()
    }

    /// Channels that are normalised, of all convolutions together.
    pub fn normalised(&self) -> usize {
        self.chain().normalised()
    }
}

/// A [`ConvBnLayer`] on a control.
#[derive(Clone, Debug)]
pub struct ConvBn<R> {
    chain: Chain,
    control: Control<R>,
    statistics: Statistics,
    met: Met,
    rectified: bool,
}

impl<R: Real> ConvBn<R> {
    /// Puts the layer on a control.
    ///
    /// # Panics
    /// If the control does not hold the parameters of [`ConvBnLayer::kinds`].
    pub fn new(layer: ConvBnLayer, control: Control<R>) -> Self {
        let chain = layer.chain();
        assert_eq!(chain.kinds(), control.kinds(), "the field's parameters");
        let met = Met::new(control.nodes());
        Self { chain, met, control, statistics: Statistics::Batch, rectified: false }
    }

    /// The same field with another control, and nothing met yet.
    ///
    /// # Panics
    /// If the control holds other parameters, or statistics are held for another number of nodes.
    pub(crate) fn with_other_control(&self, control: Control<R>) -> Self {
        assert_eq!(self.control.kinds(), control.kinds(), "the field's parameters");
        let met = Met::new(control.nodes());
        Self { control, met, ..self.clone() }.with_statistics(self.statistics.clone())
    }

    /// Rounds or widens every parameter.
    pub(crate) fn cast<S: Real>(&self) -> ConvBn<S> {
        ConvBn {
            chain: self.chain.clone(),
            control: self.control.cast(),
            statistics: self.statistics.clone(),
            met: Met::new(self.control.nodes()),
            rectified: self.rectified,
        }
    }

    /// The same field with relu after every step, x ← relu(x + h f(x)), from relu(x_0) on: the blocks of He,
    /// Zhang, Ren, Sun (2015). States are those before relu, so that relu of the end is left to the caller.
    /// These are steps of no flow: of Euler's scheme only, and gradients by `backprop` and `checkpoint` only.
    ///
    /// # Panics
    /// If f does not begin with relu, as [`Order::Pre`] and [`Order::Bottleneck`] do.
    pub fn rectified(self) -> Self {
        let before = self.chain.links()[0].before;
        assert_eq!(before, Activation::Relu, "f begins with relu");
        Self { rectified: true, ..self }
    }

    /// The same field with other statistics.
    ///
    /// # Panics
    /// If held statistics do not cover all nodes and channels.
    pub fn with_statistics(self, statistics: Statistics) -> Self {
        if let Statistics::Held(nodes) = &statistics {
            let channels = self.chain.normalised();
            assert_eq!(nodes.len(), self.nodes(), "statistics of every node");
            assert!(nodes.iter().all(|node| node.len() == channels), "of every channel");
        }
        Self { statistics, ..self }
    }

    /// Mean and *unbiased* variance of the batch in every normalised channel, in the order they are
    /// applied, at each node: what the first walk through this field met on its way forward. Later
    /// walks, back or forward, change nothing. At a node that the scheme never reads (the last one of
    /// the midpoint rule) what was met just before it. `None` before a walk, or if statistics are held.
    pub fn gathered(&self) -> Option<Vec<LayerStatistics>> {
        self.met.all()
    }

    /// The parameters.
    pub fn control(&self) -> &Control<R> {
        &self.control
    }

    /// Held (mean, variance) of all channels at a position.
    fn held(&self, position: Position) -> Option<Cow<'_, [[f64; 2]]>> {
        let Statistics::Held(nodes) = &self.statistics else { return None };
        let Position { node, fraction } = position;
        let here = &nodes[node];
        if fraction == 0.0 {
            return Some(Cow::Borrowed(here));
        }
        let blend = |(a, b): (&[f64; 2], &[f64; 2])| {
            std::array::from_fn(|i| a[i] + fraction * (b[i] - a[i]))
        };
        Some(Cow::Owned(here.iter().zip(&nodes[node + 1]).map(blend).collect()))
    }
}

impl<R: Real> Field for ConvBn<R> {
    const SINGLE_PRECISION: bool = size_of::<R>() <= 4;
    type State = Tiled<R>;
    type Tape = ChainTape<R>;
    type Gradient = Control<R>;
    type Sink<'g> = Sink<'g, R>;

    fn nodes(&self) -> usize {
        self.control.nodes()
    }

    fn tape(&self, like: &Tiled<R>) -> ChainTape<R> {
        self.chain.tape(like)
    }

    fn tape_bytes(&self, tape: &ChainTape<R>) -> usize {
        tape.bytes()
    }

    fn hand_over(&self, from: &mut ChainTape<R>, to: &mut ChainTape<R>) {
        to.take_back(from);
    }

    fn eval(&self, position: Position, x: &Tiled<R>, out: &mut Tiled<R>, tape: &mut ChainTape<R>) {
        self.linearize(position, x, out, tape);
    }

    fn linearize(
        &self,
        position: Position,
        x: &Tiled<R>,
        out: &mut Tiled<R>,
        tape: &mut ChainTape<R>,
    ) {
        let held = self.held(position);
        with_theta(&self.control, position, |theta| {
            self.chain.linearize(theta, held.as_deref(), x, out, tape);
        });
        if held.is_none() {
            self.met.meet(position, tape.moments());
        }
    }

    fn step(
        &self,
        position: Position,
        x: &Tiled<R>,
        h: f64,
        next: &mut Tiled<R>,
        tape: &mut ChainTape<R>,
    ) {
        self.linearize_step(position, x, h, next, tape);
    }

    fn linearize_step(
        &self,
        position: Position,
        x: &Tiled<R>,
        h: f64,
        next: &mut Tiled<R>,
        tape: &mut ChainTape<R>,
    ) {
        self.linearize(position, x, next, tape);
        match self.rectified {
            true => rectify::step(x, h, next),
            false => next.add_to(h, x),
        }
    }

    fn pull_back_step(
        &self,
        position: Position,
        x: &Tiled<R>,
        tape: &mut ChainTape<R>,
        h: f64,
        [a, scratch]: [&mut Tiled<R>; 2],
        gradient: Option<Due<'_, Sink<'_, R>>>,
    ) {
        scratch.set_scaled(h, a);
        if self.rectified {
            rectify::pull_back(x, a);
        }
        self.pull_back(position, x, tape, scratch, a, gradient);
    }

    fn is_rectified(&self) -> bool {
        self.rectified
    }

    fn pull_back(
        &self,
        position: Position,
        x: &Tiled<R>,
        tape: &mut ChainTape<R>,
        cotangent: &Tiled<R>,
        x_bar: &mut Tiled<R>,
        gradient: Option<Due<'_, Sink<'_, R>>>,
    ) {
        with_theta(&self.control, position, |theta| match gradient {
            None => self.chain.pull_back(theta, x, tape, cotangent, x_bar, None),
            Some(due) => due.sink().add(position, |gradient| {
                self.chain.pull_back(theta, x, tape, cotangent, x_bar, Some(gradient));
            }),
        });
    }

    fn zero_gradient(&self) -> Control<R> {
        Control::zeros(self.control.kinds().to_vec(), self.control.nodes())
    }

    fn open<'g>(&self, gradient: &'g mut Control<R>) -> Sink<'g, R> {
        Sink::open(gradient, false)
    }

    fn open_anew<'g>(&self, gradient: &'g mut Control<R>) -> Sink<'g, R> {
        Sink::open(gradient, true)
    }

    fn zero_part(&self, nodes: usize) -> Control<R> {
        Control::zeros(self.control.kinds().to_vec(), nodes)
    }

    fn open_part<'g>(&self, part: &'g mut Control<R>, first: usize) -> Sink<'g, R> {
        Sink::open(part, true).starting_at(first)
    }

    fn add_part(&self, part: &Control<R>, first: usize, node: usize, to: &Sink<'_, R>) {
        to.add_part(part, first, node);
    }

    fn gradient_norm(&self, gradient: &Control<R>) -> f64 {
        gradient.norm()
    }

    fn tile_samples(&self, _like: &Tiled<R>) -> Option<usize> {
        None
    }

    fn bend(&self) -> Bend {
        self.chain.bend()
    }

    fn exposure(
        &self,
        position: Position,
        x: &Tiled<R>,
        tape: &ChainTape<R>,
        apart: Apart<'_, Tiled<R>>,
    ) -> f64 {
        with_theta(&self.control, position, |theta| self.chain.exposure(theta, x, tape, apart))
    }
}

impl<R: Real> Accountable for ConvBn<R> {
    fn remembered(&self) -> usize {
        self.met.heap()
    }

    fn passing(&self, like: &Tiled<R>) -> usize {
        let held = match self.statistics {
            Statistics::Batch => 0,
            Statistics::Held(_) => self.chain.normalised() * size_of::<[f64; 2]>(),
        };
        held + self.chain.passing::<R>(like.tiles.len())
    }

    fn sink_heap(&self, sink: &Sink<'_, R>) -> usize {
        sink.heap()
    }
}
