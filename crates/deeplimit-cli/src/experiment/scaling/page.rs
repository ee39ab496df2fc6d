//! The figures and tables of the trainings.

use super::exponents::FIT_FROM;
use super::findings::{Shown, State, Value, bend, steepness};
use super::{RATE, RECORDED, Row, SHOWN, Start};
use crate::experiment::power_law;
use crate::page::{
    BLUE, CURVES, Curve, Figure, Frame, GREEN, GREY, ORANGE, Part, Scale, Section, Stroke, Table,
    Text, VIOLET, significant,
};
use anyhow::Result;

/// The exponent of a measure in theory, where there is one.
type Law = fn(Start, State) -> Option<f64>;

const BEND: Law = |start, state| Some(bend(start, state));
const STEEP: Law = |start, state| Some(steepness(start, state));

impl Shown<'_> {
    pub fn sections(&self) -> Result<Vec<Section>> {
        let section = |title: &'static str, parts| Section { title: title.into(), parts };
        let bends = self.pair("r₂ = rms ‖θₙ₊₁ − 2θₙ + θₙ₋₁‖", |row| row.second_difference, BEND)?;
        let steep = self.pair("N max ‖θₙ₊₁ − θₙ‖", |row| row.scaled_increment, STEEP)?;
        let seminorms = self.pair("(N Σ ‖θₙ − θₙ₋₁‖²)^½", |row| row.seminorm, STEEP)?;
        let losses = self.pair("loss", |row| row.loss, |_, _| None)?;
        Ok(vec![
            section("Exponents in N", vec![Part::Table(self.exponents())]),
            section("The weights over depth", self.weights()?),
            section("How the weights bend over depth", vec![bends]),
            section("How steep they are", vec![steep, seminorms, self.over_time()?]),
            section("The loss", vec![losses, Part::Table(self.ends())]),
        ])
    }

    /// A value against depth, without and with the penalty.
    fn pair(&self, y: &str, value: Value, law: Law) -> Result<Part> {
        let mut figures = Vec::new();
        for state in [State::Trained, State::Penalised] {
            let mut curves = Vec::new();
            for (start, ink) in Start::ALL.into_iter().zip([BLUE, ORANGE, GREEN]) {
                let curve = |name: &'static str, stroke, points| Curve {
                    name: name.into(),
                    ink,
                    stroke,
                    points,
                };
                let before = self.family(start, State::Before).over_depth(value);
                let points = self.family(start, state).over_depth(value);
                if let Some(slope) = law(start, state) {
                    curves.push(curve("", Stroke::Dashed, power_law(&points, slope)));
                }
                curves.push(curve("", Stroke::Dots, before));
                curves.push(curve(start.name(), Stroke::Bold, points));
            }
            let frame = Frame { x: "depth N", y, ..Frame::RATES };
            let note = match law(Start::Smooth, state) {
                Some(_) => {
                    "Geometric means over the seeds. Dots: before training. Dashed: theory's slopes \
                     through the deepest networks."
                }
                None => "Geometric means over the seeds. Dots: before training.",
            };
            let (name, note) = (state.name().to_owned(), note.into());
            let title = name[..1].to_uppercase() + &name[1..];
            figures.push(Figure { note, ..Figure::new(title, &frame, &curves)? });
        }
        Ok(Part::Figures(figures))
    }

    /// The steepness of smooth starts over training time, of the shallowest to the deepest networks.
    fn over_time(&self) -> Result<Part> {
        let mut figures = Vec::new();
        for state in [State::Trained, State::Penalised] {
            let steps = RECORDED.into_iter().filter(|steps| *steps > 0);
            let at = |steps| {
                let family = self.family_at(Start::Smooth, state, steps);
                (steps as f64 * RATE, family.over_depth(|row| row.scaled_increment))
            };
            let times: Vec<(f64, Vec<(f64, f64)>)> = steps.map(at).collect();
            let depths = times.first().map_or(0, |(_, points)| points.len());
            let mut curves = Vec::new();
            for (index, ink) in (0..depths).zip(CURVES) {
                let points: Vec<(f64, f64)> =
                    times.iter().map(|(time, points)| (*time, points[index].1)).collect();
                let name = format!("N = {}", times[0].1[index].0).into();
                curves.push(Curve { name, ink, stroke: Stroke::Bold, points });
            }
            let frame =
                Frame { x: "GD time t", y: "N max ‖θₙ₊₁ − θₙ‖", ..Frame::RATES };
            figures.push(Figure::new(format!("Smooth start, {}", state.name()), &frame, &curves)?);
        }
        Ok(Part::Figures(figures))
    }

    /// An entry of the weights against depth, for each start.
    fn weights(&self) -> Result<Vec<Part>> {
        let mut figures = Vec::new();
        for start in Start::ALL {
            let mut curves = Vec::new();
            for (state, ink, stroke) in [
                (State::Before, GREY, Stroke::Faint),
                (State::Trained, ORANGE, Stroke::Thin),
                (State::Penalised, VIOLET, Stroke::Bold),
            ] {
                let rows = self.rows.iter().filter(|row| row.start == start && state.is(row));
                let point = |row: &Row| Some((row.layer? as f64 / row.layers as f64, row.entry?));
                let points = rows.filter_map(point).collect();
                curves.push(Curve { name: state.name().into(), ink, stroke, points });
            }
            let frame = Frame {
                x: "depth s = n/N",
                y: "an entry of K",
                across: Scale::Tight,
                scale: Scale::Linear,
                ..Frame::RATES
            };
            figures.push(Figure::new(format!("{} start", start.name()), &frame, &curves)?);
        }
        let note = format!("An entry of K in the networks of {SHOWN} layers, first seed.");
        Ok(vec![Part::Small(figures), Part::Text(note.into())])
    }

    fn exponents(&self) -> Table {
        let features: [Value; 8] = [
            |row| row.size,
            |row| row.first_difference,
            |row| row.second_difference,
            |row| row.variation,
            |row| row.primitive,
            |row| row.peak,
            |row| row.scaled_increment,
            |row| row.seminorm,
        ];
        let mut rows: Vec<Vec<Text>> = Vec::new();
        for start in Start::ALL {
            for state in State::ALL {
                let family = self.family(start, state);
                let name = format!("{}, {}", start.name(), state.name());
                let mut row: Vec<Text> = vec![name.into(), family.regimes().into()];
                let exponents = features.iter().map(|value| family.exponent(value));
                row.extend(exponents.map(|exponent| Text::from(exponent.to_string())));
                rows.push(row);
            }
        }
        let head = ["networks", "regime", "r₀", "r₁", "r₂", "Q", "P", "peak", "N max ‖Δθ‖", "H¹"];
        let caption = format!(
            "Fitted for each seed over N ≥ {FIT_FROM}; means over the seeds with 95 % confidence intervals \
             (Student's t)"
        );
        Table { caption: caption.into(), head: head.map(Text::from).to_vec(), rows }
    }

    /// What the shallowest and the deepest networks have reached.
    fn ends(&self) -> Table {
        let columns: [Value; 4] = [
            |row| row.loss,
            |row| row.loss + row.penalty,
            |row| row.seminorm,
            |row| row.scaled_increment,
        ];
        let mut rows: Vec<Vec<Text>> = Vec::new();
        for start in Start::ALL {
            for state in State::ALL {
                let family = self.family(start, state);
                let mut row: Vec<Text> = vec![format!("{}, {}", start.name(), state.name()).into()];
                for value in columns {
                    let points = family.over_depth(value);
                    for end in [points.first(), points.last()] {
                        row.push(end.map_or("–".into(), |point| significant(point.1)).into());
                    }
                }
                rows.push(row);
            }
        }
        let head = [
            "networks",
            "loss, least N",
            "greatest N",
            "loss and penalty, least N",
            "greatest N",
            "H¹ seminorm, least N",
            "greatest N",
            "N max ‖Δθ‖, least N",
            "greatest N",
        ];
        let caption = "Geometric means over the seeds";
        Table { caption: caption.into(), head: head.map(Text::from).to_vec(), rows }
    }
}
