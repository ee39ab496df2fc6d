//! Binomial checkpointing: exact gradients, the states alive, the evaluations done.

mod common;

use common::run;
use deeplimit::control::Position;
use deeplimit::field::Sink;
use deeplimit::gradient::{Checkpoint, Due};
use deeplimit::prelude::*;
use deeplimit::seed::uniform;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

fn slots(count: usize) -> Method {
    Method::Checkpoint(Checkpoint { segments: None, slots: NonZeroUsize::new(count) })
}

fn rows(samples: usize, seed: u64) -> Rows<f64> {
    Rows::from_fn(samples, 3, |row, column| uniform(seed, (row * 3 + column) as u64))
}

fn field(nodes: usize) -> Stacked<f64, Mlp> {
    Stacked::rough(Mlp { width: 3, hidden: 4, activation: Activation::Gelu }, nodes, 7)
}

/// Euler's recorded step is its step on the way to the bit. Steps of several stages add their
/// increments in another order: a few roundings.
#[test]
fn with_slots_the_gradient_is_that_of_backprop_to_the_bit_or_to_rounding() {
    for scheme in Scheme::ALL {
        let rounding = if scheme == Scheme::EULER { 0.0 } else { 1e-14 };
        for steps in [1, 2, 3, 9, 20] {
            let flow = Flow::new(field(scheme.nodes_for(steps)), scheme.clone());
            let exact = run::run(&flow, run::parse("backprop"), &rows(5, 1), &rows(5, 2));
            for count in [1, 2, 3, 5, 19, 20, 21, 99] {
                let found = run::run(&flow, slots(count), &rows(5, 1), &rows(5, 2));
                let off = [
                    run::distance(&found.end, &exact.end),
                    run::distance(&found.x0_bar, &exact.x0_bar),
                    found.gradient.relative_error(&exact.gradient),
                ];
                let what = format!("{scheme}, {steps} steps, {count} slots");
                assert!(off.iter().all(|off| *off <= rounding), "{what}: {off:?}");
            }
        }
    }
}

#[test]
fn slots_have_the_same_bits_for_any_number_of_threads() {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let flow = Flow::new(field(14), Scheme::HEUN).with_tile(4);
            let run = run::run(&flow, slots(3), &rows(33, 1), &rows(33, 2));
            (run.x0_bar, run.gradient)
        })
    };
    for threads in [2, 3] {
        assert_eq!(on(threads), on(1), "{threads} threads");
    }
}

/// t(l, s) by its recursion, on its own.
fn fewest(steps: usize, slots: usize, known: &mut Vec<Vec<Option<usize>>>) -> usize {
    match (steps, slots) {
        (1, _) => 0,
        (_, 0) => usize::MAX / 4,
        _ => {
            if let Some(found) = known[slots][steps] {
                return found;
            }
            let cost = (1..steps)
                .map(|m| m + fewest(m, slots, known) + fewest(steps - m, slots - 1, known));
            let found = cost.min().expect("a place");
            known[slots][steps] = Some(found);
            found
        }
    }
}

#[test]
fn a_run_does_the_fewest_evaluations_and_its_tape_holds_no_more_states_than_slots() {
    let mut known = vec![vec![None; 62]; 9];
    for steps in 1..=60 {
        let flow = Flow::new(field(steps), Scheme::EULER);
        for count in 1..=8 {
            let what = format!("{steps} steps, {count} slots");
            let (_, recording) = flow.record(&slots(count), &rows(2, 1));
            assert!(recording.bytes() <= count * rows(2, 1).bytes(), "{what}");
            let run = run::run(&flow, slots(count), &rows(2, 1), &rows(2, 2));
            // The certificate counts evaluations a step; the loss is step N + 1.
            let evaluations = (run.certificate.evaluations * steps as f64).round() as usize;
            assert_eq!(evaluations, fewest(steps + 1, count, &mut known) + steps, "{what}");
        }
    }
}

#[test]
#[should_panic(expected = "segments or slots, not both")]
fn segments_and_slots_together_are_refused() {
    let both = Checkpoint { segments: NonZeroUsize::new(2), slots: NonZeroUsize::new(2) };
    run::run(
        &Flow::new(field(4), Scheme::EULER),
        Method::Checkpoint(both),
        &rows(1, 1),
        &rows(1, 2),
    );
}

/// States alive now, and the most there were. Only one test uses them.
static ALIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// Rows that count themselves.
struct Counted(Rows<f64>);

