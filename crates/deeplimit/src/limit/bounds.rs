//! Bounds on the distance between a residual network and its neural ODE (function interpolant).

use super::ode::largest;
use super::{Interpolant, Jacobian, NeuralOde};
use crate::control::Position;
use crate::{Field, Flow, Real, Rows, Scheme, State};
use serde::Serialize;

/// Constants along the two trajectories, and the bounds on max_n ‖x_n − x(s_n)‖ they give.
///
/// With T = N h (which is 1), x(s) the solution for the function interpolant φ, and
/// e_{n+1} = e_n + h (f_n(x(s_n)) − f_n(x_n)) + ∫ (s_{n+1} − u) x''(u) du:
///
/// | bound | formula | vanishes as N → ∞ |
/// |---|---|---|
/// | [`smooth`](Self::smooth) | (e^{LT} − 1)/(2L) h M | for weights smooth in depth |
/// | [`increments`](Self::increments) | the same with M ≤ max ‖f_{n+1} − f_n‖/h + L C | likewise |
/// | [`local`](Self::local) | b_{n+1} = (1 + h L_n) b_n + h² M_n/2 | likewise; the sharpest |
/// | [`smoothness_free`](Self::smoothness_free) | (2 e^{LT} − 1) h C | for all bounded weights |
///
/// The first is that of Sander, Ablin, Peyré (2022), with M and L taken along the trajectories
/// only. In the last, jumps of f_n in depth average out: summed by parts, the local errors
/// (h/2)(f_{n+1} − f_n) leave only their ends.
///
/// M and C are maxima over the points of the solution, L over the Jacobians at x_n, x(s_n) and
/// their midpoint: estimates from below of suprema over segments, not certificates. For a certain
/// L see [`lipschitz_bound`](super::lipschitz_bound).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bounds {
    /// L = max ‖∂f_n/∂x‖₂ at the two trajectories and half-way between them.
    pub lipschitz: f64,
    /// M = sup ‖x''‖ = sup ‖∂_s φ + ∂_x φ φ‖ along the solution.
    pub curvature: f64,
    /// C = sup ‖f_n‖ along the solution.
    pub speed: f64,
    /// max_n sup ‖f_{n+1} − f_n‖ along the solution.
    pub jump: f64,
    /// (e^{LT} − 1)/(2L) h M.
    pub smooth: f64,
    /// (e^{LT} − 1)/(2L) (max_n sup ‖f_{n+1} − f_n‖ + h L C).
    pub increments: f64,
    /// max_n b_n with each layer's own L_n and M_n.
    pub local: f64,
    /// (2 e^{LT} − 1) h C.
    pub smoothness_free: f64,
}

/// Bounds and gaps are about residual networks, x_{n+1} = x_n + h f_n(x_n), alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no bounds or gaps for a flow with scheme {scheme}; they are about scheme euler")]
pub struct NotEuler {
    /// The flow's scheme.
    pub scheme: String,
}

/// Refuses flows that are no residual networks.
pub(super) fn only_euler<F: Field>(flow: &Flow<F>) -> Result<(), NotEuler> {
    if *flow.scheme() == Scheme::EULER.into() {
        return Ok(());
    }
    Err(NotEuler { scheme: flow.scheme().to_string() })
}

impl Bounds {
    /// Measures the constants from x_0, with `substeps` substeps of the ODE a layer.
    ///
    /// # Errors
    /// If the flow's scheme is not Euler's.
    ///
    /// # Panics
    /// If `substeps` is zero.
    pub fn measure<R: Real, F: Field<State = Rows<R>>>(
        flow: &Flow<F>,
        x0: &Rows<R>,
        substeps: usize,
    ) -> Result<Self, NotEuler> {
        only_euler(flow)?;
        let (layers, h) = (flow.steps(), flow.h());
        let ode = NeuralOde::new(flow, Interpolant::Function).with_substeps(substeps);
        let (mut curvature, mut speed, mut jump) = (vec![0.0; layers], 0.0, 0.0);
        let mut solution = vec![x0.clone()];
        ode.walk(x0, |layer, substep, x| {
            let at = Local::new(flow, ode.ends(layer), substep as f64 / substeps as f64, x);
            curvature[layer] = largest([curvature[layer], at.curvature]);
            speed = largest([speed, at.speed]);
            jump = largest([jump, at.jump]);
            if substep == substeps {
                solution.push(x.clone());
            }
        });
        let network = flow.states(x0);
        let pairs = network.iter().zip(&solution).take(layers).enumerate();
        let lipschitz: Vec<f64> = pairs.map(|(n, (x, y))| segment_norm(flow, n, x, y)).collect();
        Ok(Self::conclude(h, &lipschitz, &curvature, speed, jump))
    }

