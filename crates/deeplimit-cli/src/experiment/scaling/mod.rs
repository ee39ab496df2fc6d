//! Which limit trained networks have as their depth grows, with and without a penalty on roughness.
//!
//! ```text
//! x_{n+1} = x_n + (1/N) tanh(K_n x_n + b_n),   θ_n = (K_n, b_n)
//! E(θ) = (1/S) Σ ‖x_N − y‖² + α ( N Σ_{n ≥ 1} ‖θ_n − θ_{n−1}‖² + τ ‖θ_0‖² )
//! ```
//!
//! The network and the penalty are those of Thorpe, van Gennip (2023, section 1), with a readout that is
//! the identity: minimisers of E are bounded in H¹ and converge to those of a problem in functions of
//! depth, whose K is twice differentiable. Networks of growing depth are trained by one recipe, gradient
//! descent whose rate carries N and proximal steps for the penalty, from three starts. How their weights
//! scale with N before and after tells the regime (the question of Cohen, Cont, Rossier, Xu 2021; the
//! features and classes of [`limit::Regime`](deeplimit::limit::Regime)).

mod exponents;
mod findings;
mod page;

use super::{Experiment, Findings, Seeds, Size};
use crate::page::Text;
use anyhow::Result;
use deeplimit::control::{Control, DepthPenalty, Family};
use deeplimit::field::{Dense, Layer, Stacked};
use deeplimit::kernel::Activation;
use deeplimit::limit::{DepthFeatures, DepthStack};
use deeplimit::objective::descent::{Descent, Quadratic};
use deeplimit::{Flow, Rows, Scheme, seed};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The residual function.
const LAYER: Dense = Dense { width: 4, activation: Activation::Tanh };

const SAMPLES: usize = 16;

/// η.
const RATE: f64 = 0.05;

/// α and τ.
const ALPHA: f64 = 1e-3;
const TAU: f64 = 1.0;

/// Steps at which a training is recorded; the last are all that are done.
const RECORDED: [usize; 8] = [0, 16, 32, 64, 128, 256, 512, 1024];
const LAST: usize = RECORDED[RECORDED.len() - 1];

/// Layers of the networks whose weights are pictured.
const SHOWN: usize = 128;

/// Layers and size of the weights of the network that gives the targets.
const TEACHER: (usize, f64) = (256, 2.0);

/// How the weights vary with depth before training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Start {
    /// One smooth function of depth, sampled at the layers.
    Smooth,
    /// Every layer independent.
    Independent,
    /// Every layer independent, of size √N.
    Diffusive,
}

impl Start {
    const ALL: [Self; 3] = [Self::Smooth, Self::Independent, Self::Diffusive];

    fn name(self) -> &'static str {
        match self {
            Self::Smooth => "smooth",
            Self::Independent => "independent",
            Self::Diffusive => "diffusive",
        }
    }

    /// Weights of N layers. A rough start is drawn anew at every depth.
    fn weights(self, layers: usize, seed: u64) -> Control<f64> {
        let kinds = Layer::<f64>::kinds(&LAYER);
        let fresh = seed::derive(seed, layers as u64);
        match self {
            Self::Smooth => smooth(layers, seed),
            Self::Independent => Control::random(kinds, layers, Family::Independent, fresh),
            Self::Diffusive => Control::random(kinds, layers, Family::Diffusive, fresh),
        }
    }
}

/// One smooth function of depth, at s_n = n/N.
fn smooth(layers: usize, seed: u64) -> Control<f64> {
    let kinds = Layer::<f64>::kinds(&LAYER);
    // Of N + 1 nodes the last is at s = 1.
    let values = Control::random(kinds.clone(), layers + 1, Family::Smooth, seed).into_values();
    let cut = |(mut values, length): (Vec<f64>, usize)| {
        values.truncate(layers * length);
        values
    };
    let lengths: Vec<usize> = kinds.iter().map(|kind| kind.len()).collect();
    Control::new(kinds, layers, values.into_iter().zip(lengths).map(cut).collect())
}

/// The trainings; each is done for every seed, with data and a start of its own.
pub struct Scaling {
    depths: Vec<usize>,
    seeds: Seeds,
}

impl Scaling {
    /// Depths 8 to 256, or 8 to 512.
    pub fn new(size: Size, seeds: Seeds) -> Self {
        Self { depths: (3..=size.pick(8, 9)).map(|power| 1 << power).collect(), seeds }
    }
}

/// A network before or after training, or one of its layers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    start: Start,
    /// Whether it is trained with the penalty.
    penalised: bool,
    /// Which of the seeds.
    network: u64,
    layers: usize,
    /// Steps done, and GD time η · steps.
    steps: usize,
    time: f64,
    /// ℓ, without the penalty.
    loss: f64,
    /// The penalty, whether it was trained with it or not.
    penalty: f64,
    /// (N Σ ‖θ_n − θ_{n−1}‖²)^½, the norm of θ' in L².
    seminorm: f64,
    /// N max_n ‖θ_{n+1} − θ_n‖.
    scaled_increment: f64,
    /// Features of the weights, as [`DepthFeatures`] names them.
    size: f64,
    first_difference: f64,
    second_difference: f64,
    variation: f64,
    primitive: f64,
    peak: f64,
    /// Layer n, of rows that show weights.
    layer: Option<usize>,
    /// The first row's second number of K_n.
    entry: Option<f64>,
}

