//! A weight matrix, packed once for products with many rows: the packed panels of GotoBLAS (Goto and van de Geijn
//! 2008), made when a model is loaded, since its weights do not change.
//!
//! ```text
//! weight [n, k] -> panels of WIDTH columns of weightᵀ, each [k / GROUP, WIDTH, GROUP], padded with zeros
//! ```
//!
//! A tile (`tile.rs`) reads a panel from its start to its end, so every load is the next one in memory. `product.rs`
//! has the loops around the tiles, the same for every format; a format is a file: `float.rs` (float32; two bytes,
//! widened a panel at a time), `bfloat16_pairs.rs` (both sides in bfloat16), `int8.rs` (both sides in bytes) and `int4.rs`
//! (weights of half a byte, unpacked a panel at a time). `layout.rs` says where a number lies.

#[cfg(target_arch = "x86_64")]
mod bfloat16_pairs;
mod byte_product;
mod float;
mod int4;
mod int8;
mod layout;
mod product;
mod quantized_rows;

use half::{bf16, f16};

use crate::Result;
use crate::kernels::aligned::{Aligned, BufferSource, FileBytes, bytes_of};
use crate::kernels::simd::MAX_LANES;
use crate::kernels::{Activation, Dtype, Isa};
use crate::memory::zeroed;
use crate::profile::{Arithmetic, Work};

use float::FloatPanels;
use int4::Int4Panels;
use int8::{Int8Layout, Int8Panels, limit};
use layout::PanelLayout;
use product::{Epilogue, ProductOutput};
use quantized_rows::quantized;

/// `y = activation(x · weightᵀ + bias)` with `weight [n, k]`, as `torch.nn.Linear` stores it.
///
/// Packed as panels of as many columns of `weightᵀ` as a register tile is wide, each `[k / group, width, group]` for as
/// many numbers of k as the set multiplies at once; the last panel is only as wide as its columns need, in whole
/// vectors.
pub struct Matrix {
    isa: Isa,
    n: usize,
    k: usize,
    panels: Panels,
    /// `[n]`, padded with zeros, so that a whole vector starts at each.
    bias: Aligned<f32>,
}

enum Panels {
    Float32(FloatPanels<f32>),
    Bfloat16(FloatPanels<bf16>),
    Float16(FloatPanels<f16>),
    #[cfg(target_arch = "x86_64")]
    Bfloat16Pairs(bfloat16_pairs::Bfloat16Pairs),
    Int8(Int8Panels),
    /// The first channels, and the last ones if they are in int8.
    Int4(Box<Int4Panels>, Option<Box<Int8Panels>>),
}

/// How a set lays out matrices of integers, in words that are equal where the layouts are: with it the buffers of one CPU are
/// those of another.
pub fn panel_layout(isa: Isa) -> String {
    // Raised with any change of what `Matrix::buffers` gives.
    const VERSION: usize = 1;
    let PanelLayout { padded: lanes, width, .. } = isa.run_int8(Int8Layout { n: 1, k: 1 });
    let sums = if limit(isa).is_some() { "sums in 16 bits" } else { "sums in 32 bits" };
    format!("version {VERSION}, panels of {width} columns, vectors of {lanes}, {sums}")
}

impl Panels {
    /// The type of the weights, and that of the arithmetic on them.
    fn format(&self) -> (Dtype, Arithmetic) {
        match self {
            Self::Float32(_) => (Dtype::Float32, Arithmetic::Float32),
            Self::Bfloat16(_) => (Dtype::Bfloat16, Arithmetic::Float32),
            Self::Float16(_) => (Dtype::Float16, Arithmetic::Float32),
            #[cfg(target_arch = "x86_64")]
            Self::Bfloat16Pairs(_) => (Dtype::Bfloat16, Arithmetic::Bfloat16),
            Self::Int8(_) => (Dtype::Int8, Arithmetic::Int8),
            Self::Int4(..) => (Dtype::Int4, Arithmetic::Int8),
        }
    }
}

