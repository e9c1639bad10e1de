//! `Store::rescore`: the second look at rows of bits, by the floats of a query.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::segment::segment_index;
use super::{SearchReport, SearchResults, Store};
use crate::kernels::{parallel_for, signed_product};
use crate::memory::with_room;
use crate::{CancelCheck, Error, Result};

/// Name of scores in the error of a lack of memory.
const SCORES: &str = "scores of a search";

impl Store {
    /// The k best for each of `queries [n, dimension]` of its own `candidates`, live rows of bits `[n, candidates]`: by the
    /// product of the query with the row's bits as 1 and -1, best first; of equals the lower row comes first.
    ///
    /// # Errors
    /// If rows are no bits, a query is not finite, `k` is 0, the lengths do not fit, or a row is deleted.
    pub fn rescore(
        &self,
        queries: &[f32],
        candidates: &[usize],
        k: usize,
        check_cancel: CancelCheck<'_>,
    ) -> Result<SearchResults> {
        self.bit_row_bytes()?;
        let dimension = self.config.dimension;
        self.check_queries(queries)?;
        let n = queries.len() / dimension;
        if n == 0 || !candidates.len().is_multiple_of(n) {
            let message = format!("{} rows are not as many for each of {n} queries", candidates.len());
            return Err(Error::argument("rows", message));
        }
        self.check_k(k)?;
        self.check_rows(candidates)?;
        if let Some(row) = candidates.iter().find(|&&row| !self.is_live(row)) {
            return Err(Error::argument("rows", format!("row {row} is deleted")));
        }
        let each = candidates.len() / n;
        let mut scores: Vec<AtomicU64> = with_room(candidates.len(), SCORES)?;
        scores.resize_with(candidates.len(), AtomicU64::default);
        self.config.pool.run_on_team(check_cancel, |_| {
            parallel_for(candidates.len(), dimension, |range| {
                for i in range {
                    let query = &queries[i / each * dimension..][..dimension];
                    scores[i].store(self.signed_product(query, candidates[i]).to_bits(), Relaxed);
                }
            });
            Ok(())
        })?;
        let columns = k.min(each);
        let report = SearchReport { rescored: candidates.len(), ..SearchReport::default() };
        let mut results = SearchResults { columns, report, ..SearchResults::default() };
        results.reserve(n * columns)?;
        for query in 0..n {
            let these = query * each..(query + 1) * each;
            let mut order: Vec<(f64, usize)> = with_room(each, SCORES)?;
            let scores = scores[these.clone()].iter().map(|score| f64::from_bits(score.load(Relaxed)));
            order.extend(scores.zip(candidates[these].iter().copied()));
            order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            results.scores.extend(order[..columns].iter().map(|&(score, _)| score as f32));
            results.rows.extend(order[..columns].iter().map(|&(_, row)| row as i64));
        }
        Ok(results)
    }

    fn signed_product(&self, query: &[f32], row: usize) -> f64 {
        let segment = &self.segments[segment_index(&self.segments, row)];
        let bits = segment.data().expect("the row is live").bit_row(row - segment.first_row, query.len() / 8);
        signed_product(query, bits)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::never_cancel;
    use super::*;
    use crate::kernels::testing::{bytes, numbers};

    #[test]
    fn a_second_look_ranks_by_products() {
        let bits = bytes(100 * 4, 4);
        let empty = Store::new(32, "hamming", "ubinary", "cpu", Some(2)).unwrap();
        let whole = empty.add_bits(&bits, None, 0).unwrap();
        let queries = numbers(2 * 32, 5);
        let candidates: Vec<usize> = (0..100).rev().step_by(5).chain((0..100).step_by(5)).collect();
        let results = whole.rescore(&queries, &candidates, 7, &never_cancel).unwrap();
        assert_eq!((results.columns, results.report.rescored), (7, 40));
        for (query, rows) in candidates.chunks(20).enumerate() {
            let query_numbers = &queries[32 * query..][..32];
            let mut expected: Vec<_> =
                rows.iter().map(|&row| (signed_product(query_numbers, &bits[4 * row..][..4]), row as i64)).collect();
            expected.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let at = 7 * query..7 * query + 7;
            assert_eq!(results.rows[at.clone()], expected.iter().take(7).map(|best| best.1).collect::<Vec<_>>());
            assert_eq!(results.scores[at], expected.iter().take(7).map(|best| best.0 as f32).collect::<Vec<_>>());
        }
        let refused = |queries: &[f32], rows: &[usize], k| {
            whole.rescore(queries, rows, k, &never_cancel).unwrap_err().to_string()
        };
        assert!(refused(&[f32::NAN; 32], &[1], 1).contains("row 0 has NaN"));
        assert!(refused(&queries, &[1], 1).contains("rows"));
        assert!(refused(&queries[..32], &[100], 1).contains("no row 100"));
        assert!(refused(&queries[..32], &[1], 0).contains("k: expected 1"));
    }
}
