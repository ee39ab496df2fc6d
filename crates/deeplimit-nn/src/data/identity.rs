//! What tells a data set from another: what a run keeps of its data, and the check that it has them
//! again.
//!
//! A part's digest is XXH3 (Collet 2019), 128 bits, of its shape, inputs and targets as they are kept in
//! memory, in their order. It finds files that were changed, put in another order or exchanged; against
//! someone who makes up data to have the same digest it is no guard.

use super::{Inputs, Part, Samples, Schema, Splits, Targets};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use xxhash_rust::xxh3::Xxh3Default;

/// What samples are, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// How many there are.
    pub samples: usize,
    /// Of shape, inputs and targets, in hexadecimal.
    pub hash: String,
}

impl Digest {
    /// The digest of samples.
    pub fn of(samples: &Samples) -> Self {
        let mut hash = Xxh3Default::new();
        let shape = samples.shape();
        for number in [samples.len(), shape.channels, shape.height, shape.width] {
            hash.update(&(number as u64).to_le_bytes());
        }
        match samples.inputs() {
            Inputs::Bytes { bytes, full } => {
                hash.update(b"bytes");
                hash.update(&[*full]);
                hash.update(bytes);
            }
            Inputs::Floats(values) => {
                hash.update(b"numbers");
                numbers(&mut hash, values, |value| value.to_le_bytes());
            }
        }
        match samples.targets() {
            Targets::Classes { labels, .. } => {
                hash.update(b"classes");
                numbers(&mut hash, labels, |label| label.to_le_bytes());
            }
            Targets::Values(values) => {
                hash.update(b"values");
                numbers(&mut hash, values, |value| value.to_le_bytes());
            }
        }
        Self { samples: samples.len(), hash: format!("{:032x}", hash.digest128()) }
    }
}

/// Adds numbers, a few at a time.
fn numbers<T: Copy, const N: usize>(hash: &mut Xxh3Default, all: &[T], bytes: fn(T) -> [u8; N]) {
    for some in all.chunks(4096) {
        let some: Vec<u8> = some.iter().flat_map(|number| bytes(*number)).collect();
        hash.update(&some);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = self.hash.get(..8).unwrap_or(&self.hash);
        write!(f, "{} (digest {short})", self.samples)
    }
}

/// The digests of the parts that a data set has.
pub fn digests(splits: &Splits) -> BTreeMap<Part, Digest> {
    let digest = |part: Part| Some((part, Digest::of(part.of(splits)?)));
    Part::ALL.into_iter().filter_map(digest).collect()
}

/// What a run keeps of its data.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The names in them.
    pub schema: Schema,
    /// The parts that there are.
    pub parts: BTreeMap<Part, Digest>,
}

/// Data are not those of a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataChanged {
    /// Other samples, or in another order.
    #[error("the {part} samples are not those of the run: it had {had}, found {found}")]
    Samples {
        /// The part.
        part: Part,
        /// What the run had.
        had: Digest,
        /// What there is now.
        found: Digest,
    },
    /// A part that the run had is gone, or one that it had not is there.
    #[error(
        "the run had {} {part} samples, found {}",
        if *found { "no" } else { "some" },
        if *found { "some" } else { "none" }
    )]
    Part {
        /// The part.
        part: Part,
        /// Whether it is there now.
        found: bool,
    },
    /// Other names, or in another order.
    #[error(
        "the {what} are not those of the run: it had {}, found {}",
        listed(had, found),
        listed(found, had)
    )]
    Names {
        /// What is named.
        what: &'static str,
        /// What the run had.
        had: Vec<String>,
        /// What there is now.
        found: Vec<String>,
    },
}

/// Names, with the first that differs from another list where there are many.
fn listed(names: &[String], others: &[String]) -> String {
    const FEW: usize = 6;
    if names.is_empty() {
        return "none".to_owned();
    }
    if names.len() <= FEW {
        return names.join(", ");
    }
    let differs = names.iter().zip(others).position(|(name, other)| name != other);
    let place = differs.unwrap_or(names.len().min(others.len()));
    let name = names.get(place).map_or("an end", String::as_str);
    format!("{} with {name} at place {}", names.len(), place + 1)
}

