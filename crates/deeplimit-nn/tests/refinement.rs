//! Networks carried to other depths: weights, running statistics, what an optimiser remembers.

use burn_pack::Reader;
use deeplimit_nn::deeplimit::control::{ProlongBy, Prolongation};
use deeplimit_nn::deeplimit::limit::Slope;
use deeplimit_nn::network::WeightsFile;
use deeplimit_nn::train::{Config, StepReport, Trainer, read_weights};
use std::collections::BTreeMap;
use std::path::Path;

fn config(text: &str) -> Config {
    toml::from_str(text).expect("a valid configuration")
}

/// Two epochs of three steps at each of the depths 3, 6 and 4.
const SCHEDULED: &str = r#"
    seed = 5
    data = { limit_train = 100 }
    train = { epochs = 6, batch = 32, checkpoint_every = 2, refine = [[0, 3], [2, 6], [4, 4]] }
    network.stage = [{ depth = 4, transition = { kind = "linear", width = 12 } }]
"#;

const NORMALISED: &str = "depth = 4, scheme = 'heun', field = 'conv-bn', \
                          transition = { kind = 'conv', channels = 3, stride = 2 }";

fn normalised(text: &str) -> String {
    text.replace("depth = 4, transition = { kind = \"linear\", width = 12 }", NORMALISED)
}

fn bits(step: &StepReport) -> (usize, u64, u64, u64, Vec<usize>) {
    let [loss, norm, rate] = [step.score.loss, step.gradient_norm, step.rate].map(f64::to_bits);
    (step.step, loss, norm, rate, step.depths.clone())
}

fn steps(trainer: &mut Trainer, count: usize) -> Vec<(usize, u64, u64, u64, Vec<usize>)> {
    (0..count).map(|_| bits(&trainer.step().expect("a step"))).collect()
}

/// Name, shape and numbers of the weights.
fn weights(trainer: &Trainer) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let file = WeightsFile::of(trainer.network());
    let tensors = file.tensors();
    tensors
        .map(|(name, shape, values)| (name.to_owned(), shape.to_vec(), values.to_vec()))
        .collect()
}

#[test]
fn a_run_follows_its_schedule_of_depths_and_its_learning_rates_go_on() {
    let mut scheduled = Trainer::new(config(SCHEDULED)).expect("a trainer");
    let plain = SCHEDULED.replace(", refine = [[0, 3], [2, 6], [4, 4]]", "");
    let mut plain = Trainer::new(config(&plain)).expect("a trainer");
    for step in 0..18 {
        let (a, b) = (scheduled.step().expect("a step"), plain.step().expect("a step"));
        assert_eq!(a.depths, [[3], [6], [4]][step / 6], "step {step}");
        assert_eq!((a.rate, a.epoch), (b.rate, b.epoch));
        assert_eq!(scheduled.position().depths, a.depths);
        assert_eq!(scheduled.network().depths(), a.depths);
    }
    assert!(scheduled.finished());
}

#[test]
fn a_scheduled_run_resumes_to_the_bit_before_at_and_after_a_refinement() {
    for (text, optimiser) in [
        (SCHEDULED.to_owned(), "adamw"),
        (SCHEDULED.replace("refine =", "refine_by = 'cubic', refine ="), "adam"),
        (normalised(SCHEDULED), "sgd"),
    ] {
        let mut config = config(&text);
        config.train.optimiser = toml::Value::from(optimiser).try_into().expect("an optimiser");
        let folder = tempfile::tempdir().expect("a folder");
        let mut whole = Trainer::new(config.clone()).expect("a trainer");
        let mut lines = steps(&mut whole, 5);
        for at in [5, 6, 7, 12] {
            lines.extend(steps(&mut whole, at - lines.len()));
            whole.save(folder.path()).expect("a checkpoint");
            let mut resumed = Trainer::new(config.clone()).expect("a trainer");
            resumed.resume(folder.path()).expect("resumed");
            assert_eq!(resumed.position(), whole.position());
            let mut copy = Trainer::new(config.clone()).expect("a trainer");
            assert_eq!(steps(&mut copy, at), lines, "the run itself repeats");
            let rest = 18 - at;
            assert_eq!(steps(&mut resumed, rest), steps(&mut copy, rest), "{optimiser} at {at}");
            assert!(weights(&resumed) == weights(&copy), "{optimiser} at {at}");
        }
    }
}

