//! Kernels: matrix products, convolutions, activations.
//!
//! Samples lie side by side in vector lanes: a state `[width, samples]` is multiplied by single
//! weights, whatever their number, and no weight is ever rearranged. One inner loop serves products
//! and convolutions, their transposes too (`contract.rs`). Every kernel is compiled for several
//! instruction sets and chosen when the program runs (`simd.rs`).
//!
//! The rest of the crate calls these through slices and never knows how they are done.
//! This is the only room in which `unsafe` is allowed.

#![expect(
    clippy::needless_range_loop,
    reason = "sums stay in registers, and loops in vector lanes, only when indexed"
)]

pub(crate) mod activation;
#[cfg(target_arch = "x86_64")]
mod amx;
mod buffer;
mod cache;
mod contract;
mod convolution;
mod correlate;
pub(crate) mod march;
pub(crate) mod normalise;
mod pages;
pub(crate) mod pieces;
mod product;
mod simd;
pub(crate) mod single;
pub(crate) mod sums;
mod transpose;
pub(crate) mod vector;
mod winograd;

pub use activation::{Activation, Bend};
pub use buffer::Buffer;
pub(crate) use cache::{bring_rest, cores, fetch_later, own_cache_bytes};
pub use contract::Start;
pub use convolution::{Convolution, Image, Input, Ready};
pub(crate) use pages::large_pages;
pub use product::{Matrix, multiply, outer};
pub use simd::{InstructionSet, Lanes, VARIABLE};
pub use transpose::transpose;
