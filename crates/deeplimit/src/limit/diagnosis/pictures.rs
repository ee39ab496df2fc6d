//! What a diagnosis shows: weights over depth, trajectories in their plane of largest variance, the
//! spectrum of residual Jacobians.

use super::krylov::{Local, arnoldi};
use super::{Diagnosed, Finding};
use crate::control::{Control, Position};
use crate::limit::eigenvalues;
use crate::seed::normal;
use crate::{Flow, Rows, State};
use serde::Serialize;

/// Data of the pictures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pictures {
    /// Entries of each parameter kind at every control node.
    pub weights: Vec<WeightPaths>,
    /// Trajectories in the plane of the network states' largest variance.
    pub trajectories: Trajectories,
    /// Eigenvalues of h J_n for some layers.
    pub spectra: Finding<Spectra>,
}

/// Some entries of one parameter kind over depth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightPaths {
    /// The kind's name.
    pub kind: String,
    /// Its entries, shown or not.
    pub total_entries: usize,
    /// For each entry shown its values at the control nodes.
    pub paths: Vec<Vec<f64>>,
}

/// Some samples' way through the network, and through its neural ODE.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trajectories {
    /// Shares of the states' variance in the two directions.
    pub variance: [f64; 2],
    /// x_0 … x_N of each sample shown.
    pub network: Vec<Vec<[f64; 2]>>,
    /// x(s_0) … x(s_N) for the function interpolant.
    pub ode: Vec<Vec<[f64; 2]>>,
}

/// Eigenvalues of h J_n.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spectra {
    /// How they were found.
    pub how: String,
    /// Real and imaginary parts, for each layer shown.
    pub layers: Vec<(usize, Vec<[f64; 2]>)>,
}

const ENTRIES: usize = 12;
const SAMPLES: usize = 6;
/// Widths up to which the whole spectrum is computed.
const DENSE: usize = 256;
const ARNOLDI_STEPS: usize = 40;

/// Evenly spaced entries of every kind.
pub(super) fn weights(control: &Control<f64>) -> Vec<WeightPaths> {
    let kinds = control.kinds().iter().enumerate();
    let paths = kinds.map(|(index, kind)| {
        let shown = kind.len().min(ENTRIES);
        let path = |number: usize| {
            let entry = number * kind.len() / shown;
            (0..control.nodes()).map(|node| control.at(index, node)[entry]).collect()
        };
        WeightPaths {
            kind: kind.name.to_owned(),
            total_entries: kind.len(),
            paths: (0..shown).map(path).collect(),
        }
    });
    paths.collect()
}

