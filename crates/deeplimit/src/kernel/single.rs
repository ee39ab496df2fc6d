//! Activations in single precision, on vectors: without branches, with at most one division, and
//! with multiply-add in one instruction where the instruction set has it.
//!
//! Errors are the largest over all arguments and instruction sets, in units of the last place (ulp)
//! of the exact value; results below 2⁻¹²⁶ may be zero. Minimax coefficients without a source are
//! our own fit: Lawson's weights (1961) on the linearised problem of Sanathanan, Koerner (1963),
//! then a search among neighbours in single precision.

use super::activation::{Activation, Pass};
use super::simd::{dispatch, fused, second_wins};
use pulp::{Simd, WithSimd};
use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LN_2, LOG2_E};
use std::ops::{Add, Div, Mul, Sub};

/// Runs a pass with the instruction set in use.
pub fn activate(activation: Activation, pass: Pass<f32>) {
    dispatch(Kernel { activation, pass });
}

/// A pass of an activation, compiled for each instruction set.
struct Kernel<'a> {
    activation: Activation,
    pass: Pass<'a, f32>,
}

impl WithSimd for Kernel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.activation {
            Activation::Tanh => run::<S, Tanh>(simd, self.pass),
            Activation::Relu => run::<S, Relu>(simd, self.pass),
            Activation::Gelu => run::<S, Gelu>(simd, self.pass),
            Activation::Softplus => run::<S, Softplus>(simd, self.pass),
            Activation::Identity => run::<S, Identity>(simd, self.pass),
        }
    }
}

/// An activation σ by its formulas. What a pass does not write, the compiler does not compute.
trait Formula {
    /// σ(z) and σ'(z).
    fn value_and_slope<S: Simd>(z: Vector<S>) -> (Vector<S>, Vector<S>);

    /// σ'(z), given also a = σ(z).
    #[inline(always)]
    fn slope<S: Simd>(z: Vector<S>, _a: Vector<S>) -> Vector<S> {
        Self::value_and_slope(z).1
    }

    /// σ''(z), given also a = σ(z).
    fn curvature<S: Simd>(z: Vector<S>, a: Vector<S>) -> Vector<S>;
}

/// Runs a pass of an activation.
#[inline(always)]
fn run<S: Simd, F: Formula>(simd: S, pass: Pass<f32>) {
    match pass {
        Pass::Value { z, out } => {
            map(
                simd,
                [z],
                [out],
                #[inline(always)]
                |[z]: [_; 1]| [F::value_and_slope(z).0],
            );
        }
        Pass::ValueAndSlope { z, out, slope } => {
            map(
                simd,
                [z],
                [out, slope],
                #[inline(always)]
                |[z]: [_; 1]| F::value_and_slope(z).into(),
            );
        }
        Pass::PullBack { z, a, g, out } => {
            map(
                simd,
                [z, a, g],
                [out],
                #[inline(always)]
                |[z, a, g]: [_; 3]| [g * F::slope(z, a)],
            );
        }
        Pass::Curvature { z, a, g, out } => {
            map(
                simd,
                [z, a, g],
                [out],
                #[inline(always)]
                |[z, a, g]: [_; 3]| [g * F::curvature(z, a)],
            );
        }
    }
}

/// `outputs[·][i] = f(inputs[·][i])`, a vector at a time; the slices are equally long.
#[inline(always)]
fn map<S: Simd, const I: usize, const O: usize>(
    simd: S,
    inputs: [&[f32]; I],
    outputs: [&mut [f32]; O],
    f: impl Fn([Vector<S>; I]) -> [Vector<S>; O],
) {
    let inputs = inputs.map(S::as_simd_f32s);
    let mut outputs = outputs.map(S::as_mut_simd_f32s);
    for i in 0..inputs[0].0.len() {
        let values = f(inputs.map(|(vectors, _)| Vector { simd, lanes: vectors[i] }));
        for ((vectors, _), value) in outputs.iter_mut().zip(values) {
            vectors[i] = value.lanes;
        }
    }
    if !inputs[0].1.is_empty() {
        let values =
            f(inputs.map(|(_, rest)| Vector { simd, lanes: simd.partial_load_f32s(rest) }));
        for ((_, rest), value) in outputs.iter_mut().zip(values) {
            simd.partial_store_f32s(rest, value.lanes);
        }
    }
}

