//! From what a source holds to training, validation and test samples.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cifar::Layout;
use super::random::{Purpose, permutation};
use super::table::Reading;
use super::{
    DataError, HeldOut, Normalisation, Normalise, Options, Samples, Schema, Source, TableFormat,
    Targets,
};

/// The images that the CIFAR sets hold out where the test file is not there.
pub(super) const CIFAR_TEST: HeldOut = HeldOut::Count(5_000);
/// What any other set holds out where it has no test part.
const OTHER_TEST: HeldOut = HeldOut::Fraction(0.2);

/// What is to be read of a source.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    /// All of it.
    All,
    /// The test part of its own where it has one, else what that is held out of, as [`Options::test`] says.
    Scored(Option<HeldOut>),
}

/// What a source holds, in the order of its files.
pub(super) struct Raw {
    /// None where it is not wanted.
    pub(super) train: Option<Samples>,
    pub(super) test: Option<Samples>,
    pub(super) files: Vec<PathBuf>,
    /// How a table was read.
    pub(super) table: Option<Reading>,
}

impl Raw {
    /// The same images, seen in the shape that options ask for.
    pub(super) fn seen(self, options: &Options) -> Self {
        let seen = |samples: Samples| samples.seen(options.resize, options.channels);
        Self { train: self.train.map(seen), test: self.test.map(seen), ..self }
    }

    /// The same samples with the classes of a run, matched by name; or else the classes that they have.
    pub(super) fn with_classes(self, known: &[String]) -> Result<Self, Vec<String>> {
        let matched = |samples: Option<Samples>| {
            samples.map(|samples| samples.with_classes(known)).transpose()
        };
        Ok(Self { train: matched(self.train)?, test: matched(self.test)?, ..self })
    }

    /// The training samples of a source that was read whole.
    fn whole(train: Option<Samples>) -> Samples {
        train.expect("a source gives its training samples where all is wanted")
    }
}

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Samples to train on.
    Train,
    /// Samples held out of the training part; networks are scored on them where there is no test part.
    Validation,
    /// Samples to test on.
    Test,
    /// All rows of a table that is not the run's own.
    Whole,
    /// Samples held out of the training files here, of a network that was trained elsewhere: perhaps on them.
    #[serde(rename = "held-out")]
    HeldOut,
}

impl Part {
    /// Every part of a run's own data.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// Its samples; `None` where a set has no such part.
    pub fn of(self, splits: &Splits) -> Option<&Samples> {
        match self {
            Self::Train => Some(&splits.train),
            Self::Validation => Some(&splits.validation),
            Self::Test => splits.test.as_ref(),
            Self::Whole | Self::HeldOut => None,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Train => "training",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::Whole => "whole table:",
            Self::HeldOut => "held-out",
        })
    }
}

/// The samples of a data set that a trained network is scored on, and none that it was trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// A name for reports: that of the source, or of the file or folder.
    pub name: String,
    /// The format it was read from.
    pub source: Source,
    /// The files that were read, none for the built-in digits.
    pub files: Vec<PathBuf>,
    /// Which part they are.
    pub part: Part,
    /// Whether they were held out here: they lie among the training samples of the files.
    pub held_out: bool,
    /// The samples, raw.
    pub samples: Samples,
    /// How inputs and regression targets are normalised.
    pub normalisation: Normalisation,
    /// How a table was read; none for images.
    pub table: Option<TableFormat>,
    /// What is worth saying about how a table was read, a line each.
    pub told: Vec<String>,
}

impl Scored {
    /// What a run knows of its data, if these are of it.
    pub fn schema(&self) -> Schema {
        Schema { table: self.table.clone(), ..Schema::of(&self.samples) }
    }
}

/// A data set, split and with its normalisation: what training and evaluation read.
#[derive(Clone, Debug, PartialEq)]
pub struct Splits {
    /// A name for reports: that of the source, or of the file or folder.
    pub name: String,
    /// The format it was read from.
    pub source: Source,
    /// The files that were read, none for the built-in digits.
    pub files: Vec<PathBuf>,
    /// Samples to train on, raw.
    pub train: Samples,
    /// Samples held out of the training part, raw; there may be none.
    pub validation: Samples,
    /// Samples to test on, raw; none where `test` was 0.
    pub test: Option<Samples>,
    /// Whether the test samples were held out here: they lie among the training samples of the files.
    pub test_held_out: bool,
    /// How inputs and regression targets are normalised.
    pub normalisation: Normalisation,
    /// How a table was read; none for images.
    pub table: Option<TableFormat>,
    /// What was understood of a table, in words, a line each.
    pub told: Vec<String>,
}

impl Splits {
    /// The names of the classes, none in regression.
    pub fn class_names(&self) -> Option<&[String]> {
        match self.train.targets() {
            Targets::Classes { names, .. } => Some(names),
            Targets::Values(_) => None,
        }
    }

    /// Refuses to train on samples that are all of one class.
    ///
    /// # Errors
    /// [`DataError::OneClass`].
    pub fn check_classes(&self) -> Result<(), DataError> {
        let counts = self.train.class_counts();
        let mut here = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        match (here.next(), here.next(), self.class_names()) {
            (Some((only, _)), None, Some(names)) => {
                Err(DataError::OneClass { data: self.name.clone(), class: names[only].clone() })
            }
            _ => Ok(()),
        }
    }

    /// What a run keeps of the data, and reads others by.
    pub fn schema(&self) -> Schema {
        Schema { table: self.table.clone(), ..Schema::of(&self.train) }
    }
}

