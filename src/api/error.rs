//! Every answer that is not the one asked for, as RFC 9457 has it: a problem with a type, a status and a sentence that says the
//! cure. The only place that knows which status belongs to which refusal. May import `rules`.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::views::FlagView;
use crate::rules::change::{Cause, Change, Edit, Refused};
use crate::rules::flag::BadFlag;
use crate::rules::names::segment;
use crate::rules::snapshot::Snapshot;

/// The media type of problems.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// The most characters of what was asked for that an answer or a log line repeats.
pub(super) const LONGEST_ECHO: usize = 200;

/// A kind of problem. Its word never changes: programs compare it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sort {
    /// The last part of `type`.
    pub(super) word: &'static str,
    /// The HTTP status.
    pub(super) status: u16,
    /// A few words for people, the same for all of its kind.
    pub(super) title: &'static str,
}

const fn sort(word: &'static str, status: u16, title: &'static str) -> Sort {
    Sort {
        word,
        status,
        title,
    }
}

pub(super) const MALFORMED_REQUEST: Sort =
    sort("malformed-request", 400, "The request cannot be read");
pub(super) const MALFORMED_JSON: Sort = sort("malformed-json", 400, "The body is not good JSON");
pub(super) const CROSS_SITE: Sort = sort("cross-site", 403, "Other sites may not turn knobs");
pub(super) const SIGN_IN: Sort = sort("sign-in", 401, "Say who you are");
pub(super) const ROLE: Sort = sort("role", 403, "Your role does not allow it");
pub(super) const SCOPE: Sort = sort("scope", 403, "Your scope does not have it all");
pub(super) const NO_SUCH_PATH: Sort = sort("no-such-path", 404, "There is nothing here");
pub(super) const NO_SUCH_FLAG: Sort = sort("no-such-flag", 404, "No such flag");
pub(super) const NO_SUCH_SEGMENT: Sort = sort("no-such-segment", 404, "No such segment");
pub(super) const NO_SUCH_OPENING: Sort = sort("no-such-opening", 404, "No such opening");
pub(super) const NO_SUCH_QUEUE: Sort = sort("no-such-queue", 404, "No such queue");
pub(super) const NO_SUCH_KEY: Sort = sort("no-such-key", 404, "No such blocked key");
pub(super) const NO_SUCH_PROVIDER: Sort = sort("no-such-provider", 404, "No such provider");
pub(super) const NO_SUCH_JOB: Sort = sort("no-such-job", 404, "No such job in doubt");
pub(super) const METHOD: Sort = sort("method-not-allowed", 405, "Not with this method");
pub(super) const SLOW_BODY: Sort = sort("slow-body", 408, "The body did not come in time");
pub(super) const CONFIRM_SIZE: Sort = sort("confirm-size", 409, "A big move, to be confirmed");
pub(super) const STILL_EVALUATED: Sort = sort("still-evaluated", 409, "Still in use");
pub(super) const STALE: Sort = sort("stale", 412, "Somebody was faster");
pub(super) const EXISTS: Sort = sort("exists", 412, "It exists already");
pub(super) const TOO_LARGE: Sort = sort("too-large", 413, "The body is too large");
pub(super) const NOT_JSON: Sort = sort("not-json", 415, "JSON only");
pub(super) const WRONG_HOST: Sort = sort("wrong-host", 421, "Not by this name");
pub(super) const BAD_DOCUMENT: Sort = sort("bad-document", 422, "The body does not fit");
pub(super) const BAD_VALUE: Sort = sort("bad-value", 422, "The value does not fit the flag");
pub(super) const INCOMPLETE: Sort = sort("incomplete", 422, "Something was not said");
pub(super) const LIMIT: Sort = sort("limit", 422, "A limit of the house");
pub(super) const KEY_REUSED: Sort = sort("idempotency-key-reused", 422, "A key for one request");
pub(super) const SAY_WHAT_YOU_SAW: Sort =
    sort("precondition-required", 428, "Say what you saw before");
