//! Products on AMX tiles, to single precision.
//!
//! The tiles of AMX multiply numbers of bfloat16, which have 8 bits, and sum in single precision, at
//! sixteen times the rate of AVX-512. A number of single precision is the sum of three of bfloat16,
//! x = h + m + l, but for what lies below 2⁻¹²⁶; of the nine products of two such sums six are made:
//!
//! ```text
//! x y = h h' + (h m' + m h') + (h l' + m m' + l h') + less than 2⁻²³ |x y|
//! ```
//!
//! (Henry, Tang, Heinecke 2019, *Leveraging the bfloat16 artificial intelligence datatype for
//! higher-precision computations*, section 3.) So products are as exact as before, at up to 16/6 of
//! the rate. A number beyond 3.39·10³⁸ makes sums that it is in NaN.

mod pack;
mod product;

pub(super) use product::multiply;

use super::simd::InstructionSet;
use crate::Real;
use std::any::TypeId;
use std::arch::asm;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// Rows of a tile, and columns of a result.
const SIDE: usize = 16;
/// Terms of a sum that one tile holds of each row: pairs k, k + 16 lie side by side.
const DEPTH: usize = 2 * SIDE;
/// Numbers of single precision in the memory of a tile.
const TILE: usize = SIDE * SIDE;
/// The same of the three parts of numbers: h, m and l, one tile behind the other.
const PARTS: usize = 3 * TILE;

/// Whether this machine has such tiles, and the system lets the process use them.
pub(super) fn granted() -> bool {
    static GRANTED: OnceLock<bool> = OnceLock::new();
    *GRANTED.get_or_init(|| {
        let told = raw_cpuid::CpuId::new().get_extended_feature_info();
        told.is_some_and(|told| told.has_amx_tile() && told.has_amx_bf16()) && ask()
    })
}

/// Asks the system for the tiles' registers.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a system call")]
fn ask() -> bool {
    const REQUEST_PERMISSION: libc::c_int = 0x1023;
    const TILE_DATA: libc::c_ulong = 18;
    // SAFETY: arch_prctl takes two numbers here, and changes nothing but a permission.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn ask() -> bool {
    false
}

/// Whether they are in use, for numbers of this type.
pub(super) fn in_use<R: Real>() -> bool {
    TypeId::of::<R>() == TypeId::of::<f32>()
        && matches!(InstructionSet::current(), InstructionSet::Amx(_))
}

/// The tiles of a thread, set up as eight of 16 rows of 64 bytes as long as this lives, which
/// stays on the thread. The compiler never touches them by itself.
pub(super) struct Tiles(PhantomData<*const ()>);

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    unused: [u8; 15],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Tiles {
    /// Sets them up.
    ///
    /// # Panics
    /// If they are not [`granted`].
    #[expect(unsafe_code, reason = "instructions that no intrinsic names")]
    pub fn new() -> Self {
        static EIGHT: Configuration = {
            let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
            let mut tile = 0;
            while tile < 8 {
                (row_bytes[tile], rows[tile]) = (64, SIDE as u8);
                tile += 1;
            }
            Configuration { palette: 1, unused: [0; 15], row_bytes, rows }
        };
        assert!(granted(), "tiles that the system lets us use");
        // SAFETY: the machine has the instruction, and the configuration is one of palette 1.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const EIGHT, options(nostack, readonly)) };
        Self(PhantomData)
    }

    /// `out = left right`, for two by two tiles of the result, 32 rows of 32 numbers: `left` are two
    /// bands of 16 rows, `right` two bands of 16 columns, both `blocks` times [`DEPTH`] long, in parts.
    ///
    /// # Safety
    /// Each band must be `blocks · PARTS` numbers that may be read.
    #[inline(always)]
    #[expect(unsafe_code, reason = "instructions that no intrinsic names")]
    pub unsafe fn square(
        &self,
        left: [*const f32; 2],
        right: [*const f32; 2],
        blocks: usize,
        out: &mut [f32; 4 * TILE],
    ) {
        if blocks == 0 {
            return out.fill(0.0);
        }
        // Of 24 products each shares a factor with the one before, or nearly: 14 loads.
        // SAFETY: all that is read is the caller's, and what is written lies in `out`.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                // h l'
                "tileloadd tmm4, [{a0} + {line}]",
                "tileloadd tmm6, [{b0} + {line} + 2048]",
                "tileloadd tmm7, [{b1} + {line} + 2048]",
                "tileloadd tmm5, [{a1} + {line}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                // h m'
                "tileloadd tmm6, [{b0} + {line} + 1024]",
                "tileloadd tmm7, [{b1} + {line} + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                // m m'
                "tileloadd tmm4, [{a0} + {line} + 1024]",
                "tileloadd tmm5, [{a1} + {line} + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                // m h'
                "tileloadd tmm6, [{b0} + {line}]",
                "tileloadd tmm7, [{b1} + {line}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                // l h'
                "tileloadd tmm4, [{a0} + {line} + 2048]",
                "tileloadd tmm5, [{a1} + {line} + 2048]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                // h h'
                "tileloadd tmm4, [{a0} + {line}]",
                "tileloadd tmm5, [{a1} + {line}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {a0}, 3072",
                "add {a1}, 3072",
                "add {b0}, 3072",
                "add {b1}, 3072",
                "dec {blocks}",
                "jnz 2b",
                "tilestored [{out} + 2*{line}], tmm0",
                "tilestored [{out} + 2*{line} + 64], tmm1",
                "tilestored [{out} + 2*{line} + 2048], tmm2",
                "tilestored [{out} + 2*{line} + 2112], tmm3",
                a0 = inout(reg) left[0] => _,
                a1 = inout(reg) left[1] => _,
                b0 = inout(reg) right[0] => _,
                b1 = inout(reg) right[1] => _,
                blocks = inout(reg) blocks => _,
                line = in(reg) 64usize,
                out = in(reg) out.as_mut_ptr(),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

impl Drop for Tiles {
    #[expect(unsafe_code, reason = "an instruction that no intrinsic names")]
    fn drop(&mut self) {
        // SAFETY: the machine has the instruction.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}
