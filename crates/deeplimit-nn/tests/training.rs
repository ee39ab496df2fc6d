//! Networks and their training: gradients, weights files, resuming to the bit.

use deeplimit_nn::data::{Options, batch, epoch_order, load};
use deeplimit_nn::network::{Network, NetworkConfig, Outputs, WeightsFile};
use deeplimit_nn::train::{Config, TrainError, Trainer};
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
    for text in ["", CONVOLUTIONAL] {
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
                moved.expect("the same network").score(&batch).loss
            };
            let difference = (loss(1.0) - loss(-1.0)) / (2.0 * step);
            // Single precision: each loss carries a few 1e-7.
            let tolerance = 2e-3 * norm + 1e-6 / step;
            assert!((difference - norm).abs() < tolerance, "{name}: {difference} {norm}");
        }
    }
}

#[test]
fn weights_survive_their_file_to_the_bit() {
    let (network, batch) = network(CONVOLUTIONAL);
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
        let mut config = config(SMALL);
        config.train.optimiser = toml::Value::from(optimiser).try_into().expect("an optimiser");
        let folder = tempfile::tempdir().expect("a folder");
        let mut whole = Trainer::new(config.clone()).expect("a trainer");
        steps(&mut whole, 4);
        whole.save(folder.path()).expect("a checkpoint");
        let expected = steps(&mut whole, 6);
        let mut resumed = Trainer::new(config).expect("a trainer");
        resumed.resume(folder.path()).expect("resumed");
        assert_eq!(steps(&mut resumed, 6), expected, "{optimiser}");
    }
}

#[test]
fn a_checkpoint_replaces_the_one_before_and_leaves_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut trainer = Trainer::new(config(SMALL)).expect("a trainer");
    trainer.save(folder.path()).expect("a checkpoint");
    steps(&mut trainer, 2);
    trainer.save(folder.path()).expect("a checkpoint");
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["last.safetensors", "optimiser-00000002.bpk"]);
}

#[test]
fn a_diverging_run_stops_and_names_the_step() {
    let mut config = config(SMALL);
    config.network.stage[0].gain = 1e38;
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
