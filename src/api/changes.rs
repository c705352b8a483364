//! `/api/v1/changes`: the audit log.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Doors;
use super::access::Caller;
use super::body::Asked;
use super::error::{BROKEN, MALFORMED_REQUEST, Problem, STORE};
use super::page::{Page, Paging};
use super::views::{edits, rfc3339};
use crate::rules::record::{ChangeRecord, EditKind};

const LIST: &str = "/api/v1/changes";

/// A change that was made: who, when, why, before and after.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Change)]
pub(super) struct ChangeView {
    /// The revision that it led to.
    revision: u64,
    /// When (RFC 3339).
    #[schema(format = DateTime)]
    at: String,
    /// Who.
    by: Who,
    /// What caused it: operator, or expiry (an opening came to its end).
    cause: &'static str,
    /// Why.
    reason: String,
    /// What kind of edit it was.
    #[schema(schema_with = edits)]
    edit: EditKind,
    /// The opening that began or ended.
    opening: Option<String>,
    /// The flags that it touched.
    touched: Vec<TouchedView>,
    /// The SHA-256 of the record before this one, in hex: whoever alters one breaks the chain.
    prev: String,
}

/// Who turned a knob.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Actor)]
struct Who {
    /// Their name.
    name: String,
    /// How they came in: api, cli, guard or file.
    via: String,
}

/// What a change did to one flag: documents of `create` and `replace`, values of `set`, what the flag said of `open` and `close`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Touched)]
struct TouchedView {
    /// The flag.
    flag: String,
    /// Before; `null`: it did not exist, or none.
    before: Value,
    /// After; `null`: none.
    after: Value,
}

/// Lists the changes that were made, newest first.
#[utoipa::path(get, path = LIST, tag = "changes", params(Paging), responses(
    (status = 200, description = "One page of the changes.", body = Page<ChangeView>,
     headers(("Link" = String, description = "The next page, if there is one: `rel=\"next\"`."))),
    (status = 500, description = "A fault of ours."),
    (status = 503, description = "The changes cannot be read from the disk."),
))]
pub(super) async fn list(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    Asked(paging): Asked<Paging>,
) -> Result<Page<ChangeView>, Problem> {
    let limit = paging.limit()?;
    let before = match paging.cursor.as_deref().unwrap_or_default() {
        "" => None,
        revision => Some(revision.parse().map_err(|_| {
            let cure = "`cursor` is the `next` of the page before; leave it out to begin";
            Problem::new(MALFORMED_REQUEST, cure)
        })?),
    };
    // Off the doors' own threads: it reads the disk, and waits for a change that is being written.
    let reading =
        tokio::task::spawn_blocking(move || caller.changes(&doors.store, before, limit + 1));
    let records = reading
        .await
        .map_err(|_| {
            Problem::new(
                BROKEN,
                "reading broke off by a fault of ours; report the log",
            )
        })?
        .map_err(|why| Problem::new(STORE, format!("{why}; mend the disk and ask again")))?;
    let views = records.into_iter().map(ChangeView::of);
    Page::of(LIST, &paging, views, |change| change.revision.to_string())
}

impl ChangeView {
    fn of(record: ChangeRecord) -> Self {
        let touched = record.touched.into_iter().map(|touched| TouchedView {
            flag: touched.flag.to_string(),
            before: touched.before,
            after: touched.after,
        });
        Self {
            revision: record.revision,
            at: rfc3339(record.at_ms),
            by: Who {
                name: record.by.name,
                via: record.by.via,
            },
            cause: record.cause.word(),
            reason: record.reason,
            edit: record.edit,
            opening: record.opening.map(|opening| opening.id.to_string()),
            touched: touched.collect(),
            prev: record.prev,
        }
    }
}
