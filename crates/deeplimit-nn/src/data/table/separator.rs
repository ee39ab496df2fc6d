//! What stands between the cells of a table, and between the digits of its numbers.
//!
//! A separator is found by counting: with the right one, the first lines have the same number of cells, of
//! which there are two at least. Where two pass that test, the right one leaves no cell that holds the
//! other, unless as the decimal comma of a number. Where neither is so, the user is asked.

use std::fmt;

use csv::StringRecord;
use serde::{Deserialize, Serialize};

use super::cell::with_comma;
use super::fault::TableFault;

/// Records that are looked at.
const LOOKED_AT: usize = 200;

/// What separates the cells of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Separator {
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// A tab.
    Tab,
    /// `|`
    Bar,
    /// Blanks and tabs, any number of them.
    Space,
}

impl Separator {
    /// Every separator.
    pub const ALL: [Separator; 5] =
        [Separator::Comma, Separator::Semicolon, Separator::Tab, Separator::Bar, Separator::Space];

    /// The name used in configuration files.
    pub fn name(self) -> &'static str {
        match self {
            Separator::Comma => ",",
            Separator::Semicolon => ";",
            Separator::Tab => "tab",
            Separator::Bar => "|",
            Separator::Space => "space",
        }
    }

    /// The byte of a file.
    pub(super) fn byte(self) -> u8 {
        match self {
            Separator::Comma => b',',
            Separator::Semicolon => b';',
            Separator::Tab => b'\t',
            Separator::Bar => b'|',
            Separator::Space => b' ',
        }
    }

    /// Those that a cell can hold only by mistake or in quotes.
    fn hard() -> impl Iterator<Item = Separator> {
        Self::ALL.into_iter().filter(|separator| *separator != Separator::Space)
    }
}

impl fmt::Display for Separator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl TryFrom<String> for Separator {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let name = match name.as_str() {
            "\t" => "tab",
            " " => "space",
            other => other,
        };
        Self::ALL.into_iter().find(|separator| separator.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(|separator| format!("{:?}", separator.name())).join(", ");
            format!("no separator {name:?}; expected \"auto\", {known}")
        })
    }
}

impl From<Separator> for String {
    fn from(separator: Separator) -> String {
        separator.name().to_owned()
    }
}

/// The separator that the first line announces, as spreadsheets write it: `sep=;`.
pub(super) fn announced(ahead: &[u8]) -> Option<Separator> {
    let line = ahead.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim_end_matches('\r').trim_matches('"');
    let byte = line.strip_prefix("sep=")?;
    Separator::hard().find(|separator| byte.as_bytes() == [separator.byte()])
}

/// Finds the separator of a table from its beginning, which may be `whole`; `usual` is taken where there is
/// doubt.
pub(super) fn choose(
    ahead: &[u8],
    whole: bool,
    usual: Option<Separator>,
) -> Result<Separator, TableFault> {
    let candidates: Vec<Candidate> =
        Separator::hard().map(|separator| Candidate::new(separator, ahead, whole)).collect();
    // A file without a record is answered elsewhere.
    if candidates.iter().all(|found| found.records.is_empty()) {
        return Ok(Separator::Comma);
    }
    let steady: Vec<&Candidate> = candidates.iter().filter(|found| found.is_steady()).collect();
    let found: Vec<&Candidate> = match &steady[..] {
        [only] => return Ok(only.separator),
        [] => {
            let split = candidates.iter().filter(|found| found.cells.iter().any(|&n| n > 1));
            let split: Vec<&Candidate> = split.collect();
            let blanks = Candidate::new(Separator::Space, ahead, whole);
            if blanks.is_steady() && blanks.leaves_none_of(&split) {
                return Ok(Separator::Space);
            }
            split
        }
        several => {
            let clean = several.iter().filter(|found| found.leaves_none_of(several)).copied();
            match clean.collect::<Vec<_>>()[..] {
                [only] => return Ok(only.separator),
                _ => several.to_vec(),
            }
        }
    };
    match (&found[..], usual) {
        ([only], _) => Ok(only.separator),
        (_, Some(usual)) => Ok(usual),
        ([], None) => Err(TableFault::NoSeparator { line: first_line(ahead) }),
        (several, None) => {
            let found = several.iter().map(|found| found.separator).collect();
            Err(TableFault::Separators { found })
        }
    }
}

/// The beginning of the first line that is not blank.
fn first_line(ahead: &[u8]) -> String {
    let lines = ahead.split(|byte| *byte == b'\n').map(String::from_utf8_lossy);
    lines
        .map(|line| line.trim().chars().take(40).collect())
        .find(|line: &String| !line.is_empty())
        .unwrap_or_default()
}

/// The first records as one separator parts them.
struct Candidate {
    separator: Separator,
    records: Vec<StringRecord>,
    /// Cells of each.
    cells: Vec<usize>,
}

