//! What a file of flags would change: the plan of `flag apply`, and the edits that it takes.

use serde_json::{Map, Value as Json};

use super::change::{Edit, Seen};
use super::flag::{BadFlag, Flag, FlagDocument, Managed};
use super::segment::{BadSegment, Segment, SegmentDocument};
use super::snapshot::Snapshot;

/// What a file would change, and what has drifted away from it.
#[derive(Debug, Default)]
pub struct Plan {
    /// What would be created, changed or deleted, segments first.
    pub steps: Vec<Step>,
    /// How many flags and segments stand as the file says.
    pub same: usize,
    /// The flags managed by the file that are not as the file says, or not in it.
    pub drifted: Vec<String>,
    /// Those of them that are not in the file and stay.
    pub left: Vec<String>,
    /// The edits, in the order of the steps.
    pub edits: Vec<Seen>,
}

/// One step of a plan.
#[derive(Debug, PartialEq)]
pub struct Step {
    /// What happens.
    pub act: Act,
    /// Whether it is a segment, else a flag.
    pub segment: bool,
    /// The key or name.
    pub name: String,
    /// What differs; nothing of what comes new or goes.
    pub differs: Vec<Difference>,
}

/// What happens in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It did not exist.
    Create,
    /// It stands otherwise.
    Change,
    /// It is not in the file.
    Delete,
}

/// A field that differs. Of members both sides are counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The field.
    pub field: String,
    /// As it stands; null: not said.
    pub from: Json,
    /// As the file says; null: not said.
    pub to: Json,
}

/// Why a file cannot be planned.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum BadFile {
    /// A flag is bad; its place in the file counts from 0.
    #[error("{1}")]
    Flag(usize, BadFlag),
    /// A segment is bad.
    #[error("{1}")]
    Segment(usize, BadSegment),
    /// A flag is there twice.
    #[error("there are two flags of the key `{1}`; leave one out")]
    TwoFlags(usize, String),
    /// A segment is there twice.
    #[error("there are two segments named `{1}`; leave one out")]
    TwoSegments(usize, String),
}

impl Snapshot {
    /// What these flags and segments would change; with `prune` flags managed by the file that are not in it go.
    ///
    /// # Errors
    /// See [`BadFile`].
    pub fn plan(
        &self,
        segments: &[SegmentDocument],
        flags: &[FlagDocument],
        prune: bool,
    ) -> Result<Plan, BadFile> {
        let mut plan = Plan::default();
        let mut names = std::collections::HashSet::new();
        for (place, document) in segments.iter().enumerate() {
            if !names.insert(document.name.as_str()) {
                return Err(BadFile::TwoSegments(place, document.name.clone()));
            }
            let segment = Segment::try_from(document.clone());
            let segment = segment.map_err(|why| BadFile::Segment(place, why))?;
            self.plan_segment(document, &segment, &mut plan);
        }
        let mut keys = std::collections::HashSet::new();
        for (place, document) in flags.iter().enumerate() {
            if !keys.insert(document.key.as_str()) {
                return Err(BadFile::TwoFlags(place, document.key.clone()));
            }
            self.plan_flag(document, &mut plan)
                .map_err(|why| BadFile::Flag(place, why))?;
        }
        let managed = self.flags().filter(|flag| is_managed(flag));
        for flag in managed.filter(|flag| !keys.contains(flag.key.as_str())) {
            self.plan_leftover(flag, prune, &mut plan);
        }
        Ok(plan)
    }

    fn plan_segment(&self, document: &SegmentDocument, new: &Segment, plan: &mut Plan) {
        let old = self.segments().get(new.name.as_str());
        let differs = old.map(|old| segments_differ(old, new)).unwrap_or_default();
        if old.is_some() && differs.is_empty() {
            plan.same += 1;
            return;
        }
        plan.step(
            if old.is_some() {
                Act::Change
            } else {
                Act::Create
            },
            Edit::PutSegment(Box::new(document.clone())),
            Some(old.map_or(0, |old| old.revision())), // 0: there was none
            differs,
        );
    }

