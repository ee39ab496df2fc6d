//! Gradients of ⟨ā, x_N⟩ by any method, and their distances from exact ones.

use deeplimit::control::Control;
use deeplimit::gradient::Due;
use deeplimit::scheme::AnyScheme;
use deeplimit::scheme::reversible::{Reversible, Slope};
use deeplimit::{Certificate, Field, Flow, Method, Rows, State, seed};

/// What a way back has found.
pub struct Walked<F: Field> {
    /// The cotangent of x_0.
    pub x0_bar: F::State,
    /// ∂⟨ā, x_N⟩/∂θ.
    pub gradient: F::Gradient,
    /// What the method says about it.
    pub certificate: Certificate,
}

/// There and back by a method; of `ends` the first is x_0, the second the cotangent ā of x_N.
pub fn walk<F: Field>(flow: &Flow<F>, method: &Method, ends: [&F::State; 2]) -> Walked<F> {
    walk_back_on(flow, flow, method, ends)
}

/// There on one flow and back on another.
pub fn walk_back_on<F: Field>(
    there: &Flow<F>,
    back: &Flow<F>,
    method: &Method,
    [x0, bar]: [&F::State; 2],
) -> Walked<F> {
    let (_, recording) = there.record(method, x0);
    let mut gradient = back.field().zero_gradient();
    let (x0_bar, certificate) = back.pull_back(method, recording, bar, &mut gradient);
    Walked { x0_bar, gradient, certificate }
}

/// The cotangent of x_0 and the gradient of a flow whose scheme has an exact inverse, from stored
/// states: every step is undone from the states after it that the way forward met, so that at most
/// one step's rounding is in it. This is what the method `reversible` is held against.
///
/// # Panics
/// If the flow's scheme is a tableau.
pub fn stored<F: Field>(flow: &Flow<F>, [x0, bar]: [&F::State; 2]) -> (F::State, F::Gradient) {
    let AnyScheme::Reversible(scheme) = flow.scheme() else {
        panic!("{} has no exact inverse", flow.scheme())
    };
    let field = flow.field();
    let mut slope = Slope::new(field, scheme.base(), flow.h(), x0);
    let mut passed = vec![scheme.start(&mut slope, x0)];
    for n in 0..flow.steps() {
        let mut states = passed[n].clone();
        scheme.step(&mut slope, n, &mut states);
        passed.push(states);
    }
    let zeros = |like: &F::State| {
        let mut zeros = like.scratch();
        zeros.set_zero();
        zeros
    };
    let mut bars: Vec<F::State> = passed[0].iter().map(zeros).collect();
    bars[0].copy_from(bar);
    let mut gradient = field.zero_gradient();
    let sink = field.open(&mut gradient);
    for n in (0..flow.steps()).rev() {
        let mut states = passed.pop().expect("the states after every step");
        scheme.unstep(&mut slope, n, &mut states, Some((&mut bars, Due::now(&sink))));
    }
    let x0_bar = scheme.start_pull_back(&mut slope, x0, bars, Due::now(&sink));
    drop(sink);
    (x0_bar, gradient)
}

/// ‖a − b‖ / ‖b‖.
pub fn distance<S: State>(a: &S, b: &S) -> f64 {
    (a.distance_squared(b) / b.norm_squared()).sqrt()
}

/// Uniform numbers in [−1, 1], `[samples, width]`.
pub fn random(samples: usize, width: usize, seed: u64) -> Rows<f64> {
    Rows::from_fn(samples, width, |row, column| seed::uniform(seed, (row * width + column) as u64))
}

/// How far the derivative of ⟨ā, x_N⟩ along a random direction of all parameters and x_0 lies from
/// that of a gradient: central differences of order 4 and this step, relative to the size that such
/// a derivative usually has, ‖gradient‖ ‖direction‖ / √numbers.
pub fn against_differences<F: Field<Gradient = Control<f64>>>(
    loss: impl Fn(&Control<f64>, &F::State) -> f64,
    at: (&Control<f64>, &F::State),
    found: &Walked<F>,
    along: (&Control<f64>, &F::State),
    step: f64,
) -> f64 {
    let moved = |by: f64| {
        let mut control = at.0.clone();
        for (values, along) in control.values_mut().iter_mut().zip(along.0.values()) {
            values.iter_mut().zip(along).for_each(|(value, along)| *value += by * along);
        }
        let mut x0 = at.1.clone();
        x0.add_scaled(by, along.1);
        loss(&control, &x0)
    };
    let near = moved(step) - moved(-step);
    let far = moved(2.0 * step) - moved(-2.0 * step);
    let difference = (8.0 * near - far) / (12.0 * step);
    let parameters: f64 = found.gradient.iter().zip(along.0.iter()).map(|(g, d)| g * d).sum();
    let derivative = parameters + found.x0_bar.dot(along.1);
    let size = found.gradient.norm().hypot(found.x0_bar.norm_squared().sqrt());
    // Numbers of the direction have the mean square 1/3, whatever their count.
    (difference - derivative).abs() / (size / 3f64.sqrt())
}
