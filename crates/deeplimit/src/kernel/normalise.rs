//! Batch normalisation of one channel: moments, and their pull-back.

use super::sums::{self, dot, sum};
use super::vector::add_scaled;
use crate::Real;

/// Mean and spread of some numbers; those of several parts are merged in any grouping (Chan, Golub,
/// LeVeque 1979).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// How many numbers.
    pub count: f64,
    /// Their mean.
    pub mean: f64,
    /// Σ (x − mean)².
    pub spread: f64,
}

impl Moments {
    /// The moments of `x`.
    pub fn of<R: Real>(x: &[R]) -> Self {
        let count = x.len() as f64;
        let mean = sum(x) / count;
        let shift = R::of(mean);
        let spread = sums::squares_about(x, shift);
        let rest = mean - shift.wide();
        Self { count, mean, spread: spread - count * rest * rest }
    }

    /// The moments of both.
    pub fn merge(self, other: Self) -> Self {
        let count = self.count + other.count;
        if count == 0.0 {
            return self;
        }
        let step = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + step * other.count / count,
            spread: self.spread + other.spread + step * step * self.count * other.count / count,
        }
    }

    /// The biased variance.
    pub fn variance(self) -> f64 {
        self.spread / self.count
    }

    /// The unbiased variance; that of one number is its spread, 0.
    pub fn unbiased_variance(self) -> f64 {
        self.spread / (self.count - 1.0).max(1.0)
    }
}

/// `x = (x − mean) · inverse`.
pub fn in_place<R: Real>(x: &mut [R], mean: f64, inverse: f64) {
    super::vector::centre(x, R::of(mean), R::of(inverse));
}

/// Σ bar and Σ bar · x̂: what all samples of a channel tell each other on the way back.
pub fn bar_sums<R: Real>(bar: &[R], normal: &[R]) -> [f64; 2] {
    [sum(bar), dot(bar, normal)]
}

/// `bar = factor · (bar − mean[0] − x̂ · mean[1])`, the cotangent of x for that of x̂, where `mean`
/// are the means of [`bar_sums`] over the batch, and 0 where the statistics are held.
pub fn pull_back<R: Real>(bar: &mut [R], normal: &[R], mean: [f64; 2], factor: f64) {
    if mean[1] != 0.0 {
        add_scaled(bar, R::of(-mean[1]), normal);
    }
    super::vector::scale_shift(bar, R::of(factor), R::of(-factor * mean[0]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_parts_merge_to_those_of_the_whole() {
        let x: Vec<f64> = (0..300).map(|i| 5.0 + crate::seed::uniform(3, i)).collect();
        let whole = Moments::of(&x);
        let parts = x.chunks(37).map(Moments::of).fold(Moments::default(), Moments::merge);
        let mean = x.iter().sum::<f64>() / 300.0;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 300.0;
        for moments in [whole, parts] {
            assert!((moments.mean - mean).abs() < 1e-13);
            assert!((moments.variance() - variance).abs() < 1e-13);
        }
    }
}
