//! `POST /api/v1/changes`: several flags and segments in one atomic change.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

use super::Doors;
use super::access::Caller;
use super::answer::Answer;
use super::aside::aside;
use super::documents::{named, patched, read, whole};
use super::error::{BAD_DOCUMENT, BAD_VALUE, INCOMPLETE, Problem};
use super::flags::not_in_use;
use super::segments::SegmentView;
use super::undo::way_back;
use super::views::{FlagView, warnings};
use super::write::{Turned, Words, Write, WriteQuery, turn};
use crate::rules::change::{Edit, Seen};
use crate::rules::edits::MOST_EDITS;
use crate::rules::flag::FlagDocument;
use crate::rules::segment::SegmentName;
use crate::rules::snapshot::Snapshot;

/// Several edits, made all or none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SeveralEdits {
    /// The edits, 1 to 100; each flag and each segment once.
    #[schema(value_type = Vec<OneEdit>, min_items = 1, max_items = 100)]
    edits: Vec<Json>,
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
    /// `true`: valves that shed or stop stay so without an end.
    #[serde(default)]
    keep: bool,
    /// `true`: also deletes flags that were evaluated within the last hour.
    #[serde(default)]
    force: bool,
    /// Checks the change and shows what it would lead to; nothing is changed.
    #[serde(default)]
    dry_run: bool,
}

/// One of several edits. `seen` is the revision that its author saw, as the ETag tells it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "edit", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum OneEdit {
    /// A flag that did not exist.
    Create {
        /// The whole flag, with its key.
        #[schema(value_type = Object)]
        document: Map<String, Json>,
    },
    /// The whole document of a flag.
    Replace {
        /// The whole flag, with its key.
        #[schema(value_type = Object)]
        document: Map<String, Json>,
        /// The revision that was seen.
        seen: Option<u64>,
    },
    /// Another value for everybody.
    Set {
        /// The flag's key.
        flag: String,
        /// The value.
        value: Json,
        /// The revision that was seen.
        seen: Option<u64>,
    },
    /// A merge patch (RFC 7396) of a flag's document.
    Patch {
        /// The flag's key.
        flag: String,
        /// The patch.
        #[schema(value_type = Object)]
        patch: Map<String, Json>,
        /// The revision that was seen.
        seen: Option<u64>,
    },
    /// The end of a flag.
    Delete {
        /// The flag's key.
        flag: String,
        /// The revision that was seen.
        seen: Option<u64>,
    },
    /// A flag back to what it was before a change.
    Undo {
        /// The flag's key.
        flag: String,
        /// The change; usually its last one.
        revision: Option<u64>,
    },
    /// A segment that did not exist, or the whole of one.
    PutSegment {
        /// The whole segment, with its name.
        #[schema(value_type = Object)]
        document: Map<String, Json>,
        /// The revision that was seen; left out: it did not exist.
        seen: Option<u64>,
    },
    /// The end of a segment.
    DeleteSegment {
        /// The segment's name.
        segment: String,
        /// The revision that was seen.
        seen: Option<u64>,
    },
    /// Members come to a segment, and leave it.
    Members {
        /// The segment's name.
        segment: String,
        /// Who comes.
        #[serde(default)]
        add: Vec<String>,
        /// Who leaves.
        #[serde(default)]
        remove: Vec<String>,
        /// The revision that was seen, if that matters.
        seen: Option<u64>,
    },
}

/// What a change of several edits led to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChangeMade {
    /// The revision that it led to.
    revision: u64,
    /// The flags that it touched, as they stand now.
    flags: Vec<FlagView>,
    /// The segments that it touched, as they stand now.
    segments: Vec<SegmentView>,
    /// The keys and names that are gone.
    deleted: Vec<String>,
    /// What is allowed and should not last.
    warnings: Vec<String>,
    /// Present and true when this only shows what would be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

