//! What the network of Sander, Ablin, Peyré (2022, section 5, figure 4) needs of a configuration: relu behind
//! the stem, a last normalisation that starts at 0, steps of one over the number of functions, and means of
//! windows in front of the head.

use deeplimit_nn::data::{Batch, Options, Shape, batch, epoch_order, load};
use deeplimit_nn::deeplimit::Method;
use deeplimit_nn::deeplimit::gradient::REGISTRY;
use deeplimit_nn::network::{Network, NetworkConfig, Outputs, WeightsFile, named_gradients};
use deeplimit_nn::train::{Config, Trainer};

/// The paper's network in small: 8×8 images, functions in place of layers as `heun` has them.
const HEUN: &str = r#"
    [[network.stage]]
    transition = { kind = "stem", channels = 3, kernel = 3, stride = 2, padding = 1, relu = true }
    field = "conv-bn"
    activation = "gelu"
    depth = 5
    scheme = "heun"
    step_size = "functions"
    init = "independent"
    zero_start = true
    [network.head]
    pool = true
    window = 2
"#;

fn euler() -> String {
    HEUN.replace("scheme = \"heun\"\n    step_size = \"functions\"", "scheme = \"euler\"")
}

fn config(text: &str) -> Config {
    toml::from_str(text).expect("a configuration")
}

fn network(text: &str) -> (Network, Batch) {
    let digits = load(&Options::default()).expect("the digits");
    let network: NetworkConfig = config(text).network;
    let plan = network.check(digits.train.shape(), Outputs::of(&digits.train)).expect("a plan");
    let order = epoch_order(digits.train.len(), 1, 0);
    let batch = batch(&digits.train, &order[..24], &digits.normalisation, None).expect("a batch");
    (Network::new(&plan, 3), batch)
}

/// The network after its functions have left 0, with other values in an array where they are given.
fn woken(network: &Network) -> Network {
    let file = WeightsFile::of(network);
    let (_, dims, _) = file.tensors().find(|(name, ..)| *name == "stages.0.g2").expect("a scale");
    let count = dims.iter().product::<usize>();
    let values = (0..count).map(|i| 0.5 + 0.1 * (i as f32).sin()).collect();
    file.replaced("stages.0.g2", values).load_into(network.clone()).expect("it fits")
}

fn error(text: &str) -> String {
    let checked = config(text).network.check(Shape::image(1, 8, 8), Outputs::Classes(10));
    checked.expect_err("an impossible network").to_string()
}

#[test]
fn settings_that_mean_nothing_are_refused_by_name() {
    for (from, to, parts) in [
        ("scheme = \"heun\"", "scheme = \"euler\"", ["step_size", "as many functions"]),
        ("field = \"conv-bn\"", "field = \"conv\"", ["zero_start", "no normalisation"]),
        ("window = 2", "window = 1", ["network.head.window", "2 to 4"]),
        ("window = 2", "window = 5", ["network.head.window", "2 to 4"]),
        (
            "pool = true\n    window",
            "pool = false\n    window",
            ["network.head.window", "pool = true"],
        ),
        ("depth = 5", "depth = 0", ["stage.0.depth", "at least 1"]),
    ] {
        assert!(HEUN.contains(from), "{from}");
        let error = error(&HEUN.replace(from, to));
        assert!(parts.iter().all(|part| error.contains(part)), "{to}: {error}");
    }
}

#[test]
fn the_paper_has_64_inputs_of_the_head_of_32_pixels_images() {
    let text = include_str!("../../../examples/cifar10-paper.toml");
    let plan = config(text).network.check(Shape::image(3, 32, 32), Outputs::Classes(10));
    let plan = plan.expect("a network");
    assert_eq!(plan.stages[0].state, Shape::image(16, 10, 10));
    let file = WeightsFile::of(&Network::new(&plan, 1));
    let (_, dims, _) =
        file.tensors().find(|(name, ..)| *name == "head.linear.weight").expect("a head");
    assert_eq!(dims, [64, 10]);
}

#[test]
fn a_flow_that_starts_at_zero_is_the_identity_at_any_depth_and_leaves_it() {
    let deeper = HEUN.replace("depth = 5", "depth = 2");
    let (network, batch) = network(HEUN);
    let shallow = self::network(&deeper).0;
    assert_eq!(network.infer(&batch), shallow.infer(&batch));
    assert_ne!(woken(&network).infer(&batch), woken(&shallow).infer(&batch));
    let gradient = network.gradient(&batch, &"backprop".parse().expect("a method"));
    for (name, slope) in named_gradients(&network, &gradient.record) {
        let moves = slope.iter().any(|slope| *slope != 0.0);
        // Nothing reaches the layers before a scale of 0; the scale itself is reached.
        let before =
            ["w1", "w2", "g1", "be1"].iter().any(|kind| name == format!("stages.0.{kind}"));
        assert_eq!(moves, !before, "{name}");
    }
    let started = |start: &str| {
        let text = HEUN.replace("zero_start = true", start);
        let file = WeightsFile::of(&self::network(&text).0);
        let all = file.tensors().map(|(name, _, values)| (name.to_owned(), values.to_vec()));
        all.collect::<Vec<_>>()
    };
    for ((name, zero), (_, one)) in started("zero_start = true").iter().zip(started("")) {
        match &name[..] {
            "stages.0.g2" => {
                assert!(zero.iter().all(|g| *g == 0.0) && one.iter().all(|g| *g == 1.0));
            }
            _ => assert_eq!(*zero, one, "{name}: nothing else starts otherwise"),
        }
    }
}

