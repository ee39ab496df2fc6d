//! Convolutions, without unrolling: samples lie in vector lanes, so a window's share of a sum is
//! one number times one vector, whatever the number of channels.

use super::contract::{Place, Start, Sums, contract, widest};
use super::correlate;
use super::product::block_width;
use super::simd::dispatch;
use super::winograd::{self, Winograd};
use crate::Real;
use pulp::{Simd, WithSimd};

/// Height and width of the images of a convolutional field, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl Image {
    /// Pixels a channel.
    pub fn pixels(self) -> usize {
        self.height * self.width
    }
}

/// Square windows that slide over an image with zeros around it: the cross-correlation
///
/// ```text
/// out[o, y, x] = Σ_{i, k, l} w[o, i, k, l] · in[i, y·stride + k − padding, x·stride + l − padding]
/// ```
///
/// Images are `[channels, height, width, samples]`, weights `[outputs, inputs, side, side]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Convolution {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) image: Image,
    pub(super) side: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
    /// Along height and width.
    forward: [Vec<Run>; 2],
    transposed: [Vec<Run>; 2],
}

impl Convolution {
    /// Windows of `side` × `side` pixels.
    ///
    /// # Panics
    /// If the stride is 0, or the windows do not fit into the padded image.
    pub fn new(
        [inputs, outputs]: [usize; 2],
        image: Image,
        side: usize,
        stride: usize,
        padding: usize,
    ) -> Self {
        assert!(stride > 0, "windows move on");
        let least = image.height.min(image.width) + 2 * padding;
        assert!(side > 0 && side <= least, "windows of {side} fit into {least} pixels");
        let axes = [image.height, image.width].map(|length| Axis { length, side, stride, padding });
        let forward = axes.map(Axis::forward);
        let transposed = axes.map(Axis::transposed);
        Self { inputs, outputs, image, side, stride, padding, forward, transposed }
    }

    /// 3 × 3 windows that leave the image's size as it is.
    pub fn same(channels: [usize; 2], image: Image) -> Self {
        Self::new(channels, image, 3, 1, 1)
    }

    /// Channels that go in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Channels that come out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The size of the images that go in.
    pub fn image(&self) -> Image {
        self.image
    }

    /// The size of the images that come out.
    pub fn out(&self) -> Image {
        let [height, width] = [self.image.height, self.image.width]
            .map(|length| (length + 2 * self.padding - self.side) / self.stride + 1);
        Image { height, width }
    }

    fn is_winograd(&self) -> bool {
        (self.side, self.stride, self.padding) == (3, 1, 1)
            && winograd::pays([self.inputs, self.outputs], self.image)
    }

    fn check(&self, weight: usize, x: usize, out: usize, samples: usize) {
        let windows = self.side * self.side;
        assert_eq!(weight, self.outputs * self.inputs * windows, "weights of a convolution");
        assert_eq!(x, self.inputs * self.image.pixels() * samples, "what goes in");
        assert_eq!(out, self.outputs * self.out().pixels() * samples, "what comes out");
    }

