//! Tokenizers as transformers makes them from a vocabulary.

use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::wordpiece::WordPiece;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{self, BertNormalizer, Lowercase, NFC, NormalizerWrapper, Replace, Strip};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{Result, SplitDelimiterBehavior, Tokenizer};

use crate::config::{SpecialTokenLayout, Splitting, TokenizerClass};
use crate::text::added_tokens::add_missing;
use crate::text::vocabulary::Vocabulary;

/// Where Qwen cuts a text before it looks up merges.
pub(super) const QWEN_WORDS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The tokenizer that `class` makes of a vocabulary.
pub(super) fn make(class: &TokenizerClass, vocabulary: Vocabulary) -> Result<Tokenizer> {
    let Vocabulary { model, normalizer, processor, truncation, added, extra } = vocabulary;
    let mut made = Tokenizer::new(model);
    let (normalizer, pre_tokenizer) = splitter(class, normalizer)?;
    made.with_normalizer(normalizer)?;
    made.with_pre_tokenizer(Some(pre_tokenizer));
    made.with_decoder(Some(decoder(class)));
    add_missing(&mut made, &class.special_tokens, added, extra)?;
    let processor = match (class.layout, processor) {
        (SpecialTokenLayout::File, Some(processor)) => Some(processor),
        _ => layout(&made, class)?,
    };
    made.with_post_processor(processor);
    made.with_truncation(truncation)?;
    Ok(made)
}

/// What is done to a text before its pieces are looked up, with SentencePiece's own table where the model has one.
fn splitter(
    class: &TokenizerClass,
    character_map: Option<NormalizerWrapper>,
) -> Result<(Option<NormalizerWrapper>, PreTokenizerWrapper)> {
    Ok(match class.splitting {
        Splitting::Words { lowercase, strip_accents, handle_chinese_chars } => {
            let normalizer = BertNormalizer::new(true, handle_chinese_chars, strip_accents, lowercase);
            (Some(normalizer.into()), BertPreTokenizer.into())
        }
        Splitting::Bytes { add_prefix_space } => (None, ByteLevel::new(add_prefix_space, true, true).into()),
        Splitting::ComposedBytes { add_prefix_space } => {
            let words = SplitPattern::Regex(QWEN_WORDS.to_owned());
            let words = Split::new(words, SplitDelimiterBehavior::Isolated, false)?;
            let bytes = ByteLevel::new(add_prefix_space, true, false);
            (Some(NFC.into()), Sequence::new(vec![words.into(), bytes.into()]).into())
        }
        Splitting::Pieces { add_prefix_space } => {
            let scheme = if add_prefix_space { PrependScheme::Always } else { PrependScheme::Never };
            let words = [WhitespaceSplit.into(), Metaspace::new('▁', scheme, true).into()];
            (character_map, Sequence::new(words.into()).into())
        }
        Splitting::EvenPieces { lowercase, split_by_punct, add_prefix_space } => {
            let white_space = Replace::new(ReplacePattern::Regex(r"\s{2,}|[\n\r\t]".to_owned()), " ")?;
            let lower = lowercase.then(|| Lowercase.into());
            let even: [NormalizerWrapper; 3] = [white_space.into(), NFC.into(), Strip::new(false, true).into()];
            let normalizer = normalizers::Sequence::new(lower.into_iter().chain(even).collect());
            let punctuation = split_by_punct.then(|| Punctuation::new(SplitDelimiterBehavior::Isolated).into());
            let scheme = if add_prefix_space { PrependScheme::Always } else { PrependScheme::First };
            let words = punctuation.into_iter().chain([Metaspace::new('▁', scheme, true).into()]);
            (Some(normalizer.into()), Sequence::new(words.collect()).into())
        }
    })
}

/// What makes text of tokens.
fn decoder(class: &TokenizerClass) -> DecoderWrapper {
    match class.splitting {
        Splitting::Words { .. } => WordPiece::new("##".to_owned(), true).into(),
        Splitting::Bytes { .. } | Splitting::ComposedBytes { .. } => ByteLevel::default().into(),
        Splitting::Pieces { add_prefix_space } => {
            let scheme = if add_prefix_space { PrependScheme::Always } else { PrependScheme::Never };
            Metaspace::new('▁', scheme, true).into()
        }
        Splitting::EvenPieces { .. } => Metaspace::new('▁', PrependScheme::First, true).into(),
    }
}

/// The special tokens around texts; None where there are none.
fn layout(made: &Tokenizer, class: &TokenizerClass) -> Result<Option<PostProcessorWrapper>> {
    let TokenizerClass { layout, first_token: first, last_token: last, .. } = class;
    let typed = |pieces: &[&str], type_id| {
        let pieces = pieces.iter().filter(|piece| !piece.is_empty());
        pieces.map(|piece| format!("{piece}:{type_id}")).collect::<Vec<_>>()
    };
    let second = match layout {
        SpecialTokenLayout::Bert => typed(&["$B", last], 1),
        SpecialTokenLayout::Roberta => typed(&[last, "$B", last], 0),
        SpecialTokenLayout::T5 => typed(&["$B", last], 0),
        SpecialTokenLayout::File if first.is_empty() && last.is_empty() => return Ok(None),
        SpecialTokenLayout::File => typed(&[first, "$B", last], 1),
    };
    let special = [first, last].into_iter().filter(|token| !token.is_empty()).map(|token| {
        let id = made.token_to_id(token).ok_or_else(|| format!("has no token {token:?}"))?;
        Ok::<_, String>((token.clone(), id))
    });
    let special = special.collect::<std::result::Result<Vec<_>, _>>()?;
    let single = typed(&[first, "$A", last], 0);
    let processor = TemplateProcessing::builder()
        .try_single(single.clone())?
        .try_pair([single, second].concat())?
        .special_tokens(special)
        .build()?;
    Ok(Some(processor.into()))
}
