//! relu after every step, x ← relu(x + h f(x)): a block as He, Zhang, Ren, Sun (2015) have it.
//!
//! That is no step of a flow: what relu cuts off is lost, and nothing walks it back. Where f begins with
//! relu, the state before relu carries the same numbers, y ← relu(y) + h f(y) with x = relu(y); relu then
//! stands at the start of a step, whose point is kept anyway for the way back.

use super::Tiled;
use crate::Real;
use rayon::prelude::*;

/// `next = relu(x) + h next`; a number that is none stays none.
pub(super) fn step<R: Real>(x: &Tiled<R>, h: f64, next: &mut Tiled<R>) {
    let h = R::of(h);
    next.tiles.par_iter_mut().zip(&x.tiles).for_each(|(next, x)| {
        for (next, &x) in next.columns_mut().iter_mut().zip(x.columns()) {
            *next = h * *next + if x <= R::zero() { R::zero() } else { x };
        }
    });
}

/// `bar = [x > 0] bar`.
pub(super) fn pull_back<R: Real>(x: &Tiled<R>, bar: &mut Tiled<R>) {
    bar.tiles.par_iter_mut().zip(&x.tiles).for_each(|(bar, x)| {
        for (bar, &x) in bar.columns_mut().iter_mut().zip(x.columns()) {
            if x <= R::zero() {
                *bar = R::zero();
            }
        }
    });
}
