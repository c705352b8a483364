//! The keys that bring the most: which accounts send the most messages, or cost the target the most time?
//!
//! Space-Saving (Metwally, Agrawal, El Abbadi, 2005) over weights that fade: a fixed number of counters; a key without one takes
//! the smallest, and inherits what lay there as its possible error. A key with more than one part in `counters` of the weight is
//! never missed, and no key is blamed for more than it brought. Weights fade by `e` in each `tau`, by forward decay (Cormode et
//! al., 2009): a new weight grows instead of all old ones shrinking, so that an offer touches one counter.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::lots::{ByKey, KeyHash};

/// The longest part of a key that is kept, in bytes.
const LONGEST_KEY: usize = 200;
/// After so many `tau` the scale is brought back to 1, long before it could overflow.
const REBASE_AFTER_TAUS: f64 = 20.0;

/// The keys that bring the most.
#[derive(Debug)]
pub struct Top {
    most: usize,
    tau_s: f64,
    /// When the scale was 1.
    base: Duration,
    first: Option<Duration>,
    /// All weight that was offered, on the scale of `base`.
    total: f64,
    counters: Vec<Counter>,
    places: ByKey<u32>,
    /// Counters by a weight that they had: it only grew since, so the smallest is found by looking again at the front.
    smallest: BinaryHeap<Reverse<(u64, u32)>>,
}

#[derive(Debug)]
struct Counter {
    hash: KeyHash,
    key: String,
    weight: f64,
    /// How much of `weight` may be that of others.
    error: f64,
}

/// One of the keys that bring the most.
#[derive(Debug, Clone, PartialEq)]
pub struct Heavy {
    /// The key, at most its first 200 bytes.
    pub key: String,
    /// The share of all weight that it surely has, from 0 to 1.
    pub at_least: f64,
    /// The share that it has at most.
    pub at_most: f64,
    /// The weight that it surely brings per second.
    pub per_second: f64,
}

impl Top {
    /// At most so many counters, and weights that fade by `e` in each `tau`.
    #[must_use]
    pub fn new(counters: usize, tau: Duration) -> Self {
        Self {
            most: counters.max(1),
            tau_s: tau.as_secs_f64().max(0.001),
            base: Duration::ZERO,
            first: None,
            total: 0.0,
            counters: Vec::new(),
            places: ByKey::default(),
            smallest: BinaryHeap::new(),
        }
    }

    /// A key brought this weight. Weights that are not above zero count for nothing.
    pub fn offer(&mut self, now: Duration, hash: KeyHash, key: &str, weight: f64) {
        if !(weight > 0.0 && weight.is_finite()) {
            return;
        }
        self.first.get_or_insert(now);
        let scaled = weight * self.scale(now);
        self.total += scaled;
        if let Some(&place) = self.places.get(&hash) {
            self.counters[place as usize].weight += scaled;
        } else if self.counters.len() < self.most {
            self.add(hash, key, scaled);
        } else {
            self.take_over(hash, key, scaled);
        }
    }

    /// The `n` keys that surely bring the most, heaviest first.
    #[must_use]
    pub fn top(&self, now: Duration, n: usize) -> Vec<Heavy> {
        let Some(first) = self.first else {
            return Vec::new();
        };
        let surely = |counter: &Counter| counter.weight - counter.error;
        let mut heaviest: Vec<&Counter> = self.counters.iter().collect();
        heaviest.sort_by(|a, b| surely(b).total_cmp(&surely(a)));
        heaviest.truncate(n);
        // A steady stream of `r` per second weighs `r × tau` once it has run for long, and this part of it before.
        let age = now.saturating_sub(first).as_secs_f64().max(1.0);
        let seconds = self.tau_s * -(-age / self.tau_s).exp_m1();
        let faded = (-self.taus(now)).exp() / seconds;
        heaviest
            .into_iter()
            .map(|counter| Heavy {
                key: counter.key.clone(),
                at_least: surely(counter) / self.total,
                at_most: counter.weight / self.total,
                per_second: surely(counter) * faded,
            })
            .collect()
    }

    fn taus(&self, now: Duration) -> f64 {
        now.saturating_sub(self.base).as_secs_f64() / self.tau_s
    }

    /// What a weight of 1 weighs now.
    fn scale(&mut self, now: Duration) -> f64 {
        let taus = self.taus(now);
        if taus > REBASE_AFTER_TAUS {
            self.rebase(now, (-taus).exp());
            1.0
        } else {
            taus.exp()
        }
    }

    fn rebase(&mut self, now: Duration, faded: f64) {
        self.base = now;
        self.total *= faded;
        for counter in &mut self.counters {
            counter.weight *= faded;
            counter.error *= faded;
        }
        self.smallest = (0..)
            .zip(&self.counters)
            .map(|(place, counter)| Reverse((ordered(counter.weight), place)))
            .collect();
    }

    fn add(&mut self, hash: KeyHash, key: &str, weight: f64) {
        let place = u32::try_from(self.counters.len()).unwrap_or(u32::MAX);
        self.counters.push(Counter {
            hash,
            key: shortened(key).to_owned(),
            weight,
            error: 0.0,
        });
        self.places.insert(hash, place);
        self.smallest.push(Reverse((ordered(weight), place)));
    }