/// Splits and normalises as the options say.
pub(super) fn split(raw: Raw, name: String, options: &Options) -> Result<Splits, DataError> {
    let Raw { train, test, files, table } = raw;
    let mut train = Raw::whole(train);
    let test_held_out = test.is_none();
    let mut test = match (test, options.test) {
        (None, _) => held_out_test(&mut train, options)?,
        (Some(test), _) => Some(own_test(test, options)?),
    };
    let (mut validation, rest) = held_out_validation(&mut train, options)?;
    if let Some(limit) = options.limit_train {
        let kept = marked(train.len(), rest.iter().take(limit));
        train = train.take_out(&kept);
    }
    let mut parts: Vec<&mut Samples> = vec![&mut train, &mut validation];
    parts.extend(test.as_mut());
    let (table, told) = Reading::finish(table, &mut parts, options, &files)?;
    let normalisation = options.normalise.of(&train)?;
    let source = options.source;
    Ok(Splits {
        name,
        source,
        files,
        train,
        validation,
        test,
        test_held_out,
        normalisation,
        table,
        told,
    })
}

/// The samples to score on; `normalise` must not be `measured`, which all training samples are needed for.
pub(super) fn scored(raw: Raw, name: String, options: &Options) -> Result<Scored, DataError> {
    // What a table misses is filled in by its training part.
    if raw.table.is_some() {
        return scored_of(split(raw, name, options)?, options);
    }
    let Raw { train, test, files, table: _ } = raw;
    let of_train = |train: Option<Samples>| {
        let mut train = Raw::whole(train);
        match held_out_test(&mut train, options)? {
            Some(test) => Ok((Part::Test, test)),
            None => Ok((Part::Validation, held_out_validation(&mut train, options)?.0)),
        }
    };
    let held_out = test.is_none();
    let (part, samples) = match test {
        Some(test) => (Part::Test, own_test(test, options)?),
        None => of_train(train)?,
    };
    if samples.is_empty() {
        let path = options.path.clone().unwrap_or_default();
        return Err(DataError::NothingHeldOut { path });
    }
    let normalisation = match &options.normalise {
        Normalise::Given(given) => given.clone(),
        Normalise::Off | Normalise::Measured => Normalisation::identity(samples.shape()),
    };
    normalisation.check(&samples)?;
    let (source, table, told) = (options.source, None, Vec::new());
    Ok(Scored { name, source, files, part, held_out, samples, normalisation, table, told })
}

/// The samples of a table to score on.
fn scored_of(splits: Splits, options: &Options) -> Result<Scored, DataError> {
    let Splits { name, source, files, validation, test, normalisation, table, told, .. } = splits;
    let held_out = true;
    let (part, samples) = match test {
        Some(test) => (Part::Test, test),
        None => (Part::Validation, validation),
    };
    if samples.is_empty() {
        let path = options.path.clone().unwrap_or_default();
        return Err(DataError::NothingHeldOut { path });
    }
    Ok(Scored { name, source, files, part, held_out, samples, normalisation, table, told })
}

/// All samples of a table, to score on.
pub(super) fn whole(raw: Raw, name: String, options: &Options) -> Result<Scored, DataError> {
    let Raw { train, files, table, .. } = raw;
    let mut samples = Raw::whole(train);
    let (table, told) = Reading::finish(table, &mut [&mut samples], options, &files)?;
    let normalisation = options.normalise.of(&samples)?;
    let (source, part, held_out) = (options.source, Part::Whole, false);
    Ok(Scored { name, source, files, part, held_out, samples, normalisation, table, told })
}

/// The test part that a set has of its own.
fn own_test(test: Samples, options: &Options) -> Result<Samples, DataError> {
    if options.test.is_some() {
        let reason = "the set has a test part of its own";
        let (option, source_asked) = ("test", options.source);
        return Err(DataError::Unsupported { option, source_asked, reason });
    }
    Ok(limited(test, options))
}

/// At most so many test samples, whatever the seed.
fn limited(mut test: Samples, options: &Options) -> Samples {
    let Some(limit) = options.limit_test else { return test };
    let order = permutation(Purpose::Test, 0, 1, test.len());
    test.take_out(&marked(order.len(), order.iter().take(limit)))
}

/// Takes the validation part out of the training part; the order of what is left, by the seed.
fn held_out_validation(
    train: &mut Samples,
    options: &Options,
) -> Result<(Samples, Vec<u32>), DataError> {
    let count = options.validation.count(train.len(), "validation")?;
    let order = permutation(Purpose::Validation, options.seed, 0, train.len());
    let (held_out, rest) = order.split_at(count);
    let marks = marked(order.len(), held_out);
    let validation = train.take_out(&marks);
    // Where each sample lies once those held out are gone.
    let mut place = 0;
    let places: Vec<u32> = marks
        .iter()
        .map(|&held_out| {
            let here = place;
            place += u32::from(!held_out);
            here
        })
        .collect();
    Ok((validation, rest.iter().map(|&index| places[index as usize]).collect()))
}

/// Takes a test part out of the training part; which samples does not depend on the seed.
fn held_out_test(train: &mut Samples, options: &Options) -> Result<Option<Samples>, DataError> {
    let is_cifar = Layout::of(options.source).is_some();
    let asked = options.test.unwrap_or(if is_cifar { CIFAR_TEST } else { OTHER_TEST });
    let (len, count) = (train.len(), asked.count(train.len(), "test")?);
    if count == 0 {
        return Ok(None);
    }
    let marks = if is_cifar {
        (0..len).map(|index| index >= len - count).collect()
    } else {
        marked(len, permutation(Purpose::Test, 0, 0, len).iter().take(count))
    };
    Ok(Some(limited(train.take_out(&marks), options)))
}

fn marked<'a>(len: usize, indices: impl IntoIterator<Item = &'a u32>) -> Vec<bool> {
    let mut marks = vec![false; len];
    for &index in indices {
        marks[index as usize] = true;
    }
    marks
}
