//! tokenizer_config.json: what transformers adds to tokenizer.json, or puts in its place.

use crate::Result;
use crate::config::class_name::{class_name, is_unsupported};
use crate::config::layers::ConfigLayers;
use crate::config::tokenizer_class::SpecialTokenLayout;
use crate::config::{Architecture, Object, SpecialTokens, TokenizerClass};
use crate::files::{ModelFolder, inside};

/// The end of a text at which tokens beyond the maximum are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TruncationSide {
    Left,
    Right,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizerConfig {
    /// In tokens, with the special ones; `None` for no limit.
    pub model_max_length: Option<usize>,
    /// `None`: the side that tokenizer.json truncates at, else the right one.
    pub truncation_side: Option<TruncationSide>,
    /// Replaces the normalizer, the pre-tokenizer and the post-processor of tokenizer.json. `None`: the file counts.
    pub class: Option<TokenizerClass>,
    /// The class that the files name, where transformers has it and votive does not make it.
    pub unsupported_class: Option<String>,
    pub special_tokens: SpecialTokens,
    /// Whether the name of a special token in a text is text.
    pub split_special_tokens: bool,
    /// Whether the network is told the tokens' types. It sees type 0 everywhere otherwise.
    pub token_type_ids: bool,
}

impl TokenizerConfig {
    /// Reads tokenizer_config.json in the subfolder `path`; `arguments` (a Transformer's `processor_kwargs`) take
    /// precedence over the file.
    pub(super) fn read(
        folder: &ModelFolder,
        path: &str,
        architecture: &Architecture,
        arguments: &Object,
    ) -> Result<Self> {
        let file = Object::read(folder, &inside(path, "tokenizer_config.json"))?.unwrap_or_else(Object::empty);
        let layers = ConfigLayers { arguments, file: &file };
        let length = if layers.object_of("model_max_length").contains("model_max_length") {
            "model_max_length"
        } else {
            "max_len"
        };
        let side = layers.object_of("truncation_side");
        let truncation_side = match side.text("truncation_side")? {
            None => None,
            Some("left") => Some(TruncationSide::Left),
            Some("right") => Some(TruncationSide::Right),
            Some(other) => {
                let message = format!("expected \"left\" or \"right\", found \"{other}\"");
                return Err(side.error("truncation_side", message));
            }
        };
        let named = file.text("tokenizer_class")?.or(architecture.tokenizer_class.as_deref());
        let name = class_name(&architecture.model_type, named);
        let beside = |name: &str| Object::read(folder, &inside(path, name));
        let (map, added) = (beside("special_tokens_map.json")?, beside("added_tokens.json")?);
        let special_tokens = SpecialTokens::read(&layers, map.as_ref(), added.as_ref())?;
        let class = TokenizerClass::read(name, &layers, &special_tokens)?;
        // transformers 5 takes them from BERT's own class by default, and not from the one that reads any file.
        let types = name != "DistilBertTokenizer"
            && class.as_ref().is_some_and(|class| class.layout == SpecialTokenLayout::Bert);
        let inputs = layers.object_of("model_input_names").texts("model_input_names")?;
        Ok(Self {
            model_max_length: max_length(layers.object_of(length), length)?,
            truncation_side,
            class,
            unsupported_class: is_unsupported(name).then(|| name.to_owned()),
            special_tokens,
            split_special_tokens: layers
                .object_of("split_special_tokens")
                .boolean("split_special_tokens")?
                .unwrap_or(false),
            token_type_ids: inputs.map_or(types, |names| names.contains(&"token_type_ids")),
        })
    }
}

impl TokenizerConfig {
    /// The tokens that the class has and no file names.
    pub fn class_tokens(&self) -> Vec<String> {
        let Some(class) = &self.class else { return Vec::new() };
        let named: Vec<_> = self.special_tokens.all().collect();
        let own = class.special_tokens.all().filter(|token| !named.contains(token));
        own.map(str::to_owned).collect()
    }
}

