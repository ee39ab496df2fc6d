//! From what a source holds to training, validation and test samples.

use std::path::PathBuf;

use super::random::{Purpose, permutation};
use super::{DataError, HeldOut, Normalisation, Normalise, Options, Samples, Source};

/// The images that CIFAR-10 holds out where the test batch is not there.
const CIFAR_TEST: HeldOut = HeldOut::Count(5_000);
/// What any other set holds out where it has no test part.
const OTHER_TEST: HeldOut = HeldOut::Fraction(0.2);

/// What a source holds, in the order of its files.
pub(super) struct Raw {
    pub(super) train: Samples,
    pub(super) test: Option<Samples>,
    pub(super) files: Vec<PathBuf>,
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
    /// How inputs and regression targets are normalised.
    pub normalisation: Normalisation,
}

/// Splits and normalises as the options say.
pub(super) fn split(raw: Raw, name: String, options: &Options) -> Result<Splits, DataError> {
    let Raw { mut train, test, files } = raw;
    let mut test = match (test, options.test) {
        (Some(test), None) => Some(test),
        (None, asked) => hold_out_test(&mut train, asked, options.source)?,
        (Some(_), Some(_)) => {
            let reason = "the set has a test part of its own";
            let (option, source_asked) = ("test", options.source);
            return Err(DataError::Unsupported { option, source_asked, reason });
        }
    };
    if let (Some(test), Some(limit)) = (&mut test, options.limit_test) {
        let order = permutation(Purpose::Test, 0, 1, test.len());
        *test = test.take_out(&marked(order.len(), order.iter().take(limit)));
    }

    let held_out = options.validation.count(train.len(), "validation")?;
    let order = permutation(Purpose::Validation, options.seed, 0, train.len());
    let (held_out, rest) = order.split_at(held_out);
    let held_out_marks = marked(order.len(), held_out);
    let validation = train.take_out(&held_out_marks);
    if let Some(limit) = options.limit_train {
        let kept = marked(order.len(), rest.iter().take(limit));
        let left = kept.iter().zip(&held_out_marks).filter(|&(_, &held_out)| !held_out);
        let marks: Vec<bool> = left.map(|(&kept, _)| kept).collect();
        train = train.take_out(&marks);
    }

    let normalisation = match &options.normalise {
        Normalise::Measured => Normalisation::measure(&train),
        Normalise::Given(given) => given.clone(),
        Normalise::Off => Normalisation::identity(train.shape()),
    };
    normalisation.check(&train)?;
    Ok(Splits { name, source: options.source, files, train, validation, test, normalisation })
}

/// Takes a test part out of the training part; which samples does not depend on the seed.
fn hold_out_test(
    train: &mut Samples,
    asked: Option<HeldOut>,
    source: Source,
) -> Result<Option<Samples>, DataError> {
    let is_cifar = source == Source::Cifar10;
    let asked = asked.unwrap_or(if is_cifar { CIFAR_TEST } else { OTHER_TEST });
    let (len, count) = (train.len(), asked.count(train.len(), "test")?);
    if count == 0 {
        return Ok(None);
    }
    let marks = if is_cifar {
        (0..len).map(|index| index >= len - count).collect()
    } else {
        marked(len, permutation(Purpose::Test, 0, 0, len).iter().take(count))
    };
    Ok(Some(train.take_out(&marks)))
}

fn marked<'a>(len: usize, indices: impl IntoIterator<Item = &'a u32>) -> Vec<bool> {
    let mut marks = vec![false; len];
    for &index in indices {
        marks[index as usize] = true;
    }
    marks
}
