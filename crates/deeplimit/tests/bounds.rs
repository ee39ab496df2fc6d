//! Theory A over random networks: no bound is ever below the distance.

use deeplimit::control::Family;
use deeplimit::field::Layer;
use deeplimit::limit::{Bounds, Interpolant, NeuralOde};
use deeplimit::prelude::*;
use deeplimit::seed::{derive, normal, uniform};
use rayon::prelude::*;

const CASES: u64 = 1000;

const FAMILIES: [Family; 5] =
    [Family::Smooth, Family::Brownian, Family::Alternating, Family::Rough, Family::Independent];

const ACTIVATIONS: [Activation; 4] =
    [Activation::Tanh, Activation::Relu, Activation::Gelu, Activation::Softplus];

/// The `index`-th network with an input: width 1 to 8, hidden 1 to 12, batches of 1 to 3, N from 1
/// to 63, weights up to four times smaller or larger than usual.
fn case(index: u64) -> (Flow<Stacked<f64, Mlp>>, Rows<f64>) {
    let seed = derive(2022, index);
    let unit = |part| 0.5 * (uniform(seed, part) + 1.0);
    let count = |part, most: usize| 1 + (unit(part) * most as f64) as usize;
    let activation = ACTIVATIONS[(index % 4) as usize];
    let layer = Mlp { width: count(0, 8), hidden: count(1, 12), activation };
    let layers = 2f64.powf(6.0 * unit(2)) as usize;
    let scale = 4f64.powf(uniform(seed, 3));
    let family = FAMILIES[(index / 4 % 5) as usize];
    let kinds = Layer::<f64>::kinds(&layer);
    let mut control = Control::random(kinds, layers, family, derive(seed, 1));
    control.values_mut().iter_mut().flatten().for_each(|weight| *weight *= scale);
    let x0 = Rows::from_fn(count(4, 3), layer.width, |row, column| {
        normal(derive(seed, 2), (row * layer.width + column) as u64)
    });
    (Flow::new(Stacked::new(layer, control), Scheme::EULER), x0)
}

#[test]
fn the_bounds_are_above_the_distance_for_1000_random_networks() {
    let below: Vec<String> = (0..CASES)
        .into_par_iter()
        .filter_map(|index| {
            let (flow, x0) = case(index);
            let bounds = Bounds::measure(&flow, &x0, 8).expect("a residual network");
            let distance = NeuralOde::new(&flow, Interpolant::Function).distance(&x0);
            let mut least = bounds.local.min(bounds.smooth).min(bounds.smoothness_free);
            // The constant L is read where layers begin; a single layer ends elsewhere.
            if flow.steps() > 1 {
                least = least.min(bounds.increments);
            }
            // Where relu is off, distance and bounds are zero but for the roundings of 8 substeps.
            let rounding = 1e-14 * (x0.norm_squared().sqrt() + bounds.speed);
            // Not a number is not above.
            let holds = distance <= least + rounding;
            (!holds).then(|| format!("{index}, N = {}: {distance}, {bounds:?}", flow.steps()))
        })
        .collect();
    assert!(below.is_empty(), "{} of {CASES}:\n{}", below.len(), below.join("\n"));
}
