//! IDX files: MNIST and its kin.

use super::*;

#[test]
fn idx_files_are_read_with_their_test_pair() {
    let folder = folder(&mnist(25, 11));
    let splits = load(&Options { test: None, ..all(folder.path()) }).unwrap();
    assert_eq!(splits.source, Source::Idx);
    assert_eq!(splits.train.shape(), Shape::image(1, 3, 2));
    assert_eq!((splits.train.len(), splits.test.as_ref().unwrap().len()), (25, 11));
    assert_eq!(bytes(&splits.train), &idx_images(25, 3, 2)[16..]);
    assert_eq!(labels(&splits.train)[24], 4);
    assert_eq!(splits.files.len(), 4);
    // Asking to hold out a test part as well is a contradiction.
    let twice = load(&all(folder.path()));
    let message = complaint(twice, &folder);
    assert_eq!(
        message,
        "option test does not apply to source idx: the set has a test part of its own"
    );
}

#[test]
fn without_a_test_pair_a_fifth_is_held_out_whatever_the_seed() {
    let folder = folder(&mnist(50, 1)[..2]);
    let load = |seed| load(&Options { test: None, seed, ..all(folder.path()) }).unwrap();
    let (a, b) = (load(0), load(1));
    assert_eq!((a.train.len(), a.test.as_ref().unwrap().len()), (40, 10));
    assert_eq!(a.test, b.test);
}

#[test]
fn half_a_test_pair_is_an_error_and_not_a_set_without_a_test_part() {
    for missing in ["images-idx3", "labels-idx1"] {
        let mut files = mnist(5, 5);
        files.retain(|(name, _)| !name.starts_with(&format!("t10k-{missing}")));
        let folder = folder(&files);
        let message = complaint(load(&all(folder.path())), &folder);
        let dotted = missing.replace('-', ".");
        assert_eq!(
            message,
            format!(
                "FOLDER: holds none of t10k-{missing}-ubyte, t10k-{missing}-ubyte.gz, \
                 t10k-{dotted}-ubyte, t10k-{dotted}-ubyte.gz"
            )
        );
    }
}

