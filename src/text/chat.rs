//! Texts and pairs as chats, tokenized as sentence-transformers does it.
//!
//! Reference: `Transformer._process_chat_messages` and `_restore_chat_template_suffix` of sentence-transformers 6.2. A text is what a
//! user says, a pair is what "query" and "document" say, a prompt is what the system says before them. The template writes one text,
//! which is cut to the greatest length; over the last tokens of one that was cut goes the end that the template gives every chat.
//!
//! Unlike there, the name of a special token within a text that is not the template's stays text.

use crate::config::ChatTemplateConfig;
use crate::text::chat_template::{ChatMessage, ChatTemplate};
use crate::text::inputs::{Input, InputKind};
use crate::text::tokenizer::Tokenizer;
use crate::text::tokens::Tokens;
use crate::text::truncation::{LengthLimit, Truncation};
use crate::{CancelCheck, Error, Result};

/// Pairs that differ in one of their texts.
const PROBES: [Input; 3] =
    [Input::Pair("alpha", "bravo"), Input::Pair("charlie", "bravo"), Input::Pair("alpha", "foxtrot")];

/// Texts that are tokenized into different tokens, one and several.
const FILLERS: [&str; 2] = ["0", "1 2 3 4"];

/// Characters of no meaning that stand for the name of a special token while a template is rendered: the mark, and the token's number.
const MARK: char = '\u{F0000}';
const FIRST_NUMBER: u32 = 0x10_0000;

pub(super) struct Chat(ChatTemplate);

impl Chat {
    pub(super) fn new(config: &ChatTemplateConfig) -> Result<Self> {
        ChatTemplate::new(config).map(Self)
    }

    /// Whether all texts of inputs of this kind reach what the template writes; where it `must`, an error says that they do not.
    pub(super) fn shows_inputs(&self, kind: InputKind, must: bool) -> Result<bool> {
        let (probes, what) = match kind {
            InputKind::Text => (&[Input::Text("alpha"), Input::Text("charlie")][..], "what a \"user\" says"),
            InputKind::Pair | InputKind::Question => (&PROBES[..], "what \"query\" and \"document\" say"),
        };
        let texts = probes.iter().map(|&probe| self.text(probe, None)).collect::<Result<Option<Vec<_>>>>()?;
        let carries = texts.is_some_and(|texts| texts[1..].iter().all(|text| *text != texts[0]));
        // The reference would make a vector that says nothing of a text that the template does not show.
        match carries || !(must || kind == InputKind::Text) {
            true => Ok(carries),
            false => Err(self
                .0
                .error(format_args!("the chat template does not show {what}: what it writes is always the same"))),
        }
    }

    /// What the template writes.
    pub(super) fn text(&self, input: Input, instruction: Option<&str>) -> Result<Option<String>> {
        let system = instruction.map(|instruction| ("system", instruction));
        let messages: &[ChatMessage] = match input {
            Input::Text(text) => &[("user", text)],
            Input::Pair(query, document) => &[("query", query), ("document", document)],
        };
        self.0.render(&system.into_iter().chain(messages.iter().copied()).collect::<Vec<_>>())
    }

