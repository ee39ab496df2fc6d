//! Figure 4 of Sander, Ablin, Peyré (2022, section 5): test error over depth of residual and Heun networks,
//! trained with backprop and with their adjoint method, and here with `adjoint-adaptive`, too.
//!
//! The deepest networks that backprop has trained are resampled to other depths, as for figure 3c: see
//! [`resampled`].
//!
//! Network and training are those of the paper's code, but for what follows. Where the folder
//! has no batch of test images, the last 5000 training images stand in for it. Convolutions in front of a batch
//! normalisation have no bias, which it would take away. The rate falls after 30 and 60 epochs, there after 31
//! and 61. An epoch has whole batches only, and running statistics move once a step.

mod findings;
mod network;
pub mod resampled;

use super::training::{self, Course};
use crate::experiment::{Experiment, Findings, Seeds, Size, or_infinite};
use crate::page::Text;
use anyhow::{Context, Result, bail, ensure};
use deeplimit::{Method, Scheme};
use deeplimit_nn::data::{Batch, Options, Splits, batch};
use deeplimit_nn::network::Network;
use deeplimit_nn::train::{Config, Trainer};
pub use network::{FROZEN, PUBLISHED, Training, WITHIN, images};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Gradient methods that train: the exact one, the paper's, and the project's.
const METHODS: [&str; 3] = ["backprop", PUBLISHED, ADAPTIVE];
const ADAPTIVE: &str = "adjoint-adaptive";

/// No training: the deepest network of backprop with its functions repeated or left out.
const RESAMPLED: &str = "resampled";

const SCHEMES: [Scheme; 2] = [Scheme::EULER, Scheme::HEUN];

/// Depths of the resampled networks over that of the trained one, whose 32 functions become 4 to 64.
const RESAMPLED_TO: [(usize, usize); 5] = [(1, 8), (1, 4), (1, 2), (1, 1), (2, 1)];

/// Epochs of the paper.
const EPOCHS: usize = 90;

/// The trainings of the figure.
pub struct Paper {
    splits: Splits,
    options: Options,
    /// Depths of all methods ([`WITHIN`] at the first two), and the greatest one, without `adjoint-adaptive`.
    depths: (Vec<usize>, usize),
    /// Depths and methods that are measured now; none stands for all.
    only: (Vec<usize>, Vec<String>),
    epochs: usize,
    /// The seeds, from the first on.
    seeds: Seeds,
}

/// What is asked for.
pub struct Asked<'a> {
    /// Folder of CIFAR-10's binary batches.
    pub data: PathBuf,
    pub size: Size,
    pub epochs: Option<usize>,
    /// Only these depths; all where none is named.
    pub depths: &'a [usize],
    /// Only these methods; all where none is named.
    pub methods: &'a [String],
    /// The first seed, and how many.
    pub seed: u64,
    pub seeds: Option<u64>,
}

/// One training.
pub struct Case {
    seed: u64,
    scheme: Scheme,
    /// Residual functions.
    depth: usize,
    method: &'static str,
}

/// One training, and the gradients at its end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    seed: u64,
    scheme: String,
    /// Residual functions N.
    depth: usize,
    /// The method that trained; or that nothing did, but the deepest network of backprop is resampled.
    method: String,
    /// Whole epochs.
    epochs: usize,
    /// Whether loss or gradient left the numbers, with which the training ended.
    diverged: bool,
    /// Share of the held-out images that are classified wrongly after the last epoch, in per cent.
    test_error: f64,
    /// The lowest such share after any epoch, as the paper has it.
    best_error: f64,
    /// Share of the last epoch's training images, on the way.
    train_error: f64,
    /// Their mean loss.
    #[serde(deserialize_with = "or_infinite")]
    train_loss: f64,
    /// Median over the last epoch of the gradient's error estimate; 0 for exact methods.
    #[serde(deserialize_with = "or_infinite")]
    certificate: f64,
    /// Seconds of the training.
    seconds: f64,
    /// At the trained weights, on 256 training images: relative error of the flow's gradient by
    /// `adjoint-published`, and its estimate. Nothing where they are no numbers.
    published_error: Option<f64>,
    published_estimate: Option<f64>,
    /// By `adjoint-adaptive`.
    adaptive_error: Option<f64>,
    adaptive_estimate: Option<f64>,
}

#[derive(Serialize)]
pub struct Settings {
    epochs: usize,
    training_images: usize,
    held_out_images: usize,
}

impl Paper {
    /// Reads the images.
    ///
    /// # Errors
    /// If the folder does not hold CIFAR-10, or a depth, a method or a number of seeds cannot be.
    pub fn new(asked: Asked<'_>) -> Result<Self> {
        let Asked { data, size, epochs, depths, methods, seed, seeds } = asked;
        ensure!(epochs != Some(0), "--epochs 0 is out of range, expected at least 1");
        ensure!(seeds != Some(0), "--seeds 0 is out of range, expected at least 1");
        let all = size.pick((vec![2, 4], 8), (vec![2, 4, 8, 16], 32));
        let is_there = |depth: &usize| all.0.contains(depth) || all.1 == *depth;
        if let Some(depth) = depths.iter().find(|depth| !is_there(depth)) {
            bail!("--depth {depth} is not in the sweep; its depths are {:?} and {}", all.0, all.1);
        }
        let known = |name: &str| [WITHIN, FROZEN].contains(&name) || METHODS.contains(&name);
        if let Some(name) = methods.iter().find(|name| !known(name)) {
            let known = METHODS.join(", ");
            bail!("--method {name} is not in the sweep; known are {known}, {WITHIN:?}, {FROZEN:?}");
        }
        let options = images(data, size.pick(Some(5_120), None), size.pick(Some(1_000), None));
        Ok(Self {
            splits: deeplimit_nn::data::load(&options)?,
            options,
            depths: all,
            only: (depths.to_vec(), methods.to_vec()),
            epochs: epochs.unwrap_or(size.pick(2, EPOCHS)),
            seeds: Seeds { first: seed, count: seeds.unwrap_or(size.pick(1, 4)) },
        })
    }

