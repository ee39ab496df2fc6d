//! Axes with round ticks, linear or logarithmic, and the numbers written at them.

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

/// How an axis turns values into lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Lengths are differences; the axis ends at the data.
    Tight,
    /// As `Tight`, with ticks at whole numbers.
    Counted,
    /// Lengths are differences; the axis ends at round numbers.
    Linear,
    /// As `Linear`, and 0 is on the axis.
    FromZero,
    /// Lengths are ratios; only positive values can be drawn.
    Log,
}

/// The part of a scale that is shown, and its ticks.
#[derive(Clone, Debug)]
pub struct Axis {
    low: f64,
    high: f64,
    /// Distance of ticks on a linear axis; `None` on a logarithmic one.
    spacing: Option<f64>,
    ticks: Vec<f64>,
}

impl Axis {
    /// An axis for values between `low` and `high`: finite, and positive if the scale asks for it.
    pub fn new(low: f64, high: f64, scale: Scale) -> Self {
        match scale {
            Scale::Log => Self::log(low, high),
            Scale::Tight | Scale::Counted => {
                let axis = Self::linear(low, high, f64::from(scale == Scale::Counted));
                if low == high {
                    return axis;
                }
                let ticks = axis.ticks.into_iter().filter(|&tick| low <= tick && tick <= high);
                Self { low, high, ticks: ticks.collect(), ..axis }
            }
            Scale::FromZero => Self::linear(low.min(0.0), high.max(0.0), 0.0),
            Scale::Linear => Self::linear(low, high, 0.0),
        }
    }

    fn linear(low: f64, high: f64, least_spacing: f64) -> Self {
        let size = low.abs().max(high.abs());
        // A constant is shown against zero: its rounding errors would make a chart of nothing.
        let (low, high) = match high - low > 1e-9 * size {
            true => (low, high),
            false if size > 0.0 => (low.min(0.0), high.max(0.0)),
            false => (0.0, 1.0),
        };
        let spacing = round_up((high - low) / 5.0).max(least_spacing);
        let (first, last) = ((low / spacing).floor(), (high / spacing).ceil());
        let count = (last - first).round() as usize;
        let ticks: Vec<f64> = (0..=count).map(|i| (first + i as f64) * spacing).collect();
        Self { low: ticks[0], high: ticks[count], spacing: Some(spacing), ticks }
    }

    fn log(low: f64, high: f64) -> Self {
        let decade = |value: f64| value.log10().floor() as i32;
        let candidates: Vec<f64> = (decade(low) - 1..=decade(high) + 1)
            .flat_map(|power| [1, 2, 5].map(|digit| parse_power(digit, power)))
            .filter(|value| value.is_finite() && *value > 0.0)
            .collect();
        let below = candidates.iter().rev().find(|&&tick| tick < low).copied().unwrap_or(low);
        let above = candidates.iter().find(|&&tick| tick > high).copied().unwrap_or(high);
        let wide = above / below > 1000.0;
        let stride = 1 + (decade(above) - decade(below)) / 8;
        let is_tick = |tick: f64| {
            let power = tick.log10().round();
            let round = (tick / 10f64.powf(power) - 1.0).abs() < 1e-6;
            !wide || (round && power as i32 % stride == 0)
        };
        let shown = candidates.into_iter().filter(|tick| (below..=above).contains(tick));
        let ticks = shown.filter(|&tick| is_tick(tick)).collect();
        Self { low: below, high: above, spacing: None, ticks }
    }

    fn label(&self, tick: f64) -> String {
        let Some(spacing) = self.spacing else { return power(tick) };
        let largest = self.low.abs().max(self.high.abs());
        if !(1e-3..1e10).contains(&largest) {
            return power(tick);
        }
        let (divisor, unit) = match largest {
            1e7.. => (1e6, "M"),
            1e4.. => (1e3, "k"),
            _ => (1.0, ""),
        };
        let decimals = -(spacing / divisor * 1.000_001).log10().floor();
        // 2.5 needs one decimal more than its power of ten says.
        let first_digits = spacing / 10f64.powf(spacing.log10().floor());
        let fine = (first_digits - 2.5).abs() < 0.1;
        let decimals = (decimals.max(0.0) as usize) + usize::from(fine && decimals >= 0.0);
        if tick == 0.0 { "0".into() } else { signed(tick / divisor, decimals) + unit }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let part = match self.spacing {
            Some(_) => (value - self.low) / (self.high - self.low),
            None => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        limit.0 + (f64::from(limit.1 - limit.0) * part).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, tick: &f64) -> String {
        self.label(*tick)
    }
}

/// The next of 1, 2, 2.5, 5, 10 times a power of ten.
fn round_up(value: f64) -> f64 {
    let unit = 10f64.powf(value.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0].into_iter().find(|&f| value <= f * unit * 1.000_001);
    factor.unwrap_or(10.0) * unit
}

/// The number nearest to digit · 10^power, which products of powers miss.
fn parse_power(digit: i32, power: i32) -> f64 {
    format!("{digit}e{power}").parse().expect("digits and an exponent are a number")
}

/// `value` with a true minus sign.
fn signed(value: f64, decimals: usize) -> String {
    format!("{value:.decimals$}").replace('-', "−")
}

/// `value` as a plain number where that is short, else as digits · 10ⁿ.
fn power(value: f64) -> String {
    if value == 0.0 || (0.01..1e4).contains(&value.abs()) {
        return format!("{value}").replace('-', "−");
    }
    let (digits, exponent) = scientific(value, 2);
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    match digits {
        "1" => format!("10{exponent}"),
        "−1" => format!("−10{exponent}"),
        _ => format!("{digits}·10{exponent}"),
    }
}

/// `value` to three significant digits, for running text and tables.
pub fn significant(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        1e-3..1e4 => signed(value, (2.0 - value.abs().log10().floor()).max(0.0) as usize),
        0.0..=f64::MAX => {
            let (digits, exponent) = scientific(value, 1);
            format!("{digits}·10{exponent}")
        }
        _ => "not a number".into(),
    }
}

