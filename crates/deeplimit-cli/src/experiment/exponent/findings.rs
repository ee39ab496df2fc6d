//! What the networks show: critical exponents, and those that training chooses.

use super::{ALPHAS, BELOW, Family, RATES, Row, TRAININGS};
use crate::experiment::{most, within};
use crate::page::{
    BLUE, CURVES, Claim, Curve, Figure, Frame, GREEN, ORANGE, Part, Scale, Section, Stroke, Table,
    Text, significant,
};
use anyhow::Result;
use deeplimit::kernel::Activation;
use deeplimit::limit::Slope;
use std::ops::RangeInclusive;

/// Distances at most this are small: the networks are near the identity.
const SMALL: f64 = 0.5;

/// All rows.
pub struct Shown<'a> {
    pub rows: &'a [Row],
}

type Value = fn(&Row) -> Option<f64>;

const DELTA: Value = |row| row.delta;
const LARGEST: Value = |row| row.largest;
const INCREMENT: Value = |row| row.increment;
const ROOT_SUM: Value = |row| row.root_sum;
const CUMULATIVE: Value = |row| row.cumulative;
/// ‖M_{k+1} − M_k‖ by ‖M_k‖, the largest of each: what is left of L^β ‖M_{k+1} − M_k‖ with the β measured.
const ROUGHNESS: Value = |row| Some(row.increment? / row.largest?);

/// Networks of one activation, trained with one rate.
#[derive(Clone, Copy)]
struct Trained {
    activation: Activation,
    rate: f64,
}

impl Trained {
    fn name(self) -> String {
        format!("{}, Adam's rate {}", self.activation, self.rate)
    }
}

fn trainings() -> [Trained; 3] {
    TRAININGS.map(|(activation, rate)| Trained { activation, rate })
}

