//! The built-in digits.

use super::*;

#[test]
fn the_digits_archive_is_the_original_files() {
    let Some(folder) = shared("optdigits") else { return };
    let records = |name: &str| -> Vec<u8> {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        let lines = text.lines().skip(1); // a header that the copy's repository added
        lines.flat_map(|line| line.split(',').map(|cell| cell.parse::<u8>().unwrap())).collect()
    };
    let (train, test) = (records("optdigits.tra"), records("optdigits.tes"));
    let mut expected = b"OPTD".to_vec();
    for part in [&train, &test] {
        expected.extend(((part.len() / 65) as u32).to_be_bytes());
    }
    expected.extend(train);
    expected.extend(test);
    let mut found = Vec::new();
    let archive = include_bytes!("../../data/optdigits.bin.gz");
    GzDecoder::new(&archive[..]).read_to_end(&mut found).unwrap();
    assert!(found == expected, "{} and {} bytes", found.len(), expected.len());
}

#[test]
fn digits_are_split_by_the_seed_and_the_test_part_is_not() {
    let one = load(&Options { validation: HeldOut::Count(500), ..Options::default() }).unwrap();
    let again = load(&Options { validation: HeldOut::Count(500), ..Options::default() }).unwrap();
    let other =
        load(&Options { validation: HeldOut::Count(500), seed: 1, ..Options::default() }).unwrap();
    assert_eq!(one, again);
    assert_ne!(one.validation, other.validation);
    assert_eq!(one.test, other.test);
    let sizes = [&one.train, &one.validation, one.test.as_ref().unwrap()].map(Samples::len);
    assert_eq!(sizes, [3323, 500, 1797]);

    // Training and validation together are the 3,823 images, each once.
    let whole = Options { validation: HeldOut::Count(0), ..Options::default() };
    let whole = load(&whole).unwrap();
    assert!(whole.validation.is_empty());
    let images = |parts: &[&Samples]| {
        let pairs = parts.iter().flat_map(|part| bytes(part).chunks(64).zip(labels(part)));
        let mut images: Vec<(Vec<u8>, u32)> =
            pairs.map(|(image, &label)| (image.to_vec(), label)).collect();
        images.sort();
        images
    };
    assert_eq!(images(&[&one.train, &one.validation]), images(&[&whole.train]));

    // Statistics are those of the training part alone.
    assert_eq!(one.normalisation, Normalisation::measure(&one.train));
    assert_ne!(one.normalisation, whole.normalisation);
}

#[test]
fn a_limit_keeps_the_validation_part_and_takes_a_part_of_the_training_part() {
    let full = load(&Options::default()).unwrap();
    let limits = Options { limit_train: Some(100), limit_test: Some(7), ..Options::default() };
    let short = load(&limits).unwrap();
    assert_eq!(full.validation, short.validation);
    assert_eq!((short.train.len(), short.test.as_ref().unwrap().len()), (100, 7));
    let pairs = |part| bytes(part).chunks(64).zip(labels(part));
    let known: std::collections::HashSet<(&[u8], &u32)> = pairs(&full.train).collect();
    assert!(pairs(&short.train).all(|pair| known.contains(&pair)));
    // 100 of 3,441 images at random have every class.
    assert!(short.train.class_counts().iter().all(|&count| count > 0));
    let generous = Options { limit_train: Some(1_000_000), ..Options::default() };
    assert_eq!(load(&generous).unwrap().train, full.train);
}
