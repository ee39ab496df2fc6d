//! Residual networks of images: stems, blocks, pre-activation and bottleneck flows beside PyTorch, whose
//! numbers `golden/residual_images.py` writes.

use deeplimit_nn::data::{Batch, BatchTargets, Shape};
use deeplimit_nn::network::{
    Gradient, Network, NetworkConfig, Outputs, WeightsFile, named_gradients,
};
use serde_json::Value;

/// Rounding of single precision through a few layers.
const TOLERANCE: f64 = 1e-4;

const SMALL: &str = r#"
    head = { pool = true, activation = "relu" }
    [[stage]]
    transition = { kind = "stem", channels = 4, padding = 1 }
    field = "conv-bn-pre"
    activation = "relu"
    depth = 2
    [[stage]]
    transition = { kind = "block", channels = 8 }
    field = "conv-bn-pre"
    activation = "relu"
    hidden = 6
    depth = 3
"#;

const LARGE: &str = r#"
    head = { pool = true, activation = "relu" }
    [[stage]]
    transition = { kind = "stem", channels = 4, kernel = 5, stride = 2, padding = 2, pool = true }
    field = "conv-bn-pre"
    activation = "relu"
    depth = 1
    [[stage]]
    transition = { kind = "block", channels = 8, hidden = 3, stride = 1, bottleneck = true, shortcut = "project" }
    field = "conv-bn-bottleneck"
    activation = "relu"
    hidden = 3
    depth = 2
    [[stage]]
    transition = { kind = "block", channels = 12, shortcut = "project" }
    field = "conv-bn-bottleneck"
    activation = "relu"
    hidden = 4
    depth = 1
"#;

const PREACTIVATION: &str = r#"
    head = { pool = true, activation = "relu", norm = true }
    [[stage]]
    transition = { kind = "stem", channels = 4, padding = 1, preactivation = true, widen = 8, hidden = 3 }
    field = "bn-conv-bottleneck"
    activation = "relu"
    hidden = 3
    depth = 2
    [[stage]]
    transition = { kind = "block", channels = 10, preactivation = true, shortcut = "project" }
    field = "bn-conv"
    activation = "relu"
    hidden = 6
    depth = 3
    [[stage]]
    transition = { kind = "block", channels = 12, stride = 1, preactivation = true, shortcut = "raw" }
    field = "bn-conv"
    activation = "relu"
    depth = 1
    [[stage]]
    transition = { kind = "block", channels = 16, hidden = 5, bottleneck = true, preactivation = true }
    field = "bn-conv"
    activation = "relu"
    depth = 2
"#;

fn golden(name: &str) -> Value {
    let all: Value =
        serde_json::from_str(include_str!("golden/residual_images.json")).expect("the golden file");
    all[name].clone()
}

fn floats(value: &Value) -> Vec<f64> {
    let list = value.as_array().expect("a list");
    list.iter().map(|number| number.as_f64().expect("a number")).collect()
}

/// shift + scale sin(0.7 i + key), in which the first and the last number tell scale and shift.
fn numbers(count: usize, key: f64, scale: f64, shift: f64) -> Vec<f32> {
    (0..count).map(|i| (shift + scale * (0.7 * i as f64 + key).sin()) as f32).collect()
}

