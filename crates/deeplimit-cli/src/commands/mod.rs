//! The commands, one file each.

pub mod convert;
pub mod diagnose;
pub mod evaluate;
pub mod experiment;
pub mod gradcheck;
pub mod import;
pub mod info;
pub mod predict;
pub mod refine;
pub mod train;

use clap::builder::PossibleValuesParser;
use deeplimit::control::ProlongBy;
use std::io::Write;

/// The names of the ways along depth.
fn ways() -> PossibleValuesParser {
    PossibleValuesParser::new(ProlongBy::ALL.map(ProlongBy::name))
}

/// The way of that name.
fn way(name: &str) -> anyhow::Result<ProlongBy> {
    ProlongBy::named(name).ok_or_else(|| {
        let known = ProlongBy::ALL.map(ProlongBy::name).join(", ");
        anyhow::anyhow!("--by {name}: expected {known}")
    })
}

/// Depths of flows in a row.
fn listed(depths: &[usize], between: &str) -> String {
    depths.iter().map(usize::to_string).collect::<Vec<_>>().join(between)
}

/// Prints a result to standard output.
pub fn print(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
