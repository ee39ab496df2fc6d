//! What follows the convolution of a stem: relu, maxima, both or neither.

use super::relu::{before_relu, rectify, relu};
use deeplimit::field::Tiled;
use deeplimit::kernel::Image;
use deeplimit::{Rows, State};
use rayon::prelude::*;

/// What follows a stem's convolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StemEnd {
    pub(super) relu: bool,
    /// Maxima of 3×3 windows, two apart, behind the relu if there is one.
    pub(super) maxima: bool,
}

/// The size of an image after maxima of 3×3 windows, two apart.
pub(super) fn pooled(image: Image) -> Image {
    Image { height: (image.height - 1) / 2 + 1, width: (image.width - 1) / 2 + 1 }
}

impl StemEnd {
    /// The size of the images that come out.
    pub(super) fn size(self, image: Image) -> Image {
        if self.maxima { pooled(image) } else { image }
    }

    /// What becomes of a batch of images.
    pub(super) fn apply(self, mut x: Tiled<f32>, channels: usize, image: Image) -> Rows<f32> {
        match self {
            Self { maxima: true, relu } => {
                let tiles = x.tiles().par_iter().map(|tile| maxima(tile, channels, image, relu));
                Rows::join(tiles.collect())
            }
            Self { relu: true, .. } => {
                x.tiles_mut().par_iter_mut().for_each(|tile| rectify(tile.columns_mut()));
                x.whole()
            }
            _ => x.whole(),
        }
    }

    /// The cotangent of x for that of what becomes of it.
    pub(super) fn pull_back(
        self,
        x: &Tiled<f32>,
        mut bar: Tiled<f32>,
        channels: usize,
        image: Image,
    ) -> Tiled<f32> {
        match self {
            Self { maxima: true, relu } => {
                let tiles = x.tiles().par_iter().zip(bar.tiles());
                let tiles = tiles.map(|(x, bar)| maxima_pull_back(x, bar, channels, image, relu));
                Tiled::new(tiles.collect())
            }
            Self { relu: true, .. } => {
                let tiles = bar.tiles_mut().par_iter_mut().zip(x.tiles());
                tiles.for_each(|(bar, x)| before_relu(x.columns(), bar.columns_mut()));
                bar
            }
            _ => bar,
        }
    }
}

/// For every place after the maxima, the place whose value it is; of values that are not numbers one.
fn sources(tile: &Rows<f32>, channels: usize, from: Image, mut visit: impl FnMut(usize, usize)) {
    let (to, samples) = (pooled(from), tile.rows());
    let x = tile.columns();
    for channel in 0..channels {
        for (py, px) in (0..to.height).flat_map(|y| (0..to.width).map(move |x| (y, x))) {
            let rows = (2 * py).saturating_sub(1)..(2 * py + 2).min(from.height);
            let columns = (2 * px).saturating_sub(1)..(2 * px + 2).min(from.width);
            let at = |y: usize, x: usize| (channel * from.height + y) * from.width + x;
            let pixel = (channel * to.height + py) * to.width + px;
            for sample in 0..samples {
                let places = rows.clone().flat_map(|y| columns.clone().map(move |x| (y, x)));
                let places = places.map(|(y, x)| at(y, x) * samples + sample);
                // The first of equal ones, as elsewhere.
                let is_above = |place: usize, best: usize| x[place] > x[best] || x[place].is_nan();
                let best =
                    places.reduce(|best, place| if is_above(place, best) { place } else { best });
                visit(pixel * samples + sample, best.expect("a window has a pixel"));
            }
        }
    }
}

fn maxima(tile: &Rows<f32>, channels: usize, image: Image, is_rectified: bool) -> Rows<f32> {
    let mut out = Rows::zeros(tile.rows(), channels * pooled(image).pixels());
    let to = out.columns_mut();
    sources(tile, channels, image, |place, from| to[place] = tile.columns()[from]);
    if is_rectified {
        rectify(to);
    }
    out
}

fn maxima_pull_back(
    tile: &Rows<f32>,
    bar: &Rows<f32>,
    channels: usize,
    image: Image,
    is_rectified: bool,
) -> Rows<f32> {
    let mut out = Rows::zeros(tile.rows(), tile.width());
    let to = out.columns_mut();
    sources(tile, channels, image, |place, from| {
        if !is_rectified || relu(tile.columns()[from]) != 0.0 {
            to[from] += bar.columns()[place];
        }
    });
    out
}