#[test]
fn weights_of_any_depth_of_a_schedule_are_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut trainer = Trainer::new(config(SCHEDULED)).expect("a trainer");
    steps(&mut trainer, 7);
    trainer.save_best(folder.path()).expect("weights");
    let expected = (weights(&trainer), trainer.test().expect("a score"));
    steps(&mut trainer, 11);
    let path = folder.path().join("best.safetensors");
    let (file, read, position) = read_weights(&path).expect("weights");
    assert_eq!(position.depths, [6]);
    trainer.load_weights(&path, &file, &position).expect("they fit");
    assert!((weights(&trainer), trainer.test().expect("a score")) == expected);
    // As a network of its own.
    let mut other = Trainer::new(read.at_depths(&position.depths)).expect("a trainer");
    other.load_weights(&path, &file, &position).expect("they fit");
    assert!((weights(&other), other.test().expect("a score")) == expected);
}

#[test]
fn a_best_validation_of_another_depth_is_forgotten() {
    let mut trainer = Trainer::new(config(SCHEDULED)).expect("a trainer");
    steps(&mut trainer, 6);
    let score = trainer.validate().expect("a score").expect("validation samples");
    assert!(trainer.is_best(&score) && !trainer.is_best(&score));
    steps(&mut trainer, 1);
    assert_eq!(trainer.position().best_validation, None);
}

/// The optimiser's tensors and scalars in a run's folder.
fn optimiser(folder: &Path) -> (BTreeMap<String, Vec<f32>>, String) {
    let file = std::fs::read_dir(folder).expect("the folder").map(|e| e.expect("an entry").path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|e| e == "bpk"));
    let reader = Reader::from_file(file.expect("an optimiser's state")).expect("a state");
    let scalars = format!("{:?}", reader.scalars());
    let tensors = reader.into_tensors().expect("tensors").into_iter().map(|tensor| {
        let (name, _, _, _, bytes) = tensor.into_parts().expect("a tensor");
        let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        (name, bytes.chunks_exact(4).map(number).collect())
    });
    (tensors.collect(), scalars)
}

