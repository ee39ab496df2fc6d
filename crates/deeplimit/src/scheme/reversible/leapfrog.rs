//! The leapfrog scheme, a two-step rule (Chang et al. 2018, "Reversible architectures").

use super::{Cotangents, Reversible, Slope, two};
use crate::gradient::Due;
use crate::{Field, Scheme, State};

/// x_{n+1} = x_{n−1} + 2h f_n(x_n), started by x_1 = x_0 + h f_0(x_0).
///
/// States after n steps: x_n, x_{n−1} (before the first: x_0 twice).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Leapfrog;

/// The stride of step `n` in units of h: the first one starts from x_0 instead of x_{−1}.
fn stride(n: usize) -> f64 {
    if n == 0 { 1.0 } else { 2.0 }
}

impl Reversible for Leapfrog {
    fn base(&self) -> &Scheme {
        &Scheme::EULER
    }

    fn order(&self) -> usize {
        2
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
        let (x_bar, before_bar) = two(&mut bars);
        x_bar.add_scaled(1.0, before_bar);
        bars.swap_remove(0)
    }

    fn step<F: Field>(&self, slope: &mut Slope<'_, F>, n: usize, states: &mut [F::State]) {
        let (x, before) = two(states);
        let stride = stride(n) * slope.h();
        before.add_scaled(stride, slope.at(n, x));
        std::mem::swap(x, before);
    }

    fn unstep<F: Field>(
        &self,
        slope: &mut Slope<'_, F>,
        n: usize,
        states: &mut [F::State],
        adjoint: Option<Cotangents<'_, '_, F>>,
    ) {
        let (after, x) = two(states);
        let stride = stride(n) * slope.h();
        after.add_scaled(-stride, slope.at(n, x));
        std::mem::swap(after, x);
        if let Some((bars, gradient)) = adjoint {
            let (after_bar, x_bar) = two(bars);
            slope.pull_back(n, stride, after_bar, x_bar, gradient);
            std::mem::swap(after_bar, x_bar);
        }
    }
}
