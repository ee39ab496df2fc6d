//! A control at every depth s ∈ [0, 1], not only at nodes.

use super::{Basis, Control, Expansion, Side};
use crate::Real;

/// θ(s): an expansion with its coefficients.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve<R> {
    expansion: Expansion,
    coefficients: Control<R>,
}

impl<R: Real> Curve<R> {
    /// Puts coefficients, an array `[coefficients, shape…]` a kind, on a basis.
    ///
    /// # Panics
    /// If their number is not that of the expansion.
    pub fn new(expansion: Expansion, coefficients: Control<R>) -> Self {
        assert_eq!(coefficients.nodes(), expansion.coefficients(), "a coefficient a function");
        Self { expansion, coefficients }
    }

    /// The weight interpolant of a control that is known at the nodes n/N of so many steps: linear
    /// between them, constant after the last one where that lies before 1 (Sander, Ablin, Peyré 2022,
    /// section 2, with θ_N := θ_{N−1}).
    ///
    /// # Panics
    /// If there are neither N nodes nor N + 1, or no step.
    pub fn through(control: &Control<R>, steps: usize) -> Self {
        let nodes = control.nodes();
        assert!(
            nodes > 0 && (nodes == steps || nodes == steps + 1),
            "{nodes} nodes, {steps} steps"
        );
        let mut ends = control.clone().into_values();
        if nodes == steps {
            for (kind, values) in ends.iter_mut().enumerate() {
                values.extend_from_slice(control.at(kind, nodes - 1));
            }
        }
        let coefficients = Control::new(control.kinds().to_vec(), steps + 1, ends);
        let expansion = Expansion::new(Basis::Linear, steps + 1).expect("a step has two ends");
        Self { expansion, coefficients }
    }

    /// The basis with its number of coefficients.
    pub fn expansion(&self) -> Expansion {
        self.expansion
    }

    /// The control at some depths in [0, 1].
    pub fn sample(&self, depths: impl IntoIterator<Item = f64>) -> Control<R> {
        self.expansion.sampling(depths).sample(&self.coefficients)
    }

    /// θ(s), from one side, as a control of one node.
    pub fn at(&self, s: f64, side: Side) -> Control<R> {
        self.expansion.sampling_on([s], side).sample(&self.coefficients)
    }

    /// Rounds or widens every coefficient.
    pub fn cast<S: Real>(&self) -> Curve<S> {
        Curve { expansion: self.expansion, coefficients: self.coefficients.cast() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Family, Kind};
    use crate::{AnyScheme, Scheme};

    fn kinds() -> Vec<Kind> {
        vec![Kind { name: "w", shape: vec![3], fan_in: 1 }]
    }

    #[test]
    fn the_interpolant_goes_through_the_nodes_and_is_constant_after_the_last() {
        for scheme in [Scheme::EULER, Scheme::HEUN].map(AnyScheme::from) {
            for steps in [1, 2, 7] {
                let nodes = scheme.nodes_for(steps);
                let control = Control::<f64>::random(kinds(), nodes, Family::Independent, 1);
                let curve = Curve::through(&control, steps);
                assert_eq!(curve.sample(scheme.node_depths(steps)), control, "{scheme} {steps}");
                let end = curve.at(1.0, Side::After);
                assert_eq!(end.at(0, 0), control.at(0, nodes - 1), "{scheme} {steps}");
            }
        }
    }

    #[test]
    fn refining_and_coarsening_back_gives_the_same_nodes() {
        let control = Control::<f64>::random(kinds(), 6, Family::Independent, 2);
        let depths = |steps: usize| (0..steps).map(move |n| n as f64 / steps as f64);
        let fine = Curve::through(&control, 6).sample(depths(24));
        let back = Curve::through(&fine, 24).sample(depths(6));
        assert!(back.relative_error(&control) < 1e-15);
        // Half-way between two nodes lies their mean.
        let mean = (control.at(0, 2)[1] + control.at(0, 3)[1]) / 2.0;
        assert!((fine.at(0, 10)[1] - mean).abs() < 1e-15);
    }

    #[test]
    fn constant_pieces_are_read_from_either_side_where_they_meet() {
        let halves = Expansion::new(Basis::Constant, 2).expect("two");
        let curve =
            Curve::new(halves, Control::new(kinds(), 2, vec![vec![1., 1., 1., 2., 2., 2.]]));
        assert_eq!(curve.at(0.5, Side::Before).at(0, 0)[0], 1.0);
        assert_eq!(curve.at(0.5, Side::After).at(0, 0)[0], 2.0);
        assert_eq!(curve.expansion().breaks(), [0.5]);
    }
}
