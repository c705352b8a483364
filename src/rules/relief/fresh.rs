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
