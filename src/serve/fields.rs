//! Fields that several dialects have: texts, one or many.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// The texts of a request, as they came.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TextField {
    One(String),
    Many(Vec<String>),
    /// The tokens of one text.
    Ids(Vec<u32>),
    /// The tokens of each text.
    ManyIds(Vec<Vec<u32>>),
}

/// The end of a text at which it is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Side {
    Left,
    Right,
}

/// One item of a list of texts.
enum TextItem {
    Text(String),
    Id(u32),
    Ids(Vec<u32>),
}

impl<'de> Deserialize<'de> for TextField {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = TextField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TextField, E> {
                Ok(TextField::One(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<TextField, E> {
                Ok(TextField::One(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<TextField, A::Error> {
                let mixed = || A::Error::custom("expected strings alone, or token ids alone, found both");
                let mut found = match items.next_element()? {
                    None => return Ok(TextField::Many(Vec::new())),
                    Some(TextItem::Text(text)) => TextField::Many(vec![text]),
                    Some(TextItem::Id(id)) => TextField::Ids(vec![id]),
                    Some(TextItem::Ids(ids)) => TextField::ManyIds(vec![ids]),
                };
                while let Some(item) = items.next_element()? {
                    match (&mut found, item) {
                        (TextField::Many(texts), TextItem::Text(text)) => texts.push(text),
                        (TextField::Ids(ids), TextItem::Id(id)) => ids.push(id),
                        (TextField::ManyIds(lists), TextItem::Ids(ids)) => lists.push(ids),
                        _ => return Err(mixed()),
                    }
                }
                Ok(found)
            }
        }
        reader.deserialize_any(TextVisitor)
    }
}

impl<'de> Deserialize<'de> for TextItem {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = TextItem;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TextItem, E> {
                Ok(TextItem::Text(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<TextItem, E> {
                Ok(TextItem::Text(text))
            }

            fn visit_u64<E: Error>(self, id: u64) -> Result<TextItem, E> {
                u32::try_from(id).map(TextItem::Id).map_err(|_| E::custom(format!("{id} is no token id")))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<TextItem, A::Error> {
                let mut ids = Vec::new();
                while let Some(id) = items.next_element()? {
                    ids.push(id);
                }
                Ok(TextItem::Ids(ids))
            }
        }
        reader.deserialize_any(Items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_one_text_or_many() {
        let field = |json: &str| serde_json::from_str::<TextField>(json).map_err(|error| error.to_string());
        assert_eq!(field(r#""a""#), Ok(TextField::One("a".to_owned())));
        assert_eq!(field(r#"["a", "b\n"]"#), Ok(TextField::Many(vec!["a".to_owned(), "b\n".to_owned()])));
        assert_eq!(field("[]"), Ok(TextField::Many(Vec::new())));
        assert_eq!(field("[1, 2]"), Ok(TextField::Ids(vec![1, 2])));
        assert_eq!(field("[[1], []]"), Ok(TextField::ManyIds(vec![vec![1], vec![]])));
        let wrong = |json| field(json).expect_err("is refused");
        assert!(wrong("3").contains("a string or an array of strings"));
        assert!(wrong(r#"["a", 1]"#).contains("found both"));
        assert!(wrong("[null]").contains("expected a string"));
        assert!(wrong("[-1]").contains("expected a string"));
        assert!(wrong("[5000000000]").contains("is no token id"));
    }
}
