//! The one inner loop of products and convolutions.
//!
//! Samples lie side by side in vector lanes, so every sum over weights has the same form: numbers
//! of one factor, each spread over all lanes, times vectors of the other,
//!
//! ```text
//! out[i, j] = start + Σ_k a[i, k] · b[k, j]        (out, b: vectors; a: single numbers)
//! ```
//!
//! where k runs through three nested loops (input channel, window row, window column; a matrix
//! product uses the innermost alone). A block of sums stays in registers while k runs.

use super::cache::{bring_some, fetch, is_some_left};
use crate::Real;
use pulp::{Simd, WithSimd};

/// Where sums start.
#[derive(Clone, Copy)]
pub enum Start<'a, R> {
    /// At 0.
    Zero,
    /// At one number for each row of the result.
    Bias(&'a [R]),
    /// At what is there: the sum is added.
    Add,
}

impl<R> Start<'_, R> {
    /// At 0 where what is there is `fresh`, and means nothing; else at what is there.
    pub fn zero_or_add(fresh: bool) -> Self {
        if fresh { Self::Zero } else { Self::Add }
    }
}

/// Extents and strides, in numbers, of a family of sums.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// Families that lie one after the other, and how far apart: in a, b and out. None counts
    /// as one.
    pub more: usize,
    pub apart: [isize; 3],
    /// Rows i of the result.
    pub rows: usize,
    /// Turns of the three loops of k, outermost first.
    pub turns: [usize; 3],
    /// From a[i, k] to a[i + 1, k].
    pub a_row: isize,
    /// From a[i, k] to the next k of each loop.
    pub a_turn: [isize; 3],
    /// From b[k, j] to b[k, j + 1].
    pub b_column: isize,
    /// From b[k, j] to the next k of each loop.
    pub b_turn: [isize; 3],
    /// From out[i, j] to out[i + 1, j].
    pub out_row: isize,
    /// From out[i, j] to out[i, j + 1].
    pub out_column: isize,
}

/// Where a family of sums starts in memory.
pub(super) struct Place<'a, R> {
    pub a: *const R,
    pub b: *const R,
    pub out: *mut R,
    pub start: Start<'a, R>,
}

/// Computes `columns` vectors of all rows; `count` lanes of each are touched. With fewer than all
/// lanes, `columns` must be 1.
///
/// # Safety
/// All numbers that [`Sums`] addresses from the pointers of [`Place`] must lie in allocations that
/// may be read, and for `out` written; `out` must not overlap the others.
#[inline(always)]
#[expect(unsafe_code, reason = "what is addressed is the caller's promise")]
pub(super) unsafe fn contract<R: Real, S: Simd>(
    simd: S,
    sums: &Sums,
    columns: usize,
    count: usize,
    place: Place<'_, R>,
) {
    if count < R::lanes::<S>() {
        debug_assert_eq!(columns, 1);
        return rows::<R, S, 12, 1, true>(simd, Blocks::all(sums, count, 0, 1, &place));
    }
    let mut done = 0;
    let mut next = |width: usize| {
        let times = (columns - done) / width;
        let blocks = Blocks::all(sums, count, done, times, &place);
        done += times * width;
        blocks
    };
    if S::REGISTER_COUNT >= 32 {
        rows::<R, S, 6, 4, false>(simd, next(4));
        rows::<R, S, 8, 2, false>(simd, next(2));
        rows::<R, S, 16, 1, false>(simd, next(1));
    } else {
        rows::<R, S, 6, 2, false>(simd, next(2));
        rows::<R, S, 12, 1, false>(simd, next(1));
    }
}

/// Some blocks of rows, one below the other, of some blocks of columns, side by side.
#[derive(Clone, Copy)]
struct Blocks<'a, R> {
    sums: &'a Sums,
    count: usize,
    /// First row and column.
    first: [usize; 2],
    times: [usize; 2],
    place: &'a Place<'a, R>,
}

impl<'a, R> Blocks<'a, R> {
    /// `wide` blocks of columns from `column` on.
    fn all(
        sums: &'a Sums,
        count: usize,
        column: usize,
        wide: usize,
        place: &'a Place<'a, R>,
    ) -> Self {
        Self { sums, count, first: [0, column], times: [0, wide], place }
    }

    /// The next rows in blocks of `size`.
    fn next(&mut self, size: usize) -> Self {
        let times = (self.sums.rows - self.first[0]) / size;
        let blocks = Self { times: [times, self.times[1]], ..*self };
        self.first[0] += times * size;
        blocks
    }
}

