//! A request's texts through a model: a call in the model's queue, which is cancelled when nobody waits for it any more.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::engine::{CallHandle, CallResult, OutputRows, Request};
use crate::memory::zeroed;
use crate::panic::guarded;
use crate::serve::aside::aside;
use crate::serve::call_options::CallOptions;
use crate::serve::fault::{Fault, FaultKind};
use crate::serve::outcome::Outcome;
use crate::serve::registry::Slot;
use crate::serve::reply::check_finite;
use crate::serve::served_model::{Purpose, Role, ServedModel};
use crate::serve::state::App;
use crate::text::{Input, Inputs};

/// What the fields of a request for vectors are called, for faults.
pub(super) struct FieldNames {
    pub(super) texts: &'static str,
    pub(super) dimensions: &'static str,
}

/// What texts are wanted as vectors of, and how.
pub(super) struct EmbedCall {
    pub(super) texts: Vec<String>,
    pub(super) names: FieldNames,
    pub(super) prompt: PromptChoice,
    /// First numbers of each vector that are kept; None for all.
    pub(super) dimensions: Option<usize>,
    pub(super) normalize: bool,
    pub(super) options: CallOptions,
}

/// Which prompt comes before each text.
pub(super) enum PromptChoice {
    For(Purpose),
    /// That of the name, a field of the request.
    Named(String),
}

/// A query and the texts that may answer it.
pub(super) struct RankCall {
    pub(super) query: String,
    pub(super) documents: Vec<String>,
    /// What the field with the texts is called, for faults.
    pub(super) field: &'static str,
    /// Whether scores are the logits themselves.
    pub(super) raw: bool,
    /// Tokens of each document that are read, beside those of the query; None for what the model takes.
    pub(super) document_tokens: Option<usize>,
    pub(super) options: CallOptions,
}

/// What a classifier is asked about.
pub(super) struct ClassifyCall {
    pub(super) inputs: Vec<Sequence>,
    /// What the field with the texts is called, for faults.
    pub(super) field: &'static str,
    pub(super) options: CallOptions,
}

/// One text, or two that are read together.
pub(super) enum Sequence {
    Text(String),
    Pair(String, String),
}

/// Pairs of texts, each to be scored.
pub(super) struct ScoreCall {
    pub(super) pairs: Vec<(String, String)>,
    /// What the field with the texts is called, for faults.
    pub(super) field: &'static str,
    pub(super) raw: bool,
    pub(super) options: CallOptions,
}

/// What a call gave: `[inputs, width]`.
pub(super) struct Computed {
    pub(super) values: Vec<f32>,
    pub(super) width: usize,
    pub(super) outcome: Outcome,
}

/// The hidden states of tokens `[all tokens, width]`.
pub(super) struct TokenStates {
    pub(super) values: Vec<f32>,
    pub(super) width: usize,
    /// Tokens of each text.
    pub(super) lengths: Vec<usize>,
    pub(super) outcome: Outcome,
}

/// The query with each document.
struct QueryDocuments {
    query: String,
    documents: Vec<String>,
}

/// Cancels a call that nobody waits for.
struct CancelOnDrop(Option<CallHandle>);

impl Inputs for QueryDocuments {
    fn len(&self) -> usize {
        self.documents.len()
    }

    fn get(&self, i: usize) -> Input<'_> {
        Input::Pair(&self.query, &self.documents[i])
    }
}

impl Inputs for Vec<Sequence> {
    fn len(&self) -> usize {
        self.len()
    }

    fn get(&self, i: usize) -> Input<'_> {
        match &self[i] {
            Sequence::Text(text) => Input::Text(text),
            Sequence::Pair(first, second) => Input::Pair(first, second),
        }
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            handle.cancel();
        }
    }
}

impl Computed {
    pub(super) fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.width)
    }
}

/// The vectors of texts.
///
/// # Errors
/// Faults of the request, of the model's name, and of computing.
pub(super) async fn embed(app: &App, name: Option<&str>, call: EmbedCall) -> Result<Computed, Fault> {
    app.check_inputs(call.names.texts, call.texts.len())?;
    let (slot, model) = app.registry.model(name).await?;
    let dimension = model.dimension()?;
    let width = match call.dimensions {
        None => dimension,
        Some(width) if (1..=dimension).contains(&width) => width,
        Some(width) => {
            let message = format!("{width} is not from 1 to {dimension}, the width of the model's vectors");
            return Err(Fault::value(call.names.dimensions, message));
        }
    };
    let (request, task) = call.request(&model)?;
    compute(&slot, &model, Box::new(call.texts), request, task, width)
        .await
        .map_err(|fault| fault.within(call.names.texts))
}

