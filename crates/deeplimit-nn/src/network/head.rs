//! The last state to the outputs, and on to the loss.

use super::Score;
use super::config::{HeadConfig, NetworkPlan, StageConfig};
use super::error::NetworkError;
use super::loss::loss;
use super::map::{Map, Slopes, cut};
use super::normalised::{Blueprint, Normalised};
use super::stage::{affine, affine_map, array, move_on, numbers, remembered, unmoved};
use crate::data::{BatchTargets, Shape};
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use deeplimit::field::LayerStatistics;
use deeplimit::kernel::{Activation, Image};
use deeplimit::{Rows, State};
use rayon::prelude::*;
use std::ops::Range;

/// An affine map of the last state, or of the means of its channels.
#[derive(Module, Debug)]
pub(super) struct Head {
    linear: Linear,
    /// Scale and shift of the normalisation, `[1, channels]` each; nothing without one.
    norm: Vec<Param<Tensor<2>>>,
    /// Its running mean and variance.
    running: Vec<Param<Tensor<2>>>,
    /// The images that it normalises.
    #[module(skip)]
    normalised: Option<Shape>,
    #[module(skip)]
    activation: Option<Activation>,
    #[module(skip)]
    pool: Option<Pool>,
}

/// The mean of each channel over windows of its image, side by side from the upper left; what is left over
/// at the right and below is not looked at.
#[derive(Clone, Copy, Debug)]
struct Pool {
    channels: usize,
    image: Image,
    window: Image,
}

impl HeadConfig {
    /// Checks the windows for a last state.
    pub(super) fn check_window(&self, state: Shape) -> Result<(), NetworkError> {
        let Some(found) = self.window else { return Ok(()) };
        let side = state.height.min(state.width);
        let expected = match self.pool {
            true if (2..=side).contains(&found) => return Ok(()),
            true if side < 2 => "larger images; leave it out".to_owned(),
            true => format!("2 to {side}, the smaller side of the last images"),
            false => "pool = true beside it; or leave it out".to_owned(),
        };
        Err(NetworkError::Head { setting: "window", found, expected })
    }

    /// Checks that the last field takes the batch whole, as `norm` needs.
    pub(super) fn check_norm(&self, stages: &[StageConfig]) -> Result<(), NetworkError> {
        let last = stages.iter().map(|stage| stage.field).enumerate().next_back();
        let Some((stage, field)) = last.filter(|(_, field)| self.norm && !field.normalises())
        else {
            return Ok(());
        };
        let reason = format!(
            "network.head.norm normalises the last state by the whole batch, but a {} field walks in tiles of \
             it; use field = \"bn-conv\", or leave it out",
            field.name()
        );
        Err(NetworkError::Combination { stage, reason })
    }
}

/// A head with its present weights.
pub(super) struct Reader {
    norm: Option<Normalised>,
    activation: Option<Activation>,
    pool: Option<Pool>,
    map: Map,
}

impl Head {
    pub(super) fn new(plan: &NetworkPlan, seed: u64, device: &Device) -> Self {
        let state = plan.stages.last().expect("a checked network has a stage").state;
        let HeadConfig { pool, window, activation, norm } = plan.head;
        let image = Image { height: state.height, width: state.width };
        let window = window.map_or(image, |side| Image { height: side, width: side });
        let pool = pool.then_some(Pool { channels: state.channels, image, window });
        let inputs = pool.map_or(state.elements(), Pool::means_count);
        let linear = affine(inputs, plan.outputs.count(), seed, device);
        let (normalised, channels) = (norm.then_some(state), if norm { state.channels } else { 0 });
        let starts: &[f32] = if norm { &[1.0, 0.0] } else { &[] };
        let norm = starts.iter().map(|start| array(vec![*start; channels], 1, device)).collect();
        let running = unmoved(1, channels, device);
        Self { linear, norm, running, normalised, activation, pool }
    }

    /// Of no network.
    pub(super) fn hollow(device: &Device) -> Self {
        let (norm, running) = (Vec::new(), Vec::new());
        let linear = affine(1, 1, 0, device);
        Self { linear, norm, running, normalised: None, activation: None, pool: None }
    }

    /// The head with its present weights, which normalises by the batch or by what it remembers.
    pub(super) fn reader(&self, by_batch: bool) -> Reader {
        let norm = |state| {
            let theta = self.norm.iter().map(numbers).collect();
            let held = (!by_batch).then(|| remembered(&self.running));
            Blueprint::normalisation(state).with(theta, held)
        };
        Reader {
            norm: self.normalised.map(norm),
            activation: self.activation,
            pool: self.pool,
            map: affine_map(&self.linear),
        }
    }

    /// Channels that are normalised.
    pub(super) fn channels(&self) -> usize {
        self.normalised.map_or(0, |state| state.channels)
    }

