//! Who brings how much of the load: a fixed number of counters, however many accounts there are.
//!
//! A work-weighted heavy-hitter sketch in the family of Space-Saving (Metwally, Agrawal, El Abbadi, 2005), in the form of its twin
//! by Misra and Gries: a counter says what an account surely brought, and what was discarded of it is one number for all. When the
//! counters are used up, their median is taken off each and those with nothing left go (as in Apache DataSketches): a message costs
//! one look into a table of 64 KiB, and a purge is paid for by hundreds of them. Weights fade by `e` in each `tau`, by forward decay
//! (Cormode et al., 2009): new weight grows, so that an offer touches one counter. Time is that of publishing, so that rates are
//! right while a backlog comes through at whatever pace.

use std::time::Duration;

use crate::rules::lots::KeyHash;

/// Accounts that have a counter at most.
pub const COUNTERS: usize = 1_024;
/// Places in the table: half of them stay empty.
const PLACES: usize = 2 * COUNTERS;
/// After so many `tau` the scale is brought back to 1, long before it could overflow.
const REBASE_AFTER_TAUS: f64 = 20.0;
/// The scale is taken anew after this part of `tau`: an error of less than half a percent.
const SCALE_HOLDS: f64 = 1.0 / 256.0;
/// What is thought of the service time of an account's jobs before anything is known weighs as much as so many of them.
const BELIEVED: u16 = 10;
/// The mean is taken over about so many of its last jobs.
const LONGEST_MEAN: u16 = 200;

/// Who brings how much.
#[derive(Debug, Clone)]
pub struct LoadSketch {
    tau_s: f64,
    places: Box<[Counter; PLACES]>,
    used: usize,
    /// All weight, and what was taken off each counter, on the scale of `base_s`.
    total: f64,
    taken_off: f64,
    base_s: f64,
    /// The latest time of publishing that was seen, and the first.
    latest_s: f64,
    first_s: Option<f64>,
    scale: f64,
    scaled_until_s: f64,
}

/// Empty when its weight is zero.
#[derive(Debug, Clone, Copy, Default)]
struct Counter {
    account: u64,
    weight: f64,
    first_s: f32,
    /// The mean service time of its jobs, in seconds; 0: not known.
    mean_s: f32,
    /// How many of its jobs that is the mean of.
    served: u16,
}

/// What an account brings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Brings {
    /// Which account.
    pub account: KeyHash,
    /// Seconds of work that it surely brings per second: workers that it keeps busy.
    pub work: f64,
}

impl LoadSketch {
    /// An empty one; weights fade by `e` in each `tau`.
    #[must_use]
    pub fn new(tau: Duration) -> Self {
        Self {
            tau_s: tau.as_secs_f64().max(0.001),
            places: Box::new([Counter::default(); PLACES]),
            used: 0,
            total: 0.0,
            taken_off: 0.0,
            base_s: 0.0,
            latest_s: 0.0,
            first_s: None,
            scale: 1.0,
            scaled_until_s: 0.0,
        }
    }

    /// In which time weights fade by `e`, in seconds.
    #[must_use]
    pub fn tau_s(&self) -> f64 {
        self.tau_s
    }

    /// An account offers a job that was published at `published_s`, in seconds since the clock's start (below zero: before that);
    /// `usual_s` is the mean service time of the queue, for accounts of which none is known.
    pub fn offer(&mut self, published_s: f64, account: KeyHash, usual_s: f64) {
        self.caught_up(published_s);
        let scale = self.scale();
        let mut place = self.place_of(account);
        if self.places[place].weight == 0.0 {
            if self.used == COUNTERS {
                self.purge();
                place = self.place_of(account);
            }
            self.used += 1;
            self.places[place] = Counter {
                account: account.0,
                first_s: self.latest_s as f32,
                ..Counter::default()
            };
        }
        let counter = &mut self.places[place];
        let known_s = f64::from(counter.mean_s);
        let work_s = if known_s > 0.0 { known_s } else { usual_s };
        let weight = work_s.max(1e-9) * scale;
        counter.weight += weight;
        self.total += weight;
    }

