//! The one door a knob turns through: check, write down, publish.
//!
//! Operator and guard use the same door. [`Store::turn`] is a plain function on purpose: a caller that goes away cannot leave a
//! change half done (the API wraps it in `spawn_blocking`). May import `rules` and `metrics`.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::metrics::Metrics;
use crate::rules::change::{Change, Refused};
use crate::rules::snapshot::Snapshot;

/// Holds the flags: on disk, and as the snapshot that everybody reads.
#[derive(Debug)]
pub struct Store {
    turning: Mutex<()>,
    live: watch::Sender<Arc<Snapshot>>,
    metrics: Arc<Metrics>,
}

impl Store {
    /// A store that forgets everything at the end, for the demo and tests.
    #[must_use]
    pub fn in_memory(start: Snapshot, metrics: Arc<Metrics>) -> Self {
        Self {
            turning: Mutex::new(()),
            live: watch::Sender::new(Arc::new(start)),
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

    /// Makes a change: checked as a whole, on disk before anyone obeys it, then in force everywhere. Gives what stands now.
    ///
    /// # Errors
    /// See [`Refused`]; then nothing was changed.
    pub fn turn(&self, change: &Change) -> Result<Arc<Snapshot>, Refused> {
        let _one_at_a_time = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Arc::new(self.snapshot().with(change)?);
        self.live.send_replace(Arc::clone(&next));
        self.metrics.snapshot(next.revision());
        Ok(next)
    }

    /// What `change` would lead to; nothing is changed.
    ///
    /// # Errors
    /// As [`Store::turn`].
    pub fn try_out(&self, change: &Change) -> Result<Snapshot, Refused> {
        self.snapshot().with(change)
    }
}
