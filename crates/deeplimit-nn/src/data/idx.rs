//! IDX files, the layout of MNIST (Y. LeCun, C. Cortes, C. Burges) and Fashion-MNIST (H. Xiao,
//! K. Rasul, R. Vollgraf, 2017): a magic number, the dimensions, then bytes, row-major.
//!
//! A folder holds `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, as a rule also the pair
//! `t10k-…`; the names may have a dot for the dash before `idx`, as some copies do, and end in
//! `.gz`. A file `classes.txt`, one name a line, names the classes and says how many there are;
//! without it they are 0 to 9.

use std::path::Path;

use super::read::{self, Reader};
use super::split::Raw;
use super::{DataError, Inputs, Place, Samples, Shape, Targets};

const IMAGES: (u32, &str) = (0x0803, "IDX images: unsigned bytes, 3 dimensions");
const LABELS: (u32, &str) = (0x0801, "IDX labels: unsigned bytes, 1 dimension");
const TRAIN_IMAGES: [&str; 2] = ["train-images-idx3-ubyte", "train-images.idx3-ubyte"];
const TRAIN_LABELS: [&str; 2] = ["train-labels-idx1-ubyte", "train-labels.idx1-ubyte"];
const TEST_IMAGES: [&str; 2] = ["t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"];
const TEST_LABELS: [&str; 2] = ["t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"];

/// Whether a folder holds training images or labels.
pub(super) fn is_here(folder: &Path) -> bool {
    read::find(folder, &TRAIN_IMAGES).is_some() || read::find(folder, &TRAIN_LABELS).is_some()
}

/// The file names that make a folder an IDX set.
pub(super) fn expected() -> &'static str {
    "train-images-idx3-ubyte(.gz)"
}

/// Reads a folder.
pub(super) fn load(folder: &Path) -> Result<Raw, DataError> {
    read::require_folder(folder)?;
    let names = match read::find(folder, &["classes.txt"]) {
        Some(file) => read::names(&file)?,
        None => (0..10).map(|class| class.to_string()).collect(),
    };
    let images = read::require(folder, &TRAIN_IMAGES)?;
    let labels = read::require(folder, &TRAIN_LABELS)?;
    let train = pair(&images, &labels, &names)?;
    let mut files = vec![images, labels];
    let has_test =
        read::find(folder, &TEST_IMAGES).is_some() || read::find(folder, &TEST_LABELS).is_some();
    let mut test = None;
    if has_test {
        // One of the pair without the other is an error, not a set without a test part.
        let images = read::require(folder, &TEST_IMAGES)?;
        let labels = read::require(folder, &TEST_LABELS)?;
        let part = pair(&images, &labels, &names)?;
        if part.shape() != train.shape() {
            let (found, expected) = (part.shape(), train.shape());
            return Err(DataError::ShapeMismatch { file: images, found, expected });
        }
        files.extend([images, labels]);
        test = Some(part);
    }
    Ok(Raw { train, test, files })
}

fn pair(images: &Path, labels: &Path, names: &[String]) -> Result<Samples, DataError> {
    let (dimensions, pixels) = array::<3>(images, IMAGES)?;
    let [count, height, width] = dimensions;
    let ([label_count], labels_read) = array::<1>(labels, LABELS)?;
    if label_count != count {
        let (file, what) = (labels.to_owned(), "labels");
        let (found, expected) = (u64::from(label_count), u64::from(count));
        return Err(DataError::CountMismatch { file, what, found, expected });
    }
    let classes = names.len() as u32;
    for (record, &label) in labels_read.iter().enumerate() {
        let (record, found) = (record as u64, u32::from(label));
        if found >= classes {
            return Err(DataError::BadLabel { file: labels.to_owned(), record, found, classes });
        }
    }
    Samples::new(
        Shape::image(1, height as usize, width as usize),
        Inputs::Bytes { bytes: pixels, full: 255 },
        Targets::Classes {
            labels: labels_read.into_iter().map(u32::from).collect(),
            names: names.to_vec(),
        },
    )
}

/// Reads one IDX file of `D` dimensions: its dimensions and its bytes.
fn array<const D: usize>(
    path: &Path,
    (magic, meaning): (u32, &'static str),
) -> Result<([u32; D], Vec<u8>), DataError> {
    let mut reader = Reader::open(path)?;
    let mut word = || -> Result<u32, DataError> {
        let mut bytes = [0; 4];
        reader.exact(&mut bytes, Place::Header)?;
        Ok(u32::from_be_bytes(bytes))
    };
    let found = word()?;
    if found != magic {
        let file = path.to_owned();
        return Err(DataError::BadMagic { file, found, expected: magic, meaning });
    }
    let mut dimensions = [0; D];
    for dimension in &mut dimensions {
        *dimension = word()?;
    }
    if dimensions.contains(&0) {
        return Err(DataError::NoSamples { file: path.to_owned() });
    }
    let count = u64::from(dimensions[0]);
    let size = dimensions[1..].iter().map(|&dimension| u64::from(dimension)).product();
    let bytes = reader.records(count, size)?;
    reader.end(count)?;
    Ok((dimensions, bytes))
}
