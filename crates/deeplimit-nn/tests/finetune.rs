//! Training that begins with trained weights, and weights that learn at their own rates.

use deeplimit_nn::network::{Network, WeightsFile};
use deeplimit_nn::train::{Config, Initial, Initialised, Optimiser, Schedule, TrainError, Trainer};
use std::collections::BTreeMap;

/// Digits, a small flow and plain steps.
const SMALL: &str = r#"
    seed = 5
    data = { limit_train = 96, limit_test = 50 }
    train.epochs = 3
    train.batch = 32
    train.optimiser = "sgd"
    train.momentum = 0.0
    train.weight_decay = 0.0
    train.rate = 0.05
    train.schedule = "constant"
    gradient.method = "backprop"
    network.stage = [{ depth = 6, hidden = 8, transition = { kind = "linear", width = 12 } CONTROL }]
"#;

const TIED: &str = r#", control = { basis = "constant", coefficients = 1 }"#;

fn config(control: &str, more: &str) -> Config {
    let text = format!("{}\n{more}", SMALL.replace("CONTROL", control));
    toml::from_str(&text).expect("a valid configuration")
}

fn trainer(config: &Config) -> Trainer {
    Trainer::new(config.clone()).expect("a trainer")
}

fn weights(network: &Network) -> BTreeMap<String, Vec<f32>> {
    let file = WeightsFile::of(network);
    file.tensors().map(|(name, _, values)| (name.to_owned(), values.to_vec())).collect()
}

/// A trainer after some steps, and the file of its weights.
fn trained(config: &Config, steps: usize) -> (Trainer, WeightsFile) {
    let mut trainer = trainer(config);
    for _ in 0..steps {
        trainer.step().expect("a step");
    }
    let file = WeightsFile::of(trainer.network());
    (trainer, file)
}

#[test]
fn a_group_of_weights_learns_at_its_own_rate() {
    let moved = |more: &str| {
        let mut trainer = trainer(&config("", more));
        let before = weights(trainer.network());
        trainer.step().expect("a step");
        let after = weights(trainer.network());
        let difference = |(name, before): (String, Vec<f32>)| {
            let moves = before.iter().zip(&after[&name]).map(|(b, a)| f64::from(a - b));
            (name, moves.map(|step| step * step).sum::<f64>().sqrt())
        };
        before.into_iter().map(difference).collect::<BTreeMap<_, _>>()
    };
    let plain = moved("");
    let groups = "train.rates = [{ weights = 'head', factor = 10.0 }, \
                  { weights = 'stages.0', factor = 0.5 }, \
                  { weights = 'stages.0.transition', factor = 2.0 }]";
    for (name, length) in moved(groups) {
        let factor = match &name[..] {
            name if name.starts_with("head") => 10.0,
            name if name.starts_with("stages.0.transition") => 2.0,
            _ => 0.5,
        };
        // Steps are differences of single-precision weights.
        let ratio = length / plain[&name];
        assert!((ratio / factor - 1.0).abs() < 1e-3, "{name}: {ratio}, not {factor}");
    }
}

#[test]
fn weights_at_rate_zero_stay_as_they_are_to_the_bit() {
    for optimiser in [Optimiser::Adamw, Optimiser::Adam, Optimiser::Sgd] {
        let more = "train.rates = [{ weights = 'stages.0', factor = 0.0 }, \
                                   { weights = 'stages.0.transition', factor = 1.0 }]";
        let mut config = config("", more);
        config.train.weight_decay = 0.1;
        config.train.momentum = config.train.momentum.filter(|_| optimiser == Optimiser::Sgd);
        config.train.optimiser = optimiser;
        let mut trainer = trainer(&config);
        let before = weights(trainer.network());
        for _ in 0..3 {
            trainer.step().expect("a step");
        }
        for (name, after) in weights(trainer.network()) {
            let held = name.starts_with("stages.0.") && !name.starts_with("stages.0.transition");
            assert_eq!(held, before[&name] == after, "{optimiser:?}: {name}");
        }
    }
}

#[test]
fn a_rate_above_one_goes_with_a_schedule_that_takes_it() {
    let built = |schedule| {
        let mut config = config("", "train.rates = [{ weights = 'head', factor = 1000.0 }]");
        config.train.schedule = schedule;
        Trainer::new(config)
    };
    assert!(built(Schedule::Constant).is_ok() && built(Schedule::Step).is_ok());
    let error = built(Schedule::Cosine).err().expect("above 1").to_string();
    assert!(error.contains("train.rates") && error.contains("cosine"), "{error}");
}

#[test]
fn groups_that_mean_nothing_are_refused_by_name() {
    for (more, part) in [
        ("train.rates = [{ weights = 'haed', factor = 2.0 }]", "haed"),
        ("train.rates = [{ weights = 'head', factor = -1.0 }]", "train.rates"),
        (
            "train.rates = [{ weights = 'stages', factor = 2.0 }]\nobjective.depth = { h1 = 1e-3 }",
            "objective.depth",
        ),
        ("train.statistics = 'frozen'", "does not normalise"),
    ] {
        let error = Trainer::new(config("", more)).err().expect(more).to_string();
        assert!(error.contains(part), "{more}: {error}");
    }
    assert!(Trainer::new(config("", "objective.depth = { h1 = 1e-3 }")).is_ok());
}

