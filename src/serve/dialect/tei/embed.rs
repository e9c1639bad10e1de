//! Vectors: of texts, of their tokens, and compared.

use std::sync::Arc;

use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::answer::{Direction, Effort, empty, options};
use crate::serve::agreement::cosine;
use crate::serve::call::{self, EmbedCall, FieldNames, PromptChoice};
use crate::serve::decoding::decoded;
use crate::serve::dialect::Exchange;
use crate::serve::fault::Fault;
use crate::serve::fields::TextField;
use crate::serve::reply::{NUMBER_BYTES, write_floats, write_list, written};
use crate::serve::served_model::{Purpose, Role, ServedModel};

const NAMES: FieldNames = FieldNames { texts: "inputs", dimensions: "dimensions" };

#[derive(Deserialize)]
pub(super) struct EmbedBody {
    inputs: TextField,
    truncate: Option<bool>,
    truncation_direction: Option<Direction>,
    prompt_name: Option<String>,
    normalize: Option<bool>,
    dimensions: Option<usize>,
    model: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct SimilarityBody {
    inputs: Comparison,
    parameters: Option<SimilarityParameters>,
    model: Option<String>,
}

#[derive(Deserialize)]
struct Comparison {
    source_sentence: String,
    sentences: Vec<String>,
}

#[derive(Deserialize, Default)]
struct SimilarityParameters {
    truncate: Option<bool>,
    truncation_direction: Option<Direction>,
    prompt_name: Option<String>,
}

impl EmbedBody {
    async fn call(self, model: &Arc<ServedModel>) -> Result<EmbedCall, Fault> {
        Ok(EmbedCall {
            texts: texts(self.inputs, model).await?,
            names: NAMES,
            prompt: prompt(self.prompt_name),
            dimensions: self.dimensions,
            normalize: self.normalize.unwrap_or(true),
            options: options(self.truncate, self.truncation_direction),
        })
    }
}

pub(super) async fn embed(Exchange { app, body, .. }: Exchange<EmbedBody>) -> Result<Response, Fault> {
    let (slot, model) = app.registry.fitting(body.model.as_deref(), Role::gives_vectors).await?;
    let mut effort = Effort::new(&model);
    model.dimension()?;
    let call = body.call(&model).await?;
    effort.characters = characters(&call.texts);
    let computed = call::embed(&app, Some(&slot.name), call).await?;
    let (outcome, numbers) = (computed.outcome.clone(), computed.values.len());
    let write = move |json: &mut Vec<u8>| {
        write_list(json, computed.rows(), write_floats);
        Ok(())
    };
    Ok(effort.answer(written(numbers * NUMBER_BYTES, write).await?, outcome))
}

pub(super) async fn embed_all(Exchange { app, body, .. }: Exchange<EmbedBody>) -> Result<Response, Fault> {
    let (slot, model) = app.registry.fitting(body.model.as_deref(), Role::gives_vectors).await?;
    let mut effort = Effort::new(&model);
    model.dimension()?;
    let call = body.call(&model).await?;
    effort.characters = characters(&call.texts);
    let mut states = call::embed_tokens(&app, Some(&slot.name), call).await?;
    let outcome = std::mem::take(&mut states.outcome);
    let numbers = states.values.len();
    let write = move |json: &mut Vec<u8>| {
        let mut tokens = states.values.chunks_exact(states.width.max(1));
        write_list(json, &states.lengths, |json, &length| write_list(json, tokens.by_ref().take(length), write_floats));
        Ok(())
    };
    Ok(effort.answer(written(numbers.saturating_mul(NUMBER_BYTES), write).await?, outcome))
}

pub(super) async fn embed_sparse(_: Exchange<Map<String, Value>>) -> Result<Response, Fault> {
    Err(Fault::unsuited("this server has no model with sparse vectors; POST to /embed for dense ones"))
}

/// The cosine of the source with each sentence.
pub(super) async fn similarity(Exchange { app, body, .. }: Exchange<SimilarityBody>) -> Result<Response, Fault> {
    if body.inputs.sentences.is_empty() {
        return Err(empty("inputs.sentences"));
    }
    let (slot, model) = app.registry.fitting(body.model.as_deref(), Role::gives_vectors).await?;
    let mut effort = Effort::new(&model);
    let parameters = body.parameters.unwrap_or_default();
    let texts: Vec<_> = std::iter::once(body.inputs.source_sentence).chain(body.inputs.sentences).collect();
    if texts[0].is_empty() {
        return Err(empty("inputs.source_sentence"));
    }
    if let Some(i) = texts[1..].iter().position(String::is_empty) {
        return Err(empty(format!("inputs.sentences[{i}]")));
    }
    effort.characters = characters(&texts);
    let call = EmbedCall {
        texts,
        names: FieldNames { texts: "inputs.sentences", ..NAMES },
        prompt: prompt(parameters.prompt_name),
        dimensions: None,
        normalize: false,
        options: options(parameters.truncate, parameters.truncation_direction),
    };
    let computed = call::embed(&app, Some(&slot.name), call).await?;
    let mut rows = computed.rows();
    let source = rows.next().unwrap_or_default();
    let cosines: Vec<f32> = rows.map(|row| cosine(source, row) as f32).collect();
    let mut json = Vec::new();
    write_floats(&mut json, &cosines);
    Ok(effort.answer(json, computed.outcome))
}

fn prompt(name: Option<String>) -> PromptChoice {
    name.map_or(PromptChoice::For(Purpose::Usual), PromptChoice::Named)
}

/// The texts of a field, none of them empty. Ids are those of the model's tokenizer.
async fn texts(field: TextField, model: &Arc<ServedModel>) -> Result<Vec<String>, Fault> {
    let texts = match field {
        TextField::One(text) => vec![text],
        TextField::Many(texts) if texts.is_empty() => return Err(empty("inputs")),
        TextField::Many(texts) => texts,
        TextField::Ids(ids) => decoded("inputs", vec![ids], model.clone(), false).await?,
        TextField::ManyIds(lists) => decoded("inputs", lists, model.clone(), false).await?,
    };
    match texts.iter().position(String::is_empty) {
        None => Ok(texts),
        Some(_) if texts.len() == 1 => Err(empty("inputs")),
        Some(i) => Err(empty(format!("inputs[{i}]"))),
    }
}

fn characters(texts: &[String]) -> usize {
    texts.iter().map(|text| text.chars().count()).sum()
}
