//! Distances and sizes in the windows of a convolution, for exposures.

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
