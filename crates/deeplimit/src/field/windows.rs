//! Distances, sizes and changes in the windows of a convolution, for exposures.

use crate::Real;
use crate::kernel::{Convolution, vector};

/// For every pixel and sample, over all channels in the window around it: the distance of two states whose
/// squared distances a pixel are `apart`, and √(1 + |x|²). `scratch` has three images of one channel.
pub(super) fn window_norms<'s, R: Real>(
    windows: &Convolution,
    apart: &[R],
    x: &[R],
    scratch: &'s mut [R],
    samples: usize,
) -> [&'s [R]; 2] {
    let length = apart.len();
    let (squares, around) = scratch.split_at_mut(length);
    let (distances, sizes) = around.split_at_mut(length);
    distances.fill(R::zero());
    add_windows(windows, apart, distances, samples);
    squares.fill(R::zero());
    sizes.fill(R::one());
    vector::add_column_squares(squares, x);
    add_windows(windows, squares, sizes, samples);
    vector::root(around);
    let (distances, sizes) = around.split_at(length);
    [distances, sizes]
}

/// What the difference of two images changes of an output of a convolution with windows of stride 1 around
/// their pixels, at a pixel of a sample.
pub(super) fn window_change<'a, R: Real>(
    windows: &'a Convolution,
    weight: &'a [R],
    [here, there]: [&'a [R]; 2],
    samples: usize,
) -> impl Fn(usize, usize) -> f64 + 'a {
    let (side, inputs, image) = (windows.side(), windows.inputs(), windows.image());
    let before = side / 2;
    // The pixels of a window around one, and where they lie in it.
    let along = move |centre: usize, length: usize| {
        let first = centre.saturating_sub(before);
        (first..(centre + before + 1).min(length)).map(move |at| (at, at + before - centre))
    };
    move |output, place| {
        let (pixel, sample) = (place / samples, place % samples);
        let (row, column) = (pixel / image.width, pixel % image.width);
        let mut change = 0.0;
        for input in 0..inputs {
            let weight = &weight[(output * inputs + input) * side * side..][..side * side];
            for (y, k) in along(row, image.height) {
                for (x, l) in along(column, image.width) {
                    let at = ((input * image.height + y) * image.width + x) * samples + sample;
                    change += weight[k * side + l].wide() * (there[at].wide() - here[at].wide());
                }
            }
        }
        change
    }
}

/// Adds to every pixel the window of another image around it, of 1×1 or 3×3 pixels.
fn add_windows<R: Real>(windows: &Convolution, of: &[R], to: &mut [R], samples: usize) {
    if windows.side() == 1 {
        return vector::add_scaled(to, R::one(), of);
    }
    assert_eq!(windows.side(), 3, "pixels of a window");
    let image = windows.image();
    let line = image.width * samples;
    for (y, to) in to.chunks_exact_mut(line).enumerate() {
        for near in y.saturating_sub(1)..(y + 2).min(image.height) {
            let of = &of[near * line..][..line];
            vector::add_scaled(to, R::one(), of);
            vector::add_scaled(&mut to[samples..], R::one(), &of[..line - samples]);
            vector::add_scaled(&mut to[..line - samples], R::one(), &of[samples..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Image, Start};
    use crate::seed::uniform;

    #[test]
    fn a_change_of_an_output_is_that_of_the_convolution() {
        let (inputs, outputs, samples) = (3, 2, 5);
        let image = Image { height: 3, width: 4 };
        let draw = |seed: u64, count: usize| -> Vec<f64> {
            (0..count).map(|index| uniform(seed, index as u64)).collect()
        };
        for side in [1, 3] {
            let windows = Convolution::new([inputs, outputs], image, side, 1, side / 2);
            let weight = draw(1, outputs * inputs * side * side);
            let [here, there] = [2, 3].map(|seed| draw(seed, inputs * image.pixels() * samples));
            let [before, after] = [&here, &there].map(|image| {
                let mut out = vec![0.0; outputs * image.len() / inputs];
                windows.apply(&weight, Start::Zero, image, &mut out, samples);
                out
            });
            let change = window_change(&windows, &weight, [&here, &there], samples);
            let plane = image.pixels() * samples;
            for (at, (before, after)) in before.iter().zip(&after).enumerate() {
                let (found, expected) = (change(at / plane, at % plane), after - before);
                assert!((found - expected).abs() < 1e-12, "{side}, {at}: {found}, {expected}");
            }
        }
    }
}
