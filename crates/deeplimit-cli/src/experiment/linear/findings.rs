//! What the descents show: bounds and slopes over depth. [`figures`](super::figures) draws them.

use super::{DRAWN_DEPTHS, DRAWN_LOSS, DRAWN_WIDTHS, RECORDED, Row, Start};
use crate::experiment::within;
use crate::page::{Claim, significant};
use deeplimit::gradient::larger;
use deeplimit::limit::Slope;
use deeplimit::objective::linear::Guarantee;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// Slopes over depth are fitted from this depth on.
pub(super) const FIT_FROM: usize = 32;

/// Distances below are left out of slopes: they are differences of numbers of size 1 in double
/// precision.
const ROUNDING: f64 = 1e-11;

/// All rows, and the depths of the experiment.
pub struct Measured<'a> {
    pub rows: &'a [Row],
    pub depths: &'a [usize],
    pub shown: usize,
}

/// One of a row's numbers.
pub(super) type Column = fn(&Row) -> Option<f64>;

pub(super) const SMOOTH: [Start; 2] = [Start::Zero, Start::Smooth];
/// Those with a limit beside them.
const LIMITED: [Start; 3] = [Start::Certified, Start::Zero, Start::Smooth];
const PAPER: &str = "Sander, Ablin, Peyré (2022), section 3: small initial loss";
const OUTSIDE: &str = "our own: the initial loss is too large for their theorem";
const CONSTANTS: &str = "our own constants, for gradient flow";
const AVERAGED: &str = "our own: jumps in depth average out, (2e^L − 1) C/N";

/// Who says so.
fn source(start: Start) -> &'static str {
    if start == Start::Certified { PAPER } else { OUTSIDE }
}

/// The start in a claim.
fn told(start: Start) -> String {
    match start {
        Start::Certified => "B within 1/(3e) of the identity".into(),
        start => format!("from {} weights", start.name()),
    }
}

