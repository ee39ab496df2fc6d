//! Functions of depth s ∈ [0, 1] that span the controls θ(s) = Σ_k c_k φ_k(s), k = 0 … K−1.
//!
//! ```text
//! constant    φ_k = 1 on [k/K, (k+1)/K), the last one up to 1 included                 K ≥ 1
//! linear      hats: φ_k is 1 at k/(K−1), 0 at the other knots j/(K−1), affine between  K ≥ 2
//! spline      cubic B-splines on the knots j/(K−3), of which 0 and 1 count fourfold    K ≥ 4
//! chebyshev   φ_k = T_k(2s − 1) = cos(k arccos(2s − 1))                                K ≥ 1
//! fourier     1, cos 2πs, sin 2πs, cos 4πs, sin 4πs, …                          odd K ≥ 1
//! ```
//!
//! B-splines by the recurrence of Cox (1972) and de Boor (1972). The first three add up to 1 at every s,
//! so that θ(s) lies between the smallest and the largest of the few coefficients that reach s. A smooth
//! θ is met to order 1, 2 and 4 in 1/K by them, and faster than any power of 1/K by Chebyshev's
//! polynomials. Fourier's functions are for θ with θ(0) = θ(1): of any other they make a periodic one
//! with a jump at the ends, which they meet only to order ½ in L² and not at all at the ends.

use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

/// A family of functions of depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Constant pieces of equal length.
    Constant,
    /// Continuous affine pieces of equal length.
    Linear,
    /// Cubic pieces of equal length, twice continuously differentiable.
    Spline,
    /// Chebyshev polynomials.
    Chebyshev,
    /// A constant, and pairs of cosine and sine of period 1: depths 0 and 1 are one to them.
    Fourier,
}

/// Which of the two values counts where constant pieces meet; elsewhere it means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The limit from smaller depths.
    Before,
    /// The limit from larger depths, which is the value itself.
    After,
}

/// A number of coefficients that a basis cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BasisError {
    /// There is nothing to be made of so few.
    #[error("a {basis} control takes at least {least} coefficients, not {found}")]
    TooFew {
        /// The basis.
        basis: Basis,
        /// Coefficients asked for.
        found: usize,
        /// The least possible.
        least: usize,
    },
    /// A cosine without its sine.
    #[error(
        "a fourier control has a constant and pairs of cosine and sine, an odd number of coefficients, \
         not {found}; take {} or {}", found - 1, found + 1
    )]
    Even {
        /// Coefficients asked for.
        found: usize,
    },
}

impl Basis {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Constant, Self::Linear, Self::Spline, Self::Chebyshev, Self::Fourier];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Linear => "linear",
            Self::Spline => "spline",
            Self::Chebyshev => "chebyshev",
            Self::Fourier => "fourier",
        }
    }

    /// Fewest functions.
    pub fn least(self) -> usize {
        match self {
            Self::Constant | Self::Chebyshev | Self::Fourier => 1,
            Self::Linear => 2,
            Self::Spline => 4,
        }
    }

    /// Checks a number of functions.
    pub(super) fn check(self, count: usize) -> Result<(), BasisError> {
        if count < self.least() {
            return Err(BasisError::TooFew { basis: self, found: count, least: self.least() });
        }
        if self == Self::Fourier && count.is_multiple_of(2) {
            return Err(BasisError::Even { found: count });
        }
        Ok(())
    }

    /// How many of `count` functions reach one depth.
    pub(super) fn reach(self, count: usize) -> usize {
        match self {
            Self::Constant => 1,
            Self::Linear => 2,
            Self::Spline => 4,
            Self::Chebyshev | Self::Fourier => count,
        }
    }

    /// Pieces of equal length, inside each of which every function is smooth.
    pub(super) fn pieces(self, count: usize) -> usize {
        match self {
            Self::Constant => count,
            Self::Linear => count - 1,
            Self::Spline => count - 3,
            Self::Chebyshev | Self::Fourier => 1,
        }
    }

    /// The values at s of those of `count` functions that reach it; the index of the first of them.
    pub(super) fn at(self, count: usize, s: f64, side: Side, values: &mut [f64]) -> usize {
        let pieces = self.pieces(count);
        let x = s * pieces as f64;
        let piece = piece(x, pieces, side);
        match self {
            Self::Constant => values[0] = 1.0,
            Self::Linear => {
                let w = x - piece as f64;
                values.copy_from_slice(&[1.0 - w, w]);
            }
            Self::Spline => values.copy_from_slice(&cubic(x, piece, pieces)),
            Self::Chebyshev => chebyshev(2.0 * s - 1.0, values),
            Self::Fourier => {
                values[0] = 1.0;
                for (index, pair) in values[1..].chunks_exact_mut(2).enumerate() {
                    let (sine, cosine) = ((index + 1) as f64 * TAU * s).sin_cos();
                    pair.copy_from_slice(&[cosine, sine]);
                }
            }
        }
        piece
    }
}

impl std::fmt::Display for Basis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The piece that the point x belongs to, with pieces of length 1.
fn piece(x: f64, pieces: usize, side: Side) -> usize {
    // The product of n/N and a number of pieces may miss the end of a piece by its rounding.
    let whole = x.round();
    let x = if (x - whole).abs() < 1e-9 { whole } else { x };
    let piece = if side == Side::Before { x.ceil() - 1.0 } else { x.floor() };
    piece.clamp(0.0, (pieces - 1) as f64) as usize
}