    fn plan_flag(&self, written: &FlagDocument, plan: &mut Plan) -> Result<(), BadFlag> {
        let Some(old) = self.flag(&written.key) else {
            let new = Flag::try_from(written.clone())?;
            let edit = Edit::Create(Box::new(new.document()));
            plan.step(Act::Create, edit, None, Vec::new());
            return Ok(());
        };
        let new = Flag::try_from(old.framing(written))?;
        let differs = differences(&flag_fields(&old.document()), &flag_fields(&new.document()));
        if differs.is_empty() {
            plan.same += 1;
            return Ok(());
        }
        if is_managed(old) {
            plan.drifted.push(old.key.to_string());
        }
        let edit = Edit::Replace(Box::new(new.document()));
        plan.step(Act::Change, edit, Some(old.revision()), differs);
        Ok(())
    }

    /// A flag that the file managed and no longer names. A valve stays as long as its queue, at its neutral value.
    fn plan_leftover(&self, flag: &Flag, prune: bool, plan: &mut Plan) {
        let key = flag.key.to_string();
        plan.drifted.push(key.clone());
        let Some((queue, valve)) = self.valve(&key).filter(|_| prune) else {
            if prune {
                let edit = Edit::Delete(flag.key.clone());
                plan.step(Act::Delete, edit, Some(flag.revision()), Vec::new());
            } else {
                plan.left.push(key);
            }
            return;
        };
        let neutral = Flag::neutral_valve(&queue.name, valve, &queue.modes);
        let differs = differences(
            &flag_fields(&flag.document()),
            &flag_fields(&neutral.document()),
        );
        let edit = Edit::Replace(Box::new(neutral.document()));
        plan.step(Act::Change, edit, Some(flag.revision()), differs);
    }
}

impl Plan {
    fn step(&mut self, act: Act, edit: Edit, seen: Option<u64>, differs: Vec<Difference>) {
        self.steps.push(Step {
            act,
            segment: edit.segment().is_some(),
            name: edit
                .flag()
                .or(edit.segment())
                .unwrap_or_default()
                .to_owned(),
            differs,
        });
        self.edits.push(Seen { edit, seen });
    }
}

fn is_managed(flag: &Flag) -> bool {
    flag.document().managed == Some(Managed::File)
}

fn segments_differ(old: &Segment, new: &Segment) -> Vec<Difference> {
    let mut differs = differences(&segment_fields(old), &segment_fields(new));
    let (came, left) = (
        new.members.without(&old.members),
        old.members.without(&new.members),
    );
    if !came.is_empty() || !left.is_empty() {
        differs.push(Difference {
            field: "members".to_owned(),
            from: format!("{}, {} of them leave", old.members.len(), left.len()).into(),
            to: format!("{}, {} of them come", new.members.len(), came.len()).into(),
        });
    }
    differs
}

fn segment_fields(segment: &Segment) -> Map<String, Json> {
    fields(serde_json::to_value(segment.frame()))
}

fn flag_fields(flag: &FlagDocument) -> Map<String, Json> {
    fields(serde_json::to_value(flag))
}

fn fields(document: Result<Json, serde_json::Error>) -> Map<String, Json> {
    let Ok(Json::Object(mut fields)) = document else {
        return Map::new();
    };
    fields.remove("revision");
    fields
}

