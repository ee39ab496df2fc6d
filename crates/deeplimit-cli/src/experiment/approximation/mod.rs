//! The distance between residual networks and their neural ODEs, beside its bounds (Sander, Ablin,
//! Peyré 2022, section 3; their sharper forms are those of
//! [`Bounds`](deeplimit::limit::Bounds)).
//!
//! ```text
//! A1        max_n ‖x_n − x(s_n)‖ ≤ (e^L − 1)/(2LN) M,   M = sup ‖x''‖
//! A1'       ≤ (e^L − 1)/(2L) (max_n ‖f_{n+1} − f_n‖ + L C/N),   C = sup ‖f_n‖
//! A1-local  b_{n+1} = (1 + h L_n) b_n + h² M_n/2
//! A2        ≤ (2 e^L − 1) C/N, whatever the weights do from layer to layer
//! ```
//!
//! Networks of several depths with weights that are smooth in depth or not; a case in which A1 is
//! reached; cases in which the distance does not vanish; and random networks of all kinds.

mod findings;
mod networks;

use super::{Experiment, Findings, Size};
use crate::page::Text;
use anyhow::Result;
use deeplimit::control::Family;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Weights whose networks are compared over depth.
const FAMILIES: [Family; 4] =
    [Family::Smooth, Family::Brownian, Family::Alternating, Family::Rough];

/// L of the networks that reach A1.
const TIGHT: [f64; 3] = [0.5, 1.5, 3.0];

/// a of the weights (−1)ⁿ a √N.
const DIFFUSIVE: [f64; 2] = [1.0, 1.5];

/// The experiment.
pub struct Approximation {
    depths: Vec<usize>,
    /// Networks a family and depth.
    networks: usize,
    /// Random networks of any kind.
    random: usize,
    seed: u64,
}

/// What is measured at once.
pub enum Case {
    /// Some networks of one family and depth.
    Family(Family, usize),
    /// Networks for which A1 is nearly an equality.
    Tight(usize),
    /// Networks away from their ODE at any depth.
    Away(usize),
    /// Some networks of all kinds, from one number on.
    Random(usize),
}

/// Which part of the experiment a network belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Compared over depth.
    Family,
    /// φ = Lx + b(s) with constant x''.
    Tight,
    /// v relu(w x) with (v, w) = ±(1, 1) in turn.
    Relu,
    /// θ x with θ_n = (−1)ⁿ a √N.
    Diffusive,
    /// Everything drawn at random.
    Random,
}

/// A network. All numbers are without units; norms are over all numbers of a batch.
#[derive(Clone, Serialize, Deserialize)]
pub struct Row {
    kind: Kind,
    /// The family, or the case's parameter.
    weights: String,
    /// Which one of its kind.
    network: usize,
    /// N.
    layers: usize,
    /// max_n ‖x_n − x(s_n)‖ to the ODE of the function interpolant; of a tight network, to the
    /// solution whose x'' is constant.
    distance: f64,
    /// The same to the ODE of the weight interpolant.
    weight_distance: Option<f64>,
    /// L along the trajectories.
    lipschitz: Option<f64>,
    /// A number that L never exceeds, from the weights alone.
    lipschitz_everywhere: Option<f64>,
    /// M along the solution.
    curvature: Option<f64>,
    /// C along the solution.
    speed: Option<f64>,
    /// max_n sup ‖f_{n+1} − f_n‖ along the solution.
    jump: Option<f64>,
    /// A1.
    smooth: Option<f64>,
    /// A1'.
    increments: Option<f64>,
    /// A1-local.
    local: Option<f64>,
    /// A2.
    smoothness_free: Option<f64>,
    /// x_N, of networks with one number.
    network_end: Option<f64>,
    /// x(1) of the function interpolant, of networks with one number.
    ode_end: Option<f64>,
}

#[derive(Serialize)]
pub struct Settings {
    depths: Vec<usize>,
    networks: usize,
    random: usize,
}

impl Approximation {
    /// The sizes of the command line.
    pub fn new(size: Size, seed: u64) -> Self {
        let deepest = size.pick(10, 12);
        Self {
            depths: (2..=deepest).map(|power| 1 << power).collect(),
            networks: size.pick(6, 12),
            random: size.pick(200, 1000),
            seed,
        }
    }
}

/// Random networks a case.
const AT_ONCE: usize = 100;

impl Experiment for Approximation {
    type Case = Case;
    type Row = Row;
    type Settings = Settings;

    const NAME: &'static str = "approximation";

