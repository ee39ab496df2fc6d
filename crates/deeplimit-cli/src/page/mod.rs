//! Pages that hold everything they show: text, tables and charts, in one HTML file.
//!
//! A page loads nothing, runs no script, and follows the reader's choice of a light or a dark page.
//! `base.html` is what all of them share; a page of sections ([`Page`]) needs no template of its own.

mod axis;
mod plot;
mod standalone;
mod thin;

pub use axis::{Scale, significant};
pub use plot::{BLUE, CURVES, Curve, Frame, GREEN, GREY, INKS, Ink, ORANGE, Stroke, VIOLET};
pub use thin::medians;

use minijinja::{Environment, value::Serde};
use plot::{Drawing, draw, hex};
use serde::Serialize;
use std::borrow::Cow;

/// Words on a page.
pub type Text = Cow<'static, str>;

/// A page of sections.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// Heading.
    pub title: Text,
    /// One or two sentences below it.
    pub about: Text,
    /// What it says, in order.
    pub sections: Vec<Section>,
}

/// A part of a page with a heading.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    /// Heading.
    pub title: Text,
    /// What stands below it, in order.
    pub parts: Vec<Part>,
}

/// What a section is made of.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", content = "of", rename_all = "lowercase")]
pub enum Part {
    /// A paragraph.
    Text(Text),
    /// A paragraph that must not be overlooked.
    Warning(Text),
    /// Names and values.
    Summary(Vec<(Text, Text)>),
    /// Lines of text as they are, such as a configuration or a command.
    Listing(Text),
    /// Numbers in rows.
    Table(Table),
    /// What was claimed and what was found.
    Claims(Vec<Claim>),
    /// Charts beside each other.
    Figures(Vec<Figure>),
    /// Charts beside each other, three in a row.
    Small(Vec<Figure>),
}

/// Numbers in rows; the first column names them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Table {
    /// What it shows; may be empty.
    pub caption: Text,
    /// Heads of the columns.
    pub head: Vec<Text>,
    /// The rows, as long as the head.
    pub rows: Vec<Vec<Text>>,
}

/// Something that theory says, beside what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// What is claimed, with its source.
    pub claim: String,
    /// What had to be found.
    pub expected: String,
    /// What was found.
    pub measured: String,
    /// Whether it was.
    pub holds: bool,
}

/// A chart with its words.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What is shown.
    pub title: Text,
    /// Smaller text beside the title.
    pub aside: Text,
    /// One sentence on how to read it.
    pub note: Text,
    /// The chart.
    #[serde(flatten)]
    pub drawing: Drawing,
}

impl Figure {
    /// A chart of curves, without aside and note.
    ///
    /// # Errors
    /// If it cannot be drawn; this does not depend on the values.
    pub fn new(
        title: impl Into<Cow<'static, str>>,
        frame: &Frame,
        curves: &[Curve],
    ) -> Result<Self, PageError> {
        let (aside, note) = ("".into(), "".into());
        Ok(Self { title: title.into(), aside, note, drawing: draw(frame, curves)? })
    }

    /// Whether there was something to draw.
    pub fn is_drawn(&self) -> bool {
        self.drawing.svg.is_some()
    }
}

/// Why a page could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// The image of a chart could not be written.
    #[error("the chart of {chart} could not be drawn: {reason}")]
    Draw {
        /// Label of its vertical axis.
        chart: String,
        /// What plotters says.
        reason: String,
    },
    /// A template could not be filled in.
    #[error("the page could not be filled in")]
    Page(#[from] minijinja::Error),
}

#[derive(Serialize)]
struct InkRule {
    name: &'static str,
    light: String,
    dark: String,
}

/// What every page is filled in with besides its own.
#[derive(Serialize)]
struct Filled<'a, T> {
    inks: [InkRule; INKS.len()],
    #[serde(flatten)]
    page: &'a T,
}

/// The page of a template that extends `base.html`: HTML text that needs no other file.
///
/// # Errors
/// If the template cannot be filled in.
pub fn fill<T: Serialize>(name: &str, template: &str, page: &T) -> Result<String, PageError> {
    let inks =
        INKS.map(|ink| InkRule { name: ink.name, light: hex(ink.light), dark: hex(ink.dark) });
    let mut templates = Environment::new();
    templates.add_template("base.html", include_str!("base.html"))?;
    templates.add_template("chart.html", include_str!("chart.html"))?;
    templates.add_template(name, template)?;
    Ok(templates.get_template(name)?.render(Serde(&Filled { inks, page }))?)
}

impl Page {
    /// The page as HTML.
    ///
    /// # Errors
    /// If the template cannot be filled in.
    pub fn render(&self) -> Result<String, PageError> {
        fill("sections.html", include_str!("sections.html"), self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_shown_and_escaped() {
        let evil = "<script>";
        let points = vec![(1.0, 1.0), (2.0, 0.5)];
        let frame = Frame { x: "depth", y: "error", ..Frame::RATES };
        let curve = Curve { name: evil.into(), ink: BLUE, stroke: Stroke::Bold, points };
        let figure = || Figure::new(evil, &frame, &[curve.clone(), curve.clone()]).unwrap();
        let table = Table {
            caption: evil.into(),
            head: vec!["a".into(), evil.into()],
            rows: vec![vec![evil.into(), "1".into()]],
        };
        let claim = |holds| Claim {
            claim: evil.into(),
            expected: evil.into(),
            measured: evil.into(),
            holds,
        };
        let parts = vec![
            Part::Text(evil.into()),
            Part::Warning(evil.into()),
            Part::Summary(vec![(evil.into(), evil.into())]),
            Part::Listing(evil.into()),
            Part::Table(table),
            Part::Claims(vec![claim(true), claim(false)]),
            Part::Figures(vec![figure()]),
            Part::Small(vec![figure()]),
        ];
        let sections = vec![Section { title: evil.into(), parts }];
        let page = Page { title: evil.into(), about: evil.into(), sections }.render().unwrap();
        assert!(!page.contains(evil), "{page}");
        // Title twice, about, heading; text, warning, summary 2, listing, table 3, claims 6,
        // figures 2 · (title + two names).
        assert_eq!(page.matches("&lt;script&gt;").count(), 4 + 5 + 3 + 6 + 6, "{page}");
        assert!(page.contains(">PASS<") && page.contains(">FAIL<"));
        assert_eq!(page.matches("<svg").count(), 2);
    }
}
