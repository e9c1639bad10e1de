//! Which instruction set the kernels use, decided once, at run time.

use std::sync::OnceLock;

use crate::kernels::simd::{Operation, Scalar};

/// An instruction set that this CPU has: a value can only be had where that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Level);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

/// Slowest first.
const LEVELS: &[Level] = &[
    Level::Scalar,
    #[cfg(target_arch = "x86_64")]
    Level::Avx2,
    #[cfg(target_arch = "x86_64")]
    Level::Avx512,
    #[cfg(target_arch = "aarch64")]
    Level::Neon,
];

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
        }
    }

    fn is_supported(self) -> bool {
        match self {
            Level::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                Level::Avx2.is_supported()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "aarch64")]
            Level::Neon => std::arch::is_aarch64_feature_detected!("neon"),
        }
    }
}

impl Isa {
    /// Every set that this CPU has, slowest first.
    pub fn available() -> Vec<Isa> {
        LEVELS.iter().copied().filter(|level| level.is_supported()).map(Isa).collect()
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
                _ => Ok(*Isa::available().last().expect("scalar is always there")),
            })
            .as_ref()
            .copied()
            .map_err(String::as_str)
    }

    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Runs `operation` compiled for this set.
    #[inline]
    pub(crate) fn run<O: Operation>(self, operation: O) -> O::Output {
        match self.0 {
            Level::Scalar => operation.run(Scalar),
            // SAFETY: an `Isa` of this level exists only where the CPU has these features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { crate::kernels::simd::avx2::run(operation) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { crate::kernels::simd::avx512::run(operation) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Level::Neon => unsafe { crate::kernels::simd::neon::run(operation) },
        }
    }
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
