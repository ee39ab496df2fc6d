//! What is measured of minimisers, of sequences, and of networks with weight decay.

use super::data::Set;
use super::search::{APART, COARSE, FINE, Lowest, Search};
use super::variants::{BASE, Variant, World};
use super::{Case, Gamma, Part, Row, liminf};
use anyhow::Result;
use deeplimit::control::Control;
use deeplimit::objective::variational::{
    Continuum, Discrete, Energy, Limit, Minimum, Network, Objective, Penalty, Problem, Residual,
    descend, least_curvature,
};
use deeplimit::seed::derive;
use rayon::prelude::*;

/// 2-norm of the gradient at which a minimisation ends without the penalty of differences, where no
/// Newton step is tried.
const ROUGH_TOLERANCE: f64 = 1e-7;

/// Iterations of L-BFGS at most with weight decay; and without any penalty, where there is no minimum and
/// weights run away for as long as one lets them.
const ITERATIONS: u64 = 3000;
const RUNAWAY: u64 = 500;

/// Nodes at which two limits are compared, and pictured.
const NODES: usize = 256;

/// Rows of a case.
pub fn measure(experiment: &Gamma, case: &Case) -> Result<Vec<Row>> {
    let set = |index: usize| &experiment.sets[index];
    match *case {
        Case::Minima(index, variant, seed) => minima(experiment, set(index), &variant, seed),
        Case::Sequences(index, seed) => sequences(experiment, set(index), seed),
        Case::Contrast(index, alpha, seed) => contrast(experiment, set(index), alpha, seed),
    }
}

impl World {
    /// The problem of networks of n layers.
    fn at(&self, problem: &Problem, layers: usize) -> Problem {
        let factor = (layers as f64).powf(self.power);
        let penalty = *problem.penalty();
        let (weights, biases) = (factor * penalty.weights, factor * penalty.biases);
        let scaled = problem.with_penalty(Penalty { weights, biases, ..penalty });
        scaled.expect("a penalty times a positive number")
    }

    /// The network that is measured in place of a minimiser.
    fn network(&self, network: Network) -> Network {
        if !self.shuffled {
            return network;
        }
        let layers = network.layers();
        let control = &network.control;
        // A permutation: 5 is no divisor of a power of two.
        let of =
            |kind: usize| (0..layers).flat_map(move |i| control.at(kind, 5 * i % layers).to_vec());
        let values = vec![of(0).collect(), of(1).collect()];
        let control = Control::new(control.kinds().to_vec(), layers, values);
        Network { control, readout: network.readout }
    }
}

/// The minimisers over n and their limit, from one seed's starts.
fn minima(experiment: &Gamma, set: &Set, variant: &Variant, seed: u64) -> Result<Vec<Row>> {
    let problem = variant.problem(set)?;
    let is_base = *variant == BASE;
    let depths = if is_base { &experiment.depths } else { &experiment.others_at };
    let starts = if is_base { experiment.starts } else { experiment.others_starts };
    let search = Search {
        problems: depths.iter().map(|n| (*n, experiment.world.at(&problem, *n))).collect(),
        problem: &problem,
        starts,
        is_smooth: variant.is_smooth(),
        seed,
    };
    let (limits, found) = search.limits()?;
    let all = search.networks(&limits);
    let base = |part| Row::new(set, part, variant.name, seed);
    let (limit, minimum) = &limits[0];
    let fine = Continuum::new(&problem, FINE.0, FINE.1)?;
    let mut rows = vec![
        Row {
            starts: Some(starts.limit as usize),
            reached: Some(found.reached(found.minima[0].energy, APART)),
            missed: Some(search.missed(&found, &all)?),
            steepness: Some(limit.steepness()),
            ..base(Part::Limit)
        }
        .with_minimum(minimum, fine.energy(&minimum.variables)),
    ];
    if is_base {
        rows.extend(reference(&search, limit, &base)?);
    }
    for lowest in &all {
        let row = network(experiment, &search, lowest, limit, base(Part::Network))?;
        if is_base && seed == experiment.seeds.first && experiment.shown.contains(&lowest.layers) {
            let problem = experiment.world.at(&problem, lowest.layers);
            let networks = Discrete::new(&problem, lowest.layers);
            let network = networks.network(&lowest.minimum.variables);
            let row = Row { layers: Some(lowest.layers), ..base(Part::Control) };
            rows.extend(pictured(&row, &experiment.world.network(network).control));
        }
        rows.push(row);
    }
    if is_base && seed == experiment.seeds.first {
        rows.extend(pictured(&base(Part::Control), &limit.sampled(NODES).control));
    }
    if let (true, Some((second, minimum))) = (is_base, limits.get(1)) {
        rows.extend(branch(&search, second, minimum, &base)?);
    }
    Ok(rows)
}

