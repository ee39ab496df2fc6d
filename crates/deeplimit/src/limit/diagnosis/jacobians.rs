//! Lipschitz and one-sided Lipschitz constants of the layer functions along the trajectories.

use super::krylov::Local;
use super::{Diagnosed, Finding};
use crate::limit::ode::largest;
use crate::{Flow, Rows, State};
use rayon::prelude::*;
use serde::Serialize;

/// Lanczos steps for a norm, and for the two ends of a symmetric part.
const NORM_STEPS: usize = 12;
const ENDS_STEPS: usize = 16;

/// Norms of the Jacobians J_n = ∂f_n/∂x, by Lanczos iterations: from below, commonly within 1 %.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Jacobians {
    /// max ‖J_n‖₂ over the samples, at x_n, for every layer.
    pub norms: Vec<f64>,
    /// max μ₂(J_n): how fast neighbouring states can part.
    pub growth: Vec<f64>,
    /// max μ₂(−J_n): how fast errors can grow on the way back.
    pub growth_back: Vec<f64>,
    /// L = max_n ‖J_n‖₂ at x_n.
    pub lipschitz: f64,
    /// max_n μ₂(J_n), the one-sided Lipschitz constant.
    pub one_sided: f64,
    /// max_n μ₂(−J_n), that of the way back.
    pub one_sided_back: f64,
    /// h L.
    pub step_lipschitz: f64,
    /// Layers with h ‖J_n‖ ≥ 1, whose step cannot be undone by a fixed-point iteration.
    pub layers_beyond: usize,
    /// h Σ μ₂(J_n): the logarithm of what the flow can stretch, to first order in h.
    pub log_stretch: f64,
    /// A = h Σ μ₂(−J_n): the logarithm of what errors can grow by on the way back.
    pub log_amplification: f64,
    /// 6·10⁻⁸ e^A ‖x_N‖/‖x_0‖: the error at x_0 that rounding in single precision can leave there.
    pub rounding: f64,
    /// A constant that holds everywhere.
    pub certain: Finding<f64>,
}

/// What is known of one layer: [‖J‖, μ₂(J), μ₂(−J)] at x_n, and ‖J‖ between the trajectories.
struct Layer {
    here: [f64; 3],
    segment: f64,
}

/// The constants at the network's states, and for each layer the largest norm at x_n, at the
/// solution x(s_n) and half-way, where a solution is given.
pub(super) fn measure<F: Diagnosed>(
    flow: &Flow<F>,
    network: &[Rows<f64>],
    solution: Option<&[Rows<f64>]>,
) -> (Jacobians, Vec<f64>) {
    let layers = (0..flow.steps()).into_par_iter().map(|layer| {
        let x = &network[layer];
        let mut local = Local::new(flow.field(), layer, x);
        let norm = largest(local.spectral_norms(NORM_STEPS));
        let ends = local.field_of_values(ENDS_STEPS);
        let most = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::NEG_INFINITY, f64::max);
        let growth = most(&mut ends.iter().map(|[up, _]| *up));
        let back = most(&mut ends.iter().map(|[_, down]| -down));
        let mut segment = norm;
        if let Some(solution) = solution {
            let mut middle = x.clone();
            middle.scale(0.5);
            middle.add_scaled(0.5, &solution[layer]);
            for point in [&middle, &solution[layer]] {
                let norms = Local::new(flow.field(), layer, point).spectral_norms(NORM_STEPS);
                segment = largest([segment, largest(norms)]);
            }
        }
        Layer { here: [norm, growth, back], segment }
    });
    let layers: Vec<Layer> = layers.collect();
    let column = |what: usize| layers.iter().map(|layer| layer.here[what]).collect::<Vec<f64>>();
    let [norms, growth, growth_back] = [0, 1, 2].map(column);
    let h = flow.h();
    let most = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_amplification = h * growth_back.iter().sum::<f64>();
    let size = |x: &Rows<f64>| x.norm_squared().sqrt();
    let jacobians = Jacobians {
        lipschitz: largest(norms.iter().copied()),
        one_sided: most(&growth),
        one_sided_back: most(&growth_back),
        step_lipschitz: h * largest(norms.iter().copied()),
        layers_beyond: norms.iter().filter(|norm| h * **norm >= 1.0).count(),
        log_stretch: h * growth.iter().sum::<f64>(),
        log_amplification,
        rounding: 6e-8 * log_amplification.exp() * size(&network[flow.steps()]) / size(&network[0]),
        certain: flow.field().certain_lipschitz(),
        norms,
        growth,
        growth_back,
    };
    (jacobians, layers.into_iter().map(|layer| layer.segment).collect())
}