impl Candidate {
    fn new(separator: Separator, ahead: &[u8], whole: bool) -> Self {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(separator.byte())
            .terminator(csv::Terminator::Any(b'\n'))
            .trim(csv::Trim::All)
            .from_reader(ahead);
        let mut records: Vec<StringRecord> = reader
            .byte_records()
            .flatten()
            .take(LOOKED_AT)
            .map(StringRecord::from_byte_record_lossy)
            .collect();
        // The last one may be cut.
        if !whole && reader.is_done() {
            records.pop();
        }
        if separator == Separator::Space {
            for record in &mut records {
                *record = record.iter().flat_map(str::split_whitespace).collect();
            }
        }
        records.retain(|record| record.iter().any(|cell| !cell.is_empty()));
        let cells = records.iter().map(StringRecord::len).collect();
        Self { separator, records, cells }
    }

    /// The number of cells that most records have.
    fn usual_cells(&self) -> usize {
        let count = |cells: usize| self.cells.iter().filter(|&&other| other == cells).count();
        self.cells.iter().copied().max_by_key(|&cells| (count(cells), cells)).unwrap_or(0)
    }

    /// Whether records have the same number of cells, but for a few: a title, a comment, an end.
    fn is_steady(&self) -> bool {
        let usual = self.usual_cells();
        let others = self.cells.iter().filter(|&&cells| cells != usual).count();
        usual > 1 && others <= (self.cells.len() / 10).max(usize::from(self.cells.len() > 2))
    }

    /// Whether no cell holds another of some separators, but for decimal commas.
    fn leaves_none_of(&self, others: &[&Candidate]) -> bool {
        let usual = self.usual_cells();
        let others = others.iter().map(|other| other.separator);
        let others: Vec<Separator> = others.filter(|other| *other != self.separator).collect();
        let holds = |cell: &str, other: &Separator| {
            cell.as_bytes().contains(&other.byte())
                && !(*other == Separator::Comma && with_comma(cell).is_some())
        };
        let records = self.records.iter().filter(|record| record.len() == usual);
        !records.flatten().any(|cell| others.iter().any(|other| holds(cell, other)))
    }
}

/// What separates a number's fraction from its whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decimal {
    /// `3.14`
    #[serde(rename = ".")]
    Point,
    /// `3,14`
    #[serde(rename = ",")]
    Comma,
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Decimal::Point => ".",
            Decimal::Comma => ",",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<Separator> {
        choose(text.as_bytes(), true, None).ok()
    }

    #[test]
    fn a_separator_is_found_where_there_is_no_doubt() {
        for (text, expected) in [
            ("a,b\n1,2\n", Separator::Comma),
            ("a;b;c\n5,1;3,5;x\n4,9;3,0;y\n", Separator::Semicolon),
            // Every line has as many commas as semicolons.
            ("5,1;1\n4,9;0\n", Separator::Semicolon),
            ("5,1;1\n", Separator::Semicolon),
            ("1,5\t2,5\ta\n1,0\t2,0\tb\n", Separator::Tab),
            ("a|b\n1|2\n", Separator::Bar),
            ("1  2.5\tx\n 3 4   y\n5 6 z\n", Separator::Space),
            // Quoted, a separator is text.
            ("\"Smith; John\",5\n\"Miller; Ann\",6\n", Separator::Comma),
            // A comment and an end are no reason to doubt.
            ("# made by hand\na;b\n1;2\n3;4\n", Separator::Semicolon),
            ("a,b\n1,2\n3,4\n# exported; today\n", Separator::Comma),
            ("1,2,3\n4,5\n", Separator::Comma),
        ] {
            assert_eq!(found(text), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn in_doubt_the_user_is_asked_or_the_usual_one_taken() {
        let doubtful = "a b,c;1\nd e,f;2\n";
        let fault = choose(doubtful.as_bytes(), true, None).unwrap_err();
        assert!(matches!(&fault, TableFault::Separators { found } if found.len() == 2), "{fault}");
        let usual = Some(Separator::Semicolon);
        assert_eq!(choose(doubtful.as_bytes(), true, usual).ok(), usual);
        assert!(matches!(choose(b"one\ntwo\n", true, None), Err(TableFault::NoSeparator { .. })));
        let cut = "a,b\n1,2\n".repeat(9) + "1";
        assert_eq!(choose(cut.as_bytes(), false, None).ok(), Some(Separator::Comma));
    }

    #[test]
    fn a_first_line_may_announce_the_separator() {
        assert_eq!(announced(b"sep=;\r\na;b\n"), Some(Separator::Semicolon));
        assert_eq!(announced(b"\"sep=,\"\n"), Some(Separator::Comma));
        assert_eq!(announced(b"sepal,petal\n"), None);
    }
}
