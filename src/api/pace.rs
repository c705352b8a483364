//! How many changes one actor may make a minute, and how many evaluations one service may ask for a second: a program that went
//! wild is slowed before it floods the log, or takes the time of all others (FAULTS H13).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// So many are remembered; those that have all that they may have go first.
const MOST_ACTORS: usize = 1_000;

/// Counts what each does.
#[derive(Debug)]
pub struct Pace {
    most: AtomicU32,
    /// In so many seconds.
    within: f64,
    /// What each has left, and when that was so.
    left: Mutex<HashMap<String, (f64, Duration)>>,
}

impl Pace {
    /// So many a minute for each, all of them at once if need be.
    #[must_use]
    pub fn each_minute(most: u32) -> Self {
        Self::within(60.0, most)
    }

    /// So many a second for each, all of them at once if need be.
    #[must_use]
    pub fn each_second(most: u32) -> Self {
        Self::within(1.0, most)
    }

    fn within(seconds: f64, most: u32) -> Self {
        Self {
            most: AtomicU32::new(most.max(1)),
            within: seconds,
            left: Mutex::default(),
        }
    }

    /// From now on so many.
    pub fn limit(&self, most: u32) {
        self.most.store(most.max(1), Ordering::Relaxed);
    }

    /// One of `who`, or how long to wait for it.
    pub(super) fn take(&self, who: &str, now: Duration) -> Result<(), Duration> {
        let most = f64::from(self.most.load(Ordering::Relaxed));
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((left, at)) = all.get_mut(who) else {
            self.make_room(&mut all, now);
            all.insert(who.to_owned(), (most - 1.0, now));
            return Ok(());
        };
        let back = now.saturating_sub(*at).as_secs_f64() * most / self.within;
        *left = (*left + back).min(most);
        *at = now;
        if *left >= 1.0 {
            *left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - *left) * self.within / most))
    }

    fn make_room(&self, all: &mut HashMap<String, (f64, Duration)>, now: Duration) {
        if all.len() < MOST_ACTORS {
            return;
        }
        all.retain(|_, (_, at)| now.saturating_sub(*at).as_secs_f64() < self.within);
        if all.len() >= MOST_ACTORS {
            all.clear(); // so many at once are too many to count; the daemon's memory comes first
        }
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
        let pace = Pace::each_minute(6);
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
    fn a_second_s_worth_is_back_after_a_second() {
        let pace = Pace::each_second(4);
        let ask = |ms: u64| pace.take("web", Duration::from_millis(ms));
        assert!((0..4).all(|_| ask(1_000).is_ok()));
        assert_eq!(ask(1_000), Err(Duration::from_millis(250)));
        assert_eq!((ask(1_250), ask(1_250).is_err()), (Ok(()), true));
        assert!((0..4).all(|_| ask(9_000).is_ok()) && ask(9_000).is_err());
    }

    #[test]
    fn another_limit_holds_at_once() {
        let pace = Pace::each_minute(1);
        assert_eq!(pace.take("ana", at(0)), Ok(()));
        assert!(pace.take("ana", at(1)).is_err());
        pace.limit(600);
        assert_eq!(pace.take("ana", at(2)), Ok(()));
    }

    #[test]
    fn a_flood_of_names_takes_no_memory() {
        let pace = Pace::each_minute(1);
        for number in 0..10_000 {
            assert_eq!(pace.take(&number.to_string(), at(1)), Ok(()));
        }
        assert!(pace.left.lock().unwrap().len() <= MOST_ACTORS);
    }
}
