//! The convolutional field with batch normalisation,
//! f(x, θ) = norm₂(conv₂(σ(norm₁(conv₁(x))))), 3×3 windows (Sander, Ablin, Peyré 2022, section 5).
//!
//! The one field here whose samples see each other: the batch goes whole, layer by layer, and
//! threads share its tiles.

use super::conv::with_window_norms;
use super::mlp::slope_changes;
use super::parameters::with_theta;
use super::statistics::{LayerStatistics, Met, Statistics};
use super::{Accountable, Field, NodeGradient, Sink, Tiled};
use crate::control::{Control, Kind, Position};
use crate::gradient::Due;
use crate::kernel::normalise::{self, Moments};
use crate::kernel::{Activation, Bend, Buffer, Convolution, Image, Start, vector};
use crate::{Heap, Real};
use rayon::prelude::*;

/// Added to variances (Ioffe, Szegedy 2015; the value PyTorch uses).
pub const EPSILON: f64 = 1e-5;

/// norm(y) = (y − mean) / √(variance + ε) · g + β a channel; W₁ `[hidden, channels, 3, 3]`, g₁, β₁
/// `[hidden]`, W₂ `[channels, hidden, 3, 3]`, g₂, β₂ `[channels]`. The variance is the biased one.
#[derive(Clone, Debug)]
pub struct ConvBn<R> {
    activation: Activation,
    inner: Convolution,
    outer: Convolution,
    control: Control<R>,
    statistics: Statistics,
    met: Met,
}

/// One normalisation's share of a tape.
struct Norm<R> {
    /// (y − mean) / √(variance + ε), tile by tile.
    normal: Vec<Buffer<R>>,
    /// 1 / √(variance + ε) a channel.
    inverse: Vec<f64>,
    moments: Vec<Moments>,
}

/// What a linearised layer keeps: the normalised values of both normalisations, and z and σ(z)
/// between them; and the cotangents of a pull-back.
pub struct ConvBnTape<R> {
    norms: [Norm<R>; 2],
    z: Vec<Buffer<R>>,
    a: Vec<Buffer<R>>,
    bar: Vec<Buffer<R>>,
    a_bar: Vec<Buffer<R>>,
    z_bar: Vec<Buffer<R>>,
}

impl<R> Heap for Norm<R> {
    fn heap(&self) -> usize {
        self.normal.heap()
            + self.inverse.capacity() * size_of::<f64>()
            + self.moments.capacity() * size_of::<Moments>()
    }
}

impl<R> Heap for ConvBnTape<R> {
    fn heap(&self) -> usize {
        let Self { norms, z, a, bar, a_bar, z_bar } = self;
        norms.iter().map(Heap::heap).sum::<usize>()
            + [z, a, bar, a_bar, z_bar].map(Heap::heap).iter().sum::<usize>()
    }
}

impl<R: Real> ConvBnTape<R> {
    /// (mean, variance) that the last evaluation used: of every hidden channel, then of every outer
    /// one.
    pub fn statistics(&self) -> LayerStatistics {
        let moments = self.norms.iter().flat_map(|norm| &norm.moments);
        moments.map(|moments| [moments.mean, moments.variance()]).collect()
    }
}

impl<R: Real> ConvBn<R> {
    /// The parameter kinds for states of `channels` images with `hidden` channels within.
    pub fn kinds(channels: usize, hidden: usize) -> Vec<Kind> {
        let (outer, inner) = (channels, hidden);
        vec![
            Kind { name: "w1", shape: vec![inner, outer, 3, 3], fan_in: 9 * outer },
            Kind { name: "g1", shape: vec![inner], fan_in: 1 },
            Kind { name: "be1", shape: vec![inner], fan_in: 1 },
            Kind { name: "w2", shape: vec![outer, inner, 3, 3], fan_in: 9 * inner },
            Kind { name: "g2", shape: vec![outer], fan_in: 1 },
            Kind { name: "be2", shape: vec![outer], fan_in: 1 },
        ]
    }

