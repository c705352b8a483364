//! A change: one edit that somebody proposes, and the reasons for which it is refused.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use thiserror::Error;

use super::flag::{BadFlag, FlagDocument};
use super::names::FlagKey;
use super::opening::{OpeningId, Restore};

/// Who turns a knob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Their name.
    pub name: String,
    /// How they came in: `api`, `cli`, `guard`, `file`.
    pub via: String,
}

/// What caused a change, as in the label `cause` of `flag_changes_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A person or their program.
    Operator,
    /// An opening that came to its end.
    Expiry,
}

impl Cause {
    /// All causes.
    pub const ALL: [Cause; 2] = [Cause::Operator, Cause::Expiry];

    /// The word of the label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Expiry => "expiry",
        }
    }
}

/// One edit.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// A flag that did not exist.
    Create(Box<FlagDocument>),
    /// The whole document of a flag that exists; its key and type stay.
    Replace(Box<FlagDocument>),
    /// Another value for everybody.
    Set(FlagKey, Json),
    /// A temporary value over flags, until `ends_at_ms`.
    Open {
        /// what is laid over which flag
        values: Vec<(FlagKey, Json)>,
        /// when it ends, milliseconds since 1970
        ends_at_ms: i64,
        /// how it ends
        restore: Restore,
    },
    /// The end of an opening, before or at its time.
    Close(OpeningId),
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
    /// The revision of the flag that the caller saw; `None` where none is asked for (openings, the guard).
    pub seen: Option<u64>,
    /// The size that the caller confirms, for a big move.
    pub confirm: Option<u64>,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
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
        "this moves {size} percent of `{key}` at once; if that is meant, repeat it with \"confirm\": {size} (in a terminal: --yes)"
    )]
    ConfirmSize {
        /// the flag
        key: FlagKey,
        /// what must be confirmed, in percent of the queue's messages
        size: u64,
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
