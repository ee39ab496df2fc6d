//! Families of random weights, defined for any depth by the same underlying numbers.

use crate::seed::uniform;
use serde::{Deserialize, Serialize};
use std::f64::consts::{PI, TAU};

/// How random weights vary with depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// θ(s) = A₀ + cos(π s) A₁ + sin(2π s) A₂: samples of one smooth function, at any depth.
    Smooth,
    /// θ_n = A₀ + 0.6 ξ_n with independent ξ_n: bounded but rough in depth.
    Rough,
    /// θ_n = A₀ + 0.9 N^{−1/2} (ξ_0 + … + ξ_n): the path of a random walk, continuous in depth and
    /// nowhere smooth.
    Brownian,
    /// θ_n = A₀ + (−1)ⁿ A₁: bounded, with the same two jumps all along.
    Alternating,
    /// Every layer independent, θ_n = ξ_n, as common initialisations do it.
    Independent,
    /// θ_n = √N ξ_n: so large that N⁻¹ Σ θ_n does not average out but walks at random.
    Diffusive,
    /// Every layer the same, θ_n = A₀: the smoothest start.
    Constant,
    /// All zeros: the network starts as the identity.
    Zero,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Smooth,
        Self::Rough,
        Self::Brownian,
        Self::Alternating,
        Self::Independent,
        Self::Diffusive,
        Self::Constant,
        Self::Zero,
    ];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Smooth => "smooth",
            Self::Rough => "rough",
            Self::Brownian => "brownian",
            Self::Alternating => "alternating",
            Self::Independent => "independent",
            Self::Diffusive => "diffusive",
            Self::Constant => "constant",
            Self::Zero => "zero",
        }
    }

    /// Whether the weights are samples of one function of depth, so that a basis can hold them; the other
    /// families draw every layer by itself.
    pub fn is_a_function_of_depth(self) -> bool {
        matches!(self, Self::Smooth | Self::Brownian | Self::Constant | Self::Zero)
    }

    /// `nodes` samples of `count` numbers of size `scale`, as one array `[nodes, count]`.
    pub fn sample(self, nodes: usize, count: usize, scale: f64, seed: u64) -> Vec<f64> {
        let base = |part: usize, entry: usize| uniform(seed, (part * count + entry) as u64);
        let fresh = |node: usize, entry: usize| base(3 + node, entry);
        let last = (nodes.max(2) - 1) as f64;
        let root = (nodes as f64).sqrt();
        let mut walk = vec![0.0; if self == Self::Brownian { count } else { 0 }];
        let mut value = |node: usize, entry: usize| match self {
            Self::Smooth => {
                let s = node as f64 / last;
                base(0, entry) + (PI * s).cos() * base(1, entry) + (TAU * s).sin() * base(2, entry)
            }
            Self::Rough => base(0, entry) + 0.6 * fresh(node, entry),
            Self::Brownian => {
                walk[entry] += fresh(node, entry);
                base(0, entry) + 0.9 / root * walk[entry]
            }
            Self::Alternating => {
                let sign = if node.is_multiple_of(2) { 1.0 } else { -1.0 };
                base(0, entry) + sign * base(1, entry)
            }
            Self::Independent => fresh(node, entry),
            Self::Diffusive => root * fresh(node, entry),
            Self::Constant => base(0, entry),
            Self::Zero => 0.0,
        };
        (0..nodes * count).map(|i| scale * value(i / count, i % count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Means over many entries of (θ_{n+1} − θ_n)², and of the square of N⁻¹ Σ θ_n.
    fn moments(family: Family, nodes: usize) -> (f64, f64) {
        const COUNT: usize = 400;
        let values = family.sample(nodes, COUNT, 1.0, 3);
        let change = values.iter().zip(&values[COUNT..]).map(|(a, b)| (b - a).powi(2)).sum::<f64>();
        let mean =
            |entry: usize| values.iter().skip(entry).step_by(COUNT).sum::<f64>() / nodes as f64;
        let spread = (0..COUNT).map(|entry| mean(entry).powi(2)).sum::<f64>();
        (change / (COUNT * nodes) as f64, spread / COUNT as f64)
    }

    #[test]
    fn every_family_is_read_back_by_its_name() {
        for family in Family::ALL {
            let text = format!("{:?}", family.name());
            assert_eq!(serde_json::from_str::<Family>(&text).expect("a family"), family);
        }
    }

    #[test]
    fn families_change_from_layer_to_layer_as_they_say() {
        // Uniform numbers have variance 1/3; 400 entries leave 5 % of scatter, which the bands hold
        // several times over.
        let close = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.2;
        for nodes in [64usize, 256] {
            let size = nodes as f64;
            let (brownian, _) = moments(Family::Brownian, nodes);
            assert!(close(brownian, 0.81 / size / 3.0), "{brownian} at {nodes}");
            let (alternating, middle) = moments(Family::Alternating, nodes);
            assert!(close(alternating, 4.0 / 3.0) && close(middle, 1.0 / 3.0), "{alternating}");
            let (diffusive, walked) = moments(Family::Diffusive, nodes);
            assert!(close(diffusive, 2.0 / 3.0 * size), "{diffusive} at {nodes}");
            assert!(close(walked, 1.0 / 3.0), "{walked} at {nodes}");
        }
    }
}
