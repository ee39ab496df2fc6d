//! One chart: curves in, an SVG image and a legend out.
//!
//! Plotters rounds to whole pixels, so the image is drawn three times as large as it is shown.
//! Each ink is a fixed colour in the image; the page's style sheet finds it by that colour and
//! gives it its dark twin where the reader prefers dark pages.

use super::axis::{Axis, Scale};
use super::thin::thin;
use super::{PageError, Text};
use plotters::prelude::*;
use serde::Serialize;

/// A colour of the page, light and dark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ink {
    /// Name in the style sheet.
    pub name: &'static str,
    /// On a light page.
    pub light: RGBColor,
    /// On a dark page.
    pub dark: RGBColor,
}

/// The main curve.
pub const BLUE: Ink = ink("blue", 0x1f65b0, 0x6fb0f5);
/// The curve to compare with.
pub const ORANGE: Ink = ink("orange", 0xc4520a, 0xf79b57);
/// A third curve.
pub const GREEN: Ink = ink("green", 0x1d7f5f, 0x5fcba5);
/// A fourth curve.
pub const VIOLET: Ink = ink("violet", 0x7b4ba8, 0xbe95ea);
/// A fifth curve.
const RED: Ink = ink("red", 0xb3263c, 0xf58296);
/// A sixth curve.
const TEAL: Ink = ink("teal", 0x0f7c8c, 0x4fc4d6);
/// A seventh curve.
const GOLD: Ink = ink("gold", 0x94720c, 0xd9b64a);
/// Sums and backgrounds.
pub const GREY: Ink = ink("grey", 0x8a9099, 0x8b939e);
/// Words.
pub const TEXT: Ink = ink("text", 0x4a515b, 0xaeb6c1);
const GRID: Ink = ink("grid", 0xe2e6eb, 0x333b46);

/// Every ink, for the style sheet.
pub const INKS: [Ink; 10] = [BLUE, ORANGE, GREEN, VIOLET, RED, TEAL, GOLD, GREY, TEXT, GRID];

/// The inks of curves, in the order in which a chart with many takes them.
pub const CURVES: [Ink; 8] = [BLUE, ORANGE, GREEN, VIOLET, RED, TEAL, GOLD, GREY];

const fn ink(name: &'static str, light: u32, dark: u32) -> Ink {
    const fn colour(rgb: u32) -> RGBColor {
        RGBColor((rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8)
    }
    Ink { name, light: colour(light), dark: colour(dark) }
}

/// `#RRGGBB`, as plotters writes it.
pub fn hex(RGBColor(r, g, b): RGBColor) -> String {
    format!("#{r:02X}{g:02X}{b:02X}")
}

/// How a curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stroke {
    /// One pixel, and pale if there are many values: noise.
    Faint,
    /// One pixel and a half.
    Thin,
    /// Two pixels and, where there are few values, a dot on each.
    Bold,
    /// Seven pixels, pale: a background to other curves.
    Broad,
    /// Dashes: what theory says.
    Dashed,
    /// A dot on each point and no line: a cloud.
    Dots,
}

/// A curve of a chart.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What the legend calls it; empty for none.
    pub name: Text,
    /// Its colour.
    pub ink: Ink,
    /// Its line.
    pub stroke: Stroke,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// What a chart says at its axes, and its size on the page.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Label of the horizontal axis, with its unit.
    pub x: &'a str,
    /// Label of the vertical axis, with its unit.
    pub y: &'a str,
    /// Horizontal scale.
    pub across: Scale,
    /// Vertical scale.
    pub scale: Scale,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Largest number of points a curve.
    pub points: usize,
}

impl Frame<'_> {
    /// Both axes logarithmic: powers are straight lines.
    pub const RATES: Self = Self {
        x: "",
        y: "",
        across: Scale::Log,
        scale: Scale::Log,
        size: (500, 300),
        points: 1000,
    };
}

/// A drawn chart.
#[derive(Clone, Debug, Serialize)]
pub struct Drawing {
    /// The image; `None` if there is nothing to draw.
    pub svg: Option<String>,
    /// Width and height in pixels on the page.
    #[serde(skip)]
    pub size: (u32, u32),
    /// The curves in the image.
    pub legend: Vec<LegendEntry>,
    /// Values that are not finite.
    pub broken: usize,
    /// Values that a logarithmic axis cannot show.
    pub nonpositive: usize,
}

