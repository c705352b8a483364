//! What people and programs elsewhere are told of by themselves: the kinds, and one notice of each.
//!
//! Its id is a hash of what it tells: the same after a restart and in every try to send it, so that whoever gets it twice can
//! tell; and another at every daemon.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde_json::{Map, Value as Json};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use super::change::{Actor, Cause};
use super::clause::ClauseDocument;
use super::opening::{Opening, OpeningId, Restore};
use super::record::{ChangeRecord, EditKind, Touched, hash};
use super::relief::health::UntilWell;

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An opening began.
    Opened,
    /// An opening got another end.
    Extended,
    /// An opening ends soon.
    Reminder,
    /// An opening's time is over and it goes back in steps; or a value is on its way to the one that was set.
    Ramping,
    /// An opening ended by itself.
    Ended,
    /// Somebody ended an opening before its time.
    Closed,
    /// An opening is past its end and could not be closed.
    Overdue,
}

/// The word is no kind of notice.
#[derive(Debug, Error)]
#[error("{0:?} is no kind of notice; there are {all}", all = Kind::ALL.map(Kind::word).join(", "))]
pub struct NoKind(String);

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 7] = [
        Self::Opened,
        Self::Extended,
        Self::Reminder,
        Self::Ramping,
        Self::Ended,
        Self::Closed,
        Self::Overdue,
    ];

    /// The word by which configuration and webhooks call it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Extended => "extended",
            Self::Reminder => "reminder",
            Self::Ramping => "ramping",
            Self::Ended => "ended",
            Self::Closed => "closed",
            Self::Overdue => "overdue",
        }
    }
}

impl FromStr for Kind {
    type Err = NoKind;
    fn from_str(text: &str) -> Result<Self, NoKind> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.word() == text)
            .ok_or_else(|| NoKind(text.chars().take(40).collect()))
    }
}

/// One notice, as it is sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Notice {
    /// Its id: `msg_` and 32 hexadecimal digits.
    pub id: String,
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// When that was (RFC 3339).
    pub at: String,
    /// The whole of it in a sentence; what chats show.
    pub text: String,
    /// The flags, each with what it said to everybody before and says now; of a reminder: says now and will say.
    pub flags: Vec<Touched>,
    /// The opening.
    pub opening: OpeningTold,
    /// Who did it; of what the daemon does by itself, the guard.
    pub by: By,
    /// Why.
    pub reason: String,
    /// The change by which it came; of what is no change, the revision in force.
    pub revision: u64,
}

/// Who did something, as far as others are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct By {
    /// Their name.
    pub name: String,
    /// How they came in: `api`, `cli`, `guard`, `file`.
    pub via: String,
}

/// An opening, as others are told of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpeningTold {
    /// Its id, such as `o41`.
    pub id: OpeningId,
    /// What it lays over which flag.
    pub values: Map<String, Json>,
    /// For whom; nobody named: for everybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<ClauseDocument>,
    /// Who opened it.
    pub owner: String,
    /// Why they did.
    pub reason: String,
    /// When it was opened (RFC 3339).
    pub opened_at: String,
    /// When it ends, or begins to go back (RFC 3339), at the latest.
    pub ends_at: String,
    /// That it ends sooner, once its queue is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<UntilWell>,
    /// How it ends.
    pub restore: Restore,
}

impl Notice {
    /// What there is to tell of a change; most changes are told to nobody.
    #[must_use]
    pub fn of(record: &ChangeRecord) -> Option<Self> {
        let opening = record.opening.as_ref()?;
        let kind = match (record.edit, record.cause) {
            (EditKind::Open, _) => Kind::Opened,
            (EditKind::SetOver, _) => Kind::Ramping,
            (EditKind::Extend, _) => Kind::Extended,
            (EditKind::Close, Cause::Expiry | Cause::Health) => Kind::Ended,
            (EditKind::Close, _) => Kind::Closed,
            _ => return None,
        };
        let (flags, by) = (record.touched.clone(), &record.by);
        let notice = Self::new(kind, opening, flags, by, &record.reason, record.at_ms);
        Some(Self {
            revision: record.revision,
            ..notice
        })
    }

