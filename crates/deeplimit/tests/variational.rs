//! The objective of the variational problem, its limit and their gradients, away from golden numbers.

use deeplimit::limit::Slope;
use deeplimit::objective::variational::{
    Continuum, Discrete, Form, Network, Objective, Penalty, Problem, ProblemError, Readout,
    Residual, minimise,
};
use deeplimit::prelude::*;
use deeplimit::seed::uniform;

const SMOOTH: Penalty = Penalty {
    form: Form::Smooth { tau: 0.7 },
    weights: 0.02,
    biases: 0.05,
    readout: 0.03,
    offset: 0.01,
};

fn problem(
    shape: [usize; 3],
    activation: Activation,
    output: Activation,
    penalty: Penalty,
) -> Problem {
    let [samples, width, outputs] = shape;
    let draw = |seed: u64, row: usize, column: usize| uniform(seed, (row * 10 + column) as u64);
    let inputs = Rows::from_fn(samples, width, |row, column| draw(1, row, column));
    let targets = Rows::from_fn(samples, outputs, |row, column| draw(2, row, column));
    Problem::new(inputs, targets, activation, output, penalty).expect("a sound problem")
}

/// Checks ∇E along three directions against central differences.
#[track_caller]
fn check_gradient(objective: &impl Objective, variables: &[f64], what: &str) {
    let (_, gradient) = objective.energy_and_gradient(variables);
    let size = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    for seed in 10..13 {
        let direction: Vec<f64> =
            (0..variables.len() as u64).map(|index| uniform(seed, index)).collect();
        let length = direction.iter().map(|d| d * d).sum::<f64>().sqrt();
        // Five points: the error is a fifth derivative times the fourth power of the distance, and
        // the rounding of E over the distance: both near 1e-12.
        let at = |distance: f64| {
            let pairs = variables.iter().zip(&direction);
            let moved: Vec<f64> = pairs.map(|(u, d)| u + distance * d / length).collect();
            objective.energy_and_gradient(&moved).0
        };
        let step = 1e-3;
        let difference =
            (8.0 * (at(step) - at(-step)) - (at(2.0 * step) - at(-2.0 * step))) / (12.0 * step);
        let exact = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum::<f64>() / length;
        let error = (difference - exact).abs() / size;
        assert!(error < 1e-8, "{what}: {error:e}");
    }
}

#[test]
fn gradients_are_derivatives_for_every_activation_form_and_size() {
    let decay = Penalty { form: Form::Decay, ..SMOOTH };
    for penalty in [SMOOTH, decay, Penalty::NONE] {
        for activation in [Activation::Tanh, Activation::Gelu, Activation::Identity] {
            for shape in [[1, 1, 1], [3, 2, 1], [5, 3, 2]] {
                let problem = problem(shape, activation, Activation::Softplus, penalty);
                for layers in [1, 2, 3, 7] {
                    let networks = Discrete::new(&problem, layers);
                    let variables = networks.variables(&Network::random(&problem, layers, 4));
                    let what = format!("{penalty:?}, {activation}, {shape:?}, n = {layers}");
                    check_gradient(&networks, &variables, &what);
                }
            }
        }
    }
}

#[test]
fn away_from_kinks_relu_has_its_gradient_too() {
    // All arguments are positive: weights and inputs are.
    let inputs = Rows::from_fn(3, 2, |row, column| 0.5 + (row + column) as f64 / 4.0);
    let targets = Rows::new(3, 1, &[0.3, -0.2, 0.9]);
    let (relu, tanh) = (Activation::Relu, Activation::Tanh);
    let problem = Problem::new(inputs, targets, relu, tanh, SMOOTH).expect("σ(0) = 0");
    let control = Control::sampled(problem.kinds(), 5, |_, entry, s| 0.2 + s + 0.1 * entry as f64);
    let readout = Readout { matrix: vec![0.2, -0.3], offset: vec![0.1] };
    let networks = Discrete::new(&problem, 5);
    let variables = networks.variables(&Network { control, readout });
    check_gradient(&networks, &variables, "relu");
}

