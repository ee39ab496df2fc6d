//! Networks and their training: gradients, weights files, resuming to the bit.

use deeplimit_nn::data::{Batch, Options, batch, epoch_order, load};
use deeplimit_nn::deeplimit::scheme::reversible::AnyReversible;
use deeplimit_nn::network::{Network, NetworkConfig, Outputs, WeightsFile};
use deeplimit_nn::train::{Config, TrainError, Trainer};
use std::collections::BTreeMap;
use std::path::Path;

fn config(text: &str) -> Config {
    toml::from_str(text).expect("a valid configuration")
}

const CONVOLUTIONAL: &str = r#"
    [[network.stage]]
    transition = { kind = "conv", channels = 3, kernel = 3, padding = 1 }
    field = "conv"
    activation = "gelu"
    depth = 3
    scheme = "heun"
    [[network.stage]]
    transition = { kind = "conv", channels = 4, kernel = 2, stride = 2 }
    field = "conv"
    depth = 2
    [network.head]
    pool = true
"#;

const NORMALISED: &str = r#"
    [[network.stage]]
    transition = { kind = "conv", channels = 3, kernel = 3, padding = 1 }
    field = "conv-bn"
    activation = "gelu"
    depth = 3
    scheme = "heun"
    [[network.stage]]
    transition = { kind = "conv", channels = 4, kernel = 2, stride = 2 }
    field = "conv-bn"
    hidden = 5
    depth = 2
    [network.head]
    pool = true
"#;

fn network(text: &str) -> (Network, deeplimit_nn::data::Batch) {
    let digits = load(&Options::default()).expect("the digits");
    let network: NetworkConfig = config(text).network;
    let plan = network.check(digits.train.shape(), Outputs::of(&digits.train)).expect("a plan");
    let order = epoch_order(digits.train.len(), 1, 0);
    let batch = batch(&digits.train, &order[..12], &digits.normalisation, None).expect("a batch");
    (Network::new(&plan, 3), batch)
}

/// Directional derivative of the loss by central differences against the gradient, in every
/// parameter array.
#[test]
fn gradients_of_whole_networks_agree_with_finite_differences() {
    let tables = "network.stage = [{ depth = 3, field = 'dense' }, { depth = 2, transition = { kind = 'none' } }]";
    for text in ["", CONVOLUTIONAL, tables] {
        let (network, batch) = network(text);
        let method = "backprop".parse().expect("a method");
        let gradient = network.gradient(&batch, &method);
        let found = deeplimit_nn::network::named_gradients(&network, &gradient.record);
        let weights = WeightsFile::of(&network);
        for (name, _, values) in weights.tensors() {
            let (_, slope) = found.iter().find(|(found, _)| found == name).expect("a gradient");
            let norm = slope.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            let step = (5e-3 / norm).min(0.05);
            let loss = |sign: f64| {
                let moved =
                    values.iter().zip(slope).map(|(v, g)| v + (sign * step / norm) as f32 * g);
                let moved: Vec<f32> = moved.collect();
                let moved = weights.replaced(name, moved).load_into(network.clone());
                moved.expect("the same network").score(&batch).expect("finite").loss
            };
            let difference = (loss(1.0) - loss(-1.0)) / (2.0 * step);
            // Single precision: each loss carries a few 1e-7.
            let tolerance = 2e-3 * norm + 1e-6 / step;
            assert!((difference - norm).abs() < tolerance, "{name}: {difference} {norm}");
        }
    }
}

/// Directional derivative of the loss by central differences against the gradient, in every
/// parameter array. In training a normalisation sees the batch, in evaluation its memory: a loss of
/// the present batch's statistics comes from a step that keeps no memory of others.
fn agrees_with_finite_differences(network: &Network, batch: &Batch, method: &str) {
    let method = method.parse().expect("a method");
    let gradient = network.gradient(batch, &method);
    let found = deeplimit_nn::network::named_gradients(network, &gradient.record);
    let weights = WeightsFile::of(network);
    assert!(!found.iter().any(|(name, _)| name.contains("running")), "nothing trains statistics");
    for (name, slope) in &found {
        let (.., values) = weights.tensors().find(|(known, ..)| known == name).expect("weights");
        let norm = slope.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let step = (5e-3 / norm).min(0.025);
        let loss = |sign: f64| {
            let moved = values.iter().zip(slope).map(|(v, g)| v + (sign * step / norm) as f32 * g);
            let moved = weights.replaced(name, moved.collect()).load_into(network.clone());
            moved.expect("the same network").gradient(batch, &method).score.loss
        };
        let difference = (loss(1.0) - loss(-1.0)) / (2.0 * step);
        // Single precision: each loss carries a few 1e-7.
        let tolerance = 5e-3 * norm + 1e-6 / step;
        assert!((difference - norm).abs() < tolerance, "{name}: {difference} {norm}");
    }
}

