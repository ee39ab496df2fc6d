//! One axis of Winograd's algorithms: how many pixels a square makes at once, and the three small
//! matrices of F(2, 3) and F(4, 3) (Lavin, Gray 2016, sections 4.1 and 4.3).
//!
//! ```text
//!        F(2, 3)                 F(4, 3)
//! Bᵀ =   1  0 −1  0              4  0 −5  0  1  0        G =   ¼    0    0      Aᵀ =  1  1  1  1  1  0
//!        0  1  1  0              0 −4 −4  1  1  0             −⅙   −⅙   −⅙            0  1 −1  2 −2  0
//!        0 −1  1  0              0  4 −4 −1  1  0             −⅙    ⅙   −⅙            0  1  1  4  4  0
//!        0  1  0 −1              0 −2 −1  2  1  0              1/24 1/12  ⅙           0  1 −1  8 −8  1
//!                                0  2 −1 −2  1  0              1/24 −1/12 ⅙
//! Aᵀ =   1  1  1  0              0  4  0 −5  0  1              0    0    1
//!        0  1 −1 −1
//! G  =   1, (½, ½, ½), (½, −½, ½), (0, 0, 1)
//! ```
//!
//! The larger one needs 2¼ products for an output where the smaller needs 4, and loses about one more
//! decimal digit to rounding.

use crate::Real;
use pulp::Simd;

/// Most pixels that a side sees.
pub(super) const MOST_SEEN: usize = 6;

/// One axis of a square. Of arrays of six and four only the first [`seen`](Side::SEEN) and
/// [`out`](Side::OUT) count.
pub(super) trait Side {
    /// Pixels that come out.
    const OUT: usize;
    /// Pixels that are seen, and places of the transformed square.
    const SEEN: usize = Self::OUT + 2;

    /// G of three taps.
    fn taps<R: Real, S: Simd>(simd: S, w: [R::Vector<S>; 3]) -> [R::Vector<S>; 6];
    /// Bᵀ of the pixels that are seen.
    fn enter<R: Real, S: Simd>(simd: S, d: [R::Vector<S>; 6]) -> [R::Vector<S>; 6];
    /// Aᵀ of the places.
    fn leave<R: Real, S: Simd>(simd: S, m: [R::Vector<S>; 6]) -> [R::Vector<S>; 4];
    /// A of pixels that came out, but for signs, which [`gather`](Side::gather) knows.
    fn enter_bar<R: Real, S: Simd>(simd: S, bar: [R::Vector<S>; 4]) -> [R::Vector<S>; 6];
    /// Gᵀ of the places.
    fn gather<R: Real, S: Simd>(simd: S, m: [R::Vector<S>; 6]) -> [R::Vector<S>; 3];
}

/// F(2, 3)
pub(super) struct Two;

/// F(4, 3)
pub(super) struct Four;

impl Side for Two {
    const OUT: usize = 2;

    #[inline(always)]
    fn taps<R: Real, S: Simd>(simd: S, [a, b, c]: [R::Vector<S>; 3]) -> [R::Vector<S>; 6] {
        let ends = scaled::<R, S>(simd, 0.5, R::plus(simd, a, c));
        let middle = scaled::<R, S>(simd, 0.5, b);
        let zero = R::splat(simd, R::zero());
        [a, R::plus(simd, ends, middle), R::minus(simd, ends, middle), c, zero, zero]
    }

    #[inline(always)]
    fn enter<R: Real, S: Simd>(simd: S, d: [R::Vector<S>; 6]) -> [R::Vector<S>; 6] {
        [
            R::minus(simd, d[0], d[2]),
            R::plus(simd, d[1], d[2]),
            R::minus(simd, d[2], d[1]),
            R::minus(simd, d[1], d[3]),
            d[4],
            d[5],
        ]
    }

    #[inline(always)]
    fn leave<R: Real, S: Simd>(simd: S, m: [R::Vector<S>; 6]) -> [R::Vector<S>; 4] {
        [
            R::plus(simd, R::plus(simd, m[0], m[1]), m[2]),
            R::minus(simd, R::minus(simd, m[1], m[2]), m[3]),
            m[4],
            m[5],
        ]
    }

    #[inline(always)]
    fn enter_bar<R: Real, S: Simd>(simd: S, [a, b, ..]: [R::Vector<S>; 4]) -> [R::Vector<S>; 6] {
        [a, R::plus(simd, a, b), R::minus(simd, a, b), b, a, b]
    }

    #[inline(always)]
    fn gather<R: Real, S: Simd>(simd: S, m: [R::Vector<S>; 6]) -> [R::Vector<S>; 3] {
        let sum = scaled::<R, S>(simd, 0.5, R::plus(simd, m[1], m[2]));
        let difference = scaled::<R, S>(simd, 0.5, R::minus(simd, m[1], m[2]));
        [R::plus(simd, m[0], sum), difference, R::minus(simd, sum, m[3])]
    }
}

