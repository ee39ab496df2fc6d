//! The asynchronous leapfrog scheme (Mutze 2013; Zhuang et al. 2021, MALI).

use super::{Cotangents, Reversible, Slope, two};
use crate::gradient::Due;
use crate::scheme::Nodes;
use crate::{Field, Scheme, State};

/// k = x + (h/2) v, u = f_{n+1/2}(k), v' = 2u − v, x' = k + (h/2) v', started with v = f_0(x_0).
///
/// Reads the control half-way between nodes. States: x, v.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AsynchronousLeapfrog;

/// f at the middle of the step.
const MIDDLE: Scheme = Scheme::new("middle", 1, Nodes::PerBoundary, &[&[]], &[1.0], &[0.5]);

/// The step with `stride` = h, and its inverse with −h.
fn swing<F: Field>(slope: &mut Slope<'_, F>, n: usize, stride: f64, states: &mut [F::State]) {
    let (x, v) = two(states);
    x.add_scaled(stride / 2.0, v);
    v.scale(-1.0);
    v.add_scaled(2.0, slope.at(n, x));
    x.add_scaled(stride / 2.0, v);
}

impl Reversible for AsynchronousLeapfrog {
    fn base(&self) -> &Scheme {
        &MIDDLE
    }

    fn order(&self) -> usize {
        2
    }

    fn start<F: Field>(&self, slope: &mut Slope<'_, F>, x0: &F::State) -> Vec<F::State> {
        let mut first = slope.first(x0);
        let v = first.at(0, x0).clone();
        slope.count(first.work());
        vec![x0.clone(), v]
    }

    fn start_pull_back<F: Field>(
        &self,
        slope: &mut Slope<'_, F>,
        x0: &F::State,
        mut bars: Vec<F::State>,
        gradient: Due<'_, F::Sink<'_>>,
    ) -> F::State {
        let (x_bar, v_bar) = two(&mut bars);
        let mut first = slope.first(x0);
        first.at(0, x0);
        first.pull_back(0, 1.0, v_bar, x_bar, gradient);
        slope.count(first.work());
        bars.swap_remove(0)
    }

    fn step<F: Field>(&self, slope: &mut Slope<'_, F>, n: usize, states: &mut [F::State]) {
        swing(slope, n, slope.h(), states);
    }

    fn unstep<F: Field>(
        &self,
        slope: &mut Slope<'_, F>,
        n: usize,
        states: &mut [F::State],
        adjoint: Option<Cotangents<'_, '_, F>>,
    ) {
        // The inverse evaluates at the k of the step, so its tape serves the pull-back.
        swing(slope, n, -slope.h(), states);
        if let Some((bars, gradient)) = adjoint {
            let (half, (x_bar, v_bar)) = (slope.h() / 2.0, two(bars));
            v_bar.add_scaled(half, x_bar);
            slope.pull_back(n, 2.0, v_bar, x_bar, gradient);
            v_bar.scale(-1.0);
            v_bar.add_scaled(half, x_bar);
        }
    }
}
