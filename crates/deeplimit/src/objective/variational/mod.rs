//! The variational problem whose minimisers have a deep limit (Thorpe, van Gennip 2018, 2023).
//!
//! ```text
//! x_{i+1} = x_i + (1/n) σ(K_i x_i + b_i),   i = 0 … n − 1
//! E_n = (1/S) Σ ‖g(W x_n + c) − y‖² + R_n(K) + R_n(b) + a₃ ‖W‖² + a₄ ‖c‖²
//! R_n(K) = a₁ [ n Σ_{i≥1} ‖K_i − K_{i−1}‖² + τ ‖K_0‖² ],   R_n(b) the same with a₂
//!
//! x' = σ(K(s) x + b(s)),   s ∈ [0, 1]
//! E_∞ = the same misfit of x(1) + a₁ [ ∫ ‖K'‖² ds + τ ‖K(0)‖² ] + …
//! ```
//!
//! For a Lipschitz continuous σ with σ(0) = 0, a continuous g and positive penalties the minima of E_n
//! tend to that of E_∞, and from every sequence of minimisers one can take a part that tends to a
//! minimiser of E_∞, in L² and uniformly. The theorem says nothing of rates or of uniqueness: local
//! minima are many, and where the limit is a non-degenerate minimum ([`least_curvature`]) a branch of
//! minimisers followed over n approaches it like 1/n. Without the penalty of the differences, or with
//! weight decay ([`Form::Decay`]) in its place, nothing makes neighbouring layers alike: where a layer has
//! several minima of its own, minimisers have no limit as functions of depth. (Where decay is strong
//! enough for the data to leave one, they may have.)
//!
//! - [`Problem`]: data, nonlinearities, penalties.
//! - [`Discrete`]: E_n and its gradient, in variables in which the penalty is a plain square.
//! - [`Continuum`]: E_∞ by the Ritz method, in polynomials of a fixed degree; [`Limit`]: its minimiser.
//! - [`minimise`]: L-BFGS, then Newton steps; [`lowest`]: from many starts.
//! - [`Limit::distances`], [`Residual`]: how near networks are to it, and to its Euler–Lagrange equation.
//!
//! # Example
//! ```
//! use deeplimit::objective::variational::{Discrete, Form, Network, Penalty, Problem, minimise};
//! use deeplimit::{Rows, kernel::Activation};
//!
//! let inputs = Rows::new(4, 2, &[1.0, 0.2, 0.4, 0.9, -0.7, 0.1, -0.2, -1.0]);
//! let classes = Rows::new(4, 1, &[1.0, -1.0, 1.0, -1.0]);
//! let form = Form::Smooth { tau: 1.0 };
//! let penalty = Penalty { form, weights: 0.01, biases: 0.01, readout: 0.01, offset: 0.01 };
//! let problem = Problem::new(inputs, classes, Activation::Tanh, Activation::Tanh, penalty)?;
//!
//! let networks = Discrete::new(&problem, 8);
//! let start = networks.variables(&Network::random(&problem, 8, 1));
//! let minimum = minimise(&networks, &start, 1e-9, 500);
//! assert!(minimum.gradient_norm() <= 1e-9);
//! let deeper = networks.network(&minimum.variables).prolonged(16); // A start for n = 16.
//! assert_eq!(deeper.layers(), 16);
//! # Ok::<(), deeplimit::objective::variational::ProblemError>(())
//! ```

mod basis;
mod continuum;
mod distance;
mod minimise;
mod network;
mod problem;
mod residual;
mod starts;
mod walk;

pub use continuum::{Continuum, Limit};
pub use distance::Distances;
pub use minimise::{Minimum, Objective, descend, least_curvature, minimise};
pub use network::{Discrete, Energy, Network};
pub use problem::{Form, Penalty, Problem, ProblemError, Readout};
pub use residual::Residual;
pub use starts::{Effort, Found, lowest};