#[test]
fn gradients_of_the_limit_are_derivatives() {
    for (shape, degree, steps) in [([1, 1, 1], 1, 1), ([4, 2, 1], 2, 3), ([3, 3, 2], 7, 16)] {
        let problem = problem(shape, Activation::Tanh, Activation::Tanh, SMOOTH);
        let continuum = Continuum::new(&problem, degree, steps).expect("a limit");
        let variables = continuum.variables(&Network::random(&problem, 4, 5));
        check_gradient(&continuum, &variables, &format!("{shape:?}, degree {degree}"));
    }
}

#[test]
fn the_objective_is_its_formula() {
    // One layer, one number, no nonlinearity: x_1 = x + (K x + b).
    let penalty = Penalty { weights: 2.0, biases: 3.0, readout: 5.0, offset: 7.0, ..SMOOTH };
    let (inputs, targets) = (Rows::new(1, 1, &[2.0]), Rows::new(1, 1, &[1.0]));
    let identity = Activation::Identity;
    let problem = Problem::new(inputs, targets, identity, identity, penalty).expect("sound");
    let network = |k: &[f64], b: &[f64]| {
        let control = Control::new(problem.kinds(), k.len(), vec![k.to_vec(), b.to_vec()]);
        Network { control, readout: Readout { matrix: vec![0.5], offset: vec![0.25] } }
    };
    let one = Discrete::new(&problem, 1).energy(&network(&[0.5], &[1.0]));
    // x_1 = 4, W x + c = 2.25; τ = 0.7.
    assert!((one.misfit - 1.25f64.powi(2)).abs() < 1e-15, "{one:?}");
    assert!((one.control - 0.7 * (2.0 * 0.25 + 3.0)).abs() < 1e-15, "{one:?}");
    assert!((one.readout - (5.0 * 0.25 + 7.0 * 0.0625)).abs() < 1e-15, "{one:?}");
    // Two layers of half the size; increments 1 and −2 count twice.
    let two = Discrete::new(&problem, 2).energy(&network(&[1.0, 2.0], &[0.0, -2.0]));
    assert!((two.misfit - (0.5 * 5.0 + 0.25 - 1.0f64).powi(2)).abs() < 1e-14, "{two:?}");
    let expected = 2.0 * (2.0 * 1.0 + 0.7 * 1.0) + 3.0 * (2.0 * 4.0);
    assert!((two.control - expected).abs() < 1e-13, "{two:?}");
    let decay = problem.with_penalty(Penalty { form: Form::Decay, ..penalty }).expect("sound");
    let two = Discrete::new(&decay, 2).energy(&network(&[1.0, 2.0], &[0.0, -2.0]));
    assert!((two.control - (2.0 * 5.0 + 3.0 * 4.0) / 2.0).abs() < 1e-14, "{two:?}");
}

#[test]
fn networks_come_back_from_their_variables() {
    for form in [Form::Smooth { tau: 0.3 }, Form::Decay] {
        let penalty = Penalty { form, ..SMOOTH };
        let problem = problem([3, 2, 2], Activation::Tanh, Activation::Tanh, penalty);
        for layers in [1, 2, 9] {
            let network = Network::random(&problem, layers, 8);
            let networks = Discrete::new(&problem, layers);
            let back = networks.network(&networks.variables(&network));
            assert!(back.control.relative_error(&network.control) < 1e-14, "n = {layers}");
            assert_eq!(back.readout, network.readout);
        }
    }
}

#[test]
fn prolonging_keeps_what_is_affine_up_to_the_last_node() {
    let problem = problem([2, 2, 1], Activation::Tanh, Activation::Tanh, SMOOTH);
    let ramp = |_: usize, entry: usize, s: f64| 1.0 + (2.0 + entry as f64) * s;
    let readout = Readout { matrix: vec![1.0, 2.0], offset: vec![3.0] };
    for (from, to) in [(1, 5), (4, 8), (4, 7), (3, 2)] {
        let control = Control::sampled(problem.kinds(), from, ramp);
        let network = Network { control, readout: readout.clone() }.prolonged(to);
        let last = (from - 1) as f64 / from as f64;
        for node in 0..to {
            let s = (node as f64 / to as f64).min(last);
            for (kind, values) in problem.kinds().iter().enumerate() {
                for entry in 0..values.len() {
                    let found = network.control.at(kind, node)[entry];
                    assert!((found - ramp(kind, entry, s)).abs() < 1e-14, "{from} → {to}, {node}");
                }
            }
        }
        assert_eq!(network.readout, readout);
    }
}

