//! Cutting a long text where no token changes.
//!
//! There is no published source; the argument below follows the steps of the tokenizers library (0.23).
//!
//! ```text
//! of a tokenizer: kinds of boundaries that its normalizer keeps, its pre-tokenizer splits at, and no added token crosses
//! of a text: the first place after (or the last before) a byte that looks like a boundary of these kinds
//!     letter letter | space letter      if normalizing the three characters leaves letters, one space, letters
//!     letter letter | mark              mark mark | mark              ideograph ideograph | ideograph
//! ```
//!
//! The claim: where [`Boundaries`] says that `text` has a boundary at `p`, the tokens of `text` are those of `text[..p]` followed by
//! those of `text[p..]`. Why it holds, step by step of the tokenizers library, for a letter `a` before a letter, space and letter
//! `b` (` ` and `b` are behind the boundary):
//!
//! * **Added tokens in the text as it is.** The search goes from the left, so that a match depends on what is before it only by
//!   where the one before ended. One across `p` would have a letter before a space in it, and no token has. A token that strips
//!   white space reaches over `p` only if it ends with `a` or begins with `b`, and none that strips does.
//! * **Normalizers.** All that are accepted look at single characters, at grapheme clusters, at a character and the combining ones
//!   behind it, or at runs of white space. `a` follows a letter, and all three are letters that neither combine nor extend others, so
//!   that each is by itself; the run of white space is the one space. What becomes of these three characters is tried out:
//!   it must be letters, one space and letters. Stripping the text's left end would take the space behind `p`: not accepted.
//! * **Added tokens in the normalized text.** As above, with their normalized forms.
//! * **Pre-tokenizers.** One splits at the space, whatever else is around; those before it split at single characters, those behind
//!   it take each piece by itself. (The regular expressions of GPT-2 and Qwen match from the left, without looking back; a match
//!   with `a` in it cannot go on with a space, and what was tried at and before `a` ended there. A space at the start of a text
//!   keeps a prefix from being put before it, where the text within has none either.)
//! * **Models** look up each piece by itself.
//!
//! A mark of punctuation behind a letter, one behind two others, and an ideograph behind another, are boundaries by the same reasons
//! where nothing maps them to anything else, and the pre-tokenizer splits there.
//!
//! Only where the library's regular expressions give up (a run of a million spaces) may the parts be split better than the whole.

use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::split::SplitPattern;
use tokenizers::{NormalizedString, Normalizer, SplitDelimiterBehavior, Tokenizer};

use crate::text::tokenizer_class::QWEN_WORDS;

/// Runs of white space as the classes of transformers replace them.
const WHITE_SPACE: [&str; 2] = [r"\s{2,}|[\n\r\t]", " {2,}"];

const MARKS: [char; 10] = [',', '.', ';', ':', '!', '?', '、', '。', '，', '！'];

/// The kinds of boundaries that a tokenizer leaves alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Boundaries {
    /// Before a space between letters.
    spaces: bool,
    /// Between a letter and a mark of punctuation.
    marks: bool,
    /// Between two marks of punctuation.
    runs: bool,
    /// Between two ideographs.
    ideographs: bool,
}

impl Boundaries {
    const NONE: Self = Self { spaces: false, marks: false, runs: false, ideographs: false };

    pub(super) fn new(inner: &Tokenizer) -> Self {
        let normalizer = inner.get_normalizer();
        let (Some(kept), Some(split)) =
            (normalizer.map_or(Some(Self::all()), kept_by), inner.get_pre_tokenizer().and_then(split_by))
        else {
            return Self::NONE;
        };
        let spaced = matches!(normalizer, Some(NormalizerWrapper::BertNormalizer(bert)) if bert.handle_chinese_chars);
        let mut found = kept.and(split).and(Self { ideographs: spaced, ..Self::all() });
        for token in inner.get_added_tokens_decoder().values() {
            let normalized =
                normalizer.filter(|_| token.normalized).map(|normalizer| apply(normalizer, &token.content));
            for form in std::iter::once(token.content.clone()).chain(normalized) {
                let ends = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
                let strips =
                    token.rstrip && ends(form.chars().next_back()) || token.lstrip && ends(form.chars().next());
                found = if strips { Self::NONE } else { found.and(uncrossed_by(&form)) };
            }
        }
        found
    }

