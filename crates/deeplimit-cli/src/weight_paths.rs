//! The weights of a network as paths over depth.

use crate::report::WeightPaths;
use deeplimit_nn::network::Network;

/// Entries of a parameter kind that are drawn.
const SHOWN: usize = 12;

/// A few entries of each parameter kind of each flow, over the control nodes.
pub fn weight_paths(network: &Network) -> Vec<WeightPaths> {
    let mut all = Vec::new();
    for (stage, (plan, control)) in network.controls().into_iter().enumerate() {
        let increments = control.largest_increments();
        for (index, kind) in control.kinds().iter().enumerate() {
            let shown = kind.len().min(SHOWN);
            let path = |number: usize| {
                let entry = number * kind.len() / shown;
                let value = |node| f64::from(control.at(index, node)[entry]);
                (0..control.nodes()).map(value).collect()
            };
            all.push(WeightPaths {
                stage,
                kind: kind.name.to_owned(),
                paths: (0..shown).map(path).collect(),
                total_entries: kind.len(),
                scaled_increment: plan.depth as f64 * increments[index],
            });
        }
    }
    all
}
