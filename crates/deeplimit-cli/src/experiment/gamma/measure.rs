//! The minimisations, and what is measured of them.

use super::data::Set;
use super::{Case, Gamma, Part, Penalised, Row};
use anyhow::Result;
use deeplimit::control::Control;
use deeplimit::kernel::Activation;
use deeplimit::objective::variational::{
    Continuum, Discrete, Energy, Form, Limit, Minimum, Network, Penalty, Problem, Residual,
    descend, least_curvature, minimise,
};
use deeplimit::seed::derive;
use rayon::prelude::*;

/// τ of the smooth form.
pub const TAU: f64 = 1.0;

/// a₁ = a₂, and a₃ = a₄.
pub const PENALTIES: [f64; 2] = [0.002, 0.01];

/// 2-norm of the gradient at which a minimisation ends.
pub const TOLERANCE: f64 = 1e-9;

/// Iterations of L-BFGS at most.
const ITERATIONS: u64 = 3000;

/// The same without the penalty of differences, where no Newton step is tried.
const ROUGH_TOLERANCE: f64 = 1e-7;

/// Iterations without any penalty: there is no minimum, weights run away for as long as one lets them.
const RUNAWAY: u64 = 500;

/// Random starts of which the lowest minimum begins the branch.
const FIRST_STARTS: u64 = 8;

/// Degree and Runge–Kutta steps of the limit, and of a coarser one that shows its error.
const LIMIT: (usize, usize) = (20, 640);
const COARSE: (usize, usize) = (10, 320);

/// Nodes at which two limits are compared, and pictured.
const NODES: usize = 256;

/// The problem of a set of samples.
pub fn problem(set: &Set, penalised: Penalised) -> Result<Problem> {
    let form = match penalised {
        Penalised::Smooth => Form::Smooth { tau: TAU },
        Penalised::Decay | Penalised::Nothing => Form::Decay,
    };
    let [a, readout] = PENALTIES;
    let penalty = match penalised {
        Penalised::Nothing => Penalty::NONE,
        _ => Penalty { form, weights: a, biases: a, readout, offset: readout },
    };
    let (inputs, targets) = (set.inputs.clone(), set.targets.clone());
    Ok(Problem::new(inputs, targets, Activation::Tanh, Activation::Tanh, penalty)?)
}

/// Rows of a case.
pub fn measure(experiment: &Gamma, case: &Case) -> Result<Vec<Row>> {
    match *case {
        Case::Branch(set) => branch(experiment, &experiment.sets[set]),
        Case::Starts(set, penalised, layers) => {
            starts(experiment, &experiment.sets[set], penalised, layers)
        }
    }
}

/// A branch of minimisers over n, and its limit.
fn branch(experiment: &Gamma, set: &Set) -> Result<Vec<Row>> {
    let problem = problem(set, Penalised::Smooth)?;
    let found = followed(experiment, &problem);
    let (deepest, _) = found.last().expect("one depth or more");
    let base = |part| Row::new(set, part, Penalised::Smooth);

    let coarse = Continuum::new(&problem, COARSE.0, COARSE.1)?;
    let fine = Continuum::new(&problem, LIMIT.0, LIMIT.1)?;
    let (coarse_limit, coarse_minimum) = limit(&coarse, deepest);
    let (limit, minimum) = limit(&fine, deepest);
    let sampled = limit.sampled(NODES).control;
    let apart = sampled.depth_distance(&coarse_limit.sampled(NODES).control);
    let mut rows = vec![
        Row { constant: Some(apart.root_mean_square), ..base(Part::Coarse) }
            .with_minimum(&coarse_minimum, coarse.energy(&coarse_minimum.variables))
            .with_residual(Residual::of_limit(&coarse_limit, COARSE.1)),
        Row {
            steepness: Some(limit.steepness()),
            curvature: least_curvature(&coarse, &coarse_minimum.variables),
            ..base(Part::Limit)
        }
        .with_minimum(&minimum, fine.energy(&minimum.variables))
        .with_residual(Residual::of_limit(&limit, LIMIT.1)),
    ];
    rows.extend(pictured(&base(Part::Control), &sampled));
    for (network, minimum) in &found {
        let layers = network.layers();
        let networks = Discrete::new(&problem, layers);
        let distances = limit.distances(network);
        let row = Row {
            layers: Some(layers),
            steepness: Some(network.steepness()),
            nodal: Some(distances.nodal),
            constant: Some(distances.constant),
            affine: Some(distances.affine),
            derivative: Some(distances.derivative),
            readout: Some(distances.readout),
            recovery: Some(networks.energy(&limit.sampled(layers)).total()),
            ..base(Part::Network)
        };
        let row = row.with_minimum(minimum, networks.energy(network));
        rows.push(row.with_residual(Residual::of_network(&problem, network)));
        if experiment.shown.contains(&layers) {
            let row = Row { layers: Some(layers), ..base(Part::Control) };
            rows.extend(pictured(&row, &network.control));
        }
    }
    Ok(rows)
}

