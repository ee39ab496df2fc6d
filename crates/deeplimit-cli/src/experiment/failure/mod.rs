//! Where gradients that recover the states on the way back fail, and what says so.
//!
//! | failure | field | what goes wrong |
//! |---|---|---|
//! | scale | x + f(x) without 1/N | x = y − h f(x) does not contract where h L ≥ 1 |
//! | contraction | f = −a (x − c) in `f32` | rounding grows by e^a on the way back |
//! | statistics | normalised by other statistics on the way back than on the way there | another function is undone |
//! | momentum | momentum residual network | its inverse loses γ^{−N} |
//! | parasite | x' = −a x by schemes with an exact inverse | a second mode grows like e^a |
//!
//! Of each the gradient's error is measured against backpropagation in `f64` through the same network,
//! beside what the certificate said without knowing it; then again with a tolerance, under which
//! segments whose certificate is too large are walked again.

mod contraction;
mod page;
mod reversible;
mod scale;
mod statistics;
mod told;

use super::walks::Walked;
use super::{Experiment, Findings, Seeds, Size};
use crate::page::Text;
use anyhow::Result;
use deeplimit::control::Control;
use deeplimit::gradient::larger;
use deeplimit::{Field, Flow, Method, Real, seed};
use serde::{Deserialize, Deserializer, Serialize};
use std::path::Path;

/// The experiment.
pub struct Failure {
    settings: Settings,
    seeds: Seeds,
}

/// The networks of a kind, for one of the seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    run: usize,
    seed: u64,
    kind: Kind,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No 1/N: networks of this depth.
    Scale(usize),
    /// f = −a (x − c), this a.
    Contraction(u32),
    /// Batch normalisation: networks of this depth.
    Statistics(usize),
    /// Momentum networks of this depth.
    Momentum(usize),
    /// x' = −a x, this a.
    Parasite(u32),
}

/// A method on a network.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// Which of the repetitions.
    run: usize,
    /// The failure that the network is chosen for.
    failure: String,
    /// Which of the networks compared; see the failure's module.
    variant: String,
    method: String,
    depth: usize,
    /// scale: h L; contraction, parasite: a; statistics: samples of the batch; momentum: γ.
    #[serde(deserialize_with = "nullable")]
    strength: f64,
    /// States kept, x_0 included.
    anchors: usize,
    /// Relative error of the gradient of all parameters.
    #[serde(deserialize_with = "nullable")]
    gradient_error: f64,
    /// The largest relative error over the layers by themselves.
    #[serde(deserialize_with = "nullable")]
    layer_error: f64,
    /// e_0.
    #[serde(deserialize_with = "nullable")]
    state_error: f64,
    /// Largest error of a recovered anchor.
    #[serde(deserialize_with = "nullable")]
    anchor_error: f64,
    /// D.
    #[serde(deserialize_with = "nullable")]
    defect: f64,
    /// What the certificate estimates the gradient's error to be.
    #[serde(deserialize_with = "nullable")]
    estimate: f64,
    /// Layers at which one more evaluation did not come nearer.
    stalled: usize,
    /// A prediction of e_0, or of the largest anchor error, before anything is walked back; for a
    /// parasite that of |x_N| / |x_0|. 0 where there is none.
    #[serde(deserialize_with = "nullable")]
    predicted: f64,
    /// |x_N| / |x_0| of a parasite; 0 elsewhere.
    #[serde(deserialize_with = "nullable")]
    growth: f64,
    /// Error of the gradient within the tolerance; with it, its largest over the layers, the share of
    /// the layers that were walked again, and the cost in evaluations of all layers.
    #[serde(deserialize_with = "nullable")]
    repaired_error: f64,
    #[serde(deserialize_with = "nullable")]
    repaired_layer_error: f64,
    #[serde(deserialize_with = "nullable")]
    again: f64,
    #[serde(deserialize_with = "nullable")]
    repaired_cost: f64,
}

/// JSON has no number that is none.
fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// The tolerance with which gradients are repaired.
pub const TOLERANCE: f64 = 1e-3;

