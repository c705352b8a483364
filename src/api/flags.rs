//! `/api/v1/flags`: reading and changing flags.

use std::sync::Arc;

use super::Doors;
use super::access::Caller;
use super::answer::Answer;
use super::body::{Asked, Named};
use super::deletion::{Deletion, DeletionQuery};
use super::documents::{self, Worded, named, patched, whole};
use super::error::{BAD_DOCUMENT, Problem, STILL_EVALUATED};
use super::evaluated::IN_USE_MS;
use super::page::{Page, Paging};
use super::views::{FlagView, rfc3339, warnings};
use super::write::{Turned, Wants, Write, WriteQuery, turn};
use crate::rules::change::Edit;
use crate::rules::names::FlagKey;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

const LIST: &str = "/api/v1/flags";

/// Lists the flags, by key.
#[utoipa::path(get, path = LIST, tag = "flags", params(Paging), responses(
    (status = 200, description = "One page of the flags.", body = Page<FlagView>,
     headers(("Link" = String, description = "The next page, if there is one: `rel=\"next\"`."))),
))]
pub(super) async fn list(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    Asked(paging): Asked<Paging>,
) -> Result<Page<FlagView>, Problem> {
    let snapshot = doors.store.snapshot();
    let after = paging.cursor.clone().unwrap_or_default();
    let rest = snapshot
        .flags()
        .skip_while(|flag| flag.key.as_str() <= after.as_str())
        .filter(|flag| caller.sees_flag(flag.key.as_str()))
        .map(|flag| {
            let at_ms = doors.last_evaluated(flag.key.as_str());
            let view = FlagView::show(&snapshot, flag).evaluated(at_ms);
            view.for_the_eyes_of(&caller)
        });
    Page::of(LIST, &paging, rest, |flag| flag.key.clone())
}

/// Reads one flag.
#[utoipa::path(get, path = "/api/v1/flags/{key}", tag = "flags",
    params(("key" = String, Path, description = "The flag's key, percent-encoded: `queue.billing%2Forders.skip`.")),
    responses(
        (status = 200, description = "The flag.", body = FlagView,
         headers(("ETag" = String, description = "The revision of its last change, for If-Match. Openings do not change it."))),
        (status = 404, description = "There is no such flag; `tombstone`: it was deleted, by this revision."),
))]
pub(super) async fn read(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    Named(key): Named,
) -> Result<Response, Problem> {
    let snapshot = doors.store.snapshot();
    let flag = FlagView::of(&snapshot, &key).ok_or_else(|| Problem::no_flag(&snapshot, &key))?;
    let flag = flag.evaluated(doors.last_evaluated(&key));
    let flag = flag.for_the_eyes_of(&caller);
    Ok(([(header::ETAG, flag.tag())], Json(flag)).into_response())
}

/// Creates a flag, or replaces the document of one.
#[utoipa::path(put, path = "/api/v1/flags/{key}", tag = "flags",
    request_body(content = ref("#/components/schemas/FlagPut"), content_type = "application/json"),
    params(
        ("key" = String, Path, description = "The flag's key, percent-encoded."),
        ("If-None-Match" = Option<String>, Header, pattern = r"^\*$", description = "`*`: create; refused with 412 if it exists."),
        ("If-Match" = Option<String>, Header, pattern = r#"^"[0-9]+"$"#, description = "The ETag of the flag as it was read: replace."),
        WriteQuery,
    ),
    responses(
        (status = 200, description = "It was replaced (or would be: `dry_run`).", body = FlagView,
         headers(("ETag" = String, description = "Its new revision."))),
        (status = 201, description = "It was created (or would be: `dry_run`).", body = FlagView,
         headers(("ETag" = String, description = "Its revision."))),
        (status = 404, description = "There is no such flag to replace."),
        (status = 409, description = "A big move; repeat with `confirm` = `size`."),
        (status = 412, description = "It exists, was deleted (`tombstone`), or somebody changed it meanwhile; `now` shows how it stands."),
        (status = 428, description = "Neither If-None-Match nor If-Match was said."),
))]
pub(super) async fn put(
    State(doors): State<Arc<Doors>>,
    Named(key): Named,
    Write { mut body, sender }: Write<Worded>,
) -> Result<Answer, Problem> {
    let wants = sender.wants()?;
    let words = body.words();
    named(&mut body.document, "key", &key, "")?;
    let old = doors.store.snapshot().flag(&key).cloned();
    let document = Box::new(whole(body.document, old.as_deref(), "")?);
    let (edit, seen, status) = match wants {
        Wants::Create => (Edit::Create(document), None, StatusCode::CREATED),
        Wants::Replace { seen } => (Edit::Replace(document), Some(seen), StatusCode::OK),
    };
    turn(doors, sender, edit, seen, words, move |turned| {
        shown(turned, &key, status)
    })
    .await
}

