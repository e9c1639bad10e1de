//! What the server's routes are, for programs and for people.
//!
//! `openapi.json` is kept by hand; `tests/test_serve_openapi.py` compares it with the routes.

use std::sync::LazyLock;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::Value;

use crate::serve::reply::typed;
use crate::serve::state::App;

static DESCRIPTION: LazyLock<String> =
    LazyLock::new(|| include_str!("openapi.json").replacen("{version}", env!("CARGO_PKG_VERSION"), 1));

/// A page without scripts, and without anything of other places.
static PAGE: LazyLock<String> = LazyLock::new(page);

pub(super) fn routes() -> Router<App> {
    let description = || async { typed(StatusCode::OK, "application/json", DESCRIPTION.as_str()) };
    Router::new()
        .route("/openapi.json", get(description))
        .route("/api-doc/openapi.json", get(description))
        .route("/docs", get(|| async { typed(StatusCode::OK, "text/html; charset=utf-8", PAGE.as_str()) }))
}

fn page() -> String {
    let description: Value = serde_json::from_str(&DESCRIPTION).unwrap_or_default();
    let paths = description["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(path, methods)| {
        methods.as_object().into_iter().flatten().map(move |(method, operation)| (path, method, operation))
    });
    let rows = operations.map(|(path, method, operation)| {
        let told = |value: &Value| escaped(value.as_str().unwrap_or_default());
        let (tag, summary) = (told(&operation["tags"][0]), told(&operation["summary"]));
        let method = method.to_uppercase();
        format!("<tr><td>{tag}</td><td>{method}</td><td><code>{}</code></td><td>{summary}</td></tr>\n", escaped(path))
    });
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>votive</title>\n\
         <style>body{{font:16px sans-serif;margin:2em}}td{{padding:.2em 1em .2em 0}}</style>\n\
         <h1>votive {}</h1>\n<p>Bodies and answers are described in <a href=\"/openapi.json\">openapi.json</a>.</p>\n\
         <table>\n{}</table>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
        rows.collect::<String>()
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
