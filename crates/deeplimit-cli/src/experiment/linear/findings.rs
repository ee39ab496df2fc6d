//! What the descents show: bounds, slopes over depth, rates over time.

use super::{DRAWN_DEPTHS, DRAWN_LOSS, DRAWN_WIDTHS, RECORDED, Row, SHOWN, Start};
use crate::experiment::{power_law, within};
use crate::page::{
    BLUE, CURVES, Claim, Curve, Figure, Frame, GREEN, GREY, Ink, ORANGE, Part, Scale, Section,
    Stroke, Table, Text, VIOLET, significant,
};
use anyhow::Result;
use deeplimit::limit::Slope;
use deeplimit::objective::linear::Guarantee;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// Slopes over depth are fitted from this depth on.
const FIT_FROM: usize = 32;

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
type Column = fn(&Row) -> Option<f64>;

const SMOOTH: [Start; 2] = [Start::Zero, Start::Smooth];
/// Those with a limit beside them.
const LIMITED: [Start; 3] = [Start::Certified, Start::Zero, Start::Smooth];
const PAPER: &str = "Sander, Ablin, Peyré (2022), section 3: small initial loss";
const OUTSIDE: &str = "our own: the initial loss is too large for their theorem";
const CONSTANTS: &str = "our own constants, for gradient flow";

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
const AVERAGED: &str = "jumps in depth average out: (2e^L − 1) C/N";