    /// Numbers that are kept beside the parameters.
    pub(super) fn running_numbers(&self) -> usize {
        2 * self.channels()
    }

    /// Moves the running statistics towards those of a training step.
    pub(super) fn remember(&mut self, met: &LayerStatistics) {
        move_on(&mut self.running, std::slice::from_ref(met));
    }

    /// The same affine map behind the normalisation of another head with the same settings.
    pub(super) fn behind_the_norm_of(&self, other: Self) -> Self {
        Self { norm: other.norm, running: other.running, ..self.clone() }
    }

    /// The gradient of each of the head's arrays, in the order of their visit.
    pub(super) fn gradients(&self, slopes: HeadSlopes) -> Vec<Option<Vec<f32>>> {
        let HeadSlopes { linear: Slopes { weight, bias }, norm, .. } = slopes;
        let trained = [weight, bias].into_iter().chain(norm).map(Some);
        trained.chain(vec![None; self.running.len()]).collect()
    }
}

/// What the head finds of some samples: gradients of its arrays, and what its normalisation met.
#[derive(Default)]
pub(super) struct HeadSlopes {
    linear: Slopes,
    norm: Vec<Vec<f32>>,
    pub(super) met: Option<LayerStatistics>,
}

impl HeadSlopes {
    /// Adds what other samples say; of a head with a normalisation there are no others.
    pub(super) fn add(&mut self, more: Self) {
        let Self { linear, norm, met } = more;
        self.linear.add(&linear);
        self.norm.extend(norm);
        self.met = self.met.take().or(met);
    }
}

impl Reader {
    /// Slopes before any sample.
    pub(super) fn no_slopes(&self) -> HeadSlopes {
        HeadSlopes { linear: self.map.no_slopes(), ..HeadSlopes::default() }
    }

    /// States that [`loss`](Self::loss) holds at most besides the end: what is read, and cotangents; with a
    /// normalisation those of its two walks there and its way back.
    pub(super) fn states(&self) -> usize {
        match (&self.norm, self.activation) {
            (Some(_), _) => 12,
            (None, Some(_)) => 5,
            (None, None) => 3,
        }
    }

    /// Bytes that what is found of a tile takes until all tiles are done.
    pub(super) fn bytes(&self) -> usize {
        let Slopes { weight, bias } = self.map.no_slopes();
        // In vectors that grow by doubling.
        size_of::<f32>() * (weight.len() + bias.len()) + 6 * size_of::<(Score, HeadSlopes)>()
    }

    /// Bytes of the outputs of a batch and what a loss makes of them, and that threads keep for kernels.
    pub(super) fn around(&self, samples: usize, threads: usize) -> usize {
        let Slopes { weight, bias } = self.map.no_slopes();
        let inputs = weight.len() / bias.len();
        4 * samples * bias.len() * size_of::<f64>() + threads * self.map.scratch(inputs)
    }

    /// The outputs of a batch.
    pub(super) fn forward(&self, x: &Rows<f32>) -> Rows<f32> {
        let tiles = match &self.norm {
            None => cut(x),
            Some(norm) => cut(&norm.forward(&cut(x)).0),
        };
        Rows::join(tiles.par_iter().map(|tile| self.map.apply(&self.read(tile))).collect())
    }

    /// Score and slopes of some samples of a batch, given their last state, and its cotangent. A head with a
    /// normalisation sees the whole batch.
    pub(super) fn loss(
        &self,
        x: &Rows<f32>,
        targets: &BatchTargets,
        samples: Range<usize>,
    ) -> ((Score, HeadSlopes), Rows<f32>) {
        let Some(norm) = &self.norm else {
            let (score, linear, bar) = self.loss_of_normalised(x, targets, samples);
            return ((score, HeadSlopes { linear, ..HeadSlopes::default() }), bar);
        };
        let tiles = cut(x);
        let (normal, met) = norm.forward(&tiles);
        let (score, linear, bar) = self.loss_of_normalised(&normal, targets, samples);
        drop(normal);
        let (norm, x_bar) = norm.backward(&tiles, &bar);
        ((score, HeadSlopes { linear, norm, met }), x_bar)
    }

    fn loss_of_normalised(
        &self,
        x: &Rows<f32>,
        targets: &BatchTargets,
        samples: Range<usize>,
    ) -> (Score, Slopes, Rows<f32>) {
        let read = self.read(x);
        let (score, bar) = loss(&self.map.apply(&read), targets, samples);
        let mut slopes = self.map.no_slopes();
        self.map.add_slopes(&read, &bar, &mut slopes);
        (score, slopes, self.back(x, self.map.pull_back(&read, &bar)))
    }

