//! `auto`, the gradient method where none is named: certified adjoints where they hold, checkpoints where
//! they do not; and what is said of a method that was named and does not hold.

use deeplimit_nn::deeplimit::Method;
use deeplimit_nn::train::{AUTO, Config, StepReport, Trainer};

/// Two flows: a smooth deep one, and one whose steps are far from small; by a method, or by none that is
/// named.
fn config(method: &str, more: &str) -> Config {
    let method = if method.is_empty() { "" } else { &format!("gradient.method = '{method}'\n") };
    let text = format!(
        "seed = 5\ndata = {{ limit_train = 96, limit_test = 32 }}\ntrain.epochs = 2\ntrain.batch = 32\n\
         train.rate = 1e-3\n{method}network.stage = [\n\
         {{ depth = 64, transition = {{ kind = 'linear', width = 12 }} }},\n\
         {{ depth = 3, gain = 20.0, transition = {{ kind = 'linear', width = 10 }} {more} }}]"
    );
    toml::from_str(&text).expect("a valid configuration")
}

fn steps(trainer: &mut Trainer, count: usize) -> Vec<StepReport> {
    (0..count).map(|_| trainer.step().expect("a step")).collect()
}

#[test]
fn a_flow_that_is_walked_again_goes_back_by_checkpoints_and_the_others_by_adjoints() {
    let mut auto = Trainer::new(config("", "")).expect("a trainer");
    assert_eq!(auto.config().gradient.method, AUTO, "where no method is named");
    let all = steps(&mut auto, 6);
    assert!(
        all.iter().all(|step| step.doubt.is_none()),
        "no gradient was used that is mostly error"
    );
    let stages: Vec<usize> = all[0].mistrusted.iter().map(|mistrust| mistrust.stage).collect();
    assert_eq!(stages, [1], "the flow with large steps, after the first of the run");
    assert!(all[0].mistrusted[0].again > 0.5);
    assert!(all[1..].iter().all(|step| step.mistrusted.is_empty()));
    for step in &all[1..] {
        let [smooth, steep] = &step.certificates[..] else { panic!("two flows") };
        assert!(smooth.error_estimate() > 0.0 && smooth.again < 0.5, "by an adjoint");
        assert_eq!((steep.error_estimate(), steep.again), (0.0, 0.0), "by checkpoints");
    }
    assert_eq!(auto.position().stored, [false, true]);
    // What was walked again is near to what is exact; later weights are not the same.
    let mut exact = Trainer::new(config("backprop", "")).expect("a trainer");
    let gap = (all[0].gradient_norm / steps(&mut exact, 1)[0].gradient_norm - 1.0).abs();
    assert!(gap < 0.01, "{gap}");
}

#[test]
fn what_has_turned_out_is_kept_by_a_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut whole = Trainer::new(config("auto", "")).expect("a trainer");
    steps(&mut whole, 2);
    whole.save(folder.path()).expect("a folder to write to");
    let losses = |all: Vec<StepReport>| all.iter().map(|step| step.score.loss).collect::<Vec<_>>();
    let rest = losses(steps(&mut whole, 4));
    let mut resumed = Trainer::new(config("auto", "")).expect("a trainer");
    resumed.resume(folder.path()).expect("what was saved");
    assert_eq!(resumed.position().stored, [false, true]);
    let again = steps(&mut resumed, 4);
    assert!(again.iter().all(|step| step.certificates[1].again == 0.0), "by checkpoints at once");
    assert_eq!(losses(again), rest);
}

#[test]
fn schemes_with_an_inverse_are_walked_back_by_it() {
    let mut trainer = Trainer::new(config("", ", scheme = 'leapfrog'")).expect("a trainer");
    assert!(matches!(trainer.choices()[1].method, Method::Reversible(_)));
    let all = steps(&mut trainer, 2);
    assert!(all.iter().all(|step| step.mistrusted.is_empty() && step.certificates[1].again == 0.0));
}

#[test]
fn flows_with_relu_after_every_step_are_walked_back_by_checkpoints() {
    let text = "
        data = { limit_train = 64, limit_test = 32 }
        train.batch = 32
        [[network.stage]]
        transition = { kind = 'stem', channels = 2, stride = 2, padding = 1 }
        field = 'conv-bn-pre'
        activation = 'relu'
        depth = 2
        rectified = true
    ";
    let mut trainer = Trainer::new(toml::from_str(text).expect("a configuration")).expect("a run");
    assert!(matches!(trainer.choices()[0].method, Method::Checkpoint(_)));
    let step = trainer.step().expect("a step");
    assert_eq!((step.certificates[0].error_estimate(), step.doubt), (0.0, None));
}

#[test]
fn a_named_method_whose_gradient_is_mostly_error_is_reported_once() {
    let relu = ", activation = 'relu'";
    let beyond = |step: &StepReport| step.certificates[1].error_estimate() > 0.5;
    // How steep the second flow must be depends on its random weights.
    let steep = [1.0, 2.0, 5.0, 10.0, 20.0, 40.0].into_iter().flat_map(|gain| {
        ["relu", "tanh"].map(|activation| {
            let mut steep = config("adjoint-adaptive", &format!(", activation = '{activation}'"));
            steep.network.stage[1].gain = gain;
            steep.train.rate = 1e-9; // The network stays as bad as it is.
            let mut trainer = Trainer::new(steep).expect("a trainer");
            (0..6).map_while(|_| trainer.step().ok()).collect::<Vec<StepReport>>()
        })
    });
    let all = steep
        .into_iter()
        .find(|all| all.len() == 6 && all.iter().filter(|step| beyond(step)).count() > 1)
        .expect("a network whose gradients are mostly error");
    let first = all.iter().position(beyond).expect("a step whose gradient is mostly error");
    let doubts: Vec<usize> = (0..6).filter(|step| all[*step].doubt.is_some()).collect();
    assert_eq!(doubts, [first], "once, at the first such step");
    let doubt = all[first].doubt.expect("a doubt");
    assert_eq!((doubt.stage, doubt.estimate), (1, all[first].certificates[1].error_estimate()));
    assert!(doubt.instead.contains("gradient.method = \"auto\""), "{}", doubt.instead);
    // Of methods that hold nothing is said.
    for (method, flows) in [("backprop", 2), ("", 2), ("adjoint-adaptive", 1)] {
        let mut config = config(method, relu);
        config.network.stage.truncate(flows);
        let mut trainer = Trainer::new(config).expect("a trainer");
        let all = steps(&mut trainer, 4);
        assert!(all.iter().all(|step| step.doubt.is_none()), "{method:?}");
    }
}