    /// What the guard has to tell of an opening, when no change says so; `flags` tell what they say and will say.
    #[must_use]
    pub fn by_itself(
        kind: Kind,
        opening: &Opening,
        flags: Vec<Touched>,
        at_ms: i64,
        revision: u64,
    ) -> Self {
        let by = Actor::new("guard", "guard");
        let notice = Self::new(kind, opening, flags, &by, &opening.reason, at_ms);
        Self { revision, ..notice }
    }

    fn new(
        kind: Kind,
        opening: &Opening,
        flags: Vec<Touched>,
        by: &Actor,
        reason: &str,
        at_ms: i64,
    ) -> Self {
        let told = OpeningTold::of(opening);
        Self {
            id: id(kind, &told, reason),
            text: sentence(kind, &told, &flags, &by.name, reason),
            kind,
            at: rfc3339(at_ms),
            flags,
            by: By {
                name: by.name.clone(),
                via: by.via.clone(),
            },
            opening: told,
            reason: reason.to_owned(),
            revision: 0,
        }
    }

    /// A number from 0 to 1 that spreads the tries of many daemons to send many notices.
    #[must_use]
    pub fn jitter(&self, attempt: u32) -> f64 {
        let draw = xxh3_64(format!("{} {attempt}", self.id).as_bytes());
        draw as f64 / u64::MAX as f64
    }
}

impl OpeningTold {
    fn of(opening: &Opening) -> Self {
        let values = opening.values.iter();
        Self {
            id: opening.id,
            values: values
                .map(|(key, value)| (key.to_string(), value.clone()))
                .collect(),
            when: opening.when.clone(),
            owner: opening.owner.clone(),
            reason: opening.reason.clone(),
            opened_at: rfc3339(opening.opened_at_ms),
            ends_at: rfc3339(opening.ends_at_ms),
            until: opening.until,
            restore: opening.restore,
        }
    }
}

/// An opening is told once of each kind, but of each of its ends anew.
fn id(kind: Kind, opening: &OpeningTold, reason: &str) -> String {
    let written = serde_json::to_vec(&(kind, opening, reason)).unwrap_or_default();
    let hashed = hash(&written);
    format!("msg_{}", hashed.get(..32).unwrap_or_default())
}

fn sentence(
    kind: Kind,
    opening: &OpeningTold,
    flags: &[Touched],
    by: &str,
    reason: &str,
) -> String {
    let said = flags
        .iter()
        .map(|one| format!("{}: {} → {}", one.flag, one.before, one.after));
    let (said, id) = (said.collect::<Vec<_>>().join(", "), opening.id);
    let (owner, ends) = (&opening.owner, &opening.ends_at);
    let for_some = if opening.when.is_empty() {
        ""
    } else {
        " for some"
    };
    let what = match kind {
        Kind::Opened => match opening.until {
            Some(until) => format!("{by} opened {id}{for_some} until {until} ({ends})"),
            None => format!("{by} opened {id}{for_some} until {ends}"),
        },
        Kind::Extended => format!("{by} extended {id} until {ends}"),
        Kind::Reminder => {
            format!("{id} of {owner} ends at {ends}; extend it if it is still needed")
        }
        Kind::Ramping => format!("{id} of {owner} goes {}", in_steps(opening)),
        Kind::Ended => format!("{id} of {owner} ended"),
        Kind::Closed => format!("{by} closed {id} of {owner}"),
        Kind::Overdue => {
            format!("{id} of {owner} is past its end and cannot be closed; look at the log")
        }
    };
    format!("{what} ({said}): {reason}")
}

fn in_steps(opening: &OpeningTold) -> String {
    match opening.restore {
        Restore::Snap => "back".to_owned(),
        Restore::Ramp(over) => format!("in steps, over {over}"),
    }
}

