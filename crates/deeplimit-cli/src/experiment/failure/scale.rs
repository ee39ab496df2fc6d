//! x + h f(x) with h = 1 instead of 1/N, tanh networks with an independent part in every layer.
//!
//! The state before a layer is the fixed point of x = y − h f(x), which contracts where h L < 1. Weights
//! are multiplied by a gain to vary h L; variants are "h = 1" and, as the contrast, "h = 1/N".

use super::{Row, judged};
use crate::experiment::walks::{random, walk};
use deeplimit::control::{Family, Position};
use deeplimit::field::Stacked;
use deeplimit::gradient::Backprop;
use deeplimit::kernel::Activation;
use deeplimit::limit::Jacobian;
use deeplimit::prelude::*;
use deeplimit::seed;

const METHODS: [&str; 4] =
    ["adjoint-published", "adjoint-corrected", "adjoint-learned", "adjoint-adaptive"];

/// Multiply all weights; L goes like their square.
const GAINS: [f64; 6] = [0.3, 0.5, 0.8, 1.2, 1.8, 2.7];

/// Networks of a depth.
pub fn measure(depth: usize, seed: u64) -> Vec<Row> {
    let layer = AnyLayer::Mlp(Mlp { width: 6, hidden: 10, activation: Activation::Tanh });
    let [x0, bar] = [1, 2].map(|part| random(8, 6, seed::derive(seed, part)));
    let mut rows = Vec::new();
    for gain in GAINS {
        let mut field =
            Stacked::<f64, _>::random(layer.clone(), depth, Family::Rough, seed::derive(seed, 3));
        let weights = field.control_mut().values_mut().iter_mut().flatten();
        weights.for_each(|weight| *weight *= gain);
        let flow = Flow::new(field, Scheme::EULER);
        for (variant, flow) in [("h = 1/N", flow.clone()), ("h = 1", flow.with_step(1.0))] {
            let exact = walk(&flow, &Method::Backprop(Backprop), [&x0, &bar]).gradient;
            let strength = contraction(&flow, &x0);
            rows.extend(METHODS.map(|method| Row {
                failure: "scale".into(),
                variant: variant.into(),
                strength,
                ..judged(&flow, method, [&x0, &bar], &exact)
            }));
        }
    }
    rows
}

/// h L: the largest h ‖J‖₂ over the states of all samples.
fn contraction(flow: &Flow<Stacked<f64, AnyLayer>>, x0: &Rows<f64>) -> f64 {
    let mut largest: f64 = 0.0;
    for (layer, x) in flow.states(x0).iter().take(flow.steps()).enumerate() {
        let jacobians = Jacobian::of(flow.field(), Position::node(layer), x);
        let norms = jacobians.iter().map(Jacobian::spectral_norm);
        largest = norms.fold(largest, f64::max);
    }
    flow.h() * largest
}