impl Matrix {
    /// Packs `weight [n, k]`, row-major, and `bias [n]`; an error where there is no memory for it.
    pub fn new(isa: Isa, dtype: Dtype, weight: &[f32], bias: Option<&[f32]>, n: usize, k: usize) -> Result<Self> {
        let mut matrix = Self::zeroed(isa, dtype, [n, k], 0)?;
        matrix.set_rows(0, weight, bias)?;
        Ok(matrix)
    }

    /// A matrix whose rows are still to be set; an error where there is no memory for it. The last `sensitive` rows are such
    /// whose errors weigh most, in the type [of those](Dtype::of_sensitive).
    pub fn zeroed(isa: Isa, dtype: Dtype, [n, k]: [usize; 2], sensitive: usize) -> Result<Self> {
        Self::of_buffers(isa, dtype, [n, k], sensitive, &mut BufferSource::Memory)
    }

    /// A matrix of integers that was packed before: [`Self::buffers`] in a file. None where the bytes are not those of such
    /// a matrix.
    pub fn of_file(isa: Isa, dtype: Dtype, shape: [usize; 2], sensitive: usize, bytes: FileBytes) -> Option<Self> {
        let mut buffers = BufferSource::File(bytes);
        let matrix = Self::of_buffers(isa, dtype, shape, sensitive, &mut buffers).ok()?;
        buffers.is_used_up().then_some(matrix)
    }

    /// The buffers of a matrix of integers, each padded with zeros to whole lines of 64 bytes in a file.
    ///
    /// A change of what they hold, or in which order, is one of [`panel_layout`].
    pub fn buffers(&self) -> Vec<&[u8]> {
        let panels: Vec<_> = match &self.panels {
            Panels::Int8(panels) => panels.buffers().into(),
            Panels::Int4(panels, last) => last.iter().flat_map(|last| last.buffers()).chain(panels.buffers()).collect(),
            _ => unreachable!("matrices of integers alone are kept in files"),
        };
        [panels, vec![bytes_of(&self.bias)]].concat()
    }

    fn of_buffers(
        isa: Isa,
        dtype: Dtype,
        [n, k]: [usize; 2],
        sensitive: usize,
        buffers: &mut BufferSource,
    ) -> Result<Self> {
        assert!(n > sensitive && k > 0, "a matrix has rows and columns");
        let panels = match dtype {
            Dtype::Float32 => Panels::Float32(FloatPanels::zeroed(isa, n, k)?),
            #[cfg(target_arch = "x86_64")]
            Dtype::Bfloat16 if isa.has_bf16() => Panels::Bfloat16Pairs(bfloat16_pairs::Bfloat16Pairs::zeroed(n, k)?),
            Dtype::Bfloat16 => Panels::Bfloat16(FloatPanels::zeroed(isa, n, k)?),
            Dtype::Float16 => Panels::Float16(FloatPanels::zeroed(isa, n, k)?),
            Dtype::Int8 => Panels::Int8(Int8Panels::new(isa, n, k, buffers)?),
            Dtype::Int4 => {
                let last = (sensitive > 0).then(|| Int8Panels::new(isa, sensitive, k, buffers)).transpose()?;
                Panels::Int4(Box::new(Int4Panels::new(isa, n - sensitive, k, buffers)?), last.map(Box::new))
            }
        };
        Ok(Self { isa, n, k, panels, bias: buffers.next(n.next_multiple_of(MAX_LANES) + MAX_LANES)? })
    }

