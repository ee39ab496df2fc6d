//! What can be wrong with a table as a whole. Every message is one line that names the cause, and the option
//! that helps where there is one.

use super::separator::Separator;

/// Why a table cannot be read as it is.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TableFault {
    /// A line has another number of columns than the first.
    #[error("line {line}: {found} column(s), expected {expected} as in the first line; {cause}")]
    Columns {
        /// The line, counted from 1.
        line: u64,
        /// Columns found.
        found: usize,
        /// Columns of the first line.
        expected: usize,
        /// What may have happened.
        cause: String,
    },
    /// Nothing in the file separates columns.
    #[error(
        "the first line {line:?} is one column: none of , ; tab | or blanks separates features from a target; \
         data.separator names one of them"
    )]
    NoSeparator {
        /// The beginning of the first line.
        line: String,
    },
    /// Several characters could separate the columns.
    #[error("columns could be separated by {}; data.separator says by which", among(.found))]
    Separators {
        /// Those that could.
        found: Vec<Separator>,
    },
    /// Fewer than two columns are left.
    #[error("{found} column(s), expected features and a target")]
    TooFewColumns {
        /// Columns found.
        found: usize,
    },
    /// A comma in numbers could be a decimal one, or part thousands.
    #[error(
        "line {line}: {value:?} could have a decimal comma, or a comma between thousands: data.decimal = \",\" \
         says the first; commas between thousands are not read"
    )]
    Thousands {
        /// The line, counted from 1.
        line: u64,
        /// The cell.
        value: String,
    },
    /// Some numbers have a decimal comma and some a decimal point.
    #[error(
        "line {}: {:?} has a decimal comma, line {}: {:?} a decimal point; data.decimal says which is right",
        .comma.0, .comma.1, .point.0, .point.1
    )]
    TwoDecimals {
        /// Line and cell with a comma.
        comma: (u64, String),
        /// Line and cell with a point.
        point: (u64, String),
    },
    /// The first line could be a header or a sample.
    #[error(
        "line {line} could name the columns or be a sample: {reason}; data.header = true or false says which"
    )]
    Header {
        /// The line, counted from 1.
        line: u64,
        /// What speaks for either.
        reason: String,
    },
    /// The header comes again.
    #[error("line {line} repeats the header; remove the line")]
    RepeatedHeader {
        /// The line, counted from 1.
        line: u64,
    },
    /// A column holds nothing.
    #[error("{column} is empty throughout{cause}; data.drop = [{place}] leaves it out")]
    Empty {
        /// The column.
        column: String,
        /// Its place, counted from 1.
        place: usize,
        /// What may have happened, or nothing.
        cause: &'static str,
    },
    /// The first column has no name and does not count the rows.
    #[error(
        "column 1 has no name, as if it named the rows; data.drop = [1] leaves it out, a name in the first \
         line takes it in"
    )]
    Unnamed,
    /// There is no such column.
    #[error("{option}: no column {asked}; there are {known}")]
    NoSuchColumn {
        /// The option that names it.
        option: &'static str,
        /// The name or number asked for.
        asked: String,
        /// The columns that there are.
        known: String,
    },
    /// A name stands for two columns.
    #[error("{option}: columns {} and {} are both called {name:?}; a number names one", .places[0], .places[1])]
    TwoColumns {
        /// The option that names it.
        option: &'static str,
        /// The name.
        name: String,
        /// Two places, counted from 1.
        places: [usize; 2],
    },
    /// A column is named where it cannot be meant.
    #[error("{option} names {column}, which {other} names, too")]
    Contradiction {
        /// The option.
        option: &'static str,
        /// The column.
        column: String,
        /// The other option.
        other: &'static str,
    },
    /// A column has texts among its numbers.
    #[error(
        "line {line}: {value:?} in {column}: expected a number as in other lines; correct it, or data.categorical \
         = [{place}] takes the whole column as categories, data.drop = [{place}] leaves it out"
    )]
    Mixed {
        /// The line of the first text, counted from 1.
        line: u64,
        /// The text.
        value: String,
        /// The column.
        column: String,
        /// Its place, counted from 1.
        place: usize,
    },
    /// A column of texts is not to be taken as categories.
    #[error(
        "line {line}: {value:?} in {column}: expected a number; data.categorical = [{place}] takes the column as \
         categories, data.drop = [{place}] leaves it out"
    )]
    Text {
        /// The line of the first text, counted from 1.
        line: u64,
        /// The text.
        value: String,
        /// The column.
        column: String,
        /// Its place, counted from 1.
        place: usize,
    },
    /// A column has too many different texts to be categories.
    #[error(
        "{column}: {found} different texts in {rows} lines, expected at most {most} categories; \
         data.drop = [{place}] leaves the column out{insist}"
    )]
    Categories {
        /// The column.
        column: String,
        /// Its place, counted from 1.
        place: usize,
        /// Different texts, or how many were counted.
        found: String,
        /// Lines of samples.
        rows: u64,
        /// Most categories.
        most: usize,
        /// How to insist, where that is possible.
        insist: &'static str,
    },
    /// The target has so many values that it hardly is a class.
    #[error(
        "target {column}: {found} different {what} in {rows} lines are hardly classes; {instead}"
    )]
    ManyClasses {
        /// The column.
        column: String,
        /// Different values, or how many were counted.
        found: String,
        /// Whole numbers or texts.
        what: &'static str,
        /// Lines of samples.
        rows: u64,
        /// What to do.
        instead: &'static str,
    },
    /// There is one class only.
    #[error(
        "target {column}: one class only, {class:?}: there is nothing to tell apart; data.target names another column"
    )]
    OneClass {
        /// The column.
        column: String,
        /// The class.
        class: String,
    },
    /// A run's columns are not there.
    #[error("no {}, which the run was trained with; the file has {}", listed(.missing), listed(.found))]
    MissingColumns {
        /// The columns that are missing.
        missing: Vec<String>,
        /// Those of the file.
        found: Vec<String>,
    },
    /// A table without names has another number of columns than that of a run.
    #[error(
        "{found} columns, expected {expected} as in the table that the run was trained with{note}"
    )]
    OtherColumns {
        /// Columns of the file.
        found: usize,
        /// Columns of the run.
        expected: usize,
        /// Which names are missing.
        note: &'static str,
    },
    /// A cell is no category of a run.
    #[error("line {line}: {value:?} in {column}: not one of the run's categories {}", listed(.known))]
    UnknownCategory {
        /// The line, counted from 1.
        line: u64,
        /// The cell.
        value: String,
        /// The column.
        column: String,
        /// The categories.
        known: Vec<String>,
    },
    /// A missing target cannot be filled in.
    #[error(
        "line {line}: {value:?} in target {column}: a missing target cannot be filled in; remove the line, or \
         data.missing = \"drop\" does"
    )]
    MissingTarget {
        /// The line, counted from 1.
        line: u64,
        /// The cell.
        value: String,
        /// The column.
        column: String,
    },
    /// Every line was left out.
    #[error("all {rows} lines have missing values; data.missing = \"drop\" leaves none")]
    AllDropped {
        /// Lines of samples.
        rows: u64,
    },
    /// No training sample has a value that others miss.
    #[error("{column}: no training sample has a value, so that there is no median to fill in")]
    NoMedian {
        /// The column.
        column: String,
    },
    /// A record is too long to be one.
    #[error(
        "line {line}: a record of more than {} MiB; is a quote not closed?", .most >> 20
    )]
    LongRecord {
        /// The line on which it starts, counted from 1.
        line: u64,
        /// Most bytes.
        most: usize,
    },
}

fn among(separators: &[Separator]) -> String {
    let quoted = separators.iter().map(|separator| format!("{:?}", separator.name()));
    quoted.collect::<Vec<_>>().join(" or by ")
}

/// Most names in a line.
const LISTED: usize = 10;

/// Most characters of a name in a message.
const SHORT: usize = 60;

/// Names in a row, the first of them where they are many.
pub(in crate::data) fn listed(names: &[String]) -> String {
    let short = names.iter().take(LISTED).map(|name| one_line(name));
    let mut text = short.collect::<Vec<_>>().join(", ");
    if names.len() > LISTED {
        text += &format!(", … ({} in all)", names.len());
    }
    text
}

/// A name as it fits into a line.
pub(super) fn one_line(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars().take(SHORT) {
        match character.is_control() {
            true => text.extend(character.escape_default()),
            false => text.push(character),
        }
    }
    text
}
