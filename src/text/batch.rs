//! Several texts as one run of tokens.

use crate::text::tokens::Tokens;

/// Texts one after the other, with no padding between them.
#[derive(Debug, Default)]
pub struct PackedBatch {
    /// `[tokens]`
    pub ids: Vec<u32>,
    /// `[tokens]`: each token's place in its text, from 0.
    pub positions: Vec<u32>,
    /// `[tokens]`
    pub type_ids: Vec<u32>,
    /// `[texts + 1]`: cumulative lengths, from 0.
    pub offsets: Vec<u32>,
}

/// The tokens of each text whose hidden states are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenSelection {
    All,
    First,
    Last,
    /// The last one that is not this token; where all are, the first.
    LastOtherThan(u32),
}

impl PackedBatch {
    pub fn new<'a>(texts: impl Iterator<Item = &'a Tokens> + Clone) -> Self {
        Self::without(0, texts)
    }

    /// The texts without their first tokens, as many as are `left_out` of each.
    pub fn without<'a>(left_out: usize, texts: impl Iterator<Item = &'a Tokens> + Clone) -> Self {
        let tokens = texts.clone().map(|text| text.len() - left_out).sum();
        let mut batch = Self {
            ids: Vec::with_capacity(tokens),
            positions: Vec::with_capacity(tokens),
            type_ids: Vec::with_capacity(tokens),
            offsets: vec![0],
        };
        for text in texts {
            batch.ids.extend(&text.ids[left_out..]);
            batch.positions.extend(0..(text.len() - left_out) as u32);
            match &text.type_ids {
                Some(type_ids) => batch.type_ids.extend(&type_ids[left_out..]),
                None => batch.type_ids.resize(batch.ids.len(), 0),
            }
            batch.offsets.push(batch.ids.len() as u32);
        }
        batch
    }

    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    pub fn texts(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of rows that are wanted.
    pub fn count(&self, wanted: TokenSelection) -> usize {
        match wanted {
            TokenSelection::All => self.tokens(),
            TokenSelection::First | TokenSelection::Last | TokenSelection::LastOtherThan(_) => self.texts(),
        }
    }

    /// The rows that are wanted of `[tokens, _]`; None where that is all of them. Every text must have tokens.
    pub fn rows(&self, wanted: TokenSelection) -> Option<Vec<u32>> {
        match wanted {
            TokenSelection::All => None,
            TokenSelection::First => Some(self.offsets[..self.offsets.len() - 1].to_vec()),
            TokenSelection::Last => Some(self.offsets[1..].iter().map(|end| end - 1).collect()),
            TokenSelection::LastOtherThan(token) => {
                let other = |text: &[u32]| (text[0]..text[1]).rev().find(|&row| self.ids[row as usize] != token);
                Some(self.offsets.windows(2).map(|text| other(text).unwrap_or(text[0])).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_lie_one_after_the_other() {
        let text = |ids: &[u32], type_ids: Option<&[u32]>| Tokens {
            ids: ids.to_vec(),
            type_ids: type_ids.map(<[u32]>::to_vec),
            truncated: false,
        };
        let texts = [text(&[5, 6], None), text(&[], None), text(&[7, 8, 9], Some(&[0, 1, 1]))];
        let batch = PackedBatch::new(texts.iter());
        assert_eq!(batch.ids, [5, 6, 7, 8, 9]);
        assert_eq!(batch.positions, [0, 1, 0, 1, 2]);
        assert_eq!(batch.type_ids, [0, 0, 0, 1, 1]);
        assert_eq!(batch.offsets, [0, 2, 2, 5]);
        let batch = PackedBatch::without(2, [&texts[0], &texts[2]].into_iter());
        assert_eq!((batch.ids, batch.positions, batch.type_ids), (vec![9], vec![0], vec![1]));
        assert_eq!(batch.offsets, [0, 0, 1]);
    }

    #[test]
    fn one_token_of_each_text() {
        let batch = PackedBatch { ids: vec![5, 9, 9, 9, 4, 9, 9], offsets: vec![0, 2, 3, 7], ..PackedBatch::default() };
        assert_eq!(batch.rows(TokenSelection::All), None);
        assert_eq!(batch.rows(TokenSelection::First), Some(vec![0, 2, 3]));
        assert_eq!(batch.rows(TokenSelection::Last), Some(vec![1, 2, 6]));
        assert_eq!(batch.rows(TokenSelection::LastOtherThan(9)), Some(vec![0, 2, 4]));
    }
}
