//! The charts of a report: which curves each one holds, and what is said below it.

use super::WeightPaths;
use crate::history::History;
use crate::metrics::{EpochLine, StepLine};
use crate::page::{
    BLUE, Curve, Figure, Frame, GREEN, GREY, Ink, ORANGE, PageError, Scale, Stroke, VIOLET,
    medians, significant,
};

/// The lines of a run that are drawn, by kind.
pub struct Record<'a> {
    /// Lines of steps.
    pub steps: Vec<&'a StepLine>,
    /// Lines of epochs.
    pub epochs: &'a [EpochLine],
}

impl<'a> Record<'a> {
    /// What is held of a run, with its peaks.
    pub fn new(history: &'a History) -> Self {
        Self { steps: history.steps().collect(), epochs: history.epochs() }
    }

    /// Lines at even distances, for trends.
    pub fn typical(history: &'a History) -> Self {
        Self { steps: history.typical().collect(), epochs: history.epochs() }
    }

    fn step_curve(
        &self,
        name: &'static str,
        (ink, stroke): (Ink, Stroke),
        value: impl Fn(&StepLine) -> Option<f64>,
    ) -> Curve {
        let points =
            self.steps.iter().filter_map(|line| Some((line.step as f64, value(line)?))).collect();
        Curve { name: name.into(), ink, stroke, points }
    }

    fn epoch_curve(
        &self,
        name: &'static str,
        ink: Ink,
        value: impl Fn(&EpochLine) -> Option<f64>,
    ) -> Curve {
        let points =
            self.epochs.iter().filter_map(|line| Some((line.step as f64, value(line)?))).collect();
        Curve { name: name.into(), ink, stroke: Stroke::Bold, points }
    }
}

/// Loss and, in classification, accuracy.
pub fn fit(record: &Record) -> Result<Vec<Figure>, PageError> {
    let loss = [
        record.step_curve("each batch", (BLUE, Stroke::Faint), |line| Some(line.loss)),
        record.epoch_curve("training, mean of the epoch", BLUE, |line| Some(line.train_loss)),
        record.epoch_curve("validation", ORANGE, |line| line.validation_loss),
    ];
    let percent = |fraction: f64| 100.0 * fraction;
    let accuracy = [
        record.step_curve("each batch", (BLUE, Stroke::Faint), |l| l.accuracy.map(percent)),
        record.epoch_curve("training, mean of the epoch", BLUE, |l| l.train_accuracy.map(percent)),
        record.epoch_curve("validation", ORANGE, |l| l.validation_accuracy.map(percent)),
    ];
    let mut figures = vec![over_steps("Loss", "loss", by_spread(&loss), &loss, "")?];
    if accuracy.iter().any(|curve| !curve.points.is_empty()) {
        figures.push(over_steps("Accuracy", "accuracy (%)", Scale::Linear, &accuracy, "")?);
    }
    let penalty = [record.step_curve("", (ORANGE, Stroke::Thin), |line| line.penalty)];
    if !penalty[0].points.is_empty() {
        let note =
            "Of the weights' change over depth. It is minimised with the loss, and not in it.";
        figures.push(over_steps("Penalty", "penalty", by_spread(&penalty), &penalty, note)?);
    }
    Ok(figures)
}

/// Learning rate and norm of the gradient.
pub fn optimiser(history: &History) -> Result<Vec<Figure>, PageError> {
    let record = Record::new(history);
    let rate = [record.step_curve("", (GREEN, Stroke::Thin), |line| Some(line.rate))];
    let (norm, note) = with_trends(history, |record| {
        vec![record.step_curve("", (VIOLET, Stroke::Thin), |line| Some(line.gradient_norm))]
    });
    let mut figures = vec![
        over_steps("Learning rate", "learning rate", Scale::FromZero, &rate, "")?,
        over_steps("Norm of the gradient", "norm of the gradient", by_spread(&norm), &norm, note)?,
    ];
    if record.steps.iter().any(|line| line.depths != record.steps[0].depths) {
        let inks = [BLUE, ORANGE, GREEN, VIOLET, GREY];
        let stages = record.steps[0].depths.len();
        let curve = |stage: usize| Curve {
            name: if stages > 1 { format!("stage {stage}").into() } else { "".into() },
            ..record.step_curve("", (inks[stage % inks.len()], Stroke::Thin), |line| {
                line.depths.get(stage).map(|depth| *depth as f64)
            })
        };
        let depths: Vec<Curve> = (0..stages).map(curve).collect();
        figures.push(over_steps("Depth", "steps of the flow", by_spread(&depths), &depths, "")?);
    }
    Ok(figures)
}

/// e_0, D, K and their sum.
pub fn certificate(history: &History) -> Result<Figure, PageError> {
    let thin = |ink| (ink, Stroke::Thin);
    let has_kinks = history.steps().any(|line| line.kink.is_some());
    let sum = if has_kinks { "e₀ + D + K" } else { "e₀ + D" };
    let (curves, note) = with_trends(history, |record| {
        vec![
            record.step_curve(sum, (GREY, Stroke::Broad), |line| Some(estimate(line))),
            record.step_curve("e₀", thin(BLUE), |line| Some(line.state_error)),
            record.step_curve("D", thin(ORANGE), |line| Some(line.defect)),
            record.step_curve("K", thin(GREEN), |line| line.kink),
        ]
    });
    over_steps("Certificate", "relative error", Scale::Log, &curves, note)
}