fn built(text: &str, golden: &Value) -> (Network, Batch) {
    let config: NetworkConfig = toml::from_str(text).expect("a configuration");
    let size = floats(&golden["size"]);
    let shape = Shape::image(3, size[0] as usize, size[1] as usize);
    let plan = config.check(shape, Outputs::Classes(3)).expect("a network");
    let mut network = Network::new(&plan, 1);
    for parameter in golden["parameters"].as_array().expect("parameters") {
        let name = parameter["name"].as_str().expect("a name");
        let key = parameter["key"].as_f64().expect("a key");
        let file = WeightsFile::of(&network);
        let (_, dims, old) = file.tensors().find(|(known, ..)| *known == name).expect(name);
        let side = dims.get(3).map_or(1, |_| dims[dims.len() - 1]);
        let inputs = dims.len().checked_sub(3).map_or(dims[0], |place| dims[place]);
        let (scale, shift) = match name.rsplit('.').next().expect("a last part") {
            "g1" | "g2" | "g3" => (0.3, 1.0),
            "be1" | "be2" | "be3" => (0.2, 0.0),
            "bias" => (0.1, 0.0),
            _ => (1.0 / ((side * side * inputs) as f64).sqrt(), 0.0),
        };
        let values = numbers(old.len(), key, scale, shift);
        for (found, expected) in
            [values[0], values[values.len() - 1]].iter().zip(floats(&parameter["values"]))
        {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{name}: {found}, not {expected}");
        }
        network = file.replaced(name, values).load_into(network).expect("it fits");
    }
    let inputs = numbers(18 * shape.elements(), 0.0, 1.0, 0.0);
    let labels = (0..18).map(|sample| sample % 3).collect();
    (network, Batch { inputs, shape, targets: BatchTargets::Labels(labels) })
}

fn close(found: f64, expected: f64, scale: f64, what: &str) {
    assert!((found - expected).abs() <= TOLERANCE * scale, "{what}: {found}, not {expected}");
}

fn agrees(network: &Network, found: &Gradient, golden: &Value) {
    close(found.score.loss, golden["loss"].as_f64().expect("a loss"), 1.0, "loss");
    let gradients = named_gradients(network, &found.record);
    let known = golden["parameters"].as_array().expect("parameters");
    assert_eq!(gradients.len(), known.len(), "every parameter has a gradient");
    for parameter in known {
        let name = parameter["name"].as_str().expect("a name");
        let (_, values) = gradients.iter().find(|(known, _)| known == name).expect(name);
        let norm = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let expected = parameter["norm"].as_f64().expect("a norm");
        // Of shifts before a normalisation the gradient vanishes.
        close(norm, expected, expected.max(1e-2), name);
        let ends = floats(&parameter["gradient"]);
        let few = values.iter().take(5).chain(&values[values.len().saturating_sub(5)..]);
        let few: Vec<f32> = few.copied().collect();
        assert_eq!(few.len(), ends.len());
        for (value, expected_value) in few.iter().zip(ends) {
            close(f64::from(*value), expected_value, expected.max(1e-2), name);
        }
    }
}

/// Mean and unbiased variance of some normalisations, one after the other.
fn met_at(golden: &Value, met: &[[f64; 2]], names: &[String], node: usize) {
    let expected = names.iter().flat_map(|name| {
        let pair = &golden["met"][name][node];
        floats(&pair[0]).into_iter().zip(floats(&pair[1])).collect::<Vec<_>>()
    });
    let expected: Vec<(f64, f64)> = expected.collect();
    assert_eq!(met.len(), expected.len(), "{names:?}");
    for (found, (mean, variance)) in met.iter().zip(expected) {
        close(found[0], mean, 1.0, "a mean");
        close(found[1], variance, 1.0, "a variance");
    }
}

/// Mean and unbiased variance of every normalisation, and their order.
fn met_as_golden(found: &Gradient, golden: &Value, links: &[[usize; 2]]) {
    for (stage, (statistics, links)) in found.statistics.iter().zip(links).enumerate() {
        let check =
            |met: &[[f64; 2]], names: Vec<String>, node: usize| met_at(golden, met, &names, node);
        let transition = statistics.transition.as_ref().expect("a stem or a block");
        let prefix = format!("stages.{stage}.transition.");
        let mut names: Vec<String> = (1..=links[0]).map(|link| format!("{prefix}{link}")).collect();
        let shortcut = format!("{prefix}shortcut.1");
        names.extend(golden["met"].get(&shortcut).map(|_| shortcut));
        check(transition, names, 0);
        for (node, met) in statistics.flow.as_ref().expect("a flow").iter().enumerate() {
            check(met, (1..=links[1]).map(|link| format!("stages.{stage}.{link}")).collect(), node);
        }
    }
}

