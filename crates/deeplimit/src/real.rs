//! The element types of the CPU fields: `f32` and `f64`.

use crate::kernel::{Lanes, single};
use num_traits::{Float, NumAssign};
use std::fmt::{Debug, Display};
use std::iter::Sum;

/// A real number that the kernels can work on.
pub trait Real:
    Float + Lanes + NumAssign + Sum + Default + Debug + Display + Send + Sync + 'static
{
    /// Name of the type, `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// Rounds a double to this type.
    fn of(value: f64) -> Self;

    /// Widens to a double.
    fn wide(self) -> f64;

    /// tanh, to a few roundings of the type.
    fn hyperbolic_tangent(self) -> Self;

    /// eˣ, to a few roundings of the type; in `f32` for −87 ≤ x ≤ 88.
    fn exponential(self) -> Self;

    /// The distribution function Φ of the normal law; absolute error a few roundings of the type.
    fn normal_distribution(self) -> Self;
}

impl Real for f32 {
    const NAME: &'static str = "f32";

    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn hyperbolic_tangent(self) -> Self {
        single::tanh(self)
    }

    #[inline(always)]
    fn exponential(self) -> Self {
        single::exp(self)
    }

    #[inline(always)]
    fn normal_distribution(self) -> Self {
        single::normal_distribution(self)
    }
}

impl Real for f64 {
    const NAME: &'static str = "f64";

    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }

    fn hyperbolic_tangent(self) -> Self {
        self.tanh()
    }

    fn exponential(self) -> Self {
        self.exp()
    }

    fn normal_distribution(self) -> Self {
        0.5 * libm::erfc(-self * std::f64::consts::FRAC_1_SQRT_2)
    }
}
