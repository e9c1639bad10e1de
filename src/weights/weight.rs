//! One tensor of a model's files, and its numbers in the types that votive computes with.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::Range;

use bytemuck::Pod;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;

use super::blocks::BlockType;
use super::codes::{Codes, Format};
use super::extent::{Extent, GgmlType};
use super::ggml_rows::{Arrangement, GgmlRows};
use super::low_rank::LowRank;
use super::small_floats::{e4m3_to_f32, e5m2_to_f32};
use super::tensor_file::TensorFile;
use crate::memory::{owned, with_room, zeroed};
use crate::{Error, Result};

/// One tensor: its shape and its bytes, still in the mapped file, and what is to be added to its numbers.
#[derive(Debug, Clone)]
pub struct Weight<'a> {
    file: &'a str,
    name: &'a str,
    shape: Cow<'a, [usize]>,
    stored: Stored<'a>,
    sum: Option<RowsOf<'a>>,
    /// Numbers of the whole tensor that come before.
    start: usize,
}

/// How a file holds the numbers of a tensor.
#[derive(Debug, Clone)]
enum Stored<'a> {
    Floats {
        dtype: Dtype,
        /// Numbers between neighbours of each dimension, where they do not lie row after row.
        strides: Option<&'a [usize]>,
        bytes: &'a [u8],
    },
    /// Rows of codes, from `first` on.
    Codes { codes: Codes<'a>, first: usize },
}

/// Rows of what an adapter adds, from `first` on.
#[derive(Debug, Clone)]
struct RowsOf<'a> {
    low_rank: &'a LowRank,
    first: usize,
}

/// A float type of two bytes that weights can be held in.
pub trait HalfPrecision: Pod + Display {
    /// As users know it.
    const NAME: &'static str;
    /// As files know it.
    const DTYPE: Dtype;
    /// Its largest number.
    const MAX: f32;

    /// Rounds `values` to `halves`.
    fn round(values: &[f32], halves: &mut [Self]);
    fn is_finite(self) -> bool;
}

impl HalfPrecision for bf16 {
    const NAME: &'static str = "bfloat16";
    const DTYPE: Dtype = Dtype::BF16;
    const MAX: f32 = bf16::MAX.to_f32_const();

    fn round(values: &[f32], halves: &mut [Self]) {
        halves.convert_from_f32_slice(values);
    }

    fn is_finite(self) -> bool {
        bf16::is_finite(self)
    }
}

impl HalfPrecision for f16 {
    const NAME: &'static str = "float16";
    const DTYPE: Dtype = Dtype::F16;
    const MAX: f32 = f16::MAX.to_f32_const();

    fn round(values: &[f32], halves: &mut [Self]) {
        halves.convert_from_f32_slice(values);
    }

    fn is_finite(self) -> bool {
        f16::is_finite(self)
    }
}

impl<'a> Weight<'a> {
    /// The tensor `name` of `file`, which has it; an error if it is not of a float type.
    pub(super) fn new(file: &'a TensorFile, name: &'a str) -> Result<Self> {
        let extent = &file.tensors[name];
        if let Some(ggml) = extent.ggml {
            return Self::of_ggml(file, name, extent, ggml);
        }
        let Extent { dtype, shape, strides, .. } = extent;
        if !FLOATS.contains(dtype) {
            let (last, others) = FLOATS.split_last().expect("there are some");
            let others = others.iter().map(Dtype::to_string).collect::<Vec<_>>().join(", ");
            let message = format!("has dtype {dtype}; accepted are {others} and {last}");
            return Err(Error::model_tensor(&file.name, name, message));
        }
        let (shape, strides) = (Cow::Borrowed(&shape[..]), strides.as_deref());
        let stored = Stored::Floats { dtype: *dtype, strides, bytes: file.bytes(extent) };
        Ok(Self { file: &file.name, name, shape, stored, sum: None, start: 0 })
    }

    /// The tensor `name` of `file`, which holds it as codes of so many rows and columns.
    pub(super) fn of_codes(file: &'a str, name: &'a str, shape: Vec<usize>, codes: Codes<'a>) -> Self {
        Self { file, name, shape: Cow::Owned(shape), stored: Stored::Codes { codes, first: 0 }, sum: None, start: 0 }
    }

