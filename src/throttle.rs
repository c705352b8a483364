//! Permits: how fast and how many at once, for a queue and for each of its keys. Time is given; nothing here sleeps.
//!
//! governor keeps the rate of the whole queue. The keyed limits are GCRA in one number for each key, so that they can be asked
//! without being spent: a permit is spent only when all of them agree. May import `rules`.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, FakeRelativeClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::rules::gate::Gate;
use crate::rules::lots::{ByKey, KeyHash};
use crate::rules::units::Rate;
use crate::rules::verdict::Why;

/// Why a message cannot go now, and until when (time since the clock's start); `None`: until a slot comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The whole queue waits.
    Queue(Duration),
    /// Only this message's key waits.
    Key(Why, Option<Duration>),
}

/// The right to one slot; given back through [`Throttle::came_back`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Permit {
    /// The key whose slots it counts against; `None` where no keyed limit was in force when it was given.
    key: Option<KeyHash>,
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, FakeRelativeClock, NoOpMiddleware<Nanos>>;

/// The limits of one queue, as its gate sets them.
#[derive(Debug, Default)]
pub struct Throttle {
    queue_rate: Option<QueueRate>,
    each_rate: Option<Rate>,
    each_most: Option<u32>,
    /// For each key the theoretical arrival time of GCRA: when its next message would be due at an even pace, in nanoseconds since
    /// the clock's start, because millions of keys may be remembered.
    due: ByKey<u64>,
    /// How many messages of a key are in slots; only of keys that have any.
    running: ByKey<u32>,
}

#[derive(Debug)]
struct QueueRate {
    rate: Rate,
    limiter: Limiter,
    clock: FakeRelativeClock,
    at: Duration,
    /// Permits that were given back, at most a burst of them: governor takes none back.
    returned: u32,
}

impl Throttle {
    /// Takes over the limits of a gate. A rate that did not change keeps its state. A new one of the queue starts without its
    /// burst, so that turning a knob ten times lets nothing extra through; so does a new one of each key, for the keys that are
    /// remembered. What is at work when a keyed limit is first set does not count against it.
    pub fn obey(&mut self, gate: &Gate, now: Duration) {
        if self.queue_rate.as_ref().map(|limit| limit.rate) != gate.rate {
            self.queue_rate = gate.rate.and_then(|rate| QueueRate::new(rate, now));
        }
        if self.each_rate != gate.rate_each {
            self.each_rate = gate.rate_each;
            let start = self.each_rate.map(|rate| nanos(now + tolerance(rate)));
            for key in self.running.keys() {
                self.due.entry(*key).or_default();
            }
            self.due
                .values_mut()
                .for_each(|due| *due = start.unwrap_or(0));
        }
        self.each_most = gate.concurrency_each;
    }

    /// A permit for one message of `key`, or until when it must wait. Nothing is spent unless all limits agree.
    ///
    /// # Errors
    /// The limit that says no.
    pub fn admit(&mut self, key: Option<KeyHash>, now: Duration) -> Result<Permit, Hold> {
        if let Some(key) = key {
            self.key_may_go(key, now)?;
        }
        if let Some(limit) = &mut self.queue_rate {
            limit.spend(now).map_err(Hold::Queue)?;
        }
        let counted = key.filter(|_| self.each_rate.is_some() || self.each_most.is_some());
        if let Some(key) = counted {
            *self.running.entry(key).or_default() += 1;
            if let Some(interval) = self.each_rate.and_then(Rate::interval) {
                let due = self.due.entry(key).or_default();
                *due = nanos(now).max(*due).saturating_add(nanos(interval));
            }
        }
        Ok(Permit { key: counted })
    }

