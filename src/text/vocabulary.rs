//! A tokenizer's vocabulary, from any of the files that may hold it.
//!
//! Reference: the classes' own files in transformers 5 (`tokenization_xlm_roberta.py` and its like), which settle the ids. tokenizer.json, vocab.txt and
//! vocab.json say each token's id. A SentencePiece model lists pieces in its own order, and a class moves them: XLM-RoBERTa puts
//! fairseq's four special tokens in front in place of the model's first three, CamemBERT puts five in front in place of the first one,
//! both put the mask behind all; T5 puts its tokens for what is left out behind all; DeBERTa takes the list as it is.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::{NormalizerWrapper, Precompiled};
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::{AddedToken, Result, TruncationParams};

use crate::config::{SpecialTokens, Splitting, TokenizerClass, VocabularyFile};
use crate::files::{MAX_TOKENIZER_BYTES, ModelFolder, inside};
use crate::memory::room;
use crate::text::charsmap::check;
use crate::text::library::call_library;
use crate::text::sentencepiece::{PieceKind, SentencePieceModel};
use crate::{Error, error};

/// Bytes of memory that a tokenizer takes for each byte of its file.
const PARSED_BYTES_PER_BYTE: usize = 8;

/// What a class makes a tokenizer of.
pub(super) struct Vocabulary {
    pub(super) model: ModelWrapper,
    /// SentencePiece's table of characters that are the same, where there is one.
    pub(super) normalizer: Option<NormalizerWrapper>,
    /// The special tokens around texts, where the file says them.
    pub(super) processor: Option<PostProcessorWrapper>,
    /// What a text is cut to, of which the direction counts.
    pub(super) truncation: Option<TruncationParams>,
    /// Tokens beside those of the model, by id.
    pub(super) added: BTreeMap<u32, AddedToken>,
    /// Special tokens without a name.
    pub(super) extra: Vec<AddedToken>,
}

/// The parts of tokenizer.json that count where a class makes the tokenizer.
#[derive(Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<NumberedToken>,
    normalizer: Option<NormalizerWrapper>,
    post_processor: Option<PostProcessorWrapper>,
    truncation: Option<TruncationParams>,
    model: Value,
}

#[derive(Deserialize)]
struct NumberedToken {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

impl Vocabulary {
    /// The vocabulary in tokenizer.json; None where it is of another kind than `class` looks up: the class is named by mistake then.
    pub(super) fn of_file(bytes: &[u8], class: &TokenizerClass) -> Result<Option<Self>> {
        let tokens = &class.special_tokens;
        let file: TokenizerFile = serde_json::from_slice(bytes)?;
        let Some(model) = model(file.model, class)? else { return Ok(None) };
        Ok(Some(Self {
            model,
            normalizer: character_map(file.normalizer),
            processor: file.post_processor,
            truncation: file.truncation,
            added: file.added_tokens.into_iter().map(|added| (added.id, added.token)).collect(),
            extra: tokens.extra.clone().unwrap_or_else(|| tokens.default_extra.clone()),
        }))
    }

    /// The vocabulary in the files that a folder without tokenizer.json has for `class`, and the name of the first of them; None
    /// where there are none.
    pub(super) fn find(
        folder: &ModelFolder,
        path: &str,
        class: &TokenizerClass,
    ) -> error::Result<Option<(Self, String)>> {
        let tokens = &class.special_tokens;
        let file = inside(path, class.vocabulary.name());
        let Some(bytes) = read(folder, &file)? else { return Ok(None) };
        let found = match class.vocabulary {
            VocabularyFile::Words => {
                let vocabulary = call_library(&file, || WordPiece::read_bytes(&bytes))?;
                Self::of_model(call_library(&file, || words(vocabulary, class))?, tokens)
            }
            VocabularyFile::Merges => {
                let ids: BTreeMap<String, u32> =
                    serde_json::from_slice(&bytes).map_err(|error| Error::model(&file, error.to_string()))?;
                let merges_file = inside(path, "merges.txt");
                let merges = read(folder, &merges_file)?.ok_or_else(|| {
                    let message = format!("is missing in {}, where {file} has the vocabulary", folder.root().display());
                    Error::NotFound { message: format!("{merges_file} {message}") }
                })?;
                let merges = merge_list(&merges).map_err(|message| Error::model(&merges_file, message))?;
                let build = || BPE::builder().vocab_and_merges(ids.into_iter().collect::<Vocab>(), merges).build();
                Self::of_model(bytes_merged(call_library(&merges_file, build)?), tokens)
            }
            VocabularyFile::XlmRoberta
            | VocabularyFile::Camembert
            | VocabularyFile::DebertaV2 { .. }
            | VocabularyFile::T5 { .. } => {
                let model = SentencePieceModel::read(&bytes, &file)?;
                if !model.is_unigram {
                    return Err(Error::model(
                        &file,
                        "its pieces have no scores that are summed (a model that is no unigram)",
                    ));
                }
                call_library(&file, || Self::of_pieces(model, class))?
            }
        };
        Ok(Some((found, file)))
    }

