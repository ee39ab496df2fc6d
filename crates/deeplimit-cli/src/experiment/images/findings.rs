//! What the numbers show.

use super::{ADAPTIVE, BACKPROP, CORRECTED, METHODS, Part, Row, SCHEMES};
use crate::experiment::depth_sweep::paper::{FROZEN, PUBLISHED, WITHIN};
use crate::experiment::within;
use crate::page::{
    CURVES, Claim, Curve, Figure, Frame, Part as Block, Section, Stroke, Table, Text, significant,
};
use anyhow::Result;
use deeplimit::Scheme;
use deeplimit::gradient::larger;
use deeplimit::limit::Slope;

/// All rows of a seed.
pub struct Shown<'a> {
    pub rows: &'a [Row],
    /// Residual functions of the flows that are trained.
    pub flows: [usize; 2],
}

type Number = fn(&Row) -> Option<f64>;

const VALUE: Number = |row| row.value;

/// Depth from which on the error of a reconstruction is fitted: before, steps are too large for any order.
const FITTED: f64 = 8.0;

const NO_LIMIT: f64 = f64::INFINITY;

impl Shown<'_> {
    fn has(&self, part: Part) -> bool {
        self.rows.iter().any(|row| row.part == part)
    }

    /// (depth, number) of a method.
    fn points(
        &self,
        part: Part,
        scheme: &Scheme,
        method: &str,
        parameter: &str,
        number: Number,
    ) -> Vec<(f64, f64)> {
        let rows = self.rows.iter().filter(|row| {
            row.part == part
                && row.scheme == scheme.name()
                && row.method == method
                && row.parameter == parameter
        });
        rows.map(|row| (row.depth as f64, number(row).unwrap_or(f64::NAN))).collect()
    }

    fn recovered(&self, scheme: &Scheme, method: &str) -> Vec<(f64, f64)> {
        self.points(Part::Reconstruction, scheme, method, "", VALUE)
    }

    fn gradients(&self, scheme: &Scheme, method: &str) -> Vec<(f64, f64)> {
        self.points(Part::Gradients, scheme, method, "", VALUE)
    }

    pub fn claims(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        // Nothing measured is no success.
        let nothing = self.rows.is_empty();
        if nothing || self.has(Part::Reconstruction) {
            claims.extend(self.reconstruction());
        }
        if nothing || self.has(Part::Gradients) {
            claims.extend(self.gradient());
        }
        if nothing || self.has(Part::Training) {
            claims.extend(self.training());
        }
        claims
    }

    fn reconstruction(&self) -> Vec<Claim> {
        let slope = |scheme: &Scheme, method: &str| {
            let mut points = self.recovered(scheme, method);
            points.retain(|point| point.0 >= FITTED);
            Slope::fit(&points).value
        };
        let [euler, heun] = &SCHEMES;
        // At the greatest depth of both.
        let over = |scheme: &Scheme, method: &str, other: &Scheme| {
            let all = self.recovered(other, PUBLISHED);
            let own = self.recovered(scheme, method).into_iter().rev();
            let mut pairs = own.filter_map(|(depth, error)| {
                let same = all.iter().find(|point| point.0 == depth)?;
                Some(error / same.1)
            });

            pairs.next().unwrap_or(f64::NAN)
        };
        vec![
            within(
                "reconstruction, euler, adjoint-published: exponent of the error over N (Sander, Ablin, Peyré \
                 2022: at most −1)",
                slope(euler, PUBLISHED),
                -NO_LIMIT..=-0.9,
            ),
            within(
                "reconstruction, euler, adjoint-published: exponent of the error over N, −1.5 for independent \
                 layers (own)",
                slope(euler, PUBLISHED),
                -1.65..=-1.3,
            ),
            within(
                "reconstruction, heun, adjoint-published: exponent of the error over N, −1.5 for independent \
                 layers (own)",
                slope(heun, PUBLISHED),
                -1.65..=-1.3,
            ),
            within(
                "reconstruction, euler, adjoint-corrected: exponent of the error over N, −2.5 for independent \
                 layers (own)",
                slope(euler, CORRECTED),
                -2.8..=-2.2,
            ),
            within(
                "reconstruction, deepest networks, adjoint-published: error of heun over that of euler (own)",
                over(heun, PUBLISHED, euler),
                0.3..=0.9,
            ),
            within(
                "reconstruction, euler, deepest networks: error of adjoint-adaptive over that of \
                 adjoint-published (own)",
                over(euler, ADAPTIVE, euler),
                0.0..=0.1,
            ),
        ]
    }

    fn gradient(&self) -> Vec<Claim> {
        let [euler, heun] = &SCHEMES;
        let slope = |scheme: &Scheme| Slope::fit(&self.gradients(scheme, PUBLISHED)).value;
        // The largest ratio of medians over the depths.
        let ratio = |[a, b]: [Vec<(f64, f64)>; 2]| {
            let there = !a.is_empty() && a.len() == b.len();
            let ratios = a.iter().zip(&b).map(|(a, b)| a.1 / b.1);
            let largest = ratios.fold(0.0, larger);
            if there { largest } else { f64::NAN }
        };
        vec![
            within(
                "gradients, euler, adjoint-published: exponent over N of the median error (Sander, Ablin, Peyré \
                 2022, figure 3c: falls)",
                slope(euler),
                -NO_LIMIT..=-0.5,
            ),
            within(
                "gradients, heun, adjoint-published: exponent over N of the median error (Sander, Ablin, Peyré \
                 2022, figure 3c: falls)",
                slope(heun),
                -NO_LIMIT..=-0.5,
            ),
            within(
                "gradients, adjoint-published: median error of heun over that of euler, at the worst depth \
                 (Sander, Ablin, Peyré 2022, figure 3c: smaller)",
                ratio([heun, euler].map(|scheme| self.gradients(scheme, PUBLISHED))),
                0.0..=1.0,
            ),
            within(
                "gradients, euler: median error of adjoint-corrected over that of adjoint-published, at the worst \
                 depth (own)",
                ratio([CORRECTED, PUBLISHED].map(|method| self.gradients(euler, method))),
                0.0..=1.0,
            ),
        ]
    }

    fn trained(&self, depth: usize, method: &str, number: Number) -> f64 {
        let mut rows = self.rows.iter().filter(|row| row.part == Part::Training);
        let row = rows.find(|row| row.depth == depth && row.method == method);
        row.and_then(number).unwrap_or(f64::NAN)
    }

    /// How much of the loss that backprop takes off a method does: 0 where the flow might as well not be trained,
    /// 1 where it is trained as by backprop.
    fn share(&self, method: &str) -> f64 {
        let loss = |method| self.trained(self.flows[0], method, |row| row.loss);
        let mut few = self.rows.iter().filter(|row| row.depth == self.flows[0]);
        if few.any(|row| row.method == method && row.diverged) {
            return -NO_LIMIT;
        }
        (loss(FROZEN) - loss(method)) / (loss(FROZEN) - loss(BACKPROP))
    }

    fn training(&self) -> Vec<Claim> {
        let [few, many] = self.flows;
        let loss = |method| self.trained(many, method, |row| row.loss);
        vec![
            within(
                "training, few functions: h L of the flow that backprop has trained",
                self.trained(few, BACKPROP, VALUE),
                1.0..=NO_LIMIT,
            ),
            within(
                "training, few functions: loss that backprop takes off a flow that is not trained",
                self.trained(few, FROZEN, |row| row.loss)
                    - self.trained(few, BACKPROP, |row| row.loss),
                0.1..=NO_LIMIT,
            ),
            within(
                "training, few functions: share of it with adjoint-published (after Sander, Ablin, Peyré 2022, \
                 figure 3b: falls behind)",
                self.share(PUBLISHED),
                -NO_LIMIT..=0.9,
            ),
            within(
                "training, few functions: share of it with adjoint-published within 0.01 (own)",
                self.share(WITHIN),
                0.95..=NO_LIMIT,
            ),
            within(
                "training, many functions: loss with adjoint-published minus that with backprop (own)",
                loss(PUBLISHED) - loss(BACKPROP),
                -0.05..=0.05,
            ),
        ]
    }

    pub fn sections(&self) -> Result<Vec<Section>> {
        let mut sections = Vec::new();
        if self.has(Part::Reconstruction) {
            let figures = SCHEMES.iter().map(|scheme| self.recovered_figure(scheme));
            sections.push(Section {
                title: "What the way back recovers at the start".into(),
                parts: vec![
                    Block::Figures(figures.collect::<Result<Vec<_>>>()?),
                    Block::Table(self.table(Part::Reconstruction, "Relative error of x₀")),
                ],
            });
        }
        if self.has(Part::Gradients) {
            let figures = SCHEMES.iter().map(|scheme| self.gradient_figure(scheme));
            sections.push(Section {
                title: "Gradients of single parameters of one trained network".into(),
                parts: vec![
                    Block::Figures(figures.collect::<Result<Vec<_>>>()?),
                    Block::Table(self.table(
                        Part::Gradients,
                        "Relative error of the gradient of a parameter, the median",
                    )),
                ],
            });
        }
        if self.has(Part::Training) {
            sections.push(Section {
                title: "Trainings".into(),
                parts: vec![Block::Table(self.trainings())],
            });
        }
        Ok(sections)
    }

    fn recovered_figure(&self, scheme: &Scheme) -> Result<Figure> {
        let curve = |(index, method): (usize, &&'static str)| {
            let points = self.recovered(scheme, method);
            Curve { name: (*method).into(), ink: CURVES[index], stroke: Stroke::Bold, points }
        };
        let curves: Vec<Curve> = METHODS.iter().enumerate().map(curve).collect();
        let frame = Frame { x: "steps N", y: "relative error of x₀", ..Frame::RATES };
        Ok(Figure::new(format!("Recovered images, {scheme}"), &frame, &curves)?)
    }

    fn gradient_figure(&self, scheme: &Scheme) -> Result<Figure> {
        let mut curves = Vec::new();
        for (index, method) in METHODS.into_iter().enumerate() {
            let numbers: [(Number, Stroke); 3] = [
                (VALUE, Stroke::Bold),
                (|row| row.quarter, Stroke::Thin),
                (|row| row.three_quarters, Stroke::Thin),
            ];
            for (number, stroke) in numbers {
                let points = self.points(Part::Gradients, scheme, method, "", number);
                let name = if stroke == Stroke::Bold { method.into() } else { "".into() };
                curves.push(Curve { name, ink: CURVES[index], stroke, points });
            }
        }
        let frame = Frame { x: "functions N", y: "relative gradient error", ..Frame::RATES };
        let note = "Bold: the median over the parameters. Thin: their quartiles.";
        let figure = Figure::new(format!("Single parameters, {scheme}"), &frame, &curves)?;
        Ok(Figure { note: note.into(), ..figure })
    }

    fn table(&self, part: Part, caption: &'static str) -> Table {
        let mut head: Vec<Text> = vec!["scheme".into(), "N".into()];
        head.extend(METHODS.map(Text::from));
        let mut rows = Vec::new();
        for scheme in &SCHEMES {
            let columns = METHODS.map(|method| self.points(part, scheme, method, "", VALUE));
            for (index, (depth, _)) in columns[0].iter().enumerate() {
                let mut row: Vec<Text> = vec![scheme.name().into(), depth.to_string().into()];
                row.extend(columns.iter().map(|column| {
                    column.get(index).map_or("–".into(), |point| significant(point.1).into())
                }));
                rows.push(row);
            }
        }
        Table { caption: caption.into(), head, rows }
    }

    fn trainings(&self) -> Table {
        let head = ["N", "method", "loss", "test error, %", "error estimate", "h L"];
        let told =
            |number: Option<f64>| number.map_or("–".into(), |n| Text::from(significant(n)));
        let rows = self.rows.iter().filter(|row| row.part == Part::Training).map(|row| {
            let loss = if row.diverged { "left the numbers".into() } else { told(row.loss) };
            let start: [Text; 2] = [row.depth.to_string().into(), row.method.clone().into()];
            let numbers = [loss, told(row.test_error), told(row.estimate), told(row.value)];
            start.into_iter().chain(numbers).collect()
        });
        let caption = "Mean loss and error estimates of the last epoch";
        Table { caption: caption.into(), head: head.map(Text::from).into(), rows: rows.collect() }
    }
}
