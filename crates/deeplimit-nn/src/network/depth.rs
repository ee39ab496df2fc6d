//! One network at any depth, and in the limit of infinite depth.
//!
//! A control in a basis is sampled at the nodes of whatever depth, and read at whatever depth the solver of
//! the limit asks for. A control with a value at every node is continued between them by its weight
//! interpolant (Sander, Ablin, Peyré 2022), and so are the running statistics of a field that normalises.
//! Whether that interpolant is a limit of anything is for [`Network::scalings`] to say.

use super::Network;
use super::evaluator::{Around, Reached};
use super::field::Formula;
use super::stage::{Stage, held, numbers};
use crate::data::Batch;
use deeplimit::control::{Control, Curve, Kind, Position, ProlongBy, Side};
use deeplimit::field::{ConvBn, Tiled};
use deeplimit::limit::diagnosis::{Finding, Scaling};
use deeplimit::limit::{DormandPrince, OdeError, Solution, deep_limit};
use deeplimit::{Field, Rows, State};
use rayon::prelude::*;

/// A flow whose limit was not found.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the limit of flow {stage}: {source}")]
pub struct LimitFault {
    /// Which of the network's flows, from the input on.
    pub stage: usize,
    /// Why.
    pub source: OdeError,
}

/// The deep limit of a network: each flow is its neural ODE x' = f(x, θ(s)), solved in double precision.
pub struct Limit {
    flows: Vec<Ode>,
    around: Around,
    solver: DormandPrince,
}

/// The ODE of a flow.
struct Ode {
    formula: Formula,
    curve: Curve<f64>,
    /// Running mean and variance over depth, of a field that normalises.
    running: Curve<f32>,
}

/// Samples that share their steps in a field whose samples do not meet.
const TILE: usize = 128;

impl Stage {
    /// The running statistics as a control: mean and variance, or no kind at all.
    fn statistics(&self) -> Control<f32> {
        let kind = |name| Kind { name, shape: vec![self.plan().formula.normalised()], fan_in: 1 };
        let kinds = ["mean", "variance"].map(kind).into_iter().take(self.running.len()).collect();
        Control::new(kinds, self.plan().nodes(), self.running.iter().map(numbers).collect())
    }

    /// The control at every depth.
    fn curve(&self) -> Curve<f32> {
        let plan = self.plan();
        match plan.control {
            Some(expansion) => Curve::new(expansion, self.trained()),
            None => Curve::through(&self.trained(), plan.depth),
        }
    }

    fn ode(&self) -> Ode {
        let plan = self.plan();
        Ode {
            formula: plan.formula.clone(),
            curve: self.curve().cast(),
            running: Curve::through(&self.statistics(), plan.depth),
        }
    }
}

impl Ode {
    /// x(1), and the most evaluations that a sample took.
    fn end(&self, x0: &Rows<f32>, solver: &DormandPrince) -> Result<(Rows<f32>, usize), OdeError> {
        match &self.formula {
            Formula::Layer(layer) => {
                let starts: Vec<usize> = (0..x0.rows()).step_by(TILE).collect();
                let tile = |start: usize| x0.slice(start, TILE.min(x0.rows() - start)).cast();
                let solved = starts
                    .into_par_iter()
                    .map(|start| deep_limit(layer, &self.curve, &tile(start), solver));
                let solved = solved.collect::<Result<Vec<Solution<Rows<f64>>>, _>>()?;
                let most = solved.iter().map(|tile| tile.evaluations).max().unwrap_or(0);
                Ok((Rows::join(solved.iter().map(|tile| tile.end.cast()).collect()), most))
            }
            Formula::ConvBn(layer) => {
                let field_at = |s: f64, side: Side| {
                    let running = self.running.at(s, side);
                    let statistics = held(running.at(0, 0), running.at(1, 0), layer.normalised());
                    let control = self.curve.at(s, side);
                    ConvBn::new(*layer, control).with_statistics(statistics)
                };
                let x0 = Tiled::cut(&x0.cast::<f64>());
                let mut tape = field_at(0.0, Side::After).tape(&x0);
                let mut breaks = self.curve.expansion().breaks();
                breaks.extend(self.running.expansion().breaks());
                breaks.sort_by(f64::total_cmp);
                // The same depth as a fraction of another number of pieces.
                breaks.dedup_by(|a, b| (*a - *b).abs() < 1e-12);
                let solved = solver.solve(&x0, &breaks, |s, side, x, out| {
                    field_at(s, side).eval(Position::node(0), x, out, &mut tape);
                })?;
                Ok((solved.end.whole().cast(), solved.evaluations))
            }
        }
    }
}

impl Limit {
    /// Walks a batch through the limit; of each flow, the evaluations of its field that it took.
    ///
    /// # Errors
    /// If an ODE is not solved; its flow is named.
    pub fn reach(&self, batch: &Batch) -> Result<(Reached, Vec<usize>), LimitFault> {
        let mut evaluations = Vec::new();
        let reached = self.around.walk((batch.shape, &batch.inputs), |stage, x0| {
            let solved = self.flows[stage].end(&x0, &self.solver);
            let (end, taken) = solved.map_err(|source| LimitFault { stage, source })?;
            evaluations.push(taken);
            Ok(end)
        })?;
        Ok((reached, evaluations))
    }
}

impl Network {
    /// The same network with flows of so many steps each.
    ///
    /// # Panics
    /// If `depth` is zero.
    pub fn at_depth(&self, depth: usize) -> Self {
        self.prolonged(&vec![depth; self.stages.len()], ProlongBy::Linear)
    }

    /// The network's deep limit, its ODEs solved to a tolerance.
    pub fn limit(&self, solver: DormandPrince) -> Limit {
        let flows = self.stages.iter().map(Stage::ode).collect();
        Limit { flows, around: Around::of(self), solver }
    }

    /// How the weights of each flow that has a value at every node vary with depth, and which limit that
    /// says, walking a batch through the network; `None` where they lie in a basis, and have one by
    /// construction.
    pub fn scalings(&self, batch: &Batch) -> Vec<Option<Finding<Scaling>>> {
        let (evaluator, mut found) = (self.evaluator(), Vec::new());
        evaluator.enter(batch, |stage, x0| {
            let stage = &self.stages[stage];
            let scaling = || match stage.scaling(&x0.cast()) {
                Ok(scaling) => Finding::Known(scaling),
                Err(error) => Finding::unknown(&error.to_string()),
            };
            found.push(stage.plan().control.is_none().then(scaling));
        });
        found
    }
}
