//! Augmentation of training images: a shift by padding and cropping, and a mirror image
//! (K. He, X. Zhang, S. Ren, J. Sun, 2015, section 4.2).

use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::random::{Purpose, below, normal, stream};
use super::{DataError, Shape};

/// What is done to training images.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `crop` | 0 | pad by so many pixels on every side and crop at random | less than height and width |
/// | `flip` | false | mirror left and right with probability 1/2 | |
/// | `noise` | 0 | normal numbers of this standard deviation are added to normalised inputs | ≥ 0 |
///
/// Padding is black: pixels of value 0 before normalisation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Pixels of padding on every side before the random crop.
    pub crop: usize,
    /// Whether images are mirrored with probability 1/2.
    pub flip: bool,
    /// Standard deviation of the noise added to normalised inputs.
    pub noise: f64,
}

impl Augment {
    /// Whether nothing is done.
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }

    /// Checks that the augmentation fits inputs of a shape.
    ///
    /// # Errors
    ///
    /// [`DataError::BadAugment`] for a table, and for a crop that could lose the whole image.
    pub fn check(&self, shape: Shape) -> Result<(), DataError> {
        let bad = |what, expected| Err(DataError::BadAugment { what, shape, expected });
        if !(self.noise >= 0.0 && self.noise.is_finite()) {
            return bad(format!("noise = {}", self.noise), "expected a number of at least 0");
        }
        if self.flip && !shape.is_image() {
            return bad("flip".to_owned(), "only images can be flipped");
        }
        if self.crop >= shape.height.min(shape.width) && self.crop > 0 {
            return bad(format!("crop = {}", self.crop), "expected less than height and width");
        }
        Ok(())
    }
}

/// The augmentation of one epoch. What happens to a sample is decided by the seed, the epoch and
/// the sample's index alone, not by its place in a batch or the number of threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// What is done.
    pub augment: Augment,
    /// The seed of the run.
    pub seed: u64,
    /// The epoch.
    pub epoch: u64,
}

impl Draw {
    /// What happens to one sample.
    pub(super) fn of(&self, index: u32) -> Change {
        let mut stream = stream(Purpose::Augment, self.seed, self.epoch, index);
        let flip = stream.next_u32() & 1 == 1 && self.augment.flip;
        let choices = 2 * self.augment.crop as u32 + 1;
        let top = below(&mut stream, choices) as usize;
        let left = below(&mut stream, choices) as usize;
        Change { crop: self.augment.crop, top, left, flip }
    }

    /// Adds the noise of one sample.
    pub(super) fn add_noise(&self, index: u32, values: &mut [f32]) {
        if self.augment.noise > 0.0 {
            let mut stream = stream(Purpose::Noise, self.seed, self.epoch, index);
            let size = self.augment.noise as f32;
            values.iter_mut().for_each(|value| *value += size * normal(&mut stream));
        }
    }
}

/// One sample's crop, at `(top, left)` of the padded image, and then its flip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    crop: usize,
    top: usize,
    left: usize,
    flip: bool,
}

impl Change {
    /// Writes the changed image, `[channels, height, width]`; `padding` has a value a channel.
    pub(super) fn apply(&self, image: &[f32], shape: Shape, padding: &[f32], out: &mut [f32]) {
        let Shape { height, width, .. } = shape;
        // Rows and columns of the output that the image reaches, and where they come from.
        let (rows, first_row) = overlap(self.top, self.crop, height);
        let (columns, first_column) = overlap(self.left, self.crop, width);
        let planes = image.chunks_exact(shape.plane()).zip(out.chunks_exact_mut(shape.plane()));
        for ((image, out), padding) in planes.zip(padding) {
            out.fill(*padding);
            for row in rows.clone() {
                let from = (row + first_row - rows.start) * width + first_column;
                let to = &mut out[row * width..(row + 1) * width];
                to[columns.clone()].copy_from_slice(&image[from..from + columns.len()]);
                if self.flip {
                    to.reverse();
                }
            }
        }
    }
}

/// Along one axis: the part of the output that lies inside the image, and its first source index.
fn overlap(offset: usize, padding: usize, size: usize) -> (std::ops::Range<usize>, usize) {
    let start = padding.saturating_sub(offset);
    let first = offset.saturating_sub(padding);
    (start..size - first, first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { channels: 2, height: 3, width: 4 };

    fn image() -> Vec<f32> {
        (1..=24).map(|value| value as f32).collect()
    }

    /// The definition, written out: pad, crop, flip.
    fn by_definition(change: Change, image: &[f32], shape: Shape, padding: &[f32]) -> Vec<f32> {
        let mut out = Vec::new();
        for (channel, padding) in padding.iter().enumerate().take(shape.channels) {
            for row in 0..shape.height {
                for column in 0..shape.width {
                    let column = if change.flip { shape.width - 1 - column } else { column };
                    let (row, column) = (row + change.top, column + change.left);
                    let inside = (change.crop..change.crop + shape.height).contains(&row)
                        && (change.crop..change.crop + shape.width).contains(&column);
                    out.push(if inside {
                        let row = channel * shape.height + row - change.crop;
                        image[row * shape.width + column - change.crop]
                    } else {
                        *padding
                    });
                }
            }
        }
        out
    }

    #[test]
    fn every_crop_and_flip_is_pad_crop_mirror_as_defined() {
        for crop in 0..3 {
            for top in 0..=2 * crop {
                for left in 0..=2 * crop {
                    for flip in [false, true] {
                        let change = Change { crop, top, left, flip };
                        let mut out = vec![f32::NAN; 24];
                        change.apply(&image(), SHAPE, &[-1.0, -2.0], &mut out);
                        let expected = by_definition(change, &image(), SHAPE, &[-1.0, -2.0]);
                        assert_eq!(out, expected, "{change:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn all_shifts_and_both_sides_are_drawn_equally_often() {
        let draw = Draw { augment: Augment { crop: 1, flip: true, noise: 0.0 }, seed: 5, epoch: 2 };
        let mut counts = std::collections::HashMap::new();
        for index in 0..18_000 {
            let Change { top, left, flip, .. } = draw.of(index);
            *counts.entry((top, left, flip)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 18);
        // √(18,000 · 1/18 · 17/18) ≈ 31; 5 of them are allowed.
        assert!(counts.values().all(|count| (845..1_155).contains(count)), "{counts:?}");
    }

    #[test]
    fn tables_and_crops_as_wide_as_the_image_are_refused() {
        let crop = |crop| Augment { crop, ..Augment::default() };
        let flip = Augment { flip: true, ..Augment::default() };
        assert!(crop(2).check(SHAPE).is_ok() && flip.check(SHAPE).is_ok());
        assert!(crop(3).check(SHAPE).is_err());
        assert!(crop(1).check(Shape::table(5)).is_err());
        assert!(flip.check(Shape::table(5)).is_err());
        assert!(Augment::default().check(Shape::table(5)).is_ok());
        for noise in [-0.1, f64::NAN] {
            assert!(Augment { noise, ..Augment::default() }.check(SHAPE).is_err());
        }
    }
}
