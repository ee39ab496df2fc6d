//! Which power of the depth a residual network wants: before training, and when training chooses it.
//!
//! ```text
//! x_{n+1} = x_n + L^{−α} V_n relu(W_n x_n)        as drawn (Marion, Fermanian, Biau, Vert 2025)
//! x_{n+1} = x_n + δ_n σ(A_n x_n + b_n)            trained, δ too (Cohen, Cont, Rossier, Xu 2021)
//! ```

mod factored;
mod findings;
mod fractional;
mod start;
mod training;

use super::{Experiment, Findings, Size};
use crate::page::Text;
use anyhow::Result;
use deeplimit::kernel::Activation;
use deeplimit::seed;
use deeplimit_nn::data::epoch_order;
use fractional::Increments;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use start::Weights;
use std::path::Path;
use training::{Data, Recipe};

/// Exponents α of the factor.
const ALPHAS: [f64; 14] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3];

/// Adam's rates: the paper's, and a smaller one.
const RATES: [f64; 2] = [1e-2, 1e-3];

/// What is trained: with the paper's rate both activations, as there, and tanh with the smaller rate too.
const TRAININGS: [(Activation, f64); 3] =
    [(Activation::Tanh, RATES[0]), (Activation::Relu, RATES[0]), (Activation::Tanh, RATES[1])];

/// The α below all critical ones at which explosion is measured.
const BELOW: f64 = 0.3;

/// The experiment.
pub struct Exponent {
    /// L of networks that are not trained, powers of two.
    drawn: Vec<usize>,
    /// Draws of each family.
    draws: usize,
    /// L of networks that are trained.
    trained: Vec<usize>,
    seed: u64,
    /// Whether drawn layers get random signs and trained ones another order: for a control in which claims are false.
    scrambled: bool,
}

/// How weights vary from layer to layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Family {
    /// Increments of fractional Brownian motion, of this Hurst index in hundredths.
    Hurst(u32),
    /// Independent layers, the increments of index ½.
    Independent,
    /// One smooth function of depth.
    Smooth,
}

impl Family {
    const ALL: [Self; 5] =
        [Self::Hurst(25), Self::Independent, Self::Hurst(70), Self::Hurst(85), Self::Smooth];

    fn name(self) -> String {
        match self {
            Self::Hurst(index) => format!("H = {}", f64::from(index) / 100.0),
            Self::Independent => "independent".into(),
            Self::Smooth => "smooth".into(),
        }
    }

    /// α at which a network neither explodes nor becomes the identity. Of independent and of smooth weights it is
    /// proved; else it is that of the sum of V_n σ(W_n x) for a fixed x: the mean of σ(W_n x) does not vanish, so
    /// that the sum of L layers is of size L^H, and of size L^½ at least.
    fn critical(self) -> f64 {
        match self {
            Self::Hurst(index) => (f64::from(index) / 100.0).max(0.5),
            Self::Independent => 0.5,
            Self::Smooth => 1.0,
        }
    }
}

#[derive(Clone, Copy)]
pub enum Case {
    /// All depths and α of a family.
    Drawn(Family),
    /// A training.
    Trained(Activation, f64, usize),
}

/// Draws of one depth and α, or a trained network. All numbers are without units.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The family of the weights, or the activation that was trained.
    name: String,
    layers: usize,
    alpha: Option<f64>,
    /// Mean over the draws of ln(‖x_L − x_0‖/‖x_0‖).
    distance: Option<f64>,
    /// Mean over the draws of ln(‖x_L‖/‖x_0‖).
    growth: Option<f64>,
    /// Adam's rate.
    rate: Option<f64>,
    epochs: Option<usize>,
    first_loss: Option<f64>,
    last_loss: Option<f64>,
    /// |δ|, and statistics of A or |δ| A.
    delta: Option<f64>,
    largest: Option<f64>,
    increment: Option<f64>,
    root_sum: Option<f64>,
    cumulative: Option<f64>,
}

#[derive(Serialize)]
pub struct Settings {
    drawn: Vec<usize>,
    draws: usize,
    width: usize,
    trained: Vec<usize>,
    trained_width: usize,
    samples: usize,
    batch: usize,
    epochs: [usize; 2],
    target: f64,
    rates: [f64; 2],
}

