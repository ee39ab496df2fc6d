//! What the gradient of a flow takes of memory, for every method.
//!
//! The sizes of a tile's state, step tape, scratch space are those of the things themselves: one or
//! two steps are walked there and back, and what they hold is read (see [`Heap`]). From these a
//! method's memory is added up, with N steps, state s, tape t of a step and w of its pull-back, stepper p:
//!
//! | method | kept between the ways | besides, on the way back |
//! |---|---|---|
//! | backprop | N t | p + w |
//! | checkpoint, k slots | k s | p + t + w + s |
//! | adjoint, a anchors | (a + 1) s | p + t + w + states of predictor and walk |
//! | … with a tolerance | (a + 1) s | the same + the steps and the gradient of the longest segment |
//! | reversible | states of the scheme + s | p + t + w + their cotangents |
//!
//! A flow in one sweep keeps this for as many tiles as there are threads, a recorded one for all. The
//! sums are exact but for handles and for phases that do not meet at the same time, of which the larger
//! counts: they bound what the allocator is asked for from above.

use super::{Adjoint, Checkpoint, Due, Evidence, Method, MethodTape, Predictor};
use crate::field::Accountable;
use crate::field::Kinks;
use crate::kernel::Bend;
use crate::kernel::Lanes;
use crate::scheme::reversible::{Reversible, Slope, zeros};
use crate::scheme::{AnyScheme, StepTape, Work};
use crate::{Flow, Heap, State};
use std::borrow::Borrow;
use std::num::NonZeroUsize;
use std::ops::Range;

/// The sizes that decide the memory of a flow's gradient, in bytes.
#[derive(Clone, Debug)]
pub struct Footprint {
    /// Depth N.
    pub(super) steps: usize,
    /// Evaluations a step.
    pub(super) stages: usize,
    /// Cost of a step there and back by the scheme's exact inverse, where it has one.
    pub(super) reversible: Option<f64>,
    /// The field's own tiles, then ever smaller ones.
    pub(super) tilings: Vec<Tiling>,
    /// A state of the whole batch.
    pub(super) batch: usize,
    nodes: usize,
    shared: usize,
    /// The gradient of some neighbouring nodes, opened for adding; and what opening takes.
    part: Affine,
    sink: Affine,
    /// What the field itself keeps of a walk.
    remembered: usize,
    handles: Handles,
    loss: Loss,
}

/// A batch cut into tiles.
#[derive(Clone, Debug)]
pub(super) struct Tiling {
    /// Samples of a tile; none where the batch goes whole.
    pub(super) samples: Option<usize>,
    /// How many there are, the last one included.
    pub(super) count: usize,
    pub(super) full: Tile,
    /// May have fewer samples.
    last: Tile,
    /// Whether threads share the one tile.
    shared: bool,
}

/// The sizes of one tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    state: usize,
    /// A linearised step.
    tape: usize,
    /// What a pull-back adds to it, which the next step takes over.
    working: usize,
    /// A stepper; for a reversible scheme a slope.
    stepper: usize,
    /// What an evaluation or a pull-back asks for and gives back.
    passing: usize,
    /// What a thread keeps for its kernels.
    scratch: usize,
    /// States of a scheme with an exact inverse.
    states: usize,
    /// Evaluations of one of its steps there and back, a pull-back counted as 2.
    inverse_cost: f64,
    /// How the slopes of its units change.
    bend: Bend,
}

/// A number of bytes that grows with the number of things.
#[derive(Clone, Copy, Debug)]
struct Affine {
    fixed: usize,
    each: usize,
}

impl Affine {
    fn through(one: usize, two: usize) -> Self {
        Self { fixed: one - (two - one), each: two - one }
    }

    fn of(self, count: usize) -> usize {
        self.fixed + count * self.each
    }
}

/// Sizes of what stands for states and tapes in vectors.
#[derive(Clone, Copy, Debug)]
struct Handles {
    state: usize,
    step: usize,
    /// All that a tile has in the vectors of a walk.
    tile: usize,
}

/// What the loss at the end of a tile holds.
#[derive(Clone, Copy, Debug)]
struct Loss {
    states: usize,
    bytes: usize,
}