    /// All that was published before `now_s` was seen.
    pub fn caught_up(&mut self, now_s: f64) {
        if self.first_s.is_none() {
            self.first_s = Some(now_s);
            (self.base_s, self.latest_s, self.scaled_until_s) = (now_s, now_s, now_s);
        }
        self.latest_s = self.latest_s.max(now_s);
    }

    /// A job of an account was done, and took so long; `usual_s` is what is thought of an account before anything is known.
    pub fn served(&mut self, account: KeyHash, took: Duration, usual_s: f64) {
        let place = self.place_of(account);
        let counter = &mut self.places[place];
        if counter.weight > 0.0 {
            if counter.served == 0 {
                counter.mean_s = usual_s as f32;
            }
            counter.served = (counter.served + 1).min(LONGEST_MEAN);
            let follows = 1.0 / f32::from(BELIEVED + counter.served);
            counter.mean_s += follows * (took.as_secs_f32() - counter.mean_s);
        }
    }

    /// Seconds of work that all bring per second.
    #[must_use]
    pub fn all_work(&self) -> f64 {
        let filled = |first_s| self.faded(self.total) / self.filled(first_s);
        self.first_s.map_or(0.0, filled)
    }

    /// What an account without a counter may bring at most, in seconds of work per second.
    #[must_use]
    pub fn unseen_work(&self) -> f64 {
        self.faded(self.taken_off)
    }

    /// What one account surely brings; those that bring more than `big` and are new are taken for what they bring since they came.
    #[must_use]
    pub fn work_of(&self, account: KeyHash, big: f64) -> f64 {
        self.work(&self.places[self.place_of(account)], big)
    }

    /// All accounts that have a counter; see [`LoadSketch::work_of`].
    pub fn all(&self, big: f64) -> impl Iterator<Item = Brings> {
        let used = self.places.iter().filter(|counter| counter.weight > 0.0);
        used.map(move |counter| Brings {
            account: KeyHash(counter.account),
            work: self.work(counter, big),
        })
    }

    /// The accounts that surely bring this share of all weight or more (0 to 1).
    pub fn heavy(&self, share: f64) -> impl Iterator<Item = KeyHash> {
        let limit = (share * self.total).max(f64::MIN_POSITIVE);
        let heavy = self
            .places
            .iter()
            .filter(move |counter| counter.weight >= limit);
        heavy.map(|counter| KeyHash(counter.account))
    }

    fn work(&self, counter: &Counter, big: f64) -> f64 {
        let work = self.faded(counter.weight);
        if work > big {
            work / self.filled(f64::from(counter.first_s))
        } else {
            work
        }
    }

    /// Work per second, from a weight on the scale of the base.
    fn faded(&self, weight: f64) -> f64 {
        weight * ((self.base_s - self.latest_s) / self.tau_s).exp() / self.tau_s
    }

    /// How much of its steady weight a stream has that began then.
    fn filled(&self, first_s: f64) -> f64 {
        let taus = ((self.latest_s - first_s) / self.tau_s).max(0.1);
        -(-taus).exp_m1()
    }

    /// Where an account is counted, or would be.
    fn place_of(&self, account: KeyHash) -> usize {
        let mut place = spread(account.0);
        loop {
            let counter = &self.places[place];
            if counter.weight == 0.0 || counter.account == account.0 {
                return place;
            }
            place = (place + 1) % PLACES;
        }
    }

    /// What a weight of 1 weighs now.
    fn scale(&mut self) -> f64 {
        let now_s = self.latest_s;
        if now_s < self.scaled_until_s {
            return self.scale;
        }
        let taus = (now_s - self.base_s) / self.tau_s;
        if taus > REBASE_AFTER_TAUS {
            self.take_over(|counter| counter.weight *= (-taus).exp());
            self.total *= (-taus).exp();
            self.taken_off *= (-taus).exp();
            self.base_s = now_s;
        }
        self.scale = ((now_s - self.base_s) / self.tau_s).exp();
        self.scaled_until_s = now_s + self.tau_s * SCALE_HOLDS;
        self.scale
    }

    fn purge(&mut self) {
        let used = self.places.iter().filter(|counter| counter.weight > 0.0);
        let mut weights: Vec<f64> = used.map(|counter| counter.weight).collect();
        let middle = weights.len() / 2;
        let (_, median, _) = weights.select_nth_unstable_by(middle, f64::total_cmp);
        let median = *median;
        self.taken_off += median;
        self.take_over(|counter| counter.weight -= median);
    }

