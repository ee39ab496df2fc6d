//! Claims, tables and figures of [`adjoint-order`](super).

use super::theory::{self, Measure, Stated, TOLERANCE, in_mean_square, stated};
use super::{DIFFERENCES, Net, Row, SQUARED, STAGED, parsed};
use crate::experiment::{Findings, name_dashes, power_law, within};
use crate::page::{
    CURVES, Claim, Curve, Figure, Frame, Ink, Part, Section, Stroke, Table, Text, significant,
};
use anyhow::Result;
use deeplimit::gradient::{Adjoint, larger};
use deeplimit::limit::Slope;
use deeplimit::scheme::reversible::AnyReversible;
use deeplimit::{Method, Scheme};

/// Errors below this are rounding, and tell nothing of an order.
const FLOOR: f64 = 1e-12;

/// As many of the deepest errors above rounding give the order; those in mean square all do, because
/// they scatter more than they bend.
const FITTED: usize = 3;

/// A method on a kind of network with a scheme.
struct Line<'a> {
    net: Net,
    scheme: Scheme,
    method: &'a str,
    rows: Vec<&'a Row>,
}

impl Measure {
    fn of(self, row: &Row) -> Option<f64> {
        match self {
            Self::Reconstruction => row.reconstruction_error,
            Self::State => Some(row.state_error),
            Self::Gradient => Some(row.gradient_error),
            Self::Cotangent => Some(row.cotangent_error),
        }
    }
}

impl Line<'_> {
    fn adjoint(&self) -> Option<Adjoint> {
        match parsed(self.method) {
            Method::Adjoint(adjoint) => Some(adjoint),
            _ => None,
        }
    }

    /// (depth, error) where it is more than rounding.
    fn points(&self, measure: Measure) -> Vec<(f64, f64)> {
        let point = |row: &&Row| Some((row.depth as f64, measure.of(row)?));
        let points = self.rows.iter().filter_map(point);
        points.filter(|(_, error)| error.is_nan() || *error >= FLOOR).collect()
    }

    /// The fitted order, where enough errors are more than rounding.
    fn order(&self, measure: Measure) -> Option<f64> {
        let points = self.points(measure);
        let fitted = if self.is_square() { points.len() } else { FITTED };
        let last = &points[points.len().saturating_sub(fitted)..];
        (last.len() >= FITTED).then(|| -Slope::fit(last).value)
    }

    fn is_square(&self) -> bool {
        self.rows.first().is_some_and(|row| row.mean == "square")
    }

    fn stated(&self, measure: Measure) -> Stated {
        match self.adjoint() {
            Some(adjoint) if self.is_square() => in_mean_square(&self.scheme, &adjoint, measure),
            Some(adjoint) => stated(self.net, &self.scheme, &adjoint, measure),
            None => Stated::Nothing,
        }
    }

    /// How far the measured order lies outside of the stated one; infinite where it is not a number.
    fn gap(&self, measure: Measure) -> Option<f64> {
        let gap = self.stated(measure).gap(self.order(measure)?)?;
        Some(if gap.is_nan() { f64::INFINITY } else { gap })
    }
}

/// Everything that is measured of one kind of network with one scheme of a tableau.
fn lines<'a>(rows: &'a [Row], net: Net, scheme: &Scheme, mean: &str) -> Vec<Line<'a>> {
    let methods: &[&str] = match (mean, *scheme == Scheme::EULER) {
        ("square", _) => &SQUARED,
        (_, true) => &super::METHODS,
        _ => &STAGED,
    };
    let line = |method: &&'a str| {
        let own = |row: &&Row| {
            row.net == net.name()
                && row.scheme == scheme.name()
                && row.mean == mean
                && row.method == *method
        };
        let rows: Vec<&Row> = rows.iter().filter(own).collect();
        Line { net, scheme: scheme.clone(), method, rows }
    };
    methods.iter().map(line).filter(|line| !line.rows.is_empty()).collect()
}

