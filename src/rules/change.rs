//! A change: one edit that somebody proposes, and the reasons for which it is refused.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use thiserror::Error;

use super::clause::ClauseDocument;
use super::doubt::Resolution;
use super::flag::{BadFlag, FlagDocument};
use super::names::FlagKey;
use super::opening::{LONGEST, OpeningId, Restore};
use super::relief::health::UntilWell;
use super::segment::{BadSegment, SegmentDocument, SegmentName};
use super::units::Span;

/// Who turns a knob.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Their name.
    pub name: String,
    /// How they came in: `api`, `cli`, `guard`, `file`.
    pub via: String,
    /// How we know that it is they: `token`, `proxy`; empty: nothing was asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub auth: String,
    /// Where the request came from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
}

impl Actor {
    /// Somebody who was not asked who they are.
    #[must_use]
    pub fn new(name: &str, via: &str) -> Self {
        Self {
            name: name.to_owned(),
            via: via.to_owned(),
            ..Self::default()
        }
    }
}

/// What caused a change, as in the label `cause` of `flag_changes_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A person or their program.
    Operator,
    /// An opening that came to its end.
    Expiry,
    /// How a queue does: an opening that ends because it is well again, or lasts longer because its end would hurt.
    Health,
    /// The file of flags.
    File,
}

impl Cause {
    /// All causes.
    pub const ALL: [Cause; 4] = [Cause::Operator, Cause::Expiry, Cause::Health, Cause::File];

    /// The word of the label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Expiry => "expiry",
            Self::Health => "health",
            Self::File => "file",
        }
    }

    /// Whether it is the daemon's own work on openings: what may be refused was refused when they came.
    #[must_use]
    pub const fn is_the_guards(self) -> bool {
        matches!(self, Self::Expiry | Self::Health)
    }
}

/// One edit.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// A flag that did not exist.
    Create(Box<FlagDocument>),
    /// The whole document of a flag that exists; its key, kind and type stay.
    Replace(Box<FlagDocument>),
    /// Another value for everybody.
    Set(FlagKey, Json),
    /// Another value for everybody, to which the flag goes in steps from what it says now, over this time.
    SetOver(FlagKey, Json, Span),
    /// The end of a flag; its key is never given another meaning.
    Delete(FlagKey),
    /// A flag back to a former definition; `None`: it did not exist.
    Undo(FlagKey, Option<Box<FlagDocument>>),
    /// A segment that did not exist, or another definition of one.
    PutSegment(Box<SegmentDocument>),
    /// The end of a segment that no flag names.
    DeleteSegment(SegmentName),
    /// Members come to a segment, and leave it.
    Members {
        /// the segment
        segment: SegmentName,
        /// who comes
        add: Vec<String>,
        /// who leaves
        remove: Vec<String>,
    },
    /// A temporary value over flags, until `ends_at_ms`.
    Open {
        /// what is laid over which flag
        values: Vec<(FlagKey, Json)>,
        /// for whom; empty: for everybody
        when: Vec<ClauseDocument>,
        /// when it ends, milliseconds since 1970
        ends_at_ms: i64,
        /// how it ends
        restore: Restore,
        /// that it ends sooner, once its queue is well
        until: Option<UntilWell>,
    },
    /// Another end of an opening, which holds whole again if it went back already.
    Extend(OpeningId, i64),
    /// A step of a ramp: so much of the opening still holds. By its queue's health it begins before the opening's end, which is
    /// then now.
    Ramp(OpeningId, f64),
    /// The end of an opening, before or at its time.
    Close(OpeningId),
    /// What somebody says came of jobs in doubt; no flag is touched.
    Resolve(Resolution),
    /// Several edits of flags and segments, all or none.
    Several(Vec<Seen>),
}

impl Edit {
    /// The key of the one flag that it edits, as it was written.
    #[must_use]
    pub fn flag(&self) -> Option<&str> {
        match self {
            Self::Create(document) | Self::Replace(document) => Some(&document.key),
            Self::Set(key, _) | Self::Delete(key) | Self::Undo(key, _) => Some(key.as_str()),
            _ => None,
        }
    }

    /// The name of the one segment that it edits, as it was written.
    #[must_use]
    pub fn segment(&self) -> Option<&str> {
        match self {
            Self::PutSegment(document) => Some(&document.name),
            Self::DeleteSegment(name) | Self::Members { segment: name, .. } => Some(name.as_str()),
            _ => None,
        }
    }
}

