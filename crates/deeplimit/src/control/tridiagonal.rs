//! Tridiagonal systems along depth, for all numbers of a node at once: elimination without pivoting
//! (Thomas 1949), which diagonal dominance keeps stable (Higham 2002, section 9.6).

/// A tridiagonal matrix whose rows are dominated by their diagonal, factored.
pub(super) struct Tridiagonal {
    /// What a row takes of the row above it.
    factors: Vec<f64>,
    pivots: Vec<f64>,
    above: Vec<f64>,
}

impl Tridiagonal {
    /// Factors the matrix with rows `[left of the diagonal, diagonal, right of it]`; what would lie
    /// outside the matrix is not looked at.
    pub(super) fn new(rows: &[[f64; 3]]) -> Self {
        let mut pivots: Vec<f64> = Vec::with_capacity(rows.len());
        let mut factors = Vec::with_capacity(rows.len());
        for (row, [left, diagonal, _]) in rows.iter().enumerate() {
            let factor = if row == 0 { 0.0 } else { left / pivots[row - 1] };
            let before = if row == 0 { 0.0 } else { rows[row - 1][2] };
            factors.push(factor);
            pivots.push(diagonal - factor * before);
        }
        Self { factors, pivots, above: rows.iter().map(|row| row[2]).collect() }
    }

    /// Puts the solutions in the place of the right-hand sides `[rows, width]`, one a column.
    ///
    /// # Panics
    /// If the right-hand sides do not have as many rows as the matrix.
    pub(super) fn solve(&self, values: &mut [f64]) {
        let rows = self.pivots.len();
        assert!(values.len().is_multiple_of(rows), "right-hand sides have a row for each equation");
        let width = values.len() / rows;
        for row in 1..rows {
            let (before, here) = values.split_at_mut(row * width);
            let before = &before[(row - 1) * width..];
            let factor = self.factors[row];
            here[..width].iter_mut().zip(before).for_each(|(x, above)| *x -= factor * above);
        }
        for row in (0..rows).rev() {
            let (here, after) = values.split_at_mut((row + 1) * width);
            let here = &mut here[row * width..];
            let (pivot, above) = (self.pivots[row], self.above[row]);
            if row + 1 < rows {
                here.iter_mut().zip(&*after).for_each(|(x, below)| *x -= above * below);
            }
            here.iter_mut().for_each(|x| *x /= pivot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::uniform;

    #[test]
    fn solutions_satisfy_their_equations_from_one_row_on() {
        for rows in [1, 2, 3, 8] {
            let matrix: Vec<[f64; 3]> = (0..rows)
                .map(|row| [0, 1, 2].map(|part| uniform(1, 3 * row + part)))
                .map(|[left, middle, right]| [left, 2.0 + middle.abs(), right])
                .collect();
            let width = 3;
            let sides: Vec<f64> = (0..rows * width).map(|i| uniform(2, i)).collect();
            let mut found = sides.clone();
            Tridiagonal::new(&matrix).solve(&mut found);
            for (i, side) in sides.iter().enumerate() {
                let (row, at) = (i / width as usize, |row: usize| found[row * 3 + i % 3]);
                let mut sum = matrix[row][1] * at(row);
                if row > 0 {
                    sum += matrix[row][0] * at(row - 1);
                }
                if row + 1 < matrix.len() {
                    sum += matrix[row][2] * at(row + 1);
                }
                // A few roundings of numbers around 1.
                assert!((sum - side).abs() < 1e-14, "{rows} rows, entry {i}: {sum} {side}");
            }
        }
    }
}
