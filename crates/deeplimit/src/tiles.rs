//! Depth first: a flow walked one tile of the batch at a time, on all cores.
//!
//! Where samples do not see each other the batch is cut into tiles, and each tile walks through
//! all layers, forward or back, on one thread; the tiles are cut the same way whatever the number
//! of threads. There is one gradient buffer for all tiles: tile t adds to the gradient of a step
//! only after tile t − 1 has left it, and the step below it where both share a control node
//! ([`Turn`](crate::gradient::Turn)), so that each
//! node receives its contributions in the order of the tiles, and the result has the same bits for
//! any number of threads.

use crate::gradient::{Certificate, Evidence, Gates, GradientMethod};
use crate::{Bytes, Field, Flow, State};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a gradient method keeps from the way forward, tile by tile.
pub struct Recording<T> {
    tiles: Vec<(usize, T)>,
}

impl<T: Bytes> Bytes for Recording<T> {
    fn bytes(&self) -> usize {
        self.tiles.iter().map(|(_, tape)| tape.bytes()).sum()
    }
}

/// Memory of spent tapes, kept from one gradient to the next.
pub struct Spare<T>(Mutex<Vec<T>>);

impl<T> Default for Spare<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

/// What a gradient in one sweep finds.
pub struct Sweep<S, L> {
    /// ∂loss/∂x_0.
    pub x0_bar: S,
    /// What the loss said of each tile, in order.
    pub losses: Vec<L>,
    /// How good the gradient is.
    pub certificate: Certificate,
}

impl<F: Field> Flow<F> {
    /// x_N, keeping nothing.
    pub fn forward(&self, x0: &F::State) -> F::State {
        F::State::join(self.each_tile(self.cut(x0), |x, _| self.end(x)))
    }

    /// x_N, with what `method` needs to pull a cotangent back later.
    pub fn record<M: GradientMethod<F>>(
        &self,
        method: &M,
        x0: &F::State,
    ) -> (F::State, Recording<M::Tape>) {
        let tiles = self.each_tile(self.cut(x0), |x, _| {
            let samples = x.samples();
            let (end, tape) = method.record(self, x, None);
            (end, (samples, tape))
        });
        let (ends, tiles) = tiles.into_iter().unzip();
        (F::State::join(ends), Recording { tiles })
    }

    /// Pulls the cotangent of x_N back: returns that of x_0 and a certificate of its accuracy,
    /// and adds ∂loss/∂θ to `gradient`.
    pub fn pull_back<M: GradientMethod<F>>(
        &self,
        method: &M,
        recording: Recording<M::Tape>,
        x_bar: &F::State,
        gradient: &mut F::Gradient,
    ) -> (F::State, Certificate) {
        let mut start = 0;
        let tiles = recording.tiles.into_iter().map(|(samples, tape)| {
            start += samples;
            (tape, x_bar.slice(start - samples, samples))
        });
        let tiles: Vec<_> = tiles.collect();
        let gates = Gates::new(tiles.len(), self.steps(), self.scheme().shared_nodes());
        let done = {
            let sink = self.field().open(gradient);
            self.each_tile(tiles, |(tape, bar), index| {
                let mut bar = bar;
                let turn = gates.turn(index);
                let (evidence, _) = method.pull_back(self, tape, &mut bar, &sink, &turn);
                (bar, evidence)
            })
        };
        let (bars, evidence): (Vec<_>, Vec<Evidence>) = done.into_iter().unzip();
        let norm = || self.field().gradient_norm(gradient);
        let size = (x_bar.samples() * self.steps()) as f64;
        (F::State::join(bars), Certificate::conclude(evidence, norm, size))
    }

    /// The gradient of a loss in which samples do not see each other, in one sweep: each tile walks
    /// to its end and back before its thread takes the next one, so that there are never more tapes
    /// than threads, whatever the batch.
    ///
    /// `loss` turns the end of a tile, and the samples of the batch that it holds, into what is to
    /// be known of its loss, and the cotangent of the end. ∂loss/∂θ takes the place of what
    /// `gradient` holds.
    pub fn gradient<M: GradientMethod<F>, L: Send>(
        &self,
        method: &M,
        x0: &F::State,
        loss: impl Fn(F::State, Range<usize>) -> (L, F::State) + Sync,
        gradient: &mut F::Gradient,
        spare: &Spare<M::Tape>,
    ) -> Sweep<F::State, L> {
        let tiles = self.cut(x0);
        let gates = Gates::new(tiles.len(), self.steps(), self.scheme().shared_nodes());
        let mut start = 0;
        let tiles = tiles.into_iter().map(|x| {
            start += x.samples();
            (start - x.samples()..start, x)
        });
        let tiles: Vec<_> = tiles.collect();
        let done = {
            let sink = self.field().open_anew(gradient);
            self.each_tile(tiles, |(samples, x), index| {
                let turn = gates.turn(index);
                let spent = lock(&spare.0).pop();
                let (end, tape) = method.record(self, x, spent);
                let (loss, mut bar) = loss(end, samples);
                let (evidence, spent) = method.pull_back(self, tape, &mut bar, &sink, &turn);
                lock(&spare.0).extend(spent);
                (bar, loss, evidence)
            })
        };
        let (mut bars, mut losses, mut evidence) = (Vec::new(), Vec::new(), Vec::new());
        for (bar, loss, found) in done {
            bars.push(bar);
            losses.push(loss);
            evidence.push(found);
        }
        let norm = || self.field().gradient_norm(gradient);
        let size = (x0.samples() * self.steps()) as f64;
        let certificate = Certificate::conclude(evidence, norm, size);
        Sweep { x0_bar: F::State::join(bars), losses, certificate }
    }

