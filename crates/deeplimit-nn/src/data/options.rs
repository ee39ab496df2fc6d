//! What to read, and how to split and normalise it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::table::{ColumnRef, Decimal, Missing, Separator};
use super::{DataError, Normalisation, Samples, auto, detect};

/// The format of a data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The built-in UCI digits, 8×8: 3,823 for training and 1,797 for testing.
    #[default]
    Digits,
    /// A folder in CIFAR-10's binary layout.
    Cifar10,
    /// A folder in CIFAR-100's binary layout, with its 100 classes.
    Cifar100,
    /// The same, with its 20 groups of classes.
    #[serde(rename = "cifar100-coarse")]
    Cifar100Coarse,
    /// A folder of IDX files, as MNIST, Fashion-MNIST and EMNIST come, or one of those files.
    Idx,
    /// A table, `.csv` or `.tsv`, or one of these with `.gz`.
    Csv,
}

impl Source {
    /// Every source.
    pub const ALL: [Source; 6] = [
        Source::Digits,
        Source::Cifar10,
        Source::Cifar100,
        Source::Cifar100Coarse,
        Source::Idx,
        Source::Csv,
    ];

    /// The name used in configuration files.
    pub fn name(self) -> &'static str {
        match self {
            Source::Digits => "digits",
            Source::Cifar10 => "cifar10",
            Source::Cifar100 => "cifar100",
            Source::Cifar100Coarse => "cifar100-coarse",
            Source::Idx => "idx",
            Source::Csv => "csv",
        }
    }

    /// All names, for messages.
    pub(super) fn names() -> String {
        Self::ALL.map(Source::name).join(", ")
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Source {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let found = Self::ALL.into_iter().find(|source| source.name() == name);
        found.ok_or_else(|| DataError::UnknownSource { name: name.to_owned() })
    }
}

/// What a table's target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// A class: text or a whole number.
    Classification,
    /// A real number.
    Regression,
}

/// How many samples are held out: a count, or a fraction rounded to the nearest count but at least
/// one sample if it is not zero.
///
/// In a configuration file a whole number is a count and a number with a point a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a count such as 5000 or a fraction such as 0.1")]
pub enum HeldOut {
    /// So many samples.
    Count(usize),
    /// This fraction of the samples, 0 ≤ fraction < 1.
    Fraction(f64),
}

impl HeldOut {
    /// The number of samples held out of `available`, which leaves at least one.
    pub(super) fn count(self, available: usize, option: &'static str) -> Result<usize, DataError> {
        let count = match self {
            HeldOut::Count(count) => count,
            HeldOut::Fraction(0.0) => 0,
            HeldOut::Fraction(found) if !(0.0..1.0).contains(&found) => {
                return Err(DataError::BadFraction { option, found });
            }
            HeldOut::Fraction(fraction) => ((fraction * available as f64).round() as usize).max(1),
        };
        if count >= available {
            return Err(DataError::HeldOutTooMany { option, asked: self, available });
        }
        Ok(count)
    }
}

impl fmt::Display for HeldOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeldOut::Count(count) => write!(f, "{count}"),
            HeldOut::Fraction(fraction) => write!(f, "{fraction} (a fraction)"),
        }
    }
}

/// Where the normalisation of inputs (and of a regression's targets) comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalise {
    /// Measured on the training samples.
    #[default]
    Measured,
    /// Given, as for a network trained elsewhere or by an earlier run.
    Given(Normalisation),
    /// None: inputs stay as they are.
    Off,
}

impl Normalise {
    /// The normalisation, measured on samples where it is to be measured.
    pub(super) fn of(&self, samples: &Samples) -> Result<Normalisation, DataError> {
        let normalisation = match self {
            Normalise::Measured => Normalisation::measure(samples),
            Normalise::Given(given) => given.clone(),
            Normalise::Off => Normalisation::identity(samples.shape()),
        };
        normalisation.check(samples)?;
        Ok(normalisation)
    }
}

/// Sides that images can be resized to.
const SIDES: std::ops::RangeInclusive<usize> = 2..=1024;

