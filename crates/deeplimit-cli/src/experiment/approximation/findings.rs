//! What the networks show: slopes over depth, bounds beside distances, limits.

use super::{FAMILIES, Kind, Row, TIGHT, networks};
use crate::experiment::{power_law, smaller, within};
use crate::page::{
    BLUE, CURVES, Claim, Curve, Figure, Frame, GREEN, GREY, ORANGE, Part, Scale, Section, Stroke,
    Table, Text, VIOLET, significant,
};
use anyhow::Result;
use deeplimit::control::Family;
use deeplimit::gradient::larger;
use deeplimit::limit::Slope;
use std::ops::RangeInclusive;

/// Slopes are fitted from this depth on: shallower networks are not yet in their limit.
const FIT_FROM: usize = 16;

/// The same for what remains beside noise of size N^(−1/2).
const NOISY_FROM: usize = 256;

/// What roundings in 8 substeps a layer may add to a distance that is zero.
const ROUNDING: f64 = 1e-12;

/// All rows, and the depths of the experiment.
pub struct Measured<'a> {
    pub rows: &'a [Row],
    pub depths: &'a [usize],
}

/// Points of a curve.
type Points = Vec<(f64, f64)>;

/// One of a row's numbers.
type Column = fn(&Row) -> Option<f64>;

/// A slope that theory has, the range that it is claimed to lie in, and the depth from which it is fitted.
struct Expected {
    theory: f64,
    range: RangeInclusive<f64>,
    from: usize,
}

/// What is drawn and fitted over depth: name, number of a row, and the slopes of the families in turn.
struct Quantity {
    name: &'static str,
    column: Column,
    slopes: [Expected; 4],
}

/// The table of slopes: smooth, brownian, alternating, iid.
fn quantities() -> [Quantity; 5] {
    let of = |theory, range| Expected { theory, range, from: FIT_FROM };
    let first = || of(-1.0, -1.15..=-0.85);
    // The sums of increments of single Brownian paths scatter.
    let rough = || of(-1.0, -1.25..=-0.75);
    let still = || of(0.0, -0.1..=0.1);
    let noisy = || Expected { from: NOISY_FROM, ..still() };
    let half = || of(-0.5, -0.75..=-0.25);
    [
        Quantity {
            name: "distance, function interpolant",
            column: |row| Some(row.distance),
            slopes: [first(), rough(), first(), first()],
        },
        Quantity {
            name: "distance, weight interpolant",
            column: |row| row.weight_distance,
            slopes: [first(), rough(), still(), noisy()],
        },
        Quantity {
            name: "bound A1",
            column: |row| row.smooth,
            slopes: [first(), half(), still(), still()],
        },
        Quantity {
            name: "bound A1-local",
            column: |row| row.local,
            slopes: [first(), half(), still(), still()],
        },
        Quantity {
            name: "bound A2",
            column: |row| row.smoothness_free,
            slopes: [first(), first(), first(), first()],
        },
    ]
}

const A1: &str = "Sander, Ablin, Peyré (2022), section 3";
const A2: &str = "our own: summation by parts of the local errors, (2e^L − 1) C/N for all weights";
const JUMPS: &str = "our own: M grows with the jumps of the weights";
const LOCAL: &str = "our own: the proof of A1 with each layer's own L and M";
const BETWEEN: &str = "our own: between two layers it uses weights that no layer has";

/// Who says so.
fn source(quantity: &str, family: Family) -> &'static str {
    match (quantity, family) {
        ("bound A2", _) => A2,
        ("bound A1-local", _) => LOCAL,
        (_, Family::Smooth) => A1,
        ("bound A1", _) => JUMPS,
        ("distance, weight interpolant", Family::Alternating | Family::Rough) => BETWEEN,
        _ => A2,
    }
}