/// Makes several edits in one atomic change: all of them, or none.
#[utoipa::path(post, path = "/api/v1/changes", tag = "changes", params(WriteQuery), request_body = SeveralEdits, responses(
    (status = 200, description = "What they led to (or would: `dry_run`).", body = ChangeMade),
    (status = 404, description = "There is no such flag or segment."),
    (status = 409, description = "A big move; repeat with `confirm` = `size`. Or a flag that is still in use would be deleted."),
    (status = 412, description = "One exists, was deleted, or somebody changed it meanwhile; nothing was changed."),
))]
pub(super) async fn make(
    State(doors): State<Arc<Doors>>,
    Write { body, sender }: Write<SeveralEdits>,
) -> Result<Answer, Problem> {
    if let Some(answer) = sender.repeated(&doors)? {
        return Ok(answer);
    }
    let words = Words {
        confirm: body.confirm,
        keep: body.keep,
        dry_run: body.dry_run,
        ..Words::because(&body.reason)
    };
    let reading = {
        let (doors, caller) = (Arc::clone(&doors), sender.caller().clone());
        move || resolved((&doors, &caller), body.edits, body.force)
    };
    let edits = aside(reading).await?;
    let names: Vec<_> = edits.iter().map(|one| name(&one.edit)).collect();
    turn(
        doors,
        sender,
        Edit::Several(edits),
        None,
        words,
        move |turned| Answer::new(StatusCode::OK, None, &made(turned, &names)),
    )
    .await
}

/// What an edit is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Flag(String),
    Segment(String),
}

pub(super) fn name(edit: &Edit) -> Name {
    match (edit.flag(), edit.segment()) {
        (Some(key), _) => Name::Flag(key.to_owned()),
        (None, name) => Name::Segment(name.unwrap_or_default().to_owned()),
    }
}

/// The edits that a body says.
fn resolved(
    (doors, caller): (&Doors, &Caller),
    said: Vec<Json>,
    force: bool,
) -> Result<Vec<Seen>, Problem> {
    if said.len() > MOST_EDITS {
        let sentence = format!(
            "a change has at most {MOST_EDITS} edits, got {}; make several changes",
            said.len()
        );
        return Err(Problem::new(BAD_VALUE, sentence).at("/edits"));
    }
    let mut names = HashSet::new();
    let mut edits = Vec::new();
    for (number, one) in said.into_iter().enumerate() {
        let at = format!("/edits/{number}");
        let one = read(one, &at)?;
        is_there_for(caller, &one, &doors.store.snapshot()).map_err(|problem| problem.at(&at))?;
        let edit = resolve(doors, one, &at)?;
        if let Edit::Delete(key) | Edit::Undo(key, None) = &edit.edit
            && !force
        {
            not_in_use(doors, key)?;
        }
        if !names.insert(name(&edit.edit)) {
            let cure =
                "this flag or segment is edited further up already; say all of it in one edit";
            return Err(Problem::new(BAD_DOCUMENT, cure).at(at));
        }
        edits.push(edit);
    }
    Ok(edits)
}

/// Nothing is looked at, not even to say what is wrong with it, that is not there for the caller.
fn is_there_for(caller: &Caller, one: &OneEdit, snapshot: &Snapshot) -> Result<(), Problem> {
    let said =
        |document: &Map<String, Json>, field| document.get(field)?.as_str().map(str::to_owned);
    let (flag, segment) = match one {
        OneEdit::Create { document } | OneEdit::Replace { document, .. } => {
            (said(document, "key"), None)
        }
        OneEdit::Set { flag, .. }
        | OneEdit::Patch { flag, .. }
        | OneEdit::Delete { flag, .. }
        | OneEdit::Undo { flag, .. } => (Some(flag.clone()), None),
        OneEdit::PutSegment { document, .. } => (None, said(document, "name")),
        OneEdit::DeleteSegment { segment, .. } | OneEdit::Members { segment, .. } => {
            (None, Some(segment.clone()))
        }
    };
    if let Some(key) = flag.filter(|key| !caller.sees_flag(key)) {
        return Err(Problem::never_a_flag(&key));
    }
    segment.map_or(Ok(()), |name| caller.may_see_segment(&name, snapshot))
}

