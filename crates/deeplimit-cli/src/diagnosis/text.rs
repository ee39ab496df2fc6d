//! A diagnosis as a few lines of text a flow.

use super::{Report, settings, signed};
use crate::page::significant as number;
use deeplimit::limit::Diagnosis;
use deeplimit::limit::diagnosis::{Distance, Errors, Estimate, Finding};

/// The report as text.
pub fn text(report: &Report) -> String {
    let mut text = format!("{} after {} steps\n", report.weights.display(), report.step);
    text += &format!("inputs: {}\n", report.inputs.told());
    for (stage, flow) in report.flows.iter().enumerate() {
        text += &format!(
            "\nflow {stage}: {} layers of {} numbers, {} steps, {} samples\n",
            flow.layers, flow.width, flow.scheme, flow.samples
        );
        if let Some(caveat) = report.caveat(stage) {
            text += &format!("  {caveat}\n");
        }
        for line in lines(flow) {
            text += &format!("  {line}\n");
        }
    }
    text.trim_end().to_owned()
}

/// How near a flow is to an ODE, in one line.
pub fn line(flow: &Diagnosis) -> String {
    format!(
        "h L = {}; {} of the states from the neural ODE; gradients by {}",
        number(flow.jacobians.step_lipschitz),
        percent(flow.function_interpolant.relative),
        flow.verdict.method.method
    )
}

fn lines(flow: &Diagnosis) -> Vec<String> {
    let mut lines = Vec::new();
    let mut row = |name: &str, value: String| lines.push(format!("{name:28} {value}"));
    row("distance to the ODE", distance(&flow.function_interpolant, "functions"));
    row("", distance(&flow.weight_interpolant, "weights"));
    match &flow.bounds {
        Finding::Known(along) => {
            let b = &along.bounds;
            row(
                "bounds on the first",
                format!(
                    "smooth {}, increments {}, local {}, smoothness-free {}",
                    number(b.smooth),
                    number(b.increments),
                    number(b.local),
                    number(b.smoothness_free)
                ),
            );
            row(
                "with",
                format!(
                    "L = {}, M = {}, C = {}, max ‖fₙ₊₁ − fₙ‖ = {}",
                    number(b.lipschitz),
                    number(b.curvature),
                    number(b.speed),
                    number(b.jump)
                ),
            );
            row(
                "certain L",
                match &along.certain {
                    Finding::Known(certain) => format!(
                        "{}: smooth {}, smoothness-free {}",
                        number(certain.lipschitz),
                        number(certain.smooth),
                        number(certain.smoothness_free)
                    ),
                    Finding::Unknown { reason, .. } => format!("none: {reason}"),
                },
            );
        }
        Finding::Unknown { reason, .. } => row("bounds", format!("none: {reason}")),
    }
    let j = &flow.jacobians;
    row(
        "h L, max μ₂(J), max μ₂(−J)",
        format!(
            "{}, {}, {}; errors on the way back can grow by e^{}",
            number(j.step_lipschitz),
            signed(j.one_sided),
            signed(j.one_sided_back),
            signed(j.log_amplification)
        ),
    );
    match &flow.kinds {
        Finding::Known(kinds) => {
            for kind in kinds {
                row(
                    &format!("weights {}", kind.kind),
                    format!(
                        "N·max‖θₙ₊₁ − θₙ‖ = {}, H¹ seminorm {}",
                        number(kind.scaled_increment),
                        number(kind.h1_seminorm)
                    ),
                );
            }
        }
        Finding::Unknown { reason, .. } => row("weights over depth", format!("none: {reason}")),
    }
    if let Finding::Known(scaling) = &flow.scaling {
        let told = |name: &str, e: &Option<Estimate>| {
            e.map_or(String::new(), |e| {
                let ends = format!("[{}, {}]", signed(e.low), signed(e.high));
                format!("{name} = {} {ends}  ", signed(e.value))
            })
        };
        row(
            "depth-scaling exponents",
            format!(
                "{}{}{}Itô term {} of the state",
                told("H", &Some(scaling.exponent)),
                told("H₂", &scaling.bend_exponent),
                told("Q", &scaling.variation_exponent),
                number(scaling.ito_state)
            ),
        );
        row(
            "regime of the weights",
            format!(
                "{} (the same in {:.0} % of resampled weights)",
                scaling.regime,
                100.0 * scaling.agreement
            ),
        );
    }
    let order = |order: Option<f64>| order.map_or("unknown".to_owned(), signed);
    match &flow.gaps {
        Finding::Known(gaps) => row(
            "gaps",
            format!(
                "merged layers {} (order {}), frozen layers {}, Euler–Heun {}",
                number(gaps.merged),
                order(gaps.order),
                number(gaps.frozen),
                number(gaps.heun)
            ),
        ),
        Finding::Unknown { reason, .. } => row("gaps", format!("none: {reason}")),
    }
    row(
        "doubling the depth",
        format!(
            "changes the end by {} (order {}, the scheme's own is {})",
            number(flow.doubling.once),
            order(flow.doubling.order),
            flow.doubling.expected
        ),
    );
    row("gradient methods", "in double | in single precision: error of the gradient, of x₀".into());
    for method in &flow.methods {
        let name = match method.tolerance {
            Some(tolerance) => format!("{}, tolerance {tolerance}", method.method),
            None => method.method.clone(),
        };
        let errors = |e: &Errors| format!("{:.1e} {:.1e}", e.gradient, e.reconstruction);
        lines.push(format!(
            "  {name:34} {} | {}  cost {:.1}",
            errors(&method.double),
            errors(&method.single),
            method.cost_units
        ));
    }
    lines.push(String::new());
    lines.extend(flow.verdict.sentences.iter().cloned());
    lines.push(settings(&flow.verdict.method).replace('\n', "  "));
    lines
}

fn distance(distance: &Distance, what: &str) -> String {
    let solved = match distance.resolved {
        true => format!("reference to {:.0e}", distance.halving),
        false => format!("reference NOT resolved: only to {:.0e}", distance.halving),
    };
    format!(
        "{what} interpolated: {} ({} of the states; {solved})",
        number(distance.largest),
        percent(distance.relative)
    )
}

fn percent(share: f64) -> String {
    format!("{} %", number(100.0 * share))
}