fn rfc3339(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms)
        .map_or_else(|_| format!("{at_ms} ms since 1970"), |at| at.to_string())
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::rules::change::{Change, Edit};
    use crate::rules::record::FIRST;
    use crate::rules::snapshot::{GatedQueue, Snapshot, Stored};

    fn told(edits: Vec<(Edit, Cause)>) -> Vec<Option<Notice>> {
        let queue = GatedQueue::named("orders".parse().unwrap());
        let mut now = Snapshot::of(vec![queue], Stored::default());
        let mut told = Vec::new();
        for (edit, cause) in edits {
            let change = Change {
                cause,
                keep: true,
                ..Change::new(edit, Actor::new("ana", "cli"), "INC-481", 1_000)
            };
            let next = now.with(&change).unwrap();
            told.push(Notice::of(&ChangeRecord::of(&change, &now, &next, FIRST)));
            now = next;
        }
        told
    }

    fn open() -> Edit {
        Edit::Open {
            values: vec![("queue.orders.skip".parse().unwrap(), json!(0.2))],
            when: vec![],
            ends_at_ms: 61_000,
            restore: Restore::Snap,
            until: None,
        }
    }

    #[test]
    fn changes_of_openings_are_told_and_others_are_not() {
        let set = Edit::Set("queue.orders.skip".parse().unwrap(), json!(0.1));
        let told = told(vec![
            (set, Cause::Operator),
            (open(), Cause::Operator),
            (Edit::Extend(OpeningId(2), 99_000), Cause::Operator),
            (Edit::Ramp(OpeningId(2), 1.0), Cause::Expiry),
            (Edit::Close(OpeningId(2)), Cause::Expiry),
            (open(), Cause::Operator),
            (Edit::Close(OpeningId(6)), Cause::Operator),
        ]);
        let kinds = told.iter().map(|one| one.as_ref().map(|one| one.kind));
        let (opened, closed) = (Some(Kind::Opened), Some(Kind::Closed));
        let (extended, ended) = (Some(Kind::Extended), Some(Kind::Ended));
        assert_eq!(
            kinds.collect::<Vec<_>>(),
            [None, opened, extended, None, ended, opened, closed]
        );
        let ids: BTreeSet<&str> = told.iter().flatten().map(|one| one.id.as_str()).collect();
        assert_eq!(ids.len(), 5, "each has an id of its own");
    }

    #[test]
    fn a_notice_says_all_that_its_reader_asks() {
        let notice = told(vec![(open(), Cause::Operator)]).remove(0).unwrap();
        let mut said = serde_json::to_value(&notice).unwrap();
        let id = said["id"].take();
        assert_eq!(id.as_str().unwrap().len(), 36);
        assert_eq!(
            said,
            json!({
                "id": null, "type": "opened", "at": "1970-01-01T00:00:01Z", "revision": 1,
                "text": "ana opened o1 until 1970-01-01T00:01:01Z (queue.orders.skip: 0.0 → 0.2): INC-481",
                "flags": [{"flag": "queue.orders.skip", "before": 0.0, "after": 0.2}],
                "opening": {
                    "id": "o1", "values": {"queue.orders.skip": 0.2}, "owner": "ana", "reason": "INC-481",
                    "opened_at": "1970-01-01T00:00:01Z", "ends_at": "1970-01-01T00:01:01Z", "restore": "snap"
                },
                "by": {"name": "ana", "via": "cli"}, "reason": "INC-481"
            })
        );
    }

    #[test]
    fn kinds_are_called_by_their_words() {
        for kind in Kind::ALL {
            assert_eq!(kind.word().parse::<Kind>().unwrap(), kind);
            assert_eq!(json!(kind), json!(kind.word()));
        }
        let refused = "opend".parse::<Kind>().unwrap_err().to_string();
        assert!(refused.contains("opened, extended"), "{refused}");
    }

    #[test]
    fn tries_are_spread() {
        let notice = told(vec![(open(), Cause::Operator)]).remove(0).unwrap();
        let draws: BTreeSet<u64> = (0..50).map(|try_| notice.jitter(try_).to_bits()).collect();
        assert_eq!(draws.len(), 50);
        assert!((0..50).all(|try_| (0.0..=1.0).contains(&notice.jitter(try_))));
    }
}
