//! What a trained network is scored on, read without the rest.

use super::*;

/// The samples that are held out of training, from reading everything.
fn held_out(options: &Options) -> (Part, Samples) {
    let Splits { test, validation, .. } = load(options).unwrap();
    test.map_or((Part::Validation, validation), |test| (Part::Test, test))
}

fn noise(count: usize) -> impl Iterator<Item = u8> {
    (0..count as u64).map(|i| {
        let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56) as u8
    })
}

/// Records whose pixels do not pack.
fn noisy(labels: &[u8]) -> Vec<u8> {
    let records = labels.iter().enumerate();
    let pixels: Vec<u8> = noise(labels.len() * (RECORD - 1)).collect();
    let record = |(i, &label): (usize, &u8)| {
        [&[label][..], &pixels[i * (RECORD - 1)..(i + 1) * (RECORD - 1)]].concat()
    };
    records.flat_map(record).collect()
}

#[test]
fn what_is_scored_on_is_what_a_whole_reading_holds_out_with_the_same_numbers() {
    let batches = vec![
        ("data_batch_1.bin.gz", [gzip(&noisy(&[0, 1, 2, 3])), gzip(&noisy(&[4]))].concat()),
        ("data_batch_2.bin", noisy(&[5, 6, 7])),
        ("data_batch_3.bin.gz", gzip(&noisy(&[8, 9]))),
    ];
    let mut with_test = batches.clone();
    with_test.push(("test_batch.bin", noisy(&[3, 1, 4, 1, 5])));
    let (cifar, cifar_test) = (folder(&batches), folder(&with_test));
    let (mnist_test, mnist_alone) = (folder(&mnist(20, 7)), folder(&mnist(50, 1)[..2]));
    let rows: String = (0..40).map(|i| format!("{i},{},{}\n", i * i % 7, i % 3)).collect();
    let table = table(&rows);
    let table = table.path().join("table.csv");
    let count = |count| Some(HeldOut::Count(count));
    let cases: [(&Path, Option<HeldOut>, Option<usize>); 12] = [
        (cifar.path(), count(1), None),
        (cifar.path(), count(2), None),
        (cifar.path(), count(4), None),
        (cifar.path(), count(8), Some(3)),
        (cifar.path(), Some(HeldOut::Fraction(0.3)), None),
        (cifar.path(), count(0), None),
        (cifar_test.path(), None, None),
        (cifar_test.path(), None, Some(2)),
        (mnist_test.path(), None, Some(3)),
        (mnist_alone.path(), None, None),
        (mnist_alone.path(), count(0), None),
        (&table, None, Some(5)),
    ];
    for (path, test, limit_test) in cases {
        let shape = Options::at(path).unwrap();
        let options = Options { test, limit_test, validation: HeldOut::Fraction(0.2), ..shape };
        let (part, samples) = held_out(&options);
        let given = Options { normalise: Normalise::Off, ..options.clone() };
        let scored = load_scored(&given).unwrap();
        let case = format!("{} {test:?} {limit_test:?}", path.display());
        assert_eq!((scored.part, &scored.samples), (part, &samples), "{case}");
        let own = path == cifar_test.path() || path == mnist_test.path();
        assert_eq!(scored.held_out, !own, "{case}");
        assert_eq!(load(&options).unwrap().test_held_out, !own, "{case}");
        assert!(!samples.is_empty());
        // Without given statistics those of the training samples are measured.
        let measured = load_scored(&options).unwrap();
        assert_eq!(measured.normalisation, load(&options).unwrap().normalisation, "{case}");
    }
    let options = Options { test: count(4), ..Options::at(cifar.path()).unwrap() };
    assert_eq!(held_out(&options).1.rows(), [6, 7, 8, 9]);
}

#[test]
fn files_that_are_not_needed_are_not_read() {
    let garbage = || b"nothing that could be read".to_vec();
    let batches = folder(&[
        ("data_batch_1.bin", garbage()),
        ("data_batch_2.bin.gz", gzip(&garbage())),
        ("test_batch.bin", cifar(&[9, 8])),
    ]);
    let off = |path: &Path| Options { normalise: Normalise::Off, ..Options::at(path).unwrap() };
    let scored = load_scored(&off(batches.path())).unwrap();
    assert_eq!(labels(&scored.samples), [9, 8]);
    assert_eq!(scored.files, [batches.path().join("test_batch.bin")]);
    assert!(load(&off(batches.path())).is_err(), "all of it is not readable");

    let last = folder(&[
        ("data_batch_1.bin", garbage()),
        ("data_batch_4.bin", vec![255; 2 * RECORD]),
        ("data_batch_5.bin", cifar(&[1, 2, 3])),
    ]);
    let options = Options { test: Some(HeldOut::Count(2)), ..off(last.path()) };
    let scored = load_scored(&options).unwrap();
    assert_eq!(labels(&scored.samples), [2, 3]);
    assert_eq!(scored.files, [last.path().join("data_batch_5.bin")]);

    let mut files = mnist(5, 4);
    files[0].1 = garbage();
    files[1].1 = garbage();
    let pair = folder(&files);
    let scored = load_scored(&off(pair.path())).unwrap();
    assert_eq!((scored.part, scored.samples.len(), scored.files.len()), (Part::Test, 4, 2));
    // The training pair need not be there at all.
    let alone = folder(&mnist(5, 4)[2..]);
    assert_eq!(load_scored(&off(alone.path())).unwrap().samples, scored.samples);
    let message = complaint(load(&off(alone.path())), &alone);
    assert!(message.starts_with("FOLDER: holds none of train-images-idx3-ubyte,"), "{message}");
}

#[test]
fn nothing_to_score_on_is_an_error_that_names_the_options() {
    let folder = folder(&[("data_batch_1.bin", cifar(&[1, 2, 3]))]);
    let message = load_scored(&all(folder.path())).unwrap_err().to_string();
    assert!(message.contains("set data.test or data.validation"), "{message}");
}
