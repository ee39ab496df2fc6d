//! Schemes with an exact inverse where the inverse, or the scheme, is not stable.
//!
//! Momentum networks divide by γ at every step of their inverse and lose γ^{−N}. The other schemes carry
//! a second mode beside the solution: on x' = −a x it grows like e^{a s} where the solution decays like
//! e^{−a s} (for pairs of McCallum and Foster weakened by the coupling). Then x_N is that mode. Variants
//! are the schemes.

use super::{Row, judged};
use crate::experiment::walks::{random, stored, walk};
use deeplimit::field::{Layer, Stacked};
use deeplimit::gradient::Backprop;
use deeplimit::kernel::Activation;
use deeplimit::prelude::*;
use deeplimit::scheme::reversible::{
    AnyReversible, AsynchronousLeapfrog, Leapfrog, McCallumFoster, Momentum, Reversible,
    ReversibleHeun,
};
use deeplimit::seed;

/// Layers of the decaying network.
pub const STEPS: usize = 200;

/// Momentum networks of a depth, with smooth weights.
pub fn momentum(depth: usize, seed: u64) -> Vec<Row> {
    let layer = AnyLayer::Mlp(Mlp { width: 6, hidden: 10, activation: Activation::Tanh });
    let [x0, bar] = [1, 2].map(|part| random(8, 6, seed::derive(seed, part)));
    let gamma = Momentum::GAMMA;
    let scheme = AnyReversible::Momentum(Momentum { gamma });
    let nodes = scheme.nodes_for(depth);
    let field = Stacked::<f64, _>::smooth(layer.clone(), nodes, seed::derive(seed, 3));
    let flow = Flow::new(field, scheme.clone());
    let exact = stored(&flow, [&x0, &bar]).1;
    let row = |variant: &str, epsilon: f64, row: Row| Row {
        failure: "momentum".into(),
        variant: variant.into(),
        strength: gamma,
        predicted: epsilon * gamma.powf(-(depth as f64)),
        ..without_repair(row)
    };
    let double = judged(&flow, "reversible", [&x0, &bar], &exact);
    let single = Stacked::new(layer, flow.field().control().cast::<f32>());
    let single = Flow::new(single, scheme);
    let ends = [x0.cast::<f32>(), bar.cast::<f32>()];
    let single = judged(&single, "reversible", ends.each_ref(), &exact);
    vec![row("f64", f64::EPSILON, double), row("f32", f64::from(f32::EPSILON), single)]
}

/// x' = −a x by every scheme, and by Euler's as the contrast.
pub fn parasite(a: f64) -> Vec<Row> {
    let layer = AnyLayer::Linear(Linear { width: 1 });
    let (x0, bar) = (Rows::new(1, 1, &[1.0]), Rows::new(1, 1, &[1.0]));
    let field = |nodes: usize| {
        let control = Control::new(Layer::<f64>::kinds(&layer), nodes, vec![vec![-a; nodes]]);
        Stacked::<f64, _>::new(layer.clone(), control)
    };
    let pair =
        |base: Scheme| AnyReversible::McCallumFoster(McCallumFoster { base, coupling: 0.99 });
    let schemes = [
        AnyReversible::Leapfrog(Leapfrog),
        AnyReversible::Momentum(Momentum { gamma: Momentum::GAMMA }),
        AnyReversible::ReversibleHeun(ReversibleHeun),
        AnyReversible::AsynchronousLeapfrog(AsynchronousLeapfrog),
        pair(Scheme::HEUN),
        pair(Scheme::RK4),
    ];
    let row = |variant: String, end: Rows<f64>, row: Row| Row {
        failure: "parasite".into(),
        variant,
        strength: a,
        predicted: (-a).exp(),
        growth: end.norm_squared().sqrt(),
        ..row
    };
    let mut rows = Vec::new();
    for scheme in schemes {
        let flow = Flow::new(field(scheme.nodes_for(STEPS)), scheme.clone());
        let exact = stored(&flow, [&x0, &bar]).1;
        let found = without_repair(judged(&flow, "reversible", [&x0, &bar], &exact));
        rows.push(row(scheme.to_string(), flow.forward(&x0), found));
    }
    let flow = Flow::new(field(STEPS), Scheme::EULER);
    let exact = walk(&flow, &Method::Backprop(Backprop), [&x0, &bar]).gradient;
    let found = judged(&flow, "adjoint-adaptive", [&x0, &bar], &exact);
    rows.push(row(Scheme::EULER.name().to_owned(), flow.forward(&x0), found));
    rows
}

/// There is no tolerance for the method `reversible`.
fn without_repair(row: Row) -> Row {
    let none = f64::NAN;
    Row {
        repaired_error: none,
        repaired_layer_error: none,
        again: none,
        repaired_cost: none,
        ..row
    }
}
