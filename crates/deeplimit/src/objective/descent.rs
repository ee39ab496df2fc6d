//! Gradient descent on the weights of a residual network, with a quadratic loss of its map.
//!
//! ```text
//! ℓ = (1/S) Σ ‖x_N − y‖²  or, of a linear network with map Π,  ‖Π − B‖²
//! θ_n ← θ_n − η G_n,   G_n = N ∂ℓ/∂θ_n
//! ```
//!
//! The learning rate carries the factor N, so that GD time t = η · steps means the same at every
//! depth, and networks of different depths can be compared at the same time (Sander, Ablin, Peyré
//! 2022, section 3; for two-matrix layers Marion, Wu, Sander, Biau 2023).
//!
//! With the penalty P of [`control::penalty`](crate::control::penalty) (Thorpe, van Gennip 2023) the
//! objective is ℓ + P, and a step is explicit in the loss and implicit in the penalty:
//!
//! ```text
//! (θ⁺ − θ)/(η N) = −∇ℓ(θ) − ∇P(θ⁺),    θ⁺ = prox(θ − η N ∇ℓ(θ)) = (I + 2 η N α A)⁻¹ (θ − η N ∇ℓ(θ))
//! ```
//!
//! In GD time and as N → ∞ it is a heat equation in depth, ∂θ/∂t = 2 α θ'' − N ∇ℓ. An explicit step
//! would need η < 1/(4 α N²) for it.

use crate::control::{Control, DepthPenalty};
use crate::field::{Layer, Linear, Stacked};
use crate::gradient::{Backprop, MethodTape};
use crate::{Field, Flow, Method, Real, Rows, Scheme, Spare, State};

/// A quadratic loss of the network's map.
#[derive(Clone, Debug)]
pub struct Quadratic<R> {
    inputs: Rows<R>,
    targets: Rows<R>,
    weight: f64,
}

impl<R: Real> Quadratic<R> {
    /// ‖Π − B‖² (Frobenius), for a row-major matrix B `[width, width]` and linear layers.
    ///
    /// # Panics
    /// If B is not square.
    pub fn map(matrix: &Rows<R>) -> Self {
        assert_eq!(matrix.rows(), matrix.width(), "a map to fit is a square matrix");
        let width = matrix.width();
        // The images of the unit vectors are the columns.
        let targets = Rows::from_fn(width, width, |row, column| matrix.at(column, row));
        Self { inputs: identity(width), targets, weight: 1.0 }
    }

    /// (1/S) Σ ‖x_N − y‖² over S samples, one a row.
    ///
    /// # Panics
    /// If inputs and targets do not have the same shape, or there is no sample.
    pub fn data(inputs: Rows<R>, targets: Rows<R>) -> Self {
        let shape = |x: &Rows<R>| (x.rows(), x.width());
        assert_eq!(shape(&inputs), shape(&targets), "one target a sample");
        assert!(inputs.rows() > 0, "a data loss has at least one sample");
        let weight = 1.0 / inputs.rows() as f64;
        Self { inputs, targets, weight }
    }

    /// The samples.
    pub fn inputs(&self) -> &Rows<R> {
        &self.inputs
    }

    /// ℓ.
    pub fn loss<L: Layer<R>>(&self, flow: &Flow<Stacked<R, L>>) -> f64 {
        self.weight * flow.forward(&self.inputs).distance_squared(&self.targets)
    }

    /// ℓ and ∂ℓ/∂θ, by backpropagation through the flow.
    pub fn gradient<L: Layer<R>>(&self, flow: &Flow<Stacked<R, L>>) -> (f64, Control<R>) {
        let mut gradient = flow.field().zero_gradient();
        let method = Method::Backprop(Backprop);
        let loss = self.sweep(flow, &method, &mut gradient, &Spare::default());
        (loss, gradient)
    }

