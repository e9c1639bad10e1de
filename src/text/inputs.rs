//! The inputs of a call: texts and pairs.

/// One input of a model, which it computes one row of numbers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input<'a> {
    Text(&'a str),
    /// A query and a document, say.
    Pair(&'a str, &'a str),
}

/// What the inputs of a model are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    Text,
    Pair,
    /// A pair that a [`Template`](crate::text::Template) makes one text of.
    Question,
}

impl Input<'_> {
    /// Bytes of all of its texts.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Pair(first, second) => first.len() + second.len(),
        }
    }
}

/// The inputs of a call, which the computing threads own: the caller need not wait for them.
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
