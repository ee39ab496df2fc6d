//! Folders of CIFAR-10 and CIFAR-100.

use super::*;

#[test]
fn cifar_batches_are_read_in_order_and_the_test_batch_apart() {
    let folder = folder(&[
        ("data_batch_3.bin", cifar(&[3, 4])),
        ("data_batch_1.bin.gz", gzip(&cifar(&[0, 1, 2]))),
        ("test_batch.bin", cifar(&[9])),
    ]);
    let options = Options { test: None, ..all(folder.path()) };
    assert_eq!(options.source, Source::Cifar10);
    let splits = load(&options).unwrap();
    assert_eq!(splits.train.shape(), Shape::image(3, 32, 32));
    assert_eq!(labels(&splits.train), [0, 1, 2, 3, 4]);
    assert_eq!(labels(splits.test.as_ref().unwrap()), [9]);
    assert_eq!(names(&splits.train)[9], "truck");
    assert_eq!(
        bytes(&splits.train)[3 * 3072..],
        [&cifar(&[3])[1..], &cifar(&[0, 4])[RECORD + 1..]].concat()
    );
    let files: Vec<_> = splits.files.iter().map(|file| file.file_name().unwrap()).collect();
    assert_eq!(files, ["data_batch_1.bin.gz", "data_batch_3.bin", "test_batch.bin"]);
}

#[test]
fn without_a_test_batch_the_last_images_are_the_test_part_whatever_the_seed() {
    let folder = folder(&[("data_batch_1.bin", cifar(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]))]);
    for seed in 0..5 {
        let options = Options {
            test: Some(HeldOut::Count(3)),
            validation: HeldOut::Fraction(0.3),
            seed,
            ..all(folder.path())
        };
        let splits = load(&options).unwrap();
        assert_eq!(labels(splits.test.as_ref().unwrap()), [7, 8, 9]);
        assert_eq!((splits.train.len(), splits.validation.len()), (5, 2));
    }
    // By default it would be the last 5,000.
    let default = load(&Options { test: None, ..all(folder.path()) });
    assert_eq!(
        complaint(default, &folder),
        "option test: holding out 5000 of 10 samples leaves none to train on"
    );
}

#[test]
fn class_names_come_from_the_meta_file_which_must_have_ten() {
    let names_file = |count: usize| {
        let lines: String = (0..count).map(|class| format!("kind {class}\n")).collect();
        ("batches.meta.txt", format!("{lines}\n\n").into_bytes())
    };
    let good = folder(&[("data_batch_1.bin", cifar(&[0])), names_file(10)]);
    assert_eq!(names(&load(&all(good.path())).unwrap().train)[9], "kind 9");
    let bad = folder(&[("data_batch_1.bin", cifar(&[0])), names_file(9)]);
    let message = complaint(load(&all(bad.path())), &bad);
    assert_eq!(message, "batches.meta.txt: 9 class names, expected 10");
}

#[test]
fn a_label_that_is_no_class_names_the_file_and_the_record() {
    let mut labels = [0; 20];
    labels[17] = 11;
    let folder = folder(&[("data_batch_1.bin", cifar(&labels))]);
    let message = complaint(load(&all(folder.path())), &folder);
    assert_eq!(message, "data_batch_1.bin: record 17: label 11, expected 0 to 9");
}

#[test]
fn a_cut_file_names_the_file_and_the_record() {
    let bytes = cifar(&[1, 2, 3]);
    let folder = folder(&[
        ("data_batch_1.bin", bytes.clone()),
        ("data_batch_2.bin", bytes[..2 * RECORD + 1000].to_vec()),
    ]);
    let message = complaint(load(&all(folder.path())), &folder);
    assert_eq!(message, "data_batch_2.bin: record 2: the file ends after 1000 of 3073 bytes");
}

#[test]
fn a_truncated_gzip_names_the_file_and_the_record() {
    let whole = gzip(&cifar(&[1, 2, 3, 4]));
    for (cut, record) in [(whole.len() - 4, 4), (10, 0), (0, 0)] {
        let folder = folder(&[("data_batch_1.bin.gz", whole[..cut].to_vec())]);
        let message = complaint(load(&all(folder.path())), &folder);
        let expected =
            format!("data_batch_1.bin.gz: record {record}: the gzip stream is truncated");
        assert_eq!(message, expected, "cut at {cut}");
    }
}