    /// Puts the layer on a control.
    ///
    /// # Panics
    /// If the control does not hold the parameters of [`ConvBn::kinds`].
    pub fn new(
        channels: usize,
        hidden: usize,
        image: Image,
        activation: Activation,
        control: Control<R>,
    ) -> Self {
        assert_eq!(Self::kinds(channels, hidden), control.kinds(), "the field's parameters");
        Self {
            activation,
            inner: Convolution::same([channels, hidden], image),
            outer: Convolution::same([hidden, channels], image),
            met: Met::new(control.nodes()),
            control,
            statistics: Statistics::Batch,
        }
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
            activation: self.activation,
            inner: self.inner.clone(),
            outer: self.outer.clone(),
            control: self.control.cast(),
            statistics: self.statistics.clone(),
            met: Met::new(self.control.nodes()),
        }
    }

    /// The same field with other statistics.
    ///
    /// # Panics
    /// If held statistics do not cover all nodes and channels.
    pub fn with_statistics(self, statistics: Statistics) -> Self {
        if let Statistics::Held(nodes) = &statistics {
            let channels = self.inner.outputs() + self.outer.outputs();
            assert_eq!(nodes.len(), self.nodes(), "statistics of every node");
            assert!(nodes.iter().all(|node| node.len() == channels), "of every channel");
        }
        Self { statistics, ..self }
    }

    /// Mean and *unbiased* variance of the batch in every hidden channel, then in every outer one,
    /// at each node: what the first walk through this field met on its way forward. Later walks,
    /// back or forward, change nothing. At a node that the scheme never reads (the last one of the
    /// midpoint rule) what was met just before it. `None` before a walk, or if statistics are held.
    pub fn gathered(&self) -> Option<Vec<LayerStatistics>> {
        self.met.all()
    }

    /// The parameters.
    pub fn control(&self) -> &Control<R> {
        &self.control
    }

    /// Numbers of one channel of a tile of `rows` samples.
    fn plane(&self, rows: usize) -> usize {
        self.inner.image().pixels() * rows
    }

    /// Held (mean, variance) of the channels of normalisation `which` at a position.
    fn held(&self, which: usize, position: Position) -> Option<Vec<[f64; 2]>> {
        let Statistics::Held(nodes) = &self.statistics else { return None };
        let hidden = self.inner.outputs();
        let part = if which == 0 { 0..hidden } else { hidden..hidden + self.outer.outputs() };
        let Position { node, fraction } = position;
        let here = &nodes[node][part.clone()];
        if fraction == 0.0 {
            return Some(here.to_vec());
        }
        let blend = |(a, b): (&[f64; 2], &[f64; 2])| {
            std::array::from_fn(|i| a[i] + fraction * (b[i] - a[i]))
        };
        Some(here.iter().zip(&nodes[node + 1][part]).map(blend).collect())
    }

    /// Settles mean and deviation of every channel of a normalisation, given the moments of each
    /// tile's channels.
    fn settle(&self, which: usize, position: Position, norm: &mut Norm<R>, parts: &[Vec<Moments>]) {
        norm.moments = match self.held(which, position) {
            Some(held) => held
                .into_iter()
                .map(|[mean, variance]| Moments { count: 1.0, mean, spread: variance })
                .collect(),
            None => {
                let channels = parts.first().map_or(0, Vec::len);
                let merged = |channel: usize| {
                    let parts = parts.iter().map(|tile| tile[channel]);
                    parts.fold(Moments::default(), Moments::merge)
                };
                (0..channels).map(merged).collect()
            }
        };
        let inverse = |moments: &Moments| 1.0 / (moments.variance() + EPSILON).sqrt();
        norm.inverse = norm.moments.iter().map(inverse).collect();
    }

    /// The cotangent of y for that of norm(y), in place, with the gradients of g and β.
    fn pull_back_norm(
        &self,
        bar: &mut [Buffer<R>],
        norm: &Norm<R>,
        gain: &[R],
        mut gradient: Option<&mut NodeGradient<'_, R>>,
    ) {
        let channels = gain.len();
        let sums: Vec<Vec<[f64; 2]>> = bar
            .par_iter()
            .zip(&norm.normal)
            .map(|(bar, normal)| {
                let planes = planes(bar, channels).zip(planes(normal, channels));
                planes.map(|(bar, normal)| normalise::bar_sums(bar, normal)).collect()
            })
            .collect();
        let count: usize = bar.iter().map(|buffer| buffer.len()).sum::<usize>() / channels;
        let mut means = vec![[0.0; 2]; channels];
        for channel in 0..channels {
            let total = sums.iter().fold([0.0; 2], |total, tile| {
                [total[0] + tile[channel][0], total[1] + tile[channel][1]]
            });
            if let Some([_, gain, shift]) = gradient.as_deref_mut() {
                gain[channel] += R::of(total[1]);
                shift[channel] += R::of(total[0]);
            }
            if self.statistics == Statistics::Batch {
                means[channel] = total.map(|total| total / count as f64);
            }
        }
        bar.par_iter_mut().zip(&norm.normal).for_each(|(bar, normal)| {
            let plane = bar.len() / channels;
            let channel = bar.chunks_exact_mut(plane).zip(planes(normal, channels)).enumerate();
            for (channel, (bar, normal)) in channel {
                let factor = gain[channel].wide() * norm.inverse[channel];
                normalise::pull_back(bar, normal, means[channel], factor);
            }
        });
    }
}

