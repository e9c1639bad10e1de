//! Reading JSON objects with errors that name file and key.

use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::files::{MAX_JSON_BYTES, ModelFolder};
use crate::{Error, Result};

/// Reads the JSON file `relative` of `folder`; `None` if there is no such file.
///
/// Nesting deeper than 128 levels and files of more than [`MAX_JSON_BYTES`] are errors. Where a key comes twice, the last one counts,
/// as in Python.
fn read_json<T: DeserializeOwned>(folder: &ModelFolder, relative: &str) -> Result<Option<T>> {
    let Some(text) = folder.read(relative, MAX_JSON_BYTES)? else { return Ok(None) };
    let value = serde_json::from_slice(&text).map_err(|error| Error::model(relative, error.to_string()))?;
    Ok(Some(value))
}

/// A JSON object that knows where it came from. A key that is absent and one that is `null` read alike, as `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    file: String,
    /// Where in the file: "", or "processor_kwargs.".
    prefix: String,
    fields: Map<String, Value>,
}

impl Object {
    /// The object in `relative`; `None` if there is no such file.
    pub fn read(folder: &ModelFolder, relative: &str) -> Result<Option<Self>> {
        let fields = read_json(folder, relative)?;
        Ok(fields.map(|fields| Self { file: relative.to_owned(), prefix: String::new(), fields }))
    }

    /// The object in `relative`, which the model cannot do without.
    pub fn require(folder: &ModelFolder, relative: &str) -> Result<Self> {
        Self::read(folder, relative)?
            .ok_or_else(|| Error::NotFound { message: format!("{relative} is missing in {}", folder.root().display()) })
    }

    /// The objects in the list `relative`; `None` if there is no such file.
    pub fn read_list(folder: &ModelFolder, relative: &str) -> Result<Option<Vec<Self>>> {
        let list: Option<Vec<Map<String, Value>>> = read_json(folder, relative)?;
        let numbered = |(i, fields)| Self { file: relative.to_owned(), prefix: format!("[{i}]."), fields };
        Ok(list.map(|list| list.into_iter().enumerate().map(numbered).collect()))
    }

    /// An object without keys.
    pub fn empty() -> Self {
        Self { file: String::new(), prefix: String::new(), fields: Map::new() }
    }

    /// The same with this text under `key`.
    pub(super) fn with_text(mut self, key: &str, text: &str) -> Self {
        self.fields.insert(key.to_owned(), text.into());
        self
    }

    /// The file's name relative to the model's folder.
    pub(super) fn name(&self) -> &str {
        &self.file
    }

    /// The file, and the whole name of `key` in it.
    pub fn place(&self, key: &str) -> (String, String) {
        (self.file.clone(), format!("{}{key}", self.prefix))
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// Whether the file has `key`, be it `null`.
    pub fn contains(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    pub fn is_null(&self, key: &str) -> bool {
        self.fields.get(key).is_none_or(Value::is_null)
    }

    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        self.get(key, "a string", Value::as_str)
    }

    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.get(key, "true or false", Value::as_bool)
    }

    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        self.get(key, "a number", Value::as_f64)
    }

    pub fn integer(&self, key: &str, accepted: RangeInclusive<usize>) -> Result<Option<usize>> {
        let in_words = format!("an integer from {} to {}", accepted.start(), accepted.end());
        self.get(key, &in_words, |value| {
            value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| accepted.contains(n))
        })
    }

    /// An integer from 1 to `most`, or the default.
    pub fn size(&self, key: &str, most: usize, default: usize) -> Result<usize> {
        Ok(self.integer(key, 1..=most)?.unwrap_or(default))
    }

    pub fn texts(&self, key: &str) -> Result<Option<Vec<&str>>> {
        self.get(key, "a list of strings", |value| value.as_array()?.iter().map(Value::as_str).collect())
    }

    /// The objects of a list.
    pub fn objects(&self, key: &str) -> Result<Option<Vec<Self>>> {
        let fields = |value: &Value| {
            value.as_array()?.iter().map(Value::as_object).map(Option::<&Map<_, _>>::cloned).collect::<Option<Vec<_>>>()
        };
        let lists = self.get(key, "a list of objects", fields)?;
        let numbered =
            |(i, fields)| Self { file: self.file.clone(), prefix: format!("{}{key}[{i}].", self.prefix), fields };
        Ok(lists.map(|list| list.into_iter().enumerate().map(numbered).collect()))
    }

    pub fn is_list(&self, key: &str) -> bool {
        self.fields.get(key).is_some_and(Value::is_array)
    }

    pub fn is_object(&self, key: &str) -> bool {
        self.fields.get(key).is_some_and(Value::is_object)
    }

    pub fn object(&self, key: &str) -> Result<Option<Self>> {
        let fields = self.get(key, "an object", Value::as_object)?;
        Ok(fields.map(|fields| Self {
            file: self.file.clone(),
            prefix: format!("{}{key}.", self.prefix),
            fields: fields.clone(),
        }))
    }

    /// What is wrong with `key`.
    pub fn error(&self, key: &str, message: impl std::fmt::Display) -> Error {
        Error::model_key(&self.file, format!("{}{key}", self.prefix), message)
    }

    /// `value`, or the error that `key` is missing.
    pub fn required<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.error(key, "missing"))
    }

    pub(super) fn get<'a, T>(
        &'a self,
        key: &str,
        accepted: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.fields.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match convert(value) {
                Some(converted) => Ok(Some(converted)),
                None => Err(self.error(key, format_args!("expected {accepted}, found {}", excerpt(value)))),
            },
        }
    }
}

