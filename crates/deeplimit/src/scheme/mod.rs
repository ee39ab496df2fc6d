//! Schemes: explicit Runge–Kutta steps in depth, as tableaux (Butcher 1963).
//!
//! A step is x_{n+1} = x_n + h Φ_n(x_n) with Φ_n = Σ_i b_i k_i and
//! k_i = f(x_n + h Σ_{j<i} a_ij k_j, θ(s_n + c_i h)). The step with −h from s_{n+1} is the start of
//! every reconstruction.

mod any;
pub mod reversible;
mod step;

pub use any::AnyScheme;
pub use step::{StepTape, Stepper, Work};

use crate::control::Position;

/// Where a scheme's control nodes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// One a step, constant over it: N steps on N nodes (the residual network).
    PerStep,
    /// At both ends of every step: N steps on N + 1 nodes, linear in between.
    PerBoundary,
}

/// An explicit Runge–Kutta scheme.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheme {
    name: &'static str,
    order: usize,
    nodes: Nodes,
    a: &'static [&'static [f64]],
    b: &'static [f64],
    c: &'static [f64],
}

impl Scheme {
    /// x + h f(x): the residual network itself. Order 1.
    pub const EULER: Self =
        Self { name: "euler", order: 1, nodes: Nodes::PerStep, a: &[&[]], b: &[1.0], c: &[0.0] };

    /// Heun's scheme, order 2: the trapezoidal rule with an Euler predictor.
    pub const HEUN: Self = Self {
        name: "heun",
        order: 2,
        nodes: Nodes::PerBoundary,
        a: &[&[], &[1.0]],
        b: &[0.5, 0.5],
        c: &[0.0, 1.0],
    };

    /// The explicit midpoint rule, order 2.
    pub const MIDPOINT: Self = Self {
        name: "midpoint",
        order: 2,
        nodes: Nodes::PerBoundary,
        a: &[&[], &[0.5]],
        b: &[0.0, 1.0],
        c: &[0.0, 0.5],
    };

    /// The classical scheme of Kutta (1901), order 4.
    pub const RK4: Self = Self {
        name: "rk4",
        order: 4,
        nodes: Nodes::PerBoundary,
        a: &[&[], &[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
        b: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
        c: &[0.0, 0.5, 0.5, 1.0],
    };

    /// The registry: every tableau that a configuration can name.
    pub const ALL: [Self; 4] = [Self::EULER, Self::HEUN, Self::MIDPOINT, Self::RK4];

    /// A scheme of one's own.
    ///
    /// # Panics
    /// If the tableau is not explicit: row `i` of `a` must hold `i` numbers.
    pub const fn new(
        name: &'static str,
        order: usize,
        nodes: Nodes,
        a: &'static [&'static [f64]],
        b: &'static [f64],
        c: &'static [f64],
    ) -> Self {
        assert!(a.len() == b.len() && b.len() == c.len(), "one row a stage");
        let mut stage = 0;
        while stage < a.len() {
            assert!(a[stage].len() == stage, "an explicit tableau is strictly lower triangular");
            stage += 1;
        }
        Self { name, order, nodes, a, b, c }
    }

    /// The scheme of that name in the registry.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name == name)
    }

    /// The name in configurations.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Order of accuracy.
    pub fn order(&self) -> usize {
        self.order
    }

    /// Evaluations of the field a step.
    pub fn stages(&self) -> usize {
        self.b.len()
    }

    /// Whether the increment is the only slope itself, as in Euler's scheme.
    fn is_one_slope(&self) -> bool {
        self.b == [1.0]
    }

    /// Order in h of the reconstruction `y − h Φ₋ₕ(y)`: q for odd q, q + 1 for even q, on fields
    /// that are smooth in depth.
    pub fn inverse_order(&self) -> usize {
        self.order + (self.order + 1) % 2
    }

    /// Control nodes that `steps` steps need.
    pub fn nodes_for(&self, steps: usize) -> usize {
        match self.nodes {
            Nodes::PerStep => steps,
            Nodes::PerBoundary => steps + 1,
        }
    }

    /// Control nodes that a step shares with the one below it.
    pub(crate) fn shared_nodes(&self) -> usize {
        self.nodes_for(1) - 1
    }

    /// Steps that `nodes` control nodes allow.
    pub fn steps_for(&self, nodes: usize) -> usize {
        match self.nodes {
            Nodes::PerStep => nodes,
            Nodes::PerBoundary => nodes.saturating_sub(1),
        }
    }

    /// Where stage `i` of step `n` reads the control, walking forward.
    fn position(&self, step: usize, stage: usize) -> Position {
        match self.nodes {
            Nodes::PerStep => Position::node(step),
            Nodes::PerBoundary => Position::at(step as f64 + self.c[stage]),
        }
    }

    /// Where stage `i` of step `n` reads the control, walking forward, or backward from its end.
    fn position_of(&self, step: usize, stage: usize, backward: bool) -> Position {
        match self.nodes {
            Nodes::PerBoundary if backward => Position::at(step as f64 + 1.0 - self.c[stage]),
            _ => self.position(step, stage),
        }
    }
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tableau_is_consistent() {
        for scheme in Scheme::ALL {
            let close = |x: f64, y: f64| assert!((x - y).abs() < 1e-15, "{scheme}: {x} {y}");
            close(scheme.b.iter().sum(), 1.0);
            for (row, c) in scheme.a.iter().zip(scheme.c) {
                close(row.iter().sum(), *c);
            }
            if scheme.order >= 2 {
                close(scheme.b.iter().zip(scheme.c).map(|(b, c)| b * c).sum(), 0.5);
            }
            assert_eq!(Scheme::named(scheme.name), Some(scheme.clone()));
            assert_eq!(scheme.steps_for(scheme.nodes_for(5)), 5);
        }
    }
}
