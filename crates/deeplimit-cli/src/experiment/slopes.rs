//! Orders of convergence from measurements.

/// Least-squares slope of log y against log x over the points that have both; NaN with fewer than two.
pub fn slope(points: impl IntoIterator<Item = (f64, f64)>) -> f64 {
    let points = points.into_iter().filter(|(x, y)| *x > 0.0 && *y > 0.0 && y.is_finite());
    let logs: Vec<(f64, f64)> = points.map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| logs.iter().map(pick).sum::<f64>() / count;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let covariance: f64 = logs.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let variance: f64 = logs.iter().map(|p| (p.0 - x).powi(2)).sum();
    covariance / variance
}

/// The line of slope `slope` through the last point of `points`, over their horizontal extent: what
/// theory says, to be drawn beside them.
pub fn line(points: &[(f64, f64)], slope: f64) -> Vec<(f64, f64)> {
    let Some(&(at, value)) = points.last() else { return Vec::new() };
    points.iter().map(|&(x, _)| (x, value * (x / at).powf(slope))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_has_its_exponent_and_zeros_are_left_out() {
        let points = [8.0, 16.0, 32.0].map(|n: f64| (n, 3.0 / (n * n)));
        assert!((slope(points) + 2.0).abs() < 1e-12);
        assert!((slope(points.into_iter().chain([(64.0, 0.0)])) + 2.0).abs() < 1e-12);
        assert!(slope([(1.0, 1.0)]).is_nan());
        assert_eq!(line(&points, -2.0)[0].1, points[0].1);
    }
}
