//! The distance of a flow's states to the solution of its neural ODE, and the bounds on it.

use super::krylov::{directional, reach};
use super::parts::ratio;
use super::{Diagnosed, Finding};
use crate::control::Position;
use crate::limit::bounds::{Bounds, local_path};
use crate::limit::ode::largest;
use crate::limit::{Interpolant, NeuralOde};
use crate::{Flow, Rows, State};
use rayon::prelude::*;
use serde::Serialize;

/// The reference counts as solved when halving its substeps moves it by no more than this share of
/// the distance that is measured with it …
const SHARE: f64 = 1e-3;
/// … or by no more than this share of the states: rounding.
const ROUNDING: f64 = 1e-12;
/// Most substeps a layer.
const MOST_SUBSTEPS: usize = 64;
/// Most points a layer at which the constants of the bounds are taken.
const MOST_POINTS: usize = 8;
/// Samples that are walked together where samples do not meet.
const CHUNK: usize = 16;

/// How far the states of a flow are from the solution of a neural ODE; norms over the whole batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distance {
    /// ‖x_n − x(s_n)‖ for n = 0 … N.
    pub per_layer: Vec<f64>,
    /// The largest of them.
    pub largest: f64,
    /// The largest over max_n ‖x_n‖.
    pub relative: f64,
    /// The largest over ‖x_N − x_0‖.
    pub relative_to_change: f64,
    /// Substeps a layer of the reference, by the classical Runge–Kutta scheme.
    pub substeps: usize,
    /// max_n ‖difference‖ of the reference and one with half as many substeps: the reference's error
    /// is below it.
    pub halving: f64,
    /// What `halving` was to stay below: a thousandth of the distance, or rounding.
    pub tolerance: f64,
    /// Whether it does.
    pub resolved: bool,
}

/// The bounds on the distance for the function interpolant, and every constant in them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BoundsAlong {
    /// With L as estimated along the trajectories.
    #[serde(flatten)]
    pub bounds: Bounds,
    /// b_0 … b_N of the local bound.
    pub local_path: Vec<f64>,
    /// The same with a constant L that holds everywhere.
    pub certain: Finding<CertainBounds>,
    /// Points a layer at which M and C were taken.
    pub points: usize,
}

/// Bounds with a Lipschitz constant that holds everywhere.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CertainBounds {
    /// L.
    pub lipschitz: f64,
    /// (e^{LT} − 1)/(2L) h M.
    pub smooth: f64,
    /// (2 e^{LT} − 1) h C.
    pub smoothness_free: f64,
}

/// A batch in pieces that can be walked one by one.
fn chunks<F: Diagnosed>(x: &Rows<f64>) -> Vec<Rows<f64>> {
    if F::SAMPLES_MEET || x.rows() <= CHUNK {
        return vec![x.clone()];
    }
    let starts = (0..x.rows()).step_by(CHUNK);
    starts.map(|start| x.slice(start, CHUNK.min(x.rows() - start))).collect()
}

/// x_0 … x_N of the network.
pub(super) fn network_states<F: Diagnosed>(flow: &Flow<F>, x0: &Rows<f64>) -> Vec<Rows<f64>> {
    let walk = |x: &Rows<f64>| flow.states(&F::state(x.clone()));
    joined::<F>(chunks::<F>(x0).par_iter().map(walk).collect())
}

fn joined<F: Diagnosed>(pieces: Vec<Vec<F::State>>) -> Vec<Rows<f64>> {
    let mut pieces: Vec<_> = pieces.into_iter().map(Vec::into_iter).collect();
    let layers = pieces.first().map_or(0, ExactSizeIterator::len);
    let layer =
        |_| pieces.iter_mut().map(|piece| F::rows(piece.next().expect("a layer"))).collect();
    (0..layers).map(layer).map(Rows::join).collect()
}

