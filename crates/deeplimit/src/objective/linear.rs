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
//! loss goes to zero exponentially. [`Guarantee`] has the constants; [`Descent`] and [`Quadratic`]
//! are those of any layer.

pub use super::descent::{Descent, Quadratic};

use super::descent::identity;
use crate::limit::{Interpolant, NeuralOde, spectral_norm};
use crate::{Real, Rows};
use serde::Serialize;

impl<R: Real> Descent<R> {
    /// max_n ‖θ_n‖₂.
    pub fn largest_weight(&self) -> f64 {
        let width = self.flow().field().layer().width;
        let norms = (0..self.flow().steps()).map(|n| spectral_norm(self.control().at(0, n), width));
        norms.fold(0.0, f64::max)
    }

    /// Π as a row-major matrix.
    pub fn map(&self) -> Rows<R> {
        let width = self.flow().field().layer().width;
        let images = self.flow().forward(&identity(width));
        Rows::from_fn(width, width, |row, column| images.at(column, row))
    }

    /// max_n ‖Π_n − Y(s_n)‖ (Frobenius), where Π_n are the first n layers and Y' = Θ(s) Y with the
    /// weights interpolated in depth (`substeps` substeps a layer).
    ///
    /// # Panics
    /// If `substeps` is zero.
    pub fn ode_distance(&self, substeps: usize) -> f64 {
        let ode = NeuralOde::new(self.flow(), Interpolant::Weight).with_substeps(substeps);
        ode.distance(&identity(self.flow().field().layer().width))
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
