//! Implicit regularisation, with its constant (Marion, Wu, Sander, Biau, ICLR 2024, arXiv 2309.01213).
//!
//! ```text
//! x_{k+1} = x_k + (1/L) M^{−½} V_k σ(d^{−½} W_k x_k),   V = 0 and all W_k equal at the start
//! (V, W) ← (V, W) − η L ∂ℓ/∂(V, W),   ℓ = (1/n) Σ ‖x_L − y‖²
//! ```
//!
//! Gradient descent keeps weights smooth over depth, though nothing asks for it: they have a limit, the loss falls
//! exponentially at a rate that does not depend on L, and weights that start rough, or whose activation has a
//! kink, are not smooth after training.

mod findings;
mod training;

use super::{Experiment, Findings, Size, or_infinite};
use crate::page::Text;
use anyhow::Result;
use deeplimit::control::Control;
use deeplimit::kernel::Activation;
use deeplimit::seed;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::OnceLock;
use training::Network;

/// Steps at which a descent on Gaussian samples is recorded.
const RECORDED: [usize; 6] = [0, 4, 8, 16, 32, 64];

/// n of the paper's size, and n ≤ M/2, with which every target can be met.
const SAMPLES: [usize; 2] = [100, 16];

/// Samples of a tile: the deepest descent takes two threads.
const TILE: usize = 50;

/// Digits, and the steps on them.
const DIGITS: usize = 50;
const STEPS: usize = 100;

/// The experiment.
pub struct Regularisation {
    /// L of the descents.
    depths: Vec<usize>,
    /// L of the network that stands for the limit.
    deepest: usize,
    /// L of the networks that learn digits.
    rough: Vec<usize>,
    seed: u64,
    /// How descents on Gaussian samples start: repeated, but for a control in which the claims are false.
    start: Start,
    /// Weights of the deepest network at the recorded steps.
    reference: OnceLock<Result<Vec<Control<f64>>, String>>,
}

/// W before training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// The same in all layers.
    Repeated,
    /// Of every layer by itself.
    Independent,
}

impl Start {
    const ALL: [Self; 2] = [Self::Repeated, Self::Independent];

    fn name(self) -> &'static str {
        match self {
            Self::Repeated => "repeated",
            Self::Independent => "independent",
        }
    }
}

/// What is learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    Gaussian,
    Digits,
}

#[derive(Clone, Copy)]
pub enum Case {
    /// A descent on so many Gaussian samples, of so many layers.
    Gaussian(usize, usize),
    /// Descents on digits of all depths.
    Digits(Start, Activation),
}

/// A network after some steps. All numbers are without units.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    task: Task,
    samples: usize,
    start: Start,
    activation: Activation,
    layers: usize,
    steps: usize,
    /// t = η · steps.
    time: f64,
    #[serde(deserialize_with = "or_infinite")]
    loss: f64,
    /// ‖∇ℓ‖²/ℓ, the rate at which gradient flow lowers ln ℓ.
    #[serde(deserialize_with = "or_infinite")]
    constant: f64,
    /// max_s ‖Z(s) − Z_deep(s)‖ over all numbers of a layer.
    distance: Option<f64>,
    /// max ‖W_{k+1} − W_k‖, and its root mean square.
    #[serde(deserialize_with = "or_infinite")]
    largest_increment: f64,
    #[serde(deserialize_with = "or_infinite")]
    increment: f64,
}

#[derive(Serialize)]
pub struct Settings {
    depths: Vec<usize>,
    deepest: usize,
    digits_depths: Vec<usize>,
    digits: usize,
    digits_steps: usize,
    width: usize,
    hidden: usize,
    rate: f64,
}

impl Regularisation {
    /// The sizes of the command line.
    pub fn new(size: Size, seed: u64) -> Self {
        let powers = |from: u32, to: u32| (from..=to).map(|power| 1 << power).collect();
        Self {
            depths: powers(1, size.pick(6, 8)),
            deepest: size.pick(1 << 9, 1 << 10),
            rough: powers(5, size.pick(8, 9)),
            seed,
            start: Start::Repeated,
            reference: OnceLock::new(),
        }
    }

