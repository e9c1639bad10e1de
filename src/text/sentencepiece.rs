//! SentencePiece's model files: what votive needs of them.
//!
//! Sources: sentencepiece_model.proto for the fields, and Protocol Buffers' wire format (protobuf.dev, "Encoding") for how they lie. A
//! message is a sequence of fields; a field is a tag, a variable-length integer of `number << 3 | type`, and a value whose length the
//! type says: 0 an integer, 1 and 5 eight and four bytes, 2 a length and so many bytes, which may be a message again.
//!
//! ```text
//! for each field of the model:   1: a piece {1: text, 2: score, 3: kind}
//!                                2: the trainer's settings {3: kind of model, 40: id of the unknown piece}
//!                                3: the normalizer {2: table of characters}
//! ```
//!
//! Fields of other numbers are skipped, as the format wants it. Every length is checked against the bytes that are left, and a
//! message that cannot be read to its end is refused whole: nothing behind a damaged field can be told apart.

use crate::{Error, Result};

/// A vocabulary of pieces, and the table of characters that are the same.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SentencePieceModel {
    pub(super) pieces: Vec<ModelPiece>,
    /// The id of the piece that stands for what there is no piece for.
    pub(super) unknown: usize,
    /// Whether pieces have scores that are summed, and not ranks of merges or none.
    pub(super) is_unigram: bool,
    /// Empty where characters stay as they are.
    pub(super) character_map: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ModelPiece {
    pub(super) text: String,
    pub(super) score: f32,
    pub(super) kind: PieceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceKind {
    /// Found in texts, or standing for what is not.
    Text,
    /// Not found in texts by the model itself.
    Control,
    /// Found in texts before all else.
    UserDefined,
}

impl SentencePieceModel {
    /// Reads the `bytes` of `file`.
    pub(super) fn read(bytes: &[u8], file: &str) -> Result<Self> {
        Self::parse(bytes).ok_or_else(|| Error::model(file, "is no model of SentencePiece, or is cut short"))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut model = Self { pieces: Vec::new(), unknown: 0, is_unigram: true, character_map: Vec::new() };
        for field in Fields(bytes) {
            match field? {
                (1, WireValue::Bytes(piece)) => model.pieces.push(ModelPiece::parse(piece)?),
                (2, WireValue::Bytes(trainer)) => {
                    for field in Fields(trainer) {
                        match field? {
                            (3, WireValue::Integer(kind)) => model.is_unigram = kind == 1,
                            (40, WireValue::Integer(id)) => model.unknown = usize::try_from(id).ok()?,
                            _ => {}
                        }
                    }
                }
                (3, WireValue::Bytes(normalizer)) => {
                    for field in Fields(normalizer) {
                        if let (2, WireValue::Bytes(map)) = field? {
                            model.character_map = map.to_vec();
                        }
                    }
                }
                _ => {}
            }
        }
        Some(model).filter(|model| !model.pieces.is_empty())
    }
}

impl ModelPiece {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut piece = Self { text: String::new(), score: 0.0, kind: PieceKind::Text };
        for field in Fields(bytes) {
            match field? {
                (1, WireValue::Bytes(text)) => piece.text = str::from_utf8(text).ok()?.to_owned(),
                (2, WireValue::Word(bits)) => piece.score = f32::from_bits(bits),
                (3, WireValue::Integer(3)) => piece.kind = PieceKind::Control,
                (3, WireValue::Integer(4)) => piece.kind = PieceKind::UserDefined,
                (3, WireValue::Integer(_)) => piece.kind = PieceKind::Text,
                _ => {}
            }
        }
        Some(piece).filter(|piece| piece.score.is_finite())
    }
}

/// The fields of a message in Protocol Buffers' wire format, with their numbers; None in place of what cannot be read.
struct Fields<'a>(&'a [u8]);

enum WireValue<'a> {
    Integer(u64),
    /// 32 bits.
    Word(u32),
    Bytes(&'a [u8]),
    /// 64 bits, which no field that is needed has.
    Long,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, WireValue<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            // Nothing behind it can be told apart.
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, WireValue<'a>)> {
        let tag = self.integer()?;
        let value = match tag & 7 {
            0 => WireValue::Integer(self.integer()?),
            1 => self.take(8).map(|_| WireValue::Long)?,
            2 => {
                let length = usize::try_from(self.integer()?).ok()?;
                WireValue::Bytes(self.take(length)?)
            }
            5 => WireValue::Word(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn integer(&mut self) -> Option<u64> {
        let mut integer = 0;
        for i in 0..10 {
            let byte = self.take(1)?[0];
            integer |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Some(integer);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of bytes.
    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }

    fn model() -> Vec<u8> {
        let piece = |text: &str, score: f32, kind: u8| {
            let score = [&[2 << 3 | 5][..], &score.to_le_bytes()].concat();
            bytes(1, &[bytes(1, text.as_bytes()), score, vec![3 << 3, kind]].concat())
        };
        let trainer = bytes(2, &[3 << 3, 1, 0xc0, 2, 7]);
        let normalizer = bytes(3, &[bytes(1, b"nmt_nfkc"), bytes(2, b"\x01\x02")].concat());
        let unknown_field = [&[9 << 3 | 1][..], &[0; 8]].concat();
        let pieces = [piece("<s>", 0.0, 3), piece("▁a", -1.5, 1), piece("é", -2.0, 4)];
        [pieces.concat(), trainer, unknown_field, normalizer].concat()
    }

    #[test]
    fn reads_what_is_needed() {
        let read = SentencePieceModel::read(&model(), "spm.model").unwrap();
        let piece = |text: &str, score, kind| ModelPiece { text: text.to_owned(), score, kind };
        assert_eq!(
            read.pieces,
            [
                piece("<s>", 0.0, PieceKind::Control),
                piece("▁a", -1.5, PieceKind::Text),
                piece("é", -2.0, PieceKind::UserDefined)
            ]
        );
        assert_eq!((read.unknown, read.is_unigram, read.character_map), (7, true, vec![1, 2]));
    }

    #[test]
    fn hostile_bytes_are_an_error() {
        let whole = model();
        for end in 0..whole.len() {
            let _ = SentencePieceModel::parse(&whole[..end]);
            for byte in [0, 0x7f, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[end] = byte;
                let _ = SentencePieceModel::parse(&changed);
            }
        }
        let huge = [&[1 << 3 | 2][..], &[0xff; 9], &[1]].concat();
        let endless = [0xff; 64];
        for bytes in [&b""[..], b"{}", &huge, &endless, b"[PAD]\n[UNK]\n"] {
            let message = SentencePieceModel::read(bytes, "spm.model").unwrap_err().to_string();
            assert_eq!(message, "spm.model: is no model of SentencePiece, or is cut short");
        }
    }
}