impl Measured<'_> {
    /// Rows that are no weights.
    fn of(&self, start: Start) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.start == start && row.layer.is_none())
    }

    /// (N, geometric mean over the descents) at one time.
    fn over_depth(&self, start: Start, steps: usize, column: Column) -> Vec<(f64, f64)> {
        let depths: BTreeSet<usize> = self.of(start).map(|row| row.layers).collect();
        let at = |layers: usize| {
            let rows = self.of(start).filter(|row| row.layers == layers && row.steps == steps);
            Some((layers as f64, mean(rows.filter_map(column))?))
        };
        depths.into_iter().filter_map(at).collect()
    }

    /// (N, largest N ‖θ_{n+1} − θ_n‖ at any time), geometric means over the descents.
    fn steepest(&self, start: Start) -> Vec<(f64, f64)> {
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
    fn over_time(&self, start: Start, column: Column) -> Vec<(f64, f64)> {
        let deepest = self.depths.last().copied().unwrap_or(0);
        let at = |steps: usize| {
            let rows = || self.of(start).filter(|row| row.layers == deepest && row.steps == steps);
            Some((rows().next()?.time, mean(rows().filter_map(column))?))
        };
        RECORDED.into_iter().filter_map(at).collect()
    }

    /// The guarantees of each descent that ρ = max ‖θ_n‖₂ over its time gives, with its rows.
    fn guarantees(&self, start: Start) -> Vec<(Guarantee, Vec<&Row>)> {
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
        shares.fold(f64::NAN, f64::max)
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

    /// The fitted exponent at one time; not a number where a distance is too small to be told.
    fn exponent(&self, start: Start, steps: usize, column: Column) -> f64 {
        let mut points = self.over_depth(start, steps, column);
        points.retain(|(layers, _)| *layers >= FIT_FROM as f64);
        if points.iter().any(|(_, distance)| *distance < ROUNDING) {
            return f64::NAN;
        }
        Slope::fit(&points).value
    }

    /// How fast the loss of the deepest networks decays late in training.
    fn decay(&self, start: Start) -> f64 {
        let losses = self.over_time(start, |row| Some(row.loss));
        let late: Vec<_> = losses.into_iter().filter(|(time, _)| *time >= 2.0).collect();
        match (late.first(), late.last()) {
            (Some(first), Some(last)) => (first.1 / last.1).ln() / (last.0 - first.0),
            _ => f64::NAN,
        }
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
    fn of_drawn(&self, network: usize) -> impl Iterator<Item = &Row> {
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
                    "B the identity and Gaussian numbers, width {width}: the last loss (figure 2)"
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
                    "B the identity and Gaussian numbers, width {width}: exponent of N of the largest \
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
                "from independent weights: decay rate of the loss over that from zero weights, at \
                 the largest N",
                self.decay(Start::Independent) / self.decay(Start::Zero),
                0.5..=2.0,
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

    pub fn sections(&self) -> Result<Vec<Section>> {
        let paths = [Start::Smooth, Start::Independent].map(|start| self.paths(start));
        let paths = paths.into_iter().collect::<Result<Vec<_>>>()?;
        let drawn = [0, 1].map(|network| self.drawn_paths(network));
        let drawn = drawn.into_iter().collect::<Result<Vec<_>>>()?;
        let note = "The weights of a descent from smooth weights stay a smooth function of depth. \
                    Those from independent weights move by as much, all in about the same way, and \
                    stay as rough as they were.";
        Ok(vec![
            Section {
                title: "Weights over depth, while training".into(),
                parts: vec![Part::Figures(drawn), Part::Figures(paths), Part::Text(note.into())],
            },
            Section {
                title: "Smoothness in depth, and the loss".into(),
                parts: vec![
                    Part::Figures(vec![self.steepness_over_depth()?, self.steepness_over_time()?]),
                    Part::Figures(vec![self.losses()?, self.certified_losses()?]),
                ],
            },
            Section {
                title: "Distances to the limit".into(),
                parts: vec![
                    Part::Figures(vec![self.ode_distances()?, self.limit_distances()?]),
                    Part::Table(self.slopes()),
                ],
            },
        ])
    }

    fn paths(&self, start: Start) -> Result<Figure> {
        let mut curves = Vec::new();
        for (steps, ink) in SHOWN.into_iter().zip([GREY, GREEN, ORANGE, BLUE]) {
            let rows = self.rows.iter().filter(|row| row.start == start && row.steps == steps);
            let mut time = 0.0;
            let points = rows.filter_map(|row| {
                time = row.time;
                Some((row.layer? as f64 / row.layers as f64, row.entry?))
            });
            let points = points.collect();
            curves.push(Curve {
                name: format!("t = {time}").into(),
                ink,
                stroke: Stroke::Thin,
                points,
            });
        }
        let (across, scale) = (Scale::Tight, Scale::Linear);
        let frame =
            Frame { x: "depth s = n/N", y: "one entry of θ_n", across, scale, ..Frame::RATES };
        let title = format!("From {} weights, N = {}", start.name(), self.shown);
        Ok(Figure::new(title, &frame, &curves)?)
    }

    /// Figure 2: from zero weights to a loss of 1e-5.
    fn drawn_paths(&self, network: usize) -> Result<Figure> {
        let layers = DRAWN_DEPTHS[1];
        let whole: Vec<&Row> = self.of_drawn(network).filter(|row| row.layers == layers).collect();
        // The start, a loss that is 10 and 1000 times smaller, and the end.
        let last = whole.len().saturating_sub(1);
        let mut curves = Vec::new();
        for (place, ink) in [0, 1, 3, last].into_iter().zip([GREY, GREEN, ORANGE, BLUE]) {
            let Some(own) = whole.get(place) else { continue };
            let rows = self.rows.iter().filter(|row| {
                let of = |row: &Row| (row.start, row.network, row.layers, row.steps);
                of(row) == of(own)
            });
            let points = rows
                .filter_map(|row| Some((row.layer? as f64 / row.layers as f64, row.entry?)))
                .collect();
            let name = format!("loss {}", significant(own.loss)).into();
            curves.push(Curve { name, ink, stroke: Stroke::Thin, points });
        }
        let (across, scale) = (Scale::Tight, Scale::Linear);
        let frame =
            Frame { x: "depth s = n/N", y: "one entry of θ_n", across, scale, ..Frame::RATES };
        let title = format!("From zero weights, d = {}, N = {layers}", DRAWN_WIDTHS[network]);
        Ok(Figure::new(title, &frame, &curves)?)
    }

    fn steepness_over_depth(&self) -> Result<Figure> {
        let mut curves = Vec::new();
        for (start, ink) in inked([Start::Zero, Start::Smooth, Start::Independent]) {
            let points = self.steepest(start);
            let theory = power_law(&points, if start.has_limit() { 0.0 } else { 1.0 });
            curves.push(curve("", ink, Stroke::Dashed, theory));
            curves.push(curve(start.name(), ink, Stroke::Bold, points));
        }
        let frame =
            Frame { x: "depth N", y: "largest N max ‖θ_{n+1} − θ_n‖", ..Frame::RATES };
        let note = "The largest at any time of training. Dashed: N⁰ and N¹.".into();
        Ok(Figure { note, ..Figure::new("Steepness of the weights", &frame, &curves)? })
    }

    fn steepness_over_time(&self) -> Result<Figure> {
        let deepest = self.depths.last().copied().unwrap_or(0);
        let mut curves = Vec::new();
        for (start, ink) in inked(SMOOTH) {
            let points = self.over_time(start, |row| Some(row.scaled_increment));
            let all = self.guarantees(start);
            let bounds = all.iter().filter(|(_, rows)| rows[0].layers == deepest);
            let bound = mean(bounds.map(|(guarantee, _)| guarantee.scaled_increment()));
            let bound = points.iter().filter_map(|&(time, _)| Some((time, bound?))).collect();
            curves.push(curve(start.name(), ink, Stroke::Bold, points));
            curves.push(curve("", ink, Stroke::Dashed, bound));
        }
        let y = "N max ‖θ_{n+1} − θ_n‖";
        let x = "training time t = η · steps";
        let frame = Frame { x, y, across: Scale::Tight, ..Frame::RATES };
        let title = format!("Steepness over training time, N = {deepest}");
        let note = "Dashed: the bound, its start + 2ρe^{3ρ} √ℓ(0).".into();
        Ok(Figure { note, ..Figure::new(title, &frame, &curves)? })
    }

    /// Losses of the deepest networks and, for some starts, their bounds.
    fn losses(&self) -> Result<Figure> {
        let deepest = self.depths.last().copied().unwrap_or(0);
        let mut curves = Vec::new();
        let starts = [Start::Zero, Start::Smooth, Start::Independent];
        for (start, ink) in inked(starts) {
            let points = self.over_time(start, |row| Some(row.loss));
            if start.has_limit() {
                curves.push(curve("", ink, Stroke::Dashed, self.loss_bound(start, deepest)));
            }
            curves.push(curve(start.name(), ink, Stroke::Bold, points));
        }
        let note = "Dashed: ℓ(0) exp(−4e^{−2ρ} t).".into();
        let title = format!("Loss over training time, N = {deepest}");
        Ok(Figure { note, ..Figure::new(title, &LOSS, &curves)? })
    }

    fn certified_losses(&self) -> Result<Figure> {
        let ends = [self.depths.first(), self.depths.last()].into_iter().flatten();
        let mut curves = Vec::new();
        for (&layers, ink) in ends.zip(CURVES) {
            let rows = self.of(Start::Certified);
            let rows = rows.filter(|row| row.layers == layers && row.network == 0);
            let points = rows.map(|row| (row.time, row.loss)).collect();
            curves.push(curve(format!("N = {layers}"), ink, Stroke::Bold, points));
        }
        let deepest = self.depths.last().copied().unwrap_or(0);
        let bound = self.loss_bound(Start::Certified, deepest);
        curves.push(curve("bound", GREY, Stroke::Dashed, bound));
        let note = "‖B − I‖ = 0.12, from zero weights: ρ = 1/3 is known before training.".into();
        Ok(Figure { note, ..Figure::new("Loss with a guarantee", &LOSS, &curves)? })
    }

    /// (GD time, geometric mean over the descents of the loss' bound).
    fn loss_bound(&self, start: Start, layers: usize) -> Vec<(f64, f64)> {
        let all = self.guarantees(start);
        let deep: Vec<_> = all.iter().filter(|(_, rows)| rows[0].layers == layers).collect();
        let times = deep.first().map_or(&[][..], |(_, rows)| rows.as_slice());
        let at = |row: &&Row| {
            let bounds = deep.iter().map(|(guarantee, _)| guarantee.loss(row.time));
            Some((row.time, mean(bounds)?))
        };
        times.iter().filter_map(at).collect()
    }

    fn ode_distances(&self) -> Result<Figure> {
        let last = RECORDED[RECORDED.len() - 1];
        let mut curves = Vec::new();
        let starts = [Start::Zero, Start::Smooth, Start::Independent, Start::Diffusive];
        for (start, ink) in inked(starts) {
            let steps = if start == Start::Diffusive { 0 } else { last };
            let points = self.over_depth(start, steps, |row| Some(row.ode_distance));
            let slope = if start == Start::Diffusive { 0.0 } else { -1.0 };
            curves.push(curve("", ink, Stroke::Dashed, power_law(&points, slope)));
            curves.push(curve(start.name(), ink, Stroke::Bold, points));
        }
        let frame =
            Frame { x: "depth N", y: "max over layers ‖Π_n − Y(s_n)‖", ..Frame::RATES };
        let note = "After training, diffusive weights before it. Dashed: 1/N and N⁰.".into();
        Ok(Figure { note, ..Figure::new("To the ODE of the own weights", &frame, &curves)? })
    }

    fn limit_distances(&self) -> Result<Figure> {
        let mut curves = Vec::new();
        for (start, inks) in SMOOTH.into_iter().zip([[BLUE, GREEN], [ORANGE, VIOLET]]) {
            let columns: [(&str, usize, Column); 2] = [
                ("weights, after training", 300, |row| row.weight_distance),
                // After training all maps are B.
                ("map, at t = 1", 20, |row| row.map_distance),
            ];
            for ((what, steps, column), ink) in columns.into_iter().zip(inks) {
                let points = self.over_depth(start, steps, column);
                curves.push(curve("", ink, Stroke::Dashed, power_law(&points, -1.0)));
                let name = format!("{}: {what}", start.name());
                curves.push(curve(name, ink, Stroke::Bold, points));
            }
        }
        let frame = Frame { x: "depth N", y: "distance to the limit N → ∞", ..Frame::RATES };
        let note = "The limit is 2θ^{2N'} − θ^{N'} at equal training times. Dashed: 1/N.".into();
        Ok(Figure { note, ..Figure::new("To the limit of the training", &frame, &curves)? })
    }

    fn slopes(&self) -> Table {
        let lines: [(&str, Start, Column); 11] = [
            ("certified: states to their ODE", Start::Certified, |row| Some(row.ode_distance)),
            ("certified: weights to their limit", Start::Certified, |row| row.weight_distance),
            ("certified: map to its limit", Start::Certified, |row| row.map_distance),
            ("zero: states to their ODE", Start::Zero, |row| Some(row.ode_distance)),
            ("zero: weights to their limit", Start::Zero, |row| row.weight_distance),
            ("zero: map to its limit", Start::Zero, |row| row.map_distance),
            ("smooth: states to their ODE", Start::Smooth, |row| Some(row.ode_distance)),
            ("smooth: weights to their limit", Start::Smooth, |row| row.weight_distance),
            ("smooth: map to its limit", Start::Smooth, |row| row.map_distance),
            ("independent: states to their ODE", Start::Independent, |row| Some(row.ode_distance)),
            ("diffusive: states to their ODE", Start::Diffusive, |row| Some(row.ode_distance)),
        ];
        let times = [0, 5, 20, 100, 300];
        let mut head: Vec<Text> = vec!["exponent of N".into()];
        head.extend(times.map(|steps| Text::from(format!("t = {}", steps as f64 * super::RATE))));
        let row = |(name, start, column): (&'static str, Start, Column)| {
            let mut row: Vec<Text> = vec![name.into()];
            row.extend(times.map(|steps| {
                let slope = self.exponent(start, steps, column);
                let text = if slope.is_nan() { "–".into() } else { format!("{slope:.2}") };
                Text::from(text.replace('-', "−"))
            }));
            row
        };
        let caption = format!("Fitted from N = {FIT_FROM} on; – where a distance is zero");
        Table { caption: caption.into(), head, rows: lines.map(row).into() }
    }
}

const LOSS: Frame<'static> = Frame {
    x: "training time t = η · steps",
    y: "loss ‖Π − B‖²",
    across: Scale::Tight,
    ..Frame::RATES
};

fn curve(name: impl Into<Text>, ink: Ink, stroke: Stroke, points: Vec<(f64, f64)>) -> Curve {
    Curve { name: name.into(), ink, stroke, points }
}

/// Starts with the colours they have in all charts.
fn inked<const COUNT: usize>(starts: [Start; COUNT]) -> [(Start, Ink); COUNT] {
    starts.map(|start| match start {
        Start::Zero => (start, BLUE),
        Start::Smooth => (start, ORANGE),
        Start::Independent => (start, GREEN),
        Start::Diffusive => (start, VIOLET),
        Start::Certified | Start::Drawn => (start, GREY),
    })
}

/// The geometric mean of some numbers.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let logs: Vec<f64> = values.map(f64::ln).collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}
