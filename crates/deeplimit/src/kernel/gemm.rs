//! Matrix products on the `gemm` crate, behind bounds-checked views.

use crate::Real;
use gemm::Parallelism;

/// A read-only view `[rows, columns]` of a slice, row-major or transposed.
#[derive(Clone, Copy)]
pub struct Matrix<'a, R> {
    data: &'a [R],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, R> Matrix<'a, R> {
    /// `data` holds `rows` rows of `columns` numbers.
    ///
    /// # Panics
    /// If the length of `data` is not `rows · columns`.
    pub fn new(data: &'a [R], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "matrix of {rows} × {columns}");
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The transpose, without a copy.
    pub fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// A row-major `[rows, columns]` view that a product is written to.
pub struct MatrixMut<'a, R> {
    data: &'a mut [R],
    rows: usize,
    columns: usize,
}

impl<'a, R> MatrixMut<'a, R> {
    /// `data` holds `rows` rows of `columns` numbers.
    ///
    /// # Panics
    /// If the length of `data` is not `rows · columns`.
    pub fn new(data: &'a mut [R], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "matrix of {rows} × {columns}");
        Self { data, rows, columns }
    }
}

/// `out = keep · out + factor · left · right`; with `keep = 0`, `out` is not read.
///
/// # Panics
/// If the shapes do not fit.
#[expect(unsafe_code, reason = "the gemm crate takes raw pointers")]
pub fn multiply<R: Real>(out: MatrixMut<R>, keep: R, factor: R, left: Matrix<R>, right: Matrix<R>) {
    assert_eq!(left.columns, right.rows, "inner dimensions of a product");
    assert_eq!((out.rows, out.columns), (left.rows, right.columns), "shape of a product");
    // SAFETY: each view was built from a slice of exactly rows · columns numbers, and its strides
    // address only that slice; `out` is borrowed mutably, so it overlaps neither factor.
    unsafe {
        gemm::gemm(
            out.rows,
            out.columns,
            left.columns,
            out.data.as_mut_ptr(),
            1,
            out.columns as isize,
            keep != R::zero(),
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            keep,
            factor,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same product by its definition, in plain loops.
    fn plain(keep: f64, factor: f64, out: &mut [f64], a: Matrix<f64>, b: Matrix<f64>) {
        for i in 0..a.rows {
            for j in 0..b.columns {
                let sum: f64 = (0..a.columns)
                    .map(|k| {
                        a.data[i * a.row_stride + k * a.column_stride]
                            * b.data[k * b.row_stride + j * b.column_stride]
                    })
                    .sum();
                let slot = &mut out[i * b.columns + j];
                *slot = keep * *slot + factor * sum;
            }
        }
    }

    #[test]
    fn products_and_transposed_products_equal_the_definition() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 2), (17, 9, 33), (64, 64, 64)] {
            let a: Vec<f64> = (0..m * k).map(|i| crate::seed::uniform(1, i as u64)).collect();
            let b: Vec<f64> = (0..k * n).map(|i| crate::seed::uniform(2, i as u64)).collect();
            let views = [
                (Matrix::new(&a, m, k), Matrix::new(&b, k, n)),
                (Matrix::new(&a, k, m).t(), Matrix::new(&b, k, n)),
                (Matrix::new(&a, m, k), Matrix::new(&b, n, k).t()),
            ];
            for (left, right) in views {
                for (keep, factor) in [(0.0, 1.0), (1.0, -0.5), (0.25, 2.0)] {
                    let mut ours = vec![1.5; m * n];
                    let mut expected = ours.clone();
                    multiply(MatrixMut::new(&mut ours, m, n), keep, factor, left, right);
                    plain(keep, factor, &mut expected, left, right);
                    for (x, y) in ours.iter().zip(&expected) {
                        assert!((x - y).abs() < 1e-12, "{m} {k} {n}: {x} {y}");
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "inner dimensions")]
    fn a_product_of_unfit_shapes_is_refused() {
        let data = [0.0f64; 6];
        let mut out = [0.0f64; 4];
        let (left, right) = (Matrix::new(&data, 2, 3), Matrix::new(&data, 2, 3));
        multiply(MatrixMut::new(&mut out, 2, 2), 0.0, 1.0, left, right);
    }
}
