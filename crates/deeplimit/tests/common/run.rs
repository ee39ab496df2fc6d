//! Running gradient methods, and the error measures of their results.

use super::largest;
use deeplimit::field::{Kinks, Layer};
use deeplimit::gradient::Turn;
use deeplimit::gradient::{Adjoint, Entry, Predictor, REGISTRY, Sweeps};
use deeplimit::prelude::*;
use deeplimit::scheme::AnyScheme;
use std::ops::Range;

/// The method that golden files call so. Names of Heun methods have lost their `heun_`.
pub fn method(golden: &str) -> Method {
    let corrected = |evaluations, refine| {
        let sweeps = Sweeps::Fixed(evaluations);
        Method::Adjoint(Adjoint {
            predictor: Predictor::None,
            sweeps,
            refine,
            anchors: None,
            tolerance: None,
        })
    };
    match golden {
        "C1_euler" | "C1" | "rev" => corrected(2, false),
        "P0C2_corrected" | "C3" | "corrected" => corrected(2, true),
        "corrected2" => corrected(3, true),
        "P1C1_predictor" => parse("P1C1"),
        "APC1e-3" => parse("APC(1e-3)"),
        "APC1e-5" => parse("APC(1e-5)"),
        formula => parse(formula),
    }
}

/// The method of that name or formula.
pub fn parse(name: &str) -> Method {
    name.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// The methods of the registry that walk back through flows with a scheme.
pub fn fitting(scheme: &AnyScheme) -> impl Iterator<Item = &'static Entry> {
    static METHODS: [Entry; REGISTRY.len()] = REGISTRY;
    let fits = METHODS.iter().filter(|entry| entry.method.fits(scheme).is_ok());
    let tableau = matches!(scheme, AnyScheme::RungeKutta(_));
    let expected = if tableau { REGISTRY.len() - 1 } else { 1 };
    assert_eq!(fits.clone().count(), expected, "all but reversible, or reversible alone: {scheme}");
    fits
}

/// The adjoint in a method.
pub fn adjoint(method: Method) -> Adjoint {
    match method {
        Method::Adjoint(adjoint) => adjoint,
        other => panic!("{other:?} is no adjoint"),
    }
}

/// A gradient and its certificate.
pub struct Run<F: Field> {
    pub end: F::State,
    pub x0_bar: F::State,
    pub gradient: F::Gradient,
    pub certificate: Certificate,
}

/// The gradient of ⟨bar, x_N⟩ by a method.
pub fn run<F: Field>(flow: &Flow<F>, method: Method, x0: &F::State, bar: &F::State) -> Run<F> {
    let (end, recording) = flow.record(&method, x0);
    let mut gradient = flow.field().zero_gradient();
    let (x0_bar, certificate) = flow.pull_back(&method, recording, bar, &mut gradient);
    Run { end, x0_bar, gradient, certificate }
}

/// Everything an adjoint went through on its way back.
pub struct Trace<F: Field> {
    /// x̃_0 … x̃_N.
    pub states: Vec<F::State>,
    /// p_0 … p_{N−1}.
    pub points: Vec<F::State>,
    /// The cotangents of x_0 … x_N.
    pub cotangents: Vec<F::State>,
    pub gradient: F::Gradient,
}

/// Walks a batch back as one tile.
pub fn trace<F: Field>(
    flow: &Flow<F>,
    adjoint: Adjoint,
    x0: &F::State,
    bar: &F::State,
) -> Trace<F> {
    use deeplimit::GradientMethod;
    let (end, tape) = adjoint.record(flow, x0.clone(), None);
    let (mut states, mut points) = (vec![end], Vec::new());
    let (mut x0_bar, mut cotangents) = (bar.clone(), vec![bar.clone()]);
    let mut gradient = flow.field().zero_gradient();
    let sink = flow.field().open(&mut gradient);
    adjoint.pull_back_observed(flow, tape, &mut x0_bar, &sink, &Turn::alone(), |layer| {
        states.push(layer.state.clone());
        points.push(layer.point.clone());
        cotangents.push(layer.cotangent.clone());
    });
    drop(sink);
    states.reverse();
    points.reverse();
    cotangents.reverse();
    Trace { states, points, cotangents, gradient }
}