/// What a method takes on one tile, besides its state or cotangent.
#[derive(Clone, Copy, Debug, Default)]
struct Needs {
    /// From the way forward to the way back.
    kept: usize,
    /// On the way forward, besides.
    forward: usize,
    /// On the way back, besides.
    back: usize,
    /// From one gradient to the next.
    spare: usize,
    /// With the evidence, until the end.
    evidence: usize,
}

/// The memory of a flow's gradient under a method, without the threads' scratch space.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phases {
    /// Most on the way forward of a recorded flow.
    pub(super) record: usize,
    /// What a recorded flow keeps.
    pub(super) kept: usize,
    /// Most on the way back of a recorded flow, with what it keeps.
    pub(super) back: usize,
    /// Most in one sweep.
    pub(super) sweep: usize,
    /// What a sweep leaves for the next.
    pub(super) spare: usize,
    /// What the threads keep for their kernels.
    pub(super) scratch: usize,
}

impl<F: Accountable> Flow<F> {
    /// The sizes that decide the memory of a gradient for a batch like `x0`. The first two steps are
    /// walked from it, on one tile of each size that a budget may choose, on a thread that ends.
    ///
    /// # Panics
    /// If no thread can be started.
    pub fn footprint(&self, x0: &F::State) -> Footprint {
        let batch = x0.samples();
        let tile = |samples: usize| {
            let count = batch.div_ceil(samples);
            let last = batch - (count - 1) * samples;
            let [full, last] = self.tile_sizes([samples.min(batch), last].map(|m| x0.slice(0, m)));
            Tiling { samples: Some(samples), count, full, last, shared: false }
        };
        let before = self.field().remembered();
        let tilings = match self.tile_samples(x0) {
            None => {
                let [full] = self.tile_sizes([x0]);
                vec![Tiling { samples: None, count: 1, full, last: full, shared: true }]
            }
            Some(own) if self.tile().is_some() => vec![tile(own)],
            Some(own) => {
                let halves =
                    std::iter::successors(Some(own.min(batch)), |m| (*m > 1).then(|| below(*m)));
                std::iter::once(own).chain(halves.skip(1)).map(tile).collect()
            }
        };
        // What the first two steps have made the field remember, all others do alike.
        let each = (self.field().remembered() - before).div_ceil(self.steps().min(2));
        let (field, shared) = (self.field(), self.scheme().shared_nodes());
        let [part, sink] = {
            let sizes = |nodes| {
                let mut part = field.zero_part(nodes);
                let heap = part.heap();
                (heap, field.sink_heap(&field.open_part(&mut part, 0)))
            };
            let (one, two) = (sizes(1), sizes(2));
            [Affine::through(one.0, two.0), Affine::through(one.1, two.1)]
        };
        let stages = match self.scheme() {
            AnyScheme::RungeKutta(scheme) => scheme.stages(),
            AnyScheme::Reversible(scheme) => scheme.base().stages(),
        };
        Footprint {
            steps: self.steps(),
            stages,
            reversible: match self.scheme() {
                AnyScheme::RungeKutta(_) => None,
                AnyScheme::Reversible(_) => Some(tilings[0].full.inverse_cost),
            },
            tilings,
            batch: x0.heap(),
            nodes: self.scheme().nodes_for(self.steps()),
            shared,
            part,
            sink,
            remembered: each * self.steps(),
            handles: Handles {
                state: size_of::<(usize, F::State)>(),
                step: size_of::<StepTape<F>>(),
                // Vectors of tiles, those that threads take them from and put results into, and results,
                // of which some grow by doubling.
                tile: 8 * size_of::<(Range<usize>, F::State)>()
                    + 6 * size_of::<Evidence>()
                    + 4 * size_of::<MethodTape<F>>()
                    + 128,
            },
            loss: Loss { states: 1, bytes: 0 },
        }
    }

