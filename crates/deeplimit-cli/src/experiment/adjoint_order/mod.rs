//! Reconstruction and gradient errors of every gradient method against depth, beside the orders that
//! theory states (Sander, Ablin, Peyré 2022, section 4, for the published method; [`theory`] for all).
//!
//! Random networks of one kind are drawn at every depth; errors are geometric means over them, because
//! the terms of one network's error may cancel at one depth. Relu gradients are judged in mean square
//! over many samples instead: their errors are rare and large.

mod errors;
mod networks;
mod page;
mod theory;

use super::walks::{against_differences, random, stored, walk};
use super::{Experiment, Findings, Size, or_infinite};
use crate::page::Text;
use anyhow::Result;
use deeplimit::control::Control;
use deeplimit::field::{ConvBn, Stacked, Tiled};
use deeplimit::gradient::larger;
use deeplimit::scheme::AnyScheme;
use deeplimit::scheme::reversible::AnyReversible;
use deeplimit::{Field, Flow, Method, Rows, Scheme, State, seed};
use deeplimit_nn::network::Formula;
use errors::Errors;
use networks::Net;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The experiment.
pub struct AdjointOrder {
    settings: Settings,
    seed: u64,
}

/// What is averaged over at one depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mean {
    /// Geometric, over networks.
    Geometric,
    /// Of squares, over samples of one network.
    Square,
}

/// One depth of one kind of network with one scheme.
pub struct Case {
    net: Net,
    scheme: AnyScheme,
    depth: usize,
    mean: Mean,
}

/// A method's errors at one depth.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    net: String,
    scheme: String,
    /// "geometric" over networks, or "square" over samples.
    mean: String,
    depth: usize,
    method: String,
    networks: usize,
    /// Samples a network.
    samples: usize,
    /// e_rec = max_n ‖x̃_n − x_n‖ / max_n ‖x_n‖; adjoints only.
    reconstruction_error: Option<f64>,
    /// e_0 = ‖x̃_0 − x_0‖ / ‖x_0‖; 0 for methods that recover nothing.
    #[serde(deserialize_with = "or_infinite")]
    state_error: f64,
    /// Relative error of the gradient of all parameters.
    #[serde(deserialize_with = "or_infinite")]
    gradient_error: f64,
    /// The same of the network where it is largest, and the networks where it is above 4·10⁻³ or not a number.
    #[serde(deserialize_with = "or_infinite")]
    gradient_error_largest: f64,
    networks_above: usize,
    /// Relative error of the cotangent of x_0.
    #[serde(deserialize_with = "or_infinite")]
    cotangent_error: f64,
    /// The certificate's estimate of the gradient error.
    #[serde(deserialize_with = "or_infinite")]
    estimate: f64,
    /// Evaluations of all layers, a pull-back counting 2.
    #[serde(deserialize_with = "or_infinite")]
    cost_units: f64,
}

/// 4 times the tolerance of `adjoint-adaptive`, which is what its gradients are to be within in 99 of 100 networks.
const ABOVE: f64 = 4e-3;

/// A row of this method is no method, but central differences of the loss, against which backprop is
/// held.
const DIFFERENCES: &str = "finite differences";

/// Methods on Euler's scheme; on those of more stages the second list.
const METHODS: [&str; 9] = [
    "checkpoint",
    "adjoint-published",
    "adjoint-corrected",
    "P1C1",
    "adjoint-predicted",
    "P1C2",
    "AR2C1",
    "adjoint-learned",
    "adjoint-adaptive",
];
const STAGED: [&str; 6] =
    ["checkpoint", "adjoint-published", "adjoint-corrected", "P0C3", "P1C1", "adjoint-predicted"];

/// Methods whose relu gradients are judged in mean square.
const SQUARED: [&str; 3] = ["adjoint-published", "adjoint-corrected", "adjoint-predicted"];

fn methods(case: &Case) -> &'static [&'static str] {
    match (case.mean, &case.scheme) {
        (Mean::Square, _) => &SQUARED,
        (_, AnyScheme::Reversible(_)) => &["reversible"],
        (_, scheme) if *scheme == Scheme::EULER.into() => &METHODS,
        _ => &STAGED,
    }
}

/// Samples of a network, and of a group of those that are averaged in mean square: as cotangents are
/// independent, the squares of sums over a group are in the mean the sums of squares.
const SAMPLES: usize = 4;
const GROUP: usize = 20;

