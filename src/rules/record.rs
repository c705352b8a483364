//! What is written down of a change: who, when, why, before and after; each record names the hash of the one before it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::change::{Actor, Cause, Change, Edit};
use super::doubt::Resolution;
use super::members::Members;
use super::names::FlagKey;
use super::opening::{Opening, OpeningId};
use super::segment::{Segment, SegmentDocument, SegmentName};
use super::snapshot::Snapshot;

/// What the first record of all names as the hash before it.
pub const FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One accepted change, as it is kept for ever.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeRecord {
    /// Its number: the revision that it led to.
    pub revision: u64,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Who.
    pub by: Actor,
    /// What caused it.
    pub cause: Cause,
    /// Why.
    pub reason: String,
    /// What kind of edit it was.
    pub edit: EditKind,
    /// The opening that began or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
    /// The flags that it touched.
    pub touched: Vec<Touched>,
    /// The segments that it touched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<TouchedSegment>,
    /// The jobs in doubt that it resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Resolution>,
    /// The SHA-256 of the record before it, as it was written, in hex; [`FIRST`] for the first.
    pub prev: String,
}

/// The kinds of edits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EditKind {
    /// A flag that did not exist.
    Create,
    /// The whole document of a flag.
    Replace,
    /// Another value for everybody.
    Set,
    /// Another value for everybody, to which the flag goes in steps.
    SetOver,
    /// The end of a flag.
    Delete,
    /// A flag back to a former definition.
    Undo,
    /// The whole document of a segment.
    PutSegment,
    /// The end of a segment.
    DeleteSegment,
    /// Members came to a segment, or left it.
    Members,
    /// An opening began.
    Open,
    /// An opening got another end.
    Extend,
    /// A step of an opening's ramp.
    Ramp,
    /// An opening ended.
    Close,
    /// Jobs in doubt were resolved.
    Resolve,
    /// Several edits at once.
    Several,
    /// All flags and segments back to a snapshot, while the daemon was down.
    Rescue,
}

impl EditKind {
    /// Whether what it keeps of a flag is its value for everybody.
    #[must_use]
    pub const fn sets_value(self) -> bool {
        matches!(self, Self::Set | Self::SetOver)
    }

    /// Whether what it keeps of a flag are whole documents.
    #[must_use]
    pub const fn keeps_documents(self) -> bool {
        match self {
            Self::Create | Self::Replace | Self::Delete | Self::Undo | Self::Several => true,
            Self::Rescue => true,
            Self::Set | Self::SetOver | Self::PutSegment | Self::DeleteSegment | Self::Members => {
                false
            }
            Self::Open | Self::Extend | Self::Ramp | Self::Close | Self::Resolve => false,
        }
    }
}

/// What a change did to one flag. `create`, `replace`, `delete`, `undo`, `several` and `rescue` keep documents; `set` and
/// `set_over` keep values for everybody; `open`, `extend`, `ramp` and `close` keep what the flag said to everybody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Touched {
    /// The flag.
    pub flag: FlagKey,
    /// Before; null: it did not exist, or its value was "none".
    pub before: Json,
    /// After.
    pub after: Json,
}

/// What a change did to one segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TouchedSegment {
    /// The segment.
    pub segment: SegmentName,
    /// Its document before, without members; `None`: it did not exist.
    pub before: Option<SegmentDocument>,
    /// Its document after, without members; `None`: it is gone.
    pub after: Option<SegmentDocument>,
    /// Who came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Who left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
}

impl ChangeRecord {
    /// The record of `change`, which led from one snapshot to the next, after the record with the hash `prev`.
    #[must_use]
    pub fn of(change: &Change, before: &Snapshot, after: &Snapshot, prev: &str) -> Self {
        let edit = kind(&change.edit);
        let opening = match &change.edit {
            Edit::Open { .. } | Edit::SetOver(..) => after.opening(OpeningId(after.revision())),
            Edit::Extend(id, _) | Edit::Ramp(id, _) => after.opening(*id),
            Edit::Close(id) => before.opening(*id),
            _ => None,
        };
        let segments = touched_segments(&change.edit);
        let segments = segments
            .into_iter()
            .filter_map(|name| TouchedSegment::of(name, before, after));
        let touched = touched(&change.edit, before)
            .into_iter()
            .map(|flag| Touched {
                before: part(edit, before, &flag),
                after: part(edit, after, &flag),
                flag,
            })
            .collect();
        Self {
            revision: after.revision(),
            at_ms: change.at_ms,
            by: change.by.clone(),
            cause: change.cause,
            reason: change.reason.clone(),
            edit,
            opening: opening.map(|opening| opening.as_ref().clone()),
            touched,
            segments: segments.collect(),
            resolved: match &change.edit {
                Edit::Resolve(resolution) => Some(resolution.clone()),
                _ => None,
            },
            prev: prev.to_owned(),
        }
    }

