//! The keys that have messages in lanes, as the worker told of them last. May import `rules`.

use std::sync::Arc;
use std::time::Duration;

use super::QueueVitals;
use crate::rules::lane::Pace;

/// How one key stands that has messages in a lane.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneLine {
    /// The key.
    pub key: Arc<str>,
    /// Whether it shares its lane with others.
    pub shared: bool,
    /// How many of it wait, at the broker and in hand; `None`: not known yet.
    pub waiting: Option<u64>,
    /// Since when it has a lane, milliseconds since 1970.
    pub since_ms: i64,
    /// How fast it may go.
    pub pace: Pace,
    /// In how long a message that joins now would run; `None`: unknown.
    pub eta: Option<Duration>,
    /// Why its lane cannot be read, if so: then it is not its turn until that is mended.
    pub unread: Option<Arc<str>>,
}

impl QueueVitals {
    /// How the keys stand that have messages in lanes, by key.
    pub fn lanes(&self, lanes: Vec<LaneLine>) {
        self.lock().lanes = lanes;
    }

    /// The keys that have messages in lanes: in the order of the keys, those after `after`, at most `most`.
    #[must_use]
    pub fn lanes_after(&self, after: &str, most: usize) -> Vec<LaneLine> {
        let inner = self.lock();
        let from = inner
            .lanes
            .partition_point(|line| line.key.as_ref() <= after);
        inner.lanes.iter().skip(from).take(most).cloned().collect()
    }

    /// How one key stands, if it has messages in a lane.
    #[must_use]
    pub fn lane(&self, key: &str) -> Option<LaneLine> {
        let inner = self.lock();
        inner
            .lanes
            .iter()
            .find(|line| line.key.as_ref() == key)
            .cloned()
    }

    /// How many keys have messages in lanes, and how many messages those are, as far as is known.
    #[must_use]
    pub fn in_lanes(&self) -> (usize, u64) {
        let inner = self.lock();
        let waiting = inner.lanes.iter().filter_map(|line| line.waiting).sum();
        (inner.lanes.len(), waiting)
    }
}
