//! The reversible schemes of theory C6: trajectories, inverses, gradients, orders, stability.

mod support_ab;

use deeplimit::gradient::Due;
use deeplimit::prelude::*;
use deeplimit::scheme::Nodes;
use deeplimit::scheme::reversible::{
    AsynchronousLeapfrog, Leapfrog, McCallumFoster, Momentum, Reversible, ReversibleHeun, Slope,
    forward, inverse, pull_back,
};
use serde_json::Value;
use support_ab::{Case, Refined, assert_close, count, decay, golden, list, number, numbers, rows};

/// Euler's scheme reading the control at the start of the step it walks, in either direction.
const EULER_AT_NODES: Scheme =
    Scheme::new("euler-at-nodes", 1, Nodes::PerBoundary, &[&[]], &[1.0], &[0.0]);

fn coupled(base: Scheme) -> McCallumFoster {
    McCallumFoster { base, coupling: 0.99 }
}

/// What all schemes are asked, whatever their type.
trait Question {
    fn ask(&self, name: &str, scheme: &impl Reversible);
}

fn ask_all(question: &impl Question) {
    question.ask("leapfrog", &Leapfrog);
    question.ask("momentum", &Momentum { gamma: 0.7 });
    question.ask("reversible_heun", &ReversibleHeun);
    question.ask("alf", &AsynchronousLeapfrog);
    question.ask("mf_euler", &coupled(EULER_AT_NODES));
    question.ask("mf_heun", &coupled(Scheme::HEUN));
    question.ask("mf_rk4", &coupled(Scheme::RK4));
}

/// The golden network with closed-form weights at the nodes and half-way, for N steps.
fn field(golden: &Value, scheme: &impl Reversible, steps: usize) -> Refined {
    let case = Case { golden: &golden["case"], activation: Activation::Tanh };
    let boundary = scheme.steps_for(2) == 1; // N steps on N + 1 nodes?
    let nodes = if boundary { 2 * steps + 1 } else { 2 * steps - 1 };
    Refined { inner: case.smooth(nodes, 0.5 / steps as f64), per_step: 2 }
}

fn relative(x: &Rows<f64>, reference: &Rows<f64>) -> f64 {
    x.distance_squared(reference).sqrt() / reference.norm_squared().sqrt()
}

struct Trajectories(Value);

impl Question for Trajectories {
    fn ask(&self, name: &str, scheme: &impl Reversible) {
        let steps = count(&self.0["grad_N"]);
        let expected = &self.0["results"][name];
        let field = field(&self.0, scheme, steps);
        let x0 = rows(&self.0["case"]["x0"]);
        let mut slope = Slope::new(&field, scheme.base(), 1.0 / steps as f64, &x0);
        let mut states = scheme.start(&mut slope, &x0);
        let golden = list(&expected["traj"]);
        // The golden leapfrog starts after its first step, and lists the older state first.
        let two_step = name == "leapfrog";
        let mut seen = if two_step { vec![] } else { vec![states.clone()] };
        for n in 0..steps {
            scheme.step(&mut slope, n, &mut states);
            seen.push(states.clone());
        }
        assert_eq!(seen.len(), golden.len(), "{name}");
        for (mut seen, golden) in seen.into_iter().zip(golden) {
            if two_step {
                seen.reverse();
            }
            let golden = list(golden).iter().map(rows);
            assert!(golden.len() == seen.len());
            for (seen, golden) in seen.iter().zip(golden) {
                for (x, y) in seen.to_vec().iter().zip(golden.to_vec()) {
                    assert_close(*x, y, 1e-9, 1e-14, name);
                }
            }
        }

        let mut gradient = field.zero_gradient();
        let bar = rows(&self.0["case"]["lamN"]);
        let (x0_bar, _) = pull_back(scheme, &field, states, &bar, &mut gradient);
        for (x, y) in x0_bar.to_vec().iter().zip(numbers(&expected["grad_x0"])) {
            assert_close(*x, y, 1e-9, 1e-13, name);
        }
    }
}

#[test]
fn trajectories_and_gradients_are_the_golden_ones() {
    ask_all(&Trajectories(golden("c_reversible.json")));
}

struct Errors(Value);

