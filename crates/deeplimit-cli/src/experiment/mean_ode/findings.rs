//! What the draws show: slopes over depth, width and α.

use super::{Part, Row, STEPS};
use crate::experiment::{power_law, within};
use crate::page::{
    BLUE, Claim, Curve, Figure, Frame, GREEN, ORANGE, Part as Block, Section, Stroke, Table, Text,
    VIOLET, significant,
};
use anyhow::Result;
use deeplimit::limit::Slope;
use std::ops::RangeInclusive;

/// All rows.
pub struct Shown<'a> {
    pub rows: &'a [Row],
}

type Column = fn(&Row) -> Option<f64>;

/// The paper bounds the distance to the mean ODE; what it says of two draws and of α follows.
const CHIZAT: &str = "Chizat 2025, a bound";
const FOLLOWS: &str = "our own, by the bound of Chizat 2025";
const TIMES: [(usize, &str); 2] = [(0, "before training"), (STEPS, "after training")];

/// What is fitted: its words, the networks, the number, the slope of the theory.
struct Quantity {
    what: &'static str,
    part: Part,
    column: Column,
    theory: f64,
    range: RangeInclusive<f64>,
}

fn quantities() -> [Quantity; 4] {
    let difference: Column = |row| Some(row.difference);
    let to_ode: Column = |row| row.to_ode;
    let half = || -0.6..=-0.4;
    [
        Quantity {
            what: "two draws, over depth",
            part: Part::Depth,
            column: difference,
            theory: -0.5,
            range: half(),
        },
        Quantity {
            what: "two draws, over the hidden units",
            part: Part::Width,
            column: difference,
            theory: -0.5,
            range: half(),
        },
        Quantity {
            what: "to the mean ODE, over depth",
            part: Part::Depth,
            column: to_ode,
            theory: -0.5,
            range: half(),
        },
        Quantity {
            what: "to the mean ODE, over L = M",
            part: Part::Square,
            column: to_ode,
            theory: -1.0,
            range: -1.2..=-0.8,
        },
    ]
}

/// What grows.
fn size(row: &Row) -> f64 {
    match row.part {
        Part::Depth | Part::Square => row.layers as f64,
        Part::Width => row.hidden as f64,
        Part::Scale => row.scale,
    }
}

impl Shown<'_> {
    /// (size, root mean square over the pairs).
    fn points(&self, part: Part, steps: usize, column: Column) -> Vec<(f64, f64)> {
        let rows = || self.rows.iter().filter(move |row| row.part == part && row.steps == steps);
        let mut sizes: Vec<f64> = rows().map(size).collect();
        sizes.dedup();
        let at = |own: f64| {
            let values: Vec<f64> =
                rows().filter(|row| size(row) == own).filter_map(column).collect();
            let squares: f64 = values.iter().map(|value| value * value).sum();
            (own, (squares / values.len() as f64).sqrt())
        };
        sizes.into_iter().map(at).collect()
    }

    fn slope(&self, part: Part, steps: usize, column: Column) -> f64 {
        Slope::fit(&self.points(part, steps, column)).value
    }

    pub fn claims(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        for Quantity { what, part, column, range, .. } in quantities() {
            for (steps, when) in TIMES {
                let source = if what.starts_with("to the mean ODE") { CHIZAT } else { FOLLOWS };
                claims.push(within(
                    format!("distance of outputs, {what}, {when}: exponent ({source})"),
                    self.slope(part, steps, column),
                    range.clone(),
                ));
            }
        }
        let deepest = |steps: usize, column: Column| {
            self.points(Part::Depth, steps, column).last().map_or(f64::NAN, |point| point.1)
        };
        let loss: Column = |row| Some(row.loss);
        claims.push(within(
            "the deepest networks: loss after training over that before",
            deepest(STEPS, loss) / deepest(0, loss),
            0.0..=0.5,
        ));
        claims.push(within(
            format!("over α: exponent of the relative motion of W (lazy training; {FOLLOWS})"),
            self.slope(Part::Scale, STEPS, |row| Some(row.motion)),
            -1.2..=-0.8,
        ));
        claims
    }

    pub fn sections(&self) -> Result<Vec<Section>> {
        let figures = [
            self.figure("Over depth, M fixed", Part::Depth, "depth L", -0.5)?,
            self.figure("Over the hidden units, L fixed", Part::Width, "hidden units M", -0.5)?,
            self.figure("As wide as deep", Part::Square, "L = M", -1.0)?,
            self.lazy()?,
        ];
        let note = "Solid: distance of the outputs of two draws, before (blue) and after training (orange). Thin: \
                    distance to the mean ODE, before (green) and after training (violet). Dashed: the slope of the \
                    theory.";
        Ok(vec![Section {
            title: "Distances of outputs".into(),
            parts: vec![
                Block::Figures(figures.into()),
                Block::Text(note.into()),
                Block::Table(self.table()),
            ],
        }])
    }

    fn figure(
        &self,
        title: &'static str,
        part: Part,
        x: &'static str,
        theory: f64,
    ) -> Result<Figure> {
        let mut curves = Vec::new();
        let columns: [(Column, Stroke, [_; 2]); 2] = [
            (|row| Some(row.difference), Stroke::Bold, [BLUE, ORANGE]),
            (|row| row.to_ode, Stroke::Thin, [GREEN, VIOLET]),
        ];
        for (column, stroke, inks) in columns {
            for ((steps, when), ink) in TIMES.into_iter().zip(inks) {
                let points = self.points(part, steps, column);
                let what = if stroke == Stroke::Bold { "two draws" } else { "mean ODE" };
                let dashes = power_law(&points, theory);
                curves.push(Curve { name: "".into(), ink, stroke: Stroke::Dashed, points: dashes });
                curves.push(Curve { name: format!("{what}, {when}").into(), ink, stroke, points });
            }
        }
        let frame = Frame { x, y: "root mean square distance", ..Frame::RATES };
        Ok(Figure::new(title, &frame, &curves)?)
    }

    fn lazy(&self) -> Result<Figure> {
        let points = self.points(Part::Scale, STEPS, |row| Some(row.motion));
        let dashes = power_law(&points, -1.0);
        let curves = [
            Curve { name: "1/α".into(), ink: BLUE, stroke: Stroke::Dashed, points: dashes },
            Curve { name: "after training".into(), ink: BLUE, stroke: Stroke::Bold, points },
        ];
        let frame = Frame { x: "α", y: "‖W − W₀‖ / ‖W₀‖", ..Frame::RATES };
        Ok(Figure::new("Motion of the weights", &frame, &curves)?)
    }

    fn table(&self) -> Table {
        let mut head: Vec<Text> = vec!["exponent (theory)".into()];
        head.extend(TIMES.map(|(_, when)| Text::from(when)));
        let row = |Quantity { what, part, column, theory, .. }: Quantity| {
            let mut row: Vec<Text> = vec![what.into()];
            row.extend(TIMES.map(|(steps, _)| {
                let slope = significant(self.slope(part, steps, column));
                Text::from(format!("{slope} ({})", significant(theory)))
            }));
            row
        };
        Table { head, rows: quantities().map(row).into(), ..Table::default() }
    }
}
