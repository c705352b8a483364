//! The history, as far as it is of flags and segments that are there for a caller.

use super::Caller;
use crate::rules::record::ChangeRecord;
use crate::rules::snapshot::Snapshot;
use crate::store::{Store, Unreadable};

/// Records that are read at once.
const AT_ONCE: usize = 1_000;

impl Caller {
    /// The newest `limit` changes before a revision. Who has limits to their scope gets those of what lies within, and of each only that part;
    /// reading goes on until there are enough, or no more. Reads the disk.
    pub(in crate::api) fn changes(
        &self,
        store: &Store,
        mut before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>, Unreadable> {
        if self.sees_everything() {
            return store.changes(before, limit);
        }
        let snapshot = store.snapshot();
        let mut found = Vec::new();
        while found.len() < limit {
            let records = store.changes(before, AT_ONCE)?;
            let Some(oldest) = records.last().map(|record| record.revision) else {
                break;
            };
            before = Some(oldest);
            found.extend(
                records
                    .into_iter()
                    .filter_map(|record| self.part_of(record, &snapshot)),
            );
        }
        found.truncate(limit);
        Ok(found)
    }

    /// What of a change is there for them; `None`: nothing.
    pub(in crate::api) fn part_of(
        &self,
        mut record: ChangeRecord,
        snapshot: &Snapshot,
    ) -> Option<ChangeRecord> {
        record
            .touched
            .retain(|touched| self.sees_flag(touched.flag.as_str()));
        record
            .segments
            .retain(|touched| self.sees_segment(touched.segment.as_str(), snapshot));
        if let Some(opening) = &mut record.opening {
            opening
                .values
                .retain(|(key, _)| self.sees_flag(key.as_str()));
        }
        (!record.touched.is_empty() || !record.segments.is_empty()).then_some(record)
    }
}