impl Row {
    /// What a way back has found, beside the exact gradient.
    fn found<R: Real, F: Field<Gradient = Control<R>>>(
        self,
        found: &Walked<F>,
        exact: &Control<f64>,
    ) -> Self {
        let (gradient_error, layer_error) = errors(&found.gradient, exact);
        let certificate = &found.certificate;
        Self {
            gradient_error,
            layer_error,
            state_error: certificate.state_error(),
            anchor_error: certificate.largest_state_error(),
            defect: certificate.defect,
            estimate: certificate.error_estimate(),
            stalled: certificate.stalled,
            anchors: certificate.anchors.len(),
            ..self
        }
    }

    /// What it has found within the tolerance.
    fn repaired<R: Real, F: Field<Gradient = Control<R>>>(
        self,
        found: &Walked<F>,
        exact: &Control<f64>,
    ) -> Self {
        let (repaired_error, repaired_layer_error) = errors(&found.gradient, exact);
        let (again, repaired_cost) = (found.certificate.again, found.certificate.cost_units);
        Self { repaired_error, repaired_layer_error, again, repaired_cost, ..self }
    }
}

/// Errors of the whole gradient and of the worst layer.
fn errors<R: Real>(found: &Control<R>, exact: &Control<f64>) -> (f64, f64) {
    let found = found.cast::<f64>();
    let layers = found.relative_errors(exact).into_iter();
    (found.relative_error(exact), layers.fold(0.0, larger))
}

/// The method of that name, and the same within the tolerance.
fn with_repair(name: &str) -> [Method; 2] {
    let method: Method = name.parse().expect("a name of the registry or a formula");
    match method {
        Method::Adjoint(adjoint) => [method, Method::Adjoint(adjoint.within(TOLERANCE))],
        other => [other, other],
    }
}

/// A row of one method on one flow: the gradient as it is, and within the tolerance.
fn judged<R: Real, F: Field<Gradient = Control<R>>>(
    flow: &Flow<F>,
    name: &str,
    ends: [&F::State; 2],
    exact: &Control<f64>,
) -> Row {
    let [plain, within] = with_repair(name).map(|method| super::walks::walk(flow, &method, ends));
    Row { method: name.to_owned(), depth: flow.steps(), ..Row::default() }
        .found(&plain, exact)
        .repaired(&within, exact)
}

/// Decides how much is measured.
#[derive(Clone, Serialize)]
pub struct Settings {
    tolerance: f64,
    depths: Vec<usize>,
    contractions: Vec<u32>,
    momentum_depths: Vec<usize>,
    parasites: Vec<u32>,
    seeds: u64,
}

impl Failure {
    /// With networks of their own for every seed.
    pub fn new(size: Size, seeds: Seeds) -> Self {
        let settings = Settings {
            tolerance: TOLERANCE,
            depths: size.pick(vec![16, 32, 64], vec![8, 16, 32, 64, 128, 256]),
            contractions: vec![4, 8, 12, 16],
            momentum_depths: vec![32, 64, 128, 192, 256],
            parasites: vec![5, 10, 15, 20],
            seeds: seeds.count,
        };
        Self { settings, seeds }
    }

    /// The networks of one seed; those without random numbers only of the first.
    fn kinds(&self, run: usize) -> Vec<Kind> {
        let settings = self.settings.clone();
        let mut kinds: Vec<Kind> = settings.depths.iter().copied().map(Kind::Scale).collect();
        kinds.extend(settings.contractions.into_iter().map(Kind::Contraction));
        kinds.extend(settings.depths.into_iter().map(Kind::Statistics));
        kinds.extend(settings.momentum_depths.into_iter().map(Kind::Momentum));
        if run == 0 {
            kinds.extend(settings.parasites.into_iter().map(Kind::Parasite));
        }
        kinds
    }
}

impl Experiment for Failure {
    type Case = Case;
    type Row = Row;
    type Settings = Settings;

    const NAME: &'static str = "failure";

    fn title(&self) -> (Text, Text) {
        let about = "Networks chosen so that recovering their states goes wrong: how wrong is the \
                     gradient, what did the certificate say, and how good is the gradient once the \
                     segments with a bad certificate are walked again?";
        ("Where memory-free gradients fail".into(), about.into())
    }

    fn settings(&self) -> Settings {
        self.settings.clone()
    }