    /// Packs `weight [rows, k]` and `bias [rows]` as the output channels from `first` on; an error where there is no
    /// memory for it.
    pub fn set_rows(&mut self, first: usize, weight: &[f32], bias: Option<&[f32]>) -> Result<()> {
        let rows = weight.len() / self.k;
        assert_eq!(weight.len(), rows * self.k, "weight is [rows, k]");
        assert!(first + rows <= self.n, "rows are within n");
        let mut rotated: Vec<f32> = zeroed(if self.dtype().is_integer() { self.k } else { 0 }, "packed weights")?;
        for (row, values) in (first..).zip(weight.chunks_exact(self.k)) {
            match &mut self.panels {
                Panels::Float32(panels) => panels.set_row(row, values, |x| x),
                Panels::Bfloat16(panels) => panels.set_row(row, values, bf16::from_f32),
                Panels::Float16(panels) => panels.set_row(row, values, f16::from_f32),
                #[cfg(target_arch = "x86_64")]
                Panels::Bfloat16Pairs(panels) => panels.set_row(row, values),
                Panels::Int8(panels) => panels.set_row(self.isa, row, values, &mut rotated),
                Panels::Int4(panels, _) if row < panels.n() => panels.set_row(self.isa, row, values, &mut rotated),
                Panels::Int4(panels, last) => {
                    let last = last.as_mut().expect("rows are within n");
                    last.set_row(self.isa, row - panels.n(), values, &mut rotated);
                }
            }
        }
        if let Some(bias) = bias {
            self.bias.as_mut_slice()[first..first + rows].copy_from_slice(bias);
        }
        Ok(())
    }

    /// Output channels.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Input channels.
    pub fn k(&self) -> usize {
        self.k
    }

    /// What `apply` does for `m` rows: it reads them and the weights, and writes the result.
    pub fn work(&self, m: usize) -> Work {
        let (_, arithmetic) = self.panels.format();
        let bytes = self.weight_bytes() + 4 * m * (self.n + self.k);
        Work::multiply_adds(arithmetic, m * self.n * self.k, bytes)
    }

    /// Bytes of the weights, without padding.
    pub fn weight_bytes(&self) -> usize {
        let last = match &self.panels {
            Panels::Int4(panels, _) => self.n - panels.n(),
            _ => 0,
        };
        let dtype = self.dtype();
        dtype.bytes_of((self.n - last) * self.k) + dtype.of_sensitive().bytes_of(last * self.k)
    }

    pub(super) fn dtype(&self) -> Dtype {
        self.panels.format().0
    }

    /// `x [m, k]` to `out [m, n]`. A row's result has the same bits for every `m`.
    pub fn apply(&self, x: &[f32], activation: Activation, out: &mut [f32]) {
        self.write(x, ProductOutput::new(out, self.n, Epilogue::Activate(activation)));
    }

    /// Multiplies each number of `out [m, n]` by that of the product with `x [m, k]`.
    pub fn multiply(&self, x: &[f32], out: &mut [f32]) {
        self.write(x, ProductOutput::new(out, self.n, Epilogue::Multiply));
    }

    fn write(&self, x: &[f32], out: ProductOutput) {
        assert_eq!(x.len(), out.m() * self.k, "x is [m, k]");
        let (isa, bias) = (self.isa, self.bias.as_slice());
        match &self.panels {
            Panels::Float32(panels) => panels.apply(isa, x, bias, &out),
            Panels::Bfloat16(panels) => panels.apply_widened(isa, x, bias, &out),
            Panels::Float16(panels) => panels.apply_widened(isa, x, bias, &out),
            #[cfg(target_arch = "x86_64")]
            Panels::Bfloat16Pairs(panels) => panels.apply(isa, x, bias, &out),
            Panels::Int8(panels) => quantized(isa, x, self.k, |rows| panels.apply(isa, rows, bias, &out)),
            Panels::Int4(panels, last) => quantized(isa, x, self.k, |rows| {
                let first = panels.n();
                panels.apply(isa, rows, bias, &out.columns(0..first));
                if let Some(last) = last {
                    last.apply(isa, rows, &bias[first..], &out.columns(first..self.n));
                }
            }),
        }
    }
}

#[cfg(test)]
mod file_tests;
#[cfg(test)]
mod int4_tests;
#[cfg(test)]
mod tests;