    /// Cuts a batch into tiles.
    fn cut(&self, x: &F::State) -> Vec<F::State> {
        let samples = x.samples();
        match self.tile_samples(x) {
            Some(tile) if tile < samples => {
                let starts = (0..samples).step_by(tile);
                starts.map(|start| x.slice(start, tile.min(samples - start))).collect()
            }
            _ => vec![x.clone()],
        }
    }

    /// Runs `work(tile, index)` on every tile; threads take tiles in order. Results are in order.
    fn each_tile<T: Send, U: Send>(
        &self,
        tiles: Vec<T>,
        work: impl Fn(T, usize) -> U + Sync,
    ) -> Vec<U> {
        if tiles.len() == 1 || rayon::current_num_threads() == 1 {
            return tiles.into_iter().enumerate().map(|(i, tile)| work(tile, i)).collect();
        }
        let threads = rayon::current_num_threads().min(tiles.len());
        let waiting: Vec<Mutex<Option<T>>> =
            tiles.into_iter().map(|tile| Mutex::new(Some(tile))).collect();
        let done: Vec<Mutex<Option<U>>> = waiting.iter().map(|_| Mutex::new(None)).collect();
        let next = AtomicUsize::new(0);
        rayon::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|_| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(slot) = waiting.get(index) else { break };
                        let tile = lock(slot).take().expect("each index is handed out once");
                        let result = work(tile, index);
                        *lock(&done[index]) = Some(result);
                    }
                });
            }
        });
        let done = done.iter().map(|slot| lock(slot).take());
        done.map(|result| result.expect("the scope ends when all tiles are done")).collect()
    }
}

/// Locks; a lock is poisoned only by a panic that is already on its way to the caller.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Range, Spare};
    use crate::prelude::*;

    fn flow(rows: usize) -> (Flow<Stacked<f32, Mlp>>, Rows<f32>) {
        let layer = Mlp { width: 6, hidden: 9, activation: Activation::Tanh };
        let x0 = Rows::from_fn(rows, 6, |r, c| ((r * 6 + c) as f32 * 0.37).sin());
        (Flow::new(Stacked::rough(layer, 13, 4), Scheme::EULER).with_tile(4), x0)
    }

    fn gradient(threads: usize, rows: usize, method: Method) -> (Vec<f32>, Control<f32>) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let (flow, x0) = flow(rows);
            let (end, recording) = flow.record(&method, &x0);
            let mut gradient = flow.field().zero_gradient();
            let (bar, _) = flow.pull_back(&method, recording, &end, &mut gradient);
            (bar.to_vec(), gradient)
        })
    }

    #[test]
    fn gradients_have_the_same_bits_for_any_number_of_threads() {
        let named = |name: &str| name.parse::<Method>().expect("a method");
        let within = |tolerance: f64| match named("adjoint-adaptive") {
            Method::Adjoint(adjoint) => Method::Adjoint(adjoint.within(tolerance)),
            other => other,
        };
        let methods = ["backprop", "adjoint-adaptive", "adjoint-predicted"].map(named);
        // With the smaller tolerance segments are walked again.
        for method in methods.into_iter().chain([1e-1, 1e-6].map(within)) {
            for rows in [1, 3, 4, 5, 8, 9, 33] {
                let alone = gradient(1, rows, method);
                for threads in [2, 3, 7] {
                    assert_eq!(gradient(threads, rows, method), alone, "{method:?}, {rows} rows");
                }
            }
        }
    }

    #[test]
    fn a_sweep_finds_what_two_walks_find_whatever_it_has_in_memory() {
        for method in ["backprop", "checkpoint", "adjoint-predicted"] {
            let method: Method = method.parse().expect("a method");
            let spare = Spare::default();
            for rows in [9, 4, 3] {
                let (flow, x0) = flow(rows);
                let (end, recording) = flow.record(&method, &x0);
                let mut expected = flow.field().zero_gradient();
                let (x0_bar, certificate) = flow.pull_back(&method, recording, &end, &mut expected);
                let mut found = flow.field().zero_gradient();
                let loss = |end: Rows<f32>, samples: Range<usize>| (samples, end);
                let sweep = flow.gradient(&method, &x0, loss, &mut found, &spare);
                assert_eq!((sweep.x0_bar, found), (x0_bar, expected), "{method:?}");
                assert_eq!(sweep.certificate, certificate);
                assert_eq!(sweep.losses.last().map(|samples| samples.end), Some(rows));
            }
        }
    }

    #[test]
    fn tiles_walk_to_the_states_of_the_whole_batch() {
        let (flow, x0) = flow(11);
        let whole = flow.states(&x0).pop().expect("x_N");
        let tiled = flow.forward(&x0);
        let error = tiled.distance_squared(&whole).sqrt() / whole.norm_squared().sqrt();
        assert!(error < 1e-6, "{error}"); // Products of 4 and of 11 rows may round differently.
    }
}
