//! Gradient descent on deep linear residual networks (Sander, Ablin, Peyré 2022, section 3 and
//! figure 2), inside their hypothesis of a small initial loss and outside it.
//!
//! ```text
//! Π = (I + θ_{N−1}/N) … (I + θ_0/N),   ℓ = ‖Π − B‖²,   θ_n ← θ_n − η N ∂ℓ/∂θ_n
//! ```
//!
//! From weights smooth in depth: N max ‖θ_{n+1} − θ_n‖ stays bounded in N and in time, the loss decays
//! exponentially, and weights, map and states approach a limit at rate 1/N. From independent
//! weights the loss decays exponentially, too, and the network stays near its own ODE, but its weights have
//! no limit; with diffusive weights neither has one. The constants are our own, those of
//! [`Guarantee`](deeplimit::objective::linear::Guarantee).

mod descents;
mod figures;
mod findings;

use super::{Experiment, Findings, Size};
use crate::page::Text;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Numbers a sample; θ_n is a square matrix of this width.
const WIDTH: usize = 4;

/// η.
const RATE: f64 = 0.05;

/// Numbers of steps at which a descent is measured.
const RECORDED: [usize; 10] = [0, 1, 2, 5, 10, 20, 50, 100, 200, 300];

/// Numbers of steps at which the weights over depth are shown.
const SHOWN: [usize; 4] = [0, 5, 20, 300];

/// Depths of networks with diffusive weights: less deep, noise of size N^(−1/2) adds to their distance.
const DIFFUSIVE_DEPTHS: [usize; 4] = [256, 512, 1024, 2048];

/// Of the descents of figure 2: η, the depths, the widths by network, and the loss at which they end.
const DRAWN_RATE: f64 = 0.02;
const DRAWN_DEPTHS: [usize; 3] = [50, 100, 200];
const DRAWN_WIDTHS: [usize; 2] = [2, 4];
const DRAWN_LOSS: f64 = 1e-5;

/// The experiment.
pub struct Linear {
    depths: Vec<usize>,
    /// N' of the limit 2 θ^{2N'} − θ^{N'}.
    reference: usize,
    /// The depth at which weights are shown.
    shown: usize,
    /// Descents from starts with a limit.
    smooth: usize,
    /// Descents from starts without one.
    rough: usize,
    /// Networks of diffusive weights, which are not trained.
    diffusive: usize,
    seed: u64,
}

/// Weights from which a descent starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Zero weights, and a B within 1/(3e) of the identity: everything is guaranteed.
    Certified,
    /// Zero weights, and a B that is the identity and Gaussian numbers, as in figure 2.
    Drawn,
    /// Zero weights.
    Zero,
    /// One smooth function of depth.
    Smooth,
    /// Independent layers of size 1.
    Independent,
    /// Independent layers of size √N, before any training.
    Diffusive,
}

impl Start {
    const ALL: [Self; 6] = [
        Self::Certified,
        Self::Drawn,
        Self::Zero,
        Self::Smooth,
        Self::Independent,
        Self::Diffusive,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Certified => "certified",
            Self::Drawn => "drawn",
            Self::Zero => "zero",
            Self::Smooth => "smooth",
            Self::Independent => "independent",
            Self::Diffusive => "diffusive",
        }
    }

    /// Whether a limit of the training is measured beside it.
    fn has_limit(self) -> bool {
        matches!(self, Self::Certified | Self::Zero | Self::Smooth)
    }
}

/// Descents of all depths from one kind of weights to one target B.
pub struct Case {
    start: Start,
    network: usize,
}

/// A descent at one time, or the weights of one of its layers then. All numbers are without units.
#[derive(Clone, Serialize, Deserialize)]
pub struct Row {
    start: Start,
    /// Which target, and which random weights.
    network: usize,
    /// N.
    layers: usize,
    /// Steps of gradient descent.
    steps: usize,
    /// η · steps.
    time: f64,
    /// ℓ.
    loss: f64,
    /// N max_n ‖θ_{n+1} − θ_n‖ (Frobenius).
    scaled_increment: f64,
    /// max_n ‖θ_n‖₂.
    largest_weight: f64,
    /// max_n ‖Π_n − Y(s_n)‖ (Frobenius) with Y' = Θ(s) Y for the interpolated weights.
    ode_distance: f64,
    /// max_n ‖θ_n − θ_limit(s_n)‖ (Frobenius), of starts that have a limit.
    weight_distance: Option<f64>,
    /// ‖Π − Π_limit‖ (Frobenius), of starts that have a limit.
    map_distance: Option<f64>,
    /// Layer n, of rows that show weights.
    layer: Option<usize>,
    /// The first row's second number of θ_n.
    entry: Option<f64>,
}

