//! `deeplimit gradcheck`: every gradient method on one random flow, beside backprop in f64.

use crate::Outcome;
use crate::progress::Waiting;
use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;
use deeplimit::control::{Control, Family};
use deeplimit::field::{Accountable, ConvBn, Stacked, Tiled};
use deeplimit::gradient::{Backprop, Budget, Choice, Planner, REGISTRY, Wish};
use deeplimit::kernel::{Activation, Image};
use deeplimit::{Bytes, Certificate, Field, Flow, Method, Real, Rows, Scheme, seed};
use deeplimit_nn::network::{FieldName, Formula};
use serde::Serialize;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Arguments {
    /// Residual function.
    #[arg(long, default_value = "mlp", value_parser = PossibleValuesParser::new(FieldName::all().map(FieldName::name)))]
    field: String,
    /// Numbers a sample; for conv and conv-bn, channels.
    #[arg(long, default_value_t = 64)]
    width: usize,
    /// Hidden units or channels [default: as width; linear and dense have none].
    #[arg(long)]
    hidden: Option<usize>,
    /// Nonlinearity [default: tanh; linear has none].
    #[arg(long, value_parser = PossibleValuesParser::new(Activation::ALL.map(Activation::name)))]
    activation: Option<String>,
    /// Height and width of the images of a conv or conv-bn field [default: 8].
    #[arg(long)]
    image: Option<usize>,
    /// Number of steps.
    #[arg(long, default_value_t = 128)]
    depth: usize,
    /// Samples.
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Step in depth.
    #[arg(long, default_value = "euler", value_parser = PossibleValuesParser::new(Scheme::ALL.map(|scheme| scheme.name())))]
    scheme: String,
    /// Element type of the methods; the reference is always f64.
    #[arg(long, default_value = "f64", value_parser = ["f32", "f64"])]
    dtype: String,
    /// Decides weights, states and the cotangent.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Weights that are samples of one smooth function of depth (the default).
    #[arg(long, conflicts_with = "rough")]
    smooth: bool,
    /// Weights with an independent part in every layer.
    #[arg(long)]
    rough: bool,
    /// States kept to check and reset the reconstruction [default: 1; with --tolerance √depth].
    #[arg(long)]
    anchors: Option<usize>,
    /// Certificate above which the adjoints walk a segment between anchors again, with its steps
    /// stored [default: none, whatever it is].
    #[arg(long)]
    tolerance: Option<f64>,
    /// Most memory of a gradient beyond weights and their gradient, such as "64 MiB": the fastest method
    /// that keeps to it is checked, or each --method with its slots, anchors and tiles fitted to it.
    #[arg(long, value_name = "SIZE")]
    memory_budget: Option<Budget>,
    /// Only these methods, by name or formula (P1C2, AR2C1, APC(1e-4)); may be repeated
    /// [default: all that go with the scheme].
    #[arg(long = "method", value_name = "METHOD")]
    methods: Vec<String>,
    /// Timed repetitions; the median is printed.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// Print one JSON array, a row a method.
    #[arg(long)]
    json: bool,
}

/// One method's row.
#[derive(Serialize)]
struct Row {
    method: String,
    /// Relative 2-norm of the error over all parameters, against backprop in f64.
    gradient_error: f64,
    /// e_0.
    state_error: f64,
    /// D.
    defect: f64,
    /// K: of kinks or, with a tolerance, of curvature; null where neither is measured.
    kink: Option<f64>,
    /// Share of the layers and samples that were walked again.
    again: f64,
    /// Forward evaluations of all layers; a pull-back counts 2.
    cost_units: f64,
    /// Field evaluations a layer, the way forward included.
    evaluations: f64,
    /// Median time of one gradient.
    milliseconds: f64,
    /// What the method keeps from the way forward to the way back.
    tape_bytes: usize,
    depth: usize,
    batch: usize,
    dtype: String,
    scheme: String,
    field: String,
}

