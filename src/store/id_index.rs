//! The ids of all rows, as a log-structured merge of sorted runs.
//!
//! ```text
//! with_run(run):    push it; while the run before the last is less than twice as long: merge the two
//! find(id):         look into the runs, the newest first
//! ```
//!
//! Each run is at least twice as long as the next, so n rows have at most log n runs, and an id is copied as often in
//! all (the logarithmic method of Bentley & Saxe, "Decomposable searching problems", 1980). Runs are shared between
//! stores and never change: a store with more ids leaves the one before as it is. Consecutive numbers merge in no time,
//! and have no index at all.

use std::hash::RandomState;
use std::ops::Range;
use std::sync::Arc;

use super::row_ids::{IdKey, IdKind, RowIds, Utf8Column};
use super::sorted_run::SortedRun;
use crate::{Error, Result};

/// The ids of all rows of a store, which are of one kind, deleted rows included.
#[derive(Clone, Default)]
pub(super) struct IdIndex {
    /// First row and ids of each run, by their rows.
    runs: Vec<(usize, Arc<SortedRun>)>,
    rows: usize,
    kind: Option<IdKind>,
    /// The largest number that was ever an id.
    largest: Option<i64>,
    hasher: RandomState,
}

impl IdIndex {
    /// None while there was never a row.
    pub(super) fn kind(&self) -> Option<IdKind> {
        self.kind
    }

    /// The largest number that was ever an id.
    pub(super) fn largest(&self) -> Option<i64> {
        self.largest
    }

    /// The same ids, with `id` counted as one that was.
    pub(super) fn with_largest(&self, id: i64) -> Self {
        Self { largest: self.largest.max(Some(id)), ..self.clone() }
    }

    /// New ids for `n` rows that come without: the numbers after the largest.
    pub(super) fn number_rows(&self, n: usize) -> Result<RowIds> {
        if self.kind == Some(IdKind::Str) {
            return Err(Error::argument("ids", "the ids of this store are str: give one for each row"));
        }
        let start = self.largest.map_or(Some(0), |largest| largest.checked_add(1));
        let end = start.and_then(|start| start.checked_add(i64::try_from(n).ok()?));
        match (start, end) {
            (Some(start), Some(end)) => Ok(RowIds::Range(start..end)),
            _ => Err(Error::argument("ids", "no numbers are left after the largest id; give one for each row")),
        }
    }

    /// A run of the ids of rows to be added, which are checked; and the rows whose id comes again in a later one.
    pub(super) fn new_run(&self, ids: RowIds) -> Result<(SortedRun, Vec<usize>)> {
        self.check_ids(&ids)?;
        Ok(SortedRun::new(ids.into_range_if_consecutive(), &self.hasher))
    }

    /// As `new_run`, without looking for ids that come again: the run's index is made when it is first needed.
    pub(super) fn deferred_run(&self, ids: RowIds) -> Result<SortedRun> {
        self.check_ids(&ids)?;
        Ok(SortedRun::deferred(ids.into_range_if_consecutive()))
    }

    fn check_ids(&self, ids: &RowIds) -> Result<()> {
        self.check_kind(ids)?;
        if ids.len() > SortedRun::MAX_ROWS {
            let message = format!("{} rows at once; accepted: up to {}", ids.len(), SortedRun::MAX_ROWS);
            return Err(Error::argument("ids", message));
        }
        if let RowIds::Int64(numbers) = ids
            && let Some(i) = numbers.iter().position(|&id| id < 0)
        {
            let message = format!("ids[{i}] is {}; accepted: numbers from 0, or str", numbers[i]);
            return Err(Error::argument("ids", message));
        }
        Ok(())
    }

    pub(super) fn check_kind(&self, ids: &RowIds) -> Result<()> {
        match self.kind {
            Some(kind) if kind != ids.kind() && !ids.is_empty() => {
                let message = format!("the ids of this store are {}, found {}", kind.name(), ids.kind().name());
                Err(Error::argument("ids", message))
            }
            _ => Ok(()),
        }
    }

    /// Whether none of these can be the id of a row that is there.
    pub(super) fn are_new(&self, ids: &RowIds) -> bool {
        self.rows == 0 || ids.is_empty() || (self.kind == Some(IdKind::Int64) && ids.smallest() > self.largest)
    }

    /// These ids and those of more rows.
    pub(super) fn with_run(&self, run: SortedRun) -> Self {
        let mut ids = self.clone();
        if run.len() == 0 {
            return ids;
        }
        ids.kind = Some(run.ids().kind());
        ids.largest = ids.largest.max(run.ids().largest());
        let mut last = (ids.rows, Arc::new(run));
        ids.rows += last.1.len();
        while let Some((_, before)) = ids.runs.last()
            && before.len() + last.1.len() <= SortedRun::MAX_ROWS
            && (before.len() < 2 * last.1.len() || continues(before.ids(), last.1.ids()))
        {
            let merged = before.merge(&last.1, &ids.hasher);
            last = (last.0 - before.len(), Arc::new(merged));
            ids.runs.pop();
        }
        ids.runs.push(last);
        ids
    }

    /// These ids and those of a deferred run, which is merged with none: that would need its index.
    pub(super) fn with_deferred_run(&self, run: SortedRun) -> Self {
        let mut ids = self.clone();
        if run.len() > 0 {
            ids.kind = Some(run.ids().kind());
            ids.largest = ids.largest.max(run.ids().largest());
            ids.runs.push((ids.rows, Arc::new(run)));
            ids.rows += ids.runs.last().map_or(0, |(_, run)| run.len());
        }
        ids
    }

    /// The ids of rows that replace all rows: numbers that were ids before are not given again.
    pub(super) fn rebuilt(&self, ids: RowIds) -> Self {
        let none = Self { runs: Vec::new(), rows: 0, ..self.clone() };
        none.with_run(SortedRun::new(ids.into_range_if_consecutive(), &self.hasher).0)
    }

    /// The newest row of each id, None where there is none.
    pub(super) fn find(&self, ids: &RowIds) -> impl Iterator<Item = Option<usize>> {
        let mut hints = vec![0; self.runs.len()];
        (0..ids.len()).map(move |i| {
            let key = ids.key(i, &self.hasher);
            let mut runs = self.runs.iter().zip(&mut hints).rev();
            runs.find_map(|((first, run), hint)| Some(first + run.find(key, hint, &self.hasher)?))
        })
    }

    /// The ids of some rows.
    pub(super) fn take(&self, ranges: impl IntoIterator<Item = Range<usize>>) -> RowIds {
        let mut ids = if self.kind == Some(IdKind::Str) { RowIds::Str(Utf8Column::new()) } else { RowIds::Range(0..0) };
        for range in ranges {
            let mut at = range.start;
            while at < range.end {
                let (first, run) = &self.runs[self.runs.partition_point(|(first, _)| *first <= at) - 1];
                let end = range.end.min(first + run.len());
                ids.extend(run.ids(), at - first..end - first);
                at = end;
            }
        }
        ids.shrink();
        ids
    }

    /// An id as messages show it.
    pub(super) fn display_id(&self, run: &SortedRun, row: usize) -> String {
        match run.ids().key(row, &self.hasher) {
            IdKey::Int64(id) => id.to_string(),
            IdKey::Str(id, _) => format!("{id:?}"),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.runs.iter().map(|(_, run)| run.bytes()).sum()
    }
}

/// Whether two ranges are one, which takes no time to merge.
fn continues(before: &RowIds, next: &RowIds) -> bool {
    matches!((before, next), (RowIds::Range(before), RowIds::Range(next)) if before.end == next.start)
}
