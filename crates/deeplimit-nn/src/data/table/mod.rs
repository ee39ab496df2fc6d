//! Tables: lines of cells (`.csv`, `.tsv`, `.gz`), of which one column is predicted from others.
//!
//! ```text
//! text ── separator ── records ── survey ──> what each column is (TableFormat) ──> rows ──> numbers
//! ```
//!
//! A table is read twice. The [`survey`] finds out what all its columns hold; from this and the options
//! follows the [`TableFormat`]: whether there is a header, which column is the target, which columns are
//! numbers and which categories. The second pass makes numbers of the cells. What leaves doubt is an error
//! that names the option that decides. A run keeps the format, and reads every other table by it.

mod asked;
mod cell;
mod columns;
mod fault;
mod format;
mod header;
mod matching;
mod missing;
mod names;
mod records;
mod rows;
mod separator;
mod survey;
mod text;
mod told;

use std::path::{Path, PathBuf};

pub use asked::ColumnRef;
pub use fault::TableFault;
pub(super) use fault::listed;
pub use format::{Feature, FeatureKind, TableFormat, TargetColumn};
pub use missing::Missing;
pub use separator::{Decimal, Separator};

use super::split::Raw;
use super::{DataError, Inputs, Options, Samples, Shape, Targets};
use asked::Asked;
use columns::understand;
use rows::{Labels, Layout, Rows};
use survey::{Survey, Wanted};

/// How a table was read.
#[derive(Debug)]
pub(super) struct Reading {
    format: TableFormat,
    /// What was understood, a line each.
    told: Vec<String>,
}

impl Reading {
    /// Fills in what is missing in the parts of a table, by medians of the first where no run knows others;
    /// what was understood then is complete.
    pub(super) fn finish(
        reading: Option<Self>,
        parts: &mut [&mut Samples],
        options: &Options,
        files: &[PathBuf],
    ) -> Result<(Option<TableFormat>, Vec<String>), DataError> {
        let Some(Self { mut format, told }) = reading else { return Ok((None, Vec::new())) };
        if options.missing == Missing::Median {
            let file = files.first().cloned().unwrap_or_default();
            missing::fill(&mut format, parts).map_err(|fault| DataError::Table { file, fault })?;
        }
        Ok((Some(format), told))
    }
}

/// The rows of a table without its target, to be predicted.
#[derive(Clone, Debug, PartialEq)]
pub struct TableRows {
    /// Row after row, the inputs that a format names, with what is missing filled in.
    pub values: Vec<f64>,
    /// The line of each row, counted from 1.
    pub lines: Vec<u64>,
    /// The number of each row among all of the file, those that were left out included, counted from 0.
    pub numbers: Vec<u64>,
    /// What is worth saying about how the table was read, a line each.
    pub notes: Vec<String>,
}

/// Whether a file is named as a table.
pub(super) fn is_named(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    plain.ends_with(".csv") || plain.ends_with(".tsv")
}

/// Reads a table as options ask for.
pub(super) fn load(path: &Path, options: &Options) -> Result<Raw, DataError> {
    let named = |fault| DataError::Table { file: path.to_owned(), fault };
    let mut asked = None;
    let mut survey = Survey::of(path, options.separator, None, |first| {
        let found = Asked::resolve(options, first).map_err(named)?;
        let wanted = found.wanted(options.task);
        asked = Some(found);
        Ok(wanted)
    })?;
    let asked = asked.expect("the first record was asked");
    let decimal = |survey: &Survey| options.decimal.map_or_else(|| survey.decimal(), Ok);
    let header = match options.header {
        Some(header) => header,
        None if asked.by_name => true,
        None => header::is_header(&survey, decimal(&survey).map_err(named)?, &asked.dropped)
            .map_err(named)?,
    };
    if !header {
        survey.add_first();
    }
    if survey.rows == 0 {
        return Err(DataError::NoSamples { file: path.to_owned() });
    }
    let decimal = decimal(&survey).map_err(named)?;
    let understood = understand(&survey, header, decimal, &asked, options)?;
    let format = understood.format;
    let layout = Layout {
        features: format.features.iter().map(|feature| feature.place - 1).collect(),
        target: Some(format.target.place - 1),
    };
    let classes = understood.classes.as_deref();
    let rows = rows::read(&survey, &format, &layout, classes, options.missing)?;
    let mut told = format.told(classes);
    told.extend(told::left_out(&understood.left_out, &understood.doubtful));
    told.extend(told::missing(&rows, options.missing));
    raw(path, rows, classes, Reading { format, told })
}