/// The channels of an image.
fn planes<R>(image: &[R], channels: usize) -> impl Iterator<Item = &[R]> {
    image.chunks_exact(image.len() / channels)
}

/// Sizes one buffer a tile.
fn size<R: Real>(buffers: &mut Vec<Buffer<R>>, lengths: impl Iterator<Item = usize>) {
    let lengths: Vec<usize> = lengths.collect();
    buffers.resize_with(lengths.len(), Buffer::default);
    buffers.iter_mut().zip(lengths).for_each(|(buffer, length)| buffer.resize(length));
}

/// Adds up what tiles found, in their order.
fn add_in_order<R: Real>(slot: &mut [R], parts: &[Vec<R>]) {
    parts.iter().for_each(|part| vector::add_scaled(slot, R::one(), part));
}

impl<R: Real> Field for ConvBn<R> {
    const SINGLE_PRECISION: bool = size_of::<R>() <= 4;
    type State = Tiled<R>;
    type Tape = ConvBnTape<R>;
    type Gradient = Control<R>;
    type Sink<'g> = Sink<'g, R>;

    fn nodes(&self) -> usize {
        self.control.nodes()
    }

    fn tape(&self, like: &Tiled<R>) -> ConvBnTape<R> {
        let lengths =
            |channels: usize| like.tiles.iter().map(move |tile| channels * self.plane(tile.rows()));
        let hidden = self.inner.outputs();
        let norm = |channels: usize| {
            let mut normal = Vec::new();
            size(&mut normal, lengths(channels));
            Norm { normal, inverse: Vec::new(), moments: Vec::new() }
        };
        let (mut z, mut a) = (Vec::new(), Vec::new());
        size(&mut z, lengths(hidden));
        size(&mut a, lengths(hidden));
        let norms = [norm(hidden), norm(self.outer.outputs())];
        let (bar, a_bar, z_bar) = Default::default();
        ConvBnTape { norms, z, a, bar, a_bar, z_bar }
    }

    fn tape_bytes(&self, tape: &ConvBnTape<R>) -> usize {
        let ConvBnTape { norms: [first, second], z, a, bar, a_bar, z_bar } = tape;
        let buffers = [&first.normal, &second.normal, z, a, bar, a_bar, z_bar];
        buffers.into_iter().flatten().map(|buffer| size_of_val(&buffer[..])).sum()
    }

    fn hand_over(&self, from: &mut ConvBnTape<R>, to: &mut ConvBnTape<R>) {
        to.bar = std::mem::take(&mut from.bar);
        to.a_bar = std::mem::take(&mut from.a_bar);
        to.z_bar = std::mem::take(&mut from.z_bar);
    }

