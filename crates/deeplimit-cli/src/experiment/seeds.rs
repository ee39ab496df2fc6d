//! Experiments that are repeated with several seeds: with which, and what their numbers say together.

use super::within;
use crate::page::{Claim, significant};
use std::fmt;
use std::ops::RangeInclusive;

/// The option of experiments that are repeated.
#[derive(clap::Args)]
pub struct Repeat {
    /// How many seeds to run, from --seed on [default: 5; with --quick 2, but 5 for scaling].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(2..=1000))]
    seeds: Option<u64>,
}

impl Repeat {
    /// The seeds asked for, from the first on.
    pub fn from(&self, first: u64, default: u64) -> Seeds {
        Seeds { first, count: self.seeds.unwrap_or(default) }
    }
}

/// Seeds one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    pub first: u64,
    pub count: u64,
}

impl Seeds {
    /// All of them, in order.
    pub fn all(self) -> impl Iterator<Item = u64> {
        (0..self.count).map(move |index| self.first.wrapping_add(index))
    }

    /// A claim that a number lies in a range for every seed; shown is from which value to which.
    pub fn each(
        self,
        claim: impl Into<String>,
        values: &[f64],
        range: RangeInclusive<f64>,
    ) -> Claim {
        let there = values.len() as u64 == self.count && !values.iter().any(|v| v.is_nan());
        let held = values.iter().filter(|value| range.contains(value)).count();
        let claim = within(claim, f64::NAN, range);
        Claim {
            expected: format!("{}, for every seed", claim.expected),
            measured: format!("{} ({held} of {} seeds)", spread(values), self.count),
            holds: there && held == values.len(),
            ..claim
        }
    }
}

/// From the least number to the largest, or the one there is.
pub fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::NAN, f64::min);
    let largest = values.iter().copied().fold(f64::NAN, f64::max);
    let (least, largest) = (significant(least), significant(largest));
    if least == largest { least } else { format!("{least} … {largest}") }
}

/// A mean over the seeds, and half the width of its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub mean: f64,
    pub half: f64,
}

impl Estimate {
    /// Not a number where there is not a value of every seed.
    pub fn of(values: &[f64], seeds: u64) -> Self {
        if values.len() as u64 != seeds || seeds < 2 {
            return Self { mean: f64::NAN, half: f64::NAN };
        }
        let count = seeds as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Self { mean, half: student(seeds - 1) * (variance / count).sqrt() }
    }

    /// Whether the whole interval lies in a range.
    pub fn is_in(&self, range: &RangeInclusive<f64>) -> bool {
        range.contains(&(self.mean - self.half)) && range.contains(&(self.mean + self.half))
    }

    /// A claim that the whole interval lies in a range.
    pub fn lies_in(self, claim: impl Into<String>, range: RangeInclusive<f64>) -> Claim {
        let holds = self.is_in(&range);
        let claim = within(claim, self.mean, range);
        let expected = format!("{}, with its whole interval", claim.expected);
        Claim { expected, measured: self.to_string(), holds, ..claim }
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

/// The 97.5 % quantile of Student's t (Student 1908): from the table, and for many degrees of freedom by
/// its expansion about the normal quantile (Cornish, Fisher 1938).
fn student(freedom: u64) -> f64 {
    const TABLE: [f64; 9] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];
    if let Some(value) = TABLE.get(freedom as usize - 1) {
        return *value;
    }
    let (z, n) = (1.959_964_f64, freedom as f64);
    let first = (z.powi(3) + z) / 4.0;
    let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
    let third = (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0;
    z + first / n + second / (n * n) + third / (n * n * n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_textbook() {
        // Variance 2.5 of five numbers: 2.776 √(2.5/5).
        let found = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 5.0], 5);
        assert_eq!(found.mean, 3.0);
        assert!((found.half - 1.963).abs() < 1e-3, "{found:?}");
        assert_eq!(found.to_string(), "3.00\u{a0}±\u{a0}1.96");
        assert!(found.is_in(&(1.0..=5.0)) && !found.is_in(&(1.1..=9.0)));
        assert!(!found.is_in(&(-9.0..=4.9)));
        assert!(found.lies_in("", 1.0..=5.0).holds && !found.lies_in("", 1.1..=9.0).holds);
        let all = f64::NEG_INFINITY..=f64::INFINITY;
        assert!(!Estimate::of(&[1.0; 4], 5).is_in(&all), "a seed is missing");
        for (freedom, quantile) in [(1, 12.706), (9, 2.262), (10, 2.228), (20, 2.086), (100, 1.984)]
        {
            assert!((student(freedom) - quantile).abs() < 1e-3, "{freedom}: {}", student(freedom));
        }
    }

    #[test]
    fn a_number_that_rounds_to_zero_has_no_sign() {
        assert_eq!(signed(-0.004), "0.00");
        assert_eq!(signed(-0.005001), "−0.01");
    }

    #[test]
    fn a_claim_of_every_seed_falls_with_one_of_them() {
        let seeds = Seeds { first: u64::MAX, count: 3 };
        assert_eq!(seeds.all().collect::<Vec<_>>(), [u64::MAX, 0, 1]);
        let claim = seeds.each("", &[1.0, 2.0, 3.0], 0.0..=3.0);
        assert!(claim.holds, "{claim:?}");
        assert_eq!(claim.measured, "1.00 … 3.00 (3 of 3 seeds)");
        assert_eq!(claim.expected, "0 to 3.00, for every seed");
        for bad in [&[1.0, 2.0, 3.1][..], &[1.0, 2.0], &[], &[1.0, 2.0, f64::NAN]] {
            assert!(!seeds.each("", bad, 0.0..=3.0).holds, "{bad:?}");
        }
    }
}
