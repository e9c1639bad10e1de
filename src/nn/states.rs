//! Hidden states, which blocks take and give, and what is done with them between blocks: choosing rows and columns, adding,
//! multiplying.
//!
//! There is a kind of them for each [`Body`](crate::nn::Body). A block matches on its own body, and asks its input for the
//! kind of that; operations that need no weights match on the states.

use std::ops::Range;

use candle_core::{DType, Device, Storage, Tensor};

use crate::gpu::ElementOperation;
use crate::nn::device_states::DeviceStates;
use crate::nn::rows::Rows;
use crate::profile::{Stage, Work, stage};
use crate::{Error, Result};

/// A row of numbers for each token of a batch, or for each of its texts: `[rows, width]`. Clones share the numbers.
#[derive(Clone)]
pub enum States {
    /// What kernels take.
    Cpu(Rows),
    /// What candle's operations take, on any device.
    Portable(Tensor),
    /// What kernels of a GPU take.
    Gpu(DeviceStates),
}

impl States {
    /// What blocks of the CPU body take.
    pub(super) fn cpu(&self) -> Result<&Rows> {
        match self {
            Self::Cpu(rows) => Ok(rows),
            Self::Portable(_) | Self::Gpu(_) => Err(of_another_body()),
        }
    }

    /// What blocks of the portable body take.
    pub(super) fn portable(&self) -> Result<&Tensor> {
        match self {
            Self::Portable(tensor) => Ok(tensor),
            Self::Cpu(_) | Self::Gpu(_) => Err(of_another_body()),
        }
    }

    /// What blocks of a GPU's body take.
    pub(super) fn gpu(&self) -> Result<&DeviceStates> {
        match self {
            Self::Gpu(states) => Ok(states),
            Self::Cpu(_) | Self::Portable(_) => Err(of_another_body()),
        }
    }

    /// As [`Self::gpu`], where nobody else needs them.
    pub(super) fn into_gpu(self) -> Result<DeviceStates> {
        match self {
            Self::Gpu(states) => Ok(states),
            Self::Cpu(_) | Self::Portable(_) => Err(of_another_body()),
        }
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        match self {
            Self::Cpu(rows) => rows.count(),
            Self::Portable(x) => x.dims()[0],
            Self::Gpu(x) => x.count(),
        }
    }

    /// Numbers of a row.
    pub fn width(&self) -> usize {
        match self {
            Self::Cpu(rows) => rows.width(),
            Self::Portable(x) => x.dims()[1],
            Self::Gpu(x) => x.width(),
        }
    }