    fn title(&self) -> (Text, Text) {
        let about = "How far is a residual network x_{n+1} = x_n + f(x_n, θ_n)/N from the neural ODE \
                     that interpolates its layers, and how good are the bounds on this distance? \
                     Weights that are smooth in depth and weights that are not; random networks \
                     V tanh(W x + b) + c in double precision, the ODE solved with 8 Runge–Kutta steps a \
                     layer.";
        ("Residual networks and their ODEs".into(), about.into())
    }

    fn settings(&self) -> Settings {
        let Self { depths, networks, random, .. } = self;
        Settings { depths: depths.clone(), networks: *networks, random: *random }
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for family in FAMILIES {
            cases.extend(self.depths.iter().map(|&layers| Case::Family(family, layers)));
        }
        cases.extend(self.depths.iter().map(|&layers| Case::Tight(layers)));
        cases.extend(self.depths.iter().map(|&layers| Case::Away(layers)));
        cases.extend((0..self.random).step_by(AT_ONCE).map(Case::Random));
        cases
    }

    fn key(&self, case: &Case) -> String {
        match case {
            Case::Family(family, layers) => format!("{} {layers}", networks::name(*family)),
            Case::Tight(layers) => format!("tight {layers}"),
            Case::Away(layers) => format!("away {layers}"),
            Case::Random(first) => format!("random {first}"),
        }
    }

    fn measure(&self, case: &Case, _scratch: &Path) -> Result<Vec<Row>> {
        let (seed, random) = (self.seed, self.random);
        match *case {
            Case::Family(family, layers) => {
                let network = |network| networks::of_family(family, layers, network, seed);
                (0..self.networks).into_par_iter().map(network).collect()
            }
            Case::Tight(layers) => TIGHT.into_iter().map(|l| networks::tight(l, layers)).collect(),
            Case::Away(layers) => {
                let mut rows = vec![networks::relu(layers)?];
                rows.extend(DIFFUSIVE.map(|a| networks::diffusive(a, layers)));
                Ok(rows)
            }
            Case::Random(first) => {
                let last = random.min(first + AT_ONCE);
                (first..last)
                    .into_par_iter()
                    .map(|network| networks::random(network, seed))
                    .collect()
            }
        }
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        let measured = findings::Measured { rows, depths: &self.depths };
        Ok(Findings { claims: measured.claims(), sections: measured.sections()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> Approximation {
        Approximation { depths: vec![16, 256, 512, 1024], networks: 3, random: 20, seed: 1 }
    }

    fn rows(experiment: &Approximation) -> Vec<Row> {
        let measure = |case: &Case| experiment.measure(case, Path::new("")).unwrap();
        experiment.cases().iter().flat_map(measure).collect()
    }

    fn failing(experiment: &Approximation, rows: &[Row]) -> Vec<String> {
        let claims = experiment.findings(rows).unwrap().claims;
        claims.into_iter().filter(|claim| !claim.holds).map(|claim| claim.claim).collect()
    }

    #[test]
    fn claims_hold_on_a_tiny_size_and_fail_on_wrong_rows() {
        let experiment = tiny();
        let good = rows(&experiment);
        assert_eq!(failing(&experiment, &good), [""; 0]);

        let wrong = |change: fn(&mut Row)| {
            let mut rows = good.clone();
            rows.iter_mut().for_each(change);
            failing(&experiment, &rows)
        };
        let above = wrong(|row| {
            if row.kind == Kind::Random && row.network == 7 {
                row.distance = 1.01 * row.smooth.unwrap();
            }
        });
        assert!(above.iter().any(|claim| claim.contains("distance ≤ A1 (")), "{above:?}");
        let still = wrong(|row| {
            if row.kind == Kind::Family {
                row.distance *= row.layers as f64 / 1e6;
            }
        });
        assert_eq!(still.len(), FAMILIES.len(), "{still:?}");
        let loose = wrong(|row| {
            if row.kind == Kind::Tight {
                row.distance *= 0.9;
            }
        });
        assert_eq!(loose.len(), 2, "{loose:?}");
        let near = wrong(|row| {
            if matches!(row.kind, Kind::Relu | Kind::Diffusive) {
                row.distance /= row.layers as f64;
                row.weight_distance = Some(row.distance);
                row.network_end = row.ode_end;
            }
        });
        // Of ±relu(±x) the gap and the exponent; of each a the output and the distance.
        assert_eq!(near.len(), 2 + 2 * DIFFUSIVE.len(), "{near:?}");
        assert!(!failing(&experiment, &[]).is_empty());
    }
}
