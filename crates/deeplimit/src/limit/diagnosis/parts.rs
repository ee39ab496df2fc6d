//! Sums over the independent parts of a batch: each sample where samples do not see each other, else
//! the batch as a whole.

use crate::Rows;

/// ⟨a, b⟩ in each part.
pub(super) fn dots(a: &Rows<f64>, b: &Rows<f64>, together: bool) -> Vec<f64> {
    let rows = a.rows();
    let mut sums = vec![0.0; rows];
    let columns = a.columns().chunks_exact(rows.max(1)).zip(b.columns().chunks_exact(rows.max(1)));
    for (a, b) in columns {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a * b);
    }
    if together { vec![sums.iter().sum()] } else { sums }
}

/// Norm of each part.
pub(super) fn norms(x: &Rows<f64>, together: bool) -> Vec<f64> {
    dots(x, x, together).into_iter().map(f64::sqrt).collect()
}

/// `x += factor · v` with each part's own factor.
pub(super) fn add_each(x: &mut Rows<f64>, factors: &[f64], v: &Rows<f64>) {
    let rows = v.rows().max(1);
    let columns = x.columns_mut().chunks_exact_mut(rows).zip(v.columns().chunks_exact(rows));
    for (x, v) in columns {
        match factors {
            [factor] => x.iter_mut().zip(v).for_each(|(x, v)| *x += factor * v),
            _ => x.iter_mut().zip(v).zip(factors).for_each(|((x, v), factor)| *x += factor * v),
        }
    }
}

/// Multiplies each part with its own factor.
pub(super) fn scale_each(x: &mut Rows<f64>, factors: &[f64]) {
    let rows = x.rows().max(1);
    for column in x.columns_mut().chunks_exact_mut(rows) {
        match factors {
            [factor] => column.iter_mut().for_each(|x| *x *= factor),
            _ => column.iter_mut().zip(factors).for_each(|(x, factor)| *x *= factor),
        }
    }
}

/// 1/x, and 0 for 0.
pub(super) fn inverses(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| if *value == 0.0 { 0.0 } else { 1.0 / value }).collect()
}

/// `a / b`, and 0 where nothing differs.
pub(super) fn ratio(a: f64, b: f64) -> f64 {
    if a == 0.0 { 0.0 } else { a / b }
}