/// Decides how much is measured.
#[derive(Clone, Serialize)]
pub struct Settings {
    depths: Vec<usize>,
    depths_of_many_stages: Vec<usize>,
    networks: usize,
    networks_of_images: usize,
    samples_in_mean_square: usize,
}

impl AdjointOrder {
    /// From a seed.
    pub fn new(size: Size, seed: u64) -> Self {
        let settings = Settings {
            depths: size.pick(vec![16, 32, 64, 128], vec![8, 16, 32, 64, 128, 256, 512]),
            depths_of_many_stages: vec![8, 12, 16, 24, 32, 48, 64, 96],
            networks: size.pick(16, 64),
            networks_of_images: size.pick(4, 12),
            samples_in_mean_square: size.pick(20_000, 100_000),
        };
        Self { settings, seed }
    }

    fn networks(&self, net: Net) -> usize {
        match net {
            Net::Smooth | Net::Rough | Net::Relu => self.settings.networks,
            Net::Conv | Net::ConvBn => self.settings.networks_of_images,
        }
    }

    /// The errors of every method on the networks of a case.
    fn geometric(&self, case: &Case) -> Vec<Row> {
        let networks = self.networks(case.net);
        let one = |index: usize| self.errors(case, seed::derive(self.seed, index as u64));
        let found: Vec<Vec<(&str, Errors)>> = (0..networks).into_par_iter().map(one).collect();
        let names = found[0].iter().map(|(name, _)| *name).enumerate();
        let row = |(index, name): (usize, &str)| {
            let mean = |pick: &dyn Fn(&Errors) -> f64| {
                let logs = found.iter().map(|errors| pick(&errors[index].1).ln());
                (logs.sum::<f64>() / networks as f64).exp()
            };
            let reconstructs = found[0][index].1.reconstruction.is_some();
            let reconstruction = |errors: &Errors| errors.reconstruction.unwrap_or(f64::NAN);
            Row {
                networks,
                samples: SAMPLES,
                reconstruction_error: reconstructs.then(|| mean(&reconstruction)),
                state_error: mean(&|errors| errors.state),
                gradient_error: mean(&|errors| errors.gradient),
                gradient_error_largest: found
                    .iter()
                    .map(|errors| errors[index].1.gradient)
                    .fold(0.0, larger),
                networks_above: found
                    .iter()
                    .filter(|errors| {
                        let error = errors[index].1.gradient;
                        error.is_nan() || error > ABOVE
                    })
                    .count(),
                cotangent_error: mean(&|errors| errors.cotangent),
                estimate: mean(&|errors| errors.estimate),
                cost_units: mean(&|errors| errors.cost),
                ..case.row(name)
            }
        };
        names.map(row).collect()
    }

    /// The errors of every method on one network.
    fn errors(&self, case: &Case, seed: u64) -> Vec<(&'static str, Errors)> {
        let control = case.net.control(case.scheme.nodes_for(case.depth), seed);
        let formula = case.net.formula();
        let ends = [11, 12].map(|part| random(SAMPLES, formula.width(), seed::derive(seed, part)));
        match formula {
            Formula::Layer(layer) => {
                let build = |control| Stacked::new(layer.clone(), control);
                self.compare(case, build, &control, &ends)
            }
            Formula::ConvBn(layer) => {
                let build = |control| ConvBn::new(layer, control);
                self.compare(case, build, &control, &ends.each_ref().map(Tiled::cut))
            }
        }
    }

    fn compare<F: Field<Gradient = Control<f64>>>(
        &self,
        case: &Case,
        build: impl Fn(Control<f64>) -> F,
        control: &Control<f64>,
        ends: &[F::State; 2],
    ) -> Vec<(&'static str, Errors)> {
        let flow = Flow::new(build(control.clone()), case.scheme.clone());
        let ends = ends.each_ref();
        let exact = match &case.scheme {
            AnyScheme::RungeKutta(_) => {
                let exact = walk(&flow, &parsed("backprop"), ends);
                (exact.x0_bar, exact.gradient)
            }
            AnyScheme::Reversible(_) => stored(&flow, ends),
        };
        let states = flow.states(ends[0]);
        let mut all: Vec<(&str, Errors)> = methods(case)
            .iter()
            .map(|name| (*name, Errors::of(&flow, &parsed(name), ends, &exact, &states)))
            .collect();
        if let AnyScheme::RungeKutta(scheme) = &case.scheme
            && case.depth == self.depths(scheme)[0]
        {
            let found = walk(&flow, &parsed("backprop"), ends);
            let mut along = control.clone();
            for (kind, values) in along.values_mut().iter_mut().enumerate() {
                let seed = seed::derive(self.seed, 900 + kind as u64);
                let entries = values.iter_mut().enumerate();
                entries.for_each(|(entry, value)| *value = seed::uniform(seed, entry as u64));
            }
            let loss = |control: &Control<f64>, x0: &F::State| {
                Flow::new(build(control.clone()), case.scheme.clone()).forward(x0).dot(ends[1])
            };
            // Steps that cross no kink are small, and leave more rounding.
            let step = if case.net == Net::Relu { 1e-6 } else { 3e-4 };
            let at = (control, ends[0]);
            let gradient = against_differences(loss, at, &found, (&along, ends[1]), step);
            all.push((DIFFERENCES, Errors { gradient, ..Errors::default() }));
        }
        all
    }