/// All rows of some blocks of columns, `MOST` at a time and then fewer.
#[inline(always)]
fn rows<R: Real, S: Simd, const MOST: usize, const COLUMNS: usize, const MASKED: bool>(
    simd: S,
    mut blocks: Blocks<'_, R>,
) {
    if blocks.times[1] == 0 {
        return;
    }
    // Each size of block is a function of its own, compiled for the instruction set.
    let rows = blocks.sums.rows;
    if rows >= MOST && !(MOST == 6 && rows == 16) {
        simd.vectorize(Tile::<'_, R, MOST, COLUMNS, MASKED>(blocks.next(MOST)));
    }
    if rows - blocks.first[0] >= 4 {
        simd.vectorize(Tile::<'_, R, 4, COLUMNS, MASKED>(blocks.next(4)));
    }
    if rows - blocks.first[0] >= 2 {
        simd.vectorize(Tile::<'_, R, 2, COLUMNS, MASKED>(blocks.next(2)));
    }
    if rows > blocks.first[0] {
        simd.vectorize(Tile::<'_, R, 1, COLUMNS, MASKED>(blocks.next(1)));
    }
}

/// Blocks of `ROWS` rows by `COLUMNS` vectors, each kept in registers.
struct Tile<'a, R, const ROWS: usize, const COLUMNS: usize, const MASKED: bool>(Blocks<'a, R>);

impl<R: Real, const ROWS: usize, const COLUMNS: usize, const MASKED: bool> WithSimd
    for Tile<'_, R, ROWS, COLUMNS, MASKED>
{
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn with_simd<S: Simd>(self, simd: S) {
        let Blocks { sums, count, first, times, place } = self.0;
        let mask = R::mask(simd, count);
        let Sums { turns, a_row, a_turn, b_column, b_turn, out_row, out_column, .. } = *sums;
        let waited_for = is_some_left();
        for block in 0..times[0] * times[1] * (sums.more + 1) {
            if waited_for {
                bring_some();
            }
            let (block, row) = (block / times[0], first[0] + block % times[0] * ROWS);
            let column = (first[1] + block % times[1] * COLUMNS) as isize;
            let [a_family, b_family, out_family] =
                sums.apart.map(|d| (block / times[1]) as isize * d);
            let mut acc = [[R::splat(simd, R::zero()); COLUMNS]; ROWS];
            if let Start::Bias(bias) = place.start {
                for i in 0..ROWS {
                    acc[i] = [R::splat(simd, bias[row + i]); COLUMNS];
                }
            }
            let a_first = place.a.wrapping_offset(a_family + row as isize * a_row);
            let b_first = place.b.wrapping_offset(b_family + column * b_column);
            let out = out_family + row as isize * out_row + column * out_column;
            let out = place.out.wrapping_offset(out);
            if let Start::Add = place.start {
                // What is there may lie far away: it is asked for before the sums are made.
                for i in 0..ROWS {
                    fetch(
                        out.wrapping_offset(i as isize * out_row).cast_const(),
                        COLUMNS * R::lanes::<S>(),
                    );
                }
            }
            // SAFETY: see `contract`, which alone makes blocks: all addresses are those of `Sums`.
            unsafe {
                for outer in 0..turns[0] as isize {
                    for middle in 0..turns[1] as isize {
                        let at = |turn: [isize; 3]| outer * turn[0] + middle * turn[1];
                        // A pointer for every four rows: from one to the next row by additions alone,
                        // each would wait for the one before.
                        let mut a = [a_first.wrapping_offset(at(a_turn)); 4];
                        for group in 1..4 {
                            a[group] = a[0].wrapping_offset(4 * group as isize * a_row);
                        }
                        let mut b = b_first.wrapping_offset(at(b_turn));
                        for _ in 0..turns[2] {
                            let mut vectors = [R::splat(simd, R::zero()); COLUMNS];
                            for j in 0..COLUMNS {
                                let from = b.offset(j as isize * b_column);
                                vectors[j] = if MASKED {
                                    R::load_masked(simd, mask, from)
                                } else {
                                    R::load(simd, from)
                                };
                            }
                            for i in 0..ROWS {
                                let from = a[i / 4].offset((i % 4) as isize * a_row);
                                let factor = R::splat(simd, *from);
                                for j in 0..COLUMNS {
                                    acc[i][j] =
                                        R::multiply_add(simd, factor, vectors[j], acc[i][j]);
                                }
                            }
                            for group in 0..4 {
                                a[group] = a[group].wrapping_offset(a_turn[2]);
                            }
                            b = b.wrapping_offset(b_turn[2]);
                        }
                    }
                }
                let out =
                    |i: usize, j: usize| out.offset(i as isize * out_row + j as isize * out_column);
                // What is there is added last: adding many small numbers to a large one, one by
                // one, would round each time.
                if let Start::Add = place.start {
                    for i in 0..ROWS {
                        for j in 0..COLUMNS {
                            let old = if MASKED {
                                R::load_masked(simd, mask, out(i, j))
                            } else {
                                R::load(simd, out(i, j))
                            };
                            acc[i][j] = R::plus(simd, acc[i][j], old);
                        }
                    }
                }
                for i in 0..ROWS {
                    for j in 0..COLUMNS {
                        if MASKED {
                            R::store_masked(simd, mask, out(i, j), acc[i][j]);
                        } else {
                            R::store(simd, out(i, j), acc[i][j]);
                        }
                    }
                }
            }
        }
    }
}
