//! The H¹ penalty in training: what is minimised, by both kinds of steps, with every gradient method.

use deeplimit_nn::data::{Options, batch, epoch_order, load};
use deeplimit_nn::deeplimit::control::Basis;
use deeplimit_nn::deeplimit::gradient::{Choice, REGISTRY};
use deeplimit_nn::deeplimit::scheme::reversible::AnyReversible;
use deeplimit_nn::deeplimit::{AnyScheme, Scheme};
use deeplimit_nn::network::{
    ControlConfig, DepthObjective, Memory, Network, NetworkConfig, Outputs, PenaltyStep,
    Regularisation, WeightsFile, named_gradients,
};
use deeplimit_nn::train::{Config, Trainer};

fn config(text: &str) -> Config {
    toml::from_str(text).expect("a valid configuration")
}

const SMALL: &str = r#"
    seed = 5
    data = { limit_train = 100 }
    train = { epochs = 4, batch = 32 }
    network.stage = [{ depth = 6, transition = { kind = "linear", width = 12 } }]
"#;

/// A table of `x0, x1, y` with twelve samples, and a run of whole batches on it.
fn regression(folder: &std::path::Path) -> Config {
    let line = |i: usize| {
        let (a, b) = ((i as f64 * 0.7).sin(), (i as f64 * 1.3).cos());
        format!("{a:.4},{b:.4},{:.4}\n", 4.0 * b * b - a - 1.0)
    };
    let file = folder.join("table.csv");
    std::fs::write(&file, (0..12).map(line).collect::<String>()).expect("a table");
    let mut config = config(
        r#"
        seed = 2
        data = { source = "csv", task = "regression", validation = 0, test = 0 }
        train = { epochs = 12000, batch = 12, optimiser = "sgd", rate = 0.2, schedule = "constant", momentum = 0.0, weight_decay = 1e-2 }
        gradient.method = "backprop"
        network.stage = [{ depth = 5, hidden = 3, transition = { kind = "none" } }]
        "#,
    );
    config.data.path = Some(file);
    config
}

fn all_weights(network: &Network) -> Vec<f32> {
    WeightsFile::of(network).tensors().flat_map(|(_, _, values)| values.to_vec()).collect()
}

#[test]
fn the_gradient_of_a_penalised_loss_is_that_of_both_for_every_field() {
    let digits = load(&Options::default()).expect("the digits");
    let order = epoch_order(digits.train.len(), 1, 0);
    let batch = batch(&digits.train, &order[..12], &digits.normalisation, None).expect("a batch");
    let objective = DepthObjective { h1: 0.01, tau: 2.0, step: PenaltyStep::Explicit };
    let spline = "control = { basis = 'spline', coefficients = 4 }, ";
    for (field, scheme, depth, control) in [
        ("linear", "euler", 4, ""),
        ("dense", "heun", 3, ""),
        ("mlp", "rk4", 1, ""),
        ("conv-bn", "heun", 2, ""),
        ("mlp", "euler", 7, spline),
        ("conv-bn", "heun", 5, spline),
    ] {
        let transition = match field {
            "conv-bn" => "{ kind = 'conv', channels = 3, stride = 2 }",
            _ => "{ kind = 'linear', width = 7 }",
        };
        let network: NetworkConfig = config(&format!(
            "network.stage = [{{ field = '{field}', scheme = '{scheme}', depth = {depth}, \
             {control}transition = {transition} }}]"
        ))
        .network;
        let plan = network.check(digits.train.shape(), Outputs::of(&digits.train)).expect("a plan");
        let network = Network::new(&plan, 3);
        let choices = [Choice { method: "backprop".parse().expect("a method"), tile: None }];
        let gradient = |objective| {
            let memory = Memory::default();
            let regularisation = Regularisation { penalty: objective, dropout: None };
            network.gradient_regularised(&batch, &choices, &memory, regularisation)
        };
        let (plain, penalised) = (gradient(None), gradient(Some(&objective)));
        assert_eq!(plain.score, penalised.score, "the score is that of the loss");
        assert_ne!(plain.norm, penalised.norm);
        let weights = WeightsFile::of(&network);
        let [plain, penalised] = [plain, penalised].map(|g| named_gradients(&network, &g.record));
        for ((name, plain), (_, penalised)) in plain.iter().zip(&penalised) {
            let difference: Vec<f64> =
                penalised.iter().zip(plain).map(|(a, b)| f64::from(*a) - f64::from(*b)).collect();
            let (.., values) = weights.tensors().find(|(known, ..)| known == name).expect(name);
            // P is quadratic: a central difference is exact but for roundings of the weights.
            let direction = |i: usize| ((i * 7) as f64).sin();
            let penalty = |sign: f64| {
                let step = |(i, v): (usize, &f32)| v + (sign * 0.5 * direction(i)) as f32;
                let moved = values.iter().enumerate().map(step).collect();
                let moved = weights.replaced(name, moved).load_into(network.clone());
                moved.expect("the same network").penalty(&objective)
            };
            let slope = penalty(1.0) - penalty(-1.0);
            let found: f64 = difference.iter().enumerate().map(|(i, d)| d * direction(i)).sum();
            let size = difference.iter().map(|d| d * d).sum::<f64>().sqrt();
            // The difference of two gradients in single precision.
            let tolerance = 1e-4 * size + 1e-5;
            assert!((slope - found).abs() < tolerance, "{field}, {name}: {slope} {found}");
            if !name.starts_with("stages.0.") || name.contains("transition") {
                assert_eq!(plain, penalised, "{field}, {name} has no depth");
            }
        }
    }
}