impl Question for Errors {
    fn ask(&self, name: &str, scheme: &impl Reversible) {
        let expected = &self.0["results"][name];
        let (x0, reference) = (rows(&self.0["case"]["x0"]), rows(&self.0["x_ref"]));
        let mut errors = Vec::new();
        for (index, steps) in list(&self.0["Ns"]).iter().map(count).enumerate() {
            let field = field(&self.0, scheme, steps);
            let end = forward(scheme, &field, &x0);
            let error = relative(&end[0], &reference);
            // Both the states and the reference are rounded: 1e-14 absolutely.
            assert_close(error, number(&expected["err"][index]), 1e-9, 1e-14, name);
            let norm = end[0].norm_squared().sqrt();
            assert_close(norm, number(&expected["x_out_norm"][index]), 1e-9, 0.0, name);
            errors.push((steps as f64, error));

            let back = relative(&inverse(scheme, &field, end)[0], &x0);
            if name != "momentum" {
                assert!(back <= 1e-10, "{name}, N = {steps}: inverse error {back:e}");
            } else {
                // Rounding, multiplied by 1/γ at every step.
                let rounding = f64::EPSILON * 0.7f64.powi(-(steps as i32));
                assert!(back <= 100.0 * rounding, "{name}, N = {steps}: {back:e} {rounding:e}");
                assert!(steps < 64 || back > 1e-10, "momentum's inverse is not stable: {back:e}");
            }
        }
        let order = decay(&errors[errors.len() - 3..]); // As the golden one: the last three depths.
        assert_close(order, number(&expected["order"]), 0.0, 1e-4, name);
        if ["momentum", "mf_euler"].contains(&name) {
            assert!(order >= 0.9, "{name}: order {order}");
        } else {
            assert!((order - scheme.order() as f64).abs() <= 0.2, "{name}: order {order}");
        }
    }
}

#[test]
fn orders_are_as_stated_and_inverses_exact_but_for_momentum() {
    ask_all(&Errors(golden("c_reversible.json")));
}

struct Stability(Value);

impl Question for Stability {
    fn ask(&self, name: &str, scheme: &impl Reversible) {
        let (steps, a) = (count(&self.0["N"]), number(&self.0["a"]));
        let kinds = deeplimit::field::Layer::<f64>::kinds(&Linear { width: 1 });
        let control = Control::new(kinds, steps + 1, vec![vec![-a; steps + 1]]);
        let field = Stacked::new(Linear { width: 1 }, control);
        let x0 = Rows::new(1, 1, &[1.0]);
        let mut slope = Slope::new(&field, scheme.base(), 1.0 / steps as f64, &x0);
        let mut states = scheme.start(&mut slope, &x0);
        (0..steps).for_each(|n| scheme.step(&mut slope, n, &mut states));
        // The growing mode magnifies the rounding errors of every step by up to e^a; momentum
        // has none.
        let rounding = if name == "momentum" { 1e-16 } else { f64::EPSILON * a.exp() };
        assert_close(states[0].to_vec()[0], number(&self.0[name]), 1e-9, rounding, name);
    }
}

#[test]
fn on_contracting_fields_the_pairs_grow_as_in_the_golden_table() {
    let golden = golden("c_reversible.json");
    for row in list(&golden["stability"]) {
        ask_all(&Stability(row.clone()));
    }
}

#[test]
fn a_gradient_costs_an_evaluation_and_a_pull_back_a_step_more_than_the_way_forward() {
    let golden = golden("c_reversible.json");
    let steps = 6;
    let x0 = rows(&golden["case"]["x0"]);
    let field = field(&golden, &Leapfrog, steps);
    let mut slope = Slope::new(&field, Leapfrog.base(), 1.0 / steps as f64, &x0);
    let mut states = Leapfrog.start(&mut slope, &x0);
    (0..steps).for_each(|n| Leapfrog.step(&mut slope, n, &mut states));
    let mut gradient = field.zero_gradient();
    let sink = field.open(&mut gradient);
    let mut bars = vec![x0.clone(), x0.clone()];
    for n in (0..steps).rev() {
        Leapfrog.unstep(&mut slope, n, &mut states, Some((&mut bars, Due::now(&sink))));
    }
    let samples = x0.rows() as u64;
    assert_eq!(slope.work().evaluations, 2 * 6 * samples);
    assert_eq!(slope.work().pull_backs, 6 * samples);
}