/// Where there are too many values to follow: all of them, pale, below their running medians.
fn with_trends(
    history: &History,
    curves: impl Fn(&Record) -> Vec<Curve>,
) -> (Vec<Curve>, &'static str) {
    let all = curves(&Record::new(history));
    if all.iter().all(|curve| curve.points.len() <= 300) {
        return (all, "");
    }
    let pale = |curve| Curve { name: "".into(), stroke: Stroke::Faint, ..curve };
    let trend = curves(&Record::typical(history)).into_iter().map(|mut curve| {
        curve.points.retain(|point| point.1.is_finite());
        Curve { points: medians(&curve.points, 120), ..curve }
    });
    let all = all.into_iter().map(pale).chain(trend).collect();
    (all, "Pale: every step. Solid: medians of neighbouring steps.")
}

/// e_0 + D + K: estimates the relative error of the gradient.
pub fn estimate(line: &StepLine) -> f64 {
    line.error_estimate()
}

/// Cost and memory.
pub fn resources(record: &Record) -> Result<Vec<Figure>, PageError> {
    let cost = [record.step_curve("", (BLUE, Stroke::Thin), |line| Some(line.cost_units))];
    let small = Frame { scale: Scale::FromZero, size: SMALL, ..FRAME };
    let frame = Frame { y: "evaluations of all layers", ..small };
    let note = "A pull-back counts as two evaluations, so plain backpropagation costs 3.";
    let cost = figure("Cost of a gradient", &frame, &cost, note)?;

    let seconds = record.steps.iter().map(|line| line.seconds).filter(|s| s.is_finite());
    let (unit, of) = match seconds.fold(0.0, f64::max) {
        7200.0.. => (3600.0, "time since the start (h)"),
        300.0.. => (60.0, "time since the start (min)"),
        _ => (1.0, "time since the start (s)"),
    };
    let points: Vec<_> = (record.steps.iter())
        .filter_map(|line| Some((line.seconds / unit, line.peak_mb?)))
        .collect();
    let peak = [Curve { name: "".into(), ink: ORANGE, stroke: Stroke::Thin, points }];
    let note = "The largest memory that the whole process has held so far.";
    let across = Scale::Tight;
    let frame = Frame { x: of, y: "memory (MB)", across, ..small };
    let memory = figure("Peak memory", &frame, &peak, note)?;

    let largest = record.steps.iter().map(|line| line.tape_bytes).max().unwrap_or(0) as f64;
    let (unit, of) = match largest {
        1e10.. => (1e9, "tape (GB)"),
        1e7.. => (1e6, "tape (MB)"),
        1e4.. => (1e3, "tape (kB)"),
        _ => (1.0, "tape (bytes)"),
    };
    let tape =
        [record.step_curve("", (GREEN, Stroke::Thin), |line| Some(line.tape_bytes as f64 / unit))];
    let note = "What the gradient method keeps between the way forward and the way back.";
    let tape = figure("Tape", &Frame { y: of, ..small }, &tape, note)?;
    Ok(vec![cost, memory, tape].into_iter().filter(|f| f.drawing.svg.is_some()).collect())
}

/// One small chart a kind of parameters.
pub fn weights(kinds: &[WeightPaths]) -> Result<Vec<Figure>, PageError> {
    let inks = [BLUE, ORANGE, GREEN, VIOLET, GREY];
    let paths: usize = kinds.iter().map(|kind| kind.paths.len()).sum();
    let frame = Frame {
        x: "layer n",
        y: "weight",
        size: SMALL,
        // However many kinds there are, the page stays small.
        points: (60_000 / paths.max(1)).clamp(16, 400),
        ..FRAME
    };
    let several = kinds.iter().any(|kind| kind.stage != kinds[0].stage);
    let draw_kind = |kind: &WeightPaths| {
        let curve = |(index, path): (usize, &Vec<f64>)| Curve {
            name: "".into(),
            ink: inks[index % inks.len()],
            stroke: Stroke::Thin,
            points: path.iter().enumerate().map(|(n, value)| (n as f64, *value)).collect(),
        };
        let curves: Vec<_> = kind.paths.iter().enumerate().map(curve).collect();
        let title = match several {
            true => format!("{}, stage {}", kind.kind, kind.stage),
            false => kind.kind.clone(),
        };
        let aside = format!(
            "N·max‖θₙ₊₁ − θₙ‖ = {} · {} of {} entries",
            significant(kind.scaled_increment),
            kind.paths.len(),
            kind.total_entries
        );
        Ok(Figure { aside: aside.into(), ..figure(&title, &frame, &curves, "")? })
    };
    kinds.iter().map(draw_kind).collect()
}

const FRAME: Frame = Frame {
    x: "step",
    y: "",
    across: Scale::Counted,
    scale: Scale::Linear,
    size: (500, 260),
    points: 1000,
};

/// Three charts fit beside each other.
const SMALL: (u32, u32) = (340, 220);

fn over_steps(
    title: &str,
    y: &str,
    scale: Scale,
    curves: &[Curve],
    note: &'static str,
) -> Result<Figure, PageError> {
    figure(title, &Frame { y, scale, ..FRAME }, curves, note)
}

fn figure(
    title: &str,
    frame: &Frame,
    curves: &[Curve],
    note: &'static str,
) -> Result<Figure, PageError> {
    Ok(Figure { note: note.into(), ..Figure::new(title.to_owned(), frame, curves)? })
}

/// Logarithmic where all values are positive and spread over more than a factor of 30.
fn by_spread(curves: &[Curve]) -> Scale {
    let values = curves.iter().flat_map(|curve| &curve.points).map(|point| point.1);
    let finite = values.filter(|value| value.is_finite());
    let (low, high) =
        finite.fold((f64::INFINITY, 0.0_f64), |(l, h), value| (l.min(value), h.max(value)));
    if low > 0.0 && high / low > 30.0 { Scale::Log } else { Scale::Linear }
}
