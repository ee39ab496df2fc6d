//! Direct convolutions: a window slid over the image, one sum of products a pixel.

use super::runs::Run;
use super::{Image, Input};
use crate::Real;
use crate::kernel::contract::{Place, Start, Sums, contract};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// A window slid over all pixels of one of the two images.
pub(super) struct Slide<'a, R> {
    pub runs: &'a [Vec<Run>; 2],
    pub rows: usize,
    pub channels: usize,
    pub a_row: isize,
    pub a_channel: isize,
    pub side: usize,
    /// Where sums are taken from, and where they go.
    pub images: [Image; 2],
    pub samples: usize,
    pub weight: &'a [R],
    pub start: Start<'a, R>,
    pub from: &'a [R],
    pub to: *mut R,
    /// Rows of the target.
    pub wanted: Range<usize>,
}

/// Planes that lie a multiple of so many bytes apart compete for the same places in a cache.
const ALIASED: usize = 4096;
/// Bytes of a strip of an image that is copied to lie densely: half of a core's own cache.
const STRIP: usize = 512 * 1024;

/// The part of an image that sums are taken from, as it lies in memory.
struct Source<R> {
    first: *const R,
    first_row: usize,
    /// From one pixel to the next, and from one channel to the next.
    pixel: usize,
    plane: usize,
}

impl<R: Real> WithSimd for Slide<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let plane = self.images[0].pixels() * self.samples;
        let aliased = self.channels > 4 && (plane * size_of::<R>()).is_multiple_of(ALIASED);
        for sample in (0..self.samples).step_by(R::lanes::<S>()) {
            let count = R::lanes::<S>().min(self.samples - sample);
            for y in &self.runs[0] {
                let rows = y.within(&self.wanted);
                if aliased {
                    self.in_strips(simd, sample, count, y, rows);
                } else {
                    let first = self.from[sample..].as_ptr();
                    let source = Source { first, first_row: 0, pixel: self.samples, plane };
                    self.rows(simd, sample, count, y, rows, &source);
                }
            }
        }
    }
}

impl<R: Real> Slide<'_, R> {
    /// Target rows of a run, from copied strips of the image.
    #[inline(always)]
    fn in_strips<S: Simd>(&self, simd: S, sample: usize, count: usize, y: &Run, all: Range<usize>) {
        let (image, lanes) = (self.images[0], R::lanes::<S>());
        let row_bytes = self.channels * image.width * lanes * size_of::<R>();
        let seen = y.taps.max(1);
        let strip = ((STRIP / row_bytes).saturating_sub(seen) / y.source_per_target + 1).max(1);
        for first in all.clone().step_by(strip) {
            let rows = first..(first + strip).min(all.end);
            let top = |row: usize| y.source + row * y.source_per_target;
            // Going up or down from its first tap, a target sees `seen` rows of the source.
            let above = if y.source_per_tap < 0 { seen - 1 } else { 0 };
            let first_row = top(rows.start) - above;
            let height = top(rows.end - 1) - top(rows.start) + seen;
            R::with_scratch(self.channels * height * image.width * lanes, |dense| {
                let (pixel, plane) = (lanes, height * image.width * lanes);
                for (channel, to) in dense.chunks_exact_mut(plane.max(1)).enumerate() {
                    let from = channel * image.pixels() + first_row * image.width;
                    let from = &self.from[from * self.samples + sample..];
                    copy_pixels(simd, from.into(), self.samples, count, to);
                }
                let source = Source { first: dense.as_ptr(), first_row, pixel, plane };
                self.rows(simd, sample, count, y, rows, &source);
            });
        }
    }

    /// Some target rows of the run `y`.
    #[inline(always)]
    fn rows<S: Simd>(
        &self,
        simd: S,
        sample: usize,
        count: usize,
        y: &Run,
        rows: Range<usize>,
        source: &Source<R>,
    ) {
        for row in rows {
            for x in &self.runs[1] {
                self.run(simd, sample, count, y, row, x, source);
            }
        }
    }

    /// Target row `row` of the run `y`, and all targets of the run `x` in it.
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    #[expect(clippy::too_many_arguments, reason = "a place in two images and two runs")]
    fn run<S: Simd>(
        &self,
        simd: S,
        sample: usize,
        count: usize,
        y: &Run,
        row: usize,
        x: &Run,
        source: &Source<R>,
    ) {
        let [from, to] = self.images;
        let (pixel, samples) = (source.pixel as isize, self.samples as isize);
        let sums = Sums {
            rows: self.rows,
            turns: [self.channels, y.taps, x.taps],
            a_row: self.a_row,
            a_turn: [self.a_channel, (self.side * y.tap_step) as isize, x.tap_step as isize],
            b_column: x.source_per_target as isize * pixel,
            b_turn: [
                source.plane as isize,
                y.source_per_tap * from.width as isize * pixel,
                x.source_per_tap * pixel,
            ],
            out_row: to.pixels() as isize * samples,
            out_column: x.target_step as isize * samples,
            ..Sums::default()
        };
        let from_row = y.source + row * y.source_per_target;
        let from_row = from_row.wrapping_sub(source.first_row).wrapping_mul(from.width);
        let to_row = (y.target + row * y.target_step) * to.width;
        // Vectors with lanes to spare go one by one.
        let whole = count == R::lanes::<S>();
        let (blocks, width) = if whole { (1, x.count) } else { (x.count, 1) };
        for done in 0..blocks {
            let first = from_row.wrapping_add(x.source + done * x.source_per_target);
            let target = to_row + x.target + done * x.target_step;
            let place = Place {
                a: self.weight.as_ptr().wrapping_add(y.tap * self.side + x.tap),
                b: source.first.wrapping_add(first.wrapping_mul(source.pixel)),
                out: self.to.wrapping_add(target * self.samples + sample),
                start: self.start,
            };
            // SAFETY: `check` has seen that weights and images have their full lengths; runs hold
            // only taps whose source lies inside the image, a copied strip holds all rows that its
            // targets see, and the caller holds `to` mutably.
            unsafe { contract(simd, &sums, width, count, place) };
        }
    }
}

/// Copies `count` numbers of each pixel, `stride` apart, to whole vectors; zeros after them.
#[inline(always)]
#[expect(unsafe_code, reason = "kernels address by pointer")]
pub(in crate::kernel) fn copy_pixels<R: Real, S: Simd>(
    simd: S,
    from: Input<'_, R>,
    stride: usize,
    count: usize,
    to: &mut [R],
) {
    let (lanes, mask) = (R::lanes::<S>(), R::mask(simd, count));
    let floor = R::splat(simd, from.floor);
    for (pixel, to) in to.chunks_exact_mut(lanes).enumerate() {
        let from = from.image[pixel * stride..][..count].as_ptr();
        // SAFETY: `from` has `count` numbers, `to` as many as a vector has lanes.
        unsafe {
            let value =
                if count == lanes { R::load(simd, from) } else { R::load_masked(simd, mask, from) };
            R::store(simd, to.as_mut_ptr(), R::at_least(simd, value, floor));
        }
    }
}
