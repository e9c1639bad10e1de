//! Packed texts as padded batches of queries and keys, for devices whose attention wants them: which tokens attend
//! together. Buckets of a geometric series of sizes, filled next-fit decreasing, with a bound on padding.
//!
//! ```text
//! cut each text into query blocks: one query, blocks of queries with the keys that they see, or as many as a limit on scores
//!     allows
//! round the sides of each block up to one of few sizes
//! sort blocks by the place of their first query among the keys, and by size, the largest first
//! for block: if it fits, with scores and padding within their limits: it joins the open batch
//!            else: it opens one
//! ```
//!
//! Why it is right: blocks hold every query once, with all the keys that it sees; a mask hides the others. Sizes are four for
//! each doubling, so a device sees few shapes of operations, and no side is a quarter longer than it must be beyond 128.

use std::cmp::Reverse;
use std::ops::Range;

use crate::kernels::Mask;

/// The most scores of a padded batch, over all heads: 128 MiB of float32.
const MAX_SCORES: usize = 1 << 25;

/// Scores that a padded batch may compute in vain to save launching the operations of another one.
const MAX_PADDING_SCORES: usize = 1 << 19;

/// Consecutive queries of a text, and the keys that one or another of them sees. Positions count from the first token
/// of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueryBlock {
    /// The row of the text's first token.
    pub(super) start: usize,
    pub(super) queries: Range<usize>,
    /// Position at which the padded batch's keys begin: before the text where a window does.
    pub(super) first_key: isize,
    pub(super) keys: Range<usize>,
}

/// Query blocks that attend together, each padded to the same number of queries and of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PaddedBatch {
    pub(super) blocks: Vec<QueryBlock>,
    pub(super) queries: usize,
    pub(super) keys: usize,
    /// Position of each block's first query, less that of its first key; 0 where neither mask nor bias depends on it.
    pub(super) query_offset: isize,
}

/// What the split of texts into query blocks, and of these into padded batches, depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct PaddingRequest<'a> {
    /// `[texts + 1]`: cumulative lengths.
    pub(super) offsets: &'a [u32],
    /// Tokens before those of every text.
    pub(super) past: usize,
    /// `[texts]`: the row of the one query of each text, where it is one.
    pub(super) rows: Option<&'a [u32]>,
    pub(super) mask: Mask,
    pub(super) heads: usize,
    /// Whether scores depend on positions in other ways than by the mask.
    pub(super) biased: bool,
}

/// `len` rounded up to the next of the sizes that padded batches have: multiples of 16 up to 128, then four for each
/// doubling. So shapes recur, and no side is a quarter longer than it must be beyond 128.
pub(super) fn padded_len(len: usize) -> usize {
    let step = (1 << (len - 1).max(1).ilog2()) / 4;
    len.next_multiple_of(step.max(16))
}

