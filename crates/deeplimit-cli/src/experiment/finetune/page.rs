//! The sections and figures of the fine-tunings and the deep flows.

use super::entrants::Entrant;
use super::findings::Shown;
use super::rows::{Kind, Row};
use super::transfer::Start;
use crate::experiment::power_law;
use crate::page::{CURVES, Curve, Figure, Frame, GREY, Part, Scale, Section, Stroke};
use anyhow::Result;

pub const MEGABYTE: f64 = 1e6;

/// A number of a row, where it has one.
type Value = fn(&Row) -> Option<f64>;

/// Points of a curve of losses: each is the mean over as many steps.
const LOSSES: usize = 16;

fn megabytes_an_image(row: &Row) -> Option<f64> {
    Some(row.image_bytes? as f64 / MEGABYTE)
}

pub fn megabytes(row: &Row) -> Option<f64> {
    Some(row.peak_bytes? as f64 / MEGABYTE)
}

/// The steps' losses, as means over neighbouring steps.
fn losses<'r>(rows: impl Iterator<Item = &'r Row>) -> Vec<(f64, f64)> {
    let points: Vec<(f64, f64)> =
        rows.filter_map(|row| Some((row.step? as f64, row.loss?))).collect();
    let mean = |points: &[(f64, f64)]| {
        let count = points.len() as f64;
        let sum = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / count, sum.1 / count)
    };
    points.chunks(points.len().div_ceil(LOSSES).max(1)).map(mean).collect()
}

impl Shown<'_> {
    pub fn sections(&self) -> Result<Vec<Section>> {
        let section = |title: &'static str, parts| Section { title: title.into(), parts };
        let note = "Peak memory is that of one gradient on one thread, counted by the allocator, beyond the \
                    gradient itself, parameters and the optimiser's state. Seconds are those of the \
                    training on all threads; nothing is claimed about them.";
        let mut sections = vec![
            section(
                "Fine-tuned as flows",
                vec![
                    Part::Table(self.methods()),
                    Part::Text(note.into()),
                    Part::Figures(vec![self.courses(Kind::Step, &Entrant::tuned())?]),
                ],
            ),
            section(
                "One gradient of deeper flows",
                vec![
                    Part::Figures(self.memory_figures()?),
                    Part::Figures(vec![self.errors()?]),
                    Part::Table(self.gradients()),
                ],
            ),
            section(
                "Deeper flows",
                vec![
                    Part::Table(self.carried()),
                    Part::Figures(vec![self.courses(Kind::DeepStep, &Entrant::deep())?]),
                    Part::Table(self.deep()),
                ],
            ),
        ];
        if self.transferred {
            let parts = vec![
                Part::Table(self.transfers_table()),
                Part::Figures(vec![self.transfer_figure()?]),
            ];
            sections.push(section("On other images", parts));
        }
        Ok(sections)
    }

    fn transfer_figure(&self) -> Result<Figure> {
        let curve = |(start, ink): (Start, _)| {
            let steps = self.of_kind(Kind::TransferStep).filter(|row| row.start == Some(start));
            let name = format!("{} weights", start.name()).into();
            Curve { name, ink, stroke: Stroke::Bold, points: losses(steps) }
        };
        let curves: Vec<Curve> = Start::ALL.into_iter().zip(CURVES).map(curve).collect();
        let frame = Frame { x: "step", y: "loss", across: Scale::Tight, ..Frame::RATES };
        Ok(Figure::new("Loss on other images", &frame, &curves)?)
    }

    /// The loss over the steps of some trainings.
    fn courses(&self, kind: Kind, entrants: &[Entrant]) -> Result<Figure> {
        let mut curves = Vec::new();
        for (entrant, ink) in entrants.iter().zip(CURVES) {
            let points = losses(self.of(kind, entrant));
            let name = entrant.to_string().into();
            curves.push(Curve { name, ink, stroke: Stroke::Bold, points });
        }
        let frame = Frame { x: "step", y: "loss", across: Scale::Tight, ..Frame::RATES };
        let title = match kind {
            Kind::DeepStep => "Loss of the deep flows",
            _ => "Loss of the fine-tunings",
        };
        Ok(Figure::new(title, &frame, &curves)?)
    }

    /// Some number of the gradients against the number of blocks, a curve a method.
    fn curves(&self, value: impl Fn(&Row) -> Option<f64>) -> Vec<Curve> {
        let curve = |(entrant, ink): (Entrant, _)| Curve {
            name: entrant.name().into(),
            ink,
            stroke: Stroke::Bold,
            points: self.over_depth(&entrant, &value),
        };
        Entrant::measured().into_iter().zip(CURVES).map(curve).collect()
    }

    /// What an image takes, and what is there with it.
    fn memory_figures(&self) -> Result<Vec<Figure>> {
        let mut images = self.curves(megabytes_an_image);
        for (entrant, slope, name) in
            [(Entrant::BACKPROP, 1.0, "slope 1"), (Entrant::CHECKPOINT, 0.5, "slope ½")]
        {
            let points = power_law(&self.over_depth(&entrant, megabytes_an_image), slope);
            images.push(Curve { name: name.into(), ink: GREY, stroke: Stroke::Dashed, points });
        }
        let mut all = vec![Curve {
            name: "parameters (not counted)".into(),
            ink: GREY,
            stroke: Stroke::Broad,
            points: self.over_depth(&Entrant::CHECKPOINT, |row| {
                Some(row.parameter_bytes? as f64 / MEGABYTE)
            }),
        }];
        all.extend(self.curves(megabytes));
        let frame = Frame { x: "blocks", y: "peak memory (MB)", ..Frame::RATES };
        let count = self.of_kind(Kind::Gradient).find_map(|row| row.images).unwrap_or(0);
        let whole = format!("Peak memory of a gradient on {count} images");
        let note = "Beyond parameters and gradient; grey: the parameters.";
        Ok(vec![
            Figure::new("Peak memory of an image more", &frame, &images)?,
            Figure { note: note.into(), ..Figure::new(whole, &frame, &all)? },
        ])
    }

    fn errors(&self) -> Result<Figure> {
        let mut curves = Vec::new();
        for (entrant, ink) in [Entrant::PREDICTED, Entrant::ADAPTIVE].into_iter().zip(CURVES) {
            let values: [(&str, Stroke, Value); 2] = [
                ("state error", Stroke::Bold, |row| row.state_error),
                ("estimate", Stroke::Thin, |row| row.estimate),
            ];
            for (what, stroke, value) in values {
                let points = self.over_depth(&entrant, value);
                let name = format!("{}, {what}", entrant.name()).into();
                curves.push(Curve { name, ink, stroke, points });
            }
        }
        let frame = Frame { x: "blocks", y: "relative error", ..Frame::RATES };
        Ok(Figure::new("What the adjoints recover", &frame, &curves)?)
    }
}
