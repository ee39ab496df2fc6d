//! The reversible pair over any one-step scheme (McCallum, Foster 2024).

use super::{Cotangents, Reversible, Slope, two};
use crate::gradient::Due;
use crate::{Field, Scheme, State};

/// y' = c y + (1 − c) z + h Φ_h(z), z' = z + h Φ₋ₕ(y'), started with y = z = x_0, where Φ₋ₕ is the
/// increment of the base scheme walked with −h from the end of the step.
///
/// States: y, z.
#[derive(Clone, Debug, PartialEq)]
pub struct McCallumFoster {
    /// The one-step scheme whose increments couple y and z, and whose order the pair has.
    pub base: Scheme,
    /// c in (0, 1]. The inverse divides by it at every step; below 1 it damps the difference of y
    /// and z on the way forward.
    pub coupling: f64,
}

impl McCallumFoster {
    /// c where a configuration names the scheme: the inverse loses c^{−N}, which is 2.7 at 1 000
    /// steps.
    pub const COUPLING: f64 = 0.999;

    /// The pair over a scheme, with c = [`COUPLING`](Self::COUPLING).
    pub const fn over(base: Scheme) -> Self {
        Self { base, coupling: Self::COUPLING }
    }
}

impl Reversible for McCallumFoster {
    fn base(&self) -> &Scheme {
        &self.base
    }

    fn order(&self) -> usize {
        self.base.order()
    }

    fn start<F: Field>(&self, _slope: &mut Slope<'_, F>, x0: &F::State) -> Vec<F::State> {
        vec![x0.clone(), x0.clone()]
    }

    fn start_pull_back<F: Field>(
        &self,
        _slope: &mut Slope<'_, F>,
        _x0: &F::State,
        mut bars: Vec<F::State>,
        _gradient: Due<'_, F::Sink<'_>>,
    ) -> F::State {
        let (y_bar, z_bar) = two(&mut bars);
        y_bar.add_scaled(1.0, z_bar);
        bars.swap_remove(0)
    }

    fn step<F: Field>(&self, slope: &mut Slope<'_, F>, n: usize, states: &mut [F::State]) {
        let (h, (y, z)) = (slope.h(), two(states));
        y.scale(self.coupling);
        y.add_scaled(1.0 - self.coupling, z);
        y.add_scaled(h, slope.at(n, z));
        z.add_scaled(h, slope.backward_at(n, y));
    }

    fn unstep<F: Field>(
        &self,
        slope: &mut Slope<'_, F>,
        n: usize,
        states: &mut [F::State],
        mut adjoint: Option<Cotangents<'_, '_, F>>,
    ) {
        let (h, (y, z)) = (slope.h(), two(states));
        z.add_scaled(-h, slope.backward_at(n, y));
        if let Some((bars, gradient)) = &mut adjoint {
            let (y_bar, z_bar) = two(bars);
            slope.pull_back(n, h, z_bar, y_bar, *gradient);
        }
        y.add_scaled(-h, slope.at(n, z));
        y.add_scaled(self.coupling - 1.0, z);
        y.scale(1.0 / self.coupling);
        if let Some((bars, gradient)) = adjoint {
            let (y_bar, z_bar) = two(bars);
            slope.pull_back(n, h, y_bar, z_bar, gradient);
            z_bar.add_scaled(1.0 - self.coupling, y_bar);
            y_bar.scale(self.coupling);
        }
    }
}
