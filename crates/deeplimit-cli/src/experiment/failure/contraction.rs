//! f = −a (x − c) in single precision, 512 layers.
//!
//! A rounding error at layer n grows on the way to x_0 like the product of ‖(I + h J)⁻¹‖ over the layers
//! between. With A the sum of their logarithms over all layers, ([`Amplification`])
//!
//! ```text
//! e_0 ≈ 6·10⁻⁸ e^A ‖x_N‖ / ‖x_0‖,     with K anchors   6·10⁻⁸ e^{A/K}
//! ```
//!
//! and the order of magnitude is all that is meant. Variants are "f32" and "f64"; the latter has the
//! error of the method alone.

use super::{Row, judged, with_repair};
use crate::experiment::walks::{random, walk};
use anyhow::{Context, Result};
use deeplimit::field::{Layer, Stacked};
use deeplimit::gradient::Backprop;
use deeplimit::limit::Amplification;
use deeplimit::prelude::*;
use deeplimit::seed;

const WIDTH: usize = 4;
const DEPTH: usize = 512;
const CENTRE: [f64; WIDTH] = [1.0, -0.5, 0.8, 0.3];

/// Half the distance of neighbouring numbers near 1, relative.
const ROUNDING: f64 = 6e-8;

const ANCHORS: [usize; 5] = [1, 2, 4, 8, 16];

/// The method that is tried with anchors: so accurate that only rounding is left.
pub const ACCURATE: &str = "P2C2";

/// One strength of contraction.
pub fn measure(a: f64, seed: u64) -> Result<Vec<Row>> {
    let layer =
        AnyLayer::Mlp(Mlp { width: WIDTH, hidden: WIDTH, activation: Activation::Identity });
    let kinds = Layer::<f64>::kinds(&layer);
    let identity = |factor: f64| -> Vec<f64> {
        let entry = |i: usize| if i / WIDTH == i % WIDTH { factor } else { 0.0 };
        (0..WIDTH * WIDTH).map(entry).collect()
    };
    // V (W x + b) with W = 1, b = −c, V = −a.
    let centre = CENTRE.map(|c| -c).to_vec();
    let layers = [identity(1.0), centre, identity(-a), vec![0.0; WIDTH]];
    let values = layers.map(|values| values.repeat(DEPTH)).to_vec();
    let control = Control::new(kinds, DEPTH, values);
    let [x0, bar] = [1, 2].map(|part| random(3, WIDTH, seed::derive(seed, part)));
    let flow = Flow::new(Stacked::new(layer.clone(), control.clone()), Scheme::EULER);
    let exact = walk(&flow, &Method::Backprop(Backprop), [&x0, &bar]).gradient;
    let amplification = Amplification::measure(&flow, &x0)?;
    let log = amplification.first().context("a batch has samples")?.steps;
    let size = (flow.forward(&x0).norm_squared() / x0.norm_squared()).sqrt();

    let single = Flow::new(Stacked::new(layer, control.cast::<f32>()), Scheme::EULER);
    let ends = [x0.cast::<f32>(), bar.cast::<f32>()];
    let mut rows = Vec::new();
    for method in ["adjoint-published", "adjoint-corrected", "adjoint-adaptive", ACCURATE] {
        let row = |variant: &str, judged: Row| Row {
            failure: "contraction".into(),
            variant: variant.into(),
            strength: a,
            ..judged
        };
        let predicted = ROUNDING * log.exp() * size;
        let found = judged(&single, method, ends.each_ref(), &exact);
        rows.push(Row { predicted, ..row("f32", found) });
        rows.push(row("f64", judged(&flow, method, [&x0, &bar], &exact)));
    }
    for count in ANCHORS.into_iter().skip(1) {
        let Method::Adjoint(adjoint) = with_repair(ACCURATE)[0] else {
            unreachable!("a formula is an adjoint")
        };
        let anchored =
            Method::Adjoint(deeplimit::gradient::Adjoint { anchors: Some(count), ..adjoint });
        let row = |variant: &str, predicted: f64| Row {
            failure: "contraction".into(),
            variant: variant.into(),
            method: ACCURATE.into(),
            depth: DEPTH,
            strength: a,
            predicted,
            repaired_error: f64::NAN,
            repaired_layer_error: f64::NAN,
            again: f64::NAN,
            repaired_cost: f64::NAN,
            ..Row::default()
        };
        let found = walk(&single, &anchored, ends.each_ref());
        let predicted = ROUNDING * (log / count as f64).exp();
        rows.push(row("f32", predicted).found(&found, &exact));
        rows.push(row("f64", 0.0).found(&walk(&flow, &anchored, [&x0, &bar]), &exact));
    }
    Ok(rows)
}