/// Digits with one before the point, and the exponent in superscript.
fn scientific(value: f64, decimals: usize) -> (String, String) {
    let text = format!("{value:.decimals$e}").replacen('-', "−", usize::from(value < 0.0));
    let (digits, exponent) = text.split_once('e').expect("Rust writes an exponent for {:e}");
    (digits.to_string(), exponent.chars().map(superscript).collect())
}

fn superscript(c: char) -> char {
    let digits = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    c.to_digit(10).map_or('⁻', |digit| digits[digit as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64, scale: Scale) -> Vec<String> {
        let axis = Axis::new(low, high, scale);
        axis.ticks.iter().map(|&tick| axis.label(tick)).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_hold_the_data() {
        assert_eq!(labels(0.07, 0.83, Scale::Linear), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(-1.0, 1.1, Scale::Linear), ["−1.0", "−0.5", "0", "0.5", "1.0", "1.5"]);
        assert_eq!(labels(91.0, 99.0, Scale::Linear), ["90", "92", "94", "96", "98", "100"]);
    }

    #[test]
    fn steps_are_counted_in_whole_numbers_and_in_thousands() {
        assert_eq!(labels(1.0, 6.0, Scale::Counted), ["1", "2", "3", "4", "5", "6"]);
        assert_eq!(labels(1.0, 3.0, Scale::Counted), ["1", "2", "3"]);
        assert_eq!(labels(0.0, 60000.0, Scale::Counted), ["0", "20k", "40k", "60k"]);
    }

    #[test]
    fn a_quarter_is_written_in_full() {
        assert_eq!(labels(0.0, 1.2, Scale::Linear)[1], "0.25");
        assert_eq!(labels(0.0, 12.0, Scale::Linear)[1], "2.5");
        assert_eq!(labels(0.0, 1200.0, Scale::Linear)[1], "250");
    }

    #[test]
    fn a_constant_is_shown_against_zero() {
        assert_eq!(labels(3.0, 3.0, Scale::Linear), ["0", "1", "2", "3"]);
        assert_eq!(labels(-2.0, -2.0, Scale::Linear)[..2], ["−2.0", "−1.5"]);
        assert_eq!(labels(7.0, 7.0, Scale::Counted), ["0", "2", "4", "6", "8"]);
        assert_eq!(labels(0.0, 0.0, Scale::Linear)[0], "0");
    }

    #[test]
    fn log_ticks_are_decades_or_finer_when_there_are_few() {
        let decades = labels(2e-7, 3e-3, Scale::Log);
        assert_eq!(decades, ["10⁻⁷", "10⁻⁶", "10⁻⁵", "10⁻⁴", "10⁻³"]);
        assert_eq!(labels(0.3, 0.6, Scale::Log), ["0.2", "0.5", "1"]);
    }

    #[test]
    fn small_values_are_written_with_powers_of_ten() {
        let ticks = ["0", "2.5·10⁻⁷", "5·10⁻⁷", "7.5·10⁻⁷", "10⁻⁶", "1.25·10⁻⁶"];
        assert_eq!(labels(0.0, 1.1e-6, Scale::Linear), ticks);
        assert_eq!(labels(-1.9e-5, 1.9e-5, Scale::Linear)[1], "−10⁻⁵");
    }

    #[test]
    fn extreme_numbers_make_an_axis() {
        for (low, high) in [(1e-300, 1e300), (5e-324, 5e-324), (1e299, 1e300)] {
            for scale in [Scale::Tight, Scale::Counted, Scale::Linear, Scale::FromZero, Scale::Log]
            {
                let axis = Axis::new(low, high, scale);
                assert!(axis.ticks.len() < 45, "{low} {high} {scale:?}: {}", axis.ticks.len());
                assert!((0..=100).contains(&axis.map(&low, (0, 100))), "{low} {high} {scale:?}");
            }
        }
    }

    #[test]
    fn numbers_in_text_have_three_digits() {
        let texts = [0.0, 3.0, 0.012345, 1234.5, 4.56e-7, -2e9, f64::NAN].map(significant);
        assert_eq!(texts, ["0", "3.00", "0.0123", "1234", "4.6·10⁻⁷", "−2.0·10⁹", "not a number"]);
    }
}
