//! Networks whose controls lie in a basis: trained by every gradient method, kept in files, walked at any
//! depth and in the limit.

use deeplimit_nn::data::{Batch, Options, batch, epoch_order, load};
use deeplimit_nn::deeplimit::control::{Basis, Family};
use deeplimit_nn::deeplimit::gradient::REGISTRY;
use deeplimit_nn::deeplimit::limit::{DormandPrince, Slope};
use deeplimit_nn::deeplimit::scheme::reversible::AnyReversible;
use deeplimit_nn::deeplimit::{Rows, Scheme, State};
use deeplimit_nn::network::{Network, Outputs, WeightsFile, named_gradients};
use deeplimit_nn::train::{Config, Trainer};

/// Two flows, of 24 and of 10 steps.
const TWO: &str = r#"
    seed = 3
    data.limit_train = 300
    train = { epochs = 4, batch = 64, rate = 1e-2 }
    [[network.stage]]
    depth = 24
    hidden = 7
    transition = { kind = "linear", width = 12 }
    control = { basis = "spline", coefficients = 7 }
    [[network.stage]]
    depth = 10
    field = "dense"
    transition = { kind = "linear", width = 9 }
    control = { basis = "spline", coefficients = 5 }
"#;

const NORMALISED: &str = r#"
    seed = 3
    data.limit_train = 300
    train = { epochs = 2, batch = 64 }
    [[network.stage]]
    depth = 12
    field = "conv-bn"
    transition = { kind = "conv", channels = 3, stride = 2, padding = 1 }
    control = { basis = "linear", coefficients = 4 }
    [network.head]
    pool = true
"#;

fn config(text: &str) -> Config {
    toml::from_str(text).expect("a valid configuration")
}

fn with_basis(text: &str, basis: Basis, coefficients: usize) -> Config {
    let mut config = config(text);
    for stage in &mut config.network.stage {
        let control = stage.control.as_mut().expect("a basis");
        (control.basis, control.coefficients) = (basis, coefficients);
    }
    config
}

fn network(config: &Config) -> Network {
    let digits = load(&Options::default()).expect("the digits");
    let plan = config.network.check(digits.train.shape(), Outputs::of(&digits.train));
    Network::new(&plan.expect("a plan"), config.seed)
}

fn some(samples: usize) -> Batch {
    let digits = load(&Options::default()).expect("the digits");
    let order = epoch_order(digits.train.len(), 1, 0);
    batch(&digits.train, &order[..samples], &digits.normalisation, None).expect("a batch")
}

/// Gradients of all coefficients one after the other.
fn gradient(network: &Network, batch: &Batch, method: &str) -> Vec<f32> {
    let found = network.gradient(batch, &method.parse().expect("a method"));
    named_gradients(network, &found.record).into_iter().flat_map(|(_, values)| values).collect()
}

fn apart(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x).powi(2);
    let difference: f64 = a.iter().zip(b).map(|(a, b)| square(a - b)).sum();
    (difference / b.iter().copied().map(square).sum::<f64>()).sqrt()
}

#[test]
fn gradients_of_coefficients_agree_with_finite_differences() {
    let batch = some(12);
    for basis in Basis::ALL {
        for text in [TWO, NORMALISED] {
            let network = network(&with_basis(text, basis, 5));
            let method = "backprop".parse().expect("a method");
            let found = network.gradient(&batch, &method);
            let weights = WeightsFile::of(&network);
            for (name, slope) in named_gradients(&network, &found.record) {
                let (.., values) = weights.tensors().find(|(n, ..)| *n == name).expect("weights");
                let norm = slope.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
                let step = (5e-3 / norm).min(0.02);
                let loss = |sign: f64| {
                    let moved = |(v, g): (&f32, &f32)| v + (sign * step / norm) as f32 * g;
                    let moved = values.iter().zip(&slope).map(moved).collect();
                    let moved = weights.replaced(&name, moved).load_into(network.clone());
                    moved.expect("the same network").gradient(&batch, &method).score.loss
                };
                let difference = (loss(1.0) - loss(-1.0)) / (2.0 * step);
                // Single precision: each loss carries a few 1e-7.
                let tolerance = 5e-3 * norm + 1e-6 / step;
                let close = (difference - norm).abs() < tolerance;
                assert!(close, "{basis}, {name}: {difference} {norm}");
            }
        }
    }
}

