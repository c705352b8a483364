//! `/api/v1/segments`: named audiences.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Doors;
use super::access::Caller;
use super::answer::Answer;
use super::body::{Asked, LARGEST_IMPORT, Named};
use super::deletion::{Deletion, DeletionQuery};
use super::documents::{Worded, named, read as read_document};
use super::error::{MALFORMED_REQUEST, NO_SUCH_SEGMENT, Problem};
use super::page::{Page, Paging};
use super::shapes;
use super::views::tag;
use super::write::{Turned, Wants, Words, Write, WriteQuery, turn};
use crate::rules::change::{Edit, Refused};
use crate::rules::clause::ClauseDocument;
use crate::rules::segment::{Segment, SegmentDocument, SegmentName};
use crate::rules::snapshot::Snapshot;

const LIST: &str = "/api/v1/segments";
/// So many members are shown when nobody says how many.
const USUAL_MEMBERS: usize = 1_000;
/// So many members are shown at most.
const MOST_MEMBERS_SHOWN: usize = 10_000;
/// So many flags that ask for a segment are named.
const MOST_USERS: usize = 20;

/// A segment: who is meant, and how many they are.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Segment)]
pub(super) struct SegmentView {
    /// The name.
    #[schema(example = "beta")]
    pub(super) name: String,
    /// Who is meant, for people.
    description: String,
    /// The team that answers for it.
    owner: String,
    /// The attribute that members are values of.
    #[schema(example = "account")]
    by: String,
    /// How many members it has.
    member_count: usize,
    /// The members in order: all of them, or a page; left out of lists and of answers to writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<String>>,
    /// The `cursor` of the next page of members; left out: these were the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Who else belongs to it: those of whom all of these hold.
    #[schema(schema_with = shapes::clauses)]
    when: Vec<ClauseDocument>,
    /// The flags whose rules name it, at most 20 of them.
    used_by: Vec<String>,
    /// The revision of its last change; also its ETag.
    revision: u64,
    /// Present and true when this only shows what would be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

impl SegmentView {
    /// How this segment of `snapshot` stands, without its members.
    pub(super) fn show(snapshot: &Snapshot, segment: &Segment) -> Self {
        let frame = segment.frame().clone();
        let users = snapshot
            .flags()
            .filter(|flag| flag.names_segment(segment.name.as_str()));
        Self {
            name: frame.name,
            description: frame.description,
            owner: frame.owner,
            by: frame.by,
            member_count: segment.members.len(),
            members: None,
            next: None,
            when: frame.when,
            used_by: users
                .map(|flag| flag.key.to_string())
                .take(MOST_USERS)
                .collect(),
            revision: frame.revision,
            dry_run: false,
        }
    }

    /// The same without flags where the caller may not look.
    pub(super) fn for_the_eyes_of(mut self, caller: &Caller) -> Self {
        self.used_by.retain(|flag| caller.sees_flag(flag));
        self
    }

    /// The same with a page of its members.
    fn with_members(mut self, segment: &Segment, limit: usize, after: &str) -> Self {
        let mut members: Vec<&str> = segment.members.iter().filter(|one| *one > after).collect();
        members.sort_unstable();
        let shown: Vec<String> = members
            .iter()
            .take(limit)
            .map(ToString::to_string)
            .collect();
        self.next = (members.len() > limit)
            .then(|| shown.last().cloned())
            .flatten();
        self.members = Some(shown);
        self
    }
}

fn no_segment(name: &str) -> Problem {
    let name = name.chars().take(super::error::LONGEST_ECHO).collect();
    Problem::new(NO_SUCH_SEGMENT, Refused::NoSegment(name).to_string())
}

/// Lists the segments, by name, without their members.
#[utoipa::path(get, path = LIST, tag = "segments", params(Paging), responses(
    (status = 200, description = "One page of the segments.", body = Page<SegmentView>,
     headers(("Link" = String, description = "The next page, if there is one: `rel=\"next\"`."))),
))]
pub(super) async fn list(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    Asked(paging): Asked<Paging>,
) -> Result<Page<SegmentView>, Problem> {
    let snapshot = doors.store.snapshot();
    let after = paging.cursor.clone().unwrap_or_default();
    let rest = snapshot
        .segments()
        .iter()
        .skip_while(|segment| segment.name.as_str() <= after.as_str())
        .filter(|segment| caller.sees_segment(segment.name.as_str(), &snapshot))
        .map(|segment| SegmentView::show(&snapshot, segment).for_the_eyes_of(&caller));
    Page::of(LIST, &paging, rest, |segment| segment.name.clone())
}

