//! Ollama's embeddings, and what programs ask that manage its models.
//!
//! Source: Ollama's api package and its server's routes, and ollama-python. Bodies are JSON without a header that says so. A tag
//! `:latest` is implied, and names are told with it. An empty input loads the model.
//!
//! Tolerated: `options` but `num_ctx`, which say how texts are written, `verbose`, and fields that are not named below. A model that is
//! not loaded is shown without what only its files say: nothing is loaded to be described. Paths that write, pull or change models are
//! not there.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::serve::call::{Computed, EmbedCall, FieldNames, PromptChoice, embed};
use crate::serve::call_options::{CallOptions, Precedence, TokenLimit};
use crate::serve::dialect::{Dialect, Exchange, get, post};
use crate::serve::fault::{Fault, FaultKind};
use crate::serve::fields::TextField;
use crate::serve::keep_alive::KeepAlive;
use crate::serve::outcome::Outcome;
use crate::serve::registry::Slot;
use crate::serve::reply::{self, NUMBER_BYTES, json_of, write_floats, write_list, write_text, written};
use crate::serve::served_model::{Purpose, Role, ServedModel};
use crate::serve::state::App;
use crate::serve::timestamp::rfc3339_seconds;
use crate::serve::timestamp::seconds_now;
use crate::text::Truncation;

pub(super) const DIALECT: Dialect = Dialect { paths: &["/api/"], fail, assumes_json: true };

/// The version of Ollama whose interface this is: programs look whether it is new enough for them.
const OLLAMA_VERSION: &str = "0.12.0";

/// What models are said to be for, in seconds since 1970, that stay loaded for ever: the year 2300.
const FOR_EVER: u64 = 10_413_792_000;

#[derive(Deserialize)]
struct OllamaEmbedBody {
    model: Option<String>,
    input: Option<TextField>,
    truncate: Option<bool>,
    dimensions: Option<u32>,
    keep_alive: Option<KeepAlive>,
    options: Option<ModelOptions>,
}

/// A body of the older path.
#[derive(Deserialize)]
struct OllamaPromptBody {
    model: Option<String>,
    prompt: Option<String>,
    keep_alive: Option<KeepAlive>,
    options: Option<ModelOptions>,
}

#[derive(Deserialize)]
struct ShowBody {
    model: Option<String>,
    /// What `model` was called before.
    name: Option<String>,
}

#[derive(Deserialize)]
struct ModelOptions {
    /// Tokens of an input.
    num_ctx: Option<u32>,
}

/// What is wanted of one model.
struct OllamaCall<'a> {
    model: Option<&'a str>,
    texts: Vec<String>,
    field: &'static str,
    dimensions: Option<u32>,
    normalize: bool,
    truncation: Truncation,
    options: Option<ModelOptions>,
    keep_alive: Option<KeepAlive>,
}

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/api/embed", post(&DIALECT, embed_texts))
        .route("/api/embeddings", post(&DIALECT, embed_prompt))
        .route("/api/tags", get(&DIALECT, tags))
        .route("/api/ps", get(&DIALECT, running))
        .route("/api/show", post(&DIALECT, show))
        .route("/api/version", get(&DIALECT, version))
}

