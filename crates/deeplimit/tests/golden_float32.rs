//! Reconstruction of contracting fields in single and double precision, `c_float32.json`.

mod common;

use common::{GOLDEN_KINDS, entry, list, load, number, numbers, object, run, text};
use deeplimit::gradient::Adjoint;
use deeplimit::prelude::*;
use serde_json::Value;

/// A contracting net of 512 equal layers, as V σ(W x + b).
struct Net {
    layer: Mlp,
    control: Control<f64>,
    x0: Rows<f64>,
    bar: Rows<f64>,
    exact: Control<f64>,
    exact_bar: Rows<f64>,
}

impl Net {
    /// `linear` and `affine`, f = −a (x − c), are W = 1, b = −c, V = −a; `gradflow` is
    /// f = −(a/|W|₂²) Wᵀ tanh(W x).
    fn read(golden: &Value, row: &Value) -> Self {
        const WIDTH: usize = 4;
        let rows = |name| Rows::new(3, WIDTH, &numbers(golden, name));
        let (x0, bar, weight) = (rows("x0"), rows("lamN"), numbers(golden, "W"));
        let (name, a) = (text(row, "field"), number(row, "a"));
        let center = if name == "affine" { [1.0, -0.5, 0.8, 0.3] } else { [0.0; WIDTH] };
        let square = spectral_norm_squared(&weight, WIDTH);
        let value = |kind: usize, entry: usize| {
            let (row, column) = (entry / WIDTH, entry % WIDTH);
            let identity = if row == column { 1.0 } else { 0.0 };
            match (name, kind) {
                ("gradflow", 0) => weight[entry],
                ("gradflow", 2) => -a / square * weight[column * WIDTH + row],
                (_, 0) => identity,
                (_, 1) => -center[column],
                (_, 2) => -a * identity,
                _ => 0.0,
            }
        };
        let smooth = if name == "gradflow" { Activation::Tanh } else { Activation::Identity };
        let layer = Mlp { width: WIDTH, hidden: WIDTH, activation: smooth };
        let sizes = [WIDTH * WIDTH, WIDTH, WIDTH * WIDTH, WIDTH];
        let depth = common::count(golden, "N");
        let control =
            run::control_of(&layer, depth, |kind, entry| value(kind, entry % sizes[kind]));
        let flow = Flow::new(Stacked::new(layer.clone(), control.clone()), Scheme::EULER);
        let exact = run::run(&flow, run::parse("backprop"), &x0, &bar);
        Self { layer, control, x0, bar, exact: exact.gradient, exact_bar: exact.x0_bar }
    }

    /// The errors of a method run in precision R, against backprop in double precision.
    fn errors<R: Real>(&self, method: Method) -> Vec<(&'static str, f64)> {
        let field = Stacked::<R, Mlp>::new(self.layer.clone(), self.control.cast());
        let flow = Flow::new(field, Scheme::EULER);
        let run = run::run(&flow, method, &self.x0.cast(), &self.bar.cast());
        let gradient = run.gradient.cast();
        let anchors = run.certificate.anchors.iter().map(|anchor| anchor.error);
        vec![
            ("e0", run.certificate.state_error()),
            ("gth", run::gradient_error(&gradient, &self.exact, GOLDEN_KINDS)),
            ("gx", run::distance(&run.x0_bar.cast(), &self.exact_bar)),
            ("layer_max", run::layer_error(&gradient, &self.exact, GOLDEN_KINDS)),
            ("max_mismatch", common::largest(anchors)),
        ]
    }

    /// Compares a method in both precisions with their golden blocks.
    fn check(&self, what: &str, method: Method, double: &Value, single: &Value) {
        // Errors are differences of numbers near 1: below 1e-14 they are rounding.
        for (name, error) in self.errors::<f64>(method) {
            let Some(golden) = double.get(name).and_then(Value::as_f64) else { continue };
            common::assert_close(&format!("{what}, f64 {name}"), error, golden, 1e-5, 1e-14);
        }
        for (name, error) in self.errors::<f32>(method) {
            let Some(golden) = single.get(name).and_then(Value::as_f64) else { continue };
            // An order of magnitude, down to one rounding of the states: 2^-24.
            let near = |a: f64, b: f64| a <= 10.0 * b + 6e-8;
            let fits = near(error, golden) && near(golden, error);
            assert!(fits, "{what}, f32 {name}: {error:e}, not {golden:e}");
        }
    }
}

/// |W|₂² by power iteration on WᵀW.
fn spectral_norm_squared(weight: &[f64], width: usize) -> f64 {
    let mut v = vec![1.0; width];
    let mut value = 0.0;
    for _ in 0..5000 {
        let product = |row: usize| (0..width).map(|c| weight[row * width + c] * v[c]).sum();
        let image: Vec<f64> = (0..width).map(product).collect();
        let back = |column: usize| (0..width).map(|r| weight[r * width + column] * image[r]).sum();
        let next: Vec<f64> = (0..width).map(back).collect();
        value = next.iter().map(|x: &f64| x * x).sum::<f64>().sqrt();
        v = next.into_iter().map(|x| x / value).collect();
    }
    value
}

#[test]
fn single_precision_loses_contracting_nets_as_predicted_and_anchors_rescue_them() {
    let golden = load("c_float32");
    for row in list(&golden, "rows") {
        let net = Net::read(&golden, row);
        let name = format!("{}, a = {}", text(row, "field"), number(row, "a"));
        for method in ["C1", "C3", "P2C2"] {
            let block = |precision| entry(row, &format!("{method}_{precision}"));
            let what = format!("{name}, {method}");
            net.check(&what, run::method(method), block("f64"), block("f32"));
        }
        for (anchors, block) in object(entry(row, "anchors")) {
            let count = anchors.parse().expect("a number of anchors");
            let adjoint = Adjoint { anchors: Some(count), ..run::adjoint(run::parse("P2C2")) };
            let what = format!("{name}, {anchors} anchors");
            let method = Method::Adjoint(adjoint);
            net.check(&what, method, entry(block, "f64"), entry(block, "f32"));
        }
    }
}
