//! Where changes go: the disk, or for demo and tests the memory.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;

use super::books::{self, Books, Record, Slot};
use super::journal::Journal;
use super::kept::Kept;
use super::lines::{Base, Raw, Wanted};
use super::state::{Fault, State};
use crate::metrics::Metrics;
use crate::rules::record::{self, ChangeRecord};
use crate::rules::snapshot::Snapshot;

/// How many records a history in memory remembers.
const REMEMBERED: usize = 1_000;

/// The changes that were made.
pub(super) enum History {
    /// The last thousand.
    InMemory {
        hash: String,
        records: VecDeque<ChangeRecord>,
        books: Books,
    },
    /// All of them.
    OnDisk(Box<Disk>),
}

/// Records as they were written, with where the log begins and the head that it leads to.
pub(super) struct RawPage {
    pub(super) lines: Vec<Raw>,
    pub(super) base: Base,
    pub(super) head: (u64, String),
}

/// What a store has on disk.
pub(super) struct Disk {
    pub(super) journal: Journal,
    pub(super) kept: Kept,
    /// Who is told whether the disk takes what is written.
    pub(super) told: Option<Arc<Metrics>>,
    /// Held as long as the store lives: a second daemon is refused.
    pub(super) _lock: File,
}

impl Disk {
    fn told<T>(&self, written: Result<T, Fault>) -> Result<T, Fault> {
        if let Some(metrics) = &self.told {
            metrics.store_written(written.is_ok());
        }
        written
    }
}

impl History {
    pub(super) fn in_memory() -> Self {
        Self::InMemory {
            hash: record::FIRST.to_owned(),
            records: VecDeque::new(),
            books: Books::new(),
        }
    }

    /// From now on these numbers say whether the disk takes what is written.
    pub(super) fn tells(&mut self, metrics: &Arc<Metrics>) {
        if let Self::OnDisk(disk) = self {
            disk.told = Some(Arc::clone(metrics));
        }
    }

    /// The hash of the newest record.
    pub(super) fn hash(&self) -> &str {
        match self {
            Self::InMemory { hash, .. } => hash,
            Self::OnDisk(disk) => disk.journal.hash(),
        }
    }

    /// Writes a change down, and whatever is owed.
    pub(super) fn append(
        &mut self,
        next: &Arc<Snapshot>,
        record: &ChangeRecord,
    ) -> Result<(), Fault> {
        match self {
            Self::InMemory { .. } => self.owe(record),
            Self::OnDisk(disk) => {
                let written = disk.journal.append(next, record);
                disk.told(written)
            }
        }
    }

    /// Remembers to write a change down that takes effect before.
    pub(super) fn owe(&mut self, record: &ChangeRecord) -> Result<(), Fault> {
        match self {
            Self::InMemory { hash, records, .. } => {
                let written = record
                    .written()
                    .map_err(|why| Fault::Unusable(why.to_string()))?;
                *hash = record::hash(&written);
                records.push_front(record.clone());
                records.truncate(REMEMBERED);
                Ok(())
            }
            Self::OnDisk(disk) => disk.journal.owe(record),
        }
    }

    /// Whether changes are in force that are not written down.
    pub(super) fn owes(&self) -> bool {
        match self {
            Self::InMemory { .. } => false,
            Self::OnDisk(disk) => disk.journal.owes(),
        }
    }

    /// Writes down what is owed.
    pub(super) fn write_owed(&mut self, live: &Arc<Snapshot>) -> Result<(), Fault> {
        match self {
            Self::OnDisk(disk) if disk.journal.owes() => {
                let written = disk.journal.write_owed(live);
                disk.told(written)
            }
            _ => Ok(()),
        }
    }

    /// Keeps what is in force as a file of its own, now or soon: see [`History::keep_due`]. It is our second leg: when it cannot
    /// be written, the first one still stands.
    pub(super) fn keep(&mut self, live: &Snapshot, now_ms: i64) {
        if let Self::OnDisk(disk) = self
            && disk.kept.changed(now_ms)
        {
            self.keep_now(live);
        }
    }

    /// Keeps what changed since a file was written, when it is time to; `None`: whether or not it is. Whether something
    /// is left to be kept.
    pub(super) fn keep_due(&mut self, live: &Snapshot, now_ms: Option<i64>) -> bool {
        if let Self::OnDisk(disk) = self
            && !disk.journal.owes()
            && now_ms.map_or(disk.kept.owes(), |now_ms| disk.kept.is_due(now_ms))
        {
            self.keep_now(live);
        }
        matches!(self, Self::OnDisk(disk) if disk.kept.owes())
    }

    /// Keeps what is in force, and on disk, as a file of its own.
    pub(super) fn keep_now(&mut self, live: &Snapshot) {
        if let Self::OnDisk(disk) = self
            && let Err(why) = disk.kept.keep(&State::of(live, disk.journal.hash()))
        {
            tracing::warn!(%why, revision = live.revision(), "the snapshot beside the store could not be written");
        }
    }

    /// What is kept beside the flags.
    pub(super) fn books(&self) -> &Books {
        match self {
            Self::InMemory { books, .. } => books,
            Self::OnDisk(disk) => disk.journal.books(),
        }
    }

    /// Writes a record of a book, or takes it away; on an error it stays as it was.
    pub(super) fn write_book(&mut self, slot: Slot, content: Option<Vec<u8>>) -> Result<(), Fault> {
        self.write_books(vec![(slot, content)])
    }

    /// Writes records of books, or takes them away, all or none.
    pub(super) fn write_books(&mut self, records: Vec<Record>) -> Result<(), Fault> {
        match self {
            Self::InMemory { books, .. } => books::put(books, records),
            Self::OnDisk(disk) => {
                let written = disk.journal.write_books(records);
                disk.told(written)?;
            }
        }
        Ok(())
    }

    /// Records as they were written, oldest first, from a revision on.
    pub(super) fn raw(&mut self, from: u64, limit: usize) -> Result<RawPage, Fault> {
        match self {
            Self::InMemory { hash, records, .. } => Ok(raw_of(records, hash, from, limit)),
            Self::OnDisk(disk) => disk.journal.raw(from, limit),
        }
    }

    /// The records that are wanted.
    pub(super) fn records(&mut self, wanted: &Wanted<'_>) -> Result<Vec<ChangeRecord>, Fault> {
        match self {
            Self::InMemory { records, .. } => {
                let taken = records.iter().filter(|record| wanted.takes(record));
                Ok(if wanted.newest_first {
                    taken.take(wanted.limit).cloned().collect()
                } else {
                    taken.rev().take(wanted.limit).cloned().collect()
                })
            }
            Self::OnDisk(disk) => disk.journal.records(wanted),
        }
    }
}

fn raw_of(records: &VecDeque<ChangeRecord>, hash: &str, from: u64, limit: usize) -> RawPage {
    let oldest = records.back();
    let base = oldest.map(|oldest| Base {
        revision: oldest.revision.saturating_sub(1),
        hash: oldest.prev.clone(),
    });
    let written = |record: &ChangeRecord| {
        let bytes = record.written().map_err(|why| why.to_string());
        (record.revision, bytes)
    };
    let wanted = records.iter().rev();
    let wanted = wanted.filter(|record| record.revision >= from).take(limit);
    RawPage {
        lines: wanted.map(written).collect(),
        base: base.unwrap_or_default(),
        head: (
            records.front().map_or(0, |newest| newest.revision),
            hash.to_owned(),
        ),
    }
}