/// What to read, and how to split and normalise it.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `source` | `digits` | the format | `digits`, `cifar10`, `cifar100`, `cifar100-coarse`, `idx`, `csv` |
/// | `path` | none | the folder (`cifar…`, `idx`) or file (`csv`); none for `digits` | |
/// | `folder` | none | the folder that a relative path counts from; without one, where the process stands | |
/// | `task` | classes, unless the target looks like numbers | what a table's target is | `classification`, `regression`; the latter only with `csv` |
/// | `target` | the last column | the column that is predicted | a name of the header, or a number from 1 (the last is −1); only with `csv`, as all below to `missing` |
/// | `drop` | none | columns that are left out | names and numbers |
/// | `header` | `auto` | whether the first line names the columns | `auto`, `true`, `false` |
/// | `separator` | `auto` | what separates cells | `auto`, `,`, `;`, `tab`, `\|`, `space` |
/// | `decimal` | `auto` | what separates a number's fraction | `auto`, `.`, `,` |
/// | `categorical` | `auto` | columns that are categories: all of texts alone, or those that are named | `auto`, names and numbers |
/// | `missing` | `error` | what is done where a value is missing | `error`, `median`, `drop` |
/// | `validation` | `0.1` | training samples held out for validation | count, or 0 ≤ fraction < 1 |
/// | `test` | see below | samples held out for testing where the set has no test part | as above |
/// | `resize` | none | images become squares of this side, see the module `reshape` | 2 to 1024 pixels |
/// | `channels` | none | images get this many channels: one repeated, or the luminance of three | 1 or 3 |
/// | `limit_train` | none | train on so many samples at most | ≥ 1 |
/// | `limit_test` | none | test on so many samples at most | ≥ 1 |
/// | `seed` | 0 | chooses the validation samples and those left out by `limit_train` | |
/// | `normalise` | `measured` | see [`Normalise`] | `measured`, `off`, `given` with `mean` and `std` |
///
/// The test samples never depend on the seed. Where a set has no test part of its own, they are by
/// default the last 5,000 images of the CIFAR sets, by convention, and a fifth of an IDX set or a table,
/// by a fixed permutation; the training part is what remains, and validation is split off that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The format.
    pub source: Source,
    /// The folder or file; none for the built-in digits.
    pub path: Option<PathBuf>,
    /// The folder that a relative path counts from; without one, where the process stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// What a table's target is; without it classes, and an error where that is in doubt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// The column of a table that is predicted; without it the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<ColumnRef>,
    /// Columns of a table that are left out.
    #[serde(deserialize_with = "auto::one_or_more")]
    pub drop: Vec<ColumnRef>,
    /// Whether the first line of a table names the columns; found out where nothing is said.
    #[serde(with = "auto")]
    pub header: Option<bool>,
    /// What separates the cells of a table; found out where nothing is said.
    #[serde(with = "auto")]
    pub separator: Option<Separator>,
    /// What separates the fractions of a table's numbers; found out where nothing is said.
    #[serde(with = "auto")]
    pub decimal: Option<Decimal>,
    /// Columns of a table that are categories; where nothing is said, those that hold texts alone.
    #[serde(with = "auto::list")]
    pub categorical: Option<Vec<ColumnRef>>,
    /// What is done where a table has no value.
    pub missing: Missing,
    /// Training samples held out for validation, by a permutation drawn from the seed.
    pub validation: HeldOut,
    /// Samples held out for testing, only for a set that has no test part of its own.
    pub test: Option<HeldOut>,
    /// The side of the square that images are made, by lines between pixels, without antialiasing.
    pub resize: Option<usize>,
    /// The channels that images get: one repeated three times, or the luminance of three.
    pub channels: Option<usize>,
    /// Train on so many samples at most, the first by the seed's permutation.
    pub limit_train: Option<usize>,
    /// Test on so many samples at most, the first by a fixed permutation.
    pub limit_test: Option<usize>,
    /// The seed of the validation split.
    pub seed: u64,
    /// Where the normalisation comes from.
    pub normalise: Normalise,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            source: Source::Digits,
            path: None,
            folder: None,
            task: None,
            target: None,
            drop: Vec::new(),
            header: None,
            separator: None,
            decimal: None,
            categorical: None,
            missing: Missing::Error,
            validation: HeldOut::Fraction(0.1),
            test: None,
            resize: None,
            channels: None,
            limit_train: None,
            limit_test: None,
            seed: 0,
            normalise: Normalise::Measured,
        }
    }
}

impl Options {
    /// The default options for the data at a path, in the format that [`detect`] finds.
    ///
    /// # Errors
    ///
    /// Those of [`detect`].
    pub fn at(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        Ok(Self { source: detect(path)?, path: Some(path.to_owned()), ..Self::default() })
    }

    /// Where the folder or file lies.
    pub fn place(&self) -> Option<PathBuf> {
        let path = self.path.as_ref()?;
        Some(self.folder.as_ref().map_or_else(|| path.clone(), |folder| folder.join(path)))
    }

    /// Checks what can be checked before anything is read.
    pub(super) fn check(&self) -> Result<(), DataError> {
        let unsupported = |option, reason| {
            Err(DataError::Unsupported { option, source_asked: self.source, reason })
        };
        if self.source == Source::Digits && self.path.is_some() {
            return unsupported("path", "it is built in");
        }
        if self.source != Source::Digits && self.path.is_none() {
            return Err(DataError::NeedsPath { source_asked: self.source });
        }
        let of_tables = [
            ("target", self.target.is_some()),
            ("drop", !self.drop.is_empty()),
            ("header", self.header.is_some()),
            ("separator", self.separator.is_some()),
            ("decimal", self.decimal.is_some()),
            ("categorical", self.categorical.is_some()),
            ("missing", self.missing != Missing::Error),
        ];
        for (option, given) in of_tables {
            if given && self.source != Source::Csv {
                return unsupported(option, "it is about the columns of a table");
            }
        }
        if self.source != Source::Csv && self.task == Some(Task::Regression) {
            return unsupported("task = \"regression\"", "its targets are classes");
        }
        for (option, limit) in [("limit_train", self.limit_train), ("limit_test", self.limit_test)]
        {
            if limit == Some(0) {
                return Err(DataError::ZeroLimit { option });
            }
        }
        let table = self.source == Source::Csv;
        match self.resize {
            Some(_) if table => return unsupported("resize", "a table has no images"),
            Some(found) if !SIDES.contains(&found) => {
                let expected = "a side of 2 to 1024 pixels";
                return Err(DataError::BadShape { option: "resize", found, expected });
            }
            _ => {}
        }
        match self.channels {
            Some(_) if table => unsupported("channels", "a table has no images"),
            Some(found) if found != 1 && found != 3 => {
                let expected = "3 (one repeated) or 1 (the luminance of three)";
                Err(DataError::BadShape { option: "channels", found, expected })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_is_rounded_but_never_to_none_nor_to_all() {
        let count = |fraction, available| HeldOut::Fraction(fraction).count(available, "test");
        assert_eq!(count(0.1, 3823).unwrap(), 382);
        assert_eq!(count(0.1, 3).unwrap(), 1);
        assert_eq!(count(0.0, 3).unwrap(), 0);
        assert!(matches!(count(0.9, 2), Err(DataError::HeldOutTooMany { available: 2, .. })));
        assert!(matches!(count(1.0, 2), Err(DataError::BadFraction { .. })));
    }
}