    /// ℓ; ∂ℓ/∂θ takes the place of what `gradient` holds.
    fn sweep<L: Layer<R>>(
        &self,
        flow: &Flow<Stacked<R, L>>,
        method: &Method,
        gradient: &mut Control<R>,
        spare: &Spare<MethodTape<Stacked<R, L>>>,
    ) -> f64 {
        let loss = |end: Rows<R>, samples: std::ops::Range<usize>| {
            let mut residual = end;
            residual.add_scaled(-1.0, &self.targets.slice(samples.start, samples.len()));
            let loss = self.weight * residual.norm_squared();
            residual.scale(2.0 * self.weight);
            (loss, residual)
        };
        flow.gradient(method, &self.inputs, loss, gradient, spare).losses.iter().sum()
    }
}

/// Gradient descent on the weights of a residual network with Euler steps.
///
/// # Example
/// ```
/// use deeplimit::field::{Linear, Stacked};
/// use deeplimit::objective::linear::{Descent, Quadratic};
/// use deeplimit::{Rows, control::Family};
///
/// let rotation = Rows::new(2, 2, &[0.8, -0.6, 0.6, 0.8]);
/// let start = Stacked::<f64, _>::random(Linear { width: 2 }, 50, Family::Zero, 0);
/// let trained = Descent::new(Quadratic::map(&rotation), start, 0.05).advance(400);
/// assert!(trained.loss() < 1e-6);
/// assert!(trained.scaled_increment() < 1.0); // N ‖θ_{n+1} − θ_n‖ stays bounded.
/// ```
#[derive(Clone, Debug)]
pub struct Descent<R, L = Linear> {
    loss: Quadratic<R>,
    flow: Flow<Stacked<R, L>>,
    rate: f64,
    method: Method,
    fixed: Vec<&'static str>,
    penalty: Option<DepthPenalty>,
    steps: usize,
}

impl<R: Real, L: Layer<R>> Descent<R, L> {
    /// Starts from the weights of `field`, with learning rate η = `rate` and gradients by backprop.
    ///
    /// # Panics
    /// If the loss has another width than the field.
    pub fn new(loss: Quadratic<R>, field: Stacked<R, L>, rate: f64) -> Self {
        assert_eq!(loss.inputs.width(), field.layer().width(), "the loss has the field's width");
        let flow = Flow::new(field, Scheme::EULER);
        let method = Method::Backprop(Backprop);
        Self { loss, flow, rate, method, fixed: Vec::new(), penalty: None, steps: 0 }
    }

    /// Gradients by another method.
    ///
    /// # Panics
    /// If the method does not walk Euler steps back.
    pub fn with_method(self, method: Method) -> Self {
        if let Err(misfit) = method.fits(self.flow.scheme()) {
            panic!("{misfit}");
        }
        Self { method, ..self }
    }

