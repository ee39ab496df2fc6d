//! How far a network is from the limit, as functions of depth.

use super::basis::gauss;
use super::continuum::Limit;
use super::network::Network;
use crate::kernel::sums::distance_squared;
use serde::Serialize;

/// Distances between a network's control, prolonged to all depths, and the limit's, over all numbers of
/// K and b together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Distances {
    /// max_i ‖θ_i − θ(i/n)‖.
    pub nodal: f64,
    /// L² distance of the control that is θ_i on [i/n, (i + 1)/n).
    pub constant: f64,
    /// L² distance of the control that is affine between the nodes, and constant after the last.
    pub affine: f64,
    /// L² distance of the derivative of that control, the H¹ seminorm of the difference.
    pub derivative: f64,
    /// 2-norm of the differences of W and c.
    pub readout: f64,
}

impl Limit<'_> {
    /// Distances of a network; integrals by Gauss' rule of five points a layer.
    ///
    /// # Panics
    /// If the network's shapes are not those of the limit.
    pub fn distances(&self, network: &Network) -> Distances {
        let (layers, control) = (network.layers(), &network.control);
        assert_eq!(control.kinds(), self.problem.kinds(), "a network of the same problem");
        let node = |node: usize, kind: usize| control.at(kind, node.min(layers - 1));
        let (mut nodal, mut constant, mut affine, mut derivative) = (0.0f64, 0.0, 0.0, 0.0);
        for layer in 0..layers {
            let start = self.at(layer as f64 / layers as f64);
            let square = (0..2).map(|kind| distance_squared(node(layer, kind), &start[kind]));
            nodal = nodal.max(square.sum());
            for (fraction, weight) in gauss() {
                let point = self.point((layer as f64 + fraction) / layers as f64);
                let weight = weight / layers as f64;
                for kind in 0..2 {
                    let (here, next) = (node(layer, kind), node(layer + 1, kind));
                    let pairs = || here.iter().zip(next);
                    let between: Vec<f64> = pairs().map(|(a, b)| a + fraction * (b - a)).collect();
                    let slope: Vec<f64> = pairs().map(|(a, b)| layers as f64 * (b - a)).collect();
                    constant += weight * distance_squared(here, &point.values[kind]);
                    affine += weight * distance_squared(&between, &point.values[kind]);
                    derivative += weight * distance_squared(&slope, &point.slopes[kind]);
                }
            }
        }
        let readout = distance_squared(&network.readout.matrix, &self.readout.matrix)
            + distance_squared(&network.readout.offset, &self.readout.offset);
        Distances {
            nodal: nodal.sqrt(),
            constant: constant.sqrt(),
            affine: affine.sqrt(),
            derivative: derivative.sqrt(),
            readout: readout.sqrt(),
        }
    }
}
