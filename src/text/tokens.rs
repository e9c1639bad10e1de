//! The tokens of one input.

/// The tokens of one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    pub ids: Vec<u32>,
    /// None where all are 0.
    pub type_ids: Option<Vec<u32>>,
    /// Whether the input was longer than the model takes.
    pub truncated: bool,
}

impl Tokens {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}