#[test]
fn tied_layers_begin_untied_as_they_were_and_then_go_their_own_ways() {
    let (tied, file) = trained(&config(TIED, ""), 4);
    let mut untied = trainer(&config("", ""));
    let taken = untied.initialise(&file, tied.config(), Initial::default()).expect("its weights");
    assert_eq!(taken, Initialised { depths: [vec![6], vec![6]], left_head: None });
    let scores = [&tied, &untied].map(|trainer| trainer.test().expect("a test").expect("samples"));
    assert_eq!(scores[0], scores[1], "the same network");
    let spread = |trainer: &Trainer| {
        let (_, control) = trainer.network().controls().remove(0);
        control.largest_increment()
    };
    assert_eq!(spread(&untied), 0.0, "one layer at every node");
    for _ in 0..3 {
        untied.step().expect("a step");
    }
    assert!(spread(&untied) > 1e-6, "{}", spread(&untied));
    // Weights of a head that reads other numbers; a new one may be as it likes.
    let mut other = config("", "");
    other.network.head.activation = Some(deeplimit::kernel::Activation::Tanh);
    let taken = trainer(&other).initialise(&file, tied.config(), Initial::default());
    assert!(taken.expect_err("another head").to_string().starts_with("network.head: "));
    let new = Initial { new_head: true, ..Initial::default() };
    assert!(trainer(&other).initialise(&file, tied.config(), new).is_ok());
    // The other way there is no such weight.
    let (free, file) = trained(&config("", ""), 1);
    let error =
        trainer(&config(TIED, "")).initialise(&file, free.config(), Initial::default()).err();
    assert!(matches!(error, Some(TrainError::Network(_))), "{error:?}");
}

#[test]
fn a_run_that_began_with_weights_resumes_to_the_bit_and_is_carried_to_its_depth() {
    let (first, file) = trained(&config("", ""), 3);
    let mut deeper = config("", "");
    deeper.network.stage[0].depth = 24;
    let mut run = trainer(&deeper);
    let taken = run.initialise(&file, first.config(), Initial::default()).expect("its weights");
    assert_eq!(taken.depths, [vec![6], vec![24]]);
    let [before, after] =
        [&first, &run].map(|trainer| trainer.test().expect("a test").expect("samples").loss);
    let fresh = trainer(&deeper).test().expect("a test").expect("samples").loss;
    assert!(
        (after - before).abs() < 0.2 * (fresh - before).abs(),
        "{before} {after}, anew {fresh}"
    );
    let folder = tempfile::tempdir().expect("a folder");
    run.step().expect("a step");
    run.save(folder.path()).expect("saved");
    run.step().expect("a step");
    let mut resumed = trainer(&deeper);
    resumed.resume(folder.path()).expect("resumed");
    resumed.step().expect("a step");
    assert!(weights(run.network()) == weights(resumed.network()));
}

#[test]
fn a_new_head_is_drawn_as_in_a_new_network_and_the_rest_is_taken() {
    let (first, file) = trained(&config("", ""), 3);
    let fresh = weights(trainer(&config("", "")).network());
    let mut run = trainer(&config("", ""));
    let how = Initial { new_head: true, ..Initial::default() };
    let taken = run.initialise(&file, first.config(), how).expect("its weights");
    assert_eq!(taken, Initialised { depths: [vec![6], vec![6]], left_head: Some(10) });
    let trained = weights(first.network());
    for (name, values) in weights(run.network()) {
        let from = if name.starts_with("head") { &fresh } else { &trained };
        assert!(values == from[&name], "{name}");
    }
    assert!(trained["head.linear.weight"] != fresh["head.linear.weight"]);
}

#[test]
fn a_run_unties_at_its_epoch_and_resumes_to_the_bit_before_and_after() {
    for optimiser in ["sgd", "adamw"] {
        let mut settings = config(TIED, "train.untie = 1");
        settings.train.optimiser = toml::Value::from(optimiser).try_into().expect("an optimiser");
        settings.train.momentum = (optimiser == "sgd").then_some(0.9);
        settings.train.rate = 1e-2;
        let mut run = trainer(&settings);
        let spread = |run: &Trainer| run.network().controls().remove(0).1.largest_increment();
        let epoch = run.steps_per_epoch();
        for step in 0..epoch + 2 {
            assert!((spread(&run) > 0.0) == (step > epoch), "{optimiser}, step {step}");
            let folder = tempfile::tempdir().expect("a folder");
            run.save(folder.path()).expect("saved");
            let score = run.validate().expect("scored").expect("samples");
            run.is_best(&score);
            run.step().expect("a step");
            // The best so far is forgotten: its weights lie in the basis.
            assert_eq!(run.position().best_validation.is_none(), step == epoch, "{step}");
            let mut resumed = trainer(&settings);
            resumed.resume(folder.path()).expect("resumed");
            resumed.step().expect("a step");
            assert!(weights(run.network()) == weights(resumed.network()), "{optimiser}, {step}");
        }
        assert!(run.position().untied);
    }
    for (control, more, part) in [
        ("", "train.untie = 1", "train.untie"),
        (TIED, "train.untie = 0", "train.untie"),
        (TIED, "train.untie = 3", "train.untie"),
        (TIED, "train.untie = 1\nobjective.depth = { h1 = 1e-3, step = 'explicit' }", "explicit"),
    ] {
        let error = Trainer::new(config(control, more)).err().expect(more).to_string();
        assert!(error.contains(part), "{more}: {error}");
    }
}
