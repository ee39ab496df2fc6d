//! Errors of a method on a network.

use crate::experiment::walks::{distance, walk};
use deeplimit::control::Control;
use deeplimit::gradient::{Adjoint, GradientMethod, Turn, larger};
use deeplimit::{Field, Flow, Method, State};

/// Errors of one method on one network.
#[derive(Default)]
pub struct Errors {
    pub reconstruction: Option<f64>,
    pub state: f64,
    pub gradient: f64,
    pub cotangent: f64,
    pub estimate: f64,
    pub cost: f64,
}

impl Errors {
    pub fn of<F: Field<Gradient = Control<f64>>>(
        flow: &Flow<F>,
        method: &Method,
        ends: [&F::State; 2],
        (x0_bar, gradient): &(F::State, Control<f64>),
        states: &[F::State],
    ) -> Self {
        let found = walk(flow, method, ends);
        let reconstruction = match method {
            Method::Adjoint(adjoint) => Some(reconstruction(flow, adjoint, ends, states)),
            _ => None,
        };
        Self {
            reconstruction,
            state: found.certificate.state_error(),
            gradient: found.gradient.relative_error(gradient),
            cotangent: distance(&found.x0_bar, x0_bar),
            estimate: found.certificate.error_estimate(),
            cost: found.certificate.cost_units,
        }
    }
}

/// e_rec of an adjoint.
fn reconstruction<F: Field>(
    flow: &Flow<F>,
    adjoint: &Adjoint,
    [x0, bar]: [&F::State; 2],
    states: &[F::State],
) -> f64 {
    let (_, tape) = adjoint.record(flow, x0.clone(), None);
    let (mut bar, mut gradient) = (bar.clone(), flow.field().zero_gradient());
    let sink = flow.field().open(&mut gradient);
    let mut largest = 0.0;
    adjoint.pull_back_observed(flow, tape, &mut bar, &sink, &Turn::alone(), |passage| {
        let error = passage.state.distance_squared(&states[passage.layer]);
        largest = larger(largest, error);
    });
    let size = states.iter().map(State::norm_squared).fold(0.0, f64::max);
    (largest / size).sqrt()
}
