//! The pulse of a thread: it beats each second, and somebody else notices when it does not. Imports no room.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often a thread beats that is not busy with one thing alone.
pub const BEAT: Duration = Duration::from_secs(1);

/// Nothing is expected: the thread has not begun, or has ended.
const RESTS: u64 = 0;

/// When a thread turned last. Beaten by the thread, read by whoever watches it.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// The thread turns at `now` (time since the clock's start). Gives when it should next: at a whole second, so that whatever
    /// waits for that on one thread wakes it once.
    pub fn beat(&self, now: Duration) -> Duration {
        let ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.0.store(ms.max(RESTS + 1), Ordering::Relaxed);
        Duration::from_secs(now.as_secs().saturating_add(BEAT.as_secs()))
    }

    /// The thread has ended: no beat is expected any more.
    pub fn rest(&self) {
        self.0.store(RESTS, Ordering::Relaxed);
    }

    /// For how long the thread has not turned; zero while nothing is expected of it.
    #[must_use]
    pub fn still_for(&self, now: Duration) -> Duration {
        match self.0.load(Ordering::Relaxed) {
            RESTS => Duration::ZERO,
            at => now.saturating_sub(Duration::from_millis(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_thread_that_has_begun_and_not_ended_can_be_still() {
        let secs = Duration::from_secs;
        let pulse = Pulse::default();
        assert_eq!(pulse.still_for(secs(60)), secs(0), "it has not begun");
        let next = pulse.beat(Duration::from_millis(60_250));
        assert_eq!(next, secs(61), "at the next whole second");
        assert_eq!(pulse.beat(secs(60)), secs(61));
        assert_eq!(pulse.still_for(secs(63)), secs(3));
        assert_eq!(
            pulse.still_for(secs(59)),
            secs(0),
            "read before it was beaten"
        );
        pulse.rest();
        assert_eq!(pulse.still_for(secs(99)), secs(0), "it has ended");
    }
}
