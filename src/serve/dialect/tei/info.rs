//! What the server's first model is.

use axum::extract::Request;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::serve::fault::Fault;
use crate::serve::reply::json_of;
use crate::serve::served_model::{Role, ServedModel};
use crate::serve::state::App;

pub(super) async fn info(app: App, _request: Request) -> Result<Response, Fault> {
    let (slot, model) = app.registry.model(None).await?;
    let network = model.routes.main().network();
    Ok(json_of(&json!({
        "model_id": slot.name,
        "model_sha": model.revision,
        "model_dtype": network.body().dtype().name(),
        "served_model_name": slot.name,
        "model_type": model_type(&model),
        "max_concurrent_requests": app.limits.max_connections,
        "max_input_length": model.max_length.or(network.own_length()),
        // Passes are made of the tokens of all requests, and none is refused for their number.
        "max_batch_tokens": null,
        "max_batch_requests": null,
        "max_client_batch_size": app.limits.max_inputs,
        "auto_truncate": true,
        "tokenization_workers": network.threads(),
        "version": env!("CARGO_PKG_VERSION"),
        "sha": null,
        "docker_label": null,
    })))
}

fn model_type(model: &ServedModel) -> Value {
    let names = || model.label_names.iter().enumerate();
    let labels = || {
        let by_id: Map<_, _> = names().map(|(i, name)| (i.to_string(), json!(name))).collect();
        let by_name: Map<_, _> = names().map(|(i, name)| (name.clone(), json!(i))).collect();
        json!({"id2label": by_id, "label2id": by_name})
    };
    match model.role {
        Role::Embedder { .. } => json!({"embedding": {"pooling": model.pooling}}),
        Role::Reranker { labels: 1, .. } => json!({"reranker": labels()}),
        Role::Reranker { .. } => json!({"classifier": labels()}),
    }
}
