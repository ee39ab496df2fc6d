//! The page of a diagnosis: the verdict first, then what it rests on.

use super::{Report, charts, settings, signed};
use crate::page::{Page, PageError, Part, Section, Table, Text, significant as number};
use deeplimit::limit::Diagnosis;
use deeplimit::limit::diagnosis::{BoundsAlong, Distance, Estimate, Finding, MethodErrors};

/// The page as HTML.
pub fn page(report: &Report) -> Result<String, PageError> {
    let mut sections = vec![about(report)];
    for (stage, flow) in report.flows.iter().enumerate() {
        let name = match report.flows.len() {
            1 => String::new(),
            _ => format!("Flow {stage}: "),
        };
        sections.extend(of_flow(flow, &name)?);
    }
    let title = format!("Diagnosis of {}", report.weights.display());
    let about = "How near the network's flows are to neural ODEs, x_{n+1} = x_n + h f(x_n, θ_n) against \
                 x'(s) = f(x(s), θ(s)), and what follows for their gradients.";
    Page { title: title.into(), about: about.into(), sections }.render()
}

fn about(report: &Report) -> Section {
    let mut parts = Vec::new();
    for (stage, flow) in report.flows.iter().enumerate() {
        let which = match report.flows.len() {
            1 => String::new(),
            _ => format!("Flow {stage}. "),
        };
        if let Some(caveat) = report.caveat(stage) {
            parts.push(Part::Warning(format!("{which}{caveat}").into()));
        }
        let [first, second] = &flow.verdict.sentences;
        parts.push(Part::Text(format!("{which}{first} {second}").into()));
        parts.push(Part::Listing(settings(&flow.verdict.method).into()));
    }
    let inputs: Text = report.inputs.told().into();
    parts.push(match report.inputs {
        super::Inputs::Data { .. } => Part::Text(inputs),
        super::Inputs::Synthetic { .. } => Part::Warning(inputs),
    });
    if report.flows.iter().any(|flow| flow.samples_meet) {
        parts.push(Part::Warning(
            "Samples see each other in batch normalisation: statistics are those of this batch, as in \
             training, and norms and Jacobians those of the whole batch."
                .into(),
        ));
    }
    Section { title: "Verdict".into(), parts }
}

fn of_flow(flow: &Diagnosis, name: &str) -> Result<Vec<Section>, PageError> {
    let title = |title: &str| Text::from(format!("{name}{title}"));
    Ok(vec![
        Section { title: title("Distance to the neural ODE"), parts: ode(flow)? },
        Section { title: title("Weights over depth"), parts: weights(flow)? },
        Section { title: title("Lipschitz constants"), parts: jacobians(flow)? },
        Section { title: title("Other depths and schemes"), parts: depths(flow) },
        Section { title: title("Gradient methods"), parts: methods(flow)? },
    ])
}

fn row(cells: impl IntoIterator<Item = impl Into<Text>>) -> Vec<Text> {
    cells.into_iter().map(Into::into).collect()
}

fn ode(flow: &Diagnosis) -> Result<Vec<Part>, PageError> {
    let distance = |name: &str, d: &Distance| {
        row([
            name.to_owned(),
            number(d.largest),
            format!("{} %", number(100.0 * d.relative)),
            format!("{} %", number(100.0 * d.relative_to_change)),
            d.substeps.to_string(),
            format!("{}{}", number(d.halving), if d.resolved { "" } else { " (NOT resolved)" }),
        ])
    };
    let distances = Table {
        caption: "max_n ‖x_n − x(s_n)‖ over the batch. The reference is solved by the classical \
                  Runge–Kutta scheme until halving its substeps moves it by less than a thousandth of \
                  the distance."
            .into(),
        head: row(["interpolated", "distance", "of ‖x‖", "of ‖x_N − x_0‖", "substeps", "halving"]),
        rows: vec![
            distance("layer functions", &flow.function_interpolant),
            distance("weights", &flow.weight_interpolant),
        ],
    };
    let mut parts = vec![Part::Table(distances)];
    match &flow.bounds {
        Finding::Known(along) => parts.push(Part::Table(bounds(along))),
        Finding::Unknown { reason, .. } => {
            parts.push(Part::Text(format!("No bounds: {reason}.").into()));
        }
    }
    parts.push(Part::Figures(vec![charts::distance(flow)?, charts::trajectories(flow)?]));
    Ok(parts)
}

