//! How a network amplifies errors on its way back, which decides how well states can be
//! reconstructed and how many anchors that takes.
//!
//! An error e at x_{n+1} is (I + h J_n)⁻¹ e at x_n, to first order. Over all layers
//!
//! ```text
//! log ‖Π (I + h J_n)⁻¹‖₂  ≤  Σ log ‖(I + h J_n)⁻¹‖₂  =  h Σ μ₂(−J_n) + O(h)
//! ```
//!
//! with the logarithmic norm μ₂(−J) = λ_max(−(J + Jᵀ)/2) (Dahlquist 1958). The first is what really
//! happens, the others bound it; for weights of size √N they are far too large, because steps that
//! amplify in different directions do not add up. The O(h) is then of order 1.

use super::bounds::only_euler;
use super::spectral::spectral_norm;
use super::{Jacobian, NotEuler};
use crate::control::Position;
use crate::kernel::{Matrix, Start, multiply};
use crate::{Field, Flow, Real, Rows};
use serde::Serialize;

/// Logarithms of the amplification of errors from x_N to x_0, along the trajectory of one sample.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Amplification {
    /// h Σ μ₂(−J_n(x_n)): needs no inverse.
    pub logarithmic_norms: f64,
    /// Σ log ‖(I + h J_n)⁻¹‖₂; infinite where a step cannot be undone.
    pub steps: f64,
    /// log ‖Π (I + h J_n)⁻¹‖₂, the true one; infinite where a step cannot be undone.
    pub product: f64,
}

impl Amplification {
    /// Measures every sample of a batch; the samples must not see each other. A layer costs a
    /// sample a [`Jacobian`], and then a few hundred products of matrices `[width, width]`.
    ///
    /// # Errors
    /// If the flow's scheme is not Euler's.
    pub fn measure<R: Real, F: Field<State = Rows<R>>>(
        flow: &Flow<F>,
        x0: &Rows<R>,
    ) -> Result<Vec<Self>, NotEuler> {
        only_euler(flow)?;
        let (mut stepper, mut x) = (flow.stepper(x0), x0.clone());
        let mut walks: Vec<Walk> = (0..x0.rows()).map(|_| Walk::new(x0.width())).collect();
        for layer in 0..flow.steps() {
            let jacobians = Jacobian::of(flow.field(), Position::node(layer), &x);
            for (walk, jacobian) in walks.iter_mut().zip(&jacobians) {
                walk.step(flow.h(), jacobian);
            }
            stepper.advance(layer..layer + 1, &mut x);
        }
        Ok(walks.into_iter().map(Walk::end).collect())
    }
}

/// One sample's way through the layers.
struct Walk {
    width: usize,
    logarithmic_norms: f64,
    steps: f64,
    /// (I + h J_0)⁻¹ … (I + h J_n)⁻¹, divided by e^`scale`.
    product: Vec<f64>,
    scale: f64,
}

impl Walk {
    fn new(width: usize) -> Self {
        let product = identity(width);
        Self { width, logarithmic_norms: 0.0, steps: 0.0, product, scale: 0.0 }
    }

    fn step(&mut self, h: f64, jacobian: &Jacobian) {
        let width = self.width;
        self.logarithmic_norms += h * jacobian.logarithmic_norm(-1.0);
        let step = identity(width).into_iter().zip(jacobian.values()).map(|(i, j)| i + h * j);
        let Some(inverse) = inverse(&step.collect::<Vec<_>>(), width) else {
            self.steps = f64::INFINITY;
            self.scale = f64::INFINITY;
            return;
        };
        self.steps += spectral_norm(&inverse, width).ln();
        let mut product = vec![0.0; width * width];
        let left = Matrix::new(&self.product, width, width);
        multiply(&mut product, Start::Zero, left, &inverse, width);
        // Kept near 1, the product stays within the range of numbers at any depth.
        let size = super::ode::largest(product.iter().map(|v| v.abs()));
        product.iter_mut().for_each(|v| *v /= size);
        self.scale += size.ln();
        self.product = product;
    }

    fn end(self) -> Amplification {
        let product = self.scale + spectral_norm(&self.product, self.width).ln();
        let Self { logarithmic_norms, steps, .. } = self;
        Amplification { logarithmic_norms, steps, product }
    }
}

fn identity(width: usize) -> Vec<f64> {
    let entry = |i: usize| if i / width == i % width { 1.0 } else { 0.0 };
    (0..width * width).map(entry).collect()
}

