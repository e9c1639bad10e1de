//! The body of a request: read whole, within bounds of size, of time and of memory for all requests at a time.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::serve::aside::aside;
use crate::serve::fault::{Bottleneck, Fault, FaultKind};

/// What a permit of the bodies in flight stands for.
pub(super) const PERMIT_BYTES: usize = 1 << 10;

/// The time that every body has, and how many bytes must come in each second beyond that.
const BODY_TIME: Duration = Duration::from_secs(30);
const BYTES_PER_SECOND: u64 = 64 << 10;

/// Bodies from this size on are parsed on a thread of their own: others' requests go on meanwhile.
const LARGE_BYTES: usize = 256 << 10;

/// Of a body that is too large, so many times the limit are read on and forgotten: who still sends would not see the answer.
const DISCARDED_LIMITS: usize = 4;

/// Reads a body of at most `limit` bytes, and gives its share of the memory for all.
///
/// # Errors
/// Faults where it is compressed, too large, too slow, or where the bodies of all requests take too much memory.
pub(super) async fn read<'a>(
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
    in_flight: &'a Semaphore,
) -> Result<(Vec<u8>, Option<SemaphorePermit<'a>>), Fault> {
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Fault::new(FaultKind::MediaType, "Content-Encoding: bodies must not be compressed"));
    }
    let too_large = || {
        let message =
            format!("the body has more than {limit} bytes; send fewer texts at a time, or raise --max-body-mb");
        Fault::new(FaultKind::TooLarge, message)
    };
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit.saturating_mul(DISCARDED_LIMITS)) {
        return Err(too_large());
    }
    let (start, mut bytes, mut seen) = (Instant::now(), Vec::new(), 0);
    let mut permits: Option<SemaphorePermit> = None;
    loop {
        let deadline = start + BODY_TIME + Duration::from_secs(seen as u64 / BYTES_PER_SECOND);
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(Fault::new(FaultKind::SlowBody, "the body did not come in time")),
            Ok(None) => break,
            Ok(Some(Err(error))) => return Err(Fault::new(FaultKind::Syntax, format!("the body broke off: {error}"))),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        seen += data.len();
        if seen > limit.saturating_mul(DISCARDED_LIMITS) {
            return Err(too_large());
        }
        if seen > limit {
            bytes = Vec::new();
            permits = None;
            continue;
        }
        let needed = seen.div_ceil(PERMIT_BYTES);
        let more = needed - permits.as_ref().map_or(0, SemaphorePermit::num_permits);
        if more > 0 {
            let more =
                u32::try_from(more).ok().and_then(|more| in_flight.try_acquire_many(more).ok()).ok_or_else(|| {
                    let message = "the bodies of all requests together take too much memory; try again soon";
                    Fault::new(FaultKind::Busy, message)
                        .retry_after(Duration::from_secs(1))
                        .because_of(Bottleneck::Bytes)
                })?;
            match &mut permits {
                Some(permits) => permits.merge(more),
                None => permits = Some(more),
            }
        }
        bytes.extend_from_slice(&data);
    }
    if seen > limit {
        return Err(too_large());
    }
    Ok((bytes, permits))
}

/// What the JSON of a body says.
///
/// # Errors
/// Faults that say where it is no JSON, or which field is wrong.
pub(super) async fn parse<T: DeserializeOwned + Send + 'static>(bytes: Vec<u8>) -> Result<T, Fault> {
    match bytes.len() < LARGE_BYTES {
        true => parse_now(&bytes),
        false => aside("parsing the body", move || parse_now(&bytes)).await,
    }
}

fn parse_now<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    // A struct of serde's would take an array, too.
    match bytes.trim_ascii_start().first() {
        Some(b'{') => {}
        None => return Err(Fault::new(FaultKind::Syntax, "the body is empty; expected a JSON object")),
        Some(_) => return Err(Fault::new(FaultKind::Syntax, "the body is no JSON object")),
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        // The library counts names of a wrong type, and halves of characters, as no JSON.
        let reads = |text| serde_json::from_str::<IgnoredAny>(text).is_ok();
        match error.inner().is_data() || std::str::from_utf8(bytes).is_ok_and(reads) {
            true => wrong_field(error),
            false => Fault::new(FaultKind::Syntax, format!("the body is no JSON: {}", error.inner())),
        }
    })?;
    reader.end().map_err(|error| Fault::new(FaultKind::Syntax, format!("the body is no JSON: {error}")))?;
    Ok(parsed)
}

/// What a part of a body says that was read before it was known whose it is.
///
/// # Errors
/// Faults that say which field is wrong.
pub(super) fn of_value<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value).map_err(wrong_field)
}

fn wrong_field(error: serde_path_to_error::Error<serde_json::Error>) -> Fault {
    let (path, error) = (error.path().to_string(), error.into_inner());
    // Without the place within the text, which nobody counts to.
    let text = error.to_string();
    let text = match text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text) {
        "expected value" => "is of a type that is not accepted".to_owned(),
        text => without_types_of_rust(text),
    };
    match path == "." {
        true => Fault::new(FaultKind::Value, text),
        false => Fault::value(path, text),
    }
}

/// A message of serde's that names what is expected as clients know it.
fn without_types_of_rust(text: &str) -> String {
    let Some((before, expected)) = text.rsplit_once("expected ") else { return text.to_owned() };
    let expected = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0 on",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        name if name.starts_with("struct ") => "an object",
        known => known,
    };
    format!("{before}expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct TestBody {
        #[allow(dead_code)]
        input: Vec<String>,
        #[serde(default)]
        #[allow(dead_code)]
        top: Option<usize>,
    }

    #[test]
    fn faults_name_the_field() {
        let fault = |text: &str| parse_now::<TestBody>(text.as_bytes()).expect_err("a fault");
        let wrong = fault(r#"{"input": ["a", 3]}"#);
        assert_eq!((wrong.kind, wrong.parameter.as_deref()), (FaultKind::Value, Some("input[1]")));
        assert_eq!(wrong.message, "input[1]: invalid type: integer `3`, expected a string");
        let negative = fault(r#"{"input": [], "top": -1}"#);
        assert_eq!(negative.message, "top: invalid value: integer `-1`, expected a whole number from 0 on");
        assert_eq!(fault("{}").message, "missing field `input`");
        let half = fault(r#"{"input": ["a", "\ud800"]}"#);
        assert_eq!((half.kind, half.parameter.as_deref()), (FaultKind::Value, Some("input[1]")));
        for broken in ["", " ", "{", "{\"input\": []} x", "nul", "\u{0}", "[[]]", "\"a\""] {
            assert_eq!(fault(broken).kind, FaultKind::Syntax, "{broken:?}");
        }
        let part = of_value::<TestBody>(serde_json::json!({"input": ["a", 3]})).expect_err("a fault");
        assert_eq!((part.message, part.parameter), (wrong.message, wrong.parameter));
        let deep = format!("{{\"x\": {}", "[".repeat(100_000));
        assert_eq!(fault(&deep).kind, FaultKind::Syntax);
    }
}
