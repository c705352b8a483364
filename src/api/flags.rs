//! `/api/v1/flags`: reading and changing flags.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::Doors;
use super::access::Caller;
use super::body::{Asked, Named};
use super::error::{BAD_DOCUMENT, Problem};
use super::page::{Page, Paging};
use super::views::{FlagView, kinds, types};
use super::write::{Answer, Turned, Wants, Words, Write, WriteQuery, turn};
use crate::rules::change::Edit;
use crate::rules::flag::{Flag, FlagDocument, Kind, ValueType};
use crate::rules::lots::Bucketing;

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
        .map(|flag| FlagView::show(&snapshot, flag).for_the_eyes_of(&caller));
    Page::of(LIST, &paging, rest, |flag| flag.key.clone())
}

/// Reads one flag.
#[utoipa::path(get, path = "/api/v1/flags/{key}", tag = "flags",
    params(("key" = String, Path, description = "The flag's key, percent-encoded: `queue.billing%2Forders.skip`.")),
    responses(
        (status = 200, description = "The flag.", body = FlagView,
         headers(("ETag" = String, description = "The revision of its last change, for If-Match. Openings do not change it."))),
        (status = 404, description = "There is no such flag."),
))]
pub(super) async fn read(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    Named(key): Named,
) -> Result<Response, Problem> {
    let flag = FlagView::of(&doors.store.snapshot(), &key).ok_or_else(|| Problem::no_flag(&key))?;
    let flag = flag.for_the_eyes_of(&caller);
    Ok(([(header::ETAG, flag.tag())], Json(flag)).into_response())
}

/// The whole document of a flag.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FlagPut {
    /// The key, if it is said again; as in the path.
    #[serde(default)]
    key: Option<String>,
    /// What the flag is for. Never changes.
    #[schema(schema_with = kinds)]
    kind: Kind,
    /// The type of its value. Never changes.
    #[serde(rename = "type")]
    #[schema(schema_with = types)]
    value_type: ValueType,
    /// The value for everybody; `null` where the type allows "none".
    #[serde(default)]
    value: Value,
    /// The smallest value allowed (numbers, durations in seconds, rates per second).
    #[serde(default)]
    min: Option<f64>,
    /// The largest value allowed.
    #[serde(default)]
    max: Option<f64>,
    /// The values a string may take; empty: any.
    #[serde(default)]
    choices: Vec<String>,
    /// What the flag does, for people.
    #[serde(default)]
    description: String,
    /// The team that answers for it.
    #[serde(default)]
    owner: String,
    /// Where to read what to do.
    #[serde(default)]
    runbook: String,
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
    /// `true`: a valve that sheds or stops stays so without an end.
    #[serde(default)]
    keep: bool,
    /// Checks the change and shows what it would lead to; nothing is changed.
    #[serde(default)]
    dry_run: bool,
}

/// Creates a flag, or replaces the document of one.
#[utoipa::path(put, path = "/api/v1/flags/{key}", tag = "flags", request_body = FlagPut,
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
        (status = 412, description = "It exists, or somebody changed it meanwhile; `now` shows how it stands."),
        (status = 428, description = "Neither If-None-Match nor If-Match was said."),
))]
pub(super) async fn put(
    State(doors): State<Arc<Doors>>,
    Named(key): Named,
    Write { body, sender }: Write<FlagPut>,
) -> Result<Answer, Problem> {
    let wants = sender.wants()?;
    if body.key.as_ref().is_some_and(|said| *said != key) {
        let cure = "the key in the body differs from that in the path; leave it out";
        return Err(Problem::new(BAD_DOCUMENT, cure).at("/key"));
    }
    let document = Box::new(FlagDocument {
        key: key.clone(),
        kind: body.kind,
        value_type: body.value_type,
        value: body.value,
        enabled: true,
        min: body.min,
        max: body.max,
        choices: body.choices,
        description: body.description,
        owner: body.owner,
        runbook: body.runbook,
        rules: Vec::new(),
        by: None,
        seed: None,
        bucketing: Bucketing::default(),
        managed: None,
        revision: 0, // the daemon's to set
    });
    let words = Words {
        reason: body.reason,
        confirm: body.confirm,
        keep: body.keep,
        dry_run: body.dry_run,
    };
    let (edit, seen, status) = match wants {
        Wants::Create => (Edit::Create(document), None, StatusCode::CREATED),
        Wants::Replace { seen } => (Edit::Replace(document), Some(seen), StatusCode::OK),
    };
    turn(doors, sender, edit, seen, words, move |turned| {
        shown(turned, &key, status)
    })
    .await
}

/// A merge patch (RFC 7396) of a flag: what is not said stays, `null` removes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FlagPatch {
    /// The value for everybody. Into an object it is merged.
    #[serde(default, deserialize_with = "said")]
    value: Option<Value>,
    /// The smallest value allowed.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<f64>)]
    min: Option<Option<f64>>,
    /// The largest value allowed.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<f64>)]
    max: Option<Option<f64>>,
    /// The values a string may take.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<Vec<String>>)]
    choices: Option<Option<Vec<String>>>,
    /// What the flag does, for people.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    /// The team that answers for it.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    owner: Option<Option<String>>,
    /// Where to read what to do.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    runbook: Option<Option<String>>,
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
    /// `true`: a valve that sheds or stops stays so without an end.
    #[serde(default)]
    keep: bool,
    /// Checks the change and shows what it would lead to; nothing is changed.
    #[serde(default)]
    dry_run: bool,
}

