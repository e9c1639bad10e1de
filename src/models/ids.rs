//! Ids of a batch, which are rows of the model's tables.

use crate::text::PackedBatch;
use crate::{Error, Result};

/// An error where one of `ids` is not below `rows`: a tokenizer's template may give ids that the model has no rows for.
pub(super) fn require_rows(ids: &[u32], rows: usize, what: &str) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= rows) {
        Some(id) => Err(Error::model("tokenizer.json", format!("gives {id} where the model has {rows} {what}"))),
        None => Ok(()),
    }
}

/// Position ids as RoBERTa counts them (`create_position_ids_from_input_ids`), `[tokens]`: a padding token has its own
/// id as its position; any other token has that id and one more for each such token of its text up to itself.
pub(super) fn positions_after_padding(batch: &PackedBatch, padding: u32) -> Vec<u32> {
    let mut positions = Vec::with_capacity(batch.tokens());
    for text in batch.offsets.windows(2) {
        let mut last = padding;
        positions.extend(batch.ids[text[0] as usize..text[1] as usize].iter().map(|&id| {
            if id == padding {
                return padding;
            }
            last += 1;
            last
        }));
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_counted_from_behind_the_padding_token() {
        let batch = PackedBatch { ids: vec![0, 5, 1, 6, 2, 0, 2], offsets: vec![0, 5, 5, 7], ..PackedBatch::default() };
        assert_eq!(positions_after_padding(&batch, 1), [2, 3, 1, 4, 5, 2, 3]);
    }
}
