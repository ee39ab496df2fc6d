//! A layer's formula put on a depth-stacked control.

use super::Apart;
use super::parameters::{MOST_KINDS, with_theta};
use super::{Accountable, Field};
use super::{NodeGradient, Sink};
use crate::control::{Control, Family, Kind, Position};
use crate::gradient::Due;
use crate::kernel::{Bend, bring_rest, cores, fetch_later, own_cache_bytes};
use crate::{Heap, Real, Rows, State};

/// The formula of one layer on the CPU: f(x, θ) for given parameters, knowing nothing of depth.
///
/// Parameters come as one slice a kind, in the order of [`Layer::kinds`].
pub trait Layer<R: Real>: Clone + Send + Sync {
    /// What one evaluation keeps for its pull-back.
    type Tape: Send;

    /// The parameter kinds.
    fn kinds(&self) -> Vec<Kind>;

    /// Numbers a sample.
    fn width(&self) -> usize;

    /// Samples of a tile of a batch.
    fn tile_samples(&self, batch: usize) -> usize {
        tile(batch, self.width() * size_of::<R>(), own_cache_bytes(), cores())
    }

    /// Buffers for `rows` samples.
    fn tape(&self, rows: usize) -> Self::Tape;

    /// Bytes of those buffers that hold numbers.
    fn tape_bytes(&self, tape: &Self::Tape) -> usize;

    /// `out = f(x, θ)`, keeping on the tape what the pull-back needs.
    fn linearize(&self, theta: &[&[R]], x: &Rows<R>, out: &mut Rows<R>, tape: &mut Self::Tape);

    /// As [`linearize`](Layer::linearize) and then a step: `next = x + h f(x, θ)`.
    fn linearize_step(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        h: f64,
        next: &mut Rows<R>,
        tape: &mut Self::Tape,
    ) {
        self.linearize(theta, x, next, tape);
        next.add_to(h, x);
    }

    /// Moves the buffers that only a pull-back needs from one tape to the next.
    fn hand_over(&self, _from: &mut Self::Tape, _to: &mut Self::Tape) {}

    /// `x_bar += Jᵀ cotangent`, leaving on the tape, where a gradient is wanted, what
    /// [`add_gradient`](Layer::add_gradient) needs.
    fn pull_back(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &mut Self::Tape,
        cotangent: &Rows<R>,
        x_bar: &mut Rows<R>,
        with_gradient: bool,
    );

    /// [`pull_back`](Layer::pull_back) of a step x + h f(x): `a += h Jᵀ a`, for the cotangent h a. Leaves
    /// in `scratch` what [`add_gradient`](Layer::add_gradient) wants as cotangent.
    fn pull_back_step(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &mut Self::Tape,
        h: f64,
        [a, scratch]: [&mut Rows<R>; 2],
        with_gradient: bool,
    ) {
        scratch.set_scaled(h, a);
        self.pull_back(theta, x, tape, scratch, a, with_gradient);
    }

    /// After a pull-back of the same cotangent: `gradient += (∂f/∂θ)ᵀ cotangent`, or `=` where the
    /// gradient is `fresh`: what it holds means nothing then.
    fn add_gradient(
        &self,
        x: &Rows<R>,
        tape: &Self::Tape,
        cotangent: &Rows<R>,
        gradient: &mut NodeGradient<'_, R>,
        fresh: bool,
    );

    /// See [`Field::bend`].
    fn bend(&self) -> Bend {
        Bend::Straight
    }

    /// See [`Field::exposure`].
    fn exposure(
        &self,
        _theta: &[&[R]],
        _x: &Rows<R>,
        _tape: &Self::Tape,
        _apart: Apart<'_, Rows<R>>,
    ) -> f64 {
        0.0
    }
}

/// A CPU field: the same layer at every depth, with its own parameters at every node.
#[derive(Clone, Debug)]
pub struct Stacked<R, L> {
    layer: L,
    control: Control<R>,
}

