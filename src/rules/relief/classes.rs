//! Priorities under overload: classes are served from the top down. What the higher ones take is not there for the lower ones; the
//! first class that is offered more than is left gets a limit on the age of its jobs, and those below it only a probe.

use super::fresh::{AMPLE, Fresh, Limit};
use super::offered::Offered;
use super::service::ServiceTimes;

/// The priorities that are told apart; what is above the highest is like it.
const PRIORITIES: usize = 10;
/// The place of what is never shed, above them all.
const EXEMPT: usize = PRIORITIES;
/// A class with less than this share of what is offered changes nothing for those below it.
const NEXT_TO_NOTHING: f64 = 1e-9;

/// What is offered by each class, and its limit.
#[derive(Debug, Clone)]
pub struct Classes {
    offered: [Option<Box<Offered>>; PRIORITIES + 1],
    /// The limit of each priority, and whether those above it take everything.
    limits: Option<[(Limit, bool); PRIORITIES]>,
    stretch_s: f64,
    /// The share of all that is offered beyond the capacity.
    excess: f64,
}

impl Default for Classes {
    fn default() -> Self {
        Self {
            offered: Default::default(),
            limits: None,
            stretch_s: 20.0,
            excess: 0.0,
        }
    }
}

impl Classes {
    /// A message of this priority was published then; `None`: one that is never shed.
    pub fn count(&mut self, priority: Option<u8>, published_s: f64) {
        let class = priority.map_or(EXEMPT, place);
        let stretch_s = self.stretch_s;
        self.offered[class]
            .get_or_insert_with(|| Box::new(Offered::over(stretch_s)))
            .count(published_s);
    }

    /// Nothing waits any more.
    pub fn caught_up(&mut self, now_s: f64) {
        for offered in self.offered.iter_mut().flatten() {
            offered.caught_up(now_s);
        }
    }

    /// Finds the limit of each class.
    pub fn tick(
        &mut self,
        deadline_s: f64,
        fresh: &mut Fresh,
        service: &ServiceTimes,
        capacity: Option<f64>,
    ) {
        self.stretch(2.0 * deadline_s);
        let rates = self.rates();
        let all: f64 = rates.iter().sum();
        self.excess = capacity.map_or(0.0, |capacity| 1.0 - capacity / all.max(capacity));
        let mut left = capacity.map(|capacity| capacity - rates[EXEMPT]);
        fresh.guard(deadline_s, service, all, capacity);
        let mut limits = [(Limit::of_deadline(deadline_s), false); PRIORITIES];
        for class in (0..PRIORITIES).rev() {
            let short = 1.0 - AMPLE;
            let least = capacity.map_or(0.0, |capacity| capacity * short);
            let outranked = left.is_some_and(|left| left < least);
            let room = left.map(|left| left.max(least));
            limits[class] = (
                fresh.limit(deadline_s, service, rates[class], room),
                outranked,
            );
            if rates[class] > NEXT_TO_NOTHING * all {
                left = left.map(|left| left - rates[class]);
            }
        }
        self.limits = Some(limits);
    }

    /// The limit of a priority, and whether those above it take everything; `None` before the first tick.
    #[must_use]
    pub fn limit(&self, priority: u8) -> Option<(Limit, bool)> {
        self.limits.map(|limits| limits[place(priority)])
    }

    /// The share of what is offered that is beyond the capacity.
    #[must_use]
    pub fn excess(&self) -> f64 {
        self.excess
    }

    /// What each class offers per second. All are seen up to the same time: who sends nothing now is not remembered as sending.
    fn rates(&mut self) -> [f64; PRIORITIES + 1] {
        let latest = self.offered.iter().flatten().map(|one| one.latest_s());
        let latest_s = latest.fold(f64::MIN, f64::max);
        std::array::from_fn(|class| {
            self.offered[class].as_mut().map_or(0.0, |offered| {
                offered.caught_up(latest_s);
                offered.per_second()
            })
        })
    }

    fn stretch(&mut self, stretch_s: f64) {
        if (stretch_s / self.stretch_s - 1.0).abs() > 0.05 {
            self.stretch_s = stretch_s;
            for offered in self.offered.iter_mut().flatten() {
                **offered = offered.stretched(stretch_s);
            }
        }
    }
}

fn place(priority: u8) -> usize {
    usize::from(priority).min(PRIORITIES - 1)
}
