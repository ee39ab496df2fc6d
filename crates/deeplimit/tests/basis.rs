//! Flows whose control lies in a basis: gradients of the coefficients, and the deep limit.

mod common;

use common::run;
use deeplimit::control::{Basis, Curve, Expansion, Family};
use deeplimit::field::Layer;
use deeplimit::limit::{DormandPrince, Slope, deep_limit};
use deeplimit::prelude::*;
use deeplimit::seed::uniform;

const LAYER: Mlp = Mlp { width: 3, hidden: 4, activation: Activation::Tanh };

fn rows(samples: usize, seed: u64) -> Rows<f64> {
    Rows::from_fn(samples, 3, |row, column| uniform(seed, (row * 3 + column) as u64))
}

/// Every basis with seven coefficients.
fn expansions() -> impl Iterator<Item = Expansion> {
    Basis::ALL.into_iter().map(|basis| Expansion::new(basis, 7).expect("seven coefficients"))
}

fn coefficients(expansion: Expansion) -> Control<f64> {
    let kinds = Layer::<f64>::kinds(&LAYER);
    Control::random(kinds, expansion.coefficients(), Family::Independent, 3)
}

fn flow(control: Control<f64>, scheme: &AnyScheme) -> Flow<Stacked<f64, Mlp>> {
    Flow::new(Stacked::new(LAYER, control), scheme.clone())
}

/// ∂⟨bar, x_N⟩/∂c by the pull-back of the sampling, against central differences of every single
/// coefficient: step² f'''/6 and 1e-16/step are near 1e-10.
#[test]
fn gradients_of_coefficients_agree_with_finite_differences() {
    const STEP: f64 = 1e-5;
    let (x0, bar) = (rows(2, 1), rows(2, 2));
    for scheme in AnyScheme::all() {
        let exact = run::fitting(&scheme).next().expect("a method").method;
        for expansion in expansions() {
            let sampling = expansion.sampling(scheme.node_depths(9));
            let c = coefficients(expansion);
            let found = run::run(&flow(sampling.sample(&c), &scheme), exact, &x0, &bar);
            let gradient = sampling.pull_back(&found.gradient);
            for kind in 0..c.kinds().len() {
                for entry in 0..c.values()[kind].len() {
                    let at = |sign: f64| {
                        let mut moved = c.clone();
                        moved.values_mut()[kind][entry] += sign * STEP;
                        flow(sampling.sample(&moved), &scheme).forward(&x0).dot(&bar)
                    };
                    let difference = (at(1.0) - at(-1.0)) / (2.0 * STEP);
                    let slope = gradient.values()[kind][entry];
                    let close = (difference - slope).abs() < 1e-8 * gradient.norm();
                    assert!(close, "{scheme}, {expansion}: {slope} {difference}");
                }
            }
        }
    }
}

/// ‖x_N − x(1)‖ over N as a slope: the order of the scheme where the control is smooth. Between nodes it
/// is interpolated linearly, so that no order is above 2. Of constant pieces no scheme sees that one ends
/// inside a step: order 1, with a factor that depends on where in the step.
#[test]
fn flows_tend_to_the_deep_limit_with_the_order_of_their_scheme() {
    let x0 = rows(4, 5);
    for expansion in expansions() {
        // Weights that change little over the ten layers that the momentum scheme remembers.
        let mut gentle = coefficients(expansion);
        for values in gentle.values_mut() {
            let length = values.len() / expansion.coefficients();
            for (index, row) in values.chunks_exact_mut(length).enumerate() {
                row.iter_mut().for_each(|value| *value /= (index + 1) as f64);
            }
        }
        let curve = Curve::new(expansion, gentle);
        let limit = deep_limit(&LAYER, &curve, &x0, &DormandPrince::new(1e-11)).expect("easy").end;
        for scheme in AnyScheme::all() {
            let points = [512, 1024, 2048, 4096].map(|steps| {
                // An odd depth does not have the ends of pieces among its nodes.
                let steps = steps + 1;
                let control = curve.sample(scheme.node_depths(steps));
                let end = flow(control, &scheme).forward(&x0);
                (steps as f64, end.distance_squared(&limit).sqrt())
            });
            let slope = Slope::fit(&points).value;
            if expansion.basis() == Basis::Constant {
                assert!(slope < -0.7, "{scheme}, {expansion}: {slope:.2}");
                continue;
            }
            let order = scheme.order().min(2) as f64;
            assert!(
                (slope + order).abs() < 0.25,
                "{scheme}, {expansion}: {slope:.2}, not −{order}"
            );
        }
    }
}

/// One limit, two ways: the weight interpolant of a fine sampling, solved with fixed steps, and the curve
/// itself, solved with chosen ones.
#[test]
fn the_deep_limit_is_that_of_the_weight_interpolant_of_many_nodes() {
    use deeplimit::limit::{Interpolant, NeuralOde};
    let x0 = rows(3, 7);
    let spline = Expansion::new(Basis::Spline, 7).expect("seven");
    let curve = Curve::new(spline, coefficients(spline));
    let limit = deep_limit(&LAYER, &curve, &x0, &DormandPrince::new(1e-11)).expect("easy").end;
    let apart = |steps: usize| {
        let scheme = AnyScheme::from(Scheme::HEUN);
        let flow = flow(curve.sample(scheme.node_depths(steps)), &scheme);
        let ode = NeuralOde::new(&flow, Interpolant::Weight).with_substeps(2).states(&x0);
        ode[steps].distance_squared(&limit).sqrt()
    };
    // Linear interpolation of a twice differentiable control: order 2.
    let slope = Slope::fit(&[32, 64, 128, 256].map(|n| (n as f64, apart(n)))).value;
    assert!((slope + 2.0).abs() < 0.1, "{slope}");
    assert!(apart(1024) < 1e-5);
}