impl Measured<'_> {
    fn of(&self, kind: Kind) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.kind == kind)
    }

    /// (N, geometric mean over the networks) of a family.
    fn over_depth(&self, family: Family, column: Column) -> Vec<(f64, f64)> {
        let at = |layers: &usize| {
            let name = networks::name(family);
            let rows = self.of(Kind::Family);
            let rows = rows.filter(|row| row.layers == *layers && row.weights == name);
            let logs: Vec<f64> = rows.filter_map(column).map(f64::ln).collect();
            (*layers as f64, (logs.iter().sum::<f64>() / logs.len() as f64).exp())
        };
        self.depths.iter().map(at).collect()
    }

    fn slope(&self, family: Family, column: Column, from: usize) -> f64 {
        let mut points = self.over_depth(family, column);
        points.retain(|(layers, _)| *layers >= from as f64);
        Slope::fit(&points).value
    }

    pub fn claims(&self) -> Vec<Claim> {
        let mut claims = self.above();
        for quantity in quantities() {
            for (family, expected) in FAMILIES.into_iter().zip(quantity.slopes) {
                let name = networks::name(family);
                let source = source(quantity.name, family);
                let claim = format!("{}, {name} weights: exponent of N ({source})", quantity.name);
                let slope = self.slope(family, quantity.column, expected.from);
                claims.push(within(claim, slope, expected.range));
            }
        }
        claims.extend(self.tight());
        claims.extend(self.away());
        claims
    }

    /// No bound is below the distance, and the bounds are ordered.
    fn above(&self) -> Vec<Claim> {
        let count = |what: &str, rows: Vec<&Row>, holds: fn(&Row) -> bool| {
            let (all, good) = (rows.len(), rows.iter().filter(|row| holds(row)).count());
            Claim {
                claim: what.into(),
                expected: format!("{all} of {all} networks"),
                measured: format!("{good} of {all} networks"),
                holds: good == all && all > 0,
            }
        };
        let family = || self.of(Kind::Family).chain(self.of(Kind::Relu)).collect();
        let random = || self.of(Kind::Random).collect();
        vec![
            count(&format!("random networks: distance ≤ A1 ({A1})"), random(), |row| {
                row.smooth.is_some_and(|bound| row.distance <= bound + ROUNDING)
            }),
            count(&format!("random networks: distance ≤ A2 ({A2})"), random(), |row| {
                row.smoothness_free.is_some_and(|bound| row.distance <= bound + ROUNDING)
            }),
            count(
                "random networks: distance ≤ A1-local ≤ A1 (our own: the same proof with each layer's \
                 own L and M)",
                random(),
                |row| match (row.local, row.smooth) {
                    (Some(local), Some(a1)) => {
                        row.distance <= local + ROUNDING && local <= a1 * (1.0 + ROUNDING)
                    }
                    _ => false,
                },
            ),
            count(
                "networks compared over depth: distance ≤ A1-local ≤ A1 ≤ A1', and distance ≤ A2",
                family(),
                |row| match (row.local, row.smooth, row.increments, row.smoothness_free) {
                    (Some(local), Some(a1), Some(increments), Some(a2)) => {
                        row.distance <= local.min(a2)
                            && local <= a1 * (1.0 + ROUNDING)
                            && a1 <= increments * (1.0 + ROUNDING)
                    }
                    _ => false,
                },
            ),
        ]
    }

    /// (N, error / A1) of the tight case, and what the closed form says.
    fn ratios(&self, l: f64) -> (Points, Points) {
        let rows = self.of(Kind::Tight).filter(|row| row.weights == format!("L = {l}"));
        let points = rows.filter_map(|row| Some((row.layers as f64, row.distance / row.smooth?)));
        let points: Points = points.collect();
        let ratio = |n: f64| ((1.0 + l / n).powf(n) - 1.0) / l.exp_m1();
        let formula = points.iter().map(|&(n, _)| (n, ratio(n))).collect();
        (points, formula)
    }

    fn tight(&self) -> Vec<Claim> {
        let ratios = TIGHT.map(|l| self.ratios(l));
        let deep = ratios.iter().flat_map(|(points, _)| points).filter(|(n, _)| *n >= 512.0);
        let least = deep.map(|(_, ratio)| *ratio).reduce(smaller).unwrap_or(f64::NAN);
        let pairs = ratios.iter().flat_map(|(points, formula)| points.iter().zip(formula));
        let off = pairs.map(|(found, said)| (found.1 - said.1).abs()).reduce(larger);
        let off = off.unwrap_or(f64::NAN);
        vec![
            within(
                "constant x'': the distance over A1 at N ≥ 512, for the worst L (A1 is nearly an \
                 equality)",
                least,
                1.0 / 1.02..=1.0,
            ),
            within(
                "constant x'': this ratio is ((1 + L/N)^N − 1)/(e^L − 1) at every N, the largest \
                 difference",
                off,
                0.0..=1e-9,
            ),
        ]
    }

    /// (N, number) of the networks with one parameter.
    fn scalar(&self, kind: Kind, weights: &str, column: Column) -> Vec<(f64, f64)> {
        let rows = self.of(kind).filter(|row| row.weights == weights);
        rows.filter_map(|row| Some((row.layers as f64, column(row)?))).collect()
    }

    fn away(&self) -> Vec<Claim> {
        let last = |points: &[(f64, f64)]| points.last().map_or(f64::NAN, |point| point.1);
        let relu = |column| self.scalar(Kind::Relu, "alternating", column);
        let gap = relu_gap();
        let mut near = relu(|row| Some(row.distance));
        near.retain(|(layers, _)| *layers >= FIT_FROM as f64);
        let mut claims = vec![
            within(
                "±relu(±x) in turn: distance to the weight interpolant's ODE at the largest N, which \
                 tends to e^{1/2} − e^{1/6} = 0.467",
                last(&relu(|row| row.weight_distance)),
                0.99 * gap..=1.01 * gap,
            ),
            within(
                format!(
                    "±relu(±x) in turn: exponent of the distance to the function interpolant's \
                         ODE ({A2})"
                ),
                Slope::fit(&near).value,
                -1.15..=-0.85,
            ),
        ];
        for a in super::DIFFUSIVE {
            let ends = |column| self.scalar(Kind::Diffusive, &format!("a = {a}"), column);
            let limit = (-a * a / 2.0).exp();
            claims.push(within(
                format!(
                    "(−1)ⁿ a √N with a = {a}: the network's output at the largest N, which tends \
                         to e^(−a²/2) (the Itô–Stratonovich difference)"
                ),
                last(&ends(|row| row.network_end)),
                0.99 * limit..=1.01 * limit,
            ));
            let from_one = ends(|row| Some((row.ode_end? - 1.0).abs()));
            claims.push(within(
                format!("(−1)ⁿ a √N with a = {a}: exponent at which the ODE's solution tends to 1"),
                Slope::fit(&from_one).value,
                -0.6..=-0.4,
            ));
            claims.push(within(
                format!(
                    "(−1)ⁿ a √N with a = {a}: the least distance at any N, over its limit \
                         1 − e^(−a²/2)"
                ),
                ends(|row| Some(row.distance))
                    .into_iter()
                    .map(|point| point.1)
                    .reduce(smaller)
                    .unwrap_or(f64::NAN)
                    / (1.0 - limit),
                0.5..=f64::INFINITY,
            ));
        }
        claims
    }

    pub fn sections(&self) -> Result<Vec<Section>> {
        let figures = FAMILIES.map(|family| self.family_figure(family));
        let figures = figures.into_iter().collect::<Result<Vec<_>>>()?;
        let slopes = Part::Table(self.slopes());
        let note = "For alternating and iid weights A1 stays where it is, because ‖f_{n+1} − f_n‖ \
                    does; the network approaches the ODE of the function interpolant all the same, as \
                    A2 says. What it does not approach is the ODE of the weight interpolant: between \
                    two layers that one uses weights which the network does not have.";
        let random = self.random_figures()?;
        Ok(vec![
            Section {
                title: "Distance and bounds over depth".into(),
                parts: vec![Part::Figures(figures), slopes, Part::Text(note.into())],
            },
            Section {
                title: "Where A1 is reached, and where the distance does not vanish".into(),
                parts: vec![Part::Small(vec![
                    self.tight_figure()?,
                    self.relu_figure()?,
                    self.diffusive_figure()?,
                ])],
            },
            Section {
                title: "Random networks".into(),
                parts: vec![Part::Figures(random), Part::Table(self.slack())],
            },
        ])
    }

    fn family_figure(&self, family: Family) -> Result<Figure> {
        let inks = [BLUE, ORANGE, GREEN, CURVES[4], VIOLET];
        let mut curves = Vec::new();
        for (quantity, ink) in quantities().into_iter().zip(inks) {
            let bound = quantity.name.starts_with("bound");
            let stroke = if bound { Stroke::Dashed } else { Stroke::Bold };
            let points = self.over_depth(family, quantity.column);
            curves.push(Curve { name: quantity.name.into(), ink, stroke, points });
        }
        let frame =
            Frame { x: "depth N", y: "max over layers ‖x_n − x(s_n)‖", ..Frame::RATES };
        let title = format!("{} weights", capital(networks::name(family)));
        Ok(Figure::new(title, &frame, &curves)?)
    }

    fn slopes(&self) -> Table {
        let mut head: Vec<Text> = vec!["exponent of N (theory)".into()];
        head.extend(FAMILIES.map(|family| Text::from(networks::name(family))));
        let row = |quantity: Quantity| {
            let mut row: Vec<Text> = vec![quantity.name.into()];
            for (family, expected) in FAMILIES.into_iter().zip(&quantity.slopes) {
                let Expected { theory, from, .. } = *expected;
                let slope = format!("{:.2} ({theory})", self.slope(family, quantity.column, from));
                row.push(slope.replace('-', "−").into());
            }
            row
        };
        let caption = format!(
            "Fitted from N = {FIT_FROM} on (iid weights and the weight interpolant: {NOISY_FROM}), to \
                 geometric means over the networks"
        );
        Table { caption: caption.into(), head, rows: quantities().map(row).into() }
    }

    fn tight_figure(&self) -> Result<Figure> {
        let mut curves = Vec::new();
        for (l, ink) in TIGHT.into_iter().zip(CURVES) {
            let (points, formula) = self.ratios(l);
            let name = format!("L = {l}").into();
            curves.push(Curve { name, ink, stroke: Stroke::Bold, points });
            curves.push(Curve { name: "".into(), ink, stroke: Stroke::Dashed, points: formula });
        }
        let frame = Frame { y: "distance / A1", ..NARROW };
        let note = "φ = Lx + b(s) with constant x''. Dashed: ((1 + L/N)^N − 1)/(e^L − 1).".into();
        Ok(Figure { note, ..Figure::new("A1 is reached", &frame, &curves)? })
    }

    fn relu_figure(&self) -> Result<Figure> {
        let of = |column| self.scalar(Kind::Relu, "alternating", column);
        let function = of(|row| Some(row.distance));
        let limit = of(|_| Some(relu_gap()));
        let curve = |name: &'static str, ink, stroke, points| Curve {
            name: name.into(),
            ink,
            stroke,
            points,
        };
        let curves = [
            curve("e^{1/2} − e^{1/6}", GREY, Stroke::Dashed, limit),
            curve("weight interpolant", ORANGE, Stroke::Bold, of(|row| row.weight_distance)),
            curve("1/N", GREY, Stroke::Dashed, power_law(&function, -1.0)),
            curve("function interpolant", BLUE, Stroke::Bold, function),
        ];
        let frame = Frame { y: "distance", scale: Scale::Log, ..NARROW };
        let note = "Layers relu(x) and −relu(−x) in turn, x_0 = 1.".into();
        Ok(Figure { note, ..Figure::new("Weights between the layers", &frame, &curves)? })
    }

    fn diffusive_figure(&self) -> Result<Figure> {
        let mut curves = Vec::new();
        for (a, ink) in super::DIFFUSIVE.into_iter().zip(CURVES) {
            let ends = |column| self.scalar(Kind::Diffusive, &format!("a = {a}"), column);
            let network = ends(|row| row.network_end);
            let limit = network.iter().map(|&(n, _)| (n, (-a * a / 2.0).exp())).collect();
            let curve = |what: &str, stroke, points| {
                let name = if what.is_empty() { "".into() } else { format!("{what}, a = {a}") };
                Curve { name: name.into(), ink, stroke, points }
            };
            curves.push(curve("", Stroke::Dashed, limit));
            curves.push(curve("network", Stroke::Bold, network));
            curves.push(curve("ODE", Stroke::Thin, ends(|row| row.ode_end)));
        }
        let frame = Frame { y: "output", ..NARROW };
        let note = "θ_n = (−1)ⁿ a √N, f = θx, x_0 = 1. The networks tend to e^(−a²/2) (dashed), the \
                    ODEs to 1.";
        let note = note.into();
        Ok(Figure { note, ..Figure::new("Diffusive weights", &frame, &curves)? })
    }

    fn random_figures(&self) -> Result<Vec<Figure>> {
        let figure = |title: &'static str, ink, column: Column| -> Result<Figure> {
            let cloud = self.of(Kind::Random);
            // What is zero but for roundings has no place on a logarithmic axis.
            let cloud = cloud.filter(|row| row.distance > ROUNDING);
            let mut points: Vec<_> =
                cloud.filter_map(|row| Some((row.distance, column(row)?))).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let ends = [points.first(), points.last()].into_iter().flatten();
            let line = ends.map(|point| (point.0, point.0)).collect();
            let equal = "bound = distance".into();
            let curves = [
                Curve { name: "networks".into(), ink, stroke: Stroke::Dots, points },
                Curve { name: equal, ink: GREY, stroke: Stroke::Dashed, points: line },
            ];
            let frame = Frame { x: "distance", y: "bound", ..Frame::RATES };
            Ok(Figure::new(title, &frame, &curves)?)
        };
        Ok(vec![
            figure("A1", GREEN, |row| row.smooth)?,
            figure("A2", VIOLET, |row| row.smoothness_free)?,
        ])
    }

    /// How far the bounds are above the distance, by family.
    fn slack(&self) -> Table {
        let bounds: [(&str, Column); 4] = [
            ("A1'", |row| row.increments),
            ("A1", |row| row.smooth),
            ("A1-local", |row| row.local),
            ("A2", |row| row.smoothness_free),
        ];
        let mut head: Vec<Text> = vec!["weights".into()];
        head.extend(bounds.map(|(name, _)| Text::from(name)));
        let row = |family: Family| {
            let name = networks::name(family);
            let mut row: Vec<Text> = vec![name.into()];
            row.extend(bounds.map(|(_, column)| {
                let rows = self.of(Kind::Random);
                let rows = rows.filter(|row| row.weights.starts_with(name));
                let rows = rows.filter(|row| row.distance > ROUNDING);
                let mut ratios: Vec<f64> =
                    rows.filter_map(|row| Some(column(row)? / row.distance)).collect();
                ratios.sort_by(f64::total_cmp);
                let middle = ratios.get(ratios.len() / 2);
                middle.map_or("–".into(), |ratio| significant(*ratio).into())
            }));
            row
        };
        let caption = "Random networks: median of bound / distance".into();
        Table { caption, head, rows: FAMILIES.map(row).into() }
    }
}

/// Charts of which three stand in a row.
const NARROW: Frame<'static> =
    Frame { x: "depth N", scale: Scale::Linear, size: (400, 300), ..Frame::RATES };

/// e^{1/2} − e^{1/6}: the layers are x and 0 in turn, with mean x/2. Interpolated weights 2w − 1 give
/// (2w − 1)² x while they are positive, half of the time, and 0 while not: x/6 in the mean.
fn relu_gap() -> f64 {
    0.5f64.exp() - (1.0f64 / 6.0).exp()
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
