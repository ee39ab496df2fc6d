//! Instruction sets: chosen when the program runs, and vectors of either element type.
//!
//! Kernels are written once, generic over [`pulp::Simd`], and compiled for AVX-512, for AVX2 with
//! FMA, and portably (four lanes that the compiler maps to what the target always has: SSE2 on
//! x86-64, NEON on 64-bit ARM).

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::buffer::Buffer;
use crate::Heap;
use pulp::{Scalar128b, Simd, WithSimd};
use std::any::TypeId;
use std::cell::RefCell;
use std::sync::OnceLock;

/// The environment variable that forces an instruction set: `amx`, `avx512`, `avx2` or `portable`.
pub const VARIABLE: &str = "DEEPLIMIT_SIMD";

/// An instruction set that the kernels are compiled for, and that this machine has.
#[derive(Clone, Copy, Debug)]
pub enum InstructionSet {
    /// The same with tiles that products in single precision are made on.
    #[cfg(target_arch = "x86_64")]
    Amx(pulp::x86::V4),
    /// 16 single-precision lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    /// 8 single-precision lanes, with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    /// What every machine of the target has.
    Portable(Scalar128b),
}

impl InstructionSet {
    /// The widest that this machine has.
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(simd) = pulp::x86::V4::try_new() {
                return if amx::granted() { Self::Amx(simd) } else { Self::Avx512(simd) };
            }
            if let Some(simd) = pulp::x86::V3::try_new() {
                return Self::Avx2(simd);
            }
        }
        Self::Portable(Scalar128b)
    }

    /// The one of that name, where this machine has it.
    fn named(name: &str) -> Option<Self> {
        match name {
            #[cfg(target_arch = "x86_64")]
            "amx" => pulp::x86::V4::try_new().filter(|_| amx::granted()).map(Self::Amx),
            #[cfg(target_arch = "x86_64")]
            "avx512" => pulp::x86::V4::try_new().map(Self::Avx512),
            #[cfg(target_arch = "x86_64")]
            "avx2" => pulp::x86::V3::try_new().map(Self::Avx2),
            "portable" => Some(Self::Portable(Scalar128b)),
            _ => None,
        }
    }

    /// The one in use: the widest, or the one that `DEEPLIMIT_SIMD` names. Settled at the first
    /// call.
    ///
    /// # Panics
    /// If `DEEPLIMIT_SIMD` names none that this machine has.
    pub fn current() -> Self {
        static CURRENT: OnceLock<InstructionSet> = OnceLock::new();
        *CURRENT.get_or_init(|| match std::env::var(VARIABLE) {
            Ok(name) => Self::named(&name).unwrap_or_else(|| {
                panic!("{VARIABLE}={name}: amx, avx512, avx2 or portable, where the machine has it")
            }),
            Err(_) => Self::best(),
        })
    }

    /// The name that `DEEPLIMIT_SIMD` takes.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx(_) => "amx",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            Self::Portable(_) => "portable",
        }
    }
}

/// Runs a kernel with the instruction set in use.
#[inline]
pub(crate) fn dispatch<K: WithSimd>(kernel: K) -> K::Output {
    match InstructionSet::current() {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Amx(simd) | InstructionSet::Avx512(simd) => Simd::vectorize(simd, kernel),
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2(simd) => Simd::vectorize(simd, kernel),
        InstructionSet::Portable(simd) => Simd::vectorize(simd, kernel),
    }
}

/// Whether multiply-add is one instruction; where it is not, fusing would call a library.
#[inline(always)]
pub(crate) fn fused<S: Simd>() -> bool {
    cfg!(target_arch = "aarch64") || TypeId::of::<S>() != TypeId::of::<Scalar128b>()
}

/// Whether the larger and the smaller of two numbers is the second where one is NaN, as in x86's
/// instructions; in Rust it is the one that is a number.
#[inline(always)]
pub(crate) fn second_wins<S: Simd>() -> bool {
    TypeId::of::<S>() != TypeId::of::<Scalar128b>()
}

