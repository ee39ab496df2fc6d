//! What one cell of a table is: a number, a text, or nothing. One rule for all columns.

use super::separator::Decimal;

/// Cells that stand for a missing value, in any case of letters.
const MISSING: [&str; 11] =
    ["", "?", "na", "n/a", "nan", "null", "#n/a", "#na", "<na>", "-nan", "#null!"];

/// A cell of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell {
    /// Nothing: see [`is_missing`].
    Missing,
    /// A number, which may be infinite.
    Number(f64),
    /// Anything else.
    Text,
}

impl Cell {
    /// Reads a cell.
    pub(super) fn read(cell: &str, decimal: Decimal) -> Self {
        if is_missing(cell) {
            return Cell::Missing;
        }
        let number = match decimal {
            Decimal::Point => cell.parse().ok(),
            Decimal::Comma if cell.contains('.') => None,
            Decimal::Comma => with_comma(cell).or_else(|| cell.parse().ok()),
        };
        number.map_or(Cell::Text, Cell::Number)
    }
}

/// Whether a cell says that its value is missing: it is empty, `?`, `NA`, `N/A`, `NaN`, `null` and the
/// like in any case, or `None` as Python writes it (`none` may be an answer).
pub(super) fn is_missing(cell: &str) -> bool {
    cell.len() <= 6
        && (MISSING.iter().any(|missing| cell.eq_ignore_ascii_case(missing)) || cell == "None")
}

/// The number that a cell is if its comma separates the fraction.
pub(super) fn with_comma(cell: &str) -> Option<f64> {
    let (whole, fraction) = cell.split_once(',')?;
    if fraction.contains(',') || cell.contains('.') {
        return None;
    }
    format!("{whole}.{fraction}").parse().ok()
}

/// Whether the comma of a number could as well stand between thousands: `1,234`, but not `0,455` or `1,5`.
pub(super) fn is_grouped(cell: &str) -> bool {
    let Some((whole, fraction)) = cell.split_once(',') else { return false };
    let whole = whole.trim_start_matches(['+', '-']);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let leading = (1..=3).contains(&whole.len()) && digits(whole) && !whole.starts_with('0');
    leading && fraction.len() == 3 && digits(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_values_have_one_rule() {
        for cell in
            ["", "?", "NA", "na", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A"]
        {
            for decimal in [Decimal::Point, Decimal::Comma] {
                assert_eq!(Cell::read(cell, decimal), Cell::Missing, "{cell:?}");
            }
        }
        for cell in ["none", "Nancy", "NA1", "-", "nil", "unknown"] {
            assert_eq!(Cell::read(cell, Decimal::Point), Cell::Text, "{cell:?}");
        }
    }

    #[test]
    fn a_comma_is_a_fraction_or_the_cell_is_no_number() {
        let (point, comma) = (Decimal::Point, Decimal::Comma);
        assert_eq!(Cell::read("-5.25e1", point), Cell::Number(-52.5));
        assert_eq!(Cell::read("-5,25e1", comma), Cell::Number(-52.5));
        assert_eq!(Cell::read("7", comma), Cell::Number(7.0));
        assert_eq!(Cell::read(",5", comma), Cell::Number(0.5));
        for (cell, decimal) in [
            ("5,1", point),
            ("5.1", comma),
            ("1.234,5", comma),
            ("1,234,567", comma),
            ("1,234.5", point),
            ("12 %", point),
            ("1 000", point),
        ] {
            assert_eq!(Cell::read(cell, decimal), Cell::Text, "{cell:?}");
        }
        assert!(is_grouped("1,234") && is_grouped("-12,500"));
        assert!(!is_grouped("0,455") && !is_grouped("1,5") && !is_grouped("1234,567"));
    }
}
