//! Elementwise combinations and inner products of long vectors.
//!
//! Plain loops that the compiler puts into vector lanes, for the instruction set in use.

use super::simd::dispatch;
use crate::Real;

/// `y += factor · x`.
pub fn add_scaled<R: Real>(y: &mut [R], factor: R, x: &[R]) {
    dispatch(
        #[inline(always)]
        || y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * *x),
    );
}

/// `y = factor · x`.
pub fn set_scaled<R: Real>(y: &mut [R], factor: R, x: &[R]) {
    dispatch(
        #[inline(always)]
        || y.iter_mut().zip(x).for_each(|(y, x)| *y = factor * *x),
    );
}

/// `out = x + factor · y`.
pub fn set_sum<R: Real>(out: &mut [R], x: &[R], factor: R, y: &[R]) {
    dispatch(
        #[inline(always)]
        || out.iter_mut().zip(x).zip(y).for_each(|((out, x), y)| *out = *x + factor * *y),
    );
}

/// `y = factor · y`.
pub fn scale<R: Real>(y: &mut [R], factor: R) {
    dispatch(
        #[inline(always)]
        || y.iter_mut().for_each(|y| *y *= factor),
    );
}

/// `out = factor · x + shift`.
pub fn affine<R: Real>(out: &mut [R], x: &[R], factor: R, shift: R) {
    dispatch(
        #[inline(always)]
        || out.iter_mut().zip(x).for_each(|(out, x)| *out = factor * *x + shift),
    );
}

/// `y = factor · y + shift`.
pub fn scale_shift<R: Real>(y: &mut [R], factor: R, shift: R) {
    dispatch(
        #[inline(always)]
        || y.iter_mut().for_each(|y| *y = factor * *y + shift),
    );
}

/// `y = factor · (y − centre)`.
pub fn centre<R: Real>(y: &mut [R], centre: R, factor: R) {
    dispatch(
        #[inline(always)]
        || y.iter_mut().for_each(|y| *y = factor * (*y - centre)),
    );
}

/// Σ x.
pub fn sum<R: Real>(x: &[R]) -> f64 {
    dispatch(
        #[inline(always)]
        || terms(x, x, |x, _| x),
    )
}

/// Σ (x − centre)².
pub fn squares_about<R: Real>(x: &[R], centre: R) -> f64 {
    dispatch(
        #[inline(always)]
        || terms(x, x, |x, _| (x - centre) * (x - centre)),
    )
}

/// Σ x y.
pub fn dot<R: Real>(x: &[R], y: &[R]) -> f64 {
    dispatch(
        #[inline(always)]
        || terms(x, y, |x, y| x * y),
    )
}

/// Σ (x − y)².
pub fn distance_squared<R: Real>(x: &[R], y: &[R]) -> f64 {
    dispatch(
        #[inline(always)]
        || terms(x, y, |x, y| (x - y) * (x - y)),
    )
}

/// Σ term(x, y): in the type's own precision over short stretches, each in fixed lanes, and in
/// double precision over the stretches. The order of additions is fixed.
#[inline(always)]
fn terms<R: Real>(x: &[R], y: &[R], term: impl Fn(R, R) -> R) -> f64 {
    const LANES: usize = 32;
    const STRETCH: usize = 8 * LANES;
    let mut total = 0.0;
    for (x, y) in x.chunks(STRETCH).zip(y.chunks(STRETCH)) {
        let mut lanes = [R::zero(); LANES];
        let (xs, x_rest) = x.as_chunks::<LANES>();
        let (ys, y_rest) = y.as_chunks::<LANES>();
        for (x, y) in xs.iter().zip(ys) {
            for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
                *lane += term(*x, *y);
            }
        }
        for (lane, (x, y)) in lanes.iter_mut().zip(x_rest.iter().zip(y_rest)) {
            *lane += term(*x, *y);
        }
        total += tree(lanes);
    }
    total
}

/// The sum of 32 numbers, by halves.
#[inline(always)]
fn tree<R: Real>(lanes: [R; 32]) -> f64 {
    let mut lanes = lanes;
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
    dispatch(
        #[inline(always)]
        || {
            for (slot, row) in sums.iter_mut().zip(x.chunks_exact(columns)) {
                *slot += R::of(terms(row, row, |x, _| x));
            }
        },
    );
}

/// `sums[j] += Σ_i x[i, j]²` over the rows of `x`.
pub fn add_column_squares<R: Real>(sums: &mut [R], x: &[R]) {
    dispatch(
        #[inline(always)]
        || {
            for row in x.chunks_exact(sums.len().max(1)) {
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += *x * *x);
            }
        },
    );
}

/// Σ_s 1{|z_s| ≤ reach · distance_s} |bar_s| size_s.
pub fn sum_within<R: Real>(reach: R, z: &[R], bar: &[R], distances: &[R], sizes: &[R]) -> f64 {
    const LANES: usize = 32;
    dispatch(
        #[inline(always)]
        || {
            let mut lanes = [R::zero(); LANES];
            let chunks = z.chunks(LANES).zip(bar.chunks(LANES));
            let chunks = chunks.zip(distances.chunks(LANES).zip(sizes.chunks(LANES)));
            for ((z, bar), (distances, sizes)) in chunks {
                let units = z.iter().zip(bar).zip(distances.iter().zip(sizes));
                for (lane, ((z, bar), (distance, size))) in lanes.iter_mut().zip(units) {
                    let within = z.abs() <= reach * *distance;
                    *lane += if within { bar.abs() * *size } else { R::zero() };
                }
            }
            tree(lanes)
        },
    )
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
