//! Numbers of single precision in three parts, in the order that tiles are loaded in.

use super::{DEPTH, PARTS, SIDE, TILE};
use pulp::NullaryFnOnce;
use pulp::x86::V4;
use std::arch::x86_64::{__m512, __m512i};

/// h, m and l of two vectors: in each lane those of the first in the lower half.
#[inline(always)]
fn parts(simd: V4, first: __m512, second: __m512) -> [__m512i; 3] {
    let (a, b) = (split(simd, first), split(simd, second));
    [pair(simd, a[0], b[0]), pair(simd, a[1], b[1]), pair(simd, a[2], b[2])]
}

/// x = h + m + l; each has 8 bits, in the upper half of a lane.
#[inline(always)]
fn split(simd: V4, x: __m512) -> [__m512; 3] {
    let wide = simd.avx512f;
    let h = nearest(simd, x);
    let rest = wide._mm512_sub_ps(x, h);
    let m = nearest(simd, rest);
    [h, m, wide._mm512_sub_ps(rest, m)]
}

/// x in 8 bits.
#[inline(always)]
fn nearest(simd: V4, x: __m512) -> __m512 {
    let wide = simd.avx512f;
    let half = wide._mm512_set1_epi32(0x8000);
    let up = wide._mm512_add_epi32(wide._mm512_castps_si512(x), half);
    wide._mm512_castsi512_ps(wide._mm512_and_si512(up, wide._mm512_set1_epi32(!0xffff)))
}

/// The upper halves of two vectors, the first below.
#[inline(always)]
fn pair(simd: V4, first: __m512, second: __m512) -> __m512i {
    let wide = simd.avx512f;
    let first = wide._mm512_srli_epi32::<16>(wide._mm512_castps_si512(first));
    wide._mm512_or_si512(wide._mm512_castps_si512(second), first)
}

/// Numbers that [`Rows`] and [`Columns`] write for `bands` bands of 16.
pub(super) fn length(bands: usize, depth: usize) -> usize {
    bands * depth.div_ceil(DEPTH) * PARTS
}

/// Bands of 16 rows of a left factor `[rows, depth]`: `[bands, blocks of the depth, parts, 16 rows]`.
/// What is missing at the ends is 0.
pub(super) struct Rows<'a> {
    pub simd: V4,
    pub from: &'a [f32],
    /// From one row to the next.
    pub stride: usize,
    pub rows: usize,
    pub depth: usize,
    pub to: &'a mut [f32],
}

impl NullaryFnOnce for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, from, stride, rows, depth, to } = self;
        let blocks = depth.div_ceil(DEPTH);
        for (at, to) in to.chunks_exact_mut(PARTS).enumerate() {
            let (band, k) = (at / blocks, at % blocks * DEPTH);
            let counts = [SIDE.min(depth - k), SIDE.min(depth.saturating_sub(k + SIDE))];
            for i in 0..SIDE {
                let row = band * SIDE + i;
                let counts = if row < rows { counts } else { [0, 0] };
                let first = vector(simd, from, row * stride + k, counts[0]);
                let second = vector(simd, from, row * stride + k + SIDE, counts[1]);
                write(to, parts(simd, first, second), i);
            }
        }
    }
}

/// Bands of 16 columns of a right factor `[depth, columns]`: `[bands, blocks of the depth, parts,
/// 16 pairs of rows]`. What is missing at the ends is 0.
pub(super) struct Columns<'a> {
    pub simd: V4,
    pub from: &'a [f32],
    /// From one row to the next.
    pub stride: usize,
    pub depth: usize,
    pub columns: usize,
    pub to: &'a mut [f32],
}

impl NullaryFnOnce for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { simd, from, stride, depth, columns, to } = self;
        let blocks = depth.div_ceil(DEPTH);
        let bands = to.len() / (blocks * PARTS);
        for pair in 0..blocks * SIDE {
            let (block, i) = (pair / SIDE, pair % SIDE);
            let k = block * DEPTH + i;
            for band in 0..bands {
                let column = band * SIDE;
                let count = SIDE.min(columns.saturating_sub(column));
                let counts =
                    [if k < depth { count } else { 0 }, if k + SIDE < depth { count } else { 0 }];
                let first = vector(simd, from, k * stride + column, counts[0]);
                let second = vector(simd, from, (k + SIDE) * stride + column, counts[1]);
                let to = &mut to[(band * blocks + block) * PARTS..][..PARTS];
                write(to, parts(simd, first, second), i);
            }
        }
    }
}

/// `count` numbers, at most 16, from `first` on; then zeros.
#[inline(always)]
#[expect(unsafe_code, reason = "kernels address by pointer")]
fn vector(simd: V4, from: &[f32], first: usize, count: usize) -> __m512 {
    if count == 0 {
        return simd.avx512f._mm512_setzero_ps();
    }
    let from = from[first..first + count].as_ptr();
    // SAFETY: they lie in the slice.
    unsafe {
        if count == SIDE {
            from.cast::<__m512>().read_unaligned()
        } else {
            simd.avx512f._mm512_maskz_loadu_ps(!(!0 << count), from)
        }
    }
}

/// Writes row `i` of the three tiles.
#[inline(always)]
#[expect(unsafe_code, reason = "kernels address by pointer")]
fn write(to: &mut [f32], parts: [__m512i; 3], i: usize) {
    assert!(to.len() == PARTS && i < SIDE, "a row of a tile");
    for part in 0..3 {
        // SAFETY: the row lies in the slice.
        unsafe {
            let to = to.as_mut_ptr().add(part * TILE + i * SIDE);
            to.cast::<__m512i>().write_unaligned(parts[part]);
        }
    }
}