pub(super) const TOO_OFTEN: Sort = sort("too-often", 429, "Not so often");
pub(super) const TOO_FAST: Sort = sort("too-many-changes", 429, "Too many changes");
pub(super) const BROKEN: Sort = sort("broken", 500, "A fault of ours");
pub(super) const CLOSING: Sort = sort("closing", 503, "The daemon stops");
pub(super) const TOO_MANY_LISTEN: Sort = sort("too-many-listen", 503, "Too many listen");
pub(super) const NOT_ALLOWED: Sort = sort("not-allowed", 403, "The flag does not allow it");
pub(super) const PARK: Sort = sort("park", 503, "The park cannot be read");
pub(super) const STORE: Sort = sort("store", 503, "The store cannot be written");

/// One place in the body, and what is wrong there.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Fault {
    /// A JSON pointer (RFC 6901) into the body.
    pointer: String,
    /// What is wrong there.
    detail: String,
}

/// A problem (RFC 9457): why the answer is not the one asked for, and what to do.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Document {
    /// The kind of problem, a stable reference: `/problems/stale`, `/problems/confirm-size`, …
    #[serde(rename = "type")]
    #[schema(example = "/problems/stale")]
    kind: String,
    /// A few words, the same for all of its kind.
    title: String,
    /// The HTTP status.
    #[schema(example = 412)]
    status: u16,
    /// A sentence that says what happened and what to do.
    detail: String,
    /// The path of the request.
    instance: String,
    /// The places in the body that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
    /// With `confirm-size`: the number to repeat as `confirm`: percent of the queue's messages, or accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// With `stale` and `exists`: the flag as it stands now.
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<FlagView>,
    /// With `no-such-flag` and `exists`: the revision that deleted the flag of this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    tombstone: Option<u64>,
    #[serde(skip)]
    #[schema(ignore)]
    retry_after_s: Option<u64>,
}

/// A problem on its way out. As a response it is only a note for [`Problem::write_into`], which knows the path of the request.
#[derive(Debug, Clone)]
pub(super) struct Problem(Box<Document>);

impl Problem {
    /// A problem of this sort; `detail` says the cure.
    pub(super) fn new(sort: Sort, detail: impl Into<String>) -> Self {
        Self(Box::new(Document {
            kind: format!("/problems/{}", sort.word),
            title: sort.title.to_owned(),
            status: sort.status,
            detail: detail.into(),
            instance: String::new(),
            errors: Vec::new(),
            size: None,
            now: None,
            tombstone: None,
            retry_after_s: None,
        }))
    }

    /// No such flag; perhaps there was one.
    pub(super) fn no_flag(snapshot: &Snapshot, key: &str) -> Self {
        let Some(revision) = snapshot.tombstones().get(key) else {
            return Self::never_a_flag(key);
        };
        let shown: String = key.chars().take(LONGEST_ECHO).collect();
        let path = format!("/api/v1/flags/{}", segment(key));
        let sentence = format!(
            "`{shown}` was deleted by revision {revision}; GET {path}/history tells what it was, POST {path}/undo brings it back"
        );
        let mut problem = Self::new(NO_SUCH_FLAG, sentence);
        problem.0.tombstone = Some(*revision);
        problem
    }

    /// No such flag, and nothing of what there was: also what is said of flags outside of a scope.
    pub(super) fn never_a_flag(key: &str) -> Self {
        let shown = key.chars().take(LONGEST_ECHO).collect();
        Self::new(NO_SUCH_FLAG, Refused::NoFlag(shown).to_string())
    }

    /// Too many changes; the next one after this time.
    pub(super) fn too_fast(wait: Duration) -> Self {
        let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
        let sentence = format!(
            "these are more changes a minute than [limits] changes_per_minute of the file allows; repeat this one in {seconds} s, or make several in one by POST /api/v1/changes"
        );
        let mut problem = Self::new(TOO_FAST, sentence);
        problem.0.retry_after_s = Some(seconds);
        problem
    }

    /// The same, with the place in the body that is wrong.
    pub(super) fn at(mut self, pointer: impl Into<String>) -> Self {
        let detail = self.0.detail.clone();
        self.0.errors.push(Fault {
            pointer: pointer.into(),
            detail,
        });
        self
    }

    /// The same, to be asked again after this time.
    pub(super) fn after(mut self, wait: Duration) -> Self {
        self.0.retry_after_s = Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        self
    }

