//! How often each flag was evaluated since the start, and when last.

use std::collections::{BTreeMap, HashMap};
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

    /// The flag is there no more; whoever still counts for it does so for nobody.
    pub(super) fn forget(&self, flag: &str) {
        let mut tallies = self.tallies.write().unwrap_or_else(PoisonError::into_inner);
        tallies.remove(flag);
        let _ = self.family.remove_label_values(&[flag]);
    }

    /// When each flag was last asked for by its name.
    pub(super) fn all_asked(&self) -> BTreeMap<String, i64> {
        let tallies = self.tallies.read().unwrap_or_else(PoisonError::into_inner);
        let all = tallies.iter();
        all.filter_map(|(flag, tally)| Some((flag.to_string(), tally.last_asked_ms()?)))
            .collect()
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

    /// When it was last asked for by its name, milliseconds since 1970; `None`: nobody knows of any time.
    #[must_use]
    pub fn last_asked_ms(&self) -> Option<i64> {
        Some(self.asked_ms.load(Ordering::Relaxed)).filter(|at_ms| *at_ms != NEVER)
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    #[test]
    fn a_flag_that_is_gone_leaves_nothing_and_comes_back_at_zero() {
        let metrics = Metrics::new(&[]).unwrap();
        metrics.flag_says("a.b", Some(1.0), Some(2.0));
        let old = metrics.tally("a.b");
        old.asked(3, 1_000);
        metrics.flag_gone("a.b");
        old.asked(1, 2_000); // by somebody who has not yet heard of it
        let page = metrics.encode().unwrap();
        assert!(!page.contains("a.b"), "{page}");
        assert!(metrics.all_last_evaluated().is_empty());
        metrics.tally("a.b").asked(1, 3_000);
        let page = metrics.encode().unwrap();
        assert!(
            page.contains("sluicegate_evaluations_total{flag=\"a.b\"} 1"),
            "{page}"
        );
        assert_eq!(metrics.all_last_evaluated()["a.b"], 3_000);
    }

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