    /// Roots of mean squares over the samples of one network.
    fn squared(&self, case: &Case) -> Vec<Row> {
        let samples = self.settings.samples_in_mean_square;
        let control = case.net.control(case.depth, seed::derive(self.seed, 77));
        let Formula::Layer(layer) = case.net.formula() else {
            unreachable!("samples of a normalised field see each other")
        };
        let flow = Flow::new(Stacked::new(layer, control), case.scheme.clone());
        let group = |index: usize| {
            let normal = |part: u64| {
                let seed = seed::derive(self.seed, part);
                let start = index * GROUP * 4;
                let value = |row: usize, column: usize| (start + row * 4 + column) as u64;
                Rows::from_fn(GROUP, 4, |row, column| seed::normal(seed, value(row, column)))
            };
            let (x0, bar) = (normal(78), normal(79));
            let exact = walk(&flow, &parsed("backprop"), [&x0, &bar]);
            let size = [exact.x0_bar.norm_squared(), exact.gradient.norm().powi(2)];
            SQUARED.map(|method| {
                let found = walk(&flow, &parsed(method), [&x0, &bar]);
                let gradient = found.gradient.relative_error(&exact.gradient).powi(2) * size[1];
                let state = found.certificate.state_error().powi(2) * x0.norm_squared();
                let cotangent = found.x0_bar.distance_squared(&exact.x0_bar);
                [gradient, size[1], cotangent, size[0], state, x0.norm_squared()]
            })
        };
        let zero = || [[0.0; 6]; SQUARED.len()];
        let add = |a: [[f64; 6]; SQUARED.len()], b: [[f64; 6]; SQUARED.len()]| {
            std::array::from_fn(|method| std::array::from_fn(|i| a[method][i] + b[method][i]))
        };
        // Added in order, so that the same numbers come out on any number of threads.
        let groups: Vec<_> = (0..samples / GROUP).into_par_iter().map(group).collect();
        let sums = groups.into_iter().fold(zero(), add);
        let row = |(method, sums): (&&str, [f64; 6])| {
            let root = |at: usize| (sums[at] / sums[at + 1]).sqrt();
            Row {
                networks: 1,
                samples,
                gradient_error: root(0),
                cotangent_error: root(2),
                state_error: root(4),
                ..case.row(method)
            }
        };
        SQUARED.iter().zip(sums).map(row).collect()
    }

    /// The depths at which a scheme is measured. The errors of many stages are rounding where others
    /// just begin to follow their powers.
    fn depths(&self, scheme: &Scheme) -> &[usize] {
        let Settings { depths, depths_of_many_stages, .. } = &self.settings;
        if scheme.order() < 4 { depths } else { depths_of_many_stages }
    }
}

fn parsed(name: &str) -> Method {
    name.parse().expect("a name of the registry or a formula")
}

impl Case {
    /// A row without numbers.
    fn row(&self, method: &str) -> Row {
        let mean = match self.mean {
            Mean::Geometric => "geometric",
            Mean::Square => "square",
        };
        Row {
            net: self.net.name().to_owned(),
            scheme: self.scheme.to_string(),
            mean: mean.to_owned(),
            depth: self.depth,
            method: method.to_owned(),
            networks: 0,
            samples: 0,
            reconstruction_error: None,
            state_error: 0.0,
            gradient_error: 0.0,
            gradient_error_largest: 0.0,
            networks_above: 0,
            cotangent_error: 0.0,
            estimate: 0.0,
            cost_units: 0.0,
        }
    }
}