/// Claims and sections of all rows.
pub fn findings(rows: &[Row]) -> Result<Findings> {
    let mut claims = exact(rows);
    let mut sections = Vec::new();
    for net in Net::ALL {
        let mut parts = Vec::new();
        let (mut tables, mut figures) = (Vec::new(), Vec::new());
        for scheme in Scheme::ALL {
            let lines = lines(rows, net, &scheme, "geometric");
            if lines.is_empty() {
                continue;
            }
            claims.extend(orders(&lines, &format!("{}, {scheme}", net.name())));
            tables.push(table(
                &lines,
                format!("{}, {scheme}: orders, measured (stated)", net.name()),
            ));
            for measure in [Measure::Gradient, Measure::Reconstruction] {
                figures.push(figure(&lines, measure, &scheme)?);
            }
        }
        parts.push(Part::Figures(figures));
        parts.extend(tables.into_iter().map(Part::Table));
        let squared = lines(rows, net, &Scheme::EULER, "square");
        if !squared.is_empty() {
            claims.extend(orders(&squared, "relu in mean square over samples, euler"));
            let what = [Measure::Gradient, Measure::Cotangent];
            let figures = what.map(|measure| figure(&squared, measure, &Scheme::EULER));
            parts.push(Part::Figures(figures.into_iter().collect::<Result<_>>()?));
            let caption = "relu, euler, in mean square over samples: orders, measured (stated)";
            parts.push(Part::Table(table(&squared, caption.to_owned())));
        }
        sections.push(Section { title: heading(net).into(), parts });
    }
    claims.extend(costs(rows));
    let (more, section) = reversible(rows)?;
    claims.extend(more);
    sections.push(section);
    Ok(Findings { claims, sections })
}

fn heading(net: Net) -> &'static str {
    match net {
        Net::Smooth => "Smooth weights, tanh",
        Net::Rough => "Rough weights, tanh",
        Net::Relu => "Smooth weights, relu",
        Net::Conv => "Convolutions, smooth weights, tanh",
        Net::ConvBn => "Convolutions with batch normalisation, smooth weights, tanh",
    }
}

/// That the reference and the exact methods are exact, and the adaptive one within its tolerance.
fn exact(rows: &[Row]) -> Vec<Claim> {
    let largest = |keep: &dyn Fn(&Row) -> bool, value: fn(&Row) -> f64| {
        let kept = rows.iter().filter(|row| keep(row)).map(value);
        kept.fold(f64::NEG_INFINITY, larger)
    };
    let error = |row: &Row| larger(row.gradient_error, row.cotangent_error);
    let differences = |kinks: bool| {
        largest(&|row| row.method == DIFFERENCES && (row.net == "relu") == kinks, |r| {
            r.gradient_error
        })
    };
    let adaptive =
        |row: &Row| row.method == "adjoint-adaptive" && row.net != "relu" && row.mean != "square";
    let own: Vec<&Row> = rows.iter().filter(|row| adaptive(row)).collect();
    let above: usize = own.iter().map(|row| row.networks_above).sum();
    let networks: usize = own.iter().map(|row| row.networks).sum();
    vec![
        within(
            "backprop, the reference: derivatives along random directions are those of central \
             differences of the loss (tanh; of order 4, step 3·10⁻⁴)",
            differences(false),
            0.0..=1e-8,
        ),
        within(
            "the same with relu (step 10⁻⁶, so that no kink is crossed)",
            differences(true),
            0.0..=1e-6,
        ),
        within(
            "checkpointing is exact: largest error of gradient and cotangent against backprop",
            largest(&|row| row.method == "checkpoint", error),
            0.0..=1e-12,
        ),
        Claim {
            claim: "adjoint-adaptive: gradient error at tanh networks of any depth and roughness at most 4 \
                    times its tolerance 10⁻³"
                .into(),
            expected: "in at least 99 of 100 networks".into(),
            measured: format!(
                "all but {above} of {networks}; largest {} times",
                significant(largest(&adaptive, |row| row.gradient_error_largest / 1e-3))
            ),
            holds: networks > 0 && 100 * above <= networks,
        },
    ]
}

/// A claim a measure: the method that is farthest from its order.
fn orders(lines: &[Line<'_>], what: &str) -> Vec<Claim> {
    let claim = |measure: Measure| {
        let judged = lines.iter().filter_map(|line| Some((line.gap(measure)?, line)));
        let judged: Vec<_> = judged.collect();
        let (gap, worst) = judged.iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
        let found = significant(worst.order(measure).unwrap_or(f64::NAN));
        Some(Claim {
            claim: format!(
                "{what}: the {} error has the stated order, {}",
                measure.name(),
                source(worst.net)
            ),
            expected: format!("{} methods within {TOLERANCE}", judged.len()),
            measured: format!(
                "off by at most {}: {} has {found}, stated {}",
                significant(*gap),
                worst.method,
                worst.stated(measure)
            ),
            holds: *gap <= TOLERANCE,
        })
    };
    Measure::ALL.into_iter().filter_map(claim).collect()
}

fn source(net: Net) -> &'static str {
    match net {
        Net::Smooth | Net::Conv | Net::ConvBn => {
            "k + m for prediction of order k and m sweeps (Sander, Ablin, Peyré 2022, section 4, prove 1 for the \
             published method with Euler's scheme and 2 with Heun's; the rest is this project's)"
        }
        Net::Rough => "one a sweep",
        Net::Relu => "q for the states, in mean square q/2 for gradients, (q + 1)/2 for cotangents",
    }
}

