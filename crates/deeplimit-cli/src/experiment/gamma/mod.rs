//! The variational problem of Thorpe and van Gennip (2018, 2023): do minimisers have a deep limit?
//!
//! ```text
//! x_{i+1} = x_i + (1/n) tanh(K_i x_i + b_i)
//! E_n = (1/S) Σ ‖tanh(W x_n + c) − y‖² + a₁ [ n Σ ‖K_i − K_{i−1}‖² + τ ‖K_0‖² ] + a₂ [ same of b ]
//!       + a₃ ‖W‖² + a₄ ‖c‖²
//! ```
//!
//! A branch of minimisers is followed from few layers to many and held against the limit's minimiser,
//! which the Ritz method gives; what is measured are energies, distances in L² and H¹, the Euler–Lagrange
//! equation, and the energies of networks sampled from the limit. In contrast minimisers from
//! independent starts, with this penalty, with weight decay in its place, and without any.

mod data;
mod figures;
mod findings;
mod measure;

use super::{Experiment, Findings, Size};
use crate::page::Text;
use anyhow::Result;
use data::Set;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The experiment.
pub struct Gamma {
    sets: Vec<Set>,
    /// n of the branch; each twice the one before.
    depths: Vec<usize>,
    /// n of the minimisers from independent starts.
    rough: Vec<usize>,
    /// Independent starts.
    starts: usize,
    /// n of which the weights are shown.
    shown: Vec<usize>,
    seed: u64,
}

/// What is penalised beside the misfit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Penalised {
    /// Differences from layer to layer.
    #[default]
    Smooth,
    /// Weights.
    Decay,
    /// Nothing.
    Nothing,
}

impl Penalised {
    const ALL: [Self; 3] = [Self::Smooth, Self::Decay, Self::Nothing];

    fn name(self) -> &'static str {
        match self {
            Self::Smooth => "differences",
            Self::Decay => "weight decay",
            Self::Nothing => "no penalty",
        }
    }
}

/// What is measured at once, of the set of that number.
pub enum Case {
    /// A branch over all n and its limit.
    Branch(usize),
    /// Minimisers of so many layers from independent starts.
    Starts(usize, Penalised, usize),
}

/// What a row is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// A network of the branch.
    #[default]
    Network,
    /// The limit.
    Limit,
    /// The limit with half the degree and steps; `constant` is its L² distance to the finer one.
    Coarse,
    /// A minimiser from a random start.
    Start,
    /// Two such minimisers; `constant` is the L² distance of their controls.
    Pair,
    /// A weight at one depth.
    Control,
}

/// What was measured of a minimiser, of two, or at one depth. All numbers are without units; norms are
/// over all numbers of K and b together.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Row {
    set: String,
    part: Part,
    penalised: Penalised,
    /// n; none for the limit.
    layers: Option<usize>,
    /// Which random start.
    start: Option<usize>,
    /// The start of the second network of a pair.
    other: Option<usize>,
    /// The objective.
    energy: Option<f64>,
    misfit: Option<f64>,
    /// In the variables of the penalty.
    gradient_norm: Option<f64>,
    /// Evaluations of the objective with its gradient.
    evaluations: Option<usize>,
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
    /// The objective of the network sampled from the limit.
    recovery: Option<f64>,
    /// The least eigenvalue of the limit's second derivative.
    curvature: Option<f64>,
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
    depths: Vec<usize>,
    starts: usize,
    starts_at: Vec<usize>,
    tau: f64,
    penalties: [f64; 2],
    tolerance: f64,
}

