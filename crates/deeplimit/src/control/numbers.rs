//! The numbers of one kind of parameter, which may be somebody else's.

use crate::Heap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Somebody's numbers, which stay as they are for as long as they are shared.
pub type SharedNumbers<R> = Arc<dyn AsRef<[R]> + Send + Sync>;

/// An array of parameters: its own, or shared with whoever keeps them (an optimiser's tensors, say), so
/// that a flow walks on weights without a copy. What is shared is copied before it is changed.
#[derive(Clone)]
pub enum Numbers<R> {
    /// Its own.
    Own(Vec<R>),
    /// Somebody else's.
    Shared(SharedNumbers<R>),
}

impl<R> Deref for Numbers<R> {
    type Target = [R];

    #[inline]
    fn deref(&self) -> &[R] {
        match self {
            Self::Own(values) => values,
            Self::Shared(values) => (**values).as_ref(),
        }
    }
}

impl<R: Copy> DerefMut for Numbers<R> {
    fn deref_mut(&mut self) -> &mut [R] {
        if let Self::Shared(values) = self {
            *self = Self::Own((**values).as_ref().to_vec());
        }
        match self {
            Self::Own(values) => values,
            Self::Shared(_) => unreachable!("they have been copied"),
        }
    }
}

impl<R: Copy> Numbers<R> {
    /// Its own numbers as they are, or a copy of somebody else's.
    pub fn into_vec(self) -> Vec<R> {
        match self {
            Self::Own(values) => values,
            Self::Shared(values) => (*values).as_ref().to_vec(),
        }
    }
}

impl<R> From<Vec<R>> for Numbers<R> {
    fn from(values: Vec<R>) -> Self {
        Self::Own(values)
    }
}

impl<R> FromIterator<R> for Numbers<R> {
    fn from_iter<I: IntoIterator<Item = R>>(values: I) -> Self {
        Self::Own(values.into_iter().collect())
    }
}

impl<'a, R> IntoIterator for &'a Numbers<R> {
    type Item = &'a R;
    type IntoIter = std::slice::Iter<'a, R>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, R: Copy> IntoIterator for &'a mut Numbers<R> {
    type Item = &'a mut R;
    type IntoIter = std::slice::IterMut<'a, R>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<R: PartialEq> PartialEq for Numbers<R> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<R: fmt::Debug> fmt::Debug for Numbers<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Somebody else's numbers are on nobody else's account.
impl<R> Heap for Numbers<R> {
    fn heap(&self) -> usize {
        match self {
            Self::Own(values) => values.capacity() * size_of::<R>(),
            Self::Shared(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_numbers_are_read_in_place_and_copied_before_they_are_changed() {
        let owner = Arc::new(vec![1.0, 2.0, 3.0]);
        let mut numbers = Numbers::Shared(owner.clone());
        assert!(std::ptr::eq(numbers.as_ptr(), owner.as_ptr()));
        assert_eq!(numbers.heap(), 0);
        let other = numbers.clone();
        numbers[1] = 5.0;
        assert_eq!(numbers, Numbers::from(vec![1.0, 5.0, 3.0]));
        assert_eq!((&*other, &owner[..]), (&[1.0, 2.0, 3.0][..], &[1.0, 2.0, 3.0][..]));
        assert_eq!(numbers.heap(), 24);
        assert_eq!(other.into_vec(), [1.0, 2.0, 3.0]);
    }
}
