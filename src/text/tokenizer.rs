//! The tokenizer of a model, shared between threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::{BertNormalizer, Lowercase, NormalizerWrapper, Sequence};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{TruncationDirection, TruncationParams};

use crate::config::{BertTokenizer, TransformerConfig, TruncationSide, join};
use crate::hub::ModelFolder;
use crate::{Error, Result};

/// The tokens of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    pub ids: Vec<u32>,
    /// None where all are 0.
    pub type_ids: Option<Vec<u32>>,
    /// Whether the text was longer than the model takes.
    pub truncated: bool,
}

impl Tokens {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// `tokenizer.json`, with the truncation and padding that is stored in it replaced. Tokenizing takes no lock.
pub struct Tokenizer {
    inner: ArcSwap<tokenizers::Tokenizer>,
    /// The file, relative to the model's folder.
    file: String,
    direction: TruncationDirection,
    /// Whether the network is told the tokens' types.
    type_ids: bool,
}

impl Tokenizer {
    /// Reads the tokenizer of the model's Transformer, and changes it as its other files say.
    pub fn load(folder: &ModelFolder, config: &TransformerConfig) -> Result<Self> {
        let file = join(&config.path, "tokenizer.json");
        let path = folder.file(&file)?.ok_or_else(|| {
            let path = folder.root().join(&file).display().to_string();
            Error::NotFound {
                message: format!(
                    "{path} is missing; votive reads tokenizers in this format only. Make it with transformers: \
                     AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
                ),
            }
        })?;
        let bytes = std::fs::read(&path).map_err(|source| Error::io(&path, source))?;
        let mut inner = guarded(&file, || tokenizers::Tokenizer::from_bytes(bytes))?;
        inner.with_padding(None);
        if let Some(bert) = &config.tokenizer.bert {
            guarded(&file, || rebuild_as_bert(&mut inner, bert))?;
        }
        if config.do_lower_case {
            guarded(&file, || lowercase_first(&mut inner))?;
        }
        let stored = inner.get_truncation().map_or(TruncationDirection::Right, |truncation| truncation.direction);
        let direction = match config.tokenizer.truncation_side {
            None => stored,
            Some(TruncationSide::Left) => TruncationDirection::Left,
            Some(TruncationSide::Right) => TruncationDirection::Right,
        };
        guarded(&file, || inner.with_truncation(None).map(drop))?;
        let tokenizer =
            Self { inner: ArcSwap::from_pointee(inner), file, direction, type_ids: config.tokenizer.token_type_ids };
        if let Some(length) = config.max_seq_length {
            // Nobody gave it as an argument.
            let damaged = |error: Error| Error::model(&tokenizer.file, error.to_string());
            tokenizer.set_max_length(length).map_err(damaged)?;
        }
        Ok(tokenizer)
    }

    /// Cuts texts to `max_length` tokens, special ones included, from now on.
    pub fn set_max_length(&self, max_length: usize) -> Result<()> {
        let mut inner = tokenizers::Tokenizer::clone(&self.inner.load());
        let special = special_tokens(&inner);
        if max_length <= special {
            let message = format!("{max_length} leaves no room for text beside the {special} special tokens");
            return Err(Error::argument("max_seq_length", message));
        }
        let truncation = TruncationParams { max_length, direction: self.direction, ..Default::default() };
        guarded(&self.file, || inner.with_truncation(Some(truncation)).map(drop))?;
        self.inner.store(Arc::new(inner));
        Ok(())
    }

    /// The largest id that can come out, and its token.
    pub fn largest_id(&self) -> Option<(u32, String)> {
        self.inner.load().get_vocab(true).into_iter().map(|(token, id)| (id, token)).max()
    }

    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.load().id_to_token(id)
    }