/// Every method of the registry, an adjoint with a tolerance, and a budget; each trains four epochs.
#[test]
fn a_basis_trains_by_every_gradient_method_with_a_tolerance_and_with_a_budget() {
    let batch = some(64);
    let exact = gradient(&network(&config(TWO)), &batch, "backprop");
    let trained = |config: Config| {
        let mut trainer = Trainer::new(config).expect("a trainer");
        let first = trainer.step().expect("a step").score.loss;
        let mut last = f64::NAN;
        while !trainer.finished() {
            last = trainer.step().expect("a step").score.loss;
        }
        assert!(last < 0.9 * first, "from {first} to {last}");
    };
    for entry in REGISTRY {
        let mut config = config(TWO);
        config.gradient.method = entry.name.to_owned();
        if entry.method.fits(&Scheme::EULER.into()).is_err() {
            for scheme in AnyReversible::ALL {
                let mut config = config.clone();
                config.network.stage.iter_mut().for_each(|s| s.scheme = scheme.to_string());
                trained(config);
            }
            continue;
        }
        // The published adjoint has order 1: h is a tenth in the second flow.
        let error = apart(&gradient(&network(&config), &batch, entry.name), &exact);
        assert!(error < 0.1, "{}: {error:e}", entry.name);
        trained(config);
    }
    for text in ["tolerance = 1e-3", "memory_budget = '2 MiB'", "memory_budget = '700 KiB'"] {
        trained(config(&format!("gradient = {{ {text} }}\n{TWO}")));
    }
}

#[test]
fn a_run_in_a_basis_resumes_to_the_bit() {
    for config in
        Basis::ALL.map(|basis| with_basis(TWO, basis, 5)).into_iter().chain([config(NORMALISED)])
    {
        let folder = tempfile::tempdir().expect("a folder");
        let steps = |trainer: &mut Trainer| -> Vec<u64> {
            (0..4).map(|_| trainer.step().expect("a step").score.loss.to_bits()).collect()
        };
        let mut whole = Trainer::new(config.clone()).expect("a trainer");
        steps(&mut whole);
        whole.save(folder.path()).expect("a checkpoint");
        let expected = steps(&mut whole);
        let mut resumed = Trainer::new(config).expect("a trainer");
        resumed.resume(folder.path()).expect("resumed");
        assert_eq!(steps(&mut resumed), expected);
    }
}

#[test]
fn a_weights_file_holds_coefficients_and_fits_the_same_basis_at_any_depth() {
    let batch = some(20);
    let network = network(&config(TWO));
    let file = WeightsFile::of(&network);
    let shape = |name: &str| file.tensors().find(|(n, ..)| *n == name).expect(name).1.to_vec();
    assert_eq!(shape("stages.0.w1"), [7, 7, 12]); // [coefficients, hidden, width]
    assert_eq!(shape("stages.1.b"), [5, 9]);
    assert_eq!(network.controls()[0].1.nodes(), 24);

    let deeper =
        config(&TWO.replace("depth = 24", "depth = 60").replace("depth = 10", "depth = 60"));
    let deeper = file.load_into(self::network(&deeper)).expect("the same coefficients");
    assert_eq!(deeper.score(&batch), network.at_depth(60).score(&batch));
    let error = file.load_into(self::network(&with_basis(TWO, Basis::Spline, 6)));
    assert!(error.expect_err("other coefficients").to_string().contains("[7, "));
}

#[test]
fn the_start_is_the_family_that_was_asked_for_whatever_the_depth() {
    let start = |basis: Option<(Basis, usize)>, init: Family, depth: usize| {
        let mut config = match basis {
            Some((basis, coefficients)) => with_basis(TWO, basis, coefficients),
            None => config(TWO),
        };
        for stage in &mut config.network.stage {
            (stage.init, stage.depth) = (init, depth);
            stage.control = stage.control.filter(|_| basis.is_some());
        }
        network(&config).controls()[0].1.clone()
    };
    for init in [Family::Smooth, Family::Brownian, Family::Constant] {
        let nodes = start(None, init, 64);
        for basis in [Basis::Spline, Basis::Chebyshev, Basis::Linear] {
            let found = start(Some((basis, 9)), init, 64);
            let size = found.norm() / nodes.norm();
            assert!((0.8..1.25).contains(&size), "{basis}, {init:?}: {size}");
            // The family has a node at both ends; Euler steps have none at 1.
            let error = found.relative_error(&nodes);
            let close = if init == Family::Brownian { 1.0 } else { 0.06 };
            assert!(error < close, "{basis}, {init:?}: {error}");
        }
    }
    assert_eq!(start(Some((Basis::Spline, 9)), Family::Zero, 64).norm(), 0.0);
    let (coarse, fine) = (
        start(Some((Basis::Spline, 9)), Family::Smooth, 16),
        start(Some((Basis::Spline, 9)), Family::Smooth, 64),
    );
    for node in 0..16 {
        assert_eq!(coarse.at(0, node), fine.at(0, 4 * node));
    }
}

