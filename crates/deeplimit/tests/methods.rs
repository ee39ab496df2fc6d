//! Gradient methods: exactness and orders.

mod common;

use common::{order, run};
use deeplimit::field::Layer;
use deeplimit::gradient::{Adjoint, Checkpoint, REGISTRY, Sweeps};
use deeplimit::kernel::Image;
use deeplimit::prelude::*;
use deeplimit::seed::uniform;
use proptest::prelude::*;
use std::num::NonZeroUsize;

fn rows(samples: usize, width: usize, seed: u64) -> Rows<f64> {
    Rows::from_fn(samples, width, |row, column| uniform(seed, (row * width + column) as u64))
}

fn flow<L: Layer<f64>>(layer: &L, scheme: &Scheme, steps: usize) -> Flow<Stacked<f64, L>> {
    Flow::new(Stacked::smooth(layer.clone(), scheme.nodes_for(steps), 7), scheme.clone())
}

fn mlp(activation: Activation) -> Mlp {
    Mlp { width: 3, hidden: 5, activation }
}

/// Asserts that a method has the gradient of backprop to `tolerance`.
fn assert_exact<L: Layer<f64>>(
    what: &str,
    flow: &Flow<Stacked<f64, L>>,
    method: Method,
    tolerance: f64,
) {
    let width = flow.field().layer().width();
    let (x0, bar) = (rows(5, width, 1), rows(5, width, 2));
    let exact = run::run(flow, run::parse("backprop"), &x0, &bar);
    let run = run::run(flow, method, &x0, &bar);
    let x0_error = run::distance(&run.x0_bar, &exact.x0_bar);
    assert!(x0_error <= tolerance, "{what}: cotangent of x_0 is off by {x0_error:e}");
    let error = run.gradient.relative_error(&exact.gradient);
    assert!(error <= tolerance, "{what}: gradient is off by {error:e}");
    assert!(run::distance(&run.end, &exact.end) <= 1e-14, "{what}: another x_N");
}

/// Rounding of a few layers' products, far below any method's error.
const ROUNDING: f64 = 1e-12;

#[test]
fn checkpointing_with_any_number_of_segments_is_backprop() {
    for scheme in Scheme::ALL {
        for steps in [1, 2, 3, 7, 16] {
            for segments in [None, Some(1), Some(2), Some(3), Some(5), Some(16), Some(99)] {
                let method = Method::Checkpoint(Checkpoint {
                    segments: segments.and_then(NonZeroUsize::new),
                    slots: None,
                });
                let what = format!("{scheme}, {steps} steps, {segments:?} segments");
                assert_exact(
                    &what,
                    &flow(&mlp(Activation::Gelu), &scheme, steps),
                    method,
                    ROUNDING,
                );
                let image = Image { height: 3, width: 2 };
                let conv = Conv::new(2, 3, image, Activation::Relu);
                assert_exact(&what, &flow(&conv, &scheme, steps), method, ROUNDING);
            }
        }
    }
}

#[test]
fn methods_that_reconstruct_nothing_are_exact() {
    let mut exact = 0;
    for scheme in Scheme::ALL {
        for entry in run::fitting(&scheme.clone().into()) {
            for steps in [1, 2, 3, 10] {
                let flow = flow(&mlp(Activation::Softplus), &scheme, steps);
                let (x0, bar) = (rows(5, 3, 1), rows(5, 3, 2));
                let certificate = run::run(&flow, entry.method, &x0, &bar).certificate;
                if certificate.anchors.is_empty() {
                    exact += 1;
                    assert_eq!(certificate.error_estimate(), 0.0, "{}", entry.name);
                    let what = format!("{}, {scheme}, {steps} steps", entry.name);
                    assert_exact(&what, &flow, entry.method, ROUNDING);
                }
            }
        }
    }
    assert!(exact >= 2 * 4 * 4, "backprop and checkpoint are exact");
}