    fn cases(&self) -> Vec<Case> {
        let runs = self.seeds.all().enumerate();
        let of =
            |(run, seed)| self.kinds(run).into_iter().map(move |kind| Case { run, seed, kind });
        runs.flat_map(of).collect()
    }

    fn key(&self, Case { seed, kind, .. }: &Case) -> String {
        let kind = match kind {
            Kind::Scale(depth) => format!("scale depth {depth}"),
            Kind::Contraction(a) => format!("contraction a {a}"),
            Kind::Statistics(depth) => format!("statistics depth {depth}"),
            Kind::Momentum(depth) => format!("momentum depth {depth}"),
            Kind::Parasite(a) => format!("parasite a {a}"),
        };
        format!("seed {seed}, {kind}")
    }

    fn measure(&self, case: &Case, _scratch: &Path) -> Result<Vec<Row>> {
        // Weights of one depth have nothing to do with those of another.
        let own = |depth: usize| seed::derive(case.seed, depth as u64);
        let rows = match case.kind {
            Kind::Scale(depth) => scale::measure(depth, own(depth)),
            Kind::Contraction(a) => contraction::measure(f64::from(a), case.seed)?,
            Kind::Statistics(depth) => statistics::measure(depth, own(depth)),
            Kind::Momentum(depth) => reversible::momentum(depth, own(depth)),
            Kind::Parasite(a) => reversible::parasite(f64::from(a)),
        };
        Ok(rows.into_iter().map(|row| Row { run: case.run, ..row }).collect())
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        page::findings(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(experiment: &Failure, rows: &[Row]) -> Vec<String> {
        let claims = experiment.findings(rows).expect("findings").claims;
        assert!(claims.len() > 25, "{} claims", claims.len());
        let wrong = claims.into_iter().filter(|claim| !claim.holds);
        wrong.map(|claim| format!("{}: {}", claim.claim, claim.measured)).collect()
    }

    #[test]
    fn failures_are_flagged_and_a_silent_one_is_noticed() {
        let mut experiment = Failure::new(Size::Quick, Seeds { first: 1, count: 2 });
        experiment.settings.depths = vec![16, 32];
        let measure = |case| experiment.measure(&case, Path::new("")).expect("rows");
        let rows: Vec<Row> = experiment.cases().into_iter().flat_map(measure).collect();
        let wrong = failed(&experiment, &rows);
        assert!(wrong.is_empty(), "{wrong:#?}");
        let tamper = |change: &dyn Fn(&mut Row)| {
            let mut rows = rows.clone();
            rows.iter_mut().for_each(change);
            failed(&experiment, &rows)
        };
        let flags = ["no 1/N", "contraction, the worst layer", "momentum"];
        let unflagged = |claims: &[String]| {
            let is = |what: &&&str| {
                let flag = format!("{what}: failures are flagged");
                claims.iter().any(|claim| claim.starts_with(&flag))
            };
            flags.iter().filter(is).count()
        };
        let silent = tamper(&|row| row.estimate *= 1e-3);
        assert_eq!(unflagged(&silent), flags.len(), "{silent:?}");
        let zero = tamper(&|row| row.estimate = 0.0);
        assert_eq!(unflagged(&zero), flags.len(), "{zero:?}");
        // An estimate that is always the same, or always too large, tells nothing of gradients that are right.
        for estimate in [0.3, f64::INFINITY] {
            let claims = tamper(&|row| row.estimate = estimate);
            assert!(claims.iter().any(|claim| claim.contains("false alarms")), "{claims:?}");
        }
        let blind = tamper(&|row| row.again = 0.0);
        assert!(blind.iter().any(|claim| claim.contains("every layer is refused")), "{blind:?}");
        let unrepaired = tamper(&|row| row.repaired_error += 5.0 * TOLERANCE);
        let left = |claim: &&String| claim.contains("within the tolerance t");
        assert_eq!(unrepaired.iter().filter(left).count(), 4, "{unrepaired:?}");
    }

    #[test]
    fn numbers_that_are_none_come_back_from_a_file() {
        let row = Row { gradient_error: f64::NAN, estimate: 0.5, ..Row::default() };
        let text = serde_json::to_string(&row).expect("a row");
        let back: Row = serde_json::from_str(&text).expect("a row");
        assert!(back.gradient_error.is_nan() && back.estimate == 0.5, "{text}");
    }
}
