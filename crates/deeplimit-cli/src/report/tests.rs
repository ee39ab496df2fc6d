//! Claims about the whole page.

use super::*;
use crate::metrics::{EpochLine, Line, StepLine};

/// A plausible step.
pub fn step(step: usize) -> StepLine {
    let s = step as f64;
    StepLine {
        epoch: 1 + step / 100,
        step,
        depths: vec![64],
        loss: 2.0 / (1.0 + s),
        penalty: None,
        accuracy: Some(1.0 - 0.9 / (1.0 + s)),
        rate: 1e-3,
        gradient_norm: 1.0 + (s * 0.7).sin(),
        state_error: 1e-5,
        defect: 2e-5,
        kink: None,
        stalled: 0,
        again: 0.0,
        cost_units: 5.0,
        tape_bytes: 4096,
        seconds: 0.1 * s,
        peak_mb: Some(120.0),
    }
}

fn epoch(epoch: usize) -> Line {
    Line::Epoch(EpochLine {
        epoch,
        step: 100 * epoch,
        depths: vec![64],
        train_loss: 0.5,
        penalty: None,
        train_accuracy: Some(0.8),
        validation_loss: Some(0.6),
        validation_accuracy: Some(0.7),
        rate: 1e-3,
        seconds: 10.0,
        peak_mb: None,
    })
}

fn page(lines: &[Line]) -> String {
    let weights = [WeightPaths {
        stage: 0,
        kind: "w1".into(),
        paths: vec![vec![0.0, 0.5, 1.0], vec![1.0, f64::NAN, -1.0]],
        total_entries: 64,
        scaled_increment: 1.5,
    }];
    let summary = vec![("Test accuracy".into(), "98.2 %".into())];
    let config = "depth = 3\n";
    let history = &lines.iter().cloned().collect();
    render(&Report { title: "spirals", summary, config, history, weights: &weights }).unwrap()
}

fn run(change: impl Fn(StepLine) -> StepLine) -> Vec<Line> {
    let steps = (1..=200).map(|n| Line::Step(change(step(n))));
    steps.chain([epoch(1), epoch(2)]).collect()
}

#[test]
fn a_page_shows_every_chart_and_loads_nothing() {
    let page = page(&run(|step| step));
    for words in ["Loss", "Accuracy", "Learning rate", "Norm of the gradient", "Certificate"] {
        assert!(page.contains(&format!("<figcaption>{words}<")), "{words}");
    }
    assert_eq!(page.matches("<svg").count(), 9);
    assert!(page.contains("98.2 %") && page.contains("depth = 3"));
    for address in ["http:", "https:", "//", "<script", "<link", "@import", "url(", "src="] {
        assert!(!page.contains(address), "{address}");
    }
}

#[test]
fn text_from_the_user_is_escaped() {
    let evil = "<script>alert('&')</script>";
    let weights = [WeightPaths {
        stage: 0,
        kind: evil.into(),
        paths: vec![vec![1.0, 2.0]],
        total_entries: 1,
        scaled_increment: 1.0,
    }];
    let summary = vec![(evil.to_string(), evil.to_string())];
    let history = &History::default();
    let report = Report { title: evil, summary, config: evil, history, weights: &weights };
    let page = render(&report).unwrap();
    assert!(!page.contains("<script"), "{page}");
    // Title twice, name and value of the row, the kind, the configuration.
    assert_eq!(page.matches("&lt;script&gt;alert(").count(), 6);
}

#[test]
fn a_run_that_has_not_begun_says_so() {
    assert!(page(&[]).contains("No step was recorded yet."));
}

#[test]
fn one_step_makes_a_page_of_dots() {
    let page = page(&[Line::Step(step(1))]);
    assert!(page.contains("1 recorded step."));
    assert!(page.matches("<circle").count() >= 8);
    assert!(page.contains("</html>"));
}

#[test]
fn epochs_without_steps_make_a_page() {
    assert!(page(&[epoch(1)]).contains("<figcaption>Accuracy<"));
}

#[test]
fn a_regression_has_no_accuracy() {
    let lines: Vec<_> =
        (1..9).map(|n| Line::Step(StepLine { accuracy: None, ..step(n) })).collect();
    assert!(!page(&lines).contains("Accuracy<"));
}

#[test]
fn a_penalty_and_a_depth_that_changes_have_their_charts() {
    let plain = page(&run(|step| step));
    assert!(!plain.contains("Penalty<") && !plain.contains("Depth<"));
    let penalised = page(&run(|step| StepLine { penalty: Some(0.1), ..step }));
    assert!(penalised.contains("<figcaption>Penalty<") && !penalised.contains("Depth<"));
    let depth = |step: usize| if step < 50 { 8 } else { 16 };
    let refined = page(&run(|step| StepLine { depths: vec![depth(step.step), 4], ..step }));
    assert!(refined.contains("<figcaption>Depth<") && refined.contains("stage 1"));
}

#[test]
fn an_exact_method_has_nothing_to_certify() {
    let lines = run(|step| StepLine { state_error: 0.0, defect: 0.0, ..step });
    let page = page(&lines);
    assert!(page.contains("Exact method: nothing to certify"));
    assert!(!page.contains("<figcaption>Certificate<"));
}

#[test]
fn failures_are_named_on_the_page() {
    let lines = run(|step| match step.step {
        50 => StepLine { stalled: 1, ..step },
        60..70 => StepLine { defect: f64::NAN, loss: f64::INFINITY, ..step },
        _ => step,
    });
    let page = page(&lines);
    assert!(page.contains("In 10 of 200 steps the certificate is not a finite number"));
    assert!(page.contains("In 1 of 200 steps, first in step 50,"));
    assert!(page.contains("Not drawn: 10 values that are infinite"));
}

#[test]
fn a_hundred_thousand_steps_make_less_than_two_megabytes() {
    let noise = |n: usize| ((n * 7919) % 1000) as f64 * 1e-3;
    let lines: Vec<_> = (1..=100_000)
        .map(|n| {
            let kink = Some(1e-4 * (1.0 + noise(n + 5)));
            let (loss, defect) = (1.0 + noise(n), 1e-5 * (1.0 + noise(n + 1)));
            let (gradient_norm, peak_mb) = (noise(n + 2), Some(100.0 + noise(n + 3)));
            Line::Step(StepLine { kink, loss, defect, gradient_norm, peak_mb, ..step(n) })
        })
        .collect();
    let size = page(&lines).len();
    assert!(size < 500_000, "{size}");
}

#[test]
fn many_kinds_of_weights_stay_below_two_megabytes() {
    let kind = |k: usize| WeightPaths {
        stage: k / 6,
        kind: format!("kind {k}"),
        paths: (0..8).map(|p| (0..1000).map(|n| ((n * p) as f64).sin()).collect()).collect(),
        total_entries: 4096,
        scaled_increment: 1e6,
    };
    let weights: Vec<_> = (0..60).map(kind).collect();
    let history = &History::default();
    let report = Report { title: "w", summary: vec![], config: "", history, weights: &weights };
    let page = render(&report).unwrap();
    assert!(page.len() < 2_000_000, "{}", page.len());
    assert!(page.contains("kind 59, stage 9"));
}
