//! Tokenizers as transformers makes them from a vocabulary.

use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{self, BertNormalizer, Lowercase, NFC, NormalizerWrapper, Replace, Strip};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{Result, SplitDelimiterBehavior, Tokenizer};

use crate::config::{Splitting, Template, TokenizerClass};

/// Keeps of `inner` the vocabulary and the added tokens, and has the rest as `class` has it. What looks up pieces of another kind
/// is left as it is: the class is named by mistake then.
pub(super) fn rebuild(inner: &mut Tokenizer, class: &TokenizerClass) -> Result<()> {
    let (normalizer, pre_tokenizer): (Option<NormalizerWrapper>, PreTokenizerWrapper) =
        match (&class.splitting, inner.get_model()) {
            (&Splitting::Words { lowercase, strip_accents, handle_chinese_chars }, ModelWrapper::WordPiece(_)) => {
                let normalizer = BertNormalizer::new(true, handle_chinese_chars, strip_accents, lowercase);
                (Some(normalizer.into()), BertPreTokenizer.into())
            }
            (&Splitting::Bytes { add_prefix_space }, ModelWrapper::BPE(_)) => {
                (None, ByteLevel::new(add_prefix_space, true, true).into())
            }
            (&Splitting::Pieces { add_prefix_space }, ModelWrapper::Unigram(_)) => {
                let scheme = if add_prefix_space { PrependScheme::Always } else { PrependScheme::Never };
                let words = [WhitespaceSplit.into(), Metaspace::new('▁', scheme, true).into()];
                (character_map(inner.get_normalizer()), Sequence::new(words.into()).into())
            }
            (&Splitting::EvenPieces { lowercase, split_by_punct, add_prefix_space }, ModelWrapper::Unigram(_)) => {
                let white_space = Replace::new(ReplacePattern::Regex(r"\s{2,}|[\n\r\t]".to_owned()), " ")?;
                let lower = lowercase.then(|| Lowercase.into());
                let even: [NormalizerWrapper; 3] = [white_space.into(), NFC.into(), Strip::new(false, true).into()];
                let normalizer = normalizers::Sequence::new(lower.into_iter().chain(even).collect());
                let punctuation = split_by_punct.then(|| Punctuation::new(SplitDelimiterBehavior::Isolated).into());
                let scheme = if add_prefix_space { PrependScheme::Always } else { PrependScheme::First };
                let words = punctuation.into_iter().chain([Metaspace::new('▁', scheme, true).into()]);
                (Some(normalizer.into()), Sequence::new(words.collect()).into())
            }
            _ => return Ok(()),
        };
    let processor = processor(inner, class)?;
    inner.with_normalizer(normalizer)?;
    inner.with_pre_tokenizer(Some(pre_tokenizer));
    inner.with_post_processor(Some(processor));
    Ok(())
}

/// SentencePiece's table of characters that are the same, which is the model's own and stands in the file alone.
fn character_map(normalizer: Option<&NormalizerWrapper>) -> Option<NormalizerWrapper> {
    let steps = match normalizer? {
        NormalizerWrapper::Sequence(sequence) => sequence.as_ref(),
        step => std::slice::from_ref(step),
    };
    steps.iter().find(|step| matches!(step, NormalizerWrapper::Precompiled(_))).cloned()
}

fn processor(inner: &Tokenizer, class: &TokenizerClass) -> Result<TemplateProcessing> {
    let TokenizerClass { template, first_token: first, last_token: last, .. } = class;
    let special = [first, last].map(|token| {
        let id = inner.token_to_id(token).ok_or_else(|| format!("has no token {token:?}"))?;
        Ok::<_, String>((token.clone(), id))
    });
    let special = special.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
    let typed = |pieces: &[&str], type_id| pieces.iter().map(|piece| format!("{piece}:{type_id}")).collect::<Vec<_>>();
    let second = match template {
        Template::Bert => typed(&["$B", last], 1),
        Template::Roberta => typed(&[last, "$B", last], 0),
    };
    let single = typed(&[first, "$A", last], 0);
    let processor = TemplateProcessing::builder()
        .try_single(single.clone())?
        .try_pair([single, second].concat())?
        .special_tokens(special)
        .build()?;
    Ok(processor)
}
