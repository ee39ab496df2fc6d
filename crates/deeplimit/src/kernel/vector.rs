//! Elementwise combinations and sums of long vectors.
//!
//! Plain loops that the compiler puts into vector lanes, for the instruction set in use: two of
//! them, one for maps and one for sums, each compiled as a whole for it.

use super::simd::dispatch;
use crate::Real;
use pulp::{Simd, WithSimd};

/// `y = f(y, a, b)` for each entry.
struct Map<'a, R, F> {
    y: &'a mut [R],
    a: &'a [R],
    b: &'a [R],
    f: F,
}

impl<R: Real, F: Fn(R, R, R) -> R> WithSimd for Map<'_, R, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { y, a, b, f } = self;
        assert!(a.len() == y.len() && b.len() == y.len(), "vectors of one length");
        for i in 0..y.len() {
            y[i] = f(y[i], a[i], b[i]);
        }
    }
}

/// `y = f(y)`.
fn map<R: Real>(y: &mut [R], f: impl Fn(R) -> R) {
    struct One<'a, R, F>(&'a mut [R], F);
    impl<R: Real, F: Fn(R) -> R> WithSimd for One<'_, R, F> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) {
            for y in self.0 {
                *y = (self.1)(*y);
            }
        }
    }
    dispatch(One(y, f));
}

/// `y += factor · x`.
pub fn add_scaled<R: Real>(y: &mut [R], factor: R, x: &[R]) {
    dispatch(Map { y, a: x, b: x, f: |y, x, _| y + factor * x });
}

/// `y = factor · x`.
pub fn set_scaled<R: Real>(y: &mut [R], factor: R, x: &[R]) {
    dispatch(Map { y, a: x, b: x, f: |_, x, _| factor * x });
}

/// `out = x + factor · y`.
pub fn set_sum<R: Real>(out: &mut [R], x: &[R], factor: R, y: &[R]) {
    dispatch(Map { y: out, a: x, b: y, f: |_, x, y| x + factor * y });
}

/// `out = factor · x + shift`.
pub fn affine<R: Real>(out: &mut [R], x: &[R], factor: R, shift: R) {
    dispatch(Map { y: out, a: x, b: x, f: |_, x, _| factor * x + shift });
}

/// `y = factor · y`.
pub fn scale<R: Real>(y: &mut [R], factor: R) {
    map(y, |y| factor * y);
}

/// `y = factor · y + shift`.
pub fn scale_shift<R: Real>(y: &mut [R], factor: R, shift: R) {
    map(y, |y| factor * y + shift);
}

/// `y = factor · (y − centre)`.
pub fn centre<R: Real>(y: &mut [R], centre: R, factor: R) {
    map(y, |y| factor * (y - centre));
}

/// Σ term(x, y): in the type's own precision over short stretches, each in fixed lanes, and in
/// double precision over the stretches. The order of additions is fixed for an instruction set.
struct Sum<'a, R, const TERM: u8> {
    x: &'a [R],
    y: &'a [R],
}

/// x
const FIRST: u8 = 0;
/// x y
const PRODUCT: u8 = 1;
/// (x − y)²
const SQUARED_DIFFERENCE: u8 = 2;

impl<R: Real, const TERM: u8> Sum<'_, R, TERM> {
    #[inline(always)]
    fn add<S: Simd>(simd: S, sum: R::Vector<S>, x: R::Vector<S>, y: R::Vector<S>) -> R::Vector<S> {
        match TERM {
            FIRST => R::plus(simd, sum, x),
            PRODUCT => R::multiply_add(simd, x, y, sum),
            _ => {
                let difference = R::minus(simd, x, y);
                R::multiply_add(simd, difference, difference, sum)
            }
        }
    }
}

impl<R: Real, const TERM: u8> WithSimd for Sum<'_, R, TERM> {
    type Output = f64;

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        /// Sums that run side by side, so that no addition waits for the one before.
        const CHAINS: usize = 4;
        /// Vectors that a chain adds up before it is widened.
        const LINKS: usize = 4;
        assert_eq!(self.x.len(), self.y.len(), "vectors of one length");
        let lanes = R::lanes::<S>();
        let mut total = 0.0;
        for start in (0..self.x.len()).step_by(LINKS * CHAINS * lanes) {
            let end = self.x.len().min(start + LINKS * CHAINS * lanes);
            let mut sums = [R::splat(simd, R::zero()); CHAINS];
            for (link, at) in (start..end).step_by(lanes).enumerate() {
                let (x, y) = (self.x[at..end].as_ptr(), self.y[at..end].as_ptr());
                // SAFETY: both slices have at least as many numbers as are read.
                let (x, y) = unsafe {
                    if end - at >= lanes {
                        (R::load(simd, x), R::load(simd, y))
                    } else {
                        let mask = R::mask(simd, end - at);
                        (R::load_masked(simd, mask, x), R::load_masked(simd, mask, y))
                    }
                };
                let sum = &mut sums[link % CHAINS];
                *sum = Self::add(simd, *sum, x, y);
            }
            let [a, b, c, d] = sums;
            let sum = R::plus(simd, R::plus(simd, a, b), R::plus(simd, c, d));
            total += R::lane_sum(simd, sum).wide();
        }
        total
    }
}

