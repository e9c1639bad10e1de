//! How much is tokenized ahead, and at a time.

use std::ops::Range;

/// Inputs are tokenized this many, or this many bytes of them, ahead of the network: so memory stays bounded.
const WINDOW_INPUTS: usize = 4096;
const WINDOW_BYTES: usize = 1 << 20;

/// Bytes of text that one thread tokenizes at a time.
const PIECE_BYTES: usize = 16 << 10;

/// The first of `inputs`, of so many `bytes` each, that are tokenized ahead together; a long input is alone.
pub(super) fn window(inputs: Range<usize>, bytes: &dyn Fn(usize) -> usize) -> Range<usize> {
    let end = inputs.end.min(inputs.start.saturating_add(WINDOW_INPUTS));
    first_within(inputs.start..end, bytes, WINDOW_BYTES)
}

/// Cuts inputs into pieces that one thread tokenizes at a time.
pub(super) fn pieces(mut inputs: Range<usize>, bytes: &dyn Fn(usize) -> usize) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    while !inputs.is_empty() {
        let piece = first_within(inputs.clone(), bytes, PIECE_BYTES);
        inputs.start = piece.end;
        pieces.push(piece);
    }
    pieces
}

/// The first of `inputs` that have at most so many bytes together, one at least where there is any.
fn first_within(inputs: Range<usize>, bytes: &dyn Fn(usize) -> usize, most: usize) -> Range<usize> {
    let mut sum = 0;
    let fits = |&input: &usize| {
        sum += bytes(input);
        sum <= most
    };
    let count = inputs.clone().take_while(fits).count().max(1).min(inputs.len());
    inputs.start..inputs.start + count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_is_in_one_piece() {
        for bytes in [0, 1, PIECE_BYTES / 2, PIECE_BYTES, 3 * PIECE_BYTES] {
            let pieces = pieces(3..103, &|_| bytes);
            assert_eq!(pieces.iter().cloned().flatten().collect::<Vec<_>>(), (3..103).collect::<Vec<_>>());
            assert!(pieces.iter().all(|piece| piece.len() == 1 || piece.len() * bytes <= PIECE_BYTES));
        }
        assert!(pieces(5..5, &|_| 1).is_empty());
    }

    #[test]
    fn windows_are_bounded() {
        assert_eq!(window(7..100_000, &|_| 1), 7..7 + WINDOW_INPUTS);
        assert_eq!(window(7..100, &|_| WINDOW_BYTES / 4), 7..11);
        assert_eq!(window(7..100, &|_| 2 * WINDOW_BYTES), 7..8);
        assert_eq!(window(7..7, &|_| 1), 7..7);
    }
}