fn bounds(along: &BoundsAlong) -> Table {
    let b = &along.bounds;
    let (certain, smooth, free) = match &along.certain {
        Finding::Known(c) => (number(c.lipschitz), number(c.smooth), number(c.smoothness_free)),
        Finding::Unknown { .. } => ("none".into(), "none".into(), "none".into()),
    };
    let reason = along.certain.reason().map_or(String::new(), |r| format!(" No certain L: {r}."));
    let none = String::new;
    Table {
        caption: format!(
            "Bounds on the distance for interpolated functions (Sander, Ablin, Peyré 2022, section 3, \
             sharpened), with L along the trajectories and with one that holds everywhere. \
             M and C are maxima over {} points a layer.{reason}",
            along.points + 1
        )
        .into(),
        head: row(["", "formula", "L along", "L certain"]),
        rows: vec![
            row(["L".into(), "max ‖∂f_n/∂x‖₂".to_owned(), number(b.lipschitz), certain]),
            row(["M".into(), "sup ‖x''‖".into(), number(b.curvature), none()]),
            row(["C".into(), "sup ‖f_n‖".into(), number(b.speed), none()]),
            row(["jump".into(), "max ‖f_{n+1} − f_n‖".into(), number(b.jump), none()]),
            row(["smooth".into(), "(e^L − 1)/(2L) h M".into(), number(b.smooth), smooth]),
            row([
                "increments".into(),
                "(e^L − 1)/(2L) (jump + h L C)".into(),
                number(b.increments),
                none(),
            ]),
            row([
                "local".into(),
                "b ← (1 + h L_n) b + h² M_n/2".into(),
                number(b.local),
                none(),
            ]),
            row([
                "smoothness-free".into(),
                "(2 e^L − 1) h C".into(),
                number(b.smoothness_free),
                free,
            ]),
        ],
    }
}

fn weights(flow: &Diagnosis) -> Result<Vec<Part>, PageError> {
    let mut parts = Vec::new();
    match &flow.scaling {
        Finding::Known(scaling) => {
            let exponent = |name: &str, e: &Estimate, smooth: &str, brownian: &str, rough: &str| {
                row([
                    name.to_owned(),
                    signed(e.value),
                    format!("{} … {}", signed(e.low), signed(e.high)),
                    smooth.into(),
                    brownian.into(),
                    rough.into(),
                ])
            };
            let mut rows = vec![exponent("H, first differences", &scaling.exponent, "1", "½", "0")];
            if let Some(e) = &scaling.bend_exponent {
                rows.push(exponent("H₂, second differences (decides)", e, "1 … 2", "½", "0"));
            }
            if let Some(e) = &scaling.variation_exponent {
                rows.push(exponent("Q, variation of blocks", e, "1", "1", "0 … 1"));
            }
            parts.push(Part::Table(Table {
                caption: "Depth-scaling exponents (after Cohen, Cont, Rossier, Xu 2021), with 95 % \
                          intervals: from 400 bootstrap samples of blocks of neighbouring entries, and \
                          the scatter around the power law."
                    .into(),
                head: row(["", "found", "95 % interval", "smooth", "Brownian", "independent"]),
                rows,
            }));
            parts.push(Part::Summary(vec![
                ("regime of the weights".into(), scaling.regime.to_string().into()),
                (
                    "the same in".into(),
                    format!("{:.0} % of resampled weights", 100.0 * scaling.agreement).into(),
                ),
                (
                    "Itô term of rough weights".into(),
                    format!(
                        "{} of the state (diffusive above 0.1); D(1)/4N = {}",
                        number(scaling.ito_state),
                        number(scaling.ito_weights)
                    )
                    .into(),
                ),
                (
                    "largest layer".into(),
                    format!(
                        "{} times the root mean square (a jump above √N/2 = {})",
                        number(scaling.peak),
                        number(0.5 * (scaling.layers as f64).sqrt())
                    )
                    .into(),
                ),
            ]));
            parts.push(Part::Figures(charts::increments(scaling)?));
        }
        Finding::Unknown { reason, .. } => {
            parts.push(Part::Text(format!("No depth-scaling exponents: {reason}.").into()));
        }
    }
    if let Finding::Known(kinds) = &flow.kinds {
        let order = |e: Option<f64>| e.map_or("none: does not vary".into(), signed);
        parts.push(Part::Table(Table {
            caption: "Each parameter kind.".into(),
            head: row(["kind", "shape", "rms", "N·max‖θₙ₊₁ − θₙ‖", "H¹ seminorm", "H", "H₂"]),
            rows: kinds
                .iter()
                .map(|kind| {
                    row([
                        kind.kind.clone(),
                        format!("{:?}", kind.shape),
                        number(kind.root_mean_square),
                        number(kind.scaled_increment),
                        number(kind.h1_seminorm),
                        order(kind.exponent),
                        order(kind.bend_exponent),
                    ])
                })
                .collect(),
        }));
    }
    parts.push(Part::Small(charts::weights(&flow.pictures.weights)?));
    Ok(parts)
}

