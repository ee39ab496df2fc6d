//! Peak memory of this process.

/// Largest resident memory so far, in MB (10⁶ bytes); `None` where the system does not tell.
pub fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn peak_memory_grows_with_what_is_touched() {
        let before = super::peak_mb().expect("Linux tells it");
        let block = std::hint::black_box(vec![1u8; 64_000_000]);
        let after = super::peak_mb().expect("Linux tells it");
        assert!(after - before > 50.0, "{before} to {after} with {} bytes", block.len());
    }
}
