//! The data room, from files on disk to batches.
//!
//! Small files are made in temporary folders. Tests on the real sets read the folder `shared/data`
//! beside the repository and say that they skip where it is not there.

use std::fs;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use deeplimit_nn::data::*;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use tempfile::TempDir;

const RECORD: usize = 3073;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A temporary folder with these files.
fn folder<N: AsRef<Path>>(files: &[(N, Vec<u8>)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// CIFAR-10 records with these labels; pixels differ from record to record.
fn cifar(labels: &[u8]) -> Vec<u8> {
    let record = |(index, &label): (usize, &u8)| {
        let pixels = (0..RECORD - 1).map(move |pixel| (pixel * 7 + index * 31) as u8);
        std::iter::once(label).chain(pixels)
    };
    labels.iter().enumerate().flat_map(record).collect()
}

fn idx_images(count: u32, height: u32, width: u32) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        [0x0803, count, height, width].into_iter().flat_map(u32::to_be_bytes).collect();
    bytes.extend((0..count * height * width).map(|pixel| (pixel * 13) as u8));
    bytes
}

fn idx_labels(labels: &[u8]) -> Vec<u8> {
    let header = [0x0801, labels.len() as u32];
    header.into_iter().flat_map(u32::to_be_bytes).chain(labels.iter().copied()).collect()
}

fn mnist(train: u32, test: u32) -> Vec<(&'static str, Vec<u8>)> {
    let labels = |count: u32| (0..count).map(|index| (index % 10) as u8).collect::<Vec<u8>>();
    vec![
        ("train-images-idx3-ubyte.gz", gzip(&idx_images(train, 3, 2))),
        ("train-labels-idx1-ubyte.gz", gzip(&idx_labels(&labels(train)))),
        ("t10k-images-idx3-ubyte", idx_images(test, 3, 2)),
        ("t10k-labels-idx1-ubyte", idx_labels(&labels(test))),
    ]
}

fn table(text: &str) -> TempDir {
    folder(&[("table.csv", text.as_bytes().to_vec())])
}

/// Everything for training: no test part, no validation part.
fn all(path: &Path) -> Options {
    let none = HeldOut::Count(0);
    Options { validation: none, test: Some(none), ..Options::at(path).unwrap() }
}

fn load_table(folder: &TempDir, task: Task) -> Result<Splits, DataError> {
    load(&Options { task, ..all(&folder.path().join("table.csv")) })
}

/// The error's message without the folder's path; it must be one line.
fn complaint(outcome: Result<Splits, DataError>, folder: &TempDir) -> String {
    let message = outcome.unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message:?}");
    let folder = format!("{}", folder.path().display());
    message.replace(&format!("{folder}/"), "").replace(&folder, "FOLDER")
}

fn labels(samples: &Samples) -> &[u32] {
    let Targets::Classes { labels, .. } = samples.targets() else { panic!("no classes") };
    labels
}

fn names(samples: &Samples) -> &[String] {
    let Targets::Classes { names, .. } = samples.targets() else { panic!("no classes") };
    names
}

fn bytes(samples: &Samples) -> &[u8] {
    let Inputs::Bytes { bytes, .. } = samples.inputs() else { panic!("no bytes") };
    bytes
}

fn shared(set: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(set);
    if !path.exists() {
        eprintln!("skipped: shared/data/{set} is not there");
        return None;
    }
    Some(path)
}

// Digits

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
    let archive = include_bytes!("../data/optdigits.bin.gz");
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

// CIFAR-10

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

// IDX

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

// Tables

#[test]
fn a_table_has_its_classes_in_the_last_column_sorted() {
    let folder = table("5.1, 3.5,setosa\n4.9,-3e-1,virginica\n\n7,1,setosa");
    let splits = load_table(&folder, Task::Classification).unwrap();
    assert_eq!(splits.name, "table");
    assert_eq!(splits.train.shape(), Shape::table(2));
    assert_eq!(splits.train.inputs(), &Inputs::Floats(vec![5.1, 3.5, 4.9, -0.3, 7.0, 1.0]));
    assert_eq!(
        (labels(&splits.train), names(&splits.train)),
        (&[0, 1, 0][..], &["setosa".to_owned(), "virginica".to_owned()][..])
    );
}

#[test]
fn whole_number_classes_are_in_numerical_order_however_they_are_written() {
    let splits = load_table(&table("1,10\n2,9\n3,9.0\n4,-1\n"), Task::Classification).unwrap();
    assert_eq!(names(&splits.train), ["-1", "9", "10"]);
    assert_eq!(labels(&splits.train), [2, 1, 1, 0]);
    let mixed = load_table(&table("1,10\n2,9\n3,9.5\n4,b\n"), Task::Classification).unwrap();
    assert_eq!(names(&mixed.train), ["10", "9", "9.5", "b"]);
}

