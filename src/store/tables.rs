//! The tables of the database: the head, flags, openings and books. Segments lie in [`super::audiences`], the log in
//! [`super::lines`].

use std::sync::Arc;

use redb::{
    AccessGuard, ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::audiences;
use super::books::{Books, Slot};
use super::lines::{self, Base};
use super::state::{Fault, SCHEMA, State, kept_flags, readable, sealed, unsealed};
use crate::rules::flag::FlagDocument;
use crate::rules::opening::Opening;
use crate::rules::snapshot::{Snapshot, Stored};

const FLAGS: TableDefinition<&str, &[u8]> = TableDefinition::new("flags");
const OPENINGS: TableDefinition<u64, &[u8]> = TableDefinition::new("openings");
/// By queue, kind and hash; an older store has none of it.
const BOOKS: TableDefinition<(&str, &str, u64), &[u8]> = TableDefinition::new("books");
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const HEAD: &str = "head";

/// What the database says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Head {
    schema: u32,
    pub(super) revision: u64,
    /// The hash of the newest change record.
    pub(super) hash: String,
    /// The seals of all flags, openings, segments, members and tombstones, by exclusive or.
    pub(super) seals: u64,
    /// Where the log begins.
    #[serde(default)]
    pub(super) base: Base,
}

impl Head {
    pub(super) fn new(revision: u64, hash: &str, seals: u64, base: Base) -> Self {
        Self {
            schema: SCHEMA,
            revision,
            hash: hash.to_owned(),
            seals,
            base,
        }
    }

    /// Whether an earlier version wrote it.
    pub(super) fn is_old(&self) -> bool {
        self.schema < SCHEMA
    }
}

/// The head, of this version or an earlier one.
pub(super) fn read_head(txn: &ReadTransaction) -> Result<Head, Fault> {
    let meta = txn.open_table(META)?;
    let head = meta
        .get(HEAD)?
        .ok_or_else(|| Fault::Damaged("its head is missing".to_owned()))?;
    let (_, head) = unsealed("meta", HEAD.as_bytes(), head.value())?;
    readable(decoded::<Schema>(head)?.schema)?;
    decoded(head)
}

/// The state, checked record by record and as a whole, with its head.
pub(super) fn read(txn: &ReadTransaction) -> Result<(State, Head), Fault> {
    let head = read_head(txn)?;
    let (mut flags, mut openings, mut seals) = (Vec::new(), Vec::new(), 0);
    for entry in txn.open_table(FLAGS)?.iter()? {
        let (key, bytes) = entry?;
        let (seal, content) = unsealed("flags", key.value().as_bytes(), bytes.value())?;
        flags.push(decoded::<FlagDocument>(content)?);
        seals ^= seal;
    }
    for entry in txn.open_table(OPENINGS)?.iter()? {
        let (key, bytes) = entry?;
        let (seal, content) = unsealed("openings", &key.value().to_le_bytes(), bytes.value())?;
        openings.push(decoded::<Opening>(content)?);
        seals ^= seal;
    }
    let (segments, of_segments) = audiences::read_segments(txn)?;
    let (tombstones, of_tombstones) = audiences::read_tombstones(txn)?;
    seals ^= of_segments ^ of_tombstones;
    if seals != head.seals {
        return Err(Fault::Damaged(
            "records are missing, or are older than the rest".to_owned(),
        ));
    }
    let state = State {
        revision: head.revision,
        head: head.hash.clone(),
        flags,
        openings,
        segments,
        tombstones,
    };
    Ok((state, head))
}

/// Takes over the store of an earlier version: its log gets an index, and its head says where the log begins.
pub(super) fn take_over(txn: &WriteTransaction, head: &Head) -> Result<Head, Fault> {
    let base = lines::index(txn)?.unwrap_or_else(|| Base {
        revision: head.revision,
        hash: head.hash.clone(),
    });
    let head = Head::new(head.revision, &head.hash, head.seals, base);
    write_head(txn, &head)?;
    Ok(head)
}

/// Writes all that stands, and forgets whatever lies in the tables, also changes above revision `known`: they were refused,
/// though they may have reached the disk. Gives the sum of the seals.
pub(super) fn write_whole(
    txn: &WriteTransaction,
    known: u64,
    live: &Snapshot,
) -> Result<u64, Fault> {
    txn.open_table(FLAGS)?.retain(|_, _| false)?;
    txn.open_table(OPENINGS)?.retain(|_, _| false)?;
    audiences::clear(txn)?;
    lines::forget_above(txn, known)?;
    let nothing = Snapshot::of(Vec::new(), Stored::default());
    write_changed(txn, &nothing, live)
}

