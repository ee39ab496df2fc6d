//! The deep limit of a residual network: its neural ODE, and how far the network is from it.
//!
//! ```text
//! x_{n+1} = x_n + h f_n(x_n),  f_n = f(·, θ_n)         the network, h = 1/N
//! x'(s)   = φ(x(s), s),        φ(·, s_n) = f_n          a neural ODE that interpolates it
//! ```
//!
//! [`NeuralOde`] solves the ODE of either [`Interpolant`] and measures the distance
//! max_n ‖x_n − x(s_n)‖; [`Bounds`] bounds it from constants along the trajectories (Sander, Ablin,
//! Peyré 2022, section 3, sharpened; for the limit N → ∞ itself Thorpe, van Gennip 2018).
//! Norms over a batch are those of all its numbers.
//!
//! For bounded weights the function interpolant is always near, at a distance of order 1/N, even
//! where the weights jump from layer to layer; the weight interpolant is near only where they vary
//! smoothly. Weights that grow like √N ("diffusive") have neither.
//!
//! A control that is a function of depth ([`Curve`](crate::control::Curve)) has one limit, whatever depth it
//! is sampled at: [`deep_limit`] solves that by [`DormandPrince`], to a tolerance.
//!
//! What can be told without an ODE: [`DepthSlopes`] and [`Roughness`] tell the [`Regime`] of weights
//! from their variation in depth, over a family of networks or in a single one; [`Gaps`] compare a
//! network with neighbours of its own weights; [`Amplification`] is what happens to errors on the
//! way back. [`Diagnosis`] puts it all together for one flow, and says what it means.
//!
//! # Example
//! ```
//! use deeplimit::limit::{Bounds, Interpolant, NeuralOde};
//! use deeplimit::prelude::*;
//!
//! let shape = Mlp { width: 4, hidden: 8, activation: Activation::Tanh };
//! let flow = Flow::new(Stacked::<f64, _>::smooth(shape, 100, 1), Scheme::EULER);
//! let x0 = Rows::from_fn(1, 4, |_, column| column as f64 - 1.5);
//!
//! let distance = NeuralOde::new(&flow, Interpolant::Function).distance(&x0);
//! let bounds = Bounds::measure(&flow, &x0, 8)?;
//! assert!(distance <= bounds.local && bounds.local <= bounds.smooth);
//! # Ok::<(), deeplimit::limit::NotEuler>(())
//! ```

mod amplification;
mod bounds;
mod deep;
pub mod diagnosis;
mod dormand_prince;
mod eigenvalues;
mod estimators;
mod ode;
mod scaling;
mod slope;
mod spectral;
mod stack;

pub use amplification::Amplification;
pub use bounds::{Bounds, NotEuler};
pub use deep::deep_limit;
pub use diagnosis::Diagnosis;
pub use dormand_prince::{DormandPrince, OdeError, Solution};
pub use eigenvalues::eigenvalues;
pub use estimators::Gaps;
pub use ode::{Interpolant, NeuralOde};
pub use scaling::{DepthFeatures, DepthSlopes, Regime, Roughness};
pub use slope::Slope;
pub use spectral::{Jacobian, LipschitzLayer, lipschitz_bound, logarithmic_norm, spectral_norm};
pub use stack::{DepthStack, ScalingError};
