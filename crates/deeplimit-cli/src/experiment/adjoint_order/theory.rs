//! Orders that theory states, for every method, scheme and field.
//!
//! With a predictor of order k and m evaluations a layer: the predictor is off by h^{k+1} times the
//! k-th depth derivative of the increment where that exists, and every sweep x ← y − h Φ(x) multiplies
//! an error by −h J. The step with −h, which methods without a predictor start from, has the order q of
//! the scheme (q odd) or q + 1 (q even) on fields that are smooth in depth.

use super::Net;
use deeplimit::Scheme;
use deeplimit::gradient::{Adjoint, Predictor, Sweeps};

/// What is measured of a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// e_rec = max_n ‖x̃_n − x_n‖ / max_n ‖x_n‖.
    Reconstruction,
    /// e_0 = ‖x̃_0 − x_0‖ / ‖x_0‖.
    State,
    /// Relative error of the gradient of all parameters.
    Gradient,
    /// Relative error of the cotangent of x_0.
    Cotangent,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Reconstruction, Self::State, Self::Gradient, Self::Cotangent];

    /// What tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reconstruction => "states",
            Self::State => "x₀",
            Self::Gradient => "gradient",
            Self::Cotangent => "∂L/∂x₀",
        }
    }
}

/// How far a fitted exponent may lie from the stated one.
pub const TOLERANCE: f64 = 0.25;

/// What theory says about an order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stated {
    /// It is this.
    Order(f64),
    /// It lies between these.
    Between(f64, f64),
    /// It is at least this: errors of both signs may cancel.
    AtLeast(f64),
    /// Nothing.
    Nothing,
}

impl Stated {
    /// How far outside of what is stated a measured order lies; 0 within, none where nothing is stated.
    pub fn gap(self, measured: f64) -> Option<f64> {
        match self {
            Self::Order(order) => Some((measured - order).abs()),
            Self::Between(low, high) => Some((low - measured).max(measured - high).max(0.0)),
            Self::AtLeast(low) => Some((low - measured).max(0.0)),
            Self::Nothing => None,
        }
    }

    /// The order to draw.
    pub fn line(self) -> Option<f64> {
        match self {
            Self::Order(order) | Self::Between(order, _) | Self::AtLeast(order) => Some(order),
            Self::Nothing => None,
        }
    }
}

impl std::fmt::Display for Stated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Order(order) => write!(f, "{order}"),
            Self::Between(low, high) => write!(f, "{low} to {high}"),
            Self::AtLeast(low) => write!(f, "≥ {low}"),
            Self::Nothing => f.write_str("–"),
        }
    }
}

/// The order of a method's error on a kind of network.
pub fn stated(net: Net, scheme: &Scheme, adjoint: &Adjoint, measure: Measure) -> Stated {
    let Sweeps::Fixed(evaluations) = adjoint.sweeps else { return Stated::Nothing };
    let refined = usize::from(adjoint.refine);
    // A single evaluation is that of the pull-back, at y itself.
    let unstep = if evaluations == 1 { 1 } else { scheme.inverse_order() };
    // A reconstruction that is not refined forgets its last evaluation.
    let sweeps = evaluations + refined - 1;
    match net {
        Net::Smooth | Net::Conv | Net::ConvBn => {
            Stated::Order(smooth(adjoint.predictor, sweeps, unstep))
        }
        // One sweep, one order, on weights of any roughness; the predictor changes a constant. Sums of
        // independent errors cancel by another √h in the states and in what comes down to x_0.
        Net::Rough => {
            let order = sweeps as f64;
            match (measure, adjoint.predictor) {
                // The un-step of a staged scheme is off by products of differences of layers, which
                // are of either sign, and the layer is linearised where it leads to.
                (Measure::Gradient, Predictor::None) if scheme.order() > 1 && !adjoint.refine => {
                    Stated::Between(order, order + 0.5)
                }
                (Measure::Gradient, _) => Stated::Order(order),
                (Measure::Cotangent, _) => Stated::AtLeast(order),
                (_, Predictor::None) if scheme.order() == 1 => Stated::Order(order),
                _ => Stated::Between(order, order + 0.5),
            }
        }
        Net::Relu => match measure {
            Measure::Reconstruction | Measure::State => match adjoint.predictor {
                // At a kink the increment has one depth derivative, which jumps.
                Predictor::Extrapolation(order) => {
                    Stated::Order(smooth(Predictor::Extrapolation(order.min(2)), sweeps, unstep))
                }
                Predictor::None => Stated::Order(smooth(Predictor::None, sweeps, unstep)),
                Predictor::Learned(_) => Stated::Nothing,
            },
            // Errors come from units on the wrong side, in jumps: see `in_mean_square`.
            Measure::Gradient | Measure::Cotangent => Stated::Nothing,
        },
    }
}

