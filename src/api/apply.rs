//! `POST /api/v1/flags/apply`: a file of flags as a plan, and as one atomic change.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::Doors;
use super::access::Caller;
use super::answer::Answer;
use super::aside::aside;
use super::body::LARGEST_IMPORT;
use super::error::{BAD_DOCUMENT, BAD_VALUE, Problem};
use super::flags::not_in_use;
use super::shapes;
use super::views::warnings;
use super::write::{Sender, Words, Write, WriteQuery, turn};
use crate::rules::change::{Cause, Edit};
use crate::rules::flag::FlagDocument;
use crate::rules::plan::{Act, BadFile, Plan, Step};
use crate::rules::segment::{MOST_SEGMENTS, SegmentDocument};
use crate::rules::snapshot::{MOST_FLAGS, Snapshot};

/// A file of flags, and why it is applied. What it does not name stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Apply {
    /// The flags, whole; of a valve the bounds, choices and description come with the daemon.
    #[serde(default)]
    #[schema(schema_with = shapes::flag_documents, required = false)]
    flags: Vec<FlagDocument>,
    /// The segments, whole.
    #[serde(default)]
    #[schema(schema_with = shapes::segment_documents, required = false)]
    segments: Vec<SegmentDocument>,
    /// `true`: flags managed by the file that are not in it are deleted; valves go back to their neutral value.
    #[serde(default)]
    prune: bool,
    /// Why; never empty.
    #[serde(default)]
    #[schema(
        required = true,
        min_length = 1,
        max_length = 1024,
        example = "release 41"
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
    /// Checks the change and shows the plan; nothing is changed.
    #[serde(default)]
    dry_run: bool,
}

/// What a file of flags changed, or would.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Applied {
    /// The revision that it led to; as before when nothing differed.
    revision: u64,
    /// What came, changed or went, segments first.
    plan: Vec<PlanStep>,
    /// How many flags and segments stood as the file says.
    same: usize,
    /// The flags managed by the file that were not as the file says, or not in it.
    drifted: Vec<String>,
    /// Those of them that are not in the file and stay, for want of `prune`.
    left: Vec<String>,
    /// What is allowed and should not last.
    warnings: Vec<String>,
    /// Present and true when this only shows what would be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

/// One step of a plan.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct PlanStep {
    /// `create`, `change` or `delete`.
    #[schema(example = "change")]
    act: &'static str,
    /// The flag; left out: it is a segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    flag: Option<String>,
    /// The segment; left out: it is a flag.
    #[serde(skip_serializing_if = "Option::is_none")]
    segment: Option<String>,
    /// What differs.
    differs: Vec<Differs>,
}

/// A field that differs.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Differs {
    /// The field.
    #[schema(example = "value")]
    field: String,
    /// As it stood; `null`: it was not said.
    from: Json,
    /// As the file says; `null`: it is not said.
    to: Json,
}

/// Applies a file of flags: as one atomic change, of what differs alone. With `dry_run` it is only a plan.
///
/// This alone edits what stands below flags with `managed` = `file`. The metric `sluicegate_flags_drifted` counts those that are
/// not as the file of the last call says. The body may have 4 MiB.
#[utoipa::path(post, path = "/api/v1/flags/apply", tag = "flags", params(WriteQuery), request_body = Apply, responses(
    (status = 200, description = "What came of it (or would: `dry_run`).", body = Applied),
    (status = 409, description = "A big move; repeat with `confirm` = `size`. Or a flag that is still in use would be deleted."),
    (status = 412, description = "A key was deleted, or somebody changed a flag meanwhile; nothing was changed."),
))]
pub(super) async fn apply(
    State(doors): State<Arc<Doors>>,
    Write { body, sender }: Write<Apply, LARGEST_IMPORT>,
) -> Result<Answer, Problem> {
    if let Some(answer) = sender.repeated(&doors)? {
        return Ok(answer);
    }
    let words = Words {
        confirm: body.confirm,
        keep: body.keep,
        dry_run: body.dry_run,
        cause: Cause::File,
        ..Words::because(&body.reason)
    };
    let planning = {
        let (doors, caller) = (Arc::clone(&doors), sender.caller().clone());
        move || planned((&doors, &caller), body)
    };
    let (plan, snapshot) = aside(planning).await?;
    carry_out(doors, sender, words, plan, &snapshot).await
}

