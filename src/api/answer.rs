//! The answer to a write, as it goes out and as it is remembered for a repeated request.

use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// The answer to a write, as it is also remembered.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    status: StatusCode,
    tag: Option<HeaderValue>,
    body: Bytes,
}

impl Answer {
    pub(super) fn new(status: StatusCode, tag: Option<HeaderValue>, body: &impl Serialize) -> Self {
        Self {
            status,
            tag,
            body: serde_json::to_vec(body).unwrap_or_default().into(),
        }
    }

    /// Its HTTP status.
    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Roughly the bytes that it takes to remember it.
    pub(super) fn size(&self) -> usize {
        self.body.len() + 256
    }

    #[cfg(test)]
    pub(super) fn sample() -> Self {
        Self::new(StatusCode::OK, None, &"done")
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if let Some(tag) = self.tag {
            headers.insert(header::ETAG, tag);
        }
        response
    }
}
