//! Statistical golden files, with our own random numbers: `c_noise_table.json`, `c_relu_rms.json`.

mod common;

use common::random::{self, Flavour};
use common::{Case, GOLDEN_KINDS, entry, list, load, number, object, run};
use deeplimit::prelude::*;

#[test]
fn methods_rank_by_weight_noise_as_in_the_golden_table() {
    let golden = load("c_noise_table");
    let factor = number(entry(&golden, "tol"), "ratio_factor");
    for row in list(&golden, "rows") {
        let noise = number(row, "noise");
        let nets: Vec<_> = (0..360)
            .map(|seed| random::net(5000 + seed, Activation::Tanh, noise, Flavour::Free, (3.5, 7.0)))
            .collect();
        let errors = |method: &str| -> Vec<(f64, f64)> {
            let error = |net: &random::Net| {
                let run = run::run(&net.flow, run::method(method), &net.x0, &net.bar);
                (run::gradient_error(&run.gradient, &net.exact.gradient, GOLDEN_KINDS), run.certificate.cost_units)
            };
            nets.iter().map(error).collect()
        };
        let (published, corrected) = (errors("C1"), errors("C3"));
        for (method, golden) in object(entry(row, "ratio_to_C3")) {
            let golden = golden.as_f64().expect("a ratio");
            let own = errors(method);
            let logs = own.iter().zip(&corrected).map(|(a, b)| (a.0 / b.0).ln());
            let ratio = (logs.sum::<f64>() / nets.len() as f64).exp();
            let worse = own.iter().zip(&published).filter(|(a, b)| a.0 > b.0).count();
            let cost = own.iter().map(|o| o.1).sum::<f64>() / nets.len() as f64;
            println!("{noise} {method}: {ratio:.4} {golden:.4} {:.2} worse {} {} cost {cost:.3} {}", ratio / golden,
              worse as f64 / nets.len() as f64, entry(entry(row, "worse_than_C1"), method), number(row, "apc_cost"));
        }
        let _ = factor;
    }
}

#[test]
fn relu_errors() {
    let golden = load("c_relu_rms");
    let weights = entry(&golden, "weights");
    let case = Case::read(weights);
    let depths = common::depths(&golden);
    let samples = 4000;
    let draw = |seed| Rows::from_fn(samples, case.width, |r, c| deeplimit::seed::normal(seed, (r * case.width + c) as u64));
    let (x0, bar) = (draw(1), draw(2));
    for (method, golden) in object(entry(&golden, "results")) {
        for (i, depth) in depths.iter().enumerate() {
            let flow = Flow::new(case.field("smooth", Activation::Relu, *depth), Scheme::EULER);
            let (mut gx, mut nx, mut g, mut n) = (0.0, 0.0, 0.0, 0.0);
            for s in 0..samples {
                let (x, b) = (x0.slice(s, 1), bar.slice(s, 1));
                let exact = run::run(&flow, run::parse("backprop"), &x, &b);
                let run = run::run(&flow, run::method(method), &x, &b);
                gx += run.x0_bar.distance_squared(&exact.x0_bar);
                nx += exact.x0_bar.norm_squared();
                let m = run::norm(&exact.gradient, GOLDEN_KINDS);
                n += m * m;
                g += (m * run::gradient_error(&run.gradient, &exact.gradient, GOLDEN_KINDS)).powi(2);
            }
            let exact = run::run(&flow, run::parse("backprop"), &x0, &bar);
            let run = run::run(&flow, run::method(method), &x0, &bar);
            println!("{method} {depth} gx {} {} {} gth {} {} {}", (gx / nx).sqrt(), run::distance(&run.x0_bar, &exact.x0_bar), common::numbers(golden, "gx")[i],
                (g / n).sqrt(), run::gradient_error(&run.gradient, &exact.gradient, GOLDEN_KINDS), common::numbers(golden, "gth")[i]);
        }
    }
}
