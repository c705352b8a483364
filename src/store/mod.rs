//! The one door a knob turns through: check, write down, publish.
//!
//! Operator and guard use the same door. [`Store::turn`] is a plain function on purpose: a caller that goes away cannot leave a
//! change half done (the API wraps it in `spawn_blocking`). May import `rules` and `metrics`.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tokio::sync::{broadcast, watch};

use crate::metrics::Metrics;
use crate::rules::change::{Change, Refused};
use crate::rules::policy::Policy;
use crate::rules::record::{self, ChangeRecord};
use crate::rules::snapshot::Snapshot;
use history::History;
use lines::{Subject, Wanted};
use state::Fault;

pub use blocked::Blocked;
pub use books::{BlockBook, BlockedEntry, BookError, KeptLanes, LaneBook, LaneEntry, MOST_BLOCKED};
pub use doubts::{Doubts, MOST_DOUBTS};
pub use export::WrittenRecord;
pub use former::NoFormer;
pub use open::{OpenError, Opened, Seed};
pub use verify::{Break, Chain, Noted};

mod audiences;
mod blocked;
mod books;
mod doubts;
mod evaluated;
mod export;
mod former;
mod history;
mod journal;
mod kept;
mod lines;
mod open;
pub mod rescue;
mod restore;
mod state;
mod tables;
mod verify;

/// How many changes a listener may be behind; then it misses the oldest.
const BEHIND: usize = 1_024;
/// The most change records that are given at once.
const LARGEST_PAGE: usize = 1_000;

/// Holds the flags: on disk, and as the snapshot that everybody reads.
pub struct Store {
    history: Arc<Mutex<History>>,
    live: watch::Sender<Arc<Snapshot>>,
    heard: broadcast::Sender<Arc<ChangeRecord>>,
    metrics: Arc<Metrics>,
}

/// How a change that could not wait for the disk took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turned {
    /// It is on disk and in force.
    Written,
    /// It is in force and not on disk, because of this; [`Store::write_owed`] tries again.
    Owed(String),
}

/// The changes could not be read.
#[derive(Debug, Error)]
#[error("the changes could not be read ({0}); those in force are not touched by that")]
pub struct Unreadable(String);

impl Store {
    /// A store that forgets everything at the end, for the demo and tests.
    #[must_use]
    pub fn in_memory(start: Snapshot, metrics: Arc<Metrics>) -> Self {
        Self::with(Arc::new(start), History::in_memory(), metrics)
    }

    fn with(start: Arc<Snapshot>, mut history: History, metrics: Arc<Metrics>) -> Self {
        history.tells(&metrics);
        for flag in start.flags() {
            say(&metrics, &start, flag.key.as_str());
        }
        metrics.snapshot(start.revision());
        Self {
            history: Arc::new(Mutex::new(history)),
            live: watch::Sender::new(start),
            heard: broadcast::Sender::new(BEHIND),
            metrics,
        }
    }