    /// A message left its slot.
    pub fn came_back(&mut self, permit: Permit) {
        let Some(key) = permit.key else { return };
        if let Some(running) = self.running.get_mut(&key) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&key);
            }
        }
    }

    /// A message left its slot and was not taken: what it spent is given back.
    pub fn not_taken(&mut self, permit: Permit) {
        let interval = self.each_rate.and_then(Rate::interval);
        if let Some(due) = permit.key.and_then(|key| self.due.get_mut(&key)) {
            *due = due.saturating_sub(nanos(interval.unwrap_or_default()));
        }
        if let Some(limit) = &mut self.queue_rate {
            limit.returned = (limit.returned + 1).min(limit.rate.burst());
        }
        self.came_back(permit);
    }

    /// The time between two messages of one key, when there is such a limit.
    #[must_use]
    pub fn key_interval(&self) -> Option<Duration> {
        self.each_rate.and_then(Rate::interval)
    }

    /// Whether any limit of single keys stands.
    #[must_use]
    pub fn limits_keys(&self) -> bool {
        self.each_rate.is_some() || self.each_most.is_some()
    }

    /// From when on the rate lets the next message of `key` go; time since the clock's start.
    #[must_use]
    pub fn key_due(&self, key: KeyHash) -> Duration {
        let ahead = self.each_rate.map(tolerance);
        let due = self.due.get(&key).map(|due| Duration::from_nanos(*due));
        due.zip(ahead)
            .map_or(Duration::ZERO, |(due, ahead)| due.saturating_sub(ahead))
    }

    /// Forgets keys of which nothing is remembered that matters: none running, and a full burst saved up.
    pub fn sweep(&mut self, now: Duration) {
        let now = nanos(now);
        self.due.retain(|_, due| *due > now);
        // A map keeps the room of the most that it ever held.
        if self.due.capacity() > 4 * self.due.len().max(1_024) {
            self.due.shrink_to_fit();
        }
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn keys(&self) -> usize {
        let only_running = |key: &&KeyHash| !self.due.contains_key(key);
        self.due.len() + self.running.keys().filter(only_running).count()
    }

    fn key_may_go(&self, key: KeyHash, now: Duration) -> Result<(), Hold> {
        let running = || self.running.get(&key).copied().unwrap_or(0);
        if self.each_most.is_some_and(|most| running() >= most) {
            return Err(Hold::Key(Why::Concurrency, None));
        }
        if let Some(rate) = self.each_rate {
            let free_at = self.key_due(key);
            if rate.is_stop() || free_at > now {
                return Err(Hold::Key(Why::Rate, (!rate.is_stop()).then_some(free_at)));
            }
        }
        Ok(())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How far ahead of the even pace a key may be: all of its burst but one.
fn tolerance(rate: Rate) -> Duration {
    rate.interval().unwrap_or_default() * rate.burst().saturating_sub(1)
}

impl QueueRate {
    fn new(rate: Rate, now: Duration) -> Option<Self> {
        let burst = NonZeroU32::new(rate.burst())?;
        let clock = FakeRelativeClock::default();
        let quota = Quota::with_period(rate.interval()?)?.allow_burst(burst);
        let limiter = RateLimiter::direct_with_clock(quota, clock.clone());
        // A new limiter would start with its burst; it has not been saved up.
        let _ = limiter.check_n(burst);
        Some(Self {
            rate,
            limiter,
            clock,
            at: now,
            returned: 0,
        })
    }

    /// Spends one, or says when there will be one.
    fn spend(&mut self, now: Duration) -> Result<(), Duration> {
        self.clock.advance(now.saturating_sub(self.at));
        self.at = self.at.max(now);
        if self.returned > 0 {
            self.returned -= 1;
            return Ok(());
        }
        self.limiter
            .check()
            .map_err(|refused| now + refused.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::rules::flag::Flag;
    use crate::rules::names::QueueName;
    use crate::rules::valve::Valve;

    fn gate(turned: &[(Valve, Json)]) -> Gate {
        let queue: QueueName = "orders".parse().unwrap();
        Gate::of_values(&queue, |valve| {
            let said = turned.iter().find(|(turned, _)| *turned == valve);
            let json = said.map_or_else(|| valve.neutral(), |(_, json)| json.clone());
            Flag::neutral_valve(&queue, valve, &[]).read(&json).unwrap()
        })
    }

    fn throttle(turned: &[(Valve, Json)]) -> Throttle {
        let mut throttle = Throttle::default();
        throttle.obey(&gate(turned), Duration::ZERO);
        throttle
    }

    const KEY: Option<KeyHash> = Some(KeyHash(7));
    const OTHER: Option<KeyHash> = Some(KeyHash(8));

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// How many messages of `key` go within `span`, asked each millisecond.
    fn passed(
        throttle: &mut Throttle,
        key: Option<KeyHash>,
        from: Duration,
        span: Duration,
    ) -> u32 {
        let steps = u32::try_from(span.as_millis()).unwrap();
        let mut passed = 0;
        for step in 0..steps {
            while throttle
                .admit(key, from + Duration::from_millis(1) * step)
                .is_ok()
            {
                passed += 1;
            }
        }
        passed
    }

    #[test]
    fn a_queue_rate_lets_through_what_it_says() {
        let mut throttle = throttle(&[(Valve::Rate, json!("50/s burst 5"))]);
        let passed = passed(&mut throttle, None, Duration::ZERO, secs(10));
        assert!((499..=505).contains(&passed), "{passed}");
    }

    #[test]
    fn turning_the_knob_gives_no_burst_away() {
        let mut throttle = Throttle::default();
        let mut through = 0;
        for turn in 0..10 {
            let rate = if turn % 2 == 0 {
                json!("50/s burst 50")
            } else {
                json!("51/s burst 50")
            };
            throttle.obey(&gate(&[(Valve::Rate, rate)]), secs(turn) / 100);
            through += passed(
                &mut throttle,
                None,
                secs(turn) / 100,
                Duration::from_millis(10),
            );
        }
        assert!(through <= 10, "100 ms at 50/s let {through} through");
    }

    #[test]
    fn a_key_that_waits_leaves_the_others_alone_and_spends_nothing() {
        let mut throttle = throttle(&[
            (Valve::RateEach, json!("1/s burst 1")),
            (Valve::Rate, json!("1000/s burst 1")),
        ]);
        assert!(throttle.admit(KEY, secs(1)).is_ok());
        assert_eq!(
            throttle.admit(KEY, secs(1)),
            Err(Hold::Key(Why::Rate, Some(secs(2))))
        );
        assert!(
            throttle
                .admit(OTHER, secs(1) + Duration::from_millis(1))
                .is_ok()
        );
        assert!(throttle.admit(KEY, secs(2)).is_ok());
    }

    #[test]
    fn a_key_has_only_so_many_slots() {
        let mut throttle = throttle(&[(Valve::ConcurrencyEach, json!(2))]);
        let first = throttle.admit(KEY, secs(1)).unwrap();
        let _second = throttle.admit(KEY, secs(1)).unwrap();
        assert_eq!(
            throttle.admit(KEY, secs(1)),
            Err(Hold::Key(Why::Concurrency, None))
        );
        throttle.came_back(first);
        assert!(throttle.admit(KEY, secs(1)).is_ok());
    }

    #[test]
    fn what_was_not_taken_has_spent_nothing() {
        let mut throttle = throttle(&[
            (Valve::RateEach, json!("1/s burst 1")),
            (Valve::Rate, json!("1/s burst 1")),
        ]);
        for _ in 0..20 {
            let permit = throttle.admit(KEY, secs(1)).unwrap();
            throttle.not_taken(permit);
        }
        let permit = throttle.admit(KEY, secs(1)).unwrap();
        throttle.came_back(permit);
        assert_eq!(
            throttle.admit(OTHER, secs(1)),
            Err(Hold::Queue(secs(2))),
            "twenty tries in vain are one message"
        );
        assert!(throttle.admit(KEY, secs(1)).is_err());
    }

    #[test]
    fn idle_keys_are_forgotten() {
        let mut throttle = throttle(&[(Valve::RateEach, json!("1/s"))]);
        for key in 0..1_000 {
            let permit = throttle.admit(Some(KeyHash(key)), secs(1)).unwrap();
            throttle.came_back(permit);
        }
        throttle.sweep(secs(1));
        assert_eq!(throttle.keys(), 1_000);
        throttle.sweep(secs(3));
        assert_eq!(throttle.keys(), 0);
    }

    proptest! {
        /// However often it is asked, a key gets at most rate × time + burst.
        #[test]
        fn a_keyed_rate_is_never_exceeded(rate in 1u32..200, burst in 1u32..20, gaps in proptest::collection::vec(0u64..50, 1..300)) {
            let mut throttle = throttle(&[(Valve::RateEach, json!(format!("{rate}/s burst {burst}")))]);
            let (mut now, mut passed) = (Duration::ZERO, 0u32);
            for gap in gaps {
                now += Duration::from_millis(gap);
                passed += u32::from(throttle.admit(KEY, now).is_ok());
            }
            prop_assert!(f64::from(passed) <= f64::from(rate) * now.as_secs_f64() + f64::from(burst) + 1e-6);
        }
    }
}
