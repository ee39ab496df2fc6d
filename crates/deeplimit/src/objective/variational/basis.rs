//! Polynomials on [0, 1] that are orthonormal in H¹.
//!
//! ```text
//! e_0 = 1/√τ,   e_j(s) = ∫_0^s √(2j − 1) P_{j−1}(2t − 1) dt,   j = 1 … degree
//! ∫ e_i' e_j' ds + τ e_i(0) e_j(0) = 1 where i = j, else 0
//! ```
//!
//! with the Legendre polynomials P: the penalty of a control with coefficients c is ‖c‖².

/// The first `degree` + 1 of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Basis {
    pub degree: usize,
    pub tau: f64,
}

/// Values, first and second derivatives of all of them at one place.
pub(super) struct Place {
    pub values: Vec<f64>,
    pub slopes: Vec<f64>,
    pub curvatures: Vec<f64>,
}

impl Basis {
    /// At depth s.
    pub fn at(&self, s: f64) -> Place {
        let x = 2.0 * s - 1.0;
        // P_k(x) and P_k'(x), k = 0 … degree.
        let (mut p, mut d) = (vec![1.0, x], vec![0.0, 1.0]);
        for k in 1..self.degree {
            let k = k as f64;
            let [last, before] = [p.len() - 1, p.len() - 2];
            p.push(((2.0 * k + 1.0) * x * p[last] - k * p[before]) / (k + 1.0));
            d.push(d[before] + (2.0 * k + 1.0) * p[last]);
        }
        let mut place =
            Place { values: vec![1.0 / self.tau.sqrt()], slopes: vec![0.0], curvatures: vec![0.0] };
        for j in 1..=self.degree {
            let norm = (2.0 * j as f64 - 1.0).sqrt();
            // ∫ P_{j−1} over [−1, x], of which half is the integral over [0, s].
            let integral = if j == 1 { x + 1.0 } else { (p[j] - p[j - 2]) / (norm * norm) };
            place.values.push(norm * integral / 2.0);
            place.slopes.push(norm * p[j - 1]);
            place.curvatures.push(norm * 2.0 * d[j - 1]);
        }
        place
    }
}

/// Nodes in [0, 1] and weights of Gauss' rule of five points, exact for polynomials of degree nine.
pub(super) fn gauss() -> [(f64, f64); 5] {
    let root = (10.0f64 / 7.0).sqrt();
    let [near, far] = [(5.0 - 2.0 * root).sqrt() / 3.0, (5.0 + 2.0 * root).sqrt() / 3.0];
    let spread = 13.0 * 70.0f64.sqrt();
    let [heavy, light] = [(322.0 + spread) / 900.0, (322.0 - spread) / 900.0];
    [(-far, light), (-near, heavy), (0.0, 128.0 / 225.0), (near, heavy), (far, light)]
        .map(|(x, weight)| ((x + 1.0) / 2.0, weight / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ∫_0^1 f ds by Gauss' rule on 64 parts: for polynomials of degree 16 exact to roundings.
    fn integral(f: impl Fn(f64) -> f64) -> f64 {
        let part = |part: usize| {
            let at = |(s, weight): (f64, f64)| weight / 64.0 * f((part as f64 + s) / 64.0);
            gauss().map(at).iter().sum::<f64>()
        };
        (0..64).map(part).sum()
    }

    #[test]
    fn gauss_rule_is_exact_to_degree_nine_and_not_beyond() {
        let error = |power: i32| {
            let sum: f64 = gauss().iter().map(|(s, weight)| weight * s.powi(power)).sum();
            (sum - 1.0 / f64::from(power + 1)).abs()
        };
        assert!((0..=9).all(|power| error(power) < 1e-15));
        assert!(error(10) > 1e-6, "{}", error(10));
    }

    #[test]
    fn the_basis_is_orthonormal_in_h1_and_its_derivatives_are_its_own() {
        for (degree, tau) in [(1, 0.3), (2, 1.0), (9, 2.5)] {
            let basis = Basis { degree, tau };
            let start = basis.at(0.0).values;
            for i in 0..=degree {
                for j in 0..=degree {
                    let product = |s| {
                        let slopes = basis.at(s).slopes;
                        slopes[i] * slopes[j]
                    };
                    let found = integral(product) + tau * start[i] * start[j];
                    let expected = f64::from(u8::from(i == j));
                    assert!((found - expected).abs() < 1e-13, "{degree}: {i} {j} {found}");
                }
                for s in [0.0, 0.3, 1.0] {
                    let step = 1e-5;
                    let [before, at, after] = [s - step, s, s + step].map(|s| basis.at(s));
                    let slope = (after.values[i] - before.values[i]) / (2.0 * step);
                    let curvature = (after.slopes[i] - before.slopes[i]) / (2.0 * step);
                    // Central differences: step² times a third derivative of at most 1e5.
                    assert!((at.slopes[i] - slope).abs() < 1e-5, "e_{i}'({s})");
                    assert!((at.curvatures[i] - curvature).abs() < 1e-4, "e_{i}''({s})");
                }
            }
        }
    }
}
