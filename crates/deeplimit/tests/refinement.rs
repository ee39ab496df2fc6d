//! What a flow's end notices of a refinement of its control.

use deeplimit::control::{ProlongBy, Prolongation};
use deeplimit::limit::Slope;
use deeplimit::prelude::*;

/// Distance of the ends of two flows of smooth weights, N steps and N·`factor` with the control
/// prolonged, relative to the end.
fn moved(scheme: &Scheme, by: ProlongBy, depth: usize, factor: usize) -> f64 {
    let layer = Mlp { width: 6, hidden: 8, activation: Activation::Tanh };
    let nodes = scheme.nodes_for(depth);
    let field = Stacked::<f64, _>::smooth(layer.clone(), nodes, 3);
    let way = Prolongation::new(by, [depth, factor * depth], nodes);
    let finer = Stacked::new(layer, field.control().prolonged(&way));
    let x0 = Rows::from_fn(10, 6, |row, column| ((row * 6 + column) as f64).sin());
    let coarse = Flow::new(field, scheme.clone()).forward(&x0);
    let fine = Flow::new(finer, scheme.clone()).forward(&x0);
    (fine.distance_squared(&coarse) / coarse.norm_squared()).sqrt()
}

/// Slope of that distance over the depth.
fn slope(scheme: &Scheme, by: ProlongBy, factor: usize) -> f64 {
    let points = [16, 32, 64, 128, 256].map(|n| (n as f64, moved(scheme, by, n, factor)));
    Slope::fit(&points).value
}

#[test]
fn a_refined_residual_network_moves_by_one_over_its_depth() {
    for by in ProlongBy::ALL {
        for factor in [2, 3, 8] {
            let slope = slope(&Scheme::EULER, by, factor);
            assert!((slope + 1.0).abs() < 0.1, "{by:?}, factor {factor}: {slope}");
        }
    }
}

#[test]
fn a_refined_flow_of_higher_order_moves_by_the_error_of_its_scheme_or_of_its_interpolation() {
    // The control is read linearly between its nodes: a finer linear one is the same function, and the
    // scheme's own error h^q is left. A cubic one moves away from it by h².
    for (by, scheme, order) in [
        (ProlongBy::Linear, Scheme::HEUN, 2.0),
        (ProlongBy::Linear, Scheme::MIDPOINT, 2.0),
        (ProlongBy::Linear, Scheme::RK4, 4.0),
        (ProlongBy::Cubic, Scheme::HEUN, 2.0),
        (ProlongBy::Cubic, Scheme::RK4, 2.0),
    ] {
        let slope = slope(&scheme, by, 4);
        assert!((slope + order).abs() < 0.1, "{by:?}, {scheme}: {slope}");
    }
}

/// Relative distance of the gradient of a refined flow from the prolonged gradient of the flow.
fn gradient_moved(scheme: &Scheme, by: ProlongBy, depth: usize) -> f64 {
    let layer = Mlp { width: 6, hidden: 8, activation: Activation::Tanh };
    let nodes = scheme.nodes_for(depth);
    let way = Prolongation::new(by, [depth, 3 * depth], nodes);
    let gradient = |field: Stacked<f64, Mlp>| {
        let flow = Flow::new(field, scheme.clone());
        let method: Method = "backprop".parse().expect("a method");
        let x0 = Rows::from_fn(10, 6, |row, column| ((row * 6 + column) as f64).sin());
        let bar = Rows::from_fn(10, 6, |row, column| ((row * 6 + column) as f64).cos());
        let (_, recording) = flow.record(&method, &x0);
        let mut gradient = flow.field().zero_gradient();
        flow.pull_back(&method, recording, &bar, &mut gradient);
        gradient
    };
    let field = Stacked::<f64, _>::smooth(layer.clone(), nodes, 3);
    let fine = gradient(Stacked::new(layer, field.control().prolonged(&way)));
    let coarse = gradient(field);
    let carried = coarse.values().iter().map(|values| way.gradients(values, 1)).collect();
    Control::new(coarse.kinds().to_vec(), way.nodes(), carried).relative_error(&fine)
}

#[test]
fn what_is_remembered_of_gradients_is_near_the_gradients_of_the_refined_flow() {
    for scheme in Scheme::ALL {
        let points =
            [16, 32, 64, 128].map(|n| (n as f64, gradient_moved(&scheme, ProlongBy::Linear, n)));
        let slope = Slope::fit(&points).value;
        // Of the two end nodes, whose hats are cut, the density is off by h: a share h of the squares.
        let order = if scheme == Scheme::EULER { 1.0 } else { 1.5 };
        assert!(slope < -order + 0.1, "{scheme}: {slope}, {points:?}");
        assert!(points[3].1 < 0.02, "{scheme}: {points:?}");
    }
}