#[test]
fn the_start_of_a_normalisation_is_not_pulled_to_zero() {
    let text = "network.stage = [{ field = 'conv-bn', init = 'zero', depth = 3, \
                transition = { kind = 'conv', channels = 2 } }]";
    let trainer = Trainer::new(config(text)).expect("a trainer");
    // Scales are 1 at every node, everything else is 0.
    let objective = DepthObjective { h1: 1.0, tau: 5.0, step: PenaltyStep::Explicit };
    assert_eq!(trainer.network().penalty(&objective), 0.0);
}

#[test]
fn explicit_and_proximal_training_reach_the_same_stationary_point() {
    let folder = tempfile::tempdir().expect("a folder");
    let train = |step, steps| {
        let mut config = regression(folder.path());
        config.objective.depth = Some(DepthObjective { h1: 1e-3, tau: 1.0, step });
        let mut trainer = Trainer::new(config).expect("a trainer");
        let mut last = None;
        for _ in 0..steps {
            last = Some(trainer.step().expect("a step"));
        }
        (all_weights(trainer.network()), last.expect("a step"))
    };
    let distance = |a: &[f32], b: &[f32]| {
        let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
        a.iter().zip(b).map(square).sum::<f64>().sqrt()
    };
    let (explicit, last) = train(PenaltyStep::Explicit, 12000);
    assert!(last.penalty.expect("a penalty") > 1e-5, "not all is gone");
    let (proximal, _) = train(PenaltyStep::Proximal, 12000);
    let (start, _) = train(PenaltyStep::Explicit, 1);
    let (before, _) = train(PenaltyStep::Explicit, 11500);
    let way = distance(&explicit, &start);
    let still = distance(&explicit, &before);
    assert!(still < 1e-4 * way, "stationary: {still} in 500 steps after a way of {way}");
    let apart = distance(&explicit, &proximal);
    // Weights are rounded to 1e-7 at every step, and creep for 1/(η curvature) steps.
    assert!(apart < 1e-4 * way, "{apart} after a way of {way}");
}

/// What a step leaves behind, to the bit.
fn steps(trainer: &mut Trainer, count: usize) -> Vec<(u64, u64, u64, Vec<usize>)> {
    let bits = |step: deeplimit_nn::train::StepReport| {
        let penalty = step.penalty.expect("a penalty");
        assert!(penalty.is_finite());
        let [loss, norm] = [step.score.loss, step.gradient_norm].map(f64::to_bits);
        (loss, norm, penalty.to_bits(), step.depths)
    };
    (0..count).map(|_| bits(trainer.step().expect("a step"))).collect()
}

/// Every gradient method on a scheme that it walks back, alone, with a tolerance, and with a budget that
/// fits it; and every reversible scheme.
fn settings() -> Vec<(String, String)> {
    let mut settings = vec![("euler".to_owned(), "memory_budget = '2 MiB'".to_owned())];
    for entry in &REGISTRY {
        let name = entry.name;
        let fits = |scheme: &AnyScheme| entry.method.fits(scheme).is_ok();
        let walked = AnyScheme::all().filter(fits);
        let schemes = if fits(&Scheme::EULER.into()) { 1 } else { usize::MAX };
        for scheme in walked.take(schemes) {
            let mut add = |more: &str| {
                settings.push((scheme.to_string(), format!("method = '{name}'{more}")));
            };
            add("");
            add(", memory_budget = '2 MiB'");
            if name.starts_with("adjoint") {
                add(", tolerance = 1e-3");
            }
        }
    }
    settings
}

#[test]
fn penalties_and_refinement_go_with_every_method_tolerance_and_budget_and_resume_to_the_bit() {
    assert!(settings().len() > 2 * REGISTRY.len() + AnyReversible::ALL.len());
    for (scheme, settings) in settings() {
        for (step, control) in [
            ("explicit", None),
            ("proximal", None),
            ("explicit", Some(Basis::Linear)),
            ("proximal", Some(Basis::Linear)),
        ] {
            let stage = format!("depth = 6, scheme = '{scheme}'");
            let mut config = config(&format!(
                "gradient = {{ {settings} }}\nobjective.depth = {{ h1 = 1e-3, step = '{step}' }}\n{}",
                SMALL.replace("depth = 6", &stage)
            ));
            config.network.stage[0].control =
                control.map(|basis| ControlConfig { basis, coefficients: 3 });
            config.train.refine = vec![[0, 3], [2, 6]];
            let folder = tempfile::tempdir().expect("a folder");
            let mut whole = Trainer::new(config.clone()).expect(&settings);
            steps(&mut whole, 5);
            whole.save(folder.path()).expect("a checkpoint");
            let expected = steps(&mut whole, 4);
            assert_eq!((&expected[0].3, &expected[3].3), (&vec![3], &vec![6]), "{settings}");
            let mut resumed = Trainer::new(config).expect("a trainer");
            resumed.resume(folder.path()).expect("resumed");
            assert_eq!(steps(&mut resumed, 4), expected, "{settings}, {step}");
            assert_eq!(all_weights(resumed.network()), all_weights(whole.network()));
        }
    }
}

