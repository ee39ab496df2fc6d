//! Where a normalisation takes mean and variance from, and what a walk through it met.

use crate::control::Position;
use crate::kernel::normalise::Moments;
use std::sync::OnceLock;

/// (mean, variance) of every normalised channel of one layer.
pub type LayerStatistics = Vec<[f64; 2]>;

/// Where mean and variance of a channel come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Statistics {
    /// The batch at hand, as in training.
    Batch,
    /// Numbers that were gathered before, as in evaluation: for each node (mean, variance) of every
    /// channel of the first normalisation, then of the next.
    Held(Vec<LayerStatistics>),
}

/// What the first evaluation at each node met, however often a gradient method comes back to it.
#[derive(Clone, Debug)]
pub(super) struct Met {
    at: Vec<OnceLock<LayerStatistics>>,
    /// Between the node before and this one.
    before: Vec<OnceLock<LayerStatistics>>,
}

impl Met {
    pub(super) fn new(nodes: usize) -> Self {
        Self { at: vec![OnceLock::new(); nodes], before: vec![OnceLock::new(); nodes] }
    }

    /// Takes in mean and unbiased variance of an evaluation; those of later ones at the same place
    /// are passed by.
    pub(super) fn meet<'m>(&self, position: Position, moments: impl Iterator<Item = &'m Moments>) {
        let Position { node, fraction } = position;
        let place = if fraction == 0.0 { &self.at[node] } else { &self.before[node + 1] };
        place.get_or_init(|| moments.map(|m| [m.mean, m.unbiased_variance()]).collect());
    }

    /// Bytes of what was met.
    pub(super) fn heap(&self) -> usize {
        let met = self.at.iter().chain(&self.before).filter_map(OnceLock::get);
        met.map(|met| met.capacity() * size_of::<[f64; 2]>()).sum()
    }

    /// What was met at each node; `None` before a whole walk.
    pub(super) fn all(&self) -> Option<Vec<LayerStatistics>> {
        let nodes = self.at.iter().zip(&self.before);
        nodes.map(|(at, before)| at.get().or_else(|| before.get()).cloned()).collect()
    }
}
