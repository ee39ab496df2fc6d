//! Whose turn it is to add to the gradient of a step.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How far each tile has come on its way back: the number of the lowest step it has left.
pub(crate) struct Gates {
    left: Vec<AtomicUsize>,
}

/// Step number that a tile shows when it was abandoned by a panic.
const ABANDONED: usize = 0;

impl Gates {
    /// All tiles above the last of `steps` steps.
    pub(crate) fn new(tiles: usize, steps: usize) -> Self {
        // A tile that has left step n shows n; before the first it shows `steps`.
        Self { left: (0..tiles).map(|_| AtomicUsize::new(steps)).collect() }
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

    /// Runs the pull-back of `step` when the tile before has left the step below it: then no
    /// control node of `step` is still to receive anything of that tile.
    pub fn take<T>(&self, step: usize, pull_back: impl FnOnce() -> T) -> T {
        let Some(gates) = self.gates else { return pull_back() };
        if let Some(before) = self.tile.checked_sub(1) {
            let mut spins = 0u32;
            while gates.left[before].load(Ordering::Acquire) > step.saturating_sub(1) {
                spins += 1;
                if spins < 100 {
                    std::hint::spin_loop();
                } else {
                    std::thread::yield_now();
                }
            }
        }
        let result = pull_back();
        gates.left[self.tile].store(step, Ordering::Release);
        result
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
