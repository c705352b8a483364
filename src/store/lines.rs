//! The log in the database: every change record as it was written, and which flags and segments each is about.
//!
//! A record names the hash of the one before it, so that a chain can be followed from the head of the store to where the log
//! begins: [`Base`]. The index says nothing that the records do not say: it only spares reading all of them for the history of one
//! flag.

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::state::{Fault, sealed, unsealed};
use super::tables::{decoded, there};
use crate::rules::record::{self, ChangeRecord};

const CHANGES: TableDefinition<u64, &[u8]> = TableDefinition::new("changes");
/// By kind and name of what a change is about, and its revision.
const ABOUT: TableDefinition<(&str, &str, u64), ()> = TableDefinition::new("about");

/// What a history is asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject<'a> {
    Flag(&'a str),
    Segment(&'a str),
}

impl<'a> Subject<'a> {
    fn key(self) -> (&'static str, &'a str) {
        match self {
            Self::Flag(key) => ("flag", key),
            Self::Segment(name) => ("segment", name),
        }
    }

    /// Whether a record is about it.
    pub(super) fn is_in(self, record: &ChangeRecord) -> bool {
        match self {
            Self::Flag(key) => record.touched.iter().any(|it| it.flag.as_str() == key),
            Self::Segment(name) => record.segments.iter().any(|it| it.segment.as_str() == name),
        }
    }
}

/// Which records are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// About what; `None`: all.
    pub(super) about: Option<Subject<'a>>,
    /// The lowest revision.
    pub(super) from: u64,
    /// All are below this revision.
    pub(super) below: u64,
    pub(super) newest_first: bool,
    pub(super) limit: usize,
}

impl Wanted<'_> {
    /// Whether a record is one of them, but for the limit.
    pub(super) fn takes(&self, record: &ChangeRecord) -> bool {
        (self.from..self.below).contains(&record.revision)
            && self.about.is_none_or(|subject| subject.is_in(record))
    }
}

/// Where a log begins: what stood before its first record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Base {
    pub(super) revision: u64,
    /// The hash that the first record names.
    pub(super) hash: String,
}

impl Default for Base {
    fn default() -> Self {
        Self {
            revision: 0,
            hash: record::FIRST.to_owned(),
        }
    }
}

/// A change record, ready to be written.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) revision: u64,
    pub(super) bytes: Vec<u8>,
    prev: String,
    /// By kind and name.
    about: Vec<(&'static str, String)>,
}

impl Line {
    pub(super) fn of(record: &ChangeRecord) -> Result<Self, Fault> {
        let bytes = record
            .written()
            .map_err(|why| Fault::Unusable(why.to_string()))?;
        Ok(Self::about(record, bytes))
    }

    fn about(record: &ChangeRecord, bytes: Vec<u8>) -> Self {
        let flags = record.touched.iter();
        let flags = flags.map(|touched| Subject::Flag(touched.flag.as_str()));
        let segments = record.segments.iter();
        let segments = segments.map(|touched| Subject::Segment(touched.segment.as_str()));
        let about = flags.chain(segments).map(|subject| {
            let (kind, name) = subject.key();
            (kind, name.to_owned())
        });
        Self {
            revision: record.revision,
            bytes,
            prev: record.prev.clone(),
            about: about.collect(),
        }
    }

    pub(super) fn parsed(&self) -> Result<ChangeRecord, Fault> {
        decoded(&self.bytes)
    }

    /// What stands before the first of these lines; without any, what stands now.
    pub(super) fn base(lines: &[Self], now: (u64, &str)) -> Base {
        let (revision, hash) = lines.first().map_or(now, |first| {
            (first.revision.saturating_sub(1), first.prev.as_str())
        });
        Base {
            revision,
            hash: hash.to_owned(),
        }
    }
}

pub(super) fn write(txn: &WriteTransaction, lines: &[Line]) -> Result<(), Fault> {
    let (mut changes, mut about) = (txn.open_table(CHANGES)?, txn.open_table(ABOUT)?);
    for line in lines {
        let bytes = sealed("changes", &line.revision.to_le_bytes(), &line.bytes);
        changes.insert(line.revision, bytes.as_slice())?;
        for (kind, name) in &line.about {
            about.insert((*kind, name.as_str(), line.revision), ())?;
        }
    }
    Ok(())
}

/// Forgets changes above a revision: they were refused, though they may have reached the disk.
pub(super) fn forget_above(txn: &WriteTransaction, known: u64) -> Result<(), Fault> {
    let mut refused = false;
    txn.open_table(CHANGES)?
        .retain_in(known.saturating_add(1).., |_, _| {
            refused = true;
            false
        })?;
    let mut about = txn.open_table(ABOUT)?;
    if refused {
        about.retain(|(_, _, revision), ()| revision <= known)?;
    }
    Ok(())
}