    /// `out = start + w ∗ x`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn apply<R: Real>(
        &self,
        weight: &[R],
        start: Start<'_, R>,
        x: &[R],
        out: &mut [R],
        samples: usize,
    ) {
        self.check(weight.len(), x.len(), out.len(), samples);
        if let Start::Bias(bias) = start {
            assert_eq!(bias.len(), self.outputs, "one bias a channel");
        }
        let channels = [self.inputs, self.outputs];
        if self.is_winograd() {
            let (image, transposed) = (self.image, false);
            let (from, to) = (x, out);
            return Winograd { weight, channels, transposed, image, samples, start, from, to }
                .run();
        }
        let windows = (self.side * self.side) as isize;
        dispatch(Slide {
            runs: &self.forward,
            rows: self.outputs,
            channels: self.inputs,
            a_row: self.inputs as isize * windows,
            a_channel: windows,
            side: self.side,
            images: [self.image, self.out()],
            samples,
            weight,
            start,
            from: x,
            to: out.as_mut_ptr(),
        });
    }

    /// `x_bar = start + w ∗ᵀ bar`, the transpose of [`apply`](Self::apply).
    ///
    /// # Panics
    /// If the lengths do not fit, or a bias is asked for.
    pub fn apply_transposed<R: Real>(
        &self,
        weight: &[R],
        start: Start<'_, R>,
        bar: &[R],
        x_bar: &mut [R],
        samples: usize,
    ) {
        self.check(weight.len(), x_bar.len(), bar.len(), samples);
        assert!(!matches!(start, Start::Bias(_)), "a transpose has no bias");
        let channels = [self.outputs, self.inputs];
        if self.is_winograd() {
            let (image, transposed) = (self.image, true);
            let (from, to) = (bar, x_bar);
            return Winograd { weight, channels, transposed, image, samples, start, from, to }
                .run();
        }
        let windows = (self.side * self.side) as isize;
        dispatch(Slide {
            runs: &self.transposed,
            rows: self.inputs,
            channels: self.outputs,
            a_row: windows,
            a_channel: self.inputs as isize * windows,
            side: self.side,
            images: [self.out(), self.image],
            samples,
            weight,
            start,
            from: bar,
            to: x_bar.as_mut_ptr(),
        });
    }

    /// `gradient += ∂⟨bar, w ∗ x⟩/∂w`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn add_weight_gradient<R: Real>(
        &self,
        bar: &[R],
        x: &[R],
        gradient: &mut [R],
        samples: usize,
    ) {
        self.check(gradient.len(), x.len(), bar.len(), samples);
        correlate::add_weight_gradient(self, bar, x, gradient, samples);
    }
}

/// Consecutive targets along one axis that see the same part of the window.
#[derive(Clone, Debug, PartialEq)]
struct Run {
    target: usize,
    target_step: usize,
    count: usize,
    tap: usize,
    tap_step: usize,
    taps: usize,
    /// Source of the first target at the first tap.
    source: usize,
    source_per_tap: isize,
    source_per_target: usize,
}

/// One axis of a convolution.
#[derive(Clone, Copy)]
struct Axis {
    length: usize,
    side: usize,
    stride: usize,
    padding: usize,
}

impl Axis {
    fn out(self) -> usize {
        (self.length + 2 * self.padding - self.side) / self.stride + 1
    }

    /// Targets are outputs, sources inputs: source = target · stride + tap − padding.
    fn forward(self) -> Vec<Run> {
        let Self { length, side, stride, padding } = self;
        let run = |target: usize| {
            let inside =
                |tap: &usize| (padding..padding + length).contains(&(target * stride + tap));
            let mut taps = (0..side).filter(inside);
            let tap = taps.next().unwrap_or(0);
            let count = (0..side).filter(inside).count();
            Run {
                target,
                target_step: 1,
                count: 1,
                tap,
                tap_step: 1,
                taps: count,
                source: (target * stride + tap).saturating_sub(padding),
                source_per_tap: 1,
                source_per_target: stride,
            }
        };
        grouped((0..self.out()).map(run))
    }

    /// Targets are inputs, sources outputs: source = (target + padding − tap) / stride.
    fn transposed(self) -> Vec<Run> {
        let Self { length, side, stride, padding } = self;
        let run = |target: usize| {
            let inside = |tap: &usize| {
                let at = (target + padding).checked_sub(*tap);
                at.is_some_and(|at| at % stride == 0 && at / stride < self.out())
            };
            let tap = (0..side).find(inside).unwrap_or(0);
            Run {
                target,
                target_step: stride,
                count: 1,
                tap,
                tap_step: stride,
                taps: (0..side).filter(inside).count(),
                source: (target + padding).saturating_sub(tap) / stride,
                source_per_tap: -1,
                source_per_target: 1,
            }
        };
        let phases =
            (0..stride).flat_map(|phase| grouped((phase..length).step_by(stride).map(run)));
        phases.collect()
    }
}

/// Joins neighbours that see the same taps.
fn grouped(runs: impl Iterator<Item = Run>) -> Vec<Run> {
    let mut groups: Vec<Run> = Vec::new();
    for run in runs {
        match groups.last_mut() {
            Some(last) if (last.tap, last.taps) == (run.tap, run.taps) => last.count += 1,
            _ => groups.push(run),
        }
    }
    groups
}

