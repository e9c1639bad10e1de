//! The rerank of Cohere, Jina, vLLM, llama.cpp and infinity: paths and bodies that differ little, and one answer that all their
//! clients read.
//!
//! Sources: cohere-python, Jina's API page, the servers' own request classes, and what Dify, Open WebUI and LangChain send and read.
//! Answers have `id` and `meta` as Cohere's, `model` and `usage` as Jina's, and `results`, best first. Faults have `message` for
//! Cohere's clients, `detail` for LangChain's class of Jina, and `error` for those of vLLM and llama.cpp. Scores went through the
//! model's activation, which is from 0 to 1 for most; `raw_scores` (infinity) and `use_activation: false` (vLLM) ask for logits.
//! Documents come back unless `return_documents` is false; on `/v2/rerank`, where Cohere has no such field, only if it is true.
//!
//! Tolerated: `max_chunks_per_doc` (a document that is too long is cut, not scored in pieces), `top_n` of 0 for all (vLLM) and of more
//! than there are, and fields that are not named below. Refused: images, and `return_embeddings`.

use std::fmt;

use axum::Router;
use axum::response::Response;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use crate::serve::call::{RankCall, rank};
use crate::serve::call_options::CallOptions;
use crate::serve::dialect::{Dialect, Exchange, post};
use crate::serve::fault::{Fault, FaultKind};
use crate::serve::fields::Side;
use crate::serve::reply::{self, json_of, new_id};
use crate::serve::state::App;

pub(super) const DIALECT: Dialect = Dialect {
    paths: &["/rerank", "/reranking", "/v1/rerank", "/v1/reranking", "/v2/rerank"],
    fail,
    assumes_json: false,
};

/// Documents of one unit of Cohere's bills.
const UNIT_DOCUMENTS: usize = 100;

#[derive(serde::Deserialize)]
pub(super) struct RerankBody {
    model: Option<String>,
    query: String,
    documents: Vec<Document>,
    top_n: Option<u32>,
    return_documents: Option<bool>,
    /// Which fields of documents are read; "text" alone where none are named.
    rank_fields: Option<Vec<String>>,
    max_tokens_per_doc: Option<u32>,
    raw_scores: Option<bool>,
    use_activation: Option<bool>,
    return_embeddings: Option<bool>,
    /// Tokens of a query and a document together; -1 for what the model takes.
    truncate_prompt_tokens: Option<i64>,
    truncation_side: Option<Side>,
    priority: Option<i32>,
}

/// A document as it came.
#[derive(Clone)]
enum Document {
    Text(String),
    Fields(Map<String, Value>),
}

/// All but `/rerank`, which others have, too.
pub(super) fn routes() -> Router<App> {
    let others = ["/reranking", "/v1/rerank", "/v1/reranking"];
    let routes = Router::new().route("/v2/rerank", post(&DIALECT, rerank_v2));
    others.into_iter().fold(routes, |routes, path| routes.route(path, post(&DIALECT, rerank_documents)))
}

/// Answers a body with `documents`.
pub(super) async fn rerank_documents(exchange: Exchange<RerankBody>) -> Result<Response, Fault> {
    answer(exchange, true).await
}

async fn rerank_v2(exchange: Exchange<RerankBody>) -> Result<Response, Fault> {
    answer(exchange, false).await
}