impl Counted {
    fn new(rows: Rows<f64>) -> Self {
        let alive = ALIVE.fetch_add(1, Ordering::Relaxed) + 1;
        MOST.fetch_max(alive, Ordering::Relaxed);
        Self(rows)
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Bytes for Counted {
    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

impl State for Counted {
    fn scratch(&self) -> Self {
        Self::new(self.0.scratch())
    }

    fn samples(&self) -> usize {
        self.0.samples()
    }

    fn copy_from(&mut self, x: &Self) {
        self.0.copy_from(&x.0);
    }

    fn set_zero(&mut self) {
        self.0.set_zero();
    }

    fn scale(&mut self, factor: f64) {
        self.0.scale(factor);
    }

    fn add_scaled(&mut self, factor: f64, x: &Self) {
        self.0.add_scaled(factor, &x.0);
    }

    fn set_sum(&mut self, x: &Self, factor: f64, y: &Self) {
        self.0.set_sum(&x.0, factor, &y.0);
    }

    fn dot(&self, other: &Self) -> f64 {
        self.0.dot(&other.0)
    }

    fn distance_squared(&self, other: &Self) -> f64 {
        self.0.distance_squared(&other.0)
    }

    fn slice(&self, start: usize, count: usize) -> Self {
        Self::new(self.0.slice(start, count))
    }

    fn join(mut tiles: Vec<Self>) -> Self {
        assert_eq!(tiles.len(), 1, "the batch goes whole");
        tiles.remove(0)
    }
}

/// A field on states that count themselves; the batch goes whole.
struct Counting(Stacked<f64, Mlp>);

impl Field for Counting {
    const SINGLE_PRECISION: bool = false;
    type State = Counted;
    type Tape = <Stacked<f64, Mlp> as Field>::Tape;
    type Gradient = Control<f64>;
    type Sink<'g> = Sink<'g, f64>;

    fn nodes(&self) -> usize {
        self.0.nodes()
    }

    fn tape(&self, like: &Counted) -> Self::Tape {
        self.0.tape(&like.0)
    }

    fn tape_bytes(&self, tape: &Self::Tape) -> usize {
        self.0.tape_bytes(tape)
    }

    fn eval(&self, position: Position, x: &Counted, out: &mut Counted, tape: &mut Self::Tape) {
        self.0.eval(position, &x.0, &mut out.0, tape);
    }

    fn linearize(&self, position: Position, x: &Counted, out: &mut Counted, tape: &mut Self::Tape) {
        self.0.linearize(position, &x.0, &mut out.0, tape);
    }

    fn pull_back(
        &self,
        position: Position,
        x: &Counted,
        tape: &mut Self::Tape,
        cotangent: &Counted,
        x_bar: &mut Counted,
        gradient: Option<Due<'_, Sink<'_, f64>>>,
    ) {
        self.0.pull_back(position, &x.0, tape, &cotangent.0, &mut x_bar.0, gradient);
    }

    fn zero_gradient(&self) -> Control<f64> {
        self.0.zero_gradient()
    }

    fn open<'g>(&self, gradient: &'g mut Control<f64>) -> Sink<'g, f64> {
        self.0.open(gradient)
    }

    fn open_anew<'g>(&self, gradient: &'g mut Control<f64>) -> Sink<'g, f64> {
        self.0.open_anew(gradient)
    }

    fn zero_part(&self, nodes: usize) -> Control<f64> {
        self.0.zero_part(nodes)
    }

    fn open_part<'g>(&self, part: &'g mut Control<f64>, first: usize) -> Sink<'g, f64> {
        self.0.open_part(part, first)
    }

    fn add_part(&self, part: &Control<f64>, first: usize, node: usize, to: &Sink<'_, f64>) {
        self.0.add_part(part, first, node, to);
    }

    fn gradient_norm(&self, gradient: &Control<f64>) -> f64 {
        self.0.gradient_norm(gradient)
    }

    fn tile_samples(&self, _like: &Counted) -> Option<usize> {
        None
    }
}

/// On the way back the walking state, the step's tape and the stepper's scratch space are alive
/// besides: as many states whatever the depth and the slots, and counted here with one slot.
#[test]
fn states_alive_on_the_way_back_are_the_slots_and_those_of_one_step() {
    for scheme in [Scheme::EULER, Scheme::RK4] {
        let most = |steps: usize, count: usize| {
            let flow = Flow::new(Counting(field(scheme.nodes_for(steps))), scheme.clone());
            let (x0, bar) = (Counted::new(rows(2, 1)), Counted::new(rows(2, 2)));
            let mut gradient = flow.field().zero_gradient();
            let (_, recording) = flow.record(&slots(count), &x0);
            MOST.store(ALIVE.load(Ordering::Relaxed), Ordering::Relaxed);
            flow.pull_back(&slots(count), recording, &bar, &mut gradient);
            MOST.load(Ordering::Relaxed)
        };
        let one_step = most(40, 1) - 1;
        // x_0 and its cotangent outside, a cotangent walking, two for a tile's cut; the rest is
        // the stepper's, which has stages, and the step tape's.
        assert!(one_step <= 8 + 3 * scheme.stages(), "{scheme}: {one_step}");
        for count in 1..=12 {
            for steps in [1, 2, 3, 13, 40, 100] {
                let alive = most(steps, count);
                let what = format!("{scheme}, {steps} steps, {count} slots");
                assert!(alive <= one_step + count, "{what}: {alive} with {one_step} of a step");
            }
        }
        assert_eq!(most(100, 12), one_step + 12, "{scheme}: all slots are used");
    }
}
