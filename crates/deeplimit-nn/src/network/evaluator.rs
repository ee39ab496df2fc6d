//! The way forward through a network whose weights stay as they are: read once, for any number of batches.

use super::entry::Entry;
use super::flow::AnyFlow;
use super::head::Reader;
use super::map::{self, cut};
use super::{BadOutput, Network, Score, loss};
use crate::data::{Batch, Shape};
use deeplimit::Rows;
use std::convert::Infallible;

/// A network with its present weights, for evaluation.
pub struct Evaluator {
    flows: Vec<AnyFlow>,
    around: Around,
}

/// Where a batch comes to.
pub struct Reached {
    /// The state at the end of each flow, a row a sample.
    pub ends: Vec<Rows<f32>>,
    /// The outputs, a row a sample.
    pub outputs: Rows<f32>,
}

impl Reached {
    /// Loss and hits of the outputs of a batch.
    ///
    /// # Errors
    /// If an output is not finite: the largest of them would be a class, but none that was found.
    pub fn score(&self, batch: &Batch) -> Result<Score, BadOutput> {
        BadOutput::check(&self.outputs)?;
        Ok(loss::loss(&self.outputs, &batch.targets, 0..batch.len()).0)
    }
}

/// What stands before and behind the flows of a network.
pub(super) struct Around {
    entries: Vec<Entry>,
    head: Reader,
}

impl Around {
    pub(super) fn of(network: &Network) -> Self {
        let entries = network.stages.iter().map(|stage| stage.entry(false)).collect();
        Self { entries, head: network.head.reader(false) }
    }

    /// From the inputs to the outputs; `flow` takes the states that enter a flow to its end.
    pub(super) fn walk<E>(
        &self,
        (shape, inputs): (Shape, &[f32]),
        mut flow: impl FnMut(usize, Rows<f32>) -> Result<Rows<f32>, E>,
    ) -> Result<Reached, E> {
        let (mut x, mut ends) = (map::inputs(shape, inputs), Vec::<Rows<f32>>::new());
        for (stage, entry) in self.entries.iter().enumerate() {
            let end = flow(stage, entry.forward(&x).0)?;
            x = cut(&end);
            ends.push(end);
        }
        let outputs = self.head.forward(ends.last().expect("a checked network has a stage"));
        Ok(Reached { ends, outputs })
    }
}

impl Evaluator {
    /// Walks a batch through the network.
    pub fn reach(&self, batch: &Batch) -> Reached {
        self.enter(batch, |_, _| ())
    }

    /// The outputs, a row an input, of inputs of a shape, row-major `[inputs, channels, height, width]`.
    pub fn outputs(&self, shape: Shape, inputs: &[f32]) -> Rows<f32> {
        let flow = |stage: usize, x0| Ok::<_, Infallible>(self.flows[stage].forward(x0));
        let Ok(reached) = self.around.walk((shape, inputs), flow);
        reached.outputs
    }

    /// [`reach`](Self::reach), showing the states that enter each flow.
    pub(super) fn enter(&self, batch: &Batch, mut show: impl FnMut(usize, &Rows<f32>)) -> Reached {
        let Ok(reached) = self.around.walk((batch.shape, &batch.inputs), |stage, x0| {
            show(stage, &x0);
            Ok::<_, Infallible>(self.flows[stage].forward(x0))
        });
        reached
    }
}

impl Network {
    /// The network as it stands, ready for any number of batches.
    pub fn evaluator(&self) -> Evaluator {
        let flows = self.stages.iter().map(|stage| stage.flow(false, None)).collect();
        Evaluator { flows, around: Around::of(self) }
    }
}