#[test]
fn a_regression_normalises_its_targets_and_restores_them() {
    let folder = table("a,b,target\n1,2,10\n2,2,30\n3,2,80\n");
    let splits = load_table(&folder, Task::Regression).unwrap();
    assert_eq!(splits.train.targets(), &Targets::Values(vec![10.0, 30.0, 80.0]));
    let scale = splits.normalisation.target.unwrap();
    assert_eq!(scale.mean, 40.0);
    let batch = batch(&splits.train, &[2, 0], &splits.normalisation, None).unwrap();
    let BatchTargets::Values(values) = &batch.targets else { panic!("labels") };
    assert!((scale.restore(values[0]) - 80.0).abs() < 1e-5);
    assert!((scale.restore(values[1]) - 10.0).abs() < 1e-5);
    // The second feature is constant: it becomes 0.
    assert_eq!((batch.inputs[1], batch.inputs[3]), (0.0, 0.0));
}

#[test]
fn only_a_first_line_without_any_number_is_a_header() {
    let with =
        load_table(&table("\u{feff}length,width,kind\n1,2,a\n3,4,b\n"), Task::Classification);
    assert_eq!(with.unwrap().train.len(), 2);
    // A kind in the first feature, as abalone has it, is no header.
    let folder = table("M,2,a\n1,2,a\n");
    let message = complaint(load_table(&folder, Task::Classification), &folder);
    assert_eq!(message, "table.csv: line 1, column 1: \"M\": expected a number");
    // Nor is a line of missing values.
    let folder = table("?,?,a\n1,2,a\n");
    let message = complaint(load_table(&folder, Task::Classification), &folder);
    let missing = "a missing value; fill it in or remove the line";
    assert_eq!(message, format!("table.csv: line 1, column 1: \"?\": {missing}"));
}

#[test]
fn a_bad_cell_names_file_line_column_and_value() {
    let missing = "a missing value; fill it in or remove the line";
    let class = "expected a class (text or a whole number); \
                 for a real-valued target use task = \"regression\"";
    let cases = [
        ("1,2,a\n3,?,b\n", Task::Classification, format!("line 2, column 2: \"?\": {missing}")),
        ("1,2,a\n\n3,,b\n", Task::Classification, format!("line 3, column 2: \"\": {missing}")),
        ("1,2,a\n3,4,?\n", Task::Classification, format!("line 2, column 3: \"?\": {missing}")),
        ("1,2,3\n3,4,x\n", Task::Regression, "line 2, column 3: \"x\": expected a number".into()),
        ("1,2,3\n3,4,0.5\n", Task::Classification, format!("line 2, column 3: \"0.5\": {class}")),
        ("1,2,3\n3,4,NaN\n", Task::Regression, format!("line 2, column 3: \"NaN\": {missing}")),
        (
            "1,2,3\n3,1e39,4\n",
            Task::Regression,
            "line 2, column 2: \"1e39\": expected a finite 32-bit number".into(),
        ),
        (
            "1,2,3\n\"3\nx\",4,5\n",
            Task::Regression,
            "line 2, column 1: \"3\\nx\": expected a number".into(),
        ),
        ("1,2,3\n4,5\n", Task::Regression, "line 2: 2 columns, expected 3".into()),
        (
            "1;2;3\n4;5;6\n",
            Task::Regression,
            "line 1: 1 column(s), expected features and a target separated by commas".into(),
        ),
        ("a,b\n", Task::Regression, "holds no samples".into()),
        ("", Task::Regression, "holds no samples".into()),
    ];
    for (text, task, expected) in cases {
        let folder = table(text);
        let message = complaint(load_table(&folder, task), &folder);
        let message = message.strip_prefix("table.csv: ").unwrap();
        assert_eq!(message, expected, "{text:?}");
    }
}

#[test]
fn a_table_may_be_gzipped_and_a_cut_one_names_the_line() {
    // Numbers that do not compress well, so that many lines stand before the cut.
    let text: String = (0..2000u64)
        .map(|line| format!("{},{},k{}\n", line * line % 9973, line * 7919 % 10_007, line % 3))
        .collect();
    let whole = gzip(text.as_bytes());
    let good = folder(&[("t.csv.gz", whole.clone())]);
    let splits = load(&all(&good.path().join("t.csv.gz"))).unwrap();
    assert_eq!((splits.name.as_str(), splits.train.len()), ("t", 2000));

    let cut = folder(&[("t.csv.gz", whole[..whole.len() / 2].to_vec())]);
    let error = load(&all(&cut.path().join("t.csv.gz"))).unwrap_err();
    let DataError::Gzip { truncated: true, place: Place::Line(line), .. } = error else {
        panic!("{error}")
    };
    // The line is that of the last complete record, about the middle of the file.
    assert!((500..1500).contains(&line), "{line}");
}

