//! Figures and tables of one set.

use super::findings::{Column, DISTANCES, Measured, Points, RESIDUALS};
use super::{Part, Penalised};
use crate::experiment::power_law;
use crate::page::{
    BLUE, CURVES, Curve, Figure, Frame, GREEN, GREY, Ink, ORANGE, Part as PagePart, Scale, Section,
    Stroke, Table, Text, VIOLET, significant,
};
use anyhow::Result;

/// Inks of the three penalties.
const INKS: [Ink; 3] = [BLUE, ORANGE, VIOLET];

impl Measured<'_> {
    pub fn sections(&self) -> Result<Vec<Section>> {
        let branch = vec![
            self.smooth_controls()?,
            self.energies()?,
            self.over_depth("Distances to the limit", "distance to the limit", &DISTANCES)?,
            self.over_depth("The limit's equation", "residual", &RESIDUALS)?,
        ];
        let starts = vec![self.rough_controls()?, self.apart()?, self.steepness()?];
        let set = self.set;
        let note = "Local minima are many. With the penalty of differences two starts that end at the same \
                    energy end at the same control; those that do not lie on another branch. With weight \
                    decay every layer goes to one of a few functions of depth, and to which is left to its \
                    start: but for the shallowest networks no two end at the same control.";
        Ok(vec![
            Section {
                title: format!("{set}: a branch of minimisers and its limit").into(),
                parts: vec![PagePart::Figures(branch), PagePart::Table(self.table())],
            },
            Section {
                title: format!("{set}: minimisers from independent starts").into(),
                parts: vec![PagePart::Small(starts), PagePart::Text(note.into())],
            },
        ])
    }

    /// (s, first number of K) of a network, or of the limit.
    fn control(&self, penalised: Penalised, layers: Option<usize>, start: Option<usize>) -> Points {
        let rows = self.of(Part::Control, penalised);
        let rows = rows.filter(|row| (row.layers, row.start) == (layers, start));
        rows.filter_map(|row| Some((row.depth?, row.entry?))).collect()
    }

    fn smooth_controls(&self) -> Result<Figure> {
        let mut curves =
            vec![curve("limit", GREY, Stroke::Broad, self.control(Penalised::Smooth, None, None))];
        for (layers, ink) in [8, 64].into_iter().zip([ORANGE, BLUE]) {
            let points = self.control(Penalised::Smooth, Some(layers), None);
            curves.push(curve(&format!("n = {layers}"), ink, Stroke::Dots, points));
        }
        let note = "Minimisers with the penalty of differences; grey is the limit's minimiser.";
        let figure = Figure::new("A weight over depth", &OVER_DEPTH, &curves)?;
        Ok(Figure { note: note.into(), ..figure })
    }

    fn rough_controls(&self) -> Result<Figure> {
        let layers = Some(64);
        let starts = [0, 1].into_iter().zip([ORANGE, GREEN]);
        let mut curves: Vec<Curve> = starts
            .map(|(start, ink)| {
                let points = self.control(Penalised::Decay, layers, Some(start));
                curve(&format!("start {}", start + 1), ink, Stroke::Dots, points)
            })
            .collect();
        let limit = self.control(Penalised::Smooth, None, None);
        curves.insert(0, curve("limit, penalty of differences", GREY, Stroke::Broad, limit));
        let frame = Frame { size: (400, 300), ..OVER_DEPTH };
        let note = "Two minimisers of 64 layers with weight decay.";
        Ok(Figure { note: note.into(), ..Figure::new("Weight decay", &frame, &curves)? })
    }

    fn energies(&self) -> Result<Figure> {
        let minima = self.gaps(|row| row.energy);
        let excess = self.branch(|row| Some(row.recovery? - row.energy?));
        let curves = [
            curve("1/n", GREY, Stroke::Dashed, beside(&minima, -1.0)),
            curve("sampled from the limit", ORANGE, Stroke::Bold, self.gaps(|row| row.recovery)),
            curve("minimum", BLUE, Stroke::Bold, minima),
            curve("1/n²", GREEN, Stroke::Dashed, beside(&excess, -2.0)),
            curve("their difference", GREEN, Stroke::Bold, excess),
        ];
        let frame = Frame { x: "layers n", y: "|E_n − E_∞|", ..Frame::RATES };
        Ok(Figure::new("Energies", &frame, &curves)?)
    }

    fn over_depth(
        &self,
        title: &'static str,
        y: &'static str,
        lines: &[(&'static str, Column)],
    ) -> Result<Figure> {
        let mut curves = Vec::new();
        for ((name, column), ink) in lines.iter().zip(CURVES) {
            curves.push(curve(name, ink, Stroke::Bold, self.branch(column)));
        }
        let last = |curve: &Curve| curve.points.last().map_or(0.0, |point| point.1);
        let lowest = curves.iter().min_by(|a, b| last(a).total_cmp(&last(b)));
        let theory = lowest.map_or(Points::new(), |curve| beside(&curve.points, -1.0));
        curves.insert(0, curve("1/n", GREY, Stroke::Dashed, theory));
        let frame = Frame { x: "layers n", y, ..Frame::RATES };
        Ok(Figure::new(title, &frame, &curves)?)
    }

    /// A dot a pair.
    fn apart(&self) -> Result<Figure> {
        let mut curves = Vec::new();
        for (penalised, ink) in Penalised::ALL.into_iter().zip(INKS) {
            let rows = self.of(Part::Pair, penalised);
            let points = rows.filter_map(|row| Some((row.layers? as f64, row.constant?)));
            curves.push(curve(penalised.name(), ink, Stroke::Dots, points.collect()));
        }
        let frame = Frame { x: "layers n", y: "L² distance of two minimisers", ..NARROW };
        let note = "A dot a pair of starts; at the bottom those that end at the same minimum.";
        Ok(Figure { note: note.into(), ..Figure::new("Pairs", &frame, &curves)? })
    }

    fn steepness(&self) -> Result<Figure> {
        let mut curves = Vec::new();
        for (penalised, ink) in Penalised::ALL.into_iter().zip(INKS) {
            let points = self.starts(Part::Start, penalised, |row| row.steepness);
            let slope = if penalised == Penalised::Smooth { 0.0 } else { 2.0 };
            curves.push(curve("", ink, Stroke::Dashed, power_law(&points, slope)));
            curves.push(curve(penalised.name(), ink, Stroke::Bold, points));
        }
        let frame = Frame { x: "layers n", y: "∫ ‖θ'‖² ds", ..NARROW };
        let note = "Geometric means over the starts. Dashed: n⁰ and n².";
        Ok(Figure { note: note.into(), ..Figure::new("Steepness", &frame, &curves)? })
    }

    fn table(&self) -> Table {
        let columns = [
            ("min E_n", self.branch(|row| row.energy)),
            ("min E_n − E_∞", self.gaps(|row| row.energy)),
            ("L², constant", self.branch(|row| row.constant)),
            ("L², affine", self.branch(|row| row.affine)),
            ("H¹", self.branch(|row| row.derivative)),
            ("E–L residual", self.branch(|row| row.equation)),
        ];
        let mut head: Vec<Text> = vec!["n".into()];
        head.extend(columns.iter().map(|(name, _)| Text::from(*name)));
        let all = columns.map(|(_, points)| points);
        let count = all[0].len();
        let line = |index: usize| {
            let mut row: Vec<Text> = vec![format!("{}", all[0][index].0).into()];
            row.extend(all.iter().map(|points| {
                let number = points.get(index).map_or(f64::NAN, |point| point.1);
                Text::from(significant(number))
            }));
            // Minima differ in the third digit only.
            row[1] = format!("{:.6}", all[0][index].1).into();
            row
        };
        let mut rows: Vec<Vec<Text>> = (0..count).map(line).collect();
        let mut exponents: Vec<Text> = vec!["exponent".into(), "".into()];
        exponents.extend(
            all[1..].iter().map(|points| {
                Text::from(format!("{:.3}", Self::exponent(points)).replace('-', "−"))
            }),
        );
        rows.push(exponents);
        let caption = "Along the branch; exponents of n fitted to the four largest".into();
        Table { caption, head, rows }
    }
}

const OVER_DEPTH: Frame<'static> = Frame {
    x: "depth s = i/n",
    y: "first number of K",
    across: Scale::Tight,
    scale: Scale::Linear,
    ..Frame::RATES
};

/// A power law at half the height of the last point: on the points themselves it could not be seen.
fn beside(points: &[(f64, f64)], exponent: f64) -> Points {
    power_law(points, exponent).into_iter().map(|(n, value)| (n, value / 2.0)).collect()
}

/// Charts of which three stand in a row.
const NARROW: Frame<'static> = Frame { size: (400, 300), ..Frame::RATES };

fn curve(name: &str, ink: Ink, stroke: Stroke, points: Points) -> Curve {
    Curve { name: name.to_owned().into(), ink, stroke, points }
}