impl Identity {
    /// Checks that a data set has the same names, and the same samples in some parts; `None` is a part that it
    /// has not.
    ///
    /// # Errors
    /// The first difference.
    pub fn check<'s>(
        &self,
        schema: &Schema,
        parts: impl IntoIterator<Item = (Part, Option<&'s Samples>)>,
    ) -> Result<(), DataChanged> {
        let names = |what, had: Vec<String>, found: Vec<String>| match had == found {
            true => Ok(()),
            false => Err(DataChanged::Names { what, had, found }),
        };
        names("classes", self.schema.classes.clone(), schema.classes.clone())?;
        if let (Some(had), Some(found)) = (&self.schema.table, &schema.table) {
            names("columns", had.feature_names(), found.feature_names())?;
            names("targets", vec![had.target_name()], vec![found.target_name()])?;
        }
        for (part, found) in parts {
            let (had, samples) = match (self.parts.get(&part), found) {
                (None, None) => continue,
                (Some(had), Some(samples)) => (had, samples),
                (_, found) => return Err(DataChanged::Part { part, found: found.is_some() }),
            };
            let found = Digest::of(samples);
            if *had != found {
                return Err(DataChanged::Samples { part, had: had.clone(), found });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Options, Shape, load};

    fn identity(splits: &Splits) -> Identity {
        Identity { schema: splits.schema(), parts: digests(splits) }
    }

    fn all(splits: &Splits) -> [(Part, Option<&Samples>); 3] {
        Part::ALL.map(|part| (part, part.of(splits)))
    }

    fn table(values: &[f32], labels: &[u32], names: &[&str]) -> Samples {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let targets = Targets::Classes { labels: labels.to_vec(), names };
        let shape = Shape::table(values.len() / labels.len());
        Samples::new(shape, Inputs::Floats(values.iter().map(|v| (*v).into()).collect()), targets)
            .expect("samples")
    }

    #[test]
    fn a_digest_knows_inputs_targets_order_and_shape() {
        let (values, names) = ([1.0, 2.0, 3.0, 4.0], ["a", "b"]);
        let first = Digest::of(&table(&values, &[0, 1], &names));
        assert_eq!(first, Digest::of(&table(&values, &[0, 1], &names)));
        assert_eq!((first.samples, first.hash.len()), (2, 32));
        for other in [
            table(&[1.0, 2.0, 3.0, 4.000_001], &[0, 1], &names),
            table(&[3.0, 4.0, 1.0, 2.0], &[1, 0], &names),
            table(&[2.0, 1.0, 4.0, 3.0], &[0, 1], &names),
            table(&values, &[1, 0], &names),
            table(&[1.0, 2.0], &[0, 1], &names),
            table(&values, &[0, 1, 0, 1], &names),
        ] {
            assert_ne!(Digest::of(&other), first);
        }
    }

    #[test]
    fn the_digest_of_the_digits_stays_what_it_is() {
        let parts = digests(&load(&Options::default()).expect("the digits"));
        // Files of runs hold it: another value would turn them all away.
        assert_eq!(parts[&Part::Test].hash, "ca3b9a3d09d6be9c7b8465a459dd00a1");
        let text = serde_json::to_string(&parts).expect("plain data");
        assert!(text.starts_with(r#"{"train":{"samples":3441,"hash":""#), "{text}");
        assert_eq!(serde_json::from_str::<BTreeMap<Part, Digest>>(&text).expect("read"), parts);
    }

    #[test]
    fn what_differs_is_named_and_only_the_parts_that_are_used_are_looked_at() {
        let splits = load(&Options::default()).expect("the digits");
        let identity = identity(&splits);
        identity.check(&splits.schema(), all(&splits)).expect("the same");
        let fewer = Options { limit_train: Some(100), ..Options::default() };
        let fewer = load(&fewer).expect("the digits");
        identity.check(&splits.schema(), all(&fewer).into_iter().skip(1)).expect("the same");
        let text = identity.check(&splits.schema(), all(&fewer)).expect_err("fewer").to_string();
        let had = "the training samples are not those of the run: it had 3441 (digest ";
        assert!(text.starts_with(had) && text.contains("found 100 (digest "), "{text}");

        let no_test = Splits { test: None, ..splits.clone() };
        let text = identity.check(&splits.schema(), all(&no_test)).expect_err("none").to_string();
        assert_eq!(text, "the run had some test samples, found none");

        let mut renamed = identity.clone();
        renamed.schema.classes.swap(3, 4);
        let text =
            renamed.check(&splits.schema(), all(&splits)).expect_err("another order").to_string();
        assert!(text.contains("classes") && text.contains("10 with 4 at place 4"), "{text}");
    }
}
