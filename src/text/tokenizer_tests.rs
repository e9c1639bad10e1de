//! Tokenizers against transformers' ids, for every case of `tests/fixtures/vocabularies`.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};
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