impl Experiment for AdjointOrder {
    type Case = Case;
    type Row = Row;
    type Settings = Settings;

    const NAME: &'static str = "adjoint-order";

    fn title(&self) -> (Text, Text) {
        let about = "How wrong are gradients that recover the states on the way back, and how fast does \
                     that fall with depth? Every method on random networks whose weights are smooth or \
                     rough in depth, with tanh and relu, with convolutions and batch normalisation; \
                     measured orders beside the stated ones.";
        ("Orders of the gradient methods".into(), about.into())
    }

    fn settings(&self) -> Settings {
        self.settings.clone()
    }

    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for net in Net::ALL {
            for scheme in Scheme::ALL {
                if scheme != Scheme::EULER && scheme != Scheme::HEUN && net != Net::Smooth {
                    continue;
                }
                let depths = self.depths(&scheme);
                let case = |mean| {
                    let scheme = AnyScheme::from(scheme.clone());
                    move |depth| Case { net, scheme: scheme.clone(), depth, mean }
                };
                cases.extend(depths.iter().copied().map(case(Mean::Geometric)));
                if net == Net::Relu && scheme == Scheme::EULER {
                    cases.extend(depths.iter().copied().map(case(Mean::Square)));
                }
            }
            for scheme in AnyReversible::ALL {
                for &depth in &self.settings.depths {
                    let (scheme, mean) = (scheme.clone().into(), Mean::Geometric);
                    cases.push(Case { net, scheme, depth, mean });
                }
            }
        }
        cases
    }

    fn key(&self, case: &Case) -> String {
        let Row { net, scheme, mean, depth, .. } = case.row("");
        format!("{net} {scheme} depth {depth} {mean}")
    }

    fn measure(&self, case: &Case, _scratch: &Path) -> Result<Vec<Row>> {
        Ok(match case.mean {
            Mean::Geometric => self.geometric(case),
            Mean::Square => self.squared(case),
        })
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        page::findings(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Claim;

    fn rows() -> (AdjointOrder, Vec<Row>) {
        let settings = Settings {
            depths: vec![32, 64, 128],
            depths_of_many_stages: vec![16, 24, 32, 48, 64],
            networks: 8,
            networks_of_images: 2,
            samples_in_mean_square: 20_000,
        };
        let experiment = AdjointOrder { settings, seed: 1 };
        let measure = |case| experiment.measure(&case, Path::new("")).expect("rows");
        let rows = experiment.cases().into_iter().flat_map(measure).collect();
        (experiment, rows)
    }

    fn failed(experiment: &AdjointOrder, rows: &[Row]) -> Vec<Claim> {
        let claims = experiment.findings(rows).expect("findings").claims;
        assert!(claims.len() > 30, "{} claims", claims.len());
        claims.into_iter().filter(|claim| !claim.holds).collect()
    }

    #[test]
    fn orders_hold_on_small_networks_and_wrong_errors_are_noticed() {
        let (experiment, rows) = rows();
        let wrong = failed(&experiment, &rows);
        assert!(wrong.is_empty(), "{wrong:#?}");
        let tamper = |change: &dyn Fn(&mut Row)| {
            let mut rows = rows.clone();
            rows.iter_mut().for_each(change);
            let wrong = failed(&experiment, &rows);
            wrong.into_iter().map(|claim| claim.claim).collect::<Vec<String>>()
        };
        // An order less than the stated one, of one method on one kind of network.
        let slower = tamper(&|row| {
            if row.net == "conv" && row.scheme == "euler" && row.method == "P1C2" {
                row.gradient_error *= row.depth as f64;
            }
        });
        assert_eq!(slower.len(), 1, "{slower:?}");
        assert!(slower[0].starts_with("conv, euler: the gradient error"), "{slower:?}");
        let loose = tamper(&|row| {
            if row.method == "adjoint-adaptive" {
                row.networks_above += 1;
            }
        });
        assert!(loose.len() == 1 && loose[0].starts_with("adjoint-adaptive"), "{loose:?}");
        let inexact = tamper(&|row| {
            if row.method == "checkpoint" && row.depth == 64 {
                row.gradient_error = f64::NAN;
            }
        });
        assert!(inexact.len() == 1 && inexact[0].starts_with("checkpointing"), "{inexact:?}");
        let dear = tamper(&|row| row.cost_units *= 1.5);
        assert_eq!(dear.len(), 2, "cost of adjoints and of exact inverses: {dear:?}");
    }
}
