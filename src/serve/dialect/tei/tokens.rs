//! Tokens as text, and text as tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::answer::empty;
use crate::Error;
use crate::serve::aside::aside;
use crate::serve::decoding::decoded;
use crate::serve::dialect::Exchange;
use crate::serve::fault::{Fault, FaultKind};
use crate::serve::reply::json_of;
use crate::text::Tokenizer;

#[derive(Deserialize)]
pub(super) struct TokenizeBody {
    inputs: TokenizeField,
    add_special_tokens: Option<bool>,
    prompt_name: Option<String>,
    model: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
enum TokenizeField {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
pub(super) struct DecodeBody {
    ids: IdsField,
    skip_special_tokens: Option<bool>,
    model: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a list of token ids, or a list of such lists")]
enum IdsField {
    One(Vec<u32>),
    Many(Vec<Vec<u32>>),
}

/// A token, and the bytes of the prompt and the text that it stands for.
#[derive(Serialize)]
struct SpelledToken {
    id: u32,
    text: String,
    special: bool,
    start: Option<usize>,
    stop: Option<usize>,
}

/// Tells work on another thread that nobody waits for it any more.
struct GoneOnDrop(Arc<AtomicBool>);

impl Drop for GoneOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(super) async fn tokenize(Exchange { app, body, .. }: Exchange<TokenizeBody>) -> Result<Response, Fault> {
    let texts = match body.inputs {
        TokenizeField::One(text) => vec![text],
        TokenizeField::Many(texts) => texts,
    };
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        return Err(empty("inputs"));
    }
    app.check_inputs("inputs", texts.len())?;
    let (_, model) = app.registry.model(body.model.as_deref()).await?;
    let prompt = model.prompt("prompt_name", body.prompt_name.as_deref())?;
    let with_special = body.add_special_tokens.unwrap_or(true);
    let gone = GoneOnDrop(Arc::default());
    let is_gone = gone.0.clone();
    let tokens = aside("making tokens", move || {
        let tokenizer = model.routes.main().network().tokenizer();
        let check_cancel = || if is_gone.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) };
        let spell = |text: &String| spelled(tokenizer, &[prompt.as_str(), text].concat(), with_special, &check_cancel);
        texts.iter().map(spell).collect::<Result<Vec<_>, _>>()
    });
    Ok(json_of(&tokens.await?))
}

pub(super) async fn decode(Exchange { app, body, .. }: Exchange<DecodeBody>) -> Result<Response, Fault> {
    let lists = match body.ids {
        IdsField::One(ids) => vec![ids],
        IdsField::Many(lists) => lists,
    };
    if lists.is_empty() || lists.iter().any(Vec::is_empty) {
        return Err(empty("ids"));
    }
    app.check_inputs("ids", lists.len())?;
    let (_, model) = app.registry.model(body.model.as_deref()).await?;
    Ok(json_of(&decoded("ids", lists, model, !body.skip_special_tokens.unwrap_or(true)).await?))
}

fn spelled(
    tokenizer: &Tokenizer,
    text: &str,
    with_special: bool,
    check_cancel: crate::CancelCheck<'_>,
) -> Result<Vec<SpelledToken>, Fault> {
    let (ids, _) = tokenizer.ids(text, None, with_special, usize::MAX, check_cancel)?;
    let spans = tokenizer.token_spans(text, check_cancel)?;
    let [before, behind] = if with_special { tokenizer.special_around()? } else { [0, 0] };
    if ids.len() != before + spans.len() + behind {
        return Err(Fault::new(FaultKind::Failed, "the tokenizer does not say which bytes its tokens stand for"));
    }
    let token = |(place, id): (usize, u32)| match place.checked_sub(before).and_then(|place| spans.get(place)) {
        Some(span) => SpelledToken {
            id,
            text: String::from_utf8_lossy(&text.as_bytes()[span.clone()]).into_owned(),
            special: false,
            start: Some(span.start),
            stop: Some(span.end),
        },
        None => {
            SpelledToken { id, text: tokenizer.token(id).unwrap_or_default(), special: true, start: None, stop: None }
        }
    };
    Ok(ids.into_iter().enumerate().map(token).collect())
}
