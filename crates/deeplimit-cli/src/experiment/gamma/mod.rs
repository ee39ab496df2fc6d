//! The variational problem of Thorpe and van Gennip (2018, 2023): do minimisers have a deep limit?
//!
//! ```text
//! x_{i+1} = x_i + (1/n) tanh(K_i x_i + b_i)
//! E_n = (1/S) Σ ‖tanh(W x_n + c) − y‖² + a₁ [ n Σ ‖K_i − K_{i−1}‖² + τ ‖K_0‖² ] + a₂ [ same of b ]
//!       + a₃ ‖W‖² + a₄ ‖c‖²
//! ```
//!
//! At every n the lowest minimum is looked for from many random starts, from the minima of other n and from
//! limits, and held against the limit's, which the Ritz method gives from starts of its own; so with every
//! seed. What is measured are energies, distances in L² and H¹, the Euler–Lagrange equation, energies along
//! sequences that converge to a function, and other problems of the kind. In contrast networks from
//! independent starts with weight decay in place of the penalty, and without any.

mod data;
mod figures;
mod findings;
mod liminf;
mod measure;
mod others;
mod search;
#[cfg(test)]
mod tests;
mod variants;

use super::{Experiment, Findings, Seeds, Size};
use crate::page::Text;
use anyhow::Result;
use data::Set;
use search::Starts;
use serde::{Deserialize, Serialize};
use std::path::Path;
use variants::{BASE, OTHERS, RIGHT, Variant, World};

/// The experiment.
pub struct Gamma {
    sets: Vec<Set>,
    /// n of the minimisers; each twice the one before.
    depths: Vec<usize>,
    starts: Starts,
    /// The other problems, and the same of them.
    problems: Vec<Variant>,
    others_at: Vec<usize>,
    others_starts: Starts,
    /// n along sequences.
    sequences_at: Vec<usize>,
    /// n of the networks without the penalty of differences, and their starts.
    contrast_at: Vec<usize>,
    contrast_starts: usize,
    /// n of which the weights are shown.
    shown: Vec<usize>,
    seeds: Seeds,
    world: World,
}

/// Weight decays of the contrast; 0 is no penalty at all.
const DECAYS: [f64; 5] = [0.0005, 0.002, 0.008, 0.2, 0.0];

/// What is measured at once, of the set of that number and with a seed.
pub enum Case {
    /// Minimisers over all n and their limit.
    Minima(usize, Variant, u64),
    /// Energies along sequences.
    Sequences(usize, u64),
    /// Networks from independent starts with weight decay of that strength.
    Contrast(usize, f64, u64),
}

/// What a row is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The lowest network of n layers.
    #[default]
    Network,
    /// The lowest limit.
    Limit,
    /// The limit with half the degree and steps; `constant` is its L² distance to the finer one, residuals
    /// are those of the finer one.
    Coarse,
    /// Another local minimum of the limit (without `layers`), and the branch of networks at it.
    Branch,
    /// A network of a sequence.
    Sequence,
    /// The same with a penalty without its factor n.
    Wrong,
    /// A network from a random start, without the penalty of differences.
    Start,
    /// Two such networks; `constant` is the L² distance of their controls.
    Pair,
    /// A weight at one depth.
    Control,
}

/// What was measured of a minimiser, of two, or at one depth. All numbers are without units; norms are
/// over all numbers of K and b together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    set: String,
    part: Part,
    problem: String,
    seed: u64,
    /// n; none for the limit.
    layers: Option<usize>,
    /// Weight decay; none with the penalty of differences.
    alpha: Option<f64>,
    /// Which random start, and that of the second network of a pair.
    start: Option<usize>,
    other: Option<usize>,
    sequence: String,
    /// The objective.
    energy: Option<f64>,
    misfit: Option<f64>,
    /// In the variables of the penalty.
    gradient_norm: Option<f64>,
    /// Evaluations of the objective with its gradient.
    evaluations: Option<usize>,
    /// Random starts, and those that came to the minimum.
    starts: Option<usize>,
    reached: Option<usize>,
    /// The lowest energies from random starts, from other n, and from limits.
    from_starts: Option<f64>,
    from_depths: Option<f64>,
    from_limit: Option<f64>,
    /// The lowest energy of limits from networks over that from starts, less 1.
    missed: Option<f64>,
    /// ∫ ‖θ'‖² ds of the control, affine between its nodes.
    steepness: Option<f64>,
    /// max ‖θ_i − θ(i/n)‖ to the limit.
    nodal: Option<f64>,
    /// L² distance to the limit, of the control constant over each layer.
    constant: Option<f64>,
    /// L² distance to the limit, of the control affine between its nodes.
    affine: Option<f64>,
    /// H¹ distance to the limit: L² of the derivative.
    derivative: Option<f64>,
    /// ‖(W, c) − (W, c) of the limit‖.
    readout: Option<f64>,
    /// Largest residual of the Euler–Lagrange equation.
    equation: Option<f64>,
    /// The largest force in it.
    force: Option<f64>,
    /// ‖θ'(0) − τ θ(0)‖.
    first_end: Option<f64>,
    /// ‖θ'(1)‖.
    last_end: Option<f64>,
    /// The objective of the network sampled from the limit, ‖∇E_n‖ there in the variables of the penalty,
    /// and the distance of the minimiser from it in these.
    recovery: Option<f64>,
    consistency: Option<f64>,
    moved: Option<f64>,
    /// The least eigenvalue of the limit's second derivative.
    curvature: Option<f64>,
    /// E_∞ of the function that a sequence converges to, and the misfit in it.
    limit_energy: Option<f64>,
    limit_misfit: Option<f64>,
    /// Of a sequence: its penalty less that of the limit, by α.
    excess: Option<f64>,
    /// s = i/n.
    depth: Option<f64>,
    /// The first number of K there.
    entry: Option<f64>,
}