    /// The tensor `name` of a GGUF file; an error where its type is not read.
    fn of_ggml(file: &'a TensorFile, name: &'a str, extent: &'a Extent, ggml: GgmlType) -> Result<Self> {
        let error = |message: &dyn Display| Error::model_tensor(&file.name, name, message);
        let block = BlockType::numbered(ggml.id);
        let rows = block.and_then(|block| GgmlRows::new(file.bytes(extent), block, ggml.arrangement));
        let (Some(block), Some(rows)) = (block, rows) else {
            let kind = block.map_or_else(|| format!("{} (not known)", ggml.id), |block| block.name.to_owned());
            return Err(error(&format_args!("has ggml's type {kind}; read are {}", BlockType::decoded())));
        };
        let columns = match extent.shape[..] {
            [length] if ggml.arrangement == Arrangement::Same => length,
            // One number for each row of the matrix that it belongs to.
            [_] if block.numbers == 1 => 1,
            [] | [_] => return Err(error(&format_args!("has no rows, and ggml's type {}", block.name))),
            [.., columns] => columns,
        };
        Ok(Self::of_codes(&file.name, name, extent.shape.clone(), Codes::new(Format::Ggml(rows), columns)))
    }

    /// The tensor with what an adapter adds to it.
    pub(super) fn plus(self, low_rank: Option<&'a LowRank>) -> Self {
        Self { sum: low_rank.map(|low_rank| RowsOf { low_rank, first: 0 }), ..self }
    }

    /// Length of each dimension.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// As messages name the tensor: with its file.
    pub fn what(&self) -> String {
        format!("tensor {:?} of {}", self.name, self.file)
    }

    /// What is wrong with the tensor; `message` goes on from its name.
    pub(super) fn error(&self, message: impl Display) -> Error {
        Error::model_tensor(self.file, self.name, message)
    }

