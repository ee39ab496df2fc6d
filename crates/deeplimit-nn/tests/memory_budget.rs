//! A network keeps to its budget of memory, and what a plan trains is what its methods train by hand.

#[path = "../../deeplimit/tests/common/counting.rs"]
mod counting;

use deeplimit_nn::data::{Batch, Options, batch, epoch_order, load};
use deeplimit_nn::deeplimit::Method;
use deeplimit_nn::deeplimit::control::Control;
use deeplimit_nn::deeplimit::gradient::{Adjoint, Budget, Checkpoint, Choice, Wish};
use deeplimit_nn::network::{Memory, Network, Outputs, StagePlan, WeightsFile};
use deeplimit_nn::train::{Config, Trainer};
use std::sync::Mutex;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Tests of this file wait for one another: they share the allocator.
static ALONE: Mutex<()> = Mutex::new(());

fn config(text: &str) -> Config {
    toml::from_str(text).expect("a valid configuration")
}

const DENSE: &str = r#"
    [[network.stage]]
    transition = { kind = "linear", width = 24 }
    hidden = 10
    depth = 150
"#;

const CONVOLUTIONAL: &str = r#"
    [[network.stage]]
    transition = { kind = "conv", channels = 3, kernel = 3, padding = 1 }
    field = "conv"
    activation = "relu"
    depth = 9
    scheme = "heun"
    [[network.stage]]
    transition = { kind = "conv", channels = 4, kernel = 2, stride = 2 }
    field = "conv"
    depth = 20
    [network.head]
    pool = true
"#;

const NORMALISED: &str = r#"
    [[network.stage]]
    transition = { kind = "conv", channels = 3, kernel = 3, padding = 1 }
    field = "conv-bn"
    depth = 6
    [[network.stage]]
    transition = { kind = "conv", channels = 4, kernel = 2, stride = 2 }
    field = "mlp"
    hidden = 7
    scheme = "leapfrog"
    depth = 7
    [[network.stage]]
    transition = { kind = "none" }
    field = "conv-bn"
    hidden = 5
    depth = 3
"#;

/// Transitions of normalised convolutions, walked again on the way back.
const RESIDUAL: &str = r#"
    network.head = { pool = true, activation = "relu" }
    [[network.stage]]
    transition = { kind = "stem", channels = 4, padding = 1, pool = true }
    field = "conv-bn-pre"
    activation = "relu"
    depth = 5
    [[network.stage]]
    transition = { kind = "block", channels = 8, hidden = 3, stride = 1, bottleneck = true, shortcut = "project" }
    field = "conv-bn-bottleneck"
    activation = "relu"
    hidden = 3
    depth = 4
    [[network.stage]]
    transition = { kind = "block", channels = 8 }
    field = "conv-bn-pre"
    activation = "relu"
    depth = 3
"#;

/// The same in the order of pre-activation, with a normalisation before the head.
const PREACTIVATION: &str = r#"
    network.head = { pool = true, activation = "relu", norm = true }
    [[network.stage]]
    transition = { kind = "stem", channels = 4, padding = 1, preactivation = true, widen = 6, hidden = 3 }
    field = "bn-conv-bottleneck"
    activation = "relu"
    hidden = 3
    depth = 5
    [[network.stage]]
    transition = { kind = "block", channels = 8, preactivation = true, shortcut = "raw", stride = 1 }
    field = "bn-conv"
    activation = "relu"
    depth = 3
"#;

/// Few coefficients, and weights at 150 nodes made of them.
const SPLINES: &str = r#"
    [[network.stage]]
    transition = { kind = "linear", width = 24 }
    hidden = 10
    depth = 150
    control = { basis = "spline", coefficients = 8 }
"#;

fn network(text: &str, samples: usize) -> (Network, Batch) {
    let digits = load(&Options::default()).expect("the digits");
    let plan = config(text).network.check(digits.train.shape(), Outputs::of(&digits.train));
    let order = epoch_order(digits.train.len(), 1, 0);
    let batch = batch(&digits.train, &order[..samples], &digits.normalisation, None);
    (Network::new(&plan.expect("a plan"), 3), batch.expect("a batch"))
}

/// Most bytes of a gradient after another one, in its memory.
fn measure(network: &Network, batch: &Batch, choices: &[Choice], threads: usize) -> usize {
    let gradients = || {
        let memory = Memory::default();
        for _ in 0..2 {
            network.gradient_planned(batch, choices, &memory);
        }
    };
    counting::peak_on(threads, gradients).1
}

/// Weights are copied for the kernels, and their gradients for the optimiser: a plan does not count them.
const COPIES: usize = 8;

/// Bytes of those copies. Weights that a basis makes at the nodes are copies, too.
fn copies(network: &Network) -> usize {
    let made =
        |(plan, control): (&StagePlan, Control<f32>)| plan.control.map_or(0, |_| control.len());
    let made: usize = network.controls().into_iter().map(made).sum();
    COPIES * size_of::<f32>() * (network.parameters() + made)
}

