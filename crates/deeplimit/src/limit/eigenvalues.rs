//! Eigenvalues of small dense matrices: reduction to Hessenberg form by reflections (Householder
//! 1958), then the QR algorithm with double shifts (Francis 1961; as in EISPACK's `hqr` of Martin,
//! Peters, Wilkinson 1970).

/// Iterations for one eigenvalue after which the algorithm counts as failed.
const MOST_ITERATIONS: usize = 60;

/// Real and imaginary parts of all eigenvalues of a row-major matrix `[width, width]`, in no order;
/// `None` where a number is not finite or the iteration does not converge. The errors are roundings of
/// the matrix' norm, times the condition of the eigenvalue.
///
/// # Panics
/// If the matrix is not `[width, width]`.
pub fn eigenvalues(matrix: &[f64], width: usize) -> Option<Vec<[f64; 2]>> {
    assert_eq!(matrix.len(), width * width, "eigenvalues of a square matrix");
    if matrix.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mut h = Hessenberg { width, values: matrix.to_vec() };
    h.reduce();
    h.francis()
}

struct Hessenberg {
    width: usize,
    values: Vec<f64>,
}

impl Hessenberg {
    fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.width + column]
    }

    fn put(&mut self, row: usize, column: usize, value: f64) {
        self.values[row * self.width + column] = value;
    }

    /// Makes all entries below the first subdiagonal vanish, by reflections from both sides.
    fn reduce(&mut self) {
        let width = self.width;
        for column in 0..width.saturating_sub(2) {
            let mut v: Vec<f64> = (column + 1..width).map(|row| self.at(row, column)).collect();
            let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
            if v[1..].iter().all(|v| *v == 0.0) {
                continue;
            }
            v[0] += norm.copysign(v[0]);
            let square: f64 = v.iter().map(|v| v * v).sum();
            let start = column + 1;
            for j in column..width {
                let dot: f64 = v.iter().enumerate().map(|(i, v)| v * self.at(start + i, j)).sum();
                for (i, v) in v.iter().enumerate() {
                    self.values[(start + i) * width + j] -= 2.0 * dot / square * v;
                }
            }
            for row in self.values.chunks_exact_mut(width) {
                let row = &mut row[start..];
                let dot: f64 = v.iter().zip(&*row).map(|(v, entry)| v * entry).sum();
                row.iter_mut().zip(&v).for_each(|(entry, v)| *entry -= 2.0 * dot / square * v);
            }
            (column + 2..width).for_each(|row| self.put(row, column, 0.0));
        }
    }

    /// Splits eigenvalues off the end, one or two at a time.
    fn francis(mut self) -> Option<Vec<[f64; 2]>> {
        let mut found = Vec::with_capacity(self.width);
        let mut open = self.width; // Rows that still belong to the matrix.
        let mut iterations = 0;
        while open > 0 {
            let last = open - 1;
            let first = self.block_start(last);
            if first == last {
                found.push([self.at(last, last), 0.0]);
                (open, iterations) = (last, 0);
            } else if first + 1 == last {
                found.extend(self.pair(first));
                (open, iterations) = (first, 0);
            } else {
                iterations += 1;
                if iterations > MOST_ITERATIONS {
                    return None;
                }
                self.sweep(first, last, iterations % 10 == 0);
            }
        }
        Some(found)
    }

    /// The row at which the block of `last` begins: above it the subdiagonal is rounding.
    fn block_start(&mut self, last: usize) -> usize {
        for row in (1..=last).rev() {
            let size = self.at(row - 1, row - 1).abs() + self.at(row, row).abs();
            let size = if size == 0.0 { self.norm() } else { size };
            if self.at(row, row - 1).abs() <= f64::EPSILON * size {
                self.put(row, row - 1, 0.0);
                return row;
            }
        }
        0
    }

    fn norm(&self) -> f64 {
        self.values.iter().map(|v| v * v).sum::<f64>().sqrt()
    }

    /// The eigenvalues of the 2×2 block at `row`.
    fn pair(&self, row: usize) -> [[f64; 2]; 2] {
        let [a, b] = [self.at(row, row), self.at(row, row + 1)];
        let [c, d] = [self.at(row + 1, row), self.at(row + 1, row + 1)];
        let (middle, half) = ((a + d) / 2.0, (a - d) / 2.0);
        let discriminant = half * half + b * c;
        if discriminant < 0.0 {
            let imaginary = (-discriminant).sqrt();
            return [[middle, imaginary], [middle, -imaginary]];
        }
        // The larger one first, the other from half: no cancellation.
        let far = half + discriminant.sqrt().copysign(half);
        let other = if far == 0.0 { d } else { d - b * c / far };
        [[d + far, 0.0], [other, 0.0]]
    }

    /// One double-shifted QR step on the rows first … last, chased down as a bulge of 3×3 reflections.
    fn sweep(&mut self, first: usize, last: usize, exceptional: bool) {
        let [a, b] = [self.at(last - 1, last - 1), self.at(last - 1, last)];
        let [c, d] = [self.at(last, last - 1), self.at(last, last)];
        let (mut trace, mut determinant) = (a + d, a * d - b * c);
        if exceptional {
            // A shift of its own breaks cycles.
            let size = c.abs() + self.at(last - 1, last - 2).abs();
            (trace, determinant) = (1.5 * size, size * size);
        }
        // The first column of H² − trace H + determinant.
        let [h00, h01] = [self.at(first, first), self.at(first, first + 1)];
        let [h10, h11] = [self.at(first + 1, first), self.at(first + 1, first + 1)];
        let mut bulge = [
            h00 * h00 + h01 * h10 - trace * h00 + determinant,
            h10 * (h00 + h11 - trace),
            h10 * self.at(first + 2, first + 1),
        ];
        for row in first..last {
            let size = if row + 2 <= last { 3 } else { 2 };
            self.reflect(&bulge[..size], row, first, last);
            if row + 1 < last {
                let next = |below: usize| {
                    if row + below <= last { self.at(row + below, row) } else { 0.0 }
                };
                bulge = [next(1), next(2), next(3)];
            }
        }
    }

    /// Turns `x` at rows `row` … into a multiple of the first unit vector, from both sides.
    fn reflect(&mut self, x: &[f64], row: usize, first: usize, last: usize) {
        let scale = x.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        if scale == 0.0 {
            return;
        }
        let mut v = [0.0; 3];
        v.iter_mut().zip(x).for_each(|(v, x)| *v = x / scale);
        let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        v[0] += norm.copysign(v[0]);
        let factor = 2.0 / v.iter().map(|v| v * v).sum::<f64>();
        let (count, width) = (x.len(), self.width);
        // Left of the bulge the rows are zero; below its reach the columns are.
        for column in row.saturating_sub(1).max(first)..=last {
            let dot: f64 = (0..count).map(|i| v[i] * self.at(row + i, column)).sum();
            for (i, v) in v[..count].iter().enumerate() {
                self.values[(row + i) * width + column] -= factor * dot * v;
            }
        }
        for line in first..=last.min(row + 3) {
            let dot: f64 = (0..count).map(|i| v[i] * self.at(line, row + i)).sum();
            for (i, v) in v[..count].iter().enumerate() {
                self.values[line * width + row + i] -= factor * dot * v;
            }
        }
        if row > first {
            (1..count).for_each(|i| self.put(row + i, row - 1, 0.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::normal;

    fn sorted(matrix: &[f64], width: usize) -> Vec<[f64; 2]> {
        let mut found = eigenvalues(matrix, width).expect("they converge");
        found.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
        found
    }

    fn close(found: &[[f64; 2]], expected: &[[f64; 2]], tolerance: f64) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            let apart = (found[0] - expected[0]).hypot(found[1] - expected[1]);
            assert!(apart < tolerance, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn eigenvalues_of_known_matrices_are_exact_to_rounding() {
        close(&sorted(&[], 0), &[], 1e-14);
        close(&sorted(&[-3.0], 1), &[[-3.0, 0.0]], 1e-14);
        close(&sorted(&[0.0, 2.0, -2.0, 0.0], 2), &[[0.0, -2.0], [0.0, 2.0]], 1e-14);
        close(&sorted(&[2.0, 1.0, 0.0, 5.0], 2), &[[2.0, 0.0], [5.0, 0.0]], 1e-14);
        // A permutation of period 3, on which an unshifted iteration cycles.
        let root = 3f64.sqrt() / 2.0;
        let cycle = [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        close(&sorted(&cycle, 3), &[[-0.5, -root], [-0.5, root], [1.0, 0.0]], 1e-14);
        // The companion matrix of (x − 1)(x − 2)(x − 3)(x − 4).
        #[rustfmt::skip]
        let companion = [
            10.0, -35.0, 50.0, -24.0,
            1.0, 0.0, 0.0, 0.0,
            0.0, 1.0, 0.0, 0.0,
            0.0, 0.0, 1.0, 0.0,
        ];
        let whole = [1.0, 2.0, 3.0, 4.0].map(|value| [value, 0.0]);
        close(&sorted(&companion, 4), &whole, 1e-11);
        assert_eq!(eigenvalues(&[f64::NAN], 1), None);
    }

    /// Power sums of the eigenvalues are traces of powers of the matrix.
    #[test]
    fn eigenvalues_of_random_matrices_have_the_traces_of_their_powers() {
        for width in [2, 3, 4, 5, 8, 13, 40, 100] {
            let size = 1.0 / (width as f64).sqrt();
            let entry = |i: usize| size * normal(width as u64, i as u64);
            let matrix: Vec<f64> = (0..width * width).map(entry).collect();
            let found = sorted(&matrix, width);
            let mut power = matrix.clone();
            for exponent in 1..=4 {
                let trace: f64 = power.iter().step_by(width + 1).sum();
                let (mut real, mut imaginary) = (0.0, 0.0);
                for [re, im] in &found {
                    let (radius, angle) = (re.hypot(*im), im.atan2(*re));
                    real += radius.powi(exponent) * (angle * f64::from(exponent)).cos();
                    imaginary += radius.powi(exponent) * (angle * f64::from(exponent)).sin();
                }
                // Sums of `width` numbers of size 1, each known to some roundings.
                let tolerance = 1e-12 * width as f64;
                assert!((real - trace).abs() < tolerance, "{width}: {real} {trace}");
                assert!(imaginary.abs() < tolerance, "{width}: {imaginary}");
                let old = power.clone();
                for row in 0..width {
                    for column in 0..width {
                        power[row * width + column] = (0..width)
                            .map(|k| old[row * width + k] * matrix[k * width + column])
                            .sum();
                    }
                }
            }
        }
    }
}