    /// A descent on Gaussian samples, and its weights at the recorded steps.
    fn descend(&self, samples: usize, layers: usize) -> Result<(Vec<Row>, Vec<Control<f64>>)> {
        let loss = training::loss(Task::Gaussian, samples, seed::derive(self.seed, 0))?;
        let own = seed::derive(self.seed, 1);
        let mut network = Network::start(self.start, Activation::Gelu, layers, TILE, own);
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        let mut done = 0;
        for steps in RECORDED {
            for _ in done..steps {
                network = network.step(&loss);
            }
            done = steps;
            let seen = network.look(&loss);
            let row = self.row(Task::Gaussian, (samples, self.start, Activation::Gelu), &network);
            rows.push(row.at(steps, &seen));
            weights.push(network.control().clone());
        }
        Ok((rows, weights))
    }

    fn row(
        &self,
        task: Task,
        (samples, start, activation): (usize, Start, Activation),
        network: &Network,
    ) -> Row {
        let [largest_increment, increment] = training::increments(network.control());
        Row {
            task,
            samples,
            start,
            activation,
            layers: network.control().nodes(),
            steps: 0,
            time: 0.0,
            loss: f64::NAN,
            constant: f64::NAN,
            distance: None,
            largest_increment,
            increment,
        }
    }

    /// The weights of the deepest network at the recorded steps, on the paper's number of samples.
    fn reference(&self) -> Result<&[Control<f64>]> {
        let found = self.reference.get_or_init(|| {
            let found = self.descend(SAMPLES[0], self.deepest);
            found.map(|(_, weights)| weights).map_err(|error| format!("{error:#}"))
        });
        found.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    fn gaussian(&self, samples: usize, layers: usize) -> Result<Vec<Row>> {
        let (mut rows, weights) = self.descend(samples, layers)?;
        if samples == SAMPLES[0] {
            for ((row, own), deep) in rows.iter_mut().zip(&weights).zip(self.reference()?) {
                row.distance = Some(own.depth_distance(deep).largest);
            }
        }
        Ok(rows)
    }

    fn digits(&self, start: Start, activation: Activation, layers: usize) -> Result<Vec<Row>> {
        let loss = training::loss(Task::Digits, DIGITS, seed::derive(self.seed, 2))?;
        let own = seed::derive(self.seed, 3);
        let mut network = Network::start(start, activation, layers, DIGITS, own);
        let row = |network: &Network, steps: usize| {
            let row = self.row(Task::Digits, (DIGITS, start, activation), network);
            row.at(steps, &network.look(&loss))
        };
        let first = row(&network, 0);
        for _ in 0..STEPS {
            network = network.step(&loss);
        }
        Ok(vec![first, row(&network, STEPS)])
    }
}

impl Row {
    fn at(self, steps: usize, seen: &training::Seen) -> Self {
        let time = training::RATE * steps as f64;
        Self { steps, time, loss: seen.loss, constant: seen.constant, ..self }
    }
}

impl Experiment for Regularisation {
    type Case = Case;
    type Row = Row;
    type Settings = Settings;

    const NAME: &'static str = "regularisation";

    fn title(&self) -> (Text, Text) {
        let about = format!(
            "Networks x + V σ(W x)/L of width {} with {} hidden units, with V = 0 and the same W in all layers at the \
             start, trained by gradient descent. Do the weights stay a smooth function of depth, how near are they to \
             those of {} layers, and does the loss fall at a rate that does not depend on the depth?",
            training::WIDTH,
            training::HIDDEN,
            self.deepest
        );
        ("Implicit regularisation".into(), about.into())
    }

    fn settings(&self) -> Settings {
        Settings {
            depths: self.depths.clone(),
            deepest: self.deepest,
            digits_depths: self.rough.clone(),
            digits: DIGITS,
            digits_steps: STEPS,
            width: training::WIDTH,
            hidden: training::HIDDEN,
            rate: training::RATE,
        }
    }

