//! `/api/v1/changes`: the audit log, page by page or exported whole, and what verifies it.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::Doors;
use super::access::Caller;
use super::aside::aside;
use super::body::Asked;
use super::error::{MALFORMED_REQUEST, Problem, STORE};
use super::page::{Page, Paging};
use super::resolved::ResolvedView;
use super::views::{edits, rfc3339};
use crate::rules::change::Actor;
use crate::rules::names::segment as in_path;
use crate::rules::record::{self, ChangeRecord, EditKind, TouchedSegment};
use crate::rules::snapshot::Snapshot;
use crate::store::Unreadable;

const LIST: &str = "/api/v1/changes";
/// So many records of an export are read at once.
const AT_ONCE: usize = 500;
/// So many members who came or left are named.
const MOST_NAMED: usize = 100;

/// A change that was made: who, when, why, before and after.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Change)]
pub(super) struct ChangeView {
    /// Its number: the revision that it led to.
    pub(super) revision: u64,
    /// When (RFC 3339).
    #[schema(format = DateTime)]
    at: String,
    /// Who.
    by: Who,
    /// What caused it: operator, expiry (an opening came to its end), health (a queue is well, or its opening's end would hurt), or file (a
    /// file of flags was applied).
    cause: &'static str,
    /// Why.
    reason: String,
    /// What kind of edit it was.
    #[schema(schema_with = edits)]
    edit: EditKind,
    /// The opening that began, moved or ended.
    opening: Option<String>,
    /// When that opening ends, as it was after this change (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    ends_at: Option<String>,
    /// The flags that it touched.
    touched: Vec<TouchedView>,
    /// The segments that it touched.
    segments: Vec<TouchedSegmentView>,
    /// The jobs in doubt that it resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved: Option<ResolvedView>,
    /// The SHA-256 of the record before this one, in hex: whoever alters one breaks the chain.
    prev: String,
    /// The SHA-256 of this record, in hex, as the next one names it.
    hash: String,
}

/// Who turned a knob.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Actor)]
struct Who {
    /// Their name.
    name: String,
    /// How they came in: api, cli, guard or file.
    via: String,
    /// How we know that it is they: token, proxy; left out: nothing was asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    auth: String,
    /// Where the request came from; left out: that is not known.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    address: String,
}

/// What a change did to one flag: values of `set`; what the flag said to everybody of `open`, `extend`, `ramp` and `close`; documents
/// of all others.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Touched)]
struct TouchedView {
    /// The flag.
    flag: String,
    /// Before; `null`: it did not exist, or none.
    before: Value,
    /// After; `null`: it is gone, or none.
    after: Value,
}

/// What a change did to one segment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TouchedSegment)]
struct TouchedSegmentView {
    /// The segment.
    segment: String,
    /// Its document before, without members; `null`: it did not exist.
    before: Value,
    /// Its document after, without members; `null`: it is gone.
    after: Value,
    /// How many members came.
    added_count: usize,
    /// Who came, at most 100 of them; the export names all.
    added: Vec<String>,
    /// How many members left.
    removed_count: usize,
    /// Who left, at most 100 of them; the export names all.
    removed: Vec<String>,
}

/// Which changes, and how they are written.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ChangesAsked {
    /// How many at most, from 1 to 500; usually 100.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// Where to go on: `next` of the page before.
    cursor: Option<String>,
    /// Only those that touched this flag, also by an opening over it.
    flag: Option<String>,
    /// Only those that touched this segment.
    segment: Option<String>,
    /// `jsonl`: all of them, oldest first, one record a line exactly as it was written.
    #[serde(default)]
    #[param(inline)]
    format: Format,
    /// With `jsonl`: only those after this revision, to go on where an earlier export ended.
    after: Option<u64>,
}

/// How changes are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// Pages.
    #[default]
    Json,
    /// One record a line.
    Jsonl,
}

