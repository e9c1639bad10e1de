//! What a call is about, for as long as the call lasts.

use crate::text::Input;

/// The inputs of a call, kept alive by whoever computes them: the caller need not wait.
pub trait Inputs: Send + Sync {
    fn len(&self) -> usize;

    fn get(&self, i: usize) -> Input<'_>;

    /// Position of an input in what the caller gave, for messages.
    fn position(&self, i: usize) -> usize {
        i
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inputs for Vec<String> {
    fn len(&self) -> usize {
        self.len()
    }

    fn get(&self, i: usize) -> Input<'_> {
        Input::Text(&self[i])
    }
}

impl Inputs for Vec<(String, String)> {
    fn len(&self) -> usize {
        self.len()
    }

    fn get(&self, i: usize) -> Input<'_> {
        Input::Pair(&self[i].0, &self[i].1)
    }
}
