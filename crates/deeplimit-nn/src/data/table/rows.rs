//! The second pass over a table: its cells as numbers, in the columns that a format names.

use csv::StringRecord;

use super::cell::{Cell, is_missing};
use super::fault::{TableFault, one_line};
use super::format::{FeatureKind, TableFormat};
use super::missing::Missing;
use super::names::Names;
use super::records::Records;
use super::survey::Survey;
use crate::data::{CellFault, DataError};

/// Where the columns of a format lie in a file, by index.
pub(super) struct Layout {
    /// Of each feature.
    pub(super) features: Vec<usize>,
    /// Of the target, where the file has it and it is to be read.
    pub(super) target: Option<usize>,
}

/// What is read of the target.
pub(super) enum Labels {
    /// A class for each row.
    Classes(Vec<u32>),
    /// A number for each row.
    Values(Vec<f64>),
}

/// The rows of a table.
pub(super) struct Rows {
    /// Row after row, the inputs that a format names; what is missing is no number.
    pub(super) values: Vec<f64>,
    pub(super) labels: Labels,
    /// The line of each row.
    pub(super) lines: Vec<u64>,
    /// The number of each row among all of the file, those that were left out included, from 0.
    pub(super) numbers: Vec<u64>,
    /// Rows that were left out, because a value is missing.
    pub(super) dropped: u64,
    /// Cells of features that are missing in the rows that stay.
    pub(super) missing: u64,
}

/// Reads the rows of a surveyed table. Without `classes`, targets are numbers.
pub(super) fn read(
    survey: &Survey,
    format: &TableFormat,
    layout: &Layout,
    classes: Option<&[String]>,
    missing: Missing,
) -> Result<Rows, DataError> {
    let decimal = format.decimal;
    let names = |kind: &FeatureKind| match kind {
        FeatureKind::Numbers { .. } => None,
        FeatureKind::Categories { names, .. } => Some(Names::new(names, decimal)),
    };
    let categories = format.features.iter().map(|feature| names(&feature.kind)).collect();
    let classes = classes.map(|classes| Names::new(classes, decimal));
    let labels = match classes {
        Some(_) => Labels::Classes(Vec::new()),
        None => Labels::Values(Vec::new()),
    };
    let (lines, numbers) = (Vec::new(), Vec::new());
    let rows = Rows { values: Vec::new(), labels, lines, numbers, dropped: 0, missing: 0 };
    let mut reader = Reader { survey, format, layout, categories, classes, missing, rows };
    let mut records = Records::open(&survey.file, Some(survey.separator), None)?;
    if format.header {
        records.next()?;
    }
    while let Some((line, record)) = records.next()? {
        reader.add(line, &record)?;
    }
    let Rows { lines, dropped, .. } = &reader.rows;
    if lines.is_empty() && *dropped > 0 {
        return survey.fault(TableFault::AllDropped { rows: *dropped });
    }
    Ok(reader.rows)
}

struct Reader<'a> {
    survey: &'a Survey,
    format: &'a TableFormat,
    layout: &'a Layout,
    /// Of each feature, where it has some.
    categories: Vec<Option<Names>>,
    classes: Option<Names>,
    missing: Missing,
    rows: Rows,
}

impl Reader<'_> {
    fn add(&mut self, line: u64, record: &StringRecord) -> Result<(), DataError> {
        // A file that changes while it is read is the only way to another width here.
        if record.len() != self.survey.columns.len() {
            let (found, expected) = (record.len(), self.survey.columns.len());
            let cause = "the file changed while it was read".to_owned();
            return self.survey.fault(TableFault::Columns { line, found, expected, cause });
        }
        let used = self.layout.features.iter().chain(&self.layout.target);
        if self.missing == Missing::Drop && used.clone().any(|&index| is_missing(&record[index])) {
            self.rows.dropped += 1;
            return Ok(());
        }
        for feature in 0..self.layout.features.len() {
            self.add_feature(line, record, feature)?;
        }
        if let Some(index) = self.layout.target {
            self.add_target(line, record, index)?;
        }
        self.rows.numbers.push(self.rows.lines.len() as u64 + self.rows.dropped);
        self.rows.lines.push(line);
        Ok(())
    }

    fn add_feature(
        &mut self,
        line: u64,
        record: &StringRecord,
        feature: usize,
    ) -> Result<(), DataError> {
        let index = self.layout.features[feature];
        let cell = &record[index];
        let values = &mut self.rows.values;
        let inputs = self.format.features[feature].kind.inputs();
        match (Cell::read(cell, self.format.decimal), &self.categories[feature]) {
            (Cell::Missing, _) if self.missing == Missing::Error => {
                return self.bad(line, record, index, CellFault::Missing);
            }
            (Cell::Missing, _) => {
                values.extend(std::iter::repeat_n(f64::NAN, inputs));
                self.rows.missing += 1;
            }
            (_, Some(names)) => match names.find(cell) {
                Some(own) => {
                    let inputs = 0..inputs as u32;
                    values.extend(inputs.map(|input| f64::from(u8::from(input == own))));
                }
                None => return self.unknown(line, cell, feature),
            },
            (Cell::Number(value), None) if value.is_finite() => values.push(value),
            (Cell::Number(_), None) => {
                return self.bad(line, record, index, CellFault::NotFinite);
            }
            (Cell::Text, None) => return self.bad(line, record, index, CellFault::NotANumber),
        }
        Ok(())
    }

    fn add_target(
        &mut self,
        line: u64,
        record: &StringRecord,
        index: usize,
    ) -> Result<(), DataError> {
        let cell = &record[index];
        let read = Cell::read(cell, self.format.decimal);
        if read == Cell::Missing {
            if self.missing == Missing::Error {
                return self.bad(line, record, index, CellFault::Missing);
            }
            let (value, column) = (cell.to_owned(), one_line(&self.format.target_name()));
            return self.survey.fault(TableFault::MissingTarget { line, value, column });
        }
        match (&mut self.rows.labels, &self.classes) {
            (Labels::Classes(labels), Some(names)) => match names.find(cell) {
                Some(label) => labels.push(label),
                // Classes are known from the survey.
                None => return self.bad(line, record, index, CellFault::NotAClass),
            },
            (Labels::Values(values), _) => match read {
                Cell::Number(value) if value.is_finite() => values.push(value),
                Cell::Number(_) => return self.bad(line, record, index, CellFault::NotFinite),
                _ => return self.bad(line, record, index, CellFault::NotANumber),
            },
            (Labels::Classes(_), None) => unreachable!("classes are read by their names"),
        }
        Ok(())
    }

    fn bad(
        &self,
        line: u64,
        record: &StringRecord,
        column: usize,
        fault: CellFault,
    ) -> Result<(), DataError> {
        let value = record[column].chars().take(40).collect();
        let file = self.survey.file.clone();
        Err(DataError::BadCell { file, line, column: column + 1, value, fault })
    }

    fn unknown(&self, line: u64, cell: &str, feature: usize) -> Result<(), DataError> {
        let feature = &self.format.features[feature];
        let FeatureKind::Categories { names: known, .. } = &feature.kind else { return Ok(()) };
        let (column, known) = (one_line(&feature.told()), known.clone());
        let value = cell.chars().take(40).collect();
        self.survey.fault(TableFault::UnknownCategory { line, value, column, known })
    }
}
