//! Quantized matrices: which tensors are the parts of one, by the method that made them.
//!
//! ```text
//! PATH.weight is made of                                                                                     by
//! PATH.weight U32, PATH.scales, PATH.biases (floats), or PATH.scales U8                                      MLX
//! PATH.qweight, .qzeros I32, .scales, .g_idx I32                                                             GPTQ
//! PATH.qweight, .qzeros I32, .scales                                                                         AWQ
//! PATH.weight_packed I32, .weight_scale, .weight_shape, .weight_zero_point, .weight_g_idx                    compressed-tensors
//! PATH.weight_packed U8, .weight_scale F8_E4M3, .weight_global_scale; PATH.weight I8 or F8_E4M3, .weight_scale   the same
//! ```
//!
//! The tensors that are there decide: a matrix that is stored plainly is plain, whatever the method of others. Every shape is compared
//! with the others', and with config.json.

use std::borrow::Cow;
use std::sync::Arc;

use safetensors::Dtype;

use super::Weights;
use super::affine::Affine;
use super::codes::{Codes, Format};
use super::extent::Extent;
use super::group_factors::GroupFactors;
use super::micro_scaled::{MicroKind, MicroScaled};
use super::packed::{Packed, PackedLayout};
use super::scaled::Scaled;
use super::weight::Weight;
use crate::{Error, Result};

/// What a configuration says of quantized weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantization {
    /// The file that says it, for messages.
    pub source: String,
    pub method: QuantizationMethod,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuantizationMethod {
    Mlx {
        usual: MlxScheme,
        /// By module; None where one is not quantized.
        others: Vec<(String, Option<MlxScheme>)>,
    },
    Gptq {
        bits: usize,
        /// What is added to the zeros that files hold.
        zero_offset: u32,
    },
    Awq,
    CompressedTensors {
        /// Bits of packed integers, for each group of modules.
        bits: Vec<usize>,
    },
}

/// How MLX quantized a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MlxScheme {
    /// None for affine codes.
    pub kind: Option<MicroKind>,
    pub bits: usize,
    pub group: usize,
}

/// Ends of the names of what a quantized matrix is made of.
pub(super) const PARTS: [&str; 12] = [
    ".weight",
    ".scales",
    ".biases",
    ".qweight",
    ".qzeros",
    ".g_idx",
    ".weight_packed",
    ".weight_scale",
    ".weight_shape",
    ".weight_zero_point",
    ".weight_g_idx",
    ".weight_global_scale",
];

/// A tensor of a file.
struct MatrixPart<'a> {
    file: &'a str,
    name: &'a str,
    extent: &'a Extent,
    bytes: &'a [u8],
}

impl<'a> MatrixPart<'a> {
    fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::model_tensor(self.file, self.name, message)
    }

    fn shape(&self) -> &[usize] {
        &self.extent.shape
    }

    /// An error where the tensor has another type or shape.
    fn require(&self, dtypes: &[Dtype], shape: &[usize]) -> Result<()> {
        let Extent { dtype, shape: found, strides, .. } = self.extent;
        if !dtypes.contains(dtype) || found != shape || strides.is_some() {
            let dtypes = dtypes.iter().map(Dtype::to_string).collect::<Vec<_>>().join(" or ");
            return Err(self.error(format_args!("is {dtype} {found:?}; what it is a part of needs {dtypes} {shape:?}")));
        }
        Ok(())
    }

    /// The rows and columns of a matrix, or of several behind each other; an error where it is none.
    fn matrix(&self, dtypes: &[Dtype]) -> Result<(Vec<usize>, usize)> {
        match self.shape() {
            [rows @ .., columns] if (1..=2).contains(&rows.len()) && dtypes.contains(&self.extent.dtype) => {
                self.require(dtypes, self.shape())?;
                Ok((rows.to_vec(), *columns))
            }
            shape => Err(self.error(format_args!(
                "is {} {shape:?}; expected a matrix of codes in {}",
                self.extent.dtype,
                dtypes.iter().map(Dtype::to_string).collect::<Vec<_>>().join(" or ")
            ))),
        }
    }

    fn integers(&self) -> impl Iterator<Item = i64> + '_ {
        let wide = self.extent.dtype == Dtype::I64;
        self.bytes.chunks_exact(if wide { 8 } else { 4 }).map(move |bytes| match bytes.first_chunk() {
            Some(bytes) => i64::from_le_bytes(*bytes),
            None => i32::from_le_bytes(bytes.try_into().expect("four bytes")).into(),
        })
    }

    fn factors(&self) -> GroupFactors<'a> {
        GroupFactors::new(self.extent.dtype, self.bytes)
    }
}

