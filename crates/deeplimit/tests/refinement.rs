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
