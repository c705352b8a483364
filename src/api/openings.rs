//! `/api/v1/openings`: temporary values over one or several flags.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Doors;
use super::access::Caller;
use super::body::{Asked, Named};
use super::error::{BAD_VALUE, MALFORMED_REQUEST, Problem};
use super::page::{Page, Paging};
use super::views::{OpeningView, restores};
use super::write::{Answer, Turned, Words, Write, WriteQuery, turn};
use crate::rules::change::Edit;
use crate::rules::names::FlagKey;
use crate::rules::opening::{DEFAULT_LENGTH, OpeningId, Restore};
use crate::rules::units::Span;

const LIST: &str = "/api/v1/openings";

/// Lists the openings in force, oldest first.
#[utoipa::path(get, path = LIST, tag = "openings", params(Paging), responses(
    (status = 200, description = "One page of the openings.", body = Page<OpeningView>,
     headers(("Link" = String, description = "The next page, if there is one: `rel=\"next\"`."))),
))]
pub(super) async fn list(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    Asked(paging): Asked<Paging>,
) -> Result<Page<OpeningView>, Problem> {
    let snapshot = doors.store.snapshot();
    let after: Option<OpeningId> = paging
        .cursor
        .as_deref()
        .filter(|cursor| !cursor.is_empty())
        .map(str::parse)
        .transpose()
        .map_err(|why| Problem::new(MALFORMED_REQUEST, format!("`cursor`: {why}")))?;
    let rest = snapshot
        .openings()
        .filter(|opening| after.is_none_or(|after| opening.id > after))
        .filter(|opening| caller.sees_opening(opening))
        .map(|opening| OpeningView::show(&snapshot, opening).for_the_eyes_of(&caller));
    Page::of(LIST, &paging, rest, |opening| opening.id.clone())
}

/// What is to be opened, why, and until when.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOpening {
    /// Which value is laid over which flag, by key.
    #[schema(value_type = Object, example = json!({"queue.orders.skip": 0.2}))]
    values: Map<String, Value>,
    /// How long, such as `30m`; at most 24 h. Usually 30 minutes.
    #[serde(default, rename = "for")]
    #[schema(value_type = Option<String>, example = "30m")]
    length: Option<Span>,
    /// Until when (RFC 3339), instead of `for`.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<jiff::Timestamp>,
    /// How it ends.
    #[serde(default)]
    #[schema(schema_with = restores, required = false)]
    restore: Restore,
    /// Why; never empty.
    #[serde(default)]
    #[schema(
        required = true,
        min_length = 1,
        max_length = 1024,
        example = "INC-481"
    )]
    reason: String,
    /// The size of a big move, as the answer 409 `confirm-size` told it.
    #[serde(default)]
    confirm: Option<u64>,
    /// Checks the change and shows what it would lead to; nothing is changed.
    #[serde(default)]
    dry_run: bool,
}

/// Lays a temporary value over one or several flags.
#[utoipa::path(post, path = LIST, tag = "openings", params(WriteQuery), request_body = NewOpening, responses(
    (status = 200, description = "What it would lead to (`dry_run`).", body = OpeningView),
    (status = 201, description = "It is open.", body = OpeningView),
    (status = 404, description = "There is no such flag."),
    (status = 409, description = "A big move; repeat with `confirm` = `size`."),
))]
pub(super) async fn open(
    State(doors): State<Arc<Doors>>,
    Write { body, sender }: Write<NewOpening>,
) -> Result<Answer, Problem> {
    let ends_at_ms = body.ends_at_ms(doors.clock.now().ms)?;
    let values = body
        .values
        .into_iter()
        .map(|(key, value)| match key.parse::<FlagKey>() {
            Ok(key) => Ok((key, value)),
            Err(why) => Err(Problem::new(BAD_VALUE, why.to_string()).at("/values")),
        })
        .collect::<Result<_, _>>()?;
    let edit = Edit::Open {
        values,
        when: Vec::new(),
        ends_at_ms,
        restore: body.restore,
    };
    let words = Words {
        reason: body.reason,
        confirm: body.confirm,
        keep: false,
        dry_run: body.dry_run,
    };
    turn(doors, sender, edit, None, words, |turned| {
        let status = if turned.dry_run {
            StatusCode::OK
        } else {
            StatusCode::CREATED
        };
        let id = OpeningId(turned.after.revision()); // an opening is called by the revision that opened it
        shown(turned, id, status)
    })
    .await
}

impl NewOpening {
    fn ends_at_ms(&self, now_ms: i64) -> Result<i64, Problem> {
        match (self.length, self.until) {
            (Some(_), Some(_)) => Err(Problem::new(
                BAD_VALUE,
                "say either how long (`for`) or until when (`until`), not both",
            )
            .at("/until")),
            (None, Some(until)) => Ok(until.as_millisecond()),
            (length, None) => {
                let length = length.unwrap_or(DEFAULT_LENGTH).as_millis();
                Ok(now_ms.saturating_add(length))
            }
        }
    }
}

/// Why an opening ends before its time.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Closing {
    /// Why; never empty.
    #[serde(default)]
    #[schema(
        required = true,
        min_length = 1,
        max_length = 1024,
        example = "the burst is over"
    )]
    reason: String,
    /// Checks the change and shows what it would lead to; nothing is changed.
    #[serde(default)]
    dry_run: bool,
}

/// Ends an opening now; its flags go back to what stands below.
#[utoipa::path(post, path = "/api/v1/openings/{id}/close", tag = "openings", request_body = Closing,
    params(("id" = String, Path, description = "The opening's id, such as `o41`."), WriteQuery),
    responses(
        (status = 200, description = "The opening that was closed (or would be: `dry_run`); `now` is what its flags say after it.", body = OpeningView),
        (status = 404, description = "There is no such opening; it may have ended."),
))]
pub(super) async fn close(
    State(doors): State<Arc<Doors>>,
    Named(id): Named,
    Write { body, sender }: Write<Closing>,
) -> Result<Answer, Problem> {
    let id: OpeningId = id
        .parse()
        .map_err(|why: crate::rules::opening::NotAnOpening| {
            Problem::new(super::error::NO_SUCH_OPENING, why.to_string())
        })?;
    let words = Words {
        reason: body.reason,
        confirm: None,
        keep: false,
        dry_run: body.dry_run,
    };
    turn(doors, sender, Edit::Close(id), None, words, move |turned| {
        shown(turned, id, StatusCode::OK)
    })
    .await
}

/// An opening that came or went, with what its flags say after that.
fn shown(turned: &Turned, id: OpeningId, status: StatusCode) -> Answer {
    let opening = turned
        .after
        .opening(id)
        .or_else(|| turned.before.opening(id));
    let view =
        opening.map(|opening| OpeningView::show(&turned.after, opening).tried(turned.dry_run));
    Answer::new(status, None, &view)
}
