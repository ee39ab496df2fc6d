//! The Euler–Lagrange equation of the limit, and by how much a control fails it.
//!
//! ```text
//! −2 a₁ K'' + Σ_s (σ'(K x + b) ∘ p) xᵀ = 0,   K'(0) = τ K(0),   K'(1) = 0
//! p' = −Kᵀ (σ'(K x + b) ∘ p),   p(1) = (1/S) ∂|g(W x + c) − y|²/∂x
//! ```
//!
//! over the samples s, with states x and adjoints p; for b the same without xᵀ and with a₂. The two
//! conditions at the ends are natural ones: nothing is prescribed there. They are what
//! stationarity of E_∞ says (integration by parts of its first variation); a network's own
//! stationarity says the same with differences in place of derivatives.

use super::continuum::Limit;
use super::network::Network;
use super::problem::{Form, Problem, Readout};
use super::walk::Walk;
use crate::Rows;
use crate::control::Control;
use crate::kernel::Activation;
use crate::kernel::sums::dot;
use crate::kernel::vector::add_scaled;
use serde::Serialize;

/// By how much a control fails the Euler–Lagrange equation and its conditions at the ends; 2-norms over
/// all numbers of K and b together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Residual {
    /// The largest residual of the equation at the depths looked at.
    pub inside: f64,
    /// The largest force Σ_s (σ' ∘ p) xᵀ there, to compare `inside` with.
    pub force: f64,
    /// ‖θ'(0) − τ θ(0)‖.
    pub start: f64,
    /// ‖θ'(1)‖.
    pub end: f64,
}

/// Steps at least for the states and adjoints of a network's control.
const LEAST_STEPS: usize = 256;

impl Residual {
    /// Of the limit, with its own derivatives, at the ends of `steps` Runge–Kutta steps: what is left is
    /// what polynomials and steps cannot do.
    ///
    /// # Panics
    /// If `steps` is zero.
    pub fn of_limit(limit: &Limit<'_>, steps: usize) -> Self {
        assert!(steps > 0, "a walk has at least one step");
        let forces = forces(limit.problem, steps, &limit.readout, |node| {
            limit.at(node as f64 / (2 * steps) as f64).into()
        });
        let point = |step: usize| limit.point(step as f64 / steps as f64);
        let curvatures = (0..=steps).map(|step| point(step).curvatures.concat());
        let (first, last) = (point(0), point(steps));
        let (values, slopes) = (first.values.concat(), first.slopes.concat());
        let ends = [values, slopes, last.slopes.concat()];
        judge(limit.problem, curvatures.zip(&forces), ends)
    }

    /// Of a network's control, affine between the nodes and constant after the last: with second
    /// differences at the inner nodes and first ones at the ends, and the states and adjoints of the ODE.
    /// Where networks approach the limit like 1/n it falls like 1/n.
    ///
    /// # Panics
    /// If there are fewer than three layers, or the penalty is not the smooth one.
    pub fn of_network(problem: &Problem, network: &Network) -> Self {
        let layers = network.layers();
        assert!(layers >= 3, "{layers} layers have no second differences");
        let parts = LEAST_STEPS.div_ceil(layers);
        let control = &network.control;
        let at = |node: usize| split(control, control.read(node, 2 * parts));
        let forces = forces(problem, layers * parts, &network.readout, at);
        let n = layers as f64;
        let node = |node: usize| control.read(node, 1);
        let blend = |terms: &[(f64, usize)]| {
            let mut sum = vec![0.0; node(0).len()];
            for (factor, index) in terms {
                add_scaled(&mut sum, *factor, &node(*index));
            }
            sum
        };
        let second = |i: usize| blend(&[(n * n, i - 1), (-2.0 * n * n, i), (n * n, i + 1)]);
        let inner = (1..layers - 1).map(|i| (second(i), &forces[i * parts]));
        let ends =
            [node(0), blend(&[(n, 1), (-n, 0)]), blend(&[(n, layers - 1), (-n, layers - 2)])];
        judge(problem, inner, ends)
    }
}