fn resolve(doors: &Doors, said: OneEdit, at: &str) -> Result<Seen, Problem> {
    let snapshot = doors.store.snapshot();
    let standing = |key: &str| {
        let flag = snapshot.flag(key).cloned();
        flag.ok_or_else(|| Problem::no_flag(&snapshot, key).at(format!("{at}/flag")))
    };
    let (edit, seen) = match said {
        OneEdit::Create { document } => (Edit::Create(flag_of(document, &snapshot, at)?), None),
        OneEdit::Replace { document, seen } => {
            let whole = flag_of(document, &snapshot, at)?;
            (Edit::Replace(whole), must(seen, at)?)
        }
        OneEdit::Set { flag, value, seen } => {
            let key = standing(&flag)?.key.clone();
            (Edit::Set(key, value), must(seen, at)?)
        }
        OneEdit::Patch {
            flag,
            mut patch,
            seen,
        } => {
            let flag = standing(&flag)?;
            let in_patch = format!("{at}/patch");
            named(&mut patch, "key", flag.key.as_str(), &in_patch)?;
            let patched = patched(&flag.document(), patch, &in_patch)?;
            (Edit::Replace(Box::new(patched)), must(seen, at)?)
        }
        OneEdit::Delete { flag, seen } => {
            let key = standing(&flag)?.key.clone();
            (Edit::Delete(key), must(seen, at)?)
        }
        OneEdit::Undo { flag, revision } => {
            return way_back(doors, &flag, revision, &format!("{at}/revision"));
        }
        OneEdit::PutSegment { mut document, seen } => {
            says_which(&mut document, "name", at)?;
            let whole = read(document.into(), &format!("{at}/document"))?;
            (Edit::PutSegment(Box::new(whole)), Some(seen.unwrap_or(0)))
        }
        OneEdit::DeleteSegment { segment, seen } => {
            let name = segment_name(&segment, at)?;
            (Edit::DeleteSegment(name), must(seen, at)?)
        }
        OneEdit::Members {
            segment,
            add,
            remove,
            seen,
        } => {
            let segment = segment_name(&segment, at)?;
            let members = Edit::Members {
                segment,
                add,
                remove,
            };
            (members, seen)
        }
    };
    Ok(Seen { edit, seen })
}

/// The flag that an edit says whole.
fn flag_of(
    mut document: Map<String, Json>,
    snapshot: &Snapshot,
    at: &str,
) -> Result<Box<FlagDocument>, Problem> {
    let key = says_which(&mut document, "key", at)?;
    let old = snapshot.flag(&key).map(AsRef::as_ref);
    whole(document, old, &format!("{at}/document")).map(Box::new)
}

/// The key or name that a document says.
fn says_which(document: &mut Map<String, Json>, field: &str, at: &str) -> Result<String, Problem> {
    let name = document
        .get(field)
        .and_then(Json::as_str)
        .unwrap_or_default();
    if name.is_empty() {
        let sentence = format!("the document does not say which one it is; add its `{field}`");
        return Err(Problem::new(INCOMPLETE, sentence).at(format!("{at}/document/{field}")));
    }
    let name = name.to_owned();
    named(document, field, &name, &format!("{at}/document"))?;
    Ok(name)
}

fn segment_name(name: &str, at: &str) -> Result<SegmentName, Problem> {
    let name = name.parse::<SegmentName>();
    name.map_err(|why| Problem::new(BAD_VALUE, why.to_string()).at(format!("{at}/segment")))
}

/// What was seen, where it must be said.
fn must(seen: Option<u64>, at: &str) -> Result<Option<u64>, Problem> {
    if seen.is_some() {
        return Ok(seen);
    }
    let cure = "say what you saw: `seen`, the revision of the flag or segment as you read it";
    Err(Problem::new(INCOMPLETE, cure).at(format!("{at}/seen")))
}

/// What several edits led to.
pub(super) fn made(turned: &Turned, names: &[Name]) -> ChangeMade {
    let (doors, after) = (&turned.doors, &turned.after);
    let mut made = ChangeMade {
        revision: after.revision(),
        flags: Vec::new(),
        segments: Vec::new(),
        deleted: Vec::new(),
        warnings: Vec::new(),
        dry_run: turned.dry_run,
    };
    for name in names {
        match name {
            Name::Flag(key) => match FlagView::of(after, key) {
                Some(flag) => {
                    let flag = flag.evaluated(doors.last_evaluated(key));
                    made.flags.push(flag.for_the_eyes_of(&turned.caller));
                }
                None => made.deleted.push(key.clone()),
            },
            Name::Segment(name) => match after.segments().get(name) {
                Some(segment) => {
                    let segment = SegmentView::show(after, segment);
                    made.segments.push(segment.for_the_eyes_of(&turned.caller));
                }
                None => made.deleted.push(name.clone()),
            },
        }
    }
    let keys = made.flags.iter().map(|flag| flag.key.as_str());
    made.warnings = warnings(after, keys);
    made
}
