//! The charts of a diagnosis.

use crate::page::{
    BLUE, CURVES, Curve, Figure, Frame, GREEN, GREY, Ink, ORANGE, PageError, Scale, Stroke, Text,
    VIOLET, significant as number,
};
use deeplimit::limit::Diagnosis;
use deeplimit::limit::diagnosis::{Finding, Scaling, Spectra, WeightPaths};

const FRAME: Frame = Frame {
    x: "layer n",
    y: "",
    across: Scale::Counted,
    scale: Scale::Linear,
    size: (500, 300),
    points: 1000,
};

fn curve(name: impl Into<Text>, ink: Ink, stroke: Stroke, points: Vec<(f64, f64)>) -> Curve {
    Curve { name: name.into(), ink, stroke, points }
}

/// Values at n = 0, 1, … without the zeros that no logarithm shows.
fn over_depth(values: &[f64]) -> Vec<(f64, f64)> {
    values.iter().enumerate().map(|(n, value)| (n as f64, *value)).collect()
}

/// Measured distances beside the local bound, layer by layer.
pub fn distance(flow: &Diagnosis) -> Result<Figure, PageError> {
    let from_one = |values: &[f64]| over_depth(values).into_iter().skip(1).collect();
    let mut curves = vec![
        curve(
            "functions interpolated",
            BLUE,
            Stroke::Thin,
            from_one(&flow.function_interpolant.per_layer),
        ),
        curve(
            "weights interpolated",
            ORANGE,
            Stroke::Thin,
            from_one(&flow.weight_interpolant.per_layer),
        ),
    ];
    if let Finding::Known(along) = &flow.bounds {
        let level = |value: f64| vec![(1.0, value), (flow.layers as f64, value)];
        let b = &along.bounds;
        curves.push(curve("local bound", BLUE, Stroke::Dashed, from_one(&along.local_path)));
        curves.push(curve("smooth bound", VIOLET, Stroke::Dashed, level(b.smooth)));
        curves.push(curve(
            "smoothness-free bound",
            GREEN,
            Stroke::Dashed,
            level(b.smoothness_free),
        ));
    }
    let frame = Frame { y: "‖x_n − x(s_n)‖", scale: Scale::Log, ..FRAME };
    let note = "Solid: measured. Dashed: bounds on the distance for interpolated functions.".into();
    Ok(Figure { note, ..Figure::new("Distance over depth", &frame, &curves)? })
}

/// Points of a path that are drawn.
const MOST_POINTS: usize = 200;

/// Network and ODE in the plane of largest variance.
pub fn trajectories(flow: &Diagnosis) -> Result<Figure, PageError> {
    let shown = &flow.pictures.trajectories;
    let points = |path: &[[f64; 2]]| -> Vec<(f64, f64)> {
        let stride = path.len().div_ceil(MOST_POINTS);
        path.iter().step_by(stride).map(|[a, b]| (*a, *b)).collect()
    };
    let mut curves = Vec::new();
    for (index, (network, ode)) in shown.network.iter().zip(&shown.ode).enumerate() {
        let ink = CURVES[index % CURVES.len()];
        let name = |text: &'static str| if index == 0 { text } else { "" };
        curves.push(curve(name("neural ODE"), ink, Stroke::Thin, points(ode)));
        curves.push(curve(name("layers"), ink, Stroke::Dots, points(network)));
    }
    let [first, second] = shown.variance.map(|share| 100.0 * share);
    let (x, y) = (
        format!("first component ({first:.0} % of the variance)"),
        format!("second component ({second:.0} %)"),
    );
    let frame = Frame { x: &x, y: &y, across: Scale::Linear, points: 10 * MOST_POINTS, ..FRAME };
    let note =
        "Six samples, from layer to layer (dots) and along the ODE of interpolated functions \
                (lines), in the plane in which all states vary most."
            .into();
    Ok(Figure { note, ..Figure::new("State trajectories", &frame, &curves)? })
}

/// D(m) and D₂(m), with the slopes that regimes have; Q(m).
pub fn increments(scaling: &Scaling) -> Result<Vec<Figure>, PageError> {
    let points = |values: &[(usize, f64)]| -> Vec<(f64, f64)> {
        values.iter().map(|(m, value)| (*m as f64, *value)).collect()
    };
    // Guides go through the last point.
    let guide = |values: &[(usize, f64)], power: f64| -> Vec<(f64, f64)> {
        let Some((end, value)) = values.last().copied() else { return Vec::new() };
        let at = |m: usize| (m as f64, value * (m as f64 / end as f64).powf(power));
        values.iter().map(|(m, _)| at(*m)).collect()
    };
    let frame = Frame { x: "distance m (layers)", ..Frame::RATES };
    let bends = [
        curve("D₂(m), second differences", BLUE, Stroke::Bold, points(&scaling.bends)),
        curve("smooth, ∝ m⁴", GREY, Stroke::Dashed, guide(&scaling.bends, 4.0)),
        curve("Brownian, ∝ m", VIOLET, Stroke::Dashed, guide(&scaling.bends, 1.0)),
        curve("independent, ∝ 1", GREEN, Stroke::Dashed, guide(&scaling.bends, 0.0)),
    ];
    let firsts = [
        curve("D(m), first differences", BLUE, Stroke::Bold, points(&scaling.increments)),
        curve("smooth, ∝ m²", GREY, Stroke::Dashed, guide(&scaling.increments, 2.0)),
        curve("Brownian, ∝ m", VIOLET, Stroke::Dashed, guide(&scaling.increments, 1.0)),
        curve("independent, ∝ 1", GREEN, Stroke::Dashed, guide(&scaling.increments, 0.0)),
    ];
    let variations = [
        curve("Q(m), variation of blocks", BLUE, Stroke::Bold, points(&scaling.variations)),
        curve("smooth, ∝ m", GREY, Stroke::Dashed, guide(&scaling.variations, 1.0)),
        curve("independent, ∝ 1", GREEN, Stroke::Dashed, guide(&scaling.variations, 0.0)),
    ];
    let of = |title: &'static str, y, curves: &[Curve]| {
        Figure::new(title, &Frame { y, ..frame }, curves)
    };
    let figures = [
        of("Second differences of the weights", "mean ‖θₙ₊ₘ − 2θₙ + θₙ₋ₘ‖²", &bends)?,
        of("First differences of the weights", "mean ‖θₙ₊ₘ − θₙ‖²", &firsts)?,
        of("Variation of blocks of m layers", "Σ ‖N⁻¹ Σ θ‖²", &variations)?,
    ];
    Ok(figures.into_iter().filter(Figure::is_drawn).collect())
}

