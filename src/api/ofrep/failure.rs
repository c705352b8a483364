//! What OFREP says instead of a value: a status, a code that programs compare, and a sentence that says the cure.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::context::LARGEST;
use crate::api::error::{LONGEST_ECHO, Problem};

pub(super) const PARSE_ERROR: &str = "PARSE_ERROR";
pub(super) const INVALID_CONTEXT: &str = "INVALID_CONTEXT";
pub(super) const TARGETING_KEY_MISSING: &str = "TARGETING_KEY_MISSING";
const FLAG_NOT_FOUND: &str = "FLAG_NOT_FOUND";
const GENERAL: &str = "GENERAL";

/// Why there is no value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EvaluationFailure)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Failure {
    /// The flag, when one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// `PARSE_ERROR`, `INVALID_CONTEXT`, `TARGETING_KEY_MISSING`, `FLAG_NOT_FOUND` or `GENERAL`.
    #[schema(example = "FLAG_NOT_FOUND")]
    error_code: &'static str,
    /// A sentence that says the cure.
    error_details: String,
    #[serde(skip)]
    status: StatusCode,
    /// When to ask again.
    #[serde(skip)]
    retry_after: Option<Duration>,
}

impl Failure {
    /// A request that is wrong in this way (400).
    pub(super) fn new(error_code: &'static str, error_details: impl Into<String>) -> Self {
        Self {
            key: None,
            error_code,
            error_details: error_details.into(),
            status: StatusCode::BAD_REQUEST,
            retry_after: None,
        }
    }

    /// There is no such flag (404).
    pub(super) fn no_flag(key: &str) -> Self {
        let short: String = key.chars().take(LONGEST_ECHO).collect();
        let details = format!(
            "there is no flag `{short}`, so it is off; `sluicegate flag list` shows those there are"
        );
        Self {
            status: StatusCode::NOT_FOUND,
            ..Self::new(FLAG_NOT_FOUND, details).of(key)
        }
    }

    /// The body is too large (413).
    fn too_large() -> Self {
        let details =
            format!("a context has at most {LARGEST} bytes; tell only what flags ask for");
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            ..Self::new(GENERAL, details)
        }
    }

    /// Too many ask at once (429).
    pub(super) fn too_many(retry_after: Duration) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            retry_after: Some(retry_after),
            ..Self::new(
                GENERAL,
                "too many evaluations at once; ask again after Retry-After",
            )
        }
    }

    /// The same, of one flag.
    pub(super) fn of(mut self, key: &str) -> Self {
        self.key = Some(key.chars().take(LONGEST_ECHO).collect());
        self
    }

    #[cfg(test)]
    pub(super) fn verdict(&self) -> String {
        format!("{} {}", self.status.as_u16(), self.error_code)
    }
}

/// What any door may say of a request, in OFREP's words.
impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let status = StatusCode::from_u16(problem.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let code = match status {
            StatusCode::PAYLOAD_TOO_LARGE => return Self::too_large(),
            StatusCode::BAD_REQUEST => PARSE_ERROR,
            _ => GENERAL,
        };
        Self {
            status,
            ..Self::new(code, problem.detail())
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(&self)).into_response();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs_f64().ceil().max(1.0);
            if let Ok(seconds) = HeaderValue::try_from(format!("{seconds}")) {
                response.headers_mut().insert(header::RETRY_AFTER, seconds);
            }
        }
        response
    }
}
