//! Activations in single precision, on vectors: without branches, with at most one division, and
//! with multiply-add in one instruction where the instruction set has it.
//!
//! Errors are the largest over all arguments and instruction sets, in units of the last place (ulp)
//! of the exact value; results below 2⁻¹²⁶ may be zero. Minimax coefficients without a source are
//! our own fit: Lawson's weights (1961) on the linearised problem of Sanathanan, Koerner (1963),
//! then a search among neighbours in single precision.

use super::activation::{Activation, Pass};
use super::simd::{dispatch, fused};
use pulp::{Scalar128b, Simd, WithSimd};
use std::any::TypeId;
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
}

/// max(z, 0) and its derivative, at 0 taken as 0.
struct Relu;

impl Formula for Relu {
    #[inline(always)]
    fn value_and_slope<S: Simd>(z: Vector<S>) -> (Vector<S>, Vector<S>) {
        (z.at_least(0.0), z.where_positive(z.splat(1.0), z.splat(0.0)))
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
        const INVERSE_ROOT_OF_2_PI: f32 = 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
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

/// Whether the larger and the smaller of two numbers is the second where one is NaN, as in x86's
/// instructions; in Rust it is the one that is a number.
#[inline(always)]
fn second_wins<S: Simd>() -> bool {
    TypeId::of::<S>() != TypeId::of::<Scalar128b>()
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
mod tests {
    use super::*;

    /// Numbers of all sizes, more of the middling ones, both signs, both zeros, both infinities.
    fn arguments() -> Vec<f32> {
        const STRIDE: usize = if cfg!(debug_assertions) { 1009 } else { 101 };
        let all = (0..=f32::INFINITY.to_bits()).step_by(41 * STRIDE);
        let middle = (1e-4f32.to_bits()..128f32.to_bits()).step_by(STRIDE);
        let sizes = all.chain(middle).map(f32::from_bits).chain([f32::INFINITY]);
        sizes.flat_map(|size| [size, -size]).collect()
    }

    /// What a kernel gives on every instruction set of this machine, by name.
    fn on_every_instruction_set<K: WithSimd>(
        kernel: impl Fn() -> K,
    ) -> Vec<(&'static str, K::Output)> {
        let mut outputs = vec![("portable", Simd::vectorize(Scalar128b, kernel()))];
        #[cfg(target_arch = "x86_64")]
        {
            use pulp::x86::{V3, V4};
            let avx2 = V3::try_new().map(|simd| ("avx2", Simd::vectorize(simd, kernel())));
            let avx512 = V4::try_new().map(|simd| ("avx512", Simd::vectorize(simd, kernel())));
            outputs.extend(avx2.into_iter().chain(avx512));
        }
        outputs
    }

    /// Values, slopes, and pull-backs of a cotangent 3.
    struct Passes<'a>(Activation, &'a [f32]);

    impl WithSimd for Passes<'_> {
        type Output = [Vec<f32>; 3];

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let Self(activation, z) = self;
            let [mut a, mut out, mut slope, mut bar] = [0; 4].map(|_| vec![0.0; z.len()]);
            let g = vec![3.0; z.len()];
            let pass = Pass::Value { z, out: &mut a };
            Kernel { activation, pass }.with_simd(simd);
            let pass = Pass::ValueAndSlope { z, out: &mut out, slope: &mut slope };
            Kernel { activation, pass }.with_simd(simd);
            let pass = Pass::PullBack { z, a: &a, g: &g, out: &mut bar };
            Kernel { activation, pass }.with_simd(simd);
            assert!(same(&a, &out), "{activation}: one value in both passes");
            [a, slope, bar]
        }
    }