    fn eval(&self, position: Position, x: &Tiled<R>, out: &mut Tiled<R>, tape: &mut ConvBnTape<R>) {
        self.linearize(position, x, out, tape);
    }

    fn linearize(
        &self,
        position: Position,
        x: &Tiled<R>,
        out: &mut Tiled<R>,
        tape: &mut ConvBnTape<R>,
    ) {
        let ConvBnTape { norms: [first, second], z, a, .. } = tape;
        with_theta(&self.control, position, |theta| {
            let [w1, g1, be1, w2, g2, be2] = theta.try_into().expect("six kinds");
            let (hidden, channels) = (self.inner.outputs(), self.outer.outputs());
            let parts: Vec<Vec<Moments>> = first
                .normal
                .par_iter_mut()
                .zip(&x.tiles)
                .map(|(y, x)| {
                    self.inner.apply(w1, Start::Zero, x.columns(), y, x.rows());
                    planes(y, hidden).map(Moments::of).collect()
                })
                .collect();
            self.settle(0, position, first, &parts);
            let (inverse, moments) = (&first.inverse, &first.moments);
            let tiles = first.normal.par_iter_mut().zip(z).zip(a).zip(&mut second.normal);
            let parts: Vec<Vec<Moments>> = tiles
                .zip(&x.tiles)
                .map(|((((normal, z), a), y), x)| {
                    let plane = self.plane(x.rows());
                    let channel = normal.chunks_exact_mut(plane).zip(z.chunks_exact_mut(plane));
                    for (channel, (normal, z)) in channel.enumerate() {
                        let (mean, inverse) = (moments[channel].mean, inverse[channel]);
                        normalise::in_place(normal, mean, inverse);
                        vector::affine(z, normal, g1[channel], be1[channel]);
                    }
                    self.activation.apply(z, a);
                    self.outer.apply(w2, Start::Zero, a, y, x.rows());
                    planes(y, channels).map(Moments::of).collect()
                })
                .collect();
            self.settle(1, position, second, &parts);
            let (inverse, moments) = (&second.inverse, &second.moments);
            second.normal.par_iter_mut().zip(&mut out.tiles).for_each(|(normal, out)| {
                let plane = self.plane(out.rows());
                let out = out.columns_mut().chunks_exact_mut(plane);
                for (channel, (normal, out)) in normal.chunks_exact_mut(plane).zip(out).enumerate()
                {
                    normalise::in_place(normal, moments[channel].mean, inverse[channel]);
                    vector::affine(out, normal, g2[channel], be2[channel]);
                }
            });
            if self.statistics == Statistics::Batch {
                self.met.meet(position, first.moments.iter().chain(&second.moments));
            }
        });
    }