fn end_distance(a: &[Rows<f32>], b: &[Rows<f32>]) -> Vec<f64> {
    let pairs = a.iter().zip(b);
    pairs.map(|(a, b)| (a.distance_squared(b) / b.norm_squared()).sqrt()).collect()
}

/// In a basis, and through the nodes of a control that has a value at every one; with running statistics
/// that have moved, too.
#[test]
fn a_network_tends_to_its_limit_as_its_depth_grows() {
    let batch = some(40);
    for text in [TWO, NORMALISED] {
        for per_node in [false, true] {
            let mut config = config(text);
            if per_node {
                config.network.stage.iter_mut().for_each(|stage| stage.control = None);
            }
            let mut network = network(&config);
            let found = network.gradient(&batch, &"backprop".parse().expect("a method"));
            network.remember(&found.statistics);
            let limit = network.limit(DormandPrince::new(1e-8));
            let (limit, evaluations) = limit.reach(&batch).expect("an easy ODE");
            assert_eq!(evaluations.len(), network.plans().count());
            let depths = [32, 64, 128, 256];
            let reached = depths.map(|depth| network.at_depth(depth).evaluator().reach(&batch));
            for flow in 0..limit.ends.len() {
                let points: Vec<(f64, f64)> = depths
                    .iter()
                    .zip(&reached)
                    .map(|(n, reached)| (*n as f64, end_distance(&reached.ends, &limit.ends)[flow]))
                    .collect();
                let slope = Slope::fit(&points).value;
                assert!((slope + 1.0).abs() < 0.15, "{per_node}: {slope:.2}, {points:?}");
            }
            let losses = [
                limit.score(&batch).expect("finite").loss,
                reached[3].score(&batch).expect("finite").loss,
            ];
            assert!((losses[0] / losses[1] - 1.0).abs() < 0.02, "{losses:?}");
        }
    }
}

#[test]
fn a_network_at_its_own_depth_is_itself_to_the_bit() {
    let batch = some(30);
    for (text, depth) in [(TWO, None), (NORMALISED, Some(12))] {
        for per_node in [false, true] {
            let mut config = config(text);
            for stage in &mut config.network.stage {
                stage.depth = depth.unwrap_or(24);
                stage.control = stage.control.filter(|_| !per_node);
            }
            let mut network = network(&config);
            let found = network.gradient(&batch, &"backprop".parse().expect("a method"));
            network.remember(&found.statistics);
            let own = network.plans().next().expect("a stage").depth;
            assert_eq!(network.at_depth(own).score(&batch), network.score(&batch), "{per_node}");
        }
    }
}

#[test]
fn only_weights_with_a_value_at_every_node_are_asked_whether_they_have_a_limit() {
    let batch = some(16);
    let scaling = |init: &str, control: &str| {
        let stage = format!(
            "network.stage = [{{ depth = 32, init = '{init}', {control} \
             transition = {{ kind = 'linear', width = 16 }} }}]"
        );
        network(&config(&stage)).scalings(&batch).remove(0)
    };
    let spline = "control = { basis = 'spline', coefficients = 8 }, ";
    assert!(scaling("smooth", spline).is_none());
    let limitless = |init: &str| {
        let found = scaling(init, "").expect("a value at every node");
        found.known().expect("32 layers").without_limit()
    };
    assert_eq!(limitless("smooth"), None);
    assert_eq!(limitless("brownian"), None);
    let rough = limitless("independent").expect("rough weights");
    assert!(rough.contains("no limit"), "{rough}");
    let diffusive = limitless("diffusive").expect("diffusive weights");
    assert!(diffusive.contains("stochastic"), "{diffusive}");
}
