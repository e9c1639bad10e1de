//! The class of a tokenizer, which counts for more than its file.

use tokenizers::AddedToken;

use crate::Result;
use crate::config::class_name::ClassName;
use crate::config::layers::ConfigLayers;
use crate::config::special_tokens::SpecialTokens;

/// A tokenizer that transformers makes itself, with only the vocabulary and the added tokens of tokenizer.json: for the rest, the
/// keys of tokenizer_config.json count with the defaults of its class, and not the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizerClass {
    pub vocabulary: VocabularyFile,
    pub splitting: Splitting,
    pub layout: SpecialTokenLayout,
    /// Comes before every text.
    pub first_token: String,
    /// Comes after every text.
    pub last_token: String,
    /// Stands for what the vocabulary has no pieces for.
    pub unknown_token: String,
    /// Those that the files name, and the class's own in place of others.
    pub special_tokens: SpecialTokens,
}

/// The file that has the vocabulary where there is no tokenizer.json.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VocabularyFile {
    /// vocab.txt
    Words,
    /// vocab.json and merges.txt
    Merges,
    /// sentencepiece.bpe.model, with the special tokens of fairseq in front
    XlmRoberta,
    /// sentencepiece.bpe.model, with other special tokens in front
    Camembert,
    /// spm.model as it is, which names this id for what is unknown where no piece of that name has no score
    DebertaV2 { unknown: usize },
    /// spiece.model, with so many tokens behind it, which stand for parts of a text that are left out
    T5 { extra_ids: usize },
}

impl VocabularyFile {
    /// The file's name, or that of the first of two.
    pub fn name(self) -> &'static str {
        match self {
            Self::Words => "vocab.txt",
            Self::Merges => "vocab.json",
            Self::XlmRoberta | Self::Camembert => "sentencepiece.bpe.model",
            Self::DebertaV2 { .. } => "spm.model",
            Self::T5 { .. } => "spiece.model",
        }
    }
}

impl VocabularyFile {
    /// The tokens of T5 that stand for what is left out of a text, in the order of their numbers.
    pub fn extra_ids(self) -> impl DoubleEndedIterator<Item = String> {
        let count = match self {
            Self::T5 { extra_ids } => extra_ids,
            _ => 0,
        };
        (0..count).map(|number| format!("<extra_id_{number}>"))
    }
}

