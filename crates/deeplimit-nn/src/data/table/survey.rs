//! What a table holds, found out in one pass before it is read in another: nothing is decided by the first
//! lines alone but what separates cells.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use csv::StringRecord;

use super::cell::{is_grouped, is_missing, with_comma};
use super::fault::TableFault;
use super::records::Records;
use super::separator::{Decimal, Separator};
use crate::data::DataError;

/// Most different values that are kept of a column that is to be classes.
pub(super) const MOST_CLASSES: usize = 50_000;
/// Most categories of one column.
pub(super) const MOST_CATEGORIES: usize = 1_000;
/// The longest text that can be a class or a category, in bytes.
const LONGEST_NAME: usize = 256;

/// A line and the text of one of its cells.
pub(super) type Found = (u64, String);

/// What a table holds.
pub(super) struct Survey {
    pub(super) file: PathBuf,
    pub(super) separator: Separator,
    /// The first record and its line: a header, or the first sample.
    pub(super) first: (u64, StringRecord),
    /// Lines of samples, without the first record unless it was added.
    pub(super) rows: u64,
    /// The line of a record that is the same as the first, and how many there are.
    pub(super) same: Option<u64>,
    pub(super) sames: u64,
    pub(super) columns: Vec<Seen>,
}

/// What a column holds.
#[derive(Default)]
pub(super) struct Seen {
    /// Cells without a value, and those of them that are empty.
    pub(super) missing: u64,
    pub(super) empty: u64,
    pub(super) first_missing: Option<Found>,
    /// Numbers without a point or comma, with a point, with a comma.
    whole: u64,
    points: u64,
    commas: u64,
    first_point: Option<Found>,
    first_comma: Option<Found>,
    /// Numbers with a comma that could part thousands.
    grouped: u64,
    texts: u64,
    first_text: Option<Found>,
    /// The first number that has a fraction, or none of the exact whole numbers.
    first_fraction: Option<Found>,
    /// Cells that repeat that of the first record.
    pub(super) repeats: u64,
    /// How the cells count rows, as long as they do: the number of the first.
    counts_from: Option<i64>,
    /// Whether no whole number comes twice.
    pub(super) index: Index,
    /// Different values: of texts, or of all cells where they are to be classes or categories.
    pub(super) words: Words,
}

/// Whether a column may be an index that somebody's program wrote.
#[derive(Default)]
pub(super) enum Index {
    /// Nobody asked.
    #[default]
    Unasked,
    /// The whole numbers so far, all different.
    Distinct(HashSet<i64>),
    /// It is none.
    No,
}

/// Different values of a column.
#[derive(Default)]
pub(super) struct Words {
    pub(super) seen: HashSet<String>,
    /// Whether there are more than are kept.
    pub(super) many: bool,
    /// Most that are kept; all cells are looked at where the column is to be classes or categories.
    most: usize,
    all: bool,
}

/// What is to be found out of columns, by index.
#[derive(Default)]
pub(super) struct Wanted {
    /// The columns that are left out: nothing is found out of them.
    pub(super) dropped: Vec<usize>,
    /// The column that is to be classes.
    pub(super) target: Option<usize>,
    /// Columns that are to be categories.
    pub(super) categories: Vec<usize>,
}

