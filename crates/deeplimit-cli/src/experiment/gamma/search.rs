//! The search for minimisers of every depth, and for that of the limit.

use deeplimit::objective::variational::{
    Continuum, Discrete, Effort, Found, Limit, Minimum, Network, Objective, Problem, ProblemError,
    descend, lowest, minimise,
};
use deeplimit::seed::derive;
use rayon::prelude::*;
use serde::Serialize;

/// Share of an energy by which two minima must differ to be told apart, after a rough descent.
pub const APART: f64 = 1e-6;

/// Share of an energy that counts as lower, of exact minima.
pub const LOWER: f64 = 1e-8;

/// 2-norms of the gradient at which rough and exact descents end.
pub const TOLERANCES: [f64; 2] = [1e-5, 1e-9];

/// Iterations of L-BFGS at most; where there are kinks, which it is not done with by itself.
const ITERATIONS: u64 = 3000;
const KINKED: u64 = 100;

/// Degree and Runge–Kutta steps: of the limit, of a coarser one that shows its error, of the one that
/// starts descend on, and of the one that their lowest ends are compared on.
pub const FINE: (usize, usize) = (20, 640);
pub const COARSE: (usize, usize) = (10, 320);
const MIDDLE: (usize, usize) = (10, 40);
const SCREEN: (usize, usize) = (6, 8);

/// A random start is affine between so many nodes, of so many times the size of `Network::random`.
const NODES: [usize; 2] = [1, 16];
const SIZES: [f64; 4] = [1.0, 2.0, 4.0, 8.0];

/// Different minima that are polished at every depth, and limits that are followed.
const KEPT: usize = 6;
const FOLLOWED: usize = 2;

/// Passes in which better minima are carried to other depths.
const PASSES: usize = 6;

/// Nodes of the networks that carry a control to other degrees.
const CARRIED: usize = 256;

/// What minimisers are looked for with.
pub struct Search<'p> {
    /// The problem at every depth: one, but in a control experiment.
    pub problems: Vec<(usize, Problem)>,
    /// That of the limit.
    pub problem: &'p Problem,
    pub starts: Starts,
    /// Whether ∇E has a derivative: if not, no Newton steps are tried, and there is no place where it is 0.
    pub is_smooth: bool,
    pub seed: u64,
}

/// How many random starts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Starts {
    /// Starts times layers at every depth: shallow networks have more starts.
    pub layers: u64,
    /// Starts at least.
    pub least: u64,
    /// Those of the limit.
    pub limit: u64,
}

impl Starts {
    pub fn at(&self, layers: usize) -> u64 {
        (self.layers / layers as u64).max(self.least)
    }
}

/// Minima of the limit, the lowest first.
pub type Limits<'p> = Vec<(Limit<'p>, Minimum)>;

/// The lowest network of a depth, and what it was found from.
pub struct Lowest {
    pub layers: usize,
    pub minimum: Minimum,
    /// Lowest energies from starts, from networks of other depths, and from limits.
    pub from: [f64; 3],
    /// Starts that came to the minimum.
    pub reached: usize,
}

/// A random network of some depth.
fn random(problem: &Problem, layers: usize, seed: u64, index: u64) -> Network {
    let nodes = NODES[index as usize % NODES.len()].min(layers);
    let size = SIZES[index as usize / NODES.len() % SIZES.len()];
    let mut network = Network::random(problem, nodes, derive(seed, index));
    network.control.values_mut().iter_mut().flat_map(|v| v.iter_mut()).for_each(|v| *v *= size);
    network.prolonged(layers)
}

impl<'p> Search<'p> {
    fn iterations(&self) -> u64 {
        if self.is_smooth { ITERATIONS } else { KINKED }
    }

    fn effort(&self, starts: u64) -> Effort {
        let (iterations, newton) = (self.iterations(), self.is_smooth);
        Effort { starts, kept: KEPT, tolerances: TOLERANCES, iterations, newton }
    }

    /// Exactly to the minimum near a point.
    pub fn exact<O: Objective>(&self, objective: &O, start: &[f64]) -> Minimum {
        match self.is_smooth {
            true => minimise(objective, start, TOLERANCES[1], ITERATIONS),
            false => descend(objective, start, TOLERANCES[1], 2 * KINKED),
        }
    }