/// A number of tokens, or what stands for "no limit": nothing, or more than 1e20 (transformers writes 1e30).
pub(super) fn max_length(object: &Object, key: &str) -> Result<Option<usize>> {
    match object.number(key)? {
        Some(length) if length < 1.0 || (length <= 1e20 && length.fract() != 0.0) => {
            Err(object.error(key, format!("expected a number of tokens, found {length}")))
        }
        Some(length) if length <= 1e20 => Ok(Some(length as usize)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Splitting;
    use crate::config::testing::folder;

    fn read_as(model_type: &str, text: &str, arguments: &str) -> Result<TokenizerConfig> {
        let config = format!(r#"{{"model_type": "{model_type}"}}"#);
        let (_root, folder) =
            folder(&[("config.json", &config), ("tokenizer_config.json", text), ("arguments.json", arguments)]);
        let arguments = Object::require(&folder, "arguments.json")?;
        TokenizerConfig::read(&folder, "", &Architecture::read(&folder, "")?, &arguments)
    }

    fn read(text: &str) -> TokenizerConfig {
        read_as("bert", text, "{}").unwrap()
    }

    #[test]
    fn lengths() {
        for (text, length) in [
            ("{}", None),
            (r#"{"model_max_length": 512}"#, Some(512)),
            (r#"{"model_max_length": 512.0}"#, Some(512)),
            (r#"{"model_max_length": 1000000000000000019884624838656}"#, None),
            (r#"{"model_max_length": 1e30}"#, None),
            (r#"{"model_max_length": null}"#, None),
            (r#"{"max_len": 77}"#, Some(77)),
            (r#"{"max_len": 77, "model_max_length": 99}"#, Some(99)),
            (r#"{"max_len": 77, "model_max_length": null}"#, None),
        ] {
            assert_eq!(read(text).model_max_length, length, "{text}");
        }
        for text in [r#"{"model_max_length": -1}"#, r#"{"model_max_length": 0}"#, r#"{"model_max_length": 1.5}"#] {
            let message = read_as("bert", text, "{}").unwrap_err().to_string();
            assert!(message.starts_with("tokenizer_config.json: model_max_length: expected a number of tokens"));
        }
        assert_eq!(
            read_as("bert", r#"{"model_max_length": "512"}"#, "{}").unwrap_err().to_string(),
            "tokenizer_config.json: model_max_length: expected a number, found \"512\""
        );
    }

    #[test]
    fn sides() {
        assert_eq!(read("{}").truncation_side, None);
        assert_eq!(read(r#"{"truncation_side": "left"}"#).truncation_side, Some(TruncationSide::Left));
        assert_eq!(
            read_as("bert", r#"{"truncation_side": "top"}"#, "{}").unwrap_err().to_string(),
            "tokenizer_config.json: truncation_side: expected \"left\" or \"right\", found \"top\""
        );
    }

    #[test]
    fn token_types_reach_the_network_where_the_class_or_the_file_says_so() {
        for (text, expected) in [
            ("{}", true),
            (r#"{"model_input_names": ["input_ids", "attention_mask"]}"#, false),
            (r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#, false),
            (r#"{"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["token_type_ids"]}"#, true),
            (r#"{"tokenizer_class": "ElectraTokenizer"}"#, true),
            (r#"{"tokenizer_class": "DistilBertTokenizer"}"#, false),
            (r#"{"tokenizer_class": "MPNetTokenizer"}"#, false),
            (r#"{"tokenizer_class": "RobertaTokenizer"}"#, false),
            (r#"{"tokenizer_class": "XLMRobertaTokenizer"}"#, false),
        ] {
            assert_eq!(read(text).token_type_ids, expected, "{text}");
        }
    }

    #[test]
    fn arguments_beat_the_file() {
        let file = r#"{"model_max_length": 512, "truncation_side": "right", "do_lower_case": true}"#;
        let arguments = r#"{"model_max_length": 64, "truncation_side": "left", "do_lower_case": false}"#;
        let config = read_as("bert", file, arguments).unwrap();
        assert_eq!((config.model_max_length, config.truncation_side), (Some(64), Some(TruncationSide::Left)));
        let splitting = config.class.unwrap().splitting;
        assert!(matches!(splitting, Splitting::Words { lowercase: false, .. }), "{splitting:?}");
    }
}
