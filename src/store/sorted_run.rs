//! Sorted runs: the ids of consecutive rows, and an index to look one up.
//!
//! A run as in a log-structured merge-tree (O'Neil et al. 1996): it never changes, two that follow each other merge
//! into one, and of an id that comes twice the newer row counts. Entries are sorted by a 64-bit key, which is the
//! number itself or a hash of the string; numbers that ascend are their own index.
//!
//! A key is found by interpolation, which is a good guess among hashes and consecutive numbers, and from there by
//! galloping (Bentley & Yao, "An almost optimal algorithm for unbounded searching", 1976):
//!
//! ```text
//! lower_bound(key):
//!     if the entry after the last one found is the key: return it     ids are often looked for in their order
//!     guess := where the key would be if all were equally far apart
//!     double the distance from the guess until the key is passed, then bisect
//! ```
//!
//! It takes the logarithm of the guess's error in steps, so a bad guess costs a bisection twice, never a scan.

use std::hash::RandomState;
use std::sync::OnceLock;

use super::row_ids::{IdKey, RowIds};

/// Ids of consecutive rows, and an index unless they ascend. Of a deferred run it is made when it is first needed.
pub(super) struct SortedRun {
    ids: RowIds,
    index: OnceLock<Option<KeyIndex>>,
}

/// The newest row of each id, in the order of their sort keys: the numbers themselves, or hashes of the strings.
#[derive(Default)]
struct KeyIndex {
    sort_keys: Vec<u64>,
    rows: Vec<u32>,
}

impl SortedRun {
    /// The most rows: an index numbers them by 32 bits.
    pub(super) const MAX_ROWS: usize = u32::MAX as usize;

    /// A run of `ids`, and the rows whose id comes again in a later one.
    pub(super) fn new(ids: RowIds, hasher: &RandomState) -> (Self, Vec<usize>) {
        let (index, superseded) = KeyIndex::new(&ids, hasher);
        (Self { ids, index: OnceLock::from(index) }, superseded)
    }

    /// A run of `ids`, whose index is made when it is first needed.
    pub(super) fn deferred(ids: RowIds) -> Self {
        Self { ids, index: OnceLock::new() }
    }

    fn index(&self, hasher: &RandomState) -> Option<&KeyIndex> {
        self.index.get_or_init(|| KeyIndex::new(&self.ids, hasher).0).as_ref()
    }

    pub(super) fn ids(&self) -> &RowIds {
        &self.ids
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// One run of both, this one's rows first. Of an id that both have, the newer row counts.
    pub(super) fn merge(&self, newer: &Self, hasher: &RandomState) -> Self {
        let mut ids = self.ids.clone();
        ids.extend(&newer.ids, 0..newer.len());
        ids.shrink();
        let (smallest, largest) = (newer.ids.smallest(), self.ids.largest());
        if self.index(hasher).is_none() && newer.index(hasher).is_none() && smallest > largest {
            return Self { ids, index: OnceLock::from(None) };
        }
        let olds: Vec<_> = self.entries(hasher).collect();
        let mut olds = &olds[..];
        let mut index = KeyIndex::default();
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
                let superseded = same_key.iter().any(|&new| self.ids.is_same(row as usize, &newer.ids, new as usize));
                if !superseded {
                    index.push(sort_key, row);
                }
            }
            olds = &olds[equal..];
            same_key.iter().for_each(|&row| index.push(sort_key, row + self.len() as u32));
        }
        olds.iter().for_each(|&(old, row)| index.push(old, row));
        Self { ids, index: OnceLock::from(Some(index)) }
    }

    /// Sort keys, in order, and rows.
    fn entries(&self, hasher: &RandomState) -> impl Iterator<Item = (u64, u32)> {
        let index = self.index(hasher);
        let entries = index.map_or(self.len(), |index| index.rows.len());
        (0..entries).map(move |i| match index {
            Some(index) => (index.sort_keys[i], index.rows[i]),
            None => (self.ids.sort_key(i, hasher), i as u32),
        })
    }

    /// The newest row of an id. `hint` is the place of the last one found, and then of this one.
    pub(super) fn find(&self, key: IdKey<'_>, hint: &mut usize, hasher: &RandomState) -> Option<usize> {
        match (&self.ids, self.index(hasher), key) {
            (RowIds::Range(range), None, IdKey::Int64(id)) => range.contains(&id).then(|| (id - range.start) as usize),
            (RowIds::Int64(keys), None, IdKey::Int64(id)) => {
                let keys = bytemuck::cast_slice(keys);
                let at = lower_bound(keys, u64::try_from(id).ok()?, hint);
                (keys.get(at) == Some(&(id as u64))).then_some(at)
            }
            (_, Some(index), IdKey::Int64(id)) => {
                let at = lower_bound(&index.sort_keys, u64::try_from(id).ok()?, hint);
                (index.sort_keys.get(at) == Some(&(id as u64))).then(|| index.rows[at] as usize)
            }
            (RowIds::Str(keys), Some(index), IdKey::Str(id, hash)) => {
                let from = lower_bound(&index.sort_keys, hash, hint);
                let equal = index.sort_keys[from..].iter().take_while(|&&other| other == hash).count();
                let mut rows = index.rows[from..from + equal].iter().map(|&row| row as usize);
                rows.find(|&row| keys.at(row) == id.as_bytes())
            }
            _ => None,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let index = self.index.get().and_then(Option::as_ref);
        self.ids.bytes() + index.map_or(0, |index| index.rows.len() * (8 + 4))
    }
}