    /// Why a change was refused; `look_up` tells how a flag stands now.
    pub(super) fn refused(
        refused: &Refused,
        change: &Change,
        look_up: impl FnOnce(&str) -> Option<FlagView>,
    ) -> Self {
        let sort = match refused {
            Refused::Stale { .. } | Refused::StaleSegment { .. } => STALE,
            Refused::Exists(_) | Refused::SegmentExists(_) | Refused::Tombstone { .. } => EXISTS,
            Refused::NoFlag(_) => NO_SUCH_FLAG,
            Refused::NoSegment(_) => NO_SUCH_SEGMENT,
            Refused::NoOpening(_) => NO_SUCH_OPENING,
            Refused::Bad(_) | Refused::BadSegment(_) => BAD_VALUE,
            Refused::Incomplete(_) => INCOMPLETE,
            Refused::ConfirmSize { .. } => CONFIRM_SIZE,
            Refused::Limit(_) | Refused::NeedsAnEnd(_) | Refused::ManagedByFile(_) => LIMIT,
            Refused::Store(_) => STORE,
        };
        let mut problem = Self::new(sort, refused.to_string());
        match refused {
            Refused::Stale { key, .. } | Refused::Exists(key) => {
                problem.0.now = look_up(key.as_str());
            }
            Refused::Tombstone { revision, .. } => problem.0.tombstone = Some(*revision),
            Refused::ConfirmSize { size, .. } => problem.0.size = Some(*size),
            Refused::Bad(bad) => {
                if let Some(at) = wrong_part(bad, change) {
                    problem = problem.at(at);
                }
            }
            _ => {}
        }
        problem
    }

    /// Whether it is of this kind.
    pub(super) fn is(&self, sort: Sort) -> bool {
        self.word() == sort.word
    }

    /// The word of its kind, for the log.
    pub(super) fn word(&self) -> &str {
        self.0.kind.trim_start_matches("/problems/")
    }

    /// The sentence that says the cure.
    pub(super) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The HTTP status.
    pub(super) fn status(&self) -> u16 {
        self.0.status
    }

    /// Writes the problem that a response carries, if it carries one, into its body.
    pub(super) fn write_into(mut response: Response, instance: String) -> Response {
        let Some(Self(mut document)) = response.extensions_mut().remove::<Self>() else {
            return response;
        };
        document.instance = instance;
        let status =
            StatusCode::from_u16(document.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let tag = document.now.as_ref().map(FlagView::tag);
        *response.status_mut() = status;
        *response.body_mut() = serde_json::to_vec(&document).unwrap_or_default().into();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(tag) = tag {
            headers.insert(header::ETAG, tag);
        }
        if let Some(seconds) = document.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            let how = HeaderValue::from_static("Bearer realm=\"sluicegate\"");
            headers.insert(header::WWW_AUTHENTICATE, how);
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The part of the body that is bad: of a flag's document, one of the values of an opening, one of several edits. Of a file of
/// flags the edits do not stand in the body.
fn wrong_part(bad: &BadFlag, change: &Change) -> Option<String> {
    let (key, part) = match bad {
        BadFlag::Key(_) => return Some("/key".to_owned()),
        BadFlag::TooLong { key, field, .. } => (key, *field),
        BadFlag::WrongType { key, .. }
        | BadFlag::OutOfBounds { key, .. }
        | BadFlag::NotAChoice { key, .. } => (key, "value"),
        BadFlag::Clause { key, .. } | BadFlag::Shape { key, .. } => (key, "rules"),
    };
    match &change.edit {
        Edit::Open { .. } if part == "rules" => Some("/when".to_owned()),
        Edit::Open { .. } => Some(format!("/values/{}", in_pointer(key))),
        Edit::Several(_) if change.cause == Cause::File => None,
        Edit::Several(edits) => {
            let mut edits = edits.iter();
            let place = edits.position(|one| one.edit.flag() == Some(key.as_str()))?;
            Some(format!("/edits/{place}"))
        }
        _ => Some(format!("/{part}")),
    }
}

/// A key as one step of a JSON pointer.
pub(super) fn in_pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
