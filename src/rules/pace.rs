//! What a provider takes of its own: so many a second, so many a day, and nothing before the time it asked us to wait for.

use std::time::Duration;

use super::units::Rate;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;
/// The longest wait that a provider may ask for.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// The wait after an answer "too many" that names none.
const PLAIN_WAIT: Duration = Duration::from_secs(5);

/// The pace of one provider.
#[derive(Debug, Clone)]
pub struct Pace {
    rate: Option<Rate>,
    per_day: Option<u64>,
    /// When the next call would be on time, if they came evenly (GCRA).
    due: Duration,
    /// The day since 1970 that is counted, and how many calls it had.
    today: (i64, u64),
    asked_until: Duration,
}

impl Pace {
    /// The pace that the file sets; `None`: no limit.
    #[must_use]
    pub fn new(rate: Option<Rate>, per_day: Option<u64>) -> Self {
        Self {
            rate,
            per_day,
            due: Duration::ZERO,
            today: (0, 0),
            asked_until: Duration::ZERO,
        }
    }

    /// When the next call may be made: now, when it is not after `now`. `now_ms`, milliseconds since 1970, tells the day (UTC).
    #[must_use]
    pub fn next(&self, now: Duration, now_ms: i64) -> Duration {
        let mut next = self.asked_until;
        if let Some(rate) = self.rate {
            next = next.max(match rate.interval() {
                Some(interval) => self.due.saturating_sub(interval * (rate.burst() - 1)),
                None => now + LONGEST_WAIT, // 0/s: stop
            });
        }
        if self
            .per_day
            .is_some_and(|most| self.calls_today(now_ms) >= most)
        {
            let left = DAY_MS - now_ms.rem_euclid(DAY_MS);
            next = next.max(now + Duration::from_millis(u64::try_from(left).unwrap_or(0)));
        }
        next
    }

    /// A call is made.
    pub fn called(&mut self, now: Duration, now_ms: i64) {
        if let Some(interval) = self.rate.and_then(Rate::interval) {
            self.due = self.due.max(now) + interval;
        }
        self.today = (now_ms.div_euclid(DAY_MS), self.calls_today(now_ms) + 1);
    }

    /// The provider asked us to wait, so long if it said so.
    pub fn asked_to_wait(&mut self, wait: Option<Duration>, now: Duration) {
        let wait = wait.unwrap_or(PLAIN_WAIT).min(LONGEST_WAIT);
        self.asked_until = self.asked_until.max(now + wait);
    }

    /// Until when it asked us to wait.
    #[must_use]
    pub fn asked_until(&self) -> Duration {
        self.asked_until
    }

    /// The calls of this day.
    #[must_use]
    pub fn calls_today(&self, now_ms: i64) -> u64 {
        let (day, calls) = self.today;
        if day == now_ms.div_euclid(DAY_MS) {
            calls
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON_MS: i64 = 20_000 * DAY_MS + DAY_MS / 2;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_rate_spaces_calls_out_after_its_burst() {
        let mut pace = Pace::new(Some("10/s burst 3".parse().unwrap()), None);
        let mut made = vec![];
        let mut now = at(1_000);
        for _ in 0..6 {
            now = now.max(pace.next(now, NOON_MS));
            pace.called(now, NOON_MS);
            made.push((now - at(1_000)).as_millis());
        }
        assert_eq!(made, [0, 0, 0, 100, 200, 300]);
        assert!(Pace::new(Some("0/s".parse().unwrap()), None).next(now, NOON_MS) > now);
    }

    #[test]
    fn a_day_that_is_used_up_ends_at_midnight() {
        let mut pace = Pace::new(None, Some(2));
        pace.called(at(0), NOON_MS);
        assert!(pace.next(at(0), NOON_MS) <= at(0));
        pace.called(at(0), NOON_MS);
        assert_eq!(pace.next(at(0), NOON_MS), Duration::from_secs(12 * 3_600));
        assert_eq!(pace.calls_today(NOON_MS + DAY_MS), 0);
        assert!(pace.next(at(5), NOON_MS + DAY_MS) <= at(5));
    }

    #[test]
    fn a_wish_to_wait_is_kept_and_bounded() {
        let mut pace = Pace::new(None, None);
        pace.asked_to_wait(Some(at(3_000)), at(1_000));
        assert_eq!(pace.next(at(1_000), NOON_MS), at(4_000));
        pace.asked_to_wait(Some(at(10)), at(2_000));
        assert_eq!(
            pace.asked_until(),
            at(4_000),
            "a shorter one changes nothing"
        );
        pace.asked_to_wait(None, at(2_000));
        assert_eq!(pace.asked_until(), at(7_000));
        pace.asked_to_wait(Some(Duration::from_secs(1 << 40)), at(0));
        assert_eq!(pace.asked_until(), LONGEST_WAIT);
    }
}
