//! An allocator that counts: bytes asked for now, and the most there were.

#![allow(dead_code, reason = "each test asks for something else")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counted. A vector that grows has its old numbers beside the new ones, as
/// `realloc` must be able to.
pub struct Counting;

#[expect(unsafe_code, reason = "an allocator is asked by unsafe calls; these pass them on")]
// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::SeqCst) + layout.size();
        MOST.fetch_max(now, Ordering::SeqCst);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}

/// What `work` gives on a pool of its own with so many threads, and the most bytes that were asked for
/// while it ran, beyond those before. The pool's threads have given back their scratch space when this
/// returns: late, it would be taken off another measurement.
pub fn peak_on<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> (T, usize) {
    let mut handles = Vec::new();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).spawn_handler(|thread| {
        handles.push(std::thread::spawn(|| thread.run()));
        Ok(())
    });
    let pool = pool.build().expect("a pool");
    settle();
    let found = peak(|| pool.install(work));
    drop(pool);
    handles.into_iter().for_each(|handle| handle.join().expect("a thread that ends"));
    found
}

/// The most bytes that there were at any time while `work` ran, with those that were there before.
pub fn most_during(work: impl FnOnce()) -> usize {
    MOST.store(NOW.load(Ordering::SeqCst), Ordering::SeqCst);
    work();
    MOST.load(Ordering::SeqCst)
}

/// Waits until threads that have nothing left to do have given back what they held: until nothing has
/// changed for ten milliseconds.
fn settle() {
    let mut quiet = 0;
    let mut last = NOW.load(Ordering::SeqCst);
    while quiet < 10 {
        std::thread::sleep(std::time::Duration::from_millis(1));
        let now = NOW.load(Ordering::SeqCst);
        quiet = if now == last { quiet + 1 } else { 0 };
        last = now;
    }
}

/// What `work` gives, and the most bytes that were asked for while it ran, beyond those before.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.load(Ordering::SeqCst);
    MOST.store(before, Ordering::SeqCst);
    let result = work();
    (result, MOST.load(Ordering::SeqCst) - before)
}
