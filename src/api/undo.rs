//! `/api/v1/flags/{key}/history` and `/undo`: what became of a flag, and the way back.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Doors;
use super::access::Caller;
use super::answer::Answer;
use super::aside::aside;
use super::body::{Asked, Named};
use super::changes::{ChangeView, Subject, page_of, unreadable};
use super::error::{BAD_VALUE, Problem};
use super::flags::{not_in_use, shown};
use super::page::{Page, Paging};
use super::write::{Words, Write, WriteQuery, turn};
use crate::rules::change::{Edit, Seen};
use crate::rules::names::{FlagKey, segment};
use crate::rules::snapshot::Snapshot;
use crate::store::NoFormer;

/// Lists the changes of one flag, newest first, also those of openings over it, and also of a flag that was deleted.
#[utoipa::path(get, path = "/api/v1/flags/{key}/history", tag = "flags",
    params(("key" = String, Path, description = "The flag's key, percent-encoded."), Paging),
    responses(
        (status = 200, description = "One page of its changes.", body = Page<ChangeView>,
         headers(("Link" = String, description = "The next page, if there is one: `rel=\"next\"`."))),
        (status = 404, description = "There is no such flag, and there was none."),
        (status = 500, description = "A fault of ours."),
        (status = 503, description = "The changes cannot be read from the disk."),
))]
pub(super) async fn history(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    Named(key): Named,
    Asked(paging): Asked<Paging>,
) -> Result<Page<ChangeView>, Problem> {
    let snapshot = doors.store.snapshot();
    if snapshot.flag(&key).is_none() && !snapshot.tombstones().contains_key(key.as_str()) {
        return Err(Problem::no_flag(&snapshot, &key));
    }
    let path = format!("/api/v1/flags/{}/history", segment(&key));
    page_of((doors, caller), &path, paging, Subject::Flag(key)).await
}

/// Which change is taken back, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Undo {
    /// The change before which the flag stood as it shall stand again; usually its last one.
    #[serde(default)]
    revision: Option<u64>,
    /// Why; never empty.
    #[serde(default)]
    #[schema(
        required = true,
        min_length = 1,
        max_length = 1024,
        example = "INC-481 is over"
    )]
    reason: String,
    /// `true`: also when this deletes a flag that was evaluated within the last hour.
    #[serde(default)]
    force: bool,
    /// Checks the change and shows what it would lead to; nothing is changed.
    #[serde(default)]
    dry_run: bool,
}

/// Gives a flag back the exact definition that it had before a change: also one that was deleted. What lies over it stays.
#[utoipa::path(post, path = "/api/v1/flags/{key}/undo", tag = "flags", request_body = Undo,
    params(("key" = String, Path, description = "The flag's key, percent-encoded."), WriteQuery),
    responses(
        (status = 200, description = "How it stands now (or would: `dry_run`); `null`: it is gone, since that change had made it.", body = Option<super::views::FlagView>,
         headers(("ETag" = String, description = "Its new revision."))),
        (status = 404, description = "There is no such flag, and there was none."),
        (status = 409, description = "This would delete a flag that was evaluated within the last hour; repeat with `force`."),
        (status = 412, description = "Somebody changed it meanwhile; `now` shows how it stands."),
))]
pub(super) async fn undo(
    State(doors): State<Arc<Doors>>,
    Named(key): Named,
    Write { body, sender }: Write<Undo>,
) -> Result<Answer, Problem> {
    if let Some(answer) = sender.repeated(&doors)? {
        return Ok(answer);
    }
    let words = Words {
        dry_run: body.dry_run,
        ..Words::because(&body.reason)
    };
    let finding = {
        let (doors, key) = (Arc::clone(&doors), key.clone());
        move || {
            let back = way_back(&doors, &key, body.revision, "/revision")?;
            if let Edit::Undo(key, None) = &back.edit
                && !body.force
            {
                not_in_use(&doors, key)?;
            }
            Ok(back)
        }
    };
    let Seen { edit, seen } = aside(finding).await?;
    turn(doors, sender, edit, seen, words, move |turned| {
        shown(turned, &key, StatusCode::OK)
    })
    .await
}

/// The edit that takes a change of a flag back; of its last one when none is named. Reads the disk.
pub(super) fn way_back(
    doors: &Doors,
    key: &str,
    revision: Option<u64>,
    at: &str,
) -> Result<Seen, Problem> {
    let snapshot = doors.store.snapshot();
    let (key, last, seen) = standing(&snapshot, key)?;
    let revision = revision.unwrap_or(last);
    if revision == 0 {
        let sentence = format!("`{key}` was never changed; there is nothing to undo");
        return Err(Problem::new(BAD_VALUE, sentence).at(at));
    }
    let former = doors
        .store
        .former(&key, revision)
        .map_err(|why| match why {
            NoFormer::Unreadable(why) => unreadable(&why),
            _ => Problem::new(BAD_VALUE, why.to_string()).at(at),
        })?;
    let edit = Edit::Undo(key, former);
    Ok(Seen { edit, seen })
}

/// A flag that is there or was deleted: its key, its last change, and what is seen of it.
fn standing(snapshot: &Snapshot, key: &str) -> Result<(FlagKey, u64, Option<u64>), Problem> {
    if let Some(flag) = snapshot.flag(key) {
        return Ok((flag.key.clone(), flag.revision(), Some(flag.revision())));
    }
    let deleted = snapshot.tombstones().get_key_value(key);
    let (key, revision) = deleted.ok_or_else(|| Problem::no_flag(snapshot, key))?;
    Ok((key.clone(), *revision, None))
}
