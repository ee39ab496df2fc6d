//! Places in files, as the error messages name them.
//!
//! Records and samples are counted from 0, as indices are; lines and columns of a text file from 1,
//! as editors do.

use std::fmt;

/// A place inside a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The header before the first record.
    Header,
    /// A record (one sample of a binary file), counted from 0.
    Record(u64),
    /// A line of a text file, counted from 1.
    Line(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Header => write!(f, "header"),
            Place::Record(record) => write!(f, "record {record}"),
            Place::Line(line) => write!(f, "line {line}"),
        }
    }
}

/// What is wrong with a cell of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CellFault {
    /// The value is missing: the cell is empty, `?`, `NA`, `nan`, `null` or the like.
    Missing,
    /// A number was expected.
    NotANumber,
    /// The number is infinite, or too large for double precision.
    NotFinite,
    /// The target of a classification is a fractional number.
    NotAClass,
}

impl fmt::Display for CellFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CellFault::Missing => {
                "a missing value; data.missing = \"median\" fills it in, data.missing = \"drop\" leaves \
                 out the line"
            },
            CellFault::NotANumber => "expected a number",
            CellFault::NotFinite => "expected a finite number",
            CellFault::NotAClass => {
                "expected a class (text or a whole number); \
                 for a real-valued target use task = \"regression\""
            }
        })
    }
}
