//! Peak memory of one gradient against depth, for every gradient method.
//!
//! ```text
//! backprop                       N activations        slope 1 in log-log
//! checkpoint, √N segments        √N states            slope ½ (Chen et al. 2016)
//! checkpoint, fixed slots        that many states     slope 0 (Griewank, Walther 2000)
//! adjoints                       one layer            slope 0 (Sander, Ablin, Peyré 2022)
//! adjoint with a tolerance       √N anchors           slope ½
//! exact inverse                  one layer            slope 0
//! ```
//!
//! Counted are the bytes that the program has allocated at any time of one gradient beyond those
//! before it: parameters, the buffer for their gradient, the batch and its cotangent are there before,
//! for every method. So are, while a gradient is opened for adding, the locks of its nodes: a little for
//! every layer, which is counted by itself and subtracted. One tile on one thread; more threads walk
//! more tiles at the same time.

use super::{Experiment, Findings, Size, power_law, within};
use crate::memory::{peak_of, thread_milliseconds};
use crate::page::{
    CURVES, Claim, Curve, Figure, Frame, GREY, Ink, Part, Scale, Section, Stroke, Table, Text,
    significant,
};
use anyhow::Result;
use deeplimit::control::{Control, Family};
use deeplimit::field::{Layer, Mlp, Stacked};
use deeplimit::gradient::{Adjoint, Checkpoint, REGISTRY};
use deeplimit::kernel::Activation;
use deeplimit::limit::Slope;
use deeplimit::scheme::AnyScheme;
use deeplimit::scheme::reversible::{AnyReversible, Leapfrog};
use deeplimit::{Bytes, Field, Flow, Method, Rows, Scheme, seed};
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

/// The residual function: narrow, so that parameters of 100 000 layers fit.
const LAYER: Mlp = Mlp { width: 16, hidden: 16, activation: Activation::Tanh };

/// Samples, all in one tile.
const BATCH: usize = 128;

/// Backprop is not run where it would need more bytes.
const MOST_BYTES: usize = 2_000_000_000;

/// Slots of the binomial checkpoints.
const SLOTS: usize = 16;

/// Tolerance of the adjoint that keeps its gradient within one.
const TOLERANCE: f64 = 1e-3;

/// From here on memory shows how it grows: below, what is there at any depth is a part of it.
const GROWING_FROM: usize = 100;

/// Gradients are repeated until they have taken so many milliseconds: the time on a core is known to
/// four of them.
const TIMED: f64 = 60.0;

/// The measurement.
pub struct Memory {
    depths: Vec<usize>,
    seed: u64,
}

impl Memory {
    /// Depths 1 to 3 000, or to 100 000.
    pub fn new(size: Size, seed: u64) -> Self {
        let mut depths = vec![1, 3, 10, 30, 100, 300, 1000, 3000];
        depths.extend(size.pick(vec![], vec![10_000, 30_000, 100_000]));
        Self { depths, seed }
    }
}

/// One gradient.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    depth: usize,
    method: String,
    scheme: String,
    /// Most bytes allocated at any time, beyond those before and `lock_bytes`; none if it was not run.
    peak_bytes: Option<usize>,
    /// What the method says that it keeps from the way forward to the way back.
    tape_bytes: Option<usize>,
    /// Bytes of the parameters; their gradient takes as many again.
    parameter_bytes: usize,
    /// Bytes of the locks of the gradient while it is opened for adding.
    lock_bytes: usize,
    /// Milliseconds of the gradient on one thread, by the clock of the settings: the mean of as many
    /// as take 60 milliseconds.
    milliseconds: Option<f64>,
    /// Its cost in forward evaluations of all layers; a pull-back counts 2.
    cost_units: Option<f64>,
    /// Bytes that it would have kept, if it was not run.
    would_keep_bytes: Option<usize>,
}

#[derive(Serialize)]
pub struct Settings {
    width: usize,
    hidden: usize,
    batch: usize,
    dtype: &'static str,
    slots: usize,
    tolerance: f64,
    most_bytes: usize,
    /// What the milliseconds are.
    clock: &'static str,
}

/// Milliseconds of this thread on a core where the system tells them, else those of the clock.
enum Clock {
    Core(f64),
    Wall(Instant),
}

impl Clock {
    fn start() -> Self {
        thread_milliseconds().map_or_else(|| Self::Wall(Instant::now()), Self::Core)
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Core(_) => "time on a core",
            Self::Wall(_) => "time that passed",
        }
    }

    fn milliseconds(&self) -> f64 {
        match self {
            Self::Core(began) => thread_milliseconds().map_or(f64::NAN, |now| now - began),
            Self::Wall(began) => 1e3 * began.elapsed().as_secs_f64(),
        }
    }
}