#[test]
fn a_table_that_is_not_text_names_the_line() {
    let folder = folder(&[("table.csv", b"1,2,a\n3,4,\xff\n".to_vec())]);
    let message = complaint(load_table(&folder, Task::Classification), &folder);
    assert_eq!(message, "table.csv: line 2: is not UTF-8 text");
}

// Options and detection

#[test]
fn paths_that_hold_nothing_known_say_what_was_looked_for() {
    let nothing = folder(&[("notes.txt", vec![])]);
    let message = detect(nothing.path()).unwrap_err().to_string();
    assert!(message.ends_with(
        "holds no data set known here; expected a folder with data_batch_1.bin(.gz) to \
         data_batch_5.bin(.gz) or train-images-idx3-ubyte(.gz), or a .csv or .csv.gz file"
    ));
    let at = |source, path: PathBuf| Options { source, path: Some(path), ..Options::default() };
    let message = complaint(load(&at(Source::Cifar10, nothing.path().into())), &nothing);
    assert!(
        message.starts_with("FOLDER: holds none of data_batch_1.bin, data_batch_1.bin.gz, "),
        "{message}"
    );
    let message = complaint(load(&at(Source::Idx, nothing.path().join("gone"))), &nothing);
    assert_eq!(message, "gone: no such file or folder");
    let message = complaint(load(&at(Source::Idx, nothing.path().join("notes.txt"))), &nothing);
    assert_eq!(message, "notes.txt: is a file, expected the folder that holds the data files");
    let message = complaint(load(&at(Source::Csv, nothing.path().into())), &nothing);
    assert_eq!(message, "FOLDER: is a folder, expected a file");
    let message = complaint(load(&at(Source::Csv, nothing.path().join("gone.csv"))), &nothing);
    assert_eq!(message, "gone.csv: no such file or folder");

    let mut files = mnist(1, 1);
    files.push(("data_batch_1.bin", cifar(&[1])));
    let both = folder(&files);
    let message = detect(both.path()).unwrap_err().to_string();
    assert!(message.ends_with("holds both cifar10 and idx files; name the source"), "{message}");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let check = |options: Options| load(&options).unwrap_err().to_string();
    let digits = Options::default;
    assert_eq!(
        check(Options { path: Some("here".into()), ..digits() }),
        "option path does not apply to source digits: it is built in"
    );
    assert_eq!(check(Options { source: Source::Idx, ..digits() }), "source idx needs a path");
    assert_eq!(
        check(Options { task: Task::Regression, ..digits() }),
        "option task = \"regression\" does not apply to source digits: its targets are classes"
    );
    assert_eq!(
        check(Options { limit_train: Some(0), ..digits() }),
        "option limit_train: 0, expected at least 1"
    );
    for found in [-0.1, 1.0, f64::NAN] {
        let message = check(Options { validation: HeldOut::Fraction(found), ..digits() });
        assert!(message.starts_with("option validation: fraction "), "{message}");
    }
    assert_eq!(
        check(Options { validation: HeldOut::Count(3823), ..digits() }),
        "option validation: holding out 3823 of 3823 samples leaves none to train on"
    );
    let given = Normalisation { mean: vec![0.0], std: vec![0.0], target: None };
    assert_eq!(
        check(Options { normalise: Normalise::Given(given), ..digits() }),
        "normalisation: standard deviation: 0, expected a finite positive number"
    );
    let given = Normalisation { mean: vec![0.0; 3], std: vec![1.0; 3], target: None };
    assert_eq!(
        check(Options { normalise: Normalise::Given(given), ..digits() }),
        "normalisation: means: 3, expected 1"
    );
}

