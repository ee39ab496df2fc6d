//! The objective of the limit by the Ritz method: controls that are polynomials of depth.

use super::basis::Basis;
use super::minimise::Objective;
use super::network::{Energy, Network};
use super::problem::{Form, Problem, ProblemError, Readout};
use super::walk::Walk;
use crate::Rows;
use crate::control::Control;
use crate::kernel::sums::dot;
use crate::kernel::vector::add_scaled;
use crate::kernel::{Matrix, Start, multiply};

/// E_∞ on controls that are polynomials of depth of a fixed degree, with x' = σ(K x + b) solved by the
/// classical Runge–Kutta scheme.
///
/// Its variables are the coefficients in a basis that is orthonormal for the penalty, of K and then of
/// b, coefficient by coefficient; then W and c. Where σ is analytic minimisers are, too, and those of
/// growing degree approach them faster than any power of it; the error of the scheme is of order
/// steps⁻⁴. Both errors are seen by doubling. (A high degree with few steps fits the scheme's errors.)
#[derive(Clone, Debug)]
pub struct Continuum<'p> {
    problem: &'p Problem,
    basis: Basis,
    /// Values of the basis at s = j/(2 steps): `[nodes, degree + 1]`.
    values: Vec<f64>,
}

impl<'p> Continuum<'p> {
    /// Polynomials up to `degree`, and so many Runge–Kutta steps.
    ///
    /// # Errors
    /// If the problem has no limit among functions of depth: with another form than the smooth one,
    /// or where it does not penalise both K and b.
    ///
    /// # Panics
    /// If degree or steps are zero.
    pub fn new(problem: &'p Problem, degree: usize, steps: usize) -> Result<Self, ProblemError> {
        assert!(degree > 0 && steps > 0, "degree {degree} and {steps} steps, both at least 1");
        let Form::Smooth { tau } = problem.penalty().form else {
            let reason = "weight decay does not bound how steep a control is";
            return Err(ProblemError::NoLimit { reason });
        };
        if problem.penalty().factors().contains(&0.0) {
            let reason = "where a₁ or a₂ is 0 nothing bounds how steep a control is";
            return Err(ProblemError::NoLimit { reason });
        }
        let basis = Basis { degree, tau };
        let depth = |node: usize| node as f64 / (2 * steps) as f64;
        let values = (0..=2 * steps).flat_map(|node| basis.at(depth(node)).values).collect();
        Ok(Self { problem, basis, values })
    }

    /// The control of some variables, with its readout.
    ///
    /// # Panics
    /// If the number of variables is wrong.
    pub fn limit(&self, variables: &[f64]) -> Limit<'p> {
        let mut rest = variables;
        let mut take = |count: usize| {
            let own;
            (own, rest) = rest.split_at(count);
            own.to_vec()
        };
        let terms = self.basis.degree + 1;
        let kinds = self.problem.kinds();
        let coefficients = kinds.iter().map(|kind| take(terms * kind.len())).collect();
        let outputs = self.problem.outputs();
        let matrix = take(outputs * self.problem.layer().width);
        let readout = Readout { matrix, offset: take(outputs) };
        assert!(rest.is_empty(), "{} variables are too many", variables.len());
        Limit { problem: self.problem, basis: self.basis, coefficients, readout }
    }

    /// The variables of the polynomials nearest, in the norm of the penalty, to the control of a
    /// network, affine between its nodes and constant after the last.
    pub fn variables(&self, network: &Network) -> Vec<f64> {
        let nodes = network.layers();
        let places: Vec<_> =
            (0..=nodes).map(|node| self.basis.at(node as f64 / nodes as f64).values).collect();
        let mut all = Vec::new();
        for (kind, values) in network.control.kinds().iter().zip(network.control.values()) {
            let node = |node: usize| &values[node * kind.len()..][..kind.len()];
            let mut own = vec![0.0; places[0].len() * kind.len()];
            for (term, own) in own.chunks_exact_mut(kind.len()).enumerate() {
                // e_0(0) is the only basis function with a value at 0.
                add_scaled(own, self.basis.tau * places[0][term], node(0));
                for i in 0..nodes - 1 {
                    let product = nodes as f64 * (places[i + 1][term] - places[i][term]);
                    add_scaled(own, product, node(i + 1));
                    add_scaled(own, -product, node(i));
                }
            }
            all.extend(own);
        }
        all.extend(&network.readout.matrix);
        all.extend(&network.readout.offset);
        all
    }

    /// The objective of some variables.
    ///
    /// # Panics
    /// If their number is wrong.
    pub fn energy(&self, variables: &[f64]) -> Energy {
        let limit = self.limit(variables);
        let end = self.walk(&limit).end(self.problem.inputs());
        Energy {
            misfit: self.problem.misfit(&end, &limit.readout).0,
            control: self.control_penalty(&limit),
            readout: self.problem.readout_penalty(&limit.readout),
        }
    }

    fn walk(&self, limit: &Limit<'_>) -> Walk {
        let nodes = self.nodes();
        let at = |coefficients: &Vec<f64>| {
            let length = coefficients.len() / (self.basis.degree + 1);
            let mut values = vec![0.0; nodes * length];
            multiply(&mut values, Start::Zero, self.matrix(), coefficients, length);
            values
        };
        let values = limit.coefficients.iter().map(at).collect();
        let control = Control::new(self.problem.kinds(), nodes, values);
        Walk::curve(self.problem.layer(), control)
    }

    fn nodes(&self) -> usize {
        self.values.len() / (self.basis.degree + 1)
    }

    /// Values at the nodes from coefficients.
    fn matrix(&self) -> Matrix<'_, f64> {
        Matrix::new(&self.values, self.nodes(), self.basis.degree + 1)
    }

    fn control_penalty(&self, limit: &Limit<'_>) -> f64 {
        let parts = limit.coefficients.iter().zip(self.problem.penalty().factors());
        parts.map(|(c, a)| a * dot(c, c)).sum()
    }
}

