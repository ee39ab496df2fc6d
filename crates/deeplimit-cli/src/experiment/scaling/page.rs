//! The figures and tables of the trainings.

use super::findings::{Shown, State, bend, regime, steepness};
use super::{Row, Start};
use crate::experiment::power_law;
use crate::page::{
    BLUE, Curve, Figure, Frame, GREEN, GREY, ORANGE, Part, Scale, Section, Stroke, Table, Text,
    VIOLET, significant,
};
use anyhow::Result;

type Value = fn(&Row) -> f64;

impl Shown<'_> {
    pub fn sections(&self) -> Result<Vec<Section>> {
        let section = |title: &'static str, parts| Section { title: title.into(), parts };
        let bends = self.pair("r₂ = rms ‖θₙ₊₁ − 2θₙ + θₙ₋₁‖", |row| row.second_difference, bend)?;
        let steep = self.pair("N max ‖θₙ₊₁ − θₙ‖", |row| row.scaled_increment, steepness)?;
        let seminorms = self.pair("(N Σ ‖θₙ − θₙ₋₁‖²)^½", |row| row.seminorm, steepness)?;
        let losses = self.pair("loss", |row| row.loss, |_, _| 0.0)?;
        Ok(vec![
            section("Exponents in N", vec![Part::Table(self.exponents())]),
            section("The weights of the deepest networks", self.weights()?),
            section("How the weights bend over depth", vec![bends]),
            section("How steep they are", vec![steep, seminorms]),
            section("The loss", vec![losses, Part::Table(self.ends())]),
        ])
    }

    /// A value against depth, without and with the penalty.
    fn pair(&self, y: &str, value: Value, law: fn(Start, State) -> f64) -> Result<Part> {
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
                let theory = power_law(&points, law(start, state));
                curves.push(curve("", Stroke::Dashed, theory));
                curves.push(curve("", Stroke::Dots, before));
                curves.push(curve(start.name(), Stroke::Bold, points));
            }
            let frame = Frame { x: "depth N", y, ..Frame::RATES };
            let note = "Geometric means over the seeds. Dots: before training. Dashed: theory's slopes \
                        through the deepest networks.";
            let (name, note) = (state.name().to_owned(), note.into());
            let title = name[..1].to_uppercase() + &name[1..];
            figures.push(Figure { note, ..Figure::new(title, &frame, &curves)? });
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
                let rows = self.rows.iter().filter(|row| row.start == start && state.holds(row));
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
        Ok(vec![Part::Small(figures)])
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
                row.push(regime(start, state).to_string().into());
                let exponents = features.iter().map(|value| family.exponent(value));
                row.extend(exponents.map(|exponent| Text::from(exponent.to_string())));
                rows.push(row);
            }
        }
        let head = [
            "networks",
            "regime",
            "in theory",
            "r₀",
            "r₁",
            "r₂",
            "Q",
            "P",
            "peak",
            "N max ‖Δθ‖",
            "H¹",
        ];
        let caption = "Fitted over all depths for each seed; means over the seeds with 95 % confidence \
                       intervals (Student's t)";
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
