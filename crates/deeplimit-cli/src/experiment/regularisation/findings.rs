//! What the descents show: distances to the limit, rates, and smoothness.

use super::{RECORDED, Row, SAMPLES, Start, Task};
use crate::experiment::{least, most, name_dashes, power_law, within};
use crate::page::{
    BLUE, CURVES, Claim, Curve, Figure, Frame, GREEN, ORANGE, Part, Scale, Section, Stroke, Table,
    Text, VIOLET, significant,
};
use anyhow::Result;
use deeplimit::kernel::Activation;
use deeplimit::limit::Slope;

/// Rates over depth are fitted from this depth on; below, terms of higher order show.
const FIT_FROM: usize = 8;

/// The same of increments: in shallower networks smooth changes from layer to layer hide the jumps.
const JUMPS_FROM: f64 = 64.0;

/// How much slower than gradient flow steps of finite length may be.
const SLOWER: f64 = 0.95;

/// Source of the claims of distances and rates.
const PAPER: &str = "Marion, Wu, Sander, Biau 2024";

/// All rows.
pub struct Shown<'a> {
    pub rows: &'a [Row],
}

/// Networks that learn digits.
type Kind = (Start, Activation);

const KINDS: [Kind; 4] = [
    (Start::Repeated, Activation::Gelu),
    (Start::Repeated, Activation::Relu),
    (Start::Independent, Activation::Gelu),
    (Start::Independent, Activation::Relu),
];

fn name((start, activation): Kind) -> String {
    format!("{} start, {activation}", start.name())
}

