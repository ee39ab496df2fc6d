//! Refinement: a run goes on with flows of another depth, in its middle (`train.refine`) or as a run of
//! its own ([`Trainer::refined`]).
//!
//! Weights and running statistics are carried as functions of depth, and what the optimiser remembers of
//! their gradients as densities in depth ([`Prolongation::gradients`]): moments and velocities times the
//! ratio of a node's shares, N/M, second moments times its square. The learning rate stays what its
//! schedule says.

use super::config::out_of_range;
use super::{Config, ConfigError, TrainError, Trainer};
use crate::network::{Memory, NetworkConfig};
use burn::tensor::{Bytes, DType};
use burn_pack::{Reader, Tensor, Writer};
use deeplimit::control::{ProlongBy, Prolongation};
use std::collections::BTreeMap;

impl Config {
    /// Steps of each flow in an epoch: those of the last pair of `train.refine` that is due, for every
    /// flow, or without a schedule those of the network.
    pub fn depths_at(&self, epoch: usize) -> Vec<usize> {
        let stages = &self.network.stage;
        let due = self.train.refine.iter().take_while(|[start, _]| *start <= epoch);
        match due.last() {
            Some([_, depth]) => vec![*depth; stages.len()],
            None => stages.iter().map(|stage| stage.depth).collect(),
        }
    }

    /// The epochs at which a run begins or changes its depth, with its depths from there on.
    pub(super) fn eras(&self) -> Vec<(usize, Vec<usize>)> {
        let starts = self.train.refine.iter().map(|[start, _]| *start);
        let starts = if self.train.refine.is_empty() { vec![0] } else { starts.collect() };
        starts.into_iter().map(|start| (start, self.depths_at(start))).collect()
    }

    /// The same run without a schedule of depths, all along with flows of these depths.
    pub fn at_depths(&self, depths: &[usize]) -> Self {
        let mut config = self.clone();
        config.train.refine = Vec::new();
        config.train.refine_by = None;
        config.network = network_at(&self.network, depths);
        config
    }

    /// Checks the schedule of depths.
    pub(super) fn check_refine(&self) -> Result<(), ConfigError> {
        let refine = &self.train.refine;
        let Some([_, end]) = refine.last() else {
            return match self.train.refine_by {
                Some(_) => Err(ConfigError::Unused {
                    key: "train.refine_by",
                    beside: "an empty train.refine".to_owned(),
                    instead: "give train.refine = [[0, 8], [5, 64]], or leave it out",
                }),
                None => Ok(()),
            };
        };
        let pairs = format!("{refine:?}");
        if refine[0][0] != 0 {
            return out_of_range("train.refine", pairs, "0 as the epoch of the first pair");
        }
        if refine.windows(2).any(|pair| pair[0][0] >= pair[1][0]) {
            return out_of_range(
                "train.refine",
                pairs,
                "pairs of epoch and depth, epochs ascending",
            );
        }
        if refine.iter().any(|[_, depth]| *depth == 0) {
            return out_of_range("train.refine", pairs, "depths of at least 1");
        }
        if refine.iter().any(|[epoch, _]| *epoch >= self.train.epochs) {
            let expected = format!("epochs below {}, train.epochs", self.train.epochs);
            return out_of_range("train.refine", pairs, expected);
        }
        for (stage, found) in self.network.stage.iter().map(|stage| stage.depth).enumerate() {
            if found != *end {
                return Err(ConfigError::EndDepth { stage, found, end: *end });
            }
        }
        Ok(())
    }
}

fn network_at(network: &NetworkConfig, depths: &[usize]) -> NetworkConfig {
    let mut network = network.clone();
    network.stage.iter_mut().zip(depths).for_each(|(stage, depth)| stage.depth = *depth);
    network
}

impl Trainer {
    /// Takes flows of other depths, in the middle of a run. A best validation before is forgotten: it was
    /// that of another network.
    pub(super) fn refine(&mut self, depths: &[usize]) -> Result<(), TrainError> {
        let by = self.config.train.refine_by.unwrap_or_default();
        self.carry(depths, by)?;
        self.plan_gradient()
    }

    /// Network, optimiser and position carried to other depths.
    fn carry(&mut self, depths: &[usize], by: ProlongBy) -> Result<(), TrainError> {
        let ways = self.network.ways(depths, by);
        self.change_optimiser(|state| carried(state, &ways))?;
        self.network = self.network.prolonged(depths, by);
        self.memory = Memory::default();
        self.position.depths = depths.to_vec();
        self.position.best_validation = None;
        self.position.stored.clear();
        Ok(())
    }

