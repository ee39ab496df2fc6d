//! A chart as an image file of its own, with its title and legend in it.

use super::plot::{Drawing, TEXT, hex};
use super::{Figure, INKS, Stroke};

/// Pixels of a line of text, and of a letter on average.
const LINE: usize = 18;
const LETTER: usize = 7;
/// Pixels of the mark before a name, and of the gap behind it.
const MARK: usize = 30;
const GAP: usize = 16;
const MARGIN: usize = 12;

impl Figure {
    /// The chart as SVG text on white, to be written to a file; `None` if there is nothing to draw.
    pub fn standalone(&self) -> Option<String> {
        let Drawing { svg, legend, size, .. } = &self.drawing;
        let (width, height) = (size.0 as usize, size.1 as usize);
        let mut head = text(MARGIN, LINE, "600", &self.title);
        let (mut x, mut y) = (MARGIN, 2 * LINE);
        let named = if legend.len() > 1 { legend.as_slice() } else { &[] };
        for entry in named {
            let needed = MARK + LETTER * entry.name.chars().count() + GAP;
            if x > MARGIN && x + needed > width {
                (x, y) = (MARGIN, y + LINE);
            }
            let ink = INKS.iter().find(|ink| ink.name == entry.ink).map(|ink| hex(ink.light));
            head += &mark(x, y - 4, &ink.unwrap_or_default(), entry.stroke);
            head += &text(x + MARK, y, "400", &entry.name);
            x += needed;
        }
        let top = if named.is_empty() { LINE + 6 } else { y + 8 };
        // The chart was drawn three times as large as it is shown.
        let shown = format!(r#"width="{width}" height="{height}" viewBox="#);
        let drawn = svg.as_ref()?.split_once("viewBox=")?.1;
        let total = top + height;
        Some(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{total}\" \
             viewBox=\"0 0 {width} {total}\" font-family=\"sans-serif\">\n\
             <rect width=\"{width}\" height=\"{total}\" fill=\"#FFFFFF\"/>\n\
             {head}<svg y=\"{top}\" {shown}{drawn}</svg>\n"
        ))
    }
}

fn text(x: usize, y: usize, weight: &str, words: &str) -> String {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let ink = hex(TEXT.light);
    format!(
        "<text x=\"{x}\" y=\"{y}\" font-size=\"13\" font-weight=\"{weight}\" fill=\"{ink}\">{words}</text>\n"
    )
}

fn mark(x: usize, y: usize, ink: &str, stroke: Stroke) -> String {
    let end = x + MARK - 8;
    let (width, more) = match stroke {
        Stroke::Dots => {
            let middle = (x + end) / 2;
            return format!("<circle cx=\"{middle}\" cy=\"{y}\" r=\"3\" fill=\"{ink}\"/>\n");
        }
        Stroke::Faint => (1, " opacity=\"0.6\""),
        Stroke::Broad => (7, " opacity=\"0.45\""),
        Stroke::Dashed => (2, " stroke-dasharray=\"6 4\""),
        Stroke::Thin | Stroke::Bold => (2, ""),
    };
    format!(
        "<line x1=\"{x}\" y1=\"{y}\" x2=\"{end}\" y2=\"{y}\" stroke=\"{ink}\" stroke-width=\"{width}\"{more}/>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::{BLUE, Curve, Frame};
    use super::*;

    #[test]
    fn the_file_has_title_names_and_chart_and_is_whole() {
        let curve = |name: &'static str, stroke| Curve {
            name: name.into(),
            ink: BLUE,
            stroke,
            points: vec![(1.0, 1.0), (2.0, 0.5), (4.0, 0.25)],
        };
        let curves = [curve("measured <a>", Stroke::Bold), curve("theory & co", Stroke::Dashed)];
        let figure = Figure::new("Error", &Frame::RATES, &curves).unwrap();
        let svg = figure.standalone().expect("drawn");
        assert!(svg.starts_with("<svg xmlns="), "{svg}");
        assert!(svg.contains("measured &lt;a>") && svg.contains("theory &amp; co"));
        assert_eq!(svg.matches("<svg").count(), 2);
        assert_eq!(svg.matches("</svg>").count(), 2);
        assert!(svg.contains("<polyline"));
        let empty = Figure::new("Error", &Frame::RATES, &[]).unwrap();
        assert!(empty.standalone().is_none());
    }
}