#[test]
fn options_and_normalisation_survive_toml_and_json_and_unknown_keys_do_not_pass() {
    let options: Options = toml::from_str(
        "source = 'csv'\npath = 'iris.csv'\nvalidation = 20\ntest = 0.25\nlimit_train = 50\n\
         normalise = { given = { mean = [0.5], std = [0.25] } }",
    )
    .unwrap();
    assert_eq!(options.validation, HeldOut::Count(20));
    assert_eq!(options.test, Some(HeldOut::Fraction(0.25)));
    assert_eq!(toml::from_str::<Options>(&toml::to_string(&options).unwrap()).unwrap(), options);
    let default = Options::default();
    assert_eq!(toml::from_str::<Options>(&toml::to_string(&default).unwrap()).unwrap(), default);
    let error = toml::from_str::<Options>("sede = 1").unwrap_err().to_string();
    assert!(error.contains("sede"), "{error}");
    let error = toml::from_str::<Options>("validation = 'half'").unwrap_err().to_string();
    assert!(error.contains("a count such as 5000 or a fraction such as 0.1"), "{error}");

    let folder = table("1,2,10.5\n2,2,30\n3,2,80\n");
    let measured = load_table(&folder, Task::Regression).unwrap().normalisation;
    let text = serde_json::to_string(&measured).unwrap();
    assert_eq!(serde_json::from_str::<Normalisation>(&text).unwrap(), measured);
    for source in Source::ALL {
        assert_eq!(source.name().parse::<Source>().unwrap(), source);
    }
    assert!("mnist".parse::<Source>().is_err());
}

// Batches

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
            let value = f32::from(raw[sample * 3072 + element]) / 255.0;
            let expected = (value - normalisation.mean[channel]) / normalisation.std[channel];
            assert_eq!(batch.inputs[position * 3072 + element], expected);
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

// The real sets

#[test]
fn cifar10_has_5000_images_a_class_and_the_known_statistics() {
    let Some(folder) = shared("cifar10") else { return };
    let splits = load(&all(&folder)).unwrap();
    assert_eq!(splits.train.class_counts(), [5000; 10]);
    assert_eq!(names(&splits.train)[..2], ["airplane".to_owned(), "automobile".to_owned()]);
    // Both are known to five digits.
    let Normalisation { mean, std, .. } = splits.normalisation;
    for (found, known) in mean.iter().zip([0.49140, 0.48216, 0.44653]) {
        assert!((found - known).abs() < 0.6e-5, "{found} {known}");
    }
    for (found, known) in std.iter().zip([0.24703, 0.24349, 0.26159]) {
        assert!((found - known).abs() < 0.6e-5, "{found} {known}");
    }
}

#[test]
fn fashion_mnist_has_6000_and_1000_images_a_class() {
    let Some(folder) = shared("fashion_mnist") else { return };
    let options = Options { validation: HeldOut::Count(0), ..Options::at(&folder).unwrap() };
    let splits = load(&options).unwrap();
    assert_eq!(splits.name, "fashion_mnist");
    assert_eq!(splits.train.class_counts(), [6000; 10]);
    assert_eq!(splits.test.as_ref().unwrap().class_counts(), [1000; 10]);
    assert_eq!(splits.train.shape(), Shape::image(1, 28, 28));
    // As published with many implementations: 0.2860 and 0.3530.
    assert!((splits.normalisation.mean[0] - 0.2860).abs() < 1e-4);
    assert!((splits.normalisation.std[0] - 0.3530).abs() < 1e-4);
}

#[test]
fn the_classical_tables_are_read_or_refused_for_their_known_reason() {
    let Some(folder) = shared("tabular") else { return };
    let read = |file: &str, task| load(&Options { task, ..all(&folder.join(file)) });
    for (file, samples, features, classes) in [
        ("iris.csv", 150, 4, 3),
        ("wine.csv", 178, 13, 3),
        ("sonar.csv", 208, 60, 2),
        ("ionosphere.csv", 351, 34, 2),
        ("banknote_authentication.csv", 1372, 4, 2),
        ("winequality-red.csv", 1599, 11, 6),
    ] {
        let train = read(file, Task::Classification).unwrap().train;
        assert_eq!((train.len(), train.shape()), (samples, Shape::table(features)), "{file}");
        assert_eq!(train.classes(), Some(classes), "{file}");
    }
    assert!(read("winequality-red.csv", Task::Regression).is_ok());
    // The second feature of ionosphere is constant.
    let ionosphere = read("ionosphere.csv", Task::Classification).unwrap();
    assert_eq!(ionosphere.normalisation.std[1], 1.0);
    let message = read("abalone.csv", Task::Regression).unwrap_err().to_string();
    assert!(message.ends_with("line 1, column 1: \"M\": expected a number"), "{message}");
    let error = read("breast-cancer-wisconsin.csv", Task::Classification).unwrap_err();
    assert!(
        matches!(error, DataError::BadCell { line: 24, fault: CellFault::Missing, .. }),
        "{error}"
    );
}
