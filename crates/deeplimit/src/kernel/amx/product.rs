//! Matrix products on tiles.

use super::{DEPTH, SIDE, Tiles, pack};
use crate::Real;
use crate::kernel::Lanes;
use crate::kernel::cache::fetch;
use crate::kernel::contract::Start;
use crate::kernel::product::{Matrix, Multiply};
use crate::kernel::simd::{InstructionSet, single, single_mut};
use crate::kernel::transpose::transpose;
use pulp::NullaryFnOnce;
use pulp::x86::V4;
use std::arch::x86_64::__m512;

/// Rows and columns of the result that tiles make at once.
const SQUARE: usize = 32;
/// Fewest products for which factors are taken apart.
const LEAST: usize = 1 << 20;
/// Longest sum that is taken in one go.
const LONGEST: usize = 512;
/// Most columns whose parts are kept at once.
const WIDEST: usize = 256;

/// Whether tiles pay for a product of these extents: factors are taken apart once, and must serve
/// often; and what fills the last tiles must not cost what they save.
fn pays(extents: [usize; 3]) -> bool {
    let filled: usize = extents.iter().map(|extent| extent.next_multiple_of(SQUARE)).product();
    let sums: usize = extents.iter().product();
    sums >= LEAST && 3 * filled <= 4 * sums
}

/// Makes the product on tiles, where the machine has them and they pay; else gives it back.
pub(in crate::kernel) fn multiply<R: Real>(product: Multiply<'_, R>) -> Option<Multiply<'_, R>> {
    let InstructionSet::Amx(simd) = InstructionSet::current() else { return Some(product) };
    if !super::in_use::<R>() || !pays([product.left.rows, product.left.columns, product.columns]) {
        return Some(product);
    }
    let Multiply { out, out_stride, start, left, right, columns } = product;
    let start = match start {
        Start::Zero => Start::Zero,
        Start::Bias(bias) => Start::Bias(single(bias)),
        Start::Add => Start::Add,
    };
    let Matrix { data, rows, columns: depth, row_stride, column_stride } = left;
    let left = Matrix { data: single(data), rows, columns: depth, row_stride, column_stride };
    let (tiles, out, right) = (Tiles::new(), single_mut(out), single(right));
    Product { simd, tiles, out, out_stride, start, left, right, columns }.run();
    None
}

struct Product<'a> {
    simd: V4,
    tiles: Tiles,
    out: &'a mut [f32],
    out_stride: usize,
    start: Start<'a, f32>,
    left: Matrix<'a, f32>,
    right: &'a [f32],
    columns: usize,
}

impl Product<'_> {
    fn run(mut self) {
        for first in (0..self.left.columns).step_by(LONGEST) {
            let depth = LONGEST.min(self.left.columns - first);
            if first > 0 {
                self.start = Start::Add;
            }
            for column in (0..self.columns).step_by(WIDEST) {
                let columns = WIDEST.min(self.columns - column);
                let bands = columns.div_ceil(SQUARE) * 2;
                f32::with_scratch(pack::length(bands, depth), |right| {
                    self.simd.vectorize(pack::Columns {
                        simd: self.simd,
                        from: &self.right[first * self.columns + column..],
                        stride: self.columns,
                        depth,
                        columns,
                        to: right,
                    });
                    self.rows([first, depth], [column, columns], right);
                });
            }
        }
    }

    /// All rows of some columns, whose parts are `right`; of the sums those terms.
    fn rows(&mut self, [first, depth]: [usize; 2], [column, columns]: [usize; 2], right: &[f32]) {
        f32::with_scratch(pack::length(2, depth), |left| {
            for row in (0..self.left.rows).step_by(SQUARE) {
                let rows = SQUARE.min(self.left.rows - row);
                self.pack_left([row, rows], [first, depth], left);
                let start = match self.start {
                    Start::Bias(bias) => Start::Bias(&bias[row..]),
                    start => start,
                };
                self.simd.vectorize(Squares {
                    simd: self.simd,
                    tiles: &self.tiles,
                    out: &mut self.out[row * self.out_stride + column..],
                    out_stride: self.out_stride,
                    start,
                    left,
                    right,
                    depth,
                    size: [rows, columns],
                });
            }
        });
    }

    /// The parts of some rows of the left factor.
    fn pack_left(&self, [row, rows]: [usize; 2], [first, depth]: [usize; 2], to: &mut [f32]) {
        let (simd, Matrix { data, row_stride, column_stride, .. }) = (self.simd, self.left);
        let from = &data[row * row_stride + first * column_stride..];
        if column_stride == 1 {
            let stride = row_stride;
            return simd.vectorize(pack::Rows { simd, from, stride, rows, depth, to });
        }
        f32::with_scratch(rows * depth, |turned| {
            transpose(from, column_stride, turned, depth, rows);
            simd.vectorize(pack::Rows { simd, from: turned, stride: depth, rows, depth, to });
        });
    }
}