/// What says how well the limit is known: a coarser one, its curvature, its equation.
fn reference(
    search: &Search<'_>,
    limit: &Limit<'_>,
    base: &(impl Fn(Part) -> Row + Sync),
) -> Result<Vec<Row>> {
    let coarse = Continuum::new(search.problem, COARSE.0, COARSE.1)?;
    let sampled = limit.sampled(NODES);
    let minimum = search.exact(&coarse, &coarse.variables(&sampled));
    let coarser = coarse.limit(&minimum.variables);
    let apart = sampled.control.depth_distance(&coarser.sampled(NODES).control);
    let row = Row {
        constant: Some(apart.root_mean_square),
        curvature: least_curvature(&coarse, &minimum.variables),
        ..base(Part::Coarse)
    };
    let energy = coarse.energy(&minimum.variables);
    Ok(vec![row.with_minimum(&minimum, energy).with_residual(Residual::of_limit(limit, FINE.1))])
}

/// The lowest network of a depth beside the limit.
fn network(
    experiment: &Gamma,
    search: &Search<'_>,
    lowest: &Lowest,
    limit: &Limit<'_>,
    row: Row,
) -> Result<Row> {
    let layers = lowest.layers;
    let problem = experiment.world.at(search.problem, layers);
    let networks = Discrete::new(&problem, layers);
    let network = experiment.world.network(networks.network(&lowest.minimum.variables));
    let distances = limit.distances(&network);
    let sampled = limit.sampled(layers);
    let place = networks.variables(&sampled);
    let (recovery, slope) = networks.energy_and_gradient(&place);
    let apart =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let row = Row {
        layers: Some(layers),
        starts: Some(search.starts.at(layers) as usize),
        reached: Some(lowest.reached),
        from_starts: Some(lowest.from[0]),
        from_depths: Some(lowest.from[1]),
        from_limit: Some(lowest.from[2]),
        steepness: Some(network.steepness()),
        nodal: Some(distances.nodal),
        constant: Some(distances.constant),
        affine: Some(distances.affine),
        derivative: Some(distances.derivative),
        readout: Some(distances.readout),
        recovery: Some(recovery),
        consistency: Some(apart(&slope, &vec![0.0; slope.len()])),
        moved: Some(apart(&networks.variables(&network), &place)),
        ..row
    };
    let row = row.with_minimum(&lowest.minimum, networks.energy(&network));
    Ok(row.with_residual(Residual::of_network(search.problem, &network)))
}

/// The branch of local minima at another local minimum of the limit.
fn branch(
    search: &Search<'_>,
    limit: &Limit<'_>,
    minimum: &Minimum,
    base: &(impl Fn(Part) -> Row + Sync),
) -> Result<Vec<Row>> {
    let coarse = Continuum::new(search.problem, COARSE.0, COARSE.1)?;
    let place = search.exact(&coarse, &coarse.variables(&limit.sampled(NODES)));
    let mut rows = vec![Row {
        energy: Some(minimum.energy),
        gradient_norm: Some(minimum.gradient_norm()),
        curvature: least_curvature(&coarse, &place.variables),
        ..base(Part::Branch)
    }];
    let followed = |(layers, problem): &(usize, Problem)| {
        let networks = Discrete::new(problem, *layers);
        let start = networks.variables(&limit.sampled(*layers));
        let minimum = search.exact(&networks, &start);
        let network = networks.network(&minimum.variables);
        let distances = limit.distances(&network);
        let row = Row {
            layers: Some(*layers),
            constant: Some(distances.constant),
            derivative: Some(distances.derivative),
            ..base(Part::Branch)
        };
        row.with_minimum(&minimum, networks.energy(&network))
    };
    rows.extend(search.problems.par_iter().map(followed).collect::<Vec<_>>());
    Ok(rows)
}

