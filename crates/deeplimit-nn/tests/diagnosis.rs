//! What a diagnosis says of networks that were trained.

use deeplimit_nn::data::{Batch, batch, epoch_order};
use deeplimit_nn::deeplimit::limit::Diagnosis;
use deeplimit_nn::deeplimit::limit::diagnosis::{Finding, Standing};
use deeplimit_nn::network::{Network, Probe, WeightsFile};
use deeplimit_nn::train::{Config, Trainer};

fn trained(settings: &str) -> Trainer {
    let config: Config = toml::from_str(settings).expect("a valid configuration");
    let mut trainer = Trainer::new(config).expect("a run");
    while !trainer.finished() {
        trainer.step().expect("a finite loss");
    }
    trainer
}

/// The first training samples of epoch 0.
fn some(trainer: &Trainer, samples: usize) -> Batch {
    let splits = trainer.splits();
    let order = epoch_order(splits.train.len(), trainer.config().seed, 0);
    batch(&splits.train, &order[..samples], &splits.normalisation, None).expect("a batch")
}

fn diagnosed(network: &Network, batch: &Batch) -> Vec<Diagnosis> {
    network.diagnose(Probe::Batch(batch)).expect("finite numbers")
}

/// The network with the layers of its first flow in another order.
fn shuffled(network: &Network) -> Network {
    let file = WeightsFile::of(network);
    let nodes = network.plans().next().expect("a stage").nodes();
    let arrays: Vec<(String, Vec<f32>)> = file
        .tensors()
        .filter(|(name, shape, _)| {
            name.starts_with("stages.0.") && !name.contains("transition") && shape[0] == nodes
        })
        .map(|(name, _, values)| (name.to_owned(), values.to_vec()))
        .collect();
    assert_eq!(arrays.len(), 4, "the kinds of an mlp");
    // 13 has no divisor in common with 32: every layer comes once, far from its neighbours.
    let mix = |values: &[f32]| -> Vec<f32> {
        let length = values.len() / nodes;
        let layer = |node: usize| values[node * 13 % nodes * length..][..length].iter().copied();
        (0..nodes).flat_map(layer).collect()
    };
    let mixed = arrays.iter().fold(file, |file, (name, values)| file.replaced(name, mix(values)));
    mixed.load_into(network.clone()).expect("the same tensors")
}

#[test]
fn trained_digits_are_an_ode_with_a_smooth_control_and_shuffled_they_only_average() {
    let trainer = trained(
        "train = { epochs = 3, batch = 64 }\n data.limit_train = 1000\n \
         network.stage = [{ depth = 32, transition = { kind = 'linear', width = 24 } }]",
    );
    let batch = some(&trainer, 16);
    let found = &diagnosed(trainer.network(), &batch)[0];
    assert_eq!(found.verdict.standing, Standing::SmoothOde, "{:?}", found.scaling);
    assert!(found.function_interpolant.resolved && found.weight_interpolant.resolved);
    let along = found.bounds.known().expect("a residual network");
    assert!(found.function_interpolant.largest <= along.bounds.local);
    // Errors are those of gradients that training would have used.
    let used = found.methods.iter().find(|row| row.method == "adjoint-adaptive").expect("fits");
    assert!(used.single.gradient < 1e-2, "{used:?}");

    let mixed = &diagnosed(&shuffled(trainer.network()), &batch)[0];
    assert_eq!(mixed.verdict.standing, Standing::AveragedOde, "{:?}", mixed.scaling);
    assert!(mixed.verdict.sentences[0].contains("no limit"), "{:?}", mixed.verdict.sentences);
}

#[test]
fn independent_layers_have_no_limit_after_training_either() {
    let trainer = trained(
        "train = { epochs = 2, batch = 64 }\n data.limit_train = 600\n \
         network.stage = [{ depth = 32, init = 'independent', \
         transition = { kind = 'linear', width = 24 } }]",
    );
    let found = &diagnosed(trainer.network(), &some(&trainer, 16))[0];
    assert_eq!(found.verdict.standing, Standing::AveragedOde, "{:?}", found.scaling);
}

/// Two flows, one of them with samples that meet: each has its own inputs and cotangents.
#[test]
fn every_flow_of_a_network_is_diagnosed_with_and_without_data() {
    let trainer = trained(
        "train = { epochs = 1, batch = 64 }\n data.limit_train = 128\n \
         network.stage = [ \
         { depth = 6, field = 'conv-bn', transition = { kind = 'conv', channels = 3, stride = 2 } }, \
         { depth = 5, scheme = 'heun', transition = { kind = 'linear', width = 10 } }]",
    );
    let from_data = diagnosed(trainer.network(), &some(&trainer, 8));
    let probe = Probe::Synthetic { samples: 8, seed: 1 };
    let synthetic = trainer.network().diagnose(probe).expect("finite numbers");
    for flows in [&from_data, &synthetic] {
        assert_eq!(flows.len(), 2);
        assert!(flows[0].samples_meet && !flows[1].samples_meet);
        assert_eq!((flows[0].layers, flows[1].layers), (6, 5));
        assert!(matches!(flows[0].jacobians.certain, Finding::Unknown { .. }));
        assert!(matches!(flows[1].bounds, Finding::Unknown { .. }));
        assert!(flows.iter().all(|flow| flow.methods[0].double.gradient == 0.0));
    }
    assert_ne!(from_data[1].state_size, synthetic[1].state_size);
}