impl Shown<'_> {
    fn gaussian(&self, samples: usize) -> impl Iterator<Item = &Row> {
        let own = move |row: &&Row| row.task == Task::Gaussian && row.samples == samples;
        self.rows.iter().filter(own)
    }

    fn depths(&self, samples: usize) -> Vec<usize> {
        let mut depths: Vec<usize> = self.gaussian(samples).map(|row| row.layers).collect();
        depths.dedup();
        depths
    }

    /// (L, the largest of `value` over the recorded steps); NaN where one is not there.
    fn largest(&self, samples: usize, value: impl Fn(&Row) -> f64) -> Vec<(f64, f64)> {
        let at = |layers: usize| {
            let rows = self.gaussian(samples).filter(|row| row.layers == layers);
            (layers as f64, most(rows.map(&value)))
        };
        self.depths(samples).into_iter().map(at).collect()
    }

    /// sup over t of the distance to the deepest network's weights.
    fn distance(&self) -> Vec<(f64, f64)> {
        self.largest(SAMPLES[0], |row| row.distance.unwrap_or(f64::NAN))
    }

    /// The least ‖∇ℓ‖²/ℓ of a descent.
    fn constant(&self, samples: usize) -> Vec<(f64, f64)> {
        let most = self.largest(samples, |row| -row.constant);
        most.into_iter().map(|(layers, value)| (layers, -value)).collect()
    }

    /// The least of −ln(ℓ/ℓ_0)/(μ t) over depths and times, with the one μ of the shallowest network.
    fn decay(&self, samples: usize) -> f64 {
        let constants = self.constant(samples);
        let Some(&(_, constant)) = constants.first() else { return f64::NAN };
        let mut rates = Vec::new();
        let mut start = f64::NAN;
        for row in self.gaussian(samples) {
            if row.steps == 0 {
                start = row.loss;
            } else {
                rates.push(-(row.loss / start).ln() / (constant * row.time));
            }
        }
        least(rates)
    }

    /// The largest ℓ/ℓ_0 at the end.
    fn left(&self, samples: usize) -> f64 {
        let last = RECORDED[RECORDED.len() - 1];
        let loss = |layers: usize, steps: usize| {
            let mut rows = self.gaussian(samples);
            rows.find(|row| row.layers == layers && row.steps == steps)
                .map_or(f64::NAN, |row| row.loss)
        };
        let left =
            self.depths(samples).into_iter().map(|layers| loss(layers, last) / loss(layers, 0));
        most(left)
    }

    /// (L, value) of networks that have learnt digits, or have not yet.
    fn digits(&self, kind: Kind, trained: bool, value: fn(&Row) -> f64) -> Vec<(f64, f64)> {
        let own = |row: &&Row| {
            row.task == Task::Digits
                && (row.start, row.activation) == kind
                && (row.steps > 0) == trained
        };
        self.rows.iter().filter(own).map(|row| (row.layers as f64, value(row))).collect()
    }

    fn roughness(&self, kind: Kind, value: fn(&Row) -> f64) -> f64 {
        let points = self.digits(kind, true, value).into_iter();
        Slope::fit(&points.filter(|(layers, _)| *layers >= JUMPS_FROM).collect::<Vec<_>>()).value
    }

    pub fn claims(&self) -> Vec<Claim> {
        let few = SAMPLES[1];
        let fitted = |points: Vec<(f64, f64)>| {
            let points: Vec<_> =
                points.into_iter().filter(|(n, _)| *n >= FIT_FROM as f64).collect();
            Slope::fit(&points).value
        };
        let mut claims = vec![
            within(
                format!(
                    "gelu, V = 0 and equal W: the distance to the deepest network's weights, sup over depth and \
                     t ≤ T, falls like 1/L; exponent ({PAPER})"
                ),
                fitted(self.distance()),
                -1.25..=-0.75,
            ),
            within(
                format!(
                    "{few} samples: the constant μ = min ‖∇ℓ‖²/ℓ does not depend on L; its exponent ({PAPER})"
                ),
                fitted(self.constant(few)),
                -0.1..=0.1,
            ),
            within(
                format!(
                    "{few} samples: ℓ ≤ ℓ_0 exp(−μ t) at every L and t with the one μ measured at the least L, up \
                     to the length of steps; least −ln(ℓ/ℓ_0)/(μ t) (the bound: {PAPER})"
                ),
                self.decay(few),
                SLOWER..=f64::INFINITY,
            ),
            within(
                format!("{few} samples: training succeeds; largest ℓ/ℓ_0 at its end"),
                self.left(few),
                0.0..=0.2,
            ),
        ];
        for kind in KINDS {
            let (range, what) = match kind {
                (Start::Repeated, Activation::Gelu) => (-1.2..=-0.8, "smooth"),
                (Start::Repeated, _) => (-0.75..=0.2, "not smooth"),
                _ => (-0.2..=0.2, "as rough as they started"),
            };
            claims.push(within(
                format!(
                    "digits, {}: after training the weights are {what}; exponent in L of max ‖W_{{k+1}} − W_k‖, \
                     −1 if they are Lipschitz (the case: {PAPER}, section 5; the exponent: our own)",
                    name(kind)
                ),
                self.roughness(kind, |row| row.largest_increment),
                range,
            ));
        }
        let losses = KINDS.map(|kind| {
            let [before, after] =
                [false, true].map(|trained| self.digits(kind, trained, |row| row.loss));
            let ratios = before.iter().zip(&after).map(|(before, after)| after.1 / before.1);
            most(ratios)
        });
        let left = most(losses);
        claims.push(within("digits: training succeeds; largest ℓ/ℓ_0 at its end", left, 0.0..=0.5));
        claims
    }

    pub fn sections(&self) -> Result<Vec<Section>> {
        Ok(vec![self.limit()?, self.smoothness()?])
    }

    fn limit(&self) -> Result<Section> {
        let points = self.distance();
        let dashes = power_law(&points, -1.0);
        let curves = [
            Curve { name: "1/L".into(), ink: BLUE, stroke: Stroke::Dashed, points: dashes },
            Curve { name: "sup over t".into(), ink: BLUE, stroke: Stroke::Bold, points },
        ];
        let frame = Frame { x: "depth L", y: "distance of weights", ..Frame::RATES };
        let distance = Figure::new("Distance to the deepest network", &frame, &curves)?;
        let few = SAMPLES[1];
        let depths = self.depths(few);
        let shown: Vec<usize> = depths.iter().copied().step_by(2).collect();
        let mut curves = Vec::new();
        for (layers, ink) in shown.into_iter().zip(CURVES) {
            let rows = || self.gaussian(few).filter(move |row| row.layers == layers);
            let first = rows().next().map_or(f64::NAN, |row| row.loss);
            let points = rows().map(|row| (row.time, row.loss / first)).collect();
            curves.push(Curve {
                name: format!("{layers} layers").into(),
                ink,
                stroke: Stroke::Thin,
                points,
            });
        }
        if let Some(&(_, constant)) = self.constant(few).first() {
            let times = RECORDED.map(|steps| super::training::RATE * steps as f64);
            let points = times.map(|time| (time, (-constant * time).exp())).into();
            curves.push(Curve { name: "".into(), ink: VIOLET, stroke: Stroke::Dashed, points });
            name_dashes(&mut curves, "exp(−μ t)");
        }
        let frame = Frame { x: "time t", y: "ℓ/ℓ_0", across: Scale::Linear, ..Frame::RATES };
        let decay = Figure::new(format!("The loss, {few} samples"), &frame, &curves)?;
        let mut head: Vec<Text> = vec!["L".into()];
        head.extend(SAMPLES.map(|samples| Text::from(format!("μ, {samples} samples"))));
        let constants = SAMPLES.map(|samples| self.constant(samples));
        let row = |(index, (layers, _)): (usize, &(f64, f64))| {
            let mut row: Vec<Text> = vec![significant(*layers).into()];
            let own = constants.iter().map(|all| all.get(index).map_or(f64::NAN, |point| point.1));
            row.extend(own.map(|value| Text::from(significant(value))));
            row
        };
        let rows = constants[0].iter().enumerate().map(row).collect();
        let table = Table { head, rows, ..Table::default() };
        let parts = vec![Part::Figures(vec![distance, decay]), Part::Table(table)];
        Ok(Section { title: "The limit, and the rate".into(), parts })
    }

    fn smoothness(&self) -> Result<Section> {
        let mut curves = Vec::new();
        for (kind, ink) in KINDS.into_iter().zip([BLUE, ORANGE, GREEN, VIOLET]) {
            let points = self.digits(kind, true, |row| row.largest_increment);
            curves.push(Curve { name: name(kind).into(), ink, stroke: Stroke::Bold, points });
        }
        let frame = Frame { x: "depth L", y: "max ‖W_{k+1} − W_k‖", ..Frame::RATES };
        let figure = Figure::new("Digits, after training", &frame, &curves)?;
        let head = ["digits", "exponent of the largest increment", "of their root mean square"];
        let row = |kind: Kind| {
            let largest = self.roughness(kind, |row| row.largest_increment);
            let mean = self.roughness(kind, |row| row.increment);
            vec![Text::from(name(kind)), significant(largest).into(), significant(mean).into()]
        };
        let table = Table {
            head: head.map(Text::from).into(),
            rows: KINDS.map(row).into(),
            ..Table::default()
        };
        let parts = vec![Part::Figures(vec![figure]), Part::Table(table)];
        Ok(Section { title: "Smooth if start and activation are".into(), parts })
    }
}
