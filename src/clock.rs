//! The only reader of time.
//!
//! Rules get the time as an argument. Everything else asks this clock, which runs on Tokio's time, so that a test that pauses
//! Tokio makes up an hour for the whole house.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// A point in time, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall time, milliseconds since 1970; may jump.
    pub ms: i64,
    /// Time since the clock was made; never jumps.
    pub mono: Duration,
}

/// Reads time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    /// `Some`: wall time is made up from this start, for tests and simulations.
    made_up_ms: Option<i64>,
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads a clock"
    )]
    pub fn system() -> Self {
        Self {
            start: Instant::now(),
            made_up_ms: None,
        }
    }

    /// A wall clock that starts at `start_ms` and follows Tokio's time, also when that is paused.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads a clock"
    )]
    pub fn made_up(start_ms: i64) -> Self {
        Self {
            start: Instant::now(),
            made_up_ms: Some(start_ms),
        }
    }

    /// The time.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads a clock"
    )]
    pub fn now(&self) -> Now {
        let mono = self.start.elapsed();
        let since_1970 = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
        };
        let ms = match self.made_up_ms {
            Some(start) => start.saturating_add(millis(mono)),
            None => millis(since_1970()),
        };
        Now { ms, mono }
    }

    /// The time since the clock was made, alone: half the price of both.
    #[must_use]
    pub fn mono(&self) -> Duration {
        self.start.elapsed()
    }

    /// Tokio's instant for a time since this clock was made, to sleep until.
    #[must_use]
    pub fn instant(&self, mono: Duration) -> Instant {
        self.start + mono
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
