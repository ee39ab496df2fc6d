//! The gradient of a 3×3 convolution's weights with the fewer products of [`super`], whose bilinear
//! form it is the transpose of:
//!
//! ```text
//! ∂⟨bar, w ∗ x⟩/∂w = Gᵀ [ Σ (A bar Aᵀ) ⊙ (Bᵀ d B) ] G        the sum over squares and samples
//! ```
//!
//! For each place the sum is a matrix product. Its right factor has input channels in vector lanes,
//! so a pixel's channels and samples are transposed once, before `B`.

use super::super::cache::fetch_near;
use super::super::contract::{Place, Start, Sums, contract};
use super::super::convolution::{Convolution, Image, Input};
use super::super::simd::dispatch;
use super::super::transpose::transpose;
use super::side::{Four, MOST_SEEN, Side, Two};
use super::{parts, weight_offsets};
use crate::Real;
use pulp::{Simd, WithSimd};
use std::marker::PhantomData;
use std::ops::Range;

/// Squares that are worked on together, at most.
const SQUARES: usize = 4;

/// `gradient += ∂⟨bar, w ∗ x⟩/∂w`; lengths have been checked.
pub fn add_weight_gradient<R: Real>(
    convolution: &Convolution,
    bar: &[R],
    x: Input<'_, R>,
    gradient: &mut [R],
    samples: usize,
    rows: Range<usize>,
) {
    dispatch(Gradient { convolution, bar, x, gradient, samples, rows });
}

struct Gradient<'a, R> {
    convolution: &'a Convolution,
    bar: &'a [R],
    x: Input<'a, R>,
    gradient: &'a mut [R],
    samples: usize,
    rows: Range<usize>,
}

impl<R: Real> WithSimd for Gradient<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = R::lanes::<S>();
        let Convolution { inputs, outputs, image, .. } = *self.convolution;
        let vectors = inputs.div_ceil(lanes);
        let offsets = weight_offsets(image, outputs * vectors * lanes);
        let places = MOST_SEEN * MOST_SEEN;
        let sizes = [
            MOST_SEEN * image.width * lanes * inputs,
            places * seen_place(lanes, vectors),
            places * bars_place(lanes, outputs),
        ];
        R::with_scratch(sizes.iter().sum::<usize>() + offsets[4], |scratch| {
            let (window, scratch) = scratch.split_at_mut(sizes[0]);
            let (seen, scratch) = scratch.split_at_mut(sizes[1]);
            let (bars, products) = scratch.split_at_mut(sizes[2]);
            let products = &mut products[..offsets[4]];
            products.fill(R::zero());
            let parts = parts(self.rows.clone(), image.width);
            let mut part = Part { of: &self, window, seen, bars, sample: 0, count: 0 };
            for sample in (0..self.samples).step_by(lanes) {
                (part.sample, part.count) = (sample, lanes.min(self.samples - sample));
                let mut turned = self.rows.start.saturating_sub(1);
                macro_rules! walk {
                    ($down:ident: $(($across:ident, $kind:literal)),*) => {
                        for y in parts[[$($kind),*][0]][0].clone().step_by($down::OUT) {
                            while turned < image.height.min(y + $down::OUT + 1) {
                                part.turn_row(turned);
                                turned += 1;
                            }
                            $(
                                let of_kind = offsets[$kind]..offsets[$kind + 1];
                                let sides = PhantomData::<($down, $across)>;
                                let columns = parts[$kind][1].clone();
                                for x in columns.clone().step_by(SQUARES * $across::OUT) {
                                    let left = (columns.end - x).div_ceil($across::OUT);
                                    let chunk = Chunk { y, x, squares: SQUARES.min(left) };
                                    simd.vectorize(See { part: &mut part, chunk, sides });
                                    simd.vectorize(EnterBar { part: &mut part, chunk, sides });
                                    let places = $down::SEEN * $across::SEEN;
                                    let products = &mut products[of_kind.clone()];
                                    part.multiply(simd, chunk.squares, places, products);
                                }
                            )*
                        }
                    };
                }
                walk!(Four: (Four, 0), (Two, 1));
                walk!(Two: (Four, 2), (Two, 3));
            }
            let channels = [inputs, outputs];
            simd.vectorize(Conclude { products, offsets, channels, to: self.gradient });
        });
    }
}

/// Numbers of one place of the transformed squares, and one vector: were it a power of two, all
/// places would compete for the same lines of a cache.
fn seen_place(lanes: usize, vectors: usize) -> usize {
    (vectors * SQUARES * lanes + 1) * lanes
}

/// The same of the transformed cotangents.
fn bars_place(lanes: usize, outputs: usize) -> usize {
    (outputs * SQUARES + 1) * lanes
}

