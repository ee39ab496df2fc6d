//! Missing values: an error, filled in, or a reason to leave a line out.

use serde::{Deserialize, Serialize};

use super::fault::{TableFault, one_line};
use super::format::{FeatureKind, TableFormat};
use crate::data::Samples;

/// What is done where a table has no value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// It is an error.
    #[default]
    Error,
    /// A number becomes the median of the training samples, a category the most frequent of theirs. A
    /// missing target is an error.
    Median,
    /// The line is left out.
    Drop,
}

/// Fills in what is missing in the parts of a table: with what a run knows, or else what the first part
/// tells, that of training, which the format then keeps.
pub(super) fn fill(format: &mut TableFormat, parts: &mut [&mut Samples]) -> Result<(), TableFault> {
    let [train, ..] = parts else { return Ok(()) };
    let width = format.inputs();
    let mut first = 0;
    for feature in &mut format.features {
        let values = |input: usize| {
            let column = train.floats().iter().skip(first + input).step_by(width);
            column.copied().filter(|value| !value.is_nan())
        };
        match &mut feature.kind {
            FeatureKind::Numbers { fill } => *fill = fill.or_else(|| median(values(0).collect())),
            FeatureKind::Categories { names, fill } => {
                let count = |input: usize| values(input).filter(|value| *value > 0.0).count();
                let counts = (0..names.len()).rev().map(|input| (count(input), input));
                // The first of those that are equally frequent.
                let frequent =
                    counts.max_by_key(|(count, _)| *count).filter(|(count, _)| *count > 0);
                *fill = fill.or(frequent.map(|(_, input)| input));
            }
        }
        first += feature.kind.inputs();
    }
    parts.iter_mut().try_for_each(|part| fill_rows(format, part.floats_mut()))
}

/// Fills in what is missing in rows, with what a format knows.
pub(super) fn fill_rows(format: &TableFormat, values: &mut [f64]) -> Result<(), TableFault> {
    let mut standing = Vec::with_capacity(format.inputs());
    for feature in &format.features {
        let none = || TableFault::NoMedian { column: one_line(&feature.told()) };
        match &feature.kind {
            FeatureKind::Numbers { fill } => standing.push(fill.ok_or_else(none)?),
            FeatureKind::Categories { names, fill } => {
                let known = fill.ok_or_else(none)?;
                standing.extend((0..names.len()).map(|input| f64::from(u8::from(input == known))));
            }
        }
    }
    for row in values.chunks_exact_mut(standing.len()) {
        for (value, standing) in row.iter_mut().zip(&standing) {
            if value.is_nan() {
                *value = *standing;
            }
        }
    }
    Ok(())
}

/// The middle value, or the middle of the two middle ones.
fn median(mut values: Vec<f64>) -> Option<f64> {
    let count = values.len();
    if count == 0 {
        return None;
    }
    let (below, &mut upper, _) = values.select_nth_unstable_by(count / 2, f64::total_cmp);
    if count % 2 == 1 {
        return Some(upper);
    }
    let lower = below.iter().copied().max_by(f64::total_cmp)?;
    Some(lower + (upper - lower) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![3.0, 1.0]), Some(2.0));
        assert_eq!(median(vec![9.0, 1.0, 4.0]), Some(4.0));
        assert_eq!(median(vec![9.0, 1.0, 4.0, 4.5]), Some(4.25));
    }
}
