//! How much is tokenized ahead, and at a time.

use crate::text::{Input, Tokens};

/// Inputs are tokenized this many, or this many bytes of them, ahead of the network: so memory stays bounded.
const WINDOW_INPUTS: usize = 4096;
const WINDOW_BYTES: usize = 1 << 20;

/// Bytes of text that one thread tokenizes at a time.
const PIECE_BYTES: usize = 16 << 10;

/// Inputs, and where their tokens go.
pub(super) struct Piece<'a> {
    pub(super) inputs: &'a [Input<'a>],
    pub(super) tokens: &'a mut [Option<Tokens>],
}

/// How many of the first inputs have at most so many bytes together, one at least where there is any.
fn count_within(inputs: &[Input], most: usize) -> usize {
    let mut bytes = 0;
    let fits = |input: &&Input| {
        bytes += input.bytes();
        bytes <= most
    };
    inputs.iter().take_while(fits).count().max(1).min(inputs.len())
}

/// Cuts inputs so that neither their number nor their bytes are large; a longer input is a window of its own.
pub(super) fn windows<'a, 't>(mut rest: &'a [Input<'t>]) -> impl Iterator<Item = &'a [Input<'t>]> {
    std::iter::from_fn(move || {
        let count = count_within(&rest[..rest.len().min(WINDOW_INPUTS)], WINDOW_BYTES);
        let (window, later) = rest.split_at(count);
        rest = later;
        (!window.is_empty()).then_some(window)
    })
}

/// Cuts inputs into pieces that one thread tokenizes at a time.
pub(super) fn pieces<'a>(mut inputs: &'a [Input<'a>], mut tokens: &'a mut [Option<Tokens>]) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    while !inputs.is_empty() {
        let (now, later) = inputs.split_at(count_within(inputs, PIECE_BYTES));
        let (now_tokens, later_tokens) = tokens.split_at_mut(now.len());
        pieces.push(Piece { inputs: now, tokens: now_tokens });
        (inputs, tokens) = (later, later_tokens);
    }
    pieces
}

/// After every piece is done.
pub(super) fn all(tokens: Vec<Option<Tokens>>) -> Vec<Tokens> {
    tokens.into_iter().map(|tokens| tokens.expect("every piece was done")).collect()
}
