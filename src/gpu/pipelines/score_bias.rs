//! What attention adds to its scores, in a device's memory.

use crate::Result;
use crate::gpu::context::Context;
use crate::gpu::device_array::DeviceArray;
use crate::gpu::pipelines::weights::vector;

/// A number for each head and two tokens.
pub struct ScoreBias {
    pub(super) kind: ScoreBiasKind,
    /// Distances beyond it count as this one.
    pub(super) far: usize,
}

pub(super) enum ScoreBiasKind {
    /// `[heads, 2 * far + 1]`
    Distance(DeviceArray),
    /// `[2 * far + 1]`: rows of the tables.
    Disentangled { buckets: DeviceArray, tables: DeviceArray, terms: Terms },
}

/// Which products with the embedding of a distance count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// Rows of a table.
    pub(super) rows: usize,
    pub(super) of_queries: bool,
    pub(super) of_keys: bool,
}

impl ScoreBias {
    /// Whether there is anything to add.
    pub(super) fn adds(&self) -> bool {
        match &self.kind {
            ScoreBiasKind::Distance(_) => true,
            ScoreBiasKind::Disentangled { terms, .. } => terms.of_queries || terms.of_keys,
        }
    }

    /// By distance alone: `values [heads, 2 * far + 1]`, of a key from its query, from `-far` to `far`.
    pub fn by_distance(context: &Context, far: usize, values: &[f32]) -> Result<Self> {
        assert!(values.len().is_multiple_of(2 * far + 1), "a number for each head and distance");
        Ok(Self { kind: ScoreBiasKind::Distance(vector(context, values)?), far })
    }

    /// By the contents of the tokens and the embedding of their distance: `(q_i · r_k[bucket] + k_j · r_q[bucket]) scale`.
    /// `buckets [2 * far + 1]`: the bucket of each distance of a key from its query. `with_queries` (`r_k`) and `with_keys`
    /// (`r_q`), `[buckets, heads, head_dim]`: what queries, and what keys, are multiplied with.
    pub fn disentangled(
        context: &Context,
        buckets: &[u32],
        [with_queries, with_keys]: [Option<&[f32]>; 2],
        [rows, heads, head_dim]: [usize; 3],
    ) -> Result<Self> {
        assert!(buckets.len() % 2 == 1 && buckets.iter().all(|&row| (row as usize) < rows), "buckets are rows");
        // As invocations read them: sixteen numbers at a time, zeros behind a head's end.
        let padded = head_dim.next_multiple_of(16);
        let mut tables = Vec::new();
        for table in [with_queries, with_keys].into_iter().flatten() {
            assert_eq!(table.len(), rows * heads * head_dim, "a row for each bucket");
            for head in table.chunks_exact(head_dim) {
                tables.extend_from_slice(head);
                tables.resize(tables.len() + padded - head_dim, 0.0);
            }
        }
        let terms = Terms { rows, of_queries: with_queries.is_some(), of_keys: with_keys.is_some() };
        let (buckets_there, tables) = (DeviceArray::of_words(context, buckets)?, vector(context, &tables)?);
        let kind = ScoreBiasKind::Disentangled { buckets: buckets_there, tables, terms };
        Ok(Self { kind, far: buckets.len() / 2 })
    }
}
