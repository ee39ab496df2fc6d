//! How often the estimate of a gradient's error is wrong, over many random networks.
//!
//! Of each gradient the error against backpropagation is held against what was said of it without
//! knowing it:
//!
//! - a *miss*: the error is above 4 (or 10) times the estimate; with a tolerance, above as many times the
//!   tolerance, which is what is promised then;
//! - a *false alarm*: the estimate is above 10 times the error, of gradients that are off by less than the
//!   largest tolerance.
//!
//! Three modes: without a tolerance; *judged*, with the estimate of a tolerance (with curvature and √N
//! anchors), but nothing refused; and within a tolerance.

mod findings;
mod networks;

use super::{Experiment, Findings, Seeds, Size, or_infinite};
use crate::page::Text;
use anyhow::Result;
use deeplimit::gradient::larger;
use networks::{Found, KINDS, gradients, kinked};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The adjoints that are judged.
const METHODS: [&str; 4] =
    ["adjoint-published", "adjoint-corrected", "adjoint-learned", "adjoint-adaptive"];

const TOLERANCES: [f64; 3] = [1e-2, 1e-3, 1e-4];

/// A tolerance under which nothing is refused.
const LARGE: f64 = 1e9;

/// Errors below this are rounding, of which nothing is claimed.
const ROUNDING: f64 = 1e-11;

/// Estimates from which on a gradient is flagged: powers of √10.
const THRESHOLDS: std::ops::RangeInclusive<i32> = -12..=4;

/// How a gradient is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// Without a tolerance.
    Plain,
    /// With the estimate of a tolerance, but nothing refused.
    Judged,
    /// Within a tolerance.
    Within(f64),
}

impl Mode {
    fn all() -> Vec<Self> {
        let mut all = vec![Self::Plain, Self::Judged];
        all.extend(TOLERANCES.map(Self::Within));
        all
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Judged => "judged",
            Self::Within(_) => "within",
        }
    }

    fn tolerance(self) -> f64 {
        match self {
            Self::Within(tolerance) => tolerance,
            _ => 0.0,
        }
    }

    /// The estimate that counts: within a tolerance that is what is promised.
    fn said(self, found: &Found) -> f64 {
        match self {
            Self::Within(tolerance) => tolerance,
            _ => found.estimate,
        }
    }
}

/// How often the estimate was wrong on the networks of a kind; or, with a threshold, how often it flagged.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// Which of the repetitions.
    run: usize,
    /// The field, and whether it has kinks.
    networks: String,
    kinked: bool,
    method: String,
    /// `plain`, `judged` or `within`.
    mode: String,
    /// 0 where there is none.
    tolerance: f64,
    /// Gradients that are off by more than rounding, and of all.
    count: u64,
    all: u64,
    /// Of them, errors above 4 and above 10 times what was said; those that are not a number are both.
    misses_4: u64,
    misses_10: u64,
    /// The largest error by what was said.
    #[serde(deserialize_with = "or_infinite")]
    worst: f64,
    /// Gradients off by less than the largest tolerance, and those of them with an estimate above 10 times
    /// the error.
    small: u64,
    alarms: u64,
    /// Sums over all gradients: share walked again, and cost.
    again: f64,
    cost: f64,
    /// The estimate from which on a gradient is flagged.
    threshold: Option<f64>,
    /// Gradients off by more than the largest tolerance, and by less than a tenth of it; and how many of
    /// them are flagged.
    bad: u64,
    good: u64,
    flagged_bad: u64,
    flagged_good: u64,
}

impl Row {
    fn of(mode: Mode, found: &[Found]) -> Self {
        let mut row = Self { all: found.len() as u64, ..Self::default() };
        for one in found {
            row.again += one.again;
            row.cost += one.cost;
            if one.error <= ROUNDING {
                continue;
            }
            let said = mode.said(one);
            let above = |times: f64| u64::from(one.error.is_nan() || one.error > times * said);
            row.count += 1;
            row.misses_4 += above(4.0);
            row.misses_10 += above(10.0);
            let ratio = one.error / said;
            row.worst = larger(row.worst, ratio);
            if one.error < TOLERANCES[0] {
                row.small += 1;
                row.alarms += u64::from(one.estimate.is_nan() || one.estimate > 10.0 * one.error);
            }
        }
        row
    }

    fn flagged(threshold: f64, found: &[Found]) -> Self {
        let mut row = Self { threshold: Some(threshold), ..Self::default() };
        for one in found {
            let flagged = u64::from(one.estimate.is_nan() || one.estimate > threshold);
            if one.error.is_nan() || one.error > TOLERANCES[0] {
                row.bad += 1;
                row.flagged_bad += flagged;
            } else if one.error < 0.1 * TOLERANCES[0] {
                row.good += 1;
                row.flagged_good += flagged;
            }
        }
        row
    }
}

/// The experiment.
pub struct Estimate {
    /// Networks of a kind, for every seed.
    networks: u64,
    seeds: Seeds,
}

/// The networks of a kind, for one of the seeds.
pub struct Case {
    run: usize,
    seed: u64,
    kind: &'static str,
}

#[derive(Serialize)]
pub struct Settings {
    networks: u64,
    seeds: u64,
    tolerances: [f64; 3],
}

impl Estimate {
    /// 60 networks of every kind for a seed, or 668: with five seeds more than 10 000 in all.
    pub fn new(size: Size, seeds: Seeds) -> Self {
        Self { networks: size.pick(60, 668), seeds }
    }
}

