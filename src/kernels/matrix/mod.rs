//! A weight matrix, packed once for products with many rows: the packed panels of GotoBLAS (Goto and van de Geijn
//! 2008), made when a model is loaded, since its weights do not change.
//!
//! ```text
//! weight [n, k] -> panels of WIDTH columns of weightᵀ, each [k / GROUP, WIDTH, GROUP], padded with zeros
//! ```
//!
//! A tile (`tile.rs`) reads a panel from its start to its end, so every load is the next one in memory. `product.rs`
//! has the loops around the tiles, the same for every format; a format is a file: `float.rs` (float32; two bytes,
//! widened a panel at a time), `bfloat16_pairs.rs` (both sides in bfloat16) and `int8.rs` (both sides in bytes).
//! `layout.rs` says where a number lies.

#[cfg(target_arch = "x86_64")]
mod bfloat16_pairs;
mod float;
mod int8;
mod product;

use half::{bf16, f16};

use crate::kernels::aligned::Aligned;
use crate::kernels::simd::MAX_LANES;
use crate::kernels::tile::MicroKernel;
use crate::kernels::{Activation, Isa};
use crate::profile::{Arithmetic, Work};

use float::{FloatPanels, Half};
use int8::Int8Panels;
use product::{ProductOutput, Then};

/// How weights are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    Float32,
    /// float32 arithmetic on weights of half the size; where the instruction set multiplies bfloat16, both sides of a
    /// product are rounded to it and summed in float32.
    Bfloat16,
    /// float32 arithmetic on weights of half the size.
    Float16,
    /// int8 per output channel, with rows of the input quantized as they come.
    Int8,
}

impl Dtype {
    const NAMES: [(&str, Dtype); 4] = [
        ("float32", Dtype::Float32),
        ("bfloat16", Dtype::Bfloat16),
        ("float16", Dtype::Float16),
        ("int8", Dtype::Int8),
    ];

    pub fn named(name: &str) -> Option<Dtype> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|&(_, dtype)| dtype)
    }

    /// Of a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Bfloat16 | Self::Float16 => 2,
            Self::Int8 => 1,
        }
    }

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, dtype)| *dtype == self).map_or("", |(name, _)| name)
    }
}

/// `y = activation(x · weightᵀ + bias)` with `weight [n, k]`, as `torch.nn.Linear` stores it.
///
/// Packed as panels of as many columns of `weightᵀ` as a register tile is wide, each `[k / group, width, group]` for as many
/// numbers of k as the set multiplies at once; the last panel is only as wide as its columns need, in whole vectors.
pub struct Matrix {
    isa: Isa,
    n: usize,
    k: usize,
    panels: Panels,
    /// `[n]`, padded with zeros to whole vectors.
    bias: Aligned<f32>,
}

enum Panels {
    Float32(FloatPanels<f32>),
    Bfloat16(FloatPanels<u16>),
    Float16(FloatPanels<u16>),
    #[cfg(target_arch = "x86_64")]
    Bfloat16Pairs(bfloat16_pairs::Bfloat16Pairs),
    Int8(Int8Panels),
}

impl Matrix {
    /// Packs `weight [n, k]`, row-major, and `bias [n]`.
    /// None where there is no memory for it.
    pub fn new(isa: Isa, dtype: Dtype, weight: &[f32], bias: Option<&[f32]>, n: usize, k: usize) -> Option<Self> {
        let mut matrix = Self::zeroed(isa, dtype, n, k)?;
        matrix.set_rows(0, weight, bias)?;
        Some(matrix)
    }

    /// A matrix whose rows are still to be set; None where there is no memory for it.
    pub fn zeroed(isa: Isa, dtype: Dtype, n: usize, k: usize) -> Option<Self> {
        assert!(n > 0 && k > 0, "a matrix has rows and columns");
        let panels = match dtype {
            Dtype::Float32 => Panels::Float32(FloatPanels::zeroed(isa, n, k)?),
            #[cfg(target_arch = "x86_64")]
            Dtype::Bfloat16 if isa.has_bf16() => Panels::Bfloat16Pairs(bfloat16_pairs::Bfloat16Pairs::zeroed(n, k)?),
            Dtype::Bfloat16 => Panels::Bfloat16(FloatPanels::zeroed(isa, n, k)?),
            Dtype::Float16 => Panels::Float16(FloatPanels::zeroed(isa, n, k)?),
            Dtype::Int8 => Panels::Int8(Int8Panels::zeroed(isa, n, k)?),
        };
        Some(Self { isa, n, k, panels, bias: Aligned::try_zeroed(n.next_multiple_of(MAX_LANES))? })
    }