    /// The record as it is written.
    ///
    /// # Errors
    /// None that a record could cause; whoever writes it down passes them on.
    pub fn written(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

/// The hash of a record as it was written: SHA-256 in hex.
#[must_use]
pub fn hash(written: &[u8]) -> String {
    Sha256::digest(written)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl TouchedSegment {
    /// What lies between two snapshots of a segment; `None`: nothing.
    #[must_use]
    pub fn of(segment: SegmentName, before: &Snapshot, after: &Snapshot) -> Option<Self> {
        let (old, new) = (
            before.segments().get(segment.as_str()),
            after.segments().get(segment.as_str()),
        );
        let untouched = match (old, new) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (old, new) => old.is_none() && new.is_none(),
        };
        if untouched {
            return None;
        }
        let none = Arc::new(Members::default());
        let had = old.map_or(&none, |old| &old.members);
        let has = new.map_or(&none, |new| &new.members);
        let frame = |of: &Arc<Segment>| of.frame().clone();
        Some(Self {
            before: old.map(frame),
            after: new.map(frame),
            added: has.without(had),
            removed: had.without(has),
            segment,
        })
    }
}

/// The flags that an edit touches.
#[must_use]
pub fn touched(edit: &Edit, before: &Snapshot) -> Vec<FlagKey> {
    let of = |values: &[(FlagKey, Json)]| values.iter().map(|(key, _)| key.clone()).collect();
    match edit {
        Edit::Create(document) | Edit::Replace(document) => {
            document.key.parse().into_iter().collect()
        }
        Edit::Set(key, _) | Edit::SetOver(key, ..) | Edit::Delete(key) | Edit::Undo(key, _) => {
            vec![key.clone()]
        }
        Edit::Open { values, .. } => of(values),
        Edit::Close(id) | Edit::Extend(id, _) | Edit::Ramp(id, _) => before
            .opening(*id)
            .map(|opening| of(&opening.values))
            .unwrap_or_default(),
        Edit::Several(edits) => {
            let all = edits.iter().flat_map(|one| touched(&one.edit, before));
            all.collect::<BTreeSet<FlagKey>>().into_iter().collect()
        }
        Edit::PutSegment(_) | Edit::DeleteSegment(_) | Edit::Members { .. } => Vec::new(),
        Edit::Resolve(_) => Vec::new(),
    }
}

/// The segments that an edit touches.
fn touched_segments(edit: &Edit) -> BTreeSet<SegmentName> {
    match edit {
        Edit::PutSegment(document) => document.name.parse().into_iter().collect(),
        Edit::DeleteSegment(name) | Edit::Members { segment: name, .. } => [name.clone()].into(),
        Edit::Several(edits) => edits
            .iter()
            .flat_map(|one| touched_segments(&one.edit))
            .collect(),
        _ => BTreeSet::new(),
    }
}

fn kind(edit: &Edit) -> EditKind {
    match edit {
        Edit::Create(_) => EditKind::Create,
        Edit::Replace(_) => EditKind::Replace,
        Edit::Set(..) => EditKind::Set,
        Edit::SetOver(..) => EditKind::SetOver,
        Edit::Delete(_) => EditKind::Delete,
        Edit::Undo(..) => EditKind::Undo,
        Edit::PutSegment(_) => EditKind::PutSegment,
        Edit::DeleteSegment(_) => EditKind::DeleteSegment,
        Edit::Members { .. } => EditKind::Members,
        Edit::Open { .. } => EditKind::Open,
        Edit::Extend(..) => EditKind::Extend,
        Edit::Ramp(..) => EditKind::Ramp,
        Edit::Close(_) => EditKind::Close,
        Edit::Resolve(_) => EditKind::Resolve,
        Edit::Several(_) => EditKind::Several,
    }
}

fn part(kind: EditKind, snapshot: &Snapshot, key: &FlagKey) -> Json {
    let flag = snapshot.flag(key.as_str());
    match kind {
        EditKind::Set | EditKind::SetOver => {
            flag.map(|flag| flag.value.to_json()).unwrap_or_default()
        }
        EditKind::Open | EditKind::Extend | EditKind::Ramp | EditKind::Close => snapshot
            .value(key.as_str())
            .map(|(value, _)| value.to_json())
            .unwrap_or_default(),
        _ => flag
            .and_then(|flag| serde_json::to_value(flag.document()).ok())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::opening::Restore;
    use crate::rules::snapshot::{GatedQueue, Stored};

    fn change(edit: Edit) -> Change {
        Change {
            keep: true,
            ..Change::new(edit, Actor::new("ana", "cli"), "INC-481", 1_000)
        }
    }

    #[test]
    fn a_record_says_what_stood_before_and_after() {
        let queue = GatedQueue::named("orders".parse().unwrap());
        let skip: FlagKey = "queue.orders.skip".parse().unwrap();
        let document = json!({"key": "a.b", "kind": "config", "type": "integer", "value": 3});
        let document = Box::new(serde_json::from_value(document).unwrap());
        let edits = [
            (
                Edit::Set(skip.clone(), json!("10%")),
                json!(0.0),
                json!(0.1),
            ),
            (
                Edit::Open {
                    values: vec![(skip, json!(0.2))],
                    when: vec![],
                    ends_at_ms: 61_000,
                    restore: Restore::Snap,
                    until: None,
                },
                json!(0.1),
                json!(0.2),
            ),
            (Edit::Close(OpeningId(2)), json!(0.2), json!(0.1)),
            (
                Edit::Create(document),
                Json::Null,
                json!({"key": "a.b", "kind": "config", "type": "integer", "value": 3, "revision": 4}),
            ),
        ];
        let mut now = Snapshot::of(vec![queue], Stored::default());
        for (edit, before, after) in edits {
            let change = change(edit);
            let next = now.with(&change).unwrap();
            let record = ChangeRecord::of(&change, &now, &next, FIRST);
            assert_eq!(
                (&record.touched[0].before, &record.touched[0].after),
                (&before, &after)
            );
            let is_about_an_opening = matches!(record.edit, EditKind::Open | EditKind::Close);
            assert_eq!(record.opening.is_some(), is_about_an_opening, "{record:?}");
            let written = record.written().unwrap();
            assert_eq!(
                serde_json::from_slice::<ChangeRecord>(&written).unwrap(),
                record
            );
            now = next;
        }
    }

    #[test]
    fn the_hash_is_sha_256_in_hex() {
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash(b"abc"), of_abc);
        assert_eq!(FIRST.len(), of_abc.len());
    }
}