/// Reads another table by the format of a run, whose classes are given; none in regression.
pub(super) fn load_by(
    path: &Path,
    options: &Options,
    format: &TableFormat,
    classes: Option<&[String]>,
) -> Result<Raw, DataError> {
    let (survey, header, decimal) = survey_by(path, options, format, |place| Wanted {
        target: place.filter(|_| classes.is_some()),
        ..Wanted::default()
    })?;
    let (layout, mut told) = matching::layout(format, &survey.first.1, header, true)
        .or_else(|fault| survey.fault(fault))?;
    if let (Some(classes), Some(target)) = (classes, layout.target) {
        let known = names::Names::new(classes, decimal);
        let words = &survey.columns[target].words.seen;
        if words.iter().any(|word| known.find(word).is_none()) {
            let (path, found) = (path.to_owned(), names::sorted(words, decimal));
            return Err(DataError::OtherClasses { path, found, known: classes.to_vec() });
        }
    }
    let separator = survey.separator;
    let here = TableFormat { header, decimal, separator, ..format.clone() };
    let rows = rows::read(&survey, &here, &layout, classes, options.missing)?;
    told.extend(told::missing(&rows, options.missing));
    raw(path, rows, classes, Reading { format: format.clone(), told })
}

/// Reads the features of a table by the format of a run, which knows what to fill in; the file may have the
/// target or not.
pub(super) fn rows_by(
    path: &Path,
    options: &Options,
    format: &TableFormat,
) -> Result<TableRows, DataError> {
    let missing = options.missing;
    let (survey, header, decimal) = survey_by(path, options, format, |_| Wanted::default())?;
    let (layout, mut notes) = matching::layout(format, &survey.first.1, header, false)
        .or_else(|fault| survey.fault(fault))?;
    let separator = survey.separator;
    let here = TableFormat { header, decimal, separator, ..format.clone() };
    let mut rows = rows::read(&survey, &here, &layout, None, missing)?;
    notes.extend(told::missing(&rows, missing));
    if missing == Missing::Median {
        missing::fill_rows(format, &mut rows.values).or_else(|fault| survey.fault(fault))?;
    }
    let Rows { values, lines, numbers, .. } = rows;
    Ok(TableRows { values, lines, numbers, notes })
}

/// A survey of another table, whether it has a header, and its decimal: as options say, or the table itself, or,
/// where it leaves doubt, a run's format. `wanted` is told the place of the target, as far as it can be known.
fn survey_by(
    path: &Path,
    options: &Options,
    format: &TableFormat,
    wanted: impl FnOnce(Option<usize>) -> Wanted,
) -> Result<(Survey, bool, Decimal), DataError> {
    let mut survey = Survey::of(path, options.separator, Some(format.separator), |first| {
        let by_name = format.target.name.as_ref();
        let by_name = by_name.and_then(|name| first.iter().position(|cell| cell == name));
        let by_place = Some(format.target.place - 1).filter(|_| first.len() == format.columns);
        Ok(wanted(by_name.or(by_place)))
    })?;
    let decimal = |survey: &Survey| {
        options.decimal.unwrap_or_else(|| survey.decimal().unwrap_or(format.decimal))
    };
    let told = || header::is_header(&survey, decimal(&survey), &[]).unwrap_or(format.header);
    let header =
        matching::names_columns(format, &survey.first.1) || options.header.unwrap_or_else(told);
    if !header {
        survey.add_first();
    }
    if survey.rows == 0 {
        return Err(DataError::NoSamples { file: path.to_owned() });
    }
    let decimal = decimal(&survey);
    Ok((survey, header, decimal))
}

fn raw(
    path: &Path,
    rows: Rows,
    classes: Option<&[String]>,
    reading: Reading,
) -> Result<Raw, DataError> {
    let targets = match rows.labels {
        Labels::Classes(labels) => {
            Targets::Classes { labels, names: classes.unwrap_or_default().to_vec() }
        }
        Labels::Values(values) => Targets::Values(values),
    };
    let shape = Shape::table(reading.format.inputs());
    let train = Samples::new(shape, Inputs::Floats(rows.values), targets)?;
    let train = Some(train.numbered(&rows.numbers)?);
    Ok(Raw { train, test: None, files: vec![path.to_owned()], table: Some(reading) })
}
