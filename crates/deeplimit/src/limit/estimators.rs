//! How like an ODE a network is, from its states alone: three gaps that vanish with its depth.
//!
//! | gap | compares x_N with | for bounded weights | for weights of size √N |
//! |---|---|---|---|
//! | merge | layers taken in groups at a common state | ∝ 1/N | any |
//! | frozen layers | midpoint steps of each layer on its own | ∝ 1/N | of order 1, or ∝ N^−½ |
//! | Euler–Heun | Heun's scheme on the same weights | ∝ 1/N, smooth or not | ∝ N^−½ |
//!
//! Merged are the layers' *functions*: x ← x + h Σ_{j in group} f_j(x). Averaging or leaving out
//! their weights instead would measure how smooth the weights are, and is wrong for rough ones,
//! whose functions average out while their averaged weights do something else.
//!
//! The frozen gap is the size of ½ Σ h² J_n f_n, the Itô term. The Euler–Heun gap does not see that
//! term where layers are independent, so the frozen gap is the better sign of a diffusive network;
//! compare N · gap between two depths rather than the gap with a threshold.

use super::NotEuler;
use super::bounds::only_euler;
use crate::control::Position;
use crate::{Field, Flow, State};
use serde::Serialize;

/// Gaps between a residual network and neighbours of its own weights, relative to ‖x_N − x_0‖ over
/// the whole batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gaps {
    /// d_1: groups of two layers against single layers.
    pub merged: f64,
    /// d_2: groups of four layers against groups of two.
    pub merged_again: f64,
    /// log₂(d_2/d_1), the observed order: 1 where the network is near an ODE and its weights do not
    /// alternate (then d_1 alone tells). None where a gap is not above rounding.
    pub order: Option<f64>,
    /// Each layer's step by the midpoint rule, x + h f_n(x + (h/2) f_n(x)), against Euler's.
    pub frozen: f64,
    /// N − 1 steps of Heun's scheme, x + (h/2)(f_n(x) + f_{n+1}(x + h f_n(x))), against as many of
    /// Euler's, relative to their ‖x_{N−1} − x_0‖.
    pub heun: f64,
}

impl Gaps {
    /// Walks a batch through the network and its neighbours: about seven times the work of the
    /// network, no memory that grows with depth.
    ///
    /// # Errors
    /// If the flow's scheme is not Euler's.
    pub fn measure<F: Field>(flow: &Flow<F>, x0: &F::State) -> Result<Self, NotEuler> {
        only_euler(flow)?;
        let layers = flow.steps();
        let mut walk = Walk::new(flow, x0);
        let [euler, pairs, fours] = [1, 2, 4].map(|group| walk.grouped(layers, group));
        let (last, heun) = (walk.grouped(layers - 1, 1), walk.heun(layers - 1));
        let frozen = walk.frozen(layers);
        let merged = relative(&pairs, &euler, &euler, x0);
        let merged_again = relative(&fours, &pairs, &euler, x0);
        // A difference of states is known to some hundred roundings of their size.
        let floor = if F::SINGLE_PRECISION { 5e-5 } else { 1e-13 };
        let far = |x: &F::State, y: &F::State| {
            x.distance_squared(y).sqrt() >= floor * euler.norm_squared().sqrt()
        };
        let known = far(&pairs, &euler) && far(&fours, &pairs);
        Ok(Self {
            merged,
            merged_again,
            order: known.then(|| (merged_again / merged).log2()),
            frozen: relative(&frozen, &euler, &euler, x0),
            heun: relative(&heun, &last, &last, x0),
        })
    }
}

/// ‖x − y‖ / ‖end − x_0‖, zero where the first is.
fn relative<S: State>(x: &S, y: &S, end: &S, x0: &S) -> f64 {
    match x.distance_squared(y) {
        0.0 => 0.0,
        distance => (distance / end.distance_squared(x0)).sqrt(),
    }
}

/// Walks from x_0, with their scratch space.
struct Walk<'f, F: Field> {
    flow: &'f Flow<F>,
    x0: &'f F::State,
    tape: F::Tape,
    slope: F::State,
    point: F::State,
}

impl<'f, F: Field> Walk<'f, F> {
    fn new(flow: &'f Flow<F>, x0: &'f F::State) -> Self {
        let tape = flow.field().tape(x0);
        Self { flow, x0, tape, slope: x0.scratch(), point: x0.scratch() }
    }

    /// x ← x + h Σ f_j(x) over groups of so many layers; the last group may be smaller.
    fn grouped(&mut self, layers: usize, group: usize) -> F::State {
        let (field, h) = (self.flow.field(), self.flow.h());
        let mut x = self.x0.clone();
        for start in (0..layers).step_by(group) {
            self.point.copy_from(&x);
            for layer in start..layers.min(start + group) {
                let position = Position::node(layer);
                field.eval(position, &self.point, &mut self.slope, &mut self.tape);
                x.add_scaled(h, &self.slope);
            }
        }
        x
    }

