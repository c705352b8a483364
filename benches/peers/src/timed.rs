//! Jobs that take their time and are useless after a while: how many of a worker's were done on time in a window of time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::load::published;
use crate::roles::say;
use crate::worker::since_1970;

/// Jobs at once.
pub const SLOTS: u16 = 10;
/// How long each takes.
pub const JOB: Duration = Duration::from_millis(10);
/// How long after its publishing it is of use, in milliseconds.
pub const DEADLINE_MS: u64 = 1_000;

/// When a run is counted, nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    from: u64,
    to: u64,
}

/// Counts the jobs that were done in a window, and tells them once it is over.
#[derive(Debug)]
pub struct Count {
    window: Window,
    on_time: AtomicU64,
    late: AtomicU64,
}

impl Window {
    /// So long after `warming`.
    #[must_use]
    pub fn after(warming: Duration, lasting: Duration) -> Self {
        let from = since_1970() + nanoseconds(warming);
        let to = from + nanoseconds(lasting);
        Self { from, to }
    }

    /// How long it is, in seconds.
    #[must_use]
    pub fn seconds(self) -> f64 {
        (self.to - self.from) as f64 / 1e9
    }

    /// As words of a command line.
    #[must_use]
    pub fn arguments(self) -> [String; 2] {
        [self.from.to_string(), self.to.to_string()]
    }

    /// From the words that [`Window::arguments`] wrote.
    ///
    /// # Errors
    /// When they are others.
    pub fn read(arguments: &[String]) -> Result<Self> {
        let [from, to] = arguments else {
            bail!("the window is missing");
        };
        let (from, to) = (from.parse()?, to.parse()?);
        Ok(Self { from, to })
    }
}

impl Count {
    /// Begins to count.
    #[must_use]
    pub fn of(window: Window) -> Arc<Self> {
        let count = Arc::new(Self {
            window,
            on_time: AtomicU64::new(0),
            late: AtomicU64::new(0),
        });
        let counted = Arc::clone(&count);
        std::thread::spawn(move || {
            let left = counted.window.to.saturating_sub(since_1970());
            std::thread::sleep(Duration::from_nanos(left));
            let told = |number: &AtomicU64| number.load(Ordering::Relaxed);
            say(&format!(
                "did {} {}",
                told(&counted.on_time),
                told(&counted.late)
            ));
        });
        count
    }

    /// A job with this body is done now.
    pub fn done(&self, body: &[u8]) {
        let now = since_1970();
        if !(self.window.from..self.window.to).contains(&now) {
            return;
        }
        let age = published(body).map(|at| now.saturating_sub(at));
        let on_time = age.is_some_and(|age| age <= DEADLINE_MS * 1_000_000);
        let which = if on_time { &self.on_time } else { &self.late };
        which.fetch_add(1, Ordering::Relaxed);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
