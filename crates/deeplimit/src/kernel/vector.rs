//! Elementwise combinations of long vectors: plain loops that the compiler puts into vector lanes,
//! each compiled as a whole for the instruction set in use.

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

/// `out = factor · x · y`, entry by entry.
pub fn set_product<R: Real>(out: &mut [R], factor: R, x: &[R], y: &[R]) {
    dispatch(Map { y: out, a: x, b: y, f: |_, x, y| factor * x * y });
}

/// `y = x + factor · y`.
pub fn add_to<R: Real>(y: &mut [R], factor: R, x: &[R]) {
    dispatch(Map { y, a: x, b: x, f: |y, x, _| x + factor * y });
}

/// `out = factor · x + shift`.
pub fn affine<R: Real>(out: &mut [R], x: &[R], factor: R, shift: R) {
    dispatch(Map { y: out, a: x, b: x, f: |_, x, _| factor * x + shift });
}

/// `y = max(x, floor)`; NaN stays.
pub fn at_least<R: Real>(y: &mut [R], x: &[R], floor: R) {
    dispatch(Map { y, a: x, b: x, f: |_, x, _| if x < floor { floor } else { x } });
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

/// `out = x + Σ weight · y` over two terms.
pub fn set_sum_of_two<R: Real>(out: &mut [R], x: &[R], [first, second]: [(R, &[R]); 2]) {
    struct Two<'a, R>(&'a mut [R], &'a [R], [(R, &'a [R]); 2]);
    impl<R: Real> WithSimd for Two<'_, R> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) {
            let Self(out, x, [(p, y), (q, z)]) = self;
            assert!([x.len(), y.len(), z.len()] == [out.len(); 3], "vectors of one length");
            for i in 0..out.len() {
                out[i] = x[i] + (p * y[i] + q * z[i]);
            }
        }
    }
    dispatch(Two(out, x, [first, second]));
}

/// `sums[j] += Σ_i x[i, j]²` over the rows of `x`.
pub fn add_column_squares<R: Real>(sums: &mut [R], x: &[R]) {
    add_columns(sums, x, x, |sum, x, _| sum + x * x);
}

/// `sums[j] += Σ_i (x[i, j] − y[i, j])²` over the rows of `x` and `y`.
pub fn add_column_squared_differences<R: Real>(sums: &mut [R], x: &[R], y: &[R]) {
    add_columns(sums, x, y, |sum, x, y| {
        let difference = x - y;
        sum + difference * difference
    });
}

/// Sums that are made together: they stay in the fastest cache.
const BLOCK: usize = 1024;

/// `sums[j] = f(sums[j], x[i, j], y[i, j])` for all rows i, one after the other.
fn add_columns<R: Real>(sums: &mut [R], x: &[R], y: &[R], f: impl Fn(R, R, R) -> R) {
    struct Columns<'a, R, F>(&'a mut [R], &'a [R], &'a [R], F);
    impl<R: Real, F: Fn(R, R, R) -> R> WithSimd for Columns<'_, R, F> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) {
            let Self(sums, x, y, f) = self;
            let columns = sums.len().max(1);
            for (block, sums) in sums.chunks_mut(BLOCK).enumerate() {
                for (x, y) in x.chunks_exact(columns).zip(y.chunks_exact(columns)) {
                    let (x, y) =
                        (&x[block * BLOCK..][..sums.len()], &y[block * BLOCK..][..sums.len()]);
                    for i in 0..sums.len() {
                        sums[i] = f(sums[i], x[i], y[i]);
                    }
                }
            }
        }
    }
    assert_eq!(x.len(), y.len(), "vectors of one length");
    dispatch(Columns(sums, x, y, f));
}

/// `y = √y`.
pub fn root<R: Real>(y: &mut [R]) {
    map(y, |y| y.sqrt());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_columns_cover_blocks_and_remainders() {
        for columns in [1, 17, BLOCK, BLOCK + 1, 2 * BLOCK + 5] {
            let x: Vec<f32> = (0..3 * columns).map(|i| (i % 13) as f32).collect();
            let y: Vec<f32> = (0..3 * columns).map(|i| (i % 7) as f32).collect();
            let (mut squares, mut apart) = (vec![1.0; columns], vec![2.0; columns]);
            add_column_squares(&mut squares, &x);
            add_column_squared_differences(&mut apart, &x, &y);
            for j in 0..columns {
                let at = [j, columns + j, 2 * columns + j];
                assert_eq!(squares[j], 1.0 + at.map(|i| x[i].powi(2)).iter().sum::<f32>());
                assert_eq!(apart[j], 2.0 + at.map(|i| (x[i] - y[i]).powi(2)).iter().sum::<f32>());
            }
        }
    }
}
