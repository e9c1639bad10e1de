//! How many tokens of an input are read, and what becomes of the others.

/// What becomes of an input with more tokens than are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Truncation {
    /// It loses its last tokens or, where the model's files say so, the first of all.
    #[default]
    OfModel,
    /// It loses its last tokens.
    Right,
    /// It loses its first tokens; special ones stay, and so do a prompt and what a template writes before it. Of a query and a document
    /// that a template makes one text of, the document loses them.
    Left,
    /// The call ends with [`crate::Error::TooLong`].
    Refuse,
}

/// How many tokens of an input are read, and which.
#[derive(Debug, Clone, Copy)]
pub struct LengthLimit {
    /// The most tokens, special ones included where there are such.
    pub tokens: usize,
    /// [`Truncation::Refuse`] is left to who asks whether tokens were truncated.
    pub truncation: Truncation,
    /// Bytes at the beginning of a text, or of a pair's first, whose tokens [`Truncation::Left`] leaves alone.
    kept: usize,
}

impl LengthLimit {
    /// Every token is read.
    pub const NONE: Self = Self::of(usize::MAX, Truncation::OfModel);

    pub const fn of(tokens: usize, truncation: Truncation) -> Self {
        Self { tokens, truncation, kept: 0 }
    }

    /// The same of so many tokens.
    pub(super) fn with_tokens(self, tokens: usize) -> Self {
        Self { tokens, ..self }
    }

    /// The same for a text that begins with so many bytes of others.
    pub fn behind(self, bytes: usize) -> Self {
        Self { kept: bytes, ..self }
    }

    /// Bytes at the beginning of a text whose tokens stay.
    pub(super) fn kept(&self) -> usize {
        if self.truncation == Truncation::Left { self.kept } else { 0 }
    }
}