/// How a method's memory grows with depth.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Growth {
    Depth,
    Root,
    None,
}

/// A gradient method with its settings, by the name on the page.
struct Entrant {
    name: String,
    scheme: AnyScheme,
    method: Method,
    growth: Growth,
}

/// All methods of the registry, checkpoints in fixed slots, and an adjoint with a tolerance.
fn entrants() -> Vec<Entrant> {
    let mut all: Vec<(String, Method)> =
        REGISTRY.iter().map(|entry| (entry.name.to_owned(), entry.method)).collect();
    let slots = Checkpoint { segments: None, slots: NonZeroUsize::new(SLOTS) };
    let place = all.iter().position(|(name, _)| name == "checkpoint").map_or(0, |at| at + 1);
    all.insert(place, (format!("checkpoint, {SLOTS} slots"), Method::Checkpoint(slots)));
    let adaptive: Vec<Adjoint> = all
        .iter()
        .filter_map(|(name, method)| match method {
            Method::Adjoint(adjoint) if name == "adjoint-adaptive" => Some(*adjoint),
            _ => None,
        })
        .collect();
    for adjoint in adaptive {
        let name = format!("adjoint-adaptive, tolerance {TOLERANCE}");
        all.push((name, Method::Adjoint(adjoint.within(TOLERANCE))));
    }
    let entrant = |(name, method): (String, Method)| {
        let euler = AnyScheme::from(Scheme::EULER);
        let (name, scheme) = match method.fits(&euler) {
            Ok(()) => (name, euler),
            Err(_) => (format!("{name} (leapfrog)"), AnyReversible::Leapfrog(Leapfrog).into()),
        };
        let growth = match method {
            Method::Backprop(_) => Growth::Depth,
            Method::Checkpoint(checkpoint) if checkpoint.slots.is_none() => Growth::Root,
            Method::Adjoint(adjoint) if adjoint.tolerance.is_some() => Growth::Root,
            _ => Growth::None,
        };
        Entrant { name, scheme, method, growth }
    };
    all.into_iter().map(entrant).collect()
}

type Narrow = Flow<Stacked<f32, Mlp>>;

impl Memory {
    fn batch(&self, part: u64) -> Rows<f32> {
        let seed = seed::derive(self.seed, 1000 + part);
        let value = |row: usize, column: usize| (row * LAYER.width + column) as u64;
        Rows::from_fn(BATCH, LAYER.width, |row, column| {
            seed::uniform(seed, value(row, column)) as f32
        })
    }

    fn control(&self, depth: usize) -> Control<f32> {
        Control::random(Layer::<f32>::kinds(&LAYER), depth, Family::Smooth, self.seed)
    }

    /// Bytes that backprop keeps of one layer.
    fn backprop_bytes_a_layer(&self) -> usize {
        let field = Stacked::new(LAYER, self.control(1));
        let flow = Flow::new(field, Scheme::EULER).with_tile(BATCH);
        flow.record(&deeplimit::gradient::Backprop, &self.batch(0)).1.bytes()
    }

    /// The gradient of one method, and its row.
    fn gradient(&self, entrant: &Entrant, flow: &Narrow, gradient: &mut Control<f32>) -> Row {
        let ends = [self.batch(0), self.batch(1)];
        let ((), lock_bytes) = peak_of(|| drop(flow.field().open(gradient)));
        let mut once = || {
            let (_, recording) = flow.record(&entrant.method, &ends[0]);
            let tape_bytes = recording.bytes();
            let (_, certificate) = flow.pull_back(&entrant.method, recording, &ends[1], gradient);
            (tape_bytes, certificate.cost_units)
        };
        let ((tape_bytes, cost_units), peak) = peak_of(&mut once);
        let (clock, mut count) = (Clock::start(), 0);
        let total = loop {
            once();
            count += 1;
            let total = clock.milliseconds();
            if total >= TIMED || total.is_nan() {
                break total;
            }
        };
        gradient.values_mut().iter_mut().for_each(|values| values.fill(0.0));
        Row {
            peak_bytes: Some(peak - lock_bytes),
            tape_bytes: Some(tape_bytes),
            milliseconds: Some(total / f64::from(count)),
            cost_units: Some(cost_units),
            lock_bytes,
            ..self.not_run(entrant, flow.steps(), gradient.bytes())
        }
    }

