//! What was understood of a table, in words: a line each.

use super::fault::{listed, one_line};
use super::format::{FeatureKind, TableFormat};
use super::missing::Missing;
use super::rows::Rows;
use super::separator::Decimal;

impl TableFormat {
    /// What it says, in words, a line each; without classes the target is a number.
    pub fn told(&self, classes: Option<&[String]>) -> Vec<String> {
        format(self, classes)
    }
}

fn format(format: &TableFormat, classes: Option<&[String]>) -> Vec<String> {
    let header = if format.header { "a header" } else { "no header" };
    let decimal = match format.decimal {
        Decimal::Point => "",
        Decimal::Comma => ", decimal commas",
    };
    let target = match classes {
        None => "a number".to_owned(),
        Some(classes) => format!("{} classes: {}", classes.len(), listed(classes)),
    };
    let mut lines = vec![
        format!("table with {header}, separated by {:?}{decimal}", format.separator.name()),
        format!("{} features: {}", format.features.len(), features(format)),
        format!("target {}, {target}", one_line(&format.target_name())),
    ];
    let categories = format.features.iter().filter_map(|feature| match &feature.kind {
        FeatureKind::Numbers { .. } => None,
        FeatureKind::Categories { names, .. } => {
            Some(format!("{} ({})", one_line(&feature.told()), listed(names)))
        }
    });
    let categories: Vec<String> = categories.collect();
    if !categories.is_empty() {
        lines.push(format!("categories, one input each: {}", categories.join("; ")));
    }
    lines
}

/// The names of the features, or else their places.
fn features(format: &TableFormat) -> String {
    let places: Vec<usize> = format.features.iter().map(|feature| feature.place).collect();
    let in_a_row = places.windows(2).all(|pair| pair[1] == pair[0] + 1);
    match (&places[..], format.header) {
        ([first, .., last], false) if in_a_row => format!("columns {first} to {last}"),
        _ => listed(&format.feature_names()),
    }
}

/// Columns that are left out, or may be meant to be.
pub(super) fn left_out(left_out: &[String], doubtful: &[String]) -> Vec<String> {
    let left = (!left_out.is_empty()).then(|| format!("left out: {}", listed(left_out)));
    let doubtful = (!doubtful.is_empty())
        .then(|| format!("{} only counts the rows: data.drop leaves it out", listed(doubtful)));
    left.into_iter().chain(doubtful).collect()
}

/// What became of missing values.
pub(super) fn missing(rows: &Rows, policy: Missing) -> Option<String> {
    match policy {
        Missing::Median if rows.missing > 0 => Some(format!(
            "{} missing values are filled in with medians of the training samples",
            rows.missing
        )),
        Missing::Drop if rows.dropped > 0 => {
            let all = rows.dropped + rows.lines.len() as u64;
            Some(format!("{} of {all} rows are left out: a value is missing", rows.dropped))
        }
        _ => None,
    }
}
