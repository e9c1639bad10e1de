//! Cohere's embeddings, of both versions of its interface.
//!
//! Source: cohere-python, which is generated from Cohere's definition. `v1` gives plain vectors where no `embedding_types` are named;
//! `v2` always gives them by type. There is no limit of 96 texts here, and `input_type` may be missing.
//!
//! Tolerated: `images` without images, and fields that are not named below. Refused: images.

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use crate::pipeline::{Precision, Quantizer, Ranges};
use crate::serve::call::{Computed, EmbedCall, FieldNames, PromptChoice, embed};
use crate::serve::call_options::{CallOptions, Precedence, TokenLimit};
use crate::serve::dialect::{Dialect, Exchange, post};
use crate::serve::fault::{Fault, FaultKind};
use crate::serve::reply::{
    self, NUMBER_BYTES, new_id, write_base64, write_floats, write_integers, write_list, write_text, written,
};
use crate::serve::served_model::Purpose;
use crate::serve::state::App;
use crate::text::Truncation;

pub(super) const DIALECT: Dialect = Dialect { paths: &["/v1/embed", "/v2/embed"], fail, assumes_json: false };

#[derive(Deserialize)]
struct CohereEmbedBody {
    model: Option<String>,
    texts: Option<Vec<String>>,
    inputs: Option<Vec<EmbedInput>>,
    images: Option<Vec<serde::de::IgnoredAny>>,
    input_type: Option<InputType>,
    embedding_types: Option<Vec<EmbeddingType>>,
    truncate: Option<Truncate>,
    max_tokens: Option<u32>,
    output_dimension: Option<u32>,
    /// Larger numbers wait longer.
    priority: Option<i32>,
}

#[derive(Deserialize)]
struct EmbedInput {
    content: Vec<ContentPart>,
}