impl KeyIndex {
    /// An index of `ids`, None where they ascend; and the rows whose id comes again in a later one.
    fn new(ids: &RowIds, hasher: &RandomState) -> (Option<Self>, Vec<usize>) {
        if ids.is_ascending() {
            return (None, Vec::new());
        }
        let mut pairs: Vec<_> = (0..ids.len()).map(|row| (ids.sort_key(row, hasher), row as u32)).collect();
        pairs.sort_unstable();
        let mut index = Self::default();
        let mut superseded = Vec::new();
        for &(sort_key, row) in &pairs {
            match index.find(sort_key, |other| ids.is_same(row as usize, ids, other as usize)) {
                Some(at) => superseded.push(std::mem::replace(&mut index.rows[at], row) as usize),
                None => index.push(sort_key, row),
            }
        }
        (Some(index), superseded)
    }

    fn push(&mut self, sort_key: u64, row: u32) {
        self.sort_keys.push(sort_key);
        self.rows.push(row);
    }

    /// The entry for which `same` holds, among the last ones, which have this sort key.
    fn find(&self, sort_key: u64, same: impl Fn(u32) -> bool) -> Option<usize> {
        let last = self.sort_keys.iter().rev().take_while(|&&other| other == sort_key).count();
        (self.rows.len() - last..self.rows.len()).find(|&at| same(self.rows[at]))
    }
}

/// The place in the ascending `sort_keys` of the first that is not below `key`. Looks after `hint` first, then by
/// interpolation.
fn lower_bound(sort_keys: &[u64], key: u64, hint: &mut usize) -> usize {
    let next = hint.saturating_add(1);
    let at = if sort_keys.get(next) == Some(&key) && sort_keys[next - 1] < key {
        next
    } else {
        let guess = match sort_keys {
            [first, .., last] if *first < key && key < *last => {
                ((key - first) as f64 / (last - first) as f64 * (sort_keys.len() - 1) as f64) as usize
            }
            [.., last] if key >= *last => sort_keys.len() - 1,
            _ => 0,
        };
        gallop(sort_keys, key, guess)
    };
    *hint = at;
    at
}

/// As [`lower_bound`], by galloping from a guess.
fn gallop(sort_keys: &[u64], key: u64, guess: usize) -> usize {
    let (mut low, mut high) = (guess, guess);
    let mut step = 1;
    // All before `low` are below; those from `high` on are not.
    while low > 0 && sort_keys[low - 1] >= key {
        high = low - 1;
        low = low.saturating_sub(step);
        step *= 2;
    }
    while high < sort_keys.len() && sort_keys[high] < key {
        low = high + 1;
        high = (high + step).min(sort_keys.len());
        step *= 2;
    }
    low + sort_keys[low..high].partition_point(|&other| other < key)
}

#[cfg(test)]
mod tests {
    use super::super::row_ids::{IdKind, Utf8Column};
    use super::*;
    use std::collections::HashMap;