/// One of several edits, with the revision that its author saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The edit.
    pub edit: Edit,
    /// See [`Change::seen`].
    pub seen: Option<u64>,
}

/// An edit with all that must be known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The edit.
    pub edit: Edit,
    /// Who.
    pub by: Actor,
    /// Why; never empty.
    pub reason: String,
    /// What caused it.
    pub cause: Cause,
    /// The revision of the flag or segment that the caller saw; `None` where none is asked for (openings, the guard). Of
    /// [`Edit::PutSegment`] 0 says that there was none.
    pub seen: Option<u64>,
    /// The size that the caller confirms, for a big move.
    pub confirm: Option<u64>,
    /// Whether a valve that sheds or stops may stay so without an end.
    pub keep: bool,
    /// How long an opening may last from now.
    pub longest: Span,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
}

impl Change {
    /// An operator's edit, with nothing seen, confirmed or kept.
    #[must_use]
    pub fn new(edit: Edit, by: Actor, reason: &str, at_ms: i64) -> Self {
        Self {
            edit,
            by,
            reason: reason.to_owned(),
            cause: Cause::Operator,
            seen: None,
            confirm: None,
            keep: false,
            longest: LONGEST,
            at_ms,
        }
    }
}

/// Why a change was refused; nothing was changed.
#[derive(Debug, Error)]
pub enum Refused {
    /// Somebody was faster.
    #[error(
        "someone changed `{key}` before you: you saw revision {seen}, it stands at {now}; look at what stands now and repeat"
    )]
    Stale {
        /// the flag
        key: FlagKey,
        /// what the caller saw
        seen: u64,
        /// what stands
        now: u64,
    },
    /// No such flag.
    #[error("there is no flag `{0}`; `sluicegate flag list` shows them all")]
    NoFlag(String),
    /// No such segment.
    #[error("there is no segment `{0}`; `sluicegate segment list` shows them all")]
    NoSegment(String),
    /// Somebody was faster, at a segment.
    #[error(
        "someone changed the segment `{name}` before you: you saw revision {seen}, it stands at {now}; look at what stands now and repeat"
    )]
    StaleSegment {
        /// the segment
        name: SegmentName,
        /// what the caller saw
        seen: u64,
        /// what stands
        now: u64,
    },
    /// The name of a new segment is taken.
    #[error("the segment `{0}` exists already; replace it (If-Match), or choose another name")]
    SegmentExists(SegmentName),
    /// The segment is bad.
    #[error(transparent)]
    BadSegment(#[from] BadSegment),
    /// The key belonged to a flag that was deleted.
    #[error(
        "`{key}` was the key of a flag until revision {revision}; a key is never given another meaning: choose another, or undo the deletion"
    )]
    Tombstone {
        /// the key
        key: FlagKey,
        /// when it was deleted
        revision: u64,
    },
    /// A valve that sheds or stops has to have an end.
    #[error(
        "`{0}` would shed or stop without an end; open it for a time instead (sluicegate flag open … --for 30m), or say \"keep\": true if it is to stay"
    )]
    NeedsAnEnd(FlagKey),
    /// The file of flags alone edits it.
    #[error(
        "`{0}` is managed by the file of flags; edit it there and `sluicegate flag apply` it, or open it for a time"
    )]
    ManagedByFile(FlagKey),
    /// No such opening.
    #[error(
        "there is no opening {0}; it may have ended, `sluicegate flag list` shows those in force"
    )]
    NoOpening(OpeningId),
    /// The key is taken.
    #[error("`{0}` exists already; set or open it, or choose another key")]
    Exists(FlagKey),
    /// The value or document is bad.
    #[error(transparent)]
    Bad(#[from] BadFlag),
    /// Something that must be said was not.
    #[error("{0}")]
    Incomplete(&'static str),
    /// A big move that was not confirmed.
    #[error(
        "this moves {size} {unit} of `{key}` at once; if that is meant, repeat it with \"confirm\": {size} (in a terminal: --yes)"
    )]
    ConfirmSize {
        /// the flag
        key: FlagKey,
        /// what must be confirmed
        size: u64,
        /// what is counted: `percent` of the queue's messages, or `accounts`
        unit: &'static str,
    },
    /// A limit of the house.
    #[error("{0}")]
    Limit(String),
    /// The store could not be written.
    #[error(
        "the store could not be written ({0}), so nothing was changed; free space or mend the disk and repeat"
    )]
    Store(String),
}