#[derive(Deserialize)]
struct ContentPart {
    #[serde(rename = "type")]
    _kind: PartKind,
    text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum PartKind {
    Text,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum InputType {
    SearchQuery,
    SearchDocument,
    Classification,
    Clustering,
    Image,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum EmbeddingType {
    Float,
    Int8,
    Uint8,
    Binary,
    Ubinary,
    Base64,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "UPPERCASE")]
enum Truncate {
    None,
    Start,
    End,
}

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/embed", post(&DIALECT, embed_v1)).route("/v2/embed", post(&DIALECT, embed_v2))
}

async fn embed_v1(Exchange { app, body, .. }: Exchange<CohereEmbedBody>) -> Result<Response, Fault> {
    embeddings(&app, body, "1").await
}

async fn embed_v2(Exchange { app, body, .. }: Exchange<CohereEmbedBody>) -> Result<Response, Fault> {
    embeddings(&app, body, "2").await
}

async fn embeddings(app: &App, body: CohereEmbedBody, version: &'static str) -> Result<Response, Fault> {
    let CohereEmbedBody { texts, inputs, images, .. } = body;
    let of_images = match body.input_type {
        Some(InputType::Image) => Some("input_type"),
        _ => images.filter(|images| !images.is_empty()).map(|_| "images"),
    };
    if let Some(field) = of_images {
        return Err(Fault::value(field, "this server has no models of images; send texts"));
    }
    let (field, texts) = match (texts, inputs) {
        (Some(_), Some(_)) => return Err(Fault::value("inputs", "give texts or inputs, not both")),
        (None, Some(inputs)) => ("inputs", inputs.into_iter().map(EmbedInput::text).collect()),
        (texts, None) => ("texts", texts.unwrap_or_default()),
    };
    if texts.is_empty() {
        return Err(Fault::new(FaultKind::Empty, format!("{field}: expected one text at least")).about(field));
    }
    let purpose = match body.input_type {
        Some(InputType::SearchQuery) => Purpose::Query,
        Some(InputType::SearchDocument) => Purpose::Document,
        _ => Purpose::Usual,
    };
    let truncation = match body.truncate {
        None => Truncation::OfModel,
        Some(Truncate::None) => Truncation::Refuse,
        Some(Truncate::Start) => Truncation::Left,
        Some(Truncate::End) => Truncation::Right,
    };
    let max_tokens = body.max_tokens.map(|tokens| TokenLimit { tokens: tokens as usize, field: "max_tokens" });
    let options = CallOptions { max_tokens, truncation, precedence: Precedence(body.priority.unwrap_or_default()) };
    let mut echo = Vec::new();
    write_list(&mut echo, &texts, |json, text| write_text(json, text));
    let call = EmbedCall {
        texts,
        names: FieldNames { texts: field, dimensions: "output_dimension" },
        prompt: PromptChoice::For(purpose),
        dimensions: body.output_dimension.map(|width| width as usize),
        normalize: true,
        options,
    };
    let computed = embed(app, body.model.as_deref(), call).await?;
    let types = body.embedding_types.filter(|types| !types.is_empty());
    let kind = if version == "1" && types.is_none() { "embeddings_floats" } else { "embeddings_by_type" };
    let outcome = computed.outcome.clone();
    let forms = types.as_ref().map_or(1, Vec::len);
    let bytes = computed.values.len().saturating_mul(NUMBER_BYTES).saturating_mul(forms) + echo.len();
    let write = move |json: &mut Vec<u8>| {
        json.extend_from_slice(format!(r#"{{"id":"{}","embeddings":"#, new_id()).as_bytes());
        match types {
            None if version == "1" => write_rows(json, &computed, EmbeddingType::Float)?,
            types => write_by_type(json, &computed, &types.unwrap_or_else(|| vec![EmbeddingType::Float]))?,
        }
        json.extend_from_slice(br#","texts":"#);
        json.append(&mut echo);
        let meta = json!({
            "api_version": {"version": version},
            "billed_units": {"input_tokens": computed.outcome.tokens},
        });
        json.extend_from_slice(format!(r#","meta":{meta},"response_type":"{kind}"}}"#).as_bytes());
        Ok(())
    };
    let json = written(bytes, write).await?;
    let mut response = reply::json(StatusCode::OK, json);
    response.extensions_mut().insert(outcome);
    Ok(response)
}

impl EmbedInput {
    /// Parts are one text, each on a line of its own.
    fn text(self) -> String {
        self.content.into_iter().map(|part| part.text).collect::<Vec<_>>().join("\n")
    }
}

impl EmbeddingType {
    fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Int8 => "int8",
            Self::Uint8 => "uint8",
            Self::Binary => "binary",
            Self::Ubinary => "ubinary",
            Self::Base64 => "base64",
        }
    }
}

fn write_by_type(json: &mut Vec<u8>, computed: &Computed, types: &[EmbeddingType]) -> Result<(), Fault> {
    json.push(b'{');
    // One that is named twice is given once: keys are unique.
    let firsts = types.iter().enumerate().filter(|(i, kind)| !types[..*i].contains(kind)).map(|(_, kind)| *kind);
    for (i, kind) in firsts.enumerate() {
        let comma = if i > 0 { "," } else { "" };
        json.extend_from_slice(format!(r#"{comma}"{}":"#, kind.name()).as_bytes());
        write_rows(json, computed, kind)?;
    }
    json.push(b'}');
    Ok(())
}

fn write_rows(json: &mut Vec<u8>, computed: &Computed, kind: EmbeddingType) -> Result<(), Fault> {
    match kind {
        EmbeddingType::Float => write_list(json, computed.rows(), write_floats),
        EmbeddingType::Base64 => write_list(json, computed.rows(), write_base64),
        EmbeddingType::Int8 => write_list(json, computed.rows(), |json, row| write_integers(json, &steps(row))),
        EmbeddingType::Uint8 => write_list(json, computed.rows(), |json, row| {
            let shifted: Vec<u8> = steps(row).into_iter().map(|step| step as u8 ^ 0x80).collect();
            write_integers(json, &shifted);
        }),
        EmbeddingType::Binary | EmbeddingType::Ubinary => {
            let is_signed = kind == EmbeddingType::Binary;
            let precision = if is_signed { Precision::Binary } else { Precision::Ubinary };
            let quantizer = Quantizer::new(precision, Ranges::Batch, &computed.values, computed.width)?;
            let mut bytes = vec![0; precision.columns(computed.width)];
            write_list(json, computed.rows(), |json, row| {
                quantizer.apply(row, &mut bytes);
                match is_signed {
                    true => write_integers(json, bytemuck::cast_slice::<u8, i8>(&bytes)),
                    false => write_integers(json, &bytes),
                }
            });
        }
    }
    Ok(())
}

/// A row as int8: its largest number becomes 127 or -127, and the others go along, so that cosines of rows stay what they were,
/// whatever call a row comes from. uint8 is 128 more. Cohere does not say what ranges its own models use, and those of
/// `quantize_embeddings` are of a batch or of calibration, which a server has not.
fn steps(row: &[f32]) -> Vec<i8> {
    let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let largest = if largest > 0.0 { largest } else { 1.0 };
    row.iter().map(|value| (value / largest * 127.0).round() as i8).collect()
}

fn fail(fault: &Fault) -> Response {
    reply::json(fault.kind.status(), json!({"message": fault.message}).to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_number_of_a_row_is_the_last_step() {
        assert_eq!(steps(&[0.5, -1.0, 0.25, 0.0, -0.003]), [64, -127, 32, 0, 0]);
        assert_eq!(steps(&[f32::MIN_POSITIVE, 0.0]), [127, 0]);
        assert_eq!(steps(&[0.0, -0.0]), [0, 0]);
    }
}
