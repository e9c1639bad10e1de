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
}

impl Dtype {
    const NAMES: [(&str, Dtype); 4] = [
        ("float32", Dtype::Float32),
        ("bfloat16", Dtype::Bfloat16),
        ("float16", Dtype::Float16),
        ("int8", Dtype::Int8),
    ];

    /// The type of that name.
    pub fn named(name: &str) -> Option<Dtype> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|&(_, dtype)| dtype)
    }

    /// Size of a number, in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Bfloat16 | Self::Float16 => 2,
            Self::Int8 => 1,
        }
    }

    /// Name of the type, as [`Self::named`] takes it.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, dtype)| *dtype == self).map_or("", |(name, _)| name)
    }
}
