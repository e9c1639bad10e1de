//! vLLM's scores of pairs. Its rerank is that of others, and its embeddings are OpenAI's.
//!
//! Source: the protocol classes of vLLM's pooling entry points. The two sides are called `text_1` and `text_2`, `queries` and
//! `documents`, or `data_1` and `data_2`; one text is scored with each of the other side, many are taken in pairs.
//!
//! Tolerated: fields that are not named below. Refused: models of vectors, of which vLLM gives cosines, models of several scores, and
//! images.

use axum::Router;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::serve::call::{ScoreCall, score};
use crate::serve::call_options::CallOptions;
use crate::serve::dialect::{Dialect, Exchange, post};
use crate::serve::fault::{Fault, FaultKind};
use crate::serve::fields::{Side, TextField};
use crate::serve::reply::{self, json_of, new_id};
use crate::serve::state::App;
use crate::serve::timestamp::seconds_now;

pub(super) const DIALECT: Dialect = Dialect { paths: &["/score", "/v1/score"], fail, assumes_json: false };

#[derive(Deserialize)]
struct ScoreBody {
    model: Option<String>,
    text_1: Option<TextField>,
    text_2: Option<TextField>,
    queries: Option<TextField>,
    documents: Option<TextField>,
    data_1: Option<TextField>,
    data_2: Option<TextField>,
    use_activation: Option<bool>,
    /// Tokens of a pair; -1 for what the model takes.
    truncate_prompt_tokens: Option<i64>,
    truncation_side: Option<Side>,
    priority: Option<i32>,
}

pub(super) fn routes() -> Router<App> {
    Router::new().route("/score", post(&DIALECT, scores)).route("/v1/score", post(&DIALECT, scores))
}

async fn scores(Exchange { app, body, .. }: Exchange<ScoreBody>) -> Result<Response, Fault> {
    let sides = [
        (("text_1", body.text_1), ("text_2", body.text_2)),
        (("queries", body.queries), ("documents", body.documents)),
        (("data_1", body.data_1), ("data_2", body.data_2)),
    ];
    let mut named = sides.into_iter().filter(|((_, first), (_, second))| first.is_some() || second.is_some());
    let Some(((first_name, first), (second_name, second))) = named.next() else {
        return Err(Fault::value("text_1", "is missing; give text_1 and text_2, or queries and documents"));
    };
    if let Some(((other, _), _)) = named.next() {
        return Err(Fault::value(other, format!("give {first_name} and {second_name}, or these, not both")));
    }
    let (first, second) = (texts(first_name, first)?, texts(second_name, second)?);
    let count = second.len();
    app.check_inputs(second_name, count)?;
    let pairs: Vec<(String, String)> = match first.len() {
        1 => second.into_iter().map(|text| (first[0].clone(), text)).collect(),
        many if many == count => first.into_iter().zip(second).collect(),
        many => {
            let message = format!("expected one text, or as many as {second_name} has ({count}), found {many}");
            return Err(Fault::value(first_name, message));
        }
    };
    let call = ScoreCall {
        pairs,
        field: second_name,
        raw: body.use_activation == Some(false),
        options: CallOptions::of_prompt(body.truncate_prompt_tokens, body.truncation_side, body.priority)?,
    };
    let computed = score(&app, body.model.as_deref(), call).await?;
    let item = |(index, score): (usize, &f32)| json!({"index": index, "object": "score", "score": score});
    let data: Vec<Value> = computed.values.iter().enumerate().map(item).collect();
    let tokens = computed.outcome.tokens;
    let mut response = json_of(&json!({
        "id": format!("score-{}", new_id()),
        "object": "list",
        "created": seconds_now(),
        "model": body.model.as_deref().unwrap_or(&computed.outcome.model),
        "data": data,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0},
    }));
    response.extensions_mut().insert(computed.outcome);
    Ok(response)
}

/// The texts of one side: one at least.
fn texts(name: &'static str, field: Option<TextField>) -> Result<Vec<String>, Fault> {
    match field {
        None => Err(Fault::value(name, "is missing")),
        Some(TextField::One(text)) => Ok(vec![text]),
        Some(TextField::Many(texts)) if texts.is_empty() => {
            Err(Fault::new(FaultKind::Empty, format!("{name}: expected one text at least")).about(name))
        }
        Some(TextField::Many(texts)) => Ok(texts),
        Some(TextField::Ids(_) | TextField::ManyIds(_)) => Err(Fault::value(name, "expected texts, found token ids")),
    }
}

fn fail(fault: &Fault) -> Response {
    let Fault { kind, message, parameter, .. } = fault;
    let status = kind.status();
    let error = json!({"message": message, "type": kind.name(), "param": parameter, "code": status.as_u16()});
    reply::json(status, json!({"error": error}).to_string().into_bytes())
}