/// The fields in which two documents differ.
fn differences(old: &Map<String, Json>, new: &Map<String, Json>) -> Vec<Difference> {
    let only_new = new.keys().filter(|field| !old.contains_key(*field));
    let all = old.keys().chain(only_new);
    let of = |document: &Map<String, Json>, field: &str| {
        document.get(field).cloned().unwrap_or_default()
    };
    all.filter(|field| old.get(*field) != new.get(*field))
        .map(|field| Difference {
            field: field.clone(),
            from: of(old, field),
            to: of(new, field),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::change::{Actor, Cause, Change};
    use crate::rules::snapshot::{GatedQueue, Stored};

    fn flags(json: Json) -> Vec<FlagDocument> {
        serde_json::from_value(json).unwrap()
    }

    fn standing() -> Vec<FlagDocument> {
        flags(json!([
            {"key": "a", "kind": "config", "type": "rate", "value": "5/s", "managed": "file"},
            {"key": "b", "kind": "config", "type": "boolean", "value": true, "managed": "file"},
            {"key": "c", "kind": "config", "type": "boolean", "value": true},
            {"key": "queue.orders.max_age", "kind": "ops", "type": "duration", "value": "60s", "managed": "file"},
        ]))
    }

    fn segment(members: &[&str]) -> Vec<SegmentDocument> {
        serde_json::from_value(json!([{"name": "beta", "members": members}])).unwrap()
    }

    fn applied(to: &Snapshot, plan: Plan) -> Snapshot {
        let edit = Edit::Several(plan.edits);
        let change = Change {
            cause: Cause::File,
            keep: true,
            ..Change::new(edit, Actor::new("ana", "cli"), "release 7", 1)
        };
        to.with(&change).unwrap()
    }

    fn start() -> Snapshot {
        let queue = GatedQueue::named("orders".parse().unwrap());
        let empty = Snapshot::of(vec![queue], Stored::default());
        let plan = empty.plan(&segment(&["acme"]), &standing(), false).unwrap();
        applied(&empty, plan)
    }

    /// The steps as lines: `change flag a: value`.
    fn lines(plan: &Plan) -> Vec<String> {
        let line = |step: &Step| {
            let what = if step.segment { "segment" } else { "flag" };
            let fields: Vec<&str> = step.differs.iter().map(|one| one.field.as_str()).collect();
            format!("{:?} {what} {} {}", step.act, step.name, fields.join(","))
        };
        plan.steps.iter().map(line).collect()
    }

    #[test]
    fn what_stands_as_the_file_says_is_the_same() {
        let plan = start()
            .plan(&segment(&["acme"]), &standing(), true)
            .unwrap();
        assert_eq!((lines(&plan), plan.same), (vec![], 5));
        assert!(plan.drifted.is_empty());
    }

    #[test]
    fn what_is_written_otherwise_and_means_the_same_is_no_difference() {
        let mut file = standing();
        file[3].value = json!("1m");
        let plan = start().plan(&segment(&["acme"]), &file, false).unwrap();
        assert_eq!(lines(&plan), Vec::<String>::new());
    }

    #[test]
    fn a_plan_says_what_comes_what_changes_and_what_goes() {
        let file = flags(json!([
            {"key": "a", "kind": "config", "type": "rate", "value": "9/s", "owner": "ops", "managed": "file"},
            {"key": "d", "kind": "config", "type": "boolean", "value": true},
        ]));
        let stands = start();
        let plan = stands.plan(&segment(&["bolt"]), &file, false).unwrap();
        let kept = [
            "Change segment beta members",
            "Change flag a value,owner",
            "Create flag d ",
        ];
        assert_eq!(lines(&plan), kept);
        assert_eq!(plan.drifted, ["a", "b", "queue.orders.max_age"]);
        assert_eq!(plan.left, ["b", "queue.orders.max_age"]);

        let plan = stands.plan(&segment(&["bolt"]), &file, true).unwrap();
        let mut pruned = kept.to_vec();
        pruned.extend([
            "Delete flag b ",
            "Change flag queue.orders.max_age value,managed",
        ]);
        assert_eq!(lines(&plan), pruned);
        assert!(plan.left.is_empty());
        let after = applied(&stands, plan);
        assert!(after.flag("b").is_none() && after.flag("c").is_some());
        assert_eq!(
            after.flag("queue.orders.max_age").unwrap().document().value,
            Json::Null
        );
        let again = after.plan(&segment(&["bolt"]), &file, true).unwrap();
        assert_eq!(
            lines(&again),
            Vec::<String>::new(),
            "a file that was applied changes nothing more"
        );
    }

    #[test]
    fn a_bad_file_is_refused_by_the_place_of_what_is_bad() {
        let twice = [standing(), standing()].concat();
        let refused = start().plan(&[], &twice, false).unwrap_err();
        assert_eq!(refused, BadFile::TwoFlags(4, "a".to_owned()));
        let mut bad = standing();
        bad[1].value = json!(7);
        let refused = start().plan(&[], &bad, false).unwrap_err();
        assert!(matches!(refused, BadFile::Flag(1, _)), "{refused}");
        let twice = [segment(&[]), segment(&[])].concat();
        let refused = start().plan(&twice, &[], false).unwrap_err();
        assert_eq!(refused, BadFile::TwoSegments(1, "beta".to_owned()));
    }
}