/// The minimiser with the fewest layers, the lowest from some random starts, followed to the most.
fn followed(experiment: &Gamma, problem: &Problem) -> Vec<(Network, Minimum)> {
    let minimum = |start: &Network, layers: usize| {
        let networks = Discrete::new(problem, layers);
        let start = networks.variables(&start.prolonged(layers));
        let minimum = minimise(&networks, &start, TOLERANCE, ITERATIONS);
        (networks.network(&minimum.variables), minimum)
    };
    let first = experiment.depths[0];
    let random = |start: u64| {
        let seed = derive(experiment.seed, start);
        minimum(&Network::random(problem, first, seed), first)
    };
    let tried: Vec<_> = (0..FIRST_STARTS).into_par_iter().map(random).collect();
    let lowest = tried.into_iter().min_by(|a, b| a.1.energy.total_cmp(&b.1.energy));
    let mut found = Vec::from_iter(lowest);
    for &layers in &experiment.depths[1..] {
        let next = found.last().map(|(network, _)| minimum(network, layers));
        found.extend(next);
    }
    found
}

/// The minimiser of the limit's objective near a network.
fn limit<'p>(continuum: &Continuum<'p>, network: &Network) -> (Limit<'p>, Minimum) {
    let start = continuum.variables(network);
    let minimum = minimise(continuum, &start, TOLERANCE, ITERATIONS);
    (continuum.limit(&minimum.variables), minimum)
}

/// Minimisers of n layers from independent starts, and how far they are from each other.
fn starts(experiment: &Gamma, set: &Set, penalised: Penalised, layers: usize) -> Result<Vec<Row>> {
    let problem = problem(set, penalised)?;
    let networks = Discrete::new(&problem, layers);
    let minimum = |start: usize| {
        let seed = derive(derive(experiment.seed, 1 << 32 | layers as u64), start as u64);
        let start = networks.variables(&Network::random(&problem, layers, seed));
        let minimum = match penalised {
            Penalised::Smooth => minimise(&networks, &start, TOLERANCE, ITERATIONS),
            Penalised::Decay => descend(&networks, &start, ROUGH_TOLERANCE, ITERATIONS),
            Penalised::Nothing => descend(&networks, &start, ROUGH_TOLERANCE, RUNAWAY),
        };
        (networks.network(&minimum.variables), minimum)
    };
    let found: Vec<_> = (0..experiment.starts).into_par_iter().map(minimum).collect();
    let base = |part| Row { layers: Some(layers), ..Row::new(set, part, penalised) };
    let mut rows = Vec::new();
    for (start, (network, minimum)) in found.iter().enumerate() {
        let row =
            Row { start: Some(start), steepness: Some(network.steepness()), ..base(Part::Start) };
        rows.push(row.with_minimum(minimum, networks.energy(network)));
        for (other, (second, _)) in found.iter().enumerate().take(start) {
            let pairs = network.control.iter().zip(second.control.iter());
            let square: f64 = pairs.map(|(a, b)| (a - b).powi(2)).sum();
            // L² of the controls that are constant over each layer.
            let distance = Some((square / layers as f64).sqrt());
            let (start, other) = (Some(start), Some(other));
            rows.push(Row { start, other, constant: distance, ..base(Part::Pair) });
        }
        if start < 2 && experiment.shown.contains(&layers) {
            let row = Row { start: Some(start), ..base(Part::Control) };
            rows.extend(pictured(&row, &network.control));
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
    fn new(set: &Set, part: Part, penalised: Penalised) -> Self {
        Self { set: set.name.clone(), part, penalised, ..Self::default() }
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