impl Measured<'_> {
    /// Rows that are no weights.
    pub(super) fn of(&self, start: Start) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.start == start && row.layer.is_none())
    }

    /// (N, geometric mean over the descents) at one time.
    pub(super) fn over_depth(&self, start: Start, steps: usize, column: Column) -> Vec<(f64, f64)> {
        let depths: BTreeSet<usize> = self.of(start).map(|row| row.layers).collect();
        let at = |layers: usize| {
            let rows = self.of(start).filter(|row| row.layers == layers && row.steps == steps);
            Some((layers as f64, mean(rows.filter_map(column))?))
        };
        depths.into_iter().filter_map(at).collect()
    }

    /// (N, largest N ‖θ_{n+1} − θ_n‖ at any time), geometric means over the descents.
    pub(super) fn steepest(&self, start: Start) -> Vec<(f64, f64)> {
        let at = |layers: &usize| {
            let mut most = BTreeMap::new();
            for row in self.of(start).filter(|row| row.layers == *layers) {
                let most: &mut f64 = most.entry(row.network).or_default();
                *most = most.max(row.scaled_increment);
            }
            Some((*layers as f64, mean(most.into_values())?))
        };
        self.depths.iter().filter_map(at).collect()
    }

    /// (GD time, geometric mean over the descents) of the deepest networks.
    pub(super) fn over_time(&self, start: Start, column: Column) -> Vec<(f64, f64)> {
        let deepest = self.depths.last().copied().unwrap_or(0);
        let at = |steps: usize| {
            let rows = || self.of(start).filter(|row| row.layers == deepest && row.steps == steps);
            Some((rows().next()?.time, mean(rows().filter_map(column))?))
        };
        RECORDED.into_iter().filter_map(at).collect()
    }

    /// The guarantees of each descent that ρ = max ‖θ_n‖₂ over its time gives, with its rows.
    pub(super) fn guarantees(&self, start: Start) -> Vec<(Guarantee, Vec<&Row>)> {
        let mut found: Vec<(Guarantee, Vec<&Row>)> = Vec::new();
        for row in self.of(start).filter(|row| row.steps == 0) {
            let same = |other: &&Row| (other.layers, other.network) == (row.layers, row.network);
            let rows: Vec<&Row> = self.of(start).filter(same).collect();
            let radius = rows.iter().map(|row| row.largest_weight).fold(0.0, f64::max);
            let guarantee = Guarantee {
                // What ‖B − I‖ ≤ 1/(3e) guarantees, whatever was measured.
                radius: if start == Start::Certified { 1.0 / 3.0 } else { radius },
                initial_loss: row.loss,
                initial_increment: row.scaled_increment,
            };
            found.push((guarantee, rows));
        }
        found
    }

    /// The largest of a number over its bound, over all rows of a start.
    fn largest_share(&self, start: Start, share: fn(&Guarantee, &Row) -> f64) -> f64 {
        let all = self.guarantees(start);
        // At the start the two are the same.
        let shares = all
            .iter()
            .flat_map(|(g, rows)| rows.iter().filter(|row| row.steps > 0).map(|row| share(g, row)));
        // A loss that is not a number is not below its bound.
        shares.reduce(larger).unwrap_or(f64::NAN)
    }

    /// The fitted exponents at all times at which a distance is not zero, as (smallest, largest).
    fn exponents(&self, start: Start, column: Column) -> (f64, f64) {
        let mut range = (f64::NAN, f64::NAN);
        for steps in RECORDED {
            let slope = self.exponent(start, steps, column);
            range = (slope.min(range.0), slope.max(range.1));
        }
        range
    }

    /// The fitted exponent at one time; not a number where a descent's distance is too small to be told: a mean
    /// would hide it.
    pub(super) fn exponent(&self, start: Start, steps: usize, column: Column) -> f64 {
        let mut points = self.over_depth(start, steps, column);
        points.retain(|(layers, _)| *layers >= FIT_FROM as f64);
        let mut rows = self.of(start).filter(|row| row.steps == steps && row.layers >= FIT_FROM);
        if rows.any(|row| column(row).is_some_and(|distance| distance < ROUNDING)) {
            return f64::NAN;
        }
        Slope::fit(&points).value
    }

    pub fn claims(&self) -> Vec<Claim> {
        let mut claims = self.guaranteed();
        for start in LIMITED {
            claims.extend(self.uniform(start));
        }
        for start in LIMITED {
            let columns: [(&str, Column); 3] = [
                ("states to the ODE of the own weights", |row| Some(row.ode_distance)),
                ("weights to their limit", |row| row.weight_distance),
                ("map to its limit", |row| row.map_distance),
            ];
            for (what, column) in columns {
                let what = format!("{}, distance of {what}", told(start));
                claims.push(self.rate(what, source(start), start, column, -1.1..=-0.9));
            }
        }
        claims.extend(self.drawn());
        claims.extend(self.contrast());
        claims
    }

    /// A claim on the exponents of N at all times.
    fn rate(
        &self,
        what: String,
        source: &str,
        start: Start,
        column: Column,
        range: RangeInclusive<f64>,
    ) -> Claim {
        let (low, high) = self.exponents(start, column);
        let (least, most) = range.into_inner();
        Claim {
            claim: format!("{what}: exponents of N at all times ({source})"),
            expected: format!("{} to {}", significant(least), significant(most)),
            measured: format!("{} to {}", significant(low), significant(high)),
            holds: low >= least && high <= most,
        }
    }

    /// Bounds with constants.
    fn guaranteed(&self) -> Vec<Claim> {
        let mut claims = vec![within(
            "B within 1/(3e) of the identity: max_n ‖θ_n‖₂ at any depth and time, at most ρ = 1/3 \
             (‖θ_n(t)‖ ≤ e^{3ρ} √ℓ(0); our own constants)",
            self.of(Start::Certified).map(|row| row.largest_weight).fold(f64::NAN, f64::max),
            0.0..=1.0 / 3.0,
        )];
        for start in LIMITED {
            let name = told(start);
            let rho = match start {
                Start::Certified => "ρ = 1/3",
                _ => "the largest ‖θ_n‖₂ as ρ",
            };
            claims.push(within(
                format!(
                    "{name}: loss over its bound ℓ(0) exp(−4e^{{−2ρ}} t) with {rho}, the largest \
                         at any depth and time ({CONSTANTS})"
                ),
                self.largest_share(start, |g, row| row.loss / g.loss(row.time)),
                0.0..=1.0 + 1e-12,
            ));
            claims.push(within(
                format!(
                    "{name}: N max ‖θ_(n+1) − θ_n‖ over its bound, its start + 2ρe^{{3ρ}} √ℓ(0) \
                         with {rho}, the largest at any depth and time ({CONSTANTS})"
                ),
                self.largest_share(start, |g, row| row.scaled_increment / g.scaled_increment()),
                0.0..=1.0 + 1e-12,
            ));
        }
        claims
    }

    /// Smoothness, the same at all depths and times.
    fn uniform(&self, start: Start) -> Vec<Claim> {
        let (name, source) = (told(start), source(start));
        let late = self.over_time(start, |row| Some(row.scaled_increment));
        let last = late.last().map_or(f64::NAN, |point| point.1);
        let third = late.last().map_or(0.0, |point| point.0 / 3.0);
        let before = late.iter().rev().find(|point| point.0 <= third + 1e-9);
        vec![
            within(
                format!(
                    "{name}: exponent of N of the largest N max ‖θ_(n+1) − θ_n‖ at any time \
                         ({source})"
                ),
                Slope::fit(&self.steepest(start)).value,
                -0.1..=0.1,
            ),
            within(
                format!(
                    "{name}: N max ‖θ_(n+1) − θ_n‖ at the end of training over that after a \
                         third of it ({source})"
                ),
                last / before.map_or(f64::NAN, |point| point.1),
                0.0..=1.1,
            ),
        ]
    }

    /// Rows of figure 2 of one width, without those of weights.
    pub(super) fn of_drawn(&self, network: usize) -> impl Iterator<Item = &Row> {
        self.of(Start::Drawn).filter(move |row| row.network == network)
    }

    /// Figure 2, for both widths.
    fn drawn(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        for (network, width) in DRAWN_WIDTHS.into_iter().enumerate() {
            let of = |layers: usize| -> Vec<&Row> {
                self.of_drawn(network).filter(|row| row.layers == layers).collect()
            };
            let last = |layers| of(layers).last().map_or(f64::INFINITY, |row| row.loss);
            let losses = DRAWN_DEPTHS.map(last);
            let is_small = losses.iter().all(|loss| *loss <= DRAWN_LOSS);
            let worst =
                if is_small { losses.into_iter().fold(0.0, f64::max) } else { f64::INFINITY };
            claims.push(within(
                format!(
                    "B the identity and Gaussian numbers, of determinant ½ at least, width {width}: the last loss (figure 2)"
                ),
                worst,
                0.0..=DRAWN_LOSS,
            ));
            let steepest = |layers| {
                let most = of(layers).into_iter().map(|row| row.scaled_increment);
                (layers as f64, most.fold(f64::NAN, f64::max))
            };
            let points = DRAWN_DEPTHS.map(steepest);
            claims.push(within(
                format!(
                    "B the identity and Gaussian numbers, of determinant ½ at least, width {width}: exponent of N of the largest \
                     N max ‖θ_(n+1) − θ_n‖ at any time (figure 2; {OUTSIDE})"
                ),
                Slope::fit(&points).value,
                -0.1..=0.1,
            ));
        }
        claims
    }

    /// Starts without a limit.
    fn contrast(&self) -> Vec<Claim> {
        let ode: Column = |row| Some(row.ode_distance);
        vec![
            within(
                "from independent weights: exponent of N of the largest N max ‖θ_(n+1) − θ_n‖ at any \
                 time, 1: no limit for the weights",
                Slope::fit(&self.steepest(Start::Independent)).value,
                0.75..=1.25,
            ),
            within(
                format!(
                    "from independent weights: loss over its bound ℓ(0) exp(−4e^{{−2ρ}} t) with the largest \
                     ‖θ_n‖₂ as ρ, the largest at any depth and time ({CONSTANTS}; they know no smoothness)"
                ),
                self.largest_share(Start::Independent, |g, row| row.loss / g.loss(row.time)),
                0.0..=1.0 + 1e-12,
            ),
            self.rate(
                "from independent weights, distance of states to the ODE of the own weights".into(),
                AVERAGED,
                Start::Independent,
                ode,
                -1.25..=-0.75,
            ),
            within(
                "with diffusive weights, before training: exponent of N of the distance of states to the \
                 ODE of the own weights (Itô's and Stratonovich's integrals differ at any depth)",
                self.exponent(Start::Diffusive, 0, ode),
                -0.1..=0.1,
            ),
        ]
    }
}

/// The geometric mean of some numbers.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let logs: Vec<f64> = values.map(f64::ln).collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}
