//! What the algorithms over depth need of a state: linear combinations and inner products.

/// Memory that a value keeps, in bytes.
pub trait Bytes {
    /// Bytes of the numbers kept (not of the handles around them).
    fn bytes(&self) -> usize;
}

/// Memory that a value has asked the allocator for.
pub trait Heap {
    /// Bytes that the value holds on the heap: those of its numbers, of the handles that lie there
    /// too, and of the room at the edges of buffers.
    fn heap(&self) -> usize;
}

impl<T: Heap> Heap for Vec<T> {
    fn heap(&self) -> usize {
        self.capacity() * size_of::<T>() + self.iter().map(Heap::heap).sum::<usize>()
    }
}

/// Hidden activations of a batch, or of a tile of it.
///
/// Scalars are `f64` whatever the element type. Inner products of [`Rows`](crate::Rows) are
/// added up in `f64`, stretch by stretch; other states may add up in the precision of their device.
pub trait State: Clone + Send + Sync + Bytes {
    /// A state of the same shape whose values may be anything.
    fn scratch(&self) -> Self;

    /// Number of samples.
    fn samples(&self) -> usize;

    /// `self = x`.
    fn copy_from(&mut self, x: &Self);

    /// `self = 0`.
    fn set_zero(&mut self);

    /// `self = factor · self`.
    fn scale(&mut self, factor: f64);

    /// `self = factor · x`.
    fn set_scaled(&mut self, factor: f64, x: &Self) {
        self.copy_from(x);
        self.scale(factor);
    }

    /// `self += factor · x`.
    fn add_scaled(&mut self, factor: f64, x: &Self);

    /// `self = x + factor · y`.
    fn set_sum(&mut self, x: &Self, factor: f64, y: &Self);

    /// `self = x + factor · self`.
    fn add_to(&mut self, factor: f64, x: &Self) {
        self.scale(factor);
        self.add_scaled(1.0, x);
    }

    /// `self = x + factor Σ weight · term`.
    fn set_combination(&mut self, x: &Self, factor: f64, terms: &[(f64, &Self)]) {
        self.copy_from(x);
        for (weight, term) in terms {
            self.add_scaled(factor * weight, term);
        }
    }

    /// `self += factor · x`; the squared norms of the sum, and of its difference from `other`.
    fn step_and_measure(&mut self, factor: f64, x: &Self, other: &Self) -> [f64; 2] {
        self.add_scaled(factor, x);
        [self.norm_squared(), self.distance_squared(other)]
    }

    /// As [`step_and_measure`](State::step_and_measure), and then `out = self + factor Σ weight · term`.
    fn step_measure_and_combine(
        &mut self,
        factor: f64,
        x: &Self,
        other: &Self,
        out: &mut Self,
        terms: &[(f64, &Self)],
    ) -> [f64; 2] {
        let norms = self.step_and_measure(factor, x, other);
        out.set_combination(self, factor, terms);
        norms
    }

    /// Squared norm of `self + factor · x − other`.
    fn defect_squared(&self, factor: f64, x: &Self, other: &Self) -> f64 {
        let mut sum = self.scratch();
        sum.set_sum(self, factor, x);
        sum.distance_squared(other)
    }

    /// Inner product over all samples and entries.
    fn dot(&self, other: &Self) -> f64;

    /// Squared norm of the difference, over all samples and entries.
    fn distance_squared(&self, other: &Self) -> f64;

    /// Squared norm over all samples and entries.
    fn norm_squared(&self) -> f64 {
        self.dot(self)
    }

    /// The samples `start … start + count - 1`.
    fn slice(&self, start: usize, count: usize) -> Self;

    /// Puts tiles made by [`State::slice`] back together, in order.
    fn join(tiles: Vec<Self>) -> Self;
}
