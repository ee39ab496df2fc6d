//! Networks of residual flows on Burn.
//!
//! A network alternates *transitions* (maps that change the state's shape: stem, down-sampling,
//! head) and *flows* (deep residual parts, walked memory-free by the [`deeplimit`] crate).
//!
//! - [`blocks`]: any Burn module as the residual function of a flow, on any Burn device.
//! - [`pass`]: flows of such blocks in Burn's graph.
//! - [`network`]: networks described by a configuration, their flows on the CPU kernels.
//! - [`data`]: data sets, batches, augmentation.
//! - [`pretrained`]: residual networks trained elsewhere, and the flows that they become.
//! - [`train`]: optimisers, schedules, the training loop and its checkpoints.

pub mod blocks;
pub mod data;
mod gradients;
pub mod network;
pub mod pass;
pub mod pretrained;
mod tensor_file;
mod tensor_state;
pub mod train;
mod way_back;

pub use blocks::{BlockError, Blocks, Residual};
pub use deeplimit;
pub use pass::{FlowPass, MissingGradients, Pass, gradients_of};
pub use tensor_state::TensorState;
