use super::*;
use crate::prelude::*;

const MOMENTUM: Momentum = Momentum { gamma: 0.7 };

fn coupled(base: Scheme) -> McCallumFoster {
    McCallumFoster { base, coupling: 0.9 }
}

fn field(nodes: usize) -> Stacked<f64, Mlp> {
    let layer = Mlp { width: 3, hidden: 5, activation: Activation::Tanh };
    Stacked::rough(layer, nodes, 2)
}

fn x0() -> Rows<f64> {
    Rows::from_fn(2, 3, |row, column| ((row * 3 + column) as f64 * 0.7).sin())
}

fn cotangent() -> Rows<f64> {
    Rows::from_fn(2, 3, |row, column| ((row * 3 + column) as f64 * 1.3).cos())
}

/// Change of ⟨cotangent, x_N⟩ for small changes of x_0 and of θ, against the gradient.
fn check_gradient(scheme: &impl Reversible, nodes: usize) {
    let (mut field, x0) = (field(nodes), x0());
    let states = forward(scheme, &field, &x0);
    let mut gradient = field.zero_gradient();
    let (x_bar, back) = pull_back(scheme, &field, states, &cotangent(), &mut gradient);
    assert!(back.distance_squared(&x0).sqrt() < 1e-12);

    const SMALL: f64 = 1e-5;
    let value = |field: &_, x: &Rows<f64>| cotangent().dot(&forward(scheme, field, x)[0]);
    let close = |slope: f64, expected: f64, what: &str| {
        // Central differences leave about SMALL² of the third derivative, and rounding / SMALL.
        assert!((slope - expected).abs() < 1e-8, "{what}: {slope} {expected}");
    };
    for entry in 0..6 {
        let [up, down] = [SMALL, -SMALL].map(|change| {
            let mut x = x0.clone();
            x.columns_mut()[entry] += change;
            value(&field, &x)
        });
        close((up - down) / (2.0 * SMALL), x_bar.columns()[entry], "x_0");
    }
    for kind in 0..4 {
        for entry in (0..field.control().values()[kind].len()).step_by(3) {
            let [up, down] = [SMALL, -SMALL].map(|change| {
                field.control_mut().values_mut()[kind][entry] += change;
                let value = value(&field, &x0);
                field.control_mut().values_mut()[kind][entry] -= change;
                value
            });
            close((up - down) / (2.0 * SMALL), gradient.values()[kind][entry], "θ");
        }
    }
}

#[test]
fn gradients_by_the_inverse_are_those_of_finite_differences() {
    for nodes in [2, 3, 6] {
        check_gradient(&Leapfrog, nodes);
        check_gradient(&MOMENTUM, nodes);
        check_gradient(&ReversibleHeun, nodes);
        check_gradient(&AsynchronousLeapfrog, nodes);
        for base in Scheme::ALL {
            check_gradient(&coupled(base), nodes);
        }
    }
}

#[test]
fn a_single_layer_is_enough_for_the_schemes_that_read_one_node_a_step() {
    check_gradient(&Leapfrog, 1);
    check_gradient(&MOMENTUM, 1);
    check_gradient(&coupled(Scheme::EULER), 1);
}

#[test]
#[should_panic(expected = "too few for a step")]
fn a_step_between_two_nodes_needs_both() {
    forward(&ReversibleHeun, &field(1), &x0());
}

#[test]
fn single_precision_comes_back_to_single_rounding() {
    let layer = Mlp { width: 3, hidden: 5, activation: Activation::Relu };
    let (field, x0) = (Stacked::<f32, _>::smooth(layer, 65, 1), x0().cast::<f32>());
    let error = |back: &Rows<f32>| back.distance_squared(&x0).sqrt() / x0.norm_squared().sqrt();
    let round_trip = |start: &[Rows<f32>]| error(&start[0]);
    for error in [
        round_trip(&inverse(&Leapfrog, &field, forward(&Leapfrog, &field, &x0))),
        round_trip(&inverse(&ReversibleHeun, &field, forward(&ReversibleHeun, &field, &x0))),
    ] {
        assert!(error < 64.0 * f64::from(f32::EPSILON), "{error}");
    }
}
