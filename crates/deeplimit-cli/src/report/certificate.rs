//! What the certificates of a run say, in numbers.

use super::charts::estimate;
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
    pub fn new(steps: &[&StepLine]) -> Option<Self> {
        if steps.is_empty() {
            return None;
        }
        let has_kinks = steps.iter().any(|line| line.kink.is_some());
        let row = |name, ink, meaning, value: &dyn Fn(&StepLine) -> Option<f64>| {
            let values = steps.iter().filter_map(|line| value(line));
            let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
            let last = steps.last().and_then(|line| value(line)).unwrap_or(f64::NAN);
            values.sort_by(f64::total_cmp);
            let median = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
            let largest = values.last().copied().unwrap_or(f64::NAN);
            let [median, largest, last] = [median, largest, last].map(significant);
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
        let mut stalled = steps.iter().filter(|line| line.stalled > 0).map(|line| line.step);
        let first_stalled = stalled.next();
        let shares = || steps.iter().map(|line| line.again).filter(|share| *share > 0.0);
        let share = 100.0 * shares().sum::<f64>() / steps.len() as f64;
        Some(Self {
            exact: steps.iter().all(|line| estimate(line) == 0.0 && line.again == 0.0),
            rows,
            stalled: stalled.count() + usize::from(first_stalled.is_some()),
            first_stalled,
            broken: steps.iter().filter(|line| !estimate(line).is_finite()).count(),
            again: (share > 0.0).then(|| (shares().count(), significant(share))),
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

    fn verdict(lines: &[StepLine]) -> Verdict {
        Verdict::new(&lines.iter().collect::<Vec<_>>()).unwrap()
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