/// Writes what differs. Gives by what the sum of the seals changes.
pub(super) fn write_changed(
    txn: &WriteTransaction,
    old: &Snapshot,
    live: &Snapshot,
) -> Result<u64, Fault> {
    let flags = write_flags(txn, old, live)? ^ write_openings(txn, old, live)?;
    Ok(flags ^ audiences::write_changed(txn, old, live)?)
}

fn write_flags(txn: &WriteTransaction, old: &Snapshot, live: &Snapshot) -> Result<u64, Fault> {
    let mut table = txn.open_table(FLAGS)?;
    let mut seals = 0;
    if live.shares_flags(old) {
        return Ok(seals);
    }
    for flag in kept_flags(live) {
        let key = flag.key.as_str();
        if !old.flag(key).is_some_and(|old| Arc::ptr_eq(old, flag)) {
            let bytes = sealed("flags", key.as_bytes(), &encoded(&flag.document())?);
            seals ^= seal_of(&bytes);
            seals ^= seal_of_old(table.insert(key, bytes.as_slice())?);
        }
    }
    for gone in kept_flags(old).filter(|flag| live.flag(flag.key.as_str()).is_none()) {
        seals ^= seal_of_old(table.remove(gone.key.as_str())?);
    }
    Ok(seals)
}

fn write_openings(txn: &WriteTransaction, old: &Snapshot, live: &Snapshot) -> Result<u64, Fault> {
    let mut table = txn.open_table(OPENINGS)?;
    let mut seals = 0;
    for opening in live.openings() {
        let id = opening.id;
        if !old.opening(id).is_some_and(|old| Arc::ptr_eq(old, opening)) {
            let content = encoded(opening.as_ref())?;
            let bytes = sealed("openings", &id.0.to_le_bytes(), &content);
            seals ^= seal_of(&bytes);
            seals ^= seal_of_old(table.insert(id.0, bytes.as_slice())?);
        }
    }
    for gone in old.openings().filter(|it| live.opening(it.id).is_none()) {
        seals ^= seal_of_old(table.remove(gone.id.0)?);
    }
    Ok(seals)
}

pub(super) fn write_head(txn: &WriteTransaction, head: &Head) -> Result<(), Fault> {
    let bytes = sealed("meta", HEAD.as_bytes(), &encoded(head)?);
    txn.open_table(META)?.insert(HEAD, bytes.as_slice())?;
    Ok(())
}

/// The books, each record checked: one that is damaged is named by where it lies.
pub(super) fn read_books(txn: &ReadTransaction) -> Result<Books, Fault> {
    let Some(table) = there(txn.open_table(BOOKS))? else {
        return Ok(Books::new());
    };
    let mut books = Books::new();
    for entry in table.iter()? {
        let (key, bytes) = entry?;
        let (queue, kind, hash) = key.value();
        let slot = Slot {
            queue: queue.to_owned(),
            kind: kind.to_owned(),
            hash,
        };
        let written = match unsealed("books", &slot.sealed_key(), bytes.value()) {
            Ok((_, content)) => Ok(content.to_vec()),
            Err(why) => Err(why.to_string()),
        };
        books.insert(slot, written);
    }
    Ok(books)
}

/// Writes a record of a book, or takes it away.
pub(super) fn write_book(
    txn: &WriteTransaction,
    slot: &Slot,
    content: Option<&[u8]>,
) -> Result<(), Fault> {
    let mut table = txn.open_table(BOOKS)?;
    let key = (slot.queue.as_str(), slot.kind.as_str(), slot.hash);
    match content {
        Some(content) => {
            let bytes = sealed("books", &slot.sealed_key(), content);
            table.insert(key, bytes.as_slice())?;
        }
        None => {
            table.remove(key)?;
        }
    }
    Ok(())
}

/// Writes every record of the books that is whole.
pub(super) fn write_books(txn: &WriteTransaction, books: &Books) -> Result<(), Fault> {
    for (slot, written) in books {
        if let Ok(content) = written {
            write_book(txn, slot, Some(content))?;
        }
    }
    Ok(())
}

