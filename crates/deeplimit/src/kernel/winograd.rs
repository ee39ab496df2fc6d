//! 3×3 convolutions with fewer products: F(4×4, 3×3) of Lavin, Gray (2016), after Winograd (1980),
//! with 36 products for 16 pixels instead of 144, and F(2×2, 3×3) for what is left at the ends.
//!
//! ```text
//! out = Aᵀ [ Σ_i (G w_i Gᵀ) ⊙ (Bᵀ d_i B) ] A        d: 6×6 pixels, out: 4×4 pixels
//! ```
//!
//! The matrices are in [`side`]; along each axis of an image squares make four pixels, the last one
//! two where no more are left, so that squares may be oblong. The sum over channels is a matrix
//! product for each place of the transformed square. The transpose of a convolution is one with the
//! window turned round.

/// Runs `$work` with both sides of each kind of square, in the order of [`parts`].
macro_rules! for_each_kind {
    ($work:ident) => {
        $work!(Four, Four, 0);
        $work!(Four, Two, 1);
        $work!(Two, Four, 2);
        $work!(Two, Two, 3);
    };
}

/// Loops that are written out, so that what they index stays in registers.
macro_rules! each {
    ($work:ident, $($index:literal)*) => {
        $($work!($index);)*
    };
}

mod columns;
pub(super) mod gradient;
mod side;

use super::cache::{fetch, fetch_near};
use super::contract::{Place, Start, Sums, contract};
use super::convolution::{Image, Input};
use super::simd::dispatch;
use super::transpose::transpose;
use crate::Real;
use columns::{Columns, outside};
use pulp::{Simd, WithSimd};
use side::{Four, MOST_SEEN, Side, Two};
use std::marker::PhantomData;
use std::ops::Range;

/// Some rows of a convolution that keeps the image's size, or of its transpose.
pub(super) struct Winograd<'a, R> {
    /// [`transformed`] weights.
    pub weights: &'a [R],
    /// Channels of `from` and of `to`.
    pub channels: [usize; 2],
    /// Whether `from` is what came out.
    pub transposed: bool,
    pub image: Image,
    pub samples: usize,
    pub start: Start<'a, R>,
    pub from: Input<'a, R>,
    pub to: &'a mut [R],
    /// Rows of `to`: the first is a multiple of four, and the end too unless it is that of the image.
    pub rows: Range<usize>,
}

/// Whether it pays: sums must be long against their transforms.
pub(super) fn pays(channels: [usize; 2], image: Image) -> bool {
    channels.into_iter().all(|channels| channels >= 16) && image.height.min(image.width) >= 4
}

/// The pixels of an axis that squares of four make, and those that a square of two makes.
fn cut(pixels: Range<usize>) -> [Range<usize>; 2] {
    let fours = (pixels.len() + 1) / 4 * 4;
    let middle = (pixels.start + fours).min(pixels.end);
    [pixels.start..middle, middle..pixels.end]
}

/// For each kind of square: the pixels that it makes, down and across.
fn parts(rows: Range<usize>, width: usize) -> [[Range<usize>; 2]; 4] {
    let ([tall, low], [wide, narrow]) = (cut(rows), cut(0..width));
    [[tall.clone(), wide.clone()], [tall, narrow.clone()], [low.clone(), wide], [low, narrow]]
}

/// Where the weights of each kind of square begin, that an image has; and their end.
fn weight_offsets(image: Image, pairs: usize) -> [usize; 5] {
    let parts = parts(0..image.height, image.width);
    let mut offsets = [0; 5];
    macro_rules! count {
        ($down:ident, $across:ident, $kind:literal) => {
            let here = parts[$kind].iter().all(|pixels| !pixels.is_empty());
            let places = if here { $down::SEEN * $across::SEEN } else { 0 };
            offsets[$kind + 1] = offsets[$kind] + places * pairs;
        };
    }
    for_each_kind!(count);
    offsets
}

