//! Tables: comma-separated text (`.csv` or `.csv.gz`), numeric features, the target in the last
//! column.
//!
//! The first line is a header exactly when none of its feature cells is a number and none is
//! missing; everywhere else a feature that is no finite number is an error. A missing value (`?`,
//! an empty cell, `nan`) is an error too.
//!
//! Classes are the distinct targets of the whole file: in numerical order where all are whole
//! numbers (`1` and `1.0` are the same class), in the order of their bytes otherwise.

use std::collections::HashMap;
use std::path::Path;

use csv::StringRecord;

use super::lines::Lines;
use super::split::Raw;
use super::{CellFault, DataError, Inputs, Samples, Shape, Targets, Task};

/// Whether a file is named as a table.
pub(super) fn is_named(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.ends_with(".csv") || name.ends_with(".csv.gz")
}

/// Reads a table.
pub(super) fn load(path: &Path, task: Task) -> Result<Raw, DataError> {
    let mut lines = Lines::open(path)?;
    let mut features = Vec::new();
    let mut target = match task {
        Task::Classification => Column::Classes(Classes::default()),
        Task::Regression => Column::Values(Vec::new()),
    };
    let mut columns = None;
    while let Some((line, record)) = lines.next()? {
        let expected = *columns.get_or_insert(record.len());
        let first = lines.read() == 1;
        if record.len() != expected {
            let (file, found) = (path.to_owned(), record.len());
            return Err(DataError::BadRow { file, line, found, expected });
        }
        if expected < 2 {
            let (file, found) = (path.to_owned(), expected);
            return Err(DataError::TooFewColumns { file, line, found });
        }
        if first && is_header(&record) {
            continue;
        }
        let bad = |column: usize, fault| {
            let value = record[column].chars().take(40).collect();
            DataError::BadCell { file: path.to_owned(), line, column: column + 1, value, fault }
        };
        for column in 0..expected - 1 {
            features.push(number(&record[column]).map_err(|fault| bad(column, fault))?);
        }
        let cell = &record[expected - 1];
        match &mut target {
            Column::Values(values) => {
                values.push(number(cell).map_err(|fault| bad(expected - 1, fault))?);
            }
            Column::Classes(_) if is_missing(cell) => {
                return Err(bad(expected - 1, CellFault::Missing));
            }
            Column::Classes(classes) => classes.push(cell, line),
        }
    }
    let targets = match target {
        Column::Values(values) => Targets::Values(values),
        Column::Classes(classes) => classes.finish(path, columns.unwrap_or(0))?,
    };
    if targets.is_empty() {
        return Err(DataError::NoSamples { file: path.to_owned() });
    }
    let shape = Shape::table(columns.unwrap_or(1) - 1);
    let train = Samples::new(shape, Inputs::Floats(features), targets)?;
    Ok(Raw { train: Some(train), test: None, files: vec![path.to_owned()] })
}

fn is_missing(cell: &str) -> bool {
    cell.is_empty() || cell == "?" || cell.eq_ignore_ascii_case("nan")
}

fn number(cell: &str) -> Result<f64, CellFault> {
    if is_missing(cell) {
        return Err(CellFault::Missing);
    }
    let value: f64 = cell.parse().map_err(|_| CellFault::NotANumber)?;
    if value.is_finite() { Ok(value) } else { Err(CellFault::NotFinite) }
}

fn is_header(record: &StringRecord) -> bool {
    let features = record.iter().take(record.len() - 1);
    features.map(number).all(|cell| cell == Err(CellFault::NotANumber))
}

enum Column {
    Classes(Classes),
    Values(Vec<f64>),
}

/// Class labels as they come, numbered by first appearance.
#[derive(Default)]
struct Classes {
    labels: Vec<u32>,
    seen: HashMap<String, u32>,
    any_text: bool,
    /// The line and the text of the first fractional number.
    fraction: Option<(u64, String)>,
}

impl Classes {
    fn push(&mut self, cell: &str, line: u64) {
        let name = match cell.parse::<f64>() {
            Ok(value) if value.fract() != 0.0 => {
                self.fraction.get_or_insert_with(|| (line, cell.to_owned()));
                cell.to_owned()
            }
            _ => {
                self.any_text |= !is_whole(cell);
                cell.to_owned()
            }
        };
        let next = self.seen.len() as u32;
        self.labels.push(*self.seen.entry(name).or_insert(next));
    }

    /// Sorts the classes and renumbers the labels.
    fn finish(self, path: &Path, column: usize) -> Result<Targets, DataError> {
        if let (false, Some((line, value))) = (self.any_text, self.fraction) {
            let (file, fault) = (path.to_owned(), CellFault::NotAClass);
            return Err(DataError::BadCell { file, line, column, value, fault });
        }
        let mut seen: Vec<(String, u32)> = self.seen.into_iter().collect();
        if self.any_text {
            seen.sort();
        } else {
            let value = |name: &str| name.parse::<f64>().unwrap_or(f64::NAN) + 0.0;
            seen.sort_by(|(a, _), (b, _)| value(a).total_cmp(&value(b)));
            for (name, _) in &mut seen {
                *name = value(name).to_string();
            }
        }
        let mut names: Vec<String> = Vec::new();
        let mut order = vec![0; seen.len()];
        for (name, first) in seen {
            if names.last() != Some(&name) {
                names.push(name);
            }
            order[first as usize] = names.len() as u32 - 1;
        }
        let labels = self.labels.iter().map(|&first| order[first as usize]).collect();
        Ok(Targets::Classes { labels, names })
    }
}

fn is_whole(cell: &str) -> bool {
    cell.parse::<f64>().is_ok_and(|value| value.fract() == 0.0)
}