    /// Changes what the optimiser remembers.
    pub(super) fn change_optimiser(
        &mut self,
        change: impl FnOnce(Bytes) -> Result<Bytes, String>,
    ) -> Result<(), TrainError> {
        let state = self.optimiser.into_bytes().map_err(|error| error.to_string());
        let read = |state| {
            self.config.train.optimiser().from_bytes(state).map_err(|error| error.to_string())
        };
        let changed = state.and_then(change).and_then(read);
        self.optimiser = changed.map_err(|reason| TrainError::Carry { reason })?;
        Ok(())
    }

    /// This run, to be gone on with as one whose flows have these depths all along, over so many epochs
    /// in all; a schedule of depths ends.
    ///
    /// # Errors
    /// If that is no run that can go on: of a depth that does not go with its settings, or with fewer
    /// epochs than are done.
    pub fn refined(
        mut self,
        depths: &[usize],
        by: ProlongBy,
        epochs: usize,
    ) -> Result<Self, TrainError> {
        let mut config = self.config.at_depths(depths);
        config.train.epochs = epochs;
        self.carry(depths, by)?;
        let mut refined = Self::with_splits(config, self.splits)?;
        if self.position.step > refined.total_steps() {
            let begun = self.position.step.div_ceil(refined.steps_per_epoch().max(1));
            let expected = format!("at least {begun}, the epochs that are done or begun");
            return Ok(out_of_range("train.epochs", epochs, expected)?);
        }
        refined.network = self.network;
        refined.optimiser = self.optimiser;
        refined.go_to(self.position);
        Ok(refined)
    }
}

/// An optimiser's state with the arrays of some parameters carried along depth.
fn carried(state: Bytes, ways: &BTreeMap<u64, Prolongation>) -> Result<Bytes, String> {
    let changed = changed(state, |tensor| match tensor.param_id.and_then(|id| ways.get(&id)) {
        Some(way) => carried_array(tensor, way).map(Some),
        None => Ok(Some(tensor)),
    });
    changed?.into_bytes().map_err(|error| error.to_string())
}

/// An optimiser's state without the arrays of some parameters.
pub(super) fn without(state: Bytes, ids: &[u64]) -> Result<Bytes, String> {
    let changed = changed(state, |tensor| {
        Ok(Some(tensor).filter(|tensor| !tensor.param_id.is_some_and(|id| ids.contains(&id))))
    });
    changed?.into_bytes().map_err(|error| error.to_string())
}

/// An optimiser's state with its arrays in the order of their names. Burn writes them in that of a hash
/// map, which is another one each time.
pub(super) fn in_order(state: Bytes) -> Result<Writer, String> {
    changed(state, |tensor| Ok(Some(tensor)))
}

/// An optimiser's state whose arrays are changed, or left out; in the order of their names.
fn changed(
    state: Bytes,
    change: impl Fn(Tensor) -> Result<Option<Tensor>, String>,
) -> Result<Writer, String> {
    let told = |error: burn_pack::Error| error.to_string();
    let reader = Reader::from_bytes(state).map_err(told)?;
    let (scalars, texts) = (reader.scalars().clone(), reader.metadata().clone());
    let tensors = reader.into_tensors().map_err(told)?.into_iter();
    let tensors = tensors.filter_map(|tensor| change(tensor).transpose());
    let mut writer = Writer::new(tensors.collect::<Result<_, String>>()?);
    for (key, value) in scalars {
        writer = writer.with_scalar(&key, value);
    }
    for (key, value) in texts {
        writer = writer.with_metadata(&key, &value);
    }
    Ok(writer)
}

/// One array `[nodes, numbers]` of an optimiser's state.
fn carried_array(tensor: Tensor, way: &Prolongation) -> Result<Tensor, String> {
    let (name, dtype, shape, id, bytes) = tensor.into_parts().map_err(|e| e.to_string())?;
    let power = match name.rsplit('.').next() {
        Some("moment_1" | "velocity") => 1,
        Some("moment_2") => 2,
        _ => return Err(format!("{name:?} is no moment that is known how to carry along depth")),
    };
    let [_, numbers] = shape.to_vec()[..] else {
        return Err(format!("{name:?} has shape {shape:?}, expected [nodes, numbers]"));
    };
    if dtype != DType::F32 {
        return Err(format!("{name:?} holds {dtype:?}, expected F32"));
    }
    let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let values: Vec<f32> = bytes.chunks_exact(4).map(number).collect();
    let carried = way.gradients(&values, power);
    let bytes = Bytes::from_bytes_vec(carried.iter().flat_map(|v| v.to_le_bytes()).collect());
    Ok(Tensor::new(name, dtype, [way.nodes(), numbers], id, bytes))
}
