//! The ids of all rows.

use std::hash::RandomState;
use std::ops::Range;
use std::sync::Arc;

use super::keys::{IdKind, Keys, Strings, Wanted};
use super::level::Level;
use crate::{Error, Result};

/// The ids of all rows, one kind a store, in levels of rows that follow each other. Levels never change and are shared between stores;
/// a level that has grown as large as the one before is merged with it, so that there are few.
#[derive(Clone, Default)]
pub(super) struct Ids {
    levels: Vec<(usize, Arc<Level>)>,
    rows: usize,
    kind: Option<IdKind>,
    /// The largest number that was ever an id.
    largest: Option<i64>,
    hasher: RandomState,
}

impl Ids {
    /// None while there was never a row.
    pub(super) fn kind(&self) -> Option<IdKind> {
        self.kind
    }

    /// The largest number that was ever an id.
    pub(super) fn largest(&self) -> Option<i64> {
        self.largest
    }

    /// As if `id` had been one.
    pub(super) fn after(&self, id: i64) -> Self {
        Self { largest: self.largest.max(Some(id)), ..self.clone() }
    }

    /// Ids for `n` rows that come without.
    pub(super) fn count(&self, n: usize) -> Result<Keys> {
        if self.kind == Some(IdKind::Str) {
            return Err(Error::argument("ids", "the ids of this store are str: give one for each row"));
        }
        let start = self.largest.map_or(Some(0), |largest| largest.checked_add(1));
        let end = start.and_then(|start| start.checked_add(i64::try_from(n).ok()?));
        match (start, end) {
            (Some(start), Some(end)) => Ok(Keys::Counted(start..end)),
            _ => Err(Error::argument("ids", "no numbers are left after the largest id; give one for each row")),
        }
    }

    /// Checks ids of rows to be added, and makes a level of them; and the rows whose id comes again in a later one.
    pub(super) fn level(&self, keys: Keys) -> Result<(Level, Vec<usize>)> {
        self.check_kind(&keys)?;
        if keys.len() > Level::MAX_ROWS {
            let message = format!("{} rows at once; accepted: up to {}", keys.len(), Level::MAX_ROWS);
            return Err(Error::argument("ids", message));
        }
        if let Keys::Int64(numbers) = &keys
            && let Some(i) = numbers.iter().position(|&id| id < 0)
        {
            let message = format!("ids[{i}] is {}; accepted: numbers from 0, or str", numbers[i]);
            return Err(Error::argument("ids", message));
        }
        Ok(Level::new(keys.counted_if_they_count(), &self.hasher))
    }

    pub(super) fn check_kind(&self, keys: &Keys) -> Result<()> {
        match self.kind {
            Some(kind) if kind != keys.kind() && !keys.is_empty() => {
                let message = format!("the ids of this store are {}, found {}", kind.name(), keys.kind().name());
                Err(Error::argument("ids", message))
            }
            _ => Ok(()),
        }
    }

    /// Whether none of these can be the id of a row that is there.
    pub(super) fn are_new(&self, keys: &Keys) -> bool {
        self.rows == 0 || keys.is_empty() || (self.kind == Some(IdKind::Int64) && keys.smallest() > self.largest)
    }

    /// With more rows at the end.
    pub(super) fn with(&self, level: Level) -> Self {
        let mut ids = self.clone();
        if level.len() == 0 {
            return ids;
        }
        ids.kind = Some(level.keys().kind());
        ids.largest = ids.largest.max(level.keys().largest());
        let mut last = (ids.rows, Arc::new(level));
        ids.rows += last.1.len();
        while let Some((_, before)) = ids.levels.last()
            && before.len() + last.1.len() <= Level::MAX_ROWS
            && (before.len() < 2 * last.1.len() || continues(before.keys(), last.1.keys()))
        {
            let merged = before.followed_by(&last.1, &ids.hasher);
            last = (last.0 - before.len(), Arc::new(merged));
            ids.levels.pop();
        }
        ids.levels.push(last);
        ids
    }

    /// For rows that take the place of all rows: numbers that were ids before are not given again.
    pub(super) fn replaced(&self, keys: Keys) -> Self {
        let none = Self { levels: Vec::new(), rows: 0, ..self.clone() };
        none.with(Level::new(keys.counted_if_they_count(), &self.hasher).0)
    }

    /// The newest row of each id, None where there is none.
    pub(super) fn find(&self, keys: &Keys) -> impl Iterator<Item = Option<usize>> {
        let mut near = vec![0; self.levels.len()];
        (0..keys.len()).map(move |i| {
            let wanted = keys.wanted(i, &self.hasher);
            let mut levels = self.levels.iter().zip(&mut near).rev();
            levels.find_map(|((first, level), near)| Some(first + level.find(wanted, near)?))
        })
    }

    /// The ids of some rows.
    pub(super) fn take(&self, runs: impl IntoIterator<Item = Range<usize>>) -> Keys {
        let mut keys = if self.kind == Some(IdKind::Str) { Keys::Str(Strings::new()) } else { Keys::Counted(0..0) };
        for run in runs {
            let mut at = run.start;
            while at < run.end {
                let (first, level) = &self.levels[self.levels.partition_point(|(first, _)| *first <= at) - 1];
                let end = run.end.min(first + level.len());
                keys.extend(level.keys(), at - first..end - first);
                at = end;
            }
        }
        keys.shrink();
        keys
    }

    /// An id as messages show it.
    pub(super) fn name(&self, level: &Level, row: usize) -> String {
        match level.keys().wanted(row, &self.hasher) {
            Wanted::Int64(id) => id.to_string(),
            Wanted::Str(id, _) => format!("{id:?}"),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.levels.iter().map(|(_, level)| level.bytes()).sum()
    }
}

/// Whether two ranges are one, which takes no time to merge.
fn continues(before: &Keys, next: &Keys) -> bool {
    matches!((before, next), (Keys::Counted(before), Keys::Counted(next)) if before.end == next.start)
}
