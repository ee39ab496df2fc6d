//! IDX files, the layout of MNIST (Y. LeCun, C. Cortes, C. Burges), Fashion-MNIST (H. Xiao, K. Rasul,
//! R. Vollgraf, 2017) and EMNIST (G. Cohen, S. Afshar, J. Tapson, A. van Schaik, 2017): a magic number, the
//! dimensions, then bytes, row-major.
//!
//! A folder holds `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, as a rule also the pair
//! `t10k-…`; the names may have a dot for the dash before `idx`, as some copies do, and end in
//! `.gz`. Those of EMNIST begin with `emnist-letters-` or the like, and its second pair is `test-…`. A file
//! `classes.txt`, one name a line, names the classes and says how many there are; without it they are the
//! characters of EMNIST, else 0 to 9. The labels of `emnist-letters` begin with 1.

use std::path::{Path, PathBuf};

use super::read::{self, Reader};
use super::split::{Raw, Wanted};
use super::{DataError, Inputs, Place, Samples, Shape, Targets};

const IMAGES: (u32, &str) = (0x0803, "IDX images: unsigned bytes, 3 dimensions");
const LABELS: (u32, &str) = (0x0801, "IDX labels: unsigned bytes, 1 dimension");

/// How the files of a set are named, and what its labels stand for.
#[derive(Debug, PartialEq, Eq)]
struct Set {
    prefix: &'static str,
    /// What the names of the test pair begin with.
    test: &'static str,
    /// The label of the first class.
    first: u32,
    /// The name of each class.
    names: &'static str,
}

const DIGITS: &str = "0123456789";
const MERGED: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt";
const CASED: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const fn emnist(prefix: &'static str, first: u32, names: &'static str) -> Set {
    Set { prefix, test: "test", first, names }
}

const SETS: [Set; 7] = [
    Set { prefix: "", test: "t10k", first: 0, names: DIGITS },
    emnist("emnist-letters-", 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    emnist("emnist-balanced-", 0, MERGED),
    emnist("emnist-bymerge-", 0, MERGED),
    emnist("emnist-byclass-", 0, CASED),
    emnist("emnist-digits-", 0, DIGITS),
    emnist("emnist-mnist-", 0, DIGITS),
];

/// What a file of a set holds.
#[derive(Clone, Copy)]
enum Holds {
    Images,
    Labels,
}

impl Set {
    /// The names that a file may have.
    fn names_of(&self, part: &str, holds: Holds) -> [String; 2] {
        let Self { prefix, .. } = self;
        let holds = match holds {
            Holds::Images => ["images", "idx3"],
            Holds::Labels => ["labels", "idx1"],
        };
        ["-", "."].map(|dash| format!("{prefix}{part}-{}-ubyte", holds.join(dash)))
    }

    /// All names of its files, training images first.
    fn all_names(&self) -> impl Iterator<Item = String> {
        let parts = ["train", self.test].into_iter();
        parts.flat_map(|part| {
            let names = [Holds::Images, Holds::Labels].map(|holds| self.names_of(part, holds));
            names.into_iter().flatten()
        })
    }

    /// A file of the set in a folder.
    fn any_in(&self, folder: &Path) -> Option<PathBuf> {
        let names: Vec<String> = self.all_names().collect();
        read::find(folder, &names)
    }

    /// The class names of a folder.
    fn classes(&self, folder: &Path) -> Result<Vec<String>, DataError> {
        match read::find(folder, &["classes.txt"]) {
            Some(file) => read::names(&file),
            None => Ok(self.names.chars().map(String::from).collect()),
        }
    }

    /// Reads the images and the labels of a part.
    fn pair(&self, folder: &Path, part: &str, names: &[String]) -> Result<Pair, DataError> {
        let images = read::require(folder, &self.names_of(part, Holds::Images))?;
        let labels = read::require(folder, &self.names_of(part, Holds::Labels))?;
        let samples = self.samples(&images, &labels, names)?;
        Ok(Pair { samples, files: [images, labels] })
    }

    fn samples(
        &self,
        images: &Path,
        labels: &Path,
        names: &[String],
    ) -> Result<Samples, DataError> {
        let (shape, inputs) = self::images(images)?;
        let count = (inputs.len() / shape.elements()) as u32;
        let ([label_count], labels_read) = array::<1>(labels, LABELS)?;
        if label_count != count {
            let (file, what) = (labels.to_owned(), "labels");
            let (found, expected) = (u64::from(label_count), u64::from(count));
            return Err(DataError::CountMismatch { file, what, found, expected });
        }
        let expected = [self.first, self.first + (names.len() as u32).saturating_sub(1)];
        for (record, &label) in labels_read.iter().enumerate() {
            let (record, found) = (record as u64, u32::from(label));
            if found < expected[0] || found > expected[1] {
                let file = labels.to_owned();
                return Err(DataError::BadLabel { file, record, found, expected });
            }
        }
        let labels = labels_read.into_iter().map(|label| u32::from(label) - self.first).collect();
        Samples::new(shape, inputs, Targets::Classes { labels, names: names.to_vec() })
    }
}

/// One part of a set.
struct Pair {
    samples: Samples,
    files: [PathBuf; 2],
}

/// Whether a path is a folder with IDX files, or one of them.
pub(super) fn is_here(path: &Path) -> bool {
    match path.is_file() {
        true => set_of_file(path).is_some(),
        false => SETS.iter().any(|set| set.any_in(path).is_some()),
    }
}

/// The file names that make a folder an IDX set.
pub(super) fn expected() -> &'static str {
    "train-images-idx3-ubyte(.gz)"
}