/// That methods cost what they are said to.
fn costs(rows: &[Row]) -> Option<Claim> {
    let mut worst: Option<(f64, String)> = None;
    let mut count = 0;
    for net in Net::ALL {
        for scheme in Scheme::ALL {
            for line in lines(rows, net, &scheme, "geometric") {
                let (Some(adjoint), Some(row)) = (line.adjoint(), line.rows.last()) else {
                    continue;
                };
                let (least, most) = theory::cost(&scheme, &adjoint);
                // The first layers have more evaluations (learned) or fewer (exact states are kept).
                let start = 8.0 * scheme.stages() as f64 / row.depth as f64;
                let excess = (least - row.cost_units).max(row.cost_units - most) - start;
                count += 1;
                let what = format!("{} on {} {scheme}", line.method, net.name());
                if worst.as_ref().is_none_or(|(found, _)| excess > *found) {
                    worst = Some((excess, format!("{what} costs {}", significant(row.cost_units))));
                }
            }
        }
    }
    let (excess, what) = worst?;
    Some(Claim {
        claim: "cost in evaluations of all layers, a pull-back counting 2, times the stages: 3 + m for m \
                evaluations a layer, 4 to 7 for the adaptive method; the first layers differ"
            .into(),
        expected: format!("all {count} methods and networks"),
        measured: format!("{}; {what} is nearest to failing", if excess <= 0.0 { "all" } else { "not all" }),
        holds: excess <= 0.0,
    })
}

fn table(lines: &[Line<'_>], caption: String) -> Table {
    let mut head: Vec<Text> = vec!["method".into()];
    head.extend(Measure::ALL.map(|measure| Text::from(measure.name())));
    head.extend(
        ["verdict", "gradient error at the deepest", "cost", "stated cost"].map(Text::from),
    );
    let row = |line: &Line<'_>| {
        let mut cells: Vec<Text> = vec![line.method.to_owned().into()];
        for measure in Measure::ALL {
            let order = line.order(measure).map_or("rounding".into(), significant);
            let exact = line.adjoint().is_none();
            let cell = match line.stated(measure) {
                _ if exact => "exact".into(),
                _ if line.rows.iter().all(|row| measure.of(row).is_none()) => "–".into(),
                Stated::Nothing => order,
                stated => format!("{order} ({stated})"),
            };
            cells.push(cell.into());
        }
        let gaps: Vec<f64> =
            Measure::ALL.into_iter().filter_map(|measure| line.gap(measure)).collect();
        let verdict = match gaps.iter().copied().reduce(f64::max) {
            None => "–",
            Some(gap) if gap <= TOLERANCE => "PASS",
            Some(_) => "FAIL",
        };
        let last = line.rows.last().expect("a line has rows");
        let cost = |value: f64| if value == 0.0 { "–".into() } else { significant(value) };
        let stated = line.adjoint().map(|adjoint| theory::cost(&line.scheme, &adjoint));
        let stated = match stated {
            Some((least, most)) if least == most => format!("{least}"),
            Some((least, most)) => format!("{least} to {most}"),
            None => format!("{}", 4 * line.scheme.stages()),
        };
        cells.extend([
            verdict.into(),
            significant(last.gradient_error).into(),
            cost(last.cost_units).into(),
            stated.into(),
        ]);
        cells
    };
    Table { caption: caption.into(), head, rows: lines.iter().map(row).collect() }
}

