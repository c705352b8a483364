//! What the worker of a queue must know again after a restart: its lanes, and its blocked keys.
//!
//! These are no flags: they have no revision, stand in no snapshot and are no change on record. They lie in the same database, each
//! record with its seal. Each function here blocks until the disk has answered.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::history::History;
use super::state::Fault;
use super::{Store, tables};
use crate::rules::lane::Lane;
use crate::rules::lots::KeyHash;
use crate::rules::names::{QueueName, lane_queue};

/// The most blocked keys that are kept of a queue.
pub const MOST_BLOCKED: usize = 10_000;

const OWN_LANE: &str = "lane";
const SHARED_LANE: &str = "lane.shared";
const BLOCKED: &str = "blocked";
pub(super) const DOUBT: &str = "doubt";

/// A lane that may hold messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneEntry {
    /// The lane.
    pub lane: Lane,
    /// Its key as text; empty for the shared lane.
    pub key: String,
    /// Since when there is this lane, milliseconds since 1970.
    pub since_ms: i64,
}

/// The lanes that a book knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptLanes {
    /// Those whose record can be read.
    pub whole: Vec<LaneEntry>,
    /// Those whose record is damaged, with what to do.
    pub damaged: Vec<(Lane, BookError)>,
}

/// A key whose messages wait, because an earlier one of it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedEntry {
    /// The hash of the key.
    pub hash: KeyHash,
    /// The key as text.
    pub key: String,
    /// What failed, in a sentence.
    pub cause: String,
    /// Since when it is blocked, milliseconds since 1970.
    pub since_ms: i64,
}

/// Why a book cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BookError {
    /// A record is not what was written.
    #[error(
        "what the store knows of {which} is damaged ({why}); its messages are where they were: look for them at the broker, and the record is mended when it is written or forgotten"
    )]
    Damaged {
        /// the lane's queue, or the blocked key
        which: String,
        /// what was found
        why: String,
    },
    /// There are too many blocked keys.
    #[error(
        "{MOST_BLOCKED} keys of `{0}` are blocked, no more can be kept; mend what they wait for and release them (`sluicegate queue release`), or use `order = \"none\"`"
    )]
    Full(QueueName),
    /// The disk refuses.
    #[error(
        "the store could not be written ({0}), so nothing was kept; look at the disk of data_dir"
    )]
    Unwritten(String),
}

/// Where a record lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) queue: String,
    pub(super) kind: String,
    pub(super) hash: u64,
}

impl Slot {
    /// The place as the seal of its record covers it.
    pub(super) fn sealed_key(&self) -> Vec<u8> {
        format!("{}\n{}\n{}", self.queue, self.kind, self.hash).into_bytes()
    }
}

/// The content of a record as it was written, or why it cannot be used.
pub(super) type Written = Result<Vec<u8>, String>;

/// A record that is to be written, or taken away.
pub(super) type Record = (Slot, Option<Vec<u8>>);

/// All records of all books, as they are on disk.
pub(super) type Books = BTreeMap<Slot, Written>;

/// The content of a record.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    key: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    cause: String,
    since_ms: i64,
}

/// The lanes of one queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LaneBook(Book);

/// The blocked keys of one queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BlockBook(Book);

impl Store {
    /// The book of a queue's lanes.
    #[must_use]
    pub fn lanes(&self, queue: &QueueName) -> LaneBook {
        LaneBook(self.book(queue))
    }

    /// The book of a queue's blocked keys.
    #[must_use]
    pub fn blocked(&self, queue: &QueueName) -> BlockBook {
        BlockBook(self.book(queue))
    }

    fn book(&self, queue: &QueueName) -> Book {
        Book {
            history: Arc::clone(&self.history),
            queue: queue.clone(),
        }
    }
}

impl LaneBook {
    /// Every lane that was kept and not forgotten. Of one whose record is damaged no more is known than which lane it is.
    #[must_use]
    pub fn all(&self) -> KeptLanes {
        let own = self.0.read(OWN_LANE).into_iter();
        let own = own.map(|(hash, read)| (Lane::Own(KeyHash(hash)), read));
        let shared = self.0.read(SHARED_LANE).into_iter();
        let shared = shared.map(|(_, read)| (Lane::Shared, read));
        let mut kept = KeptLanes::default();
        for (lane, read) in own.chain(shared) {
            match read {
                Ok(note) => kept.whole.push(LaneEntry {
                    lane,
                    key: note.key,
                    since_ms: note.since_ms,
                }),
                Err(why) => kept.damaged.push((lane, why)),
            }
        }
        kept
    }

    /// Keeps a lane; it is on disk when this returns. One that is kept already is written over.
    ///
    /// # Errors
    /// [`BookError::Unwritten`].
    pub fn keep(&self, entry: &LaneEntry) -> Result<(), BookError> {
        let note = Note {
            key: entry.key.clone(),
            cause: String::new(),
            since_ms: entry.since_ms,
        };
        self.0.keep(place_of(entry.lane), &note, usize::MAX)
    }

