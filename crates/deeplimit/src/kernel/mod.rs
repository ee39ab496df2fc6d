//! Kernels: matrix products, activations, the unrolling that turns a convolution into a product.
//!
//! The rest of the crate calls these through slices and never knows how they are done.
//! This is the only room in which `unsafe` is allowed.

mod activation;
mod gemm;
mod patches;
pub(crate) mod single;

pub use activation::Activation;
pub use gemm::{Matrix, MatrixMut, multiply};
pub use patches::{Image, gather_patches, scatter_patches};