/// Exact methods must agree with the reference to this; in f32 the rounding of all layers adds up.
const EXACT_F64: f64 = 1e-12;
const EXACT_F32: f64 = 1e-3;

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    for (name, value) in [
        ("--width", arguments.width),
        ("--hidden", arguments.hidden.unwrap_or(1)),
        ("--image", arguments.image.unwrap_or(1)),
        ("--depth", arguments.depth),
        ("--batch", arguments.batch),
        ("--anchors", arguments.anchors.unwrap_or(1)),
        ("--repeat", arguments.repeat),
    ] {
        if value == 0 {
            bail!("{name} 0 is out of range, expected at least 1");
        }
    }
    if arguments.memory_budget.is_some() && arguments.anchors.is_some() {
        bail!(
            "--anchors means nothing with --memory-budget, which chooses their number; leave one of them out"
        );
    }
    if let Some(anchors) = arguments.anchors.filter(|count| *count > arguments.depth) {
        bail!("--anchors {anchors} is out of range, expected at most --depth");
    }
    if let Some(tolerance) = arguments.tolerance.filter(|t| !(*t > 0.0 && *t < 1.0)) {
        bail!("--tolerance {tolerance} is out of range, expected 0 < tolerance < 1");
    }
    let formula = arguments.formula()?;
    let methods = arguments.methods()?;
    let waiting = Waiting::new("gradcheck");
    let rows = match arguments.dtype.as_str() {
        "f32" => arguments.rows::<f32>(&formula, &methods),
        _ => arguments.rows::<f64>(&formula, &methods),
    }?;
    drop(waiting);
    let limit = if arguments.dtype == "f32" { EXACT_F32 } else { EXACT_F64 };
    let wrong = |row: &&Row| {
        let exact = matches!(row.method.as_str(), "backprop" | "checkpoint");
        exact && (row.gradient_error.is_nan() || row.gradient_error > limit)
    };
    let outcome = match rows.iter().find(wrong) {
        None => Outcome::Success,
        Some(Row { method, gradient_error, .. }) => {
            crate::say(&format!(
                "check failed: {method} is exact, but differs by {gradient_error:.1e}, more than \
                 {limit:.0e}"
            ));
            Outcome::CheckFailed
        }
    };
    super::print(&if arguments.json { serde_json::to_string(&rows)? } else { table(&rows) })?;
    Ok(outcome)
}

impl Arguments {
    fn formula(&self) -> Result<Formula> {
        let name = FieldName::named(&self.field).context("the parser knows the fields")?;
        let unused = |option: &str| -> Result<Formula> {
            bail!("{option} means nothing with --field {}; leave it out", self.field)
        };
        if self.hidden.is_some() && !name.has_hidden() {
            return unused("--hidden");
        }
        if self.activation.is_some() && !name.has_activation() {
            return unused("--activation");
        }
        if self.image.is_some() && !name.needs_images() {
            return unused("--image");
        }
        let size = if name.needs_images() { self.image.unwrap_or(8) } else { 1 };
        let activation = self.activation.as_deref().unwrap_or("tanh");
        let activation = Activation::ALL.into_iter().find(|a| a.name() == activation);
        let activation = activation.context("the parser knows the activations")?;
        let image = Image { height: size, width: size };
        Ok(name.formula(self.width, image, self.hidden.unwrap_or(self.width), activation))
    }

    fn scheme(&self) -> Scheme {
        Scheme::named(&self.scheme).expect("the parser knows the schemes")
    }

    fn methods(&self) -> Result<Vec<(String, Method)>> {
        let scheme = self.scheme().into();
        let named = |name: &String| -> Result<(String, Method)> {
            let method: Method = name.parse()?;
            method.fits(&scheme)?;
            Ok((name.clone(), method))
        };
        let mut methods: Vec<(String, Method)> = if self.methods.is_empty() {
            let fitting = REGISTRY.iter().filter(|entry| entry.method.fits(&scheme).is_ok());
            fitting.map(|entry| (entry.name.to_owned(), entry.method)).collect()
        } else {
            self.methods.iter().map(named).collect::<Result<_>>()?
        };
        for (_, method) in &mut methods {
            if let Method::Adjoint(adjoint) = method {
                adjoint.anchors = self.anchors;
                if let Some(tolerance) = self.tolerance {
                    *adjoint = adjoint.within(tolerance);
                }
            }
        }
        Ok(methods)
    }

    fn rows<R: Real>(&self, formula: &Formula, methods: &[(String, Method)]) -> Result<Vec<Row>> {
        let scheme = self.scheme();
        let family = if self.rough { Family::Rough } else { Family::Smooth };
        let control = formula.initial::<R>(scheme.nodes_for(self.depth), family, 1.0, self.seed);
        // The reference sees the same weights and states, after their rounding.
        let wide = control.cast::<f64>();
        let width = formula.width();
        let random = |part: u64| {
            let seed = seed::derive(self.seed, 1000 + part);
            let value =
                |row: usize, column: usize| seed::uniform(seed, (row * width + column) as u64);
            Rows::<R>::from_fn(self.batch, width, |row, column| R::of(value(row, column)))
        };
        let ends = [random(0), random(1)];
        let wide_ends = ends.each_ref().map(Rows::cast::<f64>);
        match formula {
            Formula::Layer(layer) => {
                let exact = Flow::new(Stacked::new(layer.clone(), wide), scheme.clone());
                let flow = Flow::new(Stacked::new(layer.clone(), control), scheme);
                self.compare(&exact, &wide_ends, &flow, &ends, methods)
            }
            Formula::ConvBn(layer) => {
                let exact = Flow::new(ConvBn::new(*layer, wide), scheme.clone());
                let field = ConvBn::new(*layer, control);
                let wide_ends = wide_ends.each_ref().map(Tiled::cut);
                let ends = ends.each_ref().map(Tiled::cut);
                self.compare(&exact, &wide_ends, &Flow::new(field, scheme), &ends, methods)
            }
        }
    }

