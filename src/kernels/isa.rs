//! Which instruction set the kernels use, decided once, at run time.

use std::sync::OnceLock;

#[cfg(target_arch = "aarch64")]
use crate::kernels::simd::neon;
use crate::kernels::simd::{BitOperation, Int8Operation, LadderOperation, Operation, Scalar};
#[cfg(target_arch = "x86_64")]
use crate::kernels::simd::{avx2, avx512, bf16_x86};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::kernels::simd::{bits, int8, ladder};

/// An instruction set that this CPU has: a value can only be had where that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(InstructionSet);

/// Each has what comes before it on its architecture, save that `AvxVnni` and the sets of 512 bits do not imply each
/// other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InstructionSet {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Vnni,
    #[cfg(target_arch = "x86_64")]
    Bf16,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "aarch64")]
    Dotprod,
    #[cfg(target_arch = "aarch64")]
    I8mm,
}

/// Slowest first.
const INSTRUCTION_SETS: &[(&str, InstructionSet)] = &[
    ("scalar", InstructionSet::Scalar),
    #[cfg(target_arch = "x86_64")]
    ("avx2", InstructionSet::Avx2),
    #[cfg(target_arch = "x86_64")]
    ("avxvnni", InstructionSet::AvxVnni),
    #[cfg(target_arch = "x86_64")]
    ("avx512", InstructionSet::Avx512),
    #[cfg(target_arch = "x86_64")]
    ("vnni", InstructionSet::Vnni),
    #[cfg(target_arch = "x86_64")]
    ("bf16", InstructionSet::Bf16),
    #[cfg(target_arch = "aarch64")]
    ("neon", InstructionSet::Neon),
    #[cfg(target_arch = "aarch64")]
    ("dotprod", InstructionSet::Dotprod),
    #[cfg(target_arch = "aarch64")]
    ("i8mm", InstructionSet::I8mm),
];

impl InstructionSet {
    fn is_supported(self) -> bool {
        match self {
            InstructionSet::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
                    && is_x86_feature_detected!("popcnt")
            }
            #[cfg(target_arch = "x86_64")]
            InstructionSet::AvxVnni => InstructionSet::Avx2.is_supported() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => {
                InstructionSet::Avx2.is_supported()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Vnni => InstructionSet::Avx512.is_supported() && is_x86_feature_detected!("avx512vnni"),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Bf16 => InstructionSet::Vnni.is_supported() && is_x86_feature_detected!("avx512bf16"),
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Dotprod => {
                InstructionSet::Neon.is_supported() && std::arch::is_aarch64_feature_detected!("dotprod")
            }
            #[cfg(target_arch = "aarch64")]
            InstructionSet::I8mm => {
                InstructionSet::Dotprod.is_supported() && std::arch::is_aarch64_feature_detected!("i8mm")
            }
        }
    }
}

impl Isa {
    /// Every set that this CPU has, slowest first.
    pub fn available() -> Vec<Isa> {
        INSTRUCTION_SETS.iter().filter(|(_, level)| level.is_supported()).map(|&(_, level)| Isa(level)).collect()
    }

    /// The set of that name; the message of the error lists those that this CPU has.
    pub fn named(name: &str) -> Result<Isa, String> {
        let available = Isa::available();
        available.iter().copied().find(|isa| isa.name() == name).ok_or_else(|| {
            let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
            format!("{name:?} is not an instruction set of this CPU; it has {}", names.join(", "))
        })
    }

