//! What was understood of a table, as a run keeps it: which columns a network takes, in which order, how
//! each becomes numbers, and which column is predicted.

use serde::{Deserialize, Serialize};

use super::separator::{Decimal, Separator};

/// How a table becomes a network's inputs and targets.
///
/// A run keeps it in its weights files and reads every other table by it: columns are found by name where
/// both have a header, by their place otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableFormat {
    /// What separates cells.
    pub separator: Separator,
    /// What separates a number's fraction.
    pub decimal: Decimal,
    /// Whether the first line names the columns.
    pub header: bool,
    /// Columns of the file, those that are left out included.
    pub columns: usize,
    /// The columns that a network takes, in the order of its inputs.
    pub features: Vec<Feature>,
    /// The column that is predicted.
    pub target: TargetColumn,
}

/// A column that a network takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// Its place in the file, counted from 1.
    pub place: usize,
    /// Its name, where there is a header that gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How its cells become numbers.
    pub kind: FeatureKind,
}

/// How the cells of a column become inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureKind {
    /// A number is one input.
    Numbers {
        /// What stands for a missing one: the median of the training samples, with `missing = "median"`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fill: Option<f64>,
    },
    /// A text is as many inputs as there are categories: 1 for its own, 0 for the others.
    Categories {
        /// The categories, in the order of the inputs.
        names: Vec<String>,
        /// The category that stands for a missing cell: the most frequent of the training samples, with
        /// `missing = "median"`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fill: Option<usize>,
    },
}

/// The column that is predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetColumn {
    /// Its place in the file, counted from 1.
    pub place: usize,
    /// Its name, where there is a header that gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl TableFormat {
    /// The names of the feature columns, in the order of the inputs: `column 3` where it has none.
    pub fn feature_names(&self) -> Vec<String> {
        self.features.iter().map(Feature::told).collect()
    }

    /// The names of the inputs: as the columns', and `column=category` for each of a column's categories.
    pub fn input_names(&self) -> Vec<String> {
        let of = |feature: &Feature| match &feature.kind {
            FeatureKind::Numbers { .. } => vec![feature.told()],
            FeatureKind::Categories { names, .. } => {
                names.iter().map(|name| format!("{}={name}", feature.told())).collect()
            }
        };
        self.features.iter().flat_map(of).collect()
    }

    /// What each input is without its column's name: a number, or a category.
    pub(in crate::data) fn kinds(&self) -> Vec<String> {
        let of = |feature: &Feature| match &feature.kind {
            FeatureKind::Numbers { .. } => vec!["a number".to_owned()],
            FeatureKind::Categories { names, .. } => names.clone(),
        };
        self.features.iter().flat_map(of).collect()
    }

    /// The name of the column that is predicted.
    pub fn target_name(&self) -> String {
        told(self.target.name.as_deref(), self.target.place)
    }

    /// Inputs of a network.
    pub fn inputs(&self) -> usize {
        self.features.iter().map(|feature| feature.kind.inputs()).sum()
    }
}

impl Feature {
    /// Its name, or else its place.
    pub fn told(&self) -> String {
        told(self.name.as_deref(), self.place)
    }
}

impl FeatureKind {
    /// Inputs that one cell becomes.
    pub fn inputs(&self) -> usize {
        match self {
            FeatureKind::Numbers { .. } => 1,
            FeatureKind::Categories { names, .. } => names.len(),
        }
    }
}

/// A column's name, or else its place.
fn told(name: Option<&str>, place: usize) -> String {
    name.map_or_else(|| format!("column {place}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_says_what_each_input_is_and_survives_a_file() {
        let categories =
            FeatureKind::Categories { names: vec!["F".into(), "M".into()], fill: Some(1) };
        let format = TableFormat {
            separator: Separator::Tab,
            decimal: Decimal::Comma,
            header: true,
            columns: 4,
            features: vec![
                Feature { place: 2, name: Some("sex".into()), kind: categories },
                Feature { place: 3, name: None, kind: FeatureKind::Numbers { fill: Some(0.25) } },
            ],
            target: TargetColumn { place: 4, name: Some("rings".into()) },
        };
        assert_eq!(format.feature_names(), ["sex", "column 3"]);
        assert_eq!(format.input_names(), ["sex=F", "sex=M", "column 3"]);
        assert_eq!((format.target_name(), format.inputs()), ("rings".to_owned(), 3));
        let text = serde_json::to_string(&format).unwrap();
        assert_eq!(serde_json::from_str::<TableFormat>(&text).unwrap(), format, "{text}");
    }
}
