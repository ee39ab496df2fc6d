//! The element types of the CPU fields: `f32` and `f64`.

use crate::kernel::activation::{Activation, Pass, activate_double};
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

    /// Runs an activation over slices.
    fn activate(activation: Activation, pass: Pass<Self>);
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

    fn activate(activation: Activation, pass: Pass<Self>) {
        single::activate(activation, pass);
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

    fn activate(activation: Activation, pass: Pass<Self>) {
        activate_double(activation, pass);
    }
}
