//! The networks of the experiment, and what is measured of each.

use super::{Kind, Row};
use anyhow::Result;
use deeplimit::control::{Control, Family};
use deeplimit::field::{Layer, Linear, Mlp, Stacked};
use deeplimit::kernel::Activation;
use deeplimit::limit::{Bounds, Interpolant, NeuralOde, lipschitz_bound};
use deeplimit::seed::{derive, normal, uniform};
use deeplimit::{Flow, Rows, Scheme};

type Network = Flow<Stacked<f64, Mlp>>;

/// Substeps a layer of the reference solution.
const SUBSTEPS: usize = 8;

/// What the field's documentation and the page call a family.
pub fn name(family: Family) -> &'static str {
    match family {
        Family::Smooth => "smooth",
        Family::Brownian => "brownian",
        Family::Alternating => "alternating",
        Family::Rough => "iid",
        Family::Independent => "independent",
        Family::Diffusive => "diffusive",
        Family::Constant => "constant",
        Family::Zero => "zero",
    }
}

/// A network of 8 numbers and 16 hidden units with a batch of two.
pub fn of_family(family: Family, layers: usize, network: usize, seed: u64) -> Result<Row> {
    let layer = Mlp { width: 8, hidden: 16, activation: Activation::Tanh };
    let seed = derive(seed, network as u64);
    let kinds = Layer::<f64>::kinds(&layer);
    let control = Control::random(kinds, layers, family, derive(seed, 0));
    let x0 = input(2, layer.width, derive(seed, 1));
    let flow = Flow::new(Stacked::new(layer, control), Scheme::EULER);
    measure(Kind::Family, name(family).into(), network, &flow, &x0)
}

/// A network with everything drawn: width 1 to 8, hidden 1 to 12, batches of 1 to 3, N from 1 to 63,
/// weights up to four times smaller or larger than usual, four activations, five families.
pub fn random(network: usize, seed: u64) -> Result<Row> {
    const FAMILIES: [Family; 5] =
        [Family::Smooth, Family::Brownian, Family::Alternating, Family::Rough, Family::Independent];
    const ACTIVATIONS: [Activation; 4] =
        [Activation::Tanh, Activation::Relu, Activation::Gelu, Activation::Softplus];
    let seed = derive(derive(seed, 1 << 32), network as u64);
    let unit = |part| 0.5 * (uniform(seed, part) + 1.0);
    let count = |part, most: usize| 1 + (unit(part) * most as f64) as usize;
    let activation = ACTIVATIONS[network % 4];
    let family = FAMILIES[network / 4 % 5];
    let layer = Mlp { width: count(0, 8), hidden: count(1, 12), activation };
    let layers = 2f64.powf(6.0 * unit(2)) as usize;
    let scale = 4f64.powf(uniform(seed, 3));
    let kinds = Layer::<f64>::kinds(&layer);
    let mut control = Control::random(kinds, layers, family, derive(seed, 1));
    control.values_mut().iter_mut().flatten().for_each(|weight| *weight *= scale);
    let x0 = input(count(4, 3), layer.width, derive(seed, 2));
    let flow = Flow::new(Stacked::new(layer, control), Scheme::EULER);
    let weights = format!("{} {activation:?}", name(family)).to_lowercase();
    measure(Kind::Random, weights, network, &flow, &x0)
}

/// f = Lx + b_n with b(s) such that x(s) = ½ + 0.3 s + s² solves x' = Lx + b: x'' = 2 everywhere.
pub fn tight(l: f64, layers: usize) -> Result<Row> {
    const CURVATURE: f64 = 2.0;
    let solution = |s: f64| 0.5 + 0.3 * s + CURVATURE * s * s / 2.0;
    let h = 1.0 / layers as f64;
    let nodes = (0..layers).map(|n| n as f64 * h);
    let b: Vec<f64> = nodes.map(|s| 0.3 + CURVATURE * s - l * solution(s)).collect();
    let one = vec![1.0; layers];
    let flow = scalar(Activation::Identity, vec![vec![l; layers], b, one, vec![0.0; layers]]);
    let x0 = Rows::new(1, 1, &[solution(0.0)]);
    let states = flow.states(&x0);
    let error = |(n, x): (usize, &Rows<f64>)| (x.at(0, 0) - solution(n as f64 * h)).abs();
    let distance = states.iter().enumerate().map(error).fold(0.0, f64::max);
    Ok(Row {
        lipschitz: Some(l),
        curvature: Some(CURVATURE),
        smooth: Some(l.exp_m1() / (2.0 * l) * h * CURVATURE),
        network_end: Some(states[layers].at(0, 0)),
        ode_end: Some(solution(1.0)),
        ..row(Kind::Tight, format!("L = {l}"), layers, distance)
    })
}

