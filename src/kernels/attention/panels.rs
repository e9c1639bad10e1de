//! How the keys of a head are cut into panels, which tiles multiply.

use std::ops::Range;

/// The columns of the panel of `width` that key `j` lies in; `padded` keys in all.
#[inline(always)]
pub(super) fn panel_of(j: usize, width: usize, padded: usize) -> Range<usize> {
    let start = j / width * width;
    start..padded.min(start + width)
}

/// The panels of the keys `within`, which are whole panels.
#[inline(always)]
pub(super) fn panels(within: Range<usize>, width: usize, padded: usize) -> impl Iterator<Item = Range<usize>> {
    within.step_by(width).map(move |start| panel_of(start, width, padded))
}

/// Sets the scores of a row, of the keys in `panels`, to minus infinity but for those of `own`.
#[inline(always)]
pub(super) fn mask_row(scores: &mut [f32], panels: Range<usize>, own: Range<usize>) {
    scores[..own.start - panels.start].fill(f32::NEG_INFINITY);
    scores[own.end - panels.start..].fill(f32::NEG_INFINITY);
}
