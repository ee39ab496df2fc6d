//! What other problems, sequences of networks, and networks with weight decay show.

use super::findings::{Column, Measured, Points, largest};
use super::liminf::Sequence;
use super::search::LOWER;
use super::variants::{BASE, Variant};
use super::{DECAYS, Part, Row};
use crate::experiment::{smaller, within};
use crate::page::Claim;
use deeplimit::limit::Slope;

/// Networks from independent starts are compared from this n on: with few layers there are few minima,
/// and two starts can come to the same one whatever is penalised.
pub const APART_FROM: usize = 32;

/// Weight decay from which on all starts end at one network.
pub const STRONG: f64 = 0.1;

/// By how much energies of seeds may differ where there are kinks, at which descents stop short.
const KINKED: f64 = 0.01;

impl<'a> Measured<'a> {
    pub fn other_claims(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        for variant in self.problems.iter().filter(|variant| variant.is_other(self.set)) {
            claims.extend(self.variant(variant));
        }
        claims.extend(self.sequences());
        claims.extend(self.contrast());
        claims
    }

    /// The seed whose limit is the lowest, of all seeds that measured one.
    pub fn best(&self, problem: &str) -> u64 {
        let energy = |seed: &u64| self.one(Part::Limit, problem, *seed, |row| row.energy);
        let all = self.seeds.all().filter(|seed| !energy(seed).is_nan());
        all.min_by(|a, b| energy(a).total_cmp(&energy(b))).unwrap_or(self.seeds.first)
    }

    /// Another problem: the lowest of all seeds, and the share of starts that agree stands in the table.
    fn variant(&self, variant: &Variant) -> Vec<Claim> {
        let name = variant.name;
        let best = self.best(name);
        let exponent =
            |column: Column| Self::exponent(&self.over(Part::Network, name, best, column));
        let (apart, off) = if variant.is_smooth() { (LOWER, 0.15) } else { (KINKED, 0.5) };
        let lowest = self.seeds(|seed| self.below(name, best, seed));
        let claim = |text: &str, measured: f64, range| {
            within(format!("{}: {name}: {text}", self.set.name), measured, range)
        };
        let mut claims = vec![
            claim(
                "networks of no seed are below those of the seed with the lowest limit: the lowest by them, \
                 less 1",
                lowest.into_iter().reduce(smaller).unwrap_or(f64::NAN),
                -apart..=f64::INFINITY,
            ),
            claim(
                "min E_n − E_∞: exponent of n (→ 0 Thorpe, van Gennip (2018, 2023))",
                Self::exponent(&self.gaps(name, best, |row| row.energy)),
                -1.0 - off..=-1.0 + off,
            ),
            claim(
                "∫ ‖θ'‖² ds of the minimisers: exponent of n (bounded)",
                exponent(|row| row.steepness),
                -0.35..=0.35,
            ),
        ];
        if variant.is_smooth() {
            claims.push(claim(
                "L² distance to the limit, constant over each layer: exponent of n",
                exponent(|row| row.constant),
                -1.0 - off..=-1.0 + off,
            ));
        }
        claims
    }

    /// The least of a seed's minima by those of another, less 1, over all n.
    fn below(&self, problem: &str, best: u64, seed: u64) -> f64 {
        let [own, table] =
            [seed, best].map(|seed| self.over(Part::Network, problem, seed, |row| row.energy));
        if own.is_empty() || own.len() != table.len() {
            return f64::NAN;
        }
        own.iter().zip(&table).map(|(own, table)| own.1 / table.1 - 1.0).fold(f64::NAN, f64::min)
    }

