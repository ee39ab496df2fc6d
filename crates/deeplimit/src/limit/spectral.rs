//! Spectral and logarithmic norms: of matrices, of a field's Jacobians, and of layers for certain.

use crate::control::Position;
use crate::field::{AnyLayer, Conv, Dense, Layer, Linear, Mlp, Stacked};
use crate::kernel::{Activation, Matrix, Start, multiply};
use crate::{Field, Real, Rows};

/// The largest singular value of a row-major matrix, to rounding.
///
/// Power iteration on G = AᵀA by repeated squaring: k squarings do 2ᵏ iterations on all starting
/// vectors at once, and ‖G^m‖^{1/m} → σ² with an error below log(columns)/m, so that even equal
/// singular values do not slow it down. The work is a few dozen products of `[columns, columns]`.
///
/// # Panics
/// If `columns` does not divide the length of `matrix`.
pub fn spectral_norm<R: Real>(matrix: &[R], columns: usize) -> f64 {
    const MOST_SQUARINGS: i32 = 60; // 2⁻⁶⁰ log(columns) is below rounding.
    let mut wide: Vec<f64> = matrix.iter().map(|v| v.wide()).collect();
    let scale = super::ode::largest(wide.iter().map(|v| v.abs()));
    if scale == 0.0 || !scale.is_finite() {
        return scale;
    }
    wide.iter_mut().for_each(|v| *v /= scale);
    let view = Matrix::new(&wide, matrix.len() / columns, columns);
    let mut gram = vec![0.0; columns * columns];
    let mut square = gram.clone();
    multiply(&mut gram, Start::Zero, view.t(), &wide, columns);
    let mut log_norm = 0.0;
    for squaring in 0..=MOST_SQUARINGS {
        let norm = gram.iter().map(|v| v * v).sum::<f64>().sqrt();
        log_norm += norm.ln() * 0.5f64.powi(squaring);
        gram.iter_mut().for_each(|v| *v /= norm);
        // A square whose norm is that of its root, 1, has rank one: so have all that follow.
        if squaring > 0 && norm > 1.0 - f64::EPSILON {
            break;
        }
        let view = Matrix::new(&gram, columns, columns);
        multiply(&mut square, Start::Zero, view, &gram, columns);
        std::mem::swap(&mut gram, &mut square);
    }
    scale * (log_norm / 2.0).exp()
}

/// The logarithmic norm μ₂(A) = λ_max((A + Aᵀ)/2) of a row-major square matrix: solutions of
/// x' = A x grow at most like e^{μ₂ t} (Dahlquist 1958).
///
/// With S = (A + Aᵀ)/2 and c = ‖S‖ (Frobenius) S + c I has no negative eigenvalue, so that
/// λ_max(S) = ‖S + c I‖₂ − c. The error is some roundings of c.
///
/// # Panics
/// If the matrix is not `[width, width]`.
pub fn logarithmic_norm<R: Real>(matrix: &[R], width: usize) -> f64 {
    assert_eq!(matrix.len(), width * width, "a logarithmic norm of a square matrix");
    let at = |row: usize, column: usize| matrix[row * width + column].wide();
    let symmetric = |i: usize| (at(i / width, i % width) + at(i % width, i / width)) / 2.0;
    let mut shifted: Vec<f64> = (0..width * width).map(symmetric).collect();
    let shift = shifted.iter().map(|v| v * v).sum::<f64>().sqrt();
    shifted.iter_mut().step_by(width + 1).for_each(|diagonal| *diagonal += shift);
    spectral_norm(&shifted, width) - shift
}

/// The Jacobian ∂f/∂x of one sample, as a dense matrix.
///
/// Built by pulling back the `width` unit cotangents in one batch, so it costs `width` times the
/// pull-back of a sample and `width²` numbers. The field's samples must not see each other.
pub struct Jacobian {
    width: usize,
    values: Vec<f64>,
}

impl Jacobian {
    /// The Jacobian of every sample of `x`.
    pub fn of<R: Real, F: Field<State = Rows<R>>>(
        field: &F,
        position: Position,
        x: &Rows<R>,
    ) -> Vec<Self> {
        let width = x.width();
        let unit = Rows::from_fn(width, width, |i, j| if i == j { R::one() } else { R::zero() });
        let mut tape = field.tape(&unit);
        let mut out = Rows::zeros(width, width);
        let sample = |row: usize| {
            let copies = Rows::from_fn(width, width, |_, column| x.at(row, column));
            let mut bar = Rows::zeros(width, width);
            field.linearize(position, &copies, &mut out, &mut tape);
            field.pull_back(position, &copies, &mut tape, &unit, &mut bar, None);
            Self { width, values: bar.to_vec().iter().map(|v| v.wide()).collect() }
        };
        (0..x.rows()).map(sample).collect()
    }