#[test]
fn a_penalty_keeps_weights_smoother_and_is_reported_beside_the_loss() {
    for step in ["explicit", "proximal"] {
        let after = |more: &str| {
            let rough = SMALL.replace("depth = 6", "init = 'rough', depth = 6");
            let mut trainer = Trainer::new(config(&format!("{more}\n{rough}"))).expect("a trainer");
            let reports: Vec<_> = (0..8).map(|_| trainer.step().expect("a step")).collect();
            let control = trainer.network().controls().remove(0).1;
            (reports, control.largest_increment())
        };
        let (plain, rough) = after("");
        assert!(plain.iter().all(|report| report.penalty.is_none()));
        let (penalised, smooth) =
            after(&format!("objective.depth = {{ h1 = 1.0, tau = 0.0, step = '{step}' }}"));
        assert_eq!(plain[0].score, penalised[0].score, "the loss without the penalty");
        let penalties: Vec<f64> = penalised.iter().filter_map(|report| report.penalty).collect();
        assert!(penalties[7] < penalties[0], "{step}: {penalties:?}");
        assert!(smooth < 0.97 * rough, "{step}: {smooth}, without a penalty {rough}");
    }
}

#[test]
fn an_endless_proximal_step_leaves_the_mean_over_depth() {
    let more = "objective.depth = { h1 = 1e9, tau = 0.0 }";
    let mut trainer = Trainer::new(config(&format!("{more}\n{SMALL}"))).expect("a trainer");
    trainer.step().expect("a step");
    let control = trainer.network().controls().remove(0).1;
    assert!(control.largest_increment() < 1e-5 * control.norm());
    assert!(control.norm() > 0.1);
}

#[test]
fn explicit_steps_that_would_grow_are_refused_with_their_number() {
    // λ_max(A) of 6 nodes and τ = 0 is 12 (1 + cos(π/6)).
    let curvature = |h1: f64| 2.0 * h1 * 12.0 * (1.0 + (std::f64::consts::PI / 6.0).cos());
    let limit = 2.0 * 1.9 / 0.5;
    let at = |factor: f64, train: &str| {
        let h1 = factor * limit / curvature(1.0);
        let more = format!(
            "objective.depth = {{ h1 = {h1}, tau = 0.0, step = 'explicit' }}\n\
             [train]\nepochs = 4\nbatch = 32\nrate = 0.5\nweight_decay = 0.0\n{train}"
        );
        let stage = "seed = 5\ndata = { limit_train = 100 }\n\
                     network.stage = [{ depth = 6, transition = { kind = 'linear', width = 12 } }]";
        Trainer::new(config(&format!("{stage}\n{more}")))
    };
    assert!(at(0.999, "optimiser = 'sgd'").is_ok());
    let error = at(1.001, "optimiser = 'sgd'").err().expect("refused").to_string();
    for part in ["explicit", "depth 6 of network.stage.0", "3.804", "3.800", "proximal"] {
        assert!(error.contains(part), "{part:?} in {error}");
    }
    assert!(at(1.001, "optimiser = 'sgd'\nmomentum = 0.95").is_ok(), "momentum stabilises");
    assert!(at(1.001, "optimiser = 'adam'").is_ok(), "Adam's steps are bounded");
    // 2 N: twice the curvature, from the epoch of the deeper flow on.
    let refine = "optimiser = 'sgd'\nrefine = [[0, 3], [2, 6]]";
    let error = at(1.001, &format!("schedule = 'constant'\n{refine}")).err().expect("refused");
    assert!(error.to_string().contains("from epoch 2"), "{error}");
    assert!(at(1.001, refine).is_ok(), "by then a cosine has halved the rate");
}

#[test]
fn impossible_penalties_are_named() {
    for (text, part) in [
        ("h1 = 0.0", "objective.depth.h1 = 0"),
        ("h1 = -1.0", "objective.depth.h1 = -1"),
        ("tau = -0.5", "objective.depth.tau = -0.5"),
        ("tau = inf", "objective.depth.tau = inf"),
    ] {
        let text = format!("objective.depth = {{ {text} }}");
        let error = Trainer::new(config(&text)).err().expect("impossible").to_string();
        assert!(error.contains(part), "{part:?} in {error}");
    }
}
