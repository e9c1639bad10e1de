//! What a call to a model gives, as Python's objects.

use ::numpy::{PyArray1, PyArray2};
use pyo3::prelude::*;

use crate::engine::{CallResult, Network, OutputRows};
use crate::memory::{with_room, zeroed};
use crate::python::numpy;

/// What the ids of tokens are called where there is no memory for them.
const IDS: &str = "ids of tokens";

/// BatchShape of what a step gives.
#[derive(Clone, Copy)]
pub(super) struct BatchShape {
    pub(super) texts: usize,
    /// Width of a row.
    pub(super) width: usize,
    pub(super) every_token: bool,
    /// Number of chunks, where their rows are wanted in place of hidden states.
    pub(super) chunks: Option<usize>,
}

/// Hidden states `[all tokens, hidden]` or rows of chunks `[chunks, width]`, ids and type ids `[all tokens]`, lengths `[texts]`.
type TokenStates<'py> = (Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Vec<usize>);

/// Rows `[texts, width]`, tokens, rows of texts that were cut, halvings, and the tokens' states where they are wanted.
pub(super) type BatchResult<'py> = (Bound<'py, PyArray2<f32>>, usize, Vec<usize>, usize, Option<TokenStates<'py>>);

impl BatchShape {
    /// New memory for the rows.
    pub(super) fn rows(&self) -> crate::Result<OutputRows> {
        Ok(OutputRows::Owned(zeroed(self.texts.saturating_mul(self.width), "rows of the result")?))
    }
}

/// The end of a call, with rows of its own, of this shape, as Python's objects.
pub(super) fn batch_result<'py>(
    py: Python<'py>,
    network: &Network,
    finished: CallResult,
    shape: BatchShape,
) -> PyResult<BatchResult<'py>> {
    let CallResult { output, report, tokens } = finished;
    let OutputRows::Owned(rows) = output.rows else { unreachable!("new rows stay new") };
    let rows = numpy::matrix(py, rows, shape.texts, shape.width)?;
    let states = || {
        let mut ids = with_room(report.tokens, IDS)?;
        ids.extend(tokens.iter().flat_map(|tokens| &tokens.ids).map(|&id| i64::from(id)));
        let type_id = |i: usize, t: usize| tokens[i].type_ids.as_ref().map_or(0, |ids| i64::from(ids[t]));
        let type_ids = (0..tokens.len()).flat_map(|i| (0..tokens[i].len()).map(move |t| (i, t)));
        let mut all_type_ids = with_room(report.tokens, IDS)?;
        all_type_ids.extend(type_ids.map(|(i, t)| type_id(i, t)));
        let lengths = tokens.iter().map(|tokens| tokens.len()).collect();
        let (rows, width) = shape.chunks.map_or((report.tokens, network.hidden_size()), |chunks| (chunks, shape.width));
        let hidden = numpy::matrix(py, output.hidden.unwrap_or_default(), rows, width)?;
        PyResult::Ok((hidden, numpy::vector(py, ids), numpy::vector(py, all_type_ids), lengths))
    };
    let states = shape.every_token.then(states).transpose()?;
    Ok((rows, report.tokens, report.truncated, report.halved, states))
}