    /// The flags in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.live.borrow())
    }

    /// Hears of each change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.live.subscribe()
    }

    /// Hears of each change that is made from now on, by its record. Whoever is slow misses the oldest, and holds nobody up.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Arc<ChangeRecord>> {
        self.heard.subscribe()
    }

    /// Makes a change: checked as a whole, on disk before anyone obeys it, then in force everywhere. Gives what stands now.
    ///
    /// # Errors
    /// See [`Refused`]; then nothing was changed.
    pub fn turn(&self, change: &Change) -> Result<Arc<Snapshot>, Refused> {
        let mut history = self.one_at_a_time();
        let live = self.snapshot();
        let next = Arc::new(live.with(change)?);
        let record = ChangeRecord::of(change, &live, &next, history.hash());
        history.append(&next, &record).map_err(refused)?;
        self.publish(change, &live, &next, record);
        history.keep(&next, change.at_ms);
        Ok(next)
    }

    /// Makes a change that must take effect even when the disk refuses, such as the end of an opening. What could not be written
    /// is owed, and written with the next change or by [`Store::write_owed`].
    ///
    /// # Errors
    /// When the change itself is refused, see [`Refused`]; then nothing was changed.
    pub fn turn_even_unwritten(&self, change: &Change) -> Result<Turned, Refused> {
        let mut history = self.one_at_a_time();
        let live = self.snapshot();
        let next = Arc::new(live.with(change)?);
        let record = ChangeRecord::of(change, &live, &next, history.hash());
        let turned = match history.append(&next, &record) {
            Ok(()) => Turned::Written,
            Err(why) => {
                tracing::error!(
                    %why, revision = next.revision(), reason = change.reason,
                    "the store could not be written; the change is in force in memory alone, and will be written when that works again"
                );
                history.owe(&record).map_err(refused)?;
                Turned::Owed(why.to_string())
            }
        };
        self.publish(change, &live, &next, record);
        if turned == Turned::Written {
            history.keep(&next, change.at_ms);
        }
        Ok(turned)
    }

    /// Writes the changes that are in force and not on disk, if there are any.
    ///
    /// # Errors
    /// When that still does not work; they stay in force and owed.
    pub fn write_owed(&self) -> Result<(), Refused> {
        let mut history = self.one_at_a_time();
        if history.owes() {
            let live = self.snapshot();
            history.write_owed(&live).map_err(refused)?;
            history.keep_now(&live);
            tracing::info!(
                revision = live.revision(),
                "the store can be written again, and holds all changes"
            );
        }
        Ok(())
    }

    /// Puts other limits in force; what stands is not touched, also where it is beyond them.
    pub fn limit(&self, policy: Policy) {
        let _one_at_a_time = self.one_at_a_time();
        let live = self.snapshot();
        self.live
            .send_replace(Arc::new(live.as_ref().clone().under(policy)));
    }

    /// Writes the snapshot beside the store, when something changed and the last one was written some seconds ago; with `None`
    /// whenever something changed, as at a clean stop. Waits for the disk. Whether something is left to be written.
    pub fn keep(&self, now_ms: Option<i64>) -> bool {
        let mut history = self.one_at_a_time();
        history.keep_due(&self.snapshot(), now_ms)
    }

    /// The revision of the newest change and the hash of its record: noted elsewhere, it shows when the end of the log was cut off.
    #[must_use]
    pub fn head(&self) -> (u64, String) {
        let history = self.one_at_a_time();
        (self.snapshot().revision(), history.hash().to_owned())
    }

    /// Whether changes are in force that are not on disk.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.one_at_a_time().owes()
    }

    /// What `change` would lead to; nothing is changed.
    ///
    /// # Errors
    /// As [`Store::turn`].
    pub fn try_out(&self, change: &Change) -> Result<Snapshot, Refused> {
        self.snapshot().with(change)
    }

    /// The changes that were made, newest first: at most `limit` (and 1,000), of those before the revision `before` if one is
    /// given. The last one's revision is the `before` of the next page.
    ///
    /// # Errors
    /// When they cannot be read from the disk.
    pub fn changes(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>, Unreadable> {
        self.read(&newest(None, before, limit))
    }

    /// The changes that touched one flag, paged as [`Store::changes`] are, also those of openings over it. Reads no others.
    ///
    /// # Errors
    /// When they cannot be read from the disk.
    pub fn history(
        &self,
        key: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>, Unreadable> {
        self.read(&newest(Some(Subject::Flag(key)), before, limit))
    }

    /// The changes that touched one segment, paged as [`Store::changes`] are.
    ///
    /// # Errors
    /// When they cannot be read from the disk.
    pub fn segment_history(
        &self,
        name: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>, Unreadable> {
        self.read(&newest(Some(Subject::Segment(name)), before, limit))
    }

    fn read(&self, wanted: &Wanted<'_>) -> Result<Vec<ChangeRecord>, Unreadable> {
        let records = self.one_at_a_time().records(wanted);
        records.map_err(|why| Unreadable(why.to_string()))
    }

    fn publish(
        &self,
        change: &Change,
        before: &Snapshot,
        next: &Arc<Snapshot>,
        record: ChangeRecord,
    ) {
        self.live.send_replace(Arc::clone(next));
        for flag in record::touched(&change.edit, before) {
            let key = flag.as_str();
            say(&self.metrics, next, key);
            let value = |of: &Snapshot| of.value(key).map(|(value, _)| value);
            if value(next).is_some() && value(before) != value(next) {
                let at = seconds(change.at_ms);
                self.metrics.flag_changed(key, change.cause, at);
            }
        }
        self.metrics.snapshot(next.revision());
        if self.heard.receiver_count() > 0 {
            // An error says that the last one has just stopped listening.
            let _ = self.heard.send(Arc::new(record));
        }
    }

    fn one_at_a_time(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Store {
    /// The last change is kept beside the store too, whoever stops.
    fn drop(&mut self) {
        self.keep(None);
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = self.live.borrow().revision();
        write!(f, "Store at revision {revision}")
    }
}

/// A page of changes, newest first.
fn newest<'a>(about: Option<Subject<'a>>, before: Option<u64>, limit: usize) -> Wanted<'a> {
    Wanted {
        about,
        from: 0,
        below: before.unwrap_or(u64::MAX),
        newest_first: true,
        limit: limit.min(LARGEST_PAGE),
    }
}

/// Tells the metrics what a flag says.
fn say(metrics: &Metrics, snapshot: &Snapshot, key: &str) {
    if let Some((value, _)) = snapshot.value(key) {
        let ends = snapshot.openings_on(key).next_back();
        let ends = ends.map(|opening| seconds(opening.over_at_ms()));
        metrics.flag_says(key, value.as_number(), ends);
    } else {
        metrics.flag_gone(key);
    }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

fn refused(why: Fault) -> Refused {
    Refused::Store(why.to_string())
}

#[cfg(test)]
pub(crate) use tests::on_a_disk_that_fills;

#[cfg(test)]
mod tests;
