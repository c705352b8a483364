//! The history, as far as it is of flags and segments that are there for a caller.

use super::Caller;
use crate::rules::record::ChangeRecord;
use crate::rules::snapshot::Snapshot;

/// Records that are read at once.
const AT_ONCE: usize = 1_000;

impl Caller {
    /// The newest `limit` changes before a revision, of those that `read` gives. Who has limits to their scope gets those of what
    /// lies within, and of each only that part; reading goes on until there are enough, or no more.
    pub(in crate::api) fn changes<E>(
        &self,
        snapshot: &Snapshot,
        mut before: Option<u64>,
        limit: usize,
        read: impl Fn(Option<u64>, usize) -> Result<Vec<ChangeRecord>, E>,
    ) -> Result<Vec<ChangeRecord>, E> {
        if self.sees_everything() {
            return read(before, limit);
        }
        let mut found = Vec::new();
        while found.len() < limit {
            let records = read(before, AT_ONCE)?;
            let Some(oldest) = records.last().map(|record| record.revision) else {
                break;
            };
            before = Some(oldest);
            let parts = records.into_iter();
            found.extend(parts.filter_map(|record| self.part_of(record, snapshot)));
        }
        found.truncate(limit);
        Ok(found)
    }

    /// What of a change is there for them; `None`: nothing.
    fn part_of(&self, mut record: ChangeRecord, snapshot: &Snapshot) -> Option<ChangeRecord> {
        let flags = &mut record.touched;
        flags.retain(|touched| self.sees_flag(touched.flag.as_str()));
        let segments = &mut record.segments;
        segments.retain(|touched| self.sees_segment(touched.segment.as_str(), snapshot));
        if let Some(opening) = &mut record.opening {
            opening
                .values
                .retain(|(key, _)| self.sees_flag(key.as_str()));
        }
        if let Some(resolved) = &mut record.resolved {
            let jobs = &mut resolved.jobs;
            jobs.retain(|job| self.sees_queue(job.queue.as_str()));
        }
        record.resolved.take_if(|resolved| resolved.jobs.is_empty());
        let is_there =
            !record.touched.is_empty() || !record.segments.is_empty() || record.resolved.is_some();
        is_there.then_some(record)
    }
}
