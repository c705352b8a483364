//! What is seen of the messages that come to a queue: how many, how old, how large, of whom and of which type. Bounded memory.

use std::time::Duration;

use super::facts::Key;
use super::lots::KeyHash;
use super::top::{Heavy, Top};

/// Quantiles are right to within this.
const PRECISION: f64 = 0.05;
/// Enough for a year in milliseconds, and for any message in bytes.
const BUCKETS: usize = 512;
/// Accounts and types that have a counter.
const COUNTERS: usize = 1_024;
/// Weights fade so slowly that a share is that of the whole time.
const NO_FADING: Duration = Duration::from_secs(7 * 86_400);

/// How whole numbers are spread, for quantiles to within 5 %.
#[derive(Debug, Clone)]
pub struct Spread {
    counts: Box<[u64; BUCKETS]>,
    count: u64,
    largest: u64,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
            count: 0,
            largest: 0,
        }
    }
}

impl Spread {
    /// One more.
    pub fn add(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.count += 1;
        self.largest = self.largest.max(value);
    }

    /// The value that this share (0 to 1) did not exceed; `None`: there was none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(middle(place).min(self.largest));
            }
        }
        None
    }
}

/// 0 by itself, then each bucket 5 % wider than the one before.
fn bucket(value: u64) -> usize {
    if value == 0 {
        return 0;
    }
    let place = 1.0 + (value as f64).ln() / (1.0 + PRECISION).ln();
    (place as usize).min(BUCKETS - 1)
}

fn middle(place: usize) -> u64 {
    if place == 0 {
        return 0;
    }
    (1.0 + PRECISION).powf(place as f64 - 0.5).round() as u64
}

/// What is seen of one message.
#[derive(Debug, Clone, Copy)]
pub struct Came<'m> {
    /// Its age when it came; `None`: it carries none that can be.
    pub age: Option<Duration>,
    /// The length of its body, in bytes.
    pub size: u64,
    /// Its account, where the settings name a key.
    pub account: Option<&'m Key>,
    /// Its type, where it carries one.
    pub job_type: Option<&'m str>,
}

/// What came in one stretch of time.
#[derive(Debug, Clone, Default)]
pub struct Stretch {
    /// When it began, time since the clock's start.
    pub since: Duration,
    /// Messages.
    pub count: u64,
    /// Of them, how many carried no age.
    pub ageless: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Ages in milliseconds.
    pub ages: Spread,
    /// Sizes in bytes.
    pub sizes: Spread,
}

impl Stretch {
    /// Messages per second.
    #[must_use]
    pub fn per_second(&self, now: Duration) -> f64 {
        let seconds = now.saturating_sub(self.since).as_secs_f64();
        self.count as f64 / seconds.max(0.001)
    }

    fn since(since: Duration) -> Self {
        Self {
            since,
            ..Self::default()
        }
    }

    fn add(&mut self, message: &Came<'_>) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(message.size);
        self.sizes.add(message.size);
        match message.age {
            Some(age) => self
                .ages
                .add(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            None => self.ageless += 1,
        }
    }
}

/// Everything that came.
#[derive(Debug)]
pub struct Arrivals {
    /// Since the beginning.
    pub whole: Stretch,
    lately: Stretch,
    /// The most messages per second in any stretch so far.
    pub most_per_second: f64,
    accounts: Top,
    types: Top,
}

impl Arrivals {
    /// Nothing came yet.
    #[must_use]
    pub fn since(now: Duration) -> Self {
        Self {
            whole: Stretch::since(now),
            lately: Stretch::since(now),
            most_per_second: 0.0,
            accounts: Top::new(COUNTERS, NO_FADING),
            types: Top::new(COUNTERS, NO_FADING),
        }
    }

    /// A message came.
    pub fn came(&mut self, now: Duration, message: &Came<'_>) {
        self.whole.add(message);
        self.lately.add(message);
        if let Some((hash, name)) = message.account {
            self.accounts.offer(now, *hash, name, 1.0);
        }
        if let Some(job_type) = message.job_type {
            let hash = KeyHash::of(job_type.as_bytes());
            self.types.offer(now, hash, job_type, 1.0);
        }
    }

    /// What came since this was asked last.
    pub fn turn(&mut self, now: Duration) -> Stretch {
        self.most_per_second = self.most_per_second.max(self.lately.per_second(now));
        std::mem::replace(&mut self.lately, Stretch::since(now))
    }

    /// The accounts that bring the most messages.
    #[must_use]
    pub fn accounts(&self, now: Duration, most: usize) -> Vec<Heavy> {
        self.accounts.top(now, most)
    }

    /// The most frequent types.
    #[must_use]
    pub fn types(&self, now: Duration, most: usize) -> Vec<Heavy> {
        self.types.top(now, most)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_quantile_is_right_to_within_the_precision(mut values in proptest::collection::vec(0..40_000_000_000_u64, 1..200), share in 0.0..=1.0_f64) {
            let mut spread = Spread::default();
            for value in &values {
                spread.add(*value);
            }
            values.sort_unstable();
            let rank = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1] as f64;
            let found = spread.quantile(share).unwrap() as f64;
            prop_assert!((found - exact).abs() <= PRECISION * exact + 1.0, "{found}, not {exact}");
        }
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        assert_eq!(Spread::default().quantile(0.5), None);
        let mut huge = Spread::default();
        huge.add(u64::MAX);
        assert!(huge.quantile(1.0).is_some());
    }

    #[test]
    fn a_stretch_ends_with_a_turn_and_the_whole_does_not() {
        let mut arrivals = Arrivals::since(Duration::ZERO);
        let key: Key = (KeyHash(7), "acme".into());
        for number in 0..30_u64 {
            let message = Came {
                age: (number >= 10).then_some(Duration::from_millis(200)),
                size: 1_000,
                account: Some(&key),
                job_type: (number % 2 == 0).then_some("bulk"),
            };
            arrivals.came(Duration::from_millis(100 * number), &message);
        }
        let now = Duration::from_secs(3);
        let lately = arrivals.turn(now);
        assert_eq!(
            (lately.count, lately.ageless, lately.bytes),
            (30, 10, 30_000)
        );
        assert!((lately.per_second(now) - 10.0).abs() < 1e-9);
        assert!((190..=210).contains(&lately.ages.quantile(0.99).unwrap()));
        let later = Duration::from_secs(6);
        assert_eq!(arrivals.turn(later).count, 0);
        assert_eq!((arrivals.whole.count, arrivals.most_per_second), (30, 10.0));
        assert!((arrivals.whole.per_second(later) - 5.0).abs() < 1e-9);
        let accounts = arrivals.accounts(later, 3);
        assert_eq!((accounts.len(), accounts[0].key.as_str()), (1, "acme"));
        assert!((arrivals.types(later, 3)[0].at_least - 1.0).abs() < 1e-9);
    }
}