impl Row {
    fn features(&self) -> DepthFeatures {
        DepthFeatures {
            layers: self.layers,
            size: self.size,
            first_difference: self.first_difference,
            second_difference: self.second_difference,
            largest_increment: self.scaled_increment / self.layers as f64,
            variation: self.variation,
            primitive: self.primitive,
            peak: self.peak,
        }
    }
}

#[derive(Serialize)]
pub struct Settings {
    depths: Vec<usize>,
    width: usize,
    samples: usize,
    rate: f64,
    steps: usize,
    alpha: f64,
    tau: f64,
    seeds: u64,
}

/// A training.
#[derive(Clone, Copy)]
struct Training {
    start: Start,
    penalised: bool,
    network: u64,
    layers: usize,
}

impl Scaling {
    fn trainings(&self, layers: usize) -> Vec<Training> {
        let mut all = Vec::new();
        for network in 0..self.seeds.count {
            for start in Start::ALL {
                let of = |penalised| Training { start, penalised, network, layers };
                all.extend([false, true].map(of));
            }
        }
        all
    }

    /// The samples, and what a network with other weights makes of them.
    fn data(seed: u64) -> Quadratic<f64> {
        let width = LAYER.width;
        let numbers = seed::derive(seed, 1);
        let inputs = Rows::from_fn(SAMPLES, width, |row, column| {
            seed::normal(numbers, (row * width + column) as u64)
        });
        let (layers, size) = TEACHER;
        let mut teacher = smooth(layers, seed::derive(seed, 2));
        teacher.values_mut().iter_mut().flatten().for_each(|weight| *weight *= size);
        let teacher = Flow::new(Stacked::new(LAYER, teacher), Scheme::EULER);
        let targets = teacher.forward(&inputs);
        Quadratic::data(inputs, targets)
    }

    /// Before training: all samples in one tile, so that a descent stays on its thread.
    fn begin(&self, training: &Training) -> Descent<f64, Dense> {
        let seed = seed::derive(self.seeds.first, training.network);
        let weights = training.start.weights(training.layers, seed::derive(seed, 3));
        let field = Stacked::new(LAYER, weights);
        let descent = Descent::new(Self::data(seed), field, RATE).with_tile(SAMPLES);
        if training.penalised { descent.with_penalty(ALPHA, TAU) } else { descent }
    }

    /// Rows of a training at the recorded steps, and of the layers of one that is pictured at its ends.
    fn train(&self, training: &Training) -> Result<Vec<Row>> {
        let mut descent = self.begin(training);
        let is_shown = training.network == 0 && training.layers == SHOWN;
        let mut rows = Vec::new();
        for step in RECORDED {
            let more = step - descent.steps();
            descent = descent.advance(more);
            let own = row(training, &descent)?;
            if is_shown && [0, LAST].contains(&step) {
                let of = |layer| {
                    let entry = Some(descent.control().at(0, layer)[1]);
                    Row { layer: Some(layer), entry, ..own.clone() }
                };
                rows.extend((0..training.layers).map(of));
            }
            rows.push(own);
        }
        Ok(rows)
    }
}

fn row(training: &Training, descent: &Descent<f64, Dense>) -> Result<Row> {
    let Training { start, penalised, network, layers } = *training;
    let control = descent.control();
    let features = DepthFeatures::of(&DepthStack::of_all(control)?);
    let value = |alpha, tau| -> f64 {
        let penalty = DepthPenalty { alpha, tau, depth: layers };
        control.values().iter().map(|values| penalty.value(control.nodes(), values)).sum()
    };
    Ok(Row {
        start,
        penalised,
        network,
        layers,
        steps: descent.steps(),
        time: descent.time(),
        loss: descent.loss(),
        penalty: value(ALPHA, TAU),
        seminorm: value(1.0, 0.0).sqrt(),
        scaled_increment: descent.scaled_increment(),
        size: features.size,
        first_difference: features.first_difference,
        second_difference: features.second_difference,
        variation: features.variation,
        primitive: features.primitive,
        peak: features.peak,
        layer: None,
        entry: None,
    })
}

impl Experiment for Scaling {
    type Case = usize;
    type Row = Row;
    type Settings = Settings;

    const NAME: &'static str = "scaling";

