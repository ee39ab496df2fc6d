//! Exponents of a family of networks, with confidence intervals from its repetitions.

use super::Row;
use crate::experiment::Seeds;
use crate::experiment::seeds::Estimate;
use deeplimit::limit::{DepthSlopes, Regime, Slope};

/// Exponents are fitted from this depth on, where the rule of [`Regime`] was found; below, terms of
/// higher order show.
pub const FIT_FROM: usize = 32;

/// Networks of all depths and seeds, before or after training.
pub struct Family<'r> {
    pub rows: Vec<&'r Row>,
    pub seeds: Seeds,
}

impl Family<'_> {
    /// The rows of every seed that exponents are fitted to, from shallow to deep.
    fn fitted(&self) -> Vec<Vec<&Row>> {
        let fitted = |row: &&Row| row.layers >= FIT_FROM;
        let fitted: Vec<&Row> = self.rows.iter().copied().filter(fitted).collect();
        let of = |network| fitted.iter().copied().filter(|row| row.network == network).collect();
        (0..self.seeds.count).map(of).filter(|rows: &Vec<&Row>| !rows.is_empty()).collect()
    }

    /// The slopes of every seed.
    pub fn slopes(&self) -> Vec<DepthSlopes> {
        let fit = |rows: Vec<&Row>| {
            let features: Vec<_> = rows.iter().map(|row| row.features()).collect();
            DepthSlopes::fit(&features).ok()
        };
        self.fitted().into_iter().filter_map(fit).collect()
    }

    /// The share of the seeds whose networks are of a regime; not a number without networks.
    pub fn share(&self, regime: Regime) -> f64 {
        let slopes = self.slopes();
        let count = slopes.iter().filter(|slopes| slopes.regime() == regime).count();
        count as f64 / slopes.len() as f64
    }

    /// The regimes of the seeds: `smooth ODE`, or `smooth ODE 3, Hölder ODE 2`.
    pub fn regimes(&self) -> String {
        let slopes = self.slopes();
        let found = |regime: &Regime| {
            let count = slopes.iter().filter(|slopes| slopes.regime() == *regime).count();
            (*regime, count)
        };
        let all: Vec<_> = Regime::ALL.iter().map(found).filter(|(_, count)| *count > 0).collect();
        match all[..] {
            [(regime, _)] => regime.to_string(),
            _ => all.iter().map(|(r, count)| format!("{r} {count}")).collect::<Vec<_>>().join(", "),
        }
    }

    /// The exponent in N of a number of the rows.
    pub fn exponent(&self, value: impl Fn(&Row) -> f64) -> Estimate {
        let slope = |rows: &Vec<&Row>| {
            let points = rows.iter().map(|row| (row.layers as f64, value(row)));
            Slope::fit(&points.collect::<Vec<_>>()).value
        };
        Estimate::of(&self.fitted().iter().map(slope).collect::<Vec<_>>(), self.seeds.count)
    }

    /// (depth, geometric mean over the seeds).
    pub fn over_depth(&self, value: impl Fn(&Row) -> f64) -> Vec<(f64, f64)> {
        let mut depths: Vec<usize> = self.rows.iter().map(|row| row.layers).collect();
        depths.sort_unstable();
        depths.dedup();
        let at = |depth: usize| {
            let rows = self.rows.iter().filter(|row| row.layers == depth);
            let logs: Vec<f64> = rows.map(|row| value(row).ln()).collect();
            (depth as f64, (logs.iter().sum::<f64>() / logs.len() as f64).exp())
        };
        depths.into_iter().map(at).collect()
    }

    /// A number of the deepest networks, geometric mean over the seeds.
    pub fn deepest(&self, value: impl Fn(&Row) -> f64) -> f64 {
        self.over_depth(value).last().map_or(f64::NAN, |point| point.1)
    }
}
