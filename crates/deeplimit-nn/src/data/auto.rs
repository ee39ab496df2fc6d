//! Options that are `"auto"` where nothing is said, in configuration files as in memory.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

const AUTO: &str = "auto";

pub(super) fn serialize<T: Serialize, S: Serializer>(
    option: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match option {
        Some(value) => value.serialize(serializer),
        None => serializer.serialize_str(AUTO),
    }
}

pub(super) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    match value {
        Value::String(text) if text == AUTO => Ok(None),
        value => T::deserialize(value).map(Some).map_err(D::Error::custom),
    }
}

/// A list, or one value for a list of one.
pub(super) fn one_or_more<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    listed(Value::deserialize(deserializer)?)
}

fn listed<T: DeserializeOwned, E: Error>(value: Value) -> Result<Vec<T>, E> {
    let values = match value {
        Value::Array(values) => values,
        value => vec![value],
    };
    values.into_iter().map(|value| T::deserialize(value).map_err(E::custom)).collect()
}

/// The same of a list.
pub(super) mod list {
    use super::{AUTO, Value, listed};
    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Deserializer};

    pub(in super::super) use super::serialize;

    pub(in super::super) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<T>>, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) if text == AUTO => Ok(None),
            value => listed(value).map(Some),
        }
    }
}