    /// J v.
    pub fn apply(&self, v: &[f64]) -> Vec<f64> {
        let dot = |row: &[f64]| row.iter().zip(v).map(|(j, v)| j * v).sum();
        self.values.chunks_exact(self.width).map(dot).collect()
    }

    /// ‖J‖₂.
    pub fn spectral_norm(&self) -> f64 {
        spectral_norm(&self.values, self.width)
    }

    /// μ₂(factor · J): with the factor 1 how fast neighbouring solutions can part, with −1 how fast
    /// they can on the way back.
    pub fn logarithmic_norm(&self, factor: f64) -> f64 {
        let scaled: Vec<f64> = self.values.iter().map(|v| factor * v).collect();
        logarithmic_norm(&scaled, self.width)
    }

    /// Row by row.
    pub(super) fn values(&self) -> &[f64] {
        &self.values
    }
}

/// Layers whose Lipschitz constant in x has a bound that holds everywhere.
pub trait LipschitzLayer<R: Real>: Layer<R> {
    /// A number that ‖f(x) − f(y)‖ / ‖x − y‖ never exceeds, for these parameters.
    fn lipschitz(&self, theta: &[&[R]]) -> f64;
}

impl<R: Real> LipschitzLayer<R> for Linear {
    fn lipschitz(&self, theta: &[&[R]]) -> f64 {
        spectral_norm(theta[0], self.width)
    }
}

impl<R: Real> LipschitzLayer<R> for Dense {
    fn lipschitz(&self, theta: &[&[R]]) -> f64 {
        spectral_norm(theta[0], self.width) * steepest(self.activation)
    }
}

impl<R: Real> LipschitzLayer<R> for Mlp {
    fn lipschitz(&self, theta: &[&[R]]) -> f64 {
        let inner = spectral_norm(theta[0], self.width);
        inner * spectral_norm(theta[2], self.hidden) * steepest(self.activation)
    }
}

impl<R: Real> LipschitzLayer<R> for Conv {
    fn lipschitz(&self, theta: &[&[R]]) -> f64 {
        let inner = window_norm(theta[0], theta[1].len());
        inner * window_norm(theta[2], theta[3].len()) * steepest(self.activation())
    }
}

impl<R: Real> LipschitzLayer<R> for AnyLayer {
    fn lipschitz(&self, theta: &[&[R]]) -> f64 {
        match self {
            Self::Linear(layer) => layer.lipschitz(theta),
            Self::Dense(layer) => layer.lipschitz(theta),
            Self::Mlp(layer) => layer.lipschitz(theta),
            Self::Conv(layer) => layer.lipschitz(theta),
        }
    }
}

/// A bound on ‖W ∗ ·‖₂ for weights `[outputs, inputs, 3, 3]` and zero padding, on images of any size:
/// the smaller of Σ_ij ‖W_ij‖₂, because a shift of an image lengthens nothing, and 3 ‖W‖₂ of the matrix
/// `[outputs, 9 inputs]`, because every pixel lies in nine windows.
fn window_norm<R: Real>(weight: &[R], outputs: usize) -> f64 {
    const WINDOW: usize = 9;
    let inputs = weight.len() / (WINDOW * outputs);
    let shift = |place: usize| {
        let entries: Vec<R> = weight.iter().skip(place).step_by(WINDOW).copied().collect();
        spectral_norm(&entries, inputs)
    };
    let shifts: f64 = (0..WINDOW).map(shift).sum();
    // Transposed, because the work grows with the columns.
    let rows = weight.len() / outputs;
    let entry = |i: usize| weight[i % outputs * rows + i / outputs];
    let transposed: Vec<R> = (0..weight.len()).map(entry).collect();
    shifts.min(3.0 * spectral_norm(&transposed, outputs))
}

/// max_n of the layers' certain Lipschitz constants: commonly 1.5 to 4 times the one along the
/// trajectories.
pub fn lipschitz_bound<R: Real, L: LipschitzLayer<R>>(field: &Stacked<R, L>) -> f64 {
    let control = field.control();
    let node = |node| {
        let theta: Vec<&[R]> = (0..control.kinds().len()).map(|k| control.at(k, node)).collect();
        field.layer().lipschitz(&theta)
    };
    super::ode::largest((0..control.nodes()).map(node))
}

