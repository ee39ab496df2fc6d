//! Theory F: gaps between a network and its neighbours, and the amplification of errors on the way
//! back, `f_estimators.json`.

mod common;

use common::{Case, assert_close, entry, list, load, number, numbers, object, order};
use deeplimit::control::Position;
use deeplimit::limit::{Amplification, Gaps, Jacobian, logarithmic_norm, spectral_norm};
use deeplimit::prelude::*;
use serde_json::Value;

/// A residual network of one of the golden families.
fn network(golden: &Value, family: &str, layers: usize) -> Flow<Stacked<f64, Mlp>> {
    let (block, size) = (entry(golden, "case"), (layers as f64).sqrt());
    let case = Case::read(block);
    let family_below = if family.starts_with("diffusive") { "smooth" } else { family };
    let mut control = case.control(family_below, layers, 1.0);
    let [w, b, v, _] = control.values_mut() else { unreachable!("an mlp's kinds") };
    match family {
        "diffusive" => {
            let noise = numbers(block, "Vxi");
            v.iter_mut().zip(noise).for_each(|(v, noise)| *v = 0.8 * size * noise);
        }
        "diffusive_alt" => {
            for (array, name) in [(&mut *w, "W0"), (b, "b0"), (&mut *v, "V0")] {
                *array = numbers(block, name).repeat(layers).into();
            }
            for (node, v) in v.chunks_exact_mut(case.width * case.hidden).enumerate() {
                let factor = if node % 2 == 0 { 0.7 * size } else { -0.7 * size };
                v.iter_mut().for_each(|v| *v *= factor);
            }
        }
        _ => {}
    }
    Flow::new(Stacked::new(case.layer(Activation::Tanh), control), Scheme::EULER)
}

fn x0(golden: &Value) -> Rows<f64> {
    Case::read(entry(golden, "case")).x0
}

#[test]
fn gaps_are_the_golden_ones_for_every_family_and_depth() {
    let golden = load("f_estimators");
    let x0 = x0(&golden);
    for (family, rows) in object(entry(&golden, "results")) {
        for row in rows.as_array().expect("a row for every depth") {
            let layers = common::count(row, "N");
            let flow = network(&golden, family, layers);
            let gaps = Gaps::measure(&flow, &x0).expect("a residual network");
            let close = |value: f64, golden: f64, name: &str| {
                let what = format!("{family}, N = {layers}, {name}");
                // Differences of states of size 1, by the same formulas. Where layers undo each
                // other exactly, rounding is left.
                assert_close(&what, value, golden, 1e-7, 1e-13);
            };
            close(gaps.frozen, number(row, "frozen_gap"), "frozen gap");
            close(gaps.heun, number(row, "heun_gap"), "Euler–Heun gap");
            let Some(merged) = row.get("fun") else { continue };
            close(gaps.merged, number(merged, "d1"), "d1");
            close(gaps.merged_again, number(merged, "d2"), "d2");
            let golden_order = number(merged, "p");
            match gaps.order {
                Some(order) => close(order, golden_order, "p"),
                None => assert!(golden_order.is_nan(), "{family}, N = {layers}: no order"),
            }
        }
    }
}

#[test]
fn the_frozen_gap_tells_bounded_from_diffusive_networks() {
    let golden = load("f_estimators");
    let (x0, depths) = (x0(&golden), common::depths(&golden));
    let rate = |family: &str| {
        let gap = |layers: &usize| {
            let gaps = Gaps::measure(&network(&golden, family, *layers), &x0);
            gaps.expect("a residual network").frozen
        };
        order(&depths, &depths.iter().map(gap).collect::<Vec<_>>())
    };
    for family in ["smooth", "brownian", "alternating", "iid"] {
        let rate = rate(family);
        assert!((0.9..=1.3).contains(&rate), "{family}: {rate}");
    }
    // A single random network fluctuates; its gap falls more slowly than those of bounded ones.
    assert!(rate("diffusive") < 0.7, "{}", rate("diffusive"));
    assert!(rate("diffusive_alt").abs() < 0.01, "{}", rate("diffusive_alt"));
}

#[test]
fn amplification_is_the_golden_one_for_every_family_and_depth() {
    let golden = load("f_estimators");
    let x0 = x0(&golden);
    for (family, rows) in object(entry(&golden, "results")) {
        for row in rows.as_array().expect("a row for every depth") {
            let layers = common::count(row, "N");
            let flow = network(&golden, family, layers);
            let all = Amplification::measure(&flow, &x0).expect("a residual network");
            let found = &all[0]; // Golden numbers are those of sample 0.
            let close = |value: f64, name: &str, relative: f64| {
                let what = format!("{family}, N = {layers}, {name}");
                assert_close(&what, value, number(row, name), relative, 0.0);
            };
            close(found.logarithmic_norms, "int_mu_minusJ", 1e-7);
            // The golden power iteration stops early.
            close(found.logarithmic_norms, "int_mu_power", 1e-3);
            close(found.steps, "log_step_norms", 1e-7);
            close(found.product, "log_true_amplification", 1e-7);
            let what = format!("{family}, N = {layers}");
            assert!(all.iter().all(|a| a.product <= a.steps + 1e-12), "{what}: {all:?}");

            let mut norms = Vec::new();
            for (layer, x) in flow.states(&x0.slice(0, 1)).iter().take(layers).enumerate() {
                let jacobians = Jacobian::of(flow.field(), Position::node(layer), x);
                norms.extend(jacobians.iter().map(Jacobian::spectral_norm));
            }
            close(common::largest(norms.into_iter()), "max_spec", 1e-7);
        }
    }
}

#[test]
fn each_sample_is_amplified_by_itself() {
    let golden = load("f_estimators");
    let (flow, x0) = (network(&golden, "iid", 16), x0(&golden));
    let all = Amplification::measure(&flow, &x0).expect("a residual network");
    for (sample, together) in all.iter().enumerate() {
        let alone = Amplification::measure(&flow, &x0.slice(sample, 1));
        let alone = alone.expect("a residual network").remove(0);
        // States of tiles of other sizes may differ by roundings.
        assert_close("product", alone.product, together.product, 1e-12, 0.0);
        assert_close("steps", alone.steps, together.steps, 1e-12, 0.0);
    }
}

#[test]
fn norms_of_the_golden_matrices_are_exact() {
    for matrix in list(&load("f_estimators"), "matrices") {
        let values = numbers(matrix, "J");
        let width = list(matrix, "J").len();
        let negative: Vec<f64> = values.iter().map(|v| -v).collect();
        // Golden values from an eigenvalue solver; some roundings are left.
        let close = |name: &str, value| {
            assert_close(name, value, number(matrix, name), 1e-13, 0.0);
        };
        close("mu2_J", logarithmic_norm(&values, width));
        close("mu2_minusJ", logarithmic_norm(&negative, width));
        close("spec", spectral_norm(&values, width));
    }
}
