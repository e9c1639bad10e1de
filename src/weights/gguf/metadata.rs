//! What a GGUF file says of its model: values by their keys, which are read when they are asked for.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::reader::{Reader, without_end};
use crate::memory::with_room;
use crate::{Error, Result};

/// The longest key.
const MAX_KEY_BYTES: usize = 1 << 12;
/// Most items of an array: eight times the tokens of the largest vocabularies.
const MAX_ITEMS: u64 = 1 << 21;

/// The keys of a file.
pub(crate) struct Metadata<'a> {
    file: &'a str,
    values: BTreeMap<&'a str, StoredValue<'a>>,
}

/// A value as the file has it.
struct StoredValue<'a> {
    kind: ValueKind,
    /// How many there are of it, one after the other; None for one that is no array.
    items: Option<usize>,
    /// At its first item.
    at: Reader<'a>,
}

/// A type of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueKind {
    /// Of so many bytes.
    Unsigned(usize),
    Signed(usize),
    Float(usize),
    Bool,
    Text,
}

impl ValueKind {
    /// The type with this number in a file; None for arrays and for what the format has not.
    fn numbered(id: u32) -> Option<Self> {
        Some(match id {
            0 => Self::Unsigned(1),
            1 => Self::Signed(1),
            2 => Self::Unsigned(2),
            3 => Self::Signed(2),
            4 => Self::Unsigned(4),
            5 => Self::Signed(4),
            6 => Self::Float(4),
            7 => Self::Bool,
            8 => Self::Text,
            10 => Self::Unsigned(8),
            11 => Self::Signed(8),
            12 => Self::Float(8),
            _ => return None,
        })
    }

    /// Bytes of a value; None where they differ.
    fn bytes(self) -> Option<usize> {
        match self {
            Self::Unsigned(bytes) | Self::Signed(bytes) | Self::Float(bytes) => Some(bytes),
            Self::Bool => Some(1),
            Self::Text => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Unsigned(_) | Self::Signed(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Bool => "true or false",
            Self::Text => "a string",
        }
    }
}

/// The number of the type of arrays.
const ARRAY: u32 = 9;

impl<'a> StoredValue<'a> {
    /// Goes over a value; an error says why it cannot be read.
    fn read(reader: &mut Reader<'a>) -> Result<Self, String> {
        let unknown = |id: u32| format!("is of type {id}, which the format does not have");
        let (kind, items) = match reader.u32()? {
            ARRAY => {
                let id = reader.u32()?;
                if id == ARRAY {
                    return Err("is an array of arrays, which is not read".to_owned());
                }
                let kind = ValueKind::numbered(id).ok_or_else(|| unknown(id))?;
                (kind, Some(reader.u64()?))
            }
            id => (ValueKind::numbered(id).ok_or_else(|| unknown(id))?, None),
        };
        if let Some(items) = items.filter(|&items| items > MAX_ITEMS && kind.bytes() != Some(1)) {
            return Err(format!("claims {items} items; at most {MAX_ITEMS} are read"));
        }
        let at = reader.clone();
        let count = items.unwrap_or(1);
        match kind.bytes() {
            Some(bytes) => {
                let all = usize::try_from(count).ok().and_then(|count| count.checked_mul(bytes));
                reader.take(all.ok_or_else(|| format!("claims {count} items"))?)?;
            }
            None => {
                for _ in 0..count {
                    reader.string()?;
                }
            }
        }
        Ok(Self { kind, items: items.map(|items| items as usize), at })
    }

    /// As messages say what is found.
    fn found(&self) -> String {
        match self.items {
            None => self.kind.name().to_owned(),
            Some(items) => format!("a list of {items}"),
        }
    }

    fn integer(&self, reader: &mut Reader<'a>) -> Option<i128> {
        let wide = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |wide, &byte| wide << 8 | u64::from(byte));
        match self.kind {
            ValueKind::Unsigned(bytes) => Some(wide(reader.take(bytes).ok()?).into()),
            ValueKind::Signed(bytes) => {
                let unused = 64 - 8 * bytes as u32;
                Some(((wide(reader.take(bytes).ok()?) << unused).cast_signed() >> unused).into())
            }
            ValueKind::Float(_) | ValueKind::Bool | ValueKind::Text => None,
        }
    }

