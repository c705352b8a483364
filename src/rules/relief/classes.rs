//! Priorities under overload: classes are served from the top down. What the higher ones take is not there for the lower ones; the
//! first class that is offered more than is left gets a limit on the age of its jobs, and those below it only a probe.

use super::fresh::{AMPLE, Fresh, Limit};
use super::offered::Offered;
use super::service::ServiceTimes;

/// The priorities that are told apart; what is above the highest is like it.
const PRIORITIES: usize = 10;
/// Priorities, and below them those accounts that bring more than their fair share.
const CLASSES: usize = PRIORITIES + 1;
/// The place of what is never shed, above them all.
const EXEMPT: usize = CLASSES;
/// A class with less than this share of what is offered changes nothing for those below it.
const NEXT_TO_NOTHING: f64 = 1e-9;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It is never shed.
    Exempt,
    /// Of this priority; above 9 is 9.
    Priority(u8),
    /// Its account brings more than its fair share: served with what all others leave.
    OverShare,
}

impl Class {
    fn place(self) -> usize {
        match self {
            Self::Exempt => EXEMPT,
            Self::Priority(priority) => 1 + usize::from(priority).min(PRIORITIES - 1),
            Self::OverShare => 0,
        }
    }
}

/// What is offered by each class, and its limit.
#[derive(Debug, Clone)]
pub struct Classes {
    offered: [Option<Box<Offered>>; CLASSES + 1],
    /// The limit of each class, and whether those above it take everything.
    limits: Option<[(Limit, bool); CLASSES]>,
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
    /// A message of this class was published then.
    pub fn count(&mut self, class: Class, published_s: f64) {
        let stretch_s = self.stretch_s;
        self.offered[class.place()]
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
        let mut limits = [(Limit::of_deadline(deadline_s), false); CLASSES];
        for class in (0..CLASSES).rev() {
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

    /// The limit of a class, and whether those above it take everything; `None` before the first tick, and for what is exempt.
    #[must_use]
    pub fn limit(&self, class: Class) -> Option<(Limit, bool)> {
        self.limits.as_ref()?.get(class.place()).copied()
    }

    /// The share of what is offered that is beyond the capacity.
    #[must_use]
    pub fn excess(&self) -> f64 {
        self.excess
    }

    /// What each class offers per second. All are seen up to the same time: who sends nothing now is not remembered as sending.
    fn rates(&mut self) -> [f64; CLASSES + 1] {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// One second for a job, ten per second; so many offered by each class.
    fn classes(offered: &[(Class, u32)]) -> Classes {
        let mut classes = Classes::default();
        for (class, rate) in offered {
            for number in 0..40 * rate {
                classes.count(*class, f64::from(number) / f64::from(*rate));
            }
        }
        let mut service = ServiceTimes::default();
        for _ in 0..100 {
            service.add(Duration::from_secs(1));
        }
        classes.tick(10.0, &mut Fresh::default(), &service, Some(10.0));
        classes
    }

    fn check(what: &str, classes: &Classes, class: Class, expected: &str) {
        let said = match classes.limit(class) {
            None => "never shed",
            Some((_, true)) => "probes",
            Some((limit, _)) if limit.age_s >= 9.0 && !limit.is_short() => "all",
            Some(_) => "limited",
        };
        assert_eq!(said, expected, "{what}: {class:?}");
    }

    #[test]
    fn higher_classes_are_served_first() {
        let [low, middle, high] = [0, 4, 9].map(Class::Priority);
        let three = classes(&[(low, 6), (middle, 6), (high, 6)]);
        check("the highest has all", &three, high, "all");
        check("the next what is left", &three, middle, "limited");
        check("the lowest a probe", &three, low, "probes");
        check(
            "what is above nine is nine",
            &three,
            Class::Priority(255),
            "all",
        );
        let room = classes(&[(low, 3), (high, 6)]);
        check("there is room", &room, low, "all");
        let rude = classes(&[(Class::OverShare, 40), (low, 5)]);
        check(
            "who brings too much comes last",
            &rude,
            Class::OverShare,
            "limited",
        );
        check("whatever the others' priority", &rude, low, "all");
        let exempt = classes(&[(Class::Exempt, 8), (high, 6)]);
        check("the protected take their part", &exempt, high, "limited");
        check("and are never shed", &exempt, Class::Exempt, "never shed");
        assert!(
            (three.excess() - 8.0 / 18.0).abs() < 0.03,
            "{}",
            three.excess()
        );
    }

    #[test]
    fn a_class_that_fell_silent_takes_nothing() {
        let (low, high) = (Class::Priority(0), Class::Priority(9));
        let mut classes = classes(&[(high, 20)]);
        for number in 0..200 {
            classes.count(low, 60.0 + f64::from(number) / 5.0);
        }
        let mut service = ServiceTimes::default();
        for _ in 0..100 {
            service.add(Duration::from_secs(1));
        }
        classes.tick(10.0, &mut Fresh::default(), &service, Some(10.0));
        check("it was long ago", &classes, low, "all");
    }
}
