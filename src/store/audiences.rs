//! Segments with their members, and the keys of deleted flags, in the database.
//!
//! Members lie there as they lie in memory, shard by shard: a change of one account writes one shard of about a hundred.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::state::{Fault, sealed, unsealed};
use super::tables::{decoded, encoded, seal_of, seal_of_old, there};
use crate::rules::members::Members;
use crate::rules::names::FlagKey;
use crate::rules::segment::{Segment, SegmentDocument};
use crate::rules::snapshot::Snapshot;

const SEGMENTS: TableDefinition<&str, &[u8]> = TableDefinition::new("segments");
/// By segment and shard; an empty shard has no record.
const MEMBERS: TableDefinition<(&str, u32), &[u8]> = TableDefinition::new("members");
const TOMBSTONES: TableDefinition<&str, &[u8]> = TableDefinition::new("tombstones");

/// A segment but for its members.
#[derive(Debug, Serialize, Deserialize)]
struct Frame {
    document: SegmentDocument,
    /// In how many shards its members lie.
    shards: usize,
}

/// The segments, with the sum of their seals.
pub(super) fn read_segments(txn: &ReadTransaction) -> Result<(Vec<Segment>, u64), Fault> {
    let Some(table) = there(txn.open_table(SEGMENTS))? else {
        return Ok((Vec::new(), 0));
    };
    let (mut members, mut seals) = read_members(txn)?;
    let mut segments = Vec::new();
    for entry in table.iter()? {
        let (key, bytes) = entry?;
        let name = key.value();
        let (seal, content) = unsealed("segments", name.as_bytes(), bytes.value())?;
        seals ^= seal;
        let frame: Frame = decoded(content)?;
        let texts = members.remove(name).unwrap_or_default();
        let members = Members::in_shards(frame.shards, texts.iter().map(String::as_str));
        let segment = Segment::made_of(frame.document, members);
        segments.push(segment.map_err(|why| Fault::Damaged(why.to_string()))?);
    }
    match members.into_keys().next() {
        Some(name) => Err(Fault::Damaged(format!("the segment {name} is missing"))),
        None => Ok((segments, seals)),
    }
}

/// All members by segment, with the sum of their seals.
fn read_members(txn: &ReadTransaction) -> Result<(BTreeMap<String, Vec<String>>, u64), Fault> {
    let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut seals = 0;
    let Some(table) = there(txn.open_table(MEMBERS))? else {
        return Ok((members, seals));
    };
    for entry in table.iter()? {
        let (key, bytes) = entry?;
        let (name, shard) = key.value();
        let (seal, content) = unsealed("members", &place(name, shard), bytes.value())?;
        seals ^= seal;
        let texts: Vec<String> = decoded(content)?;
        match members.get_mut(name) {
            Some(known) => known.extend(texts),
            None => drop(members.insert(name.to_owned(), texts)),
        }
    }
    Ok((members, seals))
}

/// The tombstones, with the sum of their seals.
pub(super) fn read_tombstones(
    txn: &ReadTransaction,
) -> Result<(BTreeMap<FlagKey, u64>, u64), Fault> {
    let (mut tombstones, mut seals) = (BTreeMap::new(), 0);
    let Some(table) = there(txn.open_table(TOMBSTONES))? else {
        return Ok((tombstones, seals));
    };
    for entry in table.iter()? {
        let (key, bytes) = entry?;
        let (seal, content) = unsealed("tombstones", key.value().as_bytes(), bytes.value())?;
        seals ^= seal;
        let key = key.value().parse::<FlagKey>();
        let key = key.map_err(|why| Fault::Damaged(why.to_string()))?;
        tombstones.insert(key, decoded(content)?);
    }
    Ok((tombstones, seals))
}