/// Runs `work` on the weights `[outputs, inputs, 3, 3]`, transformed for a convolution of an image
/// or, turned round, for its transpose: `[places, outputs, inputs]` for each kind of square.
pub(super) fn transformed<R: Real, T>(
    weight: &[R],
    image: Image,
    transposed: bool,
    work: impl FnOnce(&[R]) -> T,
) -> T {
    let pairs = weight.len() / 9;
    let offsets = weight_offsets(image, pairs);
    R::with_scratch(offsets[4], |weights| {
        R::with_scratch(9 * pairs, |taps| {
            transpose(weight, 9, taps, pairs, 9);
            macro_rules! transform {
                ($down:ident, $across:ident, $kind:literal) => {
                    let out = &mut weights[offsets[$kind]..offsets[$kind + 1]];
                    if !out.is_empty() {
                        let sides = PhantomData::<($down, $across)>;
                        dispatch(Transform { taps, out, pairs, transposed, sides });
                    }
                };
            }
            for_each_kind!(transform);
        });
        work(weights)
    })
}

/// G w Gᵀ of every pair of channels: `taps` `[9, pairs]` to `[places, pairs]`.
struct Transform<'a, R, V, H> {
    taps: &'a [R],
    out: &'a mut [R],
    pairs: usize,
    transposed: bool,
    sides: PhantomData<(V, H)>,
}

impl<R: Real, V: Side, H: Side> WithSimd for Transform<'_, R, V, H> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { taps, out, pairs, transposed, .. } = self;
        let places = V::SEEN * H::SEEN;
        assert!(taps.len() == 9 * pairs && out.len() == places * pairs, "all pairs");
        for pair in (0..pairs).step_by(R::lanes::<S>()) {
            let mask = R::mask(simd, R::lanes::<S>().min(pairs - pair));
            let mut columns = [[R::splat(simd, R::zero()); MOST_SEEN]; 3];
            for j in 0..3 {
                let mut column = [R::splat(simd, R::zero()); 3];
                for k in 0..3 {
                    let tap = if transposed { 8 - (3 * k + j) } else { 3 * k + j };
                    let from = taps[tap * pairs + pair..].as_ptr();
                    // SAFETY: the lanes of the mask end with the last pair.
                    column[k] = unsafe { R::load_masked(simd, mask, from) };
                }
                columns[j] = V::taps::<R, S>(simd, column);
            }
            for row in 0..V::SEEN {
                let of_row = [columns[0][row], columns[1][row], columns[2][row]];
                let values = H::taps::<R, S>(simd, of_row);
                for column in 0..H::SEEN {
                    let to = out[(H::SEEN * row + column) * pairs + pair..].as_mut_ptr();
                    // SAFETY: as for reading.
                    unsafe { R::store_masked(simd, mask, to, values[column]) };
                }
            }
        }
    }
}

/// Vectors from one transformed square to the next: were it a power of two, the same place of all
/// squares would compete for the same lines of a cache.
const fn apart<V: Side, H: Side>() -> usize {
    V::SEEN * H::SEEN + 1
}

/// Squares that are worked on together, and target channels whose products stay in the fastest
/// cache until they are transformed back.
fn together() -> [usize; 2] {
    [4, 16]
}

impl<R: Real> WithSimd for Winograd<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let lanes = R::lanes::<S>();
        let [from, to] = self.channels;
        let [most, group] = together();
        let sizes =
            [from, group.min(to)].map(|channels| channels * most * apart::<Four, Four>() * lanes);
        let offsets = weight_offsets(self.image, from * to);
        let parts = parts(self.rows.clone(), self.image.width);
        R::with_scratch(sizes[0] + sizes[1], |scratch| {
            let (squares, products) = scratch.split_at_mut(sizes[0]);
            for sample in (0..self.samples).step_by(lanes) {
                let count = lanes.min(self.samples - sample);
                macro_rules! walk {
                    ($down:ident, $across:ident, $kind:literal) => {
                        let weights = &self.weights[offsets[$kind]..offsets[$kind + 1]];
                        let [rows, columns] = parts[$kind].clone();
                        for y in rows.step_by($down::OUT) {
                            for x in columns.clone().step_by(most * $across::OUT) {
                                let left = (columns.end - x).div_ceil($across::OUT);
                                let chunk = Chunk { y, x, squares: most.min(left), sample, count };
                                let sides = PhantomData::<($down, $across)>;
                                simd.vectorize(Enter { of: &self, chunk, squares, sides });
                                for start in (0..to).step_by(group) {
                                    let group = start..(start + group).min(to);
                                    self.multiply(
                                        simd,
                                        apart::<$down, $across>() - 1,
                                        weights,
                                        chunk.squares,
                                        group.clone(),
                                        squares,
                                        products,
                                    );
                                    let of = &mut self;
                                    simd.vectorize(Leave { of, chunk, group, products, sides });
                                }
                            }
                        }
                    };
                }
                for_each_kind!(walk);
            }
        });
    }
}

