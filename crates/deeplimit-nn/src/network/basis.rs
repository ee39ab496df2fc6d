//! Weights of a stage that are a function of depth with few coefficients, and their check.

use super::config::StageConfig;
use super::error::NetworkError;
use deeplimit::AnyScheme;
use deeplimit::control::{Basis, Expansion, Family};
use serde::{Deserialize, Serialize};

/// Weights that are a function of depth with few coefficients (see [`Basis`]): these are what is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlConfig {
    /// The functions.
    pub basis: Basis,
    /// How many of them: at most as many as there are nodes.
    pub coefficients: usize,
}

impl StageConfig {
    /// The basis of the control, where one is named.
    pub(super) fn expansion(
        &self,
        stage: usize,
        scheme: &AnyScheme,
    ) -> Result<Option<Expansion>, NetworkError> {
        let Some(ControlConfig { basis, coefficients }) = self.control else { return Ok(None) };
        let expansion = Expansion::new(basis, coefficients).map_err(|error| {
            NetworkError::Combination { stage, reason: format!("control.coefficients: {error}") }
        })?;
        let nodes = scheme.nodes_for(self.depth);
        let most = expansion.most_coefficients(self.depth, nodes);
        if coefficients > most {
            let reason = format!(
                "control.coefficients: the {nodes} nodes of {} {scheme} steps do not tell \
                 {expansion} apart; take at most {most}, or more depth",
                self.depth
            );
            return Err(NetworkError::Combination { stage, reason });
        }
        if !self.init.is_a_function_of_depth() {
            let known = Family::ALL.into_iter().filter(|family| family.is_a_function_of_depth());
            let known: Vec<&str> = known.map(Family::name).collect();
            let reason = format!(
                "init = {:?} draws every layer by itself, but a control in a basis is a function of \
                 depth; use one of {}, or leave out `control`",
                self.init.name(),
                known.join(", ")
            );
            return Err(NetworkError::Combination { stage, reason });
        }
        Ok(Some(expansion))
    }
}
