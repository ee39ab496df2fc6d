//! Deep linear residual networks under gradient descent (Sander, Ablin, Peyré 2022, section 3).
//!
//! ```text
//! Π = (I + θ_{N−1}/N) … (I + θ_0/N),     ℓ = ‖Π − B‖²  or  (1/S) Σ ‖Π x − y‖²
//! θ_n ← θ_n − η G_n,   G_n = N ∂ℓ/∂θ_n
//! ```
//!
//! The learning rate carries the factor N, so that GD time t = η · steps means the same at every
//! depth. Started from weights smooth in depth, the weights then stay smooth, N ‖θ_{n+1} − θ_n‖
//! bounded uniformly in N and t, and network and neural ODE stay within O(1/N) of each other; the
//! loss goes to zero exponentially. [`Guarantee`] has the constants.

use crate::control::Control;
use crate::field::{Linear, Stacked};
use crate::gradient::Backprop;
use crate::limit::{Interpolant, NeuralOde, spectral_norm};
use crate::{Field, Flow, Real, Rows, Scheme, State};
use serde::Serialize;

/// A quadratic loss of the network's map.
#[derive(Clone, Debug)]
pub struct Quadratic<R> {
    inputs: Rows<R>,
    targets: Rows<R>,
    weight: f64,
}

impl<R: Real> Quadratic<R> {
    /// ‖Π − B‖² (Frobenius), for a row-major matrix B `[width, width]`.
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

    /// (1/S) Σ ‖Π x − y‖² over S samples, one a row.
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

    /// ℓ.
    pub fn loss(&self, flow: &Flow<Stacked<R, Linear>>) -> f64 {
        self.weight * flow.forward(&self.inputs).distance_squared(&self.targets)
    }

    /// ℓ and ∂ℓ/∂θ, by backpropagation through the flow.
    pub fn gradient(&self, flow: &Flow<Stacked<R, Linear>>) -> (f64, Control<R>) {
        let (mut residual, recording) = flow.record(&Backprop, &self.inputs);
        residual.add_scaled(-1.0, &self.targets);
        let loss = self.weight * residual.norm_squared();
        residual.scale(2.0 * self.weight);
        let mut gradient = flow.field().zero_gradient();
        flow.pull_back(&Backprop, recording, &residual, &mut gradient);
        (loss, gradient)
    }
}

/// Gradient descent on the weights of a deep linear residual network.
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
pub struct Descent<R> {
    loss: Quadratic<R>,
    flow: Flow<Stacked<R, Linear>>,
    rate: f64,
    steps: usize,
}

impl<R: Real> Descent<R> {
    /// Starts from the weights of `field`, with learning rate η = `rate`.
    ///
    /// # Panics
    /// If the loss has another width than the field.
    pub fn new(loss: Quadratic<R>, field: Stacked<R, Linear>, rate: f64) -> Self {
        assert_eq!(loss.inputs.width(), field.layer().width, "the loss has the field's width");
        Self { loss, flow: Flow::new(field, Scheme::EULER), rate, steps: 0 }
    }

    /// Some more steps.
    pub fn advance(self, steps: usize) -> Self {
        let Self { loss, mut flow, rate, steps: done } = self;
        for _ in 0..steps {
            let (_, gradient) = loss.gradient(&flow);
            let factor = R::of(rate * flow.steps() as f64);
            let mut field = flow.into_field();
            let weights = field.control_mut().values_mut().iter_mut().flatten();
            weights.zip(gradient.iter()).for_each(|(weight, g)| *weight -= factor * g);
            flow = Flow::new(field, Scheme::EULER);
        }
        Self { loss, flow, rate, steps: done + steps }
    }