    /// A row a method, on a flow and beside backprop on the same in `f64`; of both are given x_0 and
    /// the cotangent of x_N.
    fn compare<E, R, F>(
        &self,
        exact: &Flow<E>,
        exact_ends: &[E::State; 2],
        flow: &Flow<F>,
        ends: &[F::State; 2],
        methods: &[(String, Method)],
    ) -> Result<Vec<Row>>
    where
        E: Field<Gradient = Control<f64>>,
        R: Real,
        F: Accountable<Gradient = Control<R>> + Clone,
    {
        let (reference, ..) = gradient(exact, &Method::Backprop(Backprop), exact_ends);
        let Some(budget) = self.memory_budget else {
            let row =
                |(name, method): &(String, Method)| self.row(name, method, flow, ends, &reference);
            return Ok(methods.iter().map(row).collect());
        };
        let planner = Planner {
            flows: vec![flow.footprint(&ends[0])],
            sweeps: false,
            around: 0,
            between: 0,
            threads: rayon::current_num_threads(),
        };
        let planned = |name: Option<&str>, wish: Wish| -> Result<Row> {
            let plan = planner.plan(wish, budget).context("--memory-budget")?;
            crate::say(&format!("memory plan: {plan}"));
            let Choice { method, tile } = plan.choices[0];
            let flow = match tile {
                Some(samples) => flow.clone().with_tile(samples),
                None => flow.clone(),
            };
            Ok(self.row(name.unwrap_or(method.name()), &method, &flow, ends, &reference))
        };
        if self.methods.is_empty() {
            let usual = methods.iter().find_map(|(name, method)| match method {
                Method::Adjoint(adjoint) if name == "adjoint-adaptive" => Some(*adjoint),
                _ => None,
            });
            let usual = usual.context("the registry has adjoint-adaptive")?;
            return Ok(vec![planned(None, Wish::Any(usual))?]);
        }
        methods.iter().map(|(name, method)| planned(Some(name), Wish::Family(*method))).collect()
    }

    fn row<R: Real, F: Field<Gradient = Control<R>>>(
        &self,
        name: &str,
        method: &Method,
        flow: &Flow<F>,
        ends: &[F::State; 2],
        reference: &Control<f64>,
    ) -> Row {
        let (found, certificate, tape_bytes) = gradient(flow, method, ends);
        let mut times: Vec<f64> = (0..self.repeat)
            .map(|_| {
                let began = Instant::now();
                gradient(flow, method, ends);
                1e3 * began.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        Row {
            method: name.to_owned(),
            gradient_error: found.cast::<f64>().relative_error(reference),
            state_error: certificate.state_error(),
            defect: certificate.defect,
            kink: certificate.exposure(),
            again: certificate.again,
            cost_units: certificate.cost_units,
            evaluations: certificate.evaluations,
            milliseconds: times[times.len() / 2],
            tape_bytes,
            depth: self.depth,
            batch: self.batch,
            dtype: self.dtype.clone(),
            scheme: self.scheme.clone(),
            field: self.field.clone(),
        }
    }
}

/// Gradient, certificate and tape bytes of one method.
fn gradient<F: Field>(
    flow: &Flow<F>,
    method: &Method,
    [x0, bar]: &[F::State; 2],
) -> (F::Gradient, Certificate, usize) {
    let (_, recording) = flow.record(method, x0);
    let bytes = recording.bytes();
    let mut gradient = flow.field().zero_gradient();
    let (_, certificate) = flow.pull_back(method, recording, bar, &mut gradient);
    (gradient, certificate, bytes)
}

fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    if let Some(Row { field, scheme, depth, batch, dtype, .. }) = rows.first() {
        text += &format!("{field}, {scheme}, depth {depth}, batch {batch}, {dtype}\n");
    }
    text += &format!(
        "{:18} {:>14} {:>11} {:>9} {:>9} {:>7} {:>6} {:>12} {:>12}",
        "method",
        "gradient error",
        "state e_0",
        "defect D",
        "kink K",
        "again",
        "cost",
        "milliseconds",
        "tape bytes"
    );
    for row in rows {
        let kink = row.kink.map_or("-".to_owned(), |kink| format!("{kink:.1e}"));
        text += &format!(
            "\n{:18} {:>14.1e} {:>11.1e} {:>9.1e} {:>9} {:>7} {:>6.2} {:>12.2} {:>12}",
            row.method,
            row.gradient_error,
            row.state_error,
            row.defect,
            kink,
            format!("{:.1}%", 100.0 * row.again),
            row.cost_units,
            row.milliseconds,
            row.tape_bytes
        );
    }
    text
}
