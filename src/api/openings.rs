//! `/api/v1/openings`: temporary values over one or several flags.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Doors;
use super::access::Caller;
use super::answer::Answer;
use super::body::{Asked, Named};
use super::error::{BAD_VALUE, MALFORMED_REQUEST, NO_SUCH_OPENING, Problem};
use super::page::{Page, Paging};
use super::preview::{PreviewView, compare};
use super::shapes;
use super::views::{OpeningView, rfc3339, warnings};
use super::write::{Turned, Words, Write, WriteQuery, turn};
use crate::rules::change::Edit;
use crate::rules::clause::ClauseDocument;
use crate::rules::names::FlagKey;
use crate::rules::opening::{DEFAULT_LENGTH, NotAnOpening, Opening, OpeningId, Restore};
use crate::rules::relief::health::{Until, UntilWell};
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
    /// Until when, instead of `for`: a time (RFC 3339), or, on valves of queues, their health, such as
    /// `on-time >= 98% for 10m, at most 8h`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "on-time >= 98% for 10m, at most 8h")]
    until: Option<Until>,
    /// How it ends.
    #[serde(default)]
    #[schema(schema_with = shapes::restore, required = false)]
    restore: Restore,
    /// For whom: those of whom all of these hold; none: everybody.
    #[serde(default)]
    #[schema(schema_with = shapes::clauses, required = false)]
    when: Vec<ClauseDocument>,
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

/// An opening that is only tried.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TriedOpening {
    #[serde(flatten)]
    opening: OpeningView,
    /// What it would do to messages like the last ones, flag by flag.
    preview: Vec<PreviewView>,
}

/// Lays a temporary value over one or several flags.
#[utoipa::path(post, path = LIST, tag = "openings", params(WriteQuery), request_body = NewOpening, responses(
    (status = 200, description = "What it would lead to, and would do to messages like the last ones (`dry_run`).", body = TriedOpening),
    (status = 201, description = "It is open.", body = OpeningView),
    (status = 404, description = "There is no such flag."),
    (status = 409, description = "A big move; repeat with `confirm` = `size`."),
))]
pub(super) async fn open(
    State(doors): State<Arc<Doors>>,
    Write { body, sender }: Write<NewOpening>,
) -> Result<Answer, Problem> {
    let end = End::of(body.length, body.until, doors.clock.now().ms)?;
    let values: Vec<(FlagKey, Value)> = body
        .values
        .into_iter()
        .map(|(key, value)| match key.parse::<FlagKey>() {
            Ok(key) => Ok((key, value)),
            Err(why) => Err(Problem::new(BAD_VALUE, why.to_string()).at("/values")),
        })
        .collect::<Result<_, _>>()?;
    if end.until.is_some() {
        let keys = values.iter().map(|(key, _)| key.as_str());
        can_be_well(&doors, keys)?;
    }
    let edit = Edit::Open {
        values,
        when: body.when,
        ends_at_ms: end.at_ms,
        restore: body.restore,
        until: end.until,
    };
    let words = Words {
        confirm: body.confirm,
        dry_run: body.dry_run,
        ..Words::because(&body.reason)
    };
    turn(doors, sender, edit, None, words, |turned| {
        let id = OpeningId(turned.after.revision()); // an opening is called by the revision that opened it
        if !turned.dry_run {
            return shown(turned, id, StatusCode::CREATED);
        }
        let tried = view(turned, id).map(|opening| TriedOpening {
            opening,
            preview: effects(turned, id),
        });
        Answer::new(StatusCode::OK, None, &tried)
    })
    .await
}

/// What an opening that is only tried would do to messages like the last ones, flag by flag.
fn effects(turned: &Turned, id: OpeningId) -> Vec<PreviewView> {
    let (before, after) = (&turned.before, &turned.after);
    let values = after.opening(id).map(|opening| opening.values.iter());
    let keys = values.into_iter().flatten().map(|(key, _)| key.as_str());
    keys.map(|key| compare(&turned.doors, before, after, key, None))
        .collect()
}

/// When an opening ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// At the latest, milliseconds since 1970.
    pub(super) at_ms: i64,
    /// Sooner, once its queue is well.
    pub(super) until: Option<UntilWell>,
}

impl End {
    /// As it was said, else in the usual time.
    pub(super) fn of(
        length: Option<Span>,
        until: Option<Until>,
        now_ms: i64,
    ) -> Result<Self, Problem> {
        match (length, until) {
            (Some(_), Some(_)) => Err(Problem::new(
                BAD_VALUE,
                "say either how long (`for`) or until when (`until`), not both",
            )
            .at("/until")),
            (None, Some(Until::Well(until))) => Ok(Self::when_well(until, now_ms)),
            (None, Some(Until::At(time))) => Ok(Self {
                at_ms: time.as_millisecond(),
                until: None,
            }),
            (length, None) => Ok(Self {
                at_ms: now_ms.saturating_add(length.unwrap_or(DEFAULT_LENGTH).as_millis()),
                until: None,
            }),
        }
    }