impl Survey {
    /// Looks at all of a file. `wanted` is told the first record and its line.
    pub(super) fn of(
        path: &Path,
        separator: Option<Separator>,
        usual: Option<Separator>,
        wanted: impl FnOnce(&StringRecord) -> Result<Wanted, DataError>,
    ) -> Result<Self, DataError> {
        let mut records = Records::open(path, separator, usual)?;
        let Some(first) = records.next()? else {
            return Err(DataError::NoSamples { file: path.to_owned() });
        };
        let width = first.1.len();
        if width < 2
            && let Some((line, second)) = records.next()?
            && second.len() > 1
        {
            let cause = match first.1[0].starts_with(['#', '%']) {
                true => "that line looks like a comment: remove it",
                false => "that line looks like a title: remove it",
            };
            let (found, cause) = (second.len(), cause.to_owned());
            let fault = TableFault::Columns { line, found, expected: width, cause };
            return Err(DataError::Table { file: path.to_owned(), fault });
        }
        let wanted = wanted(&first.1)?;
        let mut columns: Vec<Seen> = (0..width).map(|_| Seen::default()).collect();
        for (index, column) in columns.iter_mut().enumerate() {
            let classes = wanted.target == Some(index);
            column.words.all = classes || wanted.categories.contains(&index);
            column.words.most = match (wanted.dropped.contains(&index), classes) {
                (true, _) => 0,
                (false, true) => MOST_CLASSES,
                (false, false) => MOST_CATEGORIES,
            };
        }
        if may_be_index(first.1.get(0)) {
            columns[0].index = Index::Distinct(HashSet::new());
        }
        let mut survey = Self {
            file: path.to_owned(),
            separator: records.separator(),
            first,
            rows: 0,
            same: None,
            sames: 0,
            columns,
        };
        while let Some((line, record)) = records.next()? {
            survey.check_width(line, &record)?;
            survey.add(line, &record);
        }
        Ok(survey)
    }

    /// A fault of the file.
    pub(super) fn fault<T>(&self, fault: TableFault) -> Result<T, DataError> {
        Err(DataError::Table { file: self.file.clone(), fault })
    }

    /// Takes the first record as a sample, too.
    pub(super) fn add_first(&mut self) {
        let (line, record) = &self.first;
        let alone = self.rows == 0;
        self.rows += 1;
        for (column, cell) in self.columns.iter_mut().zip(record) {
            let next = column.counts_from;
            column.add(*line, cell, self.rows);
            let whole = cell.parse::<i64>().ok();
            column.counts_from = whole.filter(|whole| alone || next == whole.checked_add(1));
        }
    }

    fn add(&mut self, line: u64, record: &StringRecord) {
        self.rows += 1;
        if *record == self.first.1 {
            self.same.get_or_insert(line);
            self.sames += 1;
        }
        for ((column, cell), first) in self.columns.iter_mut().zip(record).zip(&self.first.1) {
            column.add(line, cell, self.rows);
            column.repeats += u64::from(cell == first && !is_missing(cell));
        }
    }

    /// What separates the fractions of numbers, as all columns together tell.
    pub(super) fn decimal(&self) -> Result<Decimal, TableFault> {
        let with_commas = || self.columns.iter().filter(|column| column.commas > column.texts);
        let point = self.columns.iter().find(|column| column.points > column.texts);
        let Some(comma) = with_commas().find_map(|column| column.first_comma.clone()) else {
            return Ok(Decimal::Point);
        };
        if let Some(point) = point.and_then(|column| column.first_point.clone()) {
            return Err(TableFault::TwoDecimals { comma, point });
        }
        if with_commas().all(|column| column.grouped == column.commas) {
            let (line, value) = comma;
            return Err(TableFault::Thousands { line, value });
        }
        Ok(Decimal::Comma)
    }

    fn check_width(&self, line: u64, record: &StringRecord) -> Result<(), DataError> {
        let (found, expected) = (record.len(), self.first.1.len());
        if found == expected {
            return Ok(());
        }
        let text: String = record.iter().collect::<Vec<_>>().join(" ").chars().take(40).collect();
        let separator = self.separator.name();
        let cause = if text.starts_with(['#', '%']) {
            format!("{text:?} looks like a comment: remove the line")
        } else if record.iter().any(|cell| cell.contains('\n')) {
            "is a quote not closed?".to_owned()
        } else if found > 1 && record.get(found - 1) == Some("") {
            format!("this line ends in {separator:?}: remove that, or give the first line one, too")
        } else if found == expected + 1 && self.separator == Separator::Comma && self.rows == 0 {
            "does the header lack a name, as that of row names, or are there decimal commas between commas?"
                .to_owned()
        } else if found == 1 {
            format!("{text:?} is no sample: remove the line")
        } else {
            format!("is {separator:?}, which separates columns, part of a text without quotes?")
        };
        self.fault(TableFault::Columns { line, found, expected, cause })
    }
}

