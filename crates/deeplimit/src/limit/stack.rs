//! Weights of one network as a sequence in depth, θ_0 … θ_{N−1}, whatever their shape.

use crate::Real;
use crate::control::Control;

/// Depth-stacked weights of one parameter kind, or of all kinds put together: for every layer one
/// vector θ_n. They are finite, and there are at least three layers.
#[derive(Clone, Debug)]
pub struct DepthStack<'c, R> {
    layers: usize,
    /// Arrays `[layers, …]`, which together are the vector of a layer.
    parts: Vec<&'c [R]>,
}

/// Weights, or families of networks, whose scaling with depth cannot be measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScalingError {
    /// Second differences need three layers.
    #[error("{layers} layers are too few to see how weights vary with depth; it takes 3 or more")]
    TooShallow {
        /// Layers found.
        layers: usize,
    },
    /// A weight is infinite or not a number.
    #[error("layer {layer} has a weight that is not finite; look at weights from before")]
    NotFinite {
        /// The first such layer.
        layer: usize,
    },
    /// Slopes over depth need different depths.
    #[error("no two of {networks} networks differ in depth; give networks of 2 depths or more")]
    OneDepth {
        /// Networks given.
        networks: usize,
    },
}

impl<'c, R: Real> DepthStack<'c, R> {
    /// The array `[layers, …]`.
    ///
    /// # Errors
    /// If there are fewer than three layers, or a number is not finite.
    ///
    /// # Panics
    /// If `layers` does not divide the length of the array.
    pub fn new(layers: usize, values: &'c [R]) -> Result<Self, ScalingError> {
        Self::check(layers, vec![values])
    }

