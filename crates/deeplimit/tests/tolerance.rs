//! Gradients within a tolerance, over random networks: `rule` of `c_certificate.json`, and more nets
//! than it has.

mod common;

use common::random::{self, Flavour, Net, quantile};
use common::{GOLDEN_KINDS, count, entry, list, load, number, numbers, run, text};
use deeplimit::gradient::Adjoint;
use deeplimit::prelude::*;
use rayon::prelude::*;

const TOLERANCES: [f64; 3] = [1e-2, 1e-3, 1e-4];

/// The `index`-th net: noise levels and flavours in turn, every other one with relu.
fn net(index: u64) -> Net {
    let noise = [0.0, 0.0, 0.05, 0.3, 1.0][(index % 5) as usize];
    let flavours = [Flavour::Free, Flavour::Free, Flavour::Contracting, Flavour::Expanding];
    let flavour = flavours[(index / 5 % 4) as usize];
    let act = if index.is_multiple_of(2) { Activation::Tanh } else { Activation::Relu };
    random::net(7000 + index, act, noise, flavour, (3.0, 7.5))
}

/// What a method did: gth over the tolerance, cost, and the share that was walked again.
struct Outcome {
    ratio: f64,
    cost: f64,
    again: f64,
}

fn outcome<R: Real>(net: &Net, method: Method, tolerance: f64) -> Outcome {
    let control = net.flow.field().control().cast::<R>();
    let field = Stacked::new(net.flow.field().layer().clone(), control);
    let flow = Flow::new(field, Scheme::EULER);
    let run = run::run(&flow, method, &net.x0.cast(), &net.bar.cast());
    let error = run::gradient_error(&run.gradient.cast(), &net.exact.gradient, 0..4);
    Outcome {
        ratio: error / tolerance,
        cost: run.certificate.cost_units,
        again: run.certificate.again,
    }
}

fn within(method: &str, tolerance: f64) -> Method {
    Method::Adjoint(run::adjoint(run::parse(method)).within(tolerance))
}

/// Asserts what is promised, and prints what was found.
fn assert_promise(what: &str, outcomes: &[Outcome]) {
    let share = |limit: f64| {
        outcomes.iter().filter(|outcome| outcome.ratio <= limit).count() as f64
            / outcomes.len() as f64
    };
    let mean = |value: fn(&Outcome) -> f64| {
        outcomes.iter().map(value).sum::<f64>() / outcomes.len() as f64
    };
    let mut ratios: Vec<f64> = outcomes.iter().map(|outcome| outcome.ratio).collect();
    let most = quantile(&mut ratios, 1.0);
    println!(
        "{what}: within {:.1} %, within 4 times {:.1} %, at most {most:.2} times; cost {:.2}, again {:.1} %",
        100.0 * share(1.0),
        100.0 * share(4.0),
        mean(|outcome| outcome.cost),
        100.0 * mean(|outcome| outcome.again),
    );
    assert!(share(1.0) >= 0.9, "{what}: within the tolerance in {} of the nets", share(1.0));
    assert!(share(4.0) >= 0.99, "{what}: within 4 times it in {} of the nets", share(4.0));
    assert!(most <= 10.0, "{what}: {most} times the tolerance in one net");
}

#[test]
fn gradients_of_500_random_nets_are_within_their_tolerance_as_promised() {
    let nets: Vec<Net> = (0..500).into_par_iter().map(net).collect();
    for method in ["adjoint-adaptive", "adjoint-learned", "adjoint-predicted", "P0C2"] {
        for tolerance in TOLERANCES {
            let all = |single: bool| {
                let outcome = |net: &Net| match single {
                    true => outcome::<f32>(net, within(method, tolerance), tolerance),
                    false => outcome::<f64>(net, within(method, tolerance), tolerance),
                };
                nets.par_iter().map(outcome).collect::<Vec<_>>()
            };
            assert_promise(&format!("{method}, {tolerance:.0e}, f64"), &all(false));
            assert_promise(&format!("{method}, {tolerance:.0e}, f32"), &all(true));
        }
    }
}

