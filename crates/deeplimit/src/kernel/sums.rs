//! Sums over long vectors: in the type's own precision over short stretches, each in fixed lanes,
//! and in double precision over the stretches. The order of additions is fixed for an instruction
//! set.

use super::simd::dispatch;
use crate::Real;
use pulp::{Simd, WithSimd};

/// Σ x.
pub fn sum<R: Real>(x: &[R]) -> f64 {
    first(dispatch(Sums { length: x.len(), of: Plain(x) }))
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
    assert_eq!(x.len(), y.len(), "vectors of one length");
    first(dispatch(Sums { length: x.len(), of: Product(x, y) }))
}

/// Σ (x − y)².
pub fn distance_squared<R: Real>(x: &[R], y: &[R]) -> f64 {
    assert_eq!(x.len(), y.len(), "vectors of one length");
    first(dispatch(Sums { length: x.len(), of: Difference(x, y) }))
}

/// Σ (y + factor · x − z)².
pub fn defect_squared<R: Real>(y: &[R], factor: R, x: &[R], z: &[R]) -> f64 {
    assert_eq!([x.len(), z.len()], [y.len(); 2], "vectors of one length");
    first(dispatch(Sums { length: y.len(), of: Defect { y, factor, x, z } }))
}

/// `y += factor · x`; then Σ y² and Σ (y − z)².
pub fn step_and_measure<R: Real>(y: &mut [R], factor: R, x: &[R], z: &[R]) -> [f64; 2] {
    assert_eq!([x.len(), z.len()], [y.len(); 2], "vectors of one length");
    dispatch(Sums { length: y.len(), of: Step { y, factor, x, z } })
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
                let [sum] = Sums { length: x.len(), of: Plain(x) }.with_simd(simd);
                *slot += R::of(sum);
            }
        }
    }
    dispatch(Rows(sums, x, columns));
}

/// `out[j] = Σ_s x[j, s]²` over rows.
pub fn row_squares<R: Real>(out: &mut [R], x: &[R]) {
    each_row(
        out,
        [x],
        [],
        #[inline(always)]
        |_, [x], []| x * x,
    );
}

/// `out[j] = Σ_s 1{|z[j, s]| ≤ out[j] · distance_s} |bar[j, s]| size_s` over rows.
pub fn rows_within<R: Real>(out: &mut [R], z: &[R], bar: &[R], distances: &[R], sizes: &[R]) {
    each_row(
        out,
        [z, bar],
        [distances, sizes],
        #[inline(always)]
        |reach, [z, bar], [distance, size]| {
            let term = bar.abs() * size;
            if z.abs() <= reach * distance { term } else { R::zero() }
        },
    );
}

/// `out[j] = out[j] · Σ_s |x[j, s]| weight_s` over rows.
pub fn rows_weighted<R: Real>(out: &mut [R], x: &[R], weights: &[R]) {
    each_row(
        out,
        [x],
        [weights],
        #[inline(always)]
        |factor, [x], [weight]| factor * x.abs() * weight,
    );
}

/// `out[j] = Σ_s term(out[j], rows[·][j, s], shared[·][s])`, for a term without branches, which has to
/// be inlined to fill vector lanes.
fn each_row<R: Real, const N: usize, const M: usize>(
    out: &mut [R],
    rows: [&[R]; N],
    shared: [&[R]; M],
    term: impl Fn(R, [R; N], [R; M]) -> R,
) {
    struct Rows<'a, R, F, const N: usize, const M: usize> {
        out: &'a mut [R],
        rows: [&'a [R]; N],
        shared: [&'a [R]; M],
        term: F,
    }
    impl<R: Real, F, const N: usize, const M: usize> WithSimd for Rows<'_, R, F, N, M>
    where
        F: Fn(R, [R; N], [R; M]) -> R,
    {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) {
            let Self { out, rows, shared, term } = self;
            let columns = rows[0].len() / out.len().max(1);
            let whole = columns - columns % LANES;
            for row in 0..out.len() {
                let (given, mut sums) = (out[row], [R::zero(); LANES]);
                for at in (0..whole).step_by(LANES) {
                    let mut these = [stretch(rows[0], row * columns + at); N];
                    for which in 1..N {
                        these[which] = stretch(rows[which], row * columns + at);
                    }
                    let mut those = [these[0]; M];
                    for which in 0..M {
                        those[which] = stretch(shared[which], at);
                    }
                    for i in 0..LANES {
                        let (mut own, mut common) = ([R::zero(); N], [R::zero(); M]);
                        for which in 0..N {
                            own[which] = these[which][i];
                        }
                        for which in 0..M {
                            common[which] = those[which][i];
                        }
                        sums[i] += term(given, own, common);
                    }
                }
                for at in whole..columns {
                    let (mut own, mut common) = ([R::zero(); N], [R::zero(); M]);
                    for which in 0..N {
                        own[which] = rows[which][row * columns + at];
                    }
                    for which in 0..M {
                        common[which] = shared[which][at];
                    }
                    sums[at - whole] += term(given, own, common);
                }
                out[row] = R::of(tree(sums));
            }
        }
    }
    assert!(rows.iter().all(|x| x.len() == rows[0].len()), "vectors of one length");
    let row = rows[0].len() / out.len().max(1);
    assert!(shared.iter().all(|x| x.len() == row), "vectors as long as a row");
    dispatch(Rows { out, rows, shared, term });
}

