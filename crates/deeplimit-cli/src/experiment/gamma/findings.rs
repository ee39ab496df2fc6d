//! What the minimisers of one set show: rates over n, the equation of the limit, the contrast.

use super::{Part, Penalised, Row};
use crate::experiment::within;
use crate::page::{Claim, significant};
use deeplimit::limit::Slope;
use std::ops::RangeInclusive;

/// Exponents of the branch are fitted to so many of the largest n.
const FITTED: usize = 4;

/// Independent starts are compared from this n on: with few layers there are few minima, and two starts
/// can come to the same one whatever is penalised.
const APART_FROM: f64 = 32.0;

/// All rows, and the set in question.
pub struct Measured<'a> {
    pub rows: &'a [Row],
    pub set: &'a str,
}

/// One of a row's numbers.
pub type Column = fn(&Row) -> Option<f64>;

/// (n, number).
pub type Points = Vec<(f64, f64)>;

const PAPER: &str = "Thorpe, van Gennip (2018, 2023)";
const RATE: &str = "1/n where the limit is a non-degenerate minimum";

/// What falls like 1/n along the branch: name, and how it is read.
pub const DISTANCES: [(&str, Column); 5] = [
    ("L² distance, constant over each layer", |row| row.constant),
    ("L² distance, affine between the nodes", |row| row.affine),
    ("H¹ distance", |row| row.derivative),
    ("largest distance at a node", |row| row.nodal),
    ("distance of the readout", |row| row.readout),
];

/// By how much a network fails the limit's equation: name, and how it is read.
pub const RESIDUALS: [(&str, Column); 3] = [
    ("Euler–Lagrange residual at the nodes", |row| row.equation),
    ("K'(0) − τ K(0) and the same of b", |row| row.first_end),
    ("K'(1) and b'(1)", |row| row.last_end),
];