    fn title(&self) -> (Text, Text) {
        let about = format!(
            "Networks x + tanh(K x + b)/N of width {}, N = {} to {}, trained by gradient descent (rate \
             {RATE} N, {} steps) on {SAMPLES} samples of a network with other weights, from smooth, \
             independent and diffusive weights, with and without the penalty {ALPHA} (N Σ ‖θ_n − \
             θ_{{n−1}}‖² + ‖θ_0‖²). Which limit do the weights have as N grows, before and after?",
            LAYER.width,
            self.depths.first().unwrap_or(&0),
            self.depths.last().unwrap_or(&0),
            LAST,
        );
        ("Scaling with depth".into(), about.into())
    }

    fn settings(&self) -> Settings {
        Settings {
            depths: self.depths.clone(),
            width: LAYER.width,
            samples: SAMPLES,
            rate: RATE,
            steps: LAST,
            alpha: ALPHA,
            tau: TAU,
            seeds: self.seeds.count,
        }
    }

    fn cases(&self) -> Vec<usize> {
        self.depths.clone()
    }

    fn key(&self, layers: &usize) -> String {
        format!("depth {layers}")
    }

    fn measure(&self, layers: &usize, _scratch: &Path) -> Result<Vec<Row>> {
        let trainings = self.trainings(*layers);
        let rows: Vec<Vec<Row>> =
            trainings.par_iter().map(|training| self.train(training)).collect::<Result<_>>()?;
        Ok(rows.concat())
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        let shown = findings::Shown { rows, seeds: self.seeds };
        Ok(Findings { claims: shown.claims(), sections: shown.sections()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(experiment: &Scaling, rows: &[Row]) -> Vec<String> {
        let claims = experiment.findings(rows).unwrap().claims;
        claims.into_iter().filter(|claim| !claim.holds).map(|claim| claim.claim).collect()
    }

    #[test]
    fn claims_hold_on_a_tiny_size_and_fail_on_wrong_rows() {
        let experiment =
            Scaling { depths: vec![64, 128, 256], seeds: Seeds { first: 1, count: 5 } };
        let measure = |layers: &usize| experiment.measure(layers, Path::new("")).unwrap();
        let good: Vec<Row> = experiment.depths.iter().flat_map(measure).collect();
        assert_eq!(failing(&experiment, &good), [""; 0]);

        let wrong = |which: fn(&Row) -> bool, change: fn(&mut Row)| {
            let mut rows = good.clone();
            rows.iter_mut().filter(|row| row.steps > 0 && which(row)).for_each(change);
            failing(&experiment, &rows)
        };
        // Regime and exponent of each of the three starts.
        let rough = wrong(|row| row.penalised, |row| row.second_difference = 1.0);
        assert_eq!(rough.len(), 6, "{rough:?}");
        let steep = wrong(|row| row.penalised, |row| row.scaled_increment *= row.layers as f64);
        // And steeper than without the penalty.
        assert_eq!(steep.len(), 4, "{steep:?}");
        let wild = wrong(|row| row.penalised, |row| row.seminorm *= row.layers as f64);
        assert_eq!(wild.len(), 3, "{wild:?}");
        // Regime and exponent.
        let is_smooth = |row: &Row| row.start == Start::Smooth && !row.penalised;
        let broken = wrong(is_smooth, |row| row.second_difference = 1.0);
        assert_eq!(broken.len(), 2, "{broken:?}");
        // The exponents early and late.
        let fast = wrong(is_smooth, |row| row.scaled_increment *= row.layers as f64);
        assert_eq!(fast.len(), 2, "{fast:?}");
        // Regime, exponent, and the roughness that is kept.
        let is_independent = |row: &Row| row.start == Start::Independent && !row.penalised;
        let smoothed =
            wrong(is_independent, |row| row.second_difference = (row.layers as f64).powi(-2));
        assert_eq!(smoothed.len(), 3, "{smoothed:?}");
        // One seed of five has another regime; its exponent widens the interval.
        let one = wrong(|row| row.penalised && row.network == 3, |row| row.second_difference = 1.0);
        assert_eq!(one.len(), 6, "{one:?}");
        // Two exponents, and the loss beside that without the penalty.
        let deep = wrong(|row| row.penalised, |row| row.loss *= row.layers as f64);
        assert_eq!(deep.len(), 4, "{deep:?}");
        let all = experiment.findings(&[]).unwrap().claims.len();
        assert_eq!(failing(&experiment, &[]).len(), all, "nothing measured is no success");
    }

    #[test]
    fn the_starts_are_what_they_are_called() {
        for start in Start::ALL {
            let [coarse, fine] = [64, 128].map(|layers| start.weights(layers, 5));
            let ratio = fine.largest_increment() / coarse.largest_increment();
            let expected = match start {
                Start::Smooth => 0.5,
                Start::Independent => 1.0,
                Start::Diffusive => 2f64.sqrt(),
            };
            // The largest of twice as many increments is larger by some percent.
            assert!((0.98..1.2).contains(&(ratio / expected)), "{start:?}: {ratio}");
            // The function is the same at every depth, sampled at n/N.
            let gap = coarse.depth_distance(&fine).at_nodes;
            assert_eq!(gap == 0.0, start == Start::Smooth, "{start:?}: {gap}");
        }
    }
}
