//! Numbers in memory, from the start of a cache line on.

use crate::Real;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A vector whose first number lies at the start of a cache line, so that no register is loaded
/// from two of them.
#[derive(Clone)]
pub struct Buffer<R> {
    lines: Vec<Line>,
    length: usize,
    numbers: PhantomData<R>,
}

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl<R: Real> Buffer<R> {
    /// So many zeros.
    pub fn zeros(length: usize) -> Self {
        let mut buffer = Self::default();
        buffer.resize(length);
        buffer
    }

    /// Makes it so long; what is added is zero.
    pub fn resize(&mut self, length: usize) {
        let old = self.length;
        self.lines.resize((length * size_of::<R>()).div_ceil(64), Line([0; 64]));
        self.length = length;
        if old < length {
            // The last line may hold numbers from before it was shortened.
            let end = (old * size_of::<R>()).next_multiple_of(64) / size_of::<R>();
            self[old..end.min(length)].fill(R::zero());
        }
    }
}

impl<R> Default for Buffer<R> {
    fn default() -> Self {
        Self { lines: Vec::new(), length: 0, numbers: PhantomData }
    }
}

impl<R> Deref for Buffer<R> {
    type Target = [R];

    #[expect(unsafe_code, reason = "lines seen as numbers")]
    fn deref(&self) -> &[R] {
        // SAFETY: the lines have room for `length` numbers, and any bytes are a number: the only
        // ways to make a buffer of a length ask for `Real`.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }
}

impl<R> DerefMut for Buffer<R> {
    #[expect(unsafe_code, reason = "lines seen as numbers")]
    fn deref_mut(&mut self) -> &mut [R] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

impl<R: Real> FromIterator<R> for Buffer<R> {
    fn from_iter<I: IntoIterator<Item = R>>(numbers: I) -> Self {
        let numbers: Vec<R> = numbers.into_iter().collect();
        let mut buffer = Self::zeros(numbers.len());
        buffer.copy_from_slice(&numbers);
        buffer
    }
}

impl<R: PartialEq> PartialEq for Buffer<R> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<R: std::fmt::Debug> std::fmt::Debug for Buffer<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_start_at_a_line_and_grow_by_zeros() {
        let mut buffer: Buffer<f32> = (0..5).map(|i| i as f32).collect();
        assert_eq!(buffer.as_ptr().align_offset(64), 0);
        buffer.resize(3);
        buffer.resize(40);
        assert_eq!(buffer[..4], [0.0, 1.0, 2.0, 0.0]);
        assert!(buffer[3..].iter().all(|v| *v == 0.0) && buffer.len() == 40);
        assert_eq!(Buffer::<f64>::default().len(), 0);
    }
}