impl Exponent {
    /// The sizes of the command line.
    pub fn new(size: Size, seed: u64) -> Self {
        let powers = |from: u32, to: u32| (from..=to).map(|power| 1 << power).collect();
        Self {
            drawn: powers(7, size.pick(11, 12)),
            draws: 32,
            trained: powers(4, size.pick(9, 10)),
            seed,
            scrambled: false,
        }
    }

    fn drawn(&self, family: Family) -> Vec<Row> {
        let deepest = self.drawn.iter().copied().max().unwrap_or(1);
        let increments = match family {
            Family::Hurst(index) => Some(Increments::new(f64::from(index) / 100.0, deepest)),
            _ => None,
        };
        let draw = |number: usize| -> Vec<[f64; 2]> {
            let own = seed::derive(seed::derive(self.seed, 0), number as u64);
            // A smooth function is sampled anew at every depth; sequences are cut.
            let weights = |layers| {
                let drawn = Weights::draw(family, layers, increments.as_ref(), own);
                if self.scrambled { drawn.scrambled(own) } else { drawn }
            };
            let whole = (family != Family::Smooth).then(|| weights(deepest));
            let mut found = Vec::new();
            for &layers in &self.drawn {
                let sampled = whole.is_none().then(|| weights(layers));
                if let Some(weights) = whole.as_ref().or(sampled.as_ref()) {
                    let input = seed::derive(own, 1 << 40);
                    found.extend(ALPHAS.map(|alpha| weights.growth(layers, alpha, input)));
                }
            }
            found
        };
        let all: Vec<Vec<[f64; 2]>> = (0..self.draws).into_par_iter().map(draw).collect();
        let places = self.drawn.iter().flat_map(|&layers| ALPHAS.map(|alpha| (layers, alpha)));
        let row = |(index, (layers, alpha)): (usize, (usize, f64))| {
            let mean = |part: usize| {
                Some(all.iter().map(|draw| draw[index][part]).sum::<f64>() / self.draws as f64)
            };
            let (distance, growth) = (mean(0), mean(1));
            Row { alpha: Some(alpha), distance, growth, ..Row::new(family.name(), layers) }
        };
        places.enumerate().map(row).collect()
    }

    fn trained(&self, activation: Activation, rate: f64, layers: usize) -> Row {
        let recipe = Recipe::at(rate);
        let data = Data::draw(recipe.samples, seed::derive(self.seed, 1));
        let own = seed::derive(seed::derive(self.seed, 2), layers as u64);
        let trained = training::train(&recipe, activation, layers, &data, own);
        let scrambled = epoch_order(layers, own, 0).into_iter().map(|layer| layer as usize);
        let order: Vec<usize> =
            if self.scrambled { scrambled.collect() } else { (0..layers).collect() };
        let found = trained.statistics(&order);
        Row {
            rate: Some(rate),
            epochs: Some(trained.epochs),
            first_loss: Some(trained.losses[0]),
            last_loss: Some(trained.losses[1]),
            delta: Some(found.delta),
            largest: Some(found.largest),
            increment: Some(found.increment),
            root_sum: Some(found.root_sum),
            cumulative: Some(found.cumulative),
            ..Row::new(activation.to_string(), layers)
        }
    }
}

impl Row {
    fn new(name: String, layers: usize) -> Self {
        Self {
            name,
            layers,
            alpha: None,
            distance: None,
            growth: None,
            rate: None,
            epochs: None,
            first_loss: None,
            last_loss: None,
            delta: None,
            largest: None,
            increment: None,
            root_sum: None,
            cumulative: None,
        }
    }
}

impl Experiment for Exponent {
    type Case = Case;
    type Row = Row;
    type Settings = Settings;

    const NAME: &'static str = "exponent";

    fn title(&self) -> (Text, Text) {
        let about = format!(
            "Networks x + L^(−α) V relu(W x) of width {} as they are drawn: where between explosion and identity \
             is the critical α, for weights of growing regularity over depth? And networks x + δ σ(A x + b) of \
             width {} with a trainable δ: which power of the depth does training choose?",
            start::WIDTH,
            training::WIDTH,
        );
        ("Which exponent of the depth".into(), about.into())
    }

