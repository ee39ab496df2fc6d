//! Objectives whose optima, and the way there, are known.
//!
//! [`descent`]: gradient descent at equal time for any depth; [`linear`]: deep linear residual
//! networks under it; [`variational`]: networks whose minimisers have a deep limit.

pub mod descent;
pub mod linear;
pub mod variational;