impl PaddingRequest<'_> {
    /// Padded batches that hold every query once.
    pub(super) fn padded_batches(&self) -> Vec<PaddedBatch> {
        let mut blocks = self.query_blocks();
        // Of a kind, the largest first: a smaller one may join it.
        blocks.sort_by_key(|block| (block.query_offset, Reverse((block.queries, block.keys))));
        let mut batches: Vec<PaddedBatch> = Vec::new();
        let mut padding = 0; // scores in vain of the last padded batch
        for one in blocks {
            if let Some(last) = batches.last_mut()
                && (last.query_offset, last.queries >= one.queries, last.keys >= one.keys)
                    == (one.query_offset, true, true)
                && (last.blocks.len() + 1) * self.scores(last.queries, last.keys) <= MAX_SCORES
            {
                let more = self.scores(last.queries, last.keys) - self.scores(one.queries, one.keys);
                if more == 0 || padding + more <= MAX_PADDING_SCORES {
                    padding += more;
                    last.blocks.extend(one.blocks);
                    continue;
                }
            }
            padding = 0;
            batches.push(one);
        }
        batches
    }

    fn scores(&self, queries: usize, keys: usize) -> usize {
        self.heads * queries * keys
    }

    /// A padded batch for each query block.
    fn query_blocks(&self) -> Vec<PaddedBatch> {
        let mut blocks = Vec::new();
        for (number, text) in self.offsets.windows(2).enumerate() {
            let (start, len) = (text[0] as usize, (text[1] - text[0]) as usize);
            let all = self.past + len;
            if let Some(rows) = self.rows {
                let query = self.past + rows[number] as usize - start;
                let keys = self.mask.keys(query, all);
                blocks.push(self.query_block(start, query..query + 1, keys.start as isize, keys));
            } else if let Some((block, [before, behind])) = self.local(len) {
                for queries in split(self.past..all, block) {
                    let keys = queries.start.saturating_sub(before)..(queries.end + behind).min(all);
                    let first_key = queries.start as isize - before as isize;
                    blocks.push(self.query_block(start, queries, first_key, keys));
                }
            } else if len > 0 {
                let fits = MAX_SCORES / self.scores(1, padded_len(all));
                for queries in split(self.past..all, 1 << fits.max(16).ilog2()) {
                    let keys = if self.mask.is_causal() { 0..queries.end } else { 0..all };
                    blocks.push(self.query_block(start, queries, 0, keys));
                }
            }
        }
        blocks
    }

    /// Length of query blocks, and how far before and behind it a query sees, where it sees so little of the text that
    /// blocks save work.
    fn local(&self, len: usize) -> Option<(usize, [usize; 2])> {
        let [Some(before), Some(behind)] = self.mask.reach() else { return None };
        let block = padded_len((2 * (before + behind)).max(128));
        (len > block + before + behind).then_some((block, [before, behind]))
    }

    fn query_block(&self, start: usize, queries: Range<usize>, first_key: isize, keys: Range<usize>) -> PaddedBatch {
        let one = self.rows.is_some();
        let rounded = if one { 1 } else { padded_len(queries.len()) };
        let span = (keys.end as isize - first_key) as usize;
        // The one query of a text sees all the keys in its batch: without a bias its position does not count.
        let query_offset = if one && !self.biased { 0 } else { queries.start as isize - first_key };
        let block = QueryBlock { start, queries, first_key, keys };
        PaddedBatch { blocks: vec![block], queries: rounded, keys: padded_len(span), query_offset }
    }
}

