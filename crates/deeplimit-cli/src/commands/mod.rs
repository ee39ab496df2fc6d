//! The commands, one file each.

pub mod convert;
pub mod diagnose;
pub mod evaluate;
pub mod experiment;
pub mod gradcheck;
pub mod import;
pub mod info;
pub mod refine;
pub mod train;

use std::io::Write;

/// Depths of flows in a row.
fn listed(depths: &[usize], between: &str) -> String {
    depths.iter().map(usize::to_string).collect::<Vec<_>>().join(between)
}

/// Prints a result to standard output.
pub fn print(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
