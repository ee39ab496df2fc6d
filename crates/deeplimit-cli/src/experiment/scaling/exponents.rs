//! Exponents of a family of networks, with confidence intervals from its repetitions.

use super::{Row, SEEDS};
use crate::page::significant;
use deeplimit::limit::{DepthSlopes, Regime, Slope};
use std::fmt;

/// The 97.5 % quantile of Student's t with as many degrees of freedom as seeds less one (Student 1908).
const STUDENT: f64 = 2.776;
const _: () = assert!(SEEDS == 5, "STUDENT is of four degrees of freedom");

/// Exponents are fitted from this depth on, where the rule of [`Regime`] was found; below, terms of
/// higher order show.
pub const FIT_FROM: usize = 32;

/// A mean over the seeds, and half the width of its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub mean: f64,
    pub half: f64,
}

impl Estimate {
    /// Not a number where there is not a value of every seed.
    pub fn of(values: &[f64]) -> Self {
        if values.len() as u64 != SEEDS {
            return Self { mean: f64::NAN, half: f64::NAN };
        }
        let count = SEEDS as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self { mean, half: STUDENT * (variance / count).sqrt() }
    }

    /// Whether the whole interval lies in a range.
    pub fn is_in(&self, range: &std::ops::RangeInclusive<f64>) -> bool {
        range.contains(&(self.mean - self.half)) && range.contains(&(self.mean + self.half))
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mean.is_nan() {
            true => f.write_str(&significant(self.mean)),
            false => write!(f, "{}\u{a0}±\u{a0}{:.2}", signed(self.mean), self.half),
        }
    }
}

/// Two decimals, without a minus before a zero.
fn signed(value: f64) -> String {
    let text = format!("{value:.2}");
    match text.strip_prefix('-') {
        Some("0.00") => "0.00".into(),
        Some(digits) => format!("−{digits}"),
        None => text,
    }
}

/// Networks of all depths and seeds, before or after training.
pub struct Family<'r> {
    pub rows: Vec<&'r Row>,
}

impl Family<'_> {
    /// The rows of every seed that exponents are fitted to, from shallow to deep.
    fn seeds(&self) -> Vec<Vec<&Row>> {
        let fitted = |row: &&Row| row.layers >= FIT_FROM;
        let fitted: Vec<&Row> = self.rows.iter().copied().filter(fitted).collect();
        let of = |network| fitted.iter().copied().filter(|row| row.network == network).collect();
        (0..SEEDS).map(of).filter(|rows: &Vec<&Row>| !rows.is_empty()).collect()
    }

    /// The slopes of every seed.
    pub fn slopes(&self) -> Vec<DepthSlopes> {
        let fit = |rows: Vec<&Row>| {
            let features: Vec<_> = rows.iter().map(|row| row.features()).collect();
            DepthSlopes::fit(&features).ok()
        };
        self.seeds().into_iter().filter_map(fit).collect()
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
        Estimate::of(&self.seeds().iter().map(slope).collect::<Vec<_>>())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_textbook() {
        // Variance 2.5 of five numbers: 2.776 √(2.5/5).
        let found = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(found.mean, 3.0);
        assert!((found.half - 1.963).abs() < 1e-3, "{found:?}");
        assert_eq!(found.to_string(), "3.00\u{a0}±\u{a0}1.96");
        assert!(found.is_in(&(1.0..=5.0)) && !found.is_in(&(1.1..=9.0)));
        assert!(!found.is_in(&(-9.0..=4.9)));
        let none = Estimate::of(&[1.0; 4]);
        assert!(!none.is_in(&(f64::NEG_INFINITY..=f64::INFINITY)), "a seed is missing");
    }

    #[test]
    fn a_number_that_rounds_to_zero_has_no_sign() {
        assert_eq!(signed(-0.004), "0.00");
        assert_eq!(signed(-0.005001), "−0.01");
    }
}
