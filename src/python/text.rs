//! Python's strings, borrowed for a call.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyList, PyString};

use crate::memory::with_room;
use crate::python::forks::Returned;
use crate::text::{Input, Inputs};

/// Strings that keep their objects alive and so outlast the interpreter's lock.
pub(super) struct BorrowedTexts {
    first: Returned<Vec<PyBackedStr>>,
    /// As many, or none where each text stands for itself.
    second: Option<Returned<Vec<PyBackedStr>>>,
    /// Position of the first in what the caller gave.
    start: usize,
}

impl BorrowedTexts {
    /// `start` is the position of the first for messages.
    pub(super) fn texts(texts: &Bound<'_, PyList>, start: usize) -> PyResult<Self> {
        Self::named("sentences", texts, start)
    }

    /// As [`Self::texts`], of an argument of that name.
    pub(super) fn named(name: &str, texts: &Bound<'_, PyList>, start: usize) -> PyResult<Self> {
        let first = borrow(texts, &|i| format!("{name}[{}]", start + i))?;
        Ok(Self { first: Returned::new(first), second: None, start })
    }

    /// Pairs of a text of each list, which must be of one length.
    pub(super) fn pairs(first: &Bound<'_, PyList>, second: &Bound<'_, PyList>, start: usize) -> PyResult<Self> {
        let name = |part: usize| move |i: usize| format!("inputs[{}][{part}]", start + i);
        let (first, second) = (borrow(first, &name(0))?, borrow(second, &name(1))?);
        if first.len() != second.len() {
            let message = format!("inputs: {} first texts and {} second ones", first.len(), second.len());
            return Err(PyValueError::new_err(message));
        }
        Ok(Self { first: Returned::new(first), second: Some(Returned::new(second)), start })
    }
}

impl Inputs for BorrowedTexts {
    fn len(&self) -> usize {
        self.first.len()
    }

    fn position(&self, i: usize) -> usize {
        self.start + i
    }

    fn get(&self, i: usize) -> Input<'_> {
        match &self.second {
            None => Input::Text(&self.first[i]),
            Some(second) => Input::Pair(&self.first[i], &second[i]),
        }
    }
}

/// `name` is what messages call the text at a position.
fn borrow(texts: &Bound<'_, PyList>, name: &dyn Fn(usize) -> String) -> PyResult<Vec<PyBackedStr>> {
    let borrow_one = |(i, text): (usize, Bound<'_, PyAny>)| {
        let text = text.cast_into::<PyString>().map_err(|error| {
            let kind = error.into_inner().get_type().name().map_or("?".to_owned(), |name| name.to_string());
            PyTypeError::new_err(format!("{}: expected a str, found {kind}", name(i)))
        })?;
        PyBackedStr::try_from(text).map_err(|_| {
            let message =
                "holds a lone surrogate, which is no text; text.encode('utf-8', 'replace').decode() replaces it";
            PyValueError::new_err(format!("{}: {message}", name(i)))
        })
    };
    let mut borrowed = with_room(texts.len(), "the list of texts")?;
    for text in texts.iter().enumerate() {
        borrowed.push(borrow_one(text)?);
    }
    Ok(borrowed)
}