/// The first samples in the plane of the two leading principal components of the network's states
/// (all samples, all layers), by orthogonal iteration.
pub(super) fn trajectories(network: &[Rows<f64>], ode: &[Rows<f64>]) -> Trajectories {
    let (rows, width) = (network[0].rows(), network[0].width());
    let count = (rows * network.len()) as f64;
    let mut mean = vec![0.0; width];
    for x in network {
        for (mean, column) in mean.iter_mut().zip(x.columns().chunks_exact(rows)) {
            *mean += column.iter().sum::<f64>() / count;
        }
    }
    let project = |x: &Rows<f64>, direction: &[f64]| -> Vec<f64> {
        let mut out = vec![0.0; rows];
        let columns = x.columns().chunks_exact(rows).zip(&mean).zip(direction);
        for ((column, mean), weight) in columns {
            out.iter_mut().zip(column).for_each(|(out, x)| *out += weight * (x - mean));
        }
        out
    };
    // C d with the covariance C, and dᵀ C d.
    let spread = |direction: &[f64]| {
        let (mut image, mut variance) = (vec![0.0; width], 0.0);
        for x in network {
            let along = project(x, direction);
            variance += along.iter().map(|a| a * a).sum::<f64>() / count;
            let columns = x.columns().chunks_exact(rows).zip(&mean);
            for (image, (column, mean)) in image.iter_mut().zip(columns) {
                *image +=
                    column.iter().zip(&along).map(|(x, a)| (x - mean) * a).sum::<f64>() / count;
            }
        }
        (image, variance)
    };
    let unit = |v: &mut [f64]| {
        let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        v.iter_mut().for_each(|v| *v /= if norm > 0.0 { norm } else { 1.0 });
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut directions: [Vec<f64>; 2] =
        [0, 1].map(|which| (0..width).map(|entry| normal(7 + which, entry as u64)).collect());
    let mut variances = [0.0; 2];
    for _ in 0..40 {
        let images = [0, 1].map(|which| spread(&directions[which]));
        variances = [images[0].1, images[1].1];
        let [(mut first, _), (mut second, _)] = images;
        unit(&mut first);
        let along = dot(&first, &second);
        second.iter_mut().zip(&first).for_each(|(s, f)| *s -= along * f);
        unit(&mut second);
        directions = [first, second];
    }
    let total: f64 = network
        .iter()
        .flat_map(|x| x.columns().chunks_exact(rows).zip(&mean))
        .map(|(column, mean)| column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count)
        .sum();
    let paths = |states: &[Rows<f64>]| {
        let planes: Vec<[Vec<f64>; 2]> =
            states.iter().map(|x| [0, 1].map(|which| project(x, &directions[which]))).collect();
        let path = |row: usize| planes.iter().map(|[a, b]| [a[row], b[row]]).collect();
        (0..rows.min(SAMPLES)).map(path).collect()
    };
    Trajectories {
        variance: variances.map(|v| if total > 0.0 { v / total } else { 0.0 }),
        network: paths(network),
        ode: paths(ode),
    }
}

/// The spectrum at x_n of the first sample (of the whole batch where samples meet), at five layers.
pub(super) fn spectra<F: Diagnosed>(flow: &Flow<F>, network: &[Rows<f64>]) -> Finding<Spectra> {
    let last = flow.steps() - 1;
    let mut shown: Vec<usize> = (0..5).map(|quarter| quarter * last / 4).collect();
    shown.dedup();
    let width = network[0].width();
    let dense = !F::SAMPLES_MEET && width <= DENSE;
    let how = if dense {
        "all eigenvalues of the first sample's Jacobian, by the QR algorithm".to_owned()
    } else {
        let whose =
            if F::SAMPLES_MEET { "the batch's Jacobian" } else { "the first sample's Jacobian" };
        format!(
            "{ARNOLDI_STEPS} Arnoldi steps on {whose}: the outermost eigenvalues are approached, \
             those inside are not the true ones"
        )
    };
    let mut layers = Vec::new();
    for layer in shown {
        let x = &network[layer];
        let (size, values) = if dense {
            let jacobian = dense_jacobian::<F>(flow, layer, &x.slice(0, 1));
            (width, jacobian)
        } else {
            let x = if F::SAMPLES_MEET { x.clone() } else { x.slice(0, 1) };
            let mut local = Local::new(flow.field(), layer, &x);
            let start = Rows::from_fn(x.rows(), width, |row, column| {
                normal(9, (row * width + column) as u64)
            });
            arnoldi(start, ARNOLDI_STEPS, |v| local.apply(v))
        };
        let scaled: Vec<f64> = values.iter().map(|v| flow.h() * v).collect();
        let Some(found) = eigenvalues(&scaled, size) else {
            return Finding::unknown(&format!(
                "the QR algorithm did not converge on the Jacobian of layer {layer}"
            ));
        };
        layers.push((layer, found));
    }
    Finding::Known(Spectra { how, layers })
}

/// J row by row, pulled back from the unit cotangents.
fn dense_jacobian<F: Diagnosed>(flow: &Flow<F>, layer: usize, x: &Rows<f64>) -> Vec<f64> {
    let width = x.width();
    let copies = F::state(Rows::from_fn(width, width, |_, column| x.at(0, column)));
    let unit = Rows::from_fn(width, width, |i, j| if i == j { 1.0 } else { 0.0 });
    let field = flow.field();
    let (mut tape, mut out) = (field.tape(&copies), copies.scratch());
    let mut bar = copies.scratch();
    bar.set_zero();
    field.linearize(Position::node(layer), &copies, &mut out, &mut tape);
    let unit = F::state(unit);
    field.pull_back(Position::node(layer), &copies, &mut tape, &unit, &mut bar, None);
    F::rows(bar).to_vec()
}
