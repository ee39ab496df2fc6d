//! A layer's formula put on a depth-stacked control.

use super::Field;
use crate::control::{Control, Family, Kind, Position};
use crate::{Real, Rows};
use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

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

    /// Buffers for `rows` samples.
    fn tape(&self, rows: usize) -> Self::Tape;

    /// Bytes of those buffers that hold numbers.
    fn tape_bytes(&self, tape: &Self::Tape) -> usize;

    /// `out = f(x, θ)`, keeping on the tape what the pull-back needs.
    fn linearize(&self, theta: &[&[R]], x: &Rows<R>, out: &mut Rows<R>, tape: &mut Self::Tape);

    /// Frees what the tape holds beyond the needs of a later pull-back.
    fn release(&self, _tape: &mut Self::Tape) {}

    /// `x_bar += Jᵀ cotangent`; `gradient += (∂f/∂θ)ᵀ cotangent` where one is given.
    fn pull_back(
        &self,
        theta: &[&[R]],
        x: &Rows<R>,
        tape: &mut Self::Tape,
        cotangent: &Rows<R>,
        x_bar: &mut Rows<R>,
        gradient: Option<&mut NodeGradient<'_, R>>,
    );

    /// Whether f has kinks in x.
    fn has_kink(&self) -> bool {
        false
    }

    /// See [`Field::kink_exposure`].
    fn kink_exposure(
        &self,
        _theta: &[&[R]],
        _x: &Rows<R>,
        _tape: &Self::Tape,
        _displacement: &Rows<R>,
    ) -> f64 {
        0.0
    }
}

/// The gradient of one control node: one slice a parameter kind.
pub type NodeGradient<'a, R> = Vec<&'a mut [R]>;

/// A gradient opened for adding: each node behind its own lock.
pub struct Sink<'g, R> {
    nodes: Vec<Mutex<NodeGradient<'g, R>>>,
}

impl<'g, R: Real> Sink<'g, R> {
    /// Runs `add` on the gradient of one node.
    fn with(&self, node: usize, add: impl FnOnce(&mut NodeGradient<'g, R>)) {
        // A poisoned lock means that another tile panicked; that panic is what the user sees.
        add(&mut self.nodes[node].lock().unwrap_or_else(PoisonError::into_inner));
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

    /// θ at a position: a view at a node, a linear blend between two.
    fn theta(&self, position: Position) -> Vec<Cow<'_, [R]>> {
        let Position { node, fraction } = position;
        let weight = R::of(fraction);
        let kinds = 0..self.control.kinds().len();
        kinds
            .map(|kind| {
                let here = self.control.at(kind, node);
                if fraction == 0.0 {
                    return Cow::Borrowed(here);
                }
                let next = self.control.at(kind, node + 1);
                Cow::Owned(here.iter().zip(next).map(|(a, b)| *a + weight * (*b - *a)).collect())
            })
            .collect()
    }
}

/// Borrows each parameter slice.
fn slices<'a, R: Clone>(theta: &'a [Cow<'_, [R]>]) -> Vec<&'a [R]> {
    theta.iter().map(|slice| &**slice).collect()
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

    fn release(&self, tape: &mut L::Tape) {
        self.layer.release(tape);
    }

    fn eval(&self, position: Position, x: &Rows<R>, out: &mut Rows<R>, tape: &mut L::Tape) {
        self.linearize(position, x, out, tape);
    }

    fn linearize(&self, position: Position, x: &Rows<R>, out: &mut Rows<R>, tape: &mut L::Tape) {
        self.layer.linearize(&slices(&self.theta(position)), x, out, tape);
    }

    fn pull_back(
        &self,
        position: Position,
        x: &Rows<R>,
        tape: &mut L::Tape,
        cotangent: &Rows<R>,
        x_bar: &mut Rows<R>,
        sink: Option<&Sink<'_, R>>,
    ) {
        let theta = self.theta(position);
        let theta = slices(&theta);
        let Some(sink) = sink else {
            return self.layer.pull_back(&theta, x, tape, cotangent, x_bar, None);
        };
        let Position { node, fraction } = position;
        if fraction == 0.0 {
            return sink.with(node, |gradient| {
                self.layer.pull_back(&theta, x, tape, cotangent, x_bar, Some(gradient));
            });
        }
        let mut blend: Vec<Vec<R>> =
            theta.iter().map(|slice| vec![R::zero(); slice.len()]).collect();
        let mut slots: NodeGradient<R> = blend.iter_mut().map(Vec::as_mut_slice).collect();
        self.layer.pull_back(&theta, x, tape, cotangent, x_bar, Some(&mut slots));
        for (node, share) in [(node, 1.0 - fraction), (node + 1, fraction)] {
            sink.with(node, |gradient| {
                for (slot, blend) in gradient.iter_mut().zip(&blend) {
                    slot.iter_mut().zip(blend).for_each(|(g, b)| *g += R::of(share) * *b);
                }
            });
        }
    }

    fn zero_gradient(&self) -> Control<R> {
        Control::zeros(self.control.kinds().to_vec(), self.control.nodes())
    }

    fn open<'g>(&self, gradient: &'g mut Control<R>) -> Sink<'g, R> {
        let lengths: Vec<usize> = gradient.kinds().iter().map(Kind::len).collect();
        let count = gradient.nodes();
        let mut nodes: Vec<NodeGradient<'g, R>> = (0..count).map(|_| Vec::new()).collect();
        for (values, length) in gradient.values_mut().iter_mut().zip(lengths) {
            for (node, slice) in nodes.iter_mut().zip(values.chunks_exact_mut(length)) {
                node.push(slice);
            }
        }
        Sink { nodes: nodes.into_iter().map(Mutex::new).collect() }
    }

    fn gradient_norm(&self, gradient: &Control<R>) -> f64 {
        gradient.norm()
    }

    fn tile_samples(&self, like: &Rows<R>) -> Option<usize> {
        Some(tile(like.rows(), self.layer.width() * size_of::<R>()))
    }

    fn has_kink(&self) -> bool {
        self.layer.has_kink()
    }

    fn kink_exposure(
        &self,
        position: Position,
        x: &Rows<R>,
        tape: &L::Tape,
        displacement: &Rows<R>,
    ) -> f64 {
        self.layer.kink_exposure(&slices(&self.theta(position)), x, tape, displacement)
    }
}

/// Samples of a tile: as many as fill vector registers, and no more than leave the states of a
/// step in a core's own cache; half of a small batch, so that two cores have work.
fn tile(batch: usize, sample_bytes: usize) -> usize {
    /// The widest vectors hold as many single-precision numbers.
    const LEAST: usize = 16;
    /// A block of sums in registers is four vectors wide.
    const MOST: usize = 64;
    /// A step has about ten states in its hands; a core's own cache holds 1 MiB or more.
    const STATE_BYTES: usize = 128 * 1024;
    let fitting = STATE_BYTES / sample_bytes.max(1);
    fitting.min(batch.div_ceil(2)).clamp(LEAST, MOST).next_multiple_of(LEAST)
}
