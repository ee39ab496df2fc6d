//! Numbers of bytes as people write them: `256 MiB`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt::{self, Display};
use std::str::FromStr;

/// A number of bytes that memory is to stay within.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Budget(pub usize);

/// A text that is no number of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no memory budget; expected a number of bytes above 0, or a number with its unit such as \
     \"256 MiB\", \"1.5 GiB\", \"64 KiB\" or \"100 MB\""
)]
pub struct BadBudget(pub String);

/// Units, the larger first; those of powers of two are the ones that budgets are shown in.
const UNITS: [(&str, f64); 9] = [
    ("TiB", (1u64 << 40) as f64),
    ("GiB", (1u64 << 30) as f64),
    ("MiB", (1u64 << 20) as f64),
    ("KiB", 1024.0),
    ("TB", 1e12),
    ("GB", 1e9),
    ("MB", 1e6),
    ("kB", 1e3),
    ("B", 1.0),
];

impl FromStr for Budget {
    type Err = BadBudget;

    /// Reads `256 MiB`, `1.5GiB`, `100 MB`, `65536`; units in small or capital letters.
    fn from_str(text: &str) -> Result<Self, BadBudget> {
        let bad = || BadBudget(text.to_owned());
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(end);
        let number = number.trim_end();
        let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let factor = match unit {
            "" => 1.0,
            unit => {
                let known = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
                known.ok_or_else(bad)?.1
            }
        };
        let number: f64 = number.parse().ok().filter(|_| plain).ok_or_else(bad)?;
        let bytes = (number * factor).floor();
        // Above, a double does not tell a byte from the next.
        if (1.0..9e15).contains(&bytes) { Ok(Self(bytes as usize)) } else { Err(bad()) }
    }
}

/// In the largest unit that leaves a number of at least 1, rounded.
impl Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        match UNITS[..4].iter().find(|(_, factor)| bytes >= *factor) {
            None => write!(f, "{} B", self.0),
            Some((unit, factor)) => {
                let digits = if bytes % factor == 0.0 { 0 } else { 2 };
                write!(f, "{:.digits$} {unit}", bytes / factor)
            }
        }
    }
}

/// A whole number of a unit as text, else the bytes.
impl Serialize for Budget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.to_string();
        if text.parse() == Ok(*self) {
            serializer.serialize_str(&text)
        } else {
            serializer.serialize_u64(self.0 as u64)
        }
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Budget;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or a text such as \"256 MiB\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Budget, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Budget, E> {
                bytes.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Budget, E> {
                bytes.to_string().parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units_and_shown_in_the_largest() {
        for (text, bytes, shown) in [
            ("256 MiB", 256 << 20, "256 MiB"),
            ("1.5 GiB", 3 << 29, "1.50 GiB"),
            ("64KiB", 64 << 10, "64 KiB"),
            ("100 MB", 100_000_000, "95.37 MiB"),
            ("2 gib", 2 << 30, "2 GiB"),
            (" 1000 ", 1000, "1000 B"),
            ("7 B", 7, "7 B"),
        ] {
            assert_eq!(text.parse(), Ok(Budget(bytes)), "{text}");
            assert_eq!(Budget(bytes).to_string(), shown);
        }
        for bad in ["", "MiB", "0", "0.5 B", "-1 MiB", "1e9", "inf", "nan", "12 parsecs", "1 2 MiB"]
        {
            let error = bad.parse::<Budget>().expect_err(bad);
            assert!(error.to_string().starts_with(&format!("{bad:?} is no memory budget")));
        }
    }
}
