//! Theory A: the distance between a residual network and its neural ODE, and its bounds.

mod support_ab;

use deeplimit::control::Position;
use deeplimit::field::Layer;
use deeplimit::limit::{Bounds, Interpolant, NeuralOde, NotEuler, lipschitz_bound};
use deeplimit::prelude::*;
use deeplimit::scheme::Nodes;
use serde_json::Value;
use support_ab::{Case, assert_close, blend, count, decay, golden, list, number};

const SUBSTEPS: usize = 8;

fn case(golden: &Value) -> Case<'_> {
    Case { golden: &golden["case"], activation: Activation::Tanh }
}

/// A residual network of one of the golden families of weights.
fn network(golden: &Value, family: &str, layers: usize) -> Flow<Stacked<f64, Mlp>> {
    let case = case(golden);
    if family == "smooth" {
        return Flow::new(case.smooth(layers, 1.0 / layers as f64), Scheme::EULER);
    }
    let field = case.field(layers, |kind| {
        let base = case.part(kind, "0");
        let sign = |node: usize| if node.is_multiple_of(2) { 1.0 } else { -1.0 };
        let with =
            |factor: f64, part: &[f64]| blend(&[base.clone(), part.to_vec()], &[1.0, factor]);
        let (other, noise) = (case.part(kind, "1"), case.part(kind, "xi"));
        let mut noise = noise.chunks_exact(base.len());
        match family {
            "alternating" => (0..layers).map(|node| with(sign(node), &other)).collect(),
            "iid" => noise.by_ref().take(layers).map(|noise| with(0.6, noise)).collect(),
            "brownian" => {
                let mut sum = vec![0.0; base.len()];
                let steps = noise.by_ref().take(layers).map(|noise| {
                    sum.iter_mut().zip(noise).for_each(|(sum, noise)| *sum += noise);
                    with(0.9 / (layers as f64).sqrt(), &sum)
                });
                steps.collect()
            }
            other => panic!("no family {other}"),
        }
    });
    Flow::new(field, Scheme::EULER)
}

fn distance<F: Field>(flow: &Flow<F>, interpolant: Interpolant, x0: &F::State) -> f64 {
    NeuralOde::new(flow, interpolant).with_substeps(SUBSTEPS).distance(x0)
}

fn check_family(family: &str) -> Vec<(f64, f64, f64)> {
    let golden = golden("a_bound.json");
    let x0 = case(&golden).x0();
    let mut points = Vec::new();
    for row in list(&golden["results"][family]) {
        let layers = count(&row["N"]);
        let flow = network(&golden, family, layers);
        let bounds = Bounds::measure(&flow, &x0, SUBSTEPS).expect("a residual network");
        let function = distance(&flow, Interpolant::Function, &x0);
        let weight = distance(&flow, Interpolant::Weight, &x0);
        // All are computed by the same formulas in double precision at the same points; what is
        // left is the order of additions.
        for (value, name) in [
            (function, "dist_fun"),
            (weight, "dist_wgt"),
            (bounds.lipschitz, "L"),
            (lipschitz_bound(flow.field()), "L_rigorous"),
            (bounds.curvature, "M"),
            (bounds.jump, "max_df"),
            (bounds.speed, "C"),
            (bounds.smooth, "bound"),
            (bounds.increments, "bound_increments"),
            (bounds.local, "bound_local"),
            (bounds.smoothness_free, "bound_smoothness_free"),
        ] {
            let what = format!("{family}, N = {layers}, {name}");
            assert_close(value, number(&row[name]), 1e-10, 0.0, &what);
        }
        assert!(function <= bounds.local && bounds.local <= bounds.smooth, "{family} {layers}");
        assert!(bounds.smooth <= bounds.increments, "{family} {layers}");
        assert!(function <= bounds.smoothness_free, "{family} {layers}");
        assert!(bounds.lipschitz <= lipschitz_bound(flow.field()), "{family} {layers}");
        points.push((layers as f64, function, weight));
    }
    points
}

fn slopes(points: &[(f64, f64, f64)]) -> [f64; 2] {
    let column = |pick: fn(&(f64, f64, f64)) -> f64| {
        let column: Vec<_> = points.iter().map(|point| (point.0, pick(point))).collect();
        decay(&column)
    };
    [column(|point| point.1), column(|point| point.2)]
}

#[test]
fn smooth_networks_approach_either_ode_at_first_order() {
    let [function, weight] = slopes(&check_family("smooth"));
    assert!((0.85..=1.15).contains(&function), "{function}");
    assert!((0.85..=1.15).contains(&weight), "{weight}");
}