    fn number(&self, reader: &mut Reader<'a>) -> Option<f64> {
        match self.kind {
            ValueKind::Float(4) => Some(f32::from_le_bytes(reader.take(4).ok()?.try_into().ok()?).into()),
            ValueKind::Float(_) => Some(f64::from_le_bytes(reader.take(8).ok()?.try_into().ok()?)),
            _ => self.integer(reader).map(|integer| integer as f64),
        }
    }

    fn boolean(&self, reader: &mut Reader<'a>) -> Option<bool> {
        match self.kind {
            ValueKind::Bool => match reader.take(1).ok()?[0] {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            },
            _ => None,
        }
    }

    fn text(&self, reader: &mut Reader<'a>) -> Option<&'a str> {
        match self.kind {
            // Of a list each string counts as it is: a zero may be a token.
            ValueKind::Text if self.items.is_none() => str::from_utf8(without_end(reader.string().ok()?)).ok(),
            ValueKind::Text => str::from_utf8(reader.string().ok()?).ok(),
            _ => None,
        }
    }
}

impl<'a> Metadata<'a> {
    /// Goes over the values of so many keys of `file`.
    pub(super) fn read(file: &'a str, reader: &mut Reader<'a>, keys: usize) -> Result<Self> {
        let mut values = BTreeMap::new();
        for i in 0..keys {
            let key = reader.text(MAX_KEY_BYTES);
            let key = key.map_err(|message| Error::model(file, format!("key {i} of {keys}: {message}")))?;
            let value = StoredValue::read(reader).map_err(|message| Error::model_key(file, key, message))?;
            if values.insert(key, value).is_some() {
                return Err(Error::model_key(file, key, "is there twice"));
            }
        }
        Ok(Self { file, values })
    }

    /// What is wrong with `key`.
    pub(crate) fn error(&self, key: &str, message: impl Display) -> Error {
        Error::model_key(self.file, key, message)
    }

    /// Whether the file has `key`.
    pub(crate) fn contains(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Whether `key` has a list.
    pub(crate) fn is_list(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|stored| stored.items.is_some())
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.one(key, "a string", StoredValue::text)
    }

    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.one(key, "true or false", StoredValue::boolean)
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>> {
        self.one(key, "a number", StoredValue::number)
    }

    /// An integer from 0, of whatever width.
    pub(crate) fn integer(&self, key: &str) -> Result<Option<u64>> {
        self.one(key, "an integer from 0", |stored, reader| stored.integer(reader)?.try_into().ok())
    }

    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        self.list(key, "a list of strings", StoredValue::text)
    }

    pub(crate) fn booleans(&self, key: &str) -> Result<Option<Vec<bool>>> {
        self.list(key, "a list of true and false", StoredValue::boolean)
    }

    pub(crate) fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>> {
        self.list(key, "a list of numbers", StoredValue::number)
    }

    pub(crate) fn integers(&self, key: &str) -> Result<Option<Vec<i64>>> {
        self.list(key, "a list of integers", |stored, reader| stored.integer(reader)?.try_into().ok())
    }

    fn one<T>(
        &self,
        key: &str,
        expected: &str,
        value: impl Fn(&StoredValue<'a>, &mut Reader<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(stored) = self.values.get(key) else { return Ok(None) };
        match value(stored, &mut stored.at.clone()).filter(|_| stored.items.is_none()) {
            Some(value) => Ok(Some(value)),
            None => Err(self.error(key, format_args!("expected {expected}, found {}", stored.found()))),
        }
    }

    fn list<T>(
        &self,
        key: &str,
        expected: &str,
        value: impl Fn(&StoredValue<'a>, &mut Reader<'a>) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(stored) = self.values.get(key) else { return Ok(None) };
        let unexpected = || self.error(key, format_args!("expected {expected}, found {}", stored.found()));
        let items = stored.items.ok_or_else(unexpected)?;
        let (mut reader, mut list) = (stored.at.clone(), with_room(items, key)?);
        for i in 0..items {
            let item = value(stored, &mut reader);
            list.push(item.ok_or_else(|| self.error(key, format_args!("expected {expected}, found another at {i}")))?);
        }
        Ok(Some(list))
    }
}