    fn of_model(model: ModelWrapper, tokens: &SpecialTokens) -> Self {
        let extra = tokens.extra.clone().unwrap_or_default();
        Self { model, normalizer: None, processor: None, truncation: None, added: BTreeMap::new(), extra }
    }

    /// The pieces of a SentencePiece model in the order that `class` has them in.
    fn of_pieces(file: SentencePieceModel, class: &TokenizerClass) -> Result<Self> {
        let tokens = &class.special_tokens;
        // The class has a default for each, unless a file says that there is none.
        let special = |key: &str| (tokens.content(key).unwrap_or_default().to_owned(), 0.0);
        let without_score = |text: &str| (text.to_owned(), 0.0);
        let pieces =
            |skipped| file.pieces.iter().skip(skipped).map(|piece| (piece.text.clone(), f64::from(piece.score)));
        let vocabulary: Vec<_> = match class.vocabulary {
            VocabularyFile::XlmRoberta => {
                let first = ["bos_token", "pad_token", "eos_token", "unk_token"].map(special);
                first.into_iter().chain(pieces(3)).chain([special("mask_token")]).collect()
            }
            VocabularyFile::Camembert => {
                let first = [without_score("<s>NOTUSED"), special("pad_token"), without_score("</s>NOTUSED")];
                let unknown = [special("unk_token"), ("<unk>NOTUSED".to_owned(), -100.0)];
                let all = first.into_iter().chain(unknown).chain(pieces(1));
                all.chain([special("mask_token")]).collect()
            }
            // The last one first.
            _ => pieces(0).chain(class.vocabulary.extra_ids().rev().map(|text| (text, 0.0))).collect(),
        };
        let unknown = match class.vocabulary {
            VocabularyFile::DebertaV2 { .. } => unknown_id(&vocabulary, class, file.unknown),
            _ => unknown_id(&vocabulary, class, 0),
        };
        let in_texts = file
            .pieces
            .iter()
            .filter(|piece| piece.kind != PieceKind::Text)
            .map(|piece| AddedToken::from(piece.text.as_str(), piece.kind == PieceKind::Control).normalized(false))
            .chain(class.vocabulary.extra_ids().map(|text| AddedToken::from(text, true)));
        let normalizer = match file.character_map.is_empty() {
            true => None,
            false => {
                check(&file.character_map, file.character_map.len())?;
                Some(Precompiled::from(&file.character_map).map_err(|error| error.to_string())?.into())
            }
        };
        Ok(Self {
            model: Unigram::from(vocabulary, Some(unknown), false)?.into(),
            normalizer,
            processor: None,
            truncation: None,
            added: BTreeMap::new(),
            extra: tokens.extra_of_files.then(|| tokens.extra.clone()).flatten().unwrap_or_else(|| in_texts.collect()),
        })
    }
}

/// The bytes of a file of `folder`; None if there is no such file.
pub(super) fn read(folder: &ModelFolder, relative: &str) -> error::Result<Option<Vec<u8>>> {
    let Some(bytes) = folder.read(relative, MAX_TOKENIZER_BYTES)? else { return Ok(None) };
    room(bytes.len().saturating_mul(PARSED_BYTES_PER_BYTE), || format!("the tokenizer of {relative}"))?;
    Ok(Some(bytes))
}

/// The "model" of a tokenizer.json as `class` has it; None where it is of another kind.
fn model(mut value: Value, class: &TokenizerClass) -> Result<Option<ModelWrapper>> {
    // Files of old do not say.
    let kind = match value.as_object_mut().and_then(|fields| fields.remove("type")) {
        Some(Value::String(kind)) => kind,
        Some(kind) => return Err(format!("model.type: expected a string, found {kind}").into()),
        None if value.get("merges").is_some() => "BPE".to_owned(),
        None if value.get("vocab").is_some_and(Value::is_array) => "Unigram".to_owned(),
        None => "WordPiece".to_owned(),
    };
    Ok(match (&class.splitting, kind.as_str()) {
        (Splitting::Words { .. }, "WordPiece") => {
            let model: WordPiece = serde_json::from_value(value)?;
            Some(word_pieces(model, class))
        }
        (Splitting::Bytes { .. } | Splitting::ComposedBytes { .. }, "BPE") => {
            Some(bytes_merged(serde_json::from_value(value)?))
        }
        (Splitting::Pieces { .. } | Splitting::EvenPieces { .. }, "Unigram") => {
            let vocabulary: Vec<(String, f64)> = serde_json::from_value(value["vocab"].take())?;
            let default = match class.vocabulary {
                VocabularyFile::DebertaV2 { unknown } => unknown,
                _ => 0,
            };
            let unknown = unknown_id(&vocabulary, class, default);
            Some(Unigram::from(vocabulary, Some(unknown), false)?.into())
        }
        _ => None,
    })
}

/// The piece that stands for what there is no piece for: `default` where DeBERTa's class does not find it.
fn unknown_id(vocabulary: &[(String, f64)], class: &TokenizerClass, default: usize) -> usize {
    let find = |scores: fn(f64) -> bool| {
        vocabulary.iter().position(|(piece, score)| *piece == class.unknown_token && scores(*score))
    };
    match class.vocabulary {
        VocabularyFile::XlmRoberta => 3,
        VocabularyFile::T5 { .. } => 2,
        VocabularyFile::DebertaV2 { .. } => find(|score| score == 0.0).unwrap_or(default),
        _ => find(|_| true).unwrap_or(default),
    }
}

fn words(vocabulary: Vocab, class: &TokenizerClass) -> Result<ModelWrapper> {
    Ok(word_pieces(WordPiece::builder().vocab(vocabulary).build()?, class))
}

/// As BERT's class has a model that may have been otherwise.
fn word_pieces(mut model: WordPiece, class: &TokenizerClass) -> ModelWrapper {
    class.unknown_token.clone_into(&mut model.unk_token);
    "##".clone_into(&mut model.continuing_subword_prefix);
    model.max_input_chars_per_word = 100;
    model.into()
}

/// As the classes that merge bytes have a model that may have been otherwise.
fn bytes_merged(mut model: BPE) -> ModelWrapper {
    model.dropout = None;
    model.unk_token = None;
    (model.continuing_subword_prefix, model.end_of_word_suffix) = (None, None);
    (model.fuse_unk, model.byte_fallback, model.ignore_merges) = (false, false, false);
    model.into()
}

/// The pairs of merges.txt, one in each line.
fn merge_list(bytes: &[u8]) -> std::result::Result<Vec<(String, String)>, String> {
    let text = str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with("#version"));
    let pair = |(i, line): (usize, &str)| match line.split_once(' ') {
        Some((first, second)) if !second.contains(' ') => Ok((first.to_owned(), second.to_owned())),
        _ => Err(format!("line {}: two pieces with a space between them are expected", i + 1)),
    };
    lines.map(pair).collect()
}

/// SentencePiece's table, which is the model's own and stands in the file alone.
fn character_map(normalizer: Option<NormalizerWrapper>) -> Option<NormalizerWrapper> {
    let normalizer = normalizer?;
    let steps = match &normalizer {
        NormalizerWrapper::Sequence(sequence) => sequence.as_ref(),
        step => std::slice::from_ref(step),
    };
    steps.iter().find(|step| matches!(step, NormalizerWrapper::Precompiled(_))).cloned()
}
