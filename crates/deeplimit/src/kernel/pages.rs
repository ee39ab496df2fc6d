//! Large pages for large arrays.

/// Bytes from which it pays.
const LARGE: usize = 1 << 22;

/// Asks the system to hold a large array in large pages, whose addresses processors find faster: those that
/// are written for the first time later, and, where they are `filled`, those that it has, one after the
/// other in place. It is a wish, which not every system knows or grants.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a system call")]
pub(crate) fn large_pages<R>(array: &mut [R], filled: bool) {
    /// Of Linux 6.1 and later.
    const COLLAPSE: libc::c_int = 25;
    let bytes = size_of_val(array);
    if bytes < LARGE {
        return;
    }
    let first = array.as_mut_ptr().cast::<u8>();
    // The system's pages may be larger than this, and it then refuses.
    let aligned = first.align_offset(4096);
    let first = first.wrapping_add(aligned).cast();
    // SAFETY: these change how the system holds the array's memory, and never what is in it.
    unsafe {
        libc::madvise(first, bytes - aligned, libc::MADV_HUGEPAGE);
        if filled {
            libc::madvise(first, bytes - aligned, COLLAPSE);
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn large_pages<R>(_array: &mut [R], _filled: bool) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_an_array_stays() {
        for length in [0, 3, LARGE / 4 - 1, LARGE / 4 + 5, LARGE] {
            let mut zeros = vec![0u32; length];
            large_pages(&mut zeros, false);
            assert!(zeros.iter().all(|value| *value == 0));
            let mut numbers: Vec<u32> = (0..length as u32).collect();
            large_pages(&mut numbers[length.min(1)..], true);
            assert!(numbers.iter().enumerate().all(|(at, value)| *value as usize == at));
        }
    }
}