/// Which members are shown.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct MembersAsked {
    /// How many members at most, from 0 to 10000; usually 1000.
    #[param(minimum = 0, maximum = 10_000)]
    limit: Option<usize>,
    /// Where to go on: `next` of the page before.
    cursor: Option<String>,
}

/// Reads one segment with its members, or a page of them.
#[utoipa::path(get, path = "/api/v1/segments/{name}", tag = "segments",
    params(("name" = String, Path, description = "The segment's name, percent-encoded."), MembersAsked),
    responses(
        (status = 200, description = "The segment.", body = SegmentView,
         headers(("ETag" = String, description = "The revision of its last change, for If-Match."))),
        (status = 404, description = "There is no such segment."),
))]
pub(super) async fn read(
    State(doors): State<Arc<Doors>>,
    caller: Caller,
    Named(name): Named,
    Asked(asked): Asked<MembersAsked>,
) -> Result<Response, Problem> {
    let limit = asked.limit.unwrap_or(USUAL_MEMBERS);
    if limit > MOST_MEMBERS_SHOWN {
        let sentence = format!("`limit` lies between 0 and {MOST_MEMBERS_SHOWN}, got {limit}");
        return Err(Problem::new(MALFORMED_REQUEST, sentence));
    }
    let snapshot = doors.store.snapshot();
    let segment = snapshot
        .segments()
        .get(&name)
        .ok_or_else(|| no_segment(&name))?;
    let after = asked.cursor.unwrap_or_default();
    let view = SegmentView::show(&snapshot, segment).with_members(segment, limit, &after);
    let view = view.for_the_eyes_of(&caller);
    Ok(([(header::ETAG, tag(view.revision))], Json(view)).into_response())
}

/// Creates a segment, or replaces the whole of one, members included. Its body may have 4 MiB.
#[utoipa::path(put, path = "/api/v1/segments/{name}", tag = "segments",
    request_body(content = ref("#/components/schemas/SegmentPut"), content_type = "application/json"),
    params(
        ("name" = String, Path, description = "The segment's name, percent-encoded."),
        ("If-None-Match" = Option<String>, Header, pattern = r"^\*$", description = "`*`: create; refused with 412 if it exists."),
        ("If-Match" = Option<String>, Header, pattern = r#"^"[0-9]+"$"#, description = "The ETag of the segment as it was read: replace."),
        WriteQuery,
    ),
    responses(
        (status = 200, description = "It was replaced (or would be: `dry_run`).", body = SegmentView,
         headers(("ETag" = String, description = "Its new revision."))),
        (status = 201, description = "It was created (or would be: `dry_run`).", body = SegmentView,
         headers(("ETag" = String, description = "Its revision."))),
        (status = 404, description = "There is no such segment to replace."),
        (status = 409, description = "A big move; repeat with `confirm` = `size`."),
        (status = 412, description = "It exists, or somebody changed it meanwhile."),
        (status = 428, description = "Neither If-None-Match nor If-Match was said."),
))]
pub(super) async fn put(
    State(doors): State<Arc<Doors>>,
    Named(name): Named,
    Write { mut body, sender }: Write<Worded, LARGEST_IMPORT>,
) -> Result<Answer, Problem> {
    let wants = sender.wants()?;
    let words = body.words();
    named(&mut body.document, "name", &name, "")?;
    let document: SegmentDocument = read_document(body.document.into(), "")?;
    let edit = Edit::PutSegment(Box::new(document));
    let (seen, status) = match wants {
        Wants::Create => (0, StatusCode::CREATED), // seen to be none
        Wants::Replace { seen } => (seen, StatusCode::OK),
    };
    turn(doors, sender, edit, Some(seen), words, move |turned| {
        shown(turned, &name, status)
    })
    .await
}

