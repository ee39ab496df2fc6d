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
    /// Every layer independent, θ_n = ξ_n, as common initialisations do it.
    Independent,
    /// Every layer the same, θ_n = A₀: the smoothest start.
    Constant,
    /// All zeros: the network starts as the identity.
    Zero,
}

impl Family {
    /// `nodes` samples of `count` numbers of size `scale`, as one array `[nodes, count]`.
    pub fn sample(self, nodes: usize, count: usize, scale: f64, seed: u64) -> Vec<f64> {
        let base = |part: usize, entry: usize| uniform(seed, (part * count + entry) as u64);
        let fresh = |node: usize, entry: usize| base(3 + node, entry);
        let last = (nodes.max(2) - 1) as f64;
        let value = |node: usize, entry: usize| match self {
            Self::Smooth => {
                let s = node as f64 / last;
                base(0, entry) + (PI * s).cos() * base(1, entry) + (TAU * s).sin() * base(2, entry)
            }
            Self::Rough => base(0, entry) + 0.6 * fresh(node, entry),
            Self::Independent => fresh(node, entry),
            Self::Constant => base(0, entry),
            Self::Zero => 0.0,
        };
        (0..nodes * count).map(|i| scale * value(i / count, i % count)).collect()
    }
}
