//! How often each flag was evaluated, and when last. Not kept across a restart.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use prometheus::{IntCounter, IntCounterVec};

const NEVER: i64 = i64::MIN;

/// The evaluations of all flags.
#[derive(Debug)]
pub(super) struct Evaluations {
    family: IntCounterVec,
    tallies: RwLock<HashMap<Box<str>, Arc<Tally>>>,
}

/// The evaluations of one flag: kept by whoever evaluates it, so that counting costs two writes and no look-up.
#[derive(Debug)]
pub struct Tally {
    times: IntCounter,
    /// When it was last asked for by its name, milliseconds since 1970.
    asked_ms: AtomicI64,
}

impl Evaluations {
    pub(super) fn counted_in(family: IntCounterVec) -> Self {
        Self {
            family,
            tallies: RwLock::default(),
        }
    }

    pub(super) fn of(&self, flag: &str) -> Arc<Tally> {
        if let Some(tally) = self.find(flag) {
            return tally;
        }
        let mut tallies = self.tallies.write().unwrap_or_else(PoisonError::into_inner);
        let tally = tallies.entry(flag.into()).or_insert_with(|| {
            Arc::new(Tally {
                times: self.family.with_label_values(&[flag]),
                asked_ms: AtomicI64::new(NEVER),
            })
        });
        Arc::clone(tally)
    }

    pub(super) fn find(&self, flag: &str) -> Option<Arc<Tally>> {
        let tallies = self.tallies.read().unwrap_or_else(PoisonError::into_inner);
        tallies.get(flag).cloned()
    }
}

impl Tally {
    /// The flag was asked for by its name, so often, at `at_ms` (milliseconds since 1970): somebody needs it.
    pub fn asked(&self, times: u64, at_ms: i64) {
        self.times.inc_by(times);
        self.asked_ms.fetch_max(at_ms, Ordering::Relaxed);
    }

    /// The flag was evaluated along with all others, for a caller who may need it or not.
    pub fn listed(&self) {
        self.times.inc();
    }

    /// When it was last asked for by its name, milliseconds since 1970; `None`: not since the daemon started.
    #[must_use]
    pub fn last_asked_ms(&self) -> Option<i64> {
        Some(self.asked_ms.load(Ordering::Relaxed)).filter(|at_ms| *at_ms != NEVER)
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    #[test]
    fn only_who_asks_by_name_says_that_the_flag_is_needed() {
        let metrics = Metrics::new(&[]).unwrap();
        assert_eq!(metrics.last_evaluated("a.b"), None);
        metrics.tally("a.b").listed();
        assert_eq!(metrics.last_evaluated("a.b"), None);
        metrics.tally("a.b").asked(2, 2_000);
        metrics.tally("a.b").asked(1, 1_000); // a clock that was set back makes nothing older
        assert_eq!(metrics.last_evaluated("a.b"), Some(2_000));
        let page = metrics.encode().unwrap();
        let series = "sluicegate_evaluations_total{flag=\"a.b\"} 4";
        assert!(page.contains(series), "{series} is missing in {page}");
    }
}
