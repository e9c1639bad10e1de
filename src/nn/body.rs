//! Which of the two implementations of a block computes: kernels on the CPU, or candle's operations on any device.

use candle_core::{DType, Device};

use crate::kernels::{Dtype, Isa};
use crate::{Error, Result};

/// The body that the blocks of a model get.
#[derive(Debug, Clone)]
pub enum Body {
    /// Kernels of this instruction set; matrices in `dtype`, tables in that or in the file's type if it is smaller,
    /// everything else in float32.
    Cpu { isa: Isa, dtype: Dtype },
    /// candle's operations, weights and activations in `dtype`.
    Portable { device: Device, dtype: DType },
}

impl Body {
    /// Type that weights are held in.
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::Cpu { dtype, .. } => *dtype,
            Self::Portable { dtype: DType::BF16, .. } => Dtype::Bfloat16,
            Self::Portable { dtype: DType::F16, .. } => Dtype::Float16,
            Self::Portable { .. } => Dtype::Float32,
        }
    }
}

/// The instruction set that kernels use; an error if `VOTIVE_ISA` names one that is not there.
pub fn active_isa() -> Result<Isa> {
    Isa::active().map_err(|message| Error::argument("VOTIVE_ISA", message))
}
