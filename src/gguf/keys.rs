//! The keys of a GGUF file, of which most have the architecture's name before their own.

use std::fmt::Display;

use crate::weights::{GgufHeader, Metadata};
use crate::{Error, Result};

/// The keys and the tensors' shapes of a file.
pub(super) struct GgufKeys<'a> {
    header: &'a GgufHeader<'a>,
    pub(super) architecture: &'a str,
}

impl<'a> GgufKeys<'a> {
    pub(super) fn new(header: &'a GgufHeader<'a>) -> Result<Self> {
        const KEY: &str = "general.architecture";
        let architecture = header.metadata.text(KEY)?.ok_or_else(|| header.metadata.error(KEY, "missing"))?;
        Ok(Self { header, architecture })
    }

    /// Keys with their whole names.
    pub(super) fn all(&self) -> &'a Metadata<'a> {
        &self.header.metadata
    }

    /// The whole name of one of the architecture's keys.
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    /// What is wrong with one of the architecture's keys.
    pub(super) fn error(&self, key: &str, message: impl Display) -> Error {
        self.all().error(&self.name(key), message)
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.all().contains(&self.name(key))
    }

    pub(super) fn integer(&self, key: &str) -> Result<Option<u64>> {
        self.all().integer(&self.name(key))
    }

    /// An integer, of which a file may have one for each layer, if they are equal.
    pub(super) fn integer_of_layers(&self, key: &str) -> Result<Option<u64>> {
        let name = self.name(key);
        if !self.all().is_list(&name) {
            return self.all().integer(&name);
        }
        let layers = self.all().integers(&name)?.unwrap_or_default();
        match layers.first().map(|&first| (first, u64::try_from(first))) {
            Some((first, Ok(integer))) if layers.iter().all(|&layer| layer == first) => Ok(Some(integer)),
            _ => Err(self.error(key, "differs from layer to layer, which is not supported")),
        }
    }

    pub(super) fn required<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.error(key, "missing"))
    }

    pub(super) fn size(&self, key: &str) -> Result<u64> {
        self.required(key, self.integer(key)?)
    }

    /// A number that is to be positive.
    pub(super) fn positive(&self, key: &str) -> Result<Option<f64>> {
        match self.all().number(&self.name(key))? {
            Some(number) if !(number > 0.0 && number.is_finite()) => {
                Err(self.error(key, format!("expected a number above 0, found {number}")))
            }
            number => Ok(number),
        }
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.all().boolean(&self.name(key))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.all().text(&self.name(key))
    }

    /// Whether the file has a tensor of this name.
    pub(super) fn has(&self, tensor: &str) -> bool {
        self.header.shape(tensor).is_some()
    }

    /// Rows of a matrix; None if there is no such tensor. A dimension of 1 that no other is before is left out of a file.
    pub(super) fn rows(&self, tensor: &str) -> Option<usize> {
        self.header.shape(tensor).map(|shape| if shape.len() < 2 { 1 } else { shape[0] })
    }

    /// Columns of a matrix; None if there is no such tensor.
    pub(super) fn columns(&self, tensor: &str) -> Option<usize> {
        self.header.shape(tensor)?.last().copied()
    }

    /// What is wrong with a tensor; `message` goes on from its name.
    pub(super) fn tensor_error(&self, tensor: &str, message: impl Display) -> Error {
        self.header.tensor_error(tensor, message)
    }
}
