//! The descents, and what is measured of them.

use super::{Case, Linear, RATE, RECORDED, Row, SHOWN, Start, WIDTH};
use deeplimit::Rows;
use deeplimit::control::{Control, Family};
use deeplimit::field::{self, Layer, Stacked};
use deeplimit::objective::linear::{Descent, Quadratic};
use deeplimit::seed::{derive, uniform};
use rayon::prelude::*;

/// Substeps a layer of the ODE's solution.
const SUBSTEPS: usize = 4;

/// Rows of the descents of all depths, and of the weights that are shown.
pub fn measure(experiment: &Linear, case: &Case) -> Vec<Row> {
    let seed = derive(experiment.seed, case.network as u64);
    let mut depths = experiment.depths.clone();
    if case.start.has_limit() {
        depths.extend([experiment.reference, 2 * experiment.reference]);
    }
    let starts = depths.iter().map(|&layers| begin(case.start, layers, seed));
    let mut descents: Vec<Descent<f64>> = starts.collect();
    let mut rows = Vec::new();
    for steps in RECORDED {
        // The deepest take longest: they come first.
        descents = descents.into_par_iter().rev().map(|d| to_step(d, steps)).collect();
        descents.reverse();
        let (measured, reference) = descents.split_at(experiment.depths.len());
        let row = |descent: &Descent<f64>| {
            let limit = match reference {
                [coarse, fine] => Some(distances([fine, coarse, descent])),
                _ => None,
            };
            Row {
                start: case.start,
                network: case.network,
                layers: descent.flow().steps(),
                steps,
                time: descent.time(),
                loss: descent.loss(),
                scaled_increment: descent.scaled_increment(),
                largest_weight: descent.largest_weight(),
                ode_distance: descent.ode_distance(SUBSTEPS),
                weight_distance: limit.map(|limit| limit.0),
                map_distance: limit.map(|limit| limit.1),
                layer: None,
                entry: None,
            }
        };
        let own: Vec<Row> = measured.par_iter().map(row).collect();
        let is_shown = |layers: usize| layers == experiment.shown && case.network == 0;
        let pairs = measured.iter().zip(&own);
        for (descent, row) in pairs.filter(|(_, row)| is_shown(row.layers)) {
            if SHOWN.contains(&steps) {
                rows.extend(weights(descent, row));
            }
        }
        rows.extend(own);
    }
    rows
}

/// A row a layer, with one of its weights.
fn weights(descent: &Descent<f64>, row: &Row) -> Vec<Row> {
    let of = |layer| {
        let entry = Some(descent.control().at(0, layer)[1]);
        Row { layer: Some(layer), entry, ..row.clone() }
    };
    (0..row.layers).map(of).collect()
}

fn to_step(descent: Descent<f64>, steps: usize) -> Descent<f64> {
    let missing = steps - descent.steps();
    descent.advance(missing)
}

fn begin(start: Start, layers: usize, seed: u64) -> Descent<f64> {
    // Entries uniform in ±size/√width make matrices of spectral norm about 1.15 size.
    let (family, size) = match start {
        Start::Certified | Start::Zero => (Family::Zero, 0.0),
        Start::Smooth => (Family::Smooth, 0.3),
        Start::Independent => (Family::Independent, 0.5),
        Start::Diffusive => (Family::Diffusive, 0.9),
    };
    let layer = field::Linear { width: WIDTH };
    let scale = size / (WIDTH as f64).sqrt();
    let length = WIDTH * WIDTH;
    let weights = match family {
        // One node more, and without it: node n then is at s = n/N and not n/(N − 1).
        Family::Smooth => {
            let mut weights = family.sample(layers + 1, length, scale, derive(seed, 1));
            weights.truncate(layers * length);
            weights
        }
        _ => family.sample(layers, length, scale, derive(seed, 1)),
    };
    let control = Control::new(Layer::<f64>::kinds(&layer), layers, vec![weights]);
    let loss = Quadratic::map(&target(start, derive(seed, 0)));
    Descent::new(loss, Stacked::new(layer, control), RATE)
}

/// B, in a random direction from the identity.
fn target(start: Start, seed: u64) -> Rows<f64> {
    let distance = match start {
        // Below 1/(3e) = 0.1226, for which ρ = 1/3 holds at all times.
        Start::Certified => 0.12,
        _ => 0.9,
    };
    let away =
        Rows::from_fn(WIDTH, WIDTH, |row, column| uniform(seed, (row * WIDTH + column) as u64));
    let norm = away.to_vec().iter().map(|v| v * v).sum::<f64>().sqrt();
    let unit = |row: usize, column: usize| f64::from(u8::from(row == column));
    Rows::from_fn(WIDTH, WIDTH, |row, column| {
        unit(row, column) + distance / norm * away.at(row, column)
    })
}

/// (max_n ‖θ_n − θ_limit(s_n)‖, ‖Π − Π_limit‖) with the limit 2 fine − coarse (Richardson) at common
/// nodes: alone, the deepest network would be off by O(1/N') and bias slopes.
fn distances(all: [&Descent<f64>; 3]) -> (f64, f64) {
    let norm = |parts: [Vec<f64>; 3]| {
        let [fine, coarse, own] = &parts;
        let off = |i: usize| 2.0 * fine[i] - coarse[i] - own[i];
        (0..own.len()).map(|i| off(i).powi(2)).sum::<f64>().sqrt()
    };
    let layers = all[2].flow().steps();
    let node =
        |n: usize| norm(all.map(|of| of.control().at(0, n * of.flow().steps() / layers).to_vec()));
    let weights = (0..layers).map(node).fold(0.0, f64::max);
    (weights, norm(all.map(|of| of.map().to_vec())))
}