#[test]
fn on_a_field_constant_in_x_every_method_is_exact_where_it_does_not_read_x() {
    for scheme in Scheme::ALL {
        for entry in run::fitting(&scheme.clone().into()) {
            for steps in [1, 2, 3, 9] {
                let mut field = flow(&mlp(Activation::Tanh), &scheme, steps).into_field();
                field.control_mut().values_mut()[0].fill(0.0);
                let flow = Flow::new(field, scheme.clone());
                let (x0, bar) = (rows(5, 3, 1), rows(5, 3, 2));
                let exact = run::run(&flow, run::parse("backprop"), &x0, &bar);
                let run = run::run(&flow, entry.method, &x0, &bar);
                let what = format!("{}, {scheme}, {steps} steps", entry.name);
                let state = run.certificate.state_error();
                assert!(state <= ROUNDING, "{what}: x_0 is off by {state:e}");
                let bar = run::distance(&run.x0_bar, &exact.x0_bar);
                assert!(bar <= ROUNDING, "{what}: its cotangent is off by {bar:e}");
                // The gradient of W₁ is taken at the point p, which only an evaluation before the
                // pull-back makes exact: a prediction of one that varies with depth does not.
                let evaluated = match entry.method {
                    Method::Adjoint(adjoint) => {
                        matches!(adjoint.sweeps, Sweeps::Fixed(count) if count > 1)
                    }
                    Method::Backprop(_) | Method::Checkpoint(_) | Method::Reversible(_) => true,
                };
                let kinds = if evaluated { 0..4 } else { 1..4 };
                let error = run::gradient_error(&run.gradient, &exact.gradient, kinds);
                assert!(error <= ROUNDING, "{what}: gradient is off by {error:e}");
            }
        }
    }
}

#[test]
fn enough_sweeps_make_any_adjoint_exact() {
    for scheme in Scheme::ALL {
        for entry in &REGISTRY {
            let Method::Adjoint(adjoint) = entry.method else { continue };
            // h L is about 0.2 here: 40 sweeps contract by 1e-28.
            let swept = Adjoint { sweeps: Sweeps::Fixed(40), ..adjoint };
            let what = format!("{} with 40 sweeps, {scheme}", entry.name);
            let flow = flow(&mlp(Activation::Tanh), &scheme, 16);
            assert_exact(&what, &flow, Method::Adjoint(swept), ROUNDING);
        }
    }
}