/// The ODE's states at the layers, with the distance of the network's from them.
pub(super) fn solve<F: Diagnosed>(
    flow: &Flow<F>,
    interpolant: Interpolant,
    x0: &Rows<f64>,
    network: &[Rows<f64>],
) -> (Vec<Rows<f64>>, Distance) {
    let pieces = chunks::<F>(x0);
    let states = |substeps: usize| {
        let walk = |x: &Rows<f64>| {
            let ode = NeuralOde::new(flow, interpolant).with_substeps(substeps);
            ode.states(&F::state(x.clone()))
        };
        joined::<F>(pieces.par_iter().map(walk).collect())
    };
    let apart = |a: &[Rows<f64>], b: &[Rows<f64>]| -> Vec<f64> {
        a.iter().zip(b).map(|(a, b)| a.distance_squared(b).sqrt()).collect()
    };
    let size = largest(network.iter().map(|x| x.norm_squared().sqrt()));
    let (mut substeps, mut coarse) = (2, states(2));
    loop {
        substeps *= 2;
        let fine = states(substeps);
        let halving = largest(apart(&coarse, &fine));
        let per_layer = apart(network, &fine);
        let distance = largest(per_layer.iter().copied());
        let tolerance = (SHARE * distance).max(ROUNDING * size);
        let resolved = halving <= tolerance;
        if resolved || substeps >= MOST_SUBSTEPS || !halving.is_finite() {
            let change = network[network.len() - 1].distance_squared(&network[0]).sqrt();
            let distance = Distance {
                per_layer,
                largest: distance,
                relative: ratio(distance, size),
                relative_to_change: ratio(distance, change),
                substeps,
                halving,
                tolerance,
                resolved,
            };
            return (fine, distance);
        }
        coarse = fine;
    }
}

/// Squares of the curvature, of the jump, and of the speeds of both ends at one point.
type Squares = [f64; 4];

/// The bounds, given L of every layer between the two trajectories.
pub(super) fn bounds<F: Diagnosed>(
    flow: &Flow<F>,
    x0: &Rows<f64>,
    substeps: usize,
    lipschitz: &[f64],
) -> BoundsAlong {
    let points = substeps.min(MOST_POINTS);
    let pieces = chunks::<F>(x0);
    let found: Vec<Vec<Vec<Squares>>> =
        pieces.par_iter().map(|piece| constants(flow, piece, points)).collect();
    // Norms are those of the whole batch: squares add up over the pieces, point by point.
    let (mut curvature, mut speed, mut jump) = (Vec::new(), 0.0, 0.0);
    for layer in 0..flow.steps() {
        let mut most = 0.0;
        for point in 0..=points {
            let sum = |what: usize| found.iter().map(|f| f[layer][point][what]).sum::<f64>().sqrt();
            most = largest([most, sum(0)]);
            jump = largest([jump, sum(1)]);
            speed = largest([speed, sum(2), sum(3)]);
        }
        curvature.push(most);
    }
    let h = flow.h();
    let bounds = Bounds::conclude(h, lipschitz, &curvature, speed, jump);
    let certain = flow.field().certain_lipschitz().map(|l| {
        let everywhere = vec![l; lipschitz.len()];
        let bounds = Bounds::conclude(h, &everywhere, &curvature, speed, jump);
        let Bounds { smooth, smoothness_free, .. } = bounds;
        CertainBounds { lipschitz: l, smooth, smoothness_free }
    });
    let local_path = local_path(h, lipschitz, &curvature);
    BoundsAlong { bounds, local_path, certain, points }
}

/// For every layer, at `points` + 1 points of its interval: ‖x''‖², ‖f_{n+1} − f_n‖², ‖f_n‖² and
/// ‖f_{n+1}‖², at the solution for the function interpolant.
fn constants<F: Diagnosed>(flow: &Flow<F>, x0: &Rows<f64>, points: usize) -> Vec<Vec<Squares>> {
    let ode = NeuralOde::new(flow, Interpolant::Function).with_substeps(points);
    let mut found: Vec<Vec<Squares>> = vec![Vec::new(); flow.steps()];
    let field = flow.field();
    let start = F::state(x0.clone());
    let (mut tape, mut out) = (field.tape(&start), start.scratch());
    ode.walk(&start, |layer, point, x| {
        let fraction = point as f64 / points as f64;
        let ends = ode.ends(layer);
        let mut function = |node: usize, x: &F::State| {
            field.eval(Position::node(node), x, &mut out, &mut tape);
            F::rows(out.clone())
        };
        let [here, next] = ends.map(|node| function(node, x));
        let (mut phi, mut jump) = (here.clone(), next.clone());
        phi.scale(1.0 - fraction);
        phi.add_scaled(fraction, &next);
        jump.add_scaled(-1.0, &here);
        let x = F::rows(x.clone());
        let blend = |x: Rows<f64>| {
            let x = F::state(x);
            let mut sum = function(ends[0], &x);
            sum.scale(1.0 - fraction);
            sum.add_scaled(fraction, &function(ends[1], &x));
            sum
        };
        // x'' = ∂_s φ + ∂_x φ φ
        let mut second = directional::<F>(blend, &x, &phi, &reach::<F>(&x));
        second.add_scaled(1.0 / flow.h(), &jump);
        found[layer].push([&second, &jump, &here, &next].map(State::norm_squared));
    });
    found
}
