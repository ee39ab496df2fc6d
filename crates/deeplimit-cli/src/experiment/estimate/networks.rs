//! Random networks of several kinds, and what every method finds on one.

use super::{LARGE, METHODS, Mode, TOLERANCES};
use crate::experiment::walks::{random, walk};
use deeplimit::control::{Control, Family};
use deeplimit::field::{ConvBn, Stacked, Tiled};
use deeplimit::gradient::{Adjoint, Backprop};
use deeplimit::kernel::{Activation, Image};
use deeplimit::{Field, Flow, Method, Scheme, seed};
use deeplimit_nn::network::{FieldName, Formula};

/// The fields of random networks, by their names in the registry.
pub const KINDS: [&str; 3] = ["mlp", "conv", "conv-bn"];

/// The networks' activations in turn: half of them with kinks.
const ACTIVATIONS: [Activation; 6] = [
    Activation::Relu,
    Activation::Tanh,
    Activation::Relu,
    Activation::Gelu,
    Activation::Relu,
    Activation::Softplus,
];

const FAMILIES: [Family; 4] =
    [Family::Smooth, Family::Rough, Family::Brownian, Family::Independent];

/// The error of one gradient, and what was said about it.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub method: &'static str,
    pub mode: Mode,
    pub error: f64,
    pub estimate: f64,
    pub again: f64,
    pub cost: f64,
}

/// Choices of one network, evenly over their ranges.
struct Choices {
    seed: u64,
    count: u64,
}

impl Choices {
    fn uniform(&mut self, low: f64, high: f64) -> f64 {
        self.count += 1;
        low + (high - low) * 0.5 * (seed::uniform(self.seed, self.count) + 1.0)
    }

    fn count(&mut self, low: usize, high: usize) -> usize {
        (self.uniform(low as f64, high as f64 + 1.0).floor() as usize).min(high)
    }
}

/// Whether the `index`-th network has kinks.
pub fn kinked(index: u64) -> bool {
    ACTIVATIONS[(index % 6) as usize] == Activation::Relu
}

/// All gradients of the `index`-th network of a kind.
pub fn gradients(kind: &str, index: u64, seed: u64) -> Vec<Found> {
    let seed = seed::derive(seed, index);
    let mut choices = Choices { seed: seed::derive(seed, 1), count: 0 };
    let activation = ACTIVATIONS[(index % 6) as usize];
    let family = FAMILIES[(index / 6 % 4) as usize];
    let gain = 2f64.powf(choices.uniform(-0.75, 1.1));
    let image = Image { height: 4, width: 5 };
    let (channels, image, hidden, samples, depth) = match kind {
        "mlp" => {
            let width = choices.count(3, 12);
            (width, Image { height: 1, width: 1 }, choices.count(4, 24), choices.count(1, 8), 8.0)
        }
        "conv" => (choices.count(2, 3), image, choices.count(2, 6), choices.count(1, 4), 6.0),
        _ => (choices.count(2, 4), image, choices.count(2, 6), choices.count(4, 24), 7.0),
    };
    let depth = 2f64.powf(choices.uniform(2.0, depth)).floor() as usize;
    let name = FieldName::named(kind).expect("a field of the registry");
    let formula = name.formula(channels, image, hidden, activation);
    let mut control: Control<f64> = formula.initial(depth, family, gain, seed::derive(seed, 2));
    let ends = [3, 4].map(|part| random(samples, formula.width(), seed::derive(seed, part)));
    match formula {
        Formula::Layer(layer) => {
            let flow = Flow::new(Stacked::new(layer, control), Scheme::EULER);
            of_flow(&flow, ends.each_ref())
        }
        Formula::ConvBn(layer) => {
            // A normalised field is of size 1 whatever its weights.
            let last = control.kinds().iter().position(|kind| kind.name == "g2");
            let gains = &mut control.values_mut()[last.expect("a gain")];
            gains.iter_mut().for_each(|value| *value *= gain);
            let ends = ends.each_ref().map(Tiled::cut);
            of_flow(&Flow::new(ConvBn::new(layer, control), Scheme::EULER), ends.each_ref())
        }
    }
}

fn of_flow<F: Field<Gradient = Control<f64>>>(flow: &Flow<F>, ends: [&F::State; 2]) -> Vec<Found> {
    let exact = walk(flow, &Method::Backprop(Backprop), ends).gradient;
    let mut all = Vec::new();
    for method in METHODS {
        let Ok(Method::Adjoint(adjoint)) = method.parse() else {
            unreachable!("{method} is an adjoint of the registry")
        };
        let judged = Adjoint { tolerance: Some(LARGE), ..adjoint };
        let mut modes = vec![(Mode::Plain, adjoint), (Mode::Judged, judged)];
        modes.extend(
            TOLERANCES.map(|tolerance| (Mode::Within(tolerance), adjoint.within(tolerance))),
        );
        for (mode, adjoint) in modes {
            let found = walk(flow, &Method::Adjoint(adjoint), ends);
            let certificate = &found.certificate;
            all.push(Found {
                method,
                mode,
                error: found.gradient.relative_error(&exact),
                estimate: certificate.error_estimate(),
                again: certificate.again,
                cost: certificate.cost_units,
            });
        }
    }
    all
}