impl<R: Real> Winograd<'_, R> {
    /// The sums over channels, place by place.
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    #[expect(clippy::too_many_arguments, reason = "what one call of the inner loop takes")]
    fn multiply<S: Simd>(
        &self,
        simd: S,
        places: usize,
        weights: &[R],
        count: usize,
        group: Range<usize>,
        squares: &[R],
        products: &mut [R],
    ) {
        let [from, to] = self.channels;
        let lanes = R::lanes::<S>();
        // Weights are `[outputs, inputs]`; the transpose sums over outputs.
        let (a_row, a_turn) = if self.transposed { (1, to) } else { (from, 1) };
        let square = (places + 1) * lanes;
        let sums = Sums {
            more: places - 1,
            apart: [from * to, lanes, lanes].map(|numbers| numbers as isize),
            rows: group.len(),
            turns: [1, 1, from],
            a_row: a_row as isize,
            a_turn: [0, 0, a_turn as isize],
            b_column: square as isize,
            b_turn: [0, 0, (count * square) as isize],
            out_row: (count * square) as isize,
            out_column: square as isize,
        };
        assert!(weights.len() == places * from * to && group.end <= to, "all weights");
        assert!(from * count * square <= squares.len(), "room");
        assert!(group.len() * count * square <= products.len(), "room");
        let place = Place {
            a: weights[group.start * a_row..].as_ptr(),
            b: squares.as_ptr(),
            out: products.as_mut_ptr(),
            start: Start::Zero,
        };
        // SAFETY: there are `from` and `to` rows of `count` squares, and for every place a row of
        // `from` weights for each of `to`.
        unsafe { contract(simd, &sums, count, lanes, place) };
    }
}

/// Some squares of a row, from the pixel (y, x) on, and some samples.
#[derive(Clone, Copy)]
struct Chunk {
    y: usize,
    x: usize,
    squares: usize,
    sample: usize,
    count: usize,
}

/// Bᵀ d B of every square and channel, to `[channels, squares, places]`.
struct Enter<'a, 'w, R, V, H> {
    of: &'a Winograd<'w, R>,
    chunk: Chunk,
    squares: &'a mut [R],
    sides: PhantomData<(V, H)>,
}

impl<R: Real, V: Side, H: Side> WithSimd for Enter<'_, '_, R, V, H> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn with_simd<S: Simd>(self, simd: S) {
        let Chunk { y, x, squares, sample, count } = self.chunk;
        let Winograd { image, samples, from, channels, .. } = *self.of;
        let lanes = R::lanes::<S>();
        let outside = outside::<R>();
        let square = apart::<V, H>() * lanes;
        assert!(channels[0] * squares * square <= self.squares.len(), "room");
        assert!(from.image.len() == channels[0] * image.pixels() * samples, "an image");
        for channel in 0..channels[0] {
            let plane = &from.image[channel * image.pixels() * samples..];
            let plane = Input { image: plane, ..from };
            let see = Columns::new::<V>(image, plane, &outside, y, [samples, sample, count]);
            let mut to = self.squares.as_mut_ptr().wrapping_add(channel * squares * square);
            // Neighbours share two columns.
            let mut left = [see.at::<S, V>(simd, x), see.at::<S, V>(simd, x + 1)];
            for step in 0..squares {
                let x = x + step * H::OUT;
                let c = [see.at::<S, V>(simd, x + 2), see.at::<S, V>(simd, x + 3)];
                let right = if H::OUT == 4 {
                    [see.at::<S, V>(simd, x + 4), see.at::<S, V>(simd, x + 5)]
                } else {
                    c
                };
                // Where the next square goes: it would be waited for when it is written.
                fetch_near(to.wrapping_add(square), square);
                macro_rules! row {
                    ($row:literal) => {
                        if $row < V::SEEN {
                            let of_row = [
                                left[0][$row],
                                left[1][$row],
                                c[0][$row],
                                c[1][$row],
                                right[0][$row],
                                right[1][$row],
                            ];
                            let places = H::enter::<R, S>(simd, of_row);
                            let to = to.wrapping_add($row * H::SEEN * lanes);
                            for j in 0..H::SEEN {
                                // SAFETY: there is room for every channel and square, as asserted.
                                unsafe { R::store(simd, to.wrapping_add(j * lanes), places[j]) };
                            }
                        }
                    };
                }
                each!(row, 0 1 2 3 4 5);
                to = to.wrapping_add(square);
                left = right;
            }
        }
    }
}

