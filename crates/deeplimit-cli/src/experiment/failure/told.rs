//! Rows that are asked for together, and what was said about their gradients.

use super::{Row, TOLERANCE};
use crate::experiment::{most, within};
use crate::page::{Claim, significant};

/// Rows that are asked for together.
#[derive(Clone)]
pub struct Rows<'a>(pub Vec<&'a Row>);

impl<'a> Rows<'a> {
    pub fn of(rows: &'a [Row], failure: &str) -> Self {
        Self(rows.iter().filter(|row| row.failure == failure).collect())
    }

    pub fn variant(&self, variant: &str) -> Self {
        self.only(|row| row.variant == variant)
    }

    pub fn method(&self, method: &str) -> Self {
        self.only(|row| row.method == method)
    }

    pub fn only(&self, keep: impl Fn(&Row) -> bool) -> Self {
        Self(self.0.iter().copied().filter(|row| keep(row)).collect())
    }

    /// The largest value; not a number where one of them is.
    pub fn largest(&self, value: impl Fn(&Row) -> f64) -> f64 {
        most(self.0.iter().map(|row| value(row)))
    }

    pub fn least(&self, value: impl Fn(&Row) -> f64) -> f64 {
        -self.largest(|row| -value(row))
    }

    /// The share of them of which something is so; not a number where there are none.
    pub fn share(&self, is: impl Fn(&Row) -> bool) -> f64 {
        self.0.iter().filter(|row| is(row)).count() as f64 / self.0.len() as f64
    }

    pub fn points(&self, x: impl Fn(&Row) -> f64, y: impl Fn(&Row) -> f64) -> Vec<(f64, f64)> {
        let mut points: Vec<(f64, f64)> = self.0.iter().map(|row| (x(row), y(row))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    }

    /// Those of the first seed, which figures show.
    pub fn first(&self) -> Self {
        self.only(|row| row.run == 0)
    }

    pub fn deepest(&self) -> Self {
        let depth = self.0.iter().map(|row| row.depth).max();
        self.only(|row| Some(row.depth) == depth)
    }
}

/// The estimate by the error, which is at most 1: a lost gradient, and larger errors are as much. Not a number is
/// within nothing, and so flags.
pub fn told(row: &Row, error: f64) -> f64 {
    let estimate = if row.estimate.is_nan() { f64::INFINITY } else { row.estimate };
    estimate / if error <= 1.0 { error } else { 1.0 }
}

/// That failures are flagged: wherever the gradient (or its worst layer) is off by more than the tolerance, the
/// estimate is at least a quarter of its error, in 99 of 100 gradients.
pub fn flagged(what: &str, rows: &Rows<'_>, error: fn(&Row) -> f64) -> Claim {
    let failed = rows.only(|row| error(row).is_nan() || error(row) > TOLERANCE);
    let found = failed.only(|row| told(row, error(row)) >= 0.25);
    let least = failed.least(|row| told(row, error(row)));
    let (count, flagged) = (failed.0.len(), found.0.len());
    Claim {
        claim: format!(
            "{what}: failures are flagged; where the gradient is off by more than the tolerance, the \
             estimate e₀ + D (+ K) is at least a quarter of the error (at most 1)"
        ),
        expected: "in at least 99 of 100".into(),
        measured: match count {
            0 => "no gradient failed".into(),
            _ => format!(
                "in {flagged} of {count} gradients that failed; the least estimate is {} of the error",
                significant(least)
            ),
        },
        holds: count > 0 && 100 * flagged >= 99 * count,
    }
}

/// That gradients that are right are not flagged.
pub fn quiet(what: &str, rows: &Rows<'_>) -> Claim {
    let right = rows.only(|row| row.gradient_error < TOLERANCE && row.gradient_error > 1e-11);
    let alarms =
        right.only(|row| row.estimate.is_nan() || row.estimate > 10.0 * row.gradient_error).0.len();
    let count = right.0.len();
    Claim {
        claim: format!(
            "{what}: few false alarms; where the gradient is off by less than the tolerance, the estimate is at \
             most 10 times the error"
        ),
        expected: "in at least 95 of 100".into(),
        measured: format!("in {} of {count}", count - alarms),
        holds: count > 0 && 20 * alarms <= count,
    }
}

/// That every gradient within the tolerance is.
pub fn repaired(what: &str, rows: &Rows<'_>) -> Claim {
    let most = rows.largest(|row| row.repaired_error / TOLERANCE);
    let claim =
        format!("{what}: within the tolerance t = 10⁻³ every gradient is off by at most 4 t");
    let again = rows.0.iter().filter(|row| row.again > 0.0).count();
    Claim {
        measured: format!(
            "at most {} t over {} gradients, in {again} of which layers were walked again",
            significant(most),
            rows.0.len()
        ),
        ..within(claim, most, 0.0..=4.0)
    }
}

/// The value in the middle.
pub fn median(rows: &Rows<'_>, value: impl Fn(&Row) -> f64) -> f64 {
    let mut values: Vec<f64> = rows.0.iter().map(|row| value(row)).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