/// The work on some samples.
struct Part<'a, 'g, R> {
    of: &'a Gradient<'g, R>,
    /// As many rows of x as a square sees: `[6, width, samples, inputs]`; row y in place y mod 6.
    window: &'a mut [R],
    /// Bᵀ d B: `[places, vectors of inputs, squares, samples]`.
    seen: &'a mut [R],
    /// A bar Aᵀ: `[places, outputs, squares]`, a vector of samples each.
    bars: &'a mut [R],
    sample: usize,
    count: usize,
}

/// Some squares of a row, from the pixel (y, x) on.
#[derive(Clone, Copy)]
struct Chunk {
    y: usize,
    x: usize,
    squares: usize,
}

impl<R: Real> Part<'_, '_, R> {
    /// Brings a row of x into the window, channels side by side.
    fn turn_row(&mut self, y: usize) {
        let Convolution { inputs, image: Image { height, width }, .. } = *self.of.convolution;
        let samples = self.of.samples;
        let block = self.count * inputs;
        let row = &mut self.window[y % MOST_SEEN * width * block..][..width * block];
        for (x, to) in row.chunks_exact_mut(block).enumerate() {
            let from = &self.of.x.image[(y * width + x) * samples + self.sample..];
            transpose(from, height * width * samples, to, inputs, self.count);
        }
    }

    /// Adds the sums over `squares` squares and the samples to `products`
    /// `[places, outputs, vectors of inputs]`.
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn multiply<S: Simd>(&mut self, simd: S, squares: usize, places: usize, products: &mut [R]) {
        let Convolution { inputs, outputs, .. } = *self.of.convolution;
        let lanes = R::lanes::<S>();
        let vectors = inputs.div_ceil(lanes);
        let apart =
            [bars_place(lanes, outputs), seen_place(lanes, vectors), outputs * vectors * lanes];
        let turns =
            if self.count == lanes { [1, 1, squares * lanes] } else { [1, squares, self.count] };
        let sums = Sums {
            more: places - 1,
            apart: apart.map(|numbers| numbers as isize),
            rows: outputs,
            turns,
            a_row: (SQUARES * lanes) as isize,
            a_turn: [0, lanes as isize, 1],
            b_column: (SQUARES * lanes * lanes) as isize,
            b_turn: [0, (lanes * lanes) as isize, lanes as isize],
            out_row: (vectors * lanes) as isize,
            out_column: lanes as isize,
        };
        assert!(products.len() == places * apart[2], "all pairs");
        let place = Place {
            a: self.bars.as_ptr(),
            b: self.seen.as_ptr(),
            out: products.as_mut_ptr(),
            start: Start::Add,
        };
        // SAFETY: two have the sizes that `Gradient` gave them for these channels, and the third has
        // its own.
        unsafe { contract(simd, &sums, vectors, lanes, place) };
    }
}

/// Bᵀ d B of some squares.
struct See<'s, 'a, 'g, R, V, H> {
    part: &'s mut Part<'a, 'g, R>,
    chunk: Chunk,
    sides: PhantomData<(V, H)>,
}

impl<R: Real, V: Side, H: Side> WithSimd for See<'_, '_, '_, R, V, H> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { part, chunk: Chunk { y, x, squares }, .. } = self;
        let Convolution { inputs, image: Image { height, width }, .. } = *part.of.convolution;
        let lanes = R::lanes::<S>();
        let block = part.count * inputs;
        let apart = seen_place(lanes, inputs.div_ceil(lanes));
        // Rows outside of the image are seen as zeros.
        let outside = [R::zero(); 16];
        let mut rows = [(outside.as_ptr(), 0); MOST_SEEN];
        for k in 0..V::SEEN {
            let at = (y + k).wrapping_sub(1);
            if at < height {
                let row = &part.window[at % MOST_SEEN * width * block..][..width * block];
                rows[k] = (row.as_ptr(), block);
            }
        }
        for sample in 0..part.count {
            for vector in 0..inputs.div_ceil(lanes) {
                let count = lanes.min(inputs - vector * lanes);
                let first = sample * inputs + vector * lanes;
                let see = Column { rows, width, first, count, floor: part.of.x.floor };
                let mut left = [see.at::<S, V>(simd, x), see.at::<S, V>(simd, x + 1)];
                for step in 0..squares {
                    let x = x + step * H::OUT;
                    let c = [see.at::<S, V>(simd, x + 2), see.at::<S, V>(simd, x + 3)];
                    let right = if H::OUT == 4 {
                        [see.at::<S, V>(simd, x + 4), see.at::<S, V>(simd, x + 5)]
                    } else {
                        c
                    };
                    let at = ((vector * SQUARES + step) * lanes + sample) * lanes;
                    let last = (V::SEEN * H::SEEN - 1) * apart;
                    let to = part.seen[at..][..last + lanes].as_mut_ptr();
                    // Where the next sample goes: it would be waited for when it is written.
                    for place in 0..V::SEEN * H::SEEN {
                        fetch_near(to.wrapping_add(place * apart + lanes), lanes);
                    }
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
                                for j in 0..H::SEEN {
                                    let to = to.wrapping_add((H::SEEN * $row + j) * apart);
                                    // SAFETY: the slice has a vector for each place, so far apart.
                                    unsafe { R::store(simd, to, places[j]) };
                                }
                            }
                        };
                    }
                    each!(row, 0 1 2 3 4 5);
                    left = right;
                }
            }
        }
    }
}

