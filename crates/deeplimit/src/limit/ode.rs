//! The neural ODE of a network, solved by the classical Runge–Kutta scheme inside every layer.

use crate::control::Position;
use crate::{Field, Flow, State};

/// How the layer functions f_n = f(·, θ_n) continue between the layers, with w = N s − n.
///
/// The two coincide where f is affine in θ. After the last control node both stay constant
/// (θ_N := θ_{N−1} for a residual network).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolant {
    /// φ = (1 − w) f(x, θ_n) + w f(x, θ_{n+1}).
    Function,
    /// φ = f(x, (1 − w) θ_n + w θ_{n+1}).
    Weight,
}

/// The neural ODE x'(s) = φ(x(s), s), x(0) = x_0, of a network.
pub struct NeuralOde<'f, F> {
    flow: &'f Flow<F>,
    interpolant: Interpolant,
    substeps: usize,
}

impl<'f, F: Field> NeuralOde<'f, F> {
    /// The ODE of a flow, solved with 8 substeps a layer. φ is smooth inside a layer, so the
    /// error of the solution is of order (h/8)⁴.
    pub fn new(flow: &'f Flow<F>, interpolant: Interpolant) -> Self {
        Self { flow, interpolant, substeps: 8 }
    }

    /// Another number of substeps a layer.
    ///
    /// # Panics
    /// If it is zero.
    pub fn with_substeps(self, substeps: usize) -> Self {
        assert!(substeps > 0, "a layer has at least one substep");
        Self { substeps, ..self }
    }

    /// The solution at the layers, x(s_0) … x(s_N).
    pub fn states(&self, x0: &F::State) -> Vec<F::State> {
        let mut states = vec![x0.clone()];
        self.walk(x0, |_, substep, x| {
            if substep == self.substeps {
                states.push(x.clone());
            }
        });
        states
    }

    /// ‖x_n − x(s_n)‖ for n = 0 … N, where x_n are the flow's states.
    pub fn distances(&self, x0: &F::State) -> Vec<f64> {
        let (network, ode) = (self.flow.states(x0), self.states(x0));
        network.iter().zip(&ode).map(|(x, y)| x.distance_squared(y).sqrt()).collect()
    }

    /// max_n ‖x_n − x(s_n)‖.
    pub fn distance(&self, x0: &F::State) -> f64 {
        largest(self.distances(x0))
    }

    /// Shows `visit` (layer, substeps done in it, x) at every point of every layer's interval,
    /// both ends included: the points where φ bends belong to two layers.
    pub(super) fn walk(&self, x0: &F::State, mut visit: impl FnMut(usize, usize, &F::State)) {
        let substeps = self.substeps;
        let dt = self.flow.h() / substeps as f64;
        let mut slope = Slope::new(self, x0);
        let (mut x, mut point, mut k) = (x0.clone(), x0.scratch(), x0.scratch());
        let mut next = x0.scratch();
        for layer in 0..self.flow.steps() {
            visit(layer, 0, &x);
            for substep in 0..substeps {
                next.copy_from(&x);
                point.copy_from(&x);
                for (reach, offset, weight) in
                    [(0.5, 0.0, 1.0), (0.5, 0.5, 2.0), (1.0, 0.5, 2.0), (0.0, 1.0, 1.0)]
                {
                    let fraction = (substep as f64 + offset) / substeps as f64;
                    slope.at(layer, fraction, &point, &mut k);
                    point.set_sum(&x, reach * dt, &k);
                    next.add_scaled(weight * dt / 6.0, &k);
                }
                std::mem::swap(&mut x, &mut next);
                visit(layer, substep + 1, &x);
            }
        }
    }

    /// The control nodes at the two ends of a layer's interval.
    pub(super) fn ends(&self, layer: usize) -> [usize; 2] {
        let last = self.flow.field().nodes() - 1;
        [layer, layer + 1].map(|node| node.min(last))
    }
}

/// φ, with scratch space.
struct Slope<'o, F: Field> {
    ode: &'o NeuralOde<'o, F>,
    next: F::State,
    tape: F::Tape,
}

impl<'o, F: Field> Slope<'o, F> {
    fn new(ode: &'o NeuralOde<'o, F>, like: &F::State) -> Self {
        Self { ode, next: like.scratch(), tape: ode.flow.field().tape(like) }
    }

    /// `out = φ(x, s)` at `fraction` of a layer's interval.
    fn at(&mut self, layer: usize, fraction: f64, x: &F::State, out: &mut F::State) {
        let field = self.ode.flow.field();
        let [here, next] = self.ode.ends(layer);
        match self.ode.interpolant {
            _ if here == next => field.eval(Position::node(here), x, out, &mut self.tape),
            Interpolant::Weight => {
                let position = Position::at(here as f64 + fraction);
                field.eval(position, x, out, &mut self.tape);
            }
            Interpolant::Function => {
                field.eval(Position::node(here), x, out, &mut self.tape);
                field.eval(Position::node(next), x, &mut self.next, &mut self.tape);
                out.scale(1.0 - fraction);
                out.add_scaled(fraction, &self.next);
            }
        }
    }
}

/// The largest of some numbers; not a number where one of them is not.
pub(super) fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |most, value| if value <= most { most } else { value })
}
