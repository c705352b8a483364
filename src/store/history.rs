//! Where changes go: the disk, or for demo and tests the memory.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;

use super::books::{self, Books, Slot};
use super::journal::Journal;
use super::kept::Kept;
use super::state::{Fault, State};
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

/// What a store has on disk.
pub(super) struct Disk {
    pub(super) journal: Journal,
    pub(super) kept: Kept,
    /// Held as long as the store lives: a second daemon is refused.
    pub(super) _lock: File,
}

impl History {
    pub(super) fn in_memory() -> Self {
        Self::InMemory {
            hash: record::FIRST.to_owned(),
            records: VecDeque::new(),
            books: Books::new(),
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
            Self::OnDisk(disk) => disk.journal.append(next, record),
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
            Self::OnDisk(disk) if disk.journal.owes() => disk.journal.write_owed(live),
            _ => Ok(()),
        }
    }

    /// Keeps what is in force as a file of its own. It is our second leg: when it cannot be written, the first one still stands.
    pub(super) fn keep(&self, live: &Snapshot) {
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
        match self {
            Self::InMemory { books, .. } => books::put(books, slot, content),
            Self::OnDisk(disk) => disk.journal.write_book(slot, content)?,
        }
        Ok(())
    }

    /// Records below a revision, newest first.
    pub(super) fn page(
        &mut self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>, Fault> {
        match self {
            Self::InMemory { records, .. } => Ok(records
                .iter()
                .filter(|record| before.is_none_or(|before| record.revision < before))
                .take(limit)
                .cloned()
                .collect()),
            Self::OnDisk(disk) => disk.journal.page(before, limit),
        }
    }
}
