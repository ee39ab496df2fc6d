//! Data sets: reading, splitting, normalising, and batches in an order that a seed decides.
//!
//! ```text
//! path ── Source ──> Samples (raw) ── split ──> train, validation, test ── batch ──> Batch (f32)
//! ```
//!
//! - [`load`] reads the built-in digits, a CIFAR-10 folder, a folder of IDX files (MNIST,
//!   Fashion-MNIST) or a table, as [`Options`] say; [`detect`] finds out which a path holds.
//! - Images stay bytes in memory; [`batch`] converts, resizes, normalises and augments one batch at a
//!   time.
//! - Statistics are measured on the training samples alone ([`Normalisation`]).
//! - Nothing depends on a random generator's state: the split is decided by the seed,
//!   [`epoch_order`] by seed and epoch, an augmentation ([`Draw`]) by seed, epoch and sample.
//! - Nothing is guessed or repaired silently: a file that is cut, garbled or of another format is a
//!   [`DataError`] that names the file, the record or line, what was found and what was expected.
//!
//! # Example
//!
//! ```
//! use std::num::NonZeroUsize;
//! use deeplimit_nn::data::{HeldOut, Options, batch, chunks, epoch_order, load};
//!
//! let options = Options { validation: HeldOut::Count(500), ..Options::default() };
//! let digits = load(&options)?;
//! assert_eq!((digits.train.len(), digits.validation.len()), (3323, 500));
//!
//! let order = epoch_order(digits.train.len(), 1, 0); // seed 1, epoch 0
//! for indices in chunks(&order, NonZeroUsize::new(64).unwrap(), true) {
//!     let batch = batch(&digits.train, indices, &digits.normalisation, None)?;
//!     assert_eq!(batch.inputs.len(), 64 * 8 * 8);
//! }
//! # Ok::<(), deeplimit_nn::data::DataError>(())
//! ```

mod augment;
mod batch;
mod cifar;
mod digits;
mod error;
mod idx;
mod lines;
mod normalise;
mod options;
mod place;
mod random;
mod read;
mod reshape;
mod samples;
mod split;
mod summary;
mod table;

use std::path::{Path, PathBuf};

pub use augment::{Augment, Draw};
pub use batch::{Batch, BatchTargets, batch, chunks, epoch_order};
pub use error::DataError;
pub use normalise::{Normalisation, TargetScale};
pub use options::{HeldOut, Normalise, Options, Source, Task};
pub use place::{CellFault, Place};
pub use samples::{Inputs, Samples, Shape, Targets};
pub use split::Splits;
pub use summary::{ClassCount, Summary, describe};

/// Reads, splits and normalises a data set.
///
/// # Errors
///
/// A [`DataError`] for options that contradict each other, files that are missing, cut, garbled or
/// of another format, and a split that leaves nothing to train on.
pub fn load(options: &Options) -> Result<Splits, DataError> {
    options.check()?;
    let path = options.path.clone().unwrap_or_default();
    let raw = match options.source {
        Source::Digits => {
            let (train, test) = digits::load()?;
            split::Raw { train, test: Some(test), files: Vec::new() }
        }
        Source::Cifar10 => cifar::load(&path)?,
        Source::Idx => idx::load(&path)?,
        Source::Csv => table::load(&path, options.task)?,
    };
    let seen = |samples: Samples| samples.seen(options.resize, options.channels);
    let raw = split::Raw { train: seen(raw.train), test: raw.test.map(seen), files: raw.files };
    split::split(raw, name(options.source, &path), options)
}

/// Finds out which format a folder or file holds, by file names.
///
/// # Errors
///
/// [`DataError::Missing`] where nothing is at the path, [`DataError::Unrecognised`] where nothing
/// known is, [`DataError::Ambiguous`] where a folder holds files of two formats.
pub fn detect(path: &Path) -> Result<Source, DataError> {
    if !path.exists() {
        return Err(DataError::Missing { path: path.to_owned() });
    }
    if path.is_file() && table::is_named(path) {
        return Ok(Source::Csv);
    }
    match (cifar::is_here(path), idx::is_here(path)) {
        (true, false) => Ok(Source::Cifar10),
        (false, true) => Ok(Source::Idx),
        (true, true) => {
            let formats = [Source::Cifar10, Source::Idx];
            Err(DataError::Ambiguous { path: path.to_owned(), formats })
        }
        (false, false) => Err(DataError::Unrecognised {
            path: path.to_owned(),
            expected: format!(
                "a folder with {} or {}, or a .csv or .csv.gz file",
                cifar::expected(),
                idx::expected()
            ),
        }),
    }
}

/// A set's name: the source's, or that of a table's file or an IDX folder.
fn name(source: Source, path: &Path) -> String {
    let own = match source {
        Source::Digits | Source::Cifar10 => None,
        Source::Idx => path.file_name().map(PathBuf::from),
        Source::Csv => path.file_name().map(|name| {
            let name = Path::new(name);
            let plain =
                if name.extension().is_some_and(|e| e == "gz") { name.file_stem() } else { None };
            Path::new(plain.unwrap_or(name.as_os_str())).with_extension("")
        }),
    };
    own.map_or_else(|| source.to_string(), |name| name.to_string_lossy().into_owned())
}
