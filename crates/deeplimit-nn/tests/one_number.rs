//! Batch normalisation of one number a channel says nothing, and is refused.

use deeplimit_nn::data::{Batch, Options, batch, load};
use deeplimit_nn::deeplimit::limit::diagnosis::DiagnosisError;
use deeplimit_nn::network::{Network, NetworkError, Outputs, Probe};
use deeplimit_nn::train::{Config, TrainError, Trainer};

/// Networks in which images have one pixel somewhere: stage and part, and the stages.
const NETWORKS: [(usize, &str, &str); 6] = [
    (
        0,
        "field",
        "{ depth = 2, field = 'bn-conv',
           transition = { kind = 'stem', channels = 2, kernel = 8, preactivation = true } }",
    ),
    (
        1,
        "transition",
        "{ depth = 2, transition = { kind = 'stem', channels = 2, kernel = 2, preactivation = true } },
         { depth = 2, transition = { kind = 'block', channels = 2, stride = 7, preactivation = true } }",
    ),
    (
        0,
        "field",
        "{ depth = 2, field = 'conv-bn', transition = { kind = 'conv', channels = 2, kernel = 8 } }",
    ),
    (
        0,
        "transition",
        "{ depth = 2, transition = { kind = 'stem', channels = 2, kernel = 8 } }",
    ),
    (
        1,
        "transition",
        "{ depth = 2, field = 'conv-bn', transition = { kind = 'stem', channels = 2, kernel = 4, stride = 4 } },
         { depth = 2, field = 'mlp', transition = { kind = 'block', channels = 3 } }",
    ),
    (
        2,
        "field",
        "{ depth = 2, transition = { kind = 'stem', channels = 2, stride = 4 } },
         { depth = 2, transition = { kind = 'block', channels = 2, stride = 1 } },
         { depth = 2, field = 'conv-bn-pre', transition = { kind = 'conv', channels = 2, kernel = 2 } }",
    ),
];

fn config(stages: &str, more: &str) -> Config {
    let stages = stages.replace('\n', " ");
    let text = format!(
        "data = {{ limit_train = 40, limit_test = 20 }}\nnetwork.stage = [{stages}]\n{more}"
    );
    toml::from_str(&text).expect("a valid configuration")
}

fn network(stages: &str, samples: usize) -> (Network, Batch) {
    let digits = load(&Options::default()).expect("the digits");
    let network = config(stages, "").network;
    let plan = network.check(digits.train.shape(), Outputs::of(&digits.train)).expect("a plan");
    let indices: Vec<u32> = (0..samples as u32).collect();
    let batch = batch(&digits.train, &indices, &digits.normalisation, None).expect("a batch");
    (Network::new(&plan, 1), batch)
}

#[test]
fn training_that_would_normalise_one_number_a_channel_is_refused() {
    for (stage, part, stages) in NETWORKS {
        let error = Trainer::new(config(stages, "train.batch = 1")).err().expect("one number");
        let found = NetworkError::OneNumber { stage, part };
        assert!(matches!(&error, TrainError::Network(error) if *error == found), "{error}");
        let text = error.to_string();
        for word in [&format!("network.stage.{stage}"), part, "train.batch", "frozen"] {
            assert!(text.contains(word), "{text}");
        }
        for fine in ["train.batch = 2", "train.batch = 1\ntrain.statistics = 'frozen'"] {
            let mut trainer = Trainer::new(config(stages, fine)).expect(fine);
            trainer.step().expect(fine);
        }
        // A run from before it was refused can be evaluated.
        let trained = Trainer::scoring(config(stages, "train.batch = 1")).expect("scores alone");
        assert!(trained.test().expect("a score").is_some());
    }
}

#[test]
fn a_pixel_more_or_a_sample_more_is_enough() {
    let two = "{ depth = 2, field = 'conv-bn', \
               transition = { kind = 'conv', channels = 2, kernel = 7, padding = 0 } }";
    let mut trainer = Trainer::new(config(two, "train.batch = 1")).expect("2×2 pixels");
    trainer.step().expect("a step");
}

#[test]
fn networks_say_so_too_and_cannot_be_diagnosed_by_one_sample() {
    for (stage, part, stages) in NETWORKS {
        let (network, one) = network(stages, 1);
        assert_eq!(network.check_batch(1), Err(NetworkError::OneNumber { stage, part }));
        assert_eq!(network.check_batch(2), Ok(()));
        for probe in [Probe::Batch(&one), Probe::Synthetic { samples: 1, seed: 1 }] {
            let fault = network.diagnose(probe).expect_err("one number");
            assert_eq!((fault.stage, fault.source), (stage, DiagnosisError::OneNumber));
        }
        let frozen = network.with_frozen_statistics(true);
        assert_eq!(frozen.check_batch(1), Ok(()));
        let method = "checkpoint".parse().expect("a method");
        assert!(frozen.gradient(&one, &method).norm.is_finite());
    }
}

#[test]
#[should_panic(expected = "a channel is one number")]
fn a_gradient_of_one_number_a_channel_is_no_gradient() {
    let (network, one) = network(NETWORKS[3].2, 1);
    network.gradient(&one, &"checkpoint".parse().expect("a method"));
}