    /// Numbers that look random.
    fn numbers(n: usize, below: u64) -> Vec<i64> {
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % below) as i64
        };
        (0..n).map(|_| next()).collect()
    }

    fn strings<T: ToString>(of: impl IntoIterator<Item = T>) -> RowIds {
        let mut strings = Utf8Column::new();
        of.into_iter().for_each(|text| strings.push(&text.to_string()));
        RowIds::Str(strings)
    }

    /// The newest row of each id, as a dictionary would have it; and that this finds the same, and nothing else.
    fn assert_finds(run: &SortedRun, ids: &[i64], as_strings: bool, hasher: &RandomState) {
        let newest: HashMap<_, _> = ids.iter().zip(0..).map(|(&id, row)| (id, row)).collect();
        let asked: Vec<i64> = numbers(500, 3_000).into_iter().chain(ids.iter().copied()).chain([i64::MAX]).collect();
        let keys = if as_strings { strings(&asked) } else { RowIds::Int64(asked.clone()) };
        let mut hint = 0;
        for (i, id) in asked.iter().enumerate() {
            assert_eq!(run.find(keys.key(i, hasher), &mut hint, hasher), newest.get(id).copied(), "{id}");
        }
    }

    #[test]
    fn ids_are_found_however_they_are_ordered() {
        let hasher = RandomState::new();
        let ascending: Vec<i64> =
            numbers(900, 5).iter().scan(0, |at, step| Some(std::mem::replace(at, *at + step + 1))).collect();
        let skewed = (0..40).map(|i| 1_i64 << i).collect();
        let mut descending = ascending.clone();
        descending.reverse();
        for ids in [ascending, skewed, descending, numbers(1_000, 100_000), numbers(1_000, 50), vec![3], vec![]] {
            for keys in [RowIds::Int64(ids.clone()), strings(&ids)] {
                let as_strings = keys.kind() == IdKind::Str;
                let (run, again) = SortedRun::new(keys, &hasher);
                assert_finds(&run, &ids, as_strings, &hasher);
                let mut again: Vec<_> = again;
                again.sort_unstable();
                let later = |&row: &usize| ids[row + 1..].contains(&ids[row]);
                assert!(again.into_iter().eq((0..ids.len()).filter(later)));
            }
        }
    }

    #[test]
    fn merged_runs_find_what_came_last() {
        let hasher = RandomState::new();
        let counted: Vec<i64> = (100..300).collect();
        let next: Vec<i64> = (300..350).collect();
        let parts = [counted, next, numbers(200, 400), numbers(300, 3_000), vec![5], (0..50).rev().collect()];
        for (first, second) in parts.iter().flat_map(|a| parts.iter().map(move |b| (a, b))) {
            let both: Vec<i64> = first.iter().chain(second).copied().collect();
            for as_strings in [false, true] {
                let run = |ids: &Vec<i64>| {
                    let keys =
                        if as_strings { strings(ids) } else { RowIds::Int64(ids.clone()).into_range_if_consecutive() };
                    SortedRun::new(keys, &hasher).0
                };
                let merged = run(first).merge(&run(second), &hasher);
                assert_eq!(merged.len(), both.len());
                assert_finds(&merged, &both, as_strings, &hasher);
            }
        }
    }

    #[test]
    fn numbers_that_ascend_need_no_index() {
        let hasher = RandomState::new();
        let run = |ids: Vec<i64>| SortedRun::new(RowIds::Int64(ids).into_range_if_consecutive(), &hasher).0;
        assert_eq!(run((5..1_000).collect()).bytes(), 0);
        assert_eq!(run((5..10).collect()).merge(&run((10..20).collect()), &hasher).bytes(), 0);
        let gap = run((5..10).collect()).merge(&run((11..20).collect()), &hasher);
        assert_eq!((gap.bytes(), gap.index(&hasher).is_none()), (14 * 8, true));
        assert_eq!(run(vec![2, 1]).bytes(), 2 * (8 + 12));
    }

    #[test]
    fn a_lower_bound_is_found_from_any_guess() {
        let sort_keys = [1, 4, 4, 4, 9, 20, u64::MAX];
        for key in [0, 1, 2, 4, 5, 9, 19, 20, 21, u64::MAX] {
            let expected = sort_keys.partition_point(|&other| other < key);
            assert!((0..sort_keys.len()).all(|guess| gallop(&sort_keys, key, guess) == expected));
            for hint in [0, 1, 2, 3, 4, 5, 6, 7, usize::MAX] {
                assert_eq!(lower_bound(&sort_keys, key, &mut { hint }), expected, "{key} hint {hint}");
            }
        }
        assert_eq!(lower_bound(&[], 3, &mut 0), 0);
    }
}
