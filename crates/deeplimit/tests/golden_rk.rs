//! Un-steps of one-step methods, `c_rk.json`: parameters at the stage times themselves.

mod common;

use common::run;
use common::{Case, assert_close, depths, entry, load, number, numbers, order};
use deeplimit::control::Position;
use deeplimit::field::Layer;
use deeplimit::gradient::{Adjoint, Due, Predictor, Sweeps};
use deeplimit::prelude::*;
use deeplimit::scheme::Nodes;

/// The layer with θ(s) given in closed form at every position; it has no parameter to train.
struct Analytic<'c> {
    layer: Mlp,
    case: &'c Case,
    steps: usize,
}

impl Analytic<'_> {
    fn theta(&self, position: Position) -> Vec<Vec<f64>> {
        self.case.smooth_at((position.node as f64 + position.fraction) / self.steps as f64)
    }
}

fn slices(theta: &[Vec<f64>]) -> Vec<&[f64]> {
    theta.iter().map(Vec::as_slice).collect()
}

impl Field for Analytic<'_> {
    const SINGLE_PRECISION: bool = false;
    type State = Rows<f64>;
    type Tape = <Mlp as Layer<f64>>::Tape;
    type Gradient = ();
    type Sink<'g> = ();

    fn nodes(&self) -> usize {
        self.steps + 1
    }

    fn tape(&self, like: &Rows<f64>) -> Self::Tape {
        Layer::<f64>::tape(&self.layer, like.rows())
    }

    fn tape_bytes(&self, tape: &Self::Tape) -> usize {
        Layer::<f64>::tape_bytes(&self.layer, tape)
    }

    fn eval(&self, at: Position, x: &Rows<f64>, out: &mut Rows<f64>, tape: &mut Self::Tape) {
        self.linearize(at, x, out, tape);
    }

    fn linearize(&self, at: Position, x: &Rows<f64>, out: &mut Rows<f64>, tape: &mut Self::Tape) {
        self.layer.linearize(&slices(&self.theta(at)), x, out, tape);
    }

    fn pull_back(
        &self,
        at: Position,
        x: &Rows<f64>,
        tape: &mut Self::Tape,
        cotangent: &Rows<f64>,
        x_bar: &mut Rows<f64>,
        _gradient: Option<Due<'_, ()>>,
    ) {
        let theta = self.theta(at);
        self.layer.pull_back(&slices(&theta), x, tape, cotangent, x_bar, false);
    }

    fn zero_gradient(&self) {}

    fn open(&self, _gradient: &mut ()) {}

    fn open_anew(&self, _gradient: &mut ()) {}

    fn zero_part(&self, _nodes: usize) {}

    fn open_part(&self, _part: &mut (), _first: usize) {}

    fn add_part(&self, _part: &(), _first: usize, _node: usize, _to: &()) {}

    fn gradient_norm(&self, _gradient: &()) -> f64 {
        0.0
    }

    fn tile_samples(&self, _like: &Rows<f64>) -> Option<usize> {
        None
    }
}

/// The third-order scheme of Kutta (1901).
const KUTTA3: Scheme = Scheme::new(
    "kutta3",
    3,
    Nodes::PerBoundary,
    &[&[], &[0.5], &[-1.0, 2.0]],
    &[1.0 / 6.0, 2.0 / 3.0, 1.0 / 6.0],
    &[0.0, 0.5, 1.0],
);

/// Euler whose step with −h reads θ at its own start, s + h, as every other scheme here.
const EULER_BETWEEN_BOUNDARIES: Scheme =
    Scheme::new("euler", 1, Nodes::PerBoundary, &[&[]], &[1.0], &[0.0]);

#[test]
fn un_steps_and_sweeps_have_the_golden_errors_and_the_stated_orders() {
    let golden = load("c_rk");
    let (case, depths) = (Case::read(entry(&golden, "case")), depths(&golden));
    let tolerance = |name| number(entry(&golden, "tol"), name);
    let (relative, floor, slope) = (tolerance("rel"), tolerance("abs"), tolerance("order"));
    let schemes = [EULER_BETWEEN_BOUNDARIES, Scheme::MIDPOINT, Scheme::HEUN, KUTTA3, Scheme::RK4];
    for scheme in schemes {
        let golden = entry(entry(&golden, "results"), scheme.name());
        assert_eq!(scheme.order(), common::count(golden, "q"), "{scheme}");
        let rows = numbers(golden, "e0_by_sweeps");
        for (sweeps, row) in rows.chunks_exact(depths.len()).enumerate() {
            let mut errors = Vec::new();
            for (steps, golden_error) in depths.iter().zip(row) {
                let layer = case.layer(Activation::Tanh);
                let field = Analytic { layer, case: &case, steps: *steps };
                let flow = Flow::new(field, scheme.clone());
                let adjoint = Adjoint {
                    predictor: Predictor::None,
                    // The step with −h, the sweeps, and the pull-back's own evaluation, unused.
                    sweeps: Sweeps::Fixed(2 + sweeps),
                    refine: false,
                    anchors: None,
                    tolerance: None,
                };
                let trace = run::trace(&flow, adjoint, &case.x0, &case.bar);
                let error = run::distance(&trace.states[0], &case.x0);
                let what = format!("{scheme}, N {steps}, {sweeps} sweeps");
                assert_close(&what, error, *golden_error, relative, floor);
                errors.push(error);
                if *steps == depths[0] && sweeps == 0 {
                    let end = trace.states.last().expect("x_N is a state");
                    let gap = common::largest_difference(&end.to_vec(), &numbers(golden, "x_N"));
                    assert!(gap < 1e-12, "{scheme}: x_N is off by {gap:e}");
                }
            }
            let (order, stated) = (order(&depths, &errors), scheme.inverse_order() + sweeps);
            assert!(
                (order - stated as f64).abs() <= slope,
                "{scheme}, {sweeps} sweeps: order {order}, not {stated}"
            );
        }
    }
}
