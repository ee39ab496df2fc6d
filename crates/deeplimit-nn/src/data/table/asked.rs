//! What options say about the columns of a table.

use std::fmt;

use csv::StringRecord;
use serde::{Deserialize, Serialize};

use super::fault::{TableFault, listed};
use super::survey::Wanted;
use crate::data::{Options, Task};

/// A column as options name it: by its name in the header, or by its number from 1, or from −1 backwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "the name of a column, or its number from 1 (the last is −1)")]
pub enum ColumnRef {
    /// Its number.
    Number(i64),
    /// Its name.
    Name(String),
}

impl fmt::Display for ColumnRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnRef::Number(number) => write!(f, "{number}"),
            ColumnRef::Name(name) => write!(f, "{name:?}"),
        }
    }
}

/// The columns that options name, by index.
pub(super) struct Asked {
    pub(super) dropped: Vec<usize>,
    /// The column that is predicted: by default the last of those that stay.
    pub(super) target: usize,
    /// The columns that are to be categories; none where texts decide.
    pub(super) categories: Option<Vec<usize>>,
    /// Whether a name of the first line was used, which then is a header.
    pub(super) by_name: bool,
}

impl Asked {
    /// Finds the columns, by the names that the first record may hold.
    pub(super) fn resolve(options: &Options, first: &StringRecord) -> Result<Self, TableFault> {
        let mut by_name = false;
        let mut place = |asked: &ColumnRef, option| {
            by_name |= matches!(asked, ColumnRef::Name(_));
            resolve(asked, option, first, options.header != Some(false))
        };
        let all = |asked: &[ColumnRef], option, place: &mut dyn FnMut(&ColumnRef, _) -> _| {
            asked.iter().map(|column| place(column, option)).collect::<Result<Vec<usize>, _>>()
        };
        let dropped = all(&options.drop, "data.drop", &mut place)?;
        let categories = match &options.categorical {
            Some(asked) => Some(all(asked, "data.categorical", &mut place)?),
            None => None,
        };
        let target = options.target.as_ref().map(|asked| place(asked, "data.target"));
        let last = (0..first.len()).rev().find(|index| !dropped.contains(index));
        let kept = (0..first.len()).filter(|index| !dropped.contains(index)).count();
        if kept < 2 {
            return Err(TableFault::TooFewColumns { found: kept });
        }
        let target = target.transpose()?.or(last).unwrap_or(0);
        let contradiction = |option, index: usize, other| {
            let column = name(first, index, options.header != Some(false));
            Err(TableFault::Contradiction { option, column, other })
        };
        if dropped.contains(&target) {
            return contradiction("data.drop", target, "data.target");
        }
        for &index in categories.iter().flatten() {
            if index == target {
                return contradiction("data.categorical", index, "data.target");
            }
            if dropped.contains(&index) {
                return contradiction("data.categorical", index, "data.drop");
            }
        }
        Ok(Self { dropped, target, categories, by_name })
    }

    /// What is to be found out of the columns.
    pub(super) fn wanted(&self, task: Option<Task>) -> Wanted {
        Wanted {
            dropped: self.dropped.clone(),
            target: (task != Some(Task::Regression)).then_some(self.target),
            categories: self.categories.clone().unwrap_or_default(),
        }
    }
}

/// A column's name in a first record that may be a header, or its place.
fn name(first: &StringRecord, index: usize, named: bool) -> String {
    match first.get(index) {
        Some(name) if named && !name.is_empty() => format!("{name:?}"),
        _ => format!("column {}", index + 1),
    }
}

fn resolve(
    asked: &ColumnRef,
    option: &'static str,
    first: &StringRecord,
    named: bool,
) -> Result<usize, TableFault> {
    let count = first.len();
    let unknown = |known| Err(TableFault::NoSuchColumn { option, asked: asked.to_string(), known });
    match asked {
        ColumnRef::Number(number) => {
            let from_end = number.saturating_add(count as i64);
            match *number {
                found if found > 0 && found <= count as i64 => Ok(found as usize - 1),
                found if found < 0 && from_end >= 0 => Ok(from_end as usize),
                _ => unknown(format!("columns 1 to {count}, and −1 is the last")),
            }
        }
        ColumnRef::Name(_) if !named => {
            unknown(format!("columns 1 to {count}, which have no names with data.header = false"))
        }
        ColumnRef::Name(name) => {
            let mut places = (0..count).filter(|&index| first[index] == *name);
            match (places.next(), places.next()) {
                (Some(place), None) => Ok(place),
                (Some(one), Some(two)) => {
                    let (name, places) = (name.clone(), [one + 1, two + 1]);
                    Err(TableFault::TwoColumns { option, name, places })
                }
                (None, _) => {
                    let known: Vec<String> = first.iter().map(|cell| format!("{cell:?}")).collect();
                    unknown(format!("{} in the first line", listed(&known)))
                }
            }
        }
    }
}
