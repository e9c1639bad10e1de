//! The class of a tokenizer, which counts for more than its file.

use crate::Result;
use crate::config::tokenizer::Keys;

/// A tokenizer that transformers makes itself, with only the vocabulary and the added tokens of tokenizer.json: for the rest, the
/// keys of tokenizer_config.json count with the defaults of its class, and not the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizerClass {
    pub splitting: Splitting,
    pub template: Template,
    /// Comes before every text.
    pub first_token: String,
    /// Comes after every text.
    pub last_token: String,
}

/// What is done to a text before its pieces are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Splitting {
    /// Into words and their pieces, as BERT does.
    Words {
        lowercase: bool,
        /// `None`: as `lowercase`.
        strip_accents: Option<bool>,
        handle_chinese_chars: bool,
    },
    /// Into bytes that are merged, as GPT-2 does.
    Bytes {
        /// Whether a text's first word is looked up as those behind a space are.
        add_prefix_space: bool,
    },
    /// Into pieces of words that know of the space before them, as SentencePiece does.
    Pieces {
        /// As above, for every word behind white space.
        add_prefix_space: bool,
    },
    /// Into such pieces, once all white space is of one kind, as DeBERTa does since its second version.
    EvenPieces {
        lowercase: bool,
        split_by_punct: bool,
        /// For a text, and for what follows a punctuation mark where it is split there; else for a text alone.
        add_prefix_space: bool,
    },
}

/// The order of texts and special tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// One token between the texts of a pair, and type 1 for the second text.
    Bert,
    /// Two tokens between the texts of a pair, and type 0 for all.
    Roberta,
}

impl TokenizerClass {
    /// The class that transformers takes where none is named; "" where that is the one that reads any file.
    pub(super) fn default_name(model_type: &str) -> &'static str {
        match model_type {
            "bert" | "convbert" | "distilbert" | "electra" | "ernie" | "megatron-bert" | "nomic_bert"
            | "squeezebert" => "BertTokenizer",
            "mpnet" => "MPNetTokenizer",
            "roberta" => "RobertaTokenizer",
            "xlm-roberta" => "XLMRobertaTokenizer",
            "camembert" => "CamembertTokenizer",
            "deberta-v2" => "DebertaV2Tokenizer",
            _ => "",
        }
    }

    /// The class `name`; None if it takes the file as it is.
    pub(super) fn read(name: &str, keys: &Keys) -> Result<Option<Self>> {
        let flag = |key: &str| keys.of(key).boolean(key);
        let words = || -> Result<Splitting> {
            Ok(Splitting::Words {
                lowercase: flag("do_lower_case")?.unwrap_or(true),
                strip_accents: flag("strip_accents")?,
                handle_chinese_chars: flag("tokenize_chinese_chars")?.unwrap_or(true),
            })
        };
        let add_prefix_space = flag("add_prefix_space")?;
        let (splitting, template) = match name {
            "BertTokenizer"
            | "DistilBertTokenizer"
            | "ElectraTokenizer"
            | "MobileBertTokenizer"
            | "SqueezeBertTokenizer" => (words()?, Template::Bert),
            "MPNetTokenizer" => (words()?, Template::Roberta),
            "RobertaTokenizer" => {
                (Splitting::Bytes { add_prefix_space: add_prefix_space.unwrap_or(false) }, Template::Roberta)
            }
            "XLMRobertaTokenizer" | "CamembertTokenizer" => {
                (Splitting::Pieces { add_prefix_space: add_prefix_space.unwrap_or(true) }, Template::Roberta)
            }
            "DebertaV2Tokenizer" => {
                let splitting = Splitting::EvenPieces {
                    lowercase: flag("do_lower_case")?.unwrap_or(false),
                    split_by_punct: flag("split_by_punct")?.unwrap_or(false),
                    add_prefix_space: add_prefix_space.unwrap_or(true),
                };
                (splitting, Template::Bert)
            }
            _ => return Ok(None),
        };
        let [first, last] = match splitting {
            Splitting::Pieces { .. } => ["bos_token", "eos_token"],
            Splitting::Words { .. } | Splitting::Bytes { .. } | Splitting::EvenPieces { .. } => {
                ["cls_token", "sep_token"]
            }
        };
        let defaults = match template {
            Template::Bert => ["[CLS]", "[SEP]"],
            Template::Roberta => ["<s>", "</s>"],
        };
        let first_token = token(keys, first, defaults[0])?;
        Ok(Some(Self { splitting, template, first_token, last_token: token(keys, last, defaults[1])? }))
    }
}

