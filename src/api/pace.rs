//! How many changes one actor may make a minute: a script that went wild is slowed before it floods the log (FAULTS H13).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// So many actors are remembered; those that have not changed anything for a minute go first.
const MOST_ACTORS: usize = 1_000;
const MINUTE: f64 = 60.0;

/// Counts the changes of each actor.
#[derive(Debug)]
pub struct Pace {
    per_minute: AtomicU32,
    /// What each has left, and when that was so.
    left: Mutex<HashMap<String, (f64, Duration)>>,
}

impl Pace {
    /// So many changes a minute for each, all of them at once if need be.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self {
            per_minute: AtomicU32::new(per_minute.max(1)),
            left: Mutex::default(),
        }
    }

    /// From now on so many.
    pub fn limit(&self, per_minute: u32) {
        self.per_minute.store(per_minute.max(1), Ordering::Relaxed);
    }

    /// One change of `who`, or how long to wait for it.
    pub(super) fn take(&self, who: &str, now: Duration) -> Result<(), Duration> {
        let most = f64::from(self.per_minute.load(Ordering::Relaxed));
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_ACTORS && !all.contains_key(who) {
            all.retain(|_, (_, at)| now.saturating_sub(*at).as_secs_f64() < MINUTE);
            if all.len() >= MOST_ACTORS {
                all.clear(); // so many at once are no people; the daemon's memory comes first
            }
        }
        let (left, at) = all.entry(who.to_owned()).or_insert((most, now));
        let back = now.saturating_sub(*at).as_secs_f64() * most / MINUTE;
        *left = (*left + back).min(most);
        *at = now;
        if *left >= 1.0 {
            *left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - *left) * MINUTE / most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn each_has_a_minute_s_worth_and_then_waits() {
        let pace = Pace::new(6);
        for _ in 0..6 {
            assert_eq!(pace.take("ana", at(100)), Ok(()));
        }
        assert_eq!(pace.take("ana", at(100)), Err(at(10)));
        assert_eq!(pace.take("bob", at(100)), Ok(()), "another is not slowed");
        assert_eq!(pace.take("ana", at(105)), Err(at(5)));
        assert_eq!(pace.take("ana", at(110)), Ok(()));
        assert!(pace.take("ana", at(110)).is_err());
    }

    #[test]
    fn another_limit_holds_at_once() {
        let pace = Pace::new(1);
        assert_eq!(pace.take("ana", at(0)), Ok(()));
        assert!(pace.take("ana", at(1)).is_err());
        pace.limit(600);
        assert_eq!(pace.take("ana", at(2)), Ok(()));
    }

    #[test]
    fn a_flood_of_names_takes_no_memory() {
        let pace = Pace::new(1);
        for number in 0..10_000 {
            assert_eq!(pace.take(&number.to_string(), at(1)), Ok(()));
        }
        assert!(pace.left.lock().unwrap().len() <= MOST_ACTORS);
    }
}