/// Lists the changes that were made, newest first; or exports them all.
///
/// Of an export (`format=jsonl`) the SHA-256 of each line, without its end, is the `prev` of the next: so it can be verified
/// elsewhere. `revision` counts by one.
#[utoipa::path(get, path = LIST, tag = "changes", params(ChangesAsked), responses(
    (status = 200, description = "One page of the changes; or, with `format=jsonl`, all of them.",
     content((Page<ChangeView> = "application/json"), (String = "application/jsonl")),
     headers(("Link" = String, description = "The next page, if there is one: `rel=\"next\"`."))),
    (status = 500, description = "A fault of ours."),
    (status = 503, description = "The changes cannot be read from the disk."),
))]
pub(super) async fn list(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    Asked(asked): Asked<ChangesAsked>,
) -> Result<Response, Problem> {
    match asked.format {
        Format::Jsonl => {
            caller.must_see_everything()?;
            export(doors, asked).await
        }
        Format::Json => Ok(page(doors, caller, asked).await?.into_response()),
    }
}

async fn page(
    doors: Arc<Doors>,
    caller: Caller,
    asked: ChangesAsked,
) -> Result<Page<ChangeView>, Problem> {
    if asked.after.is_some() {
        let cure = "`after` goes with format=jsonl; pages go on by `cursor`";
        return Err(Problem::new(MALFORMED_REQUEST, cure));
    }
    let subject = match (asked.flag, asked.segment) {
        (Some(_), Some(_)) => {
            let cure = "name either a `flag` or a `segment`, not both";
            return Err(Problem::new(MALFORMED_REQUEST, cure));
        }
        (Some(key), None) => Subject::Flag(key),
        (None, Some(name)) => Subject::Segment(name),
        (None, None) => Subject::All,
    };
    let path = match &subject {
        Subject::All => LIST.to_owned(),
        Subject::Flag(key) => format!("{LIST}?flag={}", in_path(key)),
        Subject::Segment(name) => format!("{LIST}?segment={}", in_path(name)),
    };
    let paging = Paging::at(asked.limit, asked.cursor);
    page_of((doors, caller), &path, paging, subject).await
}

/// Whose changes.
pub(super) enum Subject {
    All,
    Flag(String),
    Segment(String),
}

impl Subject {
    /// Whether a caller may not know of it: then not even what else changed with it is told.
    fn is_hidden_from(&self, caller: &Caller, snapshot: &Snapshot) -> bool {
        match self {
            Self::All => false,
            Self::Flag(key) => !caller.sees_flag(key),
            Self::Segment(name) => !caller.sees_segment(name, snapshot),
        }
    }
}

/// One page of the changes of a subject, as far as they are there for the caller.
pub(super) async fn page_of(
    (doors, caller): (Arc<Doors>, Caller),
    path: &str,
    paging: Paging,
    subject: Subject,
) -> Result<Page<ChangeView>, Problem> {
    let more = paging.limit()? + 1;
    let before = match paging.cursor.as_deref().unwrap_or_default() {
        "" => None,
        revision => Some(revision.parse().map_err(|_| {
            let cure = "`cursor` is the `next` of the page before; leave it out to begin";
            Problem::new(MALFORMED_REQUEST, cure)
        })?),
    };
    // Aside, because it reads the disk and waits for a change that is being written.
    let records = aside(move || {
        let store = &doors.store;
        if subject.is_hidden_from(&caller, &store.snapshot()) {
            return Ok(Vec::new());
        }
        let read = |before, most| match &subject {
            Subject::All => store.changes(before, most),
            Subject::Flag(key) => store.history(key, before, most),
            Subject::Segment(name) => store.segment_history(name, before, most),
        };
        let records = caller.changes(&store.snapshot(), before, more, read);
        records.map_err(|why| unreadable(&why))
    });
    let views = records.await?.into_iter().map(ChangeView::of);
    Page::of(path, &paging, views, |change| change.revision.to_string())
}

pub(super) fn unreadable(why: &Unreadable) -> Problem {
    Problem::new(STORE, format!("{why}; mend the disk and ask again"))
}

/// All records after a revision, oldest first, line by line while they are read.
async fn export(doors: Arc<Doors>, asked: ChangesAsked) -> Result<Response, Problem> {
    let narrowed = [&asked.flag, &asked.segment, &asked.cursor];
    if narrowed.into_iter().any(Option::is_some) || asked.limit.is_some() {
        let cure =
            "an export holds all changes, else it could not be verified; leave all but `after` out";
        return Err(Problem::new(MALFORMED_REQUEST, cure));
    }
    let from = asked.after.map_or(0, |after| after.saturating_add(1));
    let first = lines(Arc::clone(&doors), from).await?; // a disk that cannot be read is told by the status
    let rest = stream::try_unfold((doors, first), |(doors, (bytes, next))| async move {
        if bytes.is_empty() {
            return Ok(None);
        }
        let Some(from) = next else {
            return Ok(Some((bytes, (doors, (Bytes::new(), None)))));
        };
        match lines(Arc::clone(&doors), from).await {
            Ok(page) => Ok(Some((bytes, (doors, page)))),
            Err(_) => Err(std::io::Error::other("the changes could not be read on")),
        }
    });
    let written = [(header::CONTENT_TYPE, "application/jsonl")];
    Ok((StatusCode::OK, written, Body::from_stream(rest)).into_response())
}