/// The largest residuals of (second derivative, force) at some depths; `ends` are θ(0), θ'(0), θ'(1).
fn judge<'f>(
    problem: &Problem,
    places: impl Iterator<Item = (Vec<f64>, &'f Vec<f64>)>,
    ends: [Vec<f64>; 3],
) -> Residual {
    let Form::Smooth { tau } = problem.penalty().form else {
        panic!("weight decay has no Euler–Lagrange equation in θ''; ask with the smooth form");
    };
    let weights = problem.kinds()[0].len();
    let [a1, a2] = problem.penalty().factors();
    let (mut inside, mut most) = (0.0f64, 0.0f64);
    for (curvature, force) in places {
        let factor = |index: usize| if index < weights { 2.0 * a1 } else { 2.0 * a2 };
        let terms = curvature.iter().zip(force).enumerate();
        let square = terms.map(|(i, (c, f))| (f - factor(i) * c).powi(2)).sum::<f64>();
        inside = inside.max(square.sqrt());
        most = most.max(dot(force, force).sqrt());
    }
    let [value, slope, end] = ends;
    let start = value.iter().zip(&slope).map(|(v, d)| (d - tau * v).powi(2)).sum::<f64>();
    Residual { inside, force: most, start: start.sqrt(), end: dot(&end, &end).sqrt() }
}

/// Σ_s (σ'(K x + b) ∘ p) xᵀ and Σ_s σ'(K x + b) ∘ p, one after the other, at the ends of Runge–Kutta steps
/// of x' = σ(K(s) x + b(s)), for a control given at s = j/(2 steps).
fn forces(
    problem: &Problem,
    steps: usize,
    readout: &Readout,
    at: impl Fn(usize) -> Vec<Vec<f64>>,
) -> Vec<Vec<f64>> {
    let nodes = 2 * steps + 1;
    let mut values: Vec<Vec<f64>> = vec![Vec::new(); 2];
    for node in 0..nodes {
        values.iter_mut().zip(at(node)).for_each(|(values, own)| values.extend(own));
    }
    let control = Control::new(problem.kinds(), nodes, values);
    let walk = Walk::curve(problem.layer(), control.clone());
    let turn = |end: &Rows<f64>| ((), problem.misfit(end, readout).1);
    let mut all = vec![Vec::new(); steps + 1];
    // The adjoints of the discrete walk are those of the ODE, with errors of the scheme's order.
    let mut visit = |step: usize, x: &Rows<f64>, p: &Rows<f64>| {
        let weights = [0, 1].map(|kind| control.at(kind, 2 * step));
        all[step] = force(problem.layer().activation, weights, x, p);
    };
    walk.there_and_back(problem.inputs(), turn, Some(&mut visit));
    all
}

/// The force of states x with adjoints p, both `[samples, width]`.
fn force(activation: Activation, [k, b]: [&[f64]; 2], x: &Rows<f64>, p: &Rows<f64>) -> Vec<f64> {
    let (samples, width) = (x.rows(), x.width());
    let columns =
        |of: &Rows<f64>, column: usize| of.columns()[column * samples..][..samples].to_vec();
    let (mut by_weight, mut by_bias) = (Vec::new(), Vec::<f64>::new());
    let (mut value, mut slope) = (vec![0.0; samples], vec![0.0; samples]);
    for row in 0..width {
        let mut z = vec![b[row]; samples];
        for column in 0..width {
            add_scaled(&mut z, k[row * width + column], &columns(x, column));
        }
        activation.apply_and_slope(&z, &mut value, &mut slope);
        slope.iter_mut().zip(columns(p, row)).for_each(|(slope, p)| *slope *= p);
        by_weight.extend((0..width).map(|column| dot(&slope, &columns(x, column))));
        by_bias.push(slope.iter().sum());
    }
    by_weight.extend(by_bias);
    by_weight
}

/// The numbers of a node, one after the other, kind by kind.
fn split(control: &Control<f64>, all: Vec<f64>) -> Vec<Vec<f64>> {
    let (weights, biases) = all.split_at(control.kinds()[0].len());
    vec![weights.to_vec(), biases.to_vec()]
}