/// Changes parts of a flag, most often its value: a merge patch (RFC 7396) of its document.
#[utoipa::path(patch, path = "/api/v1/flags/{key}", tag = "flags",
    request_body(content(
        (ref("#/components/schemas/FlagPatch") = "application/json"),
        (ref("#/components/schemas/FlagPatch") = "application/merge-patch+json"),
    )),
    params(
        ("key" = String, Path, description = "The flag's key, percent-encoded."),
        ("If-Match" = String, Header, pattern = r#"^"[0-9]+"$"#, description = "The ETag of the flag as it was read, such as `\"41\"`."),
        WriteQuery,
    ),
    responses(
        (status = 200, description = "How it stands now (or would: `dry_run`).", body = FlagView,
         headers(("ETag" = String, description = "Its new revision."))),
        (status = 404, description = "There is no such flag; `tombstone`: it was deleted, by this revision."),
        (status = 409, description = "A big move; repeat with `confirm` = `size`."),
        (status = 412, description = "Somebody changed it meanwhile; `now` shows how it stands."),
        (status = 428, description = "If-Match was not said."),
))]
pub(super) async fn patch(
    State(doors): State<Arc<Doors>>,
    Named(key): Named,
    Write { mut body, sender }: Write<Worded>,
) -> Result<Answer, Problem> {
    let snapshot = doors.store.snapshot();
    let flag = snapshot
        .flag(&key)
        .ok_or_else(|| Problem::no_flag(&snapshot, &key))?;
    let seen = sender.seen()?;
    let words = body.words();
    let ramp = body.document.shift_remove("ramp");
    if body.document.is_empty() {
        let cure = "the patch changes nothing; name what shall change, such as {\"value\": 0.3}";
        return Err(Problem::new(BAD_DOCUMENT, cure));
    }
    let of_value = body.document.keys().all(|field| field == "value");
    named(&mut body.document, "key", &key, "")?;
    let document = patched(&flag.document(), body.document, "")?;
    let edit = match ramp {
        Some(over) if of_value => Edit::SetOver(
            flag.key.clone(),
            document.value,
            documents::read(over, "/ramp")?,
        ),
        Some(_) => {
            let cure = "a value alone goes in steps; change the rest in a patch of its own";
            return Err(Problem::new(BAD_DOCUMENT, cure).at("/ramp"));
        }
        None if of_value => Edit::Set(flag.key.clone(), document.value),
        None => Edit::Replace(Box::new(document)),
    };
    turn(doors, sender, edit, Some(seen), words, move |turned| {
        shown(turned, &key, StatusCode::OK)
    })
    .await
}

/// Deletes a flag. Its key is never given another meaning; its history stays, and it can be brought back.
#[utoipa::path(delete, path = "/api/v1/flags/{key}", tag = "flags",
    params(
        ("key" = String, Path, description = "The flag's key, percent-encoded."),
        ("If-Match" = String, Header, pattern = r#"^"[0-9]+"$"#, description = "The ETag of the flag as it was read, such as `\"41\"`."),
        DeletionQuery,
    ),
    responses(
        (status = 200, description = "The flag that was deleted (or would be: `dry_run`), as it stood.", body = FlagView),
        (status = 404, description = "There is no such flag; `tombstone`: it was deleted, by this revision."),
        (status = 409, description = "It was evaluated within the last hour; repeat with `force=true` if that does not matter."),
        (status = 412, description = "Somebody changed it meanwhile; `now` shows how it stands."),
        (status = 428, description = "If-Match was not said."),
))]
pub(super) async fn delete(
    State(doors): State<Arc<Doors>>,
    Named(key): Named,
    Deletion {
        words,
        force,
        sender,
    }: Deletion,
) -> Result<Answer, Problem> {
    if let Some(answer) = sender.repeated(&doors)? {
        return Ok(answer);
    }
    let snapshot = doors.store.snapshot();
    let flag = snapshot
        .flag(&key)
        .ok_or_else(|| Problem::no_flag(&snapshot, &key))?;
    let seen = sender.seen()?;
    if !force {
        not_in_use(&doors, &flag.key)?;
    }
    let edit = Edit::Delete(flag.key.clone());
    turn(doors, sender, edit, Some(seen), words, move |turned| {
        let flag = FlagView::of(&turned.before, &key)
            .map(|flag| flag.tried(turned.dry_run).for_the_eyes_of(&turned.caller));
        Answer::new(StatusCode::OK, None, &flag)
    })
    .await
}

/// A flag that somebody still asks for is not deleted: they would get what they fall back on.
pub(super) fn not_in_use(doors: &Doors, key: &FlagKey) -> Result<(), Problem> {
    let now_ms = doors.clock.now().ms;
    let at_ms = doors.last_evaluated(key.as_str());
    match at_ms.filter(|at_ms| now_ms - at_ms < IN_USE_MS) {
        None => Ok(()),
        Some(at_ms) => Err(Problem::new(
            STILL_EVALUATED,
            format!(
                "`{key}` was evaluated at {}, so somebody still asks for it; take it out of their code first, or repeat with force=true",
                rfc3339(at_ms)
            ),
        )),
    }
}

/// How a flag stands after a change.
pub(super) fn shown(turned: &Turned, key: &str, status: StatusCode) -> Answer {
    let flag = FlagView::of(&turned.after, key).map(|flag| {
        flag.evaluated(turned.doors.last_evaluated(key))
            .warned(warnings(&turned.after, [key]))
            .tried(turned.dry_run)
            .for_the_eyes_of(&turned.caller)
    });
    let tag = flag.as_ref().filter(|_| !turned.dry_run).map(FlagView::tag);
    let status = if turned.dry_run {
        StatusCode::OK
    } else {
        status
    };
    Answer::new(status, tag, &flag)
}