    /// Size of the numbers.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Cpu(rows) => size_of_val(rows.values()),
            Self::Portable(x) => x.elem_count() * x.dtype().size_in_bytes(),
            Self::Gpu(x) => x.bytes(),
        }
    }

    /// Whether the numbers are float32 in this machine's memory: [`Self::read`] costs nothing then.
    pub fn is_on_host(&self) -> bool {
        match self {
            Self::Cpu(_) => true,
            Self::Portable(x) => x.device().is_cpu() && x.dtype() == DType::F32,
            Self::Gpu(_) => false,
        }
    }

    /// Calls `f` with all numbers in float32, row by row.
    pub fn read<R>(&self, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
        let x = match self {
            Self::Cpu(rows) => return Ok(f(rows.values())),
            Self::Gpu(x) => return Ok(f(&x.read()?)),
            Self::Portable(x) => x,
        };
        let (storage, layout) = x.storage_and_layout();
        if let (Storage::Cpu(values), Some((start, end))) = (&*storage, layout.contiguous_offsets())
            && let Ok(values) = values.as_slice::<f32>()
        {
            return Ok(f(&values[start..end]));
        }
        Ok(f(&x.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?))
    }

    /// The same numbers in float32.
    pub fn in_float32(&self) -> Result<Self> {
        Ok(match self {
            Self::Cpu(rows) => Self::Cpu(rows.clone()),
            Self::Portable(x) => Self::Portable(x.to_dtype(DType::F32)?),
            Self::Gpu(x) => Self::Gpu(x.in_float32()?),
        })
    }

    /// The same numbers, row by row, as rows of this width.
    pub fn with_width(self, width: usize) -> Result<Self> {
        Ok(match self {
            Self::Cpu(rows) => Self::Cpu(rows.with_width(width)),
            Self::Portable(x) => Self::Portable(x.reshape((x.elem_count() / width, width))?),
            Self::Gpu(x) => Self::Gpu(x.with_width(width)?),
        })
    }

    /// As many rows of zeros, of this width.
    pub fn zeros(&self, width: usize) -> Result<Self> {
        Ok(match self {
            Self::Cpu(rows) => Self::Cpu(rows.map(width, |_, out| out.fill(0.0))),
            Self::Portable(x) => Self::Portable(Tensor::zeros((x.dims()[0], width), x.dtype(), x.device())?),
            Self::Gpu(x) => Self::Gpu(x.zeros(width)?),
        })
    }

    /// The same numbers, which may outlive the pass that made them.
    pub fn kept(&self) -> Result<Self> {
        Ok(match self {
            Self::Gpu(x) => Self::Gpu(x.kept()?),
            other => other.clone(),
        })
    }

    /// The rows with these numbers, in their order.
    pub fn select(&self, rows: &[u32]) -> Result<Self> {
        Ok(match self {
            Self::Cpu(x) => Self::Cpu(x.select(rows)),
            Self::Portable(x) => Self::Portable(x.index_select(&Tensor::from_slice(rows, rows.len(), x.device())?, 0)?),
            Self::Gpu(x) => Self::Gpu(x.select(rows)?),
        })
    }

    /// The numbers of these columns.
    pub fn columns(&self, columns: Range<usize>) -> Result<Self> {
        Ok(match self {
            Self::Cpu(x) => Self::Cpu(x.columns(columns)),
            Self::Portable(x) => Self::Portable(x.narrow(1, columns.start, columns.len())?.contiguous()?),
            Self::Gpu(x) => Self::Gpu(x.columns(columns)?),
        })
    }

    /// The columns of all parts, of which there is one at least, one after the other; each has as many rows.
    pub fn side_by_side(parts: &[&Self]) -> Result<Self> {
        Ok(match parts[0] {
            Self::Cpu(_) => {
                Self::Cpu(Rows::side_by_side(&parts.iter().map(|part| part.cpu()).collect::<Result<Vec<_>>>()?))
            }
            Self::Portable(_) => {
                let parts = parts.iter().map(|part| part.portable()).collect::<Result<Vec<_>>>()?;
                Self::Portable(Tensor::cat(&parts, 1)?)
            }
            Self::Gpu(_) => {
                let parts = parts.iter().map(|part| part.gpu()).collect::<Result<Vec<_>>>()?;
                Self::Gpu(DeviceStates::side_by_side(&parts)?)
            }
        })
    }

    /// `self + other`, of the same shape.
    pub fn add(&self, other: &Self) -> Result<Self> {
        // Two are read, one is written.
        stage(
            Stage::Norms,
            || Work::bytes(3 * self.bytes()),
            || self.by_element(other, |x, y| x + y, |x, y| x + y, ElementOperation::Add),
        )
    }

    /// `self * other`, number by number, of the same shape.
    pub fn multiply(&self, other: &Self) -> Result<Self> {
        stage(
            Stage::Norms,
            || Work::bytes(3 * self.bytes()),
            || self.by_element(other, |x, y| x * y, |x, y| x * y, ElementOperation::Multiply),
        )
    }

    /// `self - other`, of the same shape.
    pub fn subtract(&self, other: &Self) -> Result<Self> {
        self.by_element(other, |x, y| x - y, |x, y| x - y, ElementOperation::Subtract)
    }

    /// `self * factor`.
    pub fn scale(&self, factor: f32) -> Result<Self> {
        // One is read, one is written.
        let work = || Work::bytes(2 * self.bytes());
        let run = || {
            Ok(match self {
                Self::Cpu(x) => Self::Cpu(x.map(x.width(), |x, out| {
                    out.iter_mut().zip(x).for_each(|(out, x)| *out = x * factor);
                })),
                Self::Portable(x) => Self::Portable((x * f64::from(factor))?),
                Self::Gpu(x) => Self::Gpu(x.element(ElementOperation::Scale(factor), None)?),
            })
        };
        stage(Stage::Norms, work, run)
    }

    fn by_element(
        &self,
        other: &Self,
        kernel: impl Fn(f32, f32) -> f32,
        portable: impl Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
        of_gpu: ElementOperation,
    ) -> Result<Self> {
        Ok(match self {
            Self::Cpu(x) => Self::Cpu(x.zip(other.cpu()?, |x, y, out| {
                out.iter_mut().zip(x.iter().zip(y)).for_each(|(out, (x, y))| *out = kernel(*x, *y));
            })),
            Self::Portable(x) => Self::Portable(portable(x, other.portable()?)?),
            Self::Gpu(x) => Self::Gpu(x.element(of_gpu, Some(other.gpu()?))?),
        })
    }
}