/// A curve's name and looks.
#[derive(Clone, Debug, Serialize)]
pub struct LegendEntry {
    /// The curve's name.
    pub name: Text,
    /// Name of its colour.
    pub ink: &'static str,
    /// Its line.
    pub stroke: Stroke,
}

/// Image pixels for a pixel on the page.
const FINE: i32 = 3;

/// Draws the curves that have something to draw.
pub fn draw(frame: &Frame, curves: &[Curve]) -> Result<Drawing, PageError> {
    let (mut broken, mut nonpositive) = (0, 0);
    let mut shown = Vec::new();
    for curve in curves {
        let mut points = curve.points.clone();
        // Differences of what is drawn must be finite, too.
        points.retain(|(x, y)| x.is_finite() && y.abs() <= 1e300);
        broken += curve.points.len() - points.len();
        let finite = points.len();
        points.retain(|(x, y)| {
            (frame.across != Scale::Log || *x > 0.0) && (frame.scale != Scale::Log || *y > 0.0)
        });
        nonpositive += finite - points.len();
        if !points.is_empty() {
            // Points of a cloud have no neighbours that could stand for them.
            let cloud = curve.stroke == Stroke::Dots;
            shown.push((curve, if cloud { points } else { thin(&points, frame.points) }));
        }
    }
    let legend = shown.iter().filter(|(curve, _)| !curve.name.is_empty()).map(|(curve, _)| {
        LegendEntry { name: curve.name.clone(), ink: curve.ink.name, stroke: curve.stroke }
    });
    let legend = legend.collect();
    let svg = match shown.is_empty() {
        true => None,
        false => Some(image(frame, &shown).map_err(|source| PageError::Draw {
            chart: frame.y.to_string(),
            reason: source.to_string(),
        })?),
    };
    Ok(Drawing { svg, size: frame.size, legend, broken, nonpositive })
}

type Plotted<T> = Result<T, DrawingAreaErrorKind<std::io::Error>>;