    /// Parameter kinds of these names stay as they are, such as the biases of a network that has
    /// none.
    ///
    /// # Panics
    /// If the field has no kind of one of the names.
    pub fn with_fixed(self, names: &[&'static str]) -> Self {
        let kinds = self.control().kinds();
        for name in names {
            let known = || kinds.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
            assert!(kinds.iter().any(|kind| kind.name == *name), "no {name} among {}", known());
        }
        Self { fixed: names.to_vec(), ..self }
    }

    /// With the penalty P = α (N Σ ‖θ_n − θ_{n−1}‖² + τ ‖θ_0‖²) on each trained kind, by proximal steps.
    ///
    /// # Panics
    /// If `alpha` or `tau` is negative.
    pub fn with_penalty(self, alpha: f64, tau: f64) -> Self {
        assert!(alpha >= 0.0 && tau >= 0.0, "a penalty is not negative: α = {alpha}, τ = {tau}");
        let penalty = Some(DepthPenalty { alpha, tau, depth: self.flow.steps() });
        Self { penalty, ..self }
    }

    /// Tiles of `samples` samples instead of the field's own choice: with all samples in one tile a
    /// descent stays on one thread.
    ///
    /// # Panics
    /// If `samples` is zero.
    pub fn with_tile(self, samples: usize) -> Self {
        Self { flow: self.flow.with_tile(samples), ..self }
    }

    /// Some more steps.
    pub fn advance(self, steps: usize) -> Self {
        let free = self.free();
        let Self { loss, mut flow, rate, method, fixed, penalty, steps: done } = self;
        let (mut gradient, spare) = (flow.field().zero_gradient(), Spare::default());
        let length = rate * flow.steps() as f64;
        let (factor, nodes) = (R::of(length), gradient.nodes());
        for _ in 0..steps {
            loss.sweep(&flow, &method, &mut gradient, &spare);
            flow = flow.update(|field| {
                for &kind in &free {
                    let weights = &mut field.control_mut().values_mut()[kind];
                    let pairs = weights.iter_mut().zip(&gradient.values()[kind]);
                    pairs.for_each(|(weight, slope)| *weight -= factor * *slope);
                    if let Some(penalty) = &penalty {
                        penalty.proximal(nodes, length, weights);
                    }
                }
            });
        }
        Self { loss, flow, rate, method, fixed, penalty, steps: done + steps }
    }

    /// The kinds that are trained.
    fn free(&self) -> Vec<usize> {
        let kinds = self.control().kinds().iter().enumerate();
        kinds.filter(|(_, kind)| !self.fixed.contains(&kind.name)).map(|(index, _)| index).collect()
    }

    /// The network.
    pub fn flow(&self) -> &Flow<Stacked<R, L>> {
        &self.flow
    }

    /// The weights.
    pub fn control(&self) -> &Control<R> {
        self.flow.field().control()
    }

    /// Steps done.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// GD time t = η · steps.
    pub fn time(&self) -> f64 {
        self.rate * self.steps as f64
    }

    /// ℓ, without the penalty.
    pub fn loss(&self) -> f64 {
        self.loss.loss(&self.flow)
    }

    /// P of the trained kinds; 0 where there is no penalty.
    pub fn penalty(&self) -> f64 {
        let Some(penalty) = &self.penalty else { return 0.0 };
        let (free, control) = (self.free(), self.control());
        free.iter().map(|kind| penalty.value(control.nodes(), &control.values()[*kind])).sum()
    }

    /// (1/N) Σ_n ‖G_n‖² = N ‖∂ℓ/∂θ‖², the rate at which gradient flow lowers the loss where all
    /// kinds are trained and none is penalised.
    pub fn gradient_norm_squared(&self) -> f64 {
        let (_, gradient) = self.loss.gradient(&self.flow);
        self.flow.steps() as f64 * gradient.norm().powi(2)
    }

    /// N max_n ‖θ_{n+1} − θ_n‖ (2-norm over all numbers of a layer): how steep the weights are as a
    /// function of depth.
    pub fn scaled_increment(&self) -> f64 {
        self.flow.steps() as f64 * self.control().largest_increment()
    }
}

pub(super) fn identity<R: Real>(width: usize) -> Rows<R> {
    Rows::from_fn(width, width, |row, column| if row == column { R::one() } else { R::zero() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Mlp;
    use crate::kernel::Activation;

    fn descent(depth: usize) -> Descent<f64, Mlp> {
        let layer = Mlp { width: 2, hidden: 3, activation: Activation::Tanh };
        let inputs = Rows::from_fn(5, 2, |row, column| (row as f64 + 0.3 * column as f64).cos());
        let targets = Rows::from_fn(5, 2, |row, column| (0.7 * row as f64 - column as f64).sin());
        let loss = Quadratic::data(inputs, targets);
        Descent::new(loss, Stacked::smooth(layer, depth, 3), 0.1)
    }

    #[test]
    fn fixed_kinds_stay_and_the_others_move() {
        let start = descent(7).with_fixed(&["b1", "b2"]);
        let end = start.clone().advance(3);
        for (kind, (a, b)) in
            start.control().values().iter().zip(end.control().values()).enumerate()
        {
            assert_eq!(a == b, kind % 2 == 1, "kind {kind}");
        }
        assert_eq!((end.steps(), end.time()), (3, 0.1 * 3.0));
    }

    /// ∇P of one kind.
    fn slopes(penalty: &DepthPenalty, control: &Control<f64>, kind: usize) -> Vec<f64> {
        let values = &control.values()[kind];
        let mut slopes = vec![0.0; values.len()];
        penalty.add_gradient(control.nodes(), values, &mut slopes);
        slopes
    }

    #[test]
    fn a_penalised_step_is_explicit_in_the_loss_and_implicit_in_the_penalty() {
        for depth in [1, 2, 9] {
            let start = descent(depth).with_fixed(&["b1"]).with_penalty(0.2, 3.0);
            let penalty = DepthPenalty { alpha: 0.2, tau: 3.0, depth };
            let (_, gradient) = start.loss.gradient(start.flow());
            let end = start.clone().advance(1);
            let length = start.rate * depth as f64;
            for kind in [0, 2, 3] {
                let (before, after) =
                    (&start.control().values()[kind], &end.control().values()[kind]);
                let balance = slopes(&penalty, end.control(), kind);
                for (i, loss) in gradient.values()[kind].iter().enumerate() {
                    let residual = after[i] - before[i] + length * (loss + balance[i]);
                    // Roundings of η N ∇P, up to η N λ = 0.1 · 9 · 0.2 · 8 · 9 = 13.
                    assert!(residual.abs() < 1e-13, "depth {depth}, kind {kind}: {residual}");
                }
            }
            assert_eq!(start.control().values()[1], end.control().values()[1], "b1 is fixed");
            let trained = [0, 2, 3].map(|kind| &end.control().values()[kind][..]);
            let expected: f64 = trained.iter().map(|values| penalty.value(depth, values)).sum();
            assert!((end.penalty() - expected).abs() < 1e-14 * expected, "b1 is not penalised");
        }
    }

    #[test]
    fn a_penalised_descent_is_stable_where_explicit_steps_are_not() {
        let mut descent = descent(64).with_penalty(0.1, 1.0);
        let curvature = DepthPenalty { alpha: 0.1, tau: 1.0, depth: 64 }.largest_curvature(64);
        assert!(descent.rate * 64.0 * curvature > 100.0 * 2.0, "explicit steps need 2");
        let mut objective = descent.loss() + descent.penalty();
        for _ in 0..30 {
            descent = descent.advance(1);
            let next = descent.loss() + descent.penalty();
            assert!(next < objective, "step {}: {objective} to {next}", descent.steps());
            objective = next;
        }
    }

    #[test]
    fn the_loss_falls_at_the_rate_of_the_gradients_norm() {
        // Explicit Euler steps of gradient flow: ℓ(t + η) = ℓ − η (1/N) Σ ‖G‖² + O(η²).
        for (rate, tolerance) in [(1e-3, 0.02), (1e-4, 0.002)] {
            let start = Descent { rate, ..descent(4) };
            let fall = (start.loss() - start.clone().advance(1).loss()) / rate;
            let expected = start.gradient_norm_squared();
            assert!((fall / expected - 1.0).abs() < tolerance, "{fall} {expected}");
        }
    }

    #[test]
    fn a_descent_is_the_same_in_pieces_and_with_an_exact_method() {
        let whole = descent(6).advance(8);
        let pieces = descent(6).advance(3).advance(5);
        assert_eq!(whole.control(), pieces.control());
        let checkpoint = "checkpoint".parse().expect("a method");
        let other = descent(6).with_method(checkpoint).advance(8);
        assert!(other.control().relative_error(whole.control()) < 1e-13);
        let adjoint = "adjoint-published".parse().expect("a method");
        let near = descent(6).with_method(adjoint).advance(8);
        let error = near.control().relative_error(whole.control());
        assert!(error > 1e-6 && error < 0.1, "an adjoint has an error of order 1/N: {error}");
    }

    #[test]
    #[should_panic(expected = "no b3 among w1, b1, w2, b2")]
    fn kinds_that_are_not_there_cannot_be_fixed() {
        let _ = descent(2).with_fixed(&["b3"]);
    }
}