/// Aᵀ m A of every square and channel, to the image.
struct Leave<'a, 'w, R, V, H> {
    of: &'a mut Winograd<'w, R>,
    chunk: Chunk,
    group: Range<usize>,
    products: &'a [R],
    sides: PhantomData<(V, H)>,
}

impl<R: Real, V: Side, H: Side> WithSimd for Leave<'_, '_, R, V, H> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn with_simd<S: Simd>(self, simd: S) {
        let Chunk { y, x, squares, sample, count } = self.chunk;
        let Winograd { image: Image { height, width }, samples, start, .. } = *self.of;
        let (lanes, mask) = (R::lanes::<S>(), R::mask(simd, count));
        let adds = matches!(start, Start::Add);
        let plane = height * width * samples;
        let square = apart::<V, H>() * lanes;
        assert!(self.group.len() * squares * square <= self.products.len(), "all products");
        assert!(self.of.to.len() == self.of.channels[1] * plane, "an image");
        let mut from = self.products.as_ptr();
        for channel in self.group {
            let image = &mut self.of.to[channel * plane..];
            let bias = match start {
                Start::Bias(bias) => R::splat(simd, bias[channel]),
                _ => R::splat(simd, R::zero()),
            };
            for step in 0..squares {
                let x = x + step * H::OUT;
                // SAFETY: every channel and square has its products, as asserted.
                let (c, right) = unsafe {
                    let c = [
                        column::<R, S, V, H>(simd, from, 0),
                        column::<R, S, V, H>(simd, from, 1),
                        column::<R, S, V, H>(simd, from, 2),
                        column::<R, S, V, H>(simd, from, 3),
                    ];
                    if H::SEEN == MOST_SEEN {
                        let fifth = column::<R, S, V, H>(simd, from, 4);
                        (c, [fifth, column::<R, S, V, H>(simd, from, 5)])
                    } else {
                        (c, [c[2], c[3]])
                    }
                };
                from = from.wrapping_add(square);
                let first = image.as_mut_ptr().wrapping_add((y * width + x) * samples + sample);
                macro_rules! row {
                    ($row:literal) => {
                        if $row < V::OUT && y + $row < height {
                            let m = [
                                c[0][$row],
                                c[1][$row],
                                c[2][$row],
                                c[3][$row],
                                right[0][$row],
                                right[1][$row],
                            ];
                            let pixels = H::leave::<R, S>(simd, m);
                            let first = first.wrapping_add($row * width * samples);
                            macro_rules! pixel {
                                ($column:literal) => {
                                    if $column < H::OUT && x + $column < width {
                                        let to = first.wrapping_add($column * samples);
                                        // The next channel's, far away: asked for while this one's
                                        // squares are worked on.
                                        fetch(to.wrapping_add(plane).cast_const(), lanes);
                                        let mut value = R::plus(simd, pixels[$column], bias);
                                        // SAFETY: the pixel lies inside the image, and so do
                                        // `count` samples of it.
                                        unsafe {
                                            if count == lanes {
                                                if adds {
                                                    let old = R::load(simd, to);
                                                    value = R::plus(simd, value, old);
                                                }
                                                R::store(simd, to, value);
                                            } else {
                                                if adds {
                                                    let old = R::load_masked(simd, mask, to);
                                                    value = R::plus(simd, value, old);
                                                }
                                                R::store_masked(simd, mask, to, value);
                                            }
                                        }
                                    }
                                };
                            }
                            each!(pixel, 0 1 2 3);
                        }
                    };
                }
                each!(row, 0 1 2 3);
            }
        }
    }
}

/// Aᵀ of column `j` of a square's products.
///
/// # Safety
/// A whole square must lie at `from`.
#[inline(always)]
#[expect(unsafe_code, reason = "kernels address by pointer")]
unsafe fn column<R: Real, S: Simd, V: Side, H: Side>(
    simd: S,
    from: *const R,
    j: usize,
) -> [R::Vector<S>; 4] {
    let mut m = [R::splat(simd, R::zero()); MOST_SEEN];
    for k in 0..V::SEEN {
        // SAFETY: the caller's.
        m[k] = unsafe { R::load(simd, from.wrapping_add((H::SEEN * k + j) * R::lanes::<S>())) };
    }
    V::leave::<R, S>(simd, m)
}