/// The records that are wanted, each checked by its seal.
pub(super) fn read(txn: &ReadTransaction, wanted: &Wanted<'_>) -> Result<Vec<ChangeRecord>, Fault> {
    let range = wanted.from..wanted.below.max(wanted.from);
    let changes = txn.open_table(CHANGES)?;
    let Some(subject) = wanted.about else {
        let entries = either_way(changes.range(range)?, wanted);
        return entries
            .map(|entry| {
                let (key, bytes) = entry?;
                content(key.value(), bytes.value()).and_then(decoded)
            })
            .collect();
    };
    let (kind, name) = subject.key();
    let about = txn.open_table(ABOUT)?;
    let entries = about.range((kind, name, range.start)..(kind, name, range.end))?;
    either_way(entries, wanted)
        .map(|entry| {
            let (_, _, revision) = entry?.0.value();
            let bytes = changes.get(revision)?.ok_or_else(|| missing(revision))?;
            content(revision, bytes.value()).and_then(decoded)
        })
        .collect()
}

fn either_way<'a, I>(entries: I, wanted: &Wanted<'_>) -> Box<dyn Iterator<Item = I::Item> + 'a>
where
    I: DoubleEndedIterator + 'a,
{
    if wanted.newest_first {
        Box::new(entries.rev().take(wanted.limit))
    } else {
        Box::new(entries.take(wanted.limit))
    }
}

fn content(revision: u64, bytes: &[u8]) -> Result<&[u8], Fault> {
    Ok(unsealed("changes", &revision.to_le_bytes(), bytes)?.1)
}

fn missing(revision: u64) -> Fault {
    Fault::Damaged(format!("the record of change {revision} is missing"))
}

/// A record as it lies on disk, or why it cannot be used.
pub(super) type Raw = (u64, Result<Vec<u8>, String>);

/// Records as they lie there, oldest first, from a revision on.
pub(super) fn raw(txn: &ReadTransaction, from: u64, limit: usize) -> Result<Vec<Raw>, Fault> {
    let Some(changes) = there(txn.open_table(CHANGES))? else {
        return Ok(Vec::new());
    };
    let entries = changes.range(from..)?.take(limit);
    let entries = entries.map(|entry| {
        let (key, bytes) = entry?;
        let found = content(key.value(), bytes.value()).map(<[u8]>::to_vec);
        Ok((key.value(), found.map_err(|why| why.to_string())))
    });
    entries.collect()
}

/// The records that lead without a hole to this revision and hash, oldest first: what can be taken along of a damaged store.
pub(super) fn leading_to(
    txn: &ReadTransaction,
    revision: u64,
    hash: &str,
) -> Result<Vec<Line>, Fault> {
    let mut lines = Vec::new();
    let (mut revision, mut hash) = (revision, hash.to_owned());
    let Some(changes) = there(txn.open_table(CHANGES))? else {
        return Ok(lines);
    };
    for entry in changes.range(..=revision)?.rev() {
        let Ok((key, bytes)) = entry else { break };
        let Ok(found) = content(key.value(), bytes.value()) else {
            break;
        };
        let Ok(record) = decoded::<ChangeRecord>(found) else {
            break;
        };
        if (key.value(), record.revision) != (revision, revision) || record::hash(found) != hash {
            break;
        }
        (revision, hash) = (revision.saturating_sub(1), record.prev.clone());
        lines.push(Line::about(&record, found.to_vec()));
    }
    lines.reverse();
    Ok(lines)
}

/// Makes the index for a log that was written without one. Gives where the log begins; `None`: it is empty.
pub(super) fn index(txn: &WriteTransaction) -> Result<Option<Base>, Fault> {
    let changes = txn.open_table(CHANGES)?;
    let mut about = txn.open_table(ABOUT)?;
    let mut base = None;
    for entry in changes.iter()? {
        let (key, bytes) = entry?;
        let found = content(key.value(), bytes.value())?;
        let line = Line::about(&decoded(found)?, Vec::new());
        for (kind, name) in &line.about {
            about.insert((*kind, name.as_str(), line.revision), ())?;
        }
        base = base.or_else(|| Some(Line::base(&[line], (0, record::FIRST))));
    }
    Ok(base)
}

/// Writes over the record of a change, with a seal that is good; `None` takes it out.
#[cfg(test)]
pub(super) fn tamper(path: &std::path::Path, revision: u64, bytes: Option<&[u8]>) {
    let database = redb::Database::open(path).unwrap();
    let txn = database.begin_write().unwrap();
    {
        let mut changes = txn.open_table(CHANGES).unwrap();
        match bytes {
            Some(bytes) => {
                let bytes = sealed("changes", &revision.to_le_bytes(), bytes);
                changes.insert(revision, bytes.as_slice()).unwrap();
            }
            None => drop(changes.remove(revision).unwrap()),
        }
    }
    txn.commit().unwrap();
}
