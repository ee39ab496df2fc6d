//! Objectives whose optima, and the way there, are known.
//!
//! [`descent`]: gradient descent at equal time for any depth; [`linear`]: deep linear residual
//! networks under it.

pub mod descent;
pub mod linear;