impl Weights {
    /// The same tensors, quantized as a configuration says.
    pub fn quantized_by(self, quantization: Option<Quantization>) -> Self {
        Self { quantization, ..self }
    }

    /// Whether codes are there for the matrix `name` under names of their own.
    pub(super) fn is_packed(&self, name: &str) -> bool {
        let at = |end: &str| self.file_of.contains_key(&format!("{}{end}", path_of(name).unwrap_or_default()));
        path_of(name).is_some() && (at(".qweight") || at(".weight_packed"))
    }

    /// The matrix `name` where it is quantized; None where it is stored plainly.
    pub(super) fn coded(&self, name: &str) -> Result<Option<Weight<'_>>> {
        let (Some(path), Some(Quantization { source, method })) = (path_of(name), &self.quantization) else {
            return Ok(None);
        };
        let part = |end: &str| self.part(&format!("{path}{end}"));
        match method {
            QuantizationMethod::Mlx { usual, others } => {
                let Some(scales) = part(".scales") else { return Ok(None) };
                let scheme = match others.iter().find(|(module, _)| module == path) {
                    None => *usual,
                    Some((_, Some(scheme))) => *scheme,
                    Some((_, None)) => {
                        return Err(
                            scales.error(format_args!("is there, and {source} says that {path:?} is not quantized"))
                        );
                    }
                };
                let codes = part(".weight").ok_or_else(|| scales.error("has no codes beside it"))?;
                mlx(codes, scales, part(".biases"), scheme, source).map(Some)
            }
            QuantizationMethod::Gptq { bits, zero_offset } => {
                let Some(codes) = part(".qweight") else { return Ok(None) };
                let layout = PackedLayout::Gptq { zero_offset: *zero_offset };
                packed_by_columns(codes, [part(".scales"), part(".qzeros"), part(".g_idx")], layout, *bits).map(Some)
            }
            QuantizationMethod::Awq => {
                let Some(codes) = part(".qweight") else { return Ok(None) };
                packed_by_columns(codes, [part(".scales"), part(".qzeros"), None], PackedLayout::Awq, 4).map(Some)
            }
            QuantizationMethod::CompressedTensors { bits } => {
                let Some(scale) = part(".weight_scale") else { return Ok(None) };
                match part(".weight_packed") {
                    Some(codes) if codes.extent.dtype == Dtype::U8 => {
                        nvfp4(codes, scale, part(".weight_global_scale")).map(Some)
                    }
                    Some(codes) => {
                        let others = [part(".weight_shape"), part(".weight_zero_point"), part(".weight_g_idx")];
                        pack_quantized(codes, scale, others, bits).map(Some)
                    }
                    None => {
                        let Some(numbers) = part(".weight") else { return Ok(None) };
                        scaled(numbers, scale, part(".weight_zero_point")).map(Some)
                    }
                }
            }
        }
    }

    fn part(&self, name: &str) -> Option<MatrixPart<'_>> {
        let (name, &file) = self.file_of.get_key_value(name)?;
        let file = &self.files[file];
        let extent = &file.tensors[name];
        Some(MatrixPart { file: &file.name, name, extent, bytes: file.bytes(extent) })
    }
}

/// The module that has the matrix `name`.
fn path_of(name: &str) -> Option<&str> {
    name.strip_suffix(".weight")
}

