//! Residual networks of any depth, trained in the memory of one layer, and their deep limit.
//!
//! ```text
//! x_{n+1} = x_n + h f(x_n, θ_n),   h = 1/N,   n = 0 … N-1      residual network = Euler steps
//! x'(s)   = f(x(s), θ(s)),         s ∈ [0, 1]                   its deep limit, a neural ODE
//! ```
//!
//! Notation, used throughout: `x` state, `a` adjoint (cotangent of the state), `h` step, `n` layer,
//! `N` depth, `s = n h` depth time, `θ` parameters, `f` field (the residual function).
//!
//! - [`field`]: residual functions with hand-written pull-backs, and the [`Field`] trait.
//! - [`control`]: depth-stacked parameters `[N, …]`, and functions of depth that they are samples of.
//! - [`scheme`]: explicit Runge–Kutta steps in depth, and steps with an exact inverse.
//! - [`gradient`]: how the pull-back of a flow gets the states it needs, and its certificate.
//! - [`flow`]: field + control + scheme; walked tile by tile on all cores.
//! - [`limit`]: the neural ODE of a network, and how far the network is from it.
//! - [`objective`]: losses and problems whose optima are known.
//! - [`kernel`]: matrix products and activations; the only room with `unsafe`.
//!
//! # Example
//!
//! A gradient of a deep network whose memory does not grow with depth:
//!
//! ```
//! use deeplimit::prelude::*;
//!
//! let shape = Mlp { width: 8, hidden: 16, activation: Activation::Tanh };
//! let field = Stacked::<f64, _>::smooth(shape, 100, 1); // 100 layers, seed 1
//! let flow = Flow::new(field, Scheme::EULER);
//! let method: Method = "adjoint-adaptive".parse()?;
//!
//! let x0 = Rows::from_fn(32, 8, |row, column| ((row * 8 + column) as f64).sin());
//! let (x_end, recording) = flow.record(&method, &x0);
//! let mut gradient = flow.field().zero_gradient();
//! let (x0_bar, certificate) = flow.pull_back(&method, recording, &x_end, &mut gradient);
//! assert_eq!(x0_bar.rows(), 32);
//! assert!(certificate.error_estimate() < 1e-2);
//! # Ok::<(), deeplimit::gradient::UnknownMethod>(())
//! ```

pub mod control;
pub mod field;
pub mod flow;
pub mod gradient;
pub mod kernel;
pub mod limit;
pub mod objective;
mod real;
mod rows;
pub mod scheme;
pub mod seed;
mod state;
mod tiles;

pub use field::Field;
pub use flow::Flow;
pub use gradient::{Certificate, GradientMethod, Method};
pub use real::Real;
pub use rows::Rows;
pub use scheme::{AnyScheme, Scheme};
pub use state::{Bytes, Heap, State};
pub use tiles::{Recording, Spare, Sweep};

/// The names most programs import.
pub mod prelude {
    pub use crate::control::Control;
    pub use crate::field::{AnyLayer, Conv, Dense, Field, Linear, Mlp, Stacked};
    pub use crate::flow::Flow;
    pub use crate::gradient::{Certificate, GradientMethod, Method};
    pub use crate::kernel::Activation;
    pub use crate::{AnyScheme, Bytes, Real, Rows, Scheme, State};
}
