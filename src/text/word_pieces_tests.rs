//! Ids beside those of the library, of texts that are odd in every way known, and of random ones.

use serde_json::{Value, json};

use super::*;

const TEXTS: [&str; 24] = [
    "",
    " ",
    "a",
    "The quick brown fox, jumps over the lazy dog.",
    "tab\tnew\nline\r\nvertical\u{b}form\u{c}feed",
    "nul\u{0}byte \u{7}bell\u{1b} \u{7f}delete \u{fffd}x\u{feff}",
    "a\u{0}\u{0}b a\u{0}b a b\u{0}",
    "naïve café, crème brûlée, façade",
    "e\u{301} e \u{301}e .\u{301}a \u{301}\u{323}x q\u{1D16D}\u{1}\u{1D165}z",
    "İstanbul STRASSE straße ΣΊΣΥΦΟΣ ﬁne ½ Ⅷ ＡＢＣ",
    "你好，世界。機械 learning東京abc",
    "สวัสดีชาวโลก привет мир 안녕하세요 שלום عالم",
    "zero\u{200b}width soft\u{ad}hyphen \u{2028}line\u{2029}s\u{a0}nbsp\u{3000}x\u{85}y",
    "don't “smart” ‘quotes’ em—dash … a≤b €5 $6 `x` ~y^z|",
    "0123456789 3.14159 x2y AZaz09",
    "abcdefgh abcdefghi abcdefghijklmno abcdefghijklmnop abcdefghijklmnopq ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "éabcdefghijklmnopq abcdefghijklmnopé ééééééé éééééééé ééééééééé",
    "unknown ☃ ♞x 🙂 👩\u{200d}👩\u{200d}👧 🇩🇪",
    "[ ] [] [MAS [mask] [Mask]",
    "@`[{/:0aAzZ\u{7f}\u{80}",
    "trailing space ",
    "  leading",
    "x.y.z...!!!???",
    "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen",
];

const CHARACTERS: &str = "aZq09 .\t\n\r\u{0}\u{1}\u{b}\u{1f}\u{7f}\u{fffd}\u{300}\u{301}\u{323}\u{327}\u{1D165}\u{1D16D}\u{F71}\u{F72}éÀİßΣÅﬁ\u{a0}\u{3000}\u{200b}東가Ж[]MASK-_'’\u{2028}";

fn tokenizer(change: impl FnOnce(&mut Value)) -> Tokenizer {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/bert_modules/tokenizer.json");
    let mut json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut json);
    json.to_string().parse().unwrap()
}

fn random_texts(count: usize) -> impl Iterator<Item = String> {
    let characters: Vec<char> = CHARACTERS.chars().collect();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut below = move |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as usize % n
    };
    (0..count).map(move |_| (0..1 + below(20)).map(|_| characters[below(characters.len())]).collect())
}

fn assert_ids_of_library(inner: &Tokenizer) {
    let words = WordPieces::new(inner).expect("BERT's tokenizer");
    let mut cache = WordCache::default();
    // The second time words are in the cache.
    for text in TEXTS.map(str::to_owned).into_iter().chain(random_texts(3000)).flat_map(|text| [text.clone(), text]) {
        let expected = inner.encode_fast(text.as_str(), false).unwrap();
        let mut ids = vec![7];
        let is_done = words.append(&text, usize::MAX, &mut cache, &mut ids).unwrap();
        match is_done {
            true => assert_eq!(&ids[1..], expected.get_ids(), "{text:?}"),
            false => assert!(text.contains("[MASK]") || text.contains("[CLS]"), "{text:?}"),
        }
    }
}

#[test]
fn ids_are_the_librarys_whatever_the_normalizer_does() {
    for flags in 0..16 {
        let flag = |bit: u32| flags >> bit & 1 == 1;
        assert_ids_of_library(&tokenizer(|json| {
            json["normalizer"]["clean_text"] = flag(0).into();
            json["normalizer"]["handle_chinese_chars"] = flag(1).into();
            json["normalizer"]["strip_accents"] = if flag(2) { Value::Null } else { flag(3).into() };
            json["normalizer"]["lowercase"] = flag(3).into();
        }));
    }
}

#[test]
fn ids_are_the_librarys_whatever_the_vocabulary_has() {
    assert_ids_of_library(&tokenizer(|json| json["model"]["max_input_chars_per_word"] = 6.into()));
    assert_ids_of_library(&tokenizer(|json| json["model"]["continuing_subword_prefix"] = "".into()));
    assert_ids_of_library(&tokenizer(|json| {
        let vocabulary = json["model"]["vocab"].as_object_mut().unwrap();
        let pieces = [
            "abcdefghijklmnop",
            "abcdefghijklmnopq",
            "##jklmnopqrstuvwxyz",
            "##é",
            "東",
            "donaudampfschifffahrts",
            "##.",
            "ab",
        ];
        for piece in pieces {
            let id = vocabulary.len();
            vocabulary.entry(piece).or_insert(id.into());
        }
    }));
}

#[test]
fn no_more_is_made_than_asked_for() {
    let inner = tokenizer(|_| {});
    let words = WordPieces::new(&inner).unwrap();
    let text = "a, b, c, d";
    let all = inner.encode_fast(text, false).unwrap();
    for most in 0..9 {
        let mut ids = Vec::new();
        assert!(words.append(text, most, &mut WordCache::default(), &mut ids).unwrap());
        assert_eq!(ids, all.get_ids()[..all.len().min(most + 1)]);
    }
}

#[test]
fn added_tokens_are_left_to_the_library() {
    let words = WordPieces::new(&tokenizer(|_| {})).unwrap();
    let append = |text: &str| words.append(text, usize::MAX, &mut WordCache::default(), &mut Vec::new()).unwrap();
    assert!(!append("a[MASK]b") && !append("é[CLS]") && append("[mask]") && append("[ MASK]"));
    // Those that are found otherwise, and other tokenizers.
    for token in [("new", false), ("[new]", true), ("[a b]", false)] {
        let (content, normalized) = token;
        let declined = tokenizer(|json| {
            let like = json["added_tokens"][0].clone();
            let tokens = json["added_tokens"].as_array_mut().unwrap();
            let mut added = like;
            added["content"] = content.into();
            added["normalized"] = normalized.into();
            added["id"] = 5000.into();
            tokens.push(added);
        });
        assert!(WordPieces::new(&declined).is_none(), "{content}");
    }
    assert!(WordPieces::new(&tokenizer(|json| json["normalizer"] = Value::Null)).is_none());
    assert!(WordPieces::new(&tokenizer(|json| json["pre_tokenizer"] = json!({"type": "Whitespace"}))).is_none());
}
