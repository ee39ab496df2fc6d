//! Independent starts have one limit: the mean ODE (Chizat 2025, arXiv 2509.10167).
//!
//! ```text
//! x_{l+1} = x_l + (α/(L M)) V_l tanh(W_l x_l),   ℓ = (1/S) Σ ‖x_L − y‖²
//! (V, W) ← (V, W) − η L M ∂ℓ/∂(V, W),   η = η₀/α²
//! ```
//!
//! Every number of V_l `[d, M]` and W_l `[M, d]` is drawn by itself, so the weights have no limit as functions of
//! depth. The outputs have one: two draws differ by 1/√(L M), and are 1/L + 1/√(L M) from the mean ODE, before
//! training and after. For a large α the training is lazy: the weights hardly move.

mod findings;

use super::{Experiment, Findings, Size};
use crate::page::Text;
use anyhow::Result;
use deeplimit::control::Control;
use deeplimit::field::{Layer, Mlp, Stacked};
use deeplimit::kernel::Activation;
use deeplimit::objective::descent::Quadratic;
use deeplimit::{Flow, Rows, Scheme, State, seed};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::OnceLock;

/// d.
const WIDTH: usize = 4;

const SAMPLES: usize = 16;

/// η₀.
const RATE: f64 = 0.1;

/// Steps of gradient descent.
const STEPS: usize = 40;

/// M of the networks that are compared over depth, L of those over width.
const HIDDEN: usize = 4;
const LAYERS: usize = 32;

/// L and M of the networks that are compared over α: the layers together move the state by α/√(L M) at the start,
/// which must stay small.
const LAZY: [usize; 2] = [64, 64];

/// M of the deep network that stands for the mean ODE.
const REFERENCE_HIDDEN: usize = 64;

/// The experiment.
pub struct MeanOde {
    /// L, at M = [`HIDDEN`].
    depths: Vec<usize>,
    /// M, at L = [`LAYERS`].
    widths: Vec<usize>,
    /// L = M.
    squares: Vec<usize>,
    /// α, of networks of size [`LAZY`].
    scales: Vec<f64>,
    /// L of the network that stands for the mean ODE.
    deepest: usize,
    /// Pairs of draws of each network.
    pairs: usize,
    seed: u64,
    /// The sum of layers is divided by L to this power: 1, but for a control in which the claims are false.
    power: f64,
    /// Outputs of the network that stands for the mean ODE, before and after training.
    reference: OnceLock<[Rows<f64>; 2]>,
}

/// Which networks are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Of growing depth.
    Depth,
    /// Of growing width.
    Width,
    /// As wide as they are deep.
    Square,
    /// Of growing α.
    Scale,
}

/// Networks of one size.
#[derive(Clone, Copy)]
pub struct Case {
    part: Part,
    layers: usize,
    hidden: usize,
    scale: f64,
}

/// Two draws of a network. All numbers are without units.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    part: Part,
    layers: usize,
    hidden: usize,
    scale: f64,
    /// Which two draws.
    pair: usize,
    /// Steps done.
    steps: usize,
    /// ℓ, the mean of the two.
    loss: f64,
    /// The root mean square difference of an output between the two.
    difference: f64,
    /// The same between a draw and the mean ODE, the root of the mean square over both; at α = 1.
    to_ode: Option<f64>,
    /// The root mean square difference of an output from its input.
    travel: f64,
    /// ‖W − W₀‖ / ‖W₀‖, the mean of the two.
    motion: f64,
}

#[derive(Serialize)]
pub struct Settings {
    depths: Vec<usize>,
    widths: Vec<usize>,
    squares: Vec<usize>,
    scales: Vec<f64>,
    deepest: usize,
    pairs: usize,
    width: usize,
    samples: usize,
    rate: f64,
    steps: usize,
}

impl MeanOde {
    /// The sizes of the command line.
    pub fn new(size: Size, seed: u64) -> Self {
        let powers =
            |from: u32, to: u32| (from..=to).map(|power| 1 << power).collect::<Vec<usize>>();
        Self {
            depths: powers(4, size.pick(8, 10)),
            widths: powers(1, size.pick(6, 8)),
            squares: powers(2, size.pick(5, 6)),
            scales: (0..=4).map(|power| f64::from(1 << power)).collect(),
            deepest: size.pick(1 << 11, 1 << 14),
            pairs: size.pick(8, 16),
            seed,
            power: 1.0,
            reference: OnceLock::new(),
        }
    }

