//! What is kept of a snapshot, and the seal by which we know that it came back as it was written.
//!
//! A seal is an XXH3 over place and content: flipped bits, and whole records in the wrong place, are noticed before they are
//! obeyed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use xxhash_rust::xxh3::Xxh3;

use crate::rules::flag::{Flag, FlagDocument};
use crate::rules::names::FlagKey;
use crate::rules::opening::Opening;
use crate::rules::segment::Segment;
use crate::rules::snapshot::{GatedQueue, Snapshot, Stored};

/// The version of what we write; a store of a later one is refused, one of an earlier one is taken over. 1 had neither segments
/// nor tombstones.
pub(super) const SCHEMA: u32 = 2;

/// Why something kept cannot be used.
#[derive(Debug, Error)]
pub(super) enum Fault {
    /// A later version wrote it.
    #[error("it has schema {0}, and this version knows {SCHEMA}")]
    Newer(u32),
    /// It is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// The disk, or another process, does not let us.
    #[error("{0}")]
    Unusable(String),
}

/// Checks the schema of something whose seal was found good.
pub(super) fn readable(schema: u32) -> Result<(), Fault> {
    if schema > SCHEMA {
        Err(Fault::Newer(schema))
    } else {
        Ok(())
    }
}

/// What stands at one revision, as it is kept. Valves that nobody ever touched (their revision is 0) are not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) revision: u64,
    /// The hash of the newest change record.
    pub(super) head: String,
    pub(super) flags: Vec<FlagDocument>,
    pub(super) openings: Vec<Opening>,
    #[serde(default, with = "as_documents")]
    pub(super) segments: Vec<Segment>,
    /// The keys of deleted flags, with the revision that deleted them.
    #[serde(default)]
    pub(super) tombstones: BTreeMap<FlagKey, u64>,
}

/// Segments as people write and see them.
mod as_documents {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    use crate::rules::segment::{Segment, SegmentDocument};

    pub(super) fn serialize<S: Serializer>(all: &[Segment], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(all.iter().map(Segment::document))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Segment>, D::Error> {
        let documents = Vec::<SegmentDocument>::deserialize(from)?.into_iter();
        documents
            .map(|document| Segment::try_from(document).map_err(Error::custom))
            .collect()
    }
}

impl State {
    pub(super) fn of(snapshot: &Snapshot, head: &str) -> Self {
        Self {
            revision: snapshot.revision(),
            head: head.to_owned(),
            flags: kept_flags(snapshot).map(|flag| flag.document()).collect(),
            openings: snapshot
                .openings()
                .map(|opening| opening.as_ref().clone())
                .collect(),
            segments: snapshot
                .segments()
                .iter()
                .map(|segment| segment.as_ref().clone())
                .collect(),
            tombstones: snapshot.tombstones().clone(),
        }
    }

    /// The snapshot of this state, with a sentence for each valve whose value this configuration no longer allows.
    pub(super) fn into_snapshot(
        self,
        queues: Vec<GatedQueue>,
    ) -> Result<(Snapshot, Vec<String>), Fault> {
        let flags = self
            .flags
            .into_iter()
            .map(|document| {
                let key = document.key.clone();
                Flag::try_from(document).map_err(|why| Fault::Damaged(format!("flag {key}: {why}")))
            })
            .collect::<Result<Vec<Flag>, Fault>>()?;
        let stored = Stored {
            revision: self.revision,
            flags: flags.clone(),
            openings: self.openings,
            segments: self.segments,
            tombstones: self.tombstones,
        };
        let snapshot = Snapshot::of(queues, stored);
        let notes = flags
            .iter()
            .filter_map(|flag| no_longer_allowed(flag, &snapshot))
            .collect();
        Ok((snapshot, notes))
    }
}

/// The flags worth keeping.
pub(super) fn kept_flags(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<Flag>> {
    snapshot.flags().filter(|flag| flag.revision() > 0)
}

fn no_longer_allowed(stored: &Flag, snapshot: &Snapshot) -> Option<String> {
    let now = snapshot.flag(stored.key.as_str())?;
    (now.value != stored.value).then(|| {
        format!(
            "`{}` was set to {}, which the configuration no longer allows; it stands at {} now",
            stored.key,
            stored.value.to_json(),
            now.value.to_json()
        )
    })
}

/// The seal of `content` at this place.
pub(super) fn seal(place: &str, key: &[u8], content: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(place.as_bytes());
    hash.update(&(key.len() as u64).to_le_bytes());
    hash.update(key);
    hash.update(content);
    hash.digest()
}

/// `content` with its seal before it.
pub(super) fn sealed(place: &str, key: &[u8], content: &[u8]) -> Vec<u8> {
    let mut bytes = seal(place, key, content).to_le_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes
}

/// The seal and the content, when they belong together.
pub(super) fn unsealed<'a>(
    place: &str,
    key: &[u8],
    bytes: &'a [u8],
) -> Result<(u64, &'a [u8]), Fault> {
    let (written, content) = bytes
        .split_first_chunk::<8>()
        .map(|(written, content)| (u64::from_le_bytes(*written), content))
        .ok_or_else(|| Fault::Damaged(format!("a record of `{place}` is too short")))?;
    if written == seal(place, key, content) {
        Ok((written, content))
    } else {
        Err(Fault::Damaged(format!(
            "a record of `{place}` is not what was written"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_notices_each_flipped_bit_and_a_record_in_the_wrong_place() {
        let good = sealed("flags", b"a.b", b"{\"value\": 1}");
        assert_eq!(
            unsealed("flags", b"a.b", &good).unwrap().1,
            b"{\"value\": 1}"
        );
        for bit in 0..good.len() * 8 {
            let mut flipped = good.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unsealed("flags", b"a.b", &flipped).is_err(), "bit {bit}");
        }
        for short in 0..good.len() {
            assert!(
                unsealed("flags", b"a.b", &good[..short]).is_err(),
                "{short} bytes"
            );
        }
        assert!(unsealed("flags", b"a.c", &good).is_err());
        assert!(unsealed("changes", b"a.b", &good).is_err());
    }
}
