//! Reading parameters at a position of depth, and adding to their gradients there.

use crate::control::{Control, Kind, Position};
use crate::kernel::pieces::Pieces;
use crate::kernel::vector;
use crate::{Heap, Real};

/// The gradient of one control node: one slice a parameter kind.
pub type NodeGradient<'a, R> = [&'a mut [R]];

/// Parameter kinds that a layer may have.
pub(super) const MOST_KINDS: usize = 9;

/// Runs `work` on θ at a position: as it is at a node, a linear blend between two.
pub(super) fn with_theta<R: Real, T>(
    control: &Control<R>,
    position: Position,
    work: impl FnOnce(&[&[R]]) -> T,
) -> T {
    let Position { node, fraction } = position;
    let kinds = control.kinds();
    if fraction == 0.0 {
        let slices: [&[R]; MOST_KINDS] =
            std::array::from_fn(
                |kind| {
                    if kind < kinds.len() { control.at(kind, node) } else { &[] }
                },
            );
        return work(&slices[..kinds.len()]);
    }
    R::with_scratch(kinds.iter().map(Kind::len).sum(), |mut blend| {
        let mut slices: [&[R]; MOST_KINDS] = [&[]; MOST_KINDS];
        let slices = &mut slices[..kinds.len()];
        for (kind, slice) in slices.iter_mut().enumerate() {
            let (here, next) = (control.at(kind, node), control.at(kind, node + 1));
            let (values, rest) = blend.split_at_mut(here.len());
            blend = rest;
            for ((value, a), b) in values.iter_mut().zip(here).zip(next) {
                *value = *a + R::of(fraction) * (*b - *a);
            }
            *slice = values;
        }
        work(slices)
    })
}

fn clear<R: Real>(gradient: &mut NodeGradient<'_, R>) {
    gradient.iter_mut().for_each(|slice| slice.fill(R::zero()));
}

/// A gradient opened for adding, node by node.
pub struct Sink<'g, R: Real> {
    nodes: Pieces<'g, R>,
    /// The first node.
    first: usize,
}

impl<'g, R: Real> Sink<'g, R> {
    /// With `anew`, what a node holds is forgotten when it is first added to: it passes through the
    /// cache once, not twice.
    pub(super) fn open(gradient: &'g mut Control<R>, anew: bool) -> Self {
        let count = gradient.nodes();
        let kinds = gradient.values_mut().iter_mut().map(|values| &mut values[..]);
        Self { nodes: Pieces::new(kinds, count, anew), first: 0 }
    }

    /// With the gradients of the nodes from `first` on.
    pub(super) fn starting_at(mut self, first: usize) -> Self {
        self.first = first;
        self
    }

    /// Adds a part's gradients of a node.
    pub(super) fn add_part(&self, part: &Control<R>, first: usize, node: usize) {
        self.with(node, |gradient, fresh| {
            for (kind, total) in gradient.iter_mut().take(part.kinds().len()).enumerate() {
                let part = part.at(kind, node - first);
                if fresh {
                    total.copy_from_slice(part);
                } else {
                    vector::add_scaled(total, R::one(), part);
                }
            }
        });
    }

    /// Runs `add` on the gradient at a position; between two nodes each gets its share.
    pub(super) fn add(&self, position: Position, add: impl FnOnce(&mut NodeGradient<'_, R>)) {
        self.add_or_set(position, |gradient, fresh| {
            if fresh {
                clear(gradient);
            }
            add(gradient);
        });
    }

    /// As [`add`](Self::add), for work that can set a gradient instead, which it is told to where what
    /// the gradient holds is to be forgotten.
    pub(super) fn add_or_set(
        &self,
        position: Position,
        add: impl FnOnce(&mut NodeGradient<'_, R>, bool),
    ) {
        let Position { node, fraction } = position;
        if fraction == 0.0 {
            return self.with(node, |gradient, fresh| add(gradient, fresh));
        }
        R::with_scratch(self.nodes.lengths().sum(), |mut blend| {
            let mut slots: [&mut [R]; MOST_KINDS] = std::array::from_fn(|_| Default::default());
            for (slot, length) in slots.iter_mut().zip(self.nodes.lengths()) {
                (*slot, blend) = blend.split_at_mut(length);
            }
            add(&mut slots, true);
            for (node, share) in [(node, 1.0 - fraction), (node + 1, fraction)] {
                self.with(node, |gradient, fresh| {
                    let blend = if fresh { vector::set_scaled } else { vector::add_scaled };
                    for (total, part) in gradient.iter_mut().zip(&slots) {
                        blend(total, R::of(share), part);
                    }
                });
            }
        });
    }

    /// Tiles take turns, so that nobody waits here.
    fn with(&self, node: usize, add: impl FnOnce(&mut NodeGradient<'_, R>, bool)) {
        self.nodes.with::<MOST_KINDS, _>(node - self.first, |gradient, fresh| add(gradient, fresh));
    }
}

impl<R: Real> Heap for Sink<'_, R> {
    fn heap(&self) -> usize {
        self.nodes.heap()
    }
}

impl<R: Real> Drop for Sink<'_, R> {
    /// Nodes that nothing was added to are zero.
    fn drop(&mut self) {
        for node in self.first..self.first + self.nodes.count() {
            self.with(node, |gradient, fresh| {
                if fresh {
                    clear(gradient);
                }
            });
        }
    }
}