impl Experiment for Estimate {
    type Case = Case;
    type Row = Row;
    type Settings = Settings;

    const NAME: &'static str = "estimate";

    fn title(&self) -> (Text, Text) {
        let about = format!(
            "{} random networks (mlps, convolutions, convolutions with batch normalisation; half of them \
             with kinks), four adjoints, without a tolerance and with three: how often is a gradient's error \
             far above what was said of it, and how often far below?",
            self.networks * self.seeds.count * KINDS.len() as u64
        );
        ("Misses and false alarms of the error estimate".into(), about.into())
    }

    fn settings(&self) -> Settings {
        Settings { networks: self.networks, seeds: self.seeds.count, tolerances: TOLERANCES }
    }

    fn cases(&self) -> Vec<Case> {
        let runs = self.seeds.all().enumerate();
        runs.flat_map(|(run, seed)| KINDS.map(|kind| Case { run, seed, kind })).collect()
    }

    fn key(&self, case: &Case) -> String {
        format!("seed {}, {}", case.seed, case.kind)
    }

    fn measure(&self, case: &Case, _scratch: &Path) -> Result<Vec<Row>> {
        let of = |index: u64| (kinked(index), gradients(case.kind, index, case.seed));
        let found: Vec<(bool, Vec<Found>)> = (0..self.networks).into_par_iter().map(of).collect();
        let mut rows = Vec::new();
        for with_kinks in [false, true] {
            for method in METHODS {
                for mode in Mode::all() {
                    let own = found.iter().filter(|(kinked, _)| *kinked == with_kinks);
                    let own = own.flat_map(|(_, found)| found);
                    let is = |one: &&Found| one.method == method && one.mode == mode;
                    let own: Vec<Found> = own.filter(is).copied().collect();
                    let mut all = vec![Row::of(mode, &own)];
                    if mode == Mode::Judged {
                        let thresholds = THRESHOLDS.map(|power| 10f64.powf(f64::from(power) / 2.0));
                        all.extend(thresholds.map(|threshold| Row::flagged(threshold, &own)));
                    }
                    rows.extend(all.into_iter().map(|row| Row {
                        run: case.run,
                        networks: case.kind.to_owned(),
                        kinked: with_kinks,
                        method: method.to_owned(),
                        mode: mode.name().to_owned(),
                        tolerance: mode.tolerance(),
                        ..row
                    }));
                }
            }
        }
        Ok(rows)
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        findings::findings(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(rows: &[Row]) -> Vec<String> {
        let claims = findings::findings(rows).expect("findings").claims;
        claims.into_iter().filter(|claim| !claim.holds).map(|claim| claim.claim).collect()
    }

    /// What the claims say of the same networks where another estimate is made of the true one.
    #[test]
    fn claims_hold_and_fail_for_estimates_that_say_nothing() {
        let mut found = Vec::new();
        for kind in KINDS {
            let of = |index: u64| (kinked(index), kind, gradients(kind, index, 5));
            found.extend((0..120).into_par_iter().map(of).collect::<Vec<_>>());
        }
        let judge = |estimate: fn(&Found) -> f64, error: fn(&Found) -> f64| {
            let mut rows = Vec::new();
            for with_kinks in [false, true] {
                for mode in Mode::all() {
                    for method in METHODS {
                        let own = found.iter().filter(|(kinked, ..)| *kinked == with_kinks);
                        let own = own.flat_map(|(.., found)| found);
                        let own = own.filter(|one| one.method == method && one.mode == mode);
                        let own = own.map(|one| Found {
                            estimate: estimate(one),
                            error: error(one),
                            ..*one
                        });
                        let own: Vec<Found> = own.collect();
                        let row = Row::of(mode, &own);
                        let flagged = THRESHOLDS
                            .map(|power| Row::flagged(10f64.powf(f64::from(power) / 2.0), &own));
                        let named = |row: Row| Row {
                            networks: "mlp".into(),
                            kinked: with_kinks,
                            method: method.into(),
                            mode: mode.name().into(),
                            tolerance: mode.tolerance(),
                            ..row
                        };
                        rows.push(named(row));
                        if mode == Mode::Judged {
                            rows.extend(flagged.map(named));
                        }
                    }
                }
            }
            failing(&rows)
        };
        let error: fn(&Found) -> f64 = |found| found.error;
        assert_eq!(judge(|found| found.estimate, error), [""; 0]);
        let missed = |claims: &[String]| claims.iter().any(|claim| claim.contains("misses"));
        let alarmed = |claims: &[String]| claims.iter().any(|claim| claim.contains("false alarms"));
        let zero = judge(|_| 0.0, error);
        assert!(missed(&zero), "always zero: {zero:?}");
        let infinite = judge(|_| f64::INFINITY, error);
        assert!(alarmed(&infinite), "always infinite: {infinite:?}");
        let constant = judge(|_| 1e-2, error);
        assert!(missed(&constant) && alarmed(&constant), "constant: {constant:?}");
        let tells = |claims: &[String]| claims.iter().any(|claim| claim.contains("tells apart"));
        for claims in [&zero, &infinite, &constant] {
            assert!(tells(claims), "{claims:?}");
        }
        // Gradients that a tolerance does not hold.
        let loose = judge(|found| found.estimate, |found| 100.0 * found.error.max(1e-3));
        assert!(loose.iter().any(|claim| claim.contains("with a tolerance")), "{loose:?}");
        let nothing = findings::findings(&[]).expect("findings").claims;
        assert!(nothing.iter().all(|claim| !claim.holds), "nothing measured is no success");
    }
}