    /// The last network of a sequence.
    pub fn last(&self, part: Part, sequence: Sequence, seed: u64) -> Option<&'a Row> {
        let rows = self.of(part, BASE.name, seed);
        rows.filter(|row| row.sequence == sequence.name()).max_by_key(|row| row.layers)
    }

    /// (E_n(θ_n) − E_∞(θ))/E_∞(θ) at the largest n, the least over all sequences that converge to θ.
    pub fn liminf(&self, part: Part, seed: u64) -> f64 {
        let converging = Sequence::ALL.into_iter().filter(|of| of.excess().is_finite());
        let gap = |of: Sequence| {
            let row = self.last(part, of, seed)?;
            Some(row.energy? / row.limit_energy? - 1.0)
        };
        converging.map(|of| gap(of).unwrap_or(f64::NAN)).reduce(smaller).unwrap_or(f64::NAN)
    }

    /// The liminf inequality.
    fn sequences(&self) -> Vec<Claim> {
        let mut claims = vec![
            self.each(
                "liminf E_n(θ_n) ≥ E_∞(θ) along θ_n → θ that oscillate, jump or converge weakly (Thorpe, van \
                 Gennip): the least of E_n(θ_n)/E_∞(θ) − 1 at the largest n",
                |seed| self.liminf(Part::Sequence, seed),
                -2e-3..=f64::INFINITY,
            ),
            self.each(
                "control: with a penalty without its factor n the inequality fails; the same number",
                |seed| self.liminf(Part::Wrong, seed),
                f64::NEG_INFINITY..=-2e-3,
            ),
        ];
        for sequence in Sequence::ALL {
            let (name, theory) = (sequence.name(), sequence.excess());
            if !theory.is_finite() {
                let text = format!(
                    "{name}: θ has no derivative, E_∞(θ) = ∞; exponent of n of the penalty (own: 1)"
                );
                claims.push(self.each(
                    &text,
                    |seed| {
                        let rows = self.of(Part::Sequence, BASE.name, seed);
                        let rows = rows.filter(|row| row.sequence == name);
                        let points = rows.filter_map(|row| Some((row.layers? as f64, row.excess?)));
                        Self::exponent(&points.collect::<Points>())
                    },
                    0.9..=1.1,
                ));
                continue;
            }
            let text = format!(
                "{name}: penalty of θ_n less that of θ, by α c², at the largest n (own: {theory})"
            );
            let excess = |seed| {
                self.last(Part::Sequence, sequence, seed).and_then(|r| r.excess).unwrap_or(f64::NAN)
            };
            claims.push(self.each(&text, excess, theory - 0.1..=theory + 0.1));
        }
        claims
    }

    /// Rows of networks with weight decay.
    pub fn decaying(&self, part: Part, alpha: f64, seed: u64) -> Vec<&'a Row> {
        let rows = self.of(part, BASE.name, seed);
        rows.filter(|row| row.alpha == Some(alpha)).collect()
    }

    /// Numbers of those from an n on.
    fn deep(&self, part: Part, alpha: f64, seed: u64, column: Column) -> Vec<f64> {
        let rows = self.decaying(part, alpha, seed).into_iter();
        let rows = rows.filter(|row| row.layers.is_some_and(|n| n >= APART_FROM));
        rows.filter_map(column).collect()
    }

    /// (n, geometric mean over the networks, or over their pairs).
    pub fn means(&self, part: Part, alpha: f64, seed: u64, column: Column) -> Points {
        let rows = self.decaying(part, alpha, seed);
        let mut layers: Vec<usize> = rows.iter().filter_map(|row| row.layers).collect();
        layers.dedup();
        let mean = |n: usize| {
            let rows = rows.iter().filter(|row| row.layers == Some(n));
            let logs: Vec<f64> = rows.filter_map(|row| column(row)).map(f64::ln).collect();
            (n as f64, (logs.iter().sum::<f64>() / logs.len() as f64).exp())
        };
        layers.into_iter().map(mean).collect()
    }

    /// The least and the largest L² distance of two networks with weight decay, from an n on.
    pub fn distances(&self, alpha: f64, seed: u64) -> [f64; 2] {
        let all = self.deep(Part::Pair, alpha, seed, |row| row.constant);
        [all.iter().copied().fold(f64::NAN, f64::min), largest(all.into_iter())]
    }

    fn contrast(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        for alpha in DECAYS.into_iter().filter(|alpha| *alpha > 0.0) {
            claims.push(self.each(
                &format!("weight decay {alpha}: largest ‖∇E‖ of all networks"),
                |seed| {
                    let rows = self.decaying(Part::Start, alpha, seed).into_iter();
                    largest(rows.map(|row| row.gradient_norm.unwrap_or(f64::NAN)))
                },
                0.0..=1e-6,
            ));
            if alpha >= STRONG {
                claims.push(self.each(
                    &format!(
                        "weight decay {alpha}, so strong that hardly a weight is left: largest L² distance \
                         of two networks, n ≥ 32 (own: all starts end at one)"
                    ),
                    |seed| self.distances(alpha, seed)[1],
                    0.0..=1e-4,
                ));
                continue;
            }
            claims.push(self.each(
                &format!(
                    "weight decay {alpha}: least L² distance of two networks from independent starts, n ≥ 32"
                ),
                |seed| self.distances(alpha, seed)[0],
                0.5..=f64::INFINITY,
            ));
            claims.push(self.each(
                &format!("weight decay {alpha}: exponent of n of ∫ ‖θ'‖² ds (own: 2, layers are independent)"),
                |seed| {
                    let points = self.means(Part::Start, alpha, seed, |row| row.steepness);
                    Slope::fit(&points).value
                },
                1.6..=2.4,
            ));
        }
        claims.push(self.each(
            "no penalty: least L² distance of two networks from independent starts, n ≥ 32",
            |seed| self.distances(0.0, seed)[0],
            1.0..=f64::INFINITY,
        ));
        claims.push(self.each(
            "no penalty: least ∫ ‖θ'‖² ds of a network by the largest of a minimiser with the penalty of \
             differences, n ≥ 32",
            |seed| {
                let rough = self.deep(Part::Start, 0.0, seed, |row| row.steepness);
                let smooth = self.over(Part::Network, BASE.name, seed, |row| row.steepness);
                let most = largest(smooth.into_iter().map(|point| point.1));
                rough.into_iter().fold(f64::NAN, f64::min) / most
            },
            10.0..=f64::INFINITY,
        ));
        claims
    }
}
