//! The HTTP listener. Read-only, and it shows nothing of any document.
//!
//! | path       | answers                                                                     |
//! |------------|-----------------------------------------------------------------------------|
//! | `/metrics` | Prometheus' text format                                                     |
//! | `/livez`   | 200 while this process can answer, whatever MongoDB and the sinks do        |
//! | `/readyz`  | 200 when every pipeline is running, else 503 and why not, as JSON           |
//! | `/status`  | everything about the pipelines, as JSON                                     |
//! | `/`        | a page that shows `/status`                                                 |

mod server;

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Shared;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

pub use server::Listener;

use crate::metrics::Metrics;
use crate::status::{Board, State};

/// What the listener shows.
#[derive(Clone, Debug)]
struct Shown {
    metrics: Arc<Metrics>,
    board: Arc<Board>,
}

/// The routes.
fn router(metrics: Arc<Metrics>, board: Arc<Board>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/metrics", get(render))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .with_state(Shown { metrics, board })
}

async fn page() -> impl IntoResponse {
    // The page is one file, and nothing else may run in it.
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'";
    ([(CONTENT_SECURITY_POLICY, policy)], Html(include_str!("page.html")))
}

async fn render(Shared(shown): Shared<Shown>) -> impl IntoResponse {
    ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], shown.metrics.render())
}

async fn ready(Shared(shown): Shared<Shown>) -> Response {
    let report = shown.board.report();
    if report.ready {
        return as_json(StatusCode::OK, &json!({ "ready": true }));
    }
    let reasons: Vec<_> = report
        .pipelines
        .iter()
        .filter(|pipeline| pipeline.status.state != State::Running)
        .map(|pipeline| {
            let error = pipeline.status.last_error.as_ref().map(|error| &error.message);
            json!({ "sink": pipeline.sink, "state": pipeline.status.state, "error": error })
        })
        .collect();
    as_json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "ready": false, "reasons": reasons }))
}

async fn status(Shared(shown): Shared<Shown>) -> Response {
    as_json(StatusCode::OK, &shown.board.report())
}

fn as_json(code: StatusCode, body: &impl serde::Serialize) -> Response {
    let text = serde_json::to_string(body).expect("reports have text keys only");
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    (code, headers.map(|(name, value)| (name, HeaderValue::from_static(value))), text).into_response()
}
