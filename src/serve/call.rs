//! A request's texts through a model: a call in the model's queue, which is cancelled when nobody waits for it any more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::engine::{CallHandle, CallResult, OutputRows, Request};
use crate::memory::zeroed;
use crate::serve::app::App;
use crate::serve::fault::{Fault, FaultKind};
use crate::serve::registry::Slot;
use crate::serve::reply::check_finite;
use crate::serve::served_model::{Purpose, ServedModel};
use crate::text::{Input, Inputs};

/// What the fields of a request are called, for faults.
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
    pub(super) names: FieldNames,
    /// Whether scores are the logits themselves.
    pub(super) raw: bool,
}

/// What a call gave: `[inputs, width]`.
pub(super) struct Computed {
    pub(super) values: Vec<f32>,
    pub(super) width: usize,
    pub(super) outcome: Outcome,
}

/// What is told of a request beside its answer: in headers, metrics and the log.
#[derive(Debug, Default, Clone)]
pub(super) struct Outcome {
    pub(super) model: String,
    pub(super) inputs: usize,
    pub(super) tokens: usize,
    /// Inputs that were cut.
    pub(super) truncated: usize,
    pub(super) waited: Duration,
    pub(super) tokenizing: Duration,
    pub(super) computing: Duration,
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
    let (prompt, task) = match call.prompt {
        PromptChoice::For(purpose) => model.prompt_and_task(purpose)?,
        PromptChoice::Named(name) => (model.prompt("prompt_name", Some(&name))?, None),
    };
    let normalize = call.normalize && model.normalize;
    let request = Request { prompt, max_length: model.max_length, normalize, ..Request::default() };
    compute(&slot, &model, Box::new(call.texts), request, task, width).await
}

/// The score of each document for the query.
///
/// # Errors
/// Faults of the request, of the model's name, and of computing.
pub(super) async fn rank(app: &App, name: Option<&str>, call: RankCall) -> Result<Computed, Fault> {
    app.check_inputs(call.names.texts, call.documents.len())?;
    let (slot, model) = app.registry.model(name).await?;
    let activation = model.ranking()?;
    let prompt = model.prompt("model", None)?;
    let request = Request { prompt, max_length: model.max_length, ..Request::default() };
    let inputs = QueryDocuments { query: call.query, documents: call.documents };
    let mut computed = compute(&slot, &model, Box::new(inputs), request, None, 1).await?;
    if !call.raw {
        computed.values.iter_mut().for_each(|logit| activation.apply(std::slice::from_mut(logit)));
    }
    Ok(computed)
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
    let count = inputs.len();
    let mut outcome = Outcome { model: slot.name.clone(), inputs: count, ..Outcome::default() };
    if count == 0 {
        return Ok(Computed { values: Vec::new(), width, outcome });
    }
    let network = match model.routes.has_tasks() {
        // It may be loaded now.
        true => {
            let model = model.clone();
            let of_task = tokio::task::spawn_blocking(move || model.routes.of(task).cloned());
            of_task.await.unwrap_or_else(|_| Err(crate::Error::internal("loading a task panicked")))?
        }
        false => model.routes.main().clone(),
    };
    let rows = zeroed(count.saturating_mul(width), "the rows of a request")?;
    let (sender, ended) = oneshot::channel();
    let on_end = Box::new(move |result| drop(sender.send(result)));
    let handle = network.submit(inputs, request, OutputRows::Owned(rows), false, on_end)?;
    let mut cancel = CancelOnDrop(Some(handle));
    let result = ended.await;
    cancel.0 = None;
    let CallResult { output, report, .. } = result
        .map_err(|_| Fault::new(FaultKind::Failed, "a call was lost"))
        .and_then(|result| Ok(result?))
        .inspect_err(|fault| {
            if fault.kind == FaultKind::Failed {
                model.stats.add_error("internal");
            }
        })?;
    let OutputRows::Owned(values) = output.rows else { unreachable!("the rows were the call's own") };
    check_finite(&values)?;
    outcome.tokens = report.tokens;
    outcome.truncated = report.truncated.len();
    (outcome.waited, outcome.tokenizing, outcome.computing) = (report.waited, report.tokenizing, report.computing);
    Ok(Computed { values, width, outcome })
}