fn image(frame: &Frame, curves: &[(&Curve, Vec<(f64, f64)>)]) -> Plotted<String> {
    let extent = |pick: fn(&(f64, f64)) -> f64| {
        let values = curves.iter().flat_map(|(_, points)| points).map(pick);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)))
    };
    let ((left, right), (low, high)) = (extent(|p| p.0), extent(|p| p.1));
    let (x_axis, y_axis) =
        (Axis::new(left, right, frame.across), Axis::new(low, high, frame.scale));
    let mut svg = String::new();
    {
        let size = (frame.size.0 * FINE as u32, frame.size.1 * FINE as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin_top(8 * FINE)
            .margin_right(14 * FINE)
            .x_label_area_size(40 * FINE)
            .y_label_area_size(76 * FINE)
            .build_cartesian_2d(x_axis, y_axis)?;
        // Plotters divides font sizes by 1.24 on their way into the image.
        let font = ("sans-serif", 12.0 * 1.24 * f64::from(FINE)).into_font().color(&TEXT.light);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID.light.stroke_width(FINE as u32))
            .axis_style(TEXT.light.stroke_width(FINE as u32))
            .set_all_tick_mark_size(4 * FINE)
            .label_style(font)
            .x_desc(frame.x)
            .y_desc(frame.y)
            .draw()?;
        for (curve, points) in curves {
            let (width, opacity) = match curve.stroke {
                Stroke::Faint if points.len() <= 300 => (FINE, 0.8),
                Stroke::Faint => (FINE, 0.35),
                Stroke::Thin => (FINE * 3 / 2, 0.9),
                Stroke::Bold => (FINE * 2, 1.0),
                Stroke::Broad => (FINE * 7, 0.35),
                Stroke::Dashed => (FINE * 3 / 2, 1.0),
                Stroke::Dots => (0, 0.7),
            };
            let style = curve.ink.light.mix(opacity).stroke_width(width as u32);
            let line = points.iter().copied();
            match curve.stroke {
                _ if points.len() == 1 => {}
                Stroke::Dots => {}
                Stroke::Dashed => {
                    let (dash, gap) = (6 * FINE, 4 * FINE);
                    chart.draw_series(DashedLineSeries::new(line, dash, gap, style))?;
                }
                _ => {
                    chart.draw_series(LineSeries::new(line, style))?;
                }
            }
            let radius = match curve.stroke {
                Stroke::Dots => Some(2 * FINE),
                Stroke::Bold if points.len() <= 40 => Some(3 * FINE),
                _ => (points.len() == 1).then_some(3 * FINE),
            };
            if let Some(radius) = radius {
                let fill = curve.ink.light.mix(opacity).filled();
                let dot = |&point| Circle::new(point, radius, fill);
                chart.draw_series(points.iter().map(dot))?;
            }
        }
        drop(chart);
        area.present()?;
    }
    // Inside HTML the name space is implied, and the page names no address at all without it.
    Ok(svg.replace(r#" xmlns="http://www.w3.org/2000/svg""#, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing(scale: Scale, values: &[f64]) -> Drawing {
        let (across, size) = (Scale::Counted, (480, 240));
        let frame = Frame { x: "step", y: "loss", across, scale, size, points: 1000 };
        let points = values.iter().enumerate().map(|(i, v)| (i as f64, *v)).collect();
        draw(&frame, &[Curve { name: "batch".into(), ink: BLUE, stroke: Stroke::Thin, points }])
            .unwrap()
    }

    #[test]
    fn inks_are_written_as_plotters_writes_them() {
        let svg = drawing(Scale::Linear, &[1.0, 2.0]).svg.unwrap();
        for ink in [BLUE, TEXT, GRID] {
            assert!(svg.contains(&hex(ink.light)), "{}: {svg}", ink.name);
        }
    }

    #[test]
    fn values_that_cannot_be_drawn_are_left_out_and_counted() {
        let values = [1.0, f64::NAN, 0.0, f64::INFINITY, -1.0, 2.0];
        let linear = drawing(Scale::Linear, &values);
        assert_eq!((linear.broken, linear.nonpositive), (2, 0));
        let log = drawing(Scale::Log, &values);
        assert_eq!((log.broken, log.nonpositive), (2, 2));
        let svg = log.svg.unwrap();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn a_logarithmic_axis_leaves_out_what_is_not_positive_on_either_side() {
        let (across, scale) = (Scale::Log, Scale::Log);
        let frame = Frame { x: "depth", y: "error", across, scale, size: (480, 240), points: 100 };
        let points = vec![(0.0, 1.0), (1.0, 1.0), (2.0, 0.0), (4.0, 0.25), (8.0, 0.1)];
        for stroke in [Stroke::Dashed, Stroke::Dots, Stroke::Bold] {
            let curve = Curve { name: "".into(), ink: RED, stroke, points: points.clone() };
            let drawing = draw(&frame, &[curve]).unwrap();
            assert_eq!((drawing.broken, drawing.nonpositive), (0, 2));
            let dots = drawing.svg.unwrap().matches("<circle").count();
            assert_eq!(dots, if stroke == Stroke::Dashed { 0 } else { 3 });
        }
    }

    #[test]
    fn nothing_is_drawn_of_nothing_and_a_dot_of_one_value() {
        assert!(drawing(Scale::Log, &[0.0, 0.0]).svg.is_none());
        assert!(drawing(Scale::Linear, &[]).svg.is_none());
        assert!(drawing(Scale::Linear, &[1.0]).svg.unwrap().contains("<circle"));
    }

    #[test]
    fn the_image_stays_within_itself_for_extreme_values() {
        for scale in [Scale::Linear, Scale::FromZero, Scale::Log] {
            let svg = drawing(scale, &[1e-300, 1e300, 1.0]).svg.unwrap();
            let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
            let bad = points
                .split([' ', ','])
                .filter(|n| !n.is_empty())
                .any(|number| !(0..=1440).contains(&number.parse::<i32>().unwrap()));
            assert!(!bad, "{points}");
        }
    }
}