    /// Walks the first two steps of tiles there and back, one tile after the other on one thread: the
    /// last has the scratch space of all.
    fn tile_sizes<const T: usize>(&self, tiles: [impl Borrow<F::State> + Send; T]) -> [Tile; T] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        pool.expect("a thread can be started").install(|| {
            tiles.map(|x| match self.slope(x.borrow()) {
                None => self.tableau_sizes(x.borrow()),
                Some((scheme, slope)) => self.reversible_sizes(x.borrow(), scheme, slope),
            })
        })
    }

    fn tableau_sizes(&self, x: &F::State) -> Tile {
        let (field, mut stepper) = (self.field(), self.stepper(x));
        let mut part = field.zero_part(1 + self.scheme().shared_nodes());
        let sink = field.open_part(&mut part, 0);
        let (mut y, mut out) = (x.clone(), x.scratch());
        stepper.advance(0..self.steps().min(2), &mut y);
        let mut step = stepper.step_tape();
        stepper.linearize(0, x, &mut out, &mut step);
        y.copy_from(x);
        stepper.linearize_step(0, &mut y, &mut step);
        let tape = step.heap();
        out.copy_from(x);
        stepper.pull_back(0, &mut step, &mut out, Some(Due::now(&sink)));
        if field.bend() != Bend::Straight {
            step.exposure(field, stepper.scheme(), 0, (x, Kinks::Near));
            step.exposure(field, stepper.scheme(), 0, (x, Kinks::Crossed));
        }
        Tile {
            state: x.heap(),
            tape,
            working: step.heap() - tape,
            stepper: stepper.heap(),
            passing: field.passing(x),
            scratch: f32::scratch_bytes() + f64::scratch_bytes(),
            states: 0,
            inverse_cost: 0.0,
            bend: field.bend(),
        }
    }

    fn reversible_sizes(
        &self,
        x: &F::State,
        scheme: &impl Reversible,
        mut slope: Slope<'_, F>,
    ) -> Tile {
        let field = self.field();
        let steps = self.steps().min(2);
        // The inverse of step n adds to nodes n and n + 1 at most.
        let mut part = field.zero_part(field.nodes().min(steps + 1));
        let sink = field.open_part(&mut part, 0);
        let mut states = scheme.start(&mut slope, x);
        let started = slope.work();
        (0..steps).for_each(|n| scheme.step(&mut slope, n, &mut states));
        let mut bars: Vec<F::State> = states.iter().map(zeros).collect();
        for n in (0..steps).rev() {
            let adjoint = Some((&mut bars[..], Due::now(&sink)));
            scheme.unstep(&mut slope, n, &mut states, adjoint);
        }
        let units = |work: Work| (work.evaluations + 2 * work.pull_backs) as f64;
        let inverse_cost = (units(slope.work()) - units(started)) / (steps * x.samples()) as f64;
        scheme.start_pull_back(&mut slope, x, bars, Due::now(&sink));
        Tile {
            state: x.heap(),
            tape: 0,
            working: 0,
            // The slope, and the one that some schemes start with.
            stepper: 2 * slope.heap(),
            passing: field.passing(x),
            scratch: f32::scratch_bytes() + f64::scratch_bytes(),
            states: states.len(),
            inverse_cost,
            bend: field.bend(),
        }
    }
}

/// The largest power of two below a number above 1.
fn below(number: usize) -> usize {
    1 << (number - 1).ilog2()
}

impl Footprint {
    /// The same for a loss that holds so many states of a tile at a time besides its end, the cotangent
    /// among them, and for each tile so many bytes until the gradient is whole.
    pub fn with_loss(self, states: usize, bytes: usize) -> Self {
        Self { loss: Loss { states, bytes }, ..self }
    }