/// The hidden state of every token of texts.
///
/// # Errors
/// Those of [`embed`].
pub(super) async fn embed_tokens(app: &App, name: Option<&str>, call: EmbedCall) -> Result<TokenStates, Fault> {
    app.check_inputs(call.names.texts, call.texts.len())?;
    let (slot, model) = app.registry.model(name).await?;
    let width = model.dimension()?;
    let (request, task) = call.request(&model)?;
    let (result, outcome) = finish(&slot, &model, Box::new(call.texts), request, task, width, true)
        .await
        .map_err(|fault| fault.within(call.names.texts))?;
    let values = result.output.hidden.unwrap_or_default();
    prove(&slot, &values)?;
    let lengths: Vec<usize> = result.tokens.iter().map(|tokens| tokens.len()).collect();
    let width = values.len() / lengths.iter().sum::<usize>().max(1);
    Ok(TokenStates { values, width, lengths, outcome })
}

/// The score of each document for the query.
///
/// # Errors
/// Faults of the request, of the model's name, and of computing.
pub(super) async fn rank(app: &App, name: Option<&str>, call: RankCall) -> Result<Computed, Fault> {
    app.check_inputs(call.field, call.documents.len())?;
    let (slot, model) = app.registry.model(name).await?;
    let RankCall { query, mut documents, field, raw, document_tokens, options } = call;
    let own = model.max_tokens()?;
    if let Some(tokens) = document_tokens.filter(|&tokens| own.is_none_or(|own| tokens < own)) {
        documents = cut_documents(&model, documents, tokens).await?;
    }
    scores(&slot, &model, Box::new(QueryDocuments { query, documents }), raw, &options, field).await
}

/// The score of each pair.
///
/// # Errors
/// Faults of the request, of the model's name, and of computing.
pub(super) async fn score(app: &App, name: Option<&str>, call: ScoreCall) -> Result<Computed, Fault> {
    app.check_inputs(call.field, call.pairs.len())?;
    let (slot, model) = app.registry.model(name).await?;
    scores(&slot, &model, Box::new(call.pairs), call.raw, &call.options, call.field).await
}

async fn scores(
    slot: &Slot,
    model: &Arc<ServedModel>,
    inputs: Box<dyn Inputs>,
    raw: bool,
    options: &CallOptions,
    field: &str,
) -> Result<Computed, Fault> {
    let activation = model.ranking()?;
    let request = options.request(model, model.prompt("model", None)?, false)?;
    let mut computed = compute(slot, model, inputs, request, None, 1).await.map_err(|fault| fault.within(field))?;
    if !raw {
        computed.values.iter_mut().for_each(|logit| activation.apply(std::slice::from_mut(logit)));
    }
    Ok(computed)
}

/// The documents, each without what is behind its first `most` tokens.
async fn cut_documents(
    model: &Arc<ServedModel>,
    mut documents: Vec<String>,
    most: usize,
) -> Result<Vec<String>, Fault> {
    let model = model.clone();
    let cut = move || {
        let tokenizer = model.routes.main().network().tokenizer();
        // No token has less than a byte.
        for document in documents.iter_mut().filter(|document| document.len() > most) {
            let spans = tokenizer.token_spans(document, &|| Ok(()))?;
            if let Some(first) = spans.get(most) {
                document.truncate(document.floor_char_boundary(first.start));
            }
        }
        Ok(documents)
    };
    aside("cutting documents", move || Ok(guarded(cut)?)).await
}

/// The logits of each input `[inputs, labels]`.
///
/// # Errors
/// Faults of the request, of the model's name, and of computing.
pub(super) async fn classify(app: &App, name: Option<&str>, call: ClassifyCall) -> Result<Computed, Fault> {
    app.check_inputs(call.field, call.inputs.len())?;
    let (slot, model) = app.registry.model(name).await?;
    let labels = model.labels()?;
    if model.routes.main().network().has_template() && call.inputs.iter().any(|input| input.is_text()) {
        let message = "the model asks about a query and a document: send pairs [query, document]";
        return Err(Fault::value(call.field, message));
    }
    let request = call.options.request(&model, model.prompt("model", None)?, false)?;
    let computed = compute(&slot, &model, Box::new(call.inputs), request, None, labels).await;
    computed.map_err(|fault| fault.within(call.field))
}

