//! The gradient methods that fine-tune, and those whose gradient is measured at every depth.

use super::TOLERANCE;
use anyhow::Result;
use deeplimit::Method;
use deeplimit_nn::train::{GradientConfig, NormStatistics};
use std::fmt;

/// A gradient method with its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entrant {
    pub method: &'static str,
    pub tolerance: Option<f64>,
    pub statistics: NormStatistics,
}

/// What normalisations go by in training, as configurations name it.
pub fn told(statistics: NormStatistics) -> &'static str {
    match statistics {
        NormStatistics::Batch => "batch",
        NormStatistics::Frozen => "frozen",
    }
}

impl Entrant {
    pub const BACKPROP: Self = Self::frozen("backprop");
    pub const CHECKPOINT: Self = Self::frozen("checkpoint");
    pub const CHECKPOINT_BY_BATCH: Self =
        Self { statistics: NormStatistics::Batch, ..Self::CHECKPOINT };
    pub const PREDICTED: Self = Self::frozen("adjoint-predicted");
    pub const ADAPTIVE: Self = Self::frozen("adjoint-adaptive");
    pub const CERTIFIED: Self = Self { tolerance: Some(TOLERANCE), ..Self::ADAPTIVE };

    const fn frozen(method: &'static str) -> Self {
        Self { method, tolerance: None, statistics: NormStatistics::Frozen }
    }

    /// Those that fine-tune the flows.
    pub fn tuned() -> Vec<Self> {
        vec![
            Self::BACKPROP,
            Self::CHECKPOINT,
            Self::CHECKPOINT_BY_BATCH,
            Self::PREDICTED,
            Self::CERTIFIED,
        ]
    }

    /// Those whose gradient is measured at every depth.
    pub fn measured() -> Vec<Self> {
        vec![Self::BACKPROP, Self::CHECKPOINT, Self::PREDICTED, Self::ADAPTIVE, Self::CERTIFIED]
    }

    /// Those that train the deep flows.
    pub fn deep() -> Vec<Self> {
        vec![Self::CHECKPOINT, Self::PREDICTED]
    }

    /// Its name with the tolerance.
    pub fn name(&self) -> String {
        match self.tolerance {
            Some(tolerance) => format!("{}, tolerance {tolerance}", self.method),
            None => self.method.to_owned(),
        }
    }

    pub fn gradient(&self) -> GradientConfig {
        GradientConfig {
            method: self.method.to_owned(),
            tolerance: self.tolerance,
            ..GradientConfig::default()
        }
    }

    /// The method for flows of so many steps at least.
    pub fn for_depth(&self, depth: usize) -> Result<Method> {
        Ok(self.gradient().check(depth)?)
    }
}

impl fmt::Display for Entrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, statistics {}", self.name(), told(self.statistics))
    }
}