/// The four cubic B-splines that reach x, on knots 0, 1, …, `pieces`, both ends fourfold.
fn cubic(x: f64, piece: usize, pieces: usize) -> [f64; 4] {
    let knot = |offset: isize| (piece as isize + offset).clamp(0, pieces as isize) as f64;
    let mut values = [1.0, 0.0, 0.0, 0.0];
    for degree in 1..4 {
        let mut from_left = 0.0;
        for (index, value) in values.iter_mut().take(degree).enumerate() {
            let right = knot(index as isize + 1);
            let left = knot(index as isize + 1 - degree as isize);
            let share = *value / (right - left);
            *value = from_left + (right - x) * share;
            from_left = (x - left) * share;
        }
        values[degree] = from_left;
    }
    values
}

/// T_0(t) … by T_{k+1} = 2 t T_k − T_{k−1}.
fn chebyshev(t: f64, values: &mut [f64]) {
    let (mut before, mut now) = (t, 1.0);
    for value in values {
        *value = now;
        (before, now) = (now, 2.0 * t * now - before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All K values at s.
    fn all(basis: Basis, count: usize, s: f64, side: Side) -> Vec<f64> {
        let mut some = vec![0.0; basis.reach(count)];
        let first = basis.at(count, s, side, &mut some);
        let mut values = vec![0.0; count];
        values[first..first + some.len()].copy_from_slice(&some);
        values
    }

    #[test]
    fn the_local_functions_are_not_negative_and_add_up_to_one() {
        for basis in [Basis::Constant, Basis::Linear, Basis::Spline] {
            for count in [4, 5, 8, 49] {
                for s in (0..=1000).map(|i| f64::from(i) / 1000.0) {
                    let values = all(basis, count, s, Side::After);
                    let sum: f64 = values.iter().sum();
                    assert!((sum - 1.0).abs() < 1e-14, "{basis} {count} at {s}: {sum}");
                    // A knot may be missed by a rounding, and a value be as much below zero.
                    assert!(values.iter().all(|v| *v > -1e-13), "{basis} {count} at {s}");
                }
            }
        }
    }

    /// Against the definition on an infinite knot sequence, where no end is near: the cubic B-spline is
    /// 1/6, 4/6, 1/6 at its inner knots.
    #[test]
    fn splines_have_the_known_values_at_knots_and_ends() {
        let (count, pieces) = (12, 9.0);
        for knot in 3..=6 {
            let values = all(Basis::Spline, count, f64::from(knot) / pieces, Side::After);
            let expected = [1.0 / 6.0, 4.0 / 6.0, 1.0 / 6.0, 0.0];
            for (found, expected) in values[knot as usize..].iter().zip(expected) {
                assert!((found - expected).abs() < 1e-14, "{knot}: {values:?}");
            }
        }
        assert_eq!(all(Basis::Spline, count, 0.0, Side::After)[0], 1.0);
        assert_eq!(all(Basis::Spline, count, 1.0, Side::After)[count - 1], 1.0);
        // With one piece they are the polynomials of Bernstein.
        for (value, bernstein) in
            all(Basis::Spline, 4, 0.25, Side::After).iter().zip([27, 27, 9, 1])
        {
            assert!((value - f64::from(bernstein) / 64.0).abs() < 1e-15);
        }
    }

    #[test]
    fn chebyshev_and_fourier_functions_are_their_formulas() {
        for s in [0.0, 0.13, 0.5, 0.77, 1.0] {
            for (k, value) in all(Basis::Chebyshev, 9, s, Side::After).iter().enumerate() {
                let formula = (k as f64 * (2.0 * s - 1.0f64).acos()).cos();
                assert!((value - formula).abs() < 1e-13, "T_{k} at {s}");
            }
            let fourier = all(Basis::Fourier, 5, s, Side::After);
            let (a, b) = (TAU * s, 2.0 * TAU * s);
            assert_eq!(fourier, [1.0, a.cos(), a.sin(), b.cos(), b.sin()]);
        }
    }

    #[test]
    fn pieces_begin_at_their_left_end_whatever_the_rounding() {
        for count in 1..200 {
            for k in 0..count {
                let s = k as f64 / count as f64;
                assert_eq!(all(Basis::Constant, count, s, Side::After)[k], 1.0, "{k}/{count}");
                let before = all(Basis::Constant, count, s, Side::Before);
                assert_eq!(before[k.saturating_sub(1)], 1.0, "before {k}/{count}");
            }
            assert_eq!(all(Basis::Constant, count, 1.0, Side::After)[count - 1], 1.0);
        }
    }

    #[test]
    fn numbers_of_coefficients_that_mean_nothing_are_refused_by_name() {
        for (basis, count, part) in [
            (Basis::Constant, 0, "at least 1"),
            (Basis::Linear, 1, "linear control takes at least 2 coefficients, not 1"),
            (Basis::Spline, 3, "at least 4"),
            (Basis::Fourier, 4, "not 4; take 3 or 5"),
        ] {
            let error = basis.check(count).expect_err("refused").to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(Basis::ALL.iter().all(|basis| basis.check(7).is_ok()));
    }
}
