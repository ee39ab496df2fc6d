//! What the minimisers of one set show: that every seed finds the same, rates over n, the limit's equation.

use super::data::Set;
use super::search::{LOWER, TOLERANCES};
use super::variants::{BASE, Variant};
use super::{Part, Row};
use crate::experiment::Seeds;
use crate::page::Claim;
use deeplimit::gradient::larger;
use deeplimit::limit::Slope;
use std::ops::RangeInclusive;

/// Exponents are fitted to so many of the largest n.
pub const FITTED: usize = 4;

/// Starts, of all n together, that must come to the minimum: where so many do on average, all miss it with
/// a probability of e⁻⁸.
const HITS: f64 = 8.0;

/// All rows of a set, and the set.
pub struct Measured<'a> {
    pub rows: Vec<&'a Row>,
    pub problems: &'a [Variant],
    pub set: &'a Set,
    pub seeds: Seeds,
}

/// One of a row's numbers.
pub type Column = fn(&Row) -> Option<f64>;

/// (n, number).
pub type Points = Vec<(f64, f64)>;

const PAPER: &str = "Thorpe, van Gennip (2018, 2023)";
const RATE: &str = "own: 1/n where the limit is a non-degenerate minimum and σ smooth";

/// What falls like 1/n: name, and how it is read.
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