    /// x ← x + h f_n(x + (h/2) f_n(x)).
    fn frozen(&mut self, layers: usize) -> F::State {
        let (field, h) = (self.flow.field(), self.flow.h());
        let mut x = self.x0.clone();
        for layer in 0..layers {
            let position = Position::node(layer);
            field.eval(position, &x, &mut self.slope, &mut self.tape);
            self.point.set_sum(&x, h / 2.0, &self.slope);
            field.eval(position, &self.point, &mut self.slope, &mut self.tape);
            x.add_scaled(h, &self.slope);
        }
        x
    }

    /// x ← x + (h/2) (f_n(x) + f_{n+1}(x + h f_n(x))).
    fn heun(&mut self, steps: usize) -> F::State {
        let (field, h) = (self.flow.field(), self.flow.h());
        let mut x = self.x0.clone();
        for step in 0..steps {
            field.eval(Position::node(step), &x, &mut self.slope, &mut self.tape);
            self.point.set_sum(&x, h, &self.slope);
            x.add_scaled(h / 2.0, &self.slope);
            let end = Position::node(step + 1);
            field.eval(end, &self.point, &mut self.slope, &mut self.tape);
            x.add_scaled(h / 2.0, &self.slope);
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Control;
    use crate::field::{Layer, Linear, Mlp, Stacked};
    use crate::kernel::Activation;
    use crate::{Real, Rows, Scheme};

    /// x' = θ_n x in one dimension.
    fn scalar<R: Real>(weights: &[f64]) -> Flow<Stacked<R, Linear>> {
        let layer = Linear { width: 1 };
        let values = vec![weights.iter().map(|w| R::of(*w)).collect()];
        let control = Control::new(Layer::<R>::kinds(&layer), weights.len(), values);
        Flow::new(Stacked::new(layer, control), Scheme::EULER)
    }

    #[test]
    fn gaps_of_a_scalar_network_are_those_by_hand() {
        let (flow, h) = (scalar::<f64>(&[1.0, 2.0, -1.0, 3.0, 0.5]), 0.2);
        let gaps = Gaps::measure(&flow, &Rows::new(1, 1, &[2.0])).expect("a residual network");
        let product = |factors: &[f64]| factors.iter().map(|f| 1.0 + h * f).product::<f64>();
        let euler = product(&[1.0, 2.0, -1.0, 3.0, 0.5]);
        let [pairs, fours] = [product(&[3.0, 2.0, 0.5]), product(&[5.0, 0.5])];
        let frozen = [1.0, 2.0, -1.0, 3.0, 0.5].map(|w| w + h / 2.0 * w * w);
        let steps = [[1.0, 2.0], [2.0, -1.0], [-1.0, 3.0], [3.0, 0.5]];
        let heun = product(&steps.map(|[a, b]| (a + b * (1.0 + h * a)) / 2.0));
        let last = product(&[1.0, 2.0, -1.0, 3.0]);
        let expected = [
            (gaps.merged, (pairs - euler).abs() / (euler - 1.0)),
            (gaps.merged_again, (fours - pairs).abs() / (euler - 1.0)),
            (gaps.frozen, (product(&frozen) - euler).abs() / (euler - 1.0)),
            (gaps.heun, (heun - last).abs() / (last - 1.0)),
        ];
        for (found, expected) in expected {
            // Differences of numbers near 1.
            assert!((found - expected).abs() < 1e-14, "{found} {expected}");
        }
        let order = gaps.order.expect("gaps above rounding");
        assert_eq!(order, (gaps.merged_again / gaps.merged).log2());
    }

    #[test]
    fn a_network_that_moves_nothing_or_has_one_layer_has_no_gap() {
        let gap = |weights: &[f64]| {
            let gaps = Gaps::measure(&scalar::<f64>(weights), &Rows::new(1, 1, &[1.0]));
            gaps.expect("a residual network")
        };
        let none = Gaps { merged: 0.0, merged_again: 0.0, order: None, frozen: 0.0, heun: 0.0 };
        assert_eq!(gap(&[0.0; 6]), none);
        assert_eq!(gap(&[1.0]), Gaps { frozen: gap(&[1.0]).frozen, ..none });
    }

    #[test]
    fn an_order_within_rounding_is_not_given() {
        // Merging changes x by (N/2) (4e-3 h)² = 2e-6: much more than doubles round, and some thirty
        // roundings of single precision.
        let weights = [4e-3; 4];
        let x0 = Rows::new(1, 1, &[1.0]);
        let double = Gaps::measure(&scalar::<f64>(&weights), &x0).expect("a residual network");
        let single = Gaps::measure(&scalar::<f32>(&weights), &x0.cast());
        assert!(double.order.is_some());
        assert_eq!(single.expect("a residual network").order, None);
    }

    #[test]
    fn other_schemes_are_refused() {
        let layer = Mlp { width: 2, hidden: 3, activation: Activation::Tanh };
        let flow = Flow::new(Stacked::<f64, _>::smooth(layer, 4, 1), Scheme::MIDPOINT);
        let refused = Gaps::measure(&flow, &Rows::zeros(1, 2));
        assert_eq!(refused, Err(NotEuler { scheme: "midpoint".to_owned() }));
    }
}
