//! What follows the convolution of a stem: nothing, relu, or relu and maxima.

use deeplimit::field::Tiled;
use deeplimit::kernel::Image;
use deeplimit::{Rows, State};
use rayon::prelude::*;

/// What follows a stem's convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StemEnd {
    Nothing,
    /// relu.
    Relu,
    /// Maxima of 3×3 windows of relu(x), two apart.
    Maxima,
}

/// The size of an image after maxima of 3×3 windows, two apart.
pub(super) fn pooled(image: Image) -> Image {
    Image { height: (image.height - 1) / 2 + 1, width: (image.width - 1) / 2 + 1 }
}

impl StemEnd {
    pub(super) fn of(relu: bool, pool: bool) -> Self {
        match (relu, pool) {
            (_, true) => Self::Maxima,
            (true, false) => Self::Relu,
            (false, false) => Self::Nothing,
        }
    }

    /// The size of the images that come out.
    pub(super) fn size(self, image: Image) -> Image {
        if self == Self::Maxima { pooled(image) } else { image }
    }

    /// What becomes of a batch of images.
    pub(super) fn apply(self, mut x: Tiled<f32>, channels: usize, image: Image) -> Rows<f32> {
        match self {
            Self::Nothing => x.whole(),
            Self::Relu => {
                x.tiles_mut().par_iter_mut().for_each(|tile| {
                    tile.columns_mut().iter_mut().for_each(|x| *x = x.max(0.0));
                });
                x.whole()
            }
            Self::Maxima => {
                let tiles = x.tiles().par_iter().map(|tile| maxima(tile, channels, image));
                Rows::join(tiles.collect())
            }
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
            Self::Nothing => bar,
            Self::Relu => {
                bar.tiles_mut().par_iter_mut().zip(x.tiles()).for_each(|(bar, x)| {
                    let pairs = bar.columns_mut().iter_mut().zip(x.columns());
                    pairs.filter(|(_, x)| **x <= 0.0).for_each(|(bar, _)| *bar = 0.0);
                });
                bar
            }
            Self::Maxima => {
                let tiles = x.tiles().par_iter().zip(bar.tiles());
                let tiles = tiles.map(|(x, bar)| maxima_pull_back(x, bar, channels, image));
                Tiled::new(tiles.collect())
            }
        }
    }
}

/// For every place after the maxima, the place whose relu it is.
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
                let best =
                    places.reduce(|best, place| if x[place] > x[best] { place } else { best });
                visit(pixel * samples + sample, best.expect("a window has a pixel"));
            }
        }
    }
}

fn maxima(tile: &Rows<f32>, channels: usize, image: Image) -> Rows<f32> {
    let mut out = Rows::zeros(tile.rows(), channels * pooled(image).pixels());
    let to = out.columns_mut();
    sources(tile, channels, image, |place, from| to[place] = tile.columns()[from].max(0.0));
    out
}

fn maxima_pull_back(tile: &Rows<f32>, bar: &Rows<f32>, channels: usize, image: Image) -> Rows<f32> {
    let mut out = Rows::zeros(tile.rows(), tile.width());
    let to = out.columns_mut();
    sources(tile, channels, image, |place, from| {
        if tile.columns()[from] > 0.0 {
            to[from] += bar.columns()[place];
        }
    });
    out
}
