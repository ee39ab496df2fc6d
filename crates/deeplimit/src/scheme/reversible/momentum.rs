//! Momentum residual networks (Sander, Ablin, Blondel, Peyré 2021).

use super::{Cotangents, Reversible, Slope, two, zeros};
use crate::gradient::Due;
use crate::{Field, Scheme, State};

/// v' = γ v + (1 − γ) f_n(x), x' = x + h v', started with v = 0.
///
/// The inverse divides by γ at every step: it loses the factor γ^{−N} in precision (with γ = 0.7
/// all digits after about 100 steps). States: x, v.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    /// γ in (0, 1).
    pub gamma: f64,
}

impl Momentum {
    /// γ where a configuration names the scheme, as in the paper's experiments: the inverse loses
    /// γ^{−N}, which is 850 at 64 steps and 720 000 at 128.
    pub const GAMMA: f64 = 0.9;
}

impl Default for Momentum {
    fn default() -> Self {
        Self { gamma: Self::GAMMA }
    }
}

impl Reversible for Momentum {
    fn base(&self) -> &Scheme {
        &Scheme::EULER
    }

    fn order(&self) -> usize {
        1
    }

    fn start<F: Field>(&self, _slope: &mut Slope<'_, F>, x0: &F::State) -> Vec<F::State> {
        vec![x0.clone(), zeros(x0)]
    }

    fn start_pull_back<F: Field>(
        &self,
        _slope: &mut Slope<'_, F>,
        _x0: &F::State,
        mut bars: Vec<F::State>,
        _gradient: Due<'_, F::Sink<'_>>,
    ) -> F::State {
        bars.swap_remove(0)
    }

    fn step<F: Field>(&self, slope: &mut Slope<'_, F>, n: usize, states: &mut [F::State]) {
        let (x, v) = two(states);
        v.scale(self.gamma);
        v.add_scaled(1.0 - self.gamma, slope.at(n, x));
        x.add_scaled(slope.h(), v);
    }

    fn unstep<F: Field>(
        &self,
        slope: &mut Slope<'_, F>,
        n: usize,
        states: &mut [F::State],
        adjoint: Option<Cotangents<'_, '_, F>>,
    ) {
        let (x, v) = two(states);
        x.add_scaled(-slope.h(), v);
        v.add_scaled(self.gamma - 1.0, slope.at(n, x));
        v.scale(1.0 / self.gamma);
        if let Some((bars, gradient)) = adjoint {
            let (x_bar, v_bar) = two(bars);
            v_bar.add_scaled(slope.h(), x_bar);
            slope.pull_back(n, 1.0 - self.gamma, v_bar, x_bar, gradient);
            v_bar.scale(self.gamma);
        }
    }
}
