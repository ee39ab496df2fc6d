//! What a data set holds, for people and programs to read.

use std::path::PathBuf;

use serde::Serialize;

use super::{Normalisation, Samples, Shape, Source, Splits, TableFormat, Targets};

/// A class and its samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// The class's name.
    pub name: String,
    /// Samples to train on.
    pub train: usize,
    /// Samples to validate on.
    pub validation: usize,
    /// Samples to test on.
    pub test: usize,
}

/// What a data set holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The set's name.
    pub name: String,
    /// The format.
    pub source: Source,
    /// The files read, in order.
    pub files: Vec<PathBuf>,
    /// What was understood of a table, in words, a line each.
    pub told: Vec<String>,
    /// How a table was read; none for images.
    pub table: Option<TableFormat>,
    /// The shape of one input.
    pub shape: Shape,
    /// Samples to train on.
    pub train: usize,
    /// Samples to validate on.
    pub validation: usize,
    /// Samples to test on, 0 if there is no test part.
    pub test: usize,
    /// The classes in the order of their labels, empty for a regression.
    pub classes: Vec<ClassCount>,
    /// Means and standard deviations of the training samples, whatever normalisation is in use.
    pub statistics: Normalisation,
}

/// Counts and measures a data set.
pub fn describe(splits: &Splits) -> Summary {
    let Splits { name, source, files, train, validation, test, table, told, .. } = splits;
    let counts = (
        train.class_counts(),
        validation.class_counts(),
        test.as_ref().map(Samples::class_counts).unwrap_or_default(),
    );
    let count = |counts: &[usize], class: usize| counts.get(class).copied().unwrap_or(0);
    let classes = match train.targets() {
        Targets::Values(_) => Vec::new(),
        Targets::Classes { names, .. } => names
            .iter()
            .enumerate()
            .map(|(class, name)| ClassCount {
                name: name.clone(),
                train: count(&counts.0, class),
                validation: count(&counts.1, class),
                test: count(&counts.2, class),
            })
            .collect(),
    };
    Summary {
        name: name.clone(),
        source: *source,
        files: files.clone(),
        told: told.clone(),
        table: table.clone(),
        shape: train.shape(),
        train: train.len(),
        validation: validation.len(),
        test: test.as_ref().map_or(0, Samples::len),
        classes,
        statistics: Normalisation::measure(train),
    }
}