impl Shown<'_> {
    /// (L, value) of a family at one α; NaN where it is lost.
    fn drawn(&self, family: Family, alpha: f64, value: Value) -> Vec<(f64, f64)> {
        let name = family.name();
        let rows = self.rows.iter().filter(|row| row.name == name && row.alpha == Some(alpha));
        rows.map(|row| (row.layers as f64, value(row).unwrap_or(f64::NAN))).collect()
    }

    /// α with the exponent p of ‖x_L − x_0‖/‖x_0‖ in L, and whether all of these are small.
    fn distances(&self, family: Family) -> Vec<(f64, f64, bool)> {
        let at = |alpha: f64| {
            let points = self.drawn(family, alpha, |row| Some(row.distance?.exp()));
            let small = points.iter().all(|point| point.1 <= SMALL);
            (alpha, Slope::fit(&points).value, small && !points.is_empty())
        };
        ALPHAS.map(at).into()
    }

    /// Where small distances would no more depend on L: the mean of α + p, whose p is α_c − α.
    fn critical(&self, family: Family) -> f64 {
        let small: Vec<f64> = (self.distances(family).iter())
            .filter(|(.., small)| *small)
            .map(|(alpha, slope, _)| alpha + slope)
            .collect();
        small.iter().sum::<f64>() / small.len() as f64
    }

    /// The exponent in L of ln(‖x_L‖/‖x_0‖) below the critical α.
    fn explosion(&self, family: Family) -> f64 {
        Slope::fit(&self.drawn(family, BELOW, |row| row.growth)).value
    }

    /// (L, value) of trained networks; NaN where it is lost.
    fn over_depth(&self, of: Trained, value: Value) -> Vec<(f64, f64)> {
        let name = of.activation.to_string();
        let rows = self.rows.iter().filter(|row| row.name == name && row.rate == Some(of.rate));
        rows.map(|row| (row.layers as f64, value(row).unwrap_or(f64::NAN))).collect()
    }

    fn slope(&self, of: Trained, value: Value) -> f64 {
        Slope::fit(&self.over_depth(of, value)).value
    }

    pub fn claims(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        for family in Family::ALL {
            let (name, theory) = (family.name(), family.critical());
            let source = match family {
                Family::Independent => "Marion, Fermanian, Biau, Vert 2025",
                Family::Smooth => "the same paper",
                Family::Hurst(_) => "family of the same paper, number our own",
            };
            claims.push(within(
                format!(
                    "{name}: the critical α, from how ‖x_L − x_0‖/‖x_0‖ falls with L above it; theory {} \
                     ({source})",
                    significant(theory)
                ),
                self.critical(family),
                theory - 0.1..=theory + 0.1,
            ));
            let exponent = 1.0 - BELOW / theory;
            claims.push(within(
                format!(
                    "{name}: explosion below, at α = {BELOW}: exponent of ln(‖x_L‖/‖x_0‖) in L; 1 − α/α_c = {} \
                     (our own)",
                    significant(exponent)
                ),
                self.explosion(family),
                exponent - 0.1..=exponent + 0.1,
            ));
        }
        for of in trainings() {
            claims.extend(self.trained_claims(of));
        }
        claims
    }

    fn trained_claims(&self, of: Trained) -> Vec<Claim> {
        let name = of.name();
        let claim = |what: String, value: f64, range: RangeInclusive<f64>| {
            within(format!("{name}: {what}"), value, range)
        };
        let losses = self.over_depth(of, |row| row.last_loss);
        let worst = most(losses.iter().map(|loss| loss.1));
        let mut claims = vec![claim(
            "the training succeeds; largest loss at the end".into(),
            worst,
            0.0..=2.5e-3,
        )];
        let [alpha, beta] = [DELTA, LARGEST].map(|value| -self.slope(of, value));
        let roughness = self.slope(of, ROUGHNESS);
        if of.activation == Activation::Tanh {
            let paper = of.rate == RATES[0];
            let (source, ranges) = match paper {
                true => ("Cohen, Cont, Rossier, Xu 2021, observed", [0.55..=0.85, 0.1..=0.35]),
                false => ("our own: Adam moves all numbers alike", [0.45..=0.65, 0.35..=0.55]),
            };
            for ((what, value), range) in
                [("α of δ", alpha), ("β of A", beta)].into_iter().zip(ranges)
            {
                claims.push(claim(
                    format!("{what} ∝ L^−, neither 0 nor 1 ({source})"),
                    value,
                    range,
                ));
            }
            claims.push(claim(
                "α + β, of an ODE 1 (the same paper, Hypothesis 1)".into(),
                alpha + beta,
                0.75..=1.1,
            ));
            claims.push(claim(
                "Hypothesis 1: exponent of L^β max ‖A_{k+1} − A_k‖, which vanishes; −1 where the limit is \
                 Lipschitz"
                    .into(),
                roughness,
                if paper { -1.25..=-0.2 } else { -1.25..=-0.75 },
            ));
        } else {
            claims.push(claim(
                "not Hypothesis 1; exponent of L^β max ‖|δ_{k+1}| A_{k+1} − |δ_k| A_k‖, which does not vanish"
                    .into(),
                roughness,
                -0.3..=0.1,
            ));
            claims.push(claim(
                "Hypothesis 2, by the paper's statistic: (Σ ‖δ_k A_k‖²)^½ stays; its exponent"
                    .into(),
                self.slope(of, ROOT_SUM),
                -0.3..=0.1,
            ));
            claims.push(claim(
                "but the largest ‖δ_k A_k‖ falls more slowly than the L^−½ of noise with a continuous sum (our \
                 own); β"
                    .into(),
                beta,
                -0.1..=0.4,
            ));
        }
        claims
    }

    pub fn sections(&self) -> Result<Vec<Section>> {
        Ok(vec![self.before()?, self.after()?])
    }

    fn before(&self) -> Result<Section> {
        let mut curves = Vec::new();
        for (family, ink) in Family::ALL.into_iter().zip(CURVES) {
            // Explosions would leave no room for the rest.
            let points = self.distances(family).into_iter().filter(|(_, slope, _)| *slope <= 1.0);
            let points = points.map(|(alpha, slope, _)| (alpha, slope)).collect();
            curves.push(Curve { name: family.name().into(), ink, stroke: Stroke::Bold, points });
        }
        let across = Scale::Linear;
        let frame =
            Frame {
                x: "α", y: "exponent of distance in L", across, scale: across, ..Frame::RATES
            };
        let figures = vec![
            Figure::new("Above and below the critical exponent", &frame, &curves)?,
            self.growth()?,
        ];
        let head = ["weights", "critical α", "theory", "exponent of explosion", "theory"];
        let row = |family: Family| {
            let theory = family.critical();
            let numbers =
                [self.critical(family), theory, self.explosion(family), 1.0 - BELOW / theory];
            let numbers = numbers.into_iter().map(|number| Text::from(significant(number)));
            std::iter::once(Text::from(family.name())).chain(numbers).collect()
        };
        let rows = Family::ALL.into_iter().map(row).collect();
        let table = Table { head: head.map(Text::from).into(), rows, ..Table::default() };
        let note = "Left: the exponent in L of ‖x_L − x_0‖/‖x_0‖; a network explodes where it is above 0 and becomes \
                    the identity where it is below. Right: ln(‖x_L‖/‖x_0‖) over L at α = 0.3.";
        Ok(Section {
            title: "As drawn".into(),
            parts: vec![Part::Figures(figures), Part::Text(note.into()), Part::Table(table)],
        })
    }

    fn growth(&self) -> Result<Figure> {
        let curve = |(family, ink): (Family, _)| {
            let points = self.drawn(family, BELOW, |row| row.growth);
            Curve { name: family.name().into(), ink, stroke: Stroke::Bold, points }
        };
        let curves: Vec<Curve> = Family::ALL.into_iter().zip(CURVES).map(curve).collect();
        let frame = Frame { x: "depth L", y: "ln ‖x_L‖/‖x_0‖", ..Frame::RATES };
        Ok(Figure::new("Explosion below", &frame, &curves)?)
    }

    fn after(&self) -> Result<Section> {
        let inks = [BLUE, ORANGE, GREEN];
        let figure = |title: &'static str, y: &str, value: Value| {
            let curve = |(of, ink): (Trained, _)| {
                let points = self.over_depth(of, value);
                Curve { name: of.name().into(), ink, stroke: Stroke::Bold, points }
            };
            let curves: Vec<Curve> = trainings().into_iter().zip(inks).map(curve).collect();
            Figure::new(title, &Frame { x: "depth L", y, ..Frame::RATES }, &curves)
        };
        let figures = vec![
            figure("The factor", "max |δ|", DELTA)?,
            figure("The weights", "max ‖M‖", LARGEST)?,
            figure("Increments by weights", "max ‖ΔM‖ / max ‖M‖", ROUGHNESS)?,
            figure("Root sum of squares", "(Σ ‖M‖²)^½", ROOT_SUM)?,
        ];
        let values: [(&str, Value); 5] = [
            ("max |δ|", DELTA),
            ("max ‖M‖", LARGEST),
            ("max ‖ΔM‖", INCREMENT),
            ("(Σ ‖M‖²)^½", ROOT_SUM),
            ("‖Σ M‖", CUMULATIVE),
        ];
        let mut head: Vec<Text> = vec!["exponent in L".into()];
        head.extend(trainings().map(|of| Text::from(of.name())));
        let row = |(name, value): (&'static str, Value)| {
            let numbers = trainings().map(|of| Text::from(significant(self.slope(of, value))));
            std::iter::once(Text::from(name)).chain(numbers).collect()
        };
        let table = Table { head, rows: values.into_iter().map(row).collect(), ..Table::default() };
        let note = "M is A for tanh, whose layers share δ, and |δ| A for relu, whose layers have one each, as in \
                    the paper.";
        Ok(Section {
            title: "Trained, with a trainable factor".into(),
            parts: vec![Part::Figures(figures), Part::Text(note.into()), Part::Table(table)],
        })
    }
}