impl<R: Real, L: Layer<R>> Stacked<R, L> {
    /// Puts a layer on a control.
    ///
    /// # Panics
    /// If the control does not hold the layer's parameter kinds, or has no node.
    pub fn new(layer: L, control: Control<R>) -> Self {
        assert!(control.kinds().len() <= MOST_KINDS, "a layer has at most {MOST_KINDS} kinds");
        assert_eq!(layer.kinds(), control.kinds(), "the control holds the layer's parameters");
        assert!(control.nodes() > 0, "a control has at least one node");
        Self { layer, control }
    }

    /// Random weights of a family at `nodes` nodes.
    pub fn random(layer: L, nodes: usize, family: Family, seed: u64) -> Self {
        let control = Control::random(layer.kinds(), nodes, family, seed);
        Self::new(layer, control)
    }

    /// Random weights that are samples of one smooth function of depth.
    pub fn smooth(layer: L, nodes: usize, seed: u64) -> Self {
        Self::random(layer, nodes, Family::Smooth, seed)
    }

    /// Random weights with an independent part at every node.
    pub fn rough(layer: L, nodes: usize, seed: u64) -> Self {
        Self::random(layer, nodes, Family::Rough, seed)
    }

    /// Asks for the parameters of a node to be brought near, if the core's cache has room for them:
    /// while one layer is worked on, those of the next come from memory, bit by bit.
    fn fetch(&self, node: usize) {
        let weights: usize = self.control.kinds().iter().map(Kind::len).sum();
        if node < self.control.nodes() && weights * size_of::<R>() <= own_cache_bytes() / 2 {
            bring_rest();
            for kind in 0..self.control.kinds().len() {
                fetch_later(self.control.at(kind, node));
            }
        }
    }

    /// The layer's formula.
    pub fn layer(&self) -> &L {
        &self.layer
    }

    /// The parameters.
    pub fn control(&self) -> &Control<R> {
        &self.control
    }

    /// The parameters.
    pub fn control_mut(&mut self) -> &mut Control<R> {
        &mut self.control
    }

    /// The parameters, without a copy.
    pub fn into_control(self) -> Control<R> {
        self.control
    }
}

impl<R: Real, L: Layer<R>> Field for Stacked<R, L> {
    const SINGLE_PRECISION: bool = size_of::<R>() <= 4;
    type State = Rows<R>;
    type Tape = L::Tape;
    type Gradient = Control<R>;
    type Sink<'g> = Sink<'g, R>;

    fn nodes(&self) -> usize {
        self.control.nodes()
    }

    fn tape(&self, like: &Rows<R>) -> L::Tape {
        self.layer.tape(like.rows())
    }

    fn tape_bytes(&self, tape: &L::Tape) -> usize {
        self.layer.tape_bytes(tape)
    }

    fn hand_over(&self, from: &mut L::Tape, to: &mut L::Tape) {
        self.layer.hand_over(from, to);
    }

    fn eval(&self, position: Position, x: &Rows<R>, out: &mut Rows<R>, tape: &mut L::Tape) {
        self.linearize(position, x, out, tape);
    }

    fn linearize(&self, position: Position, x: &Rows<R>, out: &mut Rows<R>, tape: &mut L::Tape) {
        self.fetch(position.node.wrapping_sub(1));
        with_theta(&self.control, position, |theta| self.layer.linearize(theta, x, out, tape));
    }

    fn step(
        &self,
        position: Position,
        x: &Rows<R>,
        h: f64,
        next: &mut Rows<R>,
        tape: &mut L::Tape,
    ) {
        self.linearize_step(position, x, h, next, tape);
    }

    fn linearize_step(
        &self,
        position: Position,
        x: &Rows<R>,
        h: f64,
        next: &mut Rows<R>,
        tape: &mut L::Tape,
    ) {
        self.fetch(position.node + 1);
        with_theta(&self.control, position, |theta| {
            self.layer.linearize_step(theta, x, h, next, tape);
        });
    }