fn mlx<'a>(
    codes: MatrixPart<'a>,
    scales: MatrixPart<'a>,
    biases: Option<MatrixPart<'a>>,
    scheme: MlxScheme,
    source: &str,
) -> Result<Weight<'a>> {
    let MlxScheme { kind, bits, group } = scheme;
    let (rows, words) = codes.matrix(&[Dtype::U32])?;
    let columns = words.saturating_mul(32) / bits;
    let wanted: Vec<usize> = rows.iter().copied().chain([columns / group]).collect();
    if scales.shape() != wanted
        || !columns.is_multiple_of(group)
        || columns.saturating_mul(bits) != words.saturating_mul(32)
    {
        return Err(codes.error(format_args!(
            "has shape {:?} and scales {:?}, which codes of {bits} bits in groups of {group}, as {source} says, do not have",
            codes.shape(),
            scales.shape()
        )));
    }
    let format = match kind {
        Some(kind) => {
            scales.require(&[Dtype::U8], &wanted)?;
            Format::MicroScaled(MicroScaled::new(codes.bytes, scales.bytes, kind, 1.0))
        }
        None => {
            scales.require(&GroupFactors::DTYPES, &wanted)?;
            let biases = biases.ok_or_else(|| scales.error("has no biases beside it, which affine codes need"))?;
            biases.require(&[scales.extent.dtype], &wanted)?;
            Format::Affine(Affine::new(codes.bytes, [scales.factors(), biases.factors()], bits, group))
        }
    };
    let shape = [rows, vec![columns]].concat();
    Ok(Weight::of_codes(codes.file, codes.name, shape, Codes::new(format, columns)))
}

/// Codes of GPTQ and AWQ: `[columns, rows]`, the former packed along columns, the latter along rows.
fn packed_by_columns<'a>(
    codes: MatrixPart<'a>,
    [scales, zeros, group_of]: [Option<MatrixPart<'a>>; 3],
    layout: PackedLayout,
    bits: usize,
) -> Result<Weight<'a>> {
    let per_word = 32 / bits;
    let missing = |what: &str| codes.error(format_args!("has no {what} beside it"));
    let (scales, zeros) = (scales.ok_or_else(|| missing("scales"))?, zeros.ok_or_else(|| missing("qzeros"))?);
    let &[a, b] = codes.shape() else { return Err(codes.error("is no matrix")) };
    codes.require(&[Dtype::I32], &[a, b])?;
    let (columns, rows) = match layout {
        PackedLayout::Awq => (a, b.saturating_mul(per_word)),
        _ => (a.saturating_mul(per_word), b),
    };
    let groups = scales.shape().first().copied().unwrap_or_default();
    scales.require(&GroupFactors::DTYPES, &[groups, rows])?;
    zeros.require(&[Dtype::I32], &[groups, rows.div_ceil(per_word)])?;
    let group_of = groups_of(&scales, group_of, groups, columns)?;
    let packed = Packed {
        layout,
        bits,
        rows,
        groups,
        codes: Cow::Borrowed(codes.bytes),
        scales: scales.factors(),
        zeros: Some(Cow::Borrowed(zeros.bytes)),
        group_of,
    };
    Ok(Weight::of_codes(codes.file, codes.name, vec![rows, columns], Codes::new(Format::Packed(packed), columns)))
}

fn pack_quantized<'a>(
    codes: MatrixPart<'a>,
    scales: MatrixPart<'a>,
    [shape, zeros, group_of]: [Option<MatrixPart<'a>>; 3],
    bits: &[usize],
) -> Result<Weight<'a>> {
    let &[rows, words] = codes.shape() else { return Err(codes.error("is no matrix")) };
    codes.require(&[Dtype::I32], &[rows, words])?;
    let shape = shape.ok_or_else(|| codes.error("has no weight_shape beside it"))?;
    let columns = match (&shape.extent.dtype, shape.shape(), &shape.integers().collect::<Vec<_>>()[..]) {
        (Dtype::I64 | Dtype::I32, [2], &[n, k]) if n == rows as i64 && (0..1 << 32).contains(&k) => k as usize,
        _ => return Err(shape.error(format_args!("does not say the shape of {rows} rows of codes"))),
    };
    let fitting = bits.iter().copied().find(|bits| columns.div_ceil(32 / bits) == words);
    let Some(bits) = fitting else {
        let known = bits.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        return Err(codes.error(format_args!(
            "has {words} words for {columns} columns, which codes of {known} bits, as config.json says, do not take"
        )));
    };
    let (groups, scales_shape) = match scales.shape() {
        &[_, groups] => (groups, vec![rows, groups]),
        _ => (1, vec![rows]),
    };
    scales.require(&GroupFactors::DTYPES, &scales_shape)?;
    if let Some(zeros) = &zeros {
        zeros.require(&[Dtype::I32], &[rows.div_ceil(32 / bits), groups])?;
    }
    let group_of = groups_of(&scales, group_of, groups, columns)?;
    let packed = Packed {
        layout: PackedLayout::PackQuantized,
        bits,
        rows,
        groups,
        codes: Cow::Borrowed(codes.bytes),
        scales: scales.factors(),
        zeros: zeros.map(|zeros| Cow::Borrowed(zeros.bytes)),
        group_of,
    };
    Ok(Weight::of_codes(codes.file, codes.name, vec![rows, columns], Codes::new(Format::Packed(packed), columns)))
}