    /// The set in use: the one that the environment variable `VOTIVE_ISA` names, else the fastest.
    pub fn active() -> Result<Isa, &'static str> {
        static ACTIVE: OnceLock<Result<Isa, String>> = OnceLock::new();
        ACTIVE
            .get_or_init(|| match std::env::var("VOTIVE_ISA") {
                Ok(name) if !name.is_empty() => Isa::named(&name),
                _ => Ok(Isa::fastest()),
            })
            .as_ref()
            .copied()
            .map_err(String::as_str)
    }

    fn fastest() -> Isa {
        let available = Isa::available();
        let fast = |isa: &&Isa| !isa.has_bf16() || has_fast_bf16();
        *available.iter().rev().find(fast).expect("scalar is always there")
    }

    /// Name of the set, as `VOTIVE_ISA` takes it.
    pub fn name(self) -> &'static str {
        INSTRUCTION_SETS.iter().find(|(_, level)| *level == self.0).map_or("", |(name, _)| name)
    }

    /// Runs `operation` compiled for this set.
    #[inline]
    pub(crate) fn run<O: Operation>(self, operation: O) -> O::Output {
        match self.0 {
            InstructionSet::Scalar => operation.run(Scalar),
            // SAFETY: an `Isa` of this level exists only where the CPU has these features.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 | InstructionSet::AvxVnni => unsafe { avx2::run(operation) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 | InstructionSet::Vnni | InstructionSet::Bf16 => unsafe { avx512::run(operation) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon | InstructionSet::Dotprod | InstructionSet::I8mm => unsafe { neon::run(operation) },
        }
    }

    /// Runs work on bytes compiled for this set.
    #[inline]
    pub(crate) fn run_int8<O: Int8Operation>(self, operation: O) -> O::Output {
        match self.0 {
            InstructionSet::Scalar => operation.run(Scalar),
            // SAFETY: an `Isa` of this level exists only where the CPU has these features.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => unsafe { int8::avx2::run(operation) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::AvxVnni => unsafe { int8::avx_vnni::run(operation) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => unsafe { int8::avx512::run(operation) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Vnni | InstructionSet::Bf16 => unsafe { int8::avx512_vnni::run(operation) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => unsafe { int8::neon::run_neon(operation) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Dotprod => unsafe { int8::neon::run_dotprod(operation) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            InstructionSet::I8mm => unsafe { int8::neon::run_i8mm(operation) },
        }
    }

    /// Runs work on bits compiled for this set. VPOPCNTDQ is a question of its own: of CPUs with VNNI, Cascade Lake and
    /// Cooper Lake lack it.
    #[inline]
    pub(crate) fn run_bits<O: BitOperation>(self, operation: O) -> O::Output {
        match self.0 {
            InstructionSet::Scalar => operation.run(Scalar),
            // SAFETY: an `Isa` of this level exists only where the CPU has these features.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 | InstructionSet::AvxVnni => unsafe { bits::x86::run_avx2(operation) },
            // SAFETY: as above, and VPOPCNTDQ was just asked for.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Vnni | InstructionSet::Bf16 if is_x86_feature_detected!("avx512vpopcntdq") => unsafe {
                bits::x86::run_vpopcntdq(operation)
            },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 | InstructionSet::Vnni | InstructionSet::Bf16 => unsafe {
                bits::x86::run_avx512(operation)
            },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon | InstructionSet::Dotprod | InstructionSet::I8mm => unsafe {
                bits::neon::run(operation)
            },
        }
    }

    /// Runs work on codes of int4 compiled for this set. VBMI is a question of its own, as VPOPCNTDQ is for bits.
    #[inline]
    pub(crate) fn run_ladder<O: LadderOperation>(self, operation: O) -> O::Output {
        match self.0 {
            InstructionSet::Scalar => operation.run(Scalar),
            // SAFETY: an `Isa` of this level exists only where the CPU has these features.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 | InstructionSet::AvxVnni => unsafe { ladder::x86::run_avx2(operation) },
            // SAFETY: as above, and VBMI was just asked for.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Vnni | InstructionSet::Bf16 if is_x86_feature_detected!("avx512vbmi") => unsafe {
                ladder::x86::run_vbmi(operation)
            },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 | InstructionSet::Vnni | InstructionSet::Bf16 => unsafe {
                ladder::x86::run_avx512(operation)
            },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon | InstructionSet::Dotprod | InstructionSet::I8mm => unsafe {
                ladder::neon::run(operation)
            },
        }
    }

    /// Whether the set multiplies bfloat16 with bfloat16, so that both sides of a product are packed in pairs.
    pub(crate) fn has_bf16(self) -> bool {
        self.name() == "bf16"
    }

    /// Runs work on pairs of bfloat16, where the set `has_bf16`.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn run_bf16<O: bf16_x86::Bf16Operation>(self, operation: O) -> O::Output {
        assert!(self.has_bf16(), "the set multiplies bfloat16");
        // SAFETY: an `Isa` of this level exists only where the CPU has these features.
        unsafe { bf16_x86::run(operation) }
    }
}

/// Zen 4 multiplies twice as many bfloat16 as float32 in a cycle. Intel's cores do half as many (measured on Emerald
/// Rapids: 56 and 109 billion a second), there the speed is in the AMX tiles.
#[cfg(target_arch = "x86_64")]
fn has_fast_bf16() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    (vendor.ebx, vendor.edx, vendor.ecx)
        == (u32::from_le_bytes(*b"Auth"), u32::from_le_bytes(*b"enti"), u32::from_le_bytes(*b"cAMD"))
}

#[cfg(not(target_arch = "x86_64"))]
fn has_fast_bf16() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::Isa;

    #[test]
    fn scalar_is_everywhere_and_unknown_names_are_refused() {
        assert_eq!(Isa::named("scalar").unwrap().name(), "scalar");
        let message = Isa::named("mmx").unwrap_err();
        assert!(message.contains("\"mmx\"") && message.contains("scalar"), "{message}");
    }
}