#[test]
fn one_linear_layer_is_reconstructed_as_the_truncated_neumann_series() {
    let layer = Linear { width: 3 };
    let flow = flow(&layer, &Scheme::EULER, 1).with_step(0.3);
    let jacobian = flow.field().control().at(0, 0).to_vec();
    let times_h_jacobian = |x: &Rows<f64>| {
        Rows::from_fn(x.rows(), 3, |row, i| {
            (0..3).map(|j| flow.h() * jacobian[i * 3 + j] * x.at(row, j)).sum()
        })
    };
    let (x0, bar) = (rows(4, 3, 1), rows(4, 3, 2));
    for evaluations in 1..=4 {
        let adjoint = run::adjoint(run::parse(&format!("P0C{evaluations}")));
        let trace = run::trace(&flow, adjoint, &x0, &bar);
        // x̃ = Σ_{j ≤ m} (−h J)^j y; P0C2 has (I − hJ + h²J²) y.
        let mut term = trace.states[1].clone();
        let mut series = term.clone();
        for _ in 0..evaluations {
            term = times_h_jacobian(&term);
            term.scale(-1.0);
            series.add_scaled(1.0, &term);
        }
        let error = run::distance(&trace.states[0], &series);
        assert!(error < 1e-15, "P0C{evaluations}: {error:e} from the series");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_corrected_adjoint_is_p0c2_and_its_states_are_two_sweeps(
        seed in 0u64..1000,
        steps in 1usize..9,
        samples in 1usize..6,
    ) {
        let layer = mlp(Activation::Tanh);
        let flow = Flow::new(Stacked::rough(layer, steps, seed), Scheme::EULER);
        let (x0, bar) = (rows(samples, 3, seed), rows(samples, 3, seed + 1));
        let corrected = run::run(&flow, run::parse("adjoint-corrected"), &x0, &bar);
        let formula = run::run(&flow, run::parse("P0C2"), &x0, &bar);
        prop_assert_eq!(corrected.gradient, formula.gradient);
        prop_assert_eq!(corrected.x0_bar, formula.x0_bar);
        // x̃_n = y − h f_n(y − h f_n(y)), written out.
        let adjoint = run::adjoint(run::parse("P0C2"));
        let trace = run::trace(&flow, adjoint, &x0, &bar);
        let mut stepper = flow.stepper(&x0);
        let mut increment = x0.clone();
        for step in 0..steps {
            let y = &trace.states[step + 1];
            let mut x = y.clone();
            for _ in 0..2 {
                stepper.increment(step, &x, &mut increment);
                x.set_sum(y, -flow.h(), &increment);
            }
            prop_assert!(run::distance(&trace.states[step], &x) < 1e-14);
        }
    }

    #[test]
    fn anchors_at_every_layer_leave_the_error_of_one_layer_only(
        seed in 0u64..1000,
        steps in 2usize..12,
    ) {
        let layer = mlp(Activation::Tanh);
        let flow = Flow::new(Stacked::rough(layer, steps, seed), Scheme::EULER);
        let (x0, bar) = (rows(3, 3, seed), rows(3, 3, seed + 1));
        let adjoint = Adjoint { anchors: Some(steps), ..run::adjoint(run::parse("P0C2")) };
        let run = run::run(&flow, Method::Adjoint(adjoint), &x0, &bar);
        let layers: Vec<usize> = run.certificate.anchors.iter().map(|a| a.layer).collect();
        prop_assert_eq!(layers, (0..steps).rev().collect::<Vec<_>>());
        let states = flow.states(&x0);
        let mut stepper = flow.stepper(&x0);
        let (mut x, mut increment) = (x0.clone(), x0.clone());
        for anchor in &run.certificate.anchors {
            let y = &states[anchor.layer + 1];
            x.copy_from(y);
            for _ in 0..2 {
                stepper.increment(anchor.layer, &x, &mut increment);
                x.set_sum(y, -flow.h(), &increment);
            }
            let error = run::distance(&x, &states[anchor.layer]);
            prop_assert!((error - anchor.error).abs() < 1e-14);
        }
    }
}

/// e_rec, gth of an adjoint on a smooth net.
fn errors(scheme: &Scheme, name: &str, steps: usize) -> (f64, f64) {
    let flow = flow(&mlp(Activation::Tanh), scheme, steps);
    let (x0, bar) = (rows(3, 3, 1), rows(3, 3, 2));
    let exact = run::run(&flow, run::parse("backprop"), &x0, &bar);
    let trace = run::trace(&flow, run::adjoint(run::parse(name)), &x0, &bar);
    let states = run::reconstruction_error(&trace.states, &flow.states(&x0));
    (states, trace.gradient.relative_error(&exact.gradient))
}

#[test]
fn adjoints_reconstruct_with_their_order_on_every_scheme() {
    let depths = [24, 34, 48, 68];
    for scheme in Scheme::ALL {
        let inverse = scheme.inverse_order();
        for (name, stated) in [
            ("adjoint-published", inverse),
            ("adjoint-corrected", inverse + 1),
            ("P0C3", inverse + 2),
            ("adjoint-predicted", 3),
            ("P0C1", 1),
            ("P1C1", 2),
            ("P1C2", 3),
            ("P2C2", 4),
        ] {
            let errors: Vec<_> = depths.iter().map(|steps| errors(&scheme, name, *steps)).collect();
            for (measure, list) in [
                ("e_rec", errors.iter().map(|error| error.0).collect::<Vec<_>>()),
                ("gth", errors.iter().map(|error| error.1).collect()),
            ] {
                // Below 1e-12 rounding hides the slope.
                if list.iter().all(|error| *error > 1e-12) {
                    let order = order(&depths, &list);
                    let what = format!("{name}, {scheme}, {measure}");
                    let gap = (order - stated as f64).abs();
                    assert!(gap <= 0.25, "{what}: order {order}, not {stated}, from {list:?}");
                }
            }
        }
    }
}

#[test]
fn on_smooth_nets_the_learned_adjoint_beats_the_corrected_one_and_the_adaptive_its_tolerance() {
    let (_, corrected) = errors(&Scheme::EULER, "adjoint-corrected", 64);
    let (_, learned) = errors(&Scheme::EULER, "adjoint-learned", 64);
    // The golden table shows a factor of 55 over many nets.
    assert!(learned < corrected / 10.0, "{learned:e} against {corrected:e}");
    for scheme in Scheme::ALL {
        for tolerance in [1e-3, 1e-5, 1e-8] {
            let (_, error) = errors(&scheme, &format!("APC({tolerance})"), 64);
            // Over random nets the error is below 4 (e_0 + D), and here e_0 is below D ≤ tolerance.
            assert!(error < 4.0 * tolerance, "{scheme}: {error:e} at tolerance {tolerance}");
        }
    }
}