    fn settings(&self) -> Settings {
        Settings {
            drawn: self.drawn.clone(),
            draws: self.draws,
            width: start::WIDTH,
            trained: self.trained.clone(),
            trained_width: training::WIDTH,
            samples: Recipe::at(RATES[0]).samples,
            batch: training::BATCH,
            epochs: RATES.map(|rate| Recipe::at(rate).epochs),
            target: Recipe::at(RATES[0]).target,
            rates: RATES,
        }
    }

    fn cases(&self) -> Vec<Case> {
        let drawn = Family::ALL.into_iter().map(Case::Drawn);
        let trained = TRAININGS.into_iter().flat_map(|(activation, rate)| {
            self.trained.iter().map(move |&layers| Case::Trained(activation, rate, layers))
        });
        drawn.chain(trained).collect()
    }

    fn key(&self, case: &Case) -> String {
        match case {
            Case::Drawn(family) => format!("drawn, {}", family.name()),
            Case::Trained(activation, rate, layers) => {
                format!("{activation}, rate {rate}, {layers} layers")
            }
        }
    }

    fn measure(&self, case: &Case, _scratch: &Path) -> Result<Vec<Row>> {
        Ok(match *case {
            Case::Drawn(family) => self.drawn(family),
            Case::Trained(activation, rate, layers) => vec![self.trained(activation, rate, layers)],
        })
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        let shown = findings::Shown { rows };
        Ok(Findings { claims: shown.claims(), sections: shown.sections()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny(scrambled: bool) -> Exponent {
        Exponent {
            drawn: vec![64, 128, 256, 512, 1024],
            draws: 16,
            trained: vec![16, 32, 64, 128, 256],
            scrambled,
            ..Exponent::new(Size::Quick, 1)
        }
    }

    fn rows(experiment: &Exponent) -> Vec<Row> {
        let measure = |case: &Case| experiment.measure(case, Path::new("")).expect("rows");
        experiment.cases().iter().flat_map(measure).collect()
    }

    fn failing(experiment: &Exponent, rows: &[Row]) -> Vec<String> {
        let claims = experiment.findings(rows).expect("findings").claims;
        claims.into_iter().filter(|claim| !claim.holds).map(|claim| claim.claim).collect()
    }

    #[test]
    fn claims_hold_on_a_tiny_size_and_fail_where_layers_are_scrambled_or_statistics_are_others() {
        let experiment = tiny(false);
        let good = rows(&experiment);
        assert_eq!(failing(&experiment, &good), [""; 0]);
        // Scrambled, all weights have the critical ½, and no trained ones are smooth.
        let scrambled = tiny(true);
        let failed = failing(&scrambled, &rows(&scrambled));
        for family in [Family::Hurst(70), Family::Hurst(85), Family::Smooth] {
            let own = failed.iter().filter(|claim| claim.starts_with(&family.name())).count();
            assert_eq!(own, 2, "{}: {failed:?}", family.name());
        }
        for family in [Family::Hurst(25), Family::Independent] {
            assert!(!failed.iter().any(|claim| claim.starts_with(&family.name())), "{failed:?}");
        }
        let smooth = failed.iter().filter(|claim| claim.contains("Hypothesis 1: ")).count();
        assert_eq!(smooth, 2, "{failed:?}");
        let changed = |change: fn(&mut Row)| {
            let mut rows = good.clone();
            rows.iter_mut().for_each(change);
            failing(&experiment, &rows)
        };
        // A factor 1/L that is built in.
        let fixed = changed(|row| row.delta = row.delta.map(|_| 1.0 / row.layers as f64));
        assert_eq!(fixed.len(), 4, "{fixed:?}");
        // Smooth relu weights.
        let smooth = changed(|row| {
            row.increment = row.largest.map(|largest| largest / row.layers as f64);
        });
        assert!(smooth.iter().any(|claim| claim.starts_with("relu")), "{smooth:?}");
        // Weights of size 1/L have no noise.
        let small =
            changed(|row| row.root_sum = row.root_sum.map(|_| (row.layers as f64).powf(-0.5)));
        assert!(small.iter().any(|claim| claim.contains("Hypothesis 2")), "{small:?}");
        let untrained = changed(|row| row.last_loss = row.first_loss);
        assert_eq!(untrained.len(), 3, "{untrained:?}");
        let all = experiment.findings(&[]).expect("findings").claims.len();
        assert_eq!(failing(&experiment, &[]).len(), all, "nothing measured is no success");
    }
}