    /// What a gradient takes with a method, on a tiling, and with so many threads.
    pub(super) fn phases(&self, tiling: usize, method: &Method, threads: usize) -> Phases {
        let tiling = &self.tilings[tiling];
        let count = tiling.count;
        let (full, last) = (&tiling.full, &tiling.last);
        let (needs, last_needs) = (self.needs(full, method), self.needs(last, method));
        let flying = threads.min(count);
        let cut = (count - 1) * full.state + last.state;
        let each = count * (self.handles.tile + needs.evidence);
        let kept = (count - 1) * needs.kept + last_needs.kept + each + self.remembered;
        let join = if count == 1 { 0 } else { self.batch };
        let sink = self.sink.of(self.nodes);
        let tip = self.loss.states * full.state;
        let walking = flying * (needs.kept + needs.forward.max(needs.back).max(tip));
        let spare = flying * needs.spare;
        let held = self.batch + cut + sink + each + self.remembered + count * self.loss.bytes;
        Phases {
            record: self.batch + cut + kept + (flying * needs.forward).max(join),
            kept,
            // x_0 and x_N may still be there, and the cotangent of x_N is.
            back: 3 * self.batch + cut + kept + sink + (flying * needs.back).max(join),
            sweep: held + walking.max(spare + join),
            spare,
            // A tile that threads share has one more that waits for them.
            scratch: last.scratch * if tiling.shared { threads + 1 } else { flying },
        }
    }

    /// What a method takes on one tile.
    fn needs(&self, tile: &Tile, method: &Method) -> Needs {
        let Tile { state, tape, working, stepper, passing, .. } = *tile;
        let stepper = stepper + passing;
        let (steps, place) = (self.steps, state + self.handles.state);
        let step = tape + self.handles.step;
        match method {
            Method::Backprop(_) => {
                let kept = steps * step;
                let spare = kept + working;
                Needs { kept, forward: stepper, back: stepper + working, spare, evidence: 0 }
            }
            Method::Checkpoint(Checkpoint { slots: Some(slots), .. }) => Needs {
                kept: slots.get().min(steps) * place,
                forward: stepper,
                back: stepper + step + working + state,
                ..Needs::default()
            },
            Method::Checkpoint(Checkpoint { segments, .. }) => {
                let segments = segments.map_or(root(steps), NonZeroUsize::get).clamp(1, steps);
                Needs {
                    kept: segments * place,
                    forward: stepper,
                    back: stepper + steps.div_ceil(segments) * step + working + state,
                    ..Needs::default()
                }
            }
            Method::Adjoint(adjoint) => self.needs_of_adjoint(tile, adjoint),
            Method::Reversible(_) => Needs {
                kept: (tile.states + 1) * place,
                forward: stepper,
                back: stepper + tile.states * place,
                ..Needs::default()
            },
        }
    }

    fn needs_of_adjoint(&self, tile: &Tile, adjoint: &Adjoint) -> Needs {
        let Tile { state, tape, working, stepper, passing, .. } = *tile;
        let anchors = adjoint.anchors.unwrap_or(if adjoint.tolerance.is_some() {
            root(self.steps)
        } else {
            1
        });
        let anchors = anchors.clamp(1, self.steps);
        // Increments, and for a fit their differences; and the last states of the way forward.
        let (history, tail) = match adjoint.predictor {
            Predictor::None => (0, 0),
            Predictor::Extrapolation(order) => (order, order),
            Predictor::Learned(size) => (2 * size, 0),
        };
        let step = tape + self.handles.step;
        let walk = stepper + passing + step + working;
        // The linearisation point and its increment.
        let drift = usize::from(adjoint.drifts(tile.bend));
        let mut back = walk + (2 + history + drift) * state;
        if adjoint.tolerance.is_some() {
            let longest = self.steps.div_ceil(anchors);
            let nodes = longest + self.shared;
            // The cotangent that a segment is entered with, the state that walks it again, and
            // the differences of a new fit beside those of the old one; stored steps, whose last ones make
            // their own buffers where the segment is not the longest.
            back += (2 + history / 2) * state
                + self.part.of(nodes)
                + self.sink.of(nodes)
                + longest * (step + self.handles.step)
                + 2 * working;
        }
        // Vectors of anchors grow by doubling: at a time three times as many as there are.
        Needs {
            kept: (anchors + tail + 1) * (state + 3 * self.handles.state),
            forward: stepper + passing + anchors * size_of::<usize>(),
            back,
            spare: 0,
            evidence: 3 * anchors * size_of::<(usize, f64, f64)>(),
        }
    }
}

/// √N, rounded.
pub(super) fn root(steps: usize) -> usize {
    (steps as f64).sqrt().round() as usize
}