/// Energies along sequences of networks; with the right penalty, and without its factor n.
fn sequences(experiment: &Gamma, set: &Set, seed: u64) -> Result<Vec<Row>> {
    let problem = BASE.problem(set)?;
    let mut rows = Vec::new();
    for part in [Part::Sequence, Part::Wrong] {
        let power = if part == Part::Wrong { -1.0 } else { 0.0 };
        let world = World { power: experiment.world.power + power, shuffled: false };
        let of_depth = |layers: usize| world.at(&problem, layers);
        for along in liminf::along(&problem, of_depth, &experiment.sequences_at, derive(seed, 7))? {
            rows.push(Row {
                layers: Some(along.layers),
                sequence: along.sequence.name().into(),
                energy: Some(along.energies[0]),
                misfit: Some(along.misfits[0]),
                limit_energy: Some(along.energies[1]),
                limit_misfit: Some(along.misfits[1]),
                excess: Some(along.excess),
                ..Row::new(set, part, BASE.name, seed)
            });
        }
    }
    Ok(rows)
}

/// Networks from independent starts with weight decay α, or without any penalty, and how far they are
/// from each other.
fn contrast(experiment: &Gamma, set: &Set, alpha: f64, seed: u64) -> Result<Vec<Row>> {
    let problem = BASE.decaying(set, alpha)?;
    let iterations = if alpha == 0.0 { RUNAWAY } else { ITERATIONS };
    let mut rows = Vec::new();
    for &layers in &experiment.contrast_at {
        let networks = Discrete::new(&problem, layers);
        let minimum = |start: usize| {
            let seed = derive(derive(seed, 1 << 32 | layers as u64), start as u64);
            let start = networks.variables(&Network::random(&problem, layers, seed));
            let minimum = descend(&networks, &start, ROUGH_TOLERANCE, iterations);
            (networks.network(&minimum.variables), minimum)
        };
        let found: Vec<_> = (0..experiment.contrast_starts).into_par_iter().map(minimum).collect();
        let base = |part| Row {
            layers: Some(layers),
            alpha: Some(alpha),
            ..Row::new(set, part, BASE.name, seed)
        };
        for (start, (network, minimum)) in found.iter().enumerate() {
            let steepness = Some(network.steepness());
            let row = Row { start: Some(start), steepness, ..base(Part::Start) };
            rows.push(row.with_minimum(minimum, networks.energy(network)));
            for (other, (second, _)) in found.iter().enumerate().take(start) {
                let pairs = network.control.iter().zip(second.control.iter());
                let square: f64 = pairs.map(|(a, b)| (a - b).powi(2)).sum();
                // L² of the controls that are constant over each layer.
                let constant = Some((square / layers as f64).sqrt());
                let (start, other) = (Some(start), Some(other));
                rows.push(Row { start, other, constant, ..base(Part::Pair) });
            }
            let is_shown = alpha == BASE.alpha && seed == experiment.seeds.first;
            if is_shown && start < 2 && experiment.shown.contains(&layers) {
                let row = Row { start: Some(start), ..base(Part::Control) };
                rows.extend(pictured(&row, &network.control));
            }
        }
    }
    Ok(rows)
}

/// A row a node, with the first number of K there.
fn pictured<'r>(row: &'r Row, control: &'r Control<f64>) -> impl Iterator<Item = Row> + 'r {
    (0..control.nodes()).map(move |node| Row {
        depth: Some(node as f64 / control.nodes() as f64),
        entry: Some(control.at(0, node)[0]),
        ..row.clone()
    })
}

impl Row {
    /// A row with nothing measured.
    fn new(set: &Set, part: Part, problem: &str, seed: u64) -> Self {
        let (set, problem) = (set.name.clone(), problem.to_owned());
        Self { set, part, problem, seed, ..Self::default() }
    }

    fn with_minimum(self, minimum: &Minimum, energy: Energy) -> Self {
        Self {
            energy: Some(energy.total()),
            misfit: Some(energy.misfit),
            gradient_norm: Some(minimum.gradient_norm()),
            evaluations: Some(minimum.evaluations),
            ..self
        }
    }

    fn with_residual(self, residual: Residual) -> Self {
        Self {
            equation: Some(residual.inside),
            force: Some(residual.force),
            first_end: Some(residual.start),
            last_end: Some(residual.end),
            ..self
        }
    }
}