    fn all() -> Self {
        Self { spaces: true, marks: true, runs: true, ideographs: true }
    }

    fn and(self, other: Self) -> Self {
        Self {
            spaces: self.spaces && other.spaces,
            marks: self.marks && other.marks,
            runs: self.runs && other.runs,
            ideographs: self.ideographs && other.ideographs,
        }
    }

    /// The first boundary from `start` on.
    pub(super) fn after(&self, inner: &Tokenizer, text: &str, start: usize) -> Option<usize> {
        if *self == Self::NONE {
            return None;
        }
        let start = text.floor_char_boundary(start);
        text[start..].char_indices().map(|(i, _)| start + i).find(|&place| self.is_at(inner, text, place))
    }

    /// The last boundary up to `end`.
    pub(super) fn before(&self, inner: &Tokenizer, text: &str, end: usize) -> Option<usize> {
        if *self == Self::NONE {
            return None;
        }
        let end = text.floor_char_boundary(end);
        let earlier = text[..end].char_indices().rev().map(|(i, _)| i);
        std::iter::once(end).chain(earlier).find(|&place| self.is_at(inner, text, place))
    }

    fn is_at(&self, inner: &Tokenizer, text: &str, place: usize) -> bool {
        let (before, behind) = text.split_at(place);
        let mut behind = behind.chars();
        let Some(next) = behind.next() else { return false };
        let could_be = match next {
            ' ' => self.spaces,
            next if MARKS.contains(&next) => self.marks || self.runs,
            next => self.ideographs && is_ideograph(next),
        };
        let mut before = before.chars().rev();
        let (Some(last), Some(earlier)) = (before.next(), before.next()) else { return false };
        let is_run = [last, earlier, next].iter().all(|c| MARKS.contains(c));
        if could_be && self.runs && is_run {
            return true;
        }
        if !could_be || !is_letter(last) || !is_letter(earlier) {
            return false;
        }
        match next {
            ' ' => behind.next().is_some_and(|first| is_letter(first) && stays(inner, last, first)),
            next if MARKS.contains(&next) => self.marks,
            _ => is_ideograph(last),
        }
    }
}

/// Letters and digits, one code point each, that neither combine with what is beside them nor extend it. (No digit that is no
/// ASCII, no letter of a script that forms clusters.)
fn is_letter(c: char) -> bool {
    matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | 'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ɏ' | 'Α'..='Ρ' | 'Σ'..='ω'
        | 'А'..='я' | 'Ё' | 'ё' | 'א'..='ת' | 'ء'..='غ' | 'ف'..='ي' | 'ぁ'..='ゖ' | 'ァ'..='ヺ' | '가'..='힣')
        || is_ideograph(c)
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fef}')
}

/// Whether a space between these letters remains one, and they letters.
fn stays(inner: &Tokenizer, last: char, first: char) -> bool {
    let Some(normalizer) = inner.get_normalizer() else { return true };
    let normalized = apply(normalizer, &format!("{last} {first}"));
    let are_letters = |part: &str| !part.is_empty() && part.chars().all(char::is_alphanumeric);
    normalized.split_once(' ').is_some_and(|(last, first)| are_letters(last) && are_letters(first))
}

/// `text` as the normalizer leaves it; a space where it fails, which no boundary survives.
fn apply(normalizer: &NormalizerWrapper, text: &str) -> String {
    let mut normalized = NormalizedString::from(text);
    match normalizer.normalize(&mut normalized) {
        Ok(()) => normalized.get().to_owned(),
        Err(_) => " ".to_owned(),
    }
}

/// The boundaries that an added token never crosses.
fn uncrossed_by(form: &str) -> Boundaries {
    let chars: Vec<char> = form.chars().collect();
    let is_space = |c: char| c.is_whitespace() || c == '▁';
    let has = |pair: &dyn Fn(char, char) -> bool| chars.windows(2).any(|two| pair(two[0], two[1]));
    Boundaries {
        spaces: !has(&|a, b| a.is_alphanumeric() && is_space(b)),
        marks: !has(&|a, b| a.is_alphanumeric() && MARKS.contains(&b)),
        runs: !has(&|a, b| MARKS.contains(&a) && MARKS.contains(&b)),
        // The normalized form of one has a space on both sides.
        ideographs: chars.iter().filter(|&&c| is_ideograph(c)).count() < 2 && !has(&|a, b| is_space(a) && is_space(b)),
    }
}

