//! What can go wrong between a path and a training set: every failure names the file, the place in
//! it, what was found and what was expected. Every message is one line.

use std::path::PathBuf;

use super::table::listed as names;
use super::{CellFault, HeldOut, Place, Shape, Source, TableFault};

/// Why a data set could not be read, split or batched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A path does not exist.
    #[error("{}: no such file or folder", path.display())]
    Missing {
        /// The path asked for.
        path: PathBuf,
    },
    /// A folder was given where a file is read.
    #[error("{}: is a folder, expected a file", path.display())]
    NotAFile {
        /// The path asked for.
        path: PathBuf,
    },
    /// A file was given where a folder is read.
    #[error("{}: is a file, expected the folder that holds the data files", path.display())]
    NotAFolder {
        /// The path asked for.
        path: PathBuf,
    },
    /// A folder holds none of the files that its format needs.
    #[error("{}: holds none of {}", folder.display(), tried.join(", "))]
    NotFound {
        /// The folder searched.
        folder: PathBuf,
        /// The file names looked for.
        tried: Vec<String>,
    },
    /// The operating system refused to open or read a file.
    #[error("{}: {cause}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// A gzip stream is truncated or corrupt.
    #[error("{}: {place}: the gzip stream is {}", file.display(),
        if *truncated { "truncated" } else { "corrupt, or not gzip at all" })]
    Gzip {
        /// The file.
        file: PathBuf,
        /// Where decompression stopped.
        place: Place,
        /// Whether the stream ends too early; if not, its contents are wrong.
        truncated: bool,
    },
    /// A file named as plain data is gzip-compressed.
    #[error("{}: is gzip-compressed; its name should end in .gz", file.display())]
    UnexpectedGzip {
        /// The file.
        file: PathBuf,
    },
    /// A file ends in the middle of a header or record.
    #[error("{}: {place}: the file ends after {found} of {expected} bytes", file.display())]
    WrongLength {
        /// The file.
        file: PathBuf,
        /// The header or record that is cut.
        place: Place,
        /// Bytes that it should have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// A file goes on after its last record.
    #[error("{}: goes on after the {records} records that its header announces", file.display())]
    TrailingBytes {
        /// The file.
        file: PathBuf,
        /// Records announced.
        records: u64,
    },
    /// A label is not one of the classes.
    #[error("{}: record {record}: label {found}, expected {} to {}", file.display(), expected[0],
        expected[1])]
    BadLabel {
        /// The file.
        file: PathBuf,
        /// The record, counted from 0.
        record: u64,
        /// The label found.
        found: u32,
        /// The first and the last label that there can be.
        expected: [u32; 2],
    },
    /// A file does not start as its format does.
    #[error("{}: magic number {found:#010x}, expected {expected:#010x} ({meaning})", file.display())]
    BadMagic {
        /// The file.
        file: PathBuf,
        /// The first four bytes.
        found: u32,
        /// What they should be.
        expected: u32,
        /// What the expected number stands for.
        meaning: &'static str,
    },
    /// Two files that belong together disagree on a count.
    #[error("{}: {found} {what}, expected {expected}", file.display())]
    CountMismatch {
        /// The file.
        file: PathBuf,
        /// What is counted.
        what: &'static str,
        /// The count in this file.
        found: u64,
        /// The count that belongs to it.
        expected: u64,
    },
    /// The images of the test set have another shape than those of the training set.
    #[error("{}: images of {found}, expected {expected} as in the training set", file.display())]
    ShapeMismatch {
        /// The file.
        file: PathBuf,
        /// The shape in this file.
        found: Shape,
        /// The shape of the training images.
        expected: Shape,
    },
    /// A file holds no sample.
    #[error("{}: holds no samples", file.display())]
    NoSamples {
        /// The file.
        file: PathBuf,
    },
    /// An image has another shape than a network takes.
    #[error(
        "{}: an image of {found}, but the network takes {expected}, and its run has no data.resize and \
         data.channels that would bring it there",
        file.display()
    )]
    OtherShape {
        /// The file.
        file: PathBuf,
        /// The image's shape.
        found: Shape,
        /// What the network takes.
        expected: Shape,
    },
    /// A PNG or JPEG file cannot be read.
    #[error("{}: {reason}", file.display())]
    BadPicture {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A path holds nothing to ask a network about.
    #[error(
        "{}: {}", path.display(),
        hint.as_deref().unwrap_or(
            "holds no images; expected a PNG or JPEG file or a folder of them, IDX images, or .bin files of \
             CIFAR"
        )
    )]
    NoInputs {
        /// The path.
        path: PathBuf,
        /// What was found, and what to do.
        hint: Option<String>,
    },
    /// There are more samples than 32-bit indices can count.
    #[error("{found} samples, expected at most {}", u32::MAX)]
    TooManySamples {
        /// Samples found.
        found: u64,
    },
    /// A cell of a table cannot be read.
    #[error("{}: line {line}, column {column}: {value:?}: {fault}", file.display())]
    BadCell {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column, counted from 1.
        column: usize,
        /// The cell's text, at most 40 characters of it.
        value: String,
        /// What is wrong with it.
        fault: CellFault,
    },
    /// A text file is neither UTF-8 nor UTF-16.
    #[error(
        "{}: line {line}: is not UTF-8 text (nor whole UTF-16 with its mark); save the file as UTF-8",
        file.display()
    )]
    NotText {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
    },
    /// A table cannot be read as it is.
    #[error("{}: {fault}", file.display())]
    Table {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        fault: TableFault,
    },
    /// Classes of a data set are not those of a run.
    #[error(
        "{}: classes {}; the run has {}, by whose names they are matched", path.display(), names(.found),
        names(.known)
    )]
    OtherClasses {
        /// The data set.
        path: PathBuf,
        /// Its classes.
        found: Vec<String>,
        /// Those of the run.
        known: Vec<String>,
    },
    /// Inputs or classes have other names than those that weights were trained for.
    #[error("{what} {}; the weights are for {}: {instead}", names(.found), names(.known))]
    OtherNames {
        /// What is named.
        what: &'static str,
        /// The names here.
        found: Vec<String>,
        /// Those of the weights.
        known: Vec<String>,
        /// What to do.
        instead: &'static str,
    },
    /// All training samples are of one class.
    #[error(
        "{data}: all training samples are of one class, {class:?}: there is nothing to tell apart"
    )]
    OneClass {
        /// The data set's name.
        data: String,
        /// The class.
        class: String,
    },
    /// A path's contents are no format known here.
    #[error("{}: holds no data set known here; expected {expected}", path.display())]
    Unrecognised {
        /// The path.
        path: PathBuf,
        /// The files that would have been recognised.
        expected: String,
    },
    /// A path holds something that is known, but cannot be read as it is.
    #[error("{}: {hint}", path.display())]
    NotAsItIs {
        /// The path.
        path: PathBuf,
        /// What was found, and what to do.
        hint: String,
    },
    /// A folder holds several sets of one format.
    #[error("{}: holds several sets; name a file of the one you mean: {}", path.display(),
        listed(files))]
    SeveralSets {
        /// The folder.
        path: PathBuf,
        /// A file of each set.
        files: Vec<PathBuf>,
    },
    /// No samples are held out of training.
    #[error("{}: no samples are held out of training, for testing or validation, so that there is \
        nothing to score a network on; set data.test or data.validation", path.display())]
    NothingHeldOut {
        /// The folder or file; empty for the built-in digits.
        path: PathBuf,
    },
    /// A folder holds files of two formats.
    #[error("{}: holds both {} and {} files; name the source", path.display(), formats[0], formats[1])]
    Ambiguous {
        /// The folder.
        path: PathBuf,
        /// The formats found.
        formats: [Source; 2],
    },
    /// A name stands for no source.
    #[error("no data source {name:?}; the sources are {}", Source::names())]
    UnknownSource {
        /// The name.
        name: String,
    },
    /// A source that reads files was asked for without a path.
    #[error("source {source_asked} needs a path")]
    NeedsPath {
        /// The source.
        source_asked: Source,
    },
    /// An option that this source does not take.
    #[error("option {option} does not apply to source {source_asked}: {reason}")]
    Unsupported {
        /// The option.
        option: &'static str,
        /// The source.
        source_asked: Source,
        /// Why not, and what to do instead.
        reason: &'static str,
    },
    /// A held-out fraction outside 0 ≤ fraction < 1.
    #[error("option {option}: fraction {found}, expected at least 0 and less than 1")]
    BadFraction {
        /// The option.
        option: &'static str,
        /// The fraction.
        found: f64,
    },
    /// Holding out that many samples leaves none to train on.
    #[error("option {option}: holding out {asked} of {available} samples leaves none to train on")]
    HeldOutTooMany {
        /// The option.
        option: &'static str,
        /// What was asked for.
        asked: HeldOut,
        /// The samples there are.
        available: usize,
    },
    /// A limit of zero leaves nothing.
    #[error("option {option}: 0, expected at least 1")]
    ZeroLimit {
        /// The option.
        option: &'static str,
    },
    /// A shape that images cannot be given.
    #[error("option {option}: {found}, expected {expected}")]
    BadShape {
        /// The option.
        option: &'static str,
        /// What was asked for.
        found: usize,
        /// What could have been.
        expected: &'static str,
    },
    /// Inputs or targets do not fit each other.
    #[error("{what}: {found}, expected {expected}")]
    BadSamples {
        /// What does not fit.
        what: &'static str,
        /// The number found.
        found: usize,
        /// The number expected.
        expected: usize,
    },
    /// A normalisation does not fit the samples.
    #[error("normalisation: {what}: {found}, expected {expected}")]
    BadNormalisation {
        /// What does not fit.
        what: &'static str,
        /// The number found.
        found: f64,
        /// What was expected.
        expected: String,
    },
    /// An augmentation that these samples cannot take.
    #[error("augmentation: {what} on inputs of {shape}: {expected}")]
    BadAugment {
        /// The option and its value.
        what: String,
        /// The samples' shape.
        shape: Shape,
        /// What was expected.
        expected: &'static str,
    },
    /// A number is out of the range of single precision, in which networks compute.
    #[error(
        "sample {index}: {what} is beyond single precision once it is normalised; is it in the units of \
         the training samples?"
    )]
    BeyondSingle {
        /// The sample's index.
        index: u32,
        /// Which of its numbers, counted from 1 as columns are.
        what: String,
    },
    /// A sample's index is out of range.
    #[error("sample {index}, expected less than {len}")]
    BadIndex {
        /// The index.
        index: u32,
        /// The number of samples.
        len: usize,
    },
}

fn listed(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}
