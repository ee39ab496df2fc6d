//! Dropout of hidden units: masks replay, gradients are those of the masked network, evaluation has none.

use deeplimit_nn::data::{Batch, Options, batch, epoch_order, load};
use deeplimit_nn::deeplimit::Method;
use deeplimit_nn::deeplimit::gradient::Choice;
use deeplimit_nn::network::{
    Gradient, Memory, Network, NetworkConfig, Outputs, Regularisation, WeightsFile, named_gradients,
};
use deeplimit_nn::train::{Config, Trainer};

const MLP: &str = "[[stage]]\ndepth = 12\nhidden = 40\ndropout = 0.5\ntile = 5\n\
                   transition = { kind = 'linear', width = 9 }";
const SPLINE: &str = "[[stage]]\ndepth = 12\nhidden = 40\ndropout = 0.5\n\
                      control = { basis = 'spline', coefficients = 5 }\n\
                      transition = { kind = 'linear', width = 9 }";
const IMAGES: &str = r#"
    head = { pool = true, activation = "relu" }
    [[stage]]
    transition = { kind = "conv", channels = 3, kernel = 3, stride = 2 }
    field = "conv"
    activation = "gelu"
    hidden = 12
    depth = 8
    dropout = 0.4
    [[stage]]
    transition = { kind = "block", channels = 4 }
    field = "conv-bn-bottleneck"
    activation = "relu"
    hidden = 10
    depth = 8
    gain = 0.2
    dropout = 0.3
"#;

fn built(text: &str) -> (Network, Batch) {
    let digits = load(&Options { limit_train: Some(24), ..Options::default() }).expect("digits");
    let order = epoch_order(digits.train.len(), 3, 0);
    let batch = batch(&digits.train, &order, &digits.normalisation, None).expect("a batch");
    let config: NetworkConfig = toml::from_str(text).expect("a valid network");
    let plan = config.check(digits.train.shape(), Outputs::of(&digits.train)).expect("a plan");
    (Network::new(&plan, 7), batch)
}

fn gradient(network: &Network, batch: &Batch, method: &str, dropout: Option<u64>) -> Gradient {
    let method: Method = method.parse().expect("a method");
    let choices = vec![Choice { method, tile: None }; network.plans().count()];
    let regularisation = Regularisation { dropout, ..Regularisation::default() };
    network.gradient_regularised(batch, &choices, &Memory::default(), regularisation)
}

/// The gradient's relative distance from another one, over all weights.
fn distance(network: &Network, found: &Gradient, exact: &Gradient) -> f64 {
    let [found, exact] = [found, exact].map(|gradient| named_gradients(network, &gradient.record));
    let (mut difference, mut size) = (0.0, 0.0);
    for ((_, found), (_, exact)) in found.iter().zip(&exact) {
        for (a, b) in found.iter().zip(exact) {
            difference += f64::from(a - b).powi(2);
            size += f64::from(*b).powi(2);
        }
    }
    (difference / size).sqrt()
}

#[test]
fn masks_replay_whatever_walks_the_layers_again() {
    for text in [MLP, SPLINE, IMAGES] {
        let (network, batch) = built(text);
        let exact = gradient(&network, &batch, "backprop", Some(1));
        let same = gradient(&network, &batch, "checkpoint", Some(1));
        assert_eq!(same.score, exact.score);
        assert!(distance(&network, &same, &exact) < 1e-5);
        // Reconstruction is as good as without dropout: the certificates see no other layers.
        let adjoint = |dropout| {
            let exact = gradient(&network, &batch, "backprop", dropout);
            let found = gradient(&network, &batch, "adjoint-corrected", dropout);
            for (a, b) in found.statistics.iter().zip(&exact.statistics) {
                assert_eq!(a, b, "what normalisations meet on the way forward");
            }
            distance(&network, &found, &exact)
        };
        let (with, without) = (adjoint(Some(1)), adjoint(None));
        assert!(with < 10.0 * without + 1e-5, "{with} with dropout, {without} without");
        // Another seed draws another mask.
        let other = gradient(&network, &batch, "backprop", Some(2));
        assert!(distance(&network, &other, &exact) > 0.1);
    }
}

