//! How long jobs take: the last hundred completions, of the whole queue and of each type. Bounded memory, exact quantiles.

use std::time::Duration;

use crate::rules::lots::KeyHash;

/// So many completions are remembered.
pub const REMEMBERED: usize = 100;
/// Of so many the mean is taken.
const RECENT: usize = 40;
/// From so many on something is said about them.
pub const ENOUGH: usize = 30;
/// Types that are told apart; what comes beyond counts for the whole queue only.
const MOST_TYPES: usize = 32;

/// The last service times, in seconds.
#[derive(Debug, Clone, Default)]
pub struct ServiceTimes {
    in_order: Vec<f32>,
    sorted: Vec<f32>,
    oldest: usize,
}

impl ServiceTimes {
    /// A job was done, and took so long; the oldest one is forgotten.
    pub fn add(&mut self, took: Duration) {
        let took_s = took.as_secs_f32();
        if self.in_order.len() < REMEMBERED {
            self.in_order.push(took_s);
        } else {
            let forgotten = std::mem::replace(&mut self.in_order[self.oldest], took_s);
            self.oldest = (self.oldest + 1) % REMEMBERED;
            let place = self.sorted.partition_point(|one| *one < forgotten);
            self.sorted.remove(place);
        }
        let place = self.sorted.partition_point(|one| *one < took_s);
        self.sorted.insert(place, took_s);
    }

    /// Whether there were [`ENOUGH`].
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.sorted.len() >= ENOUGH
    }

    /// The mean of the last 40 in seconds, never zero; `None` until it [`is known`](Self::is_known). Of fewer than the quantiles are
    /// taken from, so that the capacity is soon known when work becomes slow.
    #[must_use]
    pub fn mean_s(&self) -> Option<f64> {
        let count = self.in_order.len();
        let recent = count.min(RECENT);
        let newest = (0..recent).map(|ago| (self.oldest + count - 1 - ago) % count);
        let sum: f64 = newest.map(|place| f64::from(self.in_order[place])).sum();
        self.is_known().then(|| (sum / recent as f64).max(1e-6))
    }

    /// The seconds that this share of jobs (0 to 1) did not exceed; `None` until it is known.
    #[must_use]
    pub fn quantile_s(&self, share: f64) -> Option<f64> {
        let rank = (share * self.sorted.len() as f64).ceil() as usize;
        let last = self.sorted.len().saturating_sub(1);
        let place = rank.saturating_sub(1).min(last);
        self.is_known().then(|| f64::from(self.sorted[place]))
    }

    /// The share of jobs that took less than so many seconds; 1 until it is known.
    #[must_use]
    pub fn share_below(&self, seconds: f64) -> f64 {
        if !self.is_known() {
            return 1.0;
        }
        let below = self.sorted.partition_point(|one| f64::from(*one) < seconds);
        below as f64 / self.sorted.len() as f64
    }
}

/// Service times of a queue, and of each type of job in it.
#[derive(Debug, Clone, Default)]
pub struct ServiceByType {
    /// Of all jobs together.
    pub all: ServiceTimes,
    types: Vec<(KeyHash, ServiceTimes)>,
}

impl ServiceByType {
    /// A job was done, and took so long; `None`: the queue does not tell types apart.
    pub fn add(&mut self, job_type: Option<KeyHash>, took: Duration) {
        self.all.add(took);
        let Some(job_type) = job_type else { return };
        if let Some((_, times)) = self.types.iter_mut().find(|(one, _)| *one == job_type) {
            times.add(took);
        } else if self.types.len() < MOST_TYPES {
            let mut times = ServiceTimes::default();
            times.add(took);
            self.types.push((job_type, times));
        }
    }

    /// The types of which enough is known, with their median service time in seconds.
    pub fn medians_s(&self) -> impl Iterator<Item = (KeyHash, f64)> {
        let median = |(one, times): &(KeyHash, ServiceTimes)| Some((*one, times.quantile_s(0.5)?));
        self.types.iter().filter_map(median)
    }

    /// What is known of this type; of all jobs, while too little is known of it.
    #[must_use]
    pub fn of(&self, job_type: Option<KeyHash>) -> &ServiceTimes {
        let wanted =
            |(one, times): &&(KeyHash, ServiceTimes)| Some(*one) == job_type && times.is_known();
        let found = self.types.iter().find(wanted);
        found.map_or(&self.all, |(_, times)| times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(seconds: impl IntoIterator<Item = u64>) -> ServiceTimes {
        let mut times = ServiceTimes::default();
        for second in seconds {
            times.add(Duration::from_secs(second));
        }
        times
    }

    #[test]
    fn nothing_is_said_of_less_than_thirty() {
        let few = times(1..=29);
        assert_eq!(
            (few.mean_s(), few.quantile_s(0.5), few.share_below(1.0)),
            (None, None, 1.0)
        );
        let enough = times(1..=30);
        assert_eq!(enough.mean_s(), Some(15.5));
        assert_eq!(enough.quantile_s(0.5), Some(15.0));
        assert_eq!(enough.share_below(16.0), 0.5);
    }

    #[test]
    fn quantiles_are_of_the_last_hundred_and_the_mean_of_the_last_forty() {
        let many = times(1..=1_000);
        let quantiles = [0.0, 0.5, 0.9, 1.0].map(|share| many.quantile_s(share));
        assert_eq!(
            quantiles,
            [Some(901.0), Some(950.0), Some(990.0), Some(1_000.0)]
        );
        assert_eq!(many.mean_s(), Some(980.5));
        assert_eq!(
            (many.share_below(901.0), many.share_below(951.0)),
            (0.0, 0.5)
        );
    }

    #[test]
    fn a_type_is_known_by_its_own_jobs_and_until_then_by_all() {
        let mut service = ServiceByType::default();
        let (long, rare) = (KeyHash(1), KeyHash(2));
        for number in 0..60 {
            service.add(
                (number % 2 == 0).then_some(long),
                Duration::from_secs(1 + 8 * (1 - number % 2)),
            );
        }
        service.add(Some(rare), Duration::from_secs(100));
        assert_eq!(service.of(Some(long)).mean_s(), Some(9.0));
        assert_eq!(
            service.of(Some(rare)).quantile_s(0.5),
            service.all.quantile_s(0.5)
        );
        assert_eq!(service.medians_s().collect::<Vec<_>>(), [(long, 9.0)]);
        for number in 0..1_000 {
            service.add(Some(KeyHash(number)), Duration::ZERO);
        }
        assert_eq!(service.types.len(), MOST_TYPES);
    }
}
