//! What is computed at a time, and where its results go.

use crate::models::Past;
use crate::text::Tokens;

/// Inputs of one pass, and where their results go.
pub(super) struct Pass<'a> {
    /// What they begin with, and how many tokens that are.
    pub(super) past: Option<(&'a Past, usize)>,
    pub(super) texts: Vec<&'a Tokens>,
    /// `[width]` each
    pub(super) rows: Vec<&'a mut [f32]>,
    /// `[tokens, hidden]` each; empty where nobody wants them.
    pub(super) hidden: Vec<&'a mut [f32]>,
}

/// Where the results of some inputs go, in their order.
pub(super) struct Results<'a> {
    /// `[width]` each
    pub(super) rows: Vec<&'a mut [f32]>,
    /// `[tokens, hidden]` each; empty where nobody wants them.
    pub(super) hidden: Vec<&'a mut [f32]>,
}

/// Inputs and places of results that no pass has taken yet.
pub(super) struct Shelf<'a> {
    tokens: &'a [Tokens],
    rows: Vec<Option<&'a mut [f32]>>,
    hidden: Vec<Option<&'a mut [f32]>>,
}

impl<'a> Shelf<'a> {
    pub(super) fn new(tokens: &'a [Tokens], results: Results<'a>) -> Self {
        let (rows, hidden) = (results.rows.into_iter(), results.hidden.into_iter());
        Self { tokens, rows: rows.map(Some).collect(), hidden: hidden.map(Some).collect() }
    }

    pub(super) fn take<'p>(&mut self, past: Option<(&'p Past, usize)>, members: &[usize]) -> Pass<'p>
    where
        'a: 'p,
    {
        Pass {
            past,
            texts: members.iter().map(|&i| &self.tokens[i]).collect(),
            rows: members.iter().filter_map(|&i| Some(self.rows[i].take()? as &mut [f32])).collect(),
            hidden: members.iter().filter_map(|&i| Some(self.hidden.get_mut(i)?.take()? as &mut [f32])).collect(),
        }
    }
}