impl Side for Four {
    const OUT: usize = 4;

    #[inline(always)]
    fn taps<R: Real, S: Simd>(simd: S, [a, b, c]: [R::Vector<S>; 3]) -> [R::Vector<S>; 6] {
        let ends = scaled::<R, S>(simd, -1.0 / 6.0, R::plus(simd, a, c));
        let middle = scaled::<R, S>(simd, 1.0 / 6.0, b);
        let far = scaled::<R, S>(simd, 1.0 / 24.0, a);
        let far = R::multiply_add(simd, c, R::splat(simd, R::of(1.0 / 6.0)), far);
        let half = scaled::<R, S>(simd, 1.0 / 12.0, b);
        [
            scaled::<R, S>(simd, 0.25, a),
            R::minus(simd, ends, middle),
            R::plus(simd, ends, middle),
            R::plus(simd, far, half),
            R::minus(simd, far, half),
            c,
        ]
    }

    #[inline(always)]
    fn enter<R: Real, S: Simd>(simd: S, d: [R::Vector<S>; 6]) -> [R::Vector<S>; 6] {
        let of = |factor: f64| R::splat(simd, R::of(factor));
        let even = R::multiply_add(simd, d[2], of(-4.0), d[4]);
        let odd = R::multiply_add(simd, d[1], of(-4.0), d[3]);
        let [far, step] = [R::minus(simd, d[4], d[2]), R::minus(simd, d[3], d[1])];
        let end = |a, b, c| {
            let sum = R::multiply_add(simd, b, of(-5.0), c);
            R::multiply_add(simd, a, of(4.0), sum)
        };
        [
            end(d[0], d[2], d[4]),
            R::plus(simd, even, odd),
            R::minus(simd, even, odd),
            R::multiply_add(simd, step, of(2.0), far),
            R::multiply_add(simd, step, of(-2.0), far),
            end(d[1], d[3], d[5]),
        ]
    }

    #[inline(always)]
    fn leave<R: Real, S: Simd>(simd: S, m: [R::Vector<S>; 6]) -> [R::Vector<S>; 4] {
        let of = |factor: f64| R::splat(simd, R::of(factor));
        let [near, near_odd] = [R::plus(simd, m[1], m[2]), R::minus(simd, m[1], m[2])];
        let [far, far_odd] = [R::plus(simd, m[3], m[4]), R::minus(simd, m[3], m[4])];
        [
            R::plus(simd, R::plus(simd, m[0], near), far),
            R::multiply_add(simd, far_odd, of(2.0), near_odd),
            R::multiply_add(simd, far, of(4.0), near),
            R::plus(simd, R::multiply_add(simd, far_odd, of(8.0), near_odd), m[5]),
        ]
    }

    #[inline(always)]
    fn enter_bar<R: Real, S: Simd>(simd: S, bar: [R::Vector<S>; 4]) -> [R::Vector<S>; 6] {
        let of = |factor: f64| R::splat(simd, R::of(factor));
        let [even, odd] = [R::plus(simd, bar[0], bar[2]), R::plus(simd, bar[1], bar[3])];
        let even_far = R::multiply_add(simd, bar[2], of(4.0), bar[0]);
        let odd_far = R::multiply_add(simd, bar[3], of(4.0), bar[1]);
        [
            bar[0],
            R::plus(simd, even, odd),
            R::minus(simd, even, odd),
            R::multiply_add(simd, odd_far, of(2.0), even_far),
            R::multiply_add(simd, odd_far, of(-2.0), even_far),
            bar[3],
        ]
    }

    #[inline(always)]
    fn gather<R: Real, S: Simd>(simd: S, m: [R::Vector<S>; 6]) -> [R::Vector<S>; 3] {
        let of = |factor: f64| R::splat(simd, R::of(factor));
        let [near, near_odd] = [R::plus(simd, m[1], m[2]), R::minus(simd, m[1], m[2])];
        let [far, far_odd] = [R::plus(simd, m[3], m[4]), R::minus(simd, m[3], m[4])];
        let near = scaled::<R, S>(simd, -1.0 / 6.0, near);
        let first = R::multiply_add(simd, m[0], of(0.25), near);
        let odd = scaled::<R, S>(simd, -1.0 / 6.0, near_odd);
        [
            R::multiply_add(simd, far, of(1.0 / 24.0), first),
            R::multiply_add(simd, far_odd, of(1.0 / 12.0), odd),
            R::plus(simd, R::multiply_add(simd, far, of(1.0 / 6.0), near), m[5]),
        ]
    }
}

#[inline(always)]
fn scaled<R: Real, S: Simd>(simd: S, factor: f64, v: R::Vector<S>) -> R::Vector<S> {
    R::multiply_add(simd, v, R::splat(simd, R::of(factor)), R::splat(simd, R::zero()))
}
