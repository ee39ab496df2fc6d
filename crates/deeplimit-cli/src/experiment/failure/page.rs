//! Claims, tables and figures of [`failure`](super).

use super::contraction::ACCURATE;
use super::told::{Rows, flagged, median, quiet, repaired, told};
use super::{Row, TOLERANCE, reversible::STEPS};
use crate::experiment::{Findings, name_dashes, within};
use crate::page::{
    BLUE, CURVES, Claim, Curve, Figure, Frame, GREY, Ink, ORANGE, Part, Scale, Section, Stroke,
    Table, Text, significant,
};
use anyhow::Result;
use deeplimit::limit::Slope;

fn depth(row: &Row) -> f64 {
    row.depth as f64
}

/// Claims and sections of all rows.
pub fn findings(rows: &[Row]) -> Result<Findings> {
    let failures: [fn(&Rows<'_>) -> Result<Told>; 5] =
        [scale, contraction, statistics, momentum, parasite];
    let names = ["scale", "contraction", "statistics", "momentum", "parasite"];
    let (mut claims, mut sections) = (Vec::new(), vec![overview(rows)]);
    for (tell, name) in failures.into_iter().zip(names) {
        let rows = Rows::of(rows, name);
        if !rows.0.is_empty() {
            let (own, section) = tell(&rows)?;
            claims.extend(own);
            sections.push(section);
        }
    }
    Ok(Findings { claims, sections })
}

type Told = (Vec<Claim>, Section);

/// What happened to the worst gradient of every failure, by method.
fn overview(rows: &[Row]) -> Section {
    let mut groups: Vec<(&str, &str, &str)> = Vec::new();
    let shown =
        |row: &&Row| row.variant != "again" && row.variant != "h = 1/N" && row.variant != "f64";
    for row in rows.iter().filter(shown) {
        let group = (&row.failure[..], &row.variant[..], &row.method[..]);
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let cell = |value: f64| -> Text {
        if value.is_nan() { "–".into() } else { significant(value).into() }
    };
    let line = |(failure, variant, method): (&str, &str, &str)| -> Option<Vec<Text>> {
        let own = Rows::of(rows, failure).variant(variant).method(method);
        let badness = |row: &&&Row| row.layer_error.max(row.gradient_error);
        let worst = own.0.iter().max_by(|a, b| badness(a).total_cmp(&badness(b)))?;
        Some(vec![
            failure.to_owned().into(),
            variant.to_owned().into(),
            method.to_owned().into(),
            cell(worst.gradient_error),
            cell(worst.layer_error),
            cell(worst.state_error),
            cell(worst.estimate),
            worst.stalled.to_string().into(),
            cell(worst.repaired_error),
            cell(100.0 * worst.again),
            cell(worst.repaired_cost),
        ])
    };
    let head = [
        "failure",
        "variant",
        "method",
        "gradient error",
        "worst layer",
        "e₀",
        "certificate",
        "stalled",
        "within t",
        "walked again (%)",
        "cost",
    ];
    let table = Table {
        caption:
            "The worst network of every failure: the gradient, what its certificate said, and the \
                  gradient with the tolerance t = 10⁻³. Figures are of the first seed."
                .into(),
        head: head.map(Text::from).to_vec(),
        rows: groups.into_iter().filter_map(line).collect(),
    };
    Section { title: "In short".into(), parts: vec![Part::Table(table)] }
}

fn scale(rows: &Rows<'_>) -> Result<Told> {
    let (unscaled, scaled) = (rows.variant("h = 1"), rows.variant("h = 1/N"));
    let adaptive = unscaled.method("adjoint-adaptive");
    let stalls = |rows: &Rows<'_>| rows.0.iter().filter(|row| row.stalled > 0).count();
    // Weights whose fixed points contract everywhere, and the same networks with 1/N.
    let gentle = |row: &Row| row.strength < 0.5;
    let strong = |row: &Row| row.strength >= 2.0;
    let (calm, wild) = (adaptive.only(gentle), adaptive.only(strong));
    let slope = |rows: &Rows<'_>| {
        let method = rows.method("adjoint-corrected");
        -Slope::fit(&means(&method.points(depth, |row| row.gradient_error))).value
    };
    // The same gains: those for which h L stays below 1/2 at every depth without 1/N.
    let limit = unscaled.only(|row| row.strength >= 0.5).least(|row| row.strength);
    let below = unscaled.only(|row| row.strength < limit.min(0.5));
    let claims = vec![
        flagged("no 1/N", &unscaled, |row| row.gradient_error),
        Claim {
            // Where h L ≥ 1 it need not contract, but it can, along the few states that it visits.
            claim: "no 1/N: `stalled` says of many networks that x = y − h f(x) does not contract (Banach: it \
                    does where h L < 1, and may elsewhere): adjoint-adaptive with h L ≥ 2"
                .into(),
            expected: format!("at least 1 in 3 of {} networks", wild.0.len()),
            measured: stalls(&wild).to_string(),
            holds: !wild.0.is_empty() && 3 * stalls(&wild) >= wild.0.len(),
        },
        Claim {
            claim: "and is silent where it contracts: h L < 1/2".into(),
            expected: format!("0 of {} networks", calm.0.len()),
            measured: format!("{} of {}", stalls(&calm), calm.0.len()),
            holds: !calm.0.is_empty() && stalls(&calm) == 0,
        },
        within(
            "no 1/N: more depth does not help; order of adjoint-corrected's error where h L < 1/2",
            slope(&below),
            f64::NEG_INFINITY..=0.5,
        ),
        within(
            "with 1/N it does: order of adjoint-corrected's error, all weights (stated: 2)",
            slope(&scaled),
            1.75..=2.5,
        ),
        repaired("no 1/N", &unscaled),
        quiet("with 1/N", &scaled),
    ];
    let last = unscaled.first().deepest();
    let strength = |row: &Row| row.strength;
    let (mut errors, mut within_it) = (Vec::new(), Vec::new());
    for (method, ink) in names(&last).into_iter().zip(CURVES) {
        let own = last.method(&method);
        errors.push(curve("", ink, Stroke::Dashed, own.points(strength, |row| row.estimate)));
        let points = own.points(strength, |row| row.gradient_error);
        errors.push(curve(method.clone(), ink, Stroke::Bold, points));
        let points = own.points(strength, |row| row.repaired_error);
        within_it.push(curve(method, ink, Stroke::Bold, points));
    }
    name_dashes(&mut errors, "certificate");
    let ends = [0, 1].map(|end| {
        let points = last.points(strength, |_| TOLERANCE);
        if end == 0 { points[0] } else { points[points.len() - 1] }
    });
    within_it.push(curve("tolerance", GREY, Stroke::Dashed, ends.to_vec()));
    let frame = Frame { x: "h L", y: "relative gradient error", ..FRAME };
    let depth = last.0.first().map_or(0, |row| row.depth);
    let figures = vec![
        Figure::new(format!("h = 1, depth {depth}"), &frame, &errors)?,
        Figure::new(format!("The same with the tolerance {TOLERANCE}"), &frame, &within_it)?,
    ];
    Ok((claims, section("No 1/N: x + f(x)", figures)))
}

/// Geometric means of the points at the same place.
fn means(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let runs = points.chunk_by(|a, b| a.0 == b.0);
    let mean = |run: &[(f64, f64)]| {
        let logs = run.iter().map(|point| point.1.ln());
        (run[0].0, (logs.sum::<f64>() / run.len() as f64).exp())
    };
    runs.map(mean).collect()
}

fn contraction(rows: &Rows<'_>) -> Result<Told> {
    let (single, double) = (rows.variant("f32"), rows.variant("f64"));
    let alone = single.method(ACCURATE).only(|row| row.anchors == 1);
    let strongest = single.largest(|row| row.strength);
    let lost = alone.only(|row| row.strength == strongest);
    let factor = |row: &Row| (row.state_error / row.predicted).ln().abs().exp();
    // In double precision only the method's own error is left.
    let own_error = |row: &Row| {
        let same = double.method(&row.method).only(|other| {
            [other.strength, other.anchors as f64, other.run as f64]
                == [row.strength, row.anchors as f64, row.run as f64]
        });
        same.largest(|row| row.anchor_error)
    };
    let anchored = single.method(ACCURATE).only(|row| row.anchors > 1);
    let anchored_factor =
        |row: &Row| (row.anchor_error / (row.predicted + own_error(row))).ln().abs().exp();
    let walked = single.only(|row| row.anchors == 1);
    let claims = vec![
        within(
            format!(
                "contraction: e₀ ≈ 6·10⁻⁸ e^A ‖x_N‖/‖x₀‖ with A = Σ log ‖(I + hJ)⁻¹‖, {ACCURATE} in f32, a = 4 to 16, within a factor of 10: share of the networks"
            ),
            alone.share(|row| factor(row) <= 10.0),
            0.9..=1.0,
        ),
        within(
            format!("a = {strongest}: x₀ is lost altogether in f32 (e₀)"),
            lost.largest(|row| row.state_error),
            0.3..=f64::INFINITY,
        ),
        within(
            "and recovered in f64 (e₀)",
            double
                .method(ACCURATE)
                .only(|r| r.anchors == 1 && r.strength == strongest)
                .largest(|r| r.state_error),
            0.0..=1e-4,
        ),
        within(
            "the whole gradient hardly suffers: its largest error in f32 over a = 4 to 16, because the cotangent shrinks by the same factor",
            alone.largest(|row| row.gradient_error),
            0.0..=1e-5,
        ),
        within(
            "but early layers get garbage: largest error of a layer over e₀, where x₀ is lost",
            lost.largest(|row| row.layer_error / row.state_error),
            0.25..=4.0,
        ),
        within(
            "K anchors repair it: the largest error at one is 6·10⁻⁸ e^{A/K} plus the method's own (in f64), K = 2 to 16: largest factor between both",
            anchored.largest(anchored_factor),
            1.0..=10.0,
        ),
        flagged("contraction, the worst layer", &single, |row| row.layer_error),
        repaired("contraction, f32", &walked),
        within(
            "contraction, f32: within the tolerance no layer's gradient is off by more than 14 t (t = 10⁻³): share of the gradients",
            walked.share(|row| row.repaired_layer_error <= 14.0 * TOLERANCE),
            0.99..=1.0,
        ),
    ];
    let (single, double, alone) = (single.first(), double.first(), alone.first());
    let strength = |row: &Row| row.strength;
    let double_alone = double.method(ACCURATE).only(|row| row.anchors == 1);
    let curves = [
        curve("6·10⁻⁸ e^A", GREY, Stroke::Dashed, alone.points(strength, |row| row.predicted)),
        curve("e₀, f32", BLUE, Stroke::Bold, alone.points(strength, |row| row.state_error)),
        curve(
            "e₀, f64",
            CURVES[2],
            Stroke::Bold,
            double_alone.points(strength, |row| row.state_error),
        ),
        curve(
            "worst layer, f32",
            ORANGE,
            Stroke::Bold,
            alone.points(strength, |row| row.layer_error),
        ),
        curve(
            "whole gradient, f32",
            CURVES[3],
            Stroke::Bold,
            alone.points(strength, |row| row.gradient_error),
        ),
    ];
    let linear = Frame { x: "a", y: "relative error", across: Scale::Tight, ..FRAME };
    let first = Figure::new(format!("f = −a (x − c), {ACCURATE}"), &linear, &curves)?;
    let mut anchors = Vec::new();
    let all = single.method(ACCURATE);
    let count = |row: &Row| row.anchors as f64;
    let mut strengths: Vec<f64> = all.0.iter().map(|row| row.strength).collect();
    strengths.dedup();
    for (a, ink) in strengths.into_iter().zip(CURVES) {
        let own = all.only(|row| row.strength == a);
        anchors.push(curve("", ink, Stroke::Dashed, own.points(count, |row| row.predicted)));
        let points = own.points(count, |row| row.anchor_error);
        anchors.push(curve(format!("a = {a}"), ink, Stroke::Bold, points));
    }
    name_dashes(&mut anchors, "6·10⁻⁸ e^{A/K}");
    let frame = Frame { x: "anchors K", y: "largest error at an anchor", ..FRAME };
    let second = Figure::new(format!("Anchors, {ACCURATE} in f32"), &frame, &anchors)?;
    Ok((claims, section("Contraction in single precision", vec![first, second])))
}

fn statistics(rows: &Rows<'_>) -> Result<Told> {
    let (batch, held) = (rows.variant("batch"), rows.variant("held"));
    let lost = held.only(|row| row.gradient_error.is_nan() || row.gradient_error > TOLERANCE);
    let seen = lost.only(|row| row.estimate.is_nan() || row.estimate > TOLERANCE);
    let order = |rows: &Rows<'_>| {
        let points = rows.method("adjoint-corrected").points(depth, |row| row.gradient_error);
        -Slope::fit(&means(&points)).value
    };
    let claims = vec![
        within(
            "statistics: normalised by the batch both ways, adjoint-corrected has order 2 in depth",
            order(&batch),
            1.75..=2.25,
        ),
        within(
            "by held statistics on the way back depth does not help: order of the error",
            order(&held),
            -0.25..=0.25,
        ),
        Claim {
            claim: "the estimate is above the tolerance wherever the gradient is (it is too small: that slopes of a \
                    normalisation by the batch are not those by held numbers is no error of a state)"
                .into(),
            expected: format!("of all {} gradients", lost.0.len()),
            measured: format!(
                "of {}; the least estimate is {} of the error, the median {}",
                seen.0.len(),
                significant(lost.least(|row| told(row, row.gradient_error))),
                significant(median(&lost, |row| told(row, row.gradient_error)))
            ),
            holds: !lost.0.is_empty() && seen.0.len() == lost.0.len(),
        },
        within(
            "with a tolerance every layer is refused: share of the networks",
            held.share(|row| row.again == 1.0),
            0.9..=1.0,
        ),
        within(
            "which repairs nothing, because the layers that are walked again are those of the other function: \
             least error left, over the tolerance",
            held.least(|row| row.repaired_error / TOLERANCE),
            4.0..=f64::INFINITY,
        ),
        within(
            "a flow of this library cannot fall into it: walked again after a way back, x_N has the same \
             bits (largest difference)",
            rows.variant("again").largest(|row| row.state_error),
            0.0..=0.0,
        ),
        repaired("statistics, of the batch both ways", &batch),
    ];
    let (held, batch) = (held.first(), batch.first());
    let mut figures = Vec::new();
    for method in names(&held) {
        let mut curves = Vec::new();
        let mut sizes: Vec<f64> = held.0.iter().map(|row| row.strength).collect();
        sizes.sort_by(f64::total_cmp);
        sizes.dedup();
        for (size, ink) in sizes.into_iter().zip(CURVES) {
            let own = |row: &Row| row.method == method && row.strength == size;
            let (held, batch) = (held.only(own), batch.only(own));
            curves.push(curve("", ink, Stroke::Dashed, held.points(depth, |row| row.estimate)));
            let points = held.points(depth, |row| row.gradient_error);
            curves.push(curve(format!("held, {size} samples"), ink, Stroke::Bold, points));
            let points = batch.points(depth, |row| row.gradient_error);
            curves.push(curve(format!("batch, {size} samples"), ink, Stroke::Thin, points));
        }
        name_dashes(&mut curves, "certificate (held)");
        let frame = Frame { x: "depth N", y: "relative gradient error", ..FRAME };
        figures.push(Figure::new(method, &frame, &curves)?);
    }
    Ok((claims, section("Other statistics on the way back", figures)))
}

fn momentum(rows: &Rows<'_>) -> Result<Told> {
    let early = rows.only(|row| row.predicted < 1e-3);
    let claims = vec![
        within(
            "momentum: the inverse loses γ^{−N} (Sander, Ablin, Blondel, Peyré 2021): largest e₀ over ε γ^{−N}",
            early.largest(|row| row.state_error / row.predicted),
            0.0..=100.0,
        ),
        flagged("momentum", rows, |row| row.gradient_error),
    ];
    let mut curves = Vec::new();
    for (variant, ink) in ["f64", "f32"].into_iter().zip(CURVES) {
        let own = rows.first().variant(variant);
        curves.push(curve(
            "",
            ink,
            Stroke::Dashed,
            own.points(depth, |row| row.predicted.min(1.0)),
        ));
        curves.push(curve(
            format!("e₀, {variant}"),
            ink,
            Stroke::Bold,
            own.points(depth, |r| r.state_error),
        ));
        let points = own.points(depth, |row| row.gradient_error);
        curves.push(curve(format!("gradient, {variant}"), ink, Stroke::Thin, points));
    }
    name_dashes(&mut curves, "ε γ⁻ᴺ");
    let frame = Frame { x: "depth N", y: "relative error", across: Scale::Tight, ..FRAME };
    let figure = Figure::new("Momentum, γ = 0.9", &frame, &curves)?;
    Ok((claims, section("Momentum", vec![figure])))
}

/// |x(1)| at a = 20, N = 200 from x_0 = 1, and by how much other ways to start may differ.
const PARASITES: [(&str, f64); 4] = [
    ("leapfrog", 1e6),
    ("reversible-heun", 2.9e3),
    ("asynchronous-leapfrog", 2.9e3),
    ("mccallum-foster-rk4", 2.1),
];

fn parasite(rows: &Rows<'_>) -> Result<Told> {
    let strongest = rows.largest(|row| row.strength);
    let last = rows.only(|row| row.strength == strongest);
    let mut claims = Vec::new();
    if strongest == 20.0 {
        claims.extend(PARASITES.map(|(scheme, stated)| {
            within(
                format!(
                    "parasite: |x_N| of {scheme} on x' = −20 x, {STEPS} steps (solution 2·10⁻⁹)"
                ),
                last.variant(scheme).largest(|row| row.growth),
                stated / 1.5..=stated * 1.5,
            )
        }));
    }
    let grow = rows.variant("leapfrog").only(|row| row.strength >= 10.0);
    let slope = Slope::fit(&grow.points(|row| row.strength.exp(), |row| row.growth)).value;
    let euler = rows.variant("euler");
    let exact = rows.only(|row| row.method == "reversible" && row.strength <= 10.0);
    claims.extend([
        within("leapfrog's second mode grows like e^{+a}: exponent", slope, 0.75..=1.25),
        within(
            "momentum has none: |x_N| at the strongest a",
            last.variant("momentum").largest(|row| row.growth),
            0.0..=0.1,
        ),
        within(
            "no certificate sees it, because the gradient is right, of another network: largest gradient error and e₀, a ≤ 10",
            exact.largest(|row| row.gradient_error.max(row.estimate)),
            0.0..=1e-6,
        ),
        repaired("parasite, instead: Euler's scheme", &euler),
    ]);
    let mut curves = Vec::new();
    let strength = |row: &Row| row.strength;
    let mut variants: Vec<&str> = rows.0.iter().map(|row| &row.variant[..]).collect();
    variants.sort_unstable();
    variants.dedup();
    for (variant, ink) in variants.into_iter().zip(CURVES) {
        let points = rows.variant(variant).points(strength, |row| row.growth);
        curves.push(curve(variant.to_owned(), ink, Stroke::Bold, points));
    }
    curves.push(curve("e^{−a}", GREY, Stroke::Dashed, euler.points(strength, |row| row.predicted)));
    let frame = Frame { x: "a", y: "|x_N| / |x₀|", across: Scale::Tight, ..FRAME };
    let figure = Figure::new(format!("x' = −a x, {STEPS} steps"), &frame, &curves)?;
    Ok((claims, section("A second mode", vec![figure])))
}

const FRAME: Frame<'static> = Frame { size: (520, 340), ..Frame::RATES };

fn section(title: &'static str, figures: Vec<Figure>) -> Section {
    Section { title: title.into(), parts: vec![Part::Figures(figures)] }
}

fn curve(name: impl Into<Text>, ink: Ink, stroke: Stroke, points: Vec<(f64, f64)>) -> Curve {
    Curve { name: name.into(), ink, stroke, points }
}

/// The methods of some rows, in order.
fn names(rows: &Rows<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for row in &rows.0 {
        if !names.contains(&row.method) {
            names.push(row.method.clone());
        }
    }
    names
}