#[test]
fn gradients_through_normalisations_agree_with_finite_differences() {
    let (network, batch) = network(NORMALISED);
    agrees_with_finite_differences(&network, &batch, "backprop");
}

/// The running statistics of a network, by name.
fn running(network: &Network) -> Vec<(String, Vec<f32>)> {
    let file = WeightsFile::of(network);
    let all = file.tensors().filter(|(name, ..)| name.contains("running"));
    all.map(|(name, _, values)| (name.to_owned(), values.to_vec())).collect()
}

#[test]
fn running_statistics_move_once_a_step_whatever_the_gradient_method() {
    for scheme in ["euler", "heun", "midpoint", "rk4"] {
        let text = NORMALISED.replace("heun", scheme);
        let after = |method: &str| {
            let (mut network, batch) = network(&text);
            let gradient = network.gradient(&batch, &method.parse().expect("a method"));
            network.remember(&gradient.statistics);
            running(&network)
        };
        let exact = after("backprop");
        assert_eq!(exact.len(), 4, "mean and variance of two stages");
        for method in ["checkpoint", "adjoint-predicted", "adjoint-adaptive"] {
            for ((name, exact), (_, found)) in exact.iter().zip(after(method)) {
                assert_eq!(exact.len(), found.len());
                let close = exact.iter().zip(&found).all(|(a, b)| (a - b).abs() <= 1e-6);
                assert!(close, "{scheme}, {method}, {name}: {exact:?} {found:?}");
            }
        }
    }
}

/// With one step, one pixel's neighbourhood and known weights, the rule is written out.
#[test]
fn running_statistics_move_a_tenth_of_the_way_to_mean_and_unbiased_variance() {
    let text = r#"
        network.stage = [{ depth = 1, field = "conv-bn", transition = { kind = "none" } }]
    "#;
    let (mut network, batch) = network(text);
    let weights = WeightsFile::of(&network);
    let identity = (0..9).map(|tap| if tap == 4 { 2.0 } else { 0.0 }).collect();
    network = weights.replaced("stages.0.w1", identity).load_into(network).expect("it fits");
    let gradient = network.gradient(&batch, &"adjoint-adaptive".parse().expect("a method"));
    network.remember(&gradient.statistics);
    let values: Vec<f64> = batch.inputs.iter().map(|x| 2.0 * f64::from(*x)).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    let variance = squares / (values.len() - 1) as f64;
    let found = running(&network);
    assert!((f64::from(found[0].1[0]) - 0.1 * mean).abs() < 1e-6, "{found:?}, mean {mean}");
    let expected = 0.9 + 0.1 * variance;
    assert!((f64::from(found[1].1[0]) - expected).abs() < 1e-6, "{found:?}, not {expected}");
}

#[test]
fn a_network_that_remembers_the_batch_evaluates_it_as_in_training() {
    let (mut network, batch) = network(NORMALISED);
    let method = "backprop".parse().expect("a method");
    let training = network.gradient(&batch, &method);
    for _ in 0..200 {
        network.remember(&training.statistics);
    }
    // Unbiased variances, and at the second stage of Heun's steps interpolated ones: not the same.
    let (evaluated, trained) = (network.score(&batch).expect("finite").loss, training.score.loss);
    assert!((evaluated - trained).abs() < 0.05 * trained, "{evaluated} {trained}");
    let fresh = self::network(NORMALISED).0.score(&batch).expect("finite").loss;
    assert_ne!(fresh, evaluated, "statistics take part");
}

#[test]
fn a_whole_step_has_the_same_bits_for_any_number_of_threads() {
    for text in ["", CONVOLUTIONAL, NORMALISED] {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("a pool").install(|| {
                let digits = load(&Options::default()).expect("the digits");
                let order = epoch_order(digits.train.len(), 1, 0);
                let batch = batch(&digits.train, &order[..50], &digits.normalisation, None);
                let batch = batch.expect("a batch");
                let network = network(text).0;
                let gradient = network.gradient(&batch, &"backprop".parse().expect("a method"));
                let found = deeplimit_nn::network::named_gradients(&network, &gradient.record);
                (gradient.score, gradient.norm, found)
            })
        };
        assert!(on(1) == on(2), "{text}");
    }
}