    fn pull_back(
        &self,
        position: Position,
        x: &Tiled<R>,
        tape: &mut ConvBnTape<R>,
        cotangent: &Tiled<R>,
        x_bar: &mut Tiled<R>,
        gradient: Option<Due<'_, Sink<'_, R>>>,
    ) {
        let ConvBnTape { norms: [first, second], z, a, bar, a_bar, z_bar } = tape;
        size(bar, cotangent.tiles.iter().map(|tile| tile.columns().len()));
        size(a_bar, a.iter().map(|buffer| buffer.len()));
        size(z_bar, a.iter().map(|buffer| buffer.len()));
        bar.par_iter_mut()
            .zip(&cotangent.tiles)
            .for_each(|(bar, tile)| bar.copy_from_slice(tile.columns()));
        with_theta(&self.control, position, |theta| {
            let [w1, g1, _, w2, g2, _] = theta.try_into().expect("six kinds");
            let mut walk = |mut gradient: Option<&mut NodeGradient<'_, R>>| {
                let keep = gradient.is_some();
                let outer = gradient.as_deref_mut().map(|gradient| &mut gradient[3..6]);
                self.pull_back_norm(bar, second, g2, outer);
                let tiles = bar.par_iter().zip(&mut *a_bar).zip(&mut *z_bar).zip(&*z).zip(&*a);
                let parts: Vec<Vec<R>> = tiles
                    .zip(&x.tiles)
                    .map(|(((((bar, a_bar), z_bar), z), a), x)| {
                        self.outer.apply_transposed(w2, Start::Zero, bar, a_bar, x.rows());
                        self.activation.pull_back(z, a, a_bar, z_bar);
                        let mut part = vec![R::zero(); if keep { w2.len() } else { 0 }];
                        if keep {
                            self.outer.add_weight_gradient(bar, a, &mut part, x.rows());
                        }
                        part
                    })
                    .collect();
                let mut inner = gradient.map(|gradient| {
                    add_in_order(gradient[3], &parts);
                    &mut gradient[0..3]
                });
                self.pull_back_norm(z_bar, first, g1, inner.as_deref_mut());
                let tiles = z_bar.par_iter().zip(&mut x_bar.tiles).zip(&x.tiles);
                let parts: Vec<Vec<R>> = tiles
                    .map(|((bar, x_bar), x)| {
                        let mut part = vec![R::zero(); if keep { w1.len() } else { 0 }];
                        if keep {
                            self.inner.add_weight_gradient(bar, x.columns(), &mut part, x.rows());
                        }
                        let out = x_bar.columns_mut();
                        self.inner.apply_transposed(w1, Start::Add, bar, out, x.rows());
                        part
                    })
                    .collect();
                if let Some(gradient) = inner {
                    add_in_order(gradient[0], &parts);
                }
            };
            match gradient {
                None => walk(None),
                Some(due) => due.sink().add(position, |gradient| walk(Some(gradient))),
            }
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
        self.activation.bend()
    }

    /// The convolutional field's formula, with W₁ as the normalisation scales it.
    fn exposure(
        &self,
        position: Position,
        x: &Tiled<R>,
        tape: &ConvBnTape<R>,
        apart: [&Tiled<R>; 2],
    ) -> f64 {
        let hidden = self.inner.outputs();
        let image = self.inner.image();
        with_theta(&self.control, position, |theta| {
            let (w1, g1) = (theta[0], theta[1]);
            let inputs = w1.len() / hidden;
            let scale =
                |channel: usize| (g1[channel].wide() * tape.norms[0].inverse[channel]).abs();
            let tiles = tape.z.par_iter().zip(&tape.a).zip(&tape.a_bar).zip(&x.tiles);
            let tiles = tiles.zip(apart[0].tiles.par_iter().zip(&apart[1].tiles));
            let parts: Vec<Vec<f64>> = tiles
                .map(|((((z, a), a_bar), x), (here, there))| {
                    let units = [&z[..], a, a_bar];
                    with_window_norms(image, x, [here, there], |distances, sizes| {
                        slope_changes(self.activation, w1, inputs, scale, units, [distances, sizes])
                    })
                })
                .collect();
            let total = |channel: usize| {
                scale(channel) * parts.iter().map(|tile| tile[channel]).sum::<f64>()
            };
            (0..hidden).map(|channel| total(channel).powi(2)).sum()
        })
    }
}

impl<R: Real> Accountable for ConvBn<R> {
    fn remembered(&self) -> usize {
        self.met.heap()
    }

    /// What the tiles tell of a layer: their moments; or, in a pull-back, their sums and both
    /// convolutions' gradients of the weights.
    fn passing(&self, like: &Tiled<R>) -> usize {
        let channels = [self.inner.outputs(), self.outer.outputs()];
        let most = channels[0].max(channels[1]);
        let numbers = 2 * 9 * channels[0] * channels[1] * size_of::<R>();
        let moments = (channels[0] + channels[1]) * size_of::<Moments>();
        let sums = most * size_of::<[f64; 2]>();
        let handles = 3 * size_of::<Vec<R>>();
        like.tiles.len() * (handles + moments.max(numbers + sums)) + sums
    }

    fn sink_heap(&self, sink: &Sink<'_, R>) -> usize {
        sink.heap()
    }
}