#[test]
fn an_optimisers_memory_of_controls_is_carried_and_all_else_keeps_its_bits() {
    for name in ["adamw", "sgd"] {
        let plain = SCHEDULED.replace(", refine = [[0, 3], [2, 6], [4, 4]]", "");
        let mut config = config(&plain);
        config.train.optimiser = toml::Value::from(name).try_into().expect("an optimiser");
        let (before, after) =
            (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
        let mut trainer = Trainer::new(config).expect("a trainer");
        steps(&mut trainer, 4);
        trainer.save(before.path()).expect("a checkpoint");
        let old_weights = weights(&trainer);
        let refined = trainer.refined(&[8], ProlongBy::Linear, 6).expect("refined");
        assert_eq!(refined.position().step, 4);
        refined.save(after.path()).expect("a checkpoint");
        let ((old, old_scalars), (new, scalars)) =
            (optimiser(before.path()), optimiser(after.path()));
        assert_eq!(scalars, old_scalars, "{name}: steps are counted on");
        assert_eq!(new.len(), old.len());
        let way = Prolongation::new(ProlongBy::Linear, [4, 8], 4);
        for (tensor, new) in &new {
            // Parameters 3 to 6 are those of the control: w1, b1, w2, b2 behind weight and bias.
            let id: u64 = tensor.split('.').next().expect("an id").parse().expect("a number");
            let power = if tensor.ends_with("moment_2") { 2 } else { 1 };
            let expected = match id {
                3..=6 => way.gradients(&old[tensor], power),
                _ => old[tensor].clone(),
            };
            assert_eq!(*new, expected, "{name}, {tensor}");
            if (3..=6).contains(&id) {
                assert_eq!(new[0], old[tensor][0] / 2f32.powi(power as i32), "twice the nodes");
            }
        }
        for ((name, shape, old), (_, new_shape, new)) in old_weights.iter().zip(weights(&refined)) {
            match shape[0] == 4 && name.starts_with("stages.0.") && !name.contains("transition") {
                true => assert_eq!((new_shape[0], &new[..]), (8, &way.values(old)[..]), "{name}"),
                false => assert_eq!(new, *old, "{name}"),
            }
        }
    }
}

#[test]
fn running_statistics_go_with_their_flow_and_variances_stay_positive() {
    let text = normalised(&SCHEDULED.replace(", refine = [[0, 3], [2, 6], [4, 4]]", ""));
    let mut trainer = Trainer::new(config(&text)).expect("a trainer");
    steps(&mut trainer, 6);
    let running = |trainer: &Trainer| -> Vec<(String, Vec<usize>, Vec<f32>)> {
        weights(trainer).into_iter().filter(|(name, ..)| name.contains("running")).collect()
    };
    let old = running(&trainer);
    let before = trainer.test().expect("a score").expect("test samples");
    let refined = trainer.refined(&[8], ProlongBy::Cubic, 6).expect("refined");
    let new = running(&refined);
    for ((name, old_shape, old), (_, shape, new)) in old.iter().zip(&new) {
        let width = shape[1];
        assert_eq!((old_shape[0], shape[0]), (5, 9));
        for node in 0..5 {
            let [was, is] = [&old[node * width..][..width], &new[2 * node * width..][..width]];
            assert_eq!(was, is, "{name} at node {node}");
        }
        assert!(name.contains("mean") || new.iter().all(|v| *v > 0.0));
    }
    let after = refined.test().expect("a score").expect("test samples");
    assert!((after.loss - before.loss).abs() < 0.1 * before.loss, "{} {}", after.loss, before.loss);
}

#[test]
fn a_refined_networks_loss_moves_by_one_over_its_depth() {
    let moved = |depth: usize| {
        let text = SCHEDULED.replace(", refine = [[0, 3], [2, 6], [4, 4]]", "");
        let text = text.replace("depth = 4", &format!("depth = {depth}"));
        let trainer = Trainer::new(config(&text)).expect("a trainer");
        let loss = |trainer: &Trainer| trainer.test().expect("a score").expect("samples").loss;
        let before = loss(&trainer);
        (before - loss(&trainer.refined(&[4 * depth], ProlongBy::Linear, 6).expect("refined")))
            .abs()
    };
    let points = [8, 16, 32, 64].map(|depth| (depth as f64, moved(depth)));
    let slope = Slope::fit(&points).value;
    assert!((slope + 1.0).abs() < 0.15, "{slope}: {points:?}");
}

#[test]
fn one_flow_of_several_is_refined_by_itself() {
    let text = SCHEDULED.replace(", refine = [[0, 3], [2, 6], [4, 4]]", "");
    let second = "width = 12 } }, { depth = 3, transition = { kind = 'none' } }]";
    let text = text.replace("width = 12 } }]", second);
    let mut trainer = Trainer::new(config(&text)).expect("a trainer");
    steps(&mut trainer, 2);
    let old = weights(&trainer);
    let mut refined = trainer.refined(&[4, 9], ProlongBy::Linear, 6).expect("refined");
    for ((name, shape, old), (_, new_shape, new)) in old.iter().zip(weights(&refined)) {
        match name.starts_with("stages.1.") {
            true => assert_eq!((shape[0], new_shape[0]), (3, 9), "{name}"),
            false => assert_eq!((shape, old), (&new_shape, &new), "{name}"),
        }
    }
    steps(&mut refined, 2);
}

#[test]
fn a_layer_is_untied_by_refining_from_depth_one() {
    let text = SCHEDULED.replace(", refine = [[0, 3], [2, 6], [4, 4]]", "");
    let tied = Trainer::new(config(&text.replace("depth = 4", "depth = 1"))).expect("a trainer");
    let mut untied = tied.refined(&[5], ProlongBy::Cubic, 6).expect("refined");
    let control = |trainer: &Trainer| trainer.network().controls().remove(0).1;
    assert_eq!(control(&untied).largest_increment(), 0.0);
    steps(&mut untied, 2);
    assert!(control(&untied).largest_increment() > 0.0);
}

#[test]
fn impossible_schedules_are_named() {
    let refused = |change: [&str; 2], parts: &[&str]| {
        let text = SCHEDULED.replace(change[0], change[1]);
        let error = Trainer::new(config(&text)).err().expect(change[1]).to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    refused(["[0, 3]", "[1, 3]"], &["train.refine", "0 as the epoch of the first pair"]);
    refused(["[2, 6]", "[4, 6]"], &["train.refine", "ascending"]);
    refused(["[2, 6]", "[2, 0]"], &["train.refine", "at least 1"]);
    refused(["[4, 4]", "[6, 4]"], &["train.refine", "epochs below 6"]);
    refused(["[4, 4]", "[4, 5]"], &["network.stage.0.depth = 4", "ends at depth 5"]);
    refused(["refine = [[0, 3], [2, 6], [4, 4]]", "refine_by = 'cubic'"], &["train.refine_by"]);
    // The depth of the shallowest time counts.
    let slots = "gradient = { method = 'checkpoint', slots = 4 }\nseed";
    refused(["seed", slots], &["gradient.slots = 4", "depth of the shallowest flow"]);
    // A budget that a later depth cannot keep to is known at the start.
    let budget = "gradient = { method = 'backprop', memory_budget = '1 MiB' }\nseed";
    let fitting = SCHEDULED.replace("seed", budget);
    assert!(Trainer::new(config(&fitting)).is_ok());
    let deep = fitting.replace("[4, 4]", "[4, 4000]").replace("depth = 4", "depth = 4000");
    let error = Trainer::new(config(&deep)).err().expect("too deep").to_string();
    assert!(error.contains("gradient.memory_budget"), "{error}");
    let trainer = Trainer::new(config(SCHEDULED)).expect("a trainer");
    let error = trainer.refined(&[4], ProlongBy::Linear, 0).err().expect("no epochs").to_string();
    assert!(error.contains("train.epochs"), "{error}");
    let mut trainer = Trainer::new(config(SCHEDULED)).expect("a trainer");
    steps(&mut trainer, 4);
    let error = trainer.refined(&[4], ProlongBy::Linear, 1).err().expect("too few").to_string();
    assert!(error.contains("train.epochs = 1"), "{error}");
}

#[test]
fn coefficients_of_a_basis_keep_their_bits_when_the_depth_changes() {
    let text = SCHEDULED.replace(
        "depth = 4, transition",
        "depth = 4, control = { basis = \"linear\", coefficients = 3 }, transition",
    );
    let mut trainer = Trainer::new(config(&text)).expect("a trainer");
    steps(&mut trainer, 6);
    let before = weights(&trainer);
    let refined = trainer.network().prolonged(&[6], ProlongBy::Linear);
    let file = WeightsFile::of(&refined);
    for ((_, shape, values), (name, new_shape, new_values)) in before.iter().zip(file.tensors()) {
        assert_eq!((&shape[..], &values[..]), (new_shape, new_values), "{name}");
    }
    assert_eq!(refined.depths(), [6]);
    steps(&mut trainer, 12);
    assert!(trainer.finished());
    // Fewer nodes than coefficients: known before the run begins.
    let text = text.replace("[4, 4]", "[4, 2]").replace("depth = 4", "depth = 2");
    let error = Trainer::new(config(&text)).err().expect("no run").to_string();
    assert!(error.contains("do not tell 3 linear coefficients apart"), "{error}");
}
