//! Statistical golden files, met with our own random numbers: `c_noise_table.json`,
//! `c_relu_rms.json`.

mod common;

use common::random::{self, Flavour, Net};
use common::{Case, GOLDEN_KINDS, depths, entry, list, load, number, numbers, object, order, run};
use deeplimit::prelude::*;
use deeplimit::seed::normal;
use rayon::prelude::*;

/// gth and cost of a method on every net.
fn errors(nets: &[Net], method: &str) -> Vec<(f64, f64)> {
    let error = |net: &Net| {
        let run = run::run(&net.flow, run::method(method), &net.x0, &net.bar);
        let error = run::gradient_error(&run.gradient, &net.exact.gradient, GOLDEN_KINDS);
        (error, run.certificate.cost_units)
    };
    nets.par_iter().map(error).collect()
}

#[test]
fn methods_compare_over_weight_noise_as_in_the_golden_table() {
    const NETS: u64 = 120;
    let golden = load("c_noise_table");
    let factor = number(entry(&golden, "tol"), "ratio_factor");
    let golden_nets = number(&golden, "nets");
    for row in list(&golden, "rows") {
        let noise = number(row, "noise");
        let net =
            |seed| random::net(5000 + seed, Activation::Tanh, noise, Flavour::Free, (3.5, 7.0));
        let nets: Vec<Net> = (0..NETS).into_par_iter().map(net).collect();
        let corrected = errors(&nets, "C3");
        for (method, golden) in object(entry(row, "ratio_to_C3")) {
            let golden = golden.as_f64().expect("a ratio");
            let own = errors(&nets, method);
            let logs: Vec<f64> =
                own.iter().zip(&corrected).map(|(a, b)| (a.0 / b.0).ln()).collect();
            let size = logs.len() as f64;
            let mean = logs.iter().sum::<f64>() / size;
            let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / size;
            // The factor, or three standard errors of the two means where nets differ more.
            let error = (variance * (1.0 / size + 1.0 / golden_nets)).sqrt();
            let (gap, allowed) = ((mean - golden.ln()).abs(), factor.ln().max(3.0 * error));
            let ratio = mean.exp();
            assert!(gap <= allowed, "noise {noise}, {method}: {ratio}, not {golden}");
            if method == "APC1e-3" {
                let cost = own.iter().map(|(_, cost)| cost).sum::<f64>() / size;
                let golden = number(row, "apc_cost");
                common::assert_close(&format!("noise {noise}, cost"), cost, golden, 0.05, 0.0);
            }
        }
    }
}

/// A batch of a few samples: as cotangents are independent, so are the samples' gradients, and
/// the squares of their sums are in the mean the sums of their squares.
const GROUP: usize = 20;

/// Squares of: the error of x_0's cotangent, its size, the error of the gradient, its size.
type Squares = [f64; 4];

fn add(a: Squares, b: Squares) -> Squares {
    std::array::from_fn(|i| a[i] + b[i])
}

/// The squares of each method on one group of random inputs and cotangents.
fn squares(
    flow: &Flow<Stacked<f64, Mlp>>,
    methods: [&str; 3],
    width: usize,
    group: usize,
) -> [Squares; 3] {
    let draw = |seed: u64| {
        let start = group * GROUP * width;
        let index = |row: usize, column: usize| (start + row * width + column) as u64;
        Rows::from_fn(GROUP, width, |row, column| normal(seed, index(row, column)))
    };
    let (x0, bar) = (draw(1), draw(2));
    let exact = run::run(flow, run::parse("backprop"), &x0, &bar);
    let size = run::norm(&exact.gradient, GOLDEN_KINDS);
    methods.map(|method| {
        let run = run::run(flow, run::method(method), &x0, &bar);
        let error = run::gradient_error(&run.gradient, &exact.gradient, GOLDEN_KINDS);
        let x0_error = run.x0_bar.distance_squared(&exact.x0_bar);
        [x0_error, exact.x0_bar.norm_squared(), (error * size).powi(2), size.powi(2)]
    })
}

#[test]
fn relu_gradient_errors_in_mean_square_have_the_golden_orders() {
    // With the order q of each method's reconstruction.
    const METHODS: [(&str, f64); 3] = [("C1_euler", 1.0), ("P0C2_corrected", 2.0), ("P2C1", 3.0)];
    let golden = load("c_relu_rms");
    let (case, depths) = (Case::read(entry(&golden, "weights")), depths(&golden));
    let tolerance = |name| number(entry(&golden, "tol"), name);
    let (slope, factor) = (tolerance("slope"), tolerance("value_factor"));
    // Half as many samples as the golden file took: enough for its factor, in half the time.
    let groups = common::count(&golden, "S") / 2 / GROUP;
    let errors: Vec<[Squares; 3]> = depths
        .iter()
        .map(|depth| {
            let flow = Flow::new(case.field("smooth", Activation::Relu, *depth), Scheme::EULER);
            let names = METHODS.map(|method| method.0);
            (0..groups)
                .into_par_iter()
                .map(|group| squares(&flow, names, case.width, group))
                .reduce(|| [[0.0; 4]; 3], |a, b| std::array::from_fn(|i| add(a[i], b[i])))
        })
        .collect();
    for (index, (method, q)) in METHODS.into_iter().enumerate() {
        let golden = entry(entry(&golden, "results"), method);
        for (name, at, stated) in [("gx", 0, (q + 1.0) / 2.0), ("gth", 2, q / 2.0)] {
            let ratio = |squares: &[Squares; 3]| squares[index][at] / squares[index][at + 1];
            let errors: Vec<f64> = errors.iter().map(|squares| ratio(squares).sqrt()).collect();
            let what = format!("{method}, {name}");
            for (error, golden) in errors.iter().zip(numbers(golden, name)) {
                let fits = *error <= factor * golden && golden <= factor * error;
                assert!(fits, "{what}: {error}, not {golden}");
            }
            let order = order(&depths, &errors);
            let golden = number(entry(golden, "slopes"), name);
            assert!((order - golden).abs() <= slope, "{what}: order {order}, golden {golden}");
            assert!((order - stated).abs() <= slope, "{what}: order {order}, stated {stated}");
        }
    }
}
