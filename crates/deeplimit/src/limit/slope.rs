//! Least-squares lines through logarithms: observed orders and scaling exponents.

use serde::Serialize;

/// The exponent of a power law y ≈ c xᵖ, fitted by least squares of log y against log x.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Slope {
    /// p; not a number where a y is zero at one of the points, or all x are the same.
    pub value: f64,
    /// The standard error of p, from the scatter of the k points around the line:
    /// √(Σ r² / (k − 2) / Σ (log x − mean)²). Infinite with two points, through which a line
    /// always goes. The true exponent of five points that scatter independently lies within 3.2
    /// standard errors in 95 % of all cases (Student's t with three degrees of freedom).
    pub error: f64,
}

impl Slope {
    /// Fits the points (x, y).
    pub fn fit(points: &[(f64, f64)]) -> Self {
        let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
        let count = logs.len() as f64;
        let mean_x = logs.iter().map(|log| log.0).sum::<f64>() / count;
        let mean_y = logs.iter().map(|log| log.1).sum::<f64>() / count;
        let spread: f64 = logs.iter().map(|log| (log.0 - mean_x).powi(2)).sum();
        let covariance: f64 = logs.iter().map(|log| (log.0 - mean_x) * (log.1 - mean_y)).sum();
        if spread == 0.0 || !covariance.is_finite() {
            return Self { value: f64::NAN, error: f64::NAN };
        }
        let value = covariance / spread;
        if logs.len() == 2 {
            return Self { value, error: f64::INFINITY };
        }
        let residual = |log: &(f64, f64)| log.1 - mean_y - value * (log.0 - mean_x);
        let scatter: f64 = logs.iter().map(|log| residual(log).powi(2)).sum();
        Self { value, error: (scatter / (count - 2.0) / spread).sqrt() }
    }
}

impl std::fmt::Display for Slope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ± {:.2}", self.value, self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points whose logarithms are these.
    fn exponentials(logs: &[(f64, f64)]) -> Vec<(f64, f64)> {
        logs.iter().map(|(x, y)| (x.exp(), y.exp())).collect()
    }

    #[test]
    fn a_power_law_is_found_without_error() {
        let points: Vec<_> = [3.0, 8.0, 11.0, 200.0].map(|x: f64| (x, 5.0 * x.powf(-1.5))).into();
        let slope = Slope::fit(&points);
        // Logarithms of size 8 leave a few roundings.
        assert!((slope.value + 1.5).abs() < 1e-14 && slope.error < 1e-14, "{slope:?}");
    }

    #[test]
    fn the_standard_error_is_that_of_the_textbook() {
        // Residuals −1/3, 2/3, −1/3 with one degree of freedom, and Σ (x − 1)² = 2.
        let slope = Slope::fit(&exponentials(&[(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)]));
        assert!(slope.value.abs() < 1e-15, "{slope:?}");
        assert!((slope.error - (1.0f64 / 3.0).sqrt()).abs() < 1e-14, "{slope:?}");
        assert_eq!(slope.to_string(), "0.00 ± 0.58");
    }

    #[test]
    fn what_cannot_be_known_is_not_a_number_or_infinite() {
        assert_eq!(Slope::fit(&[(1.0, 1.0), (2.0, 4.0)]).error, f64::INFINITY);
        for points in [&[][..], &[(2.0, 1.0)], &[(2.0, 1.0), (2.0, 3.0)], &[(1.0, 0.0), (2.0, 1.0)]]
        {
            assert!(Slope::fit(points).value.is_nan(), "{points:?}");
        }
    }
}