/// Σ x.
pub fn sum<R: Real>(x: &[R]) -> f64 {
    dispatch(Sum::<R, FIRST> { x, y: x })
}

/// Σ (x − centre)².
pub fn squares_about<R: Real>(x: &[R], centre: R) -> f64 {
    const STRETCH: usize = 256;
    let centres = [centre; STRETCH];
    let stretch = |x: &[R]| distance_squared(x, &centres[..x.len()]);
    x.chunks(STRETCH).map(stretch).sum()
}

/// Σ x y.
pub fn dot<R: Real>(x: &[R], y: &[R]) -> f64 {
    dispatch(Sum::<R, PRODUCT> { x, y })
}

/// Σ (x − y)².
pub fn distance_squared<R: Real>(x: &[R], y: &[R]) -> f64 {
    dispatch(Sum::<R, SQUARED_DIFFERENCE> { x, y })
}

/// The sum of 32 numbers, by halves.
#[inline(always)]
fn tree<R: Real>(mut lanes: [R; 32]) -> f64 {
    for half in [16, 8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0].wide()
}

/// `sums[i] += Σ_j x[i, j]` over rows of `columns` numbers.
pub fn add_row_sums<R: Real>(sums: &mut [R], x: &[R], columns: usize) {
    assert_eq!(x.len(), sums.len() * columns, "whole rows");
    struct Rows<'a, R>(&'a mut [R], &'a [R], usize);
    impl<R: Real> WithSimd for Rows<'_, R> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for (slot, x) in self.0.iter_mut().zip(self.1.chunks_exact(self.2)) {
                *slot += R::of(Sum::<R, FIRST> { x, y: x }.with_simd(simd));
            }
        }
    }
    dispatch(Rows(sums, x, columns));
}

/// `sums[j] += Σ_i x[i, j]²` over the rows of `x`.
pub fn add_column_squares<R: Real>(sums: &mut [R], x: &[R]) {
    for x in x.chunks_exact(sums.len().max(1)) {
        dispatch(Map { y: &mut *sums, a: x, b: x, f: |sum, x, _| sum + x * x });
    }
}

/// Σ_s 1{|z_s| ≤ reach · distance_s} |bar_s| size_s.
pub fn sum_within<R: Real>(reach: R, z: &[R], bar: &[R], distances: &[R], sizes: &[R]) -> f64 {
    struct Within<'a, R> {
        reach: R,
        z: &'a [R],
        bar: &'a [R],
        distances: &'a [R],
        sizes: &'a [R],
    }
    impl<R: Real> WithSimd for Within<'_, R> {
        type Output = f64;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) -> f64 {
            let Self { reach, z, bar, distances, sizes } = self;
            let mut lanes = [R::zero(); 32];
            for start in (0..z.len()).step_by(lanes.len()) {
                let end = z.len().min(start + lanes.len());
                let (z, bar) = (&z[start..end], &bar[start..end]);
                let (distances, sizes) = (&distances[start..end], &sizes[start..end]);
                for i in 0..z.len() {
                    let within = z[i].abs() <= reach * distances[i];
                    lanes[i] += if within { bar[i].abs() * sizes[i] } else { R::zero() };
                }
            }
            tree(lanes)
        }
    }
    dispatch(Within { reach, z, bar, distances, sizes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_products_cover_lanes_stretches_and_remainders() {
        for length in [1, 7, 31, 32, 33, 255, 256, 257, 700] {
            let x: Vec<f64> = (1..=length).map(|i| i as f64).collect();
            let expected: f64 = (1..=length).map(|i| (i * i) as f64).sum();
            assert_eq!(dot(&x, &x), expected);
            assert_eq!(distance_squared(&x, &vec![0.0; length]), expected);
            let mut sums = [0.5, 0.5];
            add_row_sums(&mut sums, &[&x[..], &x[..]].concat(), length);
            assert_eq!(sums, [0.5 + (length * (length + 1) / 2) as f64; 2]);
        }
    }
}
