//! 3×3 neighbourhoods of an image as columns of a matrix, and back.

use crate::Real;

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

    /// Calls `visit(tap, target pixels, source pixels)` with matching runs of pixels in one row,
    /// for each of the nine taps of a 3×3 window with zero padding 1.
    fn for_each_run(self, mut visit: impl FnMut(usize, usize, usize, usize)) {
        for tap in 0..9 {
            let (down, right) = (tap / 3, tap % 3);
            for row in 0..self.height {
                let source_row = row + down;
                if source_row == 0 || source_row > self.height {
                    continue;
                }
                let first = if right == 0 { 1 } else { 0 };
                let end = if right == 2 { self.width - 1 } else { self.width };
                if first < end {
                    let target = row * self.width + first;
                    let source = (source_row - 1) * self.width + first + right - 1;
                    visit(tap, target, source, end - first);
                }
            }
        }
    }
}

/// Unrolls an image `[channels, H, W]` to `patches [channels · 9, H · W]`, zero outside.
pub fn gather_patches<R: Real>(image: Image, x: &[R], patches: &mut [R]) {
    let pixels = image.pixels();
    patches.fill(R::zero());
    for (plane, columns) in x.chunks_exact(pixels).zip(patches.chunks_exact_mut(9 * pixels)) {
        image.for_each_run(|tap, target, source, count| {
            let target = tap * pixels + target;
            columns[target..target + count].copy_from_slice(&plane[source..source + count]);
        });
    }
}

/// The transpose of [`gather_patches`], added: `x += gatherᵀ patches`.
pub fn scatter_patches<R: Real>(image: Image, patches: &[R], x: &mut [R]) {
    let pixels = image.pixels();
    for (plane, columns) in x.chunks_exact_mut(pixels).zip(patches.chunks_exact(9 * pixels)) {
        image.for_each_run(|tap, target, source, count| {
            let target = tap * pixels + target;
            let run = plane[source..source + count].iter_mut();
            run.zip(&columns[target..target + count]).for_each(|(x, p)| *x += *p);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_the_zero_padded_neighbourhoods() {
        for (height, width) in [(1, 1), (1, 4), (3, 2), (5, 6)] {
            let image = Image { height, width };
            let x: Vec<f64> = (0..2 * height * width).map(|i| i as f64 + 1.0).collect();
            let mut patches = vec![f64::NAN; 18 * image.pixels()];
            gather_patches(image, &x, &mut patches);
            for (index, value) in patches.iter().enumerate() {
                let (row, pixel) = (index / image.pixels(), index % image.pixels());
                let (channel, tap) = (row / 9, row % 9);
                let y = (pixel / width + tap / 3) as isize - 1;
                let z = (pixel % width + tap % 3) as isize - 1;
                let inside = (0..height as isize).contains(&y) && (0..width as isize).contains(&z);
                let expected = if inside {
                    x[channel * image.pixels() + y as usize * width + z as usize]
                } else {
                    0.0
                };
                assert_eq!(*value, expected);
            }
        }
    }

    #[test]
    fn scatter_is_the_transpose_of_gather() {
        let image = Image { height: 4, width: 3 };
        let x: Vec<f64> = (0..12).map(|i| crate::seed::uniform(1, i)).collect();
        let y: Vec<f64> = (0..108).map(|i| crate::seed::uniform(2, i)).collect();
        let (mut gathered, mut scattered) = (vec![0.0; 108], vec![0.0; 12]);
        gather_patches(image, &x, &mut gathered);
        scatter_patches(image, &y, &mut scattered);
        let left: f64 = gathered.iter().zip(&y).map(|(a, b)| a * b).sum();
        let right: f64 = x.iter().zip(&scattered).map(|(a, b)| a * b).sum();
        assert!((left - right).abs() < 1e-13);
    }
}