    /// The lowest limits from starts of their own.
    ///
    /// # Errors
    /// If the problem has no limit.
    pub fn limits(&self) -> Result<(Limits<'p>, Found), ProblemError> {
        let screen = Continuum::new(self.problem, SCREEN.0, SCREEN.1)?;
        let fine = Continuum::new(self.problem, FINE.0, FINE.1)?;
        let seed = derive(self.seed, 0);
        let start = |index| screen.variables(&random(self.problem, CARRIED, seed, index));
        let found = lowest(&screen, start, &self.effort(self.starts.limit), APART);
        let middle = Continuum::new(self.problem, MIDDLE.0, MIDDLE.1)?;
        let raised = |from: &Continuum<'p>, to: &Continuum<'p>, minimum: &Minimum| {
            self.exact(to, &to.variables(&from.limit(&minimum.variables).sampled(CARRIED)))
        };
        let mut better: Vec<Minimum> =
            found.minima.par_iter().map(|minimum| raised(&screen, &middle, minimum)).collect();
        better.sort_by(|a, b| a.energy.total_cmp(&b.energy));
        better.dedup_by(|next, kept| next.energy - kept.energy <= APART * kept.energy);
        better.truncate(FOLLOWED);
        let exact = |minimum: &Minimum| {
            let start = fine.variables(&middle.limit(&minimum.variables).sampled(CARRIED));
            let minimum = self.exact(&fine, &start);
            (fine.limit(&minimum.variables), minimum)
        };
        let mut limits: Limits<'p> = better.par_iter().map(exact).collect();
        limits.sort_by(|a, b| a.1.energy.total_cmp(&b.1.energy));
        Ok((limits, found))
    }

    /// The lowest network of every depth: from random starts, from the lowest of every other depth, and
    /// from limits.
    pub fn networks(&self, limits: &[(Limit<'p>, Minimum)]) -> Vec<Lowest> {
        let from_starts = |(layers, problem): &(usize, Problem)| {
            let networks = Discrete::new(problem, *layers);
            let seed = derive(self.seed, *layers as u64);
            let start = |index| networks.variables(&random(problem, *layers, seed, index));
            let effort = Effort { kept: 1, ..self.effort(self.starts.at(*layers)) };
            let found = lowest(&networks, start, &effort, APART);
            let minimum = found.minima[0].clone();
            let from = [minimum.energy, f64::INFINITY, f64::INFINITY];
            (Lowest { layers: *layers, minimum, from, reached: 0 }, found)
        };
        let (mut all, found): (Vec<Lowest>, Vec<Found>) =
            self.problems.iter().map(from_starts).unzip();
        let carried = |starts: Vec<(usize, Network)>| -> Vec<(usize, Minimum)> {
            let descended = |(place, start): (usize, Network)| {
                let (layers, problem) = &self.problems[place];
                let networks = Discrete::new(problem, *layers);
                let start = networks.variables(&start.prolonged(*layers));
                (place, descend(&networks, &start, TOLERANCES[0], self.iterations()))
            };
            starts.into_par_iter().map(descended).collect()
        };
        let places = 0..self.problems.len();
        let restricted = places.clone().flat_map(|place| {
            limits.iter().map(move |(limit, _)| (place, limit.sampled(self.problems[place].0)))
        });
        let mut fresh = vec![true; all.len()];
        self.take(&mut all, carried(restricted.collect()), 2, &mut fresh);
        for _ in 0..PASSES {
            let network = |place: usize| {
                let (layers, problem) = &self.problems[place];
                Discrete::new(problem, *layers).network(&all[place].minimum.variables)
            };
            let sources: Vec<(usize, Network)> =
                places.clone().filter(|place| fresh[*place]).map(|p| (p, network(p))).collect();
            let pairs = places.clone().flat_map(|place| {
                let others = sources.iter().filter(move |(from, _)| *from != place);
                others.map(move |(_, network)| (place, network.clone()))
            });
            let ends = carried(pairs.collect());
            fresh = vec![false; all.len()];
            self.take(&mut all, ends, 1, &mut fresh);
            if !fresh.contains(&true) {
                break;
            }
        }
        for (lowest, found) in all.iter_mut().zip(&found) {
            lowest.reached = found.reached(lowest.minimum.energy, APART);
        }
        all
    }

    /// Takes what is lower than the lowest so far, and notes from what it came and where it is.
    fn take(
        &self,
        all: &mut [Lowest],
        ends: Vec<(usize, Minimum)>,
        from: usize,
        better: &mut [bool],
    ) {
        for (place, end) in ends {
            let lowest = &mut all[place];
            lowest.from[from] = lowest.from[from].min(end.energy);
            if end.energy < lowest.minimum.energy * (1.0 - LOWER) {
                let (layers, problem) = &self.problems[place];
                let networks = Discrete::new(problem, *layers);
                lowest.minimum = self.exact(&networks, &end.variables);
                lowest.minimum.evaluations += end.evaluations;
                lowest.from[from] = lowest.minimum.energy;
                better[place] = true;
            }
        }
    }

    /// The lowest energy of limits from networks over that from starts, less 1: below 0 where the starts
    /// have missed it.
    ///
    /// # Errors
    /// If the problem has no limit.
    pub fn missed(&self, found: &Found, all: &[Lowest]) -> Result<f64, ProblemError> {
        let screen = Continuum::new(self.problem, SCREEN.0, SCREEN.1)?;
        let end = |lowest: &Lowest| {
            let networks = Discrete::new(self.problem, lowest.layers);
            let start = screen.variables(&networks.network(&lowest.minimum.variables));
            self.exact(&screen, &start).energy
        };
        let ends: Vec<f64> = all.par_iter().map(end).collect();
        Ok(ends.into_iter().fold(f64::INFINITY, f64::min) / found.minima[0].energy - 1.0)
    }
}