/// The most tokens of T5 that tokenizer_config.json may ask for; it has 100.
const MAX_EXTRA_IDS: usize = 1 << 16;

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
    /// Into bytes that are merged, once characters are composed, as Qwen does since its second version.
    ComposedBytes {
        /// As above.
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
pub enum SpecialTokenLayout {
    /// One token between the texts of a pair, and type 1 for the second text.
    Bert,
    /// Two tokens between the texts of a pair, and type 0 for all.
    Roberta,
    /// One token behind each text, and type 0 for all.
    T5,
    /// That of tokenizer.json. Without that file, each text is between the first and the last token, where they are not "".
    File,
}

impl TokenizerClass {
    /// The class `name`, of which the files name `tokens`; None if it is not one of those that votive makes.
    pub(super) fn read(name: &str, layers: &ConfigLayers, tokens: &SpecialTokens) -> Result<Option<Self>> {
        let Some(name) = ClassName::parse(name) else { return Ok(None) };
        let mut tokens = tokens.clone();
        let flag = |key: &str| layers.object_of(key).boolean(key);
        let words = || -> Result<Splitting> {
            Ok(Splitting::Words {
                lowercase: flag("do_lower_case")?.unwrap_or(true),
                strip_accents: flag("strip_accents")?,
                handle_chinese_chars: flag("tokenize_chinese_chars")?.unwrap_or(true),
            })
        };
        let add_prefix_space = flag("add_prefix_space")?;
        let (vocabulary, splitting, layout) = match name {
            ClassName::Bert => (VocabularyFile::Words, words()?, SpecialTokenLayout::Bert),
            ClassName::Mpnet => (VocabularyFile::Words, words()?, SpecialTokenLayout::Roberta),
            ClassName::Roberta => {
                let splitting = Splitting::Bytes { add_prefix_space: add_prefix_space.unwrap_or(false) };
                (VocabularyFile::Merges, splitting, SpecialTokenLayout::Roberta)
            }
            ClassName::Qwen2 => {
                let splitting = Splitting::ComposedBytes { add_prefix_space: add_prefix_space.unwrap_or(false) };
                (VocabularyFile::Merges, splitting, SpecialTokenLayout::File)
            }
            ClassName::XlmRoberta | ClassName::Camembert => {
                let splitting = Splitting::Pieces { add_prefix_space: add_prefix_space.unwrap_or(true) };
                let xlm_roberta = name == ClassName::XlmRoberta;
                let file = if xlm_roberta { VocabularyFile::XlmRoberta } else { VocabularyFile::Camembert };
                (file, splitting, SpecialTokenLayout::Roberta)
            }
            ClassName::DebertaV2 => {
                let splitting = Splitting::EvenPieces {
                    lowercase: flag("do_lower_case")?.unwrap_or(false),
                    split_by_punct: flag("split_by_punct")?.unwrap_or(false),
                    add_prefix_space: add_prefix_space.unwrap_or(true),
                };
                let unknown = layers.object_of("unk_id").integer("unk_id", 0..=u32::MAX as usize)?.unwrap_or(1);
                (VocabularyFile::DebertaV2 { unknown }, splitting, SpecialTokenLayout::Bert)
            }
            ClassName::T5 => {
                let extra_ids = layers.object_of("extra_ids").integer("extra_ids", 0..=MAX_EXTRA_IDS)?.unwrap_or(100);
                let splitting = Splitting::Pieces { add_prefix_space: true };
                (VocabularyFile::T5 { extra_ids }, splitting, SpecialTokenLayout::T5)
            }
        };

        let defaults = name.defaults();
        for (key, content) in defaults {
            tokens.default_to(key, content);
        }
        match name {
            // transformers makes objects of these names, which are searched for in the normalized text, then.
            ClassName::Mpnet => {
                for (key, _) in defaults {
                    tokens.describe(key, |token| token.normalized(true).lstrip(*key == "mask_token"));
                }
            }
            ClassName::Camembert => {
                tokens.describe("mask_token", |token| token.lstrip(true));
                if tokens.extra.is_none() {
                    let unused = ["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"];
                    tokens.default_extra = unused.map(|content| AddedToken::from(content, true)).to_vec();
                }
            }
            ClassName::T5 => {
                if tokens.extra.is_none() {
                    tokens.default_extra = vocabulary.extra_ids().map(|token| AddedToken::from(token, true)).collect();
                }
            }
            ClassName::Bert | ClassName::Roberta | ClassName::XlmRoberta | ClassName::DebertaV2 | ClassName::Qwen2 => {}
        }
        let content = |key: &str| {
            let default = defaults.iter().find(|(name, _)| *name == key).map_or("", |(_, content)| content);
            tokens.content(key).unwrap_or(default).to_owned()
        };
        let [first, last] = match (layout, splitting.clone()) {
            (SpecialTokenLayout::File, _) => {
                let wanted = [flag("add_bos_token")?, flag("add_eos_token")?].map(|flag| flag.unwrap_or(false));
                let [bos, eos] = ["bos_token", "eos_token"].map(content);
                [if wanted[0] { bos } else { String::new() }, if wanted[1] { eos } else { String::new() }]
            }
            (SpecialTokenLayout::T5, _) => [String::new(), content("eos_token")],
            (_, Splitting::Pieces { .. }) => [content("bos_token"), content("eos_token")],
            _ => [content("cls_token"), content("sep_token")],
        };
        let unknown_token = content("unk_token");
        Ok(Some(Self {
            vocabulary,
            splitting,
            layout,
            first_token: first,
            last_token: last,
            unknown_token,
            special_tokens: tokens,
        }))
    }
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

    fn class_of(model_type: &str, text: &str) -> Option<(Splitting, SpecialTokenLayout, String, String)> {
        let class = read(model_type, text).unwrap().class?;
        Some((class.splitting, class.layout, class.first_token, class.last_token))
    }

    // Each line of the following was checked against AutoTokenizer.from_pretrained(folder).backend_tokenizer (transformers 5.23)
    // with a tokenizer.json that says otherwise.
    #[test]
    fn a_bert_tokenizer_is_made_from_here() {
        let bert = |lowercase, strip_accents, handle_chinese_chars| {
            let splitting = Splitting::Words { lowercase, strip_accents, handle_chinese_chars };
            Some((splitting, SpecialTokenLayout::Bert, "[CLS]".to_owned(), "[SEP]".to_owned()))
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
        assert_eq!((tokens.2.as_str(), tokens.3.as_str()), ("<s>", "</s>"));
        assert_eq!(
            read("bert", r#"{"cls_token": 3}"#).unwrap_err().to_string(),
            "tokenizer_config.json: cls_token: expected a string, found 3"
        );
    }

    #[test]
    fn so_is_debertas() {
        let made = |lowercase, split_by_punct, add_prefix_space| {
            let splitting = Splitting::EvenPieces { lowercase, split_by_punct, add_prefix_space };
            Some((splitting, SpecialTokenLayout::Bert, "[CLS]".to_owned(), "[SEP]".to_owned()))
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
            Some((splitting, SpecialTokenLayout::Roberta, first.to_owned(), last.to_owned()))
        };
        let bytes = |add_prefix_space| Splitting::Bytes { add_prefix_space };
        let pieces = |add_prefix_space| Splitting::Pieces { add_prefix_space };
        let words = |lowercase| Splitting::Words { lowercase, strip_accents: None, handle_chinese_chars: true };
        let swapped = r#"{"cls_token": "</s>", "sep_token": "<s>"}"#;
        let ends_alone = Some((pieces(true), SpecialTokenLayout::T5, String::new(), "<e>".to_owned()));
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
            ("t5", r#"{"eos_token": "<e>", "bos_token": "<b>", "cls_token": "<c>"}"#, ends_alone),
            ("roberta", r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#, None),
            ("xlm-roberta-xl", "{}", None),
        ] {
            assert_eq!(class_of(model_type, text), expected, "{model_type} {text}");
        }
    }
}