/// The inverse of a square matrix by elimination with pivots (Gauss, Jordan); none where a pivot
/// vanishes.
fn inverse(matrix: &[f64], width: usize) -> Option<Vec<f64>> {
    // Rows of [matrix | identity], made to [identity | inverse].
    let identity = identity(width);
    let pairs = matrix.chunks_exact(width.max(1)).zip(identity.chunks_exact(width.max(1)));
    let mut rows: Vec<Vec<f64>> = pairs.map(|(left, right)| [left, right].concat()).collect();
    for column in 0..width {
        let size = |row: &usize| rows[*row][column].abs();
        let pivot = (column..width).max_by(|a, b| size(a).total_cmp(&size(b)))?;
        rows.swap(column, pivot);
        let mut pivot = std::mem::take(&mut rows[column]);
        let first = pivot[column];
        if first == 0.0 {
            return None;
        }
        pivot.iter_mut().for_each(|v| *v /= first);
        for row in rows.iter_mut().filter(|row| !row.is_empty()) {
            let factor = row[column];
            row.iter_mut().zip(&pivot).for_each(|(v, p)| *v -= factor * p);
        }
        rows[column] = pivot;
    }
    Some(rows.iter().flat_map(|row| row[width..].iter().copied()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scheme;
    use crate::control::Control;
    use crate::field::{Layer, Linear, Stacked};
    use crate::seed::uniform;

    /// x' = θ x with the same matrix in every layer.
    fn constant(matrix: &[f64], width: usize, layers: usize) -> Flow<Stacked<f64, Linear>> {
        let layer = Linear { width };
        let values = vec![matrix.repeat(layers)];
        let control = Control::new(Layer::<f64>::kinds(&layer), layers, values);
        Flow::new(Stacked::new(layer, control), Scheme::EULER)
    }

    fn measured(flow: &Flow<Stacked<f64, Linear>>, width: usize) -> Amplification {
        let mut found = Amplification::measure(flow, &Rows::zeros(1, width)).expect("euler");
        found.remove(0)
    }

    #[test]
    fn inverses_undo_and_singular_matrices_have_none() {
        for width in [1, 2, 3, 7] {
            let matrix: Vec<f64> = (0..width * width).map(|i| uniform(4, i as u64)).collect();
            let inverse = inverse(&matrix, width).expect("a regular matrix");
            let mut product = vec![0.0; width * width];
            let left = Matrix::new(&matrix, width, width);
            multiply(&mut product, Start::Zero, left, &inverse, width);
            for (found, expected) in product.iter().zip(identity(width)) {
                // Rounding, times the condition of small random matrices.
                assert!((found - expected).abs() < 1e-12, "width {width}: {found}");
            }
        }
        assert_eq!(inverse(&[0.0, 2.0, 4.0, 0.0], 2), Some(vec![0.0, 0.25, 0.5, 0.0]));
        assert_eq!(inverse(&[1.0, 2.0, 2.0, 4.0], 2), None);
        assert_eq!(inverse(&[], 0), Some(vec![]));
    }

    #[test]
    fn a_diagonal_network_amplifies_by_its_strongest_contraction() {
        let (layers, h) = (1000, 1e-3_f64);
        let flow = constant(&[-900.0, 0.0, 0.0, 3.0], 2, layers);
        let found = measured(&flow, 2);
        // The steps' factors 1/(1 − 0.9) multiply to 10^1000, beyond the numbers of a computer.
        let expected = -(layers as f64) * (1.0 - 900.0 * h).ln();
        assert!((found.steps / expected - 1.0).abs() < 1e-12, "{found:?}");
        assert!((found.product / expected - 1.0).abs() < 1e-12, "{found:?}");
        assert!((found.logarithmic_norms / 900.0 - 1.0).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn a_rotation_amplifies_nothing_but_its_steps_shrink_errors() {
        let found = measured(&constant(&[0.0, 2.0, -2.0, 0.0], 2, 10), 2);
        let expected = -5.0 * (1.0f64 + 0.04).ln(); // (1 + (2h)²)^(−N/2)
        assert!(found.logarithmic_norms.abs() < 1e-14, "{found:?}");
        assert!((found.steps - expected).abs() < 1e-14, "{found:?}");
        assert!((found.product - expected).abs() < 1e-13, "{found:?}");
    }

    #[test]
    fn a_shear_amplifies_less_than_its_steps_promise() {
        // Two shears in turn: each step alone stretches, one after the other they undo each other.
        let layer = Linear { width: 2 };
        let (up, down) = ([0.0, 8.0, 0.0, 0.0], [0.0, -8.0, 0.0, 0.0]);
        let values = vec![[up, down, up, down].concat()];
        let control = Control::new(Layer::<f64>::kinds(&layer), 4, values);
        let found = measured(&Flow::new(Stacked::new(layer, control), Scheme::EULER), 2);
        assert!(found.product.abs() < 1e-14, "{found:?}");
        // σ − 1/σ = 2 for the shear by 2.
        let step = (1.0 + 2f64.sqrt()).ln();
        assert!((found.steps - 4.0 * step).abs() < 1e-13, "{found:?}");
        assert!((found.logarithmic_norms - 4.0).abs() < 1e-13, "{found:?}");
    }

    #[test]
    fn a_step_that_cannot_be_undone_amplifies_without_bound() {
        let found = measured(&constant(&[-4.0, 0.0, 0.0, 1.0], 2, 4), 2);
        assert_eq!((found.steps, found.product), (f64::INFINITY, f64::INFINITY));
        assert!((found.logarithmic_norms - 4.0).abs() < 1e-14, "{found:?}");
    }
}