/// Forgets all that lies here.
pub(super) fn clear(txn: &WriteTransaction) -> Result<(), Fault> {
    txn.open_table(SEGMENTS)?.retain(|_, _| false)?;
    txn.open_table(MEMBERS)?.retain(|_, _| false)?;
    txn.open_table(TOMBSTONES)?.retain(|_, _| false)?;
    Ok(())
}

/// Writes the segments and tombstones that differ. Gives by what the sum of the seals changes.
pub(super) fn write_changed(
    txn: &WriteTransaction,
    old: &Snapshot,
    live: &Snapshot,
) -> Result<u64, Fault> {
    Ok(write_segments(txn, old, live)? ^ write_tombstones(txn, old, live)?)
}

fn write_segments(txn: &WriteTransaction, old: &Snapshot, live: &Snapshot) -> Result<u64, Fault> {
    let mut table = txn.open_table(SEGMENTS)?;
    let mut seals = 0;
    for segment in live.segments().iter() {
        let name = segment.name.as_str();
        let before = old.segments().get(name);
        if before.is_some_and(|before| Arc::ptr_eq(before, segment)) {
            continue;
        }
        let frame = Frame {
            document: segment.frame().clone(),
            shards: segment.members.shards(),
        };
        let bytes = sealed("segments", name.as_bytes(), &encoded(&frame)?);
        seals ^= seal_of(&bytes);
        seals ^= seal_of_old(table.insert(name, bytes.as_slice())?);
        let before = before.map(|before| before.members.as_ref());
        seals ^= write_members(txn, name, before, Some(&segment.members))?;
    }
    for gone in old.segments().iter() {
        let name = gone.name.as_str();
        if live.segments().get(name).is_none() {
            seals ^= seal_of_old(table.remove(name)?);
            seals ^= write_members(txn, name, Some(&gone.members), None)?;
        }
    }
    Ok(seals)
}

/// Writes the shards that differ.
fn write_members(
    txn: &WriteTransaction,
    name: &str,
    old: Option<&Members>,
    live: Option<&Members>,
) -> Result<u64, Fault> {
    let mut table = txn.open_table(MEMBERS)?;
    let mut seals = 0;
    let shards = |members: Option<&Members>| members.map_or(0, Members::shards);
    for shard in 0..shards(old).max(shards(live)) {
        let shared = |(old, live): (&Members, &Members)| live.shares_shard(old, shard);
        if old.zip(live).is_some_and(shared) {
            continue;
        }
        let texts: Vec<&str> = live.into_iter().flat_map(|it| it.shard(shard)).collect();
        let number = u32::try_from(shard).unwrap_or(u32::MAX);
        seals ^= if texts.is_empty() {
            seal_of_old(table.remove((name, number))?)
        } else {
            let bytes = sealed("members", &place(name, number), &encoded(&texts)?);
            seal_of(&bytes) ^ seal_of_old(table.insert((name, number), bytes.as_slice())?)
        };
    }
    Ok(seals)
}

fn write_tombstones(txn: &WriteTransaction, old: &Snapshot, live: &Snapshot) -> Result<u64, Fault> {
    let mut table = txn.open_table(TOMBSTONES)?;
    let mut seals = 0;
    if live.shares_tombstones(old) {
        return Ok(seals);
    }
    for (key, revision) in live.tombstones() {
        if old.tombstones().get(key) != Some(revision) {
            let key = key.as_str();
            let bytes = sealed("tombstones", key.as_bytes(), &encoded(revision)?);
            seals ^= seal_of(&bytes);
            seals ^= seal_of_old(table.insert(key, bytes.as_slice())?);
        }
    }
    for key in old.tombstones().keys() {
        if !live.tombstones().contains_key(key) {
            seals ^= seal_of_old(table.remove(key.as_str())?);
        }
    }
    Ok(seals)
}

/// The place of a shard as the seal of its record covers it; the name of a segment has no line breaks.
fn place(name: &str, shard: u32) -> Vec<u8> {
    format!("{name}\n{shard}").into_bytes()
}