/// ‖G‖ K of the kinks on a method's way back with one anchor: those that are near x̃, or those that are crossed,
/// with the drift of the states where the walk goes on from p.
pub fn kinks<L: Layer<f64>>(
    flow: &Flow<Stacked<f64, L>>,
    method: Method,
    [x0, bar]: [&Rows<f64>; 2],
    kinks: Kinks,
) -> f64 {
    let adjoint = adjoint(method);
    let trace = trace(flow, adjoint, x0, bar);
    let mut stepper = flow.stepper(x0);
    let (mut tape, mut increment, mut drift) = (stepper.step_tape(), x0.scratch(), x0.clone());
    drift.set_zero();
    let mut sum = 0.0;
    for (step, point) in trace.points.iter().enumerate().rev() {
        stepper.linearize_taking(step, &mut point.clone(), &mut increment, &mut tape);
        stepper.pull_back(step, &mut tape, &mut trace.cotangents[step + 1].clone(), None);
        let mut state = trace.states[step + 1].clone();
        state.add_scaled(-flow.h(), &increment);
        let mut likely = state.clone();
        if kinks == Kinks::Crossed && !adjoint.refine {
            likely.add_scaled(1.0, &drift);
        }
        sum += tape.exposure(flow.field(), stepper.scheme(), step, (&likely, kinks));
        drift.add_scaled(1.0, &state);
        drift.add_scaled(-1.0, point);
    }
    sum.sqrt()
}

/// ‖a − b‖ / ‖b‖.
pub fn distance<S: State>(a: &S, b: &S) -> f64 {
    (a.distance_squared(b) / b.norm_squared()).sqrt()
}

/// e_rec = max_n ‖x̃_n − x_n‖ / max_n ‖x_n‖.
pub fn reconstruction_error<S: State>(reconstructed: &[S], exact: &[S]) -> f64 {
    assert_eq!(reconstructed.len(), exact.len(), "x_0 … x_N of both");
    let error = reconstructed.iter().zip(exact).map(|(a, b)| a.distance_squared(b));
    let size = exact.iter().map(State::norm_squared);
    (largest(error) / largest(size)).sqrt()
}

/// Squared norms of (a − b, b) at one node, over some parameter kinds.
fn squares(a: &Control<f64>, b: &Control<f64>, kinds: Range<usize>, node: usize) -> (f64, f64) {
    let pairs = kinds.flat_map(|kind| a.at(kind, node).iter().zip(b.at(kind, node)));
    pairs.fold((0.0, 0.0), |(d, n), (a, b)| (d + (a - b).powi(2), n + b.powi(2)))
}

/// gth: relative error of the parameter gradient over some kinds.
pub fn gradient_error(a: &Control<f64>, exact: &Control<f64>, kinds: Range<usize>) -> f64 {
    let nodes = (0..exact.nodes()).map(|node| squares(a, exact, kinds.clone(), node));
    let (difference, size) = nodes.fold((0.0, 0.0), |(d, n), (e, m)| (d + e, n + m));
    relative(difference, size)
}

/// layer_max: the largest relative error of one layer's gradient.
pub fn layer_error(a: &Control<f64>, exact: &Control<f64>, kinds: Range<usize>) -> f64 {
    let nodes = (0..exact.nodes()).map(|node| squares(a, exact, kinds.clone(), node));
    largest(nodes.map(|(difference, size)| relative(difference, size)))
}

/// The root of a quotient of squares; a gradient that vanishes as it should has no error.
fn relative(difference: f64, size: f64) -> f64 {
    if difference == 0.0 { 0.0 } else { (difference / size).sqrt() }
}

/// Norm of a gradient over some kinds.
pub fn norm(gradient: &Control<f64>, kinds: Range<usize>) -> f64 {
    let values = kinds.flat_map(|kind| &gradient.values()[kind]);
    values.map(|value| value * value).sum::<f64>().sqrt()
}

/// A control with one array a parameter kind, filled by `value(kind, entry)`.
pub fn control_of<L: Layer<f64>>(
    layer: &L,
    nodes: usize,
    value: impl Fn(usize, usize) -> f64,
) -> Control<f64> {
    let mut control = Control::zeros(layer.kinds(), nodes);
    for (kind, values) in control.values_mut().iter_mut().enumerate() {
        values.iter_mut().enumerate().for_each(|(entry, slot)| *slot = value(kind, entry));
    }
    control
}