#[test]
fn networks_of_stems_blocks_and_bottlenecks_have_pytorchs_gradients_and_statistics() {
    for (name, text, links) in
        [("small", SMALL, &[[1, 2], [2, 2]][..]), ("large", LARGE, &[[1, 2], [3, 3], [2, 3]])]
    {
        let golden = golden(name);
        let (network, batch) = built(text, &golden);
        for method in ["backprop", "checkpoint"] {
            let found = network.gradient(&batch, &method.parse().expect("a method"));
            agrees(&network, &found, &golden);
            met_as_golden(&found, &golden, links);
        }
    }
}

#[test]
fn preactivation_networks_have_pytorchs_gradients_and_statistics_head_included() {
    let golden = golden("preactivation");
    let (network, batch) = built(PREACTIVATION, &golden);
    let transitions: [&[&str]; 4] =
        [&["block.norm.1", "block.1", "block.2"], &["norm.1", "1"], &["1", "2"], &["1", "2", "3"]];
    for method in ["backprop", "checkpoint"] {
        let found = network.gradient(&batch, &method.parse().expect("a method"));
        agrees(&network, &found, &golden);
        for (stage, (met, parts)) in found.statistics.iter().zip(transitions).enumerate() {
            let prefix = format!("stages.{stage}.");
            let names: Vec<String> =
                parts.iter().map(|part| format!("{prefix}transition.{part}")).collect();
            met_at(&golden, met.transition.as_ref().expect("a transition"), &names, 0);
            let norms = if stage == 0 { 3 } else { 2 };
            let names: Vec<String> = (1..=norms).map(|norm| format!("{prefix}{norm}")).collect();
            for (node, met) in met.flow.as_ref().expect("a flow").iter().enumerate() {
                met_at(&golden, met, &names, node);
            }
            assert_eq!(met.head.is_some(), stage == 3);
        }
        let head = found.statistics[3].head.as_ref().expect("the head's");
        met_at(&golden, head, &["head.1".to_owned()], 0);
    }
    let rounded = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let found = pool.install(|| network.gradient(&batch, &"backprop".parse().expect("it")));
        (found.score, named_gradients(&network, &found.record), found.statistics)
    };
    assert!(rounded(1) == rounded(2), "the same bits for any number of threads");
}

