//! The tables of embeddings that tokens are looked up in: of words, and those of positions, of token types and of tasks
//! that a family may have.

use crate::Result;
use crate::models::ids::{positions_after_padding, require_rows};
use crate::nn::{Embedding, Loader, Norm, States};
use crate::text::PackedBatch;

/// The tables of embeddings, each by its number of rows.
#[derive(Clone, Copy)]
pub(super) struct InputTables {
    pub(super) words: usize,
    pub(super) positions: Option<PositionTable>,
    pub(super) types: Option<usize>,
    /// All tokens have its first row.
    pub(super) tasks: Option<usize>,
}

/// A learned table of positions.
#[derive(Debug, Clone, Copy)]
pub(super) struct PositionTable {
    pub(super) rows: usize,
    /// The padding token's id, in families that count positions from it: see [`positions_after_padding`]. Others count
    /// from 0.
    pub(super) padding: Option<u32>,
}

impl InputTables {
    /// A table of words alone, with so many rows.
    pub(super) fn of_words(words: usize) -> Self {
        Self { words, positions: None, types: None, tasks: None }
    }

    /// Loads the tables `at` BERT's names, with `width` columns each; `norm` is that of their sum.
    pub(super) fn load(self, at: &Loader, norm: Option<Norm>, width: usize) -> Result<Embedding> {
        let tables = [
            Some(("word_embeddings", self.words)),
            self.positions.map(|table| ("position_embeddings", table.rows)),
            self.types.map(|rows| ("token_type_embeddings", rows)),
            self.tasks.map(|rows| ("task_type_embeddings", rows)),
        ];
        let tables: Vec<_> = tables.into_iter().flatten().map(|(name, rows)| (at.at(name), rows)).collect();
        Embedding::load(&tables, norm, width)
    }

    /// `[tokens, width]`: what `embedding`, which has these tables, gives for a batch.
    pub(super) fn look_up(self, embedding: &Embedding, batch: &PackedBatch) -> Result<States> {
        let Self { words, positions, types, tasks } = self;
        let own = positions.and_then(|table| table.padding).map(|padding| positions_after_padding(batch, padding));
        let position_ids = own.as_deref().unwrap_or(&batch.positions);
        let first_task = vec![0; if tasks.is_some() { batch.tokens() } else { 0 }];
        let tables = [
            Some((batch.ids.as_slice(), words, "words")),
            positions.map(|table| (position_ids, table.rows, "positions")),
            types.map(|rows| (batch.type_ids.as_slice(), rows, "token types")),
            tasks.map(|rows| (first_task.as_slice(), rows, "tasks")),
        ];
        let mut rows = Vec::new();
        for (ids, rows_of_table, what) in tables.into_iter().flatten() {
            require_rows(ids, rows_of_table, what)?;
            rows.push(ids);
        }
        embedding.forward(&rows)
    }
}