    /// The row of a gradient that was not run.
    fn not_run(&self, entrant: &Entrant, depth: usize, parameter_bytes: usize) -> Row {
        Row {
            depth,
            method: entrant.name.clone(),
            scheme: entrant.scheme.to_string(),
            peak_bytes: None,
            tape_bytes: None,
            parameter_bytes,
            lock_bytes: 0,
            milliseconds: None,
            cost_units: None,
            would_keep_bytes: None,
        }
    }
}

impl Experiment for Memory {
    type Case = usize;
    type Row = Row;
    type Settings = Settings;

    const NAME: &'static str = "memory";

    fn title(&self) -> (Text, Text) {
        let about = format!(
            "One gradient of a two-matrix tanh network of width {} on {BATCH} samples in f32, at depths \
             1 to {}: the most bytes that it has allocated at any time, counted by the allocator, and \
             its milliseconds. Weights are samples of one smooth function of depth.",
            LAYER.width,
            self.depths.last().unwrap_or(&1),
        );
        ("Peak memory over depth".into(), about.into())
    }

    fn settings(&self) -> Settings {
        Settings {
            width: LAYER.width,
            hidden: LAYER.hidden,
            batch: BATCH,
            dtype: "f32",
            slots: SLOTS,
            tolerance: TOLERANCE,
            most_bytes: MOST_BYTES,
            clock: Clock::start().name(),
        }
    }

    fn cases(&self) -> Vec<usize> {
        self.depths.clone()
    }

    fn key(&self, depth: &usize) -> String {
        format!("depth {depth}")
    }

    fn measure(&self, &depth: &usize, _scratch: &Path) -> Result<Vec<Row>> {
        let mut control = self.control(depth);
        let mut gradient = Control::zeros(control.kinds().to_vec(), depth);
        let layer_bytes = self.backprop_bytes_a_layer();
        let mut rows = Vec::new();
        for entrant in entrants() {
            let kept = depth * layer_bytes;
            if entrant.growth == Growth::Depth && kept + 2 * control.bytes() > MOST_BYTES {
                let row = self.not_run(&entrant, depth, control.bytes());
                rows.push(Row { would_keep_bytes: Some(kept), ..row });
                continue;
            }
            let field = Stacked::new(LAYER, control);
            let flow = Flow::new(field, entrant.scheme.clone()).with_tile(BATCH);
            rows.push(self.gradient(&entrant, &flow, &mut gradient));
            control = flow.into_field().into_control();
        }
        Ok(rows)
    }

    fn findings(&self, rows: &[Row]) -> Result<Findings> {
        Ok(Findings { claims: claims(rows), sections: sections(rows)? })
    }
}

/// (depth, `value`) of the rows of a method that have it.
fn points(rows: &[Row], name: &str, value: impl Fn(&Row) -> Option<f64>) -> Vec<(f64, f64)> {
    let rows = rows.iter().filter(|row| row.method == name);
    rows.filter_map(|row| Some((row.depth as f64, value(row)?))).collect()
}

/// (depth, peak bytes) of a method, from where its growth shows.
fn growing(rows: &[Row], name: &str) -> Vec<(f64, f64)> {
    let all = points(rows, name, |row| row.peak_bytes.map(|bytes| bytes as f64));
    all.into_iter().filter(|(depth, _)| *depth >= GROWING_FROM as f64).collect()
}

fn claims(rows: &[Row]) -> Vec<Claim> {
    let mut claims = Vec::new();
    for Entrant { name, growth, .. } in entrants() {
        let points = growing(rows, &name);
        let slope = Slope::fit(&points).value;
        claims.push(match growth {
            Growth::Root if !name.starts_with("checkpoint") => within(
                format!(
                    "{name}: peak memory grows at most like √N (anchors between which a segment can be \
                     walked again); slope"
                ),
                slope,
                f64::NEG_INFINITY..=0.6,
            ),
            Growth::Depth => within(
                format!("{name}: peak memory grows like N (every linearised step is kept); slope"),
                slope,
                0.95..=1.05,
            ),
            Growth::Root => within(
                format!(
                    "{name}: peak memory grows like √N (√N states and the steps of one segment, Chen et \
                     al. 2016); slope"
                ),
                slope,
                0.4..=0.6,
            ),
            Growth::None => {
                let (low, high) = extent(&points);
                let source = match name.split(' ').next().unwrap_or_default() {
                    "checkpoint," => "binomial checkpointing, Griewank, Walther 2000",
                    "reversible" => "exact inverse of the scheme",
                    _ => "states recovered backwards, Sander, Ablin, Peyré 2022, equation 8",
                };
                within(
                    format!(
                        "{name}: peak memory is the same at every depth from {GROWING_FROM} on \
                         ({source}); largest by smallest"
                    ),
                    high / low,
                    1.0..=1.05,
                )
            }
        });
    }
    let tape =
        points(rows, "backprop", |row| Some(row.peak_bytes? as f64 / row.tape_bytes? as f64));
    claims.push(within(
        "backprop: the tape's bytes that the library states are those that the allocator counts; \
         peak by tape at the greatest depth",
        tape.last().map_or(f64::NAN, |point| point.1),
        1.0..=1.05,
    ));
    claims
}