/// `value` as JSON, cut after 60 characters.
fn excerpt(value: &Value) -> String {
    let text = match value {
        // Not written out: a hostile file's list may be megabytes.
        Value::Array(items) => return format!("a list of {}", items.len()),
        Value::Object(_) => return "an object".to_owned(),
        other => other.to_string(),
    };
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::folder;

    fn object(text: &str) -> Result<Object> {
        let (_root, folder) = folder(&[("config.json", text)]);
        Object::require(&folder, "config.json")
    }

    fn message<T>(result: Result<T>) -> String {
        result.err().expect("an error").to_string()
    }

    #[test]
    fn an_absent_file_is_none_or_an_error_that_names_it() {
        let (root, folder) = folder(&[]);
        assert!(Object::read(&folder, "config.json").unwrap().is_none());
        let error = Object::require(&folder, "config.json").unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }));
        assert_eq!(error.to_string(), format!("config.json is missing in {}", root.path().display()));
    }

    #[test]
    fn absent_and_null_are_none() {
        let file = object(r#"{"a": null}"#).unwrap();
        assert_eq!(file.text("a").unwrap(), None);
        assert_eq!(file.integer("b", 1..=10).unwrap(), None);
    }

    #[test]
    fn wrong_types_name_file_and_key() {
        let file = object(r#"{"a": "x", "b": -1, "c": 1.5, "d": [1], "e": {"f": 3}, "n": 11}"#).unwrap();
        assert_eq!(
            message(file.integer("a", 1..=10)),
            r#"config.json: a: expected an integer from 1 to 10, found "x""#
        );
        assert_eq!(message(file.integer("b", 1..=10)), "config.json: b: expected an integer from 1 to 10, found -1");
        assert_eq!(message(file.integer("c", 1..=10)), "config.json: c: expected an integer from 1 to 10, found 1.5");
        assert_eq!(message(file.integer("n", 1..=10)), "config.json: n: expected an integer from 1 to 10, found 11");
        assert_eq!(message(file.texts("d")), "config.json: d: expected a list of strings, found a list of 1");
        let inner = file.object("e").unwrap().unwrap();
        assert_eq!(message(inner.boolean("f")), "config.json: e.f: expected true or false, found 3");
        assert_eq!(message(file.number("e")), "config.json: e: expected a number, found an object");
        assert_eq!(message(file.required("g", file.text("g").unwrap())), "config.json: g: missing");
    }

    #[test]
    fn a_long_value_is_cut_in_the_message() {
        let file = object(&format!(r#"{{"a": "{}"}}"#, "é".repeat(1000))).unwrap();
        assert!(message(file.number("a")).len() < 250);
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        assert_eq!(object(r#"{"a": 1, "a": 2}"#).unwrap().integer("a", 1..=10).unwrap(), Some(2));
    }

    #[test]
    fn hostile_files_are_refused() {
        for (text, expected) in [
            ("{", "config.json: EOF while parsing"),
            ("", "config.json: EOF while parsing"),
            ("[]", "config.json: invalid type: sequence"),
            (&r#"{"a":"#.repeat(2 << 20), "config.json: recursion limit exceeded"),
            (&" ".repeat((16 << 20) + 1), "config.json: is 16777217 bytes long; at most 16777216 are read"),
        ] {
            let message = message(object(text));
            assert!(message.starts_with(expected), "{message}");
        }
        let (root, folder) = folder(&[]);
        std::fs::write(root.path().join("config.json"), b"{\"a\": \"\xff\"}").unwrap();
        assert!(message(Object::read(&folder, "config.json")).starts_with("config.json: invalid unicode"));
        assert!(message(Object::read(&folder, "../config.json")).contains("outside the model's folder"));
    }
}
