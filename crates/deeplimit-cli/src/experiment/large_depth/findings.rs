//! What the trainings show.

use super::{BIASES, Row, Start, TOLERANCE};
use crate::experiment::{power_law, within};
use crate::page::{
    CURVES, Claim, Curve, Figure, Frame, GREY, Part, Scale, Section, Stroke, Table, Text,
    significant,
};
use anyhow::Result;
use deeplimit::limit::Slope;

/// Rates are fitted from this depth on; below, terms of higher order show.
const FIT_FROM: usize = 8;

/// How far a memory-free training may be from backprop's, in tolerances of its gradients: their errors
/// add up over the steps.
const GAP: f64 = 10.0 * TOLERANCE;

/// The rows, and what was asked for.
pub struct Shown<'a> {
    pub rows: &'a [Row],
    /// The least depth that was trained with memory-free gradients too; the one that is pictured.
    pub repeated: usize,
    /// Depth of the reference.
    pub deepest: usize,
}

type Value = fn(&Row) -> Option<f64>;

impl Shown<'_> {
    fn of<'s>(&'s self, part: &'s str, start: Start) -> impl Iterator<Item = &'s Row> {
        self.rows.iter().filter(move |row| row.part == part && row.start == start.name())
    }

    /// The recorded steps of the trainings, in order.
    fn steps(&self) -> Vec<usize> {
        let mut steps: Vec<usize> =
            self.of("training", Start::Smooth).map(|row| row.step).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    }

    fn last_step(&self) -> usize {
        self.steps().last().copied().unwrap_or(0)
    }

    /// (depth, value) of the trainings at one step.
    fn over_depth(&self, start: Start, step: usize, value: Value) -> Vec<(f64, f64)> {
        let rows = self.of("training", start).filter(|row| row.step == step);
        rows.filter_map(|row| Some((row.depth as f64, value(row)?))).collect()
    }

    /// (time, value) of one depth.
    fn over_time(&self, part: &str, start: Start, depth: usize, value: Value) -> Vec<(f64, f64)> {
        let rows = self.of(part, start).filter(|row| row.depth == depth);
        rows.filter_map(|row| Some((row.time, value(row)?))).collect()
    }

    fn depths(&self, part: &str) -> Vec<usize> {
        let mut depths: Vec<usize> = self.of(part, Start::Smooth).map(|row| row.depth).collect();
        depths.dedup();
        depths
    }

    /// The exponent in N of a value at one step.
    fn rate(&self, start: Start, step: usize, value: Value) -> f64 {
        let points = self.over_depth(start, step, value);
        let points: Vec<_> = points.into_iter().filter(|(n, _)| *n >= FIT_FROM as f64).collect();
        Slope::fit(&points).value
    }

    /// The exponents at all recorded steps but the first, which is before training: the least and
    /// the greatest.
    fn rates(&self, start: Start, value: Value) -> (f64, f64) {
        let steps = self.steps();
        let rates = steps.iter().skip(1).map(|step| self.rate(start, *step, value));
        rates.fold((f64::NAN, f64::NAN), |(l, h), rate| (l.min(rate), h.max(rate)))
    }

    pub fn claims(&self) -> Vec<Claim> {
        use Start::{Independent, Smooth};
        let last = self.last_step();
        let mut claims = Vec::new();
        let largest: Value = |row| row.distance_largest;
        let (least, greatest) = self.rates(Smooth, largest);
        for (which, rate) in [("steepest", least), ("flattest", greatest)] {
            claims.push(within(
                format!(
                    "smooth start: the weights' distance to those of the reference, max over depth, \
                     falls like 1/N at every recorded time (Sander, Ablin, Peyré 2022, section 3; proved \
                     there for linear residual functions); {which} exponent"
                ),
                rate,
                -1.25..=-0.75,
            ));
        }
        for (name, value, range) in [
            ("at the layers' own depths", (|row| row.distance_at_layers) as Value, -1.25..=-0.75),
            (
                "in L² over depth, where the constant piece after the last layer adds N^(−3/2)",
                |row| row.distance_mean,
                -1.6..=-0.75,
            ),
        ] {
            claims.push(within(
                format!("smooth start: the same {name}, at the end of training; exponent"),
                self.rate(Smooth, last, value),
                range,
            ));
        }
        claims.push(within(
            "independent start: the weights have no limit as functions of depth; exponent of their \
             distance at the end",
            self.rate(Independent, last, largest),
            -0.25..=0.25,
        ));
        let steep: Value = |row| row.scaled_increment;
        let (least, greatest) = self.rates(Smooth, steep);
        claims.push(within(
            "smooth start: N max ‖θ_{n+1} − θ_n‖ is bounded uniformly in N at every recorded time \
             (Marion, Wu, Sander, Biau 2023, for finite times); exponent farthest from 0",
            if least.abs() > greatest.abs() { least } else { greatest },
            -0.15..=0.15,
        ));
        claims.push(within(
            "independent start: N max ‖θ_{n+1} − θ_n‖ grows like N; exponent at the end",
            self.rate(Independent, last, steep),
            0.75..=1.25,
        ));
        for (start, range) in [(Smooth, -1.25..=-0.75), (Independent, -1.6..=-0.7)] {
            claims.push(within(
                format!(
                    "{} start: after training the network is at a distance of order 1/N from the ODE \
                     that interpolates its layers' functions, {}; exponent",
                    start.name(),
                    match start {
                        Smooth => "max ‖x_n − x(s_n)‖",
                        Independent => "as any bounded weights are (averaging)",
                    }
                ),
                self.rate(start, last, |row| row.ode_function),
                range,
            ));
        }
        claims.push(within(
            "smooth start: the same for the ODE whose weights interpolate the layers'; exponent",
            self.rate(Smooth, last, |row| row.ode_weight),
            -1.25..=-0.75,
        ));
        claims.push(within(
            "independent start: to the ODE whose weights interpolate the layers' it does not come nearer \
             (averaging is of functions, not of weights); exponent",
            self.rate(Independent, last, |row| row.ode_weight),
            -0.3..=0.3,
        ));
        for start in Start::ALL {
            let gaps = self.of("repeated", start).map(|row| row.repeated_gap.unwrap_or(f64::NAN));
            let most = gaps.fold(f64::NAN, |a, b| if b <= a { a } else { b });
            claims.push(within(
                format!(
                    "{} start, N ≥ {}: trained with adjoint-adaptive at tolerance {} the weights stay \
                     with backprop's at all times; largest distance by the way they went",
                    start.name(),
                    self.repeated,
                    significant(TOLERANCE),
                ),
                most,
                0.0..=GAP,
            ));
        }
        claims.extend(self.long_claims());
        claims
    }

    fn long_claims(&self) -> Vec<Claim> {
        let (mut left, mut peaks, mut growth) = (f64::NAN, Vec::new(), f64::NAN);
        for depth in self.depths("long") {
            let losses = self.over_time("long", Start::Smooth, depth, |row| row.loss);
            let steep = self.over_time("long", Start::Smooth, depth, |row| row.scaled_increment);
            let ends = |points: &[(f64, f64)]| points[points.len() - 1].1 / points[0].1;
            left = left.max(ends(&losses));
            let most = |points: &mut dyn Iterator<Item = &(f64, f64)>| {
                points.map(|point| point.1).fold(0.0, f64::max)
            };
            let end = steep[steep.len() - 1].0;
            let early = most(&mut steep.iter().filter(|(time, _)| *time <= end / 16.0));
            let whole = most(&mut steep.iter());
            growth = growth.max(whole / early);
            peaks.push((depth as f64, whole));
        }
        let proof = "observed: boundedness is proved for linear residual functions, and for two-matrix \
                     ones under a Polyak–Łojasiewicz condition";
        vec![
            within(
                "long run, smooth start: the loss goes to nearly zero at every depth; share of it that \
                 is left",
                left,
                0.0..=1e-3,
            ),
            within(
                format!(
                    "long run, smooth start: the largest N max ‖θ_{{n+1}} − θ_n‖ of all times grows far \
                     slower with N than the 1 of an independent start ({proof}); exponent in N"
                ),
                Slope::fit(&peaks).value,
                -0.25..=0.5,
            ),
            within(
                format!(
                    "long run, smooth start: while the loss goes on falling it stays within twice the \
                     largest of the first sixteenth of the time ({proof}); largest ratio of all depths"
                ),
                growth,
                1.0..=2.0,
            ),
        ]
    }

    pub fn sections(&self) -> Result<Vec<Section>> {
        let section = |title: &'static str, parts| Section { title: title.into(), parts };
        Ok(vec![
            section("Weights after training", self.pictures()?),
            section("Distance of the weights from their limit", self.distances()?),
            section("How steep the weights are over depth", self.increments()?),
            section("Distance to the neural ODE after training", self.ode()?),
            section("The long run", self.long()?),
            section("The same with memory-free gradients", vec![Part::Table(self.gaps())]),
        ])
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
            "At the end of training. The network of {} layers is drawn at 256 of them. {} are zero.",
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