    /// The network.
    pub fn flow(&self) -> &Flow<Stacked<R, Linear>> {
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

    /// ℓ.
    pub fn loss(&self) -> f64 {
        self.loss.loss(&self.flow)
    }

    /// (1/N) Σ_n ‖G_n‖² = N ‖∂ℓ/∂θ‖², the rate at which gradient flow lowers the loss.
    pub fn gradient_norm_squared(&self) -> f64 {
        let (_, gradient) = self.loss.gradient(&self.flow);
        self.flow.steps() as f64 * gradient.norm().powi(2)
    }

    /// N max_n ‖θ_{n+1} − θ_n‖ (Frobenius): how steep the weights are as a function of depth.
    pub fn scaled_increment(&self) -> f64 {
        self.flow.steps() as f64 * self.control().largest_increments()[0]
    }

    /// max_n ‖θ_n‖₂.
    pub fn largest_weight(&self) -> f64 {
        let width = self.flow.field().layer().width;
        let norms = (0..self.flow.steps()).map(|n| spectral_norm(self.control().at(0, n), width));
        norms.fold(0.0, f64::max)
    }

    /// Π as a row-major matrix.
    pub fn map(&self) -> Rows<R> {
        let width = self.flow.field().layer().width;
        let images = self.flow.forward(&identity(width));
        Rows::from_fn(width, width, |row, column| images.at(column, row))
    }

    /// max_n ‖Π_n − Y(s_n)‖ (Frobenius), where Π_n are the first n layers and Y' = Θ(s) Y with the
    /// weights interpolated in depth (`substeps` substeps a layer).
    ///
    /// # Panics
    /// If `substeps` is zero.
    pub fn ode_distance(&self, substeps: usize) -> f64 {
        let ode = NeuralOde::new(&self.flow, Interpolant::Weight).with_substeps(substeps);
        ode.distance(&identity(self.flow.field().layer().width))
    }
}

/// What gradient flow on ‖Π − B‖² is sure to do, as long as max_n ‖θ_n‖₂ ≤ ρ ≤ 1.
///
/// The gradient satisfies ‖A_nᵀ R B_nᵀ‖ ≥ e^{−ρ} ‖R‖ (A_n, B_n the products above and below layer
/// n, R = Π − B), which makes the loss decay; and N (G_{n+1} − G_n) is of the size of the loss'
/// root and of ρ, which keeps the weights smooth in depth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Guarantee {
    /// ρ.
    pub radius: f64,
    /// ℓ at time 0.
    pub initial_loss: f64,
    /// N max_n ‖θ_{n+1} − θ_n‖ at time 0.
    pub initial_increment: f64,
}

impl Guarantee {
    /// For a descent that stands at its start.
    pub fn new<R: Real>(radius: f64, start: &Descent<R>) -> Self {
        let (initial_loss, initial_increment) = (start.loss(), start.scaled_increment());
        Self { radius, initial_loss, initial_increment }
    }

    /// ℓ(t) ≤ ℓ(0) exp(−4 e^{−2ρ} t).
    pub fn loss(&self, time: f64) -> f64 {
        self.initial_loss * (-4.0 * (-2.0 * self.radius).exp() * time).exp()
    }

    /// N ‖θ_{n+1} − θ_n‖ ≤ its start + 2 ρ e^{3ρ} √ℓ(0), at all times.
    pub fn scaled_increment(&self) -> f64 {
        self.initial_increment + 2.0 * self.radius * self.travel()
    }

    /// ‖θ_n(t) − θ_n(0)‖ ≤ e^{3ρ} √ℓ(0), at all times.
    pub fn travel(&self) -> f64 {
        (3.0 * self.radius).exp() * self.initial_loss.sqrt()
    }

    /// Whether ρ is sure to hold at all times for weights that start within `start` of zero: from
    /// zero weights and with ρ = 1/3, if ‖B − I‖ ≤ 1/(3e).
    pub fn closes(&self, start: f64) -> bool {
        self.radius <= 1.0 && start + self.travel() <= self.radius
    }
}

fn identity<R: Real>(width: usize) -> Rows<R> {
    Rows::from_fn(width, width, |row, column| if row == column { R::one() } else { R::zero() })
}
