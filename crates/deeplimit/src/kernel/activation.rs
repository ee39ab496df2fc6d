//! Activations σ and their derivatives, elementwise.

use crate::Real;
use serde::{Deserialize, Serialize};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// How σ' changes, which decides what a state that is a little wrong does to a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bend {
    /// Not at all.
    Straight,
    /// Gradually, as σ'' says.
    Curved,
    /// By a jump.
    Kinked,
}

/// The nonlinearity σ of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// tanh z.
    Tanh,
    /// max(z, 0); its derivative at 0 is taken as 0.
    Relu,
    /// z Φ(z) with the normal distribution function Φ (Hendrycks, Gimpel 2016), exact, by erf.
    Gelu,
    /// log(1 + eᶻ), without overflow.
    Softplus,
    /// z.
    Identity,
}

impl Activation {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Tanh, Self::Relu, Self::Gelu, Self::Softplus, Self::Identity];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tanh => "tanh",
            Self::Relu => "relu",
            Self::Gelu => "gelu",
            Self::Softplus => "softplus",
            Self::Identity => "identity",
        }
    }

    /// Whether σ' needs z itself, and not only σ(z); and a kink is looked for in z.
    pub fn needs_argument(self) -> bool {
        !matches!(self, Self::Tanh | Self::Identity)
    }

    /// How σ' changes.
    pub fn bend(self) -> Bend {
        match self {
            Self::Tanh | Self::Gelu | Self::Softplus => Bend::Curved,
            Self::Relu => Bend::Kinked,
            Self::Identity => Bend::Straight,
        }
    }

    /// `out = σ(z)`.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn apply<R: Real>(self, z: &[R], out: &mut [R]) {
        assert_eq!(z.len(), out.len(), "length of an activation");
        R::activate(self, Pass::Value { z, out });
    }

    /// `out = σ(z)` and `slope = σ'(z)`, which share their work.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn apply_and_slope<R: Real>(self, z: &[R], out: &mut [R], slope: &mut [R]) {
        assert_eq!([z.len(); 2], [out.len(), slope.len()], "lengths of an activation");
        R::activate(self, Pass::ValueAndSlope { z, out, slope });
    }

    /// `out = g · σ'(z)`, given also `a = σ(z)`.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn pull_back<R: Real>(self, z: &[R], a: &[R], g: &[R], out: &mut [R]) {
        assert_eq!([z.len(); 3], [a.len(), g.len(), out.len()], "lengths of an activation");
        R::activate(self, Pass::PullBack { z, a, g, out });
    }

    /// `out = g · σ''(z)`, given also `a = σ(z)`; 0 beside a kink.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn curvature<R: Real>(self, z: &[R], a: &[R], g: &[R], out: &mut [R]) {
        assert_eq!([z.len(); 3], [a.len(), g.len(), out.len()], "lengths of an activation");
        R::activate(self, Pass::Curvature { z, a, g, out });
    }
}

/// What to compute of an activation σ, over slices of one length.
pub enum Pass<'a, R> {
    /// `out = σ(z)`.
    Value {
        /// Arguments.
        z: &'a [R],
        /// Values.
        out: &'a mut [R],
    },
    /// `out = σ(z)` and `slope = σ'(z)`.
    ValueAndSlope {
        /// Arguments.
        z: &'a [R],
        /// Values.
        out: &'a mut [R],
        /// Derivatives.
        slope: &'a mut [R],
    },
    /// `out = g · σ'(z)`.
    PullBack {
        /// Arguments.
        z: &'a [R],
        /// Values σ(z).
        a: &'a [R],
        /// Cotangents of the values.
        g: &'a [R],
        /// Cotangents of the arguments.
        out: &'a mut [R],
    },
    /// `out = g · σ''(z)`.
    Curvature {
        /// Arguments.
        z: &'a [R],
        /// Values σ(z).
        a: &'a [R],
        /// Cotangents of the values.
        g: &'a [R],
        /// How the cotangents of the arguments change with these.
        out: &'a mut [R],
    },
}

impl std::fmt::Display for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Runs a pass in double precision, on libm's functions.
pub fn activate_double(activation: Activation, pass: Pass<f64>) {
    match pass {
        Pass::Value { z, out } => {
            for (z, out) in z.iter().zip(out) {
                *out = value(activation, *z);
            }
        }
        Pass::ValueAndSlope { z, out, slope: slopes } => {
            for ((z, out), slope_out) in z.iter().zip(out).zip(slopes) {
                *out = value(activation, *z);
                *slope_out = slope(activation, *z, *out);
            }
        }
        Pass::PullBack { z, a, g, out } => {
            for (((z, a), g), out) in z.iter().zip(a).zip(g).zip(out) {
                *out = g * slope(activation, *z, *a);
            }
        }
        Pass::Curvature { z, a, g, out } => {
            for (((z, a), g), out) in z.iter().zip(a).zip(g).zip(out) {
                *out = g * curvature(activation, *z, *a);
            }
        }
    }
}