/// f = v relu(w x) with (v, w) = (1, 1), (−1, −1), …, from x_0 = 1.
pub fn relu(layers: usize) -> Result<Row> {
    let signs: Vec<f64> = (0..layers).map(sign).collect();
    let zero = vec![0.0; layers];
    let flow = scalar(Activation::Relu, vec![signs.clone(), zero.clone(), signs, zero]);
    measure(Kind::Relu, "alternating".into(), 0, &flow, &Rows::new(1, 1, &[1.0]))
}

/// f = θ x with θ_n = (−1)ⁿ a √N, from x_0 = 1. Here e^L = e^{a √N} makes bounds of nothing.
pub fn diffusive(a: f64, layers: usize) -> Row {
    let size = a * (layers as f64).sqrt();
    let weights = (0..layers).map(|n| sign(n) * size).collect();
    let layer = Linear { width: 1 };
    let control = Control::new(Layer::<f64>::kinds(&layer), layers, vec![weights]);
    let flow = Flow::new(Stacked::new(layer, control), Scheme::EULER);
    let x0 = Rows::new(1, 1, &[1.0]);
    let ode = NeuralOde::new(&flow, Interpolant::Function).with_substeps(SUBSTEPS);
    let (network, states) = (flow.states(&x0), ode.states(&x0));
    let distances = network.iter().zip(&states).map(|(x, y)| (x.at(0, 0) - y.at(0, 0)).abs());
    let distance = distances.fold(0.0, f64::max);
    Row {
        weight_distance: Some(distance), // One ODE: the field is linear in θ.
        network_end: Some(network[layers].at(0, 0)),
        ode_end: Some(states[layers].at(0, 0)),
        ..row(Kind::Diffusive, format!("a = {a}"), layers, distance)
    }
}

fn sign(layer: usize) -> f64 {
    if layer.is_multiple_of(2) { 1.0 } else { -1.0 }
}

/// A network of one number and one hidden unit from w, b, v, c of every layer.
fn scalar(activation: Activation, values: Vec<Vec<f64>>) -> Network {
    let layer = Mlp { width: 1, hidden: 1, activation };
    let control = Control::new(Layer::<f64>::kinds(&layer), values[0].len(), values);
    Flow::new(Stacked::new(layer, control), Scheme::EULER)
}

fn input(samples: usize, width: usize, seed: u64) -> Rows<f64> {
    Rows::from_fn(samples, width, |row, column| normal(seed, (row * width + column) as u64))
}

/// A row with a distance and nothing else.
fn row(kind: Kind, weights: String, layers: usize, distance: f64) -> Row {
    Row {
        kind,
        weights,
        network: 0,
        layers,
        distance,
        weight_distance: None,
        lipschitz: None,
        lipschitz_everywhere: None,
        curvature: None,
        speed: None,
        jump: None,
        smooth: None,
        increments: None,
        local: None,
        smoothness_free: None,
        network_end: None,
        ode_end: None,
    }
}

/// Distances, constants and bounds of a network.
fn measure(
    kind: Kind,
    weights: String,
    network: usize,
    flow: &Network,
    x0: &Rows<f64>,
) -> Result<Row> {
    let distance =
        |interpolant| NeuralOde::new(flow, interpolant).with_substeps(SUBSTEPS).distance(x0);
    let bounds = Bounds::measure(flow, x0, SUBSTEPS)?;
    Ok(Row {
        network,
        weight_distance: Some(distance(Interpolant::Weight)),
        lipschitz: Some(bounds.lipschitz),
        lipschitz_everywhere: Some(lipschitz_bound(flow.field())),
        curvature: Some(bounds.curvature),
        speed: Some(bounds.speed),
        jump: Some(bounds.jump),
        smooth: Some(bounds.smooth),
        increments: Some(bounds.increments),
        local: Some(bounds.local),
        smoothness_free: Some(bounds.smoothness_free),
        ..row(kind, weights, flow.steps(), distance(Interpolant::Function))
    })
}
