//! Resident memory of this process, where the system tells it.

/// Value of a line of `/proc/self/status`, in MB (10⁶ bytes).
fn status(key: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: f64 =
        line.trim_start_matches(':').trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}

/// Memory resident now.
pub fn resident_mb() -> Option<f64> {
    status("VmRSS")
}

/// Largest resident memory since the last reset.
pub fn peak_mb() -> Option<f64> {
    status("VmHWM")
}

/// Starts the peak anew, where the system allows it.
pub fn reset_peak() {
    // Where it does not, the peak is that of the whole process, which is never too small.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
