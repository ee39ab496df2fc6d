//! Every array of `c_micro.json`, all methods: 6 layers, weights written out.

mod common;

use common::run::{self, Trace};
use common::{GOLDEN_KINDS, entry, largest_difference, load, number, numbers, object};
use deeplimit::field::Layer;
use deeplimit::prelude::*;
use serde_json::Value;

/// The flow of a case under a scheme; golden steps are 1/N for N nodes, also for N − 1 Heun steps.
fn flow(case: &Value, name: &str, depth: usize, scheme: Scheme) -> Flow<Stacked<f64, Mlp>> {
    let activation = name.split('/').next().expect("a name starts with its activation");
    let layer = Mlp { width: 3, hidden: 4, activation: common::activation(activation) };
    let mut values = ["W", "b", "V"].map(|kind| numbers(case, kind)).to_vec();
    values.push(vec![0.0; depth * layer.width]);
    let control = Control::new(Layer::<f64>::kinds(&layer), depth, values);
    Flow::new(Stacked::new(layer, control), scheme).with_step(1.0 / depth as f64)
}

fn flat(states: &[Rows<f64>]) -> Vec<f64> {
    states.iter().flat_map(Rows::to_vec).collect()
}

struct Check<'a> {
    what: String,
    golden: &'a Value,
    tolerance: f64,
}

impl Check<'_> {
    fn array(&self, name: &str, values: &[f64]) {
        let error = largest_difference(values, &numbers(self.golden, name));
        assert!(error <= self.tolerance, "{}, {name}: off by {error:e}", self.what);
    }

    fn gradient(&self, x0_bar: &Rows<f64>, gradient: &Control<f64>) {
        for (kind, name) in GOLDEN_KINDS.zip(["gW", "gb", "gV"]) {
            self.array(name, &gradient.values()[kind]);
        }
        if self.golden.get("gx").is_some() {
            self.array("gx", &x0_bar.to_vec());
        }
    }

    fn trace(&self, trace: &Trace<Stacked<f64, Mlp>>) {
        self.array("x_rec", &flat(&trace.states));
        // Heun steps have several points each; golden files show none of them.
        if self.golden.get("p").is_some() {
            self.array("p", &flat(&trace.points));
        }
        self.gradient(&trace.cotangents[0], &trace.gradient);
    }
}

#[test]
fn every_state_point_and_gradient_of_every_method_is_the_golden_one() {
    let golden = load("c_micro");
    let (depth, tolerance) = (common::count(&golden, "N"), number(entry(&golden, "tol"), "abs"));
    let rows = |name| Rows::new(2, 3, &numbers(&golden, name));
    let (x0, bar) = (rows("x0"), rows("lamN"));
    let mut checked = 0;
    for (name, case) in object(entry(&golden, "cases")) {
        let mut sides = vec![(Scheme::EULER, case)];
        sides.extend(case.get("heun").map(|heun| (Scheme::HEUN, heun)));
        for (scheme, side) in sides {
            let flow = flow(case, name, depth, scheme.clone());
            let check = |what: &str, golden| Check {
                what: format!("{name}, {scheme}, {what}"),
                golden,
                tolerance,
            };
            let exact = run::run(&flow, run::parse("backprop"), &x0, &bar);
            let states = check("forward", side);
            states.array("x", &flat(&flow.states(&x0)));
            states.gradient(&exact.x0_bar, &exact.gradient);
            if side.get("lam").is_some() {
                // Forty sweeps contract to the exact states, and show every cotangent.
                let swept = run::trace(&flow, run::adjoint(run::parse("P0C40")), &x0, &bar);
                states.array("lam", &flat(&swept.cotangents));
            }
            for (method, golden) in object(entry(side, "methods")) {
                let adjoint = run::adjoint(run::method(method.trim_start_matches("heun_")));
                check(method, golden).trace(&run::trace(&flow, adjoint, &x0, &bar));
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 3 * (11 + 6), "a method was left out");
}
