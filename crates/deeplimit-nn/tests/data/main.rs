//! The data room, from files on disk to batches.
//!
//! Small files are made in temporary folders. Tests on the real sets read the folder `shared/data`
//! beside the repository and say that they skip where it is not there.

mod batches;
mod cifar;
mod digits;
mod hints;
mod idx;
mod options;
mod real;
mod reshape;
mod scored;
mod table;
mod understood;

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
    load(&Options { task: Some(task), ..all(&folder.path().join("table.csv")) })
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