    /// eˣ.
    struct Exp<'a>(&'a [f32]);

    impl WithSimd for Exp<'_> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let mut out = vec![0.0; self.0.len()];
            map(
                simd,
                [self.0],
                [&mut out],
                #[inline(always)]
                |[x]: [_; 1]| {
                    let high = x.first_12_bits();
                    [exp(high, x - high)]
                },
            );
            out
        }
    }

    /// Whether all bits agree, those of NaN aside.
    fn same(x: &[f32], y: &[f32]) -> bool {
        x.iter().zip(y).all(|(x, y)| x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan())
    }

    /// The last place of a number in single precision, at least 2⁻¹²⁶: what is smaller may be zero.
    fn ulp(exact: f64) -> f64 {
        let power = f64::from_bits(exact.to_bits() & (0x7FF << 52));
        (power * f64::from(f32::EPSILON)).max(f64::from(f32::MIN_POSITIVE))
    }

    /// Asserts that `ours` at `x` misses `exact` by no more than `allowed(x, exact)`.
    fn check(
        what: &str,
        x: &[f32],
        ours: &[f32],
        exact: impl Fn(f64) -> f64,
        allowed: impl Fn(f64, f64) -> f64,
    ) {
        let mut worst = (0.0, 0.0);
        for (x, ours) in x.iter().zip(ours) {
            let (x, ours) = (f64::from(*x), f64::from(*ours));
            let exact = exact(x);
            let error = if ours == exact { 0.0 } else { (ours - exact).abs() / allowed(x, exact) };
            if error.is_nan() || error > worst.0 {
                worst = (error, x);
            }
        }
        assert!(worst.0 <= 1.0, "{what}: {:.2} of the allowed error at {:e}", worst.0, worst.1);
    }

    fn normal_tail(s: f64) -> f64 {
        0.5 * libm::erfc(s / std::f64::consts::SQRT_2)
    }

    fn normal_density(s: f64) -> f64 {
        (-0.5 * s * s).exp() / (2.0 * std::f64::consts::PI).sqrt()
    }

    #[test]
    fn exp_is_right_to_an_ulp_and_a_half() {
        let x: Vec<f32> = arguments().into_iter().filter(|x| x.abs() <= 88.0).collect();
        for (name, ours) in on_every_instruction_set(|| Exp(&x)) {
            check(&format!("{name} exp"), &x, &ours, f64::exp, |_, exact| 1.5 * ulp(exact));
        }
    }

    #[test]
    fn tanh_is_right_to_four_ulp_and_stays_between_its_limits() {
        let z = arguments();
        for (name, [a, slope, _]) in on_every_instruction_set(|| Passes(Activation::Tanh, &z)) {
            let of = |what| format!("{name} {what}");
            check(&of("tanh"), &z, &a, f64::tanh, |_, exact| 4.3 * ulp(exact));
            check(&of("tanh'"), &z, &slope, |z| 1.0 - z.tanh().powi(2), |_, _| 6e-7);
            assert!(a.iter().all(|a| a.abs() <= 1.0), "{name}");
            for (z, a) in z.iter().zip(a).filter(|(z, _)| z.abs() < 1e-4) {
                assert_eq!(*z, a, "{name}: tanh is the identity near 0");
            }
        }
    }

    #[test]
    fn gelu_is_right_to_a_few_ulp_down_its_tail() {
        let z = arguments();
        let value = |z: f64| if z == f64::NEG_INFINITY { 0.0 } else { z * normal_tail(-z) };
        let derivative = |z: f64| {
            let s = z.abs().min(40.0);
            let tail_slope = normal_tail(s) - s * normal_density(s);
            if z > 0.0 { 1.0 - tail_slope } else { tail_slope }
        };
        for (name, [a, slope, _]) in on_every_instruction_set(|| Passes(Activation::Gelu, &z)) {
            let of = |what| format!("{name} {what}");
            let places = |z| if z > -1.0 { 4.5 } else { 6.5 };
            check(&of("gelu"), &z, &a, value, |z, exact| places(z) * ulp(exact));
            check(&of("gelu'"), &z, &slope, derivative, |_, _| 2e-7);
            // Its zero at −0.75 apart, the derivative too is right down its tail.
            let (tail, slopes): (Vec<_>, Vec<_>) =
                z.iter().zip(slope).filter(|(z, _)| **z < -1.0).unzip();
            check(&of("gelu' tail"), &tail, &slopes, derivative, |_, exact| 7.0 * ulp(exact));
        }
    }

    #[test]
    fn softplus_and_its_derivative_are_right_to_three_ulp() {
        let z = arguments();
        let value = |z: f64| z.max(0.0) + (-z.abs()).exp().ln_1p();
        let logistic = |z: f64| 1.0 / (1.0 + (-z).exp());
        for (name, [a, slope, _]) in on_every_instruction_set(|| Passes(Activation::Softplus, &z)) {
            let of = |what| format!("{name} {what}");
            check(&of("softplus"), &z, &a, value, |_, exact| 3.0 * ulp(exact));
            check(&of("softplus'"), &z, &slope, logistic, |_, exact| 3.0 * ulp(exact));
        }
    }

    #[test]
    fn pull_backs_are_products_with_the_slope_whatever_the_length() {
        let numbers: Vec<f32> = (0..70).map(|i| 0.31 * i as f32 - 9.7).collect();
        for activation in Activation::ALL {
            let whole = on_every_instruction_set(|| Passes(activation, &numbers));
            for length in 0..numbers.len() {
                let part = on_every_instruction_set(|| Passes(activation, &numbers[..length]));
                for ((name, [a, slope, bar]), (_, whole)) in part.into_iter().zip(&whole) {
                    let product: Vec<f32> = slope.iter().map(|slope| 3.0 * slope).collect();
                    assert!(same(&bar, &product), "{name} {activation}");
                    assert!(same(&a, &whole[0][..length]), "{name} {activation}");
                    assert!(same(&slope, &whole[1][..length]), "{name} {activation}");
                }
            }
        }
    }

    #[test]
    fn nothing_hides_a_nan_and_infinities_have_their_limits() {
        let z = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        for activation in Activation::ALL {
            let [upper, lower] = match activation {
                Activation::Tanh => [1.0, -1.0],
                Activation::Identity => [f32::INFINITY, f32::NEG_INFINITY],
                _ => [f32::INFINITY, 0.0],
            };
            for (name, [a, slope, _]) in on_every_instruction_set(|| Passes(activation, &z)) {
                assert!(a[0].is_nan() && a[1].is_nan(), "{name} {activation}: {a:?}");
                assert_eq!(a[2..], [upper, lower], "{name} {activation}");
                let smooth = matches!(
                    activation,
                    Activation::Tanh | Activation::Gelu | Activation::Softplus
                );
                assert_eq!(slope[0].is_nan(), smooth, "{name} {activation}: {slope:?}");
                assert!(slope[2..].iter().all(|slope| slope.is_finite()), "{name} {activation}");
            }
        }
    }
}
