//! Activations σ and their derivatives, elementwise.

use crate::Real;
use serde::{Deserialize, Serialize};

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

    /// Whether σ' jumps, so that a reconstructed state may see the wrong side of a kink.
    pub fn has_kink(self) -> bool {
        self == Self::Relu
    }

    /// `out = σ(z)`.
    pub fn apply<R: Real>(self, z: &[R], out: &mut [R]) {
        match self {
            Self::Tanh => map(z, out, |z| z.hyperbolic_tangent()),
            Self::Relu => map(z, out, |z| if z <= R::zero() { R::zero() } else { z }),
            Self::Gelu => map(z, out, |z| z * z.normal_distribution()),
            Self::Softplus => map(z, out, |z| z.max(R::zero()) + (-z.abs()).exp().ln_1p()),
            Self::Identity => out.copy_from_slice(z),
        }
    }

    /// `out = g · σ'(z)`, given also `a = σ(z)`.
    pub fn pull_back<R: Real>(self, z: &[R], a: &[R], g: &[R], out: &mut [R]) {
        match self {
            Self::Tanh => map_bar(z, a, g, out, |_, a| R::one() - a * a),
            Self::Relu => {
                map_bar(z, a, g, out, |z, _| if z > R::zero() { R::one() } else { R::zero() });
            }
            Self::Gelu => {
                map_bar(z, a, g, out, |z, _| z.normal_distribution() + z * normal_density(z));
            }
            Self::Softplus => {
                map_bar(z, a, g, out, |z, _| R::one() / (R::one() + (-z).exponential()));
            }
            Self::Identity => out.copy_from_slice(g),
        }
    }
}

/// `out = f(z)`, compiled for each instruction set and chosen when it runs.
fn map<R: Real>(z: &[R], out: &mut [R], f: impl Fn(R) -> R) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (out, z) in out.iter_mut().zip(z) {
                *out = f(*z);
            }
        },
    );
}

/// `out = g · f(z, a)`, compiled for each instruction set and chosen when it runs.
fn map_bar<R: Real>(z: &[R], a: &[R], g: &[R], out: &mut [R], f: impl Fn(R, R) -> R) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (((out, z), a), g) in out.iter_mut().zip(z).zip(a).zip(g) {
                *out = *g * f(*z, *a);
            }
        },
    );
}

impl std::fmt::Display for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Φ'(z) = exp(-z²/2) / √(2π).
#[inline(always)]
fn normal_density<R: Real>(z: R) -> R {
    let inverse_root = 0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
    (-(z * z) * R::of(0.5)).exponential() * R::of(inverse_root)
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
            for i in 0..z.len() {
                let difference = (plus[i] - minus[i]) / (2.0 * step);
                assert!((derivative[i] - difference).abs() < 1e-9, "{activation} at {}", z[i]);
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