fn extent(points: &[(f64, f64)]) -> (f64, f64) {
    let values = points.iter().map(|point| point.1);
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)))
}

const MEGABYTE: f64 = 1e6;

fn sections(rows: &[Row]) -> Result<Vec<Section>> {
    let inks = CURVES.into_iter().chain([GREY; 8]);
    let entrants: Vec<(Entrant, Ink)> = entrants().into_iter().zip(inks).collect();
    let megabytes = |row: &Row| row.peak_bytes.map(|bytes| bytes as f64 / MEGABYTE);
    let of = |chosen: &[&str], value: &dyn Fn(&Row) -> Option<f64>| -> Vec<Curve> {
        let mut curves: Vec<Curve> = Vec::new();
        for (index, name) in chosen.iter().enumerate() {
            let Some((entrant, _)) = entrants.iter().find(|(e, _)| e.name.starts_with(name)) else {
                continue;
            };
            let points = points(rows, &entrant.name, value);
            let name = entrant.name.clone().into();
            let ink = CURVES[index % CURVES.len()];
            curves.push(Curve { name, ink, stroke: Stroke::Bold, points });
        }
        curves
    };
    let certified = format!("adjoint-adaptive, tolerance {TOLERANCE}");
    let slots = format!("checkpoint, {SLOTS} slots");

    let parameters =
        points(rows, "adjoint-adaptive", |row| Some(2.0 * row.parameter_bytes as f64 / MEGABYTE));
    let mut growing = vec![Curve {
        name: "parameters and their gradient (not counted)".into(),
        ink: GREY,
        stroke: Stroke::Broad,
        points: parameters,
    }];
    growing.extend(of(
        &["backprop", "checkpoint", &slots, "adjoint-adaptive", &certified],
        &megabytes,
    ));
    for (name, exponent, label) in [("backprop", 1.0, "slope 1"), ("checkpoint", 0.5, "slope ½")] {
        let points = points(rows, name, megabytes);
        let points: Vec<_> = points.into_iter().filter(|(x, _)| *x >= 30.0).collect();
        let points = power_law(&points, exponent);
        growing.push(Curve { name: label.into(), ink: GREY, stroke: Stroke::Dashed, points });
    }
    let frame = Frame { x: "depth N", y: "peak memory (MB)", ..Frame::RATES };
    let growth = Figure {
        note: format!(
            "Parameters and their gradient are there for every method and grow with depth; the curves \
             are what a gradient takes beyond them, and beyond the locks of the opened gradient, {} bytes \
             a layer.",
            rows.last().map_or(0, |row| row.lock_bytes / row.depth.max(1))
        )
        .into(),
        ..Figure::new("What a gradient takes", &frame, &growing)?
    };

    let flat = of(
        &[
            "adjoint-published",
            "adjoint-corrected",
            "adjoint-predicted",
            "adjoint-learned",
            "adjoint-adaptive",
            "reversible",
            &slots,
        ],
        &megabytes,
    );
    let frame =
        Frame { x: "depth N", y: "peak memory (MB)", scale: Scale::FromZero, ..Frame::RATES };
    let free = Figure {
        note: "The vertical axis is linear.".into(),
        ..Figure::new("Those that do not grow", &frame, &flat)?
    };

    let microseconds = |row: &Row| Some(1e3 * row.milliseconds? / row.depth as f64);
    let frame = Frame { x: "depth N", y: "µs a layer", scale: Scale::FromZero, ..Frame::RATES };
    let from_ten = |row: &Row| if row.depth < 10 { None } else { microseconds(row) };
    let chosen = [
        "backprop",
        "checkpoint",
        &slots,
        "adjoint-corrected",
        "adjoint-predicted",
        "adjoint-adaptive",
        "reversible",
        &certified,
    ];
    let time = Figure {
        note: format!(
            "From depth 10 on, one thread: {}. Nothing is claimed about times.",
            Clock::start().name()
        )
        .into(),
        ..Figure::new("Time a layer", &frame, &of(&chosen, &from_ten))?
    };

    let deepest = rows.iter().map(|row| row.depth).max().unwrap_or(0);
    let head =
        ["method", "peak (MB)", "tape (MB)", "ms", "µs a layer", "cost", "slope from N = 100"];
    let mut lines: Vec<Vec<Text>> = Vec::new();
    for row in rows.iter().filter(|row| row.depth == deepest) {
        let number =
            |value: Option<f64>| value.map_or("–".into(), |value| significant(value).into());
        let slope = Slope::fit(&self::growing(rows, &row.method)).value;
        lines.push(vec![
            row.method.clone().into(),
            number(megabytes(row)),
            number(row.tape_bytes.map(|bytes| bytes as f64 / MEGABYTE)),
            number(row.milliseconds),
            number(microseconds(row)),
            number(row.cost_units),
            // Equal bytes have a slope of rounding.
            format!("{:.3}", (1e3 * slope).round() / 1e3 + 0.0).into(),
        ]);
    }
    let table = Table {
        caption: format!("At depth {deepest}").into(),
        head: head.map(Text::from).to_vec(),
        rows: lines,
    };
    let mut parts = vec![Part::Figures(vec![growth, free])];
    let stopped: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let gigabytes = row.would_keep_bytes? as f64 / 1e9;
            Some(format!("{} layers, where it would keep {gigabytes:.1} GB", row.depth))
        })
        .collect();
    if !stopped.is_empty() {
        let limit = MOST_BYTES as f64 / 1e9;
        let text = format!(
            "Backprop was not run at {}: with the parameters that is more than the {limit} GB of this \
             experiment.",
            stopped.join(" and at ")
        );
        parts.push(Part::Warning(text.into()));
    }
    parts.push(Part::Table(table));
    Ok(vec![
        Section { title: "Peak memory".into(), parts },
        Section { title: "Time".into(), parts: vec![Part::Figures(vec![time])] },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows as theory says, with the bytes of one method bent by a factor at the greatest depth.
    fn rows(bent: &str, factor: f64) -> Vec<Row> {
        let experiment = Memory::new(Size::Quick, 1);
        let mut rows = Vec::new();
        for &depth in &experiment.depths {
            for entrant in entrants() {
                let grown = match entrant.growth {
                    Growth::Depth => depth as f64,
                    Growth::Root => (depth as f64).sqrt(),
                    Growth::None => 3.0,
                };
                let bend = if entrant.name == bent && depth == 3000 { factor } else { 1.0 };
                let bytes = (32_768.0 * grown * bend) as usize;
                let row = experiment.not_run(&entrant, depth, 2000 * depth);
                rows.push(Row { peak_bytes: Some(bytes), tape_bytes: Some(bytes), ..row });
            }
        }
        rows
    }

    #[test]
    fn claims_hold_for_the_growth_of_theory_and_fail_for_any_other() {
        assert!(claims(&rows("", 1.0)).iter().all(|claim| claim.holds));
        for Entrant { name, .. } in entrants() {
            let claims = claims(&rows(&name, 2.0));
            let failed: Vec<&str> = claims
                .iter()
                .filter(|claim| !claim.holds)
                .map(|claim| claim.claim.split(": ").next().unwrap_or_default())
                .collect();
            assert_eq!(failed, [name.as_str()]);
        }
        // Nothing measured is no success.
        assert!(claims(&[]).iter().all(|claim| !claim.holds));
    }

    #[test]
    fn every_method_of_the_registry_is_there_with_a_scheme_that_it_fits() {
        let all = entrants();
        assert_eq!(all.len(), REGISTRY.len() + 2);
        assert!(all.iter().all(|entrant| entrant.method.fits(&entrant.scheme).is_ok()));
    }

    #[test]
    fn a_gradient_that_was_not_run_is_said_on_the_page() {
        let mut rows = rows("", 1.0);
        let last = rows.iter_mut().rfind(|row| row.method == "backprop").expect("a row");
        *last = Row { peak_bytes: None, would_keep_bytes: Some(3_000_000_000), ..last.clone() };
        let sections = sections(&rows).expect("sections");
        let warned = sections[0].parts.iter().any(|part| match part {
            Part::Warning(text) => text.contains("3000 layers, where it would keep 3.0 GB"),
            _ => false,
        });
        assert!(warned);
    }
}
