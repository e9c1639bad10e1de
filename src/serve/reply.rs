//! Numbers as clients want them, and answers of JSON.

use std::hash::{BuildHasher, Hasher, RandomState};

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::memory::with_room;
use crate::serve::aside::aside;
use crate::serve::fault::{Fault, FaultKind};

/// Bytes of a number in JSON, mostly, and of one in base64.
pub(super) const NUMBER_BYTES: usize = 13;
pub(super) const BASE64_NUMBER_BYTES: usize = 6;

/// So much JSON is written on another thread.
const MANY_BYTES: usize = (64 << 10) * NUMBER_BYTES;

/// An answer of JSON that was written by hand or by serde.
pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    typed(status, "application/json", body)
}

pub(super) fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer of JSON that serde writes.
pub(super) fn json_of(body: &impl serde::Serialize) -> Response {
    json(StatusCode::OK, json_bytes(body))
}

/// A new id, as random as a hash map's seed.
pub(super) fn new_id() -> String {
    let bits = || RandomState::new().build_hasher().finish();
    let (high, low) = (bits(), bits());
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        high as u16,
        high >> 16 & 0xfff,
        low >> 48 & 0xfff,
        low & 0xffff_ffff_ffff
    )
}

/// JSON that serde writes of texts and finite numbers.
pub(super) fn json_bytes(body: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("texts and numbers alone are written, which always can be")
}

/// JSON of some `bytes`, or about so many, as `write` appends it; on another thread where they are many.
///
/// # Errors
/// The faults of `write`, and one where there is no memory.
pub(super) async fn written(
    bytes: usize,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), Fault> + Send + 'static,
) -> Result<Vec<u8>, Fault> {
    let write = move || {
        let mut json = with_room(bytes, "the JSON of an answer")?;
        write(&mut json)?;
        Ok(json)
    };
    if bytes < MANY_BYTES { write() } else { aside("writing the answer", write).await }
}

/// Appends a JSON array of numbers, each in the fewest digits that give it back.
pub(super) fn write_floats(body: &mut Vec<u8>, values: &[f32]) {
    serde_json::to_writer(body, values).expect("a vector takes all bytes");
}

/// Appends a JSON array of small integers.
pub(super) fn write_integers(body: &mut Vec<u8>, values: &[impl serde::Serialize]) {
    serde_json::to_writer(body, values).expect("a vector takes all bytes");
}

/// Appends a JSON string.
pub(super) fn write_text(body: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(body, text).expect("a vector takes all bytes");
}

/// Appends a JSON string of the little-endian bytes of the numbers, in base64.
pub(super) fn write_base64(body: &mut Vec<u8>, values: &[f32]) {
    #[cfg(target_endian = "big")]
    compile_error!("bytes go out as they are");
    let bytes: &[u8] = bytemuck::cast_slice(values);
    let start = body.len() + 1;
    body.push(b'"');
    body.resize(start + base64::encoded_len(bytes.len(), true).expect("a row is small"), 0);
    STANDARD.encode_slice(bytes, &mut body[start..]).expect("as long as it was counted");
    body.push(b'"');
}

/// Appends `[a,b,...]`, each item as `write` writes it.
pub(super) fn write_list<T>(
    body: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    body.push(b'[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        write(body, item);
    }
    body.push(b']');
}

/// Refuses numbers that JSON has no words for.
pub(super) fn check_finite(values: &[f32]) -> Result<(), Fault> {
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(()),
        false => Err(Fault::new(FaultKind::Failed, "the model gave a number that is infinite or no number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were() {
        let values = [0.0, -0.0, 1.0, 0.1, f32::MIN_POSITIVE, f32::MAX, -1.5e-42, 16_777_217.0];
        let mut body = Vec::new();
        write_list(&mut body, [&values[..], &[]], write_floats);
        let back: Vec<Vec<f32>> = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(back[0].iter().map(|v| v.to_bits()).collect::<Vec<_>>(), values.map(f32::to_bits));
        assert!(back[1].is_empty());
        for length in 0..8 {
            let mut body = Vec::new();
            write_base64(&mut body, &values[..length]);
            let text: String = serde_json::from_slice(&body).expect("a string");
            let bytes = STANDARD.decode(text).expect("base64");
            assert_eq!(bytes, bytemuck::cast_slice::<_, u8>(&values[..length]));
        }
        assert!(check_finite(&values).is_ok() && check_finite(&[f32::NAN]).is_err());
    }
}