    /// Only the `rows` of the first dimension, all of them there.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        self.clone().only(rows)
    }

    fn only(mut self, rows: Range<usize>) -> Self {
        self.start += rows.start * self.shape[1..].iter().product::<usize>();
        match &mut self.stored {
            Stored::Floats { strides: None, bytes, .. } => {
                let row = bytes.len() / self.shape[0].max(1);
                *bytes = &bytes[rows.start * row..rows.end * row];
            }
            Stored::Floats { dtype, strides: Some(strides), bytes } => {
                *bytes = &bytes[rows.start * strides[0] * dtype.bitsize() / 8..];
            }
            // Of several matrices in one tensor, a row of the first dimension is a whole one.
            Stored::Codes { first, .. } => {
                *first += rows.start * self.shape.iter().skip(1).rev().skip(1).product::<usize>();
            }
        }
        self.shape.to_mut()[0] = rows.len();
        if let Some(sum) = &mut self.sum {
            sum.first += rows.start;
        }
        self
    }

    /// The values as float32, row-major: borrowed from the map where they are float32 and aligned. NaN and Inf are
    /// errors that name the tensor and the file.
    pub fn to_f32(&self) -> Result<Cow<'a, [f32]>> {
        let values = self.as_f32()?;
        self.check(&values, f32::is_finite, "")?;
        Ok(values)
    }

    /// As [`Self::to_f32`], of values that are going to be rounded to `H`: those beyond its range are errors, too.
    pub fn to_f32_for<H: HalfPrecision>(&self) -> Result<Cow<'a, [f32]>> {
        let values = self.as_f32()?;
        let beyond = format!("; the largest number in dtype {:?} is {}", H::NAME, H::MAX);
        self.check(&values, |value| value.abs() <= H::MAX, &beyond)?;
        Ok(values)
    }

    /// Whether the values are of this type: those of the file, with nothing added.
    pub fn holds<H: HalfPrecision>(&self) -> bool {
        matches!(self.stored, Stored::Floats { dtype, .. } if dtype == H::DTYPE) && self.sum.is_none()
    }

    /// The codes of the whole tensor, where the file holds such and nothing is added to them.
    pub fn codes(&self) -> Option<&Codes<'a>> {
        match &self.stored {
            Stored::Codes { codes, first: 0 } if self.sum.is_none() => Some(codes),
            _ => None,
        }
    }

    /// The values in a type of two bytes: those of the file where it holds that type, else rounded to it.
    pub fn to_half<H: HalfPrecision>(&self) -> Result<Cow<'a, [H]>> {
        if self.holds::<H>() {
            let values = self.elements()?;
            self.check(&values, H::is_finite, "")?;
            return Ok(values);
        }
        let values = self.to_f32_for::<H>()?;
        let mut halves = self.zeroed(values.len())?;
        H::round(&values, &mut halves);
        Ok(Cow::Owned(halves))
    }

    fn as_f32(&self) -> Result<Cow<'a, [f32]>> {
        let values = self.stored_as_f32()?;
        let Some(RowsOf { low_rank, first }) = &self.sum else { return Ok(values) };
        let mut values = owned(values, || self.what())?;
        low_rank.add_to(&mut values, *first)?;
        Ok(Cow::Owned(values))
    }

    fn stored_as_f32(&self) -> Result<Cow<'a, [f32]>> {
        let dtype = match &self.stored {
            Stored::Floats { dtype, .. } => *dtype,
            Stored::Codes { codes, first } => {
                let mut values = self.zeroed(self.shape.iter().product())?;
                codes.decode(*first, &mut values);
                return Ok(Cow::Owned(values));
            }
        };
        Ok(match dtype {
            Dtype::F64 => self.converted(|values: &[f64], out| convert(values, out, |x| x as f32))?,
            Dtype::F16 => self.converted(|values: &[f16], out| values.convert_to_f32_slice(out))?,
            Dtype::BF16 => self.converted(|values: &[bf16], out| values.convert_to_f32_slice(out))?,
            Dtype::F8_E4M3 => self.converted(|values, out| convert(values, out, e4m3_to_f32))?,
            Dtype::F8_E5M2 => self.converted(|values, out| convert(values, out, e5m2_to_f32))?,
            _ => self.elements()?,
        })
    }

    fn converted<T: Pod>(&self, convert: impl FnOnce(&[T], &mut [f32])) -> Result<Cow<'a, [f32]>> {
        let values = self.elements()?;
        let mut converted = self.zeroed(values.len())?;
        convert(&values, &mut converted);
        Ok(Cow::Owned(converted))
    }

    /// The file's numbers, row-major: borrowed where they lie so and are aligned; safetensors are to 8 bytes only by habit.
    fn elements<T: Pod>(&self) -> Result<Cow<'a, [T]>> {
        let Stored::Floats { strides, bytes, .. } = self.stored else {
            unreachable!("the caller has looked at what is stored")
        };
        if strides.is_none()
            && let Ok(aligned) = bytemuck::try_cast_slice(bytes)
        {
            return Ok(Cow::Borrowed(aligned));
        }
        let available = bytes.len() / size_of::<T>();
        let n = self.shape.iter().try_fold(1_usize, |n, &length| n.checked_mul(length));
        let Some(n) = n.filter(|&n| n <= available) else {
            return Err(self.error("repeats its numbers, which no weight does"));
        };
        let mut values = with_room(n, &self.what())?;
        match strides {
            None => values.extend(bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned::<T>)),
            Some(strides) => gather(bytes, &self.shape, strides, &mut values),
        }
        Ok(Cow::Owned(values))
    }

    fn zeroed<T: Pod>(&self, n: usize) -> Result<Vec<T>> {
        zeroed(n, &self.what())
    }

    fn check<T: Copy + Display>(&self, values: &[T], accepted: impl Fn(T) -> bool, why: &str) -> Result<()> {
        // One pass without a branch per value; the search for the culprit is only made when there is one.
        if !values.iter().fold(true, |all, &value| all & accepted(value)) {
            let index = values.iter().position(|&value| !accepted(value)).unwrap_or_default();
            return Err(self.error(format_args!("holds {} at element {}{why}", values[index], self.start + index)));
        }
        Ok(())
    }
}

/// The types that weights may have.
pub(super) const FLOATS: [Dtype; 6] = [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64, Dtype::F8_E4M3, Dtype::F8_E5M2];

/// Appends the numbers of `shape` to `values`, row-major. All of them are within `bytes`.
fn gather<T: Pod>(bytes: &[u8], shape: &[usize], strides: &[usize], values: &mut Vec<T>) {
    match (shape, strides) {
        ([length, shape @ ..], [stride, strides @ ..]) => {
            (0..*length).for_each(|i| gather(&bytes[i * stride * size_of::<T>()..], shape, strides, values));
        }
        _ => values.push(bytemuck::pod_read_unaligned(&bytes[..size_of::<T>()])),
    }
}

fn convert<T: Copy>(values: &[T], out: &mut [f32], convert: impl Fn(T) -> f32) {
    values.iter().zip(out).for_each(|(&value, out)| *out = convert(value));
}
