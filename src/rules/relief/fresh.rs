//! The age up to which jobs are worth starting, when there is more work than workers: Fresh-T.
//!
//! A queue in which every job waits as long as it may is a queue in which every job comes late. So the oldest are shed first, and
//! earlier than at their deadline: up to the age `T` that keeps the workers just busy enough. `T` weighs two losses against each
//! other: workers that idle because too much was shed (the share of time in which a queue that jobs leave after waiting `T` is
//! empty), and jobs that are started and still come late (from the service times as measured). The share that is shed is a result
//! of this, not a setting. A guard, `gamma`, shortens the limit when more comes late than was foreseen.

use super::service::ServiceTimes;

/// Ages that are tried.
const TRIED: u32 = 24;
/// A load up to this share of the capacity needs no limit but the deadline.
pub(super) const AMPLE: f64 = 0.98;
/// So many completions are looked at by the guard.
const WATCHED: u32 = 30;
/// More of them late than foreseen by this share: the limit is shortened.
const SURPRISE: f64 = 0.10;
const SHORTEN: f64 = 0.8;
const LENGTHEN: f64 = 1.05;
const LEAST_GAMMA: f64 = 0.25;

/// What the limit was found from, and the limit. All times in seconds, all rates per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// From publishing to the time at which a job is useless: D.
    pub deadline_s: f64,
    /// What a job needs at least to be done: the median service time, at most half the deadline; 0 while it is unknown.
    pub need_s: f64,
    /// The age up to which jobs are worth starting: T.
    pub age_s: f64,
    /// The guard's factor on that age, from 0.25 to 1.
    pub gamma: f64,
    /// Jobs offered per second: lambda.
    pub offered: f64,
    /// Jobs that the workers can do per second: mu; `None` while service times are unknown.
    pub capacity: Option<f64>,
}

impl Limit {
    /// The limit that the deadline itself is.
    #[must_use]
    pub fn of_deadline(deadline_s: f64) -> Self {
        Self {
            deadline_s,
            need_s: 0.0,
            age_s: deadline_s,
            gamma: 1.0,
            offered: 0.0,
            capacity: None,
        }
    }

    /// The oldest that a job may be when it starts.
    #[must_use]
    pub fn oldest_s(&self) -> f64 {
        self.age_s * self.gamma
    }

    /// Whether more is offered than the workers can do.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.capacity
            .is_some_and(|capacity| self.offered > capacity)
    }
}

/// The state of the guard.
#[derive(Debug, Clone)]
pub struct Fresh {
    gamma: f64,
    /// The last completions, one bit each: late or not.
    late: u32,
    completions: u32,
}

impl Default for Fresh {
    fn default() -> Self {
        Self {
            gamma: 1.0,
            late: 0,
            completions: 0,
        }
    }
}

impl Fresh {
    /// A job was done, on time or late.
    pub fn finished(&mut self, on_time: bool) {
        self.late = (self.late << 1 | u32::from(!on_time)) & ((1 << WATCHED) - 1);
        self.completions = (self.completions + 1).min(WATCHED);
    }

    /// The limit for jobs that are useless `deadline_s` after their publishing, when so many are offered per second and so many can
    /// be done.
    #[must_use]
    pub fn limit(
        &self,
        deadline_s: f64,
        service: &ServiceTimes,
        offered: f64,
        capacity: Option<f64>,
    ) -> Limit {
        let need_s = service
            .quantile_s(0.5)
            .map_or(0.0, |median| median.min(deadline_s / 2.0));
        let most_s = deadline_s - need_s;
        let age_s = match capacity {
            Some(capacity) if offered > AMPLE * capacity => {
                best_age_s(deadline_s, most_s, service, offered, capacity)
            }
            _ => most_s,
        };
        Limit {
            deadline_s,
            need_s,
            age_s,
            gamma: self.gamma,
            offered,
            capacity,
        }
    }

    /// The guard, once in each tick: shorter when more comes late than was foreseen, else slowly back.
    pub fn guard(
        &mut self,
        deadline_s: f64,
        service: &ServiceTimes,
        offered: f64,
        capacity: Option<f64>,
    ) {
        let limit = self.limit(deadline_s, service, offered, capacity);
        let late = f64::from(self.late.count_ones()) / f64::from(WATCHED);
        let foreseen = 1.0 - service.share_below(deadline_s - limit.oldest_s());
        let surprised = self.completions == WATCHED && late > foreseen + SURPRISE;
        self.gamma = if surprised && limit.is_short() {
            (self.gamma * SHORTEN).max(LEAST_GAMMA)
        } else {
            (self.gamma * LENGTHEN).min(1.0)
        };
    }
}