/// A set's name in reports, where the names of its files tell it.
pub(super) fn name(path: &Path) -> Option<String> {
    let (_, set) = set_at(path).ok()?;
    set.prefix.strip_suffix('-').map(str::to_owned)
}

fn set_of_file(path: &Path) -> Option<&'static Set> {
    let name = path.file_name()?.to_string_lossy();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    SETS.iter().find(|set| set.all_names().any(|name| name == plain))
}

/// The folder and the set that a path stands for: of several sets in a folder, one is named by a file.
fn set_at(path: &Path) -> Result<(&Path, &'static Set), DataError> {
    if path.is_file()
        && let (Some(set), Some(folder)) = (set_of_file(path), path.parent())
    {
        let here = folder.as_os_str().is_empty();
        return Ok((if here { Path::new(".") } else { folder }, set));
    }
    read::require_folder(path)?;
    let found: Vec<(&Set, PathBuf)> =
        SETS.iter().filter_map(|set| Some((set, set.any_in(path)?))).collect();
    match &found[..] {
        [] => {
            read::require(path, &SETS[0].names_of("train", Holds::Images)).map(|_| (path, &SETS[0]))
        }
        [(set, _)] => Ok((path, set)),
        _ => {
            let files = found.into_iter().map(|(_, file)| file).collect();
            Err(DataError::SeveralSets { path: path.to_owned(), files })
        }
    }
}

/// Reads a set, or what is needed of it.
pub(super) fn load(path: &Path, wanted: Wanted) -> Result<Raw, DataError> {
    let (folder, set) = set_at(path)?;
    let names = set.classes(folder)?;
    // One of the pair without the other is an error, not a set without a test part.
    let test_names =
        [Holds::Images, Holds::Labels].map(|holds| set.names_of(set.test, holds)).concat();
    let has_test = read::find(folder, &test_names).is_some();
    let test = || set.pair(folder, set.test, &names);
    if has_test && matches!(wanted, Wanted::Scored(_)) {
        let Pair { samples, files } = test()?;
        return Ok(Raw { train: None, test: Some(samples), files: files.into(), table: None });
    }
    let Pair { samples: train, files } = set.pair(folder, "train", &names)?;
    let mut files = Vec::from(files);
    let test = match has_test {
        false => None,
        true => {
            let Pair { samples, files: [images, labels] } = test()?;
            if samples.shape() != train.shape() {
                let (found, expected) = (samples.shape(), train.shape());
                return Err(DataError::ShapeMismatch { file: images, found, expected });
            }
            files.extend([images, labels]);
            Some(samples)
        }
    };
    Ok(Raw { train: Some(train), test, files, table: None })
}

/// Whether a file begins as IDX images do.
pub(super) fn is_images(path: &Path) -> bool {
    let mut bytes = [0; 4];
    let begins = Reader::open(path).and_then(|mut reader| reader.exact(&mut bytes, Place::Header));
    begins.is_ok() && u32::from_be_bytes(bytes) == IMAGES.0
}

/// Reads a file of images.
pub(super) fn images(path: &Path) -> Result<(Shape, Inputs), DataError> {
    let ([_, height, width], bytes) = array::<3>(path, IMAGES)?;
    let shape = Shape::image(1, height as usize, width as usize);
    Ok((shape, Inputs::Bytes { bytes, full: 255 }))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_of_emnist_have_their_numbers_of_classes() {
        let classes = |prefix: &str| {
            SETS.iter().find(|set| set.prefix == prefix).map(|set| set.names.chars().count())
        };
        for (prefix, count) in [
            ("", 10),
            ("emnist-letters-", 26),
            ("emnist-balanced-", 47),
            ("emnist-bymerge-", 47),
            ("emnist-byclass-", 62),
        ] {
            assert_eq!(classes(prefix), Some(count), "{prefix}");
        }
    }
}