    /// When its queue is well.
    pub(super) fn when_well(until: UntilWell, now_ms: i64) -> Self {
        Self {
            at_ms: now_ms.saturating_add(until.at_most.as_millis()),
            until: Some(until),
        }
    }
}

/// Refuses what is to end by the health of a queue of which nobody knows what is on time.
fn can_be_well<'k>(doors: &Doors, mut keys: impl Iterator<Item = &'k str>) -> Result<(), Problem> {
    let snapshot = doors.store.snapshot();
    let unknown = keys.find_map(|key| {
        let (queue, _) = snapshot.valve(key)?;
        let name = queue.name.as_str();
        let mut served = doors.queues.iter();
        let door = served.find(|door| door.settings.name.as_str() == name)?;
        (!door.settings.knows_deadlines()).then(|| name.to_owned())
    });
    match unknown {
        None => Ok(()),
        Some(name) => Err(Problem::new(
            BAD_VALUE,
            format!(
                "nobody knows what is on time in `{name}`: set `deadline_after` (or `deadline`) for it in the file, or end this at a time"
            ),
        )
        .at("/until")),
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
    let id = opening_id(&id)?;
    let words = Words {
        dry_run: body.dry_run,
        ..Words::because(&body.reason)
    };
    turn(doors, sender, Edit::Close(id), None, words, move |turned| {
        shown(turned, id, StatusCode::OK)
    })
    .await
}

/// Until when an opening lasts instead, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Extension {
    /// So much longer than it would have lasted, such as `30m`; in all at most 24 h from now.
    #[serde(default, rename = "for")]
    #[schema(value_type = Option<String>, example = "30m")]
    length: Option<Span>,
    /// Until when (RFC 3339), instead of `for`.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<jiff::Timestamp>,
    /// Why; never empty.
    #[serde(default)]
    #[schema(
        required = true,
        min_length = 1,
        max_length = 1024,
        example = "the provider is still down"
    )]
    reason: String,
    /// Checks the change and shows what it would lead to; nothing is changed.
    #[serde(default)]
    dry_run: bool,
}

/// Lets an opening last longer.
#[utoipa::path(post, path = "/api/v1/openings/{id}/extend", tag = "openings", request_body = Extension,
    params(("id" = String, Path, description = "The opening's id, such as `o41`."), WriteQuery),
    responses(
        (status = 200, description = "The opening with its new end (or how it would be: `dry_run`).", body = OpeningView),
        (status = 404, description = "There is no such opening; it may have ended."),
))]
pub(super) async fn extend(
    State(doors): State<Arc<Doors>>,
    Named(id): Named,
    Write { body, sender }: Write<Extension>,
) -> Result<Answer, Problem> {
    if let Some(answer) = sender.repeated(&doors)? {
        return Ok(answer);
    }
    let id = opening_id(&id)?;
    let snapshot = doors.store.snapshot();
    let ends_at_ms = match snapshot.opening(id) {
        Some(opening) => body.ends_at_ms(opening, doors.clock.now().ms)?,
        None => 0, // refused below, as one that has ended
    };
    let words = Words {
        dry_run: body.dry_run,
        ..Words::because(&body.reason)
    };
    let edit = Edit::Extend(id, ends_at_ms);
    turn(doors, sender, edit, None, words, move |turned| {
        shown(turned, id, StatusCode::OK)
    })
    .await
}

impl Extension {
    fn ends_at_ms(&self, opening: &Opening, now_ms: i64) -> Result<i64, Problem> {
        let at_ms = match (self.length, self.until) {
            (Some(longer), None) => {
                let end = opening.ends_at_ms.max(now_ms);
                end.saturating_add(longer.as_millis())
            }
            (None, Some(until)) => until.as_millisecond(),
            _ => {
                let cure = "say either how much longer (`for`) or until when (`until`)";
                return Err(Problem::new(BAD_VALUE, cure).at("/for"));
            }
        };
        if at_ms <= opening.ends_at_ms {
            let sentence = format!(
                "the opening {} lasts until {} already; name a later end, or close it",
                opening.id,
                rfc3339(opening.ends_at_ms)
            );
            return Err(Problem::new(BAD_VALUE, sentence).at("/until"));
        }
        Ok(at_ms)
    }
}

fn opening_id(id: &str) -> Result<OpeningId, Problem> {
    id.parse()
        .map_err(|why: NotAnOpening| Problem::new(NO_SUCH_OPENING, why.to_string()))
}

/// An opening that came or went, with what its flags say after that.
fn shown(turned: &Turned, id: OpeningId, status: StatusCode) -> Answer {
    Answer::new(status, None, &view(turned, id))
}

/// How an opening stands, or stood, with what its flags say after that.
pub(super) fn view(turned: &Turned, id: OpeningId) -> Option<OpeningView> {
    let opening = turned
        .after
        .opening(id)
        .or_else(|| turned.before.opening(id));
    opening.map(|opening| {
        let keys = opening.values.iter().map(|(key, _)| key.as_str());
        OpeningView::show(&turned.after, opening)
            .warned(warnings(&turned.after, keys))
            .tried(turned.dry_run)
    })
}