/// σ(z).
fn value(activation: Activation, z: f64) -> f64 {
    match activation {
        Activation::Tanh => z.tanh(),
        Activation::Relu => positive_part(z),
        Activation::Gelu => positive_part(z) - distance(z) * normal_tail(distance(z)),
        Activation::Softplus => positive_part(z) + (-z.abs()).exp().ln_1p(),
        Activation::Identity => z,
    }
}

/// σ'(z), given also a = σ(z).
fn slope(activation: Activation, z: f64, a: f64) -> f64 {
    match activation {
        Activation::Tanh => 1.0 - a * a,
        Activation::Relu => f64::from(z > 0.0),
        Activation::Gelu => {
            let s = distance(z);
            let tail_slope = normal_tail(s) - s * normal_density(s);
            if z > 0.0 { 1.0 - tail_slope } else { tail_slope }
        }
        Activation::Softplus => 1.0 / (1.0 + (-z).exp()),
        Activation::Identity => 1.0,
    }
}

/// σ''(z), given also a = σ(z).
fn curvature(activation: Activation, z: f64, a: f64) -> f64 {
    let slope = slope(activation, z, a);
    match activation {
        Activation::Tanh => -2.0 * a * slope,
        Activation::Gelu => (2.0 - distance(z).powi(2)) * normal_density(distance(z)),
        Activation::Softplus => slope * (1.0 - slope),
        Activation::Relu | Activation::Identity => 0.0,
    }
}

/// max(z, 0); NaN stays.
fn positive_part(z: f64) -> f64 {
    if z <= 0.0 { 0.0 } else { z }
}

/// |z|, but no more than 40, where Φ(−|z|) has come to 0; NaN stays.
fn distance(z: f64) -> f64 {
    if z.abs() >= 40.0 { 40.0 } else { z.abs() }
}

/// Φ(−s).
fn normal_tail(s: f64) -> f64 {
    0.5 * libm::erfc(s * FRAC_1_SQRT_2)
}

/// Φ'(s) = exp(−s²/2) / √(2π).
fn normal_density(s: f64) -> f64 {
    0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * (-0.5 * s * s).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_agree_with_central_differences() {
        let z: Vec<f64> = (-40..=40).map(|i| 0.21 * f64::from(i) + 0.003).collect();
        let step = 1e-5;
        for activation in Activation::ALL {
            let at = |shift: f64| {
                let shifted: Vec<f64> = z.iter().map(|z| z + shift).collect();
                let mut out = vec![0.0; z.len()];
                activation.apply(&shifted, &mut out);
                out
            };
            let (plus, minus, value) = (at(step), at(-step), at(0.0));
            let mut derivative = vec![0.0; z.len()];
            activation.pull_back(&z, &value, &vec![1.0; z.len()], &mut derivative);
            let slope_at = |shift: f64| {
                let shifted: Vec<f64> = z.iter().map(|z| z + shift).collect();
                let mut slope = vec![0.0; z.len()];
                activation.pull_back(&shifted, &at(shift), &vec![1.0; z.len()], &mut slope);
                slope
            };
            let (slope_plus, slope_minus) = (slope_at(step), slope_at(-step));
            let mut curvature = vec![0.0; z.len()];
            activation.curvature(&z, &value, &vec![3.0; z.len()], &mut curvature);
            for i in 0..z.len() {
                let difference = (plus[i] - minus[i]) / (2.0 * step);
                assert!((derivative[i] - difference).abs() < 1e-9, "{activation} at {}", z[i]);
                let difference = 3.0 * (slope_plus[i] - slope_minus[i]) / (2.0 * step);
                assert!((curvature[i] - difference).abs() < 1e-9, "{activation}'' at {}", z[i]);
            }
        }
    }

    #[test]
    fn large_arguments_neither_overflow_nor_lose_a_nan() {
        for activation in Activation::ALL {
            let z = [-200.0f32, 200.0, f32::NAN];
            let mut out = [0.0f32; 3];
            activation.apply(&z, &mut out);
            assert!(out[0].is_finite() && out[1].is_finite(), "{activation}: {out:?}");
            assert!(out[2].is_nan(), "{activation} hides a NaN");
        }
    }

    #[test]
    fn values_at_known_points() {
        let expect = |activation: Activation, z: f64, value: f64| {
            let mut out = [0.0];
            activation.apply(&[z], &mut out);
            assert!((out[0] - value).abs() < 1e-15, "{activation}({z}) = {}", out[0]);
        };
        expect(Activation::Gelu, 1.0, 0.841_344_746_068_542_9);
        expect(Activation::Softplus, 0.0, std::f64::consts::LN_2);
        expect(Activation::Relu, -2.0, 0.0);
    }
}
