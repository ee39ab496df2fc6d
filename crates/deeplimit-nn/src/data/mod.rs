//! Data sets: reading, splitting, normalising, and batches in an order that a seed decides.
//!
//! ```text
//! path ── Source ──> Samples (raw) ── split ──> train, validation, test ── batch ──> Batch (f32)
//! ```
//!
//! - [`load`] reads the built-in digits, a folder of CIFAR-10 or CIFAR-100, a folder of IDX files (MNIST,
//!   Fashion-MNIST, EMNIST) or a table, as [`Options`] say; [`load_scored`] what a trained network is scored
//!   on alone; [`detect`] finds out which a path holds.
//! - Images stay bytes in memory; [`batch`] converts, resizes, normalises and augments one batch at a
//!   time.
//! - Statistics are measured on the training samples alone ([`Normalisation`]). Tables are read, measured
//!   and normalised in double precision.
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
mod auto;
mod batch;
mod cifar;
mod digits;
mod error;
mod hint;
mod identity;
mod idx;
mod normalise;
mod options;
mod picture;
mod place;
mod random;
mod read;
mod reshape;
mod samples;
mod schema;
mod split;
mod summary;
mod table;
mod unlabelled;

use std::path::{Path, PathBuf};

use cifar::Layout;
use split::{Raw, Wanted};

pub use augment::{Augment, Draw};
pub use batch::{Batch, BatchTargets, batch, chunks, epoch_order, in_order};
pub use error::DataError;
pub use identity::{DataChanged, Digest, Identity, digests};
pub use normalise::{Normalisation, TargetScale};
pub use options::{HeldOut, Normalise, Options, Source, Task};
pub use place::{CellFault, Place};
pub use samples::{Inputs, Samples, Shape, Targets};
pub use schema::Schema;
pub use split::{Part, Scored, Splits};
pub use summary::{ClassCount, Summary, describe};
pub use table::{
    ColumnRef, Decimal, Feature, FeatureKind, Missing, Separator, TableFault, TableFormat,
    TableRows, TargetColumn,
};
pub use unlabelled::{InputName, Unlabelled};

/// Reads, splits and normalises a data set.
///
/// # Errors
///
/// A [`DataError`] for options that contradict each other, files that are missing, cut, garbled or
/// of another format, and a split that leaves nothing to train on.
pub fn load(options: &Options) -> Result<Splits, DataError> {
    let (raw, name) = raw(options, Wanted::All, None)?;
    split::split(raw, name, options)
}

/// Reads another data set as that of a run: classes are matched by name, the columns of a table, too, where both
/// have a header.
///
/// # Errors
///
/// As [`load`]; and where classes or columns are not those of the run.
pub fn load_by(options: &Options, schema: &Schema) -> Result<Splits, DataError> {
    let (raw, name) = raw(options, Wanted::All, Some(schema))?;
    split::split(raw, name, options)
}

/// Reads the samples that a trained network is scored on, those that it was not trained on: the test part,
/// or the validation part where there is none. Of the files that are not needed for that, nothing is read.
///
/// Statistics are those of the training samples: where they are not given, all is read to measure them.
///
/// # Errors
///
/// Those of [`load`], as far as it is read, and [`DataError::NothingHeldOut`].
pub fn load_scored(options: &Options) -> Result<Scored, DataError> {
    let normalisation = match options.normalise {
        Normalise::Measured => Some(load(options)?.normalisation),
        Normalise::Given(_) | Normalise::Off => None,
    };
    let (raw, name) = raw(options, Wanted::Scored(options.test), None)?;
    let scored = split::scored(raw, name, options)?;
    Ok(match normalisation {
        Some(normalisation) => Scored { normalisation, ..scored },
        None => scored,
    })
}

/// Reads what a network is to be scored on of another data set than its run's, as [`load_by`]: all of a table, the
/// part that [`load_scored`] takes of other sets.
///
/// # Errors
///
/// Those of [`load_by`] and [`load_scored`].
pub fn load_scored_by(options: &Options, schema: &Schema) -> Result<Scored, DataError> {
    let (raw, name) = raw(options, Wanted::Scored(options.test), Some(schema))?;
    match options.source {
        Source::Csv => split::whole(raw, name, options),
        _ => split::scored(raw, name, options),
    }
}

/// Reads the rows of a table that are to be predicted by a run with these options and this format; the file may
/// have the column of the target or not.
///
/// # Errors
///
/// As [`load_by`].
pub fn table_rows(
    path: &Path,
    options: &Options,
    format: &TableFormat,
) -> Result<TableRows, DataError> {
    table::rows_by(path, options, format)
}

