//! Figures and tables of one set.

use super::findings::{Column, DISTANCES, Measured, Points, RESIDUALS};
use super::liminf::Sequence;
use super::variants::BASE;
use super::{DECAYS, Part};
use crate::experiment::power_law;
use crate::experiment::seeds::spread;
use crate::page::{
    BLUE, CURVES, Curve, Figure, Frame, GREEN, GREY, INKS, Ink, ORANGE, Part as PagePart, Scale,
    Section, Stroke, Table, Text, significant,
};
use anyhow::Result;

impl Measured<'_> {
    pub fn sections(&self) -> Result<Vec<Section>> {
        let limits = vec![
            self.smooth_controls()?,
            self.energies()?,
            self.over_depth("Distances to the limit", "distance to the limit", &DISTANCES)?,
            self.over_depth("The limit's equation", "residual", &RESIDUALS)?,
        ];
        let rough = vec![self.rough_controls()?, self.apart()?, self.steepness()?];
        let set = &self.set.name;
        let note = "With moderate weight decay every layer goes to one of a few functions of depth, and to \
                    which is left to its start: no two starts end at the same control. Where decay is so \
                    strong that hardly a weight is left, all do.";
        let section = |title: String, parts| Section { title: title.into(), parts };
        Ok(vec![
            section(
                format!("{set}: minimisers and their limit"),
                vec![
                    PagePart::Figures(limits),
                    PagePart::Table(self.table()),
                    PagePart::Table(self.searches()),
                ],
            ),
            section(format!("{set}: other problems"), vec![PagePart::Table(self.others())]),
            section(
                format!("{set}: energies along sequences"),
                vec![PagePart::Table(self.sequences_table())],
            ),
            section(
                format!("{set}: without the penalty of differences"),
                vec![
                    PagePart::Small(rough),
                    PagePart::Text(note.into()),
                    PagePart::Table(self.decays()),
                ],
            ),
        ])
    }

    /// (n, number) of the first seed's networks.
    fn networks(&self, column: Column) -> Points {
        self.over(Part::Network, BASE.name, self.seeds.first, column)
    }

    /// (s, first number of K) of a network, or of the limit.
    fn control(&self, layers: Option<usize>, start: Option<usize>) -> Points {
        let rows = self.of(Part::Control, BASE.name, self.seeds.first);
        let rows = rows.filter(|row| (row.layers, row.start) == (layers, start));
        rows.filter_map(|row| Some((row.depth?, row.entry?))).collect()
    }

    fn smooth_controls(&self) -> Result<Figure> {
        let mut curves = vec![curve("limit", GREY, Stroke::Broad, self.control(None, None))];
        for (layers, ink) in [8, 64].into_iter().zip([ORANGE, BLUE]) {
            let points = self.control(Some(layers), None);
            curves.push(curve(&format!("n = {layers}"), ink, Stroke::Dots, points));
        }
        let note = "Minimisers with the penalty of differences; grey is the limit's minimiser.";
        let figure = Figure::new("A weight over depth", &OVER_DEPTH, &curves)?;
        Ok(Figure { note: note.into(), ..figure })
    }

    fn rough_controls(&self) -> Result<Figure> {
        let starts = [0, 1].into_iter().zip([ORANGE, GREEN]);
        let limit = self.control(None, None);
        let mut curves = vec![curve("limit, penalty of differences", GREY, Stroke::Broad, limit)];
        curves.extend(starts.map(|(start, ink)| {
            let points = self.control(Some(64), Some(start));
            curve(&format!("start {}", start + 1), ink, Stroke::Dots, points)
        }));
        let frame = Frame { size: (400, 300), ..OVER_DEPTH };
        let note = "Two networks of 64 layers with weight decay 0.002.";
        Ok(Figure { note: note.into(), ..Figure::new("Weight decay", &frame, &curves)? })
    }

    fn energies(&self) -> Result<Figure> {
        let first = self.seeds.first;
        let minima = self.gaps(BASE.name, first, |row| row.energy);
        let recovered = self.gaps(BASE.name, first, |row| row.recovery);
        let excess = self.networks(|row| Some(row.recovery? - row.energy?));
        let curves = [
            curve("1/n", GREY, Stroke::Dashed, beside(&minima, -1.0)),
            curve("sampled from the limit", ORANGE, Stroke::Bold, recovered),
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
            curves.push(curve(name, ink, Stroke::Bold, self.networks(*column)));
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
        for (alpha, ink) in DECAYS.into_iter().zip(INKS) {
            let rows = self.decaying(Part::Pair, alpha, self.seeds.first).into_iter();
            let points = rows.filter_map(|row| Some((row.layers? as f64, row.constant?)));
            curves.push(curve(&decay(alpha), ink, Stroke::Dots, points.collect()));
        }
        let frame = Frame { x: "layers n", y: "L² distance of two networks", ..NARROW };
        let note = "A dot a pair of starts.";
        Ok(Figure { note: note.into(), ..Figure::new("Pairs", &frame, &curves)? })
    }

    fn steepness(&self) -> Result<Figure> {
        let smooth = self.networks(|row| row.steepness);
        let mut curves = vec![curve("differences", GREY, Stroke::Broad, smooth)];
        for (alpha, ink) in DECAYS.into_iter().zip(INKS) {
            let points = self.means(Part::Start, alpha, self.seeds.first, |row| row.steepness);
            curves.push(curve(&decay(alpha), ink, Stroke::Bold, points));
        }
        let frame = Frame { x: "layers n", y: "∫ ‖θ'‖² ds", ..NARROW };
        let note = "Geometric means over the starts; grey: the minimisers with the penalty of differences.";
        Ok(Figure { note: note.into(), ..Figure::new("Steepness", &frame, &curves)? })
    }

    fn table(&self) -> Table {
        let columns = [
            ("min E_n", self.networks(|row| row.energy)),
            ("|min E_n − E_∞|", self.gaps(BASE.name, self.seeds.first, |row| row.energy)),
            ("L², constant", self.networks(|row| row.constant)),
            ("L², affine", self.networks(|row| row.affine)),
            ("H¹", self.networks(|row| row.derivative)),
            ("E–L residual", self.networks(|row| row.equation)),
            ("‖∇E_n‖ at samples of the limit", self.networks(|row| row.consistency)),
        ];
        let mut head: Vec<Text> = vec!["n".into()];
        head.extend(columns.iter().map(|(name, _)| Text::from(*name)));
        let all = columns.map(|(_, points)| points);
        let line = |index: usize| {
            let mut row: Vec<Text> = vec![format!("{}", all[0][index].0).into()];
            row.extend(all.iter().map(|points| {
                let number = points.get(index).map_or(f64::NAN, |point| point.1);
                Text::from(significant(number))
            }));
            // Minima differ in the third digit only.
            row[1] = format!("{:.8}", all[0][index].1).into();
            row
        };
        let mut rows: Vec<Vec<Text>> = (0..all[0].len()).map(line).collect();
        let energy = self.one(Part::Limit, BASE.name, self.seeds.first, |row| row.energy);
        let mut limit: Vec<Text> = vec!["∞".into(), format!("{energy:.8}").into()];
        limit.resize(head.len(), "".into());
        let mut exponents: Vec<Text> = vec!["exponent".into(), "".into()];
        exponents.extend(
            all[1..].iter().map(|points| {
                Text::from(format!("{:.3}", Self::exponent(points)).replace('-', "−"))
            }),
        );
        rows.extend([limit, exponents]);
        let caption = "First seed; exponents of n fitted to the four largest".into();
        Table { caption, head, rows }
    }

    /// What starts, other depths and limits came to at each n.
    fn searches(&self) -> Table {
        let over = |seed, column: Column| self.over(Part::Network, BASE.name, seed, column);
        let all = |index: usize, column: Column| -> Vec<f64> {
            let at = |seed| over(seed, column).get(index).map_or(f64::NAN, |point| point.1);
            self.seeds(at)
        };
        let above = |index: usize, column: Column| {
            let minimum = all(index, |row| row.energy);
            let own = all(index, column);
            spread(&own.iter().zip(minimum).map(|(a, b)| a - b).collect::<Vec<_>>())
        };
        let line = |(index, (n, _)): (usize, (f64, f64))| -> Vec<Text> {
            let starts = all(index, |row| row.starts.map(|starts| starts as f64));
            let reached = all(index, |row| row.reached.map(|starts| starts as f64));
            vec![
                format!("{n}").into(),
                whole(&starts).into(),
                whole(&reached).into(),
                above(index, |row| row.from_starts).into(),
                above(index, |row| row.from_depths).into(),
                above(index, |row| row.from_limit).into(),
            ]
        };
        let points = self.networks(|row| row.energy);
        let mut rows: Vec<Vec<Text>> = points.into_iter().enumerate().map(line).collect();
        let limit =
            |column: Column| self.seeds(|seed| self.one(Part::Limit, BASE.name, seed, column));
        let starts = limit(|row| row.starts.map(|starts| starts as f64));
        let reached = limit(|row| row.reached.map(|starts| starts as f64));
        let mut last: Vec<Text> = vec!["∞".into(), whole(&starts).into()];
        last.push(whole(&reached).into());
        last.resize(6, "".into());
        rows.push(last);
        let head = [
            "n",
            "starts",
            "that came to the minimum",
            "lowest of starts, above the minimum",
            "of other n",
            "of limits",
        ];
        let caption = "The search, of all seeds from the least to the largest: the minimum is the lowest of \
                       all three; descents end at ‖∇E‖ ≤ 10⁻⁵, so that some 10⁻⁹ are left";
        Table { caption: caption.into(), head: head.map(Text::from).to_vec(), rows }
    }

    fn others(&self) -> Table {
        let variants = self.problems.iter().filter(|variant| variant.is_other(self.set));
        let line = |name: &'static str| -> Vec<Text> {
            let best = self.best(name);
            let exponent = |points: Points| significant(Self::exponent(&points));
            let exponents = |column: Column| exponent(self.over(Part::Network, name, best, column));
            let gaps = exponent(self.gaps(name, best, |row| row.energy));
            let limit = self.seeds(|seed| self.one(Part::Limit, name, seed, |row| row.energy));
            let share = |part| {
                let share = |seed| {
                    let rows = self.of(part, name, seed);
                    let pairs = rows.filter_map(|row| Some((row.reached?, row.starts?)));
                    let (reached, starts) = pairs.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
                    100.0 * reached as f64 / starts as f64
                };
                format!("{} %", spread(&self.seeds(share)))
            };
            let largest = self.seeds(|seed| {
                self.beside(name, seed, |a, b| a.abs().max(b.abs()), |row| row.energy).abs()
            });
            vec![
                name.into(),
                spread(&limit).into(),
                spread(&largest).into(),
                share(Part::Network).into(),
                share(Part::Limit).into(),
                gaps.into(),
                exponents(|row| row.constant).into(),
                exponents(|row| row.steepness).into(),
            ]
        };
        let names = std::iter::once(BASE.name).chain(variants.map(|variant| variant.name));
        let head = [
            "problem",
            "E_∞",
            "seeds apart, of min E_n",
            "starts that agree on min E_n",
            "on E_∞",
            "exponent of |min E_n − E_∞|",
            "of the L² distance",
            "of ∫ ‖θ'‖² ds",
        ];
        let caption = "From the least to the largest of all seeds, exponents of the one with the lowest limit; \
                       starts that come to the lowest energy by themselves, to 10⁻⁶ of it";
        let rows = names.map(line).collect();
        Table { caption: caption.into(), head: head.map(Text::from).to_vec(), rows }
    }

    fn sequences_table(&self) -> Table {
        let line = |sequence: Sequence| -> Vec<Text> {
            let last = |part, column: Column| {
                spread(&self.seeds(|seed| {
                    self.last(part, sequence, seed).and_then(column).unwrap_or(f64::NAN)
                }))
            };
            let above: Column = |row| Some(row.energy? - row.limit_energy?);
            let excess = match sequence.excess() {
                f64::INFINITY => "∞".into(),
                finite => significant(finite),
            };
            vec![
                sequence.name().into(),
                excess.into(),
                last(Part::Sequence, |row| row.excess).into(),
                last(Part::Sequence, |row| Some(row.misfit? - row.limit_misfit?)).into(),
                last(Part::Sequence, above).into(),
                last(Part::Wrong, above).into(),
            ]
        };
        let head = [
            "θ_n − θ",
            "excess of the penalty by α c², theory",
            "measured",
            "misfit less that of θ",
            "E_n(θ_n) − E_∞(θ)",
            "the same without the factor n",
        ];
        let caption = "The largest n, of all seeds; θ is a random polynomial of depth";
        let rows = Sequence::ALL.map(line).to_vec();
        Table { caption: caption.into(), head: head.map(Text::from).to_vec(), rows }
    }

    fn decays(&self) -> Table {
        let line = |alpha: f64| -> Vec<Text> {
            let ends = [0, 1].map(|end| self.seeds(|seed| self.distances(alpha, seed)[end]));
            let exponent = |seed| {
                let points = self.means(Part::Start, alpha, seed, |row| row.steepness);
                deeplimit::limit::Slope::fit(&points).value
            };
            vec![
                decay(alpha).into(),
                spread(&ends.concat()).into(),
                spread(&self.seeds(exponent)).into(),
            ]
        };
        let head = ["penalty", "L² distance of two networks, n ≥ 32", "exponent of ∫ ‖θ'‖² ds"];
        let caption = "From the least to the largest pair of all seeds";
        let rows = DECAYS.map(line).to_vec();
        Table { caption: caption.into(), head: head.map(Text::from).to_vec(), rows }
    }
}

/// Counts, from the least to the largest.
fn whole(counts: &[f64]) -> String {
    let least = counts.iter().copied().fold(f64::NAN, f64::min);
    let largest = counts.iter().copied().fold(f64::NAN, f64::max);
    if least == largest { format!("{least}") } else { format!("{least} … {largest}") }
}

/// What a weight decay is called.
fn decay(alpha: f64) -> String {
    if alpha == 0.0 { "no penalty".into() } else { format!("weight decay {alpha}") }
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
