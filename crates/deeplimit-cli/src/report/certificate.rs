//! What the certificates of a run say, in numbers.

use super::charts::estimate;
use crate::history::History;
use crate::metrics::StepLine;
use crate::page::significant;
use serde::Serialize;

/// The certificates of all steps.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// No step had anything to certify: the gradient method is exact.
    pub exact: bool,
    /// e_0, D, K where there is one, and their sum.
    pub rows: Vec<Row>,
    /// Steps at which the reconstruction stopped contracting in some layer.
    pub stalled: usize,
    /// The first of them.
    pub first_stalled: Option<usize>,
    /// Steps whose estimate is not finite.
    pub broken: usize,
    /// Steps in which segments were walked again, and their share of all layers of all steps, in per
    /// cent.
    pub again: Option<(usize, String)>,
}

/// One quantity over all steps.
#[derive(Debug, Serialize)]
pub struct Row {
    name: &'static str,
    ink: &'static str,
    meaning: &'static str,
    median: String,
    largest: String,
    last: String,
}

impl Verdict {
    /// Sums up the steps; `None` if there is none.
    pub fn new(history: &History) -> Option<Self> {
        let last = history.last_step()?;
        let has_kinks = history.steps().any(|line| line.kink.is_some());
        let row = |name, ink, meaning, value: &dyn Fn(&StepLine) -> Option<f64>| {
            let finite = |value: &f64| value.is_finite();
            let mut values: Vec<f64> = history.typical().filter_map(value).filter(finite).collect();
            values.sort_by(f64::total_cmp);
            let median = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
            let largest = history.steps().filter_map(value).filter(finite).reduce(f64::max);
            let last = value(last).unwrap_or(f64::NAN);
            let [median, largest, last] =
                [median, largest.unwrap_or(f64::NAN), last].map(significant);
            Row { name, ink, meaning, median, largest, last }
        };
        let mut rows = vec![
            row("e₀", "blue", STATE_ERROR, &|line| Some(line.state_error)),
            row("D", "orange", DEFECT, &|line| Some(line.defect)),
        ];
        if has_kinks {
            rows.push(row("K", "green", KINK, &|line| line.kink));
        }
        let sum = if has_kinks { "e₀ + D + K" } else { "e₀ + D" };
        rows.push(row(sum, "grey", SUM, &|line| Some(estimate(line))));
        let counts = history.counts();
        let share = 100.0 * counts.again_share();
        Some(Self {
            exact: counts.inexact == 0,
            rows,
            stalled: counts.stalled,
            first_stalled: counts.first_stalled,
            broken: counts.broken,
            again: (share > 0.0).then(|| (counts.again, significant(share))),
        })
    }
}

const STATE_ERROR: &str = "How far the reconstructed input of the flow lies from the true one, \
     relative to its size: the input is kept, so this is measured, not estimated.";
const DEFECT: &str = "The largest distance between the point at which a layer was linearised and \
     the state reconstructed there, relative to the state.";
const KINK: &str = "What units near the kink of their relu, or with a tolerance on the bends of a smooth \
     activation, could change in the gradient if the reconstruction moved them, relative to the gradient.";
const SUM: &str = "Estimates the relative error of the gradient.";

#[cfg(test)]
mod tests {
    use super::super::tests::step;
    use super::*;
    use crate::metrics::Line;

    fn verdict(lines: &[StepLine]) -> Verdict {
        Verdict::new(&lines.iter().cloned().map(Line::Step).collect()).unwrap()
    }

    #[test]
    fn a_method_without_error_is_called_exact() {
        let exact = StepLine { state_error: 0.0, defect: 0.0, kink: None, ..step(1) };
        assert!(verdict(&[exact.clone(), exact.clone()]).exact);
        assert!(!verdict(&[exact.clone(), step(2)]).exact);
        assert!(!verdict(&[StepLine { state_error: f64::NAN, ..exact }]).exact);
    }

    #[test]
    fn the_row_of_a_quantity_holds_its_median_largest_and_last() {
        let lines = [3.0, 1.0, 2.0].map(|defect| StepLine { defect, ..step(1) });
        let row = &verdict(&lines).rows[1];
        assert_eq!([&row.median, &row.largest, &row.last], ["2.00", "3.00", "2.00"]);
    }

    #[test]
    fn failures_are_counted() {
        let stalled = StepLine { stalled: 2, ..step(7) };
        let broken = StepLine { defect: f64::NAN, ..step(8) };
        let verdict = verdict(&[step(6), stalled.clone(), broken, stalled]);
        assert_eq!((verdict.stalled, verdict.first_stalled, verdict.broken), (2, Some(7), 1));
    }

    #[test]
    fn k_has_a_row_only_where_a_field_has_kinks() {
        let smooth = StepLine { kink: None, ..step(1) };
        assert_eq!(verdict(std::slice::from_ref(&smooth)).rows.len(), 3);
        assert_eq!(verdict(&[smooth, StepLine { kink: Some(0.1), ..step(2) }]).rows.len(), 4);
    }
}
