//! Experiments: what the theory says, measured, with a verdict on every claim.
//!
//! An experiment is a list of *cases*, measured one after the other, and what they show together.
//! Each case is written as soon as it is measured, so an experiment that was killed goes on where it
//! stood. One file an experiment; [`folder`] is what they share.
//!
//! ```text
//! settings.json      what decides the numbers: name, size, seeds, and the experiment's own settings
//! cases.jsonl        a line a case: its key, its seconds, its rows
//! rows.csv           all rows as one table
//! findings.json      every claim with what was expected and measured
//! index.html         one self-contained page
//! figures/           its charts, an image each
//! ```

mod adjoint_order;
mod approximation;
mod depth_sweep;
mod estimate;
mod exponent;
mod failure;
mod finetune;
mod folder;
mod gamma;
mod images;
mod large_depth;
mod linear;
mod mean_ode;
mod memory;
mod regularisation;
mod scaling;
mod seeds;
mod together;
mod walks;

pub use adjoint_order::AdjointOrder;
pub use approximation::Approximation;
pub use depth_sweep::{Asked as PaperSweep, DepthSweep, Paper};
pub use estimate::Estimate;
pub use exponent::Exponent;
pub use failure::Failure;
pub use finetune::Finetune;
pub use folder::{Summary, or_infinite, run, run_over_seeds};
pub use gamma::Gamma;
pub use images::{Images, Part as ImagesPart};
pub use large_depth::LargeDepth;
pub use linear::Linear;
pub use mean_ode::MeanOde;
pub use memory::Memory;
pub use regularisation::Regularisation;
pub use scaling::Scaling;
pub use seeds::{Repeat, Seeds};

use crate::page::{Claim, Curve, Section, Stroke, Text};
use deeplimit::gradient::larger;
use serde::{Serialize, de::DeserializeOwned};
use std::path::Path;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// Under a minute on two cores, `gamma` one and a half, `images` two and a half, `finetune` three,
    /// `depth-sweep` four.
    Quick,
    /// What the book shows.
    Full,
}

impl Size {
    /// One of two values.
    pub fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// Cases that are measured one after the other, and what they show together.
pub trait Experiment {
    /// What is measured at once, in seconds to minutes.
    type Case;
    /// A line of the table of results: a flat structure.
    type Row: Serialize + DeserializeOwned;
    /// What decides the numbers beside the size and the seed.
    type Settings: Serialize;

    /// Its name on the command line.
    const NAME: &'static str;

    /// Whether the page is written after every case, because all of them take days; findings then have to do
    /// with a part of the rows.
    const AS_IT_GOES: bool = false;

    /// Heading of its page, and two sentences on what it asks.
    fn title(&self) -> (Text, Text);

    /// What decides the numbers beside the size and the seed.
    fn settings(&self) -> Self::Settings;

    /// All cases, in the order in which they are measured.
    fn cases(&self) -> Vec<Self::Case>;

    /// Whether a case is to be measured now. Those that are not, but were measured before, are shown
    /// all the same.
    fn wanted(&self, _case: &Self::Case) -> bool {
        true
    }

    /// A case's name, different from all others.
    fn key(&self, case: &Self::Case) -> String;

    /// Measures a case; `scratch` is a folder of its own that outlives a kill and goes when the case
    /// is done. It is made by whoever uses it.
    ///
    /// # Errors
    /// If it cannot be measured.
    fn measure(&self, case: &Self::Case, scratch: &Path) -> anyhow::Result<Vec<Self::Row>>;

    /// What all rows show, in the order of the cases.
    ///
    /// # Errors
    /// If a chart cannot be drawn.
    fn findings(&self, rows: &[Self::Row]) -> anyhow::Result<Findings>;
}

/// What an experiment shows.
pub struct Findings {
    /// What is claimed, and whether it holds.
    pub claims: Vec<Claim>,
    /// Figures and tables.
    pub sections: Vec<Section>,
}

/// A claim that a number lies within bounds.
pub fn within(
    claim: impl Into<String>,
    measured: f64,
    range: std::ops::RangeInclusive<f64>,
) -> Claim {
    use crate::page::significant;
    let (low, high) = (*range.start(), *range.end());
    let expected = match (low.is_finite(), high.is_finite()) {
        (true, true) => format!("{} to {}", significant(low), significant(high)),
        (true, false) => format!("at least {}", significant(low)),
        _ => format!("at most {}", significant(high)),
    };
    let (claim, holds) = (claim.into(), range.contains(&measured));
    Claim { claim, expected, measured: significant(measured), holds }
}

/// The largest of some numbers; NaN if one of them is, or there are none.
pub fn most(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().reduce(larger).unwrap_or(f64::NAN)
}

/// The smallest of some numbers, likewise.
pub fn least(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().reduce(smaller).unwrap_or(f64::NAN)
}

/// The smaller of two numbers; NaN if one of them is (`f64::min` would hide it).
pub fn smaller(a: f64, b: f64) -> f64 {
    if a < b || a.is_nan() { a } else { b }
}

/// Names the first of the dashed curves, for all of them.
pub fn name_dashes(curves: &mut [Curve], name: &'static str) {
    if let Some(first) = curves.iter_mut().find(|curve| curve.stroke == Stroke::Dashed) {
        first.name = name.into();
    }
}

/// Points on the power law of exponent `slope` through the last of `points`, at their abscissas: what
/// theory says, to be drawn dashed beside them.
pub fn power_law(points: &[(f64, f64)], slope: f64) -> Vec<(f64, f64)> {
    let Some(&(at, value)) = points.last() else { return Vec::new() };
    points.iter().map(|&(x, _)| (x, value * (x / at).powf(slope))).collect()
}
