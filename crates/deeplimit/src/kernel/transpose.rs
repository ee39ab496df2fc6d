//! Transposed copies.

use crate::Real;

/// `out[column, row] = from[row, column]`: `from` has `rows` rows of `columns` numbers, `stride`
/// apart; `out` is contiguous, `[columns, rows]`.
///
/// # Panics
/// If the lengths do not fit.
pub fn transpose<R: Real>(from: &[R], stride: usize, out: &mut [R], rows: usize, columns: usize) {
    assert_eq!(out.len(), rows * columns, "a transposed copy");
    assert!(stride >= columns, "rows do not overlap");
    assert!(rows == 0 || from.len() >= (rows - 1) * stride + columns, "a transposed copy");
    let (whole_rows, whole_columns) = squares(from, stride, out, rows, columns);
    for row in 0..rows {
        let first = if row < whole_rows { whole_columns } else { 0 };
        for column in first..columns {
            out[column * rows + row] = from[row * stride + column];
        }
    }
}

/// Transposes whole squares; returns how many rows and columns they cover.
#[cfg(not(target_arch = "x86_64"))]
fn squares<R: Real>(_: &[R], _: usize, _: &mut [R], _: usize, _: usize) -> (usize, usize) {
    (0, 0)
}

#[cfg(target_arch = "x86_64")]
use x86::squares;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use crate::Real;
    use crate::kernel::simd::{InstructionSet, single, single_mut};
    use pulp::NullaryFnOnce;
    use pulp::x86::{V3, V4};
    use std::any::TypeId;
    use std::arch::x86_64::{__m128, __m256, __m512};

    /// Transposes whole squares of 8 × 8, or of 16 × 16 where nothing else is left; returns how many rows and columns they cover.
    pub fn squares<R: Real>(
        from: &[R],
        stride: usize,
        out: &mut [R],
        rows: usize,
        columns: usize,
    ) -> (usize, usize) {
        if TypeId::of::<R>() != TypeId::of::<f32>() {
            return (0, 0);
        }
        let (from, out) = (single(from), single_mut(out));
        let is_wide = rows.is_multiple_of(16) && columns.is_multiple_of(16);
        match InstructionSet::current() {
            InstructionSet::Amx(simd) | InstructionSet::Avx512(simd) if is_wide => {
                simd.vectorize(Wide { simd, from, stride, out, rows, columns });
                (rows, columns)
            }
            InstructionSet::Amx(simd) | InstructionSet::Avx512(simd) => {
                eights(*simd, from, stride, out, [rows, columns])
            }
            InstructionSet::Avx2(simd) => eights(simd, from, stride, out, [rows, columns]),
            InstructionSet::Portable(_) => (0, 0),
        }
    }

    /// Whole squares of 8 × 8.
    fn eights(
        simd: V3,
        from: &[f32],
        stride: usize,
        out: &mut [f32],
        [rows, columns]: [usize; 2],
    ) -> (usize, usize) {
        let (rows8, columns8) = (rows / 8 * 8, columns / 8 * 8);
        simd.vectorize(Squares { simd, from, stride, out, rows, rows8, columns8 });
        (rows8, columns8)
    }

    struct Squares<'a> {
        simd: V3,
        from: &'a [f32],
        stride: usize,
        out: &'a mut [f32],
        rows: usize,
        rows8: usize,
        columns8: usize,
    }

    impl NullaryFnOnce for Squares<'_> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            for column in (0..self.columns8).step_by(8) {
                for row in (0..self.rows8).step_by(8) {
                    let from = &self.from[row * self.stride + column..];
                    square(
                        self.simd,
                        from,
                        self.stride,
                        &mut self.out[column * self.rows + row..],
                        self.rows,
                    );
                }
            }
        }
    }

    /// All 16 × 16 squares of a copy that has nothing else.
    struct Wide<'a> {
        simd: V4,
        from: &'a [f32],
        stride: usize,
        out: &'a mut [f32],
        rows: usize,
        columns: usize,
    }

    impl NullaryFnOnce for Wide<'_> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            for column in (0..self.columns).step_by(16) {
                for row in (0..self.rows).step_by(16) {
                    let from = &self.from[row * self.stride + column..];
                    let out = &mut self.out[column * self.rows + row..];
                    wide_square(self.simd, from, self.stride, out, self.rows);
                }
            }
        }
    }

    /// One 16 × 16 square, each row read once: rows may lie so far apart that they compete for the
    /// same lines of a cache.
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn wide_square(simd: V4, from: &[f32], stride: usize, out: &mut [f32], out_stride: usize) {
        assert!(from.len() >= 15 * stride + 16 && out.len() >= 15 * out_stride + 16, "a square");
        let wide = simd.avx512f;
        // Loops, not closures, which would not be compiled for the instruction set.
        let mut rows = [wide._mm512_setzero_ps(); 16];
        for row in 0..16 {
            // SAFETY: the assertion covers all that is read.
            rows[row] =
                unsafe { from.as_ptr().add(row * stride).cast::<__m512>().read_unaligned() };
        }
        // Within each quarter of a register, 4 × 4 squares: [rows 4i …][column j of each quarter].
        let mut fours = [[wide._mm512_setzero_ps(); 4]; 4];
        for i in 0..4 {
            let [a, b, c, d] = [rows[4 * i], rows[4 * i + 1], rows[4 * i + 2], rows[4 * i + 3]];
            let low = [wide._mm512_unpacklo_ps(a, b), wide._mm512_unpacklo_ps(c, d)];
            let high = [wide._mm512_unpackhi_ps(a, b), wide._mm512_unpackhi_ps(c, d)];
            fours[i] = [
                wide._mm512_shuffle_ps::<0b01_00_01_00>(low[0], low[1]),
                wide._mm512_shuffle_ps::<0b11_10_11_10>(low[0], low[1]),
                wide._mm512_shuffle_ps::<0b01_00_01_00>(high[0], high[1]),
                wide._mm512_shuffle_ps::<0b11_10_11_10>(high[0], high[1]),
            ];
        }
        // Then quarters: column 4k + j has quarter k of all four.
        for j in 0..4 {
            let [a, b, c, d] = [fours[0][j], fours[1][j], fours[2][j], fours[3][j]];
            let first = [
                wide._mm512_shuffle_f32x4::<0b01_00_01_00>(a, b),
                wide._mm512_shuffle_f32x4::<0b01_00_01_00>(c, d),
            ];
            let last = [
                wide._mm512_shuffle_f32x4::<0b11_10_11_10>(a, b),
                wide._mm512_shuffle_f32x4::<0b11_10_11_10>(c, d),
            ];
            let columns = [
                wide._mm512_shuffle_f32x4::<0b10_00_10_00>(first[0], first[1]),
                wide._mm512_shuffle_f32x4::<0b11_01_11_01>(first[0], first[1]),
                wide._mm512_shuffle_f32x4::<0b10_00_10_00>(last[0], last[1]),
                wide._mm512_shuffle_f32x4::<0b11_01_11_01>(last[0], last[1]),
            ];
            for k in 0..4 {
                let to = out.as_mut_ptr().wrapping_add((4 * k + j) * out_stride);
                // SAFETY: columns are below 16: the assertion covers all that is written.
                unsafe { to.cast::<__m512>().write_unaligned(columns[k]) };
            }
        }
    }

    /// One 8 × 8 square: 4 × 4 squares are transposed within the halves of registers that hold
    /// rows i and i + 4.
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn square(simd: V3, from: &[f32], stride: usize, out: &mut [f32], out_stride: usize) {
        assert!(from.len() >= 7 * stride + 8 && out.len() >= 7 * out_stride + 8, "a square");
        // SAFETY: rows and columns are below 8: the assertion covers all that is read and written.
        let half = |row: usize, column: usize| -> __m128 {
            unsafe { from.as_ptr().add(row * stride + column).cast::<__m128>().read_unaligned() }
        };
        for column in [0, 4] {
            let pair = |row: usize| -> __m256 {
                let low = simd.avx._mm256_castps128_ps256(half(row, column));
                simd.avx._mm256_insertf128_ps::<1>(low, half(row + 4, column))
            };
            let rows = [pair(0), pair(1), pair(2), pair(3)];
            let low = [
                simd.avx._mm256_unpacklo_ps(rows[0], rows[1]),
                simd.avx._mm256_unpacklo_ps(rows[2], rows[3]),
            ];
            let high = [
                simd.avx._mm256_unpackhi_ps(rows[0], rows[1]),
                simd.avx._mm256_unpackhi_ps(rows[2], rows[3]),
            ];
            let columns = [
                simd.avx._mm256_shuffle_ps::<0b01_00_01_00>(low[0], low[1]),
                simd.avx._mm256_shuffle_ps::<0b11_10_11_10>(low[0], low[1]),
                simd.avx._mm256_shuffle_ps::<0b01_00_01_00>(high[0], high[1]),
                simd.avx._mm256_shuffle_ps::<0b11_10_11_10>(high[0], high[1]),
            ];
            for (i, vector) in columns.into_iter().enumerate() {
                let to = out.as_mut_ptr().wrapping_add((column + i) * out_stride);
                // SAFETY: as above.
                unsafe { to.cast::<__m256>().write_unaligned(vector) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_rows() {
        for (rows, columns, stride) in [
            (1, 1, 1),
            (8, 8, 8),
            (17, 9, 11),
            (64, 40, 64),
            (3, 70, 70),
            (16, 16, 16),
            (32, 48, 50),
        ] {
            let from: Vec<f32> = (0..rows * stride).map(|i| i as f32).collect();
            let mut out = vec![f32::NAN; rows * columns];
            transpose(&from, stride, &mut out, rows, columns);
            for (at, value) in out.iter().enumerate() {
                assert_eq!(*value, from[at % rows * stride + at / rows]);
            }
        }
    }
}