    fn config(&self, case: &Case) -> Config {
        let Case { seed, scheme, depth, method } = case;
        let (options, epochs) = (&self.options, self.epochs);
        let training = Training {
            options,
            seed: *seed,
            scheme,
            depth: *depth,
            method,
            epochs,
            zero_start: true,
            fast: false,
        };
        training.config()
    }
}

impl Experiment for Paper {
    type Case = Case;
    type Row = Row;
    type Settings = Settings;

    const NAME: &'static str = "depth-sweep-paper";
    const AS_IT_GOES: bool = true;

    fn title(&self) -> (Text, Text) {
        let about = "Figure 4 of Sander, Ablin, Peyré (2022) with the network and the training of their code: \
                     residual (Euler) and Heun networks of N residual functions, all of which start at 0, \
                     trained with backprop, with the adjoint method of the paper (adjoint-published), and with \
                     adjoint-adaptive. Is a network as good without stored activations, and from which depth on?";
        ("CIFAR-10 over depth: the paper's network".into(), about.into())
    }

    fn settings(&self) -> Settings {
        Settings {
            epochs: self.epochs,
            training_images: self.splits.train.len(),
            held_out_images: self.splits.test.as_ref().map_or(0, |test| test.len()),
        }
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for seed in self.seeds.all() {
            let case = |scheme: &Scheme, depth, method| Case {
                seed,
                scheme: scheme.clone(),
                depth,
                method,
            };
            // Functions that stay 0 make the same network of any depth.
            cases.push(case(&Scheme::EULER, self.depths.0[0], FROZEN));
            let (all, deepest) = &self.depths;
            for (index, depth) in all.iter().chain([deepest]).enumerate() {
                for scheme in &SCHEMES {
                    let mut methods = METHODS.to_vec();
                    match depth == deepest {
                        true => methods.retain(|method| *method != ADAPTIVE),
                        false if index < 2 => methods.push(WITHIN),
                        false => {}
                    }
                    cases.extend(methods.into_iter().map(|method| case(scheme, *depth, method)));
                }
            }
        }
        cases
    }

    fn wanted(&self, case: &Case) -> bool {
        let (depths, methods) = &self.only;
        (depths.is_empty() || depths.contains(&case.depth))
            && (methods.is_empty() || methods.iter().any(|method| method == case.method))
    }

    fn key(&self, case: &Case) -> String {
        let Case { seed, scheme, depth, method } = case;
        format!("seed {seed} {} depth {depth} {method}", scheme.name())
    }

    fn measure(&self, case: &Case, scratch: &Path) -> Result<Vec<Row>> {
        let mut trainer = Trainer::with_splits(self.config(case), self.splits.clone())?;
        let course = Course::of(&mut trainer, &scratch.join(self.key(case).replace(' ', "-")))?;
        let samples = &self.splits.train;
        let indices: Vec<u32> = (0..256.min(samples.len() as u32)).collect();
        let probed = batch(samples, &indices, &self.splits.normalisation, None)?;
        let row = Row {
            seed: case.seed,
            scheme: case.scheme.name().to_owned(),
            depth: case.depth,
            method: case.method.to_owned(),
            epochs: course.epochs,
            diverged: course.diverged,
            test_error: course.test_error,
            best_error: course.best_error,
            train_error: course.train_error,
            train_loss: course.train_loss,
            certificate: course.certificate,
            seconds: course.seconds,
            ..Row::default()
        };
        let mut rows = vec![row.probed(trainer.network(), &probed)?];
        if case.method == METHODS[0] && case.depth == self.depths.1 {
            let depths = RESAMPLED_TO.map(|(over, under)| case.depth * over / under);
            // One function has no Heun step.
            for depth in depths.into_iter().filter(|depth| *depth > 1) {
                let config = self.config(&Case { depth, scheme: case.scheme.clone(), ..*case });
                let mut other = Trainer::with_splits(config, self.splits.clone())?;
                resampled::take(&mut other, trainer.network())?;
                let test_error = training::error(&other.test()?.context("no held-out images")?);
                let row = Row {
                    depth,
                    method: RESAMPLED.to_owned(),
                    test_error,
                    best_error: test_error,
                    ..rows[0].clone()
                };
                rows.push(row.probed(other.network(), &probed)?);
            }
        }
        Ok(rows)
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        let figure = findings::Figure4 { rows, epochs: self.epochs };
        Ok(Findings { claims: figure.claims(), sections: figure.sections()? })
    }
}

impl Row {
    /// With errors and estimates of the gradients of a network.
    fn probed(self, network: &Network, batch: &Batch) -> Result<Self> {
        let exact = network.flow_gradients(batch, &METHODS[0].parse()?);
        let probe = |method: &str| -> Result<[Option<f64>; 2]> {
            let method: Method = method.parse()?;
            let error = network.flow_gradients(batch, &method)[0].relative_error(&exact[0]);
            let estimate = network.gradient(batch, &method).certificates[0].error_estimate();
            Ok([error, estimate].map(|number| Some(number).filter(|number| number.is_finite())))
        };
        let [published_error, published_estimate] = probe(PUBLISHED)?;
        let [adaptive_error, adaptive_estimate] = probe(ADAPTIVE)?;
        let row = Self { published_error, published_estimate, ..self };
        Ok(Self { adaptive_error, adaptive_estimate, ..row })
    }
}
