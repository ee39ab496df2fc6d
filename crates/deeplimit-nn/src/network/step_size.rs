//! The size of a stage's steps.

use super::error::NetworkError;
use deeplimit::AnyScheme;
use serde::{Deserialize, Serialize};

/// Of which number the size of a step is the inverse. With one node a step, as Euler's scheme has it, both
/// are N.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepSize {
    /// Steps: h = 1/N, so that a flow walks from 0 to 1 in depth.
    #[default]
    Steps,
    /// Residual functions, one a control node: N steps on N + 1 nodes have h = 1/(N + 1) and end at
    /// N/(N + 1). So has it Heun's scheme of Sander, Ablin, Peyré (2022, section 5), whose depth is the number
    /// of functions.
    Functions,
}

impl StepSize {
    pub(super) fn is_usual(&self) -> bool {
        *self == Self::Steps
    }

    /// Checks that it means something for a scheme.
    pub(super) fn check(self, stage: usize, scheme: &AnyScheme) -> Result<(), NetworkError> {
        if self == Self::Steps || scheme.nodes_for(1) > 1 {
            return Ok(());
        }
        let reason = format!(
            "step_size = \"functions\" means nothing with scheme = \"{scheme}\", which has as many functions \
             as steps; leave it out"
        );
        Err(NetworkError::Combination { stage, reason })
    }
}