/// Reads what is wanted, of a run's schema where one is given, and the set's name.
fn raw(
    options: &Options,
    wanted: Wanted,
    schema: Option<&Schema>,
) -> Result<(Raw, String), DataError> {
    options.check()?;
    let path = options.place().unwrap_or_default();
    let classes = schema.map(|schema| &schema.classes[..]).filter(|classes| !classes.is_empty());
    let format = schema.and_then(|schema| schema.table.as_ref());
    let read = match (options.source, Layout::of(options.source)) {
        (_, Some(layout)) => layout.load(&path, wanted),
        (Source::Idx, _) => idx::load(&path, wanted),
        (Source::Csv, _) => match format {
            Some(format) => table::load_by(&path, options, format, classes),
            None => table::load(&path, options),
        },
        _ => digits::load().map(|(train, test)| Raw {
            train: Some(train),
            test: Some(test),
            files: Vec::new(),
            table: None,
        }),
    };
    let mut raw = read.map_err(|error| explained(error, &path, options.source))?;
    if let Some(known) = classes {
        raw = raw.with_classes(known).map_err(|found| DataError::OtherClasses {
            path: path.clone(),
            found,
            known: known.to_vec(),
        })?;
    }
    Ok((raw.seen(options), name(options.source, &path)))
}

/// Files that are not there, with what lies there instead.
fn explained(error: DataError, path: &Path, asked: Source) -> DataError {
    let lost = matches!(
        error,
        DataError::NotFound { .. } | DataError::NotAFolder { .. } | DataError::NotAFile { .. }
    );
    let hint = match known(path) {
        _ if !lost => None,
        Some(found) if found != asked => {
            Some(format!("holds {found} files, but data.source is {asked}"))
        }
        _ => hint::hint(path),
    };
    hint.map_or(error, |hint| DataError::NotAsItIs { path: path.to_owned(), hint })
}

/// The one format that a folder or file is named as.
fn known(path: &Path) -> Option<Source> {
    if path.is_file() && table::is_named(path) {
        return Some(Source::Csv);
    }
    match &found(path)[..] {
        [only] => Some(*only),
        _ => None,
    }
}

/// All formats of images whose file names are there.
fn found(path: &Path) -> Vec<Source> {
    let is_here = |source: &Source| match Layout::of(*source) {
        Some(layout) => layout.is_in(path),
        None => *source == Source::Idx && idx::is_here(path),
    };
    [Source::Cifar10, Source::Cifar100, Source::Idx].into_iter().filter(is_here).collect()
}

/// Finds out which format a folder or file holds, by file names.
///
/// # Errors
///
/// [`DataError::Missing`] where nothing is at the path, [`DataError::Unrecognised`] where nothing
/// known is, [`DataError::NotAsItIs`] where that can be made a data set, [`DataError::Ambiguous`] where a
/// folder holds files of two formats.
pub fn detect(path: &Path) -> Result<Source, DataError> {
    if !path.exists() {
        return Err(DataError::Missing { path: path.to_owned() });
    }
    if let Some(source) = known(path) {
        return Ok(source);
    }
    if let [first, second, ..] = found(path)[..] {
        return Err(DataError::Ambiguous { path: path.to_owned(), formats: [first, second] });
    }
    let path = path.to_owned();
    Err(match hint::hint(&path) {
        Some(hint) => DataError::NotAsItIs { path, hint },
        None => {
            let expected = [Source::Cifar10, Source::Cifar100]
                .map(|source| Layout::of(source).map_or_else(String::new, Layout::expected));
            let expected = format!(
                "a folder with {}, {} or {}, or a .csv or .tsv file (.csv.gz, .tsv.gz)",
                expected[0],
                expected[1],
                idx::expected()
            );
            DataError::Unrecognised { path, expected }
        }
    })
}

/// A set's name: the source's, or that of a table's file or an IDX folder.
fn name(source: Source, path: &Path) -> String {
    let own = match source {
        Source::Digits | Source::Cifar10 | Source::Cifar100 | Source::Cifar100Coarse => None,
        Source::Idx => {
            idx::name(path).map(PathBuf::from).or_else(|| Some(path.file_name()?.into()))
        }
        Source::Csv => path.file_name().map(|name| {
            let name = Path::new(name);
            let plain =
                if name.extension().is_some_and(|e| e == "gz") { name.file_stem() } else { None };
            Path::new(plain.unwrap_or(name.as_os_str())).with_extension("")
        }),
    };
    own.map_or_else(|| source.to_string(), |name| name.to_string_lossy().into_owned())
}
