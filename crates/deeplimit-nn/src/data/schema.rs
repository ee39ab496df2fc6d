//! What a run knows of its data, so that its network can be used where the data set is not there.

use serde::{Deserialize, Serialize};

use super::{Samples, Shape, TableFormat, Targets};

/// What a run knows of its data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// The shape of an input, as the network takes it; none in files that no run has written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// The names of the classes, in the order of the network's outputs; none in regression.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// How a table is read; none for images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableFormat>,
}

impl Schema {
    /// That of samples, which do not say how a table was read.
    pub fn of(samples: &Samples) -> Self {
        let classes = match samples.targets() {
            Targets::Classes { names, .. } => names.clone(),
            Targets::Values(_) => Vec::new(),
        };
        Self { shape: Some(samples.shape()), classes, table: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Options, load};

    #[test]
    fn a_schema_survives_a_file_and_entries_of_other_versions_are_no_error() {
        let schema = Schema::of(&load(&Options::default()).unwrap().train);
        assert_eq!((schema.shape, schema.classes.len()), (Some(Shape::image(1, 8, 8)), 10));
        let text = serde_json::to_string(&schema).unwrap();
        assert_eq!(serde_json::from_str::<Schema>(&text).unwrap(), schema, "{text}");
        assert_eq!(serde_json::from_str::<Schema>(r#"{"later":1}"#).unwrap(), Schema::default());
    }
}
