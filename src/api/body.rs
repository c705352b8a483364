//! Reads what callers send: path, query and body, each strictly. JSON comes whole, in time, without duplicate or unknown keys.
//! May import `rules`.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::error::{
    BAD_DOCUMENT, MALFORMED_JSON, MALFORMED_REQUEST, NOT_JSON, Problem, SLOW_BODY, TOO_LARGE,
    in_pointer,
};
use crate::rules::json::strict;

/// The largest body, in bytes.
pub(super) const LARGEST_BODY: usize = 256 * 1024;
/// The largest body where segments and files of flags come whole, in bytes.
pub(super) const LARGEST_IMPORT: usize = 4 * 1024 * 1024;
/// How long a body may take to come.
pub(super) const BODY_WITHIN: Duration = Duration::from_secs(10);

/// The name in a path, decoded: `billing%2Forders` is `billing/orders`.
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Path::from_request_parts(parts, state)
            .await
            .map(|Path(name)| Self(name))
            .map_err(|why| {
                let cure = "percent-encode the name as UTF-8, such as billing%2Forders";
                Problem::new(MALFORMED_REQUEST, format!("{}; {cure}", why.body_text()))
            })
    }
}

/// The query, without unknown or duplicate parameters.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Query::from_request_parts(parts, state)
            .await
            .map(|Query(asked)| Self(asked))
            .map_err(|why| {
                let cure = "GET /api/v1/openapi.json lists the parameters";
                Problem::new(MALFORMED_REQUEST, format!("{}; {cure}", why.body_text()))
            })
    }
}

/// Whether the caller says that it sends JSON. No form and no `text/plain` passes: those a foreign page can send.
pub(super) fn says_json(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let said = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase())
        .unwrap_or_default();
    let merge_patch = method == Method::PATCH && said == "application/merge-patch+json";
    if said == "application/json" || merge_patch {
        return Ok(());
    }
    Err(Problem::new(
        NOT_JSON,
        "send JSON, and say so with the header Content-Type: application/json",
    ))
}

/// The bytes of a body, if they come in time and are not too many.
pub(super) async fn bytes(body: Body, largest: usize) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(BODY_WITHIN, to_bytes(body, largest)).await;
    match read {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(why)) if is_too_large(&why) => Err(too_large(largest)),
        Ok(Err(_)) => Err(Problem::new(
            MALFORMED_REQUEST,
            "the body broke off; send it again, whole",
        )),
        Err(_) => Err(Problem::new(
            SLOW_BODY,
            format!(
                "a body comes within {} s; send it again",
                BODY_WITHIN.as_secs()
            ),
        )),
    }
}

fn is_too_large(why: &axum::Error) -> bool {
    use std::error::Error;
    why.source()
        .is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

fn too_large(largest: usize) -> Problem {
    Problem::new(
        TOO_LARGE,
        format!("a body has at most {largest} bytes here; send several smaller changes"),
    )
}

/// Reads a body as the document it must be.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let json = strict(bytes).map_err(|why| {
        Problem::new(
            MALFORMED_JSON,
            format!("{why}; mend the body there and send it again"),
        )
    })?;
    if !json.is_object() {
        let cure = "the body is not a JSON object; send {\"reason\": …} with what shall change";
        return Err(Problem::new(BAD_DOCUMENT, cure).at("")); // serde would take a list for a struct
    }
    let typed = &mut serde_json::Deserializer::from_slice(bytes); // once more, for line and column of what does not fit
    serde_path_to_error::deserialize(typed).map_err(|why| {
        let pointer = pointer(why.path().iter());
        Problem::new(BAD_DOCUMENT, why.into_inner().to_string()).at(pointer)
    })
}

/// A path into a document as a JSON pointer (RFC 6901).
pub(super) fn pointer<'p>(path: impl Iterator<Item = &'p Segment>) -> String {
    path.map(|segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } | Segment::Enum { variant: key } => {
            format!("/{}", in_pointer(key))
        }
        Segment::Unknown => String::new(),
    })
    .collect()
}
