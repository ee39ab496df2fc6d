//! What a run knows of its data, so that its network can be used where the data set is not there.

use serde::{Deserialize, Serialize};

use super::{DataError, Samples, Shape, TableFormat, Targets};

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

    /// Refuses weights of this schema for data whose columns or classes have other names, so that numbers would
    /// stand for something else; a head that is drawn anew may have any classes.
    ///
    /// # Errors
    /// [`DataError::OtherNames`].
    pub fn check_names(&self, found: &Schema, new_head: bool) -> Result<(), DataError> {
        if let (Some(known), Some(table)) = (&self.table, &found.table) {
            let named = known.header && table.header;
            let names = |table: &TableFormat| match named {
                true => table.input_names(),
                false => table.kinds(),
            };
            let (known, found) = (names(known), names(table));
            if known != found {
                let instead = "they must be the same in the same order; data.drop leaves some out";
                return Err(DataError::OtherNames { what: "inputs", found, known, instead });
            }
        }
        let same_number = self.classes.len() == found.classes.len();
        if same_number && self.classes != found.classes && !new_head {
            let (known, found) = (self.classes.clone(), found.classes.clone());
            let instead = "with --new-head other classes are learned from the same features";
            return Err(DataError::OtherNames { what: "classes", found, known, instead });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Options, load};

    #[test]
    fn weights_are_refused_for_inputs_or_classes_of_other_names() {
        let schema = |text: &str| {
            let folder = tempfile::TempDir::new().unwrap();
            let path = folder.path().join("t.csv");
            std::fs::write(&path, text).unwrap();
            load(&Options::at(&path).unwrap()).unwrap().schema()
        };
        let had = schema("a,b,k\n1,2,x\n2,3,y\n3,5,x\n");
        let told = |text: &str, new_head| {
            had.check_names(&schema(text), new_head).err().map(|error| error.to_string())
        };
        assert_eq!(told("a,b,k\n7,2,y\n2,3,x\n3,5,x\n", false), None);
        assert_eq!(told("7,2,y\n2,3,x\n3,5,x\n", false), None);
        let moved = told("b,a,k\n1,2,x\n2,3,y\n3,5,x\n", false).expect("another order");
        assert!(moved.starts_with("inputs b, a; the weights are for a, b:"), "{moved}");
        let kinds = told("p,2,x\nq,3,y\np,5,x\n", false).expect("categories");
        assert!(kinds.starts_with("inputs p, q, a number; the weights are for a number, a number"));
        let named = "a,b,k\n1,2,left\n2,3,right\n3,5,left\n";
        let classes = told(named, false).expect("other classes");
        assert!(classes.starts_with("classes left, right; the weights are for x, y"), "{classes}");
        assert_eq!(told(named, true), None);
        // Another number of classes has another head in any case.
        assert_eq!(told("a,b,k\n1,2,l\n2,3,r\n3,5,m\n", false), None);
    }

    #[test]
    fn a_schema_survives_a_file_and_entries_of_other_versions_are_no_error() {
        let schema = Schema::of(&load(&Options::default()).unwrap().train);
        assert_eq!((schema.shape, schema.classes.len()), (Some(Shape::image(1, 8, 8)), 10));
        let text = serde_json::to_string(&schema).unwrap();
        assert_eq!(serde_json::from_str::<Schema>(&text).unwrap(), schema, "{text}");
        assert_eq!(serde_json::from_str::<Schema>(r#"{"later":1}"#).unwrap(), Schema::default());
    }
}
