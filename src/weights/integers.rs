//! Tensors of integers: places of rows, and tables in int8.

use bytemuck::Pod;
use safetensors::Dtype;

use super::Weights;
use super::extent::Extent;
use crate::memory::with_room;
use crate::{Error, Result};

impl Weights {
    /// Whether the tensor `name` is there and holds int8.
    pub fn is_int8(&self, name: &str) -> bool {
        self.find(name).is_some_and(|(_, extent, _)| extent.dtype == Dtype::I8)
    }

    /// Length of each dimension of the tensor `name`, of whatever type; None where there is no such tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.find(name).map(|(_, extent, _)| &extent.shape[..]).or_else(|| self.packed_shape(name))
    }

    /// The numbers of the tensor `name`, which [is of int8](Self::is_int8), row-major.
    pub fn int8(&self, name: &str) -> Result<Vec<i8>> {
        self.numbers(name, |number: i8| Ok(number))
    }

    /// The integers of the tensor `name [n]`; an error where one is not from 0 to `rows - 1`.
    pub fn indices(&self, name: &str, rows: usize) -> Result<Vec<u32>> {
        let Some((_, extent, _)) = self.find(name) else { return Err(self.error(name, "is not there")) };
        let error = |message: String| self.error(name, message);
        if extent.shape.len() != 1 {
            return Err(error(format!("has shape {:?}; expected one dimension", extent.shape)));
        }
        let within = |number: i64| match u32::try_from(number) {
            Ok(index) if (index as usize) < rows => Ok(index),
            _ => Err(error(format!("holds {number}, but the table has rows 0 to {}", rows.saturating_sub(1)))),
        };
        match extent.dtype {
            Dtype::I64 => self.numbers(name, within),
            Dtype::I32 => self.numbers(name, |number: i32| within(number.into())),
            Dtype::U32 => self.numbers(name, |number: u32| within(number.into())),
            Dtype::I16 => self.numbers(name, |number: i16| within(number.into())),
            Dtype::U16 => self.numbers(name, |number: u16| within(number.into())),
            other => Err(error(format!("has dtype {other}; accepted are I64, I32, U32, I16 and U16"))),
        }
    }

    /// What is wrong with the tensor `name`; `message` goes on from its name.
    pub fn error(&self, name: &str, message: impl std::fmt::Display) -> Error {
        let file = self.file_of.get(name).map_or(&self.source, |&file| &self.files[file].name);
        Error::model_tensor(file, name, message)
    }

    /// The file, the place and the bytes of a tensor.
    fn find(&self, name: &str) -> Option<(&str, &Extent, &[u8])> {
        let file = &self.files[*self.file_of.get(name)?];
        let extent = &file.tensors[name];
        Some((&file.name, extent, file.bytes(extent)))
    }

    fn numbers<N: Pod, R>(&self, name: &str, convert: impl Fn(N) -> Result<R>) -> Result<Vec<R>> {
        let (file, extent, bytes) = self.find(name).expect("the caller has looked at it");
        if extent.strides.is_some() {
            return Err(Error::model_tensor(file, name, "does not lie row after row"));
        }
        let mut numbers = with_room(bytes.len() / size_of::<N>(), name)?;
        for bytes in bytes.chunks_exact(size_of::<N>()) {
            numbers.push(convert(bytemuck::pod_read_unaligned(bytes))?);
        }
        Ok(numbers)
    }
}