    pub(super) fn tokens(
        &self,
        tokenizer: &Tokenizer,
        input: Input,
        instruction: Option<&str>,
        limit: LengthLimit,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Tokens> {
        if limit.truncation == Truncation::Left {
            return self.tokens_without_first(tokenizer, input, instruction, limit.tokens, check_cancel);
        }
        let (mut ids, truncated) = self.ids(tokenizer, input, instruction, limit, check_cancel)?;
        if ids.len() >= limit.tokens {
            self.restore_end(tokenizer, input, instruction, &mut ids)?;
        }
        Ok(Tokens { ids, type_ids: None, truncated })
    }

    /// The tokens of a chat, of which those are cut off that its last text begins with.
    fn tokens_without_first(
        &self,
        tokenizer: &Tokenizer,
        input: Input,
        instruction: Option<&str>,
        room: usize,
        check_cancel: CancelCheck<'_>,
    ) -> Result<Tokens> {
        let ids = |input| Ok::<_, Error>(self.ids(tokenizer, input, instruction, LengthLimit::NONE, check_cancel)?.0);
        let mut all = ids(input)?;
        let truncated = all.len() > room;
        if truncated {
            let filled = |filler| match input {
                Input::Text(_) => Input::Text(filler),
                Input::Pair(query, _) => Input::Pair(query, filler),
            };
            let (first, second) = (ids(filled(FILLERS[0]))?, ids(filled(FILLERS[1]))?);
            let chats = first.iter().zip(&second).zip(&all);
            let before = chats.take_while(|((a, b), id)| a == b && a == id).count().min(room);
            all.drain(before..before + all.len() - room);
            self.restore_end(tokenizer, input, instruction, &mut all)?;
        }
        Ok(Tokens { ids: all, type_ids: None, truncated })
    }

    /// Has a chat's last tokens be those that all chats with this instruction end with.
    fn restore_end(
        &self,
        tokenizer: &Tokenizer,
        input: Input,
        instruction: Option<&str>,
        ids: &mut [u32],
    ) -> Result<()> {
        let end = self.end(tokenizer, input, instruction)?;
        let kept = end.len().min(ids.len());
        let place = ids.len() - kept;
        ids[place..].copy_from_slice(&end[end.len() - kept..]);
        Ok(())
    }

    /// The tokens that all chats with this instruction end with.
    fn end(&self, tokenizer: &Tokenizer, input: Input, instruction: Option<&str>) -> Result<Vec<u32>> {
        let filled = |filler| match input {
            Input::Text(_) => Input::Text(filler),
            Input::Pair(..) => Input::Pair(filler, filler),
        };
        let ids =
            |filler| Ok::<_, Error>(self.ids(tokenizer, filled(filler), instruction, LengthLimit::NONE, &|| Ok(()))?.0);
        let (first, second) = (ids(FILLERS[0])?, ids(FILLERS[1])?);
        let common = first.iter().rev().zip(second.iter().rev()).take_while(|(a, b)| a == b).count();
        // Chats that are the same throughout show nothing of what is said.
        let common = if common < first.len().min(second.len()) { common } else { 0 };
        Ok(first[first.len() - common..].to_vec())
    }

    /// The tokens of what the template writes, cut at one end, and whether they were.
    fn ids(
        &self,
        tokenizer: &Tokenizer,
        input: Input,
        instruction: Option<&str>,
        limit: LengthLimit,
        check_cancel: CancelCheck<'_>,
    ) -> Result<(Vec<u32>, bool)> {
        let room = limit.tokens;
        let specials = tokenizer.special_tokens();
        let marked = |text: &str| mark(text, specials);
        let instruction = instruction.map(&marked);
        let (first, second);
        let input = match input {
            Input::Text(text) => {
                first = marked(text);
                Input::Text(&first)
            }
            Input::Pair(query, document) => {
                (first, second) = (marked(query), marked(document));
                Input::Pair(&first, &second)
            }
        };
        let refused = || self.0.error("the chat template refuses this input");
        let text = self.text(input, instruction.as_deref())?.ok_or_else(refused)?;
        let from_left = tokenizer.truncates_left(limit.truncation);
        let (mut ids, mut truncated) = (Vec::new(), false);
        let mut rest = text.as_str();
        while !rest.is_empty() && !truncated {
            let next = first_of(rest, specials);
            let (before, token) = next.map_or((rest, None), |(at, special)| (&rest[..at], Some(special)));
            if !before.is_empty() {
                let left = if from_left { usize::MAX } else { room - ids.len() };
                let left = limit.with_tokens(left);
                let (pieces, cut) = tokenizer.pieces_within(&unmark(before, specials), left, check_cancel)?;
                ids.extend(pieces);
                truncated |= cut;
            }
            rest = &rest[before.len()..];
            if let (Some((name, id)), false) = (token, truncated) {
                ids.push(*id);
                rest = &rest[name.len()..];
            }
            truncated |= !from_left && ids.len() >= room && !rest.is_empty();
        }
        if ids.len() > room {
            truncated = true;
            match from_left {
                true => drop(ids.drain(..ids.len() - room)),
                false => ids.truncate(room),
            }
        }
        Ok((ids, truncated))
    }
}

/// The first special token in a text, the longest of those that begin there, and where.
fn first_of<'a>(text: &str, specials: &'a [(String, u32)]) -> Option<(usize, &'a (String, u32))> {
    let found = specials.iter().filter_map(|special| Some((text.find(&special.0)?, special)));
    found.min_by_key(|(at, special)| (*at, std::cmp::Reverse(special.0.len())))
}

/// The text with marks in place of special tokens.
fn mark(text: &str, specials: &[(String, u32)]) -> String {
    let mut marked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, special)) = first_of(rest, specials) {
        let number = specials.iter().position(|other| std::ptr::eq(other, special)).unwrap_or_default() as u32;
        marked.push_str(&rest[..at]);
        marked.push(MARK);
        marked.extend(char::from_u32(FIRST_NUMBER + number));
        rest = &rest[at + special.0.len()..];
    }
    marked.push_str(rest);
    marked
}

/// The text with the names of special tokens in place of marks.
fn unmark(text: &str, specials: &[(String, u32)]) -> String {
    let mut unmarked = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        let number = if character == MARK { rest.as_str().chars().next() } else { None };
        let name = number.and_then(|number| specials.get((number as usize).checked_sub(FIRST_NUMBER as usize)?));
        match name {
            Some((name, _)) => {
                unmarked.push_str(name);
                rest.next();
            }
            None => unmarked.push(character),
        }
    }
    unmarked
}
