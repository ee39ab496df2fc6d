//! Whether the first line names the columns.
//!
//! A cell that is of another kind than all cells below it speaks for a header: a text over numbers, a number
//! over texts. A number over numbers, or a text that comes again below, speaks against one. So does a value
//! that is missing, but an empty cell says nothing: programs leave the name of an index empty. The numbers
//! 0, 1, 2, … are what programs write where columns have no names; years are names, too, beside a text that no other
//! line has. Where something speaks for either, the
//! user is asked.

use super::cell::{Cell, is_missing};
use super::fault::TableFault;
use super::separator::Decimal;
use super::survey::{Seen, Survey};

/// Texts among which one that comes once is unusual.
const MANY: u64 = 10;

/// Decides it, leaving out some columns.
pub(super) fn is_header(
    survey: &Survey,
    decimal: Decimal,
    dropped: &[usize],
) -> Result<bool, TableFault> {
    // A header that comes again, as where files were put together: its texts are all that the columns hold.
    if let Some(line) = survey.same {
        let repeated = |(seen, cell): (&Seen, &str)| {
            let texts = seen.texts(decimal);
            let text = Cell::read(cell, decimal) == Cell::Text;
            text && texts == survey.sames && seen.numbers(decimal) > 0
        };
        if survey.columns.iter().zip(&survey.first.1).any(repeated) {
            return Err(TableFault::RepeatedHeader { line });
        }
    }
    let mut votes = Votes::default();
    let columns = survey.columns.iter().zip(&survey.first.1).enumerate();
    for (index, (seen, cell)) in columns.filter(|(index, _)| !dropped.contains(index)) {
        votes.count(index, seen, cell, decimal);
    }
    let numbered = is_numbered(&survey.first.1);
    let Votes { header, sample, number_over_numbers, unusual, text, number, fraction } = votes;
    let doubt = |reason| Err(TableFault::Header { line: survey.first.0, reason });
    match (header, sample.or_else(|| number_over_numbers.clone().filter(|_| !numbered))) {
        (Some(header), Some(sample)) => doubt(format!("{header}, but {sample}")),
        (Some(_), None) => Ok(true),
        // An empty name before 0, 1, 2, … is that of an index.
        (None, _) if numbered && survey.first.1.get(0) == Some("") => Ok(true),
        (None, None) if numbered => doubt("it counts the columns: 0, 1, 2, …".to_owned()),
        (None, Some(sample)) => match (unusual.filter(|_| !fraction), number_over_numbers) {
            (Some(unusual), Some(number)) if number == sample => {
                doubt(format!("{unusual}, but {number}"))
            }
            _ => Ok(false),
        },
        (None, None) => Ok(text && !number),
    }
}

/// What speaks for a header or against it: the first of each kind, in words.
#[derive(Default)]
struct Votes {
    header: Option<String>,
    sample: Option<String>,
    number_over_numbers: Option<String>,
    /// A text that does not come again among many texts that do.
    unusual: Option<String>,
    /// Whether there is a text at all, or a number over nothing.
    text: bool,
    number: bool,
    /// Whether a number has a fraction, as names have not.
    fraction: bool,
}

impl Votes {
    fn count(&mut self, index: usize, seen: &Seen, cell: &str, decimal: Decimal) {
        let short: String = cell.chars().take(40).collect();
        let told = |what: &str| Some(format!("{short:?} in column {} {what}", index + 1));
        let set = |vote: &mut Option<String>, what: &str| {
            *vote = vote.take().or_else(|| told(what));
        };
        let (numbers, texts) = (seen.numbers(decimal), seen.texts(decimal));
        let read = Cell::read(cell, decimal);
        self.fraction |= matches!(read, Cell::Number(value) if value.fract() != 0.0);
        match read {
            Cell::Missing if cell.is_empty() => {}
            Cell::Missing => set(&mut self.sample, "is a missing value"),
            Cell::Number(_) if numbers > 0 => {
                set(&mut self.number_over_numbers, "is a number over numbers");
            }
            // A single text below may be a mistake.
            Cell::Number(_) if texts > 1 => set(&mut self.header, "is a number over texts"),
            Cell::Number(_) => self.number = true,
            Cell::Text => {
                self.text = true;
                if seen.repeats > 0 {
                    set(&mut self.sample, "comes again below");
                } else if numbers > 0 && texts == 0 {
                    set(&mut self.header, "is a text over numbers");
                } else if texts >= MANY && numbers == 0 && 2 * seen.words.seen.len() as u64 <= texts
                {
                    set(&mut self.unusual, "does not come again below");
                }
            }
        }
    }
}

/// Whether a line is 0, 1, 2, …, after an empty name or not.
fn is_numbered(first: &csv::StringRecord) -> bool {
    let skipped = usize::from(first.get(0).is_some_and(is_missing));
    let cells = first.iter().skip(skipped);
    first.len() - skipped > 2 && cells.enumerate().all(|(index, cell)| cell == index.to_string())
}
