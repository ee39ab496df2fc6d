//! A core's own cache: its size, and asking for numbers ahead of time.

use std::sync::OnceLock;

/// Bytes of the cache that a core has to itself (the second level), as the processor tells it;
/// 1 MiB where it does not.
pub(crate) fn own_cache_bytes() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| told().filter(|bytes| *bytes >= 1 << 17).unwrap_or(1 << 20))
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

/// Asks for `count` numbers to be brought near; nothing more happens.
#[inline(always)]
pub(crate) fn fetch<R>(from: *const R, count: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..count).step_by(64 / size_of::<R>()) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        #[expect(unsafe_code, reason = "a prefetch takes a pointer, and reads nothing")]
        // SAFETY: any address may be asked for.
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(from.wrapping_add(line).cast::<i8>());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, count);
}
