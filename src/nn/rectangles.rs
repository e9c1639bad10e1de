//! Packed texts as rectangles of queries and keys, for devices whose attention wants them: which tokens attend
//! together. Buckets of a geometric series of sizes, filled next-fit decreasing, with a bound on padding.
//!
//! ```text
//! cut each text into pieces: one query, blocks of queries with the keys that they see, or as many as a limit on scores allows
//! round the sides of each piece up to one of few sizes
//! sort pieces by the place of their first query among the keys, and by size, the largest first
//! for piece: if it fits, with scores and padding within their limits: it joins the open rectangle
//!            else: it opens one
//! ```
//!
//! Why it is right: pieces hold every query once, with all the keys that it sees; a mask hides the others. Sizes are
//! four for each doubling, so a device sees few shapes of operations, and no side is a quarter longer than it must be
//! beyond 128.

use std::cmp::Reverse;
use std::ops::Range;

use crate::kernels::Mask;

/// The most scores of a rectangle, over all heads: 128 MiB of float32.
const SCORES: usize = 1 << 25;

/// Scores that a rectangle may have in vain to save launching the operations of another one.
const WASTE: usize = 1 << 19;

/// Some queries of a text, and the keys that one or another of them sees. Positions count from the first token of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// The row of the text's first token.
    pub(super) start: usize,
    pub(super) queries: Range<usize>,
    /// Where the rectangle's keys begin: before the text where a window does.
    pub(super) first_key: isize,
    pub(super) keys: Range<usize>,
}

/// Pieces that attend together, each with this many queries and keys, some of which may be padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rectangle {
    pub(super) pieces: Vec<Piece>,
    pub(super) queries: usize,
    pub(super) keys: usize,
    /// Position of each piece's first query, less that of its first key; 0 where nobody asks.
    pub(super) lead: isize,
}

/// What texts are cut and put together by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut<'a> {
    /// `[texts + 1]`: cumulative lengths.
    pub(super) offsets: &'a [u32],
    /// Tokens before those of every text.
    pub(super) past: usize,
    /// `[texts]`: the row of the one query of each text, where it is one.
    pub(super) rows: Option<&'a [u32]>,
    pub(super) mask: Mask,
    pub(super) heads: usize,
    /// Whether scores depend on places in other ways than by the mask.
    pub(super) biased: bool,
}

/// The next of the sizes that rectangles have: multiples of 16 up to 128, then four for each doubling. So shapes recur, and no
/// side is a quarter longer than it must be beyond 128.
pub(super) fn round(len: usize) -> usize {
    let step = (1 << (len - 1).max(1).ilog2()) / 4;
    len.next_multiple_of(step.max(16))
}

impl Cut<'_> {
    /// Rectangles that hold every query once.
    pub(super) fn rectangles(&self) -> Vec<Rectangle> {
        let mut pieces = self.pieces();
        // Of a kind, the largest first: a smaller one may join it.
        pieces.sort_by_key(|piece| (piece.lead, Reverse((piece.queries, piece.keys))));
        let mut rectangles: Vec<Rectangle> = Vec::new();
        let mut wasted = 0;
        for one in pieces {
            if let Some(last) = rectangles.last_mut()
                && (last.lead, last.queries >= one.queries, last.keys >= one.keys) == (one.lead, true, true)
                && (last.pieces.len() + 1) * self.scores(last.queries, last.keys) <= SCORES
            {
                let more = self.scores(last.queries, last.keys) - self.scores(one.queries, one.keys);
                if more == 0 || wasted + more <= WASTE {
                    wasted += more;
                    last.pieces.extend(one.pieces);
                    continue;
                }
            }
            wasted = 0;
            rectangles.push(one);
        }
        rectangles
    }

    fn scores(&self, queries: usize, keys: usize) -> usize {
        self.heads * queries * keys
    }

    /// One rectangle for each piece of a text.
    fn pieces(&self) -> Vec<Rectangle> {
        let mut pieces = Vec::new();
        for (number, text) in self.offsets.windows(2).enumerate() {
            let (start, len) = (text[0] as usize, (text[1] - text[0]) as usize);
            let all = self.past + len;
            if let Some(rows) = self.rows {
                let query = self.past + rows[number] as usize - start;
                let keys = self.mask.keys(query, all);
                pieces.push(self.piece(start, query..query + 1, keys.start as isize, keys));
            } else if let Some((block, reach)) = self.local(len) {
                for queries in blocks(self.past..all, block) {
                    let keys = queries.start.saturating_sub(reach)..(queries.end + reach).min(all);
                    pieces.push(self.piece(start, queries.clone(), queries.start as isize - reach as isize, keys));
                }
            } else if len > 0 {
                let fits = SCORES / self.scores(1, round(all));
                for queries in blocks(self.past..all, 1 << fits.max(16).ilog2()) {
                    let keys = if self.mask == Mask::Causal { 0..queries.end } else { 0..all };
                    pieces.push(self.piece(start, queries, 0, keys));
                }
            }
        }
        pieces
    }

    /// How many queries of a text to take at a time where they see so little of it that this saves work, and how far they see.
    fn local(&self, len: usize) -> Option<(usize, usize)> {
        let Mask::Window(reach) = self.mask else { return None };
        let block = round((4 * reach).max(128));
        (len > block + 2 * reach).then_some((block, reach))
    }

    fn piece(&self, start: usize, queries: Range<usize>, first_key: isize, keys: Range<usize>) -> Rectangle {
        let one = self.rows.is_some();
        let rounded = if one { 1 } else { round(queries.len()) };
        let span = (keys.end as isize - first_key) as usize;
        // Of the query of a text that sees all its keys, nobody asks where it is.
        let lead = if one && !self.biased { 0 } else { queries.start as isize - first_key };
        let piece = Piece { start, queries, first_key, keys };
        Rectangle { pieces: vec![piece], queries: rounded, keys: round(span), lead }
    }
}

