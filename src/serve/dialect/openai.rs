//! OpenAI's embeddings and list of models.
//!
//! Source: github.com/openai/openai-openapi, and what openai-python and openai-node send. Both ask for base64 where their caller
//! names no format, and Node decodes whatever comes as that. LangChain sends token ids of OpenAI's vocabulary unless it is told not
//! to: they are refused, since this model's ids are others, unless the server is told that clients send its own.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::serve::arrow::{ARROW_STREAM, arrow_stream};
use crate::serve::call::{Computed, EmbedCall, FieldNames, PromptChoice, embed};
use crate::serve::call_options::CallOptions;
use crate::serve::decoding::decoded;
use crate::serve::dialect::{Dialect, Exchange, get, post};
use crate::serve::fault::{Fault, FaultKind};
use crate::serve::fields::TextField;
use crate::serve::registry::Slot;
use crate::serve::reply::{
    self, BASE64_NUMBER_BYTES, NUMBER_BYTES, json_of, write_base64, write_floats, write_list, write_text, written,
};
use crate::serve::served_model::Purpose;
use crate::serve::state::App;

pub(super) const DIALECT: Dialect = Dialect { paths: &["/v1/models/"], fail, assumes_json: false };

/// The type of rows without JSON.
const BYTES: &str = "application/octet-stream";

const NAMES: FieldNames = FieldNames { texts: "input", dimensions: "dimensions" };

#[derive(Deserialize)]
struct EmbeddingsBody {
    input: TextField,
    model: Option<String>,
    #[serde(default)]
    encoding_format: EncodingFormat,
    dimensions: Option<usize>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum EncodingFormat {
    #[default]
    Float,
    Base64,
}

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/embeddings", post(&DIALECT, embeddings))
        .route("/embeddings", post(&DIALECT, embeddings))
        .route("/v1/models", get(&DIALECT, models))
        .route("/models", get(&DIALECT, models))
        // Names hold slashes.
        .route("/v1/models/{*name}", axum::routing::get(model))
}

async fn embeddings(Exchange { app, headers, body }: Exchange<EmbeddingsBody>) -> Result<Response, Fault> {
    let texts = match body.input {
        TextField::One(text) => vec![text],
        TextField::Many(texts) if texts.is_empty() => {
            return Err(Fault::new(FaultKind::Empty, "input: expected one text at least").about("input"));
        }
        TextField::Many(texts) => texts,
        TextField::Ids(ids) => of_ids(&app, body.model.as_deref(), vec![ids]).await?,
        TextField::ManyIds(lists) => of_ids(&app, body.model.as_deref(), lists).await?,
    };
    let prompt = PromptChoice::For(Purpose::Usual);
    let options = CallOptions::default();
    let call = EmbedCall { texts, names: NAMES, prompt, dimensions: body.dimensions, normalize: true, options };
    let computed = embed(&app, body.model.as_deref(), call).await?;
    match headers.get(ACCEPT).map(|accept| accept.as_bytes().trim_ascii()) {
        Some(accept) if accept == BYTES.as_bytes() => return Ok(bytes(computed)),
        Some(accept) if accept == ARROW_STREAM.as_bytes() => {
            let stream = arrow_stream(&computed.values, computed.width);
            let mut response = reply::typed(StatusCode::OK, ARROW_STREAM, stream);
            response.extensions_mut().insert(computed.outcome);
            return Ok(response);
        }
        _ => {}
    }
    let (outcome, numbers) = (computed.outcome.clone(), computed.values.len());
    let name = body.model.unwrap_or_else(|| outcome.model.clone());
    let is_base64 = body.encoding_format == EncodingFormat::Base64;
    let write = move |json: &mut Vec<u8>| {
        json.extend_from_slice(br#"{"object":"list","data":"#);
        write_list(json, computed.rows().enumerate(), |json, (index, row)| {
            json.extend_from_slice(format!(r#"{{"object":"embedding","index":{index},"embedding":"#).as_bytes());
            if is_base64 {
                write_base64(json, row)
            } else {
                write_floats(json, row)
            }
            json.push(b'}');
        });
        json.extend_from_slice(br#","model":"#);
        write_text(json, &name);
        let tokens = computed.outcome.tokens;
        let usage = format!(r#","usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#);
        json.extend_from_slice(usage.as_bytes());
        Ok(())
    };
    let number_bytes = if is_base64 { BASE64_NUMBER_BYTES } else { NUMBER_BYTES };
    let json = written(numbers * number_bytes, write).await?;
    let mut response = reply::json(StatusCode::OK, json);
    response.extensions_mut().insert(outcome);
    Ok(response)
}

/// The texts of token ids.
async fn of_ids(app: &App, model: Option<&str>, lists: Vec<Vec<u32>>) -> Result<Vec<String>, Fault> {
    if !app.limits.accepts_token_ids {
        let message = "these are token ids, of another tokenizer most likely; send texts. In LangChain, set \
                       check_embedding_ctx_length=False. A server takes ids of its model's own tokenizer with \
                       --token-ids accept";
        return Err(Fault::value("input", message));
    }
    app.check_inputs("input", lists.len())?;
    let (_, model) = app.registry.model(model).await?;
    decoded("input", lists, model, false).await
}

/// The numbers alone, for clients that ask for nothing else: rows of little-endian float32, and their shape in a header.
fn bytes(computed: Computed) -> Response {
    let shape = format!("{},{}", computed.outcome.inputs, computed.width);
    let rows: Vec<u8> = bytemuck::cast_slice(&computed.values).to_vec();
    let mut response = reply::typed(StatusCode::OK, BYTES, rows);
    response.headers_mut().insert("x-votive-shape", HeaderValue::try_from(shape).expect("digits and a comma"));
    response.extensions_mut().insert(computed.outcome);
    response
}

async fn models(app: App, _request: Request) -> Result<Response, Fault> {
    let data: Vec<_> = app.registry.slots().iter().map(|slot| described(&app, slot)).collect();
    Ok(json_of(&json!({"object": "list", "data": data})))
}

async fn model(State(app): State<App>, Path(name): Path<String>) -> Response {
    match app.registry.slot(Some(&name)) {
        Ok(slot) => json_of(&described(&app, slot)),
        Err(fault) => DIALECT.answer(&fault),
    }
}

fn described(app: &App, slot: &Slot) -> Value {
    json!({"id": slot.name, "object": "model", "created": app.started(), "owned_by": "votive"})
}

fn fail(fault: &Fault) -> Response {
    let (kind, code) = match fault.kind {
        FaultKind::Busy => ("rate_limit_error", Some("rate_limit_exceeded")),
        FaultKind::Unavailable | FaultKind::Late | FaultKind::Failed => ("server_error", None),
        FaultKind::NoKey => ("invalid_request_error", Some("invalid_api_key")),
        FaultKind::UnknownModel => ("invalid_request_error", Some("model_not_found")),
        FaultKind::TooLong => ("invalid_request_error", Some("context_length_exceeded")),
        _ => ("invalid_request_error", None),
    };
    let error = json!({"message": fault.message, "type": kind, "param": fault.parameter, "code": code});
    reply::json(fault.kind.status(), json!({"error": error}).to_string().into_bytes())
}