#[test]
fn a_polynomial_control_is_its_own_projection_and_the_error_of_its_walk_is_of_fourth_order() {
    let problem = problem([4, 2, 1], Activation::Tanh, Activation::Tanh, SMOOTH);
    let draw = |continuum: &Continuum<'_>| -> Vec<f64> {
        let count = continuum.variables(&Network::random(&problem, 2, 1)).len();
        (0..count as u64).map(|index| uniform(6, index)).collect()
    };
    let energies = [4, 8, 16, 32, 64, 1024].map(|steps| {
        let continuum = Continuum::new(&problem, 5, steps).expect("a limit");
        continuum.energy(&draw(&continuum)).total()
    });
    let error = |index: usize| ((4 << index) as f64, (energies[index] - energies[5]).abs());
    let slope = Slope::fit(&[error(1), error(2), error(3), error(4)]).value;
    assert!((-4.3..=-3.7).contains(&slope), "{slope}");

    // Samples are affine between 4096 nodes: projected, they are the polynomial but for 1/4096².
    let continuum = Continuum::new(&problem, 5, 8).expect("a limit");
    let variables = draw(&continuum);
    let back = continuum.variables(&continuum.limit(&variables).sampled(4096));
    let off = variables.iter().zip(&back).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    // The last cell is constant, which misses 1/4096 of the slope's integral.
    assert!(off < 40.0 / 4096.0, "{off}");
}

#[test]
fn without_a_penalty_of_differences_there_is_no_limit_to_ask_for() {
    let of = |penalty| problem([2, 2, 1], Activation::Tanh, Activation::Tanh, penalty);
    let message = |penalty| match Continuum::new(&of(penalty), 4, 8) {
        Err(error @ ProblemError::NoLimit { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(message(Penalty { form: Form::Decay, ..SMOOTH }).starts_with("weight decay does not"));
    assert!(message(Penalty { biases: 0.0, ..SMOOTH }).starts_with("where a₁ or a₂ is 0"));
}

#[test]
fn other_activations_and_several_outputs_have_their_limit_too() {
    for (activation, outputs) in [(Activation::Gelu, 1), (Activation::Tanh, 3)] {
        let problem = problem([6, 2, outputs], activation, Activation::Identity, SMOOTH);
        let mut network = Network::random(&problem, 4, 3);
        let mut found = Vec::new();
        for layers in [4, 8, 16, 32, 64, 128] {
            let networks = Discrete::new(&problem, layers);
            let start = networks.variables(&network.prolonged(layers));
            let minimum = minimise(&networks, &start, 1e-9, 1000);
            assert!(minimum.gradient_norm() <= 1e-9, "{activation}, n = {layers}");
            network = networks.network(&minimum.variables);
            found.push((layers as f64, network.clone()));
        }
        let continuum = Continuum::new(&problem, 12, 128).expect("a limit");
        let minimum = minimise(&continuum, &continuum.variables(&network), 1e-9, 1000);
        assert!(minimum.gradient_norm() <= 1e-9, "{activation}: {:e}", minimum.gradient_norm());
        let limit = continuum.limit(&minimum.variables);
        let points = found.iter().skip(2).map(|(n, net)| (*n, limit.distances(net).constant));
        let slope = Slope::fit(&points.collect::<Vec<_>>()).value;
        assert!((-1.1..=-0.9).contains(&slope), "{activation}: {slope}");
        let residual = Residual::of_limit(&limit, 128);
        assert!(residual.inside < 1e-3 * residual.force, "{activation}: {residual:?}");
    }
}
