//! The chunks of a call's texts, of which late chunking gives a row each.

use std::ops::Range;
use std::sync::Arc;

/// Chunks of the texts of a call, as ranges of a text's tokens: those of all texts, one text after the other.
#[derive(Debug, Clone)]
pub struct ChunkRows {
    /// Tokens of each chunk.
    ranges: Vec<Range<usize>>,
    /// `[texts + 1]`: the first chunk of each text.
    starts: Vec<usize>,
}

impl ChunkRows {
    pub fn new(texts: Vec<Vec<Range<usize>>>) -> Arc<Self> {
        let mut starts = vec![0];
        starts.extend(texts.iter().scan(0, |sum, chunks| {
            *sum += chunks.len();
            Some(*sum)
        }));
        Arc::new(Self { ranges: texts.into_iter().flatten().collect(), starts })
    }

    /// Number of all chunks.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The chunks of a text: the first one's number, and the tokens of each.
    pub(super) fn of(&self, text: usize) -> (usize, &[Range<usize>]) {
        let (start, end) = (self.starts[text], self.starts[text + 1]);
        (start, &self.ranges[start..end])
    }
}