    fn cases(&self) -> Vec<Case> {
        let gaussian = SAMPLES.into_iter().flat_map(|samples| {
            self.depths.iter().map(move |&layers| Case::Gaussian(samples, layers))
        });
        let digits = Start::ALL.into_iter().flat_map(|start| {
            [Activation::Gelu, Activation::Relu].map(|activation| Case::Digits(start, activation))
        });
        gaussian.chain(digits).collect()
    }

    fn key(&self, case: &Case) -> String {
        match case {
            Case::Gaussian(samples, layers) => format!("{samples} samples, {layers} layers"),
            Case::Digits(start, activation) => {
                format!("digits, {} start, {activation}", start.name())
            }
        }
    }

    fn measure(&self, case: &Case, _scratch: &Path) -> Result<Vec<Row>> {
        match *case {
            Case::Gaussian(samples, layers) => self.gaussian(samples, layers),
            Case::Digits(start, activation) => {
                // The deepest first, so that threads end together.
                let depths = self.rough.par_iter().rev();
                let all = depths.map(|&layers| self.digits(start, activation, layers));
                let mut all = all.collect::<Result<Vec<_>>>()?;
                all.reverse();
                Ok(all.concat())
            }
        }
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        let shown = findings::Shown { rows };
        Ok(Findings { claims: shown.claims(), sections: shown.sections()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny(start: Start) -> Regularisation {
        Regularisation {
            depths: vec![2, 4, 8, 16, 32],
            deepest: 256,
            rough: vec![64, 128, 256],
            start,
            ..Regularisation::new(Size::Quick, 1)
        }
    }

    fn rows(experiment: &Regularisation) -> Vec<Row> {
        let measure = |case: &Case| experiment.measure(case, Path::new("")).expect("rows");
        experiment.cases().iter().flat_map(measure).collect()
    }

    fn failing(experiment: &Regularisation, rows: &[Row]) -> Vec<String> {
        let claims = experiment.findings(rows).expect("findings").claims;
        claims.into_iter().filter(|claim| !claim.holds).map(|claim| claim.claim).collect()
    }

    #[test]
    fn claims_hold_on_a_tiny_size_and_fail_for_another_start_and_other_rows() {
        let experiment = tiny(Start::Repeated);
        let good = rows(&experiment);
        assert_eq!(failing(&experiment, &good), [""; 0]);
        // Weights that start independently have no limit.
        let independent = tiny(Start::Independent);
        let failed = failing(&independent, &rows(&independent));
        assert!(failed.iter().any(|claim| claim.contains("falls like 1/L")), "{failed:?}");
        let changed = |change: fn(&mut Row)| {
            let mut rows = good.clone();
            rows.iter_mut().for_each(change);
            failing(&experiment, &rows)
        };
        let dependent = changed(|row| row.constant /= (row.layers as f64).sqrt());
        assert!(
            dependent.iter().any(|claim| claim.contains("does not depend on L")),
            "{dependent:?}"
        );
        // The rate and the two ends.
        let still = changed(|row| row.loss = 1.0);
        assert_eq!(still.len(), 3, "{still:?}");
        let smooth = changed(|row| row.largest_increment = 1.0 / row.layers as f64);
        assert_eq!(smooth.len(), 3, "{smooth:?}");
        let rough = changed(|row| row.largest_increment = 1.0);
        assert_eq!(rough.len(), 1, "{rough:?}");
        let all = experiment.findings(&[]).expect("findings").claims.len();
        assert_eq!(failing(&experiment, &[]).len(), all, "nothing measured is no success");
    }

    #[test]
    fn steps_lower_the_loss_as_gradient_flow_does() {
        let loss = training::loss(Task::Gaussian, 8, 1).expect("a loss");
        let start = Network::start(Start::Repeated, Activation::Gelu, 4, 8, 2);
        // Where W is trained, too.
        let before = (0..4).fold(start, |network, _| network.step(&loss));
        let seen = before.look(&loss);
        let after = before.step(&loss).look(&loss);
        let expected = (-seen.constant * training::RATE).exp();
        let found = after.loss / seen.loss;
        assert!((found.ln() / expected.ln() - 1.0).abs() < 0.2, "{found} {expected}");
    }
}