/// A special token; one with properties of its own is an object that has the text as its "content".
fn token(keys: &Keys, key: &str, default: &str) -> Result<String> {
    let source = keys.of(key);
    let content = match source.object(key) {
        Ok(Some(token)) => token.text("content")?.map(str::to_owned),
        _ => source.text(key)?.map(str::to_owned),
    };
    Ok(content.unwrap_or_else(|| default.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::folder;
    use crate::config::{Architecture, Object, TokenizerConfig};

    fn read(model_type: &str, text: &str) -> Result<TokenizerConfig> {
        let config = format!(r#"{{"model_type": "{model_type}"}}"#);
        let (_root, folder) = folder(&[("config.json", &config), ("tokenizer_config.json", text)]);
        TokenizerConfig::read(&folder, "", &Architecture::read(&folder, "")?, &Object::empty())
    }

    fn class_of(model_type: &str, text: &str) -> Option<TokenizerClass> {
        read(model_type, text).unwrap().class
    }

    // Each line of the following was checked against AutoTokenizer.from_pretrained(folder).backend_tokenizer (transformers 5.23)
    // with a tokenizer.json that says otherwise.
    #[test]
    fn a_bert_tokenizer_is_made_from_here() {
        let bert = |lowercase, strip_accents, handle_chinese_chars| {
            let splitting = Splitting::Words { lowercase, strip_accents, handle_chinese_chars };
            let (first_token, last_token) = ("[CLS]".to_owned(), "[SEP]".to_owned());
            Some(TokenizerClass { splitting, template: Template::Bert, first_token, last_token })
        };
        for (text, expected) in [
            ("{}", bert(true, None, true)),
            (r#"{"tokenizer_class": "BertTokenizer"}"#, bert(true, None, true)),
            (r#"{"tokenizer_class": "BertTokenizerFast", "do_lower_case": false}"#, bert(false, None, true)),
            (r#"{"tokenizer_class": "DistilBertTokenizer", "do_lower_case": false}"#, bert(false, None, true)),
            (r#"{"tokenizer_class": "ElectraTokenizerFast", "do_lower_case": false}"#, bert(false, None, true)),
            (r#"{"do_lower_case": false}"#, bert(false, None, true)),
            (r#"{"strip_accents": false, "tokenize_chinese_chars": false}"#, bert(true, Some(false), false)),
            (r#"{"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": true}"#, None),
            (r#"{"tokenizer_class": "TokenizersBackend", "do_lower_case": true}"#, None),
        ] {
            for model_type in ["bert", "distilbert", "electra"] {
                assert_eq!(class_of(model_type, text), expected, "{model_type} {text}");
            }
        }
        let tokens = class_of("bert", r#"{"cls_token": "<s>", "sep_token": {"content": "</s>"}}"#).unwrap();
        assert_eq!((tokens.first_token.as_str(), tokens.last_token.as_str()), ("<s>", "</s>"));
        assert_eq!(
            read("bert", r#"{"cls_token": 3}"#).unwrap_err().to_string(),
            "tokenizer_config.json: cls_token: expected a string, found 3"
        );
    }

    #[test]
    fn so_is_debertas() {
        let made = |lowercase, split_by_punct, add_prefix_space| {
            let splitting = Splitting::EvenPieces { lowercase, split_by_punct, add_prefix_space };
            let (first_token, last_token) = ("[CLS]".to_owned(), "[SEP]".to_owned());
            Some(TokenizerClass { splitting, template: Template::Bert, first_token, last_token })
        };
        let changed = r#"{"do_lower_case": true, "split_by_punct": true, "add_prefix_space": false}"#;
        for (text, expected) in [
            ("{}", made(false, false, true)),
            (changed, made(true, true, false)),
            (r#"{"tokenizer_class": "DebertaV2TokenizerFast", "bos_token": "<s>"}"#, made(false, false, true)),
            (r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#, None),
        ] {
            assert_eq!(class_of("deberta-v2", text), expected, "{text}");
            assert_eq!(read("deberta-v2", text).unwrap().token_type_ids, expected.is_some(), "{text}");
        }
    }

    #[test]
    fn so_are_those_of_robertas_family() {
        let made = |splitting, first: &str, last: &str| {
            let (first_token, last_token) = (first.to_owned(), last.to_owned());
            Some(TokenizerClass { splitting, template: Template::Roberta, first_token, last_token })
        };
        let bytes = |add_prefix_space| Splitting::Bytes { add_prefix_space };
        let pieces = |add_prefix_space| Splitting::Pieces { add_prefix_space };
        let words = |lowercase| Splitting::Words { lowercase, strip_accents: None, handle_chinese_chars: true };
        let swapped = r#"{"cls_token": "</s>", "sep_token": "<s>"}"#;
        for (model_type, text, expected) in [
            ("roberta", "{}", made(bytes(false), "<s>", "</s>")),
            ("roberta", r#"{"add_prefix_space": true}"#, made(bytes(true), "<s>", "</s>")),
            ("roberta", swapped, made(bytes(false), "</s>", "<s>")),
            ("bert", r#"{"tokenizer_class": "RobertaTokenizerFast"}"#, made(bytes(false), "<s>", "</s>")),
            ("xlm-roberta", "{}", made(pieces(true), "<s>", "</s>")),
            ("xlm-roberta", r#"{"add_prefix_space": false}"#, made(pieces(false), "<s>", "</s>")),
            ("xlm-roberta", swapped, made(pieces(true), "<s>", "</s>")),
            ("xlm-roberta", r#"{"bos_token": "</s>", "eos_token": "<s>"}"#, made(pieces(true), "</s>", "<s>")),
            ("bert", r#"{"tokenizer_class": "XLMRobertaTokenizer"}"#, made(pieces(true), "<s>", "</s>")),
            ("camembert", "{}", made(pieces(true), "<s>", "</s>")),
            ("mpnet", "{}", made(words(true), "<s>", "</s>")),
            ("mpnet", r#"{"do_lower_case": false, "cls_token": "[CLS]"}"#, made(words(false), "[CLS]", "</s>")),
            ("roberta", r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#, None),
            ("xlm-roberta-xl", "{}", None),
        ] {
            assert_eq!(class_of(model_type, text), expected, "{model_type} {text}");
        }
    }
}