    fn take_over(&mut self, hash: KeyHash, key: &str, weight: f64) {
        while let Some(mut front) = self.smallest.peek_mut() {
            let Reverse((known, place)) = *front;
            let counter = &mut self.counters[place as usize];
            let actual = ordered(counter.weight);
            if known < actual {
                *front = Reverse((actual, place)); // it grew since it was put here
                continue;
            }
            self.places.remove(&counter.hash);
            self.places.insert(hash, place);
            counter.hash = hash;
            counter.key.clear();
            counter.key.push_str(shortened(key));
            counter.error = counter.weight;
            counter.weight += weight;
            *front = Reverse((ordered(counter.weight), place));
            return;
        }
    }
}

/// Weights are never negative, and the bits of such numbers stand in the order of the numbers.
fn ordered(weight: f64) -> u64 {
    weight.to_bits()
}

fn shortened(key: &str) -> &str {
    &key[..key.floor_char_boundary(LONGEST_KEY)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const TAU: Duration = Duration::from_secs(60);

    fn offer(top: &mut Top, at: Duration, key: &str, weight: f64) {
        top.offer(at, KeyHash::of(key.as_bytes()), key, weight);
    }

    #[test]
    fn the_flooding_account_stands_on_top_with_its_share_and_rate() {
        let mut top = Top::new(256, TAU);
        let mut now = Duration::ZERO;
        for n in 0..60_000 {
            now = Duration::from_millis(n * 10); // 100 a second: 60 of acme, 40 of 2,000 others
            let other = format!("account-{}", n * 7_919 % 2_000);
            let key = if n % 5 < 3 { "acme" } else { &other };
            offer(&mut top, now, key, 1.0);
        }
        let first = &top.top(now, 3)[0];
        assert_eq!(first.key, "acme");
        assert!((first.at_least - 0.6).abs() < 0.02, "{first:?}");
        assert!((first.per_second - 60.0).abs() < 2.0, "{first:?}");
    }

    #[test]
    fn the_rate_is_right_from_the_first_seconds_and_fades_afterwards() {
        let mut top = Top::new(4, TAU);
        for n in 0..50 {
            offer(&mut top, Duration::from_millis(n * 100), "acme", 1.0);
        }
        let rate = |at: u64| top.top(Duration::from_secs(at), 1)[0].per_second;
        assert!((rate(5) - 10.0).abs() < 0.5, "{}", rate(5));
        assert!(rate(600) < 0.01, "{}", rate(600));
    }

    #[test]
    fn who_was_heavy_an_hour_ago_is_forgotten() {
        let mut top = Top::new(4, TAU);
        offer(&mut top, Duration::ZERO, "old", 1_000_000.0);
        for n in 0..5 {
            offer(&mut top, Duration::from_secs(3_600 + n), "new", 1.0);
        }
        let heavy = top.top(Duration::from_secs(3_605), 2);
        assert_eq!(heavy[0].key, "new");
        assert!(heavy[1].at_most < 0.000_1, "{heavy:?}");
    }

    #[test]
    fn what_is_no_weight_counts_for_nothing_and_long_keys_are_cut() {
        let mut top = Top::new(4, TAU);
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            offer(&mut top, Duration::ZERO, "acme", weight);
        }
        assert_eq!(top.top(Duration::ZERO, 4), []);
        offer(&mut top, Duration::ZERO, &"ö".repeat(200), 1.0);
        assert_eq!(top.top(Duration::ZERO, 4)[0].key, "ö".repeat(100));
    }

    proptest! {
        #[test]
        fn a_heavy_key_is_never_missed_and_nobody_is_blamed_for_others(
            stream in prop::collection::vec((0u8..40, 0.01..10.0f64, 0u64..200_000), 1..400),
        ) {
            const COUNTERS: usize = 8;
            let mut top = Top::new(COUNTERS, TAU);
            let mut exact: BTreeMap<String, f64> = BTreeMap::new();
            let mut now = Duration::ZERO;
            for (key, weight, wait_ms) in stream {
                let wait = Duration::from_millis(wait_ms);
                now += wait;
                for kept in exact.values_mut() {
                    *kept *= (-wait.as_secs_f64() / TAU.as_secs_f64()).exp();
                }
                let key = format!("account-{key}");
                offer(&mut top, now, &key, weight);
                *exact.entry(key).or_default() += weight;
            }
            let total: f64 = exact.values().sum();
            let heavy = top.top(now, COUNTERS);
            for (key, weight) in &exact {
                let share = weight / total;
                let found = heavy.iter().find(|heavy| heavy.key == *key);
                prop_assert!(share < 1.0 / COUNTERS as f64 + 1e-9 || found.is_some(), "{key} has {share}");
                if let Some(found) = found {
                    prop_assert!(found.at_least <= share + 1e-6 && share <= found.at_most + 1e-6, "{found:?}: {share}");
                }
            }
        }
    }
}
