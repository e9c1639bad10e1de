//! What the handlers share: which texts, which end of them is cut, and answers with the times in their headers.

use std::time::{Duration, Instant};

use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use crate::serve::call_options::CallOptions;
use crate::serve::dialect::Dialect;
use crate::serve::fault::{Fault, FaultKind};
use crate::serve::outcome::Outcome;
use crate::serve::reply;
use crate::serve::served_model::ServedModel;
use crate::text::Truncation;

pub(in crate::serve::dialect) const DIALECT: Dialect = Dialect {
    paths: &[
        "/",
        "/embed",
        "/embed_all",
        "/embed_sparse",
        "/similarity",
        "/predict",
        "/tokenize",
        "/decode",
        "/vertex",
        "/invocations",
        "/info",
    ],
    fail,
    assumes_json: false,
};

/// The end of a text that is cut off.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq)]
pub(super) enum Direction {
    #[serde(alias = "left")]
    Left,
    #[serde(alias = "right")]
    Right,
}

/// What a computed answer is about, for its headers.
pub(super) struct Effort {
    start: Instant,
    compute_type: &'static str,
    pub(super) characters: usize,
}

impl Effort {
    /// Of a request that begins now.
    pub(super) fn new(model: &ServedModel) -> Self {
        let is_cpu = model.routes.main().network().device().name() == "cpu";
        let compute_type = if is_cpu { "cpu+optimized" } else { "gpu+optimized" };
        Self { start: Instant::now(), compute_type, characters: 0 }
    }

    /// An answer with what it took.
    pub(super) fn answer(self, json: Vec<u8>, outcome: Outcome) -> Response {
        let mut response = reply::json(StatusCode::OK, json);
        let headers = response.headers_mut();
        headers.insert("x-compute-type", HeaderValue::from_static(self.compute_type));
        headers.insert("x-compute-characters", HeaderValue::from(self.characters));
        headers.insert("x-compute-tokens", HeaderValue::from(outcome.tokens));
        let total = self.start.elapsed();
        let times = [
            ("x-compute-time", total),
            ("x-total-time", total),
            ("x-tokenization-time", outcome.tokenizing),
            ("x-queue-time", outcome.waited),
            ("x-inference-time", outcome.computing),
        ];
        for (name, time) in times {
            headers.insert(name, HeaderValue::from(milliseconds(time)));
        }
        response.extensions_mut().insert(outcome);
        response
    }
}

/// What becomes of texts that are too long: they are cut unless `truncate` says otherwise.
pub(super) fn options(truncate: Option<bool>, direction: Option<Direction>) -> CallOptions {
    let truncation = match (truncate, direction) {
        (Some(false), _) => Truncation::Refuse,
        (_, Some(Direction::Left)) => Truncation::Left,
        (_, Some(Direction::Right)) => Truncation::Right,
        (_, None) => Truncation::OfModel,
    };
    CallOptions { truncation, ..CallOptions::default() }
}

pub(super) fn empty(parameter: impl Into<String>) -> Fault {
    let parameter = parameter.into();
    Fault::new(FaultKind::Empty, format!("`{parameter}` cannot be empty")).about(parameter)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn fail(fault: &Fault) -> Response {
    let (status, error_type) = match fault.kind {
        FaultKind::Empty => (StatusCode::BAD_REQUEST, "Empty"),
        FaultKind::Value | FaultKind::TooLong => (StatusCode::UNPROCESSABLE_ENTITY, "Validation"),
        FaultKind::Busy => (StatusCode::TOO_MANY_REQUESTS, "Overloaded"),
        FaultKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Unhealthy"),
        FaultKind::Failed | FaultKind::Unsuited => (StatusCode::FAILED_DEPENDENCY, "Backend"),
        FaultKind::Late => (fault.kind.status(), "Backend"),
        _ => (fault.kind.status(), "Validation"),
    };
    reply::json(status, json!({"error": fault.message, "error_type": error_type}).to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_unless_told_otherwise() {
        let direction = |json: &str| serde_json::from_str::<Direction>(json).ok();
        let truncation = |truncate, direction| options(truncate, direction).truncation;
        assert_eq!(truncation(None, None), Truncation::OfModel);
        assert_eq!(truncation(Some(true), direction(r#""right""#)), Truncation::Right);
        assert_eq!(truncation(None, direction(r#""left""#)), Truncation::Left);
        assert_eq!(truncation(Some(true), direction(r#""Left""#)), Truncation::Left);
        assert_eq!(truncation(Some(false), direction(r#""Left""#)), Truncation::Refuse);
        assert_eq!(direction(r#""up""#), None);
    }

    #[test]
    fn faults_have_the_statuses_of_their_types() {
        let status = |fault: Fault| fail(&fault).status().as_u16();
        assert_eq!(status(empty("inputs")), 400);
        assert_eq!(status(Fault::value("inputs", "wrong")), 422);
        assert_eq!(status(Fault::unsuited("gives vectors")), 424);
        for (kind, code) in [
            (FaultKind::Syntax, 400),
            (FaultKind::TooLong, 422),
            (FaultKind::NoKey, 401),
            (FaultKind::UnknownModel, 404),
            (FaultKind::TooLarge, 413),
            (FaultKind::Busy, 429),
            (FaultKind::Unavailable, 503),
            (FaultKind::Failed, 424),
        ] {
            assert_eq!(status(Fault::new(kind, "")), code, "{kind:?}");
        }
    }
}