#[test]
fn weights_survive_their_file_to_the_bit() {
    let (mut network, batch) = network(NORMALISED);
    let gradient = network.gradient(&batch, &"backprop".parse().expect("a method"));
    network.remember(&gradient.statistics);
    let bytes = WeightsFile::of(&network).to_bytes().expect("bytes");
    let file = WeightsFile::from_bytes(&bytes).expect("a file");
    let shape = |name: &str| {
        let tensor = file.tensors().find(|(known, ..)| *known == name);
        tensor.expect(name).1.to_vec()
    };
    assert_eq!(shape("stages.1.g1"), [2, 5]);
    assert_eq!(shape("stages.1.running_mean"), [2, 9]); // [nodes, hidden + channels]
    assert_eq!(shape("stages.0.running_variance"), [4, 6]);
    let loaded = file.load_into(self::network(NORMALISED).0).expect("the same network");
    assert_eq!(loaded.score(&batch), network.score(&batch));

    let (network, batch) = self::network(CONVOLUTIONAL);
    let bytes = WeightsFile::of(&network).to_bytes().expect("bytes");
    let file = WeightsFile::from_bytes(&bytes).expect("a file");
    let names: Vec<&str> = file.tensors().map(|(name, ..)| name).collect();
    assert!(names.contains(&"stages.0.w1") && names.contains(&"head.linear.weight"), "{names:?}");
    let shape = file.tensors().find(|(name, ..)| *name == "stages.0.w1").expect("w1").1.to_vec();
    assert_eq!(shape, [4, 3, 3, 3, 3]); // [nodes, hidden, channels, 3, 3]
    let (other, _) = self::network(CONVOLUTIONAL);
    let loaded = file.load_into(other).expect("the same network");
    assert_eq!(loaded.score(&batch), network.score(&batch));
    assert!(WeightsFile::from_bytes(&bytes[..bytes.len() - 1]).is_err());
}

const SMALL: &str = r#"
    seed = 5
    data = { limit_train = 200 }
    train = { epochs = 2, batch = 32, checkpoint_every = 3 }
    network.stage = [{ depth = 6, transition = { kind = "linear", width = 16 } }]
"#;

/// The same with a normalised field.
fn small_normalised() -> Config {
    let stage = "transition = { kind = 'conv', channels = 4, stride = 2 }, field = 'conv-bn'";
    config(&SMALL.replace("transition = { kind = \"linear\", width = 16 }", stage))
}

/// What a step leaves behind, to the bit.
fn steps(trainer: &mut Trainer, count: usize) -> Vec<(usize, u64, u64)> {
    (0..count)
        .map(|_| {
            let step = trainer.step().expect("a step");
            (step.step, step.score.loss.to_bits(), step.gradient_norm.to_bits())
        })
        .collect()
}

#[test]
fn a_resumed_run_repeats_the_uninterrupted_one_to_the_bit() {
    for optimiser in ["adamw", "adam", "sgd"] {
        let mut config = if optimiser == "adam" { small_normalised() } else { config(SMALL) };
        // The head's running statistics are kept, too.
        config.network.head.norm = optimiser == "adam";
        config.train.optimiser = toml::Value::from(optimiser).try_into().expect("an optimiser");
        let folder = tempfile::tempdir().expect("a folder");
        let mut whole = Trainer::new(config.clone()).expect("a trainer");
        steps(&mut whole, 4);
        whole.save(folder.path()).expect("a checkpoint");
        let expected = steps(&mut whole, 6);
        let evaluated = whole.test().expect("a score");
        let mut resumed = Trainer::new(config).expect("a trainer");
        resumed.resume(folder.path()).expect("resumed");
        assert_eq!(steps(&mut resumed, 6), expected, "{optimiser}");
        assert_eq!(resumed.test().expect("a score"), evaluated, "{optimiser}");
    }
}

/// A small run whose flow steps by a scheme with an exact inverse.
fn reversible(scheme: &AnyReversible) -> Config {
    let mut config = config(SMALL);
    config.network.stage[0].scheme = scheme.to_string();
    config.gradient.method = "reversible".to_owned();
    config
}