/// The group of each column: as the tensor says, else as many neighbours as there are groups.
fn groups_of(scales: &MatrixPart, named: Option<MatrixPart>, groups: usize, columns: usize) -> Result<Arc<[u32]>> {
    if groups == 0 || columns == 0 {
        return Err(scales.error("has no groups"));
    }
    let Some(named) = named else {
        if !columns.is_multiple_of(groups) {
            return Err(scales.error(format_args!("has {groups} groups for {columns} columns")));
        }
        let size = columns / groups;
        return Ok((0..columns).map(|column| (column / size) as u32).collect());
    };
    named.require(&[Dtype::I32], &[columns])?;
    let within = |group: i64| u32::try_from(group).ok().filter(|&group| (group as usize) < groups);
    let all: Option<Arc<[u32]>> = named.integers().map(within).collect();
    all.ok_or_else(|| named.error(format_args!("names a group that is not among the {groups} of the scales")))
}

fn nvfp4<'a>(codes: MatrixPart<'a>, scales: MatrixPart<'a>, global: Option<MatrixPart<'a>>) -> Result<Weight<'a>> {
    let (kind, global) = (MicroKind::Nvfp4, global.ok_or_else(|| codes.error("has no weight_global_scale beside it"))?);
    let &[rows, bytes] = codes.shape() else { return Err(codes.error("is no matrix")) };
    codes.require(&[Dtype::U8], &[rows, bytes])?;
    let columns = bytes.saturating_mul(2);
    if !columns.is_multiple_of(kind.group()) {
        return Err(codes.error(format_args!("has {columns} columns, which are no groups of {}", kind.group())));
    }
    scales.require(&[Dtype::F8_E4M3], &[rows, columns / kind.group()])?;
    global.require(&[Dtype::F32], global.shape())?;
    if global.bytes.len() != 4 {
        return Err(global.error("has more than one number"));
    }
    let micro = MicroScaled::new(codes.bytes, scales.bytes, kind, global.factors().get(0));
    Ok(Weight::of_codes(codes.file, codes.name, vec![rows, columns], Codes::new(Format::MicroScaled(micro), columns)))
}

fn scaled<'a>(numbers: MatrixPart<'a>, scales: MatrixPart<'a>, zeros: Option<MatrixPart<'a>>) -> Result<Weight<'a>> {
    let &[rows, columns] = numbers.shape() else { return Err(numbers.error("is no matrix")) };
    numbers.require(&[Dtype::I8, Dtype::F8_E4M3], &[rows, columns])?;
    if let Some(zeros) = zeros {
        return Err(zeros.error("is there: numbers of one byte with a zero are not read; symmetric ones are"));
    }
    let groups = match scales.shape() {
        [] | [1] => 0,
        &[n] | &[n, 1] if n == rows => 1,
        &[n, groups] if n == rows && groups > 0 && columns % groups == 0 => groups,
        shape => {
            return Err(
                scales.error(format_args!("has shape {shape:?}, which does not fit {rows} x {columns} numbers"))
            );
        }
    };
    scales.require(&GroupFactors::DTYPES, scales.shape())?;
    let scaled = Scaled {
        numbers: Cow::Borrowed(numbers.bytes),
        are_integers: numbers.extent.dtype == Dtype::I8,
        scales: scales.factors(),
        groups,
    };
    Ok(Weight::of_codes(numbers.file, numbers.name, vec![rows, columns], Codes::new(Format::Scaled(scaled), columns)))
}