#[test]
fn alternating_networks_approach_the_function_interpolant_and_not_the_weight_interpolant() {
    let [function, weight] = slopes(&check_family("alternating"));
    assert!((0.85..=1.15).contains(&function), "{function}");
    assert!((-0.1..=0.1).contains(&weight), "{weight}");
}

#[test]
fn rough_networks_approach_the_function_interpolant() {
    for family in ["iid", "brownian"] {
        let [function, _] = slopes(&check_family(family));
        assert!((0.7..=1.6).contains(&function), "{family}: {function}");
    }
}

#[test]
fn diffusive_networks_stay_at_the_ito_correction_from_their_ode() {
    let golden = golden("a_bound.json");
    let case = case(&golden);
    let x0 = case.x0();
    let sample = |factor: f64, kind: &str| match kind {
        "V" => blend(&[case.part("V", "0")], &[factor]),
        kind => case.part(kind, "0"),
    };
    // z' = −(0.7²/2) J_0(z) f_0(z), the difference between the limits, by Heun's scheme:
    // J f by a central difference along f.
    let base = case.field(1, |kind| vec![sample(1.0, kind)]);
    let mut tape = base.tape(&x0);
    let mut f = |x: &Rows<f64>| {
        let mut out = x.scratch();
        base.eval(Position::node(0), x, &mut out, &mut tape);
        out
    };
    let mut drift = |x: &Rows<f64>| {
        let (value, small) = (f(x), 1e-5);
        let [mut up, mut down] = [x.clone(), x.clone()];
        up.add_scaled(small, &value);
        down.add_scaled(-small, &value);
        let (mut change, down) = (f(&up), f(&down));
        change.add_scaled(-1.0, &down);
        change.scale(-0.49 / 2.0 / (2.0 * small));
        change
    };
    let (mut limit, steps) = (vec![x0.clone()], 2048);
    for n in 0..steps {
        let h = 1.0 / f64::from(steps);
        let (mut middle, mut next) = (limit[n as usize].clone(), limit[n as usize].clone());
        let slope = drift(&middle);
        middle.add_scaled(h / 2.0, &slope);
        next.add_scaled(h, &drift(&middle));
        limit.push(next);
    }
    let gap = limit[steps as usize].distance_squared(&x0).sqrt();

    for row in list(&golden["diffusive"]) {
        let layers = count(&row["N"]);
        let size = 0.7 * (layers as f64).sqrt();
        let field = case.field(layers, |kind| {
            let signed =
                |node: usize| sample(if node.is_multiple_of(2) { size } else { -size }, kind);
            (0..layers).map(signed).collect()
        });
        let flow = Flow::new(field, Scheme::EULER);
        let ode = NeuralOde::new(&flow, Interpolant::Function).with_substeps(SUBSTEPS);
        let distances = ode.distances(&x0);
        let even = distances.iter().step_by(2).fold(0.0f64, |most, d| most.max(*d));
        let all = distances.iter().fold(0.0f64, |most, d| most.max(*d));
        let what = format!("diffusive, N = {layers}");
        assert_close(all, number(&row["dist_fun"]), 1e-10, 0.0, &what);
        assert_close(even, number(&row["dist_even_nodes"]), 1e-10, 0.0, &what);
        // The limit is solved to about 1e-8 here.
        assert_close(gap, number(&row["limit_gap"]), 1e-6, 0.0, &what);
        let end = flow.forward(&x0).distance_squared(&limit[steps as usize]).sqrt();
        assert_close(end, number(&row["dist_limit_resnet"]), 1e-5, 0.0, &what);
    }
}

