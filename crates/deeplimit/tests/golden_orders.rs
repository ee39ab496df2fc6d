//! Error values and convergence orders of `c_orders.json`, and the leading constants of
//! `c_constants.json`.

mod common;

use common::run::{self, Run};
use common::{
    Case, GOLDEN_KINDS, assert_close, depths, entry, load, number, numbers, object, order,
};
use deeplimit::prelude::*;

/// Methods of the first kind run on the residual network, `heun_…` on Heun's scheme with the same
/// nodes and step (the golden convention: N nodes, N − 1 steps of size 1/N).
fn flow(case: &Case, net: &str, method: &str, depth: usize) -> Flow<Stacked<f64, Mlp>> {
    let (activation, family) = net.split_once('/').expect("a net is activation/family");
    let field = case.field(family, common::activation(activation), depth);
    let scheme = if method.starts_with("heun_") { Scheme::HEUN } else { Scheme::EULER };
    Flow::new(field, scheme).with_step(1.0 / depth as f64)
}

/// e_rec, e_0, gx, gth of one method on one net.
fn errors(
    flow: &Flow<Stacked<f64, Mlp>>,
    exact: &Run<Stacked<f64, Mlp>>,
    case: &Case,
    method: &str,
) -> [f64; 4] {
    let adjoint = run::adjoint(run::method(method.trim_start_matches("heun_")));
    let states = flow.states(&case.x0);
    let trace = run::trace(flow, adjoint, &case.x0, &case.bar);
    [
        run::reconstruction_error(&trace.states, &states),
        run::distance(&trace.states[0], &states[0]),
        run::distance(&trace.cotangents[0], &exact.x0_bar),
        run::gradient_error(&trace.gradient, &exact.gradient, GOLDEN_KINDS),
    ]
}

const MEASURES: [&str; 4] = ["e_rec", "e0", "gx", "gth"];

/// The order that the theory states for a method on a tanh net, if it states one.
fn stated_order(family: &str, method: &str) -> Option<f64> {
    let (smooth, alternating) = match method {
        "C1_euler" | "P0C1" => (1, Some(1)),
        "P0C2_corrected" => (2, Some(2)),
        "P0C3" => (3, Some(3)),
        "P1C1_predictor" => (2, Some(1)),
        "P2C1" => (3, Some(1)),
        "P3C1" => (4, Some(1)),
        "P1C2" => (3, Some(2)),
        "P2C2" => (4, Some(2)),
        // Two differences can represent a period of two layers: one order more than rough.
        "AR2C1" => (3, Some(2)),
        "AR2C2" => (4, Some(3)),
        "heun_rev" => (3, Some(1)),
        "heun_corrected" => (4, Some(2)),
        "heun_corrected2" => (5, Some(3)),
        // Nothing is stated on rough weights for extrapolated Heun increments.
        "heun_P1C1" => (2, None),
        "heun_P2C1" => (3, None),
        "heun_P3C1" => (4, None),
        _ => panic!("no order is known for {method}"),
    };
    match family {
        "tanh/smooth" => Some(f64::from(smooth)),
        "tanh/alternating" => alternating.map(f64::from),
        _ => None,
    }
}

#[test]
fn errors_and_orders_of_every_method_are_the_golden_ones() {
    let golden = load("c_orders");
    let (case, depths) = (Case::read(entry(&golden, "case")), depths(&golden));
    let tolerance = |name| number(entry(&golden, "tol"), name);
    let (relative, floor, slope) = (tolerance("rel"), tolerance("floor_abs"), tolerance("slope"));
    let mut methods_seen = 0;
    for (net, methods) in object(entry(&golden, "results")) {
        for (method, golden) in object(methods) {
            methods_seen += 1;
            let mut measured = vec![Vec::new(); 4];
            for depth in &depths {
                let flow = flow(&case, net, method, *depth);
                let exact = run::run(&flow, run::parse("backprop"), &case.x0, &case.bar);
                let errors = errors(&flow, &exact, &case, method);
                measured.iter_mut().zip(errors).for_each(|(list, error)| list.push(error));
            }
            for (measure, measured) in MEASURES.iter().zip(&measured) {
                let what = format!("{net}, {method}, {measure}");
                // e_0 and e_rec are differences of numbers near 1, so they carry its rounding.
                for ((value, golden), depth) in
                    measured.iter().zip(numbers(golden, measure)).zip(&depths)
                {
                    assert_close(&format!("{what}, N {depth}"), *value, golden, relative, floor);
                }
                let last = depths.len() - 3;
                let order = order(&depths[last..], &measured[last..]);
                let golden = number(entry(golden, "slopes"), measure);
                // A relu gradient error jumps with every unit on the wrong side of its kink.
                let has_slope = net.starts_with("tanh") || measure.starts_with('e');
                if has_slope && golden.is_finite() {
                    assert!((order - golden).abs() <= slope, "{what}: order {order}, not {golden}");
                }
                if let (Some(stated), "e_rec" | "gth") = (stated_order(net, method), *measure) {
                    assert!((order - stated).abs() <= slope, "{what}: order {order}, not {stated}");
                }
            }
        }
    }
    assert_eq!(methods_seen, 9 * 17, "a method was left out");
}

#[test]
fn reconstruction_errors_approach_their_leading_constants() {
    let golden = load("c_constants");
    let (case, depths) = (Case::read(entry(&golden, "case")), depths(&golden));
    let allowed = number(entry(&golden, "tol"), "rel_at_largest_N");
    let orders = [("C1", 1), ("C3", 2), ("P1C1", 2), ("P2C1", 3), ("P3C1", 4)];
    for (method, order) in orders {
        let limit = Rows::new(1, case.width, &numbers(entry(&golden, "limit"), method));
        let rows = numbers(entry(&golden, "scaled"), method);
        let mut gaps = Vec::new();
        for (depth, golden) in depths.iter().zip(rows.chunks_exact(case.width)) {
            let flow = Flow::new(case.field("smooth", Activation::Tanh, *depth), Scheme::EULER);
            let adjoint = run::adjoint(run::method(method));
            let trace = run::trace(&flow, adjoint, &case.x0, &case.bar);
            let power = (*depth as f64).powi(order);
            let mut scaled = trace.states[0].clone();
            scaled.add_scaled(-1.0, &case.x0);
            scaled.scale(power);
            for (value, golden) in scaled.to_vec().iter().zip(golden) {
                // The difference carries the rounding of numbers near 1, times N^p.
                let what = format!("{method}, N {depth}");
                assert_close(&what, *value, *golden, 1e-6, 1e-14 * power);
            }
            gaps.push(run::distance(&scaled, &limit));
        }
        let last = gaps.last().expect("at least one depth");
        assert!(*last <= allowed, "{method}: {last} from the integral at the largest N");
        assert!(gaps.is_sorted_by(|a, b| a > b), "{method}: gaps {gaps:?} do not shrink");
    }
}