/// Whether a column of such a name may be an index that somebody's program wrote.
pub(super) fn may_be_index(name: Option<&str>) -> bool {
    name.is_some_and(|name| name.is_empty() || name.starts_with("Unnamed: "))
}

impl Seen {
    fn add(&mut self, line: u64, cell: &str, row: u64) {
        if self.words.most == 0 {
            return;
        }
        let found = || Some((line, cell.chars().take(40).collect()));
        let whole = cell.parse::<i64>().ok();
        self.count(whole, row);
        if is_missing(cell) {
            self.missing += 1;
            self.empty += u64::from(cell.is_empty());
            self.first_missing = self.first_missing.take().or_else(found);
            return;
        }
        let point = match whole {
            Some(whole) => Some(whole as f64),
            None => cell.parse::<f64>().ok(),
        };
        match point {
            Some(value) => {
                if cell.contains('.') {
                    self.points += 1;
                    self.first_point = self.first_point.take().or_else(found);
                } else {
                    self.whole += 1;
                }
                self.fraction(value, found);
            }
            None => match with_comma(cell) {
                Some(value) => {
                    self.commas += 1;
                    self.first_comma = self.first_comma.take().or_else(found);
                    self.grouped += u64::from(is_grouped(cell));
                    self.fraction(value, found);
                }
                None => {
                    self.texts += 1;
                    self.first_text = self.first_text.take().or_else(found);
                }
            },
        }
        if self.words.all || point.is_none() {
            self.words.add(cell);
        }
    }

    fn fraction(&mut self, value: f64, found: impl FnOnce() -> Option<Found>) {
        if value.fract() != 0.0 && self.first_fraction.is_none() {
            self.first_fraction = found();
        }
    }

    fn count(&mut self, whole: Option<i64>, row: u64) {
        let first = whole.and_then(|whole| whole.checked_sub(row as i64 - 1));
        self.counts_from = match row {
            1 => first,
            _ => self.counts_from.filter(|&known| first == Some(known)),
        };
        if let Index::Distinct(seen) = &mut self.index
            && !whole.is_some_and(|whole| seen.insert(whole))
        {
            self.index = Index::No;
        }
    }

    /// Cells that are numbers.
    pub(super) fn numbers(&self, decimal: Decimal) -> u64 {
        self.whole
            + match decimal {
                Decimal::Point => self.points,
                Decimal::Comma => self.commas,
            }
    }

    /// Cells that are texts.
    pub(super) fn texts(&self, decimal: Decimal) -> u64 {
        self.texts
            + match decimal {
                Decimal::Point => self.commas,
                Decimal::Comma => self.points,
            }
    }

    /// The first cell that is a text.
    pub(super) fn first_text(&self, decimal: Decimal) -> Option<&Found> {
        let other = match decimal {
            Decimal::Point => &self.first_comma,
            Decimal::Comma => &self.first_point,
        };
        [&self.first_text, other].into_iter().flatten().min_by_key(|(line, _)| *line)
    }

    /// Whether the cells count the rows, from 0 or from 1, and there are enough to say so.
    pub(super) fn counts_rows(&self, rows: u64) -> bool {
        rows >= 10 && matches!(self.counts_from, Some(0 | 1))
    }

    /// The first number with a fraction.
    pub(super) fn first_fraction(&self) -> Option<&Found> {
        self.first_fraction.as_ref()
    }
}

impl Words {
    fn add(&mut self, cell: &str) {
        if self.many || self.seen.contains(cell) {
            return;
        }
        self.many = self.seen.len() == self.most || cell.len() > LONGEST_NAME;
        if !self.many {
            self.seen.insert(cell.to_owned());
        }
    }

    /// How many there are, as far as they were counted.
    pub(super) fn told(&self) -> String {
        match self.many {
            true => format!("more than {}", self.seen.len()),
            false => self.seen.len().to_string(),
        }
    }
}
