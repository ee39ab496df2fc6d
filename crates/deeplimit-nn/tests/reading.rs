//! Reading data takes the memory of what is read, and no file can ask for more.

#[path = "../../deeplimit/tests/common/counting.rs"]
mod counting;

use deeplimit_nn::data::{
    HeldOut, Normalisation, Normalise, Options, Schema, Shape, Unlabelled, load, load_scored,
};
use flate2::{Compression, write::GzEncoder};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use tempfile::TempDir;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Tests of this file wait for one another: they share the allocator.
static ALONE: Mutex<()> = Mutex::new(());

/// Most of what a reader keeps for itself: buffers, and what inflating takes.
const BUFFERS: usize = 256 << 10;

/// Records of a file of CIFAR-10.
const RECORDS: usize = 400;
const PIXELS: usize = 3072;

/// A number and a label a record.
const BESIDE: usize = 8;

/// Images that do not pack.
fn records(seed: usize) -> Vec<u8> {
    let noise = |i: usize| {
        let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 55) as u8
    };
    let record = |record: usize| {
        let first = (seed * RECORDS + record) * PIXELS;
        std::iter::once((record % 10) as u8).chain((first..first + PIXELS).map(noise))
    };
    (0..RECORDS).flat_map(record).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

/// Five training files, three of them packed, and a test file if asked for.
fn cifar(test: bool) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: String, bytes: Vec<u8>| fs::write(folder.path().join(name), bytes);
    for number in 1..=5 {
        let bytes = records(number);
        match number % 2 {
            0 => write(format!("data_batch_{number}.bin"), bytes),
            _ => write(format!("data_batch_{number}.bin.gz"), gzip(&bytes)),
        }
        .expect("written");
    }
    if test {
        write("test_batch.bin.gz".to_owned(), gzip(&records(6))).expect("written");
    }
    folder
}

fn most<T: Send>(work: impl FnOnce() -> T + Send) -> (T, usize) {
    counting::peak_on(1, work)
}

#[test]
fn what_is_scored_on_takes_its_own_memory_and_a_whole_set_once() {
    let _alone = ALONE.lock();
    let file = RECORDS * (PIXELS + BESIDE);
    let options = |folder: &Path| Options {
        normalise: Normalise::Off,
        validation: HeldOut::Fraction(0.1),
        ..Options::at(folder).expect("CIFAR-10")
    };
    let with_test = cifar(true);
    let (scored, bytes) = most(|| load_scored(&options(with_test.path())).expect("read"));
    assert_eq!(scored.samples.len(), RECORDS);
    assert!(bytes < file + BUFFERS, "{bytes} for a file of {file}");

    let without = cifar(false);
    let half = Options { test: Some(HeldOut::Count(RECORDS / 2)), ..options(without.path()) };
    let (scored, bytes) = most(|| load_scored(&half).expect("read"));
    assert_eq!(scored.samples.rows()[0] as usize, 5 * RECORDS - RECORDS / 2);
    assert!(bytes < file + file / 2 + BUFFERS, "{bytes} for half a file of {file}");

    let (splits, bytes) = most(|| load(&half).expect("read"));
    assert_eq!(splits.train.len() + splits.validation.len(), 5 * RECORDS - RECORDS / 2);
    // The set, and copies of what is held out of it: half a file, and a tenth of the rest.
    assert!(bytes < 5 * file + file / 2 + 45 * file / 100 + BUFFERS, "{bytes}, {file} a file");
}

#[test]
fn a_file_that_announces_much_is_not_believed() {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().expect("a folder");
    // The last bytes of a gzip stream are its length unpacked.
    let mut packed = gzip(&records(1)[..3073]);
    let end = packed.len() - 4;
    packed[end..].copy_from_slice(&u32::MAX.to_le_bytes());
    fs::write(folder.path().join("data_batch_1.bin.gz"), packed).expect("written");
    // A header of IDX images announces 4 billion of 65,536 pixels.
    let header = [0x0803, u32::MAX, 256, 256].into_iter().flat_map(u32::to_be_bytes);
    let images: Vec<u8> = header.chain([0; 100]).collect();
    fs::write(folder.path().join("images"), images).expect("written");
    let options = Options::at(folder.path()).expect("CIFAR-10");
    let (outcome, bytes) = most(|| load(&options).map(|_| ()));
    assert!(outcome.is_err() && bytes < BUFFERS, "{bytes}");
    let takes = Schema { shape: Some(Shape::image(1, 256, 256)), ..Schema::default() };
    let path = folder.path().join("images");
    let (outcome, bytes) = most(|| Unlabelled::open(&path, &options, &takes).map(|_| ()));
    assert!(outcome.is_err() && bytes < BUFFERS, "{bytes}");
}

#[test]
fn a_picture_of_too_many_pixels_is_refused_before_it_is_unpacked() {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bomb.png");
    let file = fs::File::create(&path).expect("created");
    // 30,000 × 30,000 pixels, of which none follow.
    let mut encoder = png::Encoder::new(file, 30_000, 30_000);
    encoder.set_color(png::ColorType::Grayscale);
    drop(encoder.write_header().expect("a header"));
    let shape = Shape::image(1, 8, 8);
    let takes = Schema { shape: Some(shape), ..Schema::default() };
    let options = Options { resize: Some(8), channels: Some(1), ..Options::default() };
    let normalisation = Normalisation::identity(shape);
    let read = || Unlabelled::open(&path, &options, &takes)?.read(0..1, &normalisation);
    let (outcome, bytes) = most(read);
    let text = outcome.expect_err("too large").to_string();
    assert!(text.contains("30000 × 30000 pixels, of which at most 100000000"), "{text}");
    assert!(bytes < BUFFERS, "{bytes}");
}