/// Deletes a segment that no flag and no opening names.
#[utoipa::path(delete, path = "/api/v1/segments/{name}", tag = "segments",
    params(
        ("name" = String, Path, description = "The segment's name, percent-encoded."),
        ("If-Match" = String, Header, pattern = r#"^"[0-9]+"$"#, description = "The ETag of the segment as it was read, such as `\"41\"`."),
        DeletionQuery,
    ),
    responses(
        (status = 200, description = "The segment that was deleted (or would be: `dry_run`), as it stood.", body = SegmentView),
        (status = 404, description = "There is no such segment."),
        (status = 412, description = "Somebody changed it meanwhile."),
        (status = 428, description = "If-Match was not said."),
))]
pub(super) async fn delete(
    State(doors): State<Arc<Doors>>,
    Named(name): Named,
    Deletion { words, sender, .. }: Deletion,
) -> Result<Answer, Problem> {
    if let Some(answer) = sender.repeated(&doors)? {
        return Ok(answer);
    }
    let name: SegmentName = name.parse().map_err(|_| no_segment(&name))?;
    let there = doors.store.snapshot().segments().number(&name).is_some();
    if !there {
        return Err(no_segment(name.as_str()));
    }
    let seen = sender.seen()?;
    let edit = Edit::DeleteSegment(name.clone());
    turn(doors, sender, edit, Some(seen), words, move |turned| {
        let segment = turned.before.segments().get(name.as_str());
        let view = segment.map(|segment| SegmentView {
            dry_run: turned.dry_run,
            ..SegmentView::show(&turned.before, segment).for_the_eyes_of(&turned.caller)
        });
        Answer::new(StatusCode::OK, None, &view)
    })
    .await
}

/// Who comes to a segment and who leaves it, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MembersChange {
    /// Who comes; who is there already stays.
    #[serde(default)]
    #[schema(example = json!(["acme"]))]
    add: Vec<String>,
    /// Who leaves; who is not there is no mistake.
    #[serde(default)]
    remove: Vec<String>,
    /// Why; never empty.
    #[serde(default)]
    #[schema(
        required = true,
        min_length = 1,
        max_length = 1024,
        example = "they asked for it"
    )]
    reason: String,
    /// The size of a big move, as the answer 409 `confirm-size` told it.
    #[serde(default)]
    confirm: Option<u64>,
    /// Checks the change and shows what it would lead to; nothing is changed.
    #[serde(default)]
    dry_run: bool,
}

/// Lets members come to a segment and leave it. Needs no If-Match: who comes and who leaves is said, whatever else changed. Its
/// body may have 4 MiB.
#[utoipa::path(post, path = "/api/v1/segments/{name}/members", tag = "segments", request_body = MembersChange,
    params(
        ("name" = String, Path, description = "The segment's name, percent-encoded."),
        ("If-Match" = Option<String>, Header, pattern = r#"^"[0-9]+"$"#, description = "The ETag of the segment as it was read, if that matters."),
        WriteQuery,
    ),
    responses(
        (status = 200, description = "The segment as it stands now (or would: `dry_run`).", body = SegmentView,
         headers(("ETag" = String, description = "Its new revision."))),
        (status = 404, description = "There is no such segment."),
        (status = 409, description = "A big move; repeat with `confirm` = `size`."),
        (status = 412, description = "Somebody changed it meanwhile."),
))]
pub(super) async fn members(
    State(doors): State<Arc<Doors>>,
    Named(name): Named,
    Write { body, sender }: Write<MembersChange, LARGEST_IMPORT>,
) -> Result<Answer, Problem> {
    let segment: SegmentName = name.parse().map_err(|_| no_segment(&name))?;
    if body.add.is_empty() && body.remove.is_empty() {
        let cure = "say who comes (`add`) or who leaves (`remove`)";
        return Err(Problem::new(super::error::INCOMPLETE, cure).at("/add"));
    }
    let words = Words {
        confirm: body.confirm,
        dry_run: body.dry_run,
        ..Words::because(&body.reason)
    };
    let edit = Edit::Members {
        segment,
        add: body.add,
        remove: body.remove,
    };
    let seen = sender.may_have_seen();
    turn(doors, sender, edit, seen, words, move |turned| {
        shown(turned, &name, StatusCode::OK)
    })
    .await
}

/// How a segment stands after a change.
fn shown(turned: &Turned, name: &str, status: StatusCode) -> Answer {
    let segment = turned.after.segments().get(name);
    let view = segment.map(|segment| SegmentView {
        dry_run: turned.dry_run,
        ..SegmentView::show(&turned.after, segment).for_the_eyes_of(&turned.caller)
    });
    let wet = |view: &&SegmentView| !view.dry_run;
    let tag = view.as_ref().filter(wet).map(|view| tag(view.revision));
    let status = if turned.dry_run {
        StatusCode::OK
    } else {
        status
    };
    Answer::new(status, tag, &view)
}