/// Sums that run side by side over a row.
const LANES: usize = 32;

#[inline(always)]
fn stretch<R>(x: &[R], at: usize) -> &[R; LANES] {
    x[at..at + LANES].try_into().expect("a stretch is so long")
}

/// The sum of 32 numbers, by halves.
#[inline(always)]
fn tree<R: Real>(mut lanes: [R; LANES]) -> f64 {
    for half in [16, 8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0].wide()
}

fn first([sum]: [f64; 1]) -> f64 {
    sum
}

/// `SUMS` sums of terms over so many entries.
struct Sums<T> {
    length: usize,
    of: T,
}

/// What is summed, and done on the way, at each entry.
trait Terms<R: Real, const SUMS: usize> {
    /// The terms of a stretch of entries, a vector or less.
    fn at<S: Simd>(&mut self, simd: S, part: Part<R, S>) -> [R::Vector<S>; SUMS];
}

/// A stretch of entries: a vector, or its first lanes.
struct Part<R: Real, S: Simd> {
    at: usize,
    mask: Option<R::Mask<S>>,
}

impl<R: Real, S: Simd> Part<R, S> {
    /// The stretch of a vector, zeros beyond its end.
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn of(&self, simd: S, x: &[R]) -> R::Vector<S> {
        let from = x[self.at..].as_ptr();
        // SAFETY: all vectors of a sum have its length, and the stretch ends there at the latest.
        unsafe {
            match self.mask {
                None => R::load(simd, from),
                Some(mask) => R::load_masked(simd, mask, from),
            }
        }
    }

    /// Puts the stretch back.
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn put(&self, simd: S, x: &mut [R], value: R::Vector<S>) {
        let to = x[self.at..].as_mut_ptr();
        // SAFETY: as for reading.
        unsafe {
            match self.mask {
                None => R::store(simd, to, value),
                Some(mask) => R::store_masked(simd, mask, to, value),
            }
        }
    }
}

/// Sums that run side by side, so that no addition waits for the one before.
const CHAINS: usize = 4;
/// Vectors that a chain adds up before it is widened.
const LINKS: usize = 4;

macro_rules! sums {
    ($terms:ident, $count:literal) => {
        impl<R: Real> WithSimd for Sums<$terms<'_, R>> {
            type Output = [f64; $count];

            #[inline(always)]
            fn with_simd<S: Simd>(mut self, simd: S) -> [f64; $count] {
                let lanes = R::lanes::<S>();
                let mut totals = [0.0; $count];
                for start in (0..self.length).step_by(LINKS * CHAINS * lanes) {
                    let end = self.length.min(start + LINKS * CHAINS * lanes);
                    let mut chains = [[R::splat(simd, R::zero()); CHAINS]; $count];
                    // Chains are numbered by constants, so that they stay in registers.
                    macro_rules! link {
                        ($chain:literal, $at:expr, $mask:expr) => {
                            let terms = self.of.at(simd, Part { at: $at, mask: $mask });
                            for which in 0..$count {
                                let sum = &mut chains[which][$chain];
                                *sum = R::plus(simd, *sum, terms[which]);
                            }
                        };
                    }
                    macro_rules! last {
                        ($chain:literal, $at:expr) => {
                            let at = $at + $chain * lanes;
                            if at + lanes <= end {
                                link!($chain, at, None);
                            } else if at < end {
                                link!($chain, at, Some(R::mask(simd, end - at)));
                            }
                        };
                    }
                    let mut at = start;
                    while at + CHAINS * lanes <= end {
                        link!(0, at, None);
                        link!(1, at + lanes, None);
                        link!(2, at + 2 * lanes, None);
                        link!(3, at + 3 * lanes, None);
                        at += CHAINS * lanes;
                    }
                    if at < end {
                        last!(0, at);
                        last!(1, at);
                        last!(2, at);
                        last!(3, at);
                    }
                    for which in 0..$count {
                        let [a, b, c, d] = chains[which];
                        let sum = R::plus(simd, R::plus(simd, a, b), R::plus(simd, c, d));
                        totals[which] += R::lane_sum(simd, sum).wide();
                    }
                }
                totals
            }
        }
    };
}