    /// Packs `weight [rows, k]` and `bias [rows]` as the output channels from `first` on; None where there is no memory for it.
    pub fn set_rows(&mut self, first: usize, weight: &[f32], bias: Option<&[f32]>) -> Option<()> {
        let rows = weight.len() / self.k;
        assert_eq!(weight.len(), rows * self.k, "weight is [rows, k]");
        assert!(first + rows <= self.n, "rows are within n");
        let mut rotated = Aligned::try_zeroed(if self.dtype() == Dtype::Int8 { self.k } else { 0 })?;
        for (row, values) in (first..).zip(weight.chunks_exact(self.k)) {
            match &mut self.panels {
                Panels::Float32(panels) => panels.set_row(row, values, |x| x),
                Panels::Bfloat16(panels) => panels.set_row(row, values, |x| bf16::from_f32(x).to_bits()),
                Panels::Float16(panels) => panels.set_row(row, values, |x| f16::from_f32(x).to_bits()),
                #[cfg(target_arch = "x86_64")]
                Panels::Bfloat16Pairs(panels) => panels.set_row(row, values),
                Panels::Int8(panels) => panels.set_row(self.isa, row, values, rotated.as_mut_slice()),
            }
        }
        if let Some(bias) = bias {
            self.bias.as_mut_slice()[first..first + rows].copy_from_slice(bias);
        }
        Some(())
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
        let (arithmetic, weight_bytes) = match &self.panels {
            Panels::Float32(_) => (Arithmetic::Float32, 4),
            Panels::Bfloat16(_) | Panels::Float16(_) => (Arithmetic::Float32, 2),
            #[cfg(target_arch = "x86_64")]
            Panels::Bfloat16Pairs(_) => (Arithmetic::Bfloat16, 2),
            Panels::Int8(_) => (Arithmetic::Int8, 1),
        };
        let bytes = self.n * self.k * weight_bytes + 4 * m * (self.n + self.k);
        Work::multiply_adds(arithmetic, m * self.n * self.k, bytes)
    }

    pub(super) fn dtype(&self) -> Dtype {
        match self.panels {
            Panels::Float32(_) => Dtype::Float32,
            Panels::Bfloat16(_) => Dtype::Bfloat16,
            #[cfg(target_arch = "x86_64")]
            Panels::Bfloat16Pairs(_) => Dtype::Bfloat16,
            Panels::Float16(_) => Dtype::Float16,
            Panels::Int8(_) => Dtype::Int8,
        }
    }

    /// `x [m, k]` to `out [m, n]`. A row's result has the same bits for every `m`.
    pub fn apply(&self, x: &[f32], activation: Activation, out: &mut [f32]) {
        self.write(x, ProductOutput::new(out, self.n, Then::Activate(activation)));
    }

    /// Multiplies each number of `out [m, n]` by that of the product with `x [m, k]`.
    pub fn multiply(&self, x: &[f32], out: &mut [f32]) {
        self.write(x, ProductOutput::new(out, self.n, Then::Multiply));
    }

    fn write(&self, x: &[f32], out: ProductOutput) {
        assert_eq!(x.len(), out.m() * self.k, "x is [m, k]");
        let (isa, bias) = (self.isa, self.bias.as_slice());
        match &self.panels {
            Panels::Float32(panels) => panels.apply(isa, x, bias, &out),
            Panels::Bfloat16(panels) => panels.apply(Half::Bfloat16, isa, x, bias, &out),
            Panels::Float16(panels) => panels.apply(Half::Float16, isa, x, bias, &out),
            #[cfg(target_arch = "x86_64")]
            Panels::Bfloat16Pairs(panels) => panels.apply(isa, x, bias, &out),
            Panels::Int8(panels) => panels.apply(isa, x, bias, &out),
        }
    }
}

/// How many columns a panel takes, and where one of its numbers lies.
#[derive(Debug, Clone, Copy)]
struct PanelLayout {
    /// Columns, in whole vectors.
    padded: usize,
    /// Columns in a full panel.
    width: usize,
    /// Numbers of k at a time.
    group: usize,
    /// Such groups, the last one padded with zeros.
    groups: usize,
}

impl PanelLayout {
    fn of<T: MicroKernel>(n: usize, k: usize) -> Self {
        let (groups, padded) = (k.div_ceil(T::GROUP), n.next_multiple_of(T::LANES));
        Self { padded, width: T::WIDTH, group: T::GROUP, groups }
    }

    /// Numbers of all panels.
    fn len(self) -> usize {
        self.padded * self.groups * self.group
    }

    /// Where the panel that starts at `column` starts.
    #[inline(always)]
    fn panel(self, column: usize) -> usize {
        column * self.groups * self.group
    }

    /// Puts the row's numbers, `[k]`, where column `column` has its own.
    fn set<W: Copy>(self, panels: &mut [W], column: usize, numbers: impl Iterator<Item = W>) {
        let start = column / self.width * self.width;
        let stride = self.width.min(self.padded - start);
        let panel = &mut panels[self.panel(start)..];
        for (p, number) in numbers.enumerate() {
            panel[(p / self.group * stride + column - start) * self.group + p % self.group] = number;
        }
    }
}

#[cfg(test)]
mod tests;
