//! The report of a run: one page that holds everything it shows, charts included.
//!
//! The page loads nothing, runs no script, and follows the reader's choice of a light or a dark
//! page. It can be written anew at any time from `metrics.jsonl`, the configuration and the
//! weights.

mod axis;
mod certificate;
mod charts;
mod plot;
mod thin;

use crate::metrics::Line;
use certificate::Verdict;
use charts::{Figure, Record};
use minijinja::{Environment, value::Serde};
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
    /// The lines of `metrics.jsonl`, in their order.
    pub lines: &'a [Line],
    /// The weights over depth, one item a kind and stage.
    pub weights: &'a [WeightPaths],
}

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The image of a chart could not be written.
    #[error("the chart of {chart} could not be drawn: {reason}")]
    Draw {
        /// Label of its vertical axis.
        chart: String,
        /// What plotters says.
        reason: String,
    },
    /// The page's template could not be filled in.
    #[error("the report page could not be filled in")]
    Page(#[from] minijinja::Error),
}

/// What the template fills in.
#[derive(Serialize)]
struct Page<'a> {
    title: &'a str,
    summary: &'a [(String, String)],
    config: &'a str,
    inks: [InkRule; plot::INKS.len()],
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

#[derive(Serialize)]
struct InkRule {
    name: &'static str,
    light: String,
    dark: String,
}

/// Writes the page: HTML text that needs no other file.
///
/// # Errors
/// If a chart cannot be drawn or the template cannot be filled in; neither depends on the values,
/// which may be missing, infinite or NaN.
pub fn render(report: &Report) -> Result<String, ReportError> {
    let record = Record::new(report.lines);
    let sections = match record.steps.is_empty() && record.epochs.is_empty() {
        true => Vec::new(),
        false => vec![
            Section { title: "Fit", figures: charts::fit(&record)? },
            Section { title: "Optimiser", figures: charts::optimiser(&record)? },
        ],
    };
    let inks = plot::INKS.map(|ink| InkRule {
        name: ink.name,
        light: plot::hex(ink.light),
        dark: plot::hex(ink.dark),
    });
    let page = Page {
        title: report.title,
        summary: &report.summary,
        config: report.config,
        inks,
        sections,
        verdict: Verdict::new(&record.steps),
        certificate: charts::certificate(&record)?,
        resources: charts::resources(&record)?,
        weights: charts::weights(report.weights)?,
        steps: record.steps.len(),
        epochs: record.epochs.len(),
    };
    let mut templates = Environment::new();
    templates.add_template("page.html", include_str!("page.html"))?;
    Ok(templates.get_template("page.html")?.render(Serde(&page))?)
}

#[cfg(test)]
mod tests;
