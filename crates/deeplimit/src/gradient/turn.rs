//! Whose turn it is to add to the gradient of a step.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How far each tile has come on its way back: the number of the lowest step it has left.
pub(crate) struct Gates {
    left: Vec<AtomicUsize>,
    /// Steps below a step that share control nodes with it.
    shared: usize,
}

/// Step number that a tile shows when it was abandoned by a panic.
const ABANDONED: usize = 0;

impl Gates {
    /// All tiles above the last of `steps` steps, each of which shares control nodes with the
    /// `shared` steps below it.
    pub(crate) fn new(tiles: usize, steps: usize, shared: usize) -> Self {
        // A tile that has left step n shows n; before the first it shows `steps`.
        Self { left: (0..tiles).map(|_| AtomicUsize::new(steps)).collect(), shared }
    }

    /// The place of one tile in the order.
    pub(crate) fn turn(&self, tile: usize) -> Turn<'_> {
        Turn { gates: Some(self), tile }
    }
}

/// The place of one tile in the order in which tiles add to the gradient.
pub struct Turn<'g> {
    gates: Option<&'g Gates>,
    tile: usize,
}

impl Turn<'_> {
    /// For a tile that is alone.
    pub fn alone() -> Self {
        Turn { gates: None, tile: 0 }
    }

    /// Where the gradient of `step` goes, once it is the tile's turn.
    pub fn due<'a, K>(&'a self, step: usize, sink: &'a K) -> Due<'a, K> {
        Due { sink, turn: Some((self, step)) }
    }

    /// Lets the next tile add to the gradient of `step`, to which this one has added.
    pub fn leave(&self, step: usize) {
        if let Some(gates) = self.gates {
            gates.left[self.tile].store(step, Ordering::Release);
        }
    }

    /// Waits until the tile before has left the last step that shares a control node with `step`.
    fn wait(&self, step: usize) {
        let (Some(gates), Some(before)) = (self.gates, self.tile.checked_sub(1)) else { return };
        let mut spins = 0u32;
        while gates.left[before].load(Ordering::Acquire) > step.saturating_sub(gates.shared) {
            spins += 1;
            if spins < 100 {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

/// A gradient opened for adding, and when it is a tile's turn to do so.
pub struct Due<'a, K> {
    sink: &'a K,
    turn: Option<(&'a Turn<'a>, usize)>,
}

impl<K> Clone for Due<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Due<'_, K> {}

impl<'a, K> Due<'a, K> {
    /// For whoever need not wait.
    pub fn now(sink: &'a K) -> Self {
        Self { sink, turn: None }
    }

    /// The gradient. Waits for the tile's turn: what can be computed before should be.
    pub fn sink(self) -> &'a K {
        if let Some((turn, step)) = self.turn {
            turn.wait(step);
        }
        self.sink
    }
}

impl Drop for Turn<'_> {
    /// A tile that ends, by a panic too, lets the others pass.
    fn drop(&mut self) {
        if let Some(gates) = self.gates {
            gates.left[self.tile].store(ABANDONED, Ordering::Release);
        }
    }
}
