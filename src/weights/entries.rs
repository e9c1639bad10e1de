//! A JSON object of tensors, in which no two may have one name: a safetensors header, or the map of an index.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

/// Bytes of memory that the entries of a header or index take for each byte of the file.
pub(super) const PARSED_BYTES_PER_BYTE: usize = 4;

/// An object's entries, of which no two may have one key; `__metadata__` is left out.
pub(super) struct Entries<V>(pub(super) BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData)).map(Entries)
    }
}

struct EntriesVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for EntriesVisitor<V> {
    type Value = BTreeMap<String, V>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if entries.contains_key(&name) {
                return Err(A::Error::custom(format!("two tensors are named {name:?}")));
            }
            let value = map.next_value()?;
            entries.insert(name, value);
        }
        Ok(entries)
    }
}
