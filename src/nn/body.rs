//! Which of its implementations computes a block: kernels of the CPU, candle's operations on any device, or kernels of a GPU.

use std::rc::Rc;

use candle_core::{DType, Device};

use crate::gpu::{Number, Passes, ProductTypes, WeightType};
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
    /// Kernels of a GPU, which record into one of the `passes`: states and weights in `types`. Tables stay on the CPU, whose
    /// kernels of `isa` look rows up.
    Gpu { passes: Passes, types: ProductTypes, isa: Isa },
}

impl Body {
    /// Type that weights are held in.
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::Cpu { dtype, .. } => *dtype,
            Self::Portable { dtype: DType::BF16, .. } => Dtype::Bfloat16,
            Self::Portable { dtype: DType::F16, .. } => Dtype::Float16,
            Self::Portable { .. } => Dtype::Float32,
            Self::Gpu { types, .. } => match types.weights {
                WeightType::F32 => Dtype::Float32,
                WeightType::F16 => Dtype::Float16,
                WeightType::Bf16 => Dtype::Bfloat16,
                WeightType::Int8 => Dtype::Int8,
            },
        }
    }

    /// What waits until a device has computed what it was told; None of the CPU, which has.
    pub fn waiter(&self) -> Option<Rc<dyn Fn()>> {
        match self {
            Self::Cpu { .. } => None,
            // What fails then fails for those who read.
            Self::Portable { device, .. } => {
                let device = device.clone();
                Some(Rc::new(move || drop(device.synchronize())))
            }
            Self::Gpu { passes, .. } => {
                let passes = passes.clone();
                Some(Rc::new(move || passes.compute_now()))
            }
        }
    }

    /// The same body with weights and states in float32.
    pub fn in_float32(&self) -> Self {
        match self.clone() {
            Self::Cpu { isa, .. } => Self::Cpu { isa, dtype: Dtype::Float32 },
            Self::Portable { device, .. } => Self::Portable { device, dtype: DType::F32 },
            Self::Gpu { passes, isa, .. } => {
                Self::Gpu { passes, types: ProductTypes { states: Number::F32, weights: WeightType::F32 }, isa }
            }
        }
    }
}

/// The instruction set that kernels use; an error if `VOTIVE_ISA` names one that is not there.
pub fn active_isa() -> Result<Isa> {
    Isa::active().map_err(|message| Error::argument("VOTIVE_ISA", message))
}
