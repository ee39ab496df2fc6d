//! Golden files of sections A, B and C6 of the theory, and the networks they are about.
#![allow(dead_code, reason = "each test file uses a part")]

use deeplimit::control::{Control, Position};
use deeplimit::field::Layer;
use deeplimit::gradient::Due;
use deeplimit::prelude::*;
use serde_json::Value;
use std::f64::consts::{PI, TAU};
use std::path::Path;

/// A golden file.
pub fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let text = std::fs::read_to_string(path).expect("the golden file");
    serde_json::from_str(&text).expect("valid JSON")
}

/// A number.
pub fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// A count.
pub fn count(value: &Value) -> usize {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count")) as usize
}

/// The entries of a list.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or_else(|| panic!("{value} is no list"), Vec::as_slice)
}

/// All numbers of nested lists, in order.
pub fn numbers(value: &Value) -> Vec<f64> {
    match value.as_array() {
        Some(entries) => entries.iter().flat_map(numbers).collect(),
        None => vec![number(value)],
    }
}

/// A list of rows.
pub fn rows(value: &Value) -> Rows<f64> {
    let rows = list(value);
    Rows::new(rows.len(), list(&rows[0]).len(), &numbers(value))
}

/// Checks `value` against `expected`, relative to its size and with a floor.
#[track_caller]
pub fn assert_close(value: f64, expected: f64, relative: f64, floor: f64, what: &str) {
    let error = (value - expected).abs();
    assert!(error <= relative * expected.abs() + floor, "{what}: {value:e}, golden {expected:e}");
}

/// Least-squares slope of −log y over log x.
pub fn decay(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), -y.ln())).collect();
    let mean = |f: fn(&(f64, f64)) -> f64| logs.iter().map(f).sum::<f64>() / logs.len() as f64;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let covariance: f64 = logs.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    covariance / logs.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>()
}

/// f = V act(W x + b) of a golden `case`, with the weights of a family at given nodes.
pub struct Case<'v> {
    pub golden: &'v Value,
    pub activation: Activation,
}

impl Case<'_> {
    pub fn layer(&self) -> Mlp {
        let (width, hidden) = (count(&self.golden["d"]), count(&self.golden["m"]));
        Mlp { width, hidden, activation: self.activation }
    }

    pub fn x0(&self) -> Rows<f64> {
        rows(&self.golden["x0"])
    }

    /// The array of one kind, `W`, `b` or `V`, and one part, `0`, `1`, `2` or `xi`.
    pub fn part(&self, kind: &str, part: &str) -> Vec<f64> {
        numbers(&self.golden[format!("{kind}{part}")])
    }

    /// A control whose kind `W`, `b` or `V` holds the arrays that `weights` gives, one a node.
    pub fn field(
        &self,
        nodes: usize,
        weights: impl Fn(&str) -> Vec<Vec<f64>>,
    ) -> Stacked<f64, Mlp> {
        let layer = self.layer();
        let stack = |kind: &str| weights(kind).concat();
        let b2 = vec![0.0; nodes * layer.width];
        let values = vec![stack("W"), stack("b"), stack("V"), b2];
        let kinds = Layer::<f64>::kinds(&layer);
        Stacked::new(layer, Control::new(kinds, nodes, values))
    }

    /// A0 + cos(π s) A1 + sin(2π s) A2 at s = node · spacing.
    pub fn smooth(&self, nodes: usize, spacing: f64) -> Stacked<f64, Mlp> {
        self.field(nodes, |kind| {
            let parts = ["0", "1", "2"].map(|part| self.part(kind, part));
            let s = (0..nodes).map(|node| node as f64 * spacing);
            s.map(|s| blend(&parts, &[1.0, (PI * s).cos(), (TAU * s).sin()])).collect()
        })
    }
}

/// Σ factor · part.
pub fn blend(parts: &[Vec<f64>], factors: &[f64]) -> Vec<f64> {
    let entry = |i: usize| parts.iter().zip(factors).map(|(part, factor)| factor * part[i]).sum();
    (0..parts[0].len()).map(entry).collect()
}

/// A field whose control is stored at `per_step` times as many nodes as the steps see, so that
/// positions between the steps' nodes read stored weights and not a linear blend.
pub struct Refined {
    pub inner: Stacked<f64, Mlp>,
    pub per_step: usize,
}

impl Refined {
    fn position(&self, position: Position) -> Position {
        let fine = self.per_step as f64 * (position.node as f64 + position.fraction);
        assert_eq!(fine, fine.round(), "a position that is stored");
        Position::node(fine as usize)
    }
}

impl Field for Refined {
    const SINGLE_PRECISION: bool = false;
    type State = Rows<f64>;
    type Tape = <Stacked<f64, Mlp> as Field>::Tape;
    type Gradient = Control<f64>;
    type Sink<'g> = <Stacked<f64, Mlp> as Field>::Sink<'g>;

    fn nodes(&self) -> usize {
        (self.inner.nodes() - 1) / self.per_step + 1
    }

    fn tape(&self, like: &Rows<f64>) -> Self::Tape {
        self.inner.tape(like)
    }

    fn tape_bytes(&self, tape: &Self::Tape) -> usize {
        self.inner.tape_bytes(tape)
    }

    fn eval(&self, at: Position, x: &Rows<f64>, out: &mut Rows<f64>, tape: &mut Self::Tape) {
        self.inner.eval(self.position(at), x, out, tape);
    }

    fn linearize(&self, at: Position, x: &Rows<f64>, out: &mut Rows<f64>, tape: &mut Self::Tape) {
        self.inner.linearize(self.position(at), x, out, tape);
    }

    fn pull_back(
        &self,
        at: Position,
        x: &Rows<f64>,
        tape: &mut Self::Tape,
        cotangent: &Rows<f64>,
        x_bar: &mut Rows<f64>,
        gradient: Option<Due<'_, Self::Sink<'_>>>,
    ) {
        self.inner.pull_back(self.position(at), x, tape, cotangent, x_bar, gradient);
    }

    fn zero_gradient(&self) -> Control<f64> {
        self.inner.zero_gradient()
    }

    fn open<'g>(&self, gradient: &'g mut Control<f64>) -> Self::Sink<'g> {
        self.inner.open(gradient)
    }

    fn open_anew<'g>(&self, gradient: &'g mut Control<f64>) -> Self::Sink<'g> {
        self.inner.open_anew(gradient)
    }

    fn zero_part(&self, nodes: usize) -> Control<f64> {
        self.inner.zero_part(nodes)
    }

    fn open_part<'g>(&self, part: &'g mut Control<f64>, first: usize) -> Self::Sink<'g> {
        self.inner.open_part(part, first)
    }

    fn add_part(&self, part: &Control<f64>, first: usize, node: usize, to: &Self::Sink<'_>) {
        self.inner.add_part(part, first, node, to);
    }

    fn gradient_norm(&self, gradient: &Control<f64>) -> f64 {
        self.inner.gradient_norm(gradient)
    }

    fn tile_samples(&self, like: &Rows<f64>) -> Option<usize> {
        self.inner.tile_samples(like)
    }
}