#[test]
fn errors_costs_and_shares_are_those_of_the_golden_rule() {
    let golden = load("c_certificate");
    let factor = number(entry(&golden, "tol"), "quantile_factor");
    // The golden rule's nets are all tanh.
    let nets: Vec<Net> = (0..300)
        .into_par_iter()
        .map(|index: u64| {
            let noise = [0.0, 0.0, 0.05, 0.3, 1.0][(index % 5) as usize];
            let flavour = [Flavour::Free, Flavour::Free, Flavour::Contracting, Flavour::Expanding]
                [(index / 5 % 4) as usize];
            random::net(9000 + index, Activation::Tanh, noise, flavour, (3.0, 7.5))
        })
        .collect();
    for row in list(&golden, "rule") {
        let (mode, tolerance) = (text(row, "mode"), number(row, "tol"));
        let anchors = count(row, "nseg");
        let method = if mode == "APC" { "adjoint-adaptive" } else { mode };
        let adjoint = run::adjoint(run::parse(method)).within(tolerance);
        let method = Method::Adjoint(Adjoint { anchors: Some(anchors), ..adjoint });
        let outcomes: Vec<Outcome> =
            nets.par_iter().map(|net| golden_outcome(net, method, tolerance)).collect();
        let what = format!("{mode}, {anchors} segments, {tolerance:.0e}");
        let mut ratios: Vec<f64> = outcomes.iter().map(|outcome| outcome.ratio).collect();
        let expected = numbers(row, "gth_over_tol_q50_q90_q99_max");
        let (q90, golden_q90) = (quantile(&mut ratios, 0.9), expected[1]);
        // A quantile that is nearly 0 is that of nets which were all walked again.
        let near = q90 <= 2.0 * factor * golden_q90 && (q90 > 0.0 || golden_q90 < 0.2);
        assert!(near, "{what}: quantile 0.9 is {q90}, not {golden_q90}");
        let mean = |value: fn(&Outcome) -> f64| {
            outcomes.iter().map(value).sum::<f64>() / outcomes.len() as f64
        };
        let (again, golden_again) = (mean(|outcome| outcome.again), number(row, "rerun_fraction"));
        println!("{what}: q90 {q90:.2} ({golden_q90:.2}), again {again:.2} ({golden_again:.2})");
        // Three standard errors of a fraction over 300 and over 120 nets are at most 0.16.
        assert!((again - golden_again).abs() <= 0.16, "{what}: {again}, not {golden_again}");
    }
}

/// As golden files measure: without b₂.
fn golden_outcome(net: &Net, method: Method, tolerance: f64) -> Outcome {
    let run = run::run(&net.flow, method, &net.x0, &net.bar);
    let error = run::gradient_error(&run.gradient, &net.exact.gradient, GOLDEN_KINDS);
    Outcome {
        ratio: error / tolerance,
        cost: run.certificate.cost_units,
        again: run.certificate.again,
    }
}

#[test]
fn what_is_walked_again_is_exact_for_every_scheme_and_anchors_at_all_places() {
    for scheme in Scheme::ALL {
        let layer = Mlp { width: 3, hidden: 4, activation: Activation::Tanh };
        for (steps, anchors) in [(1, Some(1)), (2, None), (7, Some(7)), (13, None), (12, Some(5))] {
            let field = Stacked::<f64, _>::rough(layer.clone(), scheme.nodes_for(steps), 3);
            let flow = Flow::new(field, scheme.clone()).with_tile(2);
            let x0 = Rows::from_fn(5, 3, |row, column| (row as f64 - column as f64) * 0.4);
            let exact = run::run(&flow, run::parse("backprop"), &x0, &x0);
            for method in ["adjoint-adaptive", "adjoint-predicted", "adjoint-published"] {
                // Nothing but an exact reconstruction is within this.
                let adjoint = run::adjoint(run::parse(method)).within(1e-30);
                let method = Method::Adjoint(Adjoint { anchors, ..adjoint });
                let found = run::run(&flow, method, &x0, &x0);
                let error = found.gradient.relative_error(&exact.gradient);
                // Parts are added in another order.
                assert!(error < 1e-14, "{scheme}, {steps} steps: {error}");
                assert!(run::distance(&found.x0_bar, &exact.x0_bar) < 1e-14, "{scheme}");
                assert!(found.certificate.again > 0.0, "{scheme}: nothing was walked again");
            }
        }
    }
}

#[test]
fn a_tolerance_that_holds_changes_nothing_but_the_order_of_additions() {
    let layer = Mlp { width: 5, hidden: 6, activation: Activation::Relu };
    let flow = Flow::new(Stacked::<f64, _>::smooth(layer, 40, 2), Scheme::EULER).with_tile(3);
    let x0 = Rows::from_fn(7, 5, |row, column| ((row * 5 + column) as f64 * 0.7).sin());
    let anchors = Some(4);
    let free = Adjoint { anchors, ..run::adjoint(run::parse("AR2C2")) };
    let bound = Adjoint { tolerance: Some(1e9), ..free };
    let [free, bound] =
        [free, bound].map(|adjoint| run::run(&flow, Method::Adjoint(adjoint), &x0, &x0));
    assert!(bound.gradient.relative_error(&free.gradient) < 1e-14);
    assert_eq!(bound.x0_bar, free.x0_bar);
    assert_eq!(bound.certificate.anchors, free.certificate.anchors);
    assert_eq!(bound.certificate.again, 0.0);
}
