//! Claims, tables and figures of [`estimate`](super).

use super::{KINDS, METHODS, Mode, Row, TOLERANCES};
use crate::experiment::{Findings, most, within};
use crate::page::{
    CURVES, Claim, Curve, Figure, Frame, Part, Scale, Section, Stroke, Table, Text, significant,
};
use anyhow::Result;

/// Sums over rows.
struct Sums<'a>(Vec<&'a Row>);

impl Sums<'_> {
    fn sum(&self, value: impl Fn(&Row) -> u64) -> f64 {
        self.0.iter().map(|row| value(row)).sum::<u64>() as f64
    }

    /// One sum by another; not a number where there is nothing.
    fn share(&self, part: impl Fn(&Row) -> u64, of: impl Fn(&Row) -> u64) -> f64 {
        self.sum(part) / self.sum(of)
    }

    fn mean(&self, value: impl Fn(&Row) -> f64) -> f64 {
        self.0.iter().map(|row| value(row)).sum::<f64>() / self.sum(|row| row.all)
    }

    fn worst(&self) -> f64 {
        most(self.0.iter().map(|row| row.worst))
    }
}

/// The rows of a mode that are no points of a ROC.
fn of<'a>(rows: &'a [Row], mode: Mode, keep: impl Fn(&Row) -> bool) -> Sums<'a> {
    let own = rows.iter().filter(|row| row.threshold.is_none() && row.mode == mode.name());
    let own = own.filter(|row| row.tolerance == mode.tolerance() && keep(row));
    Sums(own.collect())
}

/// The rows of a threshold.
fn at<'a>(rows: &'a [Row], threshold: f64, keep: impl Fn(&Row) -> bool) -> Sums<'a> {
    let is = |row: &&Row| row.threshold.is_some_and(|own| (own / threshold).ln().abs() < 1e-6);
    Sums(rows.iter().filter(is).filter(|row| keep(row)).collect())
}

pub fn findings(rows: &[Row]) -> Result<Findings> {
    let curves = roc(rows)?;
    let sections = vec![
        Section {
            title: "How often the estimate is wrong".into(),
            parts: vec![Part::Table(table(rows)), Part::Table(tolerances(rows))],
        },
        Section { title: "Flagged gradients".into(), parts: vec![Part::Figures(curves)] },
    ];
    Ok(Findings { claims: claims(rows), sections })
}

fn claims(rows: &[Row]) -> Vec<Claim> {
    let within_all =
        Sums(rows.iter().filter(|row| row.threshold.is_none() && row.mode == "within").collect());
    let count = |sums: &Sums<'_>| sums.sum(|row| row.all) as u64;
    let all = |_: &Row| true;
    let judged = of(rows, Mode::Judged, all);
    let plain = of(rows, Mode::Plain, all);
    let flags = at(rows, TOLERANCES[0], all);
    let per = |claim: String, share: f64, most: f64| Claim {
        expected: format!("at most {} %", significant(100.0 * most)),
        measured: format!("{} %", significant(100.0 * share)),
        ..within(claim, share, 0.0..=most)
    };
    vec![
        per(
            format!(
                "with a tolerance t: misses, errors above 10 t, in at most 1 of 10 000 gradients; of {}",
                count(&within_all)
            ),
            within_all.share(|row| row.misses_10, |row| row.all),
            1e-4,
        ),
        per(
            "with a tolerance t: misses above 4 t".into(),
            within_all.share(|row| row.misses_4, |row| row.all),
            1e-3,
        ),
        per(
            "the estimate with the anchors of a tolerance, nothing refused: misses, errors above 4 times the estimate"
                .into(),
            judged.share(|row| row.misses_4, |row| row.count),
            1e-2,
        ),
        per(
            "and misses above 10 times".into(),
            judged.share(|row| row.misses_10, |row| row.count),
            1e-3,
        ),
        per(
            format!(
                "and false alarms, estimates above 10 times the error, of gradients off by less than {}",
                significant(TOLERANCES[0])
            ),
            judged.share(|row| row.alarms, |row| row.small),
            0.05,
        ),
        per(
            "with a tolerance t: false alarms".into(),
            within_all.share(|row| row.alarms, |row| row.small),
            0.05,
        ),
        per(
            "without a tolerance: misses above 4 times".into(),
            plain.share(|row| row.misses_4, |row| row.count),
            1e-2,
        ),
        per(
            "and false alarms".into(),
            plain.share(|row| row.alarms, |row| row.small),
            0.05,
        ),
        Claim {
            holds: flags.share(|row| row.flagged_bad, |row| row.bad) >= 0.99
                && flags.share(|row| row.flagged_good, |row| row.good) <= 0.15,
            claim: format!(
                "the estimate tells apart gradients off by more than t = {}, of which it flags nearly all, \
                 and those off by less than t/10, of which it flags few",
                significant(TOLERANCES[0])
            ),
            expected: "at least 99 % and at most 15 %".into(),
            measured: format!(
                "{} % and {} %",
                significant(100.0 * flags.share(|row| row.flagged_bad, |row| row.bad)),
                significant(100.0 * flags.share(|row| row.flagged_good, |row| row.good))
            ),
        },
    ]
}