#[test]
fn the_bound_is_reached_where_the_curvature_is_constant() {
    let golden = golden("a_bound.json");
    let tight = &golden["tight"];
    let [l, m, start, c] = ["L", "M", "x0", "c"].map(|name| number(&tight[name]));
    // x(s) = x0 + c s + M s²/2 solves x' = L x + b(s) with b = x' − L x.
    let solution = |s: f64| start + c * s + m * s * s / 2.0;
    let layer = Mlp { width: 1, hidden: 1, activation: Activation::Identity };
    for row in list(&tight["rows"]) {
        let layers = count(&row["N"]);
        let s = |n: usize| n as f64 / layers as f64;
        let b: Vec<f64> = (0..layers).map(|n| c + m * s(n) - l * solution(s(n))).collect();
        let one = vec![1.0; layers];
        let values = vec![vec![l; layers], b, one, vec![0.0; layers]];
        let control = Control::new(Layer::<f64>::kinds(&layer), layers, values);
        let flow = Flow::new(Stacked::new(layer.clone(), control), Scheme::EULER);
        let x0 = Rows::new(1, 1, &[start]);
        let states = flow.states(&x0);
        let errors = states.iter().enumerate().map(|(n, x)| (x.to_vec()[0] - solution(s(n))).abs());
        let error = errors.fold(0.0, f64::max);
        let bound = l.exp_m1() / (2.0 * l * layers as f64) * m;
        let what = format!("tight, N = {layers}");
        assert_close(error, number(&row["dist"]), 1e-10, 0.0, &what);
        assert_close(bound, number(&row["bound"]), 1e-12, 0.0, &what);
        assert_close(error / bound, number(&row["ratio"]), 1e-10, 0.0, &what);
        assert_close(error / bound, number(&row["ratio_formula"]), 1e-10, 0.0, &what);
        assert!(layers < 512 || error / bound > 0.99, "{what}: {}", error / bound);

        let bounds = Bounds::measure(&flow, &x0, SUBSTEPS).expect("a residual network");
        assert!(distance(&flow, Interpolant::Function, &x0) <= bounds.smooth, "{what}");
    }
}

#[test]
fn a_control_with_a_last_node_is_interpolated_up_to_it() {
    // The rows of the tight case for the piecewise affine b, which know b(1) too.
    const EULER_AT_NODES: Scheme =
        Scheme::new("euler-at-nodes", 1, Nodes::PerBoundary, &[&[]], &[1.0], &[0.0]);
    let golden = golden("a_bound.json");
    let tight = &golden["tight"];
    let [l, m, start, c] = ["L", "M", "x0", "c"].map(|name| number(&tight[name]));
    let layer = Mlp { width: 1, hidden: 1, activation: Activation::Identity };
    for row in list(&tight["rows"]) {
        let layers = count(&row["N"]);
        let h = 1.0 / layers as f64;
        let b = |n: usize| {
            let s = n as f64 * h;
            c + m * s - l * (start + c * s + m * s * s / 2.0)
        };
        let nodes = layers + 1;
        let one = vec![1.0; nodes];
        let zero = vec![0.0; nodes];
        let values = vec![vec![l; nodes], (0..nodes).map(b).collect(), one, zero];
        let control = Control::new(Layer::<f64>::kinds(&layer), nodes, values);
        let flow = Flow::new(Stacked::new(layer.clone(), control), EULER_AT_NODES);
        let x0 = Rows::new(1, 1, &[start]);
        let ode = NeuralOde::new(&flow, Interpolant::Function).with_substeps(SUBSTEPS);
        let what = format!("tight, affine, N = {layers}");
        assert_close(ode.distance(&x0), number(&row["dist_affine"]), 1e-10, 0.0, &what);
        // Inside an interval x'' changes like e^{L s}, so it is largest at one of the ends.
        let states = ode.states(&x0);
        let second = |n: usize, end: usize| {
            (b(n + 1) - b(n)) / h + l * (l * states[end].to_vec()[0] + b(end))
        };
        let ends = (0..layers).flat_map(|n| [second(n, n), second(n, n + 1)]);
        let curvature = ends.fold(0.0f64, |most, second| most.max(second.abs()));
        let bound = l.exp_m1() / (2.0 * l) * h * curvature;
        assert_close(bound, number(&row["bound_affine"]), 1e-10, 0.0, &what);
        assert!(ode.distance(&x0) <= bound, "{what}");
    }
}