impl EmbedCall {
    /// What is wanted of the engine, and for which task.
    fn request(&self, model: &ServedModel) -> Result<(Request, Option<&'static str>), Fault> {
        let (prompt, task) = match &self.prompt {
            PromptChoice::For(purpose) => model.prompt_and_task(*purpose)?,
            PromptChoice::Named(name) => (model.prompt("prompt_name", Some(name))?, None),
        };
        Ok((self.options.request(model, prompt, self.normalize && model.normalize)?, task))
    }
}

impl Sequence {
    pub(super) fn characters(&self) -> usize {
        match self {
            Self::Text(text) => text.chars().count(),
            Self::Pair(first, second) => first.chars().count() + second.chars().count(),
        }
    }

    fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }
}

/// One input of a token or two through the model: whether it computes.
///
/// # Errors
/// The fault of computing.
pub(super) async fn probe(slot: &Slot, model: &Arc<ServedModel>) -> Result<(), Fault> {
    let (input, width) = match model.role {
        Role::Embedder { dimension } => (Sequence::Text("a".to_owned()), dimension),
        Role::Reranker { labels, .. } => (Sequence::Pair("a".to_owned(), "a".to_owned()), labels),
    };
    let request = CallOptions::default().request(model, String::new(), false)?;
    compute(slot, model, Box::new(vec![input]), request, None, width).await.map(drop)
}

/// The rows of a call `[inputs, width]`.
pub(super) async fn compute(
    slot: &Slot,
    model: &Arc<ServedModel>,
    inputs: Box<dyn Inputs>,
    request: Request,
    task: Option<&'static str>,
    width: usize,
) -> Result<Computed, Fault> {
    if inputs.is_empty() {
        let outcome = Outcome { model: slot.name.clone(), ..Outcome::default() };
        return Ok(Computed { values: Vec::new(), width, outcome });
    }
    let (result, outcome) = finish(slot, model, inputs, request, task, width, false).await?;
    let OutputRows::Owned(values) = result.output.rows else { unreachable!("the rows were the call's own") };
    prove(slot, &values)?;
    Ok(Computed { values, width, outcome })
}

/// Notes whether a pass gave numbers.
fn prove(slot: &Slot, values: &[f32]) -> Result<(), Fault> {
    let proof = check_finite(values);
    slot.note_pass(proof.is_ok());
    proof
}

/// The end of a call of one input at least.
async fn finish(
    slot: &Slot,
    model: &Arc<ServedModel>,
    inputs: Box<dyn Inputs>,
    request: Request,
    task: Option<&'static str>,
    width: usize,
    every_token: bool,
) -> Result<(CallResult, Outcome), Fault> {
    let count = inputs.len();
    let network = match model.routes.has_tasks() {
        // It may be loaded now.
        true => {
            let model = model.clone();
            aside("loading a task", move || Ok(model.routes.of(task).cloned()?)).await?
        }
        false => model.routes.main().clone(),
    };
    let rows = zeroed(count.saturating_mul(width), "the rows of a request")?;
    let (sender, ended) = oneshot::channel();
    let on_end = Box::new(move |result| drop(sender.send(result)));
    let handle = network.submit(inputs, request, OutputRows::Owned(rows), every_token, on_end);
    let handle = handle.map_err(|error| match Fault::from(error) {
        fault if fault.kind == FaultKind::Busy => fault.retry_after(model.queue_time()),
        fault => fault,
    })?;
    let mut cancel = CancelOnDrop(Some(handle));
    let result = ended.await;
    cancel.0 = None;
    let result = result
        .map_err(|_| Fault::new(FaultKind::Failed, "a call was lost"))
        .and_then(|result| Ok(result?))
        .inspect_err(|fault| {
            if fault.kind == FaultKind::Failed {
                model.stats.add_error("internal");
                slot.note_pass(false);
            }
        })?;
    let outcome = Outcome {
        model: slot.name.clone(),
        inputs: count,
        tokens: result.report.tokens,
        truncated: result.report.truncated.len(),
        waited: result.report.waited,
        tokenizing: result.report.tokenizing,
        computing: result.report.computing,
    };
    Ok((result, outcome))
}