/// A table, unless the version that wrote the store had none of its name.
pub(super) fn there<T>(opened: Result<T, TableError>) -> Result<Option<T>, Fault> {
    match opened {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        table => Ok(Some(table?)),
    }
}

/// The part of a head that every version can read.
#[derive(Debug, Deserialize)]
struct Schema {
    schema: u32,
}

pub(super) fn encoded(value: &impl Serialize) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(value).map_err(|why| Fault::Unusable(why.to_string()))
}

pub(super) fn decoded<T: DeserializeOwned>(content: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(content).map_err(|why| Fault::Damaged(why.to_string()))
}

pub(super) fn seal_of(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk::<8>()
        .map_or(0, |seal| u64::from_le_bytes(*seal))
}

pub(super) fn seal_of_old(old: Option<AccessGuard<'_, &[u8]>>) -> u64 {
    old.map_or(0, |old| seal_of(old.value()))
}

/// What an error of the database means for us.
fn judged(why: redb::Error) -> Fault {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match why {
        redb::Error::DatabaseAlreadyOpen => {
            Fault::Unusable("another process has it open".to_owned())
        }
        redb::Error::Io(why)
            if ![InvalidData, InvalidInput, UnexpectedEof].contains(&why.kind()) =>
        {
            Fault::Unusable(why.to_string())
        }
        redb::Error::PreviousIo
        | redb::Error::DatabaseClosed
        | redb::Error::TransactionPoisoned => Fault::Unusable(why.to_string()),
        why => Fault::Damaged(why.to_string()),
    }
}

macro_rules! judge {
    ($($error:ty),+) => {
        $(impl From<$error> for Fault {
            fn from(why: $error) -> Self {
                judged(why.into())
            }
        })+
    };
}

judge!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);

/// Makes a database look as if a version with this schema had written it.
#[cfg(test)]
pub(super) fn written_by(path: &std::path::Path, schema: u32) {
    let database = redb::Database::open(path).unwrap();
    let txn = database.begin_write().unwrap();
    let content = serde_json::json!({"schema": schema, "all": "new"}).to_string();
    let bytes = sealed("meta", HEAD.as_bytes(), content.as_bytes());
    txn.open_table(META)
        .unwrap()
        .insert(HEAD, bytes.as_slice())
        .unwrap();
    txn.commit().unwrap();
}

/// Makes a database look as the version of schema 1 left it, which knew neither segments nor tombstones nor an index.
#[cfg(test)]
pub(super) fn as_of_schema_1(path: &std::path::Path) {
    let database = redb::Database::open(path).unwrap();
    let txn = database.begin_write().unwrap();
    for name in ["segments", "tombstones"] {
        let table = TableDefinition::<&str, &[u8]>::new(name);
        assert!(txn.delete_table(table).unwrap(), "{name}");
    }
    let members = TableDefinition::<(&str, u32), &[u8]>::new("members");
    assert!(txn.delete_table(members).unwrap());
    let about = TableDefinition::<(&str, &str, u64), ()>::new("about");
    assert!(txn.delete_table(about).unwrap());
    let mut meta = txn.open_table(META).unwrap();
    let head = meta.get(HEAD).unwrap().unwrap().value().to_vec();
    let mut head: serde_json::Value = decoded(&head[8..]).unwrap();
    head["schema"] = 1.into();
    head.as_object_mut().unwrap().remove("base");
    let bytes = sealed("meta", HEAD.as_bytes(), head.to_string().as_bytes());
    meta.insert(HEAD, bytes.as_slice()).unwrap();
    drop(meta);
    txn.commit().unwrap();
}

/// Lengthens the log of a database by these records; what stands is `live` at the revision of the last one.
#[cfg(test)]
pub(super) fn grown(
    path: &std::path::Path,
    live: &Snapshot,
    records: &[crate::rules::record::ChangeRecord],
    hash: &str,
) {
    let database = redb::Database::open(path).unwrap();
    let txn = database.begin_write().unwrap();
    let seals = write_whole(&txn, live.revision(), live).unwrap();
    let revision = live.revision() + records.len() as u64;
    let records = records.iter().map(lines::Line::of);
    lines::write(&txn, &records.collect::<Result<Vec<_>, _>>().unwrap()).unwrap();
    write_head(&txn, &Head::new(revision, hash, seals, Base::default())).unwrap();
    txn.commit().unwrap();
}