/// Numbers as what they are.
///
/// # Panics
/// Unless R is `f32`.
#[expect(unsafe_code, reason = "one element type seen as itself")]
#[cfg(target_arch = "x86_64")]
pub(super) fn single<R: 'static>(numbers: &[R]) -> &[f32] {
    assert!(TypeId::of::<R>() == TypeId::of::<f32>(), "single precision");
    // SAFETY: R is f32.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), numbers.len()) }
}

/// Numbers as what they are.
///
/// # Panics
/// Unless R is `f32`.
#[expect(unsafe_code, reason = "one element type seen as itself")]
#[cfg(target_arch = "x86_64")]
pub(super) fn single_mut<R: 'static>(numbers: &mut [R]) -> &mut [f32] {
    assert!(TypeId::of::<R>() == TypeId::of::<f32>(), "single precision");
    // SAFETY: R is f32.
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), numbers.len()) }
}

/// Vectors of an element type, in whatever registers an instruction set has.
pub trait Lanes: Copy {
    /// A register full of numbers.
    type Vector<S: Simd>: Copy;
    /// Which lanes of a vector a masked access touches.
    type Mask<S: Simd>: Copy;

    /// Numbers in a vector.
    fn lanes<S: Simd>() -> usize;
    /// The same number in all lanes.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;
    /// a + b
    fn plus<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a − b
    fn minus<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a b + c
    fn multiply_add<S: Simd>(
        simd: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        c: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// The larger of both; NaN in `a` stays.
    fn at_least<S: Simd>(simd: S, a: Self::Vector<S>, bound: Self::Vector<S>) -> Self::Vector<S>;
    /// The sum over the lanes.
    fn lane_sum<S: Simd>(simd: S, a: Self::Vector<S>) -> Self;
    /// The first `count` lanes.
    fn mask<S: Simd>(simd: S, count: usize) -> Self::Mask<S>;
    /// Runs `work` on a buffer of the thread's own, which keeps its memory for the next time; its
    /// numbers may be anything.
    fn with_scratch<T>(length: usize, work: impl FnOnce(&mut [Self]) -> T) -> T;
    /// Bytes that the thread keeps of such buffers.
    fn scratch_bytes() -> usize;
    /// Reads a vector.
    ///
    /// # Safety
    /// All its lanes must lie in one allocation that may be read.
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    unsafe fn load<S: Simd>(simd: S, from: *const Self) -> Self::Vector<S>;
    /// Writes a vector.
    ///
    /// # Safety
    /// All its lanes must lie in one allocation that may be written.
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    unsafe fn store<S: Simd>(simd: S, to: *mut Self, value: Self::Vector<S>);
    /// Reads the lanes of a mask; the others are 0.
    ///
    /// # Safety
    /// The lanes of the mask must lie in one allocation that may be read.
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    unsafe fn load_masked<S: Simd>(
        simd: S,
        mask: Self::Mask<S>,
        from: *const Self,
    ) -> Self::Vector<S>;
    /// Writes the lanes of a mask.
    ///
    /// # Safety
    /// The lanes of the mask must lie in one allocation that may be written.
    #[expect(unsafe_code, reason = "kernels address by pointer")]
    unsafe fn store_masked<S: Simd>(
        simd: S,
        mask: Self::Mask<S>,
        to: *mut Self,
        value: Self::Vector<S>,
    );
}

thread_local! {
    static SPARE_SINGLE: RefCell<Vec<Buffer<f32>>> = const { RefCell::new(Vec::new()) };
    static SPARE_DOUBLE: RefCell<Vec<Buffer<f64>>> = const { RefCell::new(Vec::new()) };
}

macro_rules! lanes {
    ($real:ident, $spare:ident, $vector:ident, $mask:ident, $lanes:ident, $splat:ident, $add:ident, $sub:ident, $mul:ident,
     $mul_add:ident, $max:ident, $less:ident, $select:ident, $sum:ident, $between:ident, $load:ident,
     $store:ident) => {
        impl Lanes for $real {
            type Vector<S: Simd> = S::$vector;
            type Mask<S: Simd> = pulp::MemMask<S::$mask>;

            #[inline(always)]
            fn lanes<S: Simd>() -> usize {
                S::$lanes
            }

            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> S::$vector {
                simd.$splat(value)
            }

            #[inline(always)]
            fn plus<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$add(a, b)
            }

            #[inline(always)]
            fn minus<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$sub(a, b)
            }

            #[inline(always)]
            fn multiply_add<S: Simd>(
                simd: S,
                a: S::$vector,
                b: S::$vector,
                c: S::$vector,
            ) -> S::$vector {
                if fused::<S>() { simd.$mul_add(a, b, c) } else { simd.$add(simd.$mul(a, b), c) }
            }

            #[inline(always)]
            fn at_least<S: Simd>(simd: S, a: S::$vector, bound: S::$vector) -> S::$vector {
                if second_wins::<S>() {
                    simd.$max(bound, a)
                } else {
                    simd.$select(simd.$less(a, bound), bound, a)
                }
            }

            #[inline(always)]
            fn lane_sum<S: Simd>(simd: S, a: S::$vector) -> Self {
                simd.$sum(a)
            }

            #[inline(always)]
            fn mask<S: Simd>(simd: S, count: usize) -> pulp::MemMask<S::$mask> {
                simd.$between(0, count as _)
            }

            fn with_scratch<T>(length: usize, work: impl FnOnce(&mut [Self]) -> T) -> T {
                let mut scratch = $spare.with_borrow_mut(Vec::pop).unwrap_or_default();
                if scratch.len() < length {
                    // The old one goes first: there are never both.
                    scratch = Buffer::default();
                    scratch.resize(length);
                }
                let result = work(&mut scratch[..length]);
                $spare.with_borrow_mut(|spare| spare.push(scratch));
                result
            }

            fn scratch_bytes() -> usize {
                $spare.with_borrow(Heap::heap)
            }

            #[inline(always)]
            #[expect(unsafe_code, reason = "kernels address by pointer")]
            unsafe fn load<S: Simd>(_simd: S, from: *const Self) -> S::$vector {
                // SAFETY: the caller's; vectors are plain numbers.
                unsafe { from.cast::<S::$vector>().read_unaligned() }
            }

            #[inline(always)]
            #[expect(unsafe_code, reason = "kernels address by pointer")]
            unsafe fn store<S: Simd>(_simd: S, to: *mut Self, value: S::$vector) {
                // SAFETY: the caller's; vectors are plain numbers.
                unsafe { to.cast::<S::$vector>().write_unaligned(value) }
            }

            #[inline(always)]
            #[expect(unsafe_code, reason = "kernels address by pointer")]
            unsafe fn load_masked<S: Simd>(
                simd: S,
                mask: pulp::MemMask<S::$mask>,
                from: *const Self,
            ) -> S::$vector {
                // SAFETY: the caller's.
                unsafe { simd.$load(mask, from) }
            }

            #[inline(always)]
            #[expect(unsafe_code, reason = "kernels address by pointer")]
            unsafe fn store_masked<S: Simd>(
                simd: S,
                mask: pulp::MemMask<S::$mask>,
                to: *mut Self,
                value: S::$vector,
            ) {
                // SAFETY: the caller's.
                unsafe { simd.$store(mask, to, value) }
            }
        }
    };
}

lanes!(
    f32,
    SPARE_SINGLE,
    f32s,
    m32s,
    F32_LANES,
    splat_f32s,
    add_f32s,
    sub_f32s,
    mul_f32s,
    mul_add_f32s,
    max_f32s,
    less_than_f32s,
    select_f32s,
    reduce_sum_f32s,
    mask_between_m32s,
    mask_load_ptr_f32s,
    mask_store_ptr_f32s
);
lanes!(
    f64,
    SPARE_DOUBLE,
    f64s,
    m64s,
    F64_LANES,
    splat_f64s,
    add_f64s,
    sub_f64s,
    mul_f64s,
    mul_add_f64s,
    max_f64s,
    less_than_f64s,
    select_f64s,
    reduce_sum_f64s,
    mask_between_m64s,
    mask_load_ptr_f64s,
    mask_store_ptr_f64s
);