#[derive(Serialize)]
pub struct Settings {
    sets: Vec<String>,
    /// Of inputs and targets: a folder goes on only with the samples that it began with.
    checksums: Vec<String>,
    samples: Vec<usize>,
    widths: Vec<usize>,
    seeds: u64,
    depths: Vec<usize>,
    starts: Starts,
    problems: Vec<&'static str>,
    problems_at: Vec<usize>,
    problems_starts: Starts,
    sequences_at: Vec<usize>,
    decays: [f64; 5],
    decays_at: Vec<usize>,
    decays_starts: usize,
    readout: f64,
    tolerance: f64,
}

impl Gamma {
    /// The sizes of the command line; the real set is a table, or built in.
    ///
    /// # Errors
    /// If the table cannot be used.
    pub fn new(size: Size, table: Option<&Path>, seeds: Seeds) -> Result<Self> {
        let powers = |from: u32, last: u32| (from..=last).map(|power| 1 << power).collect();
        let starts = |layers, least, limit| Starts { layers, least, limit };
        Ok(Self {
            sets: vec![data::moons(), data::real(table)?],
            depths: powers(2, size.pick(8, 9)),
            starts: size.pick(starts(8000, 16, 1000), starts(16_000, 500, 2000)),
            problems: size.pick(&OTHERS[..OTHERS.len() - 1], &OTHERS[..]).to_vec(),
            others_at: powers(3, size.pick(6, 7)),
            others_starts: size.pick(starts(2000, 8, 150), starts(4000, 50, 500)),
            sequences_at: (3..=size.pick(7, 8)).map(|power| 1 << (2 * power)).collect(),
            contrast_at: powers(3, size.pick(6, 7)),
            contrast_starts: size.pick(6, 8),
            shown: vec![8, 64],
            seeds,
            world: RIGHT,
        })
    }
}

impl Experiment for Gamma {
    type Case = Case;
    type Row = Row;
    type Settings = Settings;

    const NAME: &'static str = "gamma";

    fn title(&self) -> (Text, Text) {
        let about = "Networks x + tanh(Kx + b)/n fitted to two sets of samples with a penalty of the \
                     differences from layer to layer (Thorpe, van Gennip 2018, 2023). Do the lowest minima \
                     that many starts find have a limit as functions of depth, is it the lowest found of \
                     the continuous problem, and how fast is it approached? And without that penalty?";
        ("The deep limit of minimisers".into(), about.into())
    }

    fn settings(&self) -> Settings {
        Settings {
            sets: self.sets.iter().map(|set| set.name.clone()).collect(),
            checksums: self.sets.iter().map(Set::checksum).collect(),
            samples: self.sets.iter().map(|set| set.inputs.rows()).collect(),
            widths: self.sets.iter().map(|set| set.inputs.width()).collect(),
            seeds: self.seeds.count,
            depths: self.depths.clone(),
            starts: self.starts,
            problems: self.problems.iter().map(|variant| variant.name).collect(),
            problems_at: self.others_at.clone(),
            problems_starts: self.others_starts,
            sequences_at: self.sequences_at.clone(),
            decays: DECAYS,
            decays_at: self.contrast_at.clone(),
            decays_starts: self.contrast_starts,
            readout: variants::READOUT,
            tolerance: search::TOLERANCES[1],
        }
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for (index, set) in self.sets.iter().enumerate() {
            for seed in self.seeds.all() {
                cases.push(Case::Minima(index, BASE, seed));
                cases.push(Case::Sequences(index, seed));
                let others = self.problems.iter().filter(|variant| variant.is_other(set));
                cases.extend(others.map(|variant| Case::Minima(index, *variant, seed)));
                cases.extend(DECAYS.map(|alpha| Case::Contrast(index, alpha, seed)));
            }
        }
        cases
    }

    fn key(&self, case: &Case) -> String {
        let name = |index: usize| &self.sets[index].name;
        match *case {
            Case::Minima(index, variant, seed) => {
                format!("{}, {}, seed {seed}", name(index), variant.name)
            }
            Case::Sequences(index, seed) => format!("{}, sequences, seed {seed}", name(index)),
            Case::Contrast(index, alpha, seed) => {
                format!("{}, weight decay {alpha}, seed {seed}", name(index))
            }
        }
    }

    fn measure(&self, case: &Case, _scratch: &Path) -> Result<Vec<Row>> {
        measure::measure(self, case)
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        let (mut claims, mut sections) = (Vec::new(), Vec::new());
        for set in &self.sets {
            let rows = rows.iter().filter(|row| row.set == set.name).collect();
            let measured =
                findings::Measured { rows, set, problems: &self.problems, seeds: self.seeds };
            claims.extend(measured.claims());
            claims.extend(measured.other_claims());
            sections.extend(measured.sections()?);
        }
        Ok(Findings { claims, sections })
    }
}
