//! The registry of reversible schemes: one type for whichever of them a configuration names.

use super::{
    AsynchronousLeapfrog, Cotangents, Leapfrog, McCallumFoster, Momentum, Reversible,
    ReversibleHeun, Slope,
};
use crate::gradient::Due;
use crate::{Field, Scheme};

/// Any scheme with an exact inverse.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyReversible {
    /// The two-step midpoint rule.
    Leapfrog(Leapfrog),
    /// Momentum residual networks.
    Momentum(Momentum),
    /// The reversible Heun scheme.
    ReversibleHeun(ReversibleHeun),
    /// The asynchronous leapfrog scheme.
    AsynchronousLeapfrog(AsynchronousLeapfrog),
    /// The reversible pair over a tableau.
    McCallumFoster(McCallumFoster),
}

/// Runs `$body` with the scheme unwrapped.
macro_rules! each {
    ($any:expr, $scheme:ident => $body:expr) => {
        match $any {
            AnyReversible::Leapfrog($scheme) => $body,
            AnyReversible::Momentum($scheme) => $body,
            AnyReversible::ReversibleHeun($scheme) => $body,
            AnyReversible::AsynchronousLeapfrog($scheme) => $body,
            AnyReversible::McCallumFoster($scheme) => $body,
        }
    };
}

impl AnyReversible {
    /// The registry: every reversible scheme that a configuration can name, with its default γ and c.
    pub const ALL: [Self; 8] = [
        Self::Leapfrog(Leapfrog),
        Self::Momentum(Momentum { gamma: Momentum::GAMMA }),
        Self::ReversibleHeun(ReversibleHeun),
        Self::AsynchronousLeapfrog(AsynchronousLeapfrog),
        Self::McCallumFoster(McCallumFoster::over(Scheme::EULER)),
        Self::McCallumFoster(McCallumFoster::over(Scheme::HEUN)),
        Self::McCallumFoster(McCallumFoster::over(Scheme::MIDPOINT)),
        Self::McCallumFoster(McCallumFoster::over(Scheme::RK4)),
    ];
}

/// The name in configurations.
impl std::fmt::Display for AnyReversible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Leapfrog(_) => f.write_str("leapfrog"),
            Self::Momentum(_) => f.write_str("momentum"),
            Self::ReversibleHeun(_) => f.write_str("reversible-heun"),
            Self::AsynchronousLeapfrog(_) => f.write_str("asynchronous-leapfrog"),
            Self::McCallumFoster(pair) => write!(f, "mccallum-foster-{}", pair.base),
        }
    }
}

impl Reversible for AnyReversible {
    fn base(&self) -> &Scheme {
        each!(self, scheme => scheme.base())
    }

    fn order(&self) -> usize {
        each!(self, scheme => scheme.order())
    }

    fn steps_for(&self, nodes: usize) -> usize {
        each!(self, scheme => scheme.steps_for(nodes))
    }

    fn nodes_for(&self, steps: usize) -> usize {
        each!(self, scheme => scheme.nodes_for(steps))
    }

    fn start<F: Field>(&self, slope: &mut Slope<'_, F>, x0: &F::State) -> Vec<F::State> {
        each!(self, scheme => scheme.start(slope, x0))
    }

    fn start_pull_back<F: Field>(
        &self,
        slope: &mut Slope<'_, F>,
        x0: &F::State,
        bars: Vec<F::State>,
        gradient: Due<'_, F::Sink<'_>>,
    ) -> F::State {
        each!(self, scheme => scheme.start_pull_back(slope, x0, bars, gradient))
    }

    fn step<F: Field>(&self, slope: &mut Slope<'_, F>, n: usize, states: &mut [F::State]) {
        each!(self, scheme => scheme.step(slope, n, states));
    }

    fn unstep<F: Field>(
        &self,
        slope: &mut Slope<'_, F>,
        n: usize,
        states: &mut [F::State],
        adjoint: Option<Cotangents<'_, '_, F>>,
    ) {
        each!(self, scheme => scheme.unstep(slope, n, states, adjoint));
    }
}
