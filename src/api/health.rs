//! `/livez`, `/readyz` and `/metrics`: what orchestrators and scrapers ask, by whatever name they found us.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Doors;
use super::error::{BROKEN, Problem};
use super::status::plain;

/// Says that the daemon runs; asks nothing of others.
#[utoipa::path(get, path = "/livez", tag = "health", responses(
    (status = 200, description = "It runs.", body = String, content_type = "text/plain"),
))]
pub(super) async fn livez() -> &'static str {
    "alive\n"
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Verbosity {
    /// If it is there, one line for each queue says how it stands.
    verbose: Option<String>,
}

/// Says whether the daemon does its work: not while it stops, nor while a queue that is not shut has no consumer.
#[utoipa::path(get, path = "/readyz", tag = "health", params(Verbosity), responses(
    (status = 200, description = "It does its work.", body = String, content_type = "text/plain"),
    (status = 503, description = "It does not, or not for every queue.", body = String, content_type = "text/plain"),
))]
pub(super) async fn readyz(
    State(doors): State<Arc<Doors>>,
    Query(asked): Query<Verbosity>,
) -> (StatusCode, String) {
    let stopping = doors.stopping.is_cancelled();
    let mut all_fine = !stopping;
    let mut lines = String::new();
    for queue in &doors.queues {
        let fine = queue.vitals.ready();
        all_fine &= fine.is_ok();
        let mark = if fine.is_ok() { "[+]" } else { "[-]" };
        let said = match (
            fine,
            queue.vitals.report(doors.clock.now().mono).state_detail,
        ) {
            (Err(why), _) => why,
            (Ok(()), detail) if detail.is_empty() => "ok".to_owned(),
            (Ok(()), detail) => format!("ok, but {detail}"),
        };
        let _ = writeln!(lines, "{mark} {}: {}", queue.settings.name, plain(&said));
    }
    if asked.verbose.is_none() {
        lines.clear();
    }
    let (status, verdict) = match (all_fine, stopping) {
        (true, _) => (StatusCode::OK, "ready"),
        (false, true) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    (status, format!("{lines}{verdict}\n"))
}

/// All numbers, in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "All numbers.", body = String, content_type = "text/plain"),
    (status = 500, description = "They could not be written."),
))]
pub(super) async fn metrics(State(doors): State<Arc<Doors>>) -> Result<Response, Problem> {
    let page = doors.metrics.encode().map_err(|why| {
        Problem::new(
            BROKEN,
            format!("the numbers could not be written: {why}; report this"),
        )
    })?;
    let text = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, text)], page).into_response())
}
