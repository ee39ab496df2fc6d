//! Why a network cannot be built.

/// A description that cannot be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// There is no stage.
    #[error("network.stage: a network needs at least one stage")]
    NoStage,
    /// A setting is out of its range.
    #[error("network.stage.{stage}.{setting}: {found} is out of range, expected {expected}")]
    OutOfRange {
        /// Index of the stage.
        stage: usize,
        /// Name of the setting.
        setting: &'static str,
        /// What was asked for.
        found: String,
        /// What is possible.
        expected: String,
    },
    /// A setting of the head is out of its range.
    #[error("network.head.{setting}: {found} is out of range, expected {expected}")]
    Head {
        /// Name of the setting.
        setting: &'static str,
        /// What was asked for.
        found: usize,
        /// What is possible.
        expected: String,
    },
    /// The weights of another head are to be taken.
    #[error("network.head: the weights file has another; leave out network.head to take its own")]
    OtherHead,
    /// Two settings do not go together.
    #[error("network.stage.{stage}: {reason}")]
    Combination {
        /// Index of the stage.
        stage: usize,
        /// What does not go together, and what to use instead.
        reason: String,
    },
    /// A normalisation by the batch would see one number a channel.
    #[error(
        "network.stage.{stage}: its {part} normalises images of 1×1 pixels by the batch, and with \
         train.batch = 1 a channel is one number, which has no variance; take a train.batch of 2 or \
         more, or train.statistics = \"frozen\""
    )]
    OneNumber {
        /// Index of the stage.
        stage: usize,
        /// Whether it is the transition or the field.
        part: &'static str,
    },
}
