//! Tokenizers against transformers' ids, for every case of `tests/fixtures/vocabularies`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokenizers::{TruncationDirection, TruncationParams};

use super::{Input, InputKind, LengthLimit, Tokenizer, Truncation};
use crate::config::SentenceTransformersConfig;
use crate::files::{ModelFolder, Origin};
use crate::text::boundary::Boundaries;
use crate::text::pieces::PART_BYTES;
use crate::{Error, Result};

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
    let mut config = SentenceTransformersConfig::read(&folder)?.routes.remove(0).transformer;
    config.max_seq_length = None;
    Tokenizer::load(&folder, &config, InputKind::Pair)
}

fn go_on() -> Result<()> {
    Ok(())
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
            let found = tokenizer.tokenize(Input::Text(text), LengthLimit::NONE, &go_on).unwrap().ids;
            if found != expected {
                wrong.push(format!("{name}: {text:?}\n  expected {expected:?}\n  found    {found:?}"));
                break;
            }
        }
        for (pair, expected) in texts("texts_of_pairs").iter().zip(case["pairs"].as_array().unwrap()) {
            let input = Input::Pair(pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
            let found = tokenizer.tokenize(input, LengthLimit::NONE, &go_on).unwrap();
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

fn refusal(files: Value) -> String {
    load(files.as_object().unwrap()).err().expect("an error").to_string()
}

#[test]
fn classes_that_votive_lacks_are_refused() {
    for name in ["PegasusTokenizer", "LlamaTokenizer", "AlbertTokenizerFast", "GPT2Tokenizer", "BertJapaneseTokenizer"]
    {
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
        "tokenizer_config.json": {"tokenizer_class": "PegasusTokenizer"},
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

/// What a boundary could go wrong with: scripts, marks that combine, white space, special tokens, and what normalizers replace.
const BITS: [&str; 58] = [
    " ",
    " ",
    " ",
    " ",
    "  ",
    "\n",
    "\t ",
    "\u{3000}",
    "\u{a0}",
    "▁",
    "a",
    "b c",
    "the",
    "Quick",
    "wörd",
    "İ",
    "ß",
    "ﬁ",
    "²",
    "Ａ",
    "7",
    "12",
    "3.14",
    ",",
    ".",
    "!",
    "、",
    "。",
    "，",
    "'s",
    "'",
    "-",
    "(",
    "a,b",
    "x.y",
    "\u{301}",
    "e\u{301}",
    "\u{30a}",
    "ー",
    "か\u{3099}",
    "日",
    "本語",
    "한국",
    "ᄀ",
    "ก็",
    "क्ष",
    "русский",
    "Ёж",
    "אב",
    "عرب",
    "\u{600}",
    "👩\u{200d}👧",
    "🏳",
    "\u{200b}",
    "\0",
    "[MASK]",
    "<mask>",
    "<|endoftext|>",
];

/// Texts for each tokenizer.
const ROUNDS: usize = 60;

/// Random texts, always the same.
struct Texts(u64);

impl Texts {
    fn number(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below
    }

    fn text(&mut self, bits: usize) -> String {
        (0..bits).map(|_| BITS[self.number(BITS.len())]).collect()
    }
}

/// Tokenizers of every kind, by name.
fn kinds() -> Vec<(String, Tokenizer)> {
    let file: Value = serde_json::from_slice(&fs::read(fixtures().join("vocabularies/cases.json")).unwrap()).unwrap();
    let cases = file["cases"].as_object().unwrap();
    let loaded = |(name, case): (&String, &Value)| (name.clone(), load(case["files"].as_object().unwrap()).unwrap());
    let mut kinds: Vec<_> = cases.iter().map(loaded).collect();
    for name in ["deberta_v3", "xlm_roberta"] {
        let files = json!({
            "config.json": {"model_type": "bert"},
            "tokenizer.json": format!("{name}/tokenizer.json"),
            "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"},
        });
        kinds.push((name.to_owned(), load(files.as_object().unwrap()).unwrap()));
    }
    kinds
}

/// The ids of all of a text, which is not cut before it is tokenized.
fn uncut(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.inner.encode_fast(text, false).unwrap().get_ids().to_vec()
}

#[test]
fn tokens_on_both_sides_of_a_boundary_are_those_of_the_whole() {
    let mut texts = Texts(7);
    let mut found = 0;
    for (name, tokenizer) in kinds() {
        for _ in 0..ROUNDS {
            let text = texts.text(24);
            let all = uncut(&tokenizer, &text);
            let mut start = 0;
            while let Some(place) = tokenizer.boundaries.after(&tokenizer.inner, &text, start) {
                let (first, second) = text.split_at(place);
                let both = [uncut(&tokenizer, first), uncut(&tokenizer, second)].concat();
                assert_eq!(both, all, "{name}: {first:?} | {second:?}");
                assert_eq!(tokenizer.boundaries.before(&tokenizer.inner, &text, place), Some(place));
                start = place + second.chars().next().unwrap().len_utf8();
                found += 1;
            }
        }
    }
    assert!(found > 1000, "only {found} boundaries");
}

#[test]
fn long_texts_are_cut_as_if_all_of_them_were_tokenized() {
    let mut texts = Texts(11);
    for (name, mut tokenizer) in kinds().into_iter().step_by(12) {
        let long: Vec<String> = [7_000, 9_000]
            .map(|bits| texts.text(bits))
            .into_iter()
            .chain(["日本".repeat(PART_BYTES), ",.;!".repeat(PART_BYTES), "x".repeat(3 * PART_BYTES)])
            .collect();
        for direction in [tokenizers::TruncationDirection::Right, tokenizers::TruncationDirection::Left] {
            tokenizer.direction = direction;
            for text in &long {
                let all = uncut(&tokenizer, text);
                for room in [1, 100, 9_000] {
                    let (ids, cut) =
                        tokenizer.pieces_within(text, LengthLimit::of(room, Truncation::OfModel), &go_on).unwrap();
                    let kept = all.len().min(room);
                    let expected = match direction {
                        tokenizers::TruncationDirection::Right => &all[..kept],
                        tokenizers::TruncationDirection::Left => &all[all.len() - kept..],
                    };
                    assert!(ids == expected && cut == (kept < all.len()), "{name}: {direction:?}, {room}");
                }
            }
            for max_length in [64, 65] {
                let special = tokenizer.special[1];
                let room = max_length - special;
                let limit = LengthLimit::of(max_length, Truncation::OfModel);
                let (found, _) = tokenizer.encode(&long[0], Some(&long[1]), true, limit, &go_on).unwrap();
                let lengths = [&long[0], &long[1]].map(|text| uncut(&tokenizer, text).len());
                let first = if lengths[0] > lengths[1] { room - room / 2 } else { room / 2 };
                let sequence = |i: usize| found.get_sequence_ids().iter().filter(|id| **id == Some(i)).count();
                assert_eq!([sequence(0), sequence(1)], [first, room - first], "{name}: {max_length}");
            }
        }
    }
}

#[test]
fn boundaries_are_given_up_where_a_token_or_a_step_could_cross_them() {
    let of = |changes: Value| {
        let mut file: Value =
            serde_json::from_slice(&fs::read(fixtures().join("bert_40/tokenizer.json")).unwrap()).unwrap();
        for (key, value) in changes.as_object().unwrap() {
            file[key] = value.clone();
        }
        let inner = tokenizers::Tokenizer::from_bytes(file.to_string()).unwrap();
        let found = |text: &str| Boundaries::new(&inner).after(&inner, text, 0).is_some();
        [found("aa bb"), found("aa,bb"), found("日本日")]
    };
    let added = |content: &str, keys: Value| {
        let flags = json!({"id": 9, "content": content, "lstrip": false, "rstrip": false, "normalized": false, "single_word": false, "special": false});
        let mut token = flags.as_object().unwrap().clone();
        token.extend(keys.as_object().unwrap().clone());
        json!({"added_tokens": [token]})
    };
    for (changes, expected) in [
        (json!({}), [true, true, true]),
        (added("[MASK]", json!({"lstrip": true, "rstrip": true})), [true, true, true]),
        (added("   ", json!({})), [true, true, false]),
        (added("new york", json!({})), [false, true, true]),
        (added("yahoo!", json!({})), [true, false, true]),
        (added("日本", json!({})), [true, true, false]),
        (added("mask", json!({"lstrip": true})), [false, false, false]),
        (json!({"normalizer": {"type": "Prepend", "prepend": "▁"}}), [false, false, false]),
        (json!({"normalizer": {"type": "Strip", "strip_left": true, "strip_right": false}}), [false, false, false]),
        (
            json!({"normalizer": {"type": "Replace", "pattern": {"Regex": "a b"}, "content": "c"}}),
            [false, false, false],
        ),
        (json!({"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": ""}}), [false, false, false]),
        (
            json!({"normalizer": {"type": "Replace", "pattern": {"String": "b"}, "content": " b"}}),
            [false, false, false],
        ),
        (json!({"normalizer": null}), [true, true, false]),
        (json!({"pre_tokenizer": null}), [false, false, false]),
        (
            json!({"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": false}}),
            [false, false, false],
        ),
        (
            json!({"pre_tokenizer": {"type": "Split", "pattern": {"String": "x"}, "behavior": "Removed", "invert": false}}),
            [false, false, false],
        ),
    ] {
        assert_eq!(of(changes.clone()), expected, "{changes}");
    }
}

#[test]
fn a_text_that_cannot_be_cut_is_given_up_at_once() {
    let tokenizer = load(
        json!({"config.json": {"model_type": "bert"}, "vocab.txt": "vocabularies/vocab.txt"}).as_object().unwrap(),
    );
    let text = "x".repeat(16 << 20);
    let start = Instant::now();
    let stop = || if start.elapsed() > Duration::from_millis(50) { Err(Error::Interrupted) } else { Ok(()) };
    let found = tokenizer.unwrap().tokenize(Input::Text(&text), LengthLimit::NONE, &stop);
    assert!(matches!(found, Err(Error::Interrupted)));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn tokens_are_cut_off_at_either_end_as_the_library_does_it() {
    let mut texts = Texts(13);
    for (name, tokenizer) in kinds().into_iter().step_by(6) {
        // Of an odd room for a pair, the library gives the odd token to the second text, having made no more tokens than it needs.
        for max_length in [2, 12, 30].map(|room| room + tokenizer.special[1]) {
            for (truncation, direction) in [
                (Truncation::Left, TruncationDirection::Left),
                (Truncation::Right, TruncationDirection::Right),
                (Truncation::OfModel, tokenizer.direction),
            ] {
                let mut library = (*tokenizer.inner).clone();
                let cut = TruncationParams { max_length, direction, ..TruncationParams::default() };
                library.with_truncation(Some(cut)).unwrap();
                let limit = LengthLimit::of(max_length, truncation);
                for bits in [0, 2, 12, 40] {
                    let (first, second) = (texts.text(bits), texts.text(42 - bits));
                    let expected = library.encode_fast(first.as_str(), true).unwrap();
                    let found = tokenizer.tokenize(Input::Text(&first), limit, &go_on).unwrap();
                    assert_eq!(found.ids, expected.get_ids(), "{name}: {truncation:?}, {max_length}: {first:?}");
                    let expected = library.encode_fast((first.as_str(), second.as_str()), true).unwrap();
                    let found = tokenizer.tokenize(Input::Pair(&first, &second), limit, &go_on).unwrap();
                    assert_eq!(
                        found.ids,
                        expected.get_ids(),
                        "{name}: {truncation:?}, {max_length}: {first:?}, {second:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_prompt_stays_where_a_text_loses_its_first_tokens() {
    let mut texts = Texts(17);
    let mut cuts = 0;
    for (name, tokenizer) in kinds().into_iter().step_by(6) {
        let [before, behind] = tokenizer.special_around().unwrap();
        for (prompt, bits) in [("query: ", 40), ("Represent the Quick one:", 60), ("日本", 30), ("a: ", 9_000)] {
            let text = [prompt, &texts.text(bits)].concat();
            let all = uncut(&tokenizer, &text);
            let spans = tokenizer.token_spans(&text, &go_on).unwrap();
            let of_prompt = spans.iter().take_while(|span| span.end <= prompt.len()).count();
            for room in [1, of_prompt + 1, of_prompt + 5, all.len()] {
                let kept = of_prompt.min(room);
                let expected = match all.len() <= room {
                    true => all.clone(),
                    false => [&all[..kept], &all[all.len() - (room - kept)..]].concat(),
                };
                cuts += usize::from(kept > 0 && all.len() > room);
                let limit = LengthLimit::of(room, Truncation::Left).behind(prompt.len());
                let (found, is_cut) = tokenizer.pieces_within(&text, limit, &go_on).unwrap();
                assert!(found == expected && is_cut == (all.len() > room), "{name}: {prompt:?}, {room}");
                let limit = limit.with_tokens(room + before + behind);
                let found = tokenizer.tokenize(Input::Text(&text), limit, &go_on).unwrap();
                assert_eq!(found.ids[before..found.ids.len() - behind], expected, "{name}: {prompt:?}, {room}");
            }
            // Of a pair, the first text has the prompt, and loses as many tokens as without one.
            let limit = LengthLimit::of(of_prompt * 2 + 20, Truncation::Left);
            let of_first = |limit: LengthLimit| {
                let (found, _) = tokenizer.encode(&text, Some("the Quick b c"), true, limit, &go_on).unwrap();
                let ids = found.get_ids().iter().zip(found.get_sequence_ids());
                ids.filter(|(_, sequence)| *sequence == Some(0)).map(|(id, _)| *id).collect::<Vec<u32>>()
            };
            let (found, plain) = (of_first(limit.behind(prompt.len())), of_first(limit));
            if found.len() < all.len() {
                let kept = of_prompt.min(found.len());
                assert_eq!(found, [&all[..kept], &plain[kept..]].concat(), "{name}: {prompt:?}");
            }
            assert_eq!(found.len(), plain.len());
        }
    }
    assert!(cuts > 30, "only {cuts} prompts");
}
