//! Squares of an image, read column by column on their way into a transform.

use super::super::convolution::{Image, Input};
use super::side::{MOST_SEEN, Side};
use crate::Real;
use pulp::Simd;

/// What stands for a row outside of the image.
pub(super) fn outside<R: Real>() -> [R; 16] {
    [R::zero(); 16]
}

/// A few rows of one channel of an image, seen by columns.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a, R> {
    /// The first pixel of each row, and how far the next one is: nowhere, for rows outside.
    rows: [(*const R, usize); MOST_SEEN],
    /// Whether all of them are inside.
    inside: bool,
    width: usize,
    /// Samples that are seen.
    count: usize,
    /// Numbers below count as this one.
    floor: R,
    of: std::marker::PhantomData<&'a R>,
}

impl<'a, R: Real> Columns<'a, R> {
    /// The rows that a square sees which makes rows from `y` on, and `count` samples from `sample`
    /// on.
    #[inline(always)]
    pub fn new<V: Side>(
        Image { height, width }: Image,
        plane: Input<'a, R>,
        outside: &'a [R; 16],
        y: usize,
        [samples, sample, count]: [usize; 3],
    ) -> Self {
        assert!(
            plane.image.len() >= height * width * samples && sample + count <= samples,
            "a plane"
        );
        let mut rows = [(outside.as_ptr(), 0); MOST_SEEN];
        for k in 0..V::SEEN {
            let at = (y + k).wrapping_sub(1);
            if at < height {
                rows[k] = (plane.image[at * width * samples + sample..].as_ptr(), samples);
            }
        }
        let inside = y >= 1 && y + V::OUT < height;
        Self { rows, inside, width, count, floor: plane.floor, of: std::marker::PhantomData }
    }

    /// Bᵀ of the pixels of column `x` − 1; zeros outside.
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    pub fn at<S: Simd, V: Side>(&self, simd: S, x: usize) -> [R::Vector<S>; MOST_SEEN] {
        let mut pixels = [R::splat(simd, R::zero()); MOST_SEEN];
        let x = x.wrapping_sub(1);
        if x >= self.width {
            return pixels;
        }
        if self.inside && self.count == R::lanes::<S>() {
            let (first, step) = self.rows[0];
            let first = first.wrapping_add(x * step);
            for k in 0..V::SEEN {
                // SAFETY: all rows lie inside the image, one below the other.
                let pixel = unsafe { R::load(simd, first.wrapping_add(k * self.width * step)) };
                pixels[k] = R::at_least(simd, pixel, R::splat(simd, self.floor));
            }
        } else {
            for k in 0..V::SEEN {
                pixels[k] = self.pixel(simd, x, k);
            }
        }
        V::enter::<R, S>(simd, pixels)
    }

    /// Pixel `x`, which is inside, of row `k`.
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn pixel<S: Simd>(&self, simd: S, x: usize, k: usize) -> R::Vector<S> {
        let (first, step) = self.rows[k];
        let from = first.wrapping_add(x * step);
        // SAFETY: the row holds `count` samples of every pixel, as `new` has seen; and a row outside
        // is 16 numbers that stand for all pixels, as many as a vector has lanes at most.
        let pixel = unsafe {
            if self.count == R::lanes::<S>() {
                R::load(simd, from)
            } else {
                R::load_masked(simd, R::mask(simd, self.count), from)
            }
        };
        R::at_least(simd, pixel, R::splat(simd, self.floor))
    }
}
