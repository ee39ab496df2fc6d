//! Elementary functions in single precision without branches, so that the compiler can put them
//! into vector lanes. Errors are against the exact value, over all finite arguments; see the tests.

use std::f32::consts::{FRAC_1_SQRT_2, LN_2, LOG2_E};

/// eˣ for −87 ≤ x ≤ 88; arguments outside are moved to the nearest end. Relative error 2e-7.
///
/// x = n ln 2 + r with |r| ≤ ln 2 / 2 and a polynomial in r (Cody, Waite 1980; coefficients of
/// Cephes, Moshier 1989).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = if x > 88.0 { 88.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    // Adding and taking away 1.5 · 2²³ rounds to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    debug_assert!((LN_2_HIGH + LN_2_LOW - LN_2).abs() < 1e-7);
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + coefficient;
    }
    let value = p * (r * r) + r + 1.0;
    // The low bits of `shifted` hold n; moved to the exponent they make 2ⁿ.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3F80_0000));
    value * power
}

/// tanh x. Relative error 3e-7 (coefficients of Cephes, Moshier 1989).
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let z = x * x;
    let mut p = -5.704_988_7e-3;
    for coefficient in [2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1] {
        p = p * z + coefficient;
    }
    let near = p * z * x + x;
    let far = (1.0 - 2.0 / (exp(2.0 * size) + 1.0)).copysign(x);
    if size < 0.625 { near } else { far + 0.0 * x }
}

/// The distribution function of the normal law, Φ(x) = erfc(−x/√2) / 2. Relative error 1e-5 down
/// to Φ = 1e-30, absolute error 3e-7 (rational Chebyshev fit of erfc, Press et al. 1992, 6.2).
#[inline(always)]
pub fn normal_distribution(x: f32) -> f32 {
    let size = x.abs() * FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * size);
    let mut p = 0.170_872_77;
    for coefficient in [
        -0.822_152_2,
        1.488_515_9,
        -1.135_204,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
    ] {
        p = p * t + coefficient;
    }
    let tail = 0.5 * t * exp(-size * size - 1.265_512_2 + t * p);
    if x < 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arguments of all sizes and both signs, and zero.
    fn arguments() -> impl Iterator<Item = f32> {
        let sizes = (-400..=170).map(|k| 2f32.powf(k as f32 / 25.0));
        sizes.flat_map(|size| [size, -size]).chain([0.0])
    }

    #[test]
    fn exp_and_tanh_are_right_to_a_few_roundings() {
        for x in arguments() {
            if x.abs() < 87.0 {
                let exact = f64::from(x).exp();
                let error = (f64::from(exp(x)) - exact).abs() / exact;
                assert!(error < 2e-7, "exp({x}): {error:.1e}");
            }
            let exact = f64::from(x).tanh();
            let error = (f64::from(tanh(x)) - exact).abs();
            assert!(error <= 3e-7 * exact.abs(), "tanh({x}): {error:.1e}");
        }
    }

    #[test]
    fn the_normal_distribution_is_right_in_both_tails() {
        for x in arguments() {
            let exact = 0.5 * libm::erfc(-f64::from(x) / std::f64::consts::SQRT_2);
            let error = (f64::from(normal_distribution(x)) - exact).abs();
            assert!(error < 3e-7, "Φ({x}): {error:.1e}");
            if exact > 1e-30 {
                assert!(error < 1e-5 * exact, "Φ({x}): relative {:.1e}", error / exact);
            }
        }
    }

    #[test]
    fn nothing_hides_a_nan() {
        for f in [exp, tanh, normal_distribution] {
            assert!(f(f32::NAN).is_nan());
        }
    }
}