/// A few rows of x, seen by columns.
struct Column<R> {
    /// The first pixel of each row, and how far the next one is: nowhere, for rows outside.
    rows: [(*const R, usize); MOST_SEEN],
    width: usize,
    /// The first number of a pixel that is seen, and how many.
    first: usize,
    count: usize,
    floor: R,
}

impl<R: Real> Column<R> {
    /// Bᵀ of the column `x` − 1; zeros outside.
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn at<S: Simd, V: Side>(&self, simd: S, x: usize) -> [R::Vector<S>; MOST_SEEN] {
        let x = x.wrapping_sub(1);
        let mut pixels = [R::splat(simd, R::zero()); MOST_SEEN];
        if x < self.width {
            let floor = R::splat(simd, self.floor);
            for k in 0..V::SEEN {
                let (row, block) = self.rows[k];
                let first = if block == 0 { 0 } else { self.first };
                let from = row.wrapping_add(x * block + first);
                // SAFETY: a row holds `width` pixels of `block` numbers, of which `count` from `first`
                // on are seen; and a row outside as many zeros as a vector has lanes at most.
                let pixel = unsafe {
                    if self.count == R::lanes::<S>() {
                        R::load(simd, from)
                    } else {
                        R::load_masked(simd, R::mask(simd, self.count), from)
                    }
                };
                pixels[k] = R::at_least(simd, pixel, floor);
            }
        }
        V::enter::<R, S>(simd, pixels)
    }
}

/// A bar Aᵀ of some squares.
struct EnterBar<'s, 'a, 'g, R, V, H> {
    part: &'s mut Part<'a, 'g, R>,
    chunk: Chunk,
    sides: PhantomData<(V, H)>,
}

impl<R: Real, V: Side, H: Side> WithSimd for EnterBar<'_, '_, '_, R, V, H> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { part, chunk: Chunk { y, x, squares }, .. } = self;
        let Convolution { outputs, image, .. } = *part.of.convolution;
        let lanes = R::lanes::<S>();
        let apart = bars_place(lanes, outputs);
        let Part { of, sample, count, .. } = *part;
        for output in 0..outputs {
            let plane = output * image.pixels() * of.samples;
            let plane = &of.bar[plane..][..image.pixels() * of.samples];
            let see = Bar { plane, image, samples: of.samples, sample, count };
            for step in 0..squares {
                let x = x + step * H::OUT;
                let c = [see.at::<S, V>(simd, y, x), see.at::<S, V>(simd, y, x + 1)];
                let right = if H::OUT == 4 {
                    [see.at::<S, V>(simd, y, x + 2), see.at::<S, V>(simd, y, x + 3)]
                } else {
                    c
                };
                let at = (output * SQUARES + step) * lanes;
                let last = (V::SEEN * H::SEEN - 1) * apart;
                let to = part.bars[at..][..last + lanes].as_mut_ptr();
                // Where the next square goes.
                for place in 0..V::SEEN * H::SEEN {
                    fetch_near(to.wrapping_add(place * apart + lanes), lanes);
                }
                macro_rules! row {
                    ($row:literal) => {
                        if $row < V::SEEN {
                            let of_row = [c[0][$row], c[1][$row], right[0][$row], right[1][$row]];
                            let places = H::enter_bar::<R, S>(simd, of_row);
                            for j in 0..H::SEEN {
                                let to = to.wrapping_add((H::SEEN * $row + j) * apart);
                                // SAFETY: the slice has a vector for each place, so far apart.
                                unsafe { R::store(simd, to, places[j]) };
                            }
                        }
                    };
                }
                each!(row, 0 1 2 3 4 5);
            }
        }
    }
}