#[test]
fn gradients_are_those_of_the_network_without_the_units() {
    for text in [MLP, SPLINE, IMAGES] {
        let (network, batch) = built(text);
        let exact = gradient(&network, &batch, "backprop", Some(4));
        let slopes = named_gradients(&network, &exact.record);
        let moved = |by: f64| {
            let present = WeightsFile::of(&network);
            let file = WeightsFile::of(&network).filled(|name| {
                let (.., values) =
                    present.tensors().find(|(known, ..)| *known == name).expect(name);
                let slope = slopes.iter().find(|(known, _)| known == name);
                let step = |(index, value): (usize, &f32)| {
                    let slope = slope.map_or(0.0, |(_, slope)| f64::from(slope[index]));
                    (f64::from(*value) + by * slope / exact.norm) as f32
                };
                values.iter().enumerate().map(step).collect()
            });
            let network = file.load_into(network.clone()).expect("the same shapes");
            gradient(&network, &batch, "backprop", Some(4)).score.loss
        };
        let step = 5e-3;
        let difference = (moved(step) - moved(-step)) / (2.0 * step);
        assert!((difference / exact.norm - 1.0).abs() < 0.05, "{difference}, {}", exact.norm);
        // The weights behind a unit that is left out have no slope, and whatever they are does nothing.
        let behind: &[&str] =
            if text == IMAGES { &["stages.0.w2", "stages.1.w3"] } else { &["stages.0.w2"] };
        let present = WeightsFile::of(&network);
        let file = WeightsFile::of(&network).filled(|name| {
            let (.., values) = present.tensors().find(|(known, ..)| *known == name).expect(name);
            let Some((_, slope)) =
                slopes.iter().find(|(known, _)| behind.contains(&name) && known == name)
            else {
                return values.to_vec();
            };
            let unused = slope.iter().filter(|slope| **slope == 0.0).count() as f64;
            let share = unused / slope.len() as f64;
            assert!((0.1..0.8).contains(&share), "{share} of {name}");
            let pairs = values.iter().zip(slope);
            pairs.map(|(v, slope)| if *slope == 0.0 { v + 0.5 } else { *v }).collect()
        });
        let changed = file.load_into(network.clone()).expect("the same shapes");
        assert_eq!(gradient(&changed, &batch, "backprop", Some(4)).score, exact.score);
        assert_ne!(gradient(&changed, &batch, "backprop", None).score, exact.score);
    }
}

#[test]
fn every_step_draws_anew() {
    let losses = |dropout: &str| {
        let text = format!(
            "data = {{ limit_train = 32 }}\ntrain.epochs = 3\ntrain.batch = 32\ntrain.rate = 1e-30\n\
             gradient.method = 'backprop'\nnetwork.stage = [{{ depth = 4, hidden = 30, {dropout} \
             transition = {{ kind = 'linear', width = 8 }} }}]"
        );
        let config: Config = toml::from_str(&text).expect("a valid configuration");
        let mut trainer = Trainer::new(config).expect("a trainer");
        let mut losses: Vec<f64> =
            (0..3).map(|_| trainer.step().expect("a step").score.loss).collect();
        losses.sort_by(f64::total_cmp);
        losses[2] - losses[0]
    };
    // The same samples, in another order.
    let (with, without) = (losses("dropout = 0.5,"), losses(""));
    assert!(without < 1e-6 && with > 1e-3, "{with} with dropout, {without} without");
}

#[test]
fn a_run_with_dropout_goes_on_as_if_it_had_not_stopped_and_is_evaluated_without() {
    let text = "seed = 3\ndata = { limit_train = 96, limit_test = 40 }\ntrain.epochs = 2\n\
                train.batch = 32\ngradient.method = 'backprop'\nnetwork.stage = [{ depth = 4, \
                hidden = 30, dropout = 0.5, transition = { kind = 'linear', width = 8 } }]";
    let config: Config = toml::from_str(text).expect("a valid configuration");
    let folder = tempfile::tempdir().expect("a folder");
    let mut whole = Trainer::new(config.clone()).expect("a trainer");
    let mut losses = Vec::new();
    for step in 0..6 {
        if step == 2 {
            whole.save(folder.path()).expect("a folder to write to");
        }
        losses.push(whole.step().expect("a step").score.loss);
    }
    let mut resumed = Trainer::new(config.clone()).expect("a trainer");
    resumed.resume(folder.path()).expect("what was saved");
    let again: Vec<f64> = (2..6).map(|_| resumed.step().expect("a step").score.loss).collect();
    assert_eq!(again, losses[2..]);

    // The first loss is that of a thinned network; its score by the evaluator is not.
    let without: Config = toml::from_str(&text.replace("dropout = 0.5, ", "")).expect("valid");
    let mut plain = Trainer::new(without).expect("a trainer");
    let fresh = Trainer::new(config).expect("a trainer");
    assert_eq!(fresh.test().expect("samples"), plain.test().expect("samples"));
    assert_ne!(plain.step().expect("a step").score.loss, losses[0]);
}
