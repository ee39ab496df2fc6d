//! Increments of fractional Brownian motion (Mandelbrot, van Ness 1968), exact by circulant embedding (Davies,
//! Harte 1987).

use deeplimit::seed::normal;
use std::f64::consts::TAU;

/// A stationary Gaussian sequence of variance 1, whose sum over n terms has variance n^{2H}.
pub struct Increments {
    /// The sequence's length, a power of two.
    length: usize,
    /// √(λ/2n) for the eigenvalues λ of the covariance, made periodic.
    roots: Vec<f64>,
    /// exp(−2πi j/2n), j < n.
    turns: Vec<[f64; 2]>,
}

impl Increments {
    /// Of the Hurst index H in (0, 1).
    ///
    /// # Panics
    /// If the length is not a power of two.
    pub fn new(hurst: f64, length: usize) -> Self {
        assert!(length.is_power_of_two(), "{length} is not a power of two");
        let period = 2 * length;
        let turn = |j: usize| {
            let (sin, cos) = (-TAU * j as f64 / period as f64).sin_cos();
            [cos, sin]
        };
        let turns: Vec<[f64; 2]> = (0..length).map(turn).collect();
        let mut values: Vec<[f64; 2]> =
            (0..period).map(|k| [covariance(hurst, k.min(period - k)), 0.0]).collect();
        transform(&mut values, &turns);
        // The eigenvalues are not negative (Craigmile 2003); roundings are.
        let roots = values.iter().map(|v| (v[0].max(0.0) / period as f64).sqrt()).collect();
        Self { length, roots, turns }
    }

    /// Two independent sequences.
    pub fn pair(&self, seed: u64) -> [Vec<f64>; 2] {
        let number = |(k, root): (usize, &f64)| {
            [0, 1].map(|part| root * normal(seed, (2 * k + part) as u64))
        };
        let mut values: Vec<[f64; 2]> = self.roots.iter().enumerate().map(number).collect();
        transform(&mut values, &self.turns);
        [0, 1].map(|part| values[..self.length].iter().map(|value| value[part]).collect())
    }
}

/// E ξ_n ξ_{n+k}.
fn covariance(hurst: f64, lag: usize) -> f64 {
    let power = |k: f64| k.abs().powf(2.0 * hurst);
    let k = lag as f64;
    0.5 * (power(k + 1.0) - 2.0 * power(k) + power(k - 1.0))
}

/// The discrete Fourier transform of a power of two of complex numbers (Cooley, Tukey 1965).
fn transform(values: &mut [[f64; 2]], turns: &[[f64; 2]]) {
    let count = values.len();
    let bits = count.trailing_zeros();
    for i in 0..count {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            values.swap(i, j);
        }
    }
    let mut half = 1;
    while half < count {
        let stride = count / (2 * half);
        for block in values.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for (j, (a, b)) in low.iter_mut().zip(high).enumerate() {
                let [cos, sin] = turns[j * stride];
                let turned = [b[0] * cos - b[1] * sin, b[0] * sin + b[1] * cos];
                *b = [a[0] - turned[0], a[1] - turned[1]];
                *a = [a[0] + turned[0], a[1] + turned[1]];
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_have_the_variance_of_fractional_brownian_motion_and_pairs_are_independent() {
        const LENGTH: usize = 64;
        const PAIRS: u64 = 2000;
        for hurst in [0.25, 0.5, 0.7, 0.9] {
            let increments = Increments::new(hurst, LENGTH);
            let pairs: Vec<_> = (0..PAIRS).map(|seed| increments.pair(seed)).collect();
            for terms in [1, 2, 16, LENGTH] {
                let sum = |sequence: &Vec<f64>| sequence[LENGTH - terms..].iter().sum::<f64>();
                let square: f64 = pairs.iter().flatten().map(|s| sum(s).powi(2)).sum();
                let found = square / (2 * PAIRS) as f64 / (terms as f64).powf(2.0 * hurst);
                // A variance of 4000 numbers has a standard error of 2.2 %.
                assert!((found - 1.0).abs() < 0.09, "H = {hurst}, {terms} terms: {found}");
                let product: f64 = pairs.iter().map(|[a, b]| sum(a) * sum(b)).sum();
                let found = product / PAIRS as f64 / (terms as f64).powf(2.0 * hurst);
                assert!(found.abs() < 0.09, "H = {hurst}, {terms} terms: {found}");
            }
        }
    }
}
