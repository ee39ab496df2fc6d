//! Orders of every scheme and of its un-step, by slope, on a control that is smooth in depth.

mod common;

use common::{order, run};
use deeplimit::gradient::{Adjoint, Predictor, Sweeps};
use deeplimit::prelude::*;
use deeplimit::scheme::AnyScheme;
use deeplimit::scheme::reversible::{AnyReversible, Momentum};
use deeplimit::seed::uniform;

/// Depths at which every scheme is in its asymptotic range, and above rounding.
const DEPTHS: [usize; 4] = [12, 17, 24, 34];

/// Slopes over depths this small still bend by a tenth or two.
const ALLOWED: f64 = 0.25;

/// A net whose parameters are linear in depth, so that what a scheme reads between nodes is one
/// smooth function at any depth.
fn flow<S: Clone + Into<AnyScheme>>(scheme: &S, steps: usize) -> Flow<Stacked<f64, Mlp>> {
    let scheme: AnyScheme = scheme.clone().into();
    let layer = Mlp { width: 3, hidden: 5, activation: Activation::Tanh };
    let nodes = scheme.nodes_for(steps);
    let lengths = [15, 5, 15, 3];
    let control = run::control_of(&layer, nodes, |kind, index| {
        let (node, entry) = (index / lengths[kind], (index % lengths[kind]) as u64);
        let draw = |part: u64| uniform(10 * kind as u64 + part, entry);
        draw(1) + node as f64 / steps as f64 * draw(2)
    });
    Flow::new(Stacked::new(layer, control), scheme)
}

fn start() -> Rows<f64> {
    Rows::from_fn(4, 3, |row, column| uniform(5, (row * 3 + column) as u64))
}

fn assert_order(what: &str, errors: &[f64], stated: usize) {
    let order = order(&DEPTHS, errors);
    assert!(
        (order - stated as f64).abs() <= ALLOWED,
        "{what}: order {order}, not {stated}, from {errors:?}"
    );
}

#[test]
fn every_scheme_approaches_the_neural_ode_with_its_order() {
    // Its own error is near 1e-14.
    let reference = flow(&Scheme::RK4, 2000).forward(&start());
    // Momentum starts at rest and needs about 1/(1 − γ) steps to move: few, beside these depths.
    let quick = |scheme| match scheme {
        AnyScheme::Reversible(AnyReversible::Momentum(_)) => {
            AnyReversible::Momentum(Momentum { gamma: 0.1 }).into()
        }
        other => other,
    };
    for scheme in AnyScheme::all().map(quick) {
        let error =
            |steps: &usize| run::distance(&flow(&scheme, *steps).forward(&start()), &reference);
        let errors: Vec<f64> = DEPTHS.iter().map(error).collect();
        assert_order(&format!("{scheme}"), &errors, scheme.order());
    }
}

#[test]
fn the_step_with_minus_h_recovers_the_start_with_the_inverse_order() {
    for scheme in Scheme::ALL {
        for sweeps in 0..2 {
            let adjoint = Adjoint {
                predictor: Predictor::None,
                sweeps: Sweeps::Fixed(2 + sweeps),
                refine: false,
                anchors: None,
                tolerance: None,
            };
            let error = |steps: &usize| {
                let flow = flow(&scheme, *steps);
                let run = run::run(&flow, Method::Adjoint(adjoint), &start(), &start());
                run.certificate.state_error()
            };
            let errors: Vec<f64> = DEPTHS.iter().map(error).collect();
            let what = format!("{scheme} inverted, {sweeps} sweeps");
            assert_order(&what, &errors, scheme.inverse_order() + sweeps);
        }
    }
}

#[test]
fn a_step_there_and_back_differs_by_one_order_more_than_the_flow() {
    for scheme in Scheme::ALL {
        let error = |steps: &usize| {
            let flow = flow(&scheme, *steps);
            let x = start();
            let mut stepper = flow.stepper(&x);
            let (mut y, mut increment) = (x.clone(), x.clone());
            stepper.increment(0, &x, &mut increment);
            y.add_scaled(flow.h(), &increment);
            stepper.increment_backward(0, &y, &mut increment);
            y.add_scaled(-flow.h(), &increment);
            run::distance(&y, &x)
        };
        let errors: Vec<f64> = DEPTHS.iter().map(error).collect();
        assert_order(&format!("one {scheme} step"), &errors, scheme.inverse_order() + 1);
    }
}

/// Steps of one over the number of functions, N − 1 of them, as in Sander, Ablin, Peyré (2022, section 5): Heun's
/// scheme is of order 2 to the state at depth 1 − 1/N, and of order 1 to that at depth 1.
#[test]
fn heun_s_scheme_with_steps_of_one_over_the_functions_ends_one_step_early() {
    let fine = flow(&Scheme::RK4, 2000).states(&start());
    let errors = |end: fn(usize) -> usize| -> Vec<f64> {
        let error = |functions: usize| {
            let heun = Scheme::HEUN;
            let layer = Mlp { width: 3, hidden: 5, activation: Activation::Tanh };
            // Function n has the weights at depth n/N.
            let nodes = flow(&heun, functions).into_field().control().clone();
            let first: Vec<Vec<f64>> = (nodes.values().iter())
                .map(|values| values[..values.len() / (functions + 1) * functions].to_vec())
                .collect();
            let control = Control::new(nodes.kinds().to_vec(), functions, first);
            let flow =
                Flow::new(Stacked::new(layer, control), heun).with_step(1.0 / functions as f64);
            assert_eq!(flow.steps(), functions - 1);
            run::distance(&flow.forward(&start()), &fine[end(functions)])
        };
        FUNCTIONS.iter().map(|functions| error(*functions)).collect()
    };
    // All of them divide the 2000 steps of the reference.
    const FUNCTIONS: [usize; 4] = [10, 16, 20, 25];
    for (what, end, stated) in [
        ("to depth 1 − 1/N", (|functions| 2000 - 2000 / functions) as fn(usize) -> usize, 2.0),
        ("to depth 1", |_| 2000, 1.0),
    ] {
        let found = errors(end);
        let order = order(&FUNCTIONS, &found);
        assert!((order - stated).abs() <= ALLOWED, "{what}: order {order} from {found:?}");
    }
}
