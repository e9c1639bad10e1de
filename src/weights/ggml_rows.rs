//! Rows of a GGUF file's tensor, in the order and with the numbers that transformers has for them.
//!
//! ```text
//! Interleaved     of the `head` rows of a head, row i of the first half is row 2 i of the file, of the second half row 2 i + 1:
//!                 llama.cpp turns neighbours by a rotary position, transformers turns halves
//! After           rows of zeros come first: RoBERTa's table has rows for padding, which the file leaves out
//! LessOne         the file has 1 + weight: Gemma's norms
//! ```

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::blocks::{BlockType, Decode};

/// Rows of blocks.
#[derive(Debug, Clone)]
pub(super) struct GgmlRows<'a> {
    bytes: Cow<'a, [u8]>,
    block: &'static BlockType,
    decode: Decode,
    arrangement: Arrangement,
}

/// What lies between a file's rows and those of transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Arrangement {
    Same,
    Interleaved { head: usize },
    After { zeros: usize },
    LessOne,
}

impl<'a> GgmlRows<'a> {
    /// None where numbers of this type are not read.
    pub(super) fn new(bytes: &'a [u8], block: &'static BlockType, arrangement: Arrangement) -> Option<Self> {
        Some(Self { bytes: Cow::Borrowed(bytes), block, decode: block.decode?, arrangement })
    }

    pub(super) fn into_owned(self) -> GgmlRows<'static> {
        GgmlRows { bytes: Cow::Owned(self.bytes.into_owned()), ..self }
    }

    pub(super) fn storage(&self) -> String {
        self.block.name.to_owned()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn decode_row(&self, row: usize, out: &mut [f32]) {
        let stored = match self.arrangement {
            Arrangement::Same | Arrangement::LessOne => row,
            Arrangement::Interleaved { head } => {
                let within = row % head;
                row - within + within % (head / 2) * 2 + within / (head / 2)
            }
            Arrangement::After { zeros } if row < zeros => return out.fill(0.0),
            Arrangement::After { zeros } => row - zeros,
        };
        let bytes = out.len() / self.block.numbers * self.block.bytes;
        (self.decode)(&self.bytes[stored * bytes..][..bytes], out);
        if self.arrangement == Arrangement::LessOne {
            out.iter_mut().for_each(|number| *number -= 1.0);
        }
    }
}
