//! Shared by the golden tests: reading the files, their weight families, running a gradient
//! method on them, and the error measures of the theory (section 0).
//!
//! A golden net f(x) = V σ(W x + b) is an [`Mlp`] with W₁ = W, b₁ = b, W₂ = V and b₂ = 0; the
//! gradient of b₂ is left out of every comparison and norm.
#![allow(dead_code, reason = "every test file uses its own part of this module")]

pub mod random;
pub mod run;

use deeplimit::field::Layer;
use deeplimit::prelude::*;
use serde_json::Value;
use std::f64::consts::{PI, TAU};

/// The kinds of an mlp's control that golden files know: W, b, V.
pub const GOLDEN_KINDS: std::ops::Range<usize> = 0..3;

/// Reads `tests/golden/<name>.json`.
pub fn load(name: &str) -> Value {
    let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The entry of that name.
///
/// # Panics
/// With the name, if there is none.
pub fn entry<'v>(value: &'v Value, name: &str) -> &'v Value {
    value.get(name).unwrap_or_else(|| panic!("the golden file has no entry {name:?}"))
}

/// A number; null, which stands for a number that is not finite or not defined, is NaN.
pub fn number(value: &Value, name: &str) -> f64 {
    let value = entry(value, name);
    value.as_f64().unwrap_or_else(|| {
        assert!(value.is_null(), "{name} is {value}, not a number");
        f64::NAN
    })
}

/// A count.
pub fn count(value: &Value, name: &str) -> usize {
    let value = entry(value, name);
    let count = value.as_u64().unwrap_or_else(|| panic!("{name} is {value}, not a count"));
    usize::try_from(count).expect("a count fits a usize")
}

/// A text.
pub fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    entry(value, name).as_str().unwrap_or_else(|| panic!("{name} is not a text"))
}

/// All entries of an object.
pub fn object(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let object = value.as_object().expect("the golden entry is an object");
    object.iter().map(|(name, value)| (name.as_str(), value))
}

/// All entries of an array.
pub fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    entry(value, name).as_array().unwrap_or_else(|| panic!("{name} is not a list"))
}

/// All numbers of the array of that name, of any depth, in order.
pub fn numbers(value: &Value, name: &str) -> Vec<f64> {
    numbers_of(entry(value, name))
}

/// All numbers of an array of any depth, in order.
pub fn numbers_of(value: &Value) -> Vec<f64> {
    fn collect(value: &Value, into: &mut Vec<f64>) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
            Value::Null => into.push(f64::NAN),
            value => into.push(value.as_f64().expect("an array holds numbers")),
        }
    }
    let mut into = Vec::new();
    collect(value, &mut into);
    into
}

/// The depths of a file.
pub fn depths(value: &Value) -> Vec<usize> {
    numbers(value, "Ns").into_iter().map(|depth| depth as usize).collect()
}

/// A family of golden nets: the arrays that its weights are made of, x_0 and the cotangent of x_N.
pub struct Case {
    pub width: usize,
    pub hidden: usize,
    /// For each of W, b, V: A₀, A₁, A₂, ξ.
    parts: Vec<[Vec<f64>; 4]>,
    pub x0: Rows<f64>,
    pub bar: Rows<f64>,
}

impl Case {
    /// Reads a `case` block. Files whose inputs or noise are not stored get empty ones.
    pub fn read(value: &Value) -> Self {
        let (width, hidden) = (count(value, "d"), count(value, "m"));
        let part = |name: &str, suffix: &str| {
            let name = format!("{name}{suffix}");
            value.get(&name).map_or_else(Vec::new, |_| numbers(value, &name))
        };
        let parts = ["W", "b", "V"].map(|name| ["0", "1", "2", "xi"].map(|s| part(name, s)));
        let rows = |name| {
            let data = part(name, "");
            Rows::new(data.len() / width, width, &data)
        };
        Self { width, hidden, parts: parts.into(), x0: rows("x0"), bar: rows("lamN") }
    }