/// What was said, `null` included: a merge patch tells it from what was not said.
pub(super) fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    value: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

/// Changes parts of a flag, most often its value.
#[utoipa::path(patch, path = "/api/v1/flags/{key}", tag = "flags",
    request_body(content((FlagPatch = "application/json"), (FlagPatch = "application/merge-patch+json"))),
    params(
        ("key" = String, Path, description = "The flag's key, percent-encoded."),
        ("If-Match" = String, Header, pattern = r#"^"[0-9]+"$"#, description = "The ETag of the flag as it was read, such as `\"41\"`."),
        WriteQuery,
    ),
    responses(
        (status = 200, description = "How it stands now (or would: `dry_run`).", body = FlagView,
         headers(("ETag" = String, description = "Its new revision."))),
        (status = 404, description = "There is no such flag."),
        (status = 409, description = "A big move; repeat with `confirm` = `size`."),
        (status = 412, description = "Somebody changed it meanwhile; `now` shows how it stands."),
        (status = 428, description = "If-Match was not said."),
))]
pub(super) async fn patch(
    State(doors): State<Arc<Doors>>,
    Named(key): Named,
    Write { body, sender }: Write<FlagPatch>,
) -> Result<Answer, Problem> {
    let snapshot = doors.store.snapshot();
    let flag = snapshot.flag(&key).ok_or_else(|| Problem::no_flag(&key))?;
    let seen = sender.seen()?;
    let words = Words {
        reason: body.reason.clone(),
        confirm: body.confirm,
        keep: body.keep,
        dry_run: body.dry_run,
    };
    let edit = body.edit(flag)?;
    turn(doors, sender, edit, Some(seen), words, move |turned| {
        shown(turned, &key, StatusCode::OK)
    })
    .await
}

impl FlagPatch {
    /// The edit that this patch of `flag` is. That it is still this flag is checked with the revision, when the knob turns.
    fn edit(self, flag: &Flag) -> Result<Edit, Problem> {
        let old = flag.document();
        let texts = [&self.description, &self.owner, &self.runbook];
        let more_than_value = self.min.is_some()
            || self.max.is_some()
            || self.choices.is_some()
            || texts.into_iter().any(Option::is_some);
        let value = self.value.map(|patch| merged(&old.value, patch));
        match value {
            Some(value) if !more_than_value => Ok(Edit::Set(flag.key.clone(), value)),
            None if !more_than_value => Err(Problem::new(
                BAD_DOCUMENT,
                "the patch changes nothing; name what shall change, such as {\"value\": 0.3}",
            )),
            value => Ok(Edit::Replace(Box::new(FlagDocument {
                value: value.unwrap_or_else(|| old.value.clone()),
                min: self.min.unwrap_or(old.min),
                max: self.max.unwrap_or(old.max),
                choices: or_kept(self.choices, &old.choices),
                description: or_kept(self.description, &old.description),
                owner: or_kept(self.owner, &old.owner),
                runbook: or_kept(self.runbook, &old.runbook),
                ..old.clone()
            }))),
        }
    }
}

fn or_kept<T: Clone + Default>(said: Option<Option<T>>, kept: &T) -> T {
    said.map_or_else(|| kept.clone(), Option::unwrap_or_default)
}

/// A merge patch applied (RFC 7396): objects are merged, `null` removes, everything else replaces.
pub(super) fn merged(target: &Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch;
    };
    let mut merged_object = target.as_object().cloned().unwrap_or_default();
    for (key, part) in patch {
        if part.is_null() {
            merged_object.shift_remove(&key);
        } else {
            let below = merged(merged_object.get(&key).unwrap_or(&Value::Null), part);
            merged_object.insert(key, below);
        }
    }
    Value::Object(merged_object)
}

fn shown(turned: &Turned, key: &str, status: StatusCode) -> Answer {
    let flag = FlagView::of(&turned.after, key)
        .map(|flag| flag.tried(turned.dry_run).for_the_eyes_of(&turned.caller));
    let tag = flag.as_ref().filter(|_| !turned.dry_run).map(FlagView::tag);
    let status = if turned.dry_run {
        StatusCode::OK
    } else {
        status
    };
    Answer::new(status, tag, &flag)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_patch_follows_the_examples_of_rfc_7396() {
        for (target, patch, result) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (
                json!({"a":"b","b":"c"}),
                json!({"a":null}),
                json!({"b":"c"}),
            ),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (
                json!({"a":{"b":"c"}}),
                json!({"a":{"b":"d","c":null}}),
                json!({"a":{"b":"d"}}),
            ),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (
                json!({}),
                json!({"a":{"bb":{"ccc":null}}}),
                json!({"a":{"bb":{}}}),
            ),
        ] {
            assert_eq!(
                merged(&target, patch.clone()),
                result,
                "{target} patched with {patch}"
            );
        }
    }
}
