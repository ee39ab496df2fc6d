//! The scheme of a flow: a tableau, or a step with an exact inverse.

use super::Scheme;
use super::reversible::{AnyReversible, Reversible};

/// What a flow steps with.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyScheme {
    /// An explicit Runge–Kutta scheme.
    RungeKutta(Scheme),
    /// A scheme with an exact inverse, which changes the network (see
    /// [`reversible`](super::reversible)); the gradient method `reversible` walks it back.
    Reversible(AnyReversible),
}

impl AnyScheme {
    /// The registry: every scheme that a configuration can name.
    pub fn all() -> impl Iterator<Item = Self> {
        let reversible = AnyReversible::ALL.into_iter().map(Self::from);
        Scheme::ALL.into_iter().map(Self::from).chain(reversible)
    }

    /// The scheme of that name in the registry.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|scheme| scheme.to_string() == name)
    }

    /// Order of accuracy.
    pub fn order(&self) -> usize {
        match self {
            Self::RungeKutta(scheme) => scheme.order(),
            Self::Reversible(scheme) => scheme.order(),
        }
    }

    /// Control nodes that `steps` steps need.
    pub fn nodes_for(&self, steps: usize) -> usize {
        match self {
            Self::RungeKutta(scheme) => scheme.nodes_for(steps),
            Self::Reversible(scheme) => scheme.nodes_for(steps),
        }
    }

    /// The depths s_n = n/N of the control nodes of N steps: n = 0 … N−1, or N where a step reads the
    /// control at both of its ends.
    pub fn node_depths(&self, steps: usize) -> impl Iterator<Item = f64> + Clone + use<> {
        (0..self.nodes_for(steps)).map(move |node| node as f64 / steps as f64)
    }

    /// Steps that `nodes` control nodes allow.
    pub fn steps_for(&self, nodes: usize) -> usize {
        match self {
            Self::RungeKutta(scheme) => scheme.steps_for(nodes),
            Self::Reversible(scheme) => scheme.steps_for(nodes),
        }
    }

    /// Control nodes whose gradient a step adds to and the one below it too. The reversible Heun
    /// scheme reads two nodes a step, but adds to one of them on its way back.
    pub(crate) fn shared_nodes(&self) -> usize {
        match self {
            Self::RungeKutta(scheme) => scheme.shared_nodes(),
            Self::Reversible(scheme) => scheme.base().shared_nodes(),
        }
    }
}

impl From<Scheme> for AnyScheme {
    fn from(scheme: Scheme) -> Self {
        Self::RungeKutta(scheme)
    }
}

impl From<AnyReversible> for AnyScheme {
    fn from(scheme: AnyReversible) -> Self {
        Self::Reversible(scheme)
    }
}

/// The name in configurations.
impl std::fmt::Display for AnyScheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RungeKutta(scheme) => scheme.fmt(f),
            Self::Reversible(scheme) => scheme.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_is_found_by_its_name_and_has_nodes_for_its_steps() {
        let names: Vec<String> = AnyScheme::all().map(|scheme| scheme.to_string()).collect();
        for scheme in AnyScheme::all() {
            let name = scheme.to_string();
            assert_eq!(AnyScheme::named(&name), Some(scheme.clone()));
            assert_eq!(names.iter().filter(|other| **other == name).count(), 1, "{name} twice");
            for steps in [1, 2, 7] {
                assert_eq!(scheme.steps_for(scheme.nodes_for(steps)), steps, "{name}");
            }
        }
        assert_eq!(AnyScheme::named("leapfrogg"), None);
    }
}