    /// The formulas of the bounds.
    pub(super) fn conclude(
        h: f64,
        lipschitz: &[f64],
        curvature: &[f64],
        speed: f64,
        jump: f64,
    ) -> Self {
        let time = h * lipschitz.len() as f64;
        let (l, m) = (largest(lipschitz.iter().copied()), largest(curvature.iter().copied()));
        let growth = if l == 0.0 { time } else { (l * time).exp_m1() / l };
        Self {
            lipschitz: l,
            curvature: m,
            speed,
            jump,
            smooth: growth * h * m / 2.0,
            increments: growth / 2.0 * (jump + h * l * speed),
            // b_n grows with n, so the last one is the largest.
            local: local_path(h, lipschitz, curvature).pop().unwrap_or(0.0),
            smoothness_free: (2.0 * (l * time).exp() - 1.0) * h * speed,
        }
    }
}

/// b_0 = 0 … b_N: the bounds on ‖x_n − x(s_n)‖ layer by layer.
pub(super) fn local_path(h: f64, lipschitz: &[f64], curvature: &[f64]) -> Vec<f64> {
    let mut path = vec![0.0];
    for (l, m) in lipschitz.iter().zip(curvature) {
        path.push((1.0 + h * l) * path[path.len() - 1] + h * h * m / 2.0);
    }
    path
}

/// The constants at one point of the solution.
struct Local {
    curvature: f64,
    speed: f64,
    jump: f64,
}

impl Local {
    fn new<R: Real, F: Field<State = Rows<R>>>(
        flow: &Flow<F>,
        ends: [usize; 2],
        fraction: f64,
        x: &Rows<R>,
    ) -> Self {
        let field = flow.field();
        let mut tape = field.tape(x);
        let [here, next] = ends.map(|node| {
            let mut out = x.scratch();
            field.eval(Position::node(node), x, &mut out, &mut tape);
            out
        });
        let (mut phi, mut jump) = (here.clone(), next.clone());
        phi.scale(1.0 - fraction);
        phi.add_scaled(fraction, &next);
        jump.add_scaled(-1.0, &here);
        let mut second = vec![0.0; x.columns().len()]; // x'' = ∂_s φ + ∂_x φ φ
        for (second, jump) in second.iter_mut().zip(jump.to_vec()) {
            *second = jump.wide() / flow.h();
        }
        for (node, weight) in ends.into_iter().zip([1.0 - fraction, fraction]) {
            if weight == 0.0 {
                continue;
            }
            let jacobians = Jacobian::of(field, Position::node(node), x);
            for (row, jacobian) in jacobians.iter().enumerate() {
                let phi: Vec<f64> = phi.row(row).iter().map(|v| v.wide()).collect();
                let range = row * x.width()..(row + 1) * x.width();
                for (second, change) in second[range].iter_mut().zip(jacobian.apply(&phi)) {
                    *second += weight * change;
                }
            }
        }
        Self {
            curvature: second.iter().map(|v| v * v).sum::<f64>().sqrt(),
            speed: largest([&here, &next].map(|f| f.norm_squared().sqrt())),
            jump: jump.norm_squared().sqrt(),
        }
    }
}

/// max ‖∂f_n/∂x‖₂ over the samples, at x, y and half-way.
fn segment_norm<R: Real, F: Field<State = Rows<R>>>(
    flow: &Flow<F>,
    layer: usize,
    x: &Rows<R>,
    y: &Rows<R>,
) -> f64 {
    let mut middle = x.clone();
    middle.scale(0.5);
    middle.add_scaled(0.5, y);
    let jacobians = |x| Jacobian::of(flow.field(), Position::node(layer), x);
    let norms = [x, &middle, y].into_iter().flat_map(jacobians).map(|j| j.spectral_norm());
    largest(norms)
}
