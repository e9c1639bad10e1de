//! Scores: of texts for a query, and of labels for a text or a pair.

use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::answer::{Direction, Effort, empty, options};
use crate::serve::call::{ClassifyCall, RankCall, Sequence, classify, rank};
use crate::serve::dialect::Exchange;
use crate::serve::fault::Fault;
use crate::serve::reply::json_bytes;
use crate::serve::served_model::{Role, ScoreActivation};

#[derive(Deserialize)]
pub(in crate::serve::dialect) struct TeiRerankBody {
    query: String,
    texts: Vec<String>,
    truncate: Option<bool>,
    truncation_direction: Option<Direction>,
    raw_scores: Option<bool>,
    return_text: Option<bool>,
    model: Option<String>,
}

#[derive(Serialize)]
struct Rank<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    score: f32,
}

#[derive(Deserialize)]
pub(super) struct PredictBody {
    inputs: PredictField,
    truncate: Option<bool>,
    truncation_direction: Option<Direction>,
    raw_scores: Option<bool>,
    /// Of huggingface_hub's client, which expects a list of lists where it sends this.
    parameters: Option<PredictParameters>,
    model: Option<String>,
}

#[derive(Deserialize)]
struct PredictParameters {
    function_to_apply: Option<ApplyFunction>,
    top_k: Option<usize>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum ApplyFunction {
    Sigmoid,
    Softmax,
    None,
}

/// A text or a pair, or lists of them.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string, a pair of strings, or a list of [string] and [string, string]")]
enum PredictField {
    Text(String),
    TextOrPair(Vec<String>),
    Many(Vec<Vec<String>>),
}

#[derive(Serialize)]
struct Prediction<'a> {
    score: f32,
    label: &'a str,
}

impl PredictField {
    /// The inputs, and whether there is one that is not in a list.
    fn sequences(self) -> Result<(Vec<Sequence>, bool), Fault> {
        match self {
            Self::Text(text) => Ok((vec![sequence("inputs", vec![text])?], true)),
            Self::TextOrPair(texts) => Ok((vec![sequence("inputs", texts)?], true)),
            Self::Many(lists) => {
                let numbered = lists.into_iter().enumerate();
                let sequences = numbered.map(|(i, texts)| sequence(&format!("inputs[{i}]"), texts));
                Ok((sequences.collect::<Result<_, _>>()?, false))
            }
        }
    }
}

fn sequence(place: &str, texts: Vec<String>) -> Result<Sequence, Fault> {
    if texts.iter().all(String::is_empty) {
        return Err(empty(place));
    }
    let count = texts.len();
    let mut texts = texts.into_iter();
    match (texts.next(), texts.next(), texts.next()) {
        (Some(text), None, _) => Ok(Sequence::Text(text)),
        (Some(first), Some(second), None) => Ok(Sequence::Pair(first, second)),
        _ => {
            let message =
                format!("{count} strings are neither a text nor a pair; send several texts as [[text], [text]]");
            Err(Fault::value(place, message))
        }
    }
}

/// Texts, best first.
pub(in crate::serve::dialect) async fn rerank(
    Exchange { app, body, .. }: Exchange<TeiRerankBody>,
) -> Result<Response, Fault> {
    if body.texts.is_empty() {
        return Err(empty("texts"));
    }
    if body.query.is_empty()
        && let Some(i) = body.texts.iter().position(String::is_empty)
    {
        return Err(empty(format!("texts[{i}]")));
    }
    let (slot, model) = app.registry.fitting(body.model.as_deref(), Role::ranks).await?;
    let mut effort = Effort::new(&model);
    let query = body.query.chars().count() * body.texts.len();
    effort.characters = query + body.texts.iter().map(|text| text.chars().count()).sum::<usize>();
    let texts = body.return_text.unwrap_or(false).then(|| body.texts.clone());
    let call = RankCall {
        query: body.query,
        documents: body.texts,
        field: "texts",
        raw: true,
        document_tokens: None,
        options: options(body.truncate, body.truncation_direction),
    };
    let mut computed = rank(&app, Some(&slot.name), call).await?;
    if !body.raw_scores.unwrap_or(false) {
        // Whatever the model's own activation is.
        ScoreActivation::Sigmoid.apply(&mut computed.values);
    }
    let rank = |(index, &score)| Rank { index, text: texts.as_ref().map(|texts| texts[index].as_str()), score };
    let mut ranks: Vec<_> = computed.values.iter().enumerate().map(rank).collect();
    ranks.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(effort.answer(json_bytes(&ranks), computed.outcome))
}

