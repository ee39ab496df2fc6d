//! Memory of this process: what the system gave it at most, and what is allocated, byte by byte.

use peak_alloc::PeakAlloc;

/// Counts every allocation of the program and passes it on to the system.
#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// What `work` returns, and the most bytes that it had allocated at any time, those that were
/// allocated before it not counted. Allocations of other threads count as its own, so nothing else may
/// run meanwhile; what threads keep for themselves counts only where it is allocated anew, so `work`
/// runs in a thread of its own.
pub fn peak_of<T: Send>(work: impl FnOnce() -> T + Send) -> (T, usize) {
    // Starting a thread allocates in the thread that starts it, so the work waits for the end of that.
    let started = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        let counted = scope.spawn(|| {
            started.wait();
            let before = ALLOCATED.current_usage();
            ALLOCATED.reset_peak_usage();
            let result = work();
            (result, ALLOCATED.peak_usage() - before)
        });
        started.wait();
        counted.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// [`peak_of`] with one thread for everything: parallel work has no other, so that the bytes do not depend
/// on the machine's cores.
///
/// # Errors
/// If the system gives no thread.
pub fn peak_on_one_thread<T: Send>(
    work: impl FnOnce() -> T + Send,
) -> Result<(T, usize), rayon::ThreadPoolBuildError> {
    let (result, bytes) = peak_of(|| {
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1);
        alone.build_scoped(rayon::ThreadBuilder::run, |pool| pool.install(work))
    });
    Ok((result?, bytes))
}

/// Largest resident memory so far, in MB (10⁶ bytes); `None` where the system does not tell.
pub fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}

/// Milliseconds that this thread has spent on a core; `None` where the system does not tell. Unlike
/// those of the clock they do not grow with what else the machine does.
pub fn thread_milliseconds() -> Option<f64> {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = times.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e6)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn peak_memory_grows_with_what_is_touched() {
        // More than the other tests of this process have had at any time.
        let before = super::peak_mb().expect("Linux tells it");
        let block = std::hint::black_box(vec![1u8; 1_000_000 * (before as usize + 64)]);
        let after = super::peak_mb().expect("Linux tells it");
        assert!(after > before + 50.0, "{before} to {after} with {} bytes", block.len());
    }
}