/// Misses and false alarms of the estimate, by networks and method.
fn table(rows: &[Row]) -> Table {
    let mut lines: Vec<Vec<Text>> = Vec::new();
    let percent = |share: f64| {
        Text::from(if share.is_nan() { "–".into() } else { significant(100.0 * share) })
    };
    for kind in KINDS {
        for kinked in [false, true] {
            for method in METHODS {
                let keep = |row: &Row| {
                    row.networks == kind && row.kinked == kinked && row.method == method
                };
                let mut line: Vec<Text> = vec![
                    format!("{kind}, {}", if kinked { "relu" } else { "smooth" }).into(),
                    method.into(),
                ];
                for mode in [Mode::Plain, Mode::Judged] {
                    let own = of(rows, mode, keep);
                    line.push(percent(own.share(|row| row.misses_4, |row| row.count)));
                    line.push(percent(own.share(|row| row.misses_10, |row| row.count)));
                    line.push(percent(own.share(|row| row.alarms, |row| row.small)));
                    line.push(significant(own.worst()).into());
                }
                lines.push(line);
            }
        }
    }
    let head = [
        "networks",
        "method",
        "misses above 4 ×, no tolerance (%)",
        "above 10 × (%)",
        "false alarms (%)",
        "largest error by estimate",
        "misses above 4 ×, with anchors (%)",
        "above 10 × (%)",
        "false alarms (%)",
        "largest error by estimate",
    ];
    let caption = "Shares of the gradients that are off by more than rounding; false alarms of those off by \
                   less than 10⁻²";
    Table { caption: caption.into(), head: head.map(Text::from).to_vec(), rows: lines }
}

/// What is promised within a tolerance, and its price.
fn tolerances(rows: &[Row]) -> Table {
    let mut lines: Vec<Vec<Text>> = Vec::new();
    for method in METHODS {
        for tolerance in TOLERANCES {
            let own = of(rows, Mode::Within(tolerance), |row| row.method == method);
            let again = |kinked: bool| {
                let own =
                    of(rows, Mode::Within(tolerance), |r| r.method == method && r.kinked == kinked);
                Text::from(significant(100.0 * own.mean(|row| row.again)))
            };
            lines.push(vec![
                method.into(),
                significant(tolerance).into(),
                significant(own.worst()).into(),
                own.sum(|row| row.misses_4).to_string().into(),
                own.sum(|row| row.misses_10).to_string().into(),
                significant(own.sum(|row| row.all)).into(),
                again(false),
                again(true),
                significant(own.mean(|row| row.cost)).into(),
            ]);
        }
    }
    let head = [
        "method",
        "t",
        "largest error by t",
        "above 4 t",
        "above 10 t",
        "of gradients",
        "walked again, smooth (%)",
        "relu (%)",
        "cost",
    ];
    let caption = "Within a tolerance t";
    Table { caption: caption.into(), head: head.map(Text::from).to_vec(), rows: lines }
}

/// Which gradients are flagged as the threshold of the estimate goes down.
fn roc(rows: &[Row]) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (kinked, name) in [(false, "smooth activations"), (true, "relu")] {
        let mut curves = Vec::new();
        for (method, ink) in METHODS.into_iter().zip(CURVES) {
            let point = |power: i32| {
                let threshold = 10f64.powf(f64::from(power) / 2.0);
                let own = at(rows, threshold, |row| row.method == method && row.kinked == kinked);
                let good = own.share(|row| row.flagged_good, |row| row.good);
                let bad = own.share(|row| row.flagged_bad, |row| row.bad);
                (100.0 * good, 100.0 * bad)
            };
            let points = super::THRESHOLDS.rev().map(point);
            let points = points.filter(|(good, bad)| good.is_finite() && bad.is_finite()).collect();
            curves.push(Curve { name: method.into(), ink, stroke: Stroke::Bold, points });
        }
        let frame = Frame {
            x: "flagged of those off by less than 0.001 (%)",
            y: "flagged of those off by more than 0.01 (%)",
            across: Scale::Tight,
            scale: Scale::Linear,
            size: (520, 340),
            ..Frame::RATES
        };
        let note =
            "A point for each threshold of the estimate, 10² to 10⁻⁶ in powers of √10.".into();
        figures.push(Figure { note, ..Figure::new(format!("ROC, {name}"), &frame, &curves)? });
    }
    Ok(figures)
}