/// sup |σ'|.
fn steepest(activation: Activation) -> f64 {
    match activation {
        // The slope Φ(z) + z Φ'(z) has its maximum at z = √2.
        Activation::Gelu => 1.128_904_145_082_464_2,
        Activation::Tanh | Activation::Relu | Activation::Softplus | Activation::Identity => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Image;

    #[test]
    fn norms_of_known_matrices_are_exact_to_rounding() {
        let close = |matrix: &[f64], columns, expected: f64| {
            let norm = spectral_norm(matrix, columns);
            assert!((norm - expected).abs() <= 4e-15 * expected, "{norm} {expected}");
        };
        close(&[-3.0], 1, 3.0);
        close(&[0.0; 6], 3, 0.0);
        close(&[1.0, 0.0, 0.0, 1.0], 2, 1.0); // Equal singular values.
        close(&[1.0, 0.0, 0.0, 1.0 - 1e-9], 2, 1.0); // Nearly equal ones.
        close(&[0.5, 0.5, 0.5, 0.5], 2, 1.0); // A Gram matrix of norm 1.
        close(&[3.0, 4.0], 1, 5.0);
        close(&[3.0, 4.0], 2, 5.0);
        close(&[1.0, 1.0, 0.0, 1.0], 2, (1.0 + 5f64.sqrt()) / 2.0);
        close(&[3e-170, 4e-170], 2, 5e-170); // Squares below the smallest number.
        assert!(spectral_norm(&[f64::NAN, 1.0], 2).is_nan());
    }

    #[test]
    fn logarithmic_norms_of_known_matrices_are_exact_to_rounding_of_their_size() {
        let close = |matrix: &[f64], width, expected: f64| {
            let norm = logarithmic_norm(matrix, width);
            let size = matrix.iter().map(|v| v * v).sum::<f64>().sqrt();
            assert!((norm - expected).abs() <= 1e-14 * size, "{norm} {expected}");
        };
        close(&[-3.0], 1, -3.0);
        close(&[0.0; 9], 3, 0.0);
        close(&[0.0, 5.0, -5.0, 0.0], 2, 0.0); // A rotation.
        close(&[-2.0, 0.0, 0.0, -7.0], 2, -2.0);
        close(&[-2.0, 6.0, 0.0, -2.0], 2, 1.0); // Decays, but not at first.
        close(&[1.0, 2.0, 2.0, 1.0], 2, 3.0);
        assert!(logarithmic_norm(&[f64::NAN], 1).is_nan());
    }

    #[test]
    fn no_activation_is_steeper_than_stated_and_each_comes_close() {
        for activation in Activation::ALL {
            let z: Vec<f64> = (-8000..8000).map(|i| f64::from(i) * 5e-3).collect();
            let (mut a, mut slope) = (z.clone(), z.clone());
            activation.apply(&z, &mut a);
            activation.pull_back(&z, &a, &vec![1.0; z.len()], &mut slope);
            let most = slope.iter().fold(0.0f64, |most, slope| most.max(slope.abs()));
            let steepest = steepest(activation);
            assert!(most <= steepest && most > steepest - 1e-5, "{activation}: {most}");
        }
    }

    #[test]
    fn the_certain_constant_of_a_convolution_bounds_its_jacobians_and_is_tight_for_one_window() {
        let image = Image { height: 5, width: 4 };
        let layer = Conv::new(2, 3, image, Activation::Gelu);
        let field = Stacked::<f64, _>::rough(layer, 4, 3);
        let certain = lipschitz_bound(&field);
        let x = Rows::from_fn(4, 40, |row, column| ((row * 40 + column) as f64).sin());
        let mut most = 0.0f64;
        for node in 0..4 {
            for jacobian in Jacobian::of(&field, Position::node(node), &x) {
                most = most.max(jacobian.spectral_norm());
            }
        }
        assert!(most <= certain && certain < 15.0 * most, "{most} {certain}");
        // Windows that look at their centre alone are a matrix applied to every pixel.
        let centre: Vec<f64> =
            (0..6 * 9).map(|i| if i % 9 == 4 { i as f64 } else { 0.0 }).collect();
        let matrix: Vec<f64> = centre.iter().skip(4).step_by(9).copied().collect();
        let ratio = window_norm(&centre, 3) / spectral_norm(&matrix, 2);
        assert!((ratio - 1.0).abs() < 1e-12, "{ratio}");
    }

    #[test]
    fn the_certain_constant_bounds_the_jacobians() {
        let layer = Mlp { width: 4, hidden: 7, activation: Activation::Gelu };
        let field = Stacked::<f32, _>::rough(layer, 5, 3);
        let certain = lipschitz_bound(&field);
        let x = Rows::from_fn(6, 4, |row, column| (row * 4 + column) as f32 * 0.2 - 2.0);
        for node in 0..5 {
            for jacobian in Jacobian::of(&field, Position::node(node), &x) {
                assert!(jacobian.spectral_norm() <= certain);
            }
        }
    }
}
