//! The descents in pictures, and their slopes.

use super::findings::{Column, FIT_FROM, Measured, SMOOTH, mean};
use super::{DRAWN_DEPTHS, DRAWN_WIDTHS, RECORDED, Row, SHOWN, Start};
use crate::experiment::power_law;
use crate::page::{
    BLUE, CURVES, Curve, Figure, Frame, GREEN, GREY, Ink, ORANGE, Part, Scale, Section, Stroke,
    Table, Text, VIOLET, significant,
};
use anyhow::Result;

impl Measured<'_> {
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
