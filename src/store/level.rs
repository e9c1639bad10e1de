//! Ids of rows that follow each other, and where to look one up.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

/// Ids of rows, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// These numbers, one after the other. None is negative.
    Counted(Range<i64>),
    /// None is negative.
    Int64(Vec<i64>),
    Str(Strings),
}

/// Strings, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strings {
    /// Where each begins, and where the last ends.
    offsets: Vec<u64>,
    bytes: Vec<u8>,
}

/// Keys that never change, and how to find one: numbers that ascend are searched in, all others have an index.
pub(super) struct Level {
    keys: Keys,
    index: Option<Index>,
}

/// The newest row of each id, in the order of their sort keys: the numbers themselves, or hashes of the strings.
#[derive(Default)]
struct Index {
    sort_keys: Vec<u64>,
    rows: Vec<u32>,
}

/// An id that is looked for.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    Int64(i64),
    /// And its hash.
    Str(&'a str, u64),
}

impl Strings {
    pub fn new() -> Self {
        Self { offsets: vec![0], bytes: Vec::new() }
    }

    /// Strings by their parts, unless these fit together to no strings: the message says why.
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

    fn at(&self, i: usize) -> &[u8] {
        &self.bytes[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Where each begins from the first of these, and where the last ends; and the bytes.
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

impl Default for Strings {
    fn default() -> Self {
        Self::new()
    }
}

impl Keys {
    pub fn len(&self) -> usize {
        match self {
            Self::Counted(range) => (range.end - range.start) as usize,
            Self::Int64(keys) => keys.len(),
            Self::Str(keys) => keys.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Counted(_) | Self::Int64(_) => "int64",
            Self::Str(_) => "str",
        }
    }

    /// As short as they can be held.
    pub(super) fn counted_if_they_count(self) -> Self {
        match self {
            Self::Int64(keys) if keys.windows(2).all(|pair| pair[0].checked_add(1) == Some(pair[1])) => {
                match (keys.first(), keys.last().and_then(|last| last.checked_add(1))) {
                    (Some(&first), Some(end)) => Self::Counted(first..end),
                    _ => Self::Int64(keys),
                }
            }
            keys => keys,
        }
    }

    /// The largest number.
    pub(super) fn largest(&self) -> Option<i64> {
        match self {
            Self::Counted(range) => range.clone().next_back(),
            Self::Int64(keys) => keys.iter().copied().max(),
            Self::Str(_) => None,
        }
    }

    /// The smallest number.
    pub(super) fn smallest(&self) -> Option<i64> {
        match self {
            Self::Counted(range) => range.clone().next(),
            Self::Int64(keys) => keys.iter().copied().min(),
            Self::Str(_) => None,
        }
    }

    /// The `i`-th, to be looked for.
    pub(super) fn wanted(&self, i: usize, hasher: &RandomState) -> Wanted<'_> {
        match self {
            Self::Counted(range) => Wanted::Int64(range.start + i as i64),
            Self::Int64(keys) => Wanted::Int64(keys[i]),
            Self::Str(keys) => Wanted::Str(keys.get(i), hasher.hash_one(keys.at(i))),
        }
    }

    /// Adds a range of others, of the same kind, at the end.
    pub(super) fn extend(&mut self, from: &Self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        if let (Self::Counted(counted), Self::Counted(more)) = (&mut *self, from) {
            let first = more.start + range.start as i64;
            if counted.is_empty() {
                *counted = first..first;
            }
            if counted.end == first {
                counted.end += range.len() as i64;
                return;
            }
        }
        if let Self::Counted(counted) = self {
            *self = match from {
                Self::Str(_) => Self::Str(Strings::new()),
                _ => Self::Int64(counted.collect()),
            };
        }
        match (self, from) {
            (Self::Int64(keys), Self::Int64(from)) => keys.extend_from_slice(&from[range]),
            (Self::Int64(keys), Self::Counted(from)) => {
                keys.extend(from.start + range.start as i64..from.start + range.end as i64);
            }
            (Self::Str(keys), Self::Str(from)) => keys.extend(from, range),
            _ => unreachable!("ids of a store are of one kind"),
        }
    }

    /// Gives back memory that it grew into and does not need.
    pub(super) fn shrink(&mut self) {
        match self {
            Self::Counted(_) => {}
            Self::Int64(keys) => keys.shrink_to_fit(),
            Self::Str(keys) => {
                keys.offsets.shrink_to_fit();
                keys.bytes.shrink_to_fit();
            }
        }
    }

    fn ascend(&self) -> bool {
        match self {
            Self::Counted(_) => true,
            Self::Int64(keys) => keys.windows(2).all(|pair| pair[0] < pair[1]),
            Self::Str(_) => false,
        }
    }

    fn sort_key(&self, row: usize, hasher: &RandomState) -> u64 {
        match self {
            Self::Counted(range) => range.start as u64 + row as u64,
            Self::Int64(keys) => keys[row] as u64,
            Self::Str(keys) => hasher.hash_one(keys.at(row)),
        }
    }

    /// Whether two rows with the same sort key have the same id.
    fn same(&self, a: usize, other: &Self, b: usize) -> bool {
        match (self, other) {
            (Self::Str(keys), Self::Str(others)) => keys.at(a) == others.at(b),
            _ => true,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Counted(_) => 0,
            Self::Int64(keys) => size_of_val(&**keys),
            Self::Str(keys) => size_of_val(&*keys.offsets) + keys.bytes.len(),
        }
    }
}

impl Level {
    /// The most rows: an index numbers them by 32 bits.
    pub(super) const MOST_ROWS: usize = u32::MAX as usize;

    /// And the rows whose id comes again in a later one.
    pub(super) fn new(keys: Keys, hasher: &RandomState) -> (Self, Vec<usize>) {
        if keys.ascend() {
            return (Self { keys, index: None }, Vec::new());
        }
        let mut pairs: Vec<_> = (0..keys.len()).map(|row| (keys.sort_key(row, hasher), row as u32)).collect();
        pairs.sort_unstable();
        let mut index = Index::default();
        let mut superseded = Vec::new();
        for &(sort_key, row) in &pairs {
            match index.find(sort_key, |other| keys.same(row as usize, &keys, other as usize)) {
                Some(at) => superseded.push(std::mem::replace(&mut index.rows[at], row) as usize),
                None => index.push(sort_key, row),
            }
        }
        (Self { keys, index: Some(index) }, superseded)
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Of both, this one's rows first. Of an id that both have, the newer row counts.
    pub(super) fn followed_by(&self, newer: &Self, hasher: &RandomState) -> Self {
        let mut keys = self.keys.clone();
        keys.extend(&newer.keys, 0..newer.len());
        keys.shrink();
        let (smallest, largest) = (newer.keys.smallest(), self.keys.largest());
        if self.index.is_none() && newer.index.is_none() && smallest > largest {
            return Self { keys, index: None };
        }
        let olds: Vec<_> = self.entries(hasher).collect();
        let mut olds = &olds[..];
        let mut index = Index::default();
        let mut news = newer.entries(hasher).peekable();
        let mut same_key = Vec::new();
        while let Some(&(sort_key, _)) = news.peek() {
            let below = olds.partition_point(|&(old, _)| old < sort_key);
            olds[..below].iter().for_each(|&(old, row)| index.push(old, row));
            olds = &olds[below..];
            same_key.clear();
            while let Some((_, row)) = news.next_if(|&(next, _)| next == sort_key) {
                same_key.push(row);
            }
            let equal = olds.iter().take_while(|&&(old, _)| old == sort_key).count();
            for &(_, row) in &olds[..equal] {
                let superseded = same_key.iter().any(|&new| self.keys.same(row as usize, &newer.keys, new as usize));
                if !superseded {
                    index.push(sort_key, row);
                }
            }
            olds = &olds[equal..];
            same_key.iter().for_each(|&row| index.push(sort_key, row + self.len() as u32));
        }
        olds.iter().for_each(|&(old, row)| index.push(old, row));
        Self { keys, index: Some(index) }
    }

    /// Sort keys, in order, and rows.
    fn entries(&self, hasher: &RandomState) -> impl Iterator<Item = (u64, u32)> {
        let entries = self.index.as_ref().map_or(self.len(), |index| index.rows.len());
        (0..entries).map(|i| match &self.index {
            Some(index) => (index.sort_keys[i], index.rows[i]),
            None => (self.keys.sort_key(i, hasher), i as u32),
        })
    }

    /// The newest row of an id. `near` is where the last was found, and then this one: ids that are looked for often follow each other.
    pub(super) fn find(&self, wanted: Wanted<'_>, near: &mut usize) -> Option<usize> {
        match (&self.keys, &self.index, wanted) {
            (Keys::Counted(range), None, Wanted::Int64(id)) => range.contains(&id).then(|| (id - range.start) as usize),
            (Keys::Int64(keys), None, Wanted::Int64(id)) => {
                let keys = bytemuck::cast_slice(keys);
                let at = lower_bound(keys, u64::try_from(id).ok()?, near);
                (keys.get(at) == Some(&(id as u64))).then_some(at)
            }
            (_, Some(index), Wanted::Int64(id)) => {
                let at = lower_bound(&index.sort_keys, u64::try_from(id).ok()?, near);
                (index.sort_keys.get(at) == Some(&(id as u64))).then(|| index.rows[at] as usize)
            }
            (Keys::Str(keys), Some(index), Wanted::Str(id, hash)) => {
                let from = lower_bound(&index.sort_keys, hash, near);
                let equal = index.sort_keys[from..].iter().take_while(|&&other| other == hash).count();
                let mut rows = index.rows[from..from + equal].iter().map(|&row| row as usize);
                rows.find(|&row| keys.at(row) == id.as_bytes())
            }
            _ => None,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes() + self.index.as_ref().map_or(0, |index| index.rows.len() * (8 + 4))
    }
}

impl Index {
    fn push(&mut self, sort_key: u64, row: u32) {
        self.sort_keys.push(sort_key);
        self.rows.push(row);
    }

    /// Among the last entries, which have this sort key, the one that `same` holds for.
    fn find(&self, sort_key: u64, same: impl Fn(u32) -> bool) -> Option<usize> {
        let last = self.sort_keys.iter().rev().take_while(|&&other| other == sort_key).count();
        (self.rows.len() - last..self.rows.len()).find(|&at| same(self.rows[at]))
    }
}

/// Where in the ascending `sort_keys` the first that is not below this one is. Looks after `near` first, then where it would be if all were
/// equally far apart.
fn lower_bound(sort_keys: &[u64], wanted: u64, near: &mut usize) -> usize {
    let next = near.saturating_add(1);
    let at = if sort_keys.get(next) == Some(&wanted) && sort_keys[next - 1] < wanted {
        next
    } else {
        let guess = match sort_keys {
            [first, .., last] if *first < wanted && wanted < *last => {
                ((wanted - first) as f64 / (last - first) as f64 * (sort_keys.len() - 1) as f64) as usize
            }
            [.., last] if wanted >= *last => sort_keys.len() - 1,
            _ => 0,
        };
        around(sort_keys, wanted, guess)
    };
    *near = at;
    at
}

/// As [`lower_bound`], in time that grows with the logarithm of how far off the guess is.
fn around(sort_keys: &[u64], wanted: u64, guess: usize) -> usize {
    let (mut low, mut high) = (guess, guess);
    let mut step = 1;
    // All before `low` are below; those from `high` on are not.
    while low > 0 && sort_keys[low - 1] >= wanted {
        high = low - 1;
        low = low.saturating_sub(step);
        step *= 2;
    }
    while high < sort_keys.len() && sort_keys[high] < wanted {
        low = high + 1;
        high = (high + step).min(sort_keys.len());
        step *= 2;
    }
    low + sort_keys[low..high].partition_point(|&other| other < wanted)
}
