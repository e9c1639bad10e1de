//! The pieces of a WordPiece vocabulary, and the longest that a text begins with.

use std::collections::HashMap;

use crate::text::word_key::{KEY_BYTES, WordKey, first, hash, key_of};

/// Pieces by their bytes.
pub(super) struct PieceTable {
    /// Those of up to sixteen bytes, each at the first free place from its hash on.
    short: Vec<ShortPiece>,
    long: HashMap<Box<[u8]>, u32>,
    longest: usize,
}

#[derive(Clone, Copy, Default)]
struct ShortPiece {
    key: WordKey,
    id: u32,
    /// 0 where there is none.
    len: u32,
}

impl PieceTable {
    pub(super) fn new<'a>(pieces: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let pieces: Vec<_> = pieces.filter(|(piece, _)| !piece.is_empty()).collect();
        let mut short = vec![ShortPiece::default(); (2 * pieces.len() + 1).next_power_of_two()];
        let mut long = HashMap::new();
        let mut longest = 0;
        for (piece, id) in pieces {
            let bytes = piece.as_bytes();
            longest = longest.max(bytes.len());
            if bytes.len() > KEY_BYTES {
                long.insert(bytes.into(), id);
                continue;
            }
            let key = key_of(bytes);
            let mut place = hash(key) as usize & (short.len() - 1);
            while short[place].len > 0 {
                place = (place + 1) & (short.len() - 1);
            }
            short[place] = ShortPiece { key, id, len: bytes.len() as u32 };
        }
        Self { short, long, longest }
    }

    /// The longest piece that `text` begins with, and its bytes.
    pub(super) fn longest(&self, text: &[u8]) -> Option<(u32, usize)> {
        let longest = self.longest.min(text.len());
        if !self.long.is_empty() {
            let long = (KEY_BYTES + 1..=longest).rev().find_map(|len| Some((*self.long.get(&text[..len])?, len)));
            if long.is_some() {
                return long;
            }
        }
        let key = key_of(&text[..longest.min(KEY_BYTES)]);
        (1..=longest.min(KEY_BYTES)).rev().find_map(|len| Some((self.short(first(key, len), len)?, len)))
    }

    #[inline(always)]
    fn short(&self, key: WordKey, len: usize) -> Option<u32> {
        let mut place = hash(key) as usize & (self.short.len() - 1);
        loop {
            let piece = &self.short[place];
            match piece.len as usize {
                0 => return None,
                found if found == len && piece.key == key => return Some(piece.id),
                _ => place = (place + 1) & (self.short.len() - 1),
            }
        }
    }
}