impl Measured<'_> {
    pub fn of(&self, part: Part, penalised: Penalised) -> impl Iterator<Item = &Row> {
        let mine = move |row: &&Row| row.part == part && row.penalised == penalised;
        self.rows.iter().filter(|row| row.set == self.set).filter(mine)
    }

    /// A number of the limit, or of the coarser one.
    fn limit(&self, part: Part, column: Column) -> f64 {
        self.of(part, Penalised::Smooth).find_map(column).unwrap_or(f64::NAN)
    }

    /// (n, number) along the branch.
    pub fn branch(&self, column: impl Fn(&Row) -> Option<f64>) -> Points {
        let rows = self.of(Part::Network, Penalised::Smooth);
        rows.filter_map(|row| Some((row.layers? as f64, column(row)?))).collect()
    }

    /// (n, |E − E_∞|) along the branch, of an energy E.
    pub fn gaps(&self, column: Column) -> Points {
        let limit = self.limit(Part::Limit, |row| row.energy);
        self.branch(|row| Some((column(row)? - limit).abs()))
    }

    /// (n, geometric mean over the minimisers from independent starts, or over their pairs).
    pub fn starts(&self, part: Part, penalised: Penalised, column: Column) -> Points {
        let mut layers: Vec<usize> =
            self.of(part, penalised).filter_map(|row| row.layers).collect();
        layers.dedup();
        let mean = |n: usize| {
            let rows = self.of(part, penalised).filter(|row| row.layers == Some(n));
            let logs: Vec<f64> = rows.filter_map(column).map(f64::ln).collect();
            (n as f64, (logs.iter().sum::<f64>() / logs.len() as f64).exp())
        };
        layers.into_iter().map(mean).collect()
    }

    pub fn claims(&self) -> Vec<Claim> {
        let mut claims = self.reference();
        claims.extend(self.rates());
        claims.extend(self.contrast());
        claims
    }

    fn claim(&self, text: &str, measured: f64, range: RangeInclusive<f64>) -> Claim {
        within(format!("{}: {text}", self.set), measured, range)
    }

    /// The limit is what it is said to be, and better known than any network is near.
    fn reference(&self) -> Vec<Claim> {
        let least =
            |points: Points| points.into_iter().map(|point| point.1).fold(f64::NAN, f64::min);
        let norms = (self.rows.iter())
            .filter(|row| row.set == self.set && row.penalised == Penalised::Smooth)
            .filter_map(|row| row.gradient_norm);
        let energies = [Part::Coarse, Part::Limit].map(|part| self.limit(part, |row| row.energy));
        let steepness = self.limit(Part::Limit, |row| row.steepness).sqrt();
        vec![
            self.claim(
                "largest ‖∇E‖ of all minimisers with the penalty of differences, and of the limit",
                largest(norms),
                0.0..=super::measure::TOLERANCE,
            ),
            self.claim(
                "least eigenvalue of the limit's second derivative (it is a non-degenerate minimum)",
                self.limit(Part::Limit, |row| row.curvature),
                1e-6..=f64::INFINITY,
            ),
            self.claim(
                "L² distance of the limits of degree 20 with 640 steps and of half of both, over the \
                 least distance of a network",
                self.limit(Part::Coarse, |row| row.constant) / least(self.branch(|row| row.affine)),
                0.0..=0.02,
            ),
            self.claim(
                "difference of their energies, over the least |min E_n − E_∞|",
                (energies[0] - energies[1]).abs() / least(self.gaps(|row| row.energy)),
                0.0..=0.02,
            ),
            self.claim(
                "largest residual of the limit in the Euler–Lagrange equation, over the largest force \
                 in it",
                self.limit(Part::Limit, |row| Some(row.equation? / row.force?)),
                0.0..=0.01,
            ),
            self.claim(
                "the limit in its natural conditions K'(0) = τ K(0), K'(1) = 0 and the same of b: the \
                 larger failure over (∫ ‖θ'‖² ds)^½",
                self.limit(Part::Limit, |row| Some(row.first_end?.max(row.last_end?))) / steepness,
                0.0..=0.01,
            ),
        ]
    }

    /// The exponent of n, fitted to the largest n.
    pub fn exponent(points: &[(f64, f64)]) -> f64 {
        Slope::fit(&points[points.len().saturating_sub(FITTED)..]).value
    }

    fn rates(&self) -> Vec<Claim> {
        let rate = |what: &str, source: &str, points: &[(f64, f64)], exponent: f64, off: f64| {
            let range = exponent - off..=exponent + off;
            let text = format!("{what}: exponent of n ({source})");
            self.claim(&text, Self::exponent(points), range)
        };
        let limit = format!("→ 0 {PAPER}; {RATE}");
        let minima = self.gaps(|row| row.energy);
        let recovered = self.gaps(|row| row.recovery);
        let excess = self.branch(|row| Some(row.recovery? - row.energy?));
        let mut claims = vec![
            rate("min E_n − E_∞", &limit, &minima, -1.0, 0.05),
            rate(
                "E_n of the network sampled from the limit, less E_∞",
                &format!("→ 0, a recovery sequence, {PAPER}"),
                &recovered,
                -1.0,
                0.1,
            ),
            rate(
                "the same, less min E_n, which it is never below",
                "1/n²: E_n is flat at its minimiser, 1/n away",
                &excess,
                -2.0,
                0.1,
            ),
        ];
        for (what, column) in DISTANCES {
            let what = format!("to the limit, {what}");
            claims.push(rate(&what, &limit, &self.branch(column), -1.0, 0.05));
        }
        for (what, column) in RESIDUALS {
            claims.push(rate(what, RATE, &self.branch(column), -1.0, 0.05));
        }
        let steepness = self.branch(|row| row.steepness);
        let bounded = format!("bounded, and so they converge uniformly, {PAPER}");
        claims.push(rate("∫ ‖θ'‖² ds of the minimisers", &bounded, &steepness, 0.0, 0.05));
        claims
    }

    /// Minimisers from independent starts.
    fn contrast(&self) -> Vec<Claim> {
        let deep = |points: Points| {
            let points = points.into_iter().filter(|point| point.0 >= APART_FROM);
            Slope::fit(&points.collect::<Points>()).value
        };
        let distance: Column = |row| row.constant;
        let least = |penalised| {
            let pairs = self.of(Part::Pair, penalised);
            let pairs = pairs.filter(|row| row.layers.is_some_and(|n| n as f64 >= APART_FROM));
            pairs.filter_map(distance).fold(f64::NAN, f64::min)
        };
        let starts = |penalised| self.starts(Part::Start, penalised, |row| row.steepness);
        // The least and the largest of all starts.
        let steepest = |penalised| {
            let starts = self.of(Part::Start, penalised);
            let starts = starts.filter(|row| row.layers.is_some_and(|n| n as f64 >= APART_FROM));
            let all: Vec<f64> = starts.filter_map(|row| row.steepness).collect();
            let least = all.iter().copied().fold(f64::NAN, f64::min);
            (least, largest(all.into_iter()))
        };
        let (decay, nothing) = (Penalised::Decay, Penalised::Nothing);
        vec![
            self.twins(),
            self.claim(
                "penalty of differences: exponent of n of ∫ ‖θ'‖² ds from independent starts",
                Slope::fit(&starts(Penalised::Smooth)).value,
                -0.4..=0.4,
            ),
            self.claim(
                "weight decay: largest ‖∇E‖ of all minimisers",
                largest(self.of(Part::Start, decay).filter_map(|row| row.gradient_norm)),
                0.0..=1e-6,
            ),
            self.claim(
                "weight decay: least L² distance of two minimisers from independent starts, n ≥ 32",
                least(decay),
                0.5..=f64::INFINITY,
            ),
            self.claim(
                "weight decay: exponent of n of these distances (they do not converge)",
                deep(self.starts(Part::Pair, decay, distance)),
                -0.25..=0.25,
            ),
            self.claim(
                "weight decay: exponent of n of ∫ ‖θ'‖² ds (2: every layer is independent)",
                deep(starts(decay)),
                1.75..=2.25,
            ),
            self.claim(
                "no penalty: least L² distance of two networks from independent starts, n ≥ 32",
                least(nothing),
                1.0..=f64::INFINITY,
            ),
            self.claim(
                "no penalty: least ∫ ‖θ'‖² ds over the largest with the penalty of differences, n ≥ 32",
                steepest(nothing).0 / steepest(Penalised::Smooth).1,
                10.0..=f64::INFINITY,
            ),
        ]
    }

    /// With the penalty of differences minimisers that have the same energy are the same.
    fn twins(&self) -> Claim {
        let starts: Vec<&Row> = self.of(Part::Start, Penalised::Smooth).collect();
        let energy = |layers: Option<usize>, start: Option<usize>| {
            let mine = |row: &&&Row| (row.layers, row.start) == (layers, start);
            starts.iter().find(mine).and_then(|row| row.energy)
        };
        let same = |row: &&Row| match [row.start, row.other].map(|start| energy(row.layers, start))
        {
            [Some(a), Some(b)] => (a - b).abs() <= 1e-9 * a.abs(),
            _ => false,
        };
        let pairs: Vec<&Row> = self.of(Part::Pair, Penalised::Smooth).collect();
        let twins: Vec<f64> =
            pairs.iter().copied().filter(same).filter_map(|row| row.constant).collect();
        let most = largest(twins.iter().copied());
        Claim {
            claim: format!(
                "{}: penalty of differences: largest L² distance of two minimisers from independent \
                 starts with the same energy to 1e-9 (they are the same)",
                self.set
            ),
            expected: "at most 10⁻⁴".into(),
            measured: format!("{} of {} of {} pairs", significant(most), twins.len(), pairs.len()),
            holds: most <= 1e-4,
        }
    }
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NAN, f64::max)
}
