//! Matrix products whose columns are samples.

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::cache::fetch;
use super::contract::{Place, Start, Sums, contract};
use super::simd::dispatch;
use super::transpose::transpose;
use crate::Real;
use pulp::{Simd, WithSimd};

/// A read-only view `[rows, columns]` of a slice, row-major or transposed.
#[derive(Clone, Copy)]
pub struct Matrix<'a, R> {
    pub(super) data: &'a [R],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) row_stride: usize,
    pub(super) column_stride: usize,
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

    /// What is left from (row, column) on.
    fn from(self, row: usize, column: usize) -> Self {
        let start = row * self.row_stride + column * self.column_stride;
        Self { data: &self.data[start.min(self.data.len())..], rows: self.rows - row, ..self }
    }
}

impl<R: Real> Matrix<'_, R> {
    /// The first `rows` rows and `columns` columns, copied column by column to `strip`.
    fn pack<'s>(self, rows: usize, columns: usize, strip: &'s mut [R]) -> Matrix<'s, R> {
        for (column, copy) in strip.chunks_exact_mut(rows).take(columns).enumerate() {
            let column = &self.data[column * self.column_stride..];
            if let (1, Ok(copy), Some(column)) =
                (self.row_stride, <&mut [R; STRIP]>::try_from(&mut *copy), column.first_chunk())
            {
                fetch(column.as_ptr().wrapping_add(STRIP), STRIP);
                *copy = *column;
            } else {
                let values = column.iter().step_by(self.row_stride);
                copy.iter_mut().zip(values).for_each(|(copy, value)| *copy = *value);
            }
        }
        Matrix { data: &strip[..rows * columns], rows, columns, row_stride: 1, column_stride: rows }
    }
}

/// `out = start + left · right`, with `right` `[k, columns]` and `out` `[rows, columns]`, both
/// row-major: a column is a sample.
///
/// # Panics
/// If the lengths do not fit.
pub fn multiply<R: Real>(
    out: &mut [R],
    start: Start<'_, R>,
    left: Matrix<'_, R>,
    right: &[R],
    columns: usize,
) {
    assert_eq!(right.len(), left.columns * columns, "the right factor of a product");
    assert_eq!(out.len(), left.rows * columns, "the result of a product");
    if let Start::Bias(bias) = start {
        assert_eq!(bias.len(), left.rows, "one bias a row");
    }
    Multiply { out, out_stride: columns, start, left, right, columns }.run();
}

/// `out = start + p qᵀ`, with `p` `[rows, samples]`, `q` `[columns, samples]` and `out`
/// `[rows, columns]`, row-major: the gradient of a weight.
///
/// # Panics
/// If the lengths do not fit.
pub fn outer<R: Real>(out: &mut [R], start: Start<'_, R>, p: &[R], q: &[R], samples: usize) {
    let (rows, columns) = (p.len() / samples, q.len() / samples);
    assert_eq!((rows * samples, columns * samples), (p.len(), q.len()), "whole rows of samples");
    assert_eq!(out.len(), rows * columns, "the gradient of a weight");
    // q is transposed in parts that stay in the fastest cache, or in the core's own for tiles.
    let side = if on_tiles::<R>() { 256 } else { 64 };
    R::with_scratch(side.min(columns) * DEPTH.min(samples), |square| {
        for first in (0..samples).step_by(DEPTH) {
            let depth = DEPTH.min(samples - first);
            let start = if first == 0 { start } else { Start::Add };
            for column in (0..columns).step_by(side) {
                let width = side.min(columns - column);
                let square = &mut square[..depth * width];
                transpose(&q[column * samples + first..], samples, square, width, depth);
                let left = Matrix {
                    data: &p[first..],
                    rows,
                    columns: depth,
                    row_stride: samples,
                    column_stride: 1,
                };
                let out = &mut out[column..];
                let product = Multiply {
                    out,
                    out_stride: columns,
                    start,
                    left,
                    right: square,
                    columns: width,
                };
                product.run();
            }
        }
    });
}

/// A product whose result is a part of a wider matrix.
pub(super) struct Multiply<'a, R> {
    pub out: &'a mut [R],
    pub out_stride: usize,
    pub start: Start<'a, R>,
    pub left: Matrix<'a, R>,
    pub right: &'a [R],
    pub columns: usize,
}

impl<R: Real> Multiply<'_, R> {
    /// Makes it, in the way that is fastest here.
    fn run(self) {
        #[cfg(target_arch = "x86_64")]
        let Some(product) = amx::multiply(self) else { return };
        #[cfg(not(target_arch = "x86_64"))]
        let product = self;
        dispatch(product);
    }
}

/// Whether products may be made on tiles.
fn on_tiles<R: Real>() -> bool {
    #[cfg(target_arch = "x86_64")]
    return amx::in_use::<R>();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Longest sum that is taken in one go: so many rows of 64 numbers of `right` stay in the fastest
/// cache, and what is there already is read and written that much less often.
const DEPTH: usize = 128;
/// Rows of `left` that are copied together where a column of it is strewn over memory.
const STRIP: usize = 48;
/// Distance of neighbours in a sum, in numbers, from which copying pays.
const STREWN: usize = 128;

impl<R: Real> WithSimd for Multiply<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (left, mut start) = (self.left, self.start);
        for first in (0..left.columns.max(1)).step_by(DEPTH) {
            let depth = DEPTH.min(left.columns - first);
            if left.column_stride < STREWN {
                self.panels(
                    simd,
                    start,
                    0,
                    first,
                    Matrix { columns: depth, ..left.from(0, first) },
                );
            } else {
                R::with_scratch(STRIP * DEPTH, |strip| {
                    for row in (0..left.rows).step_by(STRIP) {
                        let rows = STRIP.min(left.rows - row);
                        let packed = left.from(row, first).pack(rows, depth, strip);
                        self.panels(simd, start, row, first, packed);
                    }
                });
            }
            start = Start::Add;
        }
    }
}

