//! The chat template of a model's tokenizer: what sentence-transformers puts around texts and pairs.

use std::collections::BTreeMap;

use crate::config::Object;
use crate::files::{ModelFolder, inside};
use crate::{Error, Result};

/// Templates are kilobytes.
const MAX_TEMPLATE_BYTES: u64 = 1 << 20;

/// Names of special tokens, which a template may use.
const SPECIAL_TOKENS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// A template and what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTemplateConfig {
    /// Jinja.
    pub source: String,
    /// The file that it stands in, relative to the model's folder.
    pub file: String,
    /// The key of that file, where it is a JSON file.
    pub key: Option<&'static str>,
    /// Whether a message's content is a list of parts, of which the text is one.
    pub structured: bool,
    /// Special tokens by their names in tokenizer_config.json.
    pub special_tokens: BTreeMap<String, String>,
}

impl ChatTemplateConfig {
    /// Reads chat_template.jinja in the subfolder `path`, else what tokenizer_config.json holds; None where neither is there.
    /// `format`: what the module's file says of messages ("flat", "structured" or "auto").
    pub(super) fn read(folder: &ModelFolder, path: &str, format: &str) -> Result<Option<Self>> {
        let config = Object::read(folder, &inside(path, "tokenizer_config.json"))?.unwrap_or_else(Object::empty);
        let own = inside(path, "chat_template.jinja");
        let (source, file, key, is_list) = match read_text(folder, &own)? {
            Some(source) => (source, own, None, false),
            None => match listed(&config)? {
                Some((source, is_list)) => {
                    (source, inside(path, "tokenizer_config.json"), Some("chat_template"), is_list)
                }
                None => return Ok(None),
            },
        };
        let structured = match format {
            "structured" => true,
            "flat" => false,
            // Its own guess, by the words of the template.
            _ => {
                let signs = ["content[0]", ".type", "'type'", "\"type\"", "message.content["];
                is_list || source.is_empty() || signs.iter().any(|sign| source.contains(sign))
            }
        };
        let map = Object::read(folder, &inside(path, "special_tokens_map.json"))?.unwrap_or_else(Object::empty);
        let mut special_tokens = BTreeMap::new();
        for name in SPECIAL_TOKENS {
            if let Some(token) = special_token(&config, name)?.or(special_token(&map, name)?) {
                special_tokens.insert(name.to_owned(), token);
            }
        }
        Ok(Some(Self { source, file, key, structured, special_tokens }))
    }
}

fn read_text(folder: &ModelFolder, relative: &str) -> Result<Option<String>> {
    let Some(text) = folder.read(relative, MAX_TEMPLATE_BYTES)? else { return Ok(None) };
    String::from_utf8(text).map(Some).map_err(|error| Error::model(relative, error.to_string()))
}

/// The template in tokenizer_config.json, and whether it is one of a list of named ones: then the one named "default".
fn listed(config: &Object) -> Result<Option<(String, bool)>> {
    if !config.is_list("chat_template") {
        return Ok(config.text("chat_template")?.map(|source| (source.to_owned(), false)));
    }
    for entry in config.objects("chat_template")?.unwrap_or_default() {
        if entry.text("name")? == Some("default") {
            let source = entry.required("template", entry.text("template")?)?.to_owned();
            return Ok(Some((source, true)));
        }
    }
    Err(config.error("chat_template", "none of the templates is named \"default\""))
}

/// A token that is written as text, or as an object with its content.
fn special_token(file: &Object, name: &str) -> Result<Option<String>> {
    if file.is_object(name)
        && let Some(token) = file.object(name)?
    {
        return Ok(token.text("content")?.map(str::to_owned));
    }
    Ok(file.text(name)?.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::folder;

    fn read(files: &[(&str, &str)], format: &str) -> Result<Option<ChatTemplateConfig>> {
        let (_root, folder) = folder(files);
        ChatTemplateConfig::read(&folder, "", format)
    }

    #[test]
    fn the_first_place_counts() {
        let config = (
            "tokenizer_config.json",
            r#"{"chat_template": "{{ messages }}", "eos_token": {"content": "</s>"}, "pad_token": "<pad>", "bos_token": null}"#,
        );
        assert_eq!(read(&[], "auto").unwrap(), None);
        let found = read(&[config], "auto").unwrap().unwrap();
        assert_eq!((found.source.as_str(), found.structured), ("{{ messages }}", false));
        assert_eq!((found.file.as_str(), found.key), ("tokenizer_config.json", Some("chat_template")));
        let tokens: Vec<_> = found.special_tokens.iter().map(|(name, token)| (name.as_str(), token.as_str())).collect();
        assert_eq!(tokens, [("eos_token", "</s>"), ("pad_token", "<pad>")]);
        let own = read(&[config, ("chat_template.jinja", "{{ messages[0].content[0].text }}")], "auto");
        let own = own.unwrap().unwrap();
        assert_eq!((own.file.as_str(), own.key, own.structured), ("chat_template.jinja", None, true));
        assert!(!read(&[("chat_template.jinja", "content[0]")], "flat").unwrap().unwrap().structured);
    }

    #[test]
    fn of_a_list_the_default_counts() {
        let list = r#"{"chat_template": [{"name": "tool", "template": "t"}, {"name": "default", "template": "d"}]}"#;
        let found = read(&[("tokenizer_config.json", list)], "auto").unwrap().unwrap();
        assert_eq!((found.source.as_str(), found.structured), ("d", true));
        let list = r#"{"chat_template": [{"name": "tool", "template": "t"}]}"#;
        let message = read(&[("tokenizer_config.json", list)], "auto").unwrap_err().to_string();
        assert_eq!(message, "tokenizer_config.json: chat_template: none of the templates is named \"default\"");
    }
}
