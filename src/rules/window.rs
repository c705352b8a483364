//! What happened in the last minute: counts by the second, and the last service times. Bounded memory, no sweeping.

use std::time::Duration;

/// Seconds that a [`Window`] remembers.
pub const REMEMBERED_S: u64 = 60;
/// Seconds over which a rate is taken.
const RATE_OVER_S: u64 = 10;
/// One more than is remembered: the second that is running now.
const BUCKETS: usize = REMEMBERED_S as usize + 1;
const NEVER: u64 = u64::MAX;

/// Counts of `N` kinds of events by the second, for the last minute.
#[derive(Debug)]
pub struct Window<const N: usize> {
    buckets: [Bucket<N>; BUCKETS],
    first: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket<const N: usize> {
    second: u64,
    counts: [u32; N],
}

impl<const N: usize> Default for Window<N> {
    fn default() -> Self {
        let empty = Bucket {
            second: NEVER,
            counts: [0; N],
        };
        Self {
            buckets: [empty; BUCKETS],
            first: None,
        }
    }
}

impl<const N: usize> Window<N> {
    /// An event of this kind happened.
    pub fn count(&mut self, now: Duration, kind: usize) {
        self.first.get_or_insert(now);
        let second = now.as_secs();
        let bucket = &mut self.buckets[place(second)];
        if bucket.second != second {
            *bucket = Bucket {
                second,
                counts: [0; N],
            };
        }
        bucket.counts[kind] = bucket.counts[kind].saturating_add(1);
    }

    /// Events of this kind per second, over the last ten seconds (or since the first event, when that is less long ago).
    #[must_use]
    pub fn per_second(&self, now: Duration, kind: usize) -> f64 {
        let Some(first) = self.first else {
            return 0.0;
        };
        let second = now.as_secs();
        let whole: u64 = (0..RATE_OVER_S).map(|ago| self.at(second, ago, kind)).sum();
        // The oldest second has partly left the ten: so much of it still counts.
        let part = 1.0 - f64::from(now.subsec_nanos()) / 1e9;
        let events = whole as f64 + part * self.at(second, RATE_OVER_S, kind) as f64;
        let known = now.saturating_sub(first).as_secs_f64();
        events / known.clamp(1.0, RATE_OVER_S as f64)
    }

    /// Events of this kind in the last minute.
    #[must_use]
    pub fn in_the_last_minute(&self, now: Duration, kind: usize) -> u64 {
        let second = now.as_secs();
        (0..REMEMBERED_S)
            .map(|ago| self.at(second, ago, kind))
            .sum()
    }

    fn at(&self, second: u64, ago: u64, kind: usize) -> u64 {
        let Some(then) = second.checked_sub(ago) else {
            return 0;
        };
        let bucket = &self.buckets[place(then)];
        if bucket.second == then {
            u64::from(bucket.counts[kind])
        } else {
            0
        }
    }
}

fn place(second: u64) -> usize {
    usize::try_from(second % BUCKETS as u64).unwrap_or(0)
}

/// How many service times a [`Latest`] remembers.
pub const LATEST: usize = 512;

/// The last durations, for quantiles that are exact over them.
#[derive(Debug, Default)]
pub struct Latest {
    micros: Vec<u32>,
    next: usize,
}

impl Latest {
    /// Remembers one (up to 71 minutes), and forgets the oldest.
    pub fn add(&mut self, duration: Duration) {
        let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        if self.micros.len() < LATEST {
            self.micros.push(micros);
        } else {
            self.micros[self.next] = micros;
        }
        self.next = (self.next + 1) % LATEST;
    }

    /// For each share, from 0 to 1, the duration in seconds that so many did not exceed; `None`: there were none yet.
    #[must_use]
    pub fn quantiles<const N: usize>(&self, shares: [f64; N]) -> Option<[f64; N]> {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        Some(shares.map(|share| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            f64::from(sorted[rank.saturating_sub(1).min(last)]) / 1e6
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_steady_stream_has_its_rate_at_every_moment() {
        let mut window = Window::<1>::default();
        for n in 0..20_000 {
            window.count(ms(n * 10), 0);
            if n > 200 && n % 37 == 0 {
                let rate = window.per_second(ms(n * 10), 0);
                assert!((rate - 100.0).abs() < 2.0, "{rate} after {} ms", n * 10);
            }
        }
    }

    #[test]
    fn a_stream_that_ends_is_forgotten_in_ten_seconds_and_in_a_minute() {
        let mut window = Window::<2>::default();
        for n in 0..100 {
            window.count(ms(n), 1);
        }
        for (at_ms, in_minute) in [
            (0, 100),
            (59_999, 100),
            (60_000, 0),
            (61_000, 0),
            (1_000_000, 0),
        ] {
            assert_eq!(
                window.in_the_last_minute(ms(at_ms), 1),
                in_minute,
                "{at_ms}"
            );
            assert_eq!(window.in_the_last_minute(ms(at_ms), 0), 0, "{at_ms}");
        }
        for (at_ms, rate) in [(500, 100.0), (5_000, 20.0), (10_500, 5.0), (11_000, 0.0)] {
            let got = window.per_second(ms(at_ms), 1);
            assert!((got - rate).abs() < 0.1, "{got} at {at_ms} ms");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_last_ones() {
        let mut latest = Latest::default();
        assert_eq!(latest.quantiles([0.5]), None);
        latest.add(ms(7));
        assert_eq!(latest.quantiles([0.0, 0.5, 1.0]), Some([0.007; 3]));
        for n in 1..=LATEST as u64 {
            latest.add(ms(n));
        }
        assert_eq!(
            latest.quantiles([0.5, 0.9, 0.99]),
            Some([0.256, 0.461, 0.507])
        );
        latest.add(Duration::MAX);
        assert!(latest.quantiles([1.0]).unwrap()[0] > 4_000.0);
    }
}
