//! The types that weights are held in.

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
    /// As int8, with weights of 4.25 bits that are unpacked to it.
    Int4,
}

impl Dtype {
    const NAMES: [(&str, Dtype); 5] = [
        ("float32", Dtype::Float32),
        ("bfloat16", Dtype::Bfloat16),
        ("float16", Dtype::Float16),
        ("int8", Dtype::Int8),
        ("int4", Dtype::Int4),
    ];

    /// The type of that name.
    pub fn named(name: &str) -> Option<Dtype> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|&(_, dtype)| dtype)
    }

    /// Size of so many weights, in bytes; `usize::MAX` where that is too many.
    pub fn bytes_of(self, weights: usize) -> usize {
        match self {
            Self::Float32 => weights.saturating_mul(4),
            Self::Bfloat16 | Self::Float16 => weights.saturating_mul(2),
            Self::Int8 => weights,
            Self::Int4 => weights.saturating_mul(17).div_ceil(32),
        }
    }

    /// Whether rows are multiplied in bytes.
    pub fn is_integer(self) -> bool {
        matches!(self, Self::Int8 | Self::Int4)
    }

    /// The type of matrices whose errors weigh most, where others are of this type.
    pub fn of_sensitive(self) -> Self {
        if self == Self::Int4 { Self::Int8 } else { self }
    }

    /// Name of the type, as [`Self::named`] takes it.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, dtype)| *dtype == self).map_or("", |(name, _)| name)
    }
}