/// The lines of some records, and where to go on, if there may be more.
async fn lines(doors: Arc<Doors>, from: u64) -> Result<(Bytes, Option<u64>), Problem> {
    aside(move || {
        let page = doors.store.written(from, AT_ONCE);
        let page = page.map_err(|why| unreadable(&why))?;
        let last = page.last().map(|(revision, _)| revision.saturating_add(1));
        let next = last.filter(|_| page.len() == AT_ONCE);
        let mut text = Vec::new();
        for (_, line) in page {
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
        Ok((text.into(), next))
    })
    .await
}

/// Whether the log is what was written, from its first record to its last.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Verified)]
pub(super) struct ChainView {
    /// Whether it is.
    whole: bool,
    /// How many records were found good, in a row.
    records: u64,
    /// The log begins after this revision; 0: with the first change of all.
    begins_after: u64,
    /// The revision of the last good record.
    newest: u64,
    /// The SHA-256 of the last good record, in hex: noted elsewhere, it shows when the end of the log was cut off.
    head: String,
    /// What is wrong, and at which revision; left out: nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<String>,
}

/// Verifies the whole log: each record names the hash of the one before it.
#[utoipa::path(get, path = "/api/v1/changes/verify", tag = "changes", responses(
    (status = 200, description = "What was found.", body = ChainView),
    (status = 500, description = "A fault of ours."),
    (status = 503, description = "The changes cannot be read from the disk."),
))]
pub(super) async fn verify(State(doors): State<Arc<Doors>>) -> Result<Json<ChainView>, Problem> {
    let chain = aside(move || doors.store.verify(None).map_err(|why| unreadable(&why))).await?;
    let broken = chain.broken.as_ref();
    Ok(Json(ChainView {
        whole: broken.is_none(),
        records: chain.whole,
        begins_after: chain.begins_after,
        newest: chain.newest,
        broken: broken.map(|at| format!("at revision {}: {}", at.revision, at.why)),
        head: chain.head,
    }))
}

impl ChangeView {
    pub(super) fn of(record: ChangeRecord) -> Self {
        let hash = record.written().map(|written| record::hash(&written));
        let touched = record.touched.into_iter().map(|touched| TouchedView {
            flag: touched.flag.to_string(),
            before: touched.before,
            after: touched.after,
        });
        let segments = record.segments.into_iter().map(TouchedSegmentView::of);
        let opening = record.opening.as_ref();
        Self {
            revision: record.revision,
            at: rfc3339(record.at_ms),
            by: Who::of(record.by),
            cause: record.cause.word(),
            reason: record.reason,
            edit: record.edit,
            opening: opening.map(|opening| opening.id.to_string()),
            ends_at: opening.map(|opening| rfc3339(opening.ends_at_ms)),
            touched: touched.collect(),
            segments: segments.collect(),
            resolved: record.resolved.map(ResolvedView::of),
            prev: record.prev,
            hash: hash.unwrap_or_default(),
        }
    }
}

impl Who {
    fn of(by: Actor) -> Self {
        Self {
            name: by.name,
            via: by.via,
            auth: by.auth,
            address: by.address,
        }
    }
}

impl TouchedSegmentView {
    fn of(mut touched: TouchedSegment) -> Self {
        let counts = (touched.added.len(), touched.removed.len());
        touched.added.truncate(MOST_NAMED);
        touched.removed.truncate(MOST_NAMED);
        Self {
            segment: touched.segment.to_string(),
            before: serde_json::to_value(touched.before).unwrap_or_default(),
            after: serde_json::to_value(touched.after).unwrap_or_default(),
            added_count: counts.0,
            added: touched.added,
            removed_count: counts.1,
            removed: touched.removed,
        }
    }
}