/// A network is loaded with one body, so that this is a bug.
fn of_another_body() -> Error {
    Error::internal("a block got hidden states of another body")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Body;
    use crate::nn::testing::{BlockInputs, Checkpoint, assert_bodies_agree, assert_halves_agree, rows_of};

    fn chain(x: &mut BlockInputs) -> Result<States> {
        let (x, y) = (x.states([5, 8])?, x.states([5, 4])?);
        let parts = [&x.columns(0..4)?.add(&y)?, &x.columns(4..8)?.multiply(&y)?.scale(0.25)?];
        let joined = States::side_by_side(&[parts[0], parts[1], &x.zeros(1)?, &y.columns(1..4)?])?;
        joined.select(&[4, 0, 0])?.with_width(6)?.subtract(&x.columns(1..7)?.select(&[0, 1, 4, 0, 2, 3])?)
    }

    #[test]
    fn bodies_agree() {
        let checkpoint = Checkpoint::random(&[]);
        assert_bodies_agree(&checkpoint, |_, x| chain(x));
        assert_halves_agree(&checkpoint, |_, x| chain(x));
    }

    #[test]
    fn operations_are_what_they_say() {
        let rows = |values: &[f32], width| States::Cpu(rows_of(values, width));
        let values = |states: States| states.read(<[f32]>::to_vec).unwrap();
        let x = rows(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3);
        assert_eq!([x.count(), x.width(), x.bytes()], [2, 3, 24]);
        assert_eq!(values(x.columns(1..3).unwrap()), [2.0, 3.0, 5.0, 6.0]);
        assert_eq!(values(x.select(&[1, 1, 0]).unwrap()), [4.0, 5.0, 6.0, 4.0, 5.0, 6.0, 1.0, 2.0, 3.0]);
        assert_eq!(values(x.subtract(&x.scale(2.0).unwrap()).unwrap()), [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]);
        let beside = States::side_by_side(&[&x, &rows(&[7.0, 8.0], 1)]).unwrap();
        assert_eq!((beside.width(), values(beside)), (4, vec![1.0, 2.0, 3.0, 7.0, 4.0, 5.0, 6.0, 8.0]));
        let turned = x.with_width(2).unwrap();
        assert_eq!([turned.count(), turned.width()], [3, 2]);
    }

    #[test]
    fn states_of_another_body_are_an_error() {
        let checkpoint = Checkpoint::random(&[]);
        assert_bodies_agree(&checkpoint, |at, x| {
            let x = x.states([2, 3])?;
            let other = match at.body() {
                Body::Cpu { .. } => States::Portable(Tensor::zeros((2, 3), DType::F32, &Device::Cpu)?),
                Body::Portable { .. } | Body::Gpu { .. } => States::Cpu(rows_of(&[0.0; 6], 3)),
            };
            let error = x.add(&other).err().expect("an error");
            assert!(matches!(error, Error::Internal { .. }), "{error}");
            Ok(x)
        });
    }
}