#[test]
fn alternating_relu_weights_keep_the_weight_interpolant_away() {
    let golden = golden("a_bound.json");
    let relu = &golden["relu_weights"];
    let layer = Mlp { width: 1, hidden: 1, activation: Activation::Relu };
    let x0 = Rows::new(1, 1, &[1.0]);
    let mut last = [0.0; 3];
    for row in list(&relu["rows"]) {
        let layers = count(&row["N"]);
        let signs: Vec<f64> = (0..layers).map(|n| 1.0 - 2.0 * (n % 2) as f64).collect();
        let zero = vec![0.0; layers];
        let values = vec![signs.clone(), zero.clone(), signs, zero];
        let control = Control::new(Layer::<f64>::kinds(&layer), layers, values);
        let flow = Flow::new(Stacked::new(layer.clone(), control), Scheme::EULER);
        let end = |interpolant| {
            // The golden solutions are closed forms, such as e^{(N − 1)/(2N)}; 8 substeps a layer
            // would be 1e-7 from them at N = 8.
            let ode = NeuralOde::new(&flow, interpolant).with_substeps(64);
            ode.states(&x0)[layers].to_vec()[0]
        };
        last =
            [flow.forward(&x0).to_vec()[0], end(Interpolant::Function), end(Interpolant::Weight)];
        let what = format!("relu, N = {layers}");
        for (value, name) in last.into_iter().zip(["resnet", "ode_fun", "ode_wgt"]) {
            assert_close(value, number(&row[name]), 1e-10, 0.0, &what);
        }
        assert_close((last[0] - last[1]).abs(), number(&row["dist_fun"]), 1e-8, 0.0, &what);
        assert_close((last[0] - last[2]).abs(), number(&row["dist_wgt"]), 1e-8, 0.0, &what);
    }
    for (value, limit) in last.into_iter().zip([0.5f64, 0.5, 1.0 / 6.0]) {
        assert_close(value, limit.exp(), 1e-3, 0.0, "limits");
    }
}

#[test]
fn diffusive_scalar_weights_keep_both_interpolants_away() {
    let golden = golden("a_bound.json");
    let a = number(&golden["scalar_diffusive"]["a"]);
    let x0 = Rows::new(1, 1, &[1.0]);
    for row in list(&golden["scalar_diffusive"]["rows"]) {
        let layers = count(&row["N"]);
        let size = a * (layers as f64).sqrt();
        let weights = (0..layers).map(|n| if n % 2 == 0 { size } else { -size }).collect();
        let layer = Linear { width: 1 };
        let control = Control::new(Layer::<f64>::kinds(&layer), layers, vec![weights]);
        let flow = Flow::new(Stacked::new(layer, control), Scheme::EULER);
        let resnet = flow.forward(&x0).to_vec()[0];
        let what = format!("scalar diffusive, N = {layers}");
        assert_close(resnet, number(&row["resnet"]), 1e-10, 0.0, &what);
        for interpolant in [Interpolant::Function, Interpolant::Weight] {
            let ode = NeuralOde::new(&flow, interpolant).with_substeps(SUBSTEPS);
            let end = ode.states(&x0)[layers].to_vec()[0];
            assert_close(end, number(&row["ode"]), 1e-6, 0.0, &what);
            assert_close((end - resnet).abs(), number(&row["dist"]), 1e-5, 0.0, &what);
        }
        let limit = 1.0 - (-a * a / 2.0).exp();
        assert_close(limit, number(&row["limit_dist"]), 1e-12, 0.0, &what);
    }
}

#[test]
fn bounds_are_refused_for_other_schemes_and_named() {
    let field = Stacked::<f64, _>::smooth(Linear { width: 2 }, 4, 1);
    let flow = Flow::new(field, Scheme::HEUN);
    let refused = Bounds::measure(&flow, &Rows::zeros(1, 2), SUBSTEPS);
    assert_eq!(refused, Err(NotEuler { scheme: "heun".into() }));
}

#[test]
fn rk4_networks_are_their_own_weight_interpolant() {
    // One substep of the reference solution is one step of the RK4 scheme.
    let layer = Mlp { width: 3, hidden: 4, activation: Activation::Tanh };
    let flow = Flow::new(Stacked::<f64, _>::smooth(layer, 9, 5), Scheme::RK4);
    let x0 = Rows::from_fn(2, 3, |row, column| (row + 2 * column) as f64 * 0.3 - 1.0);
    let ode = NeuralOde::new(&flow, Interpolant::Weight);
    assert!(ode.with_substeps(1).distance(&x0) < 1e-14);
}

#[test]
fn a_network_without_weights_is_at_no_distance_and_bounded_by_nothing() {
    let layer = Mlp { width: 3, hidden: 4, activation: Activation::Tanh };
    let zero = Control::zeros(Layer::<f64>::kinds(&layer), 1);
    let flow = Flow::new(Stacked::new(layer, zero), Scheme::EULER);
    let x0 = Rows::from_fn(2, 3, |row, column| (row + column) as f64);
    let bounds = Bounds::measure(&flow, &x0, 1).expect("a residual network");
    assert_eq!((bounds.smooth, bounds.smoothness_free, bounds.local), (0.0, 0.0, 0.0));
    assert_eq!(distance(&flow, Interpolant::Function, &x0), 0.0);
}