    /// The layer of these nets.
    pub fn layer(&self, activation: Activation) -> Mlp {
        Mlp { width: self.width, hidden: self.hidden, activation }
    }

    /// θ at depth time s, as A₀ + cos(π s) A₁ + sin(2π s) A₂.
    pub fn smooth_at(&self, s: f64) -> Vec<Vec<f64>> {
        let blend = |[a0, a1, a2, _]: &[Vec<f64>; 4]| {
            let terms = a0.iter().zip(a1).zip(a2);
            terms.map(|((a0, a1), a2)| a0 + (PI * s).cos() * a1 + (TAU * s).sin() * a2).collect()
        };
        let mut theta: Vec<Vec<f64>> = self.parts.iter().map(blend).collect();
        theta.push(vec![0.0; self.width]);
        theta
    }

    /// The weights of a family at the nodes s_n = n/N, n = 0 … N−1, with W and V multiplied by
    /// `factor`.
    pub fn control(&self, family: &str, nodes: usize, factor: f64) -> Control<f64> {
        let kinds = Layer::<f64>::kinds(&self.layer(Activation::Tanh));
        let mut values: Vec<Vec<f64>> = vec![Vec::new(); 4];
        for (kind, [a0, a1, _, xi]) in self.parts.iter().enumerate() {
            let length = a0.len();
            let mut walk = vec![0.0; length];
            for node in 0..nodes {
                let smooth = &self.smooth_at(node as f64 / nodes as f64)[kind];
                let noise = |i: usize| xi[node * length + i];
                for i in 0..length {
                    let value = match family {
                        "smooth" => smooth[i],
                        "mixed" => smooth[i] + 0.05 * noise(i),
                        "brownian" => {
                            walk[i] += noise(i);
                            a0[i] + 0.9 * walk[i] / (nodes as f64).sqrt()
                        }
                        "alternating" if node % 2 == 0 => a0[i] + a1[i],
                        "alternating" => a0[i] - a1[i],
                        "iid" => a0[i] + 0.6 * noise(i),
                        other => panic!("unknown weight family {other}"),
                    };
                    values[kind].push(if kind == 1 { value } else { factor * value });
                }
            }
        }
        values[3] = vec![0.0; nodes * self.width];
        Control::new(kinds, nodes, values)
    }

    /// The residual network of a family.
    pub fn field(&self, family: &str, act: Activation, nodes: usize) -> Stacked<f64, Mlp> {
        Stacked::new(self.layer(act), self.control(family, nodes, 1.0))
    }
}

/// The activation of that name in golden files.
pub fn activation(name: &str) -> Activation {
    let known = Activation::ALL.into_iter().find(|activation| activation.name() == name);
    known.unwrap_or_else(|| panic!("unknown activation {name}"))
}

/// Slope of log y against log N by least squares, sign turned: the order of convergence.
pub fn order(depths: &[usize], errors: &[f64]) -> f64 {
    assert_eq!(depths.len(), errors.len(), "one error a depth");
    let points = depths.iter().zip(errors).map(|(n, e)| ((*n as f64).ln(), e.ln()));
    let points: Vec<(f64, f64)> = points.collect();
    let size = points.len() as f64;
    let mean_x = points.iter().map(|p| p.0).sum::<f64>() / size;
    let mean_y = points.iter().map(|p| p.1).sum::<f64>() / size;
    let covariance: f64 = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
    let variance: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
    -covariance / variance
}

/// Asserts |value − golden| ≤ relative · |golden| + floor.
pub fn assert_close(what: &str, value: f64, golden: f64, relative: f64, floor: f64) {
    let allowed = relative * golden.abs() + floor;
    assert!((value - golden).abs() <= allowed, "{what}: {value:e}, golden {golden:e}");
}

/// The largest of some numbers that are not negative; NaN if one of them is.
pub fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |largest, value| if value <= largest { largest } else { value })
}

/// The largest entry of |a − b|.
pub fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "arrays of the same length");
    largest(a.iter().zip(b).map(|(a, b)| (a - b).abs()))
}
