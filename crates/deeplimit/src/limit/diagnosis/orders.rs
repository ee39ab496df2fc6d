//! How the end state of a flow changes with its depth, at weights that stay the same function of
//! depth.

use super::Diagnosed;
use super::parts::ratio;
use crate::control::{Control, Position};
use crate::limit::ode::largest;
use crate::{Flow, Rows, State};
use serde::Serialize;

/// The flow with its control refined: θ at and half-way between the nodes (and at the quarters),
/// linearly interpolated, walked with twice (four times) as many steps of half (a quarter) the size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Doubling {
    /// ‖x_N − x_N^{(2N)}‖ / ‖x_N − x_0‖.
    pub once: f64,
    /// ‖x_N^{(2N)} − x_N^{(4N)}‖ / ‖x_N − x_0‖.
    pub twice: f64,
    /// log₂ of their ratio: the observed order; None where a gap is not above rounding.
    pub order: Option<f64>,
    /// The scheme's own order, which weights that are smooth in depth show.
    pub expected: usize,
}

/// Refines and walks.
pub(super) fn doubling<F: Diagnosed>(flow: &Flow<F>, x0: &Rows<f64>, end: &Rows<f64>) -> Doubling {
    let x0_state = F::state(x0.clone());
    let [double, four] = [2, 4].map(|factor| {
        let refined =
            Flow::new(flow.field().with_control(refined(flow, factor)), flow.scheme().clone());
        let refined = refined.with_step(flow.h() / factor as f64);
        F::rows(refined.forward(&x0_state))
    });
    let change = end.distance_squared(x0).sqrt();
    let [once, twice] =
        [end.distance_squared(&double), double.distance_squared(&four)].map(f64::sqrt);
    // Differences of states are known to some hundred roundings of their size.
    let known = once.min(twice) > 1e-13 * end.norm_squared().sqrt();
    Doubling {
        once: ratio(once, change),
        twice: ratio(twice, change),
        order: known.then(|| (once / twice).log2()),
        expected: flow.scheme().order(),
    }
}

/// The control at `factor` times as many steps. After its last node it stays constant.
fn refined<F: Diagnosed>(flow: &Flow<F>, factor: usize) -> Control<f64> {
    let control = flow.field().control();
    let nodes = flow.scheme().nodes_for(factor * flow.steps());
    let last = control.nodes() - 1;
    let values = (0..control.kinds().len()).map(|kind| {
        let node = |node: usize| {
            let Position { node, fraction } = Position::at(node as f64 / factor as f64);
            let [here, next] = [node, node + 1].map(|node| control.at(kind, node.min(last)));
            here.iter().zip(next).map(move |(a, b)| a + fraction * (b - a))
        };
        (0..nodes).flat_map(node).collect()
    });
    Control::new(control.kinds().to_vec(), nodes, values.collect())
}

/// The size of what neighbouring layers do differently: (h/4) mean_n ‖f_{n+1}(x_n) − f_n(x_n)‖²/‖x_n‖²,
/// the share of the state by which the Itô term ½ Σ h² J_n f_n of independent layers, or the
/// quadratic variation of the state's path, moves it.
pub(super) fn ito<F: Diagnosed>(flow: &Flow<F>, network: &[Rows<f64>]) -> f64 {
    let field = flow.field();
    let start = F::state(network[0].clone());
    let (mut tape, mut here, mut next) = (field.tape(&start), start.scratch(), start.scratch());
    let mut sum = 0.0;
    let pairs = flow.steps().min(field.nodes()) - 1;
    for (layer, x) in network.iter().take(pairs).enumerate() {
        let x = F::state(x.clone());
        field.eval(Position::node(layer), &x, &mut here, &mut tape);
        field.eval(Position::node(layer + 1), &x, &mut next, &mut tape);
        let size = x.norm_squared();
        sum += if size == 0.0 { 0.0 } else { here.distance_squared(&next) / size };
    }
    flow.h() * flow.steps() as f64 * sum
        / (4.0 * flow.steps() as f64 * largest([1.0, pairs as f64]))
}
