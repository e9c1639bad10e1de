//! Columns of ids, and the strings of those that are text.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

/// The ids of some rows, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowIds {
    /// Consecutive numbers. None is negative.
    Range(Range<i64>),
    /// None is negative.
    Int64(Vec<i64>),
    Str(Utf8Column),
}

/// What the ids of a store are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdKind {
    Int64,
    Str,
}

/// Strings in one buffer of UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Utf8Column {
    /// Where each begins, and where the last ends.
    offsets: Vec<u64>,
    bytes: Vec<u8>,
}

/// An id to look up.
#[derive(Clone, Copy)]
pub(super) enum IdKey<'a> {
    Int64(i64),
    /// The string and its hash.
    Str(&'a str, u64),
}

impl IdKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Int64 => "int64",
            Self::Str => "str",
        }
    }
}

impl Utf8Column {
    pub fn new() -> Self {
        Self { offsets: vec![0], bytes: Vec::new() }
    }

    /// Utf8Column by their parts, unless these fit together to no strings: the message says why.
    pub fn from_parts(offsets: Vec<u64>, bytes: Vec<u8>) -> Result<Self, String> {
        if offsets.first() != Some(&0) || offsets.last() != Some(&(bytes.len() as u64)) {
            let found = (offsets.first(), offsets.last());
            return Err(format!("offsets go from 0 to the {} bytes; found {found:?}", bytes.len()));
        }
        if let Some(i) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
            return Err(format!("offset {} is below the one before", i + 1));
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| format!("bytes are no UTF-8: {error}"))?;
        if let Some(i) = offsets.iter().position(|&offset| !text.is_char_boundary(offset as usize)) {
            return Err(format!("offset {i} is within a character"));
        }
        Ok(Self { offsets, bytes })
    }

    pub fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.offsets.push(self.bytes.len() as u64);
    }

    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, i: usize) -> &str {
        // Only whole strings are ever put in.
        std::str::from_utf8(self.at(i)).unwrap_or_default()
    }

    pub(super) fn at(&self, i: usize) -> &[u8] {
        &self.bytes[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Where each begins, and where the last ends; and the bytes.
    pub fn parts(self) -> (Vec<u64>, Vec<u8>) {
        (self.offsets, self.bytes)
    }

    fn extend(&mut self, from: &Self, range: Range<usize>) {
        let (start, end) = (from.offsets[range.start], from.offsets[range.end]);
        let base = self.bytes.len() as u64;
        self.bytes.extend_from_slice(&from.bytes[start as usize..end as usize]);
        self.offsets.extend(from.offsets[range.start + 1..=range.end].iter().map(|offset| offset - start + base));
    }
}

impl Default for Utf8Column {
    fn default() -> Self {
        Self::new()
    }
}

impl RowIds {
    pub fn len(&self) -> usize {
        match self {
            Self::Range(range) => (range.end - range.start) as usize,
            Self::Int64(keys) => keys.len(),
            Self::Str(keys) => keys.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn kind(&self) -> IdKind {
        match self {
            Self::Range(_) | Self::Int64(_) => IdKind::Int64,
            Self::Str(_) => IdKind::Str,
        }
    }

    /// The same ids as a range where they are consecutive, which takes no memory.
    pub(super) fn into_range_if_consecutive(self) -> Self {
        match self {
            Self::Int64(keys) if keys.windows(2).all(|pair| pair[0].checked_add(1) == Some(pair[1])) => {
                match (keys.first(), keys.last().and_then(|last| last.checked_add(1))) {
                    (Some(&first), Some(end)) => Self::Range(first..end),
                    _ => Self::Int64(keys),
                }
            }
            keys => keys,
        }
    }

    /// The largest number.
    pub(super) fn largest(&self) -> Option<i64> {
        match self {
            Self::Range(range) => range.clone().next_back(),
            Self::Int64(keys) => keys.iter().copied().max(),
            Self::Str(_) => None,
        }
    }

    /// The smallest number.
    pub(super) fn smallest(&self) -> Option<i64> {
        match self {
            Self::Range(range) => range.clone().next(),
            Self::Int64(keys) => keys.iter().copied().min(),
            Self::Str(_) => None,
        }
    }

    /// The `i`-th, to be looked up.
    pub(super) fn key(&self, i: usize, hasher: &RandomState) -> IdKey<'_> {
        match self {
            Self::Range(range) => IdKey::Int64(range.start + i as i64),
            Self::Int64(keys) => IdKey::Int64(keys[i]),
            Self::Str(keys) => IdKey::Str(keys.get(i), hasher.hash_one(keys.at(i))),
        }
    }

    /// Appends a range of others of the same kind.
    pub(super) fn extend(&mut self, from: &Self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        if let (Self::Range(counted), Self::Range(more)) = (&mut *self, from) {
            let first = more.start + range.start as i64;
            if counted.is_empty() {
                *counted = first..first;
            }
            if counted.end == first {
                counted.end += range.len() as i64;
                return;
            }
        }
        if let Self::Range(counted) = self {
            *self = match from {
                Self::Str(_) => Self::Str(Utf8Column::new()),
                _ => Self::Int64(counted.collect()),
            };
        }
        match (self, from) {
            (Self::Int64(keys), Self::Int64(from)) => keys.extend_from_slice(&from[range]),
            (Self::Int64(keys), Self::Range(from)) => {
                keys.extend(from.start + range.start as i64..from.start + range.end as i64);
            }
            (Self::Str(keys), Self::Str(from)) => keys.extend(from, range),
            _ => unreachable!("ids of a store are of one kind"),
        }
    }

    /// Frees memory beyond what the ids take.
    pub(super) fn shrink(&mut self) {
        match self {
            Self::Range(_) => {}
            Self::Int64(keys) => keys.shrink_to_fit(),
            Self::Str(keys) => {
                keys.offsets.shrink_to_fit();
                keys.bytes.shrink_to_fit();
            }
        }
    }

    pub(super) fn is_ascending(&self) -> bool {
        match self {
            Self::Range(_) => true,
            Self::Int64(keys) => keys.windows(2).all(|pair| pair[0] < pair[1]),
            Self::Str(_) => false,
        }
    }

    pub(super) fn sort_key(&self, row: usize, hasher: &RandomState) -> u64 {
        match self {
            Self::Range(range) => range.start as u64 + row as u64,
            Self::Int64(keys) => keys[row] as u64,
            Self::Str(keys) => hasher.hash_one(keys.at(row)),
        }
    }

    /// Whether two rows with the same sort key have the same id.
    pub(super) fn is_same(&self, a: usize, other: &Self, b: usize) -> bool {
        match (self, other) {
            (Self::Str(keys), Self::Str(others)) => keys.at(a) == others.at(b),
            _ => true,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Range(_) => 0,
            Self::Int64(keys) => size_of_val(&**keys),
            Self::Str(keys) => size_of_val(&*keys.offsets) + keys.bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_parts_that_do_not_fit_are_refused() {
        let from = |offsets: &[u64], bytes: &str| Utf8Column::from_parts(offsets.to_vec(), bytes.as_bytes().to_vec());
        let strings = from(&[0, 1, 1, 3], "aä").unwrap();
        assert_eq!(strings.iter().collect::<Vec<_>>(), ["a", "", "ä"]);
        assert_eq!(strings.clone().parts(), (vec![0, 1, 1, 3], "aä".as_bytes().to_vec()));
        for (offsets, bytes, why) in [
            (&[][..], "", "offsets go from 0"),
            (&[1, 1], "a", "offsets go from 0"),
            (&[0, 2], "a", "offsets go from 0"),
            (&[0, 1], "aa", "offsets go from 0"),
            (&[0, 2, 1, 3], "abc", "offset 2 is below"),
            (&[0, u64::MAX, 3], "abc", "offset 2 is below"),
            (&[0, 1, 2], "ä", "offset 1 is within a character"),
        ] {
            let message = from(offsets, bytes).unwrap_err();
            assert!(message.contains(why), "{message}");
        }
        assert!(Utf8Column::from_parts(vec![0, 1], vec![0xff]).unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn numbers_that_follow_each_other_are_counted() {
        let counted = |ids: &[i64]| RowIds::Int64(ids.to_vec()).into_range_if_consecutive();
        assert_eq!(counted(&[3, 4, 5]), RowIds::Range(3..6));
        assert_eq!(counted(&[i64::MAX]), RowIds::Int64(vec![i64::MAX]));
        for ids in [&[][..], &[3, 5], &[4, 3], &[3, 3], &[i64::MAX, i64::MIN]] {
            assert_eq!(counted(ids), RowIds::Int64(ids.to_vec()));
        }
    }

    #[test]
    fn ranges_of_ids_are_put_together() {
        let mut keys = RowIds::Range(0..0);
        keys.extend(&RowIds::Range(10..20), 2..4);
        keys.extend(&RowIds::Range(14..20), 0..2);
        assert_eq!(keys, RowIds::Range(12..16));
        keys.extend(&RowIds::Range(14..20), 0..1);
        keys.extend(&RowIds::Int64(vec![7, 8, 9]), 1..3);
        assert_eq!(keys, RowIds::Int64(vec![12, 13, 14, 15, 14, 8, 9]));
        let strings = Utf8Column::from_parts(vec![0, 1, 3, 3], b"abc".to_vec()).unwrap();
        let mut keys = RowIds::Str(Utf8Column::new());
        keys.extend(&RowIds::Str(strings.clone()), 1..3);
        keys.extend(&RowIds::Str(strings), 0..1);
        let RowIds::Str(strings) = keys else { unreachable!("they are strings") };
        assert_eq!(strings.iter().collect::<Vec<_>>(), ["bc", "", "a"]);
    }
}