/// z and 1.
struct Identity;

impl Formula for Identity {
    #[inline(always)]
    fn value_and_slope<S: Simd>(z: Vector<S>) -> (Vector<S>, Vector<S>) {
        (z, z.splat(1.0))
    }

    #[inline(always)]
    fn curvature<S: Simd>(z: Vector<S>, _a: Vector<S>) -> Vector<S> {
        z.splat(0.0)
    }
}

/// max(z, 0) and its derivative, at 0 taken as 0.
struct Relu;

impl Formula for Relu {
    #[inline(always)]
    fn value_and_slope<S: Simd>(z: Vector<S>) -> (Vector<S>, Vector<S>) {
        (z.at_least(0.0), z.where_positive(z.splat(1.0), z.splat(0.0)))
    }

    /// Beside the kink.
    #[inline(always)]
    fn curvature<S: Simd>(z: Vector<S>, _a: Vector<S>) -> Vector<S> {
        z.splat(0.0)
    }
}

/// tanh z for |z| ≤ 9.01, where it has come to ±1, and 1 − tanh² z.
///
/// By the addition theorem: z = n ln 2 / 2 + r with |r| ≤ ln 2 / 4, where the first has the
/// hyperbolic tangent (p − 1)/(p + 1), p = 2ⁿ, and the second u/v, of degree 3 and 2. The rounding
/// of ln 2 does no harm: tanh does not feel it at a large argument, and n = 0 at a small one.
///
/// Error 4.3 ulp, and tanh z = z below 10⁻⁴; of the derivative 6e-7. |tanh z| ≤ 1.
struct Tanh;

impl Formula for Tanh {
    #[inline(always)]
    fn value_and_slope<S: Simd>(z: Vector<S>) -> (Vector<S>, Vector<S>) {
        let z = z.at_least(-9.01).at_most(9.01);
        let shifted = z.mul_add(z.splat(2.0 * LOG2_E), z.splat(ROUND));
        let r = (shifted - ROUND).mul_add(z.splat(-0.5 * LN_2), z);
        let square = r * r;
        let u = (square * r).mul_add(z.splat(0.066_586_53), r);
        let v = square.mul_add(z.splat(0.399_919_63), z.splat(1.0));
        let power = shifted.power_of_two();
        let (less, more) = (power - 1.0, power + 1.0);
        let value = more.mul_add(u, less * v) / less.mul_add(u, more * v);
        (value, Self::slope(z, value))
    }

    #[inline(always)]
    fn slope<S: Simd>(_z: Vector<S>, a: Vector<S>) -> Vector<S> {
        a.splat(1.0) - a * a
    }

    #[inline(always)]
    fn curvature<S: Simd>(z: Vector<S>, a: Vector<S>) -> Vector<S> {
        a * -2.0 * Self::slope(z, a)
    }
}

/// z Φ(z) = max(z, 0) − s Φ(−s) with s = |z|, and its derivative Φ(z) + z Φ'(z), which is
/// Φ(−s) − s Φ'(s) for z ≤ 0 and 1 minus that for z > 0.
///
/// Φ(−s) = e^(−s²/2) P(s)/Q(s), where P/Q is half of erfcx(s/√2), for s ≤ 13.25, where e^(−s²/2)
/// has come to 0.
///
/// Error 4.5 ulp for z > −1, 6.5 ulp down the tail; of the derivative 2e-7, and 7 ulp for z < −1.
struct Gelu;