impl Objective for Continuum<'_> {
    fn energy_and_gradient(&self, variables: &[f64]) -> (f64, Vec<f64>) {
        let limit = self.limit(variables);
        let turn = |end: &Rows<f64>| {
            let (misfit, end_bar, bar) = self.problem.misfit(end, &limit.readout);
            ((misfit, bar), end_bar)
        };
        let ((misfit, mut bar), nodes) =
            self.walk(&limit).there_and_back(self.problem.inputs(), turn, None);
        let mut gradient = Vec::with_capacity(variables.len());
        let factors = self.problem.penalty().factors();
        for (kind, (coefficients, a)) in limit.coefficients.iter().zip(factors).enumerate() {
            let mut own: Vec<f64> = coefficients.iter().map(|c| 2.0 * a * c).collect();
            let length = own.len() / (self.basis.degree + 1);
            let slopes = &nodes.values()[kind];
            multiply(&mut own, Start::Add, self.matrix().t(), slopes, length);
            gradient.extend(own);
        }
        self.problem.add_readout_slope(&limit.readout, &mut bar);
        gradient.extend(bar.matrix);
        gradient.extend(bar.offset);
        let penalties = self.control_penalty(&limit) + self.problem.readout_penalty(&limit.readout);
        (misfit + penalties, gradient)
    }
}

/// A control that is a polynomial of depth, and the readout: what minimisers of [`Continuum`] are.
#[derive(Clone, Debug)]
pub struct Limit<'p> {
    pub(super) problem: &'p Problem,
    basis: Basis,
    /// Of each kind: `[degree + 1, numbers]`.
    coefficients: Vec<Vec<f64>>,
    /// W and c.
    pub readout: Readout,
}

/// θ(s) and its derivatives at one depth; of each kind all its numbers.
pub(super) struct Point {
    pub values: Vec<Vec<f64>>,
    pub slopes: Vec<Vec<f64>>,
    pub curvatures: Vec<Vec<f64>>,
}

impl Limit<'_> {
    /// K(s) and b(s).
    pub fn at(&self, s: f64) -> [Vec<f64>; 2] {
        let values = self.basis.at(s).values;
        [0, 1].map(|kind| combined(&values, &self.coefficients[kind]))
    }

    pub(super) fn point(&self, s: f64) -> Point {
        let place = self.basis.at(s);
        let of = |values: &[f64]| self.coefficients.iter().map(|c| combined(values, c)).collect();
        Point {
            values: of(&place.values),
            slopes: of(&place.slopes),
            curvatures: of(&place.curvatures),
        }
    }

    /// The network of so many layers whose weights are samples of the limit, θ_i = θ(i/n): as n grows
    /// its objective tends to that of the limit (a recovery sequence).
    pub fn sampled(&self, layers: usize) -> Network {
        let nodes: Vec<_> = (0..layers).map(|node| self.at(node as f64 / layers as f64)).collect();
        let values = [0, 1].map(|kind| nodes.iter().flat_map(|node| node[kind].clone()).collect());
        let control = Control::new(self.problem.kinds(), layers, values.into());
        Network { control, readout: self.readout.clone() }
    }

    /// ∫ ‖θ'‖² ds over K and b.
    pub fn steepness(&self) -> f64 {
        // All basis functions but the constant one, orthonormal in their derivatives.
        let terms = self.basis.degree + 1;
        self.coefficients.iter().map(|c| &c[c.len() / terms..]).map(|c| dot(c, c)).sum()
    }
}

/// Σ_j values_j coefficients_j.
fn combined(values: &[f64], coefficients: &[f64]) -> Vec<f64> {
    let length = coefficients.len() / values.len();
    let mut sum = vec![0.0; length];
    for (value, coefficients) in values.iter().zip(coefficients.chunks_exact(length)) {
        add_scaled(&mut sum, *value, coefficients);
    }
    sum
}