/// One channel of the cotangents.
struct Bar<'a, R> {
    plane: &'a [R],
    image: Image,
    samples: usize,
    sample: usize,
    count: usize,
}

impl<R: Real> Bar<'_, R> {
    /// A of the pixels of column `x` from row `y` on; those outside are zeros.
    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn at<S: Simd, V: Side>(&self, simd: S, y: usize, x: usize) -> [R::Vector<S>; MOST_SEEN] {
        let Image { height, width } = self.image;
        let mut pixels = [R::splat(simd, R::zero()); 4];
        if x < width {
            macro_rules! pixel {
                ($k:literal) => {
                    if $k < V::OUT && y + $k < height {
                        let at = ((y + $k) * width + x) * self.samples + self.sample;
                        let from = self.plane[at..at + self.count].as_ptr();
                        // SAFETY: the slice has `count` numbers.
                        pixels[$k] = unsafe {
                            if self.count == R::lanes::<S>() {
                                R::load(simd, from)
                            } else {
                                R::load_masked(simd, R::mask(simd, self.count), from)
                            }
                        };
                    }
                };
            }
            each!(pixel, 0 1 2 3);
        }
        V::enter_bar::<R, S>(simd, pixels)
    }
}

/// Gᵀ M G of every pair of channels, added to `[outputs, inputs, 3, 3]`.
struct Conclude<'a, R> {
    /// `[places, outputs, vectors of inputs]` for each kind of square.
    products: &'a [R],
    offsets: [usize; 5],
    /// Inputs and outputs.
    channels: [usize; 2],
    to: &'a mut [R],
}

impl<R: Real> WithSimd for Conclude<'_, R> {
    type Output = ();

    #[inline(always)]
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    fn with_simd<S: Simd>(self, simd: S) {
        let ([inputs, outputs], lanes) = (self.channels, R::lanes::<S>());
        let apart = outputs * inputs.next_multiple_of(lanes);
        let mut stored = [[R::zero(); 16]; 9];
        for output in 0..outputs {
            for input in (0..inputs).step_by(lanes) {
                let at = output * inputs.next_multiple_of(lanes) + input;
                let mut taps = [R::splat(simd, R::zero()); 9];
                macro_rules! gather {
                    ($down:ident, $across:ident, $kind:literal) => {
                        let products = &self.products[self.offsets[$kind]..self.offsets[$kind + 1]];
                        if !products.is_empty() {
                            let (places, sides) =
                                (&products[at..], PhantomData::<($down, $across)>);
                            taps = gathered(simd, places, apart, taps, sides);
                        }
                    };
                }
                for_each_kind!(gather);
                for tap in 0..9 {
                    // SAFETY: no vector has more than 16 lanes.
                    unsafe { R::store(simd, stored[tap].as_mut_ptr(), taps[tap]) };
                }
                let count = lanes.min(inputs - input);
                let to = &mut self.to[(output * inputs + input) * 9..][..9 * count];
                for (pair, to) in to.chunks_exact_mut(9).enumerate() {
                    for tap in 0..9 {
                        to[tap] += stored[tap][pair];
                    }
                }
            }
        }
    }
}

/// Nine taps plus Gᵀ M G, of a vector of pairs whose places lie `apart`.
#[inline(always)]
#[expect(unsafe_code, reason = "kernels address by pointer")]
fn gathered<R: Real, S: Simd, V: Side, H: Side>(
    simd: S,
    places: &[R],
    apart: usize,
    mut taps: [R::Vector<S>; 9],
    _: PhantomData<(V, H)>,
) -> [R::Vector<S>; 9] {
    let zero = R::splat(simd, R::zero());
    assert!(places.len() >= (V::SEEN * H::SEEN - 1) * apart + R::lanes::<S>(), "all places");
    macro_rules! column {
        ($j:literal) => {{
            let mut m = [zero; MOST_SEEN];
            if $j < H::SEEN {
                for k in 0..V::SEEN {
                    // SAFETY: all places lie in the slice, as asserted.
                    m[k] =
                        unsafe { R::load(simd, places.as_ptr().add((H::SEEN * k + $j) * apart)) };
                }
            }
            V::gather::<R, S>(simd, m)
        }};
    }
    let c = [column!(0), column!(1), column!(2), column!(3), column!(4), column!(5)];
    macro_rules! row {
        ($k:literal) => {
            let m = [c[0][$k], c[1][$k], c[2][$k], c[3][$k], c[4][$k], c[5][$k]];
            let row = H::gather::<R, S>(simd, m);
            for l in 0..3 {
                taps[3 * $k + l] = R::plus(simd, taps[3 * $k + l], row[l]);
            }
        };
    }
    each!(row, 0 1 2);
    taps
}