fn jacobians(flow: &Diagnosis) -> Result<Vec<Part>, PageError> {
    let j = &flow.jacobians;
    let certain = match &j.certain {
        Finding::Known(l) => number(*l),
        Finding::Unknown { reason, .. } => format!("none: {reason}"),
    };
    let summary = [
        ("L = max ‖J_n‖₂ at the states", number(j.lipschitz)),
        ("L that holds everywhere", certain),
        (
            "h L",
            format!("{} ({} layers with h ‖J_n‖ ≥ 1)", number(j.step_lipschitz), j.layers_beyond),
        ),
        ("one-sided: max μ₂(J_n)", signed(j.one_sided)),
        ("one-sided, on the way back: max μ₂(−J_n)", signed(j.one_sided_back)),
        ("errors on the way back grow at most by", format!("e^{}", signed(j.log_amplification))),
        ("what rounding in single precision can leave of x₀", number(j.rounding)),
    ];
    let summary = summary.map(|(name, value)| (name.into(), value.into())).to_vec();
    let mut parts = vec![
        Part::Text(
            "J_n = ∂f_n/∂x at x_n, by Lanczos iterations on differences and pull-backs: estimates from \
             below, commonly within 1 %."
                .into(),
        ),
        Part::Summary(summary),
    ];
    let mut figures = vec![charts::jacobians(flow)?];
    match &flow.pictures.spectra {
        Finding::Known(spectra) => figures.push(charts::spectra(spectra)?),
        Finding::Unknown { reason, .. } => {
            parts.push(Part::Text(format!("No spectrum: {reason}.").into()));
        }
    }
    parts.push(Part::Figures(figures));
    Ok(parts)
}

fn depths(flow: &Diagnosis) -> Vec<Part> {
    let order = |order: Option<f64>| order.map_or("unknown: not above rounding".into(), signed);
    let mut rows = Vec::new();
    let mut parts = Vec::new();
    match &flow.gaps {
        Finding::Known(gaps) => {
            rows.push(row([
                "half the depth: two layers at a common state".to_owned(),
                number(gaps.merged),
                order(gaps.order),
                "1".into(),
            ]));
            rows.push(row([
                "each layer by the midpoint rule (frozen layers)".to_owned(),
                number(gaps.frozen),
                String::new(),
                String::new(),
            ]));
            rows.push(row([
                "Heun's scheme on the same weights".to_owned(),
                number(gaps.heun),
                String::new(),
                String::new(),
            ]));
        }
        Finding::Unknown { reason, .. } => {
            parts.push(Part::Text(
                format!("No halving, and no gaps to neighbouring schemes: {reason}.").into(),
            ));
        }
    }
    rows.push(row([
        "twice the depth: weights interpolated".to_owned(),
        number(flow.doubling.once),
        order(flow.doubling.order),
        flow.doubling.expected.to_string(),
    ]));
    parts.push(Part::Table(Table {
        caption:
            "Change of x_N, relative to ‖x_N − x_0‖. The frozen gap is the size of the Itô term \
                  ½ Σ h² J_n f_n; all gaps fall like 1/N for bounded weights. Merged layers of \
                  alternating weights have no order."
                .into(),
        head: row(["against", "gap", "observed order", "of smooth weights"]),
        rows,
    }));
    parts
}

fn methods(flow: &Diagnosis) -> Result<Vec<Part>, PageError> {
    let exact = if flow.methods.iter().any(|row| row.method == "backprop") {
        "backprop"
    } else {
        "the exact inverse"
    };
    let cells = |m: &MethodErrors| {
        let name = match m.tolerance {
            Some(tolerance) => format!("{}, tolerance = {tolerance}", m.method),
            None => m.method.clone(),
        };
        let stalled = if m.single.stalled > 0 {
            format!("{} stalled", m.single.stalled)
        } else if m.single.again > 0.0 {
            format!("{:.0} % again", 100.0 * m.single.again)
        } else {
            String::new()
        };
        row([
            name,
            number(m.double.gradient),
            number(m.double.reconstruction),
            number(m.single.gradient),
            number(m.single.worst_layer),
            number(m.single.reconstruction),
            number(m.single.estimate),
            format!("{:.1}", m.cost_units),
            kilobytes(m.tape_bytes),
            stalled,
        ])
    };
    let table = Table {
        caption: format!(
            "Relative errors of ∂loss/∂θ, of its worst layer, and of the reconstructed x_0, against \
             {exact} in double precision. Cost in evaluations of all layers, a pull-back counting 2; \
             tape in kB for the batch, in single precision."
        )
        .into(),
        head: row([
            "method", "gradient, f64", "x₀, f64", "gradient, f32", "worst layer", "x₀, f32",
            "certificate", "cost", "tape", "",
        ]),
        rows: flow.methods.iter().map(cells).collect(),
    };
    Ok(vec![Part::Table(table), Part::Figures(vec![charts::methods(flow)?])])
}

fn kilobytes(bytes: usize) -> String {
    format!("{:.0}", bytes as f64 / 1e3)
}