#[derive(Serialize)]
pub struct Settings {
    depths: Vec<usize>,
    reference: usize,
    shown: usize,
    smooth: usize,
    rough: usize,
    diffusive: usize,
    width: usize,
    rate: f64,
}

impl Linear {
    /// The sizes of the command line.
    pub fn new(size: Size, seed: u64) -> Self {
        let deepest = size.pick(9, 10);
        Self {
            depths: (3..=deepest).map(|power| 1 << power).collect(),
            reference: size.pick(1024, 2048),
            shown: size.pick(64, 128),
            smooth: size.pick(2, 3),
            rough: size.pick(4, 8),
            diffusive: size.pick(200, 400),
            seed,
        }
    }
}

impl Experiment for Linear {
    type Case = Case;
    type Row = Row;
    type Settings = Settings;

    const NAME: &'static str = "linear";

    fn title(&self) -> (Text, Text) {
        let about = "Gradient descent on (I + θ_{N−1}/N) … (I + θ_0/N) towards a matrix B of width 4, \
                     with learning rate 0.05 N. Are the weights still a smooth function of depth after \
                     training, and do they and the network approach a limit? With B at distance 0.12 from \
                     the identity, inside the hypothesis of a small initial loss, and at 0.9, outside it; \
                     from zero, smooth, independent and diffusive weights.";
        ("Training deep linear residual networks".into(), about.into())
    }

    fn settings(&self) -> Settings {
        let Self { ref depths, reference, shown, smooth, rough, diffusive, .. } = *self;
        Settings {
            depths: depths.clone(),
            reference,
            shown,
            smooth,
            rough,
            diffusive,
            width: WIDTH,
            rate: RATE,
        }
    }

    fn cases(&self) -> Vec<Case> {
        let of = |start: Start| {
            let count = match start {
                Start::Drawn => DRAWN_WIDTHS.len(),
                Start::Diffusive => 1,
                _ if start.has_limit() => self.smooth,
                _ => self.rough,
            };
            (0..count).map(move |network| Case { start, network })
        };
        Start::ALL.into_iter().flat_map(of).collect()
    }

    fn key(&self, case: &Case) -> String {
        format!("{} {}", case.start.name(), case.network)
    }

    fn measure(&self, case: &Case, _scratch: &Path) -> Result<Vec<Row>> {
        Ok(match case.start {
            Start::Drawn => descents::drawn(self, case),
            Start::Diffusive => descents::diffusive(self),
            _ => descents::measure(self, case),
        })
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        let measured = findings::Measured { rows, depths: &self.depths, shown: self.shown };
        Ok(Findings { claims: measured.claims(), sections: measured.sections()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(experiment: &Linear, rows: &[Row]) -> Vec<String> {
        let claims = experiment.findings(rows).unwrap().claims;
        claims.into_iter().filter(|claim| !claim.holds).map(|claim| claim.claim).collect()
    }

    #[test]
    fn claims_hold_on_a_tiny_size_and_fail_on_wrong_rows() {
        let depths = vec![32, 64, 128];
        let experiment = Linear {
            depths,
            reference: 256,
            shown: 32,
            smooth: 1,
            rough: 4,
            diffusive: 32,
            seed: 1,
        };
        let measure = |case: &Case| experiment.measure(case, Path::new("")).unwrap();
        let good: Vec<Row> = experiment.cases().iter().flat_map(measure).collect();
        assert_eq!(failing(&experiment, &good), [""; 0]);

        let wrong = |change: fn(&mut Row)| {
            let mut rows = good.clone();
            rows.iter_mut().for_each(change);
            failing(&experiment, &rows)
        };
        // A loss that does not decay breaks the four bounds and the ends of figure 2.
        let still = wrong(|row| row.loss = row.loss.max(0.01));
        assert_eq!(still.len(), 6, "{still:?}");
        let steep = wrong(|row| {
            if row.start.has_limit() {
                row.scaled_increment *= row.layers as f64 * (1.0 + row.time);
            }
        });
        // Three bounds, and for three starts the exponents of N and the growth in time.
        assert_eq!(steep.len(), 3 + 2 * 3, "{steep:?}");
        let far = wrong(|row| row.ode_distance *= row.layers as f64);
        assert_eq!(far.len(), 5, "{far:?}");
        let off = wrong(|row| row.weight_distance = row.weight_distance.map(|d| d.sqrt()));
        assert_eq!(off.len(), 3, "{off:?}");
        assert!(!failing(&experiment, &[]).is_empty());
    }
}