fn figure(lines: &[Line<'_>], measure: Measure, scheme: &Scheme) -> Result<Figure> {
    let mut curves = Vec::new();
    let adjoints = lines.iter().filter(|line| line.adjoint().is_some());
    for (line, ink) in adjoints.zip(CURVES) {
        let points = line.points(measure);
        if let Some(order) = line.stated(measure).line() {
            let points = power_law(&points, -order);
            curves.push(Curve { name: "".into(), ink, stroke: Stroke::Dashed, points });
        }
        let name = match line.order(measure) {
            Some(order) if line.stated(measure) != Stated::Nothing => {
                format!("{}, order {}", line.method, significant(order))
            }
            _ => line.method.to_owned(),
        };
        curves.push(Curve { name: name.into(), ink, stroke: Stroke::Bold, points });
    }
    name_dashes(&mut curves, "stated order");
    let y = match measure {
        Measure::Reconstruction => "largest relative error of a state",
        Measure::State => "relative error of x₀",
        Measure::Gradient => "relative gradient error",
        Measure::Cotangent => "relative error of the cotangent of x₀",
    };
    let frame = Frame { x: "depth N", y, size: (520, 360), ..Frame::RATES };
    let title = match measure {
        Measure::Gradient => format!("Gradient, {scheme}"),
        Measure::Cotangent => format!("Cotangent of x₀, {scheme}"),
        _ => format!("Recovered states, {scheme}"),
    };
    Ok(Figure::new(title, &frame, &curves)?)
}

/// Schemes with an exact inverse.
fn reversible(rows: &[Row]) -> Result<(Vec<Claim>, Section)> {
    let own: Vec<&Row> = rows.iter().filter(|row| row.method == "reversible").collect();
    let error =
        |row: &Row| larger(larger(row.gradient_error, row.cotangent_error), row.state_error);
    let largest = |keep: &dyn Fn(&Row) -> bool, value: &dyn Fn(&Row) -> f64| {
        let kept = own.iter().filter(|row| keep(row)).map(|row| value(row));
        kept.fold(f64::NEG_INFINITY, larger)
    };
    let momentum = |row: &Row| row.scheme == "momentum";
    // Below a few roundings nothing can be claimed.
    let lost = |row: &Row| row.state_error / (loss(row.depth) + 1e-14);
    let claims = vec![
        within(
            "schemes with an exact inverse (momentum excepted), all networks and depths: largest error of \
             gradient, cotangent and x₀ is rounding",
            largest(&|row| !momentum(row), &error),
            0.0..=1e-10,
        ),
        within(
            "momentum: the inverse loses a factor γ a layer (γ = 0.9): e₀ / (ε γ⁻ᴺ), largest over networks \
             and depths",
            largest(&momentum, &lost),
            0.0..=100.0,
        ),
        within(
            "reversible: cost over the stated one, 4 evaluations of all layers (8 of the base, for pairs), \
             largest over schemes and networks at the largest depth",
            largest(&|row| row.depth == deepest(rows), &|row| row.cost_units / cost(&row.scheme)),
            0.95..=1.1,
        ),
    ];
    let mut figures = Vec::new();
    for net in Net::ALL {
        let mut curves = Vec::new();
        let names = AnyReversible::ALL.map(|scheme| scheme.to_string());
        for (name, ink) in names.into_iter().zip(CURVES) {
            let points = |value: fn(&Row) -> f64| -> Vec<(f64, f64)> {
                let own = own.iter().filter(|row| row.net == net.name() && row.scheme == name);
                own.map(|row| (row.depth as f64, value(row))).collect()
            };
            if name == "momentum" {
                let points = points(|row| loss(row.depth));
                curves.push(stroke("", ink, Stroke::Dashed, points));
            }
            let points = points(|row| row.gradient_error);
            curves.push(stroke(name, ink, Stroke::Bold, points));
        }
        if curves.iter().any(|curve| !curve.points.is_empty()) {
            name_dashes(&mut curves, "rounding times γ⁻ᴺ");
            let y = "relative gradient error";
            let frame = Frame { x: "depth N", y, size: (520, 300), ..Frame::RATES };
            figures.push(Figure::new(format!("Gradient, {}", net.name()), &frame, &curves)?);
        }
    }
    let text = "Held against the same network's gradient from stored states: the scheme changes the \
                network, and this is about its own gradient.";
    let parts = vec![Part::Text(text.into()), Part::Figures(figures)];
    Ok((claims, Section { title: "Schemes with an exact inverse".into(), parts }))
}

fn stroke(name: impl Into<Text>, ink: Ink, stroke: Stroke, points: Vec<(f64, f64)>) -> Curve {
    Curve { name: name.into(), ink, stroke, points }
}

/// What the inverse of momentum loses, with its default γ.
fn loss(depth: usize) -> f64 {
    f64::EPSILON * deeplimit::scheme::reversible::Momentum::GAMMA.powf(-(depth as f64))
}

fn deepest(rows: &[Row]) -> usize {
    rows.iter().map(|row| row.depth).max().unwrap_or(0)
}

/// The stated cost of a scheme with an exact inverse.
fn cost(scheme: &str) -> f64 {
    match scheme.strip_prefix("mccallum-foster-").and_then(Scheme::named) {
        Some(base) => 8.0 * base.stages() as f64,
        None => 4.0,
    }
}