impl<R: Real> Multiply<'_, R> {
    /// Adds (or starts with) the share of `left`, a block at (`row`, `first`) of the whole factor.
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn panels<S: Simd>(
        &mut self,
        simd: S,
        start: Start<'_, R>,
        row: usize,
        first: usize,
        left: Matrix<'_, R>,
    ) {
        let (lanes, columns) = (R::lanes::<S>(), self.columns);
        let sums = Sums {
            rows: left.rows,
            turns: [1, 1, left.columns],
            a_row: left.row_stride as isize,
            a_turn: [0, 0, left.column_stride as isize],
            b_column: lanes as isize,
            b_turn: [0, 0, columns as isize],
            out_row: self.out_stride as isize,
            out_column: lanes as isize,
            ..Sums::default()
        };
        let start = match start {
            Start::Bias(bias) => Start::Bias(&bias[row..]),
            start => start,
        };
        let whole = columns / lanes;
        for (column, vectors, count) in
            [(0, whole, lanes), (whole * lanes, 1, columns - whole * lanes)]
        {
            if vectors * count == 0 {
                continue;
            }
            let place = Place {
                a: left.data.as_ptr(),
                b: self.right[first * columns..].as_ptr().wrapping_add(column),
                out: self.out[row * self.out_stride..].as_mut_ptr().wrapping_add(column),
                start,
            };
            // SAFETY: `multiply` and `outer` have asserted that the three matrices lie in
            // their slices; the vectors end at the last column, and the depth with `left`.
            unsafe { contract(simd, &sums, vectors, count, place) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::uniform;

    fn numbers<R: Real>(seed: u64, count: usize) -> Vec<R> {
        (0..count).map(|i| R::of(uniform(seed, i as u64))).collect()
    }

    /// Every shape class: below, at and over the blocks' sizes, and copied strips; the last four are large
    /// enough for tiles, with ragged ends, long sums and many columns.
    const SHAPES: [(usize, usize, usize); 12] = [
        (1, 1, 1),
        (3, 5, 2),
        (17, 9, 33),
        (64, 64, 64),
        (6, 129, 31),
        (130, 70, 16),
        (200, 150, 5),
        (2, 0, 3),
        (160, 128, 64),
        (150, 125, 90),
        (64, 600, 64),
        (61, 70, 310),
    ];

    fn check<R: Real>(tolerance: f64) {
        for (m, k, n) in SHAPES {
            let (a, b) = (numbers::<R>(1, m * k), numbers::<R>(2, k * n));
            let (bias, old) = (numbers::<R>(3, m), numbers::<R>(4, m * n));
            let transposed: Vec<R> = (0..k * m).map(|i| a[i % m * k + i / m]).collect();
            let views = [Matrix::new(&a, m, k), Matrix::new(&transposed, k, m).t()];
            for left in views {
                for start in [Start::Zero, Start::Bias(&bias), Start::Add] {
                    let mut ours = old.clone();
                    multiply(&mut ours, start, left, &b, n);
                    for (at, ours) in ours.iter().enumerate() {
                        let (i, j) = (at / n, at % n);
                        let begin = match start {
                            Start::Zero => 0.0,
                            Start::Bias(bias) => bias[i].wide(),
                            Start::Add => old[at].wide(),
                        };
                        let sum: f64 =
                            (0..k).map(|l| a[i * k + l].wide() * b[l * n + j].wide()).sum();
                        let error = (ours.wide() - begin - sum).abs();
                        assert!(error < tolerance, "{} {m} {k} {n}: {error}", R::NAME);
                    }
                }
            }
        }
    }

    #[test]
    fn products_equal_their_definition() {
        check::<f64>(1e-13);
        check::<f32>(5e-5);
    }

    #[test]
    fn outer_products_equal_their_definition() {
        check_outer::<f64>(1e-12);
        check_outer::<f32>(5e-5);
    }

    fn check_outer<R: Real>(tolerance: f64) {
        for (m, n, samples) in [
            (1, 1, 1),
            (5, 3, 7),
            (64, 64, 64),
            (70, 130, 65),
            (16, 33, 129),
            (120, 125, 200),
            (90, 300, 60),
        ] {
            let (p, q) = (numbers::<R>(1, m * samples), numbers::<R>(2, n * samples));
            for (start, begin) in [(Start::Add, 0.5), (Start::Zero, 0.0)] {
                let mut out = vec![R::of(0.5); m * n];
                outer(&mut out, start, &p, &q, samples);
                for (at, value) in out.iter().enumerate() {
                    let (i, j) = (at / n, at % n);
                    let sum: f64 = (0..samples)
                        .map(|s| p[i * samples + s].wide() * q[j * samples + s].wide())
                        .sum();
                    let error = (value.wide() - begin - sum).abs();
                    assert!(error < tolerance, "{} {m} {n} {samples}: {error}", R::NAME);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "right factor")]
    fn a_product_of_unfit_shapes_is_refused() {
        let (data, mut out) = ([0.0f64; 6], [0.0f64; 4]);
        multiply(&mut out, Start::Zero, Matrix::new(&data, 2, 3), &data[..4], 2);
    }
}
