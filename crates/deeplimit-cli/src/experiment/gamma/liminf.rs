//! Energies along sequences θ_n → θ: oscillating, jumping, and converging only weakly.

use deeplimit::control::Control;
use deeplimit::objective::variational::{Continuum, Discrete, Network, Problem, ProblemError};
use deeplimit::seed::{derive, normal, uniform};
use std::f64::consts::PI;

/// c: how far the sequences are from θ.
const AMPLITUDE: f64 = 1.0;

/// Degree of θ, and Runge–Kutta steps for E_∞(θ).
const DEGREE: usize = 4;
const STEPS: usize = 1280;

/// How θ_n differs from θ(i/n), each along one unit vector v of all numbers of K and b.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// Not at all.
    Samples,
    /// (c/n) v: also the derivative converges.
    Shift,
    /// ±(c/n) v, from layer to layer: the derivative does not converge, not even weakly to another one.
    Alternating,
    /// ±(c/n) v with random signs.
    Random,
    /// (c/ω) sin(ω s) v, ω = 2π ⌊√n⌋: the derivative converges weakly, not in norm.
    Weak,
    /// (c/√n) v from s = ½ on.
    Jump,
    /// c v from s = ½ on: the limit is no function with a derivative, and E_∞ = ∞ there.
    FixedJump,
}

impl Sequence {
    pub const ALL: [Self; 7] = [
        Self::Samples,
        Self::Shift,
        Self::Alternating,
        Self::Random,
        Self::Weak,
        Self::Jump,
        Self::FixedJump,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Samples => "samples θ(i/n)",
            Self::Shift => "shifted by c/n",
            Self::Alternating => "alternating, ± c/n",
            Self::Random => "random signs, ± c/n",
            Self::Weak => "weakly convergent, (c/ω) sin ωs",
            Self::Jump => "a jump of c/√n",
            Self::FixedJump => "a jump of c",
        }
    }

    /// lim n Σ ‖θ_i − θ_{i−1}‖² − ∫ ‖θ'‖² ds, in theory; ∞ where the limit has no derivative.
    pub fn excess(self) -> f64 {
        let square = AMPLITUDE * AMPLITUDE;
        match self {
            Self::Samples | Self::Shift => 0.0,
            Self::Alternating => 4.0 * square,
            Self::Random => 2.0 * square,
            Self::Weak => square / 2.0,
            Self::Jump => square,
            Self::FixedJump => f64::INFINITY,
        }
    }

    fn at(self, node: usize, layers: usize, seed: u64) -> f64 {
        let n = layers as f64;
        let s = node as f64 / n;
        let omega = 2.0 * PI * n.sqrt().floor();
        let sign = |is_up: bool| if is_up { 1.0 } else { -1.0 };
        AMPLITUDE
            * match self {
                Self::Samples => 0.0,
                Self::Shift => 1.0 / n,
                Self::Alternating => sign(node.is_multiple_of(2)) / n,
                Self::Random => sign(uniform(seed, node as u64) > 0.0) / n,
                Self::Weak => (omega * s).sin() / omega,
                Self::Jump if s >= 0.5 => 1.0 / n.sqrt(),
                Self::FixedJump if s >= 0.5 => 1.0,
                Self::Jump | Self::FixedJump => 0.0,
            }
    }
}

/// A network of a sequence beside θ.
pub struct Along {
    pub sequence: Sequence,
    pub layers: usize,
    /// E_n(θ_n), E_∞(θ), and the misfits in them.
    pub energies: [f64; 2],
    pub misfits: [f64; 2],
    /// (penalty of θ_n − penalty of θ)/a.
    pub excess: f64,
}

/// Energies along all sequences to one random θ.
pub fn along(
    problem: &Problem,
    of_depth: impl Fn(usize) -> Problem,
    depths: &[usize],
    seed: u64,
) -> Result<Vec<Along>, ProblemError> {
    let continuum = Continuum::new(problem, DEGREE, STEPS)?;
    let start = continuum.variables(&Network::random(problem, 4, seed));
    let draw = |index: usize| normal(derive(seed, 1), index as u64);
    let variables: Vec<f64> = (0..start.len()).map(draw).collect();
    let limit = continuum.limit(&variables);
    let expected = continuum.energy(&variables);
    let numbers: usize = problem.kinds().iter().map(|kind| kind.len()).sum();
    let direction: Vec<f64> =
        (0..numbers).map(|index| normal(derive(seed, 2), index as u64)).collect();
    let size = direction.iter().map(|d| d * d).sum::<f64>().sqrt();
    let mut found = Vec::new();
    for &layers in depths {
        let sampled = limit.sampled(layers);
        let problem = of_depth(layers);
        let networks = Discrete::new(&problem, layers);
        for sequence in Sequence::ALL {
            let mut network = sampled.clone();
            let seed = derive(derive(seed, 3), layers as u64);
            moved(&mut network.control, &direction, |node| sequence.at(node, layers, seed) / size);
            let energy = networks.energy(&network);
            found.push(Along {
                sequence,
                layers,
                energies: [energy.total(), expected.total()],
                misfits: [energy.misfit, expected.misfit],
                excess: (energy.control - expected.control) / problem.penalty().weights,
            });
        }
    }
    Ok(found)
}

/// Adds multiples of one vector to the nodes of a control.
fn moved(control: &mut Control<f64>, direction: &[f64], factor: impl Fn(usize) -> f64) {
    let lengths: Vec<usize> = control.kinds().iter().map(|kind| kind.len()).collect();
    let mut first = 0;
    for (length, values) in lengths.into_iter().zip(control.values_mut()) {
        let own = &direction[first..first + length];
        first += length;
        for (node, values) in values.chunks_exact_mut(length).enumerate() {
            let factor = factor(node);
            values.iter_mut().zip(own).for_each(|(value, d)| *value += factor * d);
        }
    }
}
