//! The deep limit of a flow whose control is a function of depth: x'(s) = f(x, θ(s)), s ∈ [0, 1].
//!
//! With a control θ(s) that is bounded and continuous but for a few jumps, the network of N layers on the
//! samples θ(n/N) tends to it as N grows (Thorpe, van Gennip 2018; for a θ with bounded derivative at the
//! rate 1/N, Sander, Ablin, Peyré 2022, section 3). Here θ is read at whatever depth the solver asks
//! for: nothing is interpolated.

use super::{DormandPrince, OdeError, Solution};
use crate::control::{Curve, Position};
use crate::field::{Layer, Stacked};
use crate::{Field, Real, Rows};

/// The end x(1) of the limit of a flow of layers, for a batch x(0), to the tolerance of `solver`. The
/// samples of the batch share their steps.
///
/// # Errors
/// If the solver fails.
///
/// # Panics
/// If the curve does not hold the layer's parameters.
pub fn deep_limit<R: Real, L: Layer<R>>(
    layer: &L,
    curve: &Curve<R>,
    x0: &Rows<R>,
    solver: &DormandPrince,
) -> Result<Solution<Rows<R>>, OdeError> {
    let mut field = Stacked::new(layer.clone(), curve.at(0.0, crate::control::Side::After));
    let mut tape = Field::tape(&field, x0);
    solver.solve(x0, &curve.expansion().breaks(), |s, side, x, out| {
        *field.control_mut() = curve.at(s, side);
        field.eval(Position::node(0), x, out, &mut tape);
    })
}