#[test]
fn preactivation_that_cannot_be_is_refused() {
    for (change, part) in [
        (["preactivation = true, shortcut = \"raw\"", "shortcut = \"raw\""], "take \"project\""),
        (["channels = 16,", "channels = 6,"], "transition.channels"),
        (
            [
                "field = \"bn-conv\"\n    activation = \"relu\"\n    depth = 2",
                "field = \"conv\"\n    depth = 2",
            ],
            "network.head.norm normalises the last state by the whole batch, but a conv field",
        ),
        (["depth = 2\n    [[", "depth = 2\n    rectified = true\n    [["], "begins with it"),
    ] {
        let text = PREACTIVATION.replacen(change[0], change[1], 1);
        assert_ne!(text, PREACTIVATION);
        let config: NetworkConfig = toml::from_str(&text).expect("a configuration");
        let error = config.check(Shape::image(3, 9, 7), Outputs::Classes(3)).expect_err(part);
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// A description with relu after every step of some stages.
fn rectified(text: &str, stages: &[usize]) -> String {
    let mut parts = text.split("[[stage]]");
    let first = parts.next().expect("the head").to_owned();
    parts.enumerate().fold(first, |text, (stage, part)| {
        let relu = if stages.contains(&stage) { "\n    rectified = true" } else { "" };
        format!("{text}[[stage]]{relu}{part}")
    })
}

#[test]
fn stages_with_relu_after_every_step_have_pytorchs_gradients_and_statistics() {
    for (name, text, stages, links) in [
        ("small, the first stage rectified", SMALL, &[0][..], &[[1, 2], [2, 2]][..]),
        ("large, rectified", LARGE, &[0, 1, 2], &[[1, 2], [3, 3], [2, 3]]),
    ] {
        let golden = golden(name);
        let (network, batch) = built(&rectified(text, stages), &golden);
        for method in ["backprop", "checkpoint"] {
            let found = network.gradient(&batch, &method.parse().expect("a method"));
            agrees(&network, &found, &golden);
            met_as_golden(&found, &golden, links);
        }
    }
}

#[test]
fn relu_after_every_step_is_refused_where_it_cannot_be() {
    let check = |change: [&str; 2]| {
        let text = rectified(SMALL, &[1]).replace(change[0], change[1]);
        let config: NetworkConfig = toml::from_str(&text).expect("a configuration");
        let error = config.check(Shape::image(3, 8, 8), Outputs::Classes(3));
        error.expect_err("no such network").to_string()
    };
    for (change, part) in [
        (["conv-bn-pre", "conv-bn"], "begins with it"),
        (
            ["activation = \"relu\"\n    hidden", "activation = \"gelu\"\n    hidden"],
            "begins with it",
        ),
        (["depth = 3", "depth = 3\n    scheme = \"heun\""], "scheme = \"euler\""),
        (["depth = 3", "depth = 3\n    scheme = \"leapfrog\""], "scheme = \"euler\""),
    ] {
        let error = check(change);
        assert!(error.contains("network.stage.1") && error.contains(part), "{error}");
    }
}

#[test]
fn frozen_statistics_are_those_of_evaluation_and_do_not_move() {
    for (name, text) in [("large", LARGE), ("preactivation", PREACTIVATION)] {
        frozen_statistics_are_those_of_evaluation(name, text);
    }
}

fn frozen_statistics_are_those_of_evaluation(name: &str, text: &str) {
    let (mut network, batch) = built(text, &golden(name));
    let exact = "backprop".parse().expect("a method");
    for _ in 0..3 {
        let met = network.gradient(&batch, &exact).statistics;
        network.remember(&met);
    }
    let evaluated = network.score(&batch).expect("finite").loss;
    let by_batch = network.gradient(&batch, &exact).score.loss;
    let network = network.with_frozen_statistics(true);
    let frozen = network.gradient(&batch, &exact);
    assert!(frozen.statistics.iter().all(|met| *met == Default::default()), "nothing is met");
    assert!((frozen.score.loss - evaluated).abs() < 1e-6, "{} {evaluated}", frozen.score.loss);
    assert!((by_batch - evaluated).abs() > 1e-4, "statistics differ: {by_batch}");
    // The gradient is that of this loss, as far as relu and single precision let a difference tell.
    let step = 1e-3;
    let file = WeightsFile::of(&network);
    let loss = |sign: f64| {
        let mut moved = WeightsFile::of(&network);
        for (name, slope) in named_gradients(&network, &frozen.record) {
            let (.., values) = file.tensors().find(|(known, ..)| *known == name).expect("weights");
            let by = (sign * step / frozen.norm) as f32;
            let values = values.iter().zip(&slope).map(|(v, g)| v + by * g).collect();
            moved = moved.replaced(&name, values);
        }
        moved.load_into(network.clone()).expect("it fits").score(&batch).expect("finite").loss
    };
    let difference = (loss(1.0) - loss(-1.0)) / (2.0 * step);
    assert!((difference - frozen.norm).abs() < 0.05 * frozen.norm, "{difference} {}", frozen.norm);
}

#[test]
fn statistics_of_a_step_are_those_of_backprop_whatever_the_gradient_method() {
    for (name, text) in [("small", SMALL), ("large", LARGE), ("preactivation", PREACTIVATION)] {
        let (network, batch) = built(text, &golden(name));
        let met = |method: &str| {
            let found = network.gradient(&batch, &method.parse().expect("a method")).statistics;
            found.into_iter().flat_map(|stage| {
                let flow = stage.flow.expect("a flow").concat();
                let ends = [stage.transition, stage.head].into_iter().flatten().flatten();
                ends.chain(flow).collect::<Vec<_>>()
            })
        };
        let exact: Vec<[f64; 2]> = met("backprop").collect();
        for method in ["checkpoint", "adjoint-published", "adjoint-predicted", "adjoint-adaptive"] {
            let found: Vec<[f64; 2]> = met(method).collect();
            assert_eq!(found.len(), exact.len());
            let apart = found.iter().flatten().zip(exact.iter().flatten());
            let most = apart.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(most <= 1e-6, "{name}, {method}: {most}");
        }
    }
}