/// Order on fields that are smooth in depth and in x.
fn smooth(predictor: Predictor, sweeps: usize, unstep: usize) -> f64 {
    let order = match predictor {
        Predictor::None => unstep + sweeps - 1,
        Predictor::Extrapolation(order) | Predictor::Learned(order) => order + sweeps,
    };
    order as f64
}

/// Order with relu, in mean square over samples, of a method that reconstructs with order q: a unit is on
/// the wrong side with probability h^{q−1} a layer, which changes the layer's gradient by O(1) and the
/// cotangent by O(h).
pub fn in_mean_square(scheme: &Scheme, adjoint: &Adjoint, measure: Measure) -> Stated {
    let reconstruction = stated(Net::Relu, scheme, adjoint, Measure::State);
    match (reconstruction, measure) {
        (Stated::Order(q), Measure::Gradient) => Stated::Order(q / 2.0),
        (Stated::Order(q), Measure::Cotangent) => Stated::Order((q + 1.0) / 2.0),
        _ => Stated::Nothing,
    }
}

/// Evaluations of all layers that a method costs on a deep network, a pull-back counting 2: the least
/// and the most.
pub fn cost(scheme: &Scheme, adjoint: &Adjoint) -> (f64, f64) {
    let stages = scheme.stages() as f64;
    let (least, most) = match adjoint.sweeps {
        Sweeps::Fixed(evaluations) => (evaluations, evaluations),
        Sweeps::UntilWithin { most, .. } => (1, most),
    };
    (stages * (3 + least) as f64, stages * (3 + most) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use deeplimit::Method;

    fn order(net: Net, scheme: &Scheme, method: &str, measure: Measure) -> Stated {
        match method.parse() {
            Ok(Method::Adjoint(adjoint)) => stated(net, scheme, &adjoint, measure),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn orders_are_those_of_the_tables() {
        let gradient = Measure::Gradient;
        let of = Stated::Order;
        for (scheme, method, smooth, rough) in [
            (Scheme::EULER, "P0C1", of(1.0), of(1.0)),
            (Scheme::EULER, "adjoint-published", of(1.0), of(1.0)),
            (Scheme::EULER, "adjoint-corrected", of(2.0), of(2.0)),
            (Scheme::EULER, "P0C3", of(3.0), of(3.0)),
            (Scheme::EULER, "P1C1", of(2.0), of(1.0)),
            (Scheme::EULER, "P2C1", of(3.0), of(1.0)),
            (Scheme::EULER, "P1C2", of(3.0), of(2.0)),
            (Scheme::EULER, "AR2C2", of(4.0), of(2.0)),
            (Scheme::HEUN, "adjoint-published", of(3.0), Stated::Between(1.0, 1.5)),
            (Scheme::HEUN, "adjoint-corrected", of(4.0), of(2.0)),
            (Scheme::HEUN, "P2C1", of(3.0), of(1.0)),
            (Scheme::RK4, "adjoint-published", of(5.0), Stated::Between(1.0, 1.5)),
            (Scheme::RK4, "adjoint-corrected", of(6.0), of(2.0)),
        ] {
            let what = format!("{scheme}, {method}");
            assert_eq!(order(Net::Smooth, &scheme, method, gradient), smooth, "{what}");
            assert_eq!(order(Net::Rough, &scheme, method, gradient), rough, "{what}");
        }
        let states = order(Net::Relu, &Scheme::EULER, "P3C1", Measure::State);
        assert_eq!(states, Stated::Order(3.0));
        assert_eq!(order(Net::Relu, &Scheme::EULER, "P3C1", gradient), Stated::Nothing);
    }

    #[test]
    fn a_gap_is_how_far_outside_a_measured_order_lies() {
        assert!((Stated::Order(2.0).gap(1.9).unwrap() - 0.1).abs() < 1e-12);
        assert_eq!(Stated::Between(1.0, 1.5).gap(1.25), Some(0.0));
        assert!((Stated::Between(1.0, 1.5).gap(1.75).unwrap() - 0.25).abs() < 1e-12);
        assert_eq!(Stated::AtLeast(1.0).gap(5.0), Some(0.0));
        assert_eq!(Stated::Nothing.gap(5.0), None);
    }
}