/// The labels of each input with their scores, best first.
pub(super) async fn predict(Exchange { app, body, .. }: Exchange<PredictBody>) -> Result<Response, Fault> {
    let (inputs, is_single) = body.inputs.sequences()?;
    if inputs.is_empty() {
        return Err(empty("inputs"));
    }
    let (slot, model) = app.registry.fitting(body.model.as_deref(), Role::gives_scores).await?;
    let mut effort = Effort::new(&model);
    effort.characters = inputs.iter().map(Sequence::characters).sum();
    let options = options(body.truncate, body.truncation_direction);
    let call = ClassifyCall { inputs, field: "inputs", options };
    let mut computed = classify(&app, Some(&slot.name), call).await?;
    let function = body.parameters.as_ref().and_then(|parameters| parameters.function_to_apply);
    let activation = match (function, body.raw_scores, computed.width) {
        (Some(ApplyFunction::Sigmoid), ..) => ScoreActivation::Sigmoid,
        (Some(ApplyFunction::Softmax), ..) => ScoreActivation::Softmax,
        (Some(ApplyFunction::None), ..) | (None, Some(true), _) => ScoreActivation::Identity,
        (None, _, 1) => ScoreActivation::Sigmoid,
        (None, ..) => ScoreActivation::Softmax,
    };
    computed.values.chunks_exact_mut(computed.width).for_each(|logits| activation.apply(logits));
    let most = body.parameters.as_ref().and_then(|parameters| parameters.top_k).unwrap_or(usize::MAX);
    let predictions = |scores: &[f32]| {
        let labels = scores.iter().zip(&model.label_names);
        let mut all: Vec<_> = labels.map(|(&score, label)| Prediction { score, label }).collect();
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        all.truncate(most);
        all
    };
    let mut all: Vec<_> = computed.rows().map(predictions).collect();
    let json = match is_single && body.parameters.is_none() {
        true => json_bytes(&all.swap_remove(0)),
        false => json_bytes(&all),
    };
    Ok(effort.answer(json, computed.outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_a_text_a_pair_or_lists_of_them() {
        let read = |json: &str| {
            let field: PredictField = serde_json::from_str(json).map_err(|error| Fault::value("inputs", error))?;
            let (sequences, is_single) = field.sequences()?;
            let pairs = sequences.iter().map(|sequence| matches!(sequence, Sequence::Pair(..))).collect::<Vec<_>>();
            Ok::<_, Fault>((pairs, is_single))
        };
        assert_eq!(read(r#""a""#).expect("a text"), (vec![false], true));
        assert_eq!(read(r#"["a"]"#).expect("a text"), (vec![false], true));
        assert_eq!(read(r#"["a", "b"]"#).expect("a pair"), (vec![true], true));
        assert_eq!(read(r#"[["a"], ["a", "b"]]"#).expect("two"), (vec![false, true], false));
        let wrong = |json| read(json).expect_err("is refused").message;
        assert!(wrong(r#"["a", "b", "c"]"#).contains("[[text], [text]]"));
        assert!(wrong(r#"[["a"], ["a", "b", "c"]]"#).starts_with("inputs[1]: 3 strings"));
        assert!(wrong(r#"[["a"], [""]]"#).contains("`inputs[1]` cannot be empty"));
        assert!(wrong("[]").contains("cannot be empty"));
        assert!(wrong("3").contains("a pair of strings"));
    }
}
