//! The reversible Heun scheme (Kidger, Foster, Li, Lyons 2021).

use super::{Cotangents, Reversible, Slope};
use crate::gradient::Due;
use crate::{Field, Scheme, State};

/// z' = 2y − z + h F, F' = f_{n+1}(z'), y' = y + (h/2)(F + F'), started with z = y = x_0 and
/// F = f_0(x_0).
///
/// Reads the control at both ends of every step. States: y, z, F.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReversibleHeun;

/// y, z, F.
fn three<S>(states: &mut [S]) -> (&mut S, &mut S, &mut S) {
    let (y, rest) = states.split_at_mut(1);
    let (z, f) = rest.split_at_mut(1);
    (&mut y[0], &mut z[0], &mut f[0])
}

/// z = 2y − z + `stride` F: the same map forward, and backward with −h.
fn reflect<S: State>(z: &mut S, y: &S, stride: f64, f: &S) {
    z.scale(-1.0);
    z.add_scaled(2.0, y);
    z.add_scaled(stride, f);
}

impl Reversible for ReversibleHeun {
    fn base(&self) -> &Scheme {
        &Scheme::EULER
    }

    fn order(&self) -> usize {
        2
    }

    fn steps_for(&self, nodes: usize) -> usize {
        nodes.saturating_sub(1)
    }

    fn nodes_for(&self, steps: usize) -> usize {
        steps + 1
    }

    fn start<F: Field>(&self, slope: &mut Slope<'_, F>, x0: &F::State) -> Vec<F::State> {
        vec![x0.clone(), x0.clone(), slope.at(0, x0).clone()]
    }

    fn start_pull_back<F: Field>(
        &self,
        slope: &mut Slope<'_, F>,
        x0: &F::State,
        mut bars: Vec<F::State>,
        gradient: Due<'_, F::Sink<'_>>,
    ) -> F::State {
        let (y_bar, z_bar, f_bar) = three(&mut bars);
        y_bar.add_scaled(1.0, z_bar);
        slope.at(0, x0);
        slope.pull_back(0, 1.0, f_bar, y_bar, gradient);
        bars.swap_remove(0)
    }

    fn step<F: Field>(&self, slope: &mut Slope<'_, F>, n: usize, states: &mut [F::State]) {
        let (h, (y, z, f)) = (slope.h(), three(states));
        reflect(z, y, h, f);
        y.add_scaled(h / 2.0, f);
        f.copy_from(slope.at(n + 1, z));
        y.add_scaled(h / 2.0, f);
    }

    fn unstep<F: Field>(
        &self,
        slope: &mut Slope<'_, F>,
        n: usize,
        states: &mut [F::State],
        adjoint: Option<Cotangents<'_, '_, F>>,
    ) {
        let (h, (y, z, f)) = (slope.h(), three(states));
        if let Some((bars, gradient)) = adjoint {
            let (y_bar, z_bar, f_bar) = three(bars);
            f_bar.add_scaled(h / 2.0, y_bar);
            // The inverse of the step above ended here.
            slope.stand_at(n + 1, z);
            slope.pull_back(n + 1, 1.0, f_bar, z_bar, gradient);
            f_bar.copy_from(z_bar);
            f_bar.scale(h);
            f_bar.add_scaled(h / 2.0, y_bar);
            y_bar.add_scaled(2.0, z_bar);
            z_bar.scale(-1.0);
        }
        reflect(z, y, -h, f);
        y.add_scaled(-h / 2.0, f);
        f.copy_from(slope.at(n, z));
        y.add_scaled(-h / 2.0, f);
    }
}