#[test]
fn a_gzip_with_a_wrong_checksum_or_garbled_contents_is_refused() {
    let whole = gzip(&cifar(&[1, 2, 3, 4]));
    let checksum = whole.len() - 8;
    for position in [checksum, 0, 1] {
        let mut garbled = whole.clone();
        garbled[position] ^= 0x55;
        let folder = folder(&[("data_batch_1.bin.gz", garbled)]);
        let message = complaint(load(&all(folder.path())), &folder);
        let end = "the gzip stream is corrupt, or not gzip at all";
        assert!(message.starts_with("data_batch_1.bin.gz: record "), "{message}");
        assert!(message.ends_with(end), "{message}");
    }
}

#[test]
fn files_that_are_not_what_their_name_says_are_refused() {
    let zipped = folder(&[("data_batch_1.bin", gzip(&cifar(&[1])))]);
    let message = complaint(load(&all(zipped.path())), &zipped);
    assert_eq!(message, "data_batch_1.bin: is gzip-compressed; its name should end in .gz");
    let empty = folder(&[("data_batch_1.bin", vec![])]);
    let message = complaint(load(&all(empty.path())), &empty);
    assert_eq!(message, "data_batch_1.bin: holds no samples");
}

/// Records of CIFAR-100 with these pairs of labels.
fn cifar100(labels: &[[u8; 2]]) -> Vec<u8> {
    let pixels = cifar(&vec![0; labels.len()]);
    let records = labels.iter().zip(pixels.chunks(RECORD));
    records.flat_map(|(labels, record)| [&labels[..], &record[1..]].concat()).collect()
}

#[test]
fn cifar100_is_read_with_its_classes_or_its_groups_of_classes() {
    let folder = folder(&[
        ("train.bin", cifar100(&[[4, 0], [19, 81], [3, 99]])),
        ("test.bin.gz", gzip(&cifar100(&[[11, 19]]))),
    ]);
    let fine = Options { test: None, ..all(folder.path()) };
    assert_eq!(fine.source, Source::Cifar100);
    let splits = load(&fine).unwrap();
    assert_eq!((splits.name.as_str(), splits.train.classes()), ("cifar100", Some(100)));
    assert_eq!(labels(&splits.train), [0, 81, 99]);
    let test = splits.test.unwrap();
    let named =
        |samples: &Samples, index: usize| names(samples)[labels(samples)[index] as usize].clone();
    assert_eq!([named(&splits.train, 0), named(&splits.train, 1)], ["apple", "streetcar"]);
    assert_eq!(named(&test, 0), "cattle");
    assert_eq!(bytes(&splits.train)[3072..2 * 3072], cifar(&[0, 0])[RECORD + 1..]);
    let coarse = load(&Options { source: Source::Cifar100Coarse, ..fine }).unwrap();
    assert_eq!((coarse.train.classes(), labels(&coarse.train)), (Some(20), &[4, 19, 3][..]));
    assert_eq!(named(&coarse.train, 0), "fruit_and_vegetables");
    assert_eq!(named(&coarse.test.unwrap(), 0), "large_omnivores_and_herbivores");
}

#[test]
fn cifar100_takes_its_names_from_their_file_and_says_where_it_is_wrong() {
    let lines: String = (0..100).map(|class| format!("kind {class}\n")).collect();
    let named = ("fine_label_names.txt", lines.into_bytes());
    let good = folder(&[("train.bin", cifar100(&[[0, 7]])), named]);
    assert_eq!(names(&load(&all(good.path())).unwrap().train)[99], "kind 99");
    let bad = folder(&[("train.bin", cifar100(&[[0, 7], [0, 100]]))]);
    let message = complaint(load(&all(bad.path())), &bad);
    assert_eq!(message, "train.bin: record 1: label 100, expected 0 to 99");
    let cut = folder(&[("train.bin", cifar100(&[[0, 7]])[..3000].to_vec())]);
    let message = complaint(load(&all(cut.path())), &cut);
    assert_eq!(message, "train.bin: record 0: the file ends after 3000 of 3074 bytes");
}