    /// x ~ N(0, I) and y = x + ½ tanh(A x).
    fn loss(&self) -> Quadratic<f64> {
        let [inputs, matrix] = [0, 1].map(|part| seed::derive(self.seed, part));
        let x = |row: usize, column: usize| seed::normal(inputs, (row * WIDTH + column) as u64);
        let y = |row: usize, column: usize| {
            let a = |other: usize| seed::normal(matrix, (column * WIDTH + other) as u64);
            let sum: f64 = (0..WIDTH).map(|other| a(other) * x(row, other)).sum();
            x(row, column) + 0.5 * sum.tanh()
        };
        Quadratic::data(Rows::from_fn(SAMPLES, WIDTH, x), Rows::from_fn(SAMPLES, WIDTH, y))
    }

    /// A network as it is drawn. V is kept as (α/M) V.
    fn draw(&self, case: &Case, draw: u64) -> Flow<Stacked<f64, Mlp>> {
        let Case { layers, hidden, scale, .. } = *case;
        let layer = Mlp { width: WIDTH, hidden, activation: Activation::Tanh };
        let size = [layers, hidden]
            .iter()
            .fold(seed::derive(self.seed, 2), |seed, part| seed::derive(seed, *part as u64));
        let own = seed::derive(size, draw);
        let factor = (layers as f64).powf(1.0 - self.power) * scale / hidden as f64;
        let values = |(kind, factor): (u64, f64)| {
            let seed = seed::derive(own, kind);
            (0..layers * hidden * WIDTH).map(|i| factor * seed::normal(seed, i as u64)).collect()
        };
        let [w, v] = [(0, 1.0), (1, factor)].map(values);
        let values = vec![w, vec![0.0; layers * hidden], v, vec![0.0; layers * WIDTH]];
        let control = Control::new(Layer::<f64>::kinds(&layer), layers, values);
        Flow::new(Stacked::new(layer, control), Scheme::EULER).with_tile(SAMPLES)
    }

    /// A network and what its training makes of it.
    fn trained(&self, case: &Case, draw: u64) -> [Flow<Stacked<f64, Mlp>>; 2] {
        let (loss, start) = (self.loss(), self.draw(case, draw));
        let Case { layers, hidden, scale, .. } = *case;
        let per_layer = RATE / scale.powi(2) * layers as f64;
        // Of W, and of (α/M) V.
        let rates =
            [(0, per_layer * hidden as f64), (2, per_layer * scale.powi(2) / hidden as f64)];
        let mut flow = start.clone();
        for _ in 0..STEPS {
            let (_, gradient) = loss.gradient(&flow);
            flow = flow.update(|field| {
                for (kind, rate) in rates {
                    let weights = field.control_mut().values_mut()[kind].iter_mut();
                    let pairs = weights.zip(gradient.values()[kind].iter());
                    pairs.for_each(|(weight, slope)| *weight -= rate * slope);
                }
            });
        }
        [start, flow]
    }

    /// Outputs of the mean ODE before and after training.
    fn reference(&self) -> &[Rows<f64>; 2] {
        self.reference.get_or_init(|| {
            let (layers, hidden) = (self.deepest, REFERENCE_HIDDEN);
            let case = Case { part: Part::Depth, layers, hidden, scale: 1.0 };
            self.trained(&case, 0).map(|flow| flow.forward(self.loss().inputs()))
        })
    }

    /// Both times of two draws.
    fn pair(&self, case: &Case, pair: usize) -> Vec<Row> {
        let loss = self.loss();
        let draws = [2 * pair, 2 * pair + 1].map(|draw| self.trained(case, draw as u64));
        let rows = [0, STEPS].into_iter().enumerate().map(|(time, steps)| {
            let outputs = [0, 1].map(|draw| draws[draw][time].forward(loss.inputs()));
            let mean = |of: [f64; 2]| 0.5 * (of[0] + of[1]);
            let to = |other: &Rows<f64>| {
                mean([0, 1].map(|draw| root_mean_square(&outputs[draw], other).powi(2))).sqrt()
            };
            let at_one = (case.scale == 1.0).then(|| to(&self.reference()[time]));
            Row {
                part: case.part,
                layers: case.layers,
                hidden: case.hidden,
                scale: case.scale,
                pair,
                steps,
                loss: mean([0, 1].map(|draw| loss.loss(&draws[draw][time]))),
                difference: root_mean_square(&outputs[0], &outputs[1]),
                to_ode: at_one,
                travel: to(loss.inputs()),
                motion: mean([0, 1].map(|draw| motion(&draws[draw][0], &draws[draw][time]))),
            }
        });
        rows.collect()
    }
}

fn root_mean_square(a: &Rows<f64>, b: &Rows<f64>) -> f64 {
    (a.distance_squared(b) / (a.rows() * a.width()) as f64).sqrt()
}