    /// The cotangent of the last state, for one of the outputs given by (row, column).
    pub(super) fn pull_back(&self, x: &Rows<f32>, bar: impl Fn(usize, usize) -> f32) -> Rows<f32> {
        let pull_back = |x: &Rows<f32>| {
            let read = self.read(x);
            let outputs = self.map.apply(&read).width();
            self.back(x, self.map.pull_back(&read, &Rows::from_fn(x.rows(), outputs, bar)))
        };
        let Some(norm) = &self.norm else { return pull_back(x) };
        let tiles = cut(x);
        let normal = norm.forward(&tiles).0;
        norm.backward(&tiles, &pull_back(&normal)).1
    }

    fn read(&self, x: &Rows<f32>) -> Rows<f32> {
        let values = self.activation.map(|activation| values(activation, x));
        let x = values.as_ref().unwrap_or(x);
        self.pool.map_or_else(|| x.clone(), |pool| pool.means(x))
    }

    /// The cotangent of the last state, for that of what was read of it.
    fn back(&self, x: &Rows<f32>, bar: Rows<f32>) -> Rows<f32> {
        let bar = match self.pool {
            None => bar,
            Some(pool) => pool.spread(&bar),
        };
        let Some(activation) = self.activation else { return bar };
        let (a, mut x_bar) = (values(activation, x), bar.clone());
        activation.pull_back(x.columns(), a.columns(), bar.columns(), x_bar.columns_mut());
        x_bar
    }
}

/// σ(x).
fn values(activation: Activation, x: &Rows<f32>) -> Rows<f32> {
    let mut a = x.clone();
    activation.apply(x.columns(), a.columns_mut());
    a
}

impl Pool {
    /// Windows of a channel, along each side.
    fn grid(self) -> Image {
        let Self { image, window, .. } = self;
        Image { height: image.height / window.height, width: image.width / window.width }
    }

    /// Means a sample.
    fn means_count(self) -> usize {
        self.channels * self.grid().pixels()
    }

    /// Calls `visit(mean, pixel)` for every pixel that is looked at.
    fn visit(self, mut visit: impl FnMut(usize, usize)) {
        let Self { channels, image, window } = self;
        let grid = self.grid();
        for channel in 0..channels {
            for y in 0..grid.height * window.height {
                for x in 0..grid.width * window.width {
                    let row = channel * grid.height + y / window.height;
                    let mean = row * grid.width + x / window.width;
                    visit(mean, (channel * image.height + y) * image.width + x);
                }
            }
        }
    }

    fn means(self, x: &Rows<f32>) -> Rows<f32> {
        let samples = x.rows();
        let mut means = Rows::zeros(samples, self.means_count());
        let (to, from) = (means.columns_mut(), x.columns());
        self.visit(|mean, pixel| {
            let mean = &mut to[mean * samples..][..samples];
            mean.iter_mut().zip(&from[pixel * samples..]).for_each(|(mean, x)| *mean += x);
        });
        means.scale(1.0 / self.window.pixels() as f64);
        means
    }

    /// The transpose of [`means`](Self::means).
    fn spread(self, bar: &Rows<f32>) -> Rows<f32> {
        let samples = bar.rows();
        let mut x_bar = Rows::zeros(samples, self.channels * self.image.pixels());
        let (to, from) = (x_bar.columns_mut(), bar.columns());
        self.visit(|mean, pixel| {
            to[pixel * samples..][..samples].copy_from_slice(&from[mean * samples..][..samples]);
        });
        x_bar.scale(1.0 / self.window.pixels() as f64);
        x_bar
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two channels of 5×6 pixels with windows of 2: a row is left over.
    const POOL: Pool = Pool {
        channels: 2,
        image: Image { height: 5, width: 6 },
        window: Image { height: 2, width: 2 },
    };

    #[test]
    fn windows_are_averaged_side_by_side_and_what_is_left_over_is_not_looked_at() {
        let x = Rows::from_fn(3, 60, |row, column| (row * 100 + column * column) as f32);
        let means = POOL.means(&x);
        assert_eq!(means.width(), 2 * 2 * 3);
        for (row, channel, y, column) in [(0, 0, 0, 0), (2, 0, 1, 2), (1, 1, 0, 1), (2, 1, 1, 2)] {
            let at = |dy, dx| x.at(row, (channel * 5 + 2 * y + dy) * 6 + 2 * column + dx);
            let expected = (at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4.0;
            assert_eq!(means.at(row, (channel * 2 + y) * 3 + column), expected);
        }
    }

    #[test]
    fn spread_is_the_transpose_of_the_means() {
        let x = Rows::from_fn(3, 60, |row, column| ((7 * row + 3 * column) % 11) as f32 - 5.0);
        let bar = Rows::from_fn(3, 12, |row, column| ((5 * row + column) % 7) as f32 - 3.0);
        let (forward, back) = (POOL.means(&x).dot(&bar), x.dot(&POOL.spread(&bar)));
        assert!((forward - back).abs() < 1e-4 && forward != 0.0, "{forward} {back}");
    }
}