/// Two bands of rows of the result.
struct Squares<'a> {
    simd: V4,
    tiles: &'a Tiles,
    out: &'a mut [f32],
    out_stride: usize,
    start: Start<'a, f32>,
    left: &'a [f32],
    right: &'a [f32],
    depth: usize,
    size: [usize; 2],
}

impl NullaryFnOnce for Squares<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn call(self) {
        let Self { simd, tiles, out, out_stride, start, left, right, depth, size } = self;
        let (wide, band) = (simd.avx512f, pack::length(1, depth));
        let squares = size[1].div_ceil(SQUARE);
        assert!(left.len() == 2 * band && right.len() == 2 * squares * band, "two bands");
        let left = [left.as_ptr(), left[band..].as_ptr()];
        let mut sums = Sums([0.0; SQUARE * SQUARE]);
        for square in 0..squares {
            let column = square * SQUARE;
            let columns = SQUARE.min(size[1] - column);
            let out = &mut out[column..][..(size[0] - 1) * out_stride + columns];
            if let Start::Add = start {
                // What is there may lie far away: it is asked for before the sums are made.
                for row in 0..size[0] {
                    fetch(out.as_ptr().wrapping_add(row * out_stride), columns);
                }
            }
            let right = &right[2 * square * band..];
            let right = [right.as_ptr(), right[band..].as_ptr()];
            // SAFETY: both factors are two bands of such a depth.
            unsafe { tiles.square(left, right, depth.div_ceil(DEPTH), &mut sums.0) };
            for i in 0..size[0] {
                for half in [0, SIDE] {
                    let count = columns.saturating_sub(half).min(SIDE);
                    let mask = !(!0u32 << count) as u16;
                    let to = out.as_mut_ptr().wrapping_add(i * out_stride + half);
                    // SAFETY: `count` numbers of the row lie in the slice, and the sums are whole.
                    unsafe {
                        let sum = sums.0.as_ptr().add(i * SQUARE + half).cast::<__m512>().read();
                        let start = match start {
                            Start::Zero => wide._mm512_setzero_ps(),
                            Start::Bias(bias) => wide._mm512_set1_ps(bias[i]),
                            Start::Add => wide._mm512_maskz_loadu_ps(mask, to),
                        };
                        wide._mm512_mask_storeu_ps(to, mask, wide._mm512_add_ps(start, sum));
                    }
                }
            }
        }
    }
}

/// What tiles write.
#[repr(align(64))]
struct Sums([f32; SQUARE * SQUARE]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Matrix, multiply, outer};
    use crate::seed::uniform;

    /// Numbers of every size between 2⁻²⁰ and 2²⁰.
    fn numbers(seed: u64, count: usize) -> Vec<f32> {
        let size = |i: u64| (20.0 * uniform(seed, i)).round().exp2();
        (0..count as u64).map(|i| (uniform(seed + 1, i) * size(i)) as f32).collect()
    }

    fn skipped() -> bool {
        let skipped = !super::super::in_use::<f32>();
        if skipped {
            eprintln!("skipped: no AMX tiles are in use here");
        }
        skipped
    }

    #[test]
    fn errors_are_those_of_single_precision() {
        if skipped() {
            return;
        }
        let (m, k, n) = (64, 256, 96);
        assert!(pays([m, k, n]));
        let (a, b) = (numbers(1, m * k), numbers(3, k * n));
        let mut out = vec![0.0; m * n];
        multiply(&mut out, Start::Zero, Matrix::new(&a, m, k), &b, n);
        for (at, value) in out.iter().enumerate() {
            let terms = (0..k).map(|l| f64::from(a[at / n * k + l]) * f64::from(b[l * n + at % n]));
            let (sum, size) =
                terms.fold((0.0, 0.0), |(sum, size): (f64, f64), t| (sum + t, size + t.abs()));
            // 2⁻²³ of each product, and as much for every rounding of a sum of 8 times 6 blocks.
            let bound = 50.0 * 2f64.powi(-24) * size;
            assert!((f64::from(*value) - sum).abs() <= bound, "{value} for {sum}");
        }
        // A single product is right to its last bit or the one before.
        let mut single = vec![0.0; k * n];
        single[..n].copy_from_slice(&b[..n]);
        multiply(&mut out, Start::Zero, Matrix::new(&a, m, k), &single, n);
        for (at, value) in out.iter().enumerate() {
            let exact = f64::from(a[at / n * k]) * f64::from(b[at % n]);
            let error = (f64::from(*value) - exact).abs();
            assert!(error <= 2f64.powi(-22) * exact.abs(), "{value} for {exact}");
        }
    }

    #[test]
    fn what_is_not_finite_is_not_hidden() {
        if skipped() {
            return;
        }
        let (m, n, samples) = (96, 128, 128);
        let q = vec![1.0f32; n * samples];
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut p = vec![1.0f32; m * samples];
            p[5 * samples + 7] = bad;
            let mut out = vec![0.0; m * n];
            outer(&mut out, Start::Zero, &p, &q, samples);
            for (at, value) in out.iter().enumerate() {
                assert_eq!(value.is_finite(), at / n != 5, "{value} in row {}", at / n);
            }
        }
    }
}
