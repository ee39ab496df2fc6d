//! Cores and their own caches: how many, how large, and asking for numbers ahead of time.

use std::cell::RefCell;
use std::sync::OnceLock;

/// Bytes of the cache that a core has to itself (the second level), as the processor tells it;
/// 1 MiB where it does not.
pub(crate) fn own_cache_bytes() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| told().filter(|bytes| *bytes >= 1 << 17).unwrap_or(1 << 20))
}

/// Cores that the process may use; one where the system does not tell.
pub(crate) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

#[cfg(target_arch = "x86_64")]
fn told() -> Option<usize> {
    use raw_cpuid::{CacheType, CpuId};
    let caches = CpuId::new().get_cache_parameters()?;
    let mut caches =
        caches.filter(|cache| cache.level() == 2 && cache.cache_type() != CacheType::Instruction);
    caches.next().map(|cache| {
        let lines = cache.sets() * cache.associativity() * cache.physical_line_partitions();
        lines * cache.coherency_line_size()
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn told() -> Option<usize> {
    None
}

/// Asks for `count` numbers to be brought into the core's own cache; nothing more happens.
#[inline(always)]
pub(crate) fn fetch<R>(from: *const R, count: usize) {
    prefetch::<R, false>(from, count);
}

/// As [`fetch`], into the fastest cache.
#[inline(always)]
pub(crate) fn fetch_near<R>(from: *const R, count: usize) {
    prefetch::<R, true>(from, count);
}

/// One instruction a line, where the processor has one.
#[inline(always)]
fn prefetch<R, const NEAR: bool>(from: *const R, count: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..count).step_by(LINE / size_of::<R>()) {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        let line = from.wrapping_add(line).cast::<i8>();
        #[expect(unsafe_code, reason = "a prefetch takes a pointer, and reads nothing")]
        // SAFETY: any address may be asked for.
        unsafe {
            if NEAR { _mm_prefetch::<_MM_HINT_T0>(line) } else { _mm_prefetch::<_MM_HINT_T1>(line) }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, count);
}

/// Stretches of memory that are asked for ahead, bit by bit.
struct Ahead {
    /// First line, and how many.
    stretches: [(*const u8, usize); MOST_STRETCHES],
    count: usize,
}

const MOST_STRETCHES: usize = 16;
/// Lines that are not too many at once.
const FEW: usize = 32;
/// Bytes of a line.
const LINE: usize = 64;

thread_local! {
    static AHEAD: RefCell<Ahead> = const {
        RefCell::new(Ahead { stretches: [(std::ptr::null(), 0); MOST_STRETCHES], count: 0 })
    };
}

/// Asks for numbers that are needed later: few at once, and of many [`bring_some`] brings some at a time,
/// while others are worked on. All at once they would be waited for.
pub(crate) fn fetch_later<R>(numbers: &[R]) {
    let stretch = (numbers.as_ptr().cast::<u8>(), size_of_val(numbers).div_ceil(LINE));
    AHEAD.with_borrow_mut(|ahead| {
        if stretch.1 <= FEW || ahead.count == MOST_STRETCHES {
            return fetch(stretch.0, stretch.1 * LINE);
        }
        ahead.stretches[ahead.count] = stretch;
        ahead.count += 1;
    });
}

/// Brings what was asked for and has not come yet.
pub(crate) fn bring_rest() {
    while bring(usize::MAX) {}
}

/// Whether something that was asked for has not come yet.
#[inline]
pub(crate) fn is_some_left() -> bool {
    AHEAD.with_borrow(|ahead| ahead.count > 0)
}

/// Brings a few lines of what was asked for.
#[inline]
pub(crate) fn bring_some() {
    bring(16);
}

/// Brings so many lines at most; whether more are left.
#[inline]
fn bring(lines: usize) -> bool {
    AHEAD.with_borrow_mut(|ahead| {
        if ahead.count == 0 {
            return false;
        }
        let (first, left) = &mut ahead.stretches[ahead.count - 1];
        let lines = lines.min(*left);
        fetch(*first, lines * LINE);
        *first = first.wrapping_add(lines * LINE);
        *left -= lines;
        if *left == 0 {
            ahead.count -= 1;
        }
        ahead.count > 0
    })
}
