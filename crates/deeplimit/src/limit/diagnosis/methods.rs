//! Reconstruction and gradient error of every gradient method that walks a flow's scheme back.

use super::Diagnosed;
use super::parts::ratio;
use crate::control::Control;
use crate::gradient::{Adjoint, REGISTRY, larger};
use crate::limit::ode::largest;
use crate::{Bytes, Certificate, Field, Flow, Method, Real, Rows};
use serde::Serialize;

/// The tolerance of the certified method that is tried, and the gradient error that is asked for.
pub(super) const TOLERANCE: f64 = 1e-3;

/// A gradient method on this flow, in double and in single precision; all errors are against exact
/// gradients in double precision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodErrors {
    /// Its name in configurations.
    pub method: String,
    /// The tolerance it was given, as `gradient.tolerance`.
    pub tolerance: Option<f64>,
    /// In double precision: the method's own error.
    pub double: Errors,
    /// In single precision, as networks train.
    pub single: Errors,
    /// Bytes kept from the way forward to the way back, in single precision, for the whole batch.
    pub tape_bytes: usize,
    /// Evaluations of all layers; a pull-back counts 2.
    pub cost_units: f64,
}

/// Relative errors of one gradient, and what its certificate said of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Errors {
    /// Of ∂loss/∂θ over all layers.
    pub gradient: f64,
    /// The largest of a single control node's.
    pub worst_layer: f64,
    /// Of ∂loss/∂x_0.
    pub x0_gradient: f64,
    /// e_0: of the reconstructed x_0; the largest over the anchors where there are several.
    pub reconstruction: f64,
    /// The certificate's estimate of the gradient's error.
    pub estimate: f64,
    /// Layers (over all tiles) at which the fixed-point iteration did not contract.
    pub stalled: usize,
    /// Share of layers and samples that were walked again with stored steps.
    pub again: f64,
}

/// What a method found.
struct Found {
    gradient: Control<f64>,
    x0_bar: Rows<f64>,
    certificate: Certificate,
    tape_bytes: usize,
}

/// Every method of the registry that fits, and the adaptive one with a tolerance.
pub(super) fn compare<F: Diagnosed>(
    flow: &Flow<F>,
    x0: &Rows<f64>,
    cotangent: &Rows<f64>,
) -> Vec<MethodErrors> {
    let mut methods: Vec<(String, Option<f64>, Method)> = Vec::new();
    for entry in REGISTRY.iter().filter(|entry| entry.method.fits(flow.scheme()).is_ok()) {
        methods.push((entry.name.to_owned(), None, entry.method));
        if let ("adjoint-adaptive", Method::Adjoint(adjoint)) = (entry.name, entry.method) {
            let certified: Adjoint = adjoint.within(TOLERANCE);
            methods.push((entry.name.to_owned(), Some(TOLERANCE), Method::Adjoint(certified)));
        }
    }
    let single = Flow::new(flow.field().single(), flow.scheme().clone()).with_step(flow.h());
    let (states, bars) = (F::state(x0.clone()), F::state(cotangent.clone()));
    let (single_states, single_bars) = (F::single_state(x0), F::single_state(cotangent));
    // The first method that fits is exact: backprop for tableaux, reversible for its schemes.
    let mut exact: Option<Found> = None;
    let mut rows = Vec::new();
    for (name, tolerance, method) in methods {
        let double = run(flow, &method, &states, &bars, F::rows);
        let single = run(&single, &method, &single_states, &single_bars, F::single_rows);
        let reference = exact.as_ref().unwrap_or(&double);
        rows.push(MethodErrors {
            method: name,
            tolerance,
            double: errors(&double, reference),
            single: errors(&single, reference),
            tape_bytes: single.tape_bytes,
            cost_units: single.certificate.cost_units,
        });
        exact.get_or_insert(double);
    }
    rows
}

fn run<R: Real, F: Field<Gradient = Control<R>>>(
    flow: &Flow<F>,
    method: &Method,
    x0: &F::State,
    cotangent: &F::State,
    rows: impl Fn(F::State) -> Rows<f64>,
) -> Found {
    let (_, recording) = flow.record(method, x0);
    let tape_bytes = recording.bytes();
    let mut gradient = flow.field().zero_gradient();
    let (x0_bar, certificate) = flow.pull_back(method, recording, cotangent, &mut gradient);
    Found { gradient: gradient.cast(), x0_bar: rows(x0_bar), certificate, tape_bytes }
}

fn errors(found: &Found, exact: &Found) -> Errors {
    let (gradient, reference) = (&found.gradient, &exact.gradient);
    let node = |node: usize| {
        let (mut difference, mut size) = (0.0, 0.0);
        for kind in 0..reference.kinds().len() {
            for (a, b) in gradient.at(kind, node).iter().zip(reference.at(kind, node)) {
                difference += (a - b) * (a - b);
                size += b * b;
            }
        }
        [difference, size]
    };
    let nodes: Vec<[f64; 2]> = (0..reference.nodes()).map(node).collect();
    let total = |what: usize| nodes.iter().map(|node| node[what]).sum::<f64>().sqrt();
    let x0 = crate::State::distance_squared(&found.x0_bar, &exact.x0_bar).sqrt();
    let certificate = &found.certificate;
    Errors {
        gradient: ratio(total(0), total(1)),
        worst_layer: largest(nodes.iter().map(|[a, b]| ratio(a.sqrt(), b.sqrt()))),
        x0_gradient: ratio(x0, crate::State::norm_squared(&exact.x0_bar).sqrt()),
        reconstruction: larger(0.0, certificate.largest_state_error()),
        estimate: certificate.error_estimate(),
        stalled: certificate.stalled,
        again: certificate.again,
    }
}