fn blocks(range: Range<usize>, block: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(block).map(move |first| first..(first + block).min(end))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn cut(offsets: &[u32], mask: Mask) -> Cut<'_> {
        Cut { offsets, past: 0, rows: None, mask, heads: 12, biased: false }
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
            assert_eq!(round(len), rounded);
        }
        let sizes: BTreeSet<_> = (1..=8192).map(round).collect();
        assert_eq!(sizes.len(), 8 + 4 * 6);
        assert!((129..=8192).all(|len| round(len) >= len && 4 * round(len) < 5 * len));
    }

    #[test]
    fn short_texts_share_a_rectangle() {
        let offsets = offsets(&[5, 0, 100, 40, 1]);
        let rectangles = cut(&offsets, Mask::Full).rectangles();
        assert_eq!(rectangles.len(), 1);
        let Rectangle { pieces, queries, keys, lead } = &rectangles[0];
        assert_eq!((pieces.len(), *queries, *keys, *lead), (4, 112, 112, 0));
        assert_eq!(pieces[1], Piece { start: 105, queries: 0..40, first_key: 0, keys: 0..40 });
    }

    #[test]
    fn what_would_be_padding_for_the_most_part_is_apart() {
        let offsets = offsets(&[[10; 30].as_slice(), &[500, 510]].concat());
        let sizes = |mask| -> Vec<_> {
            let rectangles = cut(&offsets, mask).rectangles();
            rectangles.iter().map(|one| (one.pieces.len(), one.queries, one.keys)).collect()
        };
        assert_eq!(sizes(Mask::Full), [(2, 512, 512), (30, 16, 16)]);
    }

    /// Every query has a place, the keys that it sees are there, and no rectangle is larger than allowed.
    #[test]
    fn nothing_is_lost_by_cutting() {
        let lengths = [3000, 0, 1, 700, 8192, 33, 385, 384];
        let offsets = offsets(&lengths);
        for mask in [Mask::Full, Mask::Causal, Mask::Window(64), Mask::Window(4000)] {
            for past in [0, 37] {
                let cut = Cut { past, ..cut(&offsets, mask) };
                let mut seen = BTreeSet::new();
                for rectangle in cut.rectangles() {
                    let Rectangle { pieces, queries, keys, lead } = rectangle;
                    assert!(pieces.len() == 1 || pieces.len() * 12 * queries * keys <= SCORES);
                    assert!(12 * queries * keys <= SCORES);
                    for piece in pieces {
                        assert_eq!(piece.queries.start as isize - piece.first_key, lead);
                        assert!(piece.queries.len() <= queries && piece.first_key <= piece.keys.start as isize);
                        assert!(piece.keys.end as isize <= piece.first_key + keys as isize);
                        let text = offsets.iter().rposition(|&offset| offset as usize == piece.start).unwrap();
                        let all = past + lengths[text] as usize;
                        for query in piece.queries {
                            let wanted = mask.keys(query, all);
                            assert!(piece.keys.start <= wanted.start && wanted.end <= piece.keys.end);
                            assert!(seen.insert(piece.start + query - past));
                        }
                    }
                }
                assert_eq!(seen.len(), lengths.iter().sum::<u32>() as usize);
            }
        }
    }

    #[test]
    fn one_query_of_each_text_is_a_column_of_work() {
        let offsets = offsets(&[10, 100]);
        let of = |mask, biased| Cut { rows: Some(&[9, 109]), biased, ..cut(&offsets, mask) }.rectangles();
        let causal = of(Mask::Causal, false);
        assert_eq!((causal.len(), causal[0].queries, causal[0].keys, causal[0].lead), (1, 1, 112, 0));
        // Places of queries count where there is a bias.
        assert_eq!(of(Mask::Full, true).iter().map(|one| one.lead).collect::<Vec<_>>(), [9, 99]);
        let window = of(Mask::Window(3), false);
        assert_eq!(window[0].pieces[1], Piece { start: 10, queries: 99..100, first_key: 96, keys: 96..100 });
    }

    /// Over many batches the sizes of rectangles, and so the shapes of operations, stay few.
    #[test]
    fn a_thousand_batches_have_few_shapes() {
        let mut random = 7_u64;
        let mut next = |most: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % most
        };
        let mut shapes = BTreeSet::new();
        for _ in 0..1000 {
            let lengths: Vec<u32> = (0..1 + next(40)).map(|_| 1 + next(2048) as u32).collect();
            let rectangles = cut(&offsets(&lengths), Mask::Full).rectangles();
            shapes.extend(rectangles.iter().map(|one| (one.queries, one.keys)));
        }
        // A text's queries and keys are as many: 8 sizes up to 128, four for each doubling up to 2048. Those of the last two sizes are
        // too many for a rectangle, and are cut into one of 1024 and the rest.
        assert!(shapes.len() <= 8 + 4 * 4 + 2 * 5, "{shapes:?}");
    }
}
