//! The records of a comma-separated file, each with the line on which it starts.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use csv::{ErrorKind, StringRecord};

use super::read::{Reader, io_error};
use super::{DataError, Place};

/// An open table.
pub(super) struct Lines<'a> {
    csv: csv::Reader<EmptyLines<Box<dyn Read + 'a>>>,
    empty: Rc<RefCell<HashSet<u64>>>,
    file: PathBuf,
    gzip: bool,
    read: u64,
}

impl Lines<'_> {
    /// Opens a table.
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let (inner, file, gzip) = Reader::open(path)?.into_parts();
        let empty = Rc::default();
        let csv = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            // Line ends are \n alone, because the parser counts the \n of \r\n to the next line;
            // the \r is trimmed.
            .terminator(csv::Terminator::Any(b'\n'))
            .trim(csv::Trim::All)
            .from_reader(EmptyLines { inner, line: 1, is_empty: true, found: Rc::clone(&empty) });
        Ok(Self { csv, empty, file, gzip, read: 0 })
    }

    /// The number of records read so far.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// The next record that is not blank, and its line.
    pub(super) fn next(&mut self) -> Result<Option<(u64, StringRecord)>, DataError> {
        let mut record = StringRecord::new();
        loop {
            // The parser's line is the one after the last record; it skips empty lines from there.
            let mut line = self.csv.position().line();
            let outcome = self.csv.read_record(&mut record);
            while self.empty.borrow().contains(&line) {
                line += 1;
            }
            if !outcome.map_err(|error| self.error(error, line))? {
                return Ok(None);
            }
            if record.iter().ne([""]) {
                self.read += 1;
                return Ok(Some((line, record)));
            }
        }
    }

    fn error(&self, error: csv::Error, line: u64) -> DataError {
        let file = self.file.clone();
        match error.into_kind() {
            ErrorKind::Utf8 { .. } => DataError::NotText { file, line },
            ErrorKind::Io(cause) => io_error(&file, self.gzip, cause, Place::Line(line)),
            other => DataError::Io { file, cause: io::Error::other(format!("{other:?}")) },
        }
    }
}

/// Notes which lines are empty while they pass by.
struct EmptyLines<R> {
    inner: R,
    line: u64,
    is_empty: bool,
    found: Rc<RefCell<HashSet<u64>>>,
}

impl<R: Read> Read for EmptyLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        for &byte in &buffer[..count] {
            if byte == b'\n' {
                if self.is_empty {
                    self.found.borrow_mut().insert(self.line);
                }
                (self.line, self.is_empty) = (self.line + 1, true);
            } else {
                self.is_empty = false;
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_know_their_line_past_blank_lines_quotes_and_either_line_end() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("t.csv");
        for end in ["\n", "\r\n"] {
            for last in ["", end] {
                let text = format!("\n\na,1\nb,2\n\n\n\"c\n\nd\",3\n \ne,4{last}");
                std::fs::write(&path, text.replace('\n', end)).unwrap();
                let mut lines = Lines::open(&path).unwrap();
                let mut found = Vec::new();
                while let Some((line, record)) = lines.next().unwrap() {
                    found.push((line, record[1].to_owned()));
                }
                let expected = [(3, "1"), (4, "2"), (7, "3"), (11, "4")];
                assert_eq!(found, expected.map(|(line, cell)| (line, cell.to_owned())), "{text:?}");
            }
        }
    }
}
