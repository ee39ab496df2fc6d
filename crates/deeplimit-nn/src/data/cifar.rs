//! CIFAR-10 in its binary layout (A. Krizhevsky, Learning Multiple Layers of Features from Tiny
//! Images, 2009): a record is one label byte and 3 × 32 × 32 pixel bytes, red, green, blue.
//!
//! Read are `data_batch_1.bin` to `data_batch_5.bin`, those that are present, in order;
//! `test_batch.bin` and `batches.meta.txt` (ten class names) where present. Each may be gzipped
//! with `.gz` at the end of its name; of a pair the plain file is read.
//!
//! A file may hold any number of whole records, so that a file cut exactly between two records is
//! not seen here; its gzip twin would be.

use std::path::{Path, PathBuf};

use super::read::{self, Reader};
use super::split::Raw;
use super::{DataError, Inputs, Place, Samples, Shape, Targets};

const CLASSES: usize = 10;
const NAMES: [&str; CLASSES] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
const SHAPE: Shape = Shape { channels: 3, height: 32, width: 32 };
const PIXELS: usize = 3 * 32 * 32;
const TRAIN: [&str; 5] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
];

/// Whether a folder holds a training batch.
pub(super) fn is_here(folder: &Path) -> bool {
    read::find(folder, &TRAIN).is_some()
}

/// The file names that make a folder a CIFAR-10 set.
pub(super) fn expected() -> &'static str {
    "data_batch_1.bin(.gz) to data_batch_5.bin(.gz)"
}

/// Reads a folder.
pub(super) fn load(folder: &Path) -> Result<Raw, DataError> {
    read::require_folder(folder)?;
    let mut files: Vec<PathBuf> =
        TRAIN.iter().filter_map(|name| read::find(folder, &[name])).collect();
    if files.is_empty() {
        read::require(folder, &TRAIN)?;
    }
    let names = class_names(folder)?;
    let train = samples(&files, &names)?;
    let test = match read::find(folder, &["test_batch.bin"]) {
        Some(file) => {
            let test = samples(std::slice::from_ref(&file), &names)?;
            files.push(file);
            Some(test)
        }
        None => None,
    };
    Ok(Raw { train, test, files })
}

fn class_names(folder: &Path) -> Result<Vec<String>, DataError> {
    let Some(file) = read::find(folder, &["batches.meta.txt"]) else {
        return Ok(NAMES.map(str::to_owned).to_vec());
    };
    let names = read::names(&file)?;
    if names.len() != CLASSES {
        let (found, expected) = (names.len() as u64, CLASSES as u64);
        return Err(DataError::CountMismatch { file, what: "class names", found, expected });
    }
    Ok(names)
}

fn samples(files: &[PathBuf], names: &[String]) -> Result<Samples, DataError> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for file in files {
        append(file, &mut pixels, &mut labels)?;
    }
    pixels.shrink_to_fit();
    let targets = Targets::Classes { labels, names: names.to_vec() };
    Samples::new(SHAPE, Inputs::Bytes { bytes: pixels, full: 255 }, targets)
}

/// Appends the records of one file.
fn append(path: &Path, pixels: &mut Vec<u8>, labels: &mut Vec<u32>) -> Result<(), DataError> {
    let mut reader = Reader::open(path)?;
    let mut record = [0; 1 + PIXELS];
    for index in 0.. {
        let place = Place::Record(index);
        match reader.fill(&mut record, place)? {
            0 if index == 0 => return Err(DataError::NoSamples { file: path.to_owned() }),
            0 => break,
            found if found < record.len() => {
                let (expected, found) = (record.len() as u64, found as u64);
                let file = path.to_owned();
                return Err(DataError::WrongLength { file, place, expected, found });
            }
            _ => {}
        }
        let label = u32::from(record[0]);
        if label as usize >= CLASSES {
            let (file, classes) = (path.to_owned(), CLASSES as u32);
            return Err(DataError::BadLabel { file, record: index, found: label, classes });
        }
        labels.push(label);
        pixels.extend_from_slice(&record[1..]);
    }
    Ok(())
}
