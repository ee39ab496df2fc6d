//! Pieces of slices that threads write at the same time.

use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

/// Locks. Pieces that are so far apart share one.
const LOCKS: usize = 64;

/// Some slices, each cut into equally many pieces. A thread holds the i-th piece of all of them at a
/// time, behind a lock; memory for locks does not grow with the pieces, but for a byte each.
pub struct Pieces<'s, R> {
    /// Where each slice begins, and the length of its pieces.
    slices: Vec<(*mut R, usize)>,
    count: usize,
    /// Lock i guards pieces i, i + [`LOCKS`], …; and whether what they hold is still to be forgotten.
    locks: Vec<Mutex<Vec<bool>>>,
    of: PhantomData<&'s mut [R]>,
}

// SAFETY: a piece is reached by one thread at a time, with its lock held.
#[expect(unsafe_code, reason = "pointers to slices that are borrowed as a whole")]
unsafe impl<R: Send> Sync for Pieces<'_, R> {}
// SAFETY: it stands for slices that are borrowed mutably.
#[expect(unsafe_code, reason = "pointers to slices that are borrowed as a whole")]
unsafe impl<R: Send> Send for Pieces<'_, R> {}

impl<'s, R> Pieces<'s, R> {
    /// `count` pieces of each slice; what they hold means nothing if they are `stale`.
    ///
    /// # Panics
    /// If a slice cannot be cut so.
    pub fn new(slices: impl IntoIterator<Item = &'s mut [R]>, count: usize, stale: bool) -> Self {
        let cut = |slice: &'s mut [R]| {
            let length = slice.len().checked_div(count).unwrap_or(0);
            assert_eq!(slice.len(), count * length, "pieces of one length");
            (slice.as_mut_ptr(), length)
        };
        let slices = slices.into_iter().map(cut).collect();
        let guarded = |lock| (lock..count).step_by(LOCKS).map(|_| stale).collect();
        let locks = (0..LOCKS.min(count)).map(guarded).map(Mutex::new).collect();
        Self { slices, count, locks, of: PhantomData }
    }

    /// Pieces of each slice.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Length of the pieces of each slice.
    pub fn lengths(&self) -> impl Iterator<Item = usize> {
        self.slices.iter().map(|(_, length)| *length)
    }

    /// Runs `work` on piece `index` of all slices, and on nothing for those of `MOST` that are not
    /// there; and tells it whether what they hold is stale, which it is no more afterwards.
    ///
    /// A lock that is poisoned means that another thread panicked; that panic is what the user sees.
    ///
    /// # Panics
    /// If there is no such piece, or there are more slices.
    #[expect(unsafe_code, reason = "pieces are disjoint")]
    pub fn with<const MOST: usize, T>(
        &self,
        index: usize,
        work: impl FnOnce(&mut [&mut [R]; MOST], bool) -> T,
    ) -> T {
        assert!(index < self.count && self.slices.len() <= MOST, "a piece of {MOST} slices");
        let lock = &self.locks[index % LOCKS];
        let mut stale = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pieces: [&mut [R]; MOST] = std::array::from_fn(|_| Default::default());
        for (piece, (first, length)) in pieces.iter_mut().zip(&self.slices) {
            // SAFETY: the slice has `count` pieces of this length and is borrowed as long as this lives;
            // nobody else reaches this one while its lock is held.
            *piece = unsafe { std::slice::from_raw_parts_mut(first.add(index * length), *length) };
        }
        work(&mut pieces, std::mem::take(&mut stale[index / LOCKS]))
    }
}

impl<R> crate::Heap for Pieces<'_, R> {
    fn heap(&self) -> usize {
        let flags = |lock: &Mutex<Vec<bool>>| {
            lock.lock().unwrap_or_else(PoisonError::into_inner).capacity()
        };
        self.slices.capacity() * size_of::<(*mut R, usize)>()
            + self.locks.capacity() * size_of::<Mutex<Vec<bool>>>()
            + self.locks.iter().map(flags).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_to_all_pieces_and_forget_each_once() {
        for count in [0, 1, 5, LOCKS, 3 * LOCKS + 7] {
            for stale in [false, true] {
                let (mut one, mut two) = (vec![100; 3 * count], vec![200; count]);
                let pieces = Pieces::new([&mut one[..], &mut two[..]], count, stale);
                assert_eq!(pieces.lengths().collect::<Vec<_>>(), [3 * count.min(1), count.min(1)]);
                std::thread::scope(|scope| {
                    for thread in 0..4 {
                        let pieces = &pieces;
                        scope.spawn(move || {
                            for i in (0..count).map(|i| (i + 7 * thread) % count) {
                                pieces.with::<3, _>(i, |[one, two, none], fresh| {
                                    assert!(none.is_empty());
                                    if fresh {
                                        one.fill(0);
                                        two.fill(0);
                                    }
                                    one.iter_mut().for_each(|value| *value += i);
                                    two[0] += 1;
                                });
                            }
                        });
                    }
                });
                drop(pieces);
                let (first, second) = if stale { (0, 0) } else { (100, 200) };
                assert!(one.iter().enumerate().all(|(at, value)| *value == first + 4 * (at / 3)));
                assert!(two.iter().all(|value| *value == second + 4));
            }
        }
    }

    #[test]
    #[should_panic(expected = "pieces of one length")]
    fn slices_are_cut_evenly() {
        Pieces::new([&mut [0; 7][..]], 2, false);
    }
}