/// ‖W − W₀‖ / ‖W₀‖.
fn motion(start: &Flow<Stacked<f64, Mlp>>, end: &Flow<Stacked<f64, Mlp>>) -> f64 {
    let [start, end] = [start, end].map(|flow| &flow.field().control().values()[0]);
    let moved: f64 = start.iter().zip(end.iter()).map(|(a, b)| (a - b).powi(2)).sum();
    (moved / start.iter().map(|a| a * a).sum::<f64>()).sqrt()
}

impl Experiment for MeanOde {
    type Case = Case;
    type Row = Row;
    type Settings = Settings;

    const NAME: &'static str = "mean-ode";

    fn title(&self) -> (Text, Text) {
        let about = format!(
            "Networks x + (α/(L M)) V tanh(W x) of width {WIDTH} whose layers are drawn independently of each \
             other, {STEPS} steps of gradient descent on {SAMPLES} samples. The weights have no limit as the \
             depth L grows; have the outputs one? Two draws, and a network of {} layers with M = \
             {REFERENCE_HIDDEN} in place of the mean ODE.",
            self.deepest
        );
        ("The mean ODE of independent layers".into(), about.into())
    }

    fn settings(&self) -> Settings {
        Settings {
            depths: self.depths.clone(),
            widths: self.widths.clone(),
            squares: self.squares.clone(),
            scales: self.scales.clone(),
            deepest: self.deepest,
            pairs: self.pairs,
            width: WIDTH,
            samples: SAMPLES,
            rate: RATE,
            steps: STEPS,
        }
    }

    fn cases(&self) -> Vec<Case> {
        let of = |part, layers, hidden, scale| Case { part, layers, hidden, scale };
        let depths = self.depths.iter().map(|&layers| of(Part::Depth, layers, HIDDEN, 1.0));
        let widths = self.widths.iter().map(|&hidden| of(Part::Width, LAYERS, hidden, 1.0));
        let squares = self.squares.iter().map(|&side| of(Part::Square, side, side, 1.0));
        let [layers, hidden] = LAZY;
        let scales = self.scales.iter().map(|&scale| of(Part::Scale, layers, hidden, scale));
        depths.chain(widths).chain(squares).chain(scales).collect()
    }

    fn key(&self, case: &Case) -> String {
        let Case { part, layers, hidden, scale } = case;
        format!("{part:?}: {layers} layers, {hidden} units, α = {scale}").to_lowercase()
    }

    fn measure(&self, case: &Case, _scratch: &Path) -> Result<Vec<Row>> {
        if case.scale == 1.0 {
            // On all threads, before they are taken by pairs that would wait for it.
            self.reference();
        }
        Ok((0..self.pairs).into_par_iter().flat_map_iter(|pair| self.pair(case, pair)).collect())
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        let shown = findings::Shown { rows };
        Ok(Findings { claims: shown.claims(), sections: shown.sections()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny(power: f64) -> MeanOde {
        MeanOde {
            depths: vec![16, 64, 256],
            widths: vec![4, 16, 64],
            squares: vec![4, 8, 16, 32],
            scales: vec![1.0, 4.0, 16.0],
            deepest: 1024,
            power,
            ..MeanOde::new(Size::Quick, 1)
        }
    }

    fn rows(experiment: &MeanOde) -> Vec<Row> {
        let measure = |case: &Case| experiment.measure(case, Path::new("")).unwrap();
        experiment.cases().iter().flat_map(measure).collect()
    }

    fn failing(experiment: &MeanOde, rows: &[Row]) -> Vec<String> {
        let claims = experiment.findings(rows).unwrap().claims;
        claims.into_iter().filter(|claim| !claim.holds).map(|claim| claim.claim).collect()
    }

    #[test]
    fn claims_hold_on_a_tiny_size_and_not_for_a_sum_divided_by_the_root_of_its_layers() {
        let experiment = tiny(1.0);
        let good = rows(&experiment);
        assert_eq!(failing(&experiment, &good), [""; 0]);
        // The outputs then have a limit in distribution only: two draws stay apart at any depth.
        let diffusive = tiny(0.5);
        let failed = failing(&diffusive, &rows(&diffusive));
        for part in
            ["two draws, over depth, before training", "to the mean ODE, over depth, before"]
        {
            assert!(failed.iter().any(|claim| claim.contains(part)), "{part}: {failed:?}");
        }
        let still = |change: fn(&mut Row)| {
            let mut rows = good.clone();
            rows.iter_mut().for_each(change);
            failing(&experiment, &rows)
        };
        // A training that does not move the outputs would say nothing of trained networks.
        let untrained = still(|row| {
            row.loss = 1.0;
            row.motion = 0.0;
        });
        assert_eq!(untrained.len(), 2, "{untrained:?}");
        let all = experiment.findings(&[]).unwrap().claims.len();
        assert_eq!(failing(&experiment, &[]).len(), all, "nothing measured is no success");
    }
}
