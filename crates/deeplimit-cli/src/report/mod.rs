//! The report of a run: one page that holds everything it shows, charts included.
//!
//! The page loads nothing, runs no script, and follows the reader's choice of a light or a dark
//! page. It can be written anew at any time from `metrics.jsonl`, the configuration and the
//! weights.

mod certificate;
mod charts;

use crate::history::History;
use crate::page::{Figure, PageError, fill};
use certificate::Verdict;
use charts::Record;
use serde::Serialize;

/// Weights of one kind over depth.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightPaths {
    /// Which of the network's flows, from the input on.
    pub stage: usize,
    /// The kind's name, such as `w1`.
    pub kind: String,
    /// For each entry shown, its value at every control node.
    pub paths: Vec<Vec<f64>>,
    /// Entries of this kind in a layer, shown or not.
    pub total_entries: usize,
    /// N · max_n ‖θ_{n+1} − θ_n‖: the largest slope of the control.
    pub scaled_increment: f64,
}

/// What a report shows.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// Heading of the page: the run's name.
    pub title: &'a str,
    /// Rows of name and value, such as test accuracy or the gradient method.
    pub summary: Vec<(String, String)>,
    /// The configuration as TOML text.
    pub config: &'a str,
    /// What was recorded.
    pub history: &'a History,
    /// The weights over depth, one item a kind and stage.
    pub weights: &'a [WeightPaths],
}

/// What the template fills in.
#[derive(Serialize)]
struct Page<'a> {
    title: &'a str,
    summary: &'a [(String, String)],
    config: &'a str,
    sections: Vec<Section>,
    verdict: Option<Verdict>,
    certificate: Figure,
    resources: Vec<Figure>,
    weights: Vec<Figure>,
    steps: usize,
    epochs: usize,
}

#[derive(Serialize)]
struct Section {
    title: &'static str,
    figures: Vec<Figure>,
}

/// Writes the page: HTML text that needs no other file.
///
/// # Errors
/// If a chart cannot be drawn or the template cannot be filled in; neither depends on the values,
/// which may be missing, infinite or NaN.
pub fn render(report: &Report) -> Result<String, PageError> {
    let (history, record) = (report.history, Record::new(report.history));
    let sections = match record.steps.is_empty() && record.epochs.is_empty() {
        true => Vec::new(),
        false => vec![
            Section { title: "Fit", figures: charts::fit(&record)? },
            Section { title: "Optimiser", figures: charts::optimiser(history)? },
        ],
    };
    let page = Page {
        title: report.title,
        summary: &report.summary,
        config: report.config,
        sections,
        verdict: Verdict::new(history),
        certificate: charts::certificate(history)?,
        resources: charts::resources(&record)?,
        weights: charts::weights(report.weights)?,
        steps: history.counts().steps,
        epochs: record.epochs.len(),
    };
    fill("report.html", include_str!("page.html"), &page)
}

#[cfg(test)]
pub mod tests;
