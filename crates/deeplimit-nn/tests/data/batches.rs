//! Orders, batches, augmentation, summaries.

use super::*;

#[test]
fn the_order_of_an_epoch_is_a_permutation_that_never_changes() {
    let order = epoch_order(1000, 3, 7);
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..1000).collect::<Vec<u32>>());
    assert_ne!(order, epoch_order(1000, 3, 8));
    assert_ne!(order, epoch_order(1000, 4, 7));
    assert!(epoch_order(0, 1, 1).is_empty());
    assert_eq!(epoch_order(1, 1, 1), [0]);
    // Runs stored by earlier versions resume only as long as this stays as it is.
    assert_eq!(epoch_order(10, 1, 0), GOLDEN_ORDER);
}

const GOLDEN_ORDER: [u32; 10] = [6, 3, 7, 4, 9, 1, 0, 2, 8, 5];

#[test]
fn the_last_smaller_batch_is_kept_or_dropped() {
    let order: Vec<u32> = (0..7).collect();
    let sizes = |order: &[u32], size, drop_last| {
        let size = NonZeroUsize::new(size).unwrap();
        chunks(order, size, drop_last).map(<[u32]>::len).collect::<Vec<_>>()
    };
    assert_eq!(sizes(&order, 3, false), [3, 3, 1]);
    assert_eq!(sizes(&order, 3, true), [3, 3]);
    assert_eq!(sizes(&order, 7, true), [7]);
    assert_eq!(sizes(&order, 8, true), [0; 0]);
    assert_eq!(sizes(&order, 8, false), [7]);
}

#[test]
fn a_batch_is_the_samples_asked_for_normalised_per_channel() {
    let folder = folder(&[("data_batch_1.bin", cifar(&[5, 6, 7]))]);
    let splits = load(&all(folder.path())).unwrap();
    let normalisation = &splits.normalisation;
    let batch = batch(&splits.train, &[2, 0], normalisation, None).unwrap();
    assert_eq!(batch.targets, BatchTargets::Labels(vec![7, 5]));
    assert_eq!((batch.len(), batch.inputs.len()), (2, 2 * 3072));
    let raw = bytes(&splits.train);
    for (position, sample) in [2, 0].into_iter().enumerate() {
        for element in 0..3072 {
            let channel = element / 1024;
            let value = f64::from(raw[sample * 3072 + element]) / 255.0;
            let expected = (value - normalisation.mean[channel]) / normalisation.std[channel];
            assert_eq!(batch.inputs[position * 3072 + element], expected as f32);
        }
    }
}

#[test]
fn an_augmented_sample_is_the_same_in_any_batch_and_another_in_any_other_epoch() {
    let digits = load(&Options::default()).unwrap();
    let draw = |seed, epoch| {
        Some(Draw { augment: Augment { crop: 2, flip: true, noise: 0.5 }, seed, epoch })
    };
    let indices: Vec<u32> = (0..64).collect();
    let run = |indices: &[u32], draw| {
        batch(&digits.train, indices, &digits.normalisation, draw).unwrap().inputs
    };
    let together = run(&indices, draw(1, 0));
    let alone: Vec<f32> =
        indices.iter().rev().map(|&index| run(&[index], draw(1, 0))).rev().flatten().collect();
    assert_eq!(together, alone);
    assert_ne!(together, run(&indices, draw(1, 1)));
    assert_ne!(together, run(&indices, draw(2, 0)));
    // Different samples are changed differently, even if they are the same image.
    let same = [1; 64].repeat(64);
    let names = vec!["a".to_owned()];
    let targets = Targets::Classes { labels: vec![0; 64], names };
    let inputs = Inputs::Bytes { bytes: same, full: 16 };
    let twins = Samples::new(Shape::image(1, 8, 8), inputs, targets).unwrap();
    let identity = Normalisation::identity(twins.shape());
    let changed = batch(&twins, &indices, &identity, draw(1, 0)).unwrap().inputs;
    assert!(changed.chunks(64).any(|image| image != &changed[..64]));
    let off = Some(Draw { augment: Augment::default(), seed: 1, epoch: 0 });
    assert_eq!(run(&indices, None), run(&indices, off));
}

#[test]
fn a_batch_refuses_what_does_not_fit_its_samples() {
    let folder = table("1,2,a\n3,5,b\n");
    let splits = load_table(&folder, Task::Classification).unwrap();
    let run = |indices: &[u32], normalisation: &Normalisation, draw| {
        batch(&splits.train, indices, normalisation, draw).unwrap_err().to_string()
    };
    let good = &splits.normalisation;
    assert_eq!(run(&[0, 2], good, None), "sample 2, expected less than 2");
    let other = Normalisation::identity(Shape::image(1, 8, 8));
    assert_eq!(run(&[0], &other, None), "normalisation: means: 1, expected 2");
    let draw =
        Some(Draw { augment: Augment { flip: true, ..Augment::default() }, seed: 0, epoch: 0 });
    assert_eq!(
        run(&[0], good, draw),
        "augmentation: flip on inputs of 2×1×1: only images can be flipped"
    );
}

#[test]
fn a_summary_counts_every_part_and_measures_even_what_is_not_normalised() {
    let options = Options { normalise: Normalise::Off, ..Options::default() };
    let splits = load(&options).unwrap();
    assert_eq!(splits.normalisation, Normalisation::identity(splits.train.shape()));
    let summary = describe(&splits);
    assert_eq!((summary.train, summary.validation, summary.test), (3441, 382, 1797));
    let seven = &summary.classes[7];
    assert_eq!((seven.name.as_str(), seven.train + seven.validation, seven.test), ("7", 387, 179));
    assert_eq!(summary.statistics, Normalisation::measure(&splits.train));
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["source"], "digits");
    assert_eq!(json["shape"]["height"], 8);
}