async fn answer(Exchange { app, body, .. }: Exchange<RerankBody>, returns: bool) -> Result<Response, Fault> {
    let RerankBody { model, query, documents, .. } = body;
    if query.is_empty() {
        return Err(Fault::new(FaultKind::Empty, "query: expected a text, found an empty one").about("query"));
    }
    if documents.is_empty() {
        return Err(Fault::new(FaultKind::Empty, "documents: expected one at least").about("documents"));
    }
    if body.return_embeddings == Some(true) {
        return Err(Fault::value("return_embeddings", "rerankers give scores alone; POST texts to /v1/embeddings"));
    }
    if body.max_tokens_per_doc == Some(0) {
        return Err(Fault::value("max_tokens_per_doc", "expected 1 or more, found 0"));
    }
    let returned = body.return_documents.unwrap_or(returns).then(|| documents.clone());
    let names = body.rank_fields.filter(|names| !names.is_empty()).unwrap_or_else(|| vec!["text".to_owned()]);
    let texts = documents.into_iter().enumerate().map(|(i, document)| document.text(i, &names));
    let call = RankCall {
        query,
        documents: texts.collect::<Result<_, _>>()?,
        field: "documents",
        raw: body.raw_scores == Some(true) || body.use_activation == Some(false),
        document_tokens: body.max_tokens_per_doc.map(|tokens| tokens as usize),
        options: CallOptions::of_prompt(body.truncate_prompt_tokens, body.truncation_side, body.priority)?,
    };
    let computed = rank(&app, model.as_deref(), call).await?;
    let mut order: Vec<usize> = (0..computed.values.len()).collect();
    order.sort_by(|&a, &b| computed.values[b].total_cmp(&computed.values[a]));
    if let Some(most @ 1..) = body.top_n {
        order.truncate(most as usize);
    }
    let results: Vec<Value> = order
        .into_iter()
        .map(|i| match &returned {
            None => json!({"index": i, "relevance_score": computed.values[i]}),
            Some(documents) => {
                json!({"index": i, "relevance_score": computed.values[i], "document": documents[i].object()})
            }
        })
        .collect();
    let tokens = computed.outcome.tokens;
    let mut response = json_of(&json!({
        "id": new_id(),
        "model": model.as_deref().unwrap_or(&computed.outcome.model),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": computed.values.len().div_ceil(UNIT_DOCUMENTS)},
        },
        "results": results,
    }));
    response.extensions_mut().insert(computed.outcome);
    Ok(response)
}

impl Document {
    /// What is read of it: the one field, or `name: value` of each that it has, on a line of its own; or, as vLLM writes documents,
    /// the texts of its `content`.
    fn text(self, place: usize, names: &[String]) -> Result<String, Fault> {
        let fields = match self {
            Self::Text(text) => return Ok(text),
            Self::Fields(fields) => fields,
        };
        let mut lines = Vec::new();
        for name in names {
            let value = match fields.get(name) {
                None | Some(Value::Null) => continue,
                Some(Value::String(text)) => text.clone(),
                Some(plain @ (Value::Number(_) | Value::Bool(_))) => plain.to_string(),
                Some(_) => {
                    return Err(Fault::value(format!("documents[{place}].{name}"), "expected a string or a number"));
                }
            };
            lines.push(if names.len() == 1 { value } else { format!("{name}: {value}") });
        }
        if let (true, Some(Value::Array(parts))) = (lines.is_empty(), fields.get("content")) {
            for (i, part) in parts.iter().enumerate() {
                let text = part.get("text").filter(|_| part.get("type").is_none_or(|kind| kind == "text"));
                let text = text.and_then(Value::as_str).ok_or_else(|| {
                    let field = format!("documents[{place}].content[{i}]");
                    Fault::value(field, "expected a part of type text, with a text")
                })?;
                lines.push(text.to_owned());
            }
        }
        match lines.is_empty() {
            false => Ok(lines.join("\n")),
            true => {
                let message = format!("has none of the fields that are read: {}", names.join(", "));
                Err(Fault::value(format!("documents[{place}]"), message))
            }
        }
    }

    fn object(&self) -> Value {
        match self {
            Self::Text(text) => json!({"text": text}),
            Self::Fields(fields) => Value::Object(fields.clone()),
        }
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Documents;
        impl<'de> Visitor<'de> for Documents {
            type Value = Document;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an object with a text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Document, E> {
                Ok(Document::Text(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Document, E> {
                Ok(Document::Text(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Document, A::Error> {
                Map::deserialize(MapAccessDeserializer::new(fields)).map(Document::Fields)
            }
        }
        reader.deserialize_any(Documents)
    }
}

fn fail(fault: &Fault) -> Response {
    let Fault { kind, message, parameter, .. } = fault;
    let status = kind.status();
    let error = json!({"message": message, "type": kind.name(), "param": parameter, "code": status.as_u16()});
    let body = json!({"message": message, "detail": message, "error": error});
    reply::json(status, body.to_string().into_bytes())
}