#[test]
fn gradients_of_the_whole_network_agree_with_finite_differences() {
    for text in [HEUN, &euler()] {
        let (network, batch) = network(text);
        let network = woken(&network);
        let method: Method = "backprop".parse().expect("a method");
        let gradient = network.gradient(&batch, &method);
        let weights = WeightsFile::of(&network);
        for (name, slope) in &named_gradients(&network, &gradient.record) {
            let (.., values) =
                weights.tensors().find(|(known, ..)| known == name).expect("weights");
            let norm = slope.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            let step = (5e-3 / norm).min(0.003);
            let loss = |sign: f64| {
                let moved = values.iter().zip(slope);
                let moved = moved.map(|(v, g)| v + (sign * step / norm) as f32 * g).collect();
                let moved = weights.replaced(name, moved).load_into(network.clone());
                moved.expect("the same network").gradient(&batch, &method).score.loss
            };
            let difference = (loss(1.0) - loss(-1.0)) / (2.0 * step);
            // Single precision: each loss carries a few 1e-7. The stem's relu has kinks.
            let tolerance = 1e-2 * norm + 1e-6 / step;
            assert!((difference - norm).abs() < tolerance, "{name}: {difference} {norm}");
        }
    }
}

/// An adjoint that walked back with another step than the flow walked with would find another gradient, by
/// about as much as the two step sizes' networks differ.
#[test]
fn every_gradient_method_walks_the_paper_s_heun_steps_back() {
    let gradient = |text: &str, method: &Method| {
        let text = text.replace("depth = 5", "depth = 64").replace("independent", "smooth");
        let (network, batch) = network(&text);
        woken(&network).flow_gradients(&batch, method).swap_remove(0)
    };
    let backprop: Method = "backprop".parse().expect("a method");
    let exact = gradient(HEUN, &backprop);
    let other = gradient(&HEUN.replace("step_size = \"functions\"", ""), &backprop);
    let apart = other.relative_error(&exact);
    let mut walked = 0;
    for entry in REGISTRY.iter().filter(|entry| entry.name != "reversible") {
        walked += 1;
        let error = gradient(HEUN, &entry.method).relative_error(&exact);
        assert!(error < 1e-3 && error < apart / 5.0, "{}: {error:e}, {apart:e}", entry.name);
    }
    assert!(walked >= 5, "the registry has more methods");
}

#[test]
fn a_run_with_all_of_it_resumes_to_the_bit() {
    let more = "train = { epochs = 3, batch = 128, optimiser = 'sgd', rate = 0.1, schedule = 'step', \
                rates = [{ weights = 'stages.0', factor = 6.0 }, \
                         { weights = 'stages.0.transition', factor = 1.0 }] }\n";
    for method in ["backprop", "adjoint-published", "adjoint-adaptive"] {
        let text = format!("gradient.method = '{method}'\n{more}{HEUN}");
        let whole = {
            let mut trainer = Trainer::new(config(&text)).expect("a trainer");
            while !trainer.finished() {
                trainer.step().expect("a step");
            }
            WeightsFile::of(trainer.network()).to_bytes().expect("a file")
        };
        let folder = tempfile::tempdir().expect("a folder");
        let mut trainer = Trainer::new(config(&text)).expect("a trainer");
        for _ in 0..trainer.total_steps() / 2 {
            trainer.step().expect("a step");
        }
        trainer.save(folder.path()).expect("saved");
        let mut again = Trainer::new(config(&text)).expect("a trainer");
        again.resume(folder.path()).expect("resumed");
        while !again.finished() {
            again.step().expect("a step");
        }
        let resumed = WeightsFile::of(again.network()).to_bytes().expect("a file");
        assert!(resumed == whole, "{method}");
        // The file says what the network is: another step size does not go on.
        let other = text.replace("step_size = \"functions\"", "");
        let resumed = Trainer::new(config(&other)).expect("a trainer").resume(folder.path());
        let Err(error) = resumed else { panic!("another network goes on") };
        let error = error.to_string();
        assert!(error.contains("step_size"), "{error}");
    }
}