async fn embed_texts(Exchange { app, body, .. }: Exchange<OllamaEmbedBody>) -> Result<Response, Fault> {
    let start = Instant::now();
    let texts = match body.input {
        None => Vec::new(),
        Some(TextField::One(text)) if text.is_empty() => Vec::new(),
        Some(TextField::One(text)) => vec![text],
        Some(TextField::Many(texts)) => texts,
        Some(TextField::Ids(_) | TextField::ManyIds(_)) => {
            return Err(Fault::value("input", "invalid input type: expected a string or an array of strings"));
        }
    };
    let wanted = OllamaCall {
        model: body.model.as_deref(),
        texts,
        field: "input",
        dimensions: body.dimensions,
        normalize: true,
        truncation: if body.truncate == Some(false) { Truncation::Refuse } else { Truncation::OfModel },
        options: body.options,
        keep_alive: body.keep_alive,
    };
    let (computed, loading) = wanted.compute(&app).await?;
    let (outcome, numbers) = (computed.outcome.clone(), computed.values.len());
    let name = body.model.unwrap_or_else(|| outcome.model.clone());
    let write = move |json: &mut Vec<u8>| {
        json.extend_from_slice(br#"{"model":"#);
        write_text(json, &name);
        json.extend_from_slice(br#","embeddings":"#);
        write_list(json, computed.rows(), write_floats);
        let [total, loading] = [start.elapsed(), loading].map(|time| time.as_nanos());
        let tokens = computed.outcome.tokens;
        let times = format!(r#","total_duration":{total},"load_duration":{loading},"prompt_eval_count":{tokens}}}"#);
        json.extend_from_slice(times.as_bytes());
        Ok(())
    };
    Ok(answered(outcome, written(numbers * NUMBER_BYTES, write).await?))
}

async fn embed_prompt(Exchange { app, body, .. }: Exchange<OllamaPromptBody>) -> Result<Response, Fault> {
    let wanted = OllamaCall {
        model: body.model.as_deref(),
        texts: body.prompt.into_iter().filter(|prompt| !prompt.is_empty()).collect(),
        field: "prompt",
        dimensions: None,
        normalize: false,
        truncation: Truncation::OfModel,
        options: body.options,
        keep_alive: body.keep_alive,
    };
    let (computed, _) = wanted.compute(&app).await?;
    let mut json = br#"{"embedding":"#.to_vec();
    write_floats(&mut json, &computed.values);
    json.push(b'}');
    Ok(answered(computed.outcome, json))
}

fn answered(outcome: Outcome, json: Vec<u8>) -> Response {
    let mut response = reply::json(StatusCode::OK, json);
    response.extensions_mut().insert(outcome);
    response
}

impl OllamaCall<'_> {
    /// The vectors, and how long the model took to load.
    async fn compute(self, app: &App) -> Result<(Computed, Duration), Fault> {
        let start = Instant::now();
        let (slot, _) = app.registry.model(self.model).await?;
        let loading = start.elapsed();
        let tokens = self.options.and_then(|options| options.num_ctx).filter(|&tokens| tokens > 0);
        let max_tokens = tokens.map(|tokens| TokenLimit { tokens: tokens as usize, field: "options.num_ctx" });
        let call = EmbedCall {
            texts: self.texts,
            names: FieldNames { texts: self.field, dimensions: "dimensions" },
            prompt: PromptChoice::For(Purpose::Usual),
            // Programs send 0 for all.
            dimensions: self.dimensions.filter(|&width| width > 0).map(|width| width as usize),
            normalize: self.normalize,
            options: CallOptions { max_tokens, truncation: self.truncation, precedence: Precedence::default() },
        };
        let computed = embed(app, self.model, call).await?;
        if let Some(KeepAlive(time)) = self.keep_alive {
            slot.keep(time);
        }
        Ok((computed, loading))
    }
}

async fn tags(app: App, _request: Request) -> Result<Response, Fault> {
    let modified = rfc3339_seconds(app.started());
    let models = app.registry.slots().iter().map(|slot| {
        let mut entry = described(slot);
        entry.insert("modified_at".to_owned(), modified.clone().into());
        entry
    });
    Ok(json_of(&json!({"models": models.collect::<Vec<_>>()})))
}

async fn running(app: App, _request: Request) -> Result<Response, Fault> {
    let loaded = app.registry.slots().iter().filter_map(|slot| Some((slot, slot.loaded()?)));
    let models = loaded.map(|(slot, model)| {
        let mut entry = described(slot);
        let expires = app.registry.time_left(slot).map(|left| seconds_now().saturating_add(left.as_secs()));
        let is_cpu = model.routes.main().network().device().name() == "cpu";
        let in_device = if is_cpu { 0 } else { model.routes.weight_bytes() };
        entry.insert("expires_at".to_owned(), rfc3339_seconds(expires.unwrap_or(FOR_EVER).min(FOR_EVER)).into());
        entry.insert("size_vram".to_owned(), in_device.into());
        entry.insert("context_length".to_owned(), context(&model).into());
        entry
    });
    Ok(json_of(&json!({"models": models.collect::<Vec<_>>()})))
}

async fn show(Exchange { app, body, .. }: Exchange<ShowBody>) -> Result<Response, Fault> {
    let slot = app.registry.slot(body.model.or(body.name).as_deref())?;
    let (mut facts, mut capabilities) = (Map::new(), Vec::new());
    if let Some(model) = slot.loaded() {
        facts.insert("general.architecture".to_owned(), "votive".into());
        facts.insert("general.parameter_count".to_owned(), model.routes.main().network().parameters().into());
        facts.insert("votive.context_length".to_owned(), context(&model).into());
        match model.role {
            Role::Embedder { dimension } => {
                facts.insert("votive.embedding_length".to_owned(), dimension.into());
                capabilities.push("embedding");
            }
            Role::Reranker { .. } => capabilities.push("rerank"),
        }
    }
    Ok(json_of(&json!({
        "license": "",
        "modelfile": format!("FROM {}", slot.name),
        "parameters": "",
        "template": "",
        "details": details(slot),
        "model_info": facts,
        "capabilities": capabilities,
        "modified_at": rfc3339_seconds(app.started()),
    })))
}

async fn version(_app: App, _request: Request) -> Result<Response, Fault> {
    Ok(json_of(&json!({"version": OLLAMA_VERSION, "votive": env!("CARGO_PKG_VERSION")})))
}

/// What lists say of a model.
fn described(slot: &Slot) -> Map<String, Value> {
    let name = match slot.name.rsplit('/').next().is_some_and(|last| last.contains(':')) {
        true => slot.name.clone(),
        false => format!("{}:latest", slot.name),
    };
    let mut entry = Map::new();
    entry.insert("name".to_owned(), name.clone().into());
    entry.insert("model".to_owned(), name.into());
    entry.insert("size".to_owned(), slot.loaded().map_or(0, |model| model.routes.weight_bytes()).into());
    // Of the name: programs use it as a key, and the files of a model that is not loaded are not read.
    entry.insert("digest".to_owned(), format!("{:x}", Sha256::digest(slot.name.as_bytes())).into());
    entry.insert("details".to_owned(), details(slot));
    entry
}

fn details(slot: &Slot) -> Value {
    let model = slot.loaded();
    let network = model.as_ref().map(|model| model.routes.main().network());
    let is_gguf = network.is_some_and(|network| network.gguf().is_ok_and(|files| !files.is_empty()));
    let format = if is_gguf { "gguf" } else { "safetensors" };
    let family = if network.is_some() { "votive" } else { "" };
    json!({
        "parent_model": "",
        "format": network.map_or("", |_| format),
        "family": family,
        "families": network.map_or_else(Vec::new, |_| vec![family]),
        "parameter_size": network.map_or_else(String::new, |network| rounded(network.parameters())),
        "quantization_level": network.map_or("", |network| network.body().dtype().name()),
    })
}

/// The most tokens of an input; 0 for no limit.
fn context(model: &ServedModel) -> usize {
    model.max_tokens().ok().flatten().unwrap_or_default()
}

/// A number of parameters as Ollama tells it: "22.71M".
fn rounded(parameters: usize) -> String {
    let parameters = parameters as f64;
    match parameters {
        1e9.. => format!("{:.1}B", parameters / 1e9),
        1e6.. => format!("{:.2}M", parameters / 1e6),
        1e3.. => format!("{:.2}K", parameters / 1e3),
        _ => format!("{parameters}"),
    }
}

fn fail(fault: &Fault) -> Response {
    let message = match fault.kind {
        // The words by which programs know it.
        FaultKind::TooLong => format!("the input length exceeds the context length: {}", fault.message),
        _ => fault.message.clone(),
    };
    reply::json(fault.kind.status(), json!({"error": message}).to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_that_stay_for_ever_expire_in_2300() {
        assert_eq!(rfc3339_seconds(FOR_EVER), "2300-01-01T00:00:00Z");
    }

    #[test]
    fn sizes_are_rounded() {
        assert_eq!([999, 22_713_216, 595_776_512, 7_600_000_000].map(rounded), ["999", "22.71M", "595.78M", "7.6B"]);
    }
}