/// One small chart a parameter kind.
pub fn weights(kinds: &[WeightPaths]) -> Result<Vec<Figure>, PageError> {
    let frame = Frame { y: "weight", size: (340, 220), points: 400, ..FRAME };
    let draw = |kind: &WeightPaths| {
        let curves = kind.paths.iter().enumerate().map(|(index, path)| {
            curve("", CURVES[index % CURVES.len()], Stroke::Thin, over_depth(path))
        });
        let curves: Vec<Curve> = curves.collect();
        let aside = format!("{} of {} entries", kind.paths.len(), kind.total_entries).into();
        Ok(Figure { aside, ..Figure::new(kind.kind.clone(), &frame, &curves)? })
    };
    kinds.iter().map(draw).collect()
}

/// Norms and logarithmic norms over depth.
pub fn jacobians(flow: &Diagnosis) -> Result<Figure, PageError> {
    let j = &flow.jacobians;
    let contracts = 1.0 / flow.step;
    let mut curves = vec![
        curve("‖J_n‖₂", BLUE, Stroke::Thin, over_depth(&j.norms)),
        curve("μ₂(J_n)", ORANGE, Stroke::Thin, over_depth(&j.growth)),
        curve("μ₂(−J_n)", GREEN, Stroke::Thin, over_depth(&j.growth_back)),
    ];
    // Far above the curves it would only flatten them; the summary has the number.
    let near = j.lipschitz > 0.2 * contracts;
    if near {
        let level = vec![(0.0, contracts), (flow.layers.saturating_sub(1) as f64, contracts)];
        curves.push(curve("h ‖J_n‖ = 1", VIOLET, Stroke::Dashed, level));
    }
    let frame = Frame { y: "largest over the samples", ..FRAME };
    let note = if near {
        "Reconstruction by fixed points contracts below the dashed line.".into()
    } else {
        format!("Reconstruction by fixed points contracts below 1/h = {}.", number(contracts))
            .into()
    };
    Ok(Figure { note, ..Figure::new("Jacobians of the layer functions", &frame, &curves)? })
}

/// Eigenvalues of h J_n.
pub fn spectra(spectra: &Spectra) -> Result<Figure, PageError> {
    let layers = spectra.layers.iter().enumerate();
    let mut curves: Vec<Curve> = layers
        .map(|(index, (layer, values))| {
            let points = values.iter().map(|[re, im]| (*re, *im)).collect();
            curve(format!("layer {layer}"), CURVES[index % CURVES.len()], Stroke::Dots, points)
        })
        .collect();
    let far = spectra.layers.iter().flat_map(|(_, values)| values);
    let far = far.map(|[re, im]| re.hypot(*im)).fold(0.0, f64::max);
    if far > 0.3 {
        let circle = (0..=120).map(|i| (f64::from(i) / 120.0 * std::f64::consts::TAU).sin_cos());
        let circle = circle.map(|(sin, cos)| (cos, sin)).collect();
        curves.push(curve("unit circle", GREY, Stroke::Dashed, circle));
    }
    let frame = Frame {
        x: "real part",
        y: "imaginary part",
        across: Scale::Linear,
        size: (500, 400),
        ..FRAME
    };
    let note = format!("Eigenvalues of h J_n: {}.", spectra.how).into();
    Ok(Figure { note, ..Figure::new("Spectrum of the residual Jacobians", &frame, &curves)? })
}

/// Error against cost.
pub fn methods(flow: &Diagnosis) -> Result<Figure, PageError> {
    let adjoints = flow.methods.iter().filter(|m| m.double.gradient > 0.0);
    let curves: Vec<Curve> = adjoints
        .enumerate()
        .map(|(index, m)| {
            let tolerance = m.tolerance.map(|t| format!(", tolerance {t}")).unwrap_or_default();
            let points = vec![(m.cost_units, m.single.gradient)];
            let ink = CURVES[index % CURVES.len()];
            curve(format!("{}{tolerance}", m.method), ink, Stroke::Dots, points)
        })
        .collect();
    let frame = Frame {
        x: "evaluations of all layers",
        y: "gradient error, single precision",
        across: Scale::Linear,
        scale: Scale::Log,
        ..FRAME
    };
    Figure::new("Error against cost", &frame, &curves)
}
