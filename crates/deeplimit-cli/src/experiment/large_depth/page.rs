//! The figures and tables of the trainings.

use super::findings::{EARLY, Shown, Value};
use super::{BIASES, Row, Start, TOLERANCE};
use crate::experiment::power_law;
use crate::experiment::seeds::spread;
use crate::page::{
    CURVES, Curve, Figure, Frame, GREY, Part, Scale, Section, Stroke, Table, Text, significant,
};
use anyhow::Result;

impl Shown<'_> {
    pub fn sections(&self) -> Result<Vec<Section>> {
        let section = |title: &'static str, parts| Section { title: title.into(), parts };
        Ok(vec![
            section("Weights after training", self.pictures()?),
            section("Distance of the weights from their limit", self.distances()?),
            section("How steep the weights are over depth", self.increments()?),
            section("Distance to the neural ODE after training", self.ode()?),
            section("Of every seed", vec![Part::Table(self.of_seeds())]),
            section("The long run", self.long()?),
            section("The same with memory-free gradients", vec![Part::Table(self.gaps())]),
        ])
    }

    /// What every seed has for itself.
    fn of_seeds(&self) -> Table {
        use Start::Smooth;
        let steep: Value = |row| row.scaled_increment;
        let columns: Vec<(&str, Vec<f64>)> = vec![
            (
                "max distance",
                self.each(|own| own.rate(Smooth, own.last_step(), |r| r.distance_largest)),
            ),
            (
                "at the layers",
                self.each(|o| o.rate(Smooth, o.last_step(), |r| r.distance_at_layers)),
            ),
            ("ODE of functions", self.each(|o| o.rate(Smooth, o.last_step(), |r| r.ode_function))),
            ("N max ‖Δθ‖ early", self.each(|own| own.rates(Smooth, EARLY, steep).1)),
            ("at the end", self.each(|own| own.rate(Smooth, own.last_step(), steep))),
            ("three deepest", self.each(|own| own.deepest_rate(Smooth, steep))),
            ("long run", self.each(|own| own.long_run(Smooth)[1])),
            ("growth in the long run", self.each(|own| own.long_run(Smooth)[2])),
        ];
        let mut head: Vec<Text> = vec!["seed".into()];
        head.extend(columns.iter().map(|(name, _)| Text::from(*name)));
        let line = |(run, seed): (usize, u64)| {
            let mut line: Vec<Text> = vec![seed.to_string().into()];
            line.extend(columns.iter().map(|(_, values)| Text::from(significant(values[run]))));
            line
        };
        let mut rows: Vec<Vec<Text>> = self.seeds.all().enumerate().map(line).collect();
        let mut all: Vec<Text> = vec!["all".into()];
        all.extend(columns.iter().map(|(_, values)| Text::from(spread(values))));
        rows.push(all);
        let caption = format!(
            "Smooth start: exponents in N at the end of training, of N max ‖Δθ‖ also the largest to t = {EARLY}; \
             of the long run the exponent of its largest value, and how many times that of the first sixteenth \
             of the time it is"
        );
        Table { caption: caption.into(), head, rows }
    }

    fn pictures(&self) -> Result<Vec<Part>> {
        let entries: [(&str, Value); 2] =
            [("an entry of W", |row| row.w_0), ("an entry of V", |row| row.v_0)];
        let mut figures = Vec::new();
        for (label, value) in entries {
            for start in Start::ALL {
                let mut curves = Vec::new();
                let looks = [
                    (self.deepest, GREY, Stroke::Broad),
                    (self.repeated, CURVES[0], Stroke::Thin),
                    (16, CURVES[1], Stroke::Dots),
                ];
                for (depth, ink, stroke) in looks {
                    let rows = self.of("weights", start).filter(|row| row.depth == depth);
                    let point = |row: &Row| Some((row.layer? as f64 / depth as f64, value(row)?));
                    let points = rows.filter_map(point).collect();
                    // Every layer of an independent start is a value of its own.
                    let stroke = match (start, stroke) {
                        (Start::Independent, Stroke::Broad) => Stroke::Faint,
                        (_, stroke) => stroke,
                    };
                    let name = format!("N = {depth}").into();
                    curves.push(Curve { name, ink, stroke, points });
                }
                let frame = Frame {
                    x: "depth s = n/N",
                    y: label,
                    across: Scale::Tight,
                    scale: Scale::Linear,
                    ..Frame::RATES
                };
                let title = format!("{label}, {} start", start.name());
                figures.push(Figure::new(title, &frame, &curves)?);
            }
        }
        let (w, v): (Vec<Figure>, Vec<Figure>) = (figures.drain(..2).collect(), figures);
        let note = format!(
            "At the end of training, first seed, as all figures. The network of {} layers is drawn at 256 of them. {} are zero.",
            self.deepest,
            BIASES.join(" and "),
        );
        Ok(vec![Part::Figures(w), Part::Figures(v), Part::Text(note.into())])
    }

    fn distances(&self) -> Result<Vec<Part>> {
        let last = self.last_step();
        let mut curves = Vec::new();
        let measures: [(&str, Value); 3] = [
            ("max over s", |row| row.distance_largest),
            ("max over layers", |row| row.distance_at_layers),
            ("L² over s", |row| row.distance_mean),
        ];
        for (start, inks) in [(Start::Smooth, &CURVES[..3]), (Start::Independent, &CURVES[3..6])] {
            for ((label, value), ink) in measures.iter().zip(inks) {
                let points = self.over_depth(start, last, *value);
                let rate = significant(self.rate(start, last, *value));
                let name = format!("{}, {label}: exponent {rate}", start.name()).into();
                curves.push(Curve { name, ink: *ink, stroke: Stroke::Bold, points });
            }
        }
        let law = power_law(&curves[0].points, -1.0);
        let (name, stroke) = ("slope −1".into(), Stroke::Dashed);
        curves.push(Curve { name, ink: GREY, stroke, points: law });
        let frame = Frame { x: "depth N", y: "‖θ − Θ‖", ..Frame::RATES };
        let title = format!("After training, to N = {}", self.deepest);
        let note = "The piecewise affine functions of depth of both networks, at the same GD time.";
        let ends = Figure { note: note.into(), ..Figure::new(title, &frame, &curves)? };
        let times = self.over_times(
            "training",
            "Over training time, max over s",
            "‖θ − Θ‖",
            |row| row.distance_largest,
        )?;
        Ok(vec![Part::Figures(vec![ends, times])])
    }

    /// A chart over time of up to four depths of a part: smooth starts bold, independent ones thin.
    fn over_times(&self, part: &str, title: &str, y: &str, value: Value) -> Result<Figure> {
        let depths = self.depths(part);
        let stride = depths.len().div_ceil(4).max(1);
        let mut curves = Vec::new();
        for (start, stroke) in [(Start::Smooth, Stroke::Bold), (Start::Independent, Stroke::Dashed)]
        {
            let chosen = depths.iter().rev().step_by(stride);
            for (depth, ink) in chosen.zip(CURVES) {
                let points = self.over_time(part, start, *depth, value);
                let name = format!("{}, N = {depth}", start.name()).into();
                curves.push(Curve { name, ink, stroke, points });
            }
        }
        for curve in &mut curves {
            // A logarithmic axis has no time 0.
            curve.points.retain(|(time, _)| *time > 0.0);
        }
        let frame = Frame { x: "GD time t", y, ..Frame::RATES };
        let note = "Dashed: independent start.".into();
        Ok(Figure { note, ..Figure::new(title.to_owned(), &frame, &curves)? })
    }

    fn increments(&self) -> Result<Vec<Part>> {
        let last = self.last_step();
        let mut curves = Vec::new();
        for (start, ink) in Start::ALL.into_iter().zip(CURVES) {
            let points = self.over_depth(start, last, |row| row.scaled_increment);
            let rate = significant(self.rate(start, last, |row| row.scaled_increment));
            let law = power_law(&points, if start == Start::Smooth { 0.0 } else { 1.0 });
            let name = format!("{}: exponent {rate}", start.name()).into();
            curves.push(Curve { name, ink, stroke: Stroke::Bold, points });
            let name = match start {
                Start::Smooth => "slopes 0 and 1".into(),
                Start::Independent => "".into(),
            };
            curves.push(Curve { name, ink: GREY, stroke: Stroke::Dashed, points: law });
        }
        let frame = Frame { x: "depth N", y: "N max ‖θₙ₊₁ − θₙ‖", ..Frame::RATES };
        let ends = Figure::new("After training", &frame, &curves)?;
        let loss = self.over_times("training", "Loss", "loss", |row| row.loss)?;
        Ok(vec![Part::Figures(vec![ends, loss])])
    }

    fn ode(&self) -> Result<Vec<Part>> {
        let last = self.last_step();
        let measures: [(&str, Value); 2] =
            [("functions", |row| row.ode_function), ("weights", |row| row.ode_weight)];
        let mut curves = Vec::new();
        for (start, inks) in [(Start::Smooth, &CURVES[..2]), (Start::Independent, &CURVES[2..4])] {
            for ((label, value), ink) in measures.iter().zip(inks) {
                let points = self.over_depth(start, last, *value);
                let rate = significant(self.rate(start, last, *value));
                let name = format!("{}, {label} interpolated: {rate}", start.name()).into();
                curves.push(Curve { name, ink: *ink, stroke: Stroke::Bold, points });
            }
        }
        let law = power_law(&curves[0].points, -1.0);
        curves.push(Curve {
            name: "slope −1".into(),
            ink: GREY,
            stroke: Stroke::Dashed,
            points: law,
        });
        let frame = Frame { x: "depth N", y: "max ‖xₙ − x(sₙ)‖", ..Frame::RATES };
        let note =
            "The norm is over all samples. An independent start draws its weights anew at every \
                    depth."
                .into();
        let figure = Figure { note, ..Figure::new("Network and ODE", &frame, &curves)? };
        Ok(vec![Part::Figures(vec![figure])])
    }

    fn long(&self) -> Result<Vec<Part>> {
        let loss = self.over_times("long", "Loss", "loss", |row| row.loss)?;
        let steep = self.over_times(
            "long",
            "Steepness of the weights",
            "N max ‖θₙ₊₁ − θₙ‖",
            |row| row.scaled_increment,
        )?;
        let mut lines: Vec<Vec<Text>> = Vec::new();
        for start in Start::ALL {
            for depth in self.depths("long") {
                let rows: Vec<&Row> =
                    self.of("long", start).filter(|row| row.depth == depth).collect();
                let (Some(first), Some(last)) = (rows.first(), rows.last()) else { continue };
                let steep = rows.iter().filter_map(|row| row.scaled_increment);
                let number = |value: Option<f64>| Text::from(value.map_or("–".into(), significant));
                lines.push(vec![
                    start.name().into(),
                    depth.to_string().into(),
                    significant(last.time).into(),
                    number(first.loss),
                    number(last.loss),
                    number(first.scaled_increment),
                    number(last.scaled_increment),
                    number(Some(steep.fold(0.0, f64::max))),
                    number(last.travel),
                    number(last.ode_function),
                ]);
            }
        }
        let head = [
            "start",
            "N",
            "time",
            "loss at 0",
            "loss",
            "N max ‖Δθ‖ at 0",
            "N max ‖Δθ‖",
            "its largest",
            "way of the weights",
            "distance to the ODE",
        ];
        let table = Table { head: head.map(Text::from).to_vec(), rows: lines, ..Table::default() };
        Ok(vec![Part::Figures(vec![loss, steep]), Part::Table(table)])
    }

    fn gaps(&self) -> Table {
        let mut lines: Vec<Vec<Text>> = Vec::new();
        for start in Start::ALL {
            for depth in self.depths("repeated") {
                let rows: Vec<&Row> =
                    self.of("repeated", start).filter(|row| row.depth == depth).collect();
                let gaps = rows.iter().filter_map(|row| row.repeated_gap);
                let Some(last) = rows.last() else { continue };
                lines.push(vec![
                    start.name().into(),
                    depth.to_string().into(),
                    significant(gaps.fold(0.0, f64::max)).into(),
                    significant(last.repeated_gap.unwrap_or(f64::NAN)).into(),
                    significant(last.loss.unwrap_or(f64::NAN)).into(),
                ]);
            }
        }
        let head = ["start", "N", "largest distance by way", "at the end", "loss at the end"];
        let caption = format!(
            "Weights trained with adjoint-adaptive at tolerance {TOLERANCE}, and with backprop"
        );
        Table { caption: caption.into(), head: head.map(Text::from).to_vec(), rows: lines }
    }
}