    /// Forgets a lane, also one that was never kept.
    ///
    /// # Errors
    /// [`BookError::Unwritten`]; then it may still be kept.
    pub fn forget(&self, lane: Lane) -> Result<(), BookError> {
        self.0.forget(place_of(lane))
    }
}

#[cfg(test)]
impl LaneBook {
    /// Makes the record of a lane unreadable.
    pub(crate) fn damage(&self, lane: Lane) {
        let (kind, hash) = place_of(lane);
        let slot = self.0.slot(kind, hash);
        let garbage = Some(b"garbage".to_vec());
        self.0.one_at_a_time().write_book(slot, garbage).unwrap();
    }
}

fn place_of(lane: Lane) -> (&'static str, u64) {
    match lane {
        Lane::Own(key) => (OWN_LANE, key.0),
        Lane::Shared => (SHARED_LANE, 0),
    }
}

impl BlockBook {
    /// Every key that is blocked.
    ///
    /// # Errors
    /// [`BookError::Damaged`].
    pub fn all(&self) -> Result<Vec<BlockedEntry>, BookError> {
        let entry = |(hash, note): (u64, Note)| BlockedEntry {
            hash: KeyHash(hash),
            key: note.key,
            cause: note.cause,
            since_ms: note.since_ms,
        };
        let read = self.0.read(BLOCKED).into_iter();
        read.map(|(hash, read)| Ok(entry((hash, read?)))).collect()
    }

    /// Keeps a blocked key; it is on disk when this returns. One that is kept already is written over.
    ///
    /// # Errors
    /// [`BookError::Full`] when that would be more than [`MOST_BLOCKED`], and [`BookError::Unwritten`].
    pub fn keep(&self, entry: &BlockedEntry) -> Result<(), BookError> {
        let note = Note {
            key: entry.key.clone(),
            cause: entry.cause.clone(),
            since_ms: entry.since_ms,
        };
        self.0.keep((BLOCKED, entry.hash.0), &note, MOST_BLOCKED)
    }

    /// Forgets a blocked key, also one that was never kept.
    ///
    /// # Errors
    /// [`BookError::Unwritten`]; then it may still be kept.
    pub fn forget(&self, hash: KeyHash) -> Result<(), BookError> {
        self.0.forget((BLOCKED, hash.0))
    }
}

/// The records of one queue.
#[derive(Clone)]
struct Book {
    history: Arc<Mutex<History>>,
    queue: QueueName,
}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Book of {}", self.queue)
    }
}

impl Book {
    fn read(&self, kind: &str) -> Vec<(u64, Result<Note, BookError>)> {
        let history = self.one_at_a_time();
        let of_this = self.slot(kind, 0)..=self.slot(kind, u64::MAX);
        let read = history.books().range(of_this).map(|(slot, written)| {
            let damaged = |why: String| BookError::Damaged {
                which: named(slot),
                why,
            };
            let content = written.as_ref().map_err(|why| damaged(why.clone()));
            let note = content.and_then(|content| {
                tables::decoded(content).map_err(|why| damaged(why.to_string()))
            });
            (slot.hash, note)
        });
        read.collect()
    }

    fn keep(&self, (kind, hash): (&str, u64), note: &Note, most: usize) -> Result<(), BookError> {
        let mut history = self.one_at_a_time();
        let slot = self.slot(kind, hash);
        let content = tables::encoded(note).map_err(unwritten)?;
        let books = history.books();
        let of_this = self.slot(kind, 0)..=self.slot(kind, u64::MAX);
        if !books.contains_key(&slot) && books.range(of_this).count() >= most {
            return Err(BookError::Full(self.queue.clone()));
        }
        // Written also when it seems to be there: after a write that failed nobody knows what is on disk.
        history.write_book(slot, Some(content)).map_err(unwritten)
    }

    fn forget(&self, (kind, hash): (&str, u64)) -> Result<(), BookError> {
        let mut history = self.one_at_a_time();
        let slot = self.slot(kind, hash);
        history.write_book(slot, None).map_err(unwritten)
    }

    fn slot(&self, kind: &str, hash: u64) -> Slot {
        Slot {
            queue: self.queue.to_string(),
            kind: kind.to_owned(),
            hash,
        }
    }

    fn one_at_a_time(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn unwritten(why: Fault) -> BookError {
    BookError::Unwritten(why.to_string())
}

/// A record as people would look for what it stands for.
pub(super) fn named(slot: &Slot) -> String {
    let key = KeyHash(slot.hash);
    match slot.kind.as_str() {
        OWN_LANE => format!("the lane {}", lane_queue(&slot.queue, Lane::Own(key))),
        SHARED_LANE => format!("the lane {}", lane_queue(&slot.queue, Lane::Shared)),
        DOUBT => format!("a job in doubt of `{}`", slot.queue),
        kind => format!("the {kind} key {:016x} of `{}`", key.0, slot.queue),
    }
}

/// Writes records where they belong, or takes them away.
pub(super) fn put(books: &mut Books, records: Vec<Record>) {
    for (slot, content) in records {
        match content {
            Some(content) => books.insert(slot, Ok(content)),
            None => books.remove(&slot),
        };
    }
}