/// What normalizing the whole of a text and its parts does alike; None where it does not.
fn kept_by(normalizer: &NormalizerWrapper) -> Option<Boundaries> {
    let all = Boundaries::all();
    match normalizer {
        NormalizerWrapper::Sequence(steps) => {
            steps.as_ref().iter().try_fold(all, |kept, step| Some(kept.and(kept_by(step)?)))
        }
        NormalizerWrapper::BertNormalizer(_)
        | NormalizerWrapper::StripAccents(_)
        | NormalizerWrapper::NFC(_)
        | NormalizerWrapper::NFD(_)
        | NormalizerWrapper::NFKC(_)
        | NormalizerWrapper::NFKD(_)
        | NormalizerWrapper::Lowercase(_) => Some(all),
        NormalizerWrapper::StripNormalizer(strip) => (!strip.strip_left).then_some(all),
        // It may make anything of a mark.
        NormalizerWrapper::Precompiled(_) => Some(Boundaries { marks: false, runs: false, ideographs: false, ..all }),
        NormalizerWrapper::Replace(replace) => {
            let value = serde_json::to_value(replace).ok()?;
            let pattern = value.get("pattern")?;
            let runs = pattern.get("Regex").and_then(|regex| regex.as_str());
            let single = pattern.get("String").and_then(|text| text.as_str());
            let is_local = runs.is_some_and(|regex| WHITE_SPACE.contains(&regex))
                || single.is_some_and(|text| text.chars().count() == 1);
            is_local.then_some(Boundaries { marks: false, runs: false, ideographs: false, ..all })
        }
        NormalizerWrapper::Nmt(_) | NormalizerWrapper::Prepend(_) | NormalizerWrapper::ByteLevel(_) => None,
    }
}

/// Where a pre-tokenizer splits whatever else is around; None where it may not split at spaces.
fn split_by(step: &PreTokenizerWrapper) -> Option<Boundaries> {
    let spaces = Boundaries { spaces: true, ..Boundaries::NONE };
    match step {
        PreTokenizerWrapper::BertPreTokenizer(_) => Some(Boundaries::all()),
        PreTokenizerWrapper::Whitespace(_) => Some(Boundaries { marks: true, ..spaces }),
        PreTokenizerWrapper::WhitespaceSplit(_) => Some(spaces),
        PreTokenizerWrapper::Metaspace(metaspace) => metaspace.split.then_some(spaces),
        PreTokenizerWrapper::ByteLevel(bytes) => {
            bytes.use_regex.then_some(Boundaries { marks: !bytes.add_prefix_space, ..spaces })
        }
        PreTokenizerWrapper::Split(split) => {
            let is_qwens = matches!(&split.pattern, SplitPattern::Regex(regex) if regex == QWEN_WORDS);
            let isolates = split.behavior == SplitDelimiterBehavior::Isolated && !split.invert;
            (is_qwens && isolates).then_some(Boundaries { marks: true, ..spaces })
        }
        PreTokenizerWrapper::Sequence(steps) => {
            let single = |step: &&PreTokenizerWrapper| {
                matches!(step, PreTokenizerWrapper::Punctuation(_) | PreTokenizerWrapper::Digits(_))
            };
            let steps = steps.as_ref();
            let first = steps.iter().take_while(single).count();
            let (splitter, rest) = steps[first..].split_first()?;
            let each_alone = rest.iter().all(|step| {
                single(&step) || matches!(step, PreTokenizerWrapper::Metaspace(_) | PreTokenizerWrapper::ByteLevel(_))
            });
            let split = split_by(splitter).filter(|_| each_alone)?;
            Some(if first == 0 { split } else { spaces })
        }
        PreTokenizerWrapper::Delimiter(_)
        | PreTokenizerWrapper::Punctuation(_)
        | PreTokenizerWrapper::Digits(_)
        | PreTokenizerWrapper::UnicodeScripts(_)
        | PreTokenizerWrapper::FixedLength(_) => None,
    }
}
