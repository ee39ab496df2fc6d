//! Samples in memory: raw inputs, compact, and their targets.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::DataError;
use super::reshape::Reshape;

/// The shape of one input: an image, or a table's row as `features × 1 × 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Colour channels of an image, or features of a table.
    pub channels: usize,
    /// Rows of an image, 1 for a table.
    pub height: usize,
    /// Columns of an image, 1 for a table.
    pub width: usize,
}

impl Shape {
    /// The shape of an image.
    pub fn image(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// The shape of a table's row.
    pub fn table(features: usize) -> Self {
        Self::image(features, 1, 1)
    }

    /// Values in one channel.
    pub fn plane(&self) -> usize {
        self.height * self.width
    }

    /// Values in one input.
    pub fn elements(&self) -> usize {
        self.channels * self.plane()
    }

    /// Whether inputs have rows and columns, so that they can be cropped and flipped.
    pub fn is_image(&self) -> bool {
        self.plane() > 1
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}×{}", self.channels, self.height, self.width)
    }
}

/// Raw inputs, row-major `[len, channels, height, width]`.
///
/// Images stay bytes until they are batched: CIFAR-10 is 150 MB as bytes and 600 MB as `f32`. What a table
/// holds keeps all its digits until it is normalised.
#[derive(Clone, Debug, PartialEq)]
pub enum Inputs {
    /// Pixels. A byte `b` stands for the value `b / full`, so that images have values in [0, 1].
    Bytes {
        /// The bytes.
        bytes: Vec<u8>,
        /// The byte of full brightness: 255 as a rule, 16 for the built-in digits.
        full: u8,
    },
    /// A table's features, as the file has them.
    Floats(Vec<f64>),
}

impl Inputs {
    pub(super) fn len(&self) -> usize {
        match self {
            Inputs::Bytes { bytes, .. } => bytes.len(),
            Inputs::Floats(values) => values.len(),
        }
    }
}

/// What is to be predicted.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// Classification: a class for each sample.
    Classes {
        /// One label for each sample, an index into `names`.
        labels: Vec<u32>,
        /// The names of the classes.
        names: Vec<String>,
    },
    /// Regression: a number for each sample, as the file has it.
    Values(Vec<f64>),
}

impl Targets {
    /// The number of samples.
    pub fn len(&self) -> usize {
        match self {
            Targets::Classes { labels, .. } => labels.len(),
            Targets::Values(values) => values.len(),
        }
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Inputs and targets that fit each other: one part of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    shape: Shape,
    inputs: Inputs,
    targets: Targets,
    /// The number of each sample among all that were read, counted from 0.
    rows: Vec<u32>,
    /// How inputs are seen, where that is not as they are kept.
    reshape: Option<Reshape>,
}

impl Samples {
    /// Joins inputs and targets.
    ///
    /// # Errors
    ///
    /// [`DataError::BadSamples`] where the number of inputs is not targets × values of the shape,
    /// where the shape or the full brightness is zero, or a label has no class name;
    /// [`DataError::TooManySamples`] beyond 2³² − 1 samples.
    pub fn new(shape: Shape, inputs: Inputs, targets: Targets) -> Result<Self, DataError> {
        let bad = |what, found, expected| Err(DataError::BadSamples { what, found, expected });
        if shape.elements() == 0 {
            return bad("values in one input", 0, 1);
        }
        let expected = targets.len().saturating_mul(shape.elements());
        if inputs.len() != expected {
            return bad("input values", inputs.len(), expected);
        }
        let rows = numbers(0, targets.len())?;
        if let Inputs::Bytes { full: 0, .. } = inputs {
            return bad("full brightness", 0, 255);
        }
        if let Targets::Classes { labels, names } = &targets
            && let Some(&label) = labels.iter().max()
            && label as usize >= names.len()
        {
            return bad("class names", names.len(), label as usize + 1);
        }
        Ok(Self { shape, inputs, targets, rows, reshape: None })
    }

    /// The same samples with their numbers among all that the files hold, one for each.
    pub(super) fn numbered(self, rows: &[u64]) -> Result<Self, DataError> {
        let number = |&row: &u64| u32::try_from(row);
        let rows = rows.iter().map(number).collect::<Result<Vec<_>, _>>();
        let rows = rows.map_err(|_| DataError::TooManySamples { found: self.len() as u64 })?;
        Ok(Self { rows, ..self })
    }

    /// The same samples, of which the first is number `first` of all that the files hold.
    pub(super) fn numbered_from(self, first: u64) -> Result<Self, DataError> {
        Ok(Self { rows: numbers(first, self.len())?, ..self })
    }

    /// The shape of one input, as batches have it.
    pub fn shape(&self) -> Shape {
        self.reshape.as_ref().map_or(self.shape, Reshape::to)
    }

    /// The same images, seen in the shape that options ask for; they are kept as they are, and change
    /// as they are batched.
    pub(super) fn seen(self, side: Option<usize>, channels: Option<usize>) -> Self {
        Self { reshape: Reshape::new(self.shape, side, channels), ..self }
    }

    /// How inputs are seen, where that is not as they are kept.
    pub(super) fn reshape(&self) -> Option<&Reshape> {
        self.reshape.as_ref()
    }

    /// The raw inputs, in the shape of the file.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// The numbers of a table; none of images.
    pub(super) fn floats(&self) -> &[f64] {
        match &self.inputs {
            Inputs::Floats(values) => values,
            Inputs::Bytes { .. } => &[],
        }
    }

    /// The same, to be filled in.
    pub(super) fn floats_mut(&mut self) -> &mut [f64] {
        match &mut self.inputs {
            Inputs::Floats(values) => values,
            Inputs::Bytes { .. } => &mut [],
        }
    }

