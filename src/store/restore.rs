//! Going back to a snapshot: what stands then, and by what it differs from what stood.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::state::{Fault, State};
use crate::rules::flag::{Flag, FlagDocument};
use crate::rules::names::FlagKey;
use crate::rules::opening::{Opening, OpeningId};
use crate::rules::record::{Touched, TouchedSegment};
use crate::rules::segment::{Segment, SegmentDocument, SegmentName};
use crate::rules::snapshot::{Snapshot, Stored};

/// What stands after going back.
pub(super) fn back_to(live: &Snapshot, state: State, now_ms: i64) -> Result<Stored, Fault> {
    let revision = live.revision() + 1;
    let bad = |why: &dyn std::fmt::Display| Fault::Damaged(why.to_string());
    let mut flags = Vec::new();
    for document in state.flags {
        let stands = live.flag(&document.key).filter(|flag| {
            let revision = flag.revision();
            flag.document()
                == FlagDocument {
                    revision,
                    ..document.clone()
                }
        });
        flags.push(match stands {
            Some(flag) => flag.as_ref().clone(),
            None => Flag::try_from(FlagDocument {
                revision,
                ..document
            })
            .map_err(|why| bad(&why))?,
        });
    }
    let mut segments = Vec::new();
    for kept in state.segments {
        let stands = live.segments().get(kept.name.as_str());
        let stands = stands.filter(|segment| same_segment(segment, &kept));
        segments.push(match stands {
            Some(segment) => segment.as_ref().clone(),
            None => {
                let frame = SegmentDocument {
                    revision,
                    ..kept.frame().clone()
                };
                Segment::made_of(frame, kept.members.as_ref().clone()).map_err(|why| bad(&why))?
            }
        });
    }
    let mut openings = state.openings;
    openings.retain(|opening| opening.over_at_ms() > now_ms);
    let stands: BTreeSet<FlagKey> = flags.iter().map(|flag| flag.key.clone()).collect();
    Ok(Stored {
        revision,
        tombstones: tombstones(live, state.tombstones, &stands, revision),
        flags,
        segments,
        openings,
    })
}

fn same_segment(one: &Segment, other: &Segment) -> bool {
    let revision = one.revision();
    *one.frame()
        == SegmentDocument {
            revision,
            ..other.frame().clone()
        }
        && one.members.len() == other.members.len()
        && one.members.without(&other.members).is_empty()
}

/// A key that was ever given away is never given another meaning, whatever is restored.
fn tombstones(
    live: &Snapshot,
    kept: BTreeMap<FlagKey, u64>,
    stands: &BTreeSet<FlagKey>,
    revision: u64,
) -> BTreeMap<FlagKey, u64> {
    let mut all = kept;
    all.extend(live.tombstones().clone());
    let made_since = live.flags().map(|flag| &flag.key);
    let made_since = made_since.filter(|key| !key.as_str().starts_with("queue."));
    for key in made_since {
        all.entry(key.clone()).or_insert(revision);
    }
    all.retain(|key, _| !stands.contains(key));
    all
}

/// What lies between two snapshots.
pub(super) struct Differs {
    pub(super) flags: BTreeSet<FlagKey>,
    pub(super) segments: BTreeSet<SegmentName>,
    pub(super) closed: Vec<OpeningId>,
    pub(super) reopened: Vec<OpeningId>,
}

impl Differs {
    pub(super) fn between(live: &Snapshot, next: &Snapshot) -> Self {
        let (closed, reopened) = (only_in(live, next), only_in(next, live));
        let mut flags = BTreeSet::new();
        for (one, other) in [(live, next), (next, live)] {
            let changed = one.flags().filter(|flag| {
                let there = other.flag(flag.key.as_str());
                there.is_none_or(|there| there.document() != flag.document())
            });
            flags.extend(changed.map(|flag| flag.key.clone()));
        }
        let openings = closed.iter().chain(&reopened);
        let values = openings.flat_map(|opening| &opening.values);
        flags.extend(values.map(|(key, _)| key.clone()));
        let mut segments = BTreeSet::new();
        for (one, other) in [(live, next), (next, live)] {
            let changed = one.segments().iter().filter(|segment| {
                let there = other.segments().get(segment.name.as_str());
                there.is_none_or(|there| there.revision() != segment.revision())
            });
            segments.extend(changed.map(|segment| segment.name.clone()));
        }
        let ids = |all: Vec<Arc<Opening>>| all.into_iter().map(|opening| opening.id).collect();
        Self {
            flags,
            segments,
            closed: ids(closed),
            reopened: ids(reopened),
        }
    }

    pub(super) fn touched(&self, live: &Snapshot, next: &Snapshot) -> Vec<Touched> {
        let document = |of: &Snapshot, key: &FlagKey| {
            let flag = of.flag(key.as_str());
            let json = flag.and_then(|flag| serde_json::to_value(flag.document()).ok());
            json.unwrap_or_default()
        };
        let touched = self.flags.iter().map(|key| Touched {
            flag: key.clone(),
            before: document(live, key),
            after: document(next, key),
        });
        touched.collect()
    }

    pub(super) fn touched_segments(&self, live: &Snapshot, next: &Snapshot) -> Vec<TouchedSegment> {
        let names = self.segments.iter().cloned();
        names
            .filter_map(|name| TouchedSegment::of(name, live, next))
            .collect()
    }
}

/// The openings of one snapshot that the other lacks, or has otherwise.
fn only_in(one: &Snapshot, other: &Snapshot) -> Vec<Arc<Opening>> {
    let differs = |opening: &&Arc<Opening>| other.opening(opening.id) != Some(*opening);
    one.openings().filter(differs).cloned().collect()
}
