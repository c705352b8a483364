//! Whether a queue is served just now, and whether its valves hold anything back. May import `seams`.

use super::QueueVitals;
use crate::seams::LinkState;

impl QueueVitals {
    /// Whether messages are taken from it: of a queue that is not, its numbers tell nothing.
    #[must_use]
    pub fn is_consumed(&self) -> bool {
        self.lock().link == LinkState::Consuming
    }

    /// Whether messages wait though slots are free, or in lanes.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        let (_, in_lanes) = self.in_lanes();
        let inner = self.lock();
        let waits = inner.ready.is_some_and(|ready| ready > 0);
        in_lanes > 0 || (waits && inner.slots_busy < inner.slots)
    }
}