fn planned(
    (doors, caller): (&Doors, &Caller),
    body: Apply,
) -> Result<(Plan, Arc<Snapshot>), Problem> {
    let counts = [
        ("flags", body.flags.len(), MOST_FLAGS),
        ("segments", body.segments.len(), MOST_SEGMENTS),
    ];
    for (what, count, most) in counts {
        if count > most {
            let sentence = format!(
                "there are at most {most} {what}, got {count}; leave out those that are done"
            );
            return Err(Problem::new(BAD_VALUE, sentence).at(format!("/{what}")));
        }
    }
    let snapshot = doors.store.snapshot();
    is_there_for(caller, &body, &snapshot)?;
    let plan = snapshot.plan(&body.segments, &body.flags, body.prune);
    let plan = within(plan.map_err(|why| refused(&why))?, caller);
    if !body.force {
        for one in &plan.edits {
            if let Edit::Delete(key) = &one.edit {
                not_in_use(doors, key)?;
            }
        }
    }
    Ok((plan, snapshot))
}

/// Nothing is compared that is not there for the caller.
fn is_there_for(caller: &Caller, body: &Apply, snapshot: &Snapshot) -> Result<(), Problem> {
    for (place, flag) in body.flags.iter().enumerate() {
        if !caller.sees_flag(&flag.key) {
            return Err(Problem::never_a_flag(&flag.key).at(format!("/flags/{place}")));
        }
    }
    for (place, segment) in body.segments.iter().enumerate() {
        let seen = caller.may_see_segment(&segment.name, snapshot);
        seen.map_err(|problem| problem.at(format!("/segments/{place}")))?;
    }
    Ok(())
}

/// The plan without the flags of others, which the file of this caller does not name.
fn within(mut plan: Plan, caller: &Caller) -> Plan {
    let seen = |key: &String| caller.sees_flag(key);
    plan.steps.retain(|step| step.segment || seen(&step.name));
    plan.edits
        .retain(|one| one.edit.flag().is_none_or(|key| caller.sees_flag(key)));
    plan.drifted.retain(seen);
    plan.left.retain(seen);
    plan
}

fn refused(why: &BadFile) -> Problem {
    let (sort, at) = match why {
        BadFile::Flag(place, _) => (BAD_VALUE, format!("/flags/{place}")),
        BadFile::TwoFlags(place, _) => (BAD_DOCUMENT, format!("/flags/{place}/key")),
        BadFile::Segment(place, _) => (BAD_VALUE, format!("/segments/{place}")),
        BadFile::TwoSegments(place, _) => (BAD_DOCUMENT, format!("/segments/{place}/name")),
    };
    Problem::new(sort, why.to_string()).at(at)
}

async fn carry_out(
    doors: Arc<Doors>,
    sender: Sender,
    words: Words,
    plan: Plan,
    snapshot: &Snapshot,
) -> Result<Answer, Problem> {
    let dry_run = words.dry_run || sender.is_dry_run();
    let keys: Vec<String> = plan
        .edits
        .iter()
        .filter_map(|one| one.edit.flag().map(str::to_owned))
        .collect();
    // Who sees a part of the flags cannot say how many of all differ.
    let metrics = Some(Arc::clone(&doors.metrics));
    let metrics = metrics.filter(|_| sender.caller().sees_everything());
    let drift = move |count| {
        metrics
            .iter()
            .for_each(|metrics| metrics.flags_drifted(count))
    };
    let (drifted, left) = (plan.drifted.len(), plan.left.len());
    let mut applied = Applied {
        revision: snapshot.revision(),
        plan: plan.steps.into_iter().map(PlanStep::of).collect(),
        same: plan.same,
        drifted: plan.drifted,
        left: plan.left,
        warnings: warnings(snapshot, keys.iter().map(String::as_str)),
        dry_run,
    };
    if plan.edits.is_empty() {
        drift(left);
        return Ok(Answer::new(StatusCode::OK, None, &applied));
    }
    if dry_run {
        drift(drifted);
    }
    turn(
        doors,
        sender,
        Edit::Several(plan.edits),
        None,
        words,
        move |turned| {
            if !turned.dry_run {
                drift(left);
            }
            let keys = keys.iter().map(String::as_str);
            applied.revision = turned.after.revision();
            applied.warnings = warnings(&turned.after, keys);
            Answer::new(StatusCode::OK, None, &applied)
        },
    )
    .await
}

impl PlanStep {
    fn of(step: Step) -> Self {
        let (flag, segment) = if step.segment {
            (None, Some(step.name))
        } else {
            (Some(step.name), None)
        };
        let differs = step.differs.into_iter().map(|one| Differs {
            field: one.field,
            from: one.from,
            to: one.to,
        });
        Self {
            act: match step.act {
                Act::Create => "create",
                Act::Change => "change",
                Act::Delete => "delete",
            },
            flag,
            segment,
            differs: differs.collect(),
        }
    }
}
