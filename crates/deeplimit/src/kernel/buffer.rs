//! Numbers in memory, from the start of a cache line on.

use crate::{Heap, Real};
use std::ops::{Deref, DerefMut};

/// A vector whose first number lies at the start of a cache line, so that no register is loaded
/// from two of them.
///
/// It takes a line more than it needs and begins where a line does: memory that is asked for with an
/// alignment leaves holes in the heap of some systems, which grows by a megabyte a training step.
pub struct Buffer<R> {
    room: Vec<R>,
    /// Where the first number lies.
    first: usize,
    length: usize,
}

/// Bytes of a cache line.
const LINE: usize = 64;

impl<R: Real> Buffer<R> {
    /// So many zeros.
    pub fn zeros(length: usize) -> Self {
        Self::filled(R::zero(), length)
    }

    /// Makes it so long; what is added is zero.
    pub fn resize(&mut self, length: usize) {
        let old = self.length;
        if self.first + length > self.room.len() {
            let mut larger = Self::zeros(length);
            larger[..old].copy_from_slice(self);
            *self = larger;
            return;
        }
        self.length = length;
        if old < length {
            self[old..].fill(R::zero());
        }
    }
}

impl<R: Clone> Buffer<R> {
    /// So many times the same number.
    fn filled(number: R, length: usize) -> Self {
        if length == 0 {
            return Self::default();
        }
        let room = vec![number; length + LINE / size_of::<R>() - 1];
        let first = room.as_ptr().align_offset(LINE);
        Self { room, first, length }
    }
}

impl<R> Heap for Buffer<R> {
    fn heap(&self) -> usize {
        self.room.capacity() * size_of::<R>()
    }
}

impl<R: Clone> Clone for Buffer<R> {
    fn clone(&self) -> Self {
        let Some(number) = <[R]>::first(self) else { return Self::default() };
        let mut copy = Self::filled(number.clone(), self.length);
        copy.clone_from_slice(self);
        copy
    }
}

impl<R> Default for Buffer<R> {
    fn default() -> Self {
        Self { room: Vec::new(), first: 0, length: 0 }
    }
}

impl<R> Deref for Buffer<R> {
    type Target = [R];

    fn deref(&self) -> &[R] {
        &self.room[self.first..self.first + self.length]
    }
}

impl<R> DerefMut for Buffer<R> {
    fn deref_mut(&mut self) -> &mut [R] {
        &mut self.room[self.first..self.first + self.length]
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
        assert_eq!(buffer.clone().as_ptr().align_offset(64), 0);
        buffer.resize(3);
        buffer.resize(40);
        assert_eq!(buffer.as_ptr().align_offset(64), 0);
        assert_eq!(buffer[..4], [0.0, 1.0, 2.0, 0.0]);
        assert!(buffer[3..].iter().all(|v| *v == 0.0) && buffer.len() == 40);
        assert_eq!(Buffer::<f64>::default().len(), 0);
    }
}
