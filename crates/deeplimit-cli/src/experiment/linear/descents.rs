//! The descents, and what is measured of them.

use super::{
    Case, DIFFUSIVE_DEPTHS, DRAWN_DEPTHS, DRAWN_LOSS, DRAWN_RATE, DRAWN_WIDTHS, Linear, RATE,
    RECORDED, Row, SHOWN, Start, WIDTH,
};
use deeplimit::Rows;
use deeplimit::control::{Control, Family};
use deeplimit::field::{self, Layer, Stacked};
use deeplimit::limit::eigenvalues;
use deeplimit::objective::linear::{Descent, Quadratic};
use deeplimit::seed::{derive, normal, uniform};
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
                weight_distance: limit.map(|limit| limit.0),
                map_distance: limit.map(|limit| limit.1),
                ..row(case, descent)
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

/// A descent as it stands, without a limit beside it.
fn row(case: &Case, descent: &Descent<f64>) -> Row {
    Row {
        start: case.start,
        network: case.network,
        layers: descent.flow().steps(),
        steps: descent.steps(),
        time: descent.time(),
        loss: descent.loss(),
        scaled_increment: descent.scaled_increment(),
        largest_weight: descent.largest_weight(),
        ode_distance: descent.ode_distance(SUBSTEPS),
        weight_distance: None,
        map_distance: None,
        layer: None,
        entry: None,
    }
}

/// Rows of networks with diffusive weights, which are not trained.
pub fn diffusive(experiment: &Linear) -> Vec<Row> {
    let rows = |network: usize| {
        let case = Case { start: Start::Diffusive, network };
        let seed = derive(experiment.seed, network as u64);
        let own = DIFFUSIVE_DEPTHS.map(|layers| begin(case.start, layers, seed));
        own.map(|descent| row(&case, &descent))
    };
    (0..experiment.diffusive).into_par_iter().flat_map_iter(rows).collect()
}

/// Rows of the descents of figure 2 at their starts and whenever the loss has fallen tenfold, to its end; and of
/// their weights where N = 100.
pub fn drawn(experiment: &Linear, case: &Case) -> Vec<Row> {
    const AT_ONCE: usize = 10;
    const MOST: usize = 100_000;
    let width = DRAWN_WIDTHS[case.network];
    let target = gaussian(width, derive(derive(experiment.seed, 2), width as u64));
    let descent = |&layers: &usize| {
        let field = Stacked::random(field::Linear { width }, layers, Family::Zero, 0);
        let mut descent = Descent::new(Quadratic::map(&target), field, DRAWN_RATE);
        let mut rows = Vec::new();
        let mut next = f64::INFINITY;
        loop {
            let loss = descent.loss();
            let ends = loss <= DRAWN_LOSS || descent.steps() >= MOST || !loss.is_finite();
            if loss <= next || ends {
                let own = row(case, &descent);
                if layers == DRAWN_DEPTHS[1] {
                    rows.extend(weights(&descent, &own));
                }
                rows.push(own);
                next = 0.1 * loss;
            }
            if ends {
                return rows;
            }
            descent = descent.advance(AT_ONCE);
        }
    };
    DRAWN_DEPTHS.par_iter().flat_map(descent).collect()
}

/// The identity and independent Gaussian numbers, the first such matrix whose determinant is ½ at least: a map
/// that turns space inside out is not near any flow.
fn gaussian(width: usize, seed: u64) -> Rows<f64> {
    let draw = |attempt: u64| {
        let seed = derive(seed, attempt);
        Rows::from_fn(width, width, |row, column| {
            f64::from(u8::from(row == column)) + normal(seed, (row * width + column) as u64)
        })
    };
    (0..).map(draw).find(|b| determinant(b) >= 0.5).expect("one in a few is such")
}

/// The product of the eigenvalues, which come in conjugate pairs.
fn determinant(matrix: &Rows<f64>) -> f64 {
    let width = matrix.width();
    let values: Vec<f64> = (0..width * width).map(|i| matrix.at(i / width, i % width)).collect();
    let product = |[re, im]: [f64; 2], [a, b]: [f64; 2]| [re * a - im * b, re * b + im * a];
    let values = eigenvalues(&values, width).expect("a few finite numbers have eigenvalues");
    values.into_iter().fold([1.0, 0.0], product)[0]
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
        Start::Certified | Start::Zero | Start::Drawn => (Family::Zero, 0.0),
        Start::Smooth => (Family::Smooth, 0.3),
        Start::Independent => (Family::Independent, 0.5),
        // As large as the difference of Itô's and Stratonovich's integrals has to be to stand out of the noise.
        Start::Diffusive => (Family::Diffusive, 2.0),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn determinants_of_known_matrices() {
        let of = |width, values: &[f64]| determinant(&Rows::new(width, width, values));
        let near =
            |found: f64, known: f64| assert!((found - known).abs() < 1e-12, "{found}, {known}");
        near(of(2, &[0.0, 1.0, 1.0, 0.0]), -1.0);
        near(of(2, &[0.0, 1.0, -1.0, 0.0]), 1.0);
        near(of(2, &[1.0, 2.0, 2.0, 4.0]), 0.0);
        near(of(3, &[2.0, 0.0, 1.0, 1.0, 3.0, 2.0, 1.0, 1.0, 4.0]), 18.0);
    }
}
