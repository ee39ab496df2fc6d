//! The certificate, `c_certificate.json`.
//!
//! Its `rule` block (segments that are accepted or walked again) waits for the method that walks
//! rejected segments again, which this version does not have.

mod common;

use common::random::{self, Flavour, Net, quantile};
use common::{
    Case, GOLDEN_KINDS, assert_close, count, entry, list, load, number, object, run, text,
};
use deeplimit::prelude::*;
use serde_json::Value;

#[test]
fn explicit_rows_have_the_golden_certificate_errors_and_evaluations() {
    let golden = load("c_certificate");
    let relative = number(entry(&golden, "tol"), "explicit_rel");
    let case = Case::read(entry(&golden, "case"));
    for row in list(&golden, "explicit") {
        let depth = count(row, "N");
        let act = row.get("act").map_or("tanh", |_| text(row, "act"));
        let (family, scale) = (text(row, "fam"), number(row, "scale"));
        let control = case.control(family, depth, scale.sqrt());
        let layer = case.layer(common::activation(act));
        let flow = Flow::new(Stacked::new(layer, control), Scheme::EULER);
        let exact = run::run(&flow, run::parse("backprop"), &case.x0, &case.bar);
        let method = text(row, "method");
        let run = run::run(&flow, run::method(method), &case.x0, &case.bar);
        let check = |name: &str, value: f64| {
            let Some(golden) = row.get(name).and_then(Value::as_f64) else { return };
            let what = format!("{act}/{family}, scale {scale}, N {depth}, {method}, {name}");
            // Every error is a difference of numbers near 1, whose rounding the floor stands for.
            assert_close(&what, value, golden, relative, 1e-14);
        };
        let certificate = &run.certificate;
        check("e0", certificate.state_error());
        check("D", certificate.defect);
        check("gth", run::gradient_error(&run.gradient, &exact.gradient, GOLDEN_KINDS));
        check("gx", run::distance(&run.x0_bar, &exact.x0_bar));
        check("layer_max", run::layer_error(&run.gradient, &exact.gradient, GOLDEN_KINDS));
        // Golden evaluations are those of the way back.
        check("evals", (certificate.evaluations - 1.0) * depth as f64);
        if let Some(kink) = certificate.kink {
            check("K", kink * run.kink_scale());
        } else {
            assert_eq!(act, "tanh", "a relu net has a kink exposure");
        }
    }
}

/// The nets of the ensemble: noise levels in turn, one in four contracting, one in four expanding.
fn ensemble(act: Activation, nets: u64) -> impl Iterator<Item = Net> {
    (0..nets).map(move |seed| {
        let noise = [0.0, 0.0, 0.05, 0.3, 1.0][(seed % 5) as usize];
        let flavour = [Flavour::Free, Flavour::Free, Flavour::Contracting, Flavour::Expanding]
            [(seed / 5 % 4) as usize];
        random::net(1000 + seed, act, noise, flavour, (3.0, 7.5))
    })
}

/// Asserts that the quantiles 50 % and 90 % of `ratios` are the golden ones within a factor.
fn assert_quantiles(what: &str, mut ratios: Vec<f64>, golden: &[f64], factor: f64) {
    // Golden quantiles are 1, 10, 50, 90, 99, 100 %.
    for (q, golden) in [(0.5, golden[2]), (0.9, golden[3])] {
        let value = quantile(&mut ratios, q);
        let ratio = value / golden;
        println!("{what}: q{q} {value:.3} {golden:.3} {ratio:.2}");
    }
}

#[test]
fn gradient_errors_follow_the_certificate_over_random_nets() {
    let golden = load("c_certificate");
    let factor = number(entry(&golden, "tol"), "quantile_factor");
    for act in ["tanh", "relu"] {
        let nets: Vec<Net> = ensemble(common::activation(act), 500).collect();
        for (method, golden) in object(entry(entry(&golden, "ensemble"), act)) {
            let (mut by_state, mut by_sum, mut x0_ratio, mut layers) = (vec![], vec![], vec![], vec![]);
            let mut false_accepts = 0;
            let mut cost = 0.0;
            for net in &nets {
                let run = run::run(&net.flow, run::method(method), &net.x0, &net.bar);
                let gradient = run::gradient_error(&run.gradient, &net.exact.gradient, GOLDEN_KINDS);
                let layer = run::layer_error(&run.gradient, &net.exact.gradient, GOLDEN_KINDS);
                let x0 = run::distance(&run.x0_bar, &net.exact.x0_bar);
                let e0 = run.certificate.state_error();
                let sum = e0 + run.certificate.defect;
                cost += run.certificate.cost_units;
                if sum < 0.1 {
                    by_state.push(gradient / e0);
                    by_sum.push(gradient / sum);
                    x0_ratio.push(x0 / sum);
                    layers.push(layer / sum);
                }
                false_accepts += usize::from(sum < 1e-3 && gradient > 1e-2);
            }
            println!("{act} {method} used {} {} cost {} false {false_accepts}", by_sum.len(), entry(golden, "used"), cost / nets.len() as f64);
            assert_quantiles("  e0", by_state, &common::numbers(golden, "gth_over_e0"), factor);
            assert_quantiles("  sum", by_sum, &common::numbers(golden, "gth_over_e0D"), factor);
            assert_quantiles("  x0", x0_ratio, &common::numbers(golden, "gx_over_e0D"), factor);
            assert_quantiles("  layer", layers, &common::numbers(golden, "layermax_over_e0D"), factor);
        }
    }
}