impl Formula for Gelu {
    #[inline(always)]
    fn value_and_slope<S: Simd>(z: Vector<S>) -> (Vector<S>, Vector<S>) {
        const P: [f32; 5] = [0.5, 4.354_584_5e-1, 1.811_136_6e-1, 3.991_206_4e-2, 4.007_419e-3];
        const Q: [f32; 6] =
            [1.0, 1.668_801_8, 1.193_734_9, 4.638_644e-1, 1.000_520_7e-1, 1.004_496_8e-2];
        let s = z.abs().at_most(13.25);
        // s² = high² + (s − high) (s + high), where `high` has 12 bits, and its square no rounding.
        let high = s.first_12_bits();
        let low = (s - high) * (s + high);
        let bell = exp(high * high * -0.5, low * -0.5);
        let ratio = s.polynomial(P) / s.polynomial(Q);
        let tail_slope = bell * (ratio - s * INVERSE_ROOT_OF_2_PI);
        (
            z.at_least(0.0) - s * (bell * ratio),
            z.where_positive(z.splat(1.0) - tail_slope, tail_slope),
        )
    }

    /// (2 − z²) Φ'(z); the rounding of z² costs s² ulp down the tail.
    #[inline(always)]
    fn curvature<S: Simd>(z: Vector<S>, _a: Vector<S>) -> Vector<S> {
        let s = z.abs().at_most(13.25);
        let square = s * s;
        (square.splat(2.0) - square) * exp(square * -0.5, square.splat(-0.0)) * INVERSE_ROOT_OF_2_PI
    }
}

/// log(1 + eᶻ) = max(z, 0) + log(1 + e) with e = e^(−|z|), and its derivative, the logistic
/// function: 1/(1 + e) for z > 0, else e/(1 + e). Error of both 3 ulp.
struct Softplus;

impl Formula for Softplus {
    #[inline(always)]
    fn value_and_slope<S: Simd>(z: Vector<S>) -> (Vector<S>, Vector<S>) {
        let e = exp(z.abs().at_most(88.0) * -1.0, z.splat(-0.0));
        let numerator = z.where_positive(z.splat(1.0), e);
        (z.at_least(0.0) + log_1p(e), numerator / (e + 1.0))
    }

    #[inline(always)]
    fn curvature<S: Simd>(z: Vector<S>, a: Vector<S>) -> Vector<S> {
        let slope = Self::slope(z, a);
        slope * (slope.splat(1.0) - slope)
    }
}

/// log(1 + x) for 0 ≤ x ≤ 1, as x times a polynomial.
#[inline(always)]
fn log_1p<S: Simd>(x: Vector<S>) -> Vector<S> {
    x * x.polynomial([
        1.0,
        -4.999_993e-1,
        3.333_051e-1,
        -2.495_859e-1,
        1.969_540_3e-1,
        -1.535_539_2e-1,
        1.068_055_1e-1,
        -5.766_441_3e-2,
        2.020_455_9e-2,
        -3.318_469e-3,
    ])
}

/// 1/√(2π)
const INVERSE_ROOT_OF_2_PI: f32 = 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;

/// Adding and taking away 1.5 · 2²³ rounds to the nearest whole number.
const ROUND: f32 = 12_582_912.0;

/// e^(x + low) for |x| ≤ 88 and a correction |low| < 0.1; 0 from x = −87.7 downward. Error 1.5 ulp.
///
/// x = n ln 2 + r with ln 2 in two parts, of which the first has few bits, so that its multiples
/// are exact (Cody, Waite 1980); eʳ − 1 is r + r² times a polynomial.
#[inline(always)]
fn exp<S: Simd>(x: Vector<S>, low: Vector<S>) -> Vector<S> {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const { assert!((LN_2_HIGH + LN_2_LOW - LN_2).abs() < 1e-7) };
    let shifted = x.mul_add(x.splat(LOG2_E), x.splat(ROUND));
    let n = shifted - ROUND;
    let r = n.mul_add(n.splat(-LN_2_HIGH), x);
    let r = n.mul_add(n.splat(-LN_2_LOW), r) + low;
    let p = r.polynomial([0.499_999_94, 0.166_665_2, 4.166_832e-2, 8.368_839e-3, 1.381_446_8e-3]);
    let excess = (r * r).mul_add(p, r);
    let power = shifted.power_of_two();
    excess.mul_add(power, power)
}

