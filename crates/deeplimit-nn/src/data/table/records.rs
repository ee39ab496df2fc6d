//! The records of a table, each with the line on which it starts.

use std::cell::RefCell;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use csv::{ErrorKind, StringRecord};

use super::fault::TableFault;
use super::separator::{self, Separator};
use super::text::{Garbled, Text};
use crate::data::read::{Reader, io_error};
use crate::data::{DataError, Place};

/// The longest record: what has more is no table, or has a quote that never closes.
const LONGEST: usize = 1 << 24;

/// An open table.
pub(super) struct Records<'a> {
    csv: csv::Reader<Passing<'a>>,
    passed: Rc<RefCell<Passed>>,
    separator: Separator,
    file: PathBuf,
    gzip: bool,
}

impl Records<'_> {
    /// Opens a table whose separator is known, or found out; `usual` is taken where there is doubt.
    pub(super) fn open(
        path: &Path,
        asked: Option<Separator>,
        usual: Option<Separator>,
    ) -> Result<Self, DataError> {
        let (inner, file, gzip) = Reader::open(path)?.into_parts();
        let text = Text::new(inner);
        let (ahead, whole) = text.ahead();
        let announced = separator::announced(ahead);
        let separator = match asked.or(announced) {
            Some(separator) => separator,
            None => separator::choose(ahead, whole, usual)
                .map_err(|fault| DataError::Table { file: file.clone(), fault })?,
        };
        let passed = Rc::new(RefCell::new(Passed { line: 1, empty: true, ..Passed::default() }));
        let inner = Passing { text, blanks: separator == Separator::Space, passed: passed.clone() };
        let csv = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(separator.byte())
            // Line ends are \n alone, because the parser counts the \n of \r\n to the next line;
            // the \r is trimmed.
            .terminator(csv::Terminator::Any(b'\n'))
            .trim(csv::Trim::All)
            .from_reader(inner);
        let mut records = Self { csv, passed, separator, file, gzip };
        if announced.is_some() {
            records.next()?;
        }
        Ok(records)
    }

    /// What separates cells.
    pub(super) fn separator(&self) -> Separator {
        self.separator
    }

    /// The next record that is not blank, and its line.
    pub(super) fn next(&mut self) -> Result<Option<(u64, StringRecord)>, DataError> {
        let mut record = StringRecord::new();
        loop {
            // The parser's line is the one after the last record; it skips empty lines from there.
            let line = self.csv.position().line();
            self.passed.borrow_mut().since = 0;
            let outcome = self.csv.read_record(&mut record);
            let line = self.passed.borrow_mut().after_empty(line);
            if !outcome.map_err(|error| self.error(error, line))? {
                return Ok(None);
            }
            if self.separator == Separator::Space {
                record = record.iter().filter(|cell| !cell.is_empty()).collect();
            }
            if record.iter().any(|cell| !cell.is_empty()) || record.len() > 1 {
                return Ok(Some((line, record)));
            }
        }
    }

    fn error(&self, error: csv::Error, line: u64) -> DataError {
        let file = self.file.clone();
        match error.into_kind() {
            ErrorKind::Utf8 { .. } => DataError::NotText { file, line },
            ErrorKind::Io(cause) => match cause.get_ref() {
                Some(inner) if inner.is::<Garbled>() => DataError::NotText { file, line },
                Some(inner) if inner.is::<TooLong>() => {
                    let fault = TableFault::LongRecord { line, most: LONGEST };
                    DataError::Table { file, fault }
                }
                _ => io_error(&file, self.gzip, cause, Place::Line(line)),
            },
            other => DataError::Io { file, cause: io::Error::other(format!("{other:?}")) },
        }
    }
}

/// A record that goes on and on.
#[derive(Debug, thiserror::Error)]
#[error("a record without an end")]
struct TooLong;

/// The text on its way to the parser.
struct Passing<'a> {
    text: Text<'a>,
    /// Whether a tab is a blank.
    blanks: bool,
    passed: Rc<RefCell<Passed>>,
}

/// What passed by: which lines are empty, and how much since the last record.
#[derive(Default)]
struct Passed {
    line: u64,
    empty: bool,
    /// Runs of empty lines that the parser may not have come to yet: the first, and the first after.
    runs: std::collections::VecDeque<[u64; 2]>,
    since: usize,
}

impl Passed {
    fn line_ends(&mut self) {
        if self.empty {
            match self.runs.back_mut() {
                Some([_, after]) if *after == self.line => *after += 1,
                _ => self.runs.push_back([self.line, self.line + 1]),
            }
        }
        (self.line, self.empty) = (self.line + 1, true);
    }

    /// The first line from `line` on that is not empty; what lies before is forgotten.
    fn after_empty(&mut self, mut line: u64) -> u64 {
        while let Some(&[start, after]) = self.runs.front()
            && start <= line
        {
            line = line.max(after);
            self.runs.pop_front();
        }
        line
    }
}

impl Read for Passing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.text.read(buffer)?;
        let mut passed = self.passed.borrow_mut();
        for byte in &mut buffer[..count] {
            match *byte {
                b'\n' => passed.line_ends(),
                _ => passed.empty = false,
            }
            if *byte == b'\t' && self.blanks {
                *byte = b' ';
            }
        }
        passed.since += count;
        if passed.since > LONGEST {
            return Err(io::Error::other(TooLong));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_know_their_line_past_blank_lines_quotes_and_any_line_end() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("t.csv");
        for end in ["\n", "\r\n", "\r"] {
            for last in ["", end] {
                let text = format!("\n\na,1\nb,2\n\n\n\"c\n\nd\",3\n \ne,4{last}");
                std::fs::write(&path, text.replace('\n', end)).unwrap();
                let mut records = Records::open(&path, None, None).unwrap();
                let mut found = Vec::new();
                while let Some((line, record)) = records.next().unwrap() {
                    found.push((line, record[1].to_owned()));
                }
                let expected = [(3, "1"), (4, "2"), (7, "3"), (11, "4")];
                assert_eq!(found, expected.map(|(line, cell)| (line, cell.to_owned())), "{text:?}");
            }
        }
    }

    #[test]
    fn a_million_empty_lines_are_one_thing_to_remember() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, format!("a,b\n{}1,2\n", "\n".repeat(1_000_000))).unwrap();
        let mut records = Records::open(&path, Some(Separator::Comma), None).unwrap();
        records.next().unwrap();
        assert_eq!(records.next().unwrap().unwrap().0, 1_000_002);
        assert!(records.passed.borrow().runs.len() <= 1);
    }

    #[test]
    fn a_record_without_an_end_is_an_error_before_it_fills_the_memory() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, format!("a,b\n\"{}", "1,2\n".repeat(LONGEST / 3))).unwrap();
        let mut records = Records::open(&path, Some(Separator::Comma), None).unwrap();
        records.next().unwrap();
        let message = records.next().map(|_| "a record").unwrap_err().to_string();
        assert!(message.contains("line 2") && message.contains("quote"), "{message}");
    }
}
