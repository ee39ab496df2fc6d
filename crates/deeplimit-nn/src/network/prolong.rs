//! Networks carried to other depths, with what an optimiser remembers of their gradients.

use super::{Network, Stage};
use burn::module::ParamId;
use deeplimit::control::{ProlongBy, Prolongation};
use std::collections::BTreeMap;

impl Stage {
    /// The way along depth to so many steps.
    fn way(&self, depth: usize, by: ProlongBy) -> Prolongation {
        let plan = self.plan();
        Prolongation::new(by, [plan.depth, depth], plan.nodes())
    }
}

impl Network {
    /// Steps of each flow.
    pub fn depths(&self) -> Vec<usize> {
        self.plans().map(|plan| plan.depth).collect()
    }

    /// The network with flows of other depths, one a stage: controls and running statistics are carried
    /// along depth, variances so that they stay positive; transitions and head are the same. Flows whose
    /// depth does not change keep their bits.
    ///
    /// # Panics
    /// If there is not one depth a stage, or one is 0.
    pub fn prolonged(&self, depths: &[usize], by: ProlongBy) -> Self {
        assert_eq!(depths.len(), self.stages.len(), "one depth a stage");
        let mut network = self.clone();
        for (stage, depth) in network.stages.iter_mut().zip(depths) {
            if stage.plan().depth != *depth {
                *stage = stage.carried(&stage.way(*depth, by), *depth);
            }
        }
        network
    }

    /// The ids by which an optimiser knows the controls.
    pub(crate) fn control_ids(&self) -> Vec<ParamId> {
        self.stages.iter().flat_map(|stage| &stage.control).map(|param| param.id).collect()
    }

    /// The ids by which an optimiser knows the coefficients of controls in a basis.
    pub(crate) fn expanded_ids(&self) -> Vec<u64> {
        let expanded = self.stages.iter().filter(|stage| stage.plan().control.is_some());
        expanded.flat_map(Stage::control_ids).collect()
    }

    /// For every parameter that [`prolonged`](Self::prolonged) changes and an optimiser knows, by its
    /// id: the way that it goes.
    pub(crate) fn ways(&self, depths: &[usize], by: ProlongBy) -> BTreeMap<u64, Prolongation> {
        let nodal = self.stages.iter().zip(depths);
        let nodal = nodal.filter(|(stage, _)| stage.plan().control.is_none());
        let changed = nodal.filter(|(stage, depth)| stage.plan().depth != **depth);
        changed
            .flat_map(|(stage, depth)| {
                stage.control_ids().map(move |id| (id, stage.way(*depth, by)))
            })
            .collect()
    }
}