/// A vector with arithmetic.
#[derive(Clone, Copy)]
struct Vector<S: Simd> {
    simd: S,
    lanes: S::f32s,
}

macro_rules! operator {
    ($operator:ident, $method:ident, $instruction:ident) => {
        impl<S: Simd> $operator for Vector<S> {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                self.with(self.simd.$instruction(self.lanes, other.lanes))
            }
        }

        impl<S: Simd> $operator<f32> for Vector<S> {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: f32) -> Self {
                self.$method(self.splat(other))
            }
        }
    };
}

operator!(Add, add, add_f32s);
operator!(Sub, sub, sub_f32s);
operator!(Mul, mul, mul_f32s);
operator!(Div, div, div_f32s);

impl<S: Simd> Vector<S> {
    #[inline(always)]
    fn with(self, lanes: S::f32s) -> Self {
        Self { simd: self.simd, lanes }
    }

    /// The same number in all lanes.
    #[inline(always)]
    fn splat(self, value: f32) -> Self {
        self.with(self.simd.splat_f32s(value))
    }

    /// `self · b + c`, with one rounding where that is one instruction.
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        if fused::<S>() {
            self.with(self.simd.mul_add_f32s(self.lanes, b.lanes, c.lanes))
        } else {
            self * b + c
        }
    }

    /// Σ coefficients\[k\] selfᵏ, by Horner's rule.
    #[inline(always)]
    fn polynomial<const N: usize>(self, coefficients: [f32; N]) -> Self {
        let mut value = self.splat(coefficients[N - 1]);
        for k in (0..N - 1).rev() {
            value = value.mul_add(self, self.splat(coefficients[k]));
        }
        value
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.with(self.simd.abs_f32s(self.lanes))
    }

    /// The larger of both; NaN stays.
    #[inline(always)]
    fn at_least(self, bound: f32) -> Self {
        let bound = self.splat(bound).lanes;
        self.with(if second_wins::<S>() {
            self.simd.max_f32s(bound, self.lanes)
        } else {
            let below = self.simd.less_than_f32s(self.lanes, bound);
            self.simd.select_f32s(below, bound, self.lanes)
        })
    }

    /// The smaller of both; NaN stays.
    #[inline(always)]
    fn at_most(self, bound: f32) -> Self {
        let bound = self.splat(bound).lanes;
        self.with(if second_wins::<S>() {
            self.simd.min_f32s(bound, self.lanes)
        } else {
            let above = self.simd.greater_than_f32s(self.lanes, bound);
            self.simd.select_f32s(above, bound, self.lanes)
        })
    }

    /// `yes` where `self > 0`, else `no`.
    #[inline(always)]
    fn where_positive(self, yes: Self, no: Self) -> Self {
        let positive = self.simd.greater_than_f32s(self.lanes, self.splat(0.0).lanes);
        self.with(self.simd.select_f32s(positive, yes.lanes, no.lanes))
    }

    /// The number cut off after the first 12 bits of its significand.
    #[inline(always)]
    fn first_12_bits(self) -> Self {
        let bits = self.simd.transmute_u32s_f32s(self.lanes);
        let kept = self.simd.and_u32s(bits, self.simd.splat_u32s(!0xFFF));
        self.with(self.simd.transmute_f32s_u32s(kept))
    }

    /// 2ⁿ from 1.5 · 2²³ + n, for −127 ≤ n ≤ 128, the ends being 0 and infinity: the low bits,
    /// which hold n, become the exponent.
    #[inline(always)]
    fn power_of_two(self) -> Self {
        let bits = self.simd.transmute_u32s_f32s(self.lanes);
        let n = self.simd.wrapping_dyn_shl_u32s(bits, self.simd.splat_u32s(23));
        let exponent = self.simd.add_u32s(n, self.simd.splat_u32s(127 << 23));
        self.with(self.simd.transmute_f32s_u32s(exponent))
    }
}

#[cfg(test)]
mod tests;