/// A window slid over all pixels of one of the two images.
struct Slide<'a, R> {
    runs: &'a [Vec<Run>; 2],
    rows: usize,
    channels: usize,
    a_row: isize,
    a_channel: isize,
    side: usize,
    /// Where sums are taken from, and where they go.
    images: [Image; 2],
    samples: usize,
    weight: &'a [R],
    start: Start<'a, R>,
    from: &'a [R],
    to: *mut R,
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
                if aliased {
                    self.in_strips(simd, sample, count, y);
                } else {
                    let first = self.from[sample..].as_ptr();
                    let source = Source { first, first_row: 0, pixel: self.samples, plane };
                    self.rows(simd, sample, count, y, 0..y.count, &source);
                }
            }
        }
    }
}

impl<R: Real> Slide<'_, R> {
    /// The target rows of a run, from copied strips of the image.
    #[inline(always)]
    fn in_strips<S: Simd>(&self, simd: S, sample: usize, count: usize, y: &Run) {
        let (image, lanes) = (self.images[0], R::lanes::<S>());
        let row_bytes = self.channels * image.width * lanes * size_of::<R>();
        let seen = y.taps.max(1);
        let strip = ((STRIP / row_bytes).saturating_sub(seen) / y.source_per_target + 1).max(1);
        for first in (0..y.count).step_by(strip) {
            let rows = first..(first + strip).min(y.count);
            let top = |row: usize| y.source + row * y.source_per_target;
            // Going up or down from its first tap, a target sees `seen` rows of the source.
            let above = if y.source_per_tap < 0 { seen - 1 } else { 0 };
            let first_row = top(rows.start) - above;
            let height = top(rows.end - 1) - top(rows.start) + seen;
            R::with_scratch(self.channels * height * image.width * lanes, |dense| {
                let (pixel, plane) = (lanes, height * image.width * lanes);
                for (channel, to) in dense.chunks_exact_mut(plane.max(1)).enumerate() {
                    let from = channel * image.pixels() + first_row * image.width;
                    copy_pixels(
                        simd,
                        &self.from[from * self.samples + sample..],
                        self.samples,
                        count,
                        to,
                    );
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
        rows: std::ops::Range<usize>,
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
        };
        let from_row = y.source + row * y.source_per_target;
        let from_row = from_row.wrapping_sub(source.first_row).wrapping_mul(from.width);
        let to_row = (y.target + row * y.target_step) * to.width;
        let mut done = 0;
        while done < x.count {
            let whole = if count == R::lanes::<S>() { x.count - done } else { 1 };
            let width = block_width(whole, widest::<S>());
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
            done += width;
        }
    }
}

/// Copies `count` numbers of each pixel, `stride` apart, to whole vectors; zeros after them.
#[inline(always)]
#[expect(unsafe_code, reason = "kernels address by pointer")]
pub(super) fn copy_pixels<R: Real, S: Simd>(
    simd: S,
    from: &[R],
    stride: usize,
    count: usize,
    to: &mut [R],
) {
    let (lanes, mask) = (R::lanes::<S>(), R::mask(simd, count));
    for (pixel, to) in to.chunks_exact_mut(lanes).enumerate() {
        let from = from[pixel * stride..][..count].as_ptr();
        // SAFETY: `from` has `count` numbers, `to` as many as a vector has lanes.
        unsafe {
            let value =
                if count == lanes { R::load(simd, from) } else { R::load_masked(simd, mask, from) };
            R::store(simd, to.as_mut_ptr(), value);
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

    /// inputs, outputs, height, width, side, stride, padding, samples
    const CASES: [[usize; 8]; 15] = [
        [1, 1, 1, 1, 3, 1, 1, 1],
        [3, 5, 4, 6, 3, 1, 1, 3],
        [16, 16, 10, 10, 3, 1, 1, 16],
        [2, 7, 9, 8, 3, 2, 1, 17],
        [3, 16, 12, 11, 5, 3, 0, 5],
        [3, 4, 6, 6, 5, 1, 2, 33],
        [4, 6, 5, 7, 1, 1, 0, 4],
        [4, 3, 8, 8, 1, 2, 0, 9],
        [2, 2, 7, 5, 2, 2, 1, 8],
        [1, 2, 2, 40, 3, 1, 1, 16],
        [9, 5, 16, 8, 3, 1, 1, 16],
        [16, 20, 4, 5, 3, 1, 1, 3],
        [17, 16, 7, 11, 3, 1, 1, 18],
        [64, 17, 6, 6, 3, 1, 1, 16],
        [5, 17, 32, 32, 3, 2, 1, 19],
    ];

    fn convolution(case: [usize; 8]) -> Convolution {
        let [inputs, outputs, height, width, side, stride, padding, _] = case;
        Convolution::new([inputs, outputs], Image { height, width }, side, stride, padding)
    }

    /// Σ bar · (w ∗ x) by the definition, term by term: `visit(weight, in, out)` of each.
    fn terms(case: [usize; 8], mut visit: impl FnMut(usize, usize, usize)) {
        let [inputs, outputs, height, width, side, stride, padding, samples] = case;
        let out = convolution(case).out();
        for (o, i) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
            for (y, x) in (0..out.height).flat_map(|y| (0..out.width).map(move |x| (y, x))) {
                for (k, l) in (0..side).flat_map(|k| (0..side).map(move |l| (k, l))) {
                    let (sy, sx) = (y * stride + k, x * stride + l);
                    let inside = (padding..padding + height).contains(&sy)
                        && (padding..padding + width).contains(&sx);
                    for sample in (0..samples).take_while(|_| inside) {
                        let source = (i * height + sy - padding) * width + sx - padding;
                        let target = (o * out.height + y) * out.width + x;
                        let weight = ((o * inputs + i) * side + k) * side + l;
                        visit(weight, source * samples + sample, target * samples + sample);
                    }
                }
            }
        }
    }

    fn close<R: Real>(case: [usize; 8], what: &str, ours: &[R], expected: &[f64], tolerance: f64) {
        for (ours, expected) in ours.iter().zip(expected) {
            let error = (ours.wide() - expected).abs();
            assert!(error < tolerance, "{what} of {case:?}: {ours} for {expected}");
        }
    }

    fn check<R: Real>(tolerance: f64) {
        for case in CASES {
            let (convolution, samples) = (convolution(case), case[7]);
            let weights = case[0] * case[1] * case[4] * case[4];
            let sizes = [
                case[0] * case[2] * case[3] * samples,
                case[1] * convolution.out().pixels() * samples,
            ];
            let (w, x) = (numbers::<R>(1, weights), numbers::<R>(2, sizes[0]));
            let (bar, bias) = (numbers::<R>(3, sizes[1]), numbers::<R>(4, case[1]));
            let plane = sizes[1] / case[1];
            let mut expected: Vec<f64> = (0..sizes[1]).map(|i| bias[i / plane].wide()).collect();
            let mut expected_x = vec![0.25; sizes[0]];
            let mut expected_w = vec![0.5; weights];
            terms(case, |weight, source, target| {
                expected[target] += w[weight].wide() * x[source].wide();
                expected_x[source] += w[weight].wide() * bar[target].wide();
                expected_w[weight] += bar[target].wide() * x[source].wide();
            });
            let mut out = vec![R::nan(); sizes[1]];
            convolution.apply(&w, Start::Bias(&bias), &x, &mut out, samples);
            close(case, "image", &out, &expected, tolerance);
            let mut x_bar = vec![R::of(0.25); sizes[0]];
            convolution.apply_transposed(&w, Start::Add, &bar, &mut x_bar, samples);
            close(case, "transpose", &x_bar, &expected_x, tolerance);
            let mut gradient = vec![R::of(0.5); weights];
            convolution.add_weight_gradient(&bar, &x, &mut gradient, samples);
            close(case, "weight gradient", &gradient, &expected_w, 30.0 * tolerance);
        }
    }

    #[test]
    fn convolutions_equal_their_definition() {
        check::<f64>(1e-13);
        check::<f32>(2e-5);
    }
}
