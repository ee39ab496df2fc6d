//! Errors of the elementary functions over the whole range, on every path.

use super::*;
use pulp::Scalar128b;

/// Numbers of all sizes, more of the middling ones, both signs, both zeros, both infinities.
fn arguments() -> Vec<f32> {
    const STRIDE: usize = if cfg!(debug_assertions) { 1009 } else { 101 };
    let all = (0..=f32::INFINITY.to_bits()).step_by(41 * STRIDE);
    let middle = (1e-4f32.to_bits()..128f32.to_bits()).step_by(STRIDE);
    let sizes = all.chain(middle).map(f32::from_bits).chain([f32::INFINITY]);
    sizes.flat_map(|size| [size, -size]).collect()
}

/// What a kernel gives on every instruction set of this machine, by name.
fn on_every_instruction_set<K: WithSimd>(kernel: impl Fn() -> K) -> Vec<(&'static str, K::Output)> {
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

/// Values, slopes, and pull-backs and curvatures of a cotangent 3.
struct Passes<'a>(Activation, &'a [f32]);

impl WithSimd for Passes<'_> {
    type Output = [Vec<f32>; 4];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self(activation, z) = self;
        let [mut a, mut out, mut slope, mut bar, mut curvature] =
            [0; 5].map(|_| vec![0.0; z.len()]);
        let g = vec![3.0; z.len()];
        let pass = Pass::Value { z, out: &mut a };
        Kernel { activation, pass }.with_simd(simd);
        let pass = Pass::ValueAndSlope { z, out: &mut out, slope: &mut slope };
        Kernel { activation, pass }.with_simd(simd);
        let pass = Pass::PullBack { z, a: &a, g: &g, out: &mut bar };
        Kernel { activation, pass }.with_simd(simd);
        let pass = Pass::Curvature { z, a: &a, g: &g, out: &mut curvature };
        Kernel { activation, pass }.with_simd(simd);
        assert!(same(&a, &out), "{activation}: one value in both passes");
        [a, slope, bar, curvature]
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
    for (name, [a, slope, ..]) in on_every_instruction_set(|| Passes(Activation::Tanh, &z)) {
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
    for (name, [a, slope, ..]) in on_every_instruction_set(|| Passes(Activation::Gelu, &z)) {
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
    for (name, [a, slope, ..]) in on_every_instruction_set(|| Passes(Activation::Softplus, &z)) {
        let of = |what| format!("{name} {what}");
        check(&of("softplus"), &z, &a, value, |_, exact| 3.0 * ulp(exact));
        check(&of("softplus'"), &z, &slope, logistic, |_, exact| 3.0 * ulp(exact));
    }
}

#[test]
fn curvatures_are_those_of_double_precision() {
    let z: Vec<f32> = (-1300..=1300).map(|i| 0.01 * i as f32).collect();
    let wide: Vec<f64> = z.iter().map(|z| f64::from(*z)).collect();
    for activation in Activation::ALL {
        let (mut a, mut exact) = (vec![0.0; z.len()], vec![0.0; z.len()]);
        activation.apply(&wide, &mut a);
        activation.curvature(&wide, &a, &vec![3.0; z.len()], &mut exact);
        for (name, [.., curvature]) in on_every_instruction_set(|| Passes(activation, &z)) {
            for ((z, found), exact) in z.iter().zip(curvature).zip(&exact) {
                // 1 − tanh² and 1 − logistic lose what rounding takes of 1.
                let off = (f64::from(found) - exact).abs();
                assert!(off < 3e-6, "{name} {activation}'' at {z}: {found}, not {exact}");
            }
        }
    }
}

#[test]
fn pull_backs_are_products_with_the_slope_whatever_the_length() {
    let numbers: Vec<f32> = (0..70).map(|i| 0.31 * i as f32 - 9.7).collect();
    for activation in Activation::ALL {
        let whole = on_every_instruction_set(|| Passes(activation, &numbers));
        for length in 0..numbers.len() {
            let part = on_every_instruction_set(|| Passes(activation, &numbers[..length]));
            for ((name, [a, slope, bar, _]), (_, whole)) in part.into_iter().zip(&whole) {
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
        for (name, [a, slope, ..]) in on_every_instruction_set(|| Passes(activation, &z)) {
            assert!(a[0].is_nan() && a[1].is_nan(), "{name} {activation}: {a:?}");
            assert_eq!(a[2..], [upper, lower], "{name} {activation}");
            let smooth =
                matches!(activation, Activation::Tanh | Activation::Gelu | Activation::Softplus);
            assert_eq!(slope[0].is_nan(), smooth, "{name} {activation}: {slope:?}");
            assert!(slope[2..].iter().all(|slope| slope.is_finite()), "{name} {activation}");
        }
    }
}