#[test]
fn training_with_every_reversible_scheme_lowers_the_loss_and_resumes_to_the_bit() {
    for scheme in AnyReversible::ALL {
        let folder = tempfile::tempdir().expect("a folder");
        let mut whole = Trainer::new(reversible(&scheme)).expect("a trainer");
        let samples = whole.splits().train.len();
        let order: Vec<u32> = (0..samples as u32).collect();
        let normalisation = whole.splits().normalisation.clone();
        let all = batch(&whole.splits().train, &order, &normalisation, None).expect("a batch");
        let loss = |trainer: &Trainer| trainer.network().score(&all).expect("finite").loss;
        let before = loss(&whole);
        for _ in 0..4 {
            let step = whole.step().expect("a step");
            let certificate = &step.certificates[0];
            // 6 steps in single precision, and 0.9^−6 = 1.9 for momentum.
            let lost = certificate.error_estimate();
            assert!(certificate.anchors.len() == 1 && lost < 1e-5, "{scheme}: {lost:e}");
        }
        whole.save(folder.path()).expect("a checkpoint");
        let expected = steps(&mut whole, 6);
        let after = loss(&whole);
        assert!(after < 0.95 * before, "{scheme}: the loss went from {before} to {after}");
        let mut resumed = Trainer::new(reversible(&scheme)).expect("a trainer");
        resumed.resume(folder.path()).expect("resumed");
        assert_eq!(steps(&mut resumed, 6), expected, "{scheme}");
        assert_eq!(resumed.test().expect("a score"), whole.test().expect("a score"), "{scheme}");
    }
}

#[test]
fn whole_networks_of_reversible_flows_agree_with_finite_differences() {
    for scheme in AnyReversible::ALL {
        let scheme = scheme.to_string();
        let (convolutional, normalised) =
            (CONVOLUTIONAL.replace("heun", &scheme), NORMALISED.replace("heun", &scheme));
        let second = format!("depth = 2\n    scheme = \"{scheme}\"");
        for text in [convolutional, normalised].map(|text| text.replace("depth = 2", &second)) {
            let (network, batch) = network(&text);
            agrees_with_finite_differences(&network, &batch, "reversible");
        }
    }
}

#[test]
fn methods_and_schemes_that_do_not_go_together_are_refused_by_name() {
    let mut mixed = reversible(&AnyReversible::ALL[0]);
    mixed.network.stage.push(mixed.network.stage[0].clone());
    mixed.network.stage[1].scheme = "rk4".to_owned();
    let mut adjoint = reversible(&AnyReversible::ALL[7]);
    adjoint.gradient.method = "P1C2".to_owned();
    for (config, parts) in [
        (mixed, ["\"reversible\"", "network.stage.1.scheme = \"rk4\"", "leapfrog"]),
        (
            adjoint,
            ["\"P1C2\"", "stage.0.scheme = \"mccallum-foster-rk4\"", "the method reversible"],
        ),
    ] {
        let error = Trainer::new(config).err().expect("a combination that means nothing");
        let error = error.to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn a_checkpoint_replaces_the_one_before_and_leaves_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut trainer = Trainer::new(config(SMALL)).expect("a trainer");
    trainer.save(folder.path()).expect("a checkpoint");
    steps(&mut trainer, 2);
    // As a kill in the middle of writing leaves it.
    std::fs::write(folder.path().join("best.partial"), "half").expect("written");
    trainer.save(folder.path()).expect("a checkpoint");
    let names: Vec<String> = files(folder.path()).into_keys().collect();
    assert_eq!(names, ["last.safetensors", "optimiser-00000002.bpk"]);
}

/// The files of a folder, by name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("the folder");
    let file = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, std::fs::read(entry.path()).expect("a file"))
    };
    entries.map(|entry| file(entry.expect("an entry"))).collect()
}

#[test]
fn equal_runs_write_equal_files() {
    for optimiser in ["adamw", "adam", "sgd"] {
        let mut config = small_normalised();
        config.train.optimiser = toml::Value::from(optimiser).try_into().expect("an optimiser");
        let run = || {
            let folder = tempfile::tempdir().expect("a folder");
            let mut trainer = Trainer::new(config.clone()).expect("a trainer");
            steps(&mut trainer, 2);
            trainer.save(folder.path()).expect("a checkpoint");
            trainer.save_best(folder.path()).expect("weights");
            files(folder.path())
        };
        let first = run();
        let names: Vec<&str> = first.keys().map(String::as_str).collect();
        assert_eq!(names, ["best.safetensors", "last.safetensors", "optimiser-00000002.bpk"]);
        for again in 0..4 {
            for (name, bytes) in run() {
                assert!(bytes == first[&name], "{optimiser}: {name} in run {again}");
            }
        }
    }
}

#[test]
fn a_diverging_run_stops_and_names_the_step() {
    let mut config = config(SMALL);
    // Beyond single precision: no gradient method can make a number of it.
    config.network.stage[0].gain = 1e60;
    let mut trainer = Trainer::new(config).expect("a trainer");
    let error = (0..12).find_map(|_| trainer.step().err()).expect("an infinite loss");
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
    assert!(error.to_string().contains("step"));
}

#[test]
fn an_unwritable_folder_is_an_error_that_names_the_file() {
    let trainer = Trainer::new(config(SMALL)).expect("a trainer");
    let error = trainer.save(Path::new("/nowhere/at/all")).expect_err("no such folder");
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
}
