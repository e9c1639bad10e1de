//! Tokenizers against transformers' ids, for every case of `tests/fixtures/vocabularies`.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{Input, InputKind, Tokenizer, beginning};
use crate::Result;
use crate::config::SentenceTransformersConfig;
use crate::hub::{ModelFolder, Origin};

fn fixtures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"))
}

/// A folder with the `files` of a case: the names of fixtures' files, or JSON.
fn folder(files: &Map<String, Value>) -> (TempDir, ModelFolder) {
    let root = TempDir::new().unwrap();
    for (name, content) in files {
        let bytes = match content {
            Value::String(source) => fs::read(fixtures().join(source)).unwrap(),
            content => content.to_string().into_bytes(),
        };
        fs::write(root.path().join(name), bytes).unwrap();
    }
    let folder = ModelFolder::new(root.path().to_owned(), Origin::Folder);
    (root, folder)
}

fn load(files: &Map<String, Value>) -> Result<Tokenizer> {
    let (_root, folder) = folder(files);
    let mut config = SentenceTransformersConfig::read(&folder)?.transformer;
    config.max_seq_length = None;
    Tokenizer::load(&folder, &config, InputKind::Pair)
}

fn numbers(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn ids_are_those_of_transformers() {
    let file: Value = serde_json::from_slice(&fs::read(fixtures().join("vocabularies/cases.json")).unwrap()).unwrap();
    let texts = |key: &str| file[key].as_array().unwrap();
    let mut wrong = Vec::new();
    for (name, case) in file["cases"].as_object().unwrap() {
        let tokenizer = match load(case["files"].as_object().unwrap()) {
            Ok(tokenizer) => tokenizer,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        for (text, expected) in texts("texts").iter().zip(case["ids"].as_array().unwrap()) {
            let (text, expected) = (text.as_str().unwrap(), numbers(expected));
            let found = tokenizer.tokenize(Input::Text(text)).unwrap().ids;
            if found != expected {
                wrong.push(format!("{name}: {text:?}\n  expected {expected:?}\n  found    {found:?}"));
                break;
            }
        }
        for (pair, expected) in texts("texts_of_pairs").iter().zip(case["pairs"].as_array().unwrap()) {
            let found = tokenizer.tokenize(Input::Pair(pair[0].as_str().unwrap(), pair[1].as_str().unwrap())).unwrap();
            let types = found.type_ids.unwrap_or(vec![0; found.ids.len()]);
            let expected_types = match case["reads_types"].as_bool().unwrap() {
                true => numbers(&expected[1]),
                false => vec![0; found.ids.len()],
            };
            if (&found.ids, &types) != (&numbers(&expected[0]), &expected_types) {
                wrong.push(format!("{name}: {pair}\n  expected {expected}\n  found    {:?} {types:?}", found.ids));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_far_too_long_texts_are_looked_at_in_part() {
    let long = "wörd ".repeat(10_000);
    assert_eq!(beginning(&long, 1000), None);
    let part = beginning(&long, 3).unwrap();
    assert!(part.len() <= 131 * 64 && long.starts_with(part));
    assert_eq!(beginning(&long, usize::MAX), None);
}

fn refusal(files: Value) -> String {
    load(files.as_object().unwrap()).err().expect("an error").to_string()
}

#[test]
fn classes_that_votive_lacks_are_refused() {
    for name in ["T5Tokenizer", "LlamaTokenizer", "AlbertTokenizerFast", "GPT2Tokenizer", "BertJapaneseTokenizer"] {
        let message = refusal(json!({
            "config.json": {"model_type": "roberta"},
            "tokenizer.json": "xlm_roberta/tokenizer.json",
            "tokenizer_config.json": {"tokenizer_class": name},
        }));
        let name = name.strip_suffix("Fast").unwrap_or(name);
        let expected = format!("tokenizer_config.json: tokenizer_class: \"{name}\" is not supported; ");
        assert!(message.starts_with(&expected), "{message}");
    }
    // transformers takes the file of such models whatever is named.
    let named = json!({
        "config.json": {"model_type": "modernbert"},
        "tokenizer.json": "modernbert/tokenizer.json",
        "tokenizer_config.json": {"tokenizer_class": "T5Tokenizer"},
    });
    load(named.as_object().unwrap()).unwrap();
}

#[test]
fn vocabularies_that_are_missing_or_damaged_are_named() {
    let of = |model_type: &str| json!({"model_type": model_type});
    let bytes = "vocabularies/vocab.txt";
    for (files, expected) in [
        (json!({"config.json": of("bert")}), "tokenizer.json is missing, and so is vocab.txt"),
        (json!({"config.json": of("xlm-roberta")}), "tokenizer.json is missing, and so is sentencepiece.bpe.model"),
        (json!({"config.json": of("deberta-v2")}), "tokenizer.json is missing, and so is spm.model"),
        (
            json!({"config.json": of("modernbert"), "vocab.txt": bytes}),
            "tokenizer.json is missing, and no class is named that makes a tokenizer of other files",
        ),
        (
            json!({"config.json": of("roberta"), "vocab.json": "vocabularies/roberta_vocab.json"}),
            "merges.txt is missing in ",
        ),
        (
            json!({"config.json": of("qwen3"), "vocab.json": "vocabularies/qwen_vocab.json", "merges.txt": bytes}),
            "merges.txt: line 1: two pieces with a space between them are expected",
        ),
        (
            json!({"config.json": of("roberta"), "vocab.json": bytes}),
            "vocab.json: invalid type: sequence, expected a map",
        ),
        (
            json!({"config.json": of("roberta"), "vocab.json": {"a": 0}, "merges.txt": "vocabularies/qwen_merges.txt"}),
            "merges.txt: Token `",
        ),
        (
            json!({"config.json": of("camembert"), "sentencepiece.bpe.model": bytes}),
            "sentencepiece.bpe.model: is no model of SentencePiece, or is cut short",
        ),
    ] {
        let message = refusal(files.clone());
        assert!(message.contains(expected), "{files}: {message}");
    }
}

#[test]
fn token_lists_that_are_none_are_named() {
    for (name, content, expected) in [
        (
            "tokenizer_config.json",
            json!({"added_tokens_decoder": {"1": "<q>"}}),
            "added_tokens_decoder.1: expected a token with its properties, found \"<q>\"",
        ),
        (
            "tokenizer_config.json",
            json!({"added_tokens_decoder": {"x": {"content": "<q>"}}}),
            "added_tokens_decoder.x: a token's id is expected as key",
        ),
        (
            "tokenizer_config.json",
            json!({"additional_special_tokens": "<q>"}),
            "additional_special_tokens: expected a list of tokens, found \"<q>\"",
        ),
        (
            "tokenizer_config.json",
            json!({"additional_special_tokens": [1]}),
            "additional_special_tokens: expected a list of tokens, found a list of 1",
        ),
        (
            "tokenizer_config.json",
            json!({"extra_special_tokens": {"q": 1}}),
            "extra_special_tokens: expected a list of tokens, or an object of them, found an object",
        ),
        (
            "tokenizer_config.json",
            json!({"eos_token": {"lstrip": true}}),
            "eos_token: expected a string, found an object",
        ),
        ("special_tokens_map.json", json!({"eos_token": 1}), "eos_token: expected a string, found 1"),
        ("added_tokens.json", json!({"<q>": "1"}), "<q>: expected an integer from 0 to 4294967295, found \"1\""),
    ] {
        let message = refusal(json!({
            "config.json": {"model_type": "bert"},
            "tokenizer.json": "bert_40/tokenizer.json",
            name: content,
        }));
        assert_eq!(message, format!("{name}: {expected}"));
    }
}