    /// Changes every counter; those with nothing left go, the others find their places anew.
    fn take_over(&mut self, change: impl Fn(&mut Counter)) {
        let before = std::mem::replace(&mut self.places, Box::new([Counter::default(); PLACES]));
        self.used = 0;
        for mut counter in before.iter().copied().filter(|one| one.weight > 0.0) {
            change(&mut counter);
            if counter.weight > 0.0 {
                let place = self.place_of(KeyHash(counter.account));
                self.places[place] = counter;
                self.used += 1;
            }
        }
    }
}

/// The first place of an account: hashes of accounts are even, but made-up ones in a test need not be.
fn spread(account: u64) -> usize {
    (account.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % PLACES
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_an_account_brings_is_its_jobs_by_their_service_time() {
        let mut sketch = LoadSketch::new(Duration::from_secs(5));
        let (short, long) = (KeyHash(1), KeyHash(2));
        for number in 0..4_000_u32 {
            let at_s = f64::from(number) / 40.0;
            sketch.offer(at_s, if number % 4 == 0 { long } else { short }, 1.0);
            if number % 4 == 0 {
                sketch.served(long, Duration::from_secs(3), 1.0);
            }
        }
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.05;
        assert!(
            near(sketch.work_of(short, 0.1), 30.0),
            "{}",
            sketch.work_of(short, 0.1)
        );
        assert!(
            near(sketch.work_of(long, 0.1), 30.0),
            "{}",
            sketch.work_of(long, 0.1)
        );
        assert!(near(sketch.all_work(), 60.0), "{}", sketch.all_work());
        sketch.caught_up(115.0);
        assert!(near(sketch.all_work(), 60.0 * (-3.0_f64).exp()));
    }

    #[test]
    fn who_is_new_and_big_is_known_at_once() {
        let mut sketch = LoadSketch::new(Duration::from_secs(5));
        for number in 0..2_000_u32 {
            sketch.offer(
                f64::from(number) / 100.0,
                KeyHash(u64::from(number % 50)),
                0.01,
            );
        }
        for number in 0..100_u32 {
            sketch.offer(20.0 + f64::from(number) / 100.0, KeyHash(777), 0.01);
        }
        let found = sketch.work_of(KeyHash(777), 0.05);
        assert!((0.9..1.1).contains(&found), "{found} of 1 after a second");
    }

    #[test]
    fn it_stays_as_large_as_it_is() {
        let mut sketch = LoadSketch::new(Duration::from_secs(1));
        for number in 0..200_000_u32 {
            let account = KeyHash(u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            sketch.offer(f64::from(number) / 1_000.0, account, 1.0);
        }
        assert!(sketch.used <= COUNTERS);
        assert!(size_of::<Counter>() * PLACES <= 128 << 10);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn nobody_is_blamed_for_more_and_nobody_heavy_is_missed(
            seed in any::<u64>(), accounts in 1_u64..20_000, skew in 1_u32..6,
        ) {
            let mut sketch = LoadSketch::new(Duration::from_secs(1_000_000));
            let mut exact: HashMap<u64, f64> = HashMap::new();
            let jobs = 20_000_u32;
            for number in 0..jobs {
                let x = (u64::from(number) ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let unit = ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
                let account = (accounts as f64 * unit.powi(skew as i32)) as u64;
                sketch.offer(f64::from(number) / 1_000.0, KeyHash(account), 1.0);
                *exact.entry(account).or_default() += 1.0;
            }
            let surely: HashMap<u64, f64> = sketch.places.iter()
                .filter(|one| one.weight > 0.0)
                .map(|one| (one.account, one.weight))
                .collect();
            let missed = sketch.taken_off * 1.001 + 1e-6;
            for (account, jobs) in &exact {
                let found = surely.get(account).copied().unwrap_or(0.0);
                prop_assert!(found <= jobs * 1.01 && found + missed >= jobs * 0.99);
            }
            // What is taken off is at most what half of the counters held each time.
            prop_assert!(sketch.taken_off <= 1.01 * f64::from(jobs) / (COUNTERS as f64 / 2.0));
        }
    }
}