fn split(range: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(len).map(move |first| first..(first + len).min(end))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn request(offsets: &[u32], mask: Mask) -> PaddingRequest<'_> {
        PaddingRequest { offsets, past: 0, rows: None, mask, heads: 12, biased: false }
    }

    fn offsets(lengths: &[u32]) -> Vec<u32> {
        let mut offsets = vec![0];
        offsets.extend(lengths.iter().scan(0, |end, len| {
            *end += len;
            Some(*end)
        }));
        offsets
    }

    #[test]
    fn sizes_are_few_and_close() {
        for (len, rounded) in
            [(1, 16), (16, 16), (17, 32), (113, 128), (128, 128), (129, 160), (257, 320), (8192, 8192)]
        {
            assert_eq!(padded_len(len), rounded);
        }
        let sizes: BTreeSet<_> = (1..=8192).map(padded_len).collect();
        assert_eq!(sizes.len(), 8 + 4 * 6);
        assert!((129..=8192).all(|len| padded_len(len) >= len && 4 * padded_len(len) < 5 * len));
    }

    #[test]
    fn short_texts_share_a_padded_batch() {
        let offsets = offsets(&[5, 0, 100, 40, 1]);
        let batches = request(&offsets, Mask::Full).padded_batches();
        assert_eq!(batches.len(), 1);
        let PaddedBatch { blocks, queries, keys, query_offset } = &batches[0];
        assert_eq!((blocks.len(), *queries, *keys, *query_offset), (4, 112, 112, 0));
        assert_eq!(blocks[1], QueryBlock { start: 105, queries: 0..40, first_key: 0, keys: 0..40 });
    }

    #[test]
    fn what_would_be_mostly_padding_is_apart() {
        let offsets = offsets(&[[10; 30].as_slice(), &[500, 510]].concat());
        let sizes = |mask| -> Vec<_> {
            let batches = request(&offsets, mask).padded_batches();
            batches.iter().map(|one| (one.blocks.len(), one.queries, one.keys)).collect()
        };
        assert_eq!(sizes(Mask::Full), [(2, 512, 512), (30, 16, 16)]);
    }

    /// Every query is in one block with the keys that it sees, and no padded batch is larger than allowed.
    #[test]
    fn every_query_is_in_one_block_with_its_keys() {
        let lengths = [3000, 0, 1, 700, 8192, 33, 385, 384];
        let offsets = offsets(&lengths);
        for mask in [Mask::Full, Mask::Causal, Mask::Window(64), Mask::Window(4000), Mask::CausalWindow(90)] {
            for past in [0, 37] {
                let request = PaddingRequest { past, ..request(&offsets, mask) };
                let mut seen = BTreeSet::new();
                for batch in request.padded_batches() {
                    let PaddedBatch { blocks, queries, keys, query_offset } = batch;
                    assert!(blocks.len() == 1 || blocks.len() * 12 * queries * keys <= MAX_SCORES);
                    assert!(12 * queries * keys <= MAX_SCORES);
                    for block in blocks {
                        assert_eq!(block.queries.start as isize - block.first_key, query_offset);
                        assert!(block.queries.len() <= queries && block.first_key <= block.keys.start as isize);
                        assert!(block.keys.end as isize <= block.first_key + keys as isize);
                        let text = offsets.iter().rposition(|&offset| offset as usize == block.start).unwrap();
                        let all = past + lengths[text] as usize;
                        for query in block.queries {
                            let wanted = mask.keys(query, all);
                            assert!(block.keys.start <= wanted.start && wanted.end <= block.keys.end);
                            assert!(seen.insert(block.start + query - past));
                        }
                    }
                }
                assert_eq!(seen.len(), lengths.iter().sum::<u32>() as usize);
            }
        }
    }

    #[test]
    fn one_query_of_each_text_is_a_row_of_scores() {
        let offsets = offsets(&[10, 100]);
        let of =
            |mask, biased| PaddingRequest { rows: Some(&[9, 109]), biased, ..request(&offsets, mask) }.padded_batches();
        let causal = of(Mask::Causal, false);
        assert_eq!((causal.len(), causal[0].queries, causal[0].keys, causal[0].query_offset), (1, 1, 112, 0));
        // Positions of queries count where there is a bias.
        assert_eq!(of(Mask::Full, true).iter().map(|one| one.query_offset).collect::<Vec<_>>(), [9, 99]);
        let window = of(Mask::Window(3), false);
        assert_eq!(window[0].blocks[1], QueryBlock { start: 10, queries: 99..100, first_key: 96, keys: 96..100 });
    }

    /// Over many batches the sizes of padded batches, and so the shapes of operations, stay few.
    #[test]
    fn a_thousand_batches_have_few_shapes() {
        let mut random = 7_u64;
        let mut next = |max: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % max
        };
        let mut shapes = BTreeSet::new();
        for _ in 0..1000 {
            let lengths: Vec<u32> = (0..1 + next(40)).map(|_| 1 + next(2048) as u32).collect();
            let batches = request(&offsets(&lengths), Mask::Full).padded_batches();
            shapes.extend(batches.iter().map(|one| (one.queries, one.keys)));
        }
        // A text's queries and keys are as many: 8 sizes up to 128, four for each doubling up to 2048. Those of the
        // last two sizes are too many for a padded batch, and are split into one of 1024 and the rest.
        assert!(shapes.len() <= 8 + 4 * 4 + 2 * 5, "{shapes:?}");
    }
}