    fn pull_back(
        &self,
        position: Position,
        x: &Rows<R>,
        tape: &mut L::Tape,
        cotangent: &Rows<R>,
        x_bar: &mut Rows<R>,
        gradient: Option<Due<'_, Sink<'_, R>>>,
    ) {
        self.fetch(position.node.wrapping_sub(1));
        with_theta(&self.control, position, |theta| {
            self.layer.pull_back(theta, x, tape, cotangent, x_bar, gradient.is_some());
        });
        if let Some(due) = gradient {
            let add = |gradient: &mut NodeGradient<'_, R>, fresh| {
                self.layer.add_gradient(x, tape, cotangent, gradient, fresh);
            };
            due.sink().add_or_set(position, add);
        }
    }

    fn pull_back_step(
        &self,
        position: Position,
        x: &Rows<R>,
        tape: &mut L::Tape,
        h: f64,
        [a, scratch]: [&mut Rows<R>; 2],
        gradient: Option<Due<'_, Sink<'_, R>>>,
    ) {
        self.fetch(position.node.wrapping_sub(1));
        with_theta(&self.control, position, |theta| {
            let states = [a, &mut *scratch];
            self.layer.pull_back_step(theta, x, tape, h, states, gradient.is_some());
        });
        if let Some(due) = gradient {
            let add = |gradient: &mut NodeGradient<'_, R>, fresh| {
                self.layer.add_gradient(x, tape, scratch, gradient, fresh);
            };
            due.sink().add_or_set(position, add);
        }
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

    fn tile_samples(&self, like: &Rows<R>) -> Option<usize> {
        Some(self.layer.tile_samples(like.rows()))
    }

    fn bend(&self) -> Bend {
        self.layer.bend()
    }

    fn exposure(
        &self,
        position: Position,
        x: &Rows<R>,
        tape: &L::Tape,
        apart: Apart<'_, Rows<R>>,
    ) -> f64 {
        with_theta(&self.control, position, |theta| self.layer.exposure(theta, x, tape, apart))
    }
}

impl<R: Real, L: Layer<R, Tape: Heap>> Accountable for Stacked<R, L> {
    fn sink_heap(&self, sink: &Sink<'_, R>) -> usize {
        sink.heap()
    }
}

/// Samples of a tile, for so many cores with caches of their own of so many bytes. A weight that is
/// fetched, and a gradient that is, serve all samples of a tile, so that it holds up to 128; but no more
/// than whose states, of which a step has a few in its hands, take a quarter of the cache; and no more
/// than leave work for every core.
fn tile(batch: usize, sample_bytes: usize, cache: usize, cores: usize) -> usize {
    /// The widest vectors hold as many single-precision numbers.
    const LEAST: usize = 16;
    const MOST: usize = 128;
    let fitting = cache / 4 / sample_bytes.max(1);
    fitting.min(batch.div_ceil(cores)).clamp(LEAST, MOST).next_multiple_of(LEAST)
}

#[cfg(test)]
mod tests {
    use super::tile;

    #[test]
    fn tiles_suit_the_cache_the_batch_and_the_cores() {
        let on = |cores: usize, width: usize, batch: usize| tile(batch, 4 * width, 1 << 20, cores);
        assert_eq!(on(2, 64, 256), 128);
        assert_eq!(on(4, 64, 256), 64);
        assert_eq!(on(64, 64, 256), 16);
        assert_eq!(on(64, 64, 100_000), 128);
        assert_eq!(on(2, 64, 32), 16);
        assert_eq!(on(2, 64, 1), 16);
        assert_eq!(on(1, 64, 70), 80);
        assert_eq!(on(2, 4096, 256), 16);
        assert_eq!(tile(256, 2048, 256 * 1024, 2), 32);
    }
}