#[test]
fn idx_files_that_are_swapped_cut_too_long_or_do_not_match_are_refused() {
    let images = idx_images(5, 3, 2);
    let labels = idx_labels(&[0, 1, 2, 3, 4]);
    let garbled: Vec<u8> = [0x0803, u32::MAX, u32::MAX, u32::MAX]
        .into_iter()
        .flat_map(u32::to_be_bytes)
        .chain([1, 2, 3])
        .collect();
    let cases = [
        (
            labels.clone(),
            labels.clone(),
            "train-images-idx3-ubyte: magic number 0x00000801, expected 0x00000803 \
             (IDX images: unsigned bytes, 3 dimensions)",
        ),
        (
            images.clone(),
            images.clone(),
            "train-labels-idx1-ubyte: magic number 0x00000803, expected 0x00000801 \
             (IDX labels: unsigned bytes, 1 dimension)",
        ),
        (
            images[..16 + 6 * 3 + 2].to_vec(),
            labels.clone(),
            "train-images-idx3-ubyte: record 3: the file ends after 2 of 6 bytes",
        ),
        (
            images[..6].to_vec(),
            labels.clone(),
            "train-images-idx3-ubyte: header: the file ends after 2 of 4 bytes",
        ),
        (
            [images.clone(), vec![0]].concat(),
            labels.clone(),
            "train-images-idx3-ubyte: goes on after the 5 records that its header announces",
        ),
        (
            images.clone(),
            idx_labels(&[0, 1, 2, 3]),
            "train-labels-idx1-ubyte: 4 labels, expected 5",
        ),
        (
            images.clone(),
            idx_labels(&[0, 1, 10, 3, 4]),
            "train-labels-idx1-ubyte: record 2: label 10, expected 0 to 9",
        ),
        (idx_images(0, 3, 2), idx_labels(&[]), "train-images-idx3-ubyte: holds no samples"),
        (
            garbled,
            labels,
            "train-images-idx3-ubyte: record 0: the file ends after 3 of 18446744065119617025 bytes",
        ),
    ];
    for (images, labels, expected) in cases {
        let folder =
            folder(&[("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)]);
        assert_eq!(complaint(load(&all(folder.path())), &folder), expected);
    }
}

#[test]
fn a_test_pair_of_another_size_is_refused() {
    let mut files = mnist(5, 5);
    files[2].1 = idx_images(5, 2, 3);
    let folder = folder(&files);
    let message = complaint(load(&all(folder.path())), &folder);
    assert_eq!(
        message,
        "t10k-images-idx3-ubyte: images of 1×2×3, expected 1×3×2 as in the training set"
    );
}

#[test]
fn a_class_file_names_the_classes_and_says_how_many_there_are() {
    let mut files = mnist(10, 10);
    files.push(("classes.txt", b"a\nb\nc\n".to_vec()));
    let folder = folder(&files);
    let message = complaint(load(&all(folder.path())), &folder);
    assert_eq!(message, "train-labels-idx1-ubyte.gz: record 3: label 3, expected 0 to 2");
}

/// A set of EMNIST with these labels.
fn emnist(set: &str, train: &[u8], test: &[u8]) -> Vec<(String, Vec<u8>)> {
    let pair = |part: &str, labels: &[u8]| {
        let count = labels.len() as u32;
        [
            (format!("emnist-{set}-{part}-images-idx3-ubyte"), idx_images(count, 3, 2)),
            (format!("emnist-{set}-{part}-labels-idx1-ubyte.gz"), gzip(&idx_labels(labels))),
        ]
    };
    [pair("train", train), pair("test", test)].concat()
}

#[test]
fn emnist_letters_are_read_with_labels_from_1_and_the_letters_as_names() {
    let letters = folder(&emnist("letters", &[1, 26, 3], &[2]));
    let options = Options { test: None, ..all(letters.path()) };
    let splits = load(&options).unwrap();
    assert_eq!((splits.name.as_str(), splits.source), ("emnist-letters", Source::Idx));
    assert_eq!((splits.train.classes(), labels(&splits.train)), (Some(26), &[0, 25, 2][..]));
    assert_eq!([&names(&splits.train)[0], &names(&splits.train)[25]], ["A", "Z"]);
    assert_eq!(labels(splits.test.as_ref().unwrap()), [1]);
    for bad in [0, 27] {
        let folder = folder(&emnist("letters", &[1, bad], &[2]));
        let message = complaint(load(&all(folder.path())), &folder);
        assert_eq!(
            message,
            format!(
                "emnist-letters-train-labels-idx1-ubyte.gz: record 1: label {bad}, expected 1 to 26"
            )
        );
    }
    let balanced = folder(&emnist("balanced", &[0, 46], &[36]));
    let splits = load(&Options { test: None, ..all(balanced.path()) }).unwrap();
    assert_eq!([&names(&splits.train)[10], &names(&splits.train)[46]], ["A", "t"]);
}

#[test]
fn of_several_sets_in_a_folder_one_is_named_by_its_file() {
    let both = [emnist("letters", &[1, 26], &[2]), emnist("digits", &[9], &[0])].concat();
    let folder = folder(&both);
    let message = complaint(load(&all(folder.path())), &folder);
    assert_eq!(
        message,
        "FOLDER: holds several sets; name a file of the one you mean: \
         emnist-letters-train-images-idx3-ubyte, emnist-digits-train-images-idx3-ubyte"
    );
    let file = folder.path().join("emnist-digits-train-images-idx3-ubyte");
    let splits = load(&Options { test: None, ..all(&file) }).unwrap();
    assert_eq!((splits.name.as_str(), labels(&splits.train)), ("emnist-digits", &[9][..]));
}