    /// One parameter kind of a control.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of_kind(control: &'c Control<R>, kind: usize) -> Result<Self, ScalingError> {
        Self::check(control.nodes(), vec![&control.values()[kind]])
    }

    /// All parameter kinds of a control, as one long vector a layer.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of_all(control: &'c Control<R>) -> Result<Self, ScalingError> {
        Self::check(control.nodes(), control.values().iter().map(|values| &values[..]).collect())
    }

    fn check(layers: usize, parts: Vec<&'c [R]>) -> Result<Self, ScalingError> {
        if layers < 3 {
            return Err(ScalingError::TooShallow { layers });
        }
        let mut bad = Vec::new();
        for part in &parts {
            assert_eq!(part.len() % layers, 0, "{} numbers in {layers} layers", part.len());
            let place = part.iter().position(|value| !value.is_finite());
            bad.extend(place.map(|place| place / (part.len() / layers)));
        }
        match bad.into_iter().min() {
            Some(layer) => Err(ScalingError::NotFinite { layer }),
            None => Ok(Self { layers, parts }),
        }
    }

    /// N.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Q(m), the quadratic variation of the weights' primitive N⁻¹ Σ θ at a distance of m layers:
    /// the sum over blocks of `block` layers of ‖N⁻¹ Σ_{block} θ_n‖². The last block may be
    /// shorter.
    ///
    /// Q(m) ∝ m¹ for weights smooth in depth, m⁰ for independent weights of mean zero, bounded or
    /// diffusive, and in between for noise around a mean. Q(1) itself is the size of the Itô term
    /// at this depth.
    ///
    /// # Panics
    /// If `block` is zero.
    pub fn variation(&self, block: usize) -> f64 {
        assert!(block > 0, "a block holds at least one layer");
        let sums = self.partial_sums(block);
        let ends = (1..=self.layers).filter(|end| end % block == 0 || *end == self.layers);
        ends.map(|end| sums[end - 1]).sum::<f64>() / (self.layers as f64).powi(2)
    }

    /// P = max_n ‖N⁻¹ Σ_{j≤n} θ_j‖.
    pub(super) fn primitive(&self) -> f64 {
        super::ode::largest(self.partial_sums(self.layers)).sqrt() / self.layers as f64
    }

    /// ‖Σ factor · θ_{n+offset}‖² over the terms (offset, factor), for every n that has them all.
    pub(super) fn squares<const TERMS: usize>(
        &self,
        terms: [(usize, f64); TERMS],
    ) -> impl Iterator<Item = f64> {
        let span = terms.iter().map(|(offset, _)| *offset).max().unwrap_or(0);
        (0..self.layers - span).map(move |layer| {
            let square = |part: &&[R]| {
                let length = part.len() / self.layers;
                let row = |offset| &part[(layer + offset) * length..][..length];
                let rows = terms.map(|(offset, factor)| (factor, row(offset)));
                let entry = |i: usize| rows.iter().map(|(f, row)| f * row[i].wide()).sum::<f64>();
                (0..length).map(|i| entry(i).powi(2)).sum::<f64>()
            };
            self.parts.iter().map(square).sum::<f64>()
        })
    }

    /// For every layer n, ‖Σ θ_j‖² from the first layer of its block to n.
    fn partial_sums(&self, block: usize) -> Vec<f64> {
        let mut squares = vec![0.0; self.layers];
        for part in self.parts.iter().filter(|part| !part.is_empty()) {
            let length = part.len() / self.layers;
            let mut sum = vec![0.0; length];
            for (layer, row) in part.chunks_exact(length).enumerate() {
                if layer % block == 0 {
                    sum.fill(0.0);
                }
                sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value.wide());
                squares[layer] += sum.iter().map(|v| v * v).sum::<f64>();
            }
        }
        squares
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Family, Kind};
    use crate::limit::Slope;
    use crate::seed::normal;

    #[test]
    fn kinds_put_together_add_their_squares() {
        let kinds = vec![
            Kind { name: "w", shape: vec![2, 3], fan_in: 3 },
            Kind { name: "b", shape: vec![2], fan_in: 3 },
        ];
        let control = Control::<f32>::random(kinds, 5, Family::Rough, 3);
        let all = DepthStack::of_all(&control).expect("a stack");
        let [w, b] = [0, 1].map(|kind| DepthStack::of_kind(&control, kind).expect("a stack"));
        let second = [(2, 1.0), (1, -2.0), (0, 1.0)];
        for ((all, w), b) in all.squares(second).zip(w.squares(second)).zip(b.squares(second)) {
            assert_eq!(all, w + b);
        }
        for block in 1..=6 {
            // The same sums in another order.
            let parts = w.variation(block) + b.variation(block);
            assert!((all.variation(block) - parts).abs() < 1e-15);
        }
    }

    #[test]
    fn blocks_cover_every_layer_the_last_one_cut_short() {
        let stack = DepthStack::new(5, &[1.0, 2.0, 3.0, 4.0, 5.0]).expect("a stack");
        assert_eq!(stack.variation(1), 55.0 / 25.0);
        assert_eq!(stack.variation(2), (9.0 + 49.0 + 25.0) / 25.0);
        assert_eq!(stack.variation(4), (100.0 + 25.0) / 25.0);
        assert_eq!(stack.variation(5), 225.0 / 25.0);
        assert_eq!(stack.variation(9), 225.0 / 25.0);
        assert_eq!(stack.primitive(), 15.0 / 5.0);
    }

    #[test]
    fn variation_grows_with_the_block_for_smooth_weights_and_not_for_noise() {
        const LAYERS: usize = 512;
        const LENGTH: usize = 16;
        let slope = |weight: &dyn Fn(f64, u64) -> f64| {
            let index = 0..(LAYERS * LENGTH) as u64;
            let s = |i: u64| (i / LENGTH as u64) as f64 / LAYERS as f64;
            let values: Vec<f64> = index.map(|i| weight(s(i) + i as f64 % 16.0, i)).collect();
            let stack = DepthStack::new(LAYERS, &values).expect("a stack");
            Slope::fit(&[1, 2, 4, 8, 16].map(|m| (m as f64, stack.variation(m)))).value
        };
        let noise = |i: u64| normal(7, i);
        let smooth = slope(&|s, _| 1.0 + s.cos());
        let diffusive = slope(&|_, i| (LAYERS as f64).sqrt() * noise(i));
        let between = slope(&|_, i| 1.0 + noise(i));
        // Smooth weights change by 1/512 a layer. Of the noise there are 512 to 32 blocks of 16
        // numbers, so that Q(m) scatters by 2 to 6 %.
        assert!((smooth - 1.0).abs() < 0.01, "{smooth}");
        assert!(diffusive.abs() < 0.06, "{diffusive}");
        assert!(between > 0.5 && between < 0.9, "{between}");
    }

    #[test]
    fn weights_that_cannot_be_measured_are_refused_and_named() {
        let error = |layers, values: &[f32]| DepthStack::new(layers, values).map(|_| ()).err();
        assert_eq!(error(2, &[1.0, 2.0]), Some(ScalingError::TooShallow { layers: 2 }));
        let mut broken = [1.0; 12];
        (broken[6], broken[8]) = (f32::NAN, f32::INFINITY); // In layers of 4 numbers.
        assert_eq!(error(3, &broken), Some(ScalingError::NotFinite { layer: 1 }));
        assert_eq!(error(3, &[1.0, 2.0, 3.0]), None);
        assert_eq!(error(3, &[]), None);
    }
}
