//! The names of classes and of categories: in numerical order where all are numbers (`1` and `1.0` are the
//! same), in the order of their bytes otherwise.

use std::collections::{HashMap, HashSet};

use super::cell::Cell;
use super::separator::Decimal;

/// Whole numbers below it are told apart in double precision.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The names that different cells of a column stand for.
pub(super) fn sorted(words: &HashSet<String>, decimal: Decimal) -> Vec<String> {
    let number = |word: &String| exact(word, decimal);
    let mut names: Vec<String> = match words.iter().map(number).collect::<Option<Vec<f64>>>() {
        Some(mut numbers) => {
            numbers.sort_by(f64::total_cmp);
            numbers.iter().map(f64::to_string).collect()
        }
        None => {
            let mut words: Vec<String> = words.iter().cloned().collect();
            words.sort();
            words
        }
    };
    names.dedup();
    names
}

/// The number that a cell is, if it is told apart from its neighbours.
fn exact(cell: &str, decimal: Decimal) -> Option<f64> {
    match Cell::read(cell, decimal) {
        // Minus zero is zero.
        Cell::Number(value) if value.abs() < EXACT => Some(value + 0.0),
        _ => None,
    }
}

/// Finds the name that a cell stands for.
pub(super) struct Names {
    index: HashMap<String, u32>,
    decimal: Decimal,
}

impl Names {
    pub(super) fn new(names: &[String], decimal: Decimal) -> Self {
        let index = names.iter().cloned().zip(0..).collect();
        Self { index, decimal }
    }

    /// The place of a cell's name among the names.
    pub(super) fn find(&self, cell: &str) -> Option<u32> {
        let as_number = || self.index.get(&exact(cell, self.decimal)?.to_string());
        self.index.get(cell).or_else(as_number).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str], decimal: Decimal) -> Vec<String> {
        sorted(&words.iter().map(|&word| word.to_owned()).collect(), decimal)
    }

    #[test]
    fn numbers_are_sorted_as_such_however_they_are_written() {
        let found = names(&["10", "9", "9.0", "-1", "-0", "0.5"], Decimal::Point);
        assert_eq!(found, ["-1", "0", "0.5", "9", "10"]);
        let finder = Names::new(&found, Decimal::Point);
        for (cell, place) in [("9.00", Some(3)), ("+9", Some(3)), ("0", Some(1)), ("8", None)] {
            assert_eq!(finder.find(cell), place, "{cell}");
        }
        assert_eq!(names(&["1,0", "1", "2,5"], Decimal::Comma), ["1", "2.5"]);
        assert_eq!(names(&["10", "9", "9.5", "b"], Decimal::Point), ["10", "9", "9.5", "b"]);
    }

    #[test]
    fn numbers_that_double_precision_confuses_are_texts() {
        let found = names(&["9007199254740993", "9007199254740992"], Decimal::Point);
        assert_eq!(found, ["9007199254740992", "9007199254740993"]);
        assert_eq!(Names::new(&found, Decimal::Point).find("9007199254740993"), Some(1));
    }
}