#[test]
fn networks_keep_to_their_budget() {
    let _alone = ALONE.lock();
    let Ok(Method::Adjoint(adjoint)) = "adjoint-adaptive".parse() else { panic!("an adjoint") };
    let rectified = RESIDUAL.replace("depth =", "rectified = true\n    depth =");
    let adjoint = Wish::Any(adjoint.within(1e-2));
    let checkpoint = Wish::Family(Method::Checkpoint(Checkpoint::default()));
    for (text, samples, frozen, wish) in [
        (DENSE, 300, false, adjoint),
        (CONVOLUTIONAL, 90, false, adjoint),
        (NORMALISED, 70, false, adjoint),
        (SPLINES, 300, false, adjoint),
        (RESIDUAL, 70, false, adjoint),
        (RESIDUAL, 70, true, adjoint),
        (PREACTIVATION, 70, false, adjoint),
        (PREACTIVATION, 70, true, adjoint),
        (&rectified, 70, false, checkpoint),
    ] {
        let (network, batch) = network(text, samples);
        let network = network.with_frozen_statistics(frozen);
        let weights = copies(&network);
        for threads in [1, 2] {
            let planner = network.planner(samples, threads);
            let least = planner.plan(wish, Budget(1)).expect_err("nothing fits a byte").least;
            planner.plan(wish, Budget(least.0 - 1)).expect_err("a byte less is not enough");
            for factor in [1.0, 1.2, 1.6, 2.4, 5.0, 20.0] {
                let budget = (least.0 as f64 * factor) as usize;
                let plan = planner.plan(wish, Budget(budget)).expect("more than the least");
                let most = measure(&network, &batch, &plan.choices, threads);
                let ratio = most.saturating_sub(weights) as f64 / plan.bytes as f64;
                println!("{threads} threads, {plan}: {most}, without weights {ratio:.2} of it");
                assert!(most <= plan.bytes + weights, "{threads} threads, {plan}: {most}");
            }
        }
    }
}

/// The same settings without a budget, named one by one.
fn by_hand(choice: Choice) -> String {
    let method = match choice.method {
        Method::Checkpoint(Checkpoint { slots: Some(slots), .. }) => {
            format!("method = 'checkpoint'\nslots = {slots}")
        }
        Method::Adjoint(Adjoint { anchors: Some(anchors), .. }) => {
            format!("method = 'adjoint-adaptive'\nanchors = {anchors}")
        }
        other => format!("method = '{}'", other.name()),
    };
    let tile = choice.tile.map_or(String::new(), |tile| format!("tile = {tile}"));
    format!("[gradient]\n{method}\n{DENSE}\n{tile}")
}

#[test]
fn a_plan_for_relu_after_every_step_takes_checkpoints() {
    let _alone = ALONE.lock();
    let rectified = RESIDUAL.replace("depth =", "rectified = true\n    depth =");
    let run = |gradient: &str| {
        let text = format!("data.limit_train = 400\n[gradient]\n{gradient}\n");
        let text = format!("{text}{}", rectified.replace("network.head =", "[network]\nhead ="));
        Trainer::new(config(&text)).map(|trainer| trainer.plan().cloned())
    };
    let plan = run("memory_budget = '1 GiB'").expect("a trainer").expect("a plan");
    assert!(plan.choices.iter().all(|choice| matches!(choice.method, Method::Checkpoint(_))));
    for method in ["adjoint-adaptive", "reversible", "P1C2"] {
        let error = run(&format!("method = '{method}'")).expect_err(method).to_string();
        assert!(error.contains(method) && error.contains("rectified = true"), "{error}");
    }
}

#[test]
fn a_run_under_a_budget_trains_the_bits_of_its_methods_chosen_by_hand() {
    let _alone = ALONE.lock();
    let trained = |text: &str| {
        let mut trainer = Trainer::new(config(&format!("data.limit_train = 400\n{text}")))
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
        for _ in 0..2 {
            trainer.step().expect("a step");
        }
        let weights = WeightsFile::of(trainer.network());
        let weights: Vec<Vec<f32>> =
            weights.tensors().map(|(_, _, values)| values.to_vec()).collect();
        (weights, trainer.plan().cloned())
    };
    let network = network(DENSE, 1).0;
    let threads = rayon::current_num_threads();
    let planner = network.planner(config(DENSE).train.batch(), threads);
    let Ok(Method::Adjoint(adjoint)) = "adjoint-adaptive".parse() else { panic!("an adjoint") };
    let least = planner.plan(Wish::Any(adjoint), Budget(1)).expect_err("a byte").least.0;
    let backprop = planner.bytes(&"backprop".parse().expect("a method"));
    let mut names = Vec::new();
    for budget in [least, least + (backprop - least) / 8, backprop] {
        let (weights, plan) = trained(&format!("[gradient]\nmemory_budget = {budget}\n{DENSE}"));
        let choice = plan.expect("a plan").choices[0];
        names.push(choice.method.name());
        let (same, none) = trained(&by_hand(choice));
        assert!(weights == same, "{budget}: {choice}");
        assert_eq!(none, None);
    }
    names.dedup();
    assert!(names.len() > 1, "budgets that choose different methods: {names:?}");
}