/// x
struct Plain<'a, R>(&'a [R]);
/// x y
struct Product<'a, R>(&'a [R], &'a [R]);
/// (x − y)²
struct Difference<'a, R>(&'a [R], &'a [R]);
/// (y + factor · x − z)²
struct Defect<'a, R> {
    y: &'a [R],
    factor: R,
    x: &'a [R],
    z: &'a [R],
}
/// `y += factor · x`; y² and (y − z)²
struct Step<'a, R> {
    y: &'a mut [R],
    factor: R,
    x: &'a [R],
    z: &'a [R],
}

sums!(Plain, 1);
sums!(Product, 1);
sums!(Difference, 1);
sums!(Defect, 1);
sums!(Step, 2);

/// a²
#[inline(always)]
fn square<R: Real, S: Simd>(simd: S, a: R::Vector<S>) -> R::Vector<S> {
    R::multiply_add(simd, a, a, R::splat(simd, R::zero()))
}

impl<R: Real> Terms<R, 1> for Plain<'_, R> {
    #[inline(always)]
    fn at<S: Simd>(&mut self, simd: S, part: Part<R, S>) -> [R::Vector<S>; 1] {
        [part.of(simd, self.0)]
    }
}

impl<R: Real> Terms<R, 1> for Product<'_, R> {
    #[inline(always)]
    fn at<S: Simd>(&mut self, simd: S, part: Part<R, S>) -> [R::Vector<S>; 1] {
        let (x, y) = (part.of(simd, self.0), part.of(simd, self.1));
        [R::multiply_add(simd, x, y, R::splat(simd, R::zero()))]
    }
}

impl<R: Real> Terms<R, 1> for Difference<'_, R> {
    #[inline(always)]
    fn at<S: Simd>(&mut self, simd: S, part: Part<R, S>) -> [R::Vector<S>; 1] {
        let difference = R::minus(simd, part.of(simd, self.0), part.of(simd, self.1));
        [square::<R, S>(simd, difference)]
    }
}

impl<R: Real> Terms<R, 1> for Defect<'_, R> {
    #[inline(always)]
    fn at<S: Simd>(&mut self, simd: S, part: Part<R, S>) -> [R::Vector<S>; 1] {
        let factor = R::splat(simd, self.factor);
        let sum = R::multiply_add(simd, factor, part.of(simd, self.x), part.of(simd, self.y));
        [square::<R, S>(simd, R::minus(simd, sum, part.of(simd, self.z)))]
    }
}

impl<R: Real> Terms<R, 2> for Step<'_, R> {
    #[inline(always)]
    fn at<S: Simd>(&mut self, simd: S, part: Part<R, S>) -> [R::Vector<S>; 2] {
        let factor = R::splat(simd, self.factor);
        let y = R::multiply_add(simd, factor, part.of(simd, self.x), part.of(simd, self.y));
        part.put(simd, self.y, y);
        let difference = R::minus(simd, y, part.of(simd, self.z));
        [square::<R, S>(simd, y), square::<R, S>(simd, difference)]
    }
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
            let mut y = vec![1.0; length];
            let measured = step_and_measure(&mut y, 2.0, &x, &x);
            assert!(y.iter().zip(&x).all(|(y, x)| *y == 1.0 + 2.0 * x));
            assert_eq!(measured, [dot(&y, &y), distance_squared(&y, &x)]);
            let mut sums = [0.5, 0.5];
            add_row_sums(&mut sums, &[&x[..], &x[..]].concat(), length);
            assert_eq!(sums, [0.5 + (length * (length + 1) / 2) as f64; 2]);
            let two = [&x[..], &x[..]].concat();
            let mut rows = [0.0; 2];
            row_squares(&mut rows, &two);
            assert_eq!(rows, [expected; 2]);
            let (ones, minus) = (vec![1.0; length], two.iter().map(|x| -x).collect::<Vec<f64>>());
            let mut rows = [1.0, 2.0];
            rows_weighted(&mut rows, &minus, &x);
            assert_eq!(rows, [expected, 2.0 * expected]);
            // Half of the entries lie within reach of the second row, and one of the first.
            let mut reaches = [1.0, (length / 2) as f64];
            rows_within(&mut reaches, &minus, &minus, &ones, &x);
            let half: f64 = x.iter().take(length / 2).map(|x| x * x).sum();
            assert_eq!(reaches, [1.0, half]);
        }
    }
}