    /// The tokens of `text`, special ones included.
    pub fn tokenize(&self, text: &str) -> Result<Tokens> {
        let encoding = guarded(&self.file, || self.inner.load().encode_fast(text, true))?;
        let type_ids = encoding.get_type_ids();
        Ok(Tokens {
            ids: encoding.get_ids().to_vec(),
            type_ids: (self.type_ids && type_ids.iter().any(|&id| id != 0)).then(|| type_ids.to_vec()),
            truncated: !encoding.get_overflowing().is_empty(),
        })
    }

    /// How many leading tokens of a text that starts with `prompt` belong to it, by sentence-transformers' count: those of
    /// the prompt alone, without the special token that ends it.
    pub fn prompt_tokens(&self, prompt: &str) -> Result<usize> {
        let encoding = guarded(&self.file, || self.inner.load().encode_fast(prompt, true))?;
        let ends_special = encoding.get_special_tokens_mask().last() == Some(&1);
        Ok(encoding.len() - usize::from(ends_special))
    }
}

/// `work` of the tokenizers crate on what `file` says. The crate panics where the file contradicts itself in ways that it does
/// not look for (a template with a token that it does not declare), and may cut a token within a character, so that even its
/// message is no text.
fn guarded<R>(file: &str, work: impl FnOnce() -> tokenizers::Result<R>) -> Result<R> {
    let message = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(result)) => return Ok(result),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "contradicts itself: the tokenizers library cannot work with it".to_owned(),
    };
    Err(Error::model(file, String::from_utf8_lossy(message.as_bytes())))
}

/// Special tokens that the post-processor adds to a text.
fn special_tokens(inner: &tokenizers::Tokenizer) -> usize {
    inner.get_post_processor().map_or(0, |processor| tokenizers::PostProcessor::added_tokens(processor, false))
}

/// Keeps the vocabulary and the added tokens, as transformers' `BertTokenizer` does. What looks up no word pieces is left
/// as it is: the class is named by mistake then.
fn rebuild_as_bert(inner: &mut tokenizers::Tokenizer, bert: &BertTokenizer) -> tokenizers::Result<()> {
    if !matches!(inner.get_model(), ModelWrapper::WordPiece(_)) {
        return Ok(());
    }
    let BertTokenizer { lowercase, strip_accents, handle_chinese_chars, cls_token, sep_token } = bert;
    let special = [cls_token, sep_token].map(|token| {
        let id = inner.token_to_id(token).ok_or_else(|| format!("has no token {token:?}"))?;
        Ok::<_, String>((token.clone(), id))
    });
    let special = special.into_iter().collect::<Result<Vec<_>, _>>()?;
    let template =
        |pieces: &[&str], type_id| pieces.iter().map(|piece| format!("{piece}:{type_id}")).collect::<Vec<_>>();
    let processor = TemplateProcessing::builder()
        .try_single(template(&[cls_token, "$A", sep_token], 0))?
        .try_pair([template(&[cls_token, "$A", sep_token], 0), template(&["$B", sep_token], 1)].concat())?
        .special_tokens(special)
        .build()?;
    inner.with_normalizer(Some(BertNormalizer::new(true, *handle_chinese_chars, *strip_accents, *lowercase)))?;
    inner.with_pre_tokenizer(Some(BertPreTokenizer));
    inner.with_post_processor(Some(processor));
    Ok(())
}

/// Puts a lowercasing step before the normalizer, unless one of its own steps is just that.
fn lowercase_first(inner: &mut tokenizers::Tokenizer) -> tokenizers::Result<()> {
    let steps = match inner.get_normalizer() {
        None => vec![],
        Some(NormalizerWrapper::Sequence(sequence)) => sequence.as_ref().to_vec(),
        Some(step) => vec![step.clone()],
    };
    if !steps.iter().any(|step| matches!(step, NormalizerWrapper::Lowercase(_))) {
        let first = std::iter::once(NormalizerWrapper::Lowercase(Lowercase));
        let steps = Sequence::new(first.chain(steps).collect());
        inner.with_normalizer(Some(steps))?;
    }
    Ok(())
}