impl Gamma {
    /// The sizes of the command line; the real set is a table, or built in.
    ///
    /// # Errors
    /// If the table cannot be used.
    pub fn new(size: Size, table: Option<&Path>, seed: u64) -> Result<Self> {
        let powers = |last: u32| (2..=last).map(|power| 1 << power).collect();
        Ok(Self {
            sets: vec![data::moons(), data::real(table)?],
            depths: powers(size.pick(9, 10)),
            rough: size.pick(vec![8, 16, 32, 64, 128], vec![8, 16, 32, 64, 128, 256, 512]),
            starts: size.pick(8, 12),
            shown: vec![8, 64],
            seed,
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
                     differences from layer to layer (Thorpe, van Gennip 2018, 2023). Do minimisers of \
                     growing depth have a limit as functions of depth, is it the minimiser of the \
                     continuous problem, and how fast is it approached? And without that penalty?";
        ("The deep limit of minimisers".into(), about.into())
    }

    fn settings(&self) -> Settings {
        Settings {
            sets: self.sets.iter().map(|set| set.name.clone()).collect(),
            checksums: self.sets.iter().map(Set::checksum).collect(),
            samples: self.sets.iter().map(|set| set.inputs.rows()).collect(),
            widths: self.sets.iter().map(|set| set.inputs.width()).collect(),
            depths: self.depths.clone(),
            starts: self.starts,
            starts_at: self.rough.clone(),
            tau: measure::TAU,
            penalties: measure::PENALTIES,
            tolerance: measure::TOLERANCE,
        }
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for set in 0..self.sets.len() {
            cases.push(Case::Branch(set));
            for penalised in Penalised::ALL {
                cases.extend(self.rough.iter().map(|&n| Case::Starts(set, penalised, n)));
            }
        }
        cases
    }

    fn key(&self, case: &Case) -> String {
        match *case {
            Case::Branch(set) => format!("{}, branch", self.sets[set].name),
            Case::Starts(set, penalised, layers) => {
                format!("{}, {} starts, n = {layers}", self.sets[set].name, penalised.name())
            }
        }
    }

    fn measure(&self, case: &Case, _scratch: &Path) -> Result<Vec<Row>> {
        measure::measure(self, case)
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        let (mut claims, mut sections) = (Vec::new(), Vec::new());
        for set in &self.sets {
            let measured = findings::Measured { rows, set: &set.name };
            claims.extend(measured.claims());
            sections.extend(measured.sections()?);
        }
        Ok(Findings { claims, sections })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn failing(experiment: &Gamma, rows: &[Row]) -> BTreeSet<String> {
        let claims = experiment.findings(rows).unwrap().claims;
        claims.into_iter().filter(|claim| !claim.holds).map(|claim| claim.claim).collect()
    }

    #[test]
    fn claims_hold_on_a_tiny_size_and_fail_on_wrong_rows() {
        let depths = (2..=8).map(|power| 1 << power).collect();
        let (rough, shown) = (vec![8, 16, 32, 64, 128], vec![8, 64]);
        let sets = vec![data::moons()];
        let experiment = Gamma { sets, depths, rough, starts: 6, shown, seed: 1 };
        let measure = |case: &Case| experiment.measure(case, Path::new("")).unwrap();
        let good: Vec<Row> = experiment.cases().iter().flat_map(measure).collect();
        assert_eq!(failing(&experiment, &good), BTreeSet::new());

        let mut failed = BTreeSet::new();
        let mut wrong = |count: usize, change: fn(&mut Row)| {
            let mut rows = good.clone();
            rows.iter_mut().for_each(change);
            let found = failing(&experiment, &rows);
            assert_eq!(found.len(), count, "{found:?}");
            failed.extend(found);
        };
        wrong(1, |row| {
            if row.part == Part::Network && row.layers == Some(32) {
                row.gradient_norm = Some(1e-6);
            }
        });
        // The energies of the two limits, and the gaps of minima and of samples.
        wrong(3, |row| {
            if row.part == Part::Limit {
                row.energy = row.energy.map(|e| e - 0.001);
            }
        });
        wrong(1, |row| row.curvature = row.curvature.map(|least| -least));
        wrong(1, |row| {
            if row.part == Part::Coarse {
                row.constant = Some(0.1);
            }
        });
        wrong(1, |row| {
            if row.part == Part::Limit {
                row.equation = row.force;
            }
        });
        wrong(1, |row| {
            if row.part == Part::Limit {
                row.last_end = Some(0.5);
            }
        });
        // Five distances and three residuals that stay as they are; steepness that grows.
        wrong(5 + 3 + 1, |row| {
            if let (Part::Network, Some(layers)) = (row.part, row.layers) {
                let all = [
                    &mut row.constant,
                    &mut row.affine,
                    &mut row.derivative,
                    &mut row.nodal,
                    &mut row.readout,
                    &mut row.equation,
                    &mut row.first_end,
                    &mut row.last_end,
                    &mut row.steepness,
                ];
                all.into_iter().for_each(|value| *value = value.map(|v| v * layers as f64));
            }
        });
        // Samples below the minimum, at a gap of the right rate.
        wrong(1, |row| {
            if row.part == Part::Network {
                row.recovery = row.energy.map(|e| e - 1e-12);
            }
        });
        // Starts that end at the same energy and not at the same control; a steepness without bound.
        wrong(2, |row| {
            if row.penalised == Penalised::Smooth && row.part == Part::Pair {
                row.constant = Some(1.0);
            }
            if row.penalised == Penalised::Smooth && row.part == Part::Start {
                row.steepness = row.layers.map(|layers| layers as f64);
            }
        });
        wrong(1, |row| {
            if row.penalised == Penalised::Decay && row.start == Some(3) {
                row.gradient_norm = Some(1e-3);
            }
        });
        // Without the penalty, controls that come together and are as smooth as with it.
        wrong(5, |row| {
            if let (true, Some(layers)) = (row.penalised != Penalised::Smooth, row.layers) {
                row.constant = row.constant.map(|distance| distance / (layers * layers) as f64);
                row.steepness = Some(5.0);
            }
        });
        let all = experiment.findings(&good).unwrap().claims;
        let all: BTreeSet<String> = all.into_iter().map(|claim| claim.claim).collect();
        assert_eq!(failed, all, "every claim can fail");
        assert_eq!(failing(&experiment, &[]), all, "nothing shows nothing");
    }
}