    /// The same samples with the classes of a run in the place of their own, matched by name. Classes that
    /// no sample has do not count.
    ///
    /// # Errors
    /// The names of all classes that samples have, where some are unknown to the run.
    pub(super) fn with_classes(mut self, known: &[String]) -> Result<Self, Vec<String>> {
        let counts = self.class_counts();
        let Targets::Classes { labels, names } = &mut self.targets else { return Ok(self) };
        let place = |name: &String| known.iter().position(|other| other == name);
        let places: Vec<Option<usize>> = names.iter().map(place).collect();
        let here =
            || counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(class, _)| class);
        if here().any(|class| places[class].is_none()) {
            return Err(here().map(|class| names[class].clone()).collect());
        }
        for label in labels.iter_mut() {
            *label = places[*label as usize].expect("classes that samples have are known") as u32;
        }
        *names = known.to_vec();
        Ok(self)
    }

    /// The targets.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The number of each sample among all of the training or the test files, as they were read and before
    /// they were split, counted from 0.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The number of classes, none for regression.
    pub fn classes(&self) -> Option<usize> {
        match &self.targets {
            Targets::Classes { names, .. } => Some(names.len()),
            Targets::Values(_) => None,
        }
    }

    /// How many samples each class has; empty for regression.
    pub fn class_counts(&self) -> Vec<usize> {
        let Targets::Classes { labels, names } = &self.targets else {
            return Vec::new();
        };
        let mut counts = vec![0; names.len()];
        for &label in labels {
            counts[label as usize] += 1;
        }
        counts
    }

    /// Moves the marked samples out, keeping the order of both parts.
    ///
    /// What stays is compacted in place, so that no second copy of a large part is made.
    pub(super) fn take_out(&mut self, out: &[bool]) -> Self {
        let size = self.shape.elements();
        let inputs = match &mut self.inputs {
            Inputs::Bytes { bytes, full } => {
                Inputs::Bytes { bytes: take_rows(bytes, size, out), full: *full }
            }
            Inputs::Floats(values) => Inputs::Floats(take_rows(values, size, out)),
        };
        let targets = match &mut self.targets {
            Targets::Classes { labels, names } => {
                Targets::Classes { labels: take_rows(labels, 1, out), names: names.clone() }
            }
            Targets::Values(values) => Targets::Values(take_rows(values, 1, out)),
        };
        let rows = take_rows(&mut self.rows, 1, out);
        Self { shape: self.shape, inputs, targets, rows, reshape: self.reshape.clone() }
    }
}

/// So many numbers from the first on.
fn numbers(first: u64, len: usize) -> Result<Vec<u32>, DataError> {
    let end = first.saturating_add(len as u64);
    match u32::try_from(end) {
        Ok(end) => Ok((end - len as u32..end).collect()),
        Err(_) => Err(DataError::TooManySamples { found: end }),
    }
}

/// Splits off the rows marked in `out`, and closes the gaps that they leave.
fn take_rows<T: Copy>(values: &mut Vec<T>, size: usize, out: &[bool]) -> Vec<T> {
    let moved = out.iter().filter(|&&moves| moves).count();
    let mut taken = Vec::with_capacity(moved * size);
    let mut kept = 0;
    for (row, &moves) in out.iter().enumerate() {
        let range = row * size..(row + 1) * size;
        if moves {
            taken.extend_from_slice(&values[range]);
        } else {
            values.copy_within(range, kept * size);
            kept += 1;
        }
    }
    values.truncate(kept * size);
    // Giving back what is left takes a copy, where an allocator knows no better.
    if values.len() < values.capacity() / 4 {
        values.shrink_to_fit();
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|class| class.to_string()).collect()
    }

    #[test]
    fn taking_out_keeps_the_order_and_the_pairs_of_both_parts() {
        let mut kept = Samples::new(
            Shape::table(2),
            Inputs::Floats((0..10).map(f64::from).collect()),
            Targets::Classes { labels: vec![0, 1, 2, 3, 4], names: names(5) },
        )
        .unwrap();
        let taken = kept.take_out(&[true, false, false, true, false]);
        assert_eq!(taken.inputs(), &Inputs::Floats(vec![0.0, 1.0, 6.0, 7.0]));
        assert_eq!(kept.inputs(), &Inputs::Floats(vec![2.0, 3.0, 4.0, 5.0, 8.0, 9.0]));
        assert_eq!((taken.rows(), kept.rows()), (&[0, 3][..], &[1, 2, 4][..]));
        assert_eq!(taken.class_counts(), [1, 0, 0, 1, 0]);
        assert_eq!(kept.class_counts(), [0, 1, 1, 0, 1]);
    }

    #[test]
    fn samples_that_do_not_fit_are_refused() {
        let classes = |labels: Vec<u32>, count| Targets::Classes { labels, names: names(count) };
        let bytes = |count, full| Inputs::Bytes { bytes: vec![0; count], full };
        let shape = Shape::image(1, 2, 2);
        assert!(Samples::new(shape, bytes(8, 255), classes(vec![0, 1], 2)).is_ok());
        for (shape, inputs, targets) in [
            (shape, bytes(7, 255), classes(vec![0, 1], 2)),
            (shape, bytes(8, 0), classes(vec![0, 1], 2)),
            (shape, bytes(8, 255), classes(vec![0, 2], 2)),
            (Shape::table(0), bytes(0, 255), classes(vec![], 0)),
        ] {
            let error = Samples::new(shape, inputs, targets).unwrap_err();
            assert!(matches!(error, DataError::BadSamples { .. }), "{error}");
        }
    }
}
