//! tokenizer_config.json: what transformers adds to tokenizer.json, or puts in its place.

use crate::Result;
use crate::config::{Architecture, Object};
use crate::hub::{ModelFolder, inside};

/// The end of a text at which tokens beyond the maximum are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TruncationSide {
    Left,
    Right,
}

/// What transformers' `BertTokenizer` does to a text before and after it looks words up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BertTokenizer {
    pub lowercase: bool,
    /// `None`: as `lowercase`.
    pub strip_accents: Option<bool>,
    pub handle_chinese_chars: bool,
    /// Comes before every text.
    pub cls_token: String,
    /// Comes after every text.
    pub sep_token: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizerConfig {
    /// In tokens, with the special ones; `None` for no limit.
    pub model_max_length: Option<usize>,
    /// `None`: the side that tokenizer.json truncates at, else the right one.
    pub truncation_side: Option<TruncationSide>,
    /// Replaces the normalizer, the pre-tokenizer and the post-processor of tokenizer.json. Where the tokenizer's class
    /// is transformers' `BertTokenizer`, it is these keys that count, with their defaults, and not the file.
    pub bert: Option<BertTokenizer>,
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
        let source = |key: &str| if arguments.contains(key) { arguments } else { &file };
        let length =
            if source("model_max_length").contains("model_max_length") { "model_max_length" } else { "max_len" };
        let side = source("truncation_side");
        let truncation_side = match side.text("truncation_side")? {
            None => None,
            Some("left") => Some(TruncationSide::Left),
            Some("right") => Some(TruncationSide::Right),
            Some(other) => {
                let message = format!("expected \"left\" or \"right\", found \"{other}\"");
                return Err(side.error("truncation_side", message));
            }
        };
        let flag = |key: &str| source(key).boolean(key);
        // A token with properties of its own is an object that has the text as its "content".
        let token = |key: &str, default: &str| -> Result<String> {
            let source = source(key);
            let content = match source.object(key) {
                Ok(Some(token)) => token.text("content")?.map(str::to_owned),
                _ => source.text(key)?.map(str::to_owned),
            };
            Ok(content.unwrap_or_else(|| default.to_owned()))
        };
        let bert = BertTokenizer {
            lowercase: flag("do_lower_case")?.unwrap_or(true),
            strip_accents: flag("strip_accents")?,
            handle_chinese_chars: flag("tokenize_chinese_chars")?.unwrap_or(true),
            cls_token: token("cls_token", "[CLS]")?,
            sep_token: token("sep_token", "[SEP]")?,
        };
        let class = file.text("tokenizer_class")?.or(architecture.tokenizer_class.as_deref());
        let is_bert = is_bert_tokenizer(class, &architecture.model_type);
        let inputs = source("model_input_names").texts("model_input_names")?;
        Ok(Self {
            model_max_length: max_length(source(length), length)?,
            truncation_side,
            bert: is_bert.then_some(bert),
            // transformers 5 takes them from BERT's own class by default, and not from the one that reads any file.
            token_type_ids: inputs.map_or(is_bert, |names| names.contains(&"token_type_ids")),
        })
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

/// Whether transformers makes the tokenizer with its own `BertTokenizer`, which keeps only vocabulary and added tokens
/// of tokenizer.json. DistilBERT's class, for one, takes the whole file.
fn is_bert_tokenizer(class: Option<&str>, model_type: &str) -> bool {
    match class {
        Some(class) => matches!(
            class.strip_suffix("Fast").unwrap_or(class),
            "BertTokenizer" | "ElectraTokenizer" | "MobileBertTokenizer" | "SqueezeBertTokenizer"
        ),
        None => matches!(
            model_type,
            "bert" | "convbert" | "distilbert" | "electra" | "ernie" | "megatron-bert" | "nomic_bert" | "squeezebert"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    // Each line was checked against AutoTokenizer.from_pretrained(folder).backend_tokenizer (transformers 5.23) with a
    // tokenizer.json that says otherwise.
    #[test]
    fn a_bert_tokenizer_is_made_from_here() {
        let bert = |lowercase, strip_accents, handle_chinese_chars| {
            let (cls_token, sep_token) = ("[CLS]".to_owned(), "[SEP]".to_owned());
            Some(BertTokenizer { lowercase, strip_accents, handle_chinese_chars, cls_token, sep_token })
        };
        for (text, expected) in [
            ("{}", bert(true, None, true)),
            (r#"{"tokenizer_class": "BertTokenizer"}"#, bert(true, None, true)),
            (r#"{"tokenizer_class": "BertTokenizerFast", "do_lower_case": false}"#, bert(false, None, true)),
            (r#"{"do_lower_case": false}"#, bert(false, None, true)),
            (r#"{"strip_accents": false, "tokenize_chinese_chars": false}"#, bert(true, Some(false), false)),
            (r#"{"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": true}"#, None),
            (r#"{"tokenizer_class": "XLMRobertaTokenizer", "do_lower_case": false}"#, None),
            (r#"{"tokenizer_class": "DistilBertTokenizer", "do_lower_case": false}"#, None),
        ] {
            assert_eq!(read(text).bert, expected, "{text}");
        }
        assert_eq!(read_as("xlm-roberta", "{}", "{}").unwrap().bert, None);
        let tokens = read(r#"{"cls_token": "<s>", "sep_token": {"content": "</s>", "lstrip": false}}"#).bert.unwrap();
        assert_eq!((tokens.cls_token.as_str(), tokens.sep_token.as_str()), ("<s>", "</s>"));
        assert_eq!(
            read_as("bert", r#"{"cls_token": 3}"#, "{}").unwrap_err().to_string(),
            "tokenizer_config.json: cls_token: expected a string, found 3"
        );
    }

    #[test]
    fn token_types_reach_the_network_where_the_class_or_the_file_says_so() {
        for (text, expected) in [
            ("{}", true),
            (r#"{"model_input_names": ["input_ids", "attention_mask"]}"#, false),
            (r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#, false),
            (r#"{"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["token_type_ids"]}"#, true),
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
        assert!(!config.bert.unwrap().lowercase);
    }
}