impl<'a> Measured<'a> {
    pub fn of(
        &self,
        part: Part,
        problem: &str,
        seed: u64,
    ) -> impl Iterator<Item = &'a Row> + use<'_, 'a> {
        let problem = problem.to_owned();
        let mine = move |row: &&Row| row.part == part && row.problem == problem && row.seed == seed;
        self.rows.iter().copied().filter(mine)
    }

    /// The first number of that kind.
    pub fn one(&self, part: Part, problem: &str, seed: u64, column: Column) -> f64 {
        self.of(part, problem, seed).find_map(column).unwrap_or(f64::NAN)
    }

    /// (n, number) of the rows that have both.
    pub fn over(
        &self,
        part: Part,
        problem: &str,
        seed: u64,
        column: impl Fn(&Row) -> Option<f64>,
    ) -> Points {
        let rows = self.of(part, problem, seed);
        rows.filter_map(|row| Some((row.layers? as f64, column(row)?))).collect()
    }

    /// (n, |E_n − E_∞|), of an energy E_n of the lowest networks.
    pub fn gaps(&self, problem: &str, seed: u64, column: Column) -> Points {
        let limit = self.one(Part::Limit, problem, seed, |row| row.energy);
        self.over(Part::Network, problem, seed, |row| Some((column(row)? - limit).abs()))
    }

    /// A number for every seed.
    pub fn seeds(&self, number: impl Fn(u64) -> f64) -> Vec<f64> {
        self.seeds.all().map(number).collect()
    }

    /// A claim of every seed.
    pub fn each(
        &self,
        text: &str,
        number: impl Fn(u64) -> f64,
        range: RangeInclusive<f64>,
    ) -> Claim {
        self.seeds.each(format!("{}: {text}", self.set.name), &self.seeds(number), range)
    }

    pub fn claims(&self) -> Vec<Claim> {
        let mut claims = self.minimal();
        claims.extend(self.reference());
        claims.extend(self.rates());
        claims.extend(self.proof());
        claims.extend(self.branch());
        claims
    }

    /// What is tabulated at n: the minimum of the first seed.
    pub fn tabulated(&self, problem: &str) -> Points {
        self.over(Part::Network, problem, self.seeds.first, |row| row.energy)
    }

    /// The largest or least of something relative to what is tabulated, less 1, over all n.
    pub fn beside(
        &self,
        problem: &str,
        seed: u64,
        pick: fn(f64, f64) -> f64,
        column: Column,
    ) -> f64 {
        let table = self.tabulated(problem);
        let own = self.over(Part::Network, problem, seed, column);
        if table.is_empty() || own.len() != table.len() {
            return f64::NAN;
        }
        let ratios = own.iter().zip(&table).map(|(own, table)| own.1 / table.1 - 1.0);
        ratios.fold(f64::NAN, pick)
    }

    /// All seeds find the same minima.
    fn minimal(&self) -> Vec<Claim> {
        let lowest: Column = |row| {
            let all = [row.energy, row.from_starts, row.from_depths, row.from_limit];
            all.into_iter().collect::<Option<Vec<f64>>>()?.into_iter().reduce(f64::min)
        };
        let limit = |seed| self.one(Part::Limit, BASE.name, seed, |row| row.energy);
        let first = limit(self.seeds.first);
        let hits = |seed| {
            let reached =
                self.over(Part::Network, BASE.name, seed, |row| Some(row.reached? as f64));
            reached.into_iter().map(|point| point.1).sum()
        };
        vec![
            self.each(
                "no start, prolongation or restriction ends below the tabulated minimum at any n: the \
                 lowest of all by it, less 1",
                |seed| self.beside(BASE.name, seed, f64::min, lowest),
                -LOWER..=f64::INFINITY,
            ),
            self.each(
                "the search finds the tabulated minimum at every n: its largest by it, less 1",
                |seed| self.beside(BASE.name, seed, f64::max, |row| row.energy),
                -LOWER..=LOWER,
            ),
            self.each(
                "starts that come to the minimum by themselves, over all n",
                hits,
                HITS..=f64::INFINITY,
            ),
            self.each(
                "the limit found from starts of its own is the same: E_∞ by that of the first seed, less 1",
                |seed| limit(seed) / first - 1.0,
                -LOWER..=LOWER,
            ),
            self.each(
                "limits from the networks of all n do not end below it: the lowest by it, less 1",
                |seed| self.one(Part::Limit, BASE.name, seed, |row| row.missed),
                -LOWER..=f64::INFINITY,
            ),
        ]
    }

    /// The limit is what it is said to be, and better known than any network is near.
    fn reference(&self) -> Vec<Claim> {
        let least =
            |points: Points| points.into_iter().map(|point| point.1).fold(f64::NAN, f64::min);
        let coarse = |seed, column: Column| self.one(Part::Coarse, BASE.name, seed, column);
        let norms = |seed| {
            let parts = [Part::Network, Part::Limit, Part::Coarse];
            let rows = parts.into_iter().flat_map(|part| self.of(part, BASE.name, seed));
            largest(rows.map(|row| row.gradient_norm.unwrap_or(f64::NAN)))
        };
        let steepness = |seed| self.one(Part::Limit, BASE.name, seed, |row| row.steepness).sqrt();
        let energy = |part, seed| self.one(part, BASE.name, seed, |row| row.energy);
        vec![
            self.each("largest ‖∇E‖ of all minima and of the limit", norms, 0.0..=TOLERANCES[1]),
            self.each(
                "least eigenvalue of the limit's second derivative (it is a non-degenerate minimum)",
                |seed| coarse(seed, |row| row.curvature),
                1e-6..=f64::INFINITY,
            ),
            self.each(
                "L² distance of the limits of degree 20 with 640 steps and of half of both, over the \
                 least distance of a network",
                |seed| {
                    let networks = self.over(Part::Network, BASE.name, seed, |row| row.affine);
                    coarse(seed, |row| row.constant) / least(networks)
                },
                0.0..=0.05,
            ),
            self.each(
                "difference of their energies, over the least |min E_n − E_∞|",
                |seed| {
                    let apart = (energy(Part::Coarse, seed) - energy(Part::Limit, seed)).abs();
                    apart / least(self.gaps(BASE.name, seed, |row| row.energy))
                },
                0.0..=0.05,
            ),
            self.each(
                "largest residual of the limit in the Euler–Lagrange equation, over the largest force \
                 in it",
                |seed| coarse(seed, |row| Some(row.equation? / row.force?)),
                0.0..=0.02,
            ),
            self.each(
                "the limit in its natural conditions K'(0) = τ K(0), K'(1) = 0 and the same of b: the \
                 larger failure over (∫ ‖θ'‖² ds)^½",
                |seed| coarse(seed, |row| Some(row.first_end?.max(row.last_end?))) / steepness(seed),
                0.0..=0.01,
            ),
        ]
    }

    /// The exponent of n, fitted to the largest n.
    pub fn exponent(points: &[(f64, f64)]) -> f64 {
        Slope::fit(&points[points.len().saturating_sub(FITTED)..]).value
    }

    /// A claim about an exponent of n.
    fn rate(
        &self,
        what: &str,
        source: &str,
        points: impl Fn(u64) -> Points,
        [exponent, off]: [f64; 2],
    ) -> Claim {
        let text = format!("{what}: exponent of n ({source})");
        let range = exponent - off..=exponent + off;
        self.each(&text, |seed| Self::exponent(&points(seed)), range)
    }

    fn rates(&self) -> Vec<Claim> {
        let networks =
            |column: Column| move |seed| self.over(Part::Network, BASE.name, seed, column);
        let limit = format!("→ 0 {PAPER}; {RATE}");
        let excess = |seed| {
            self.over(Part::Network, BASE.name, seed, |row| Some(row.recovery? - row.energy?))
        };
        let mut claims = vec![
            self.rate(
                "min E_n − E_∞",
                &limit,
                |seed| self.gaps(BASE.name, seed, |row| row.energy),
                [-1.0, 0.05],
            ),
            self.rate(
                "E_n of the network sampled from the limit, less E_∞",
                &format!("→ 0, a recovery sequence, {PAPER}"),
                |seed| self.gaps(BASE.name, seed, |row| row.recovery),
                [-1.0, 0.1],
            ),
            self.rate(
                "the same, less min E_n, which it is never below",
                "own: 1/n², E_n is flat at its minimiser, 1/n away",
                excess,
                [-2.0, 0.1],
            ),
        ];
        for (what, column) in DISTANCES {
            let what = format!("to the limit, {what}");
            claims.push(self.rate(&what, &limit, networks(column), [-1.0, 0.05]));
        }
        for (what, column) in RESIDUALS {
            claims.push(self.rate(what, RATE, networks(column), [-1.0, 0.05]));
        }
        let bounded = format!("bounded, and so they converge uniformly, {PAPER}");
        claims.push(self.rate(
            "∫ ‖θ'‖² ds of the minimisers",
            &bounded,
            networks(|row| row.steepness),
            [0.0, 0.05],
        ));
        claims
    }

    /// What the rate rests on.
    fn proof(&self) -> Vec<Claim> {
        vec![
            self.rate(
                "‖∇E_n‖ at the network sampled from the limit, in the variables of the penalty",
                "own: the limit's equation holds to 1/n, on which the rate rests",
                |seed| self.over(Part::Network, BASE.name, seed, |row| row.consistency),
                [-1.0, 0.1],
            ),
            self.each(
                "distance of the minimiser from that network in these variables, over ‖∇E_n‖ there by \
                 the least eigenvalue at the limit, largest n (own: at most 1 in the limit)",
                |seed| {
                    let least = self.one(Part::Coarse, BASE.name, seed, |row| row.curvature);
                    let ratios = self.over(Part::Network, BASE.name, seed, |row| {
                        Some(row.moved? / row.consistency? * least)
                    });
                    ratios.last().map_or(f64::NAN, |point| point.1)
                },
                0.0..=1.1,
            ),
        ]
    }

    /// Another local minimum of the limit has a branch of networks of its own.
    fn branch(&self) -> Vec<Claim> {
        let at = |seed, column: Column| self.one(Part::Branch, BASE.name, seed, column);
        let over = |seed, column: Column| self.over(Part::Branch, BASE.name, seed, column);
        let gap = |seed| {
            let energy = at(seed, |row| row.energy);
            let points = over(seed, |row| row.energy);
            points.into_iter().map(|(n, e)| (n, (e - energy).abs())).collect()
        };
        vec![
            self.each(
                "another local minimum of E_∞: its energy by the lowest, less 1 (it is another one)",
                |seed| {
                    let lowest = self.one(Part::Limit, BASE.name, seed, |row| row.energy);
                    at(seed, |row| row.energy) / lowest - 1.0
                },
                LOWER..=f64::INFINITY,
            ),
            self.each(
                "least eigenvalue of the second derivative there",
                |seed| at(seed, |row| row.curvature),
                1e-6..=f64::INFINITY,
            ),
            self.rate("energies of the branch of local minima at it", RATE, gap, [-1.0, 0.05]),
            self.rate(
                "L² distance of that branch to it, constant over each layer",
                RATE,
                |seed| over(seed, |row| row.constant),
                [-1.0, 0.05],
            ),
        ]
    }
}

pub fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.reduce(larger).unwrap_or(f64::NAN)
}