/// The age at which what is done on time is most: of those that are as good, the highest.
fn best_age_s(
    deadline_s: f64,
    most_s: f64,
    service: &ServiceTimes,
    offered: f64,
    capacity: f64,
) -> f64 {
    let mut best = (0.0, most_s);
    for step in (1..=TRIED).rev() {
        let age_s = most_s * f64::from(step) / f64::from(TRIED);
        let on_time = service.share_below(deadline_s - age_s);
        let good = on_time * (1.0 - idle_share(offered, capacity, age_s));
        if good > best.0 {
            best = (good, age_s);
        }
    }
    best.1
}

/// The share of time in which nothing waits for the workers, when jobs leave after waiting `age_s`: of a queue with random
/// arrivals and exponential work.
fn idle_share(offered: f64, capacity: f64, age_s: f64) -> f64 {
    let load = offered / capacity;
    if (load - 1.0).abs() < 0.02 {
        return 1.0 / (2.0 + capacity * age_s);
    }
    (load - 1.0) / (load * load * ((offered - capacity) * age_s).exp() - 1.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn service(seconds: impl Fn(u32) -> f64) -> ServiceTimes {
        let mut times = ServiceTimes::default();
        for number in 0..100 {
            times.add(Duration::from_secs_f64(seconds(number)));
        }
        times
    }

    fn exponential(number: u32) -> f64 {
        -((f64::from(number * 37 % 100) + 0.5) / 100.0).ln()
    }

    fn check(
        what: &str,
        offered: f64,
        work: &ServiceTimes,
        need_s: f64,
        age_s: std::ops::RangeInclusive<f64>,
    ) {
        let limit =
            Fresh::default().limit(10.0, work, offered, work.mean_s().map(|mean| 1.0 / mean));
        assert!((limit.need_s - need_s).abs() < 0.01, "{what}: {limit}");
        assert!(age_s.contains(&limit.age_s), "{what}: {limit}");
    }

    #[test]
    fn the_limit_follows_work_and_load() {
        let constant = service(|_| 1.0);
        check("there is room", 0.9, &constant, 1.0, 9.0..=9.0);
        check(
            "constant work may wait to the last",
            2.0,
            &constant,
            1.0,
            8.0..=9.0,
        );
        check(
            "variable work is started earlier",
            2.0,
            &service(exponential),
            0.69,
            3.0..=6.0,
        );
        check(
            "however much there is",
            10.0,
            &service(exponential),
            0.69,
            3.0..=6.0,
        );
        check(
            "long jobs never shut it",
            2.0,
            &service(|_| 30.0),
            5.0,
            0.1..=5.0,
        );
        check(
            "nothing is known",
            2.0,
            &ServiceTimes::default(),
            0.0,
            10.0..=10.0,
        );
    }

    #[test]
    fn the_guard_shortens_and_lets_go() {
        let work = service(|_| 1.0);
        let mut fresh = Fresh::default();
        let mut guard = |late: u32, offered: f64| {
            for number in 0..30 {
                fresh.finished(number >= late);
            }
            fresh.guard(10.0, &work, offered, Some(1.0));
            (fresh.gamma * 1_000.0).round()
        };
        assert_eq!(guard(3, 2.0), 1_000.0, "a few late ones are chance");
        assert_eq!(guard(4, 0.9), 1_000.0, "not for want of workers");
        assert_eq!([guard(4, 2.0), guard(30, 2.0)], [800.0, 640.0]);
        assert_eq!(guard(0, 2.0), 672.0);
        for _ in 0..20 {
            guard(30, 2.0);
        }
        assert_eq!(guard(30, 2.0), 250.0, "never shut");
    }

    proptest! {
        #[test]
        fn the_limit_is_never_shut_and_never_too_late(
            work in prop::collection::vec(0.0..1_000.0, 30..120), deadline_s in 0.01..1_000.0,
            offered in 0.0..10_000.0, slots in 1.0..100.0,
        ) {
            let mut times = ServiceTimes::default();
            for seconds in &work {
                times.add(Duration::from_secs_f64(*seconds));
            }
            let capacity = times.mean_s().map(|mean| slots / mean);
            let limit = Fresh::default().limit(deadline_s, &times, offered, capacity);
            prop_assert!(limit.need_s <= deadline_s / 2.0);
            prop_assert!(limit.age_s > 0.0 && limit.age_s <= (deadline_s - limit.need_s) * 1.000_001);
        }
    }
}
