//! Objectives whose optima, and the way there, are known.
//!
//! [`linear`]: deep linear residual networks under gradient descent.

pub mod linear;
