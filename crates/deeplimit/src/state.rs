//! What the algorithms over depth need of a state: linear combinations and inner products.

/// Memory that a value keeps, in bytes.
pub trait Bytes {
    /// Bytes of the numbers kept (not of the handles around them).
    fn bytes(&self) -> usize;
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
