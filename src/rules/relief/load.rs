//! What is measured of every queue, whether a valve is on or not: how much is offered, what the workers can do, how many workers
//! it would take.

use std::time::Duration;

use super::offered::Offered;
use super::service::ServiceByType;
use crate::rules::lots::KeyHash;

/// The stretch of publishing over which the rate is taken, while no deadline is known.
const USUAL_STRETCH_S: f64 = 60.0;

/// The measurements of one queue.
#[derive(Debug, Clone)]
pub struct Measures {
    /// How long jobs take.
    pub service: ServiceByType,
    offered: Offered,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            service: ServiceByType::default(),
            offered: Offered::over(USUAL_STRETCH_S),
        }
    }
}

impl Measures {
    /// A message came for the first time, published so long before `now`; `None`: its age is unknown, and it counts as new. To be
    /// told of every message, whatever becomes of it.
    pub fn offered(&mut self, now: Duration, age: Option<Duration>) {
        self.offered.count(published_s(now, age));
    }

    /// Nothing waits, at the broker or in hand: all that was published so far was seen.
    pub fn caught_up(&mut self, now: Duration) {
        self.offered.caught_up(now.as_secs_f64());
    }

    /// A job came back from the target, and took so long; also one that failed, for it held a slot.
    pub fn served(&mut self, job_type: Option<KeyHash>, took: Duration) {
        self.service.add(job_type, took);
    }

    /// The load on so many slots.
    #[must_use]
    pub fn load(&self, slots: u32) -> Load {
        Load {
            offered: self.offered.per_second(),
            service_s: self.service.all.mean_s(),
            slots,
        }
    }
}

/// When a message was published, in seconds since the clock's start.
pub(super) fn published_s(now: Duration, age: Option<Duration>) -> f64 {
    now.as_secs_f64() - age.unwrap_or_default().as_secs_f64()
}

/// How much is offered to how many workers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Jobs offered per second, by the time of their publishing; also those that are shed.
    pub offered: f64,
    /// The mean service time in seconds; `None`: fewer than 30 jobs were done so far.
    pub service_s: Option<f64>,
    /// Jobs that may be at the target at once.
    pub slots: u32,
}

impl Load {
    /// Jobs per second that the slots can do; `None`: not known yet.
    #[must_use]
    pub fn capacity(&self) -> Option<f64> {
        Some(f64::from(self.slots) / self.service_s?)
    }

    /// Workers (slots) that it takes to do all that is offered: offered rate × service time, with nothing to spare. It counts what
    /// is shed, so that a scaler sees the load and not what relief makes of it. `None`: not known yet, so keep what there is.
    #[must_use]
    pub fn workers_wanted(&self) -> Option<f64> {
        Some(self.offered * self.service_s?)
    }

    /// Whether more is offered than the slots can do; no, while that is unknown.
    #[must_use]
    pub fn exceeds_capacity(&self) -> bool {
        self.capacity()
            .is_some_and(|capacity| self.offered > capacity)
    }

    /// Whether the end of a valve that shed lately would hurt now: it sheds because there is more to do than can be done.
    #[must_use]
    pub fn end_would_hurt(&self, sheds: bool) -> bool {
        sheds && self.exceeds_capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many jobs per second of so many seconds each, for a while.
    fn load(rate: u32, service_s: f64, slots: u32) -> Load {
        let mut measures = Measures::default();
        for number in 0..120 * rate {
            let now = Duration::from_secs_f64(f64::from(number) / f64::from(rate));
            measures.offered(now, None);
        }
        for _ in 0..30 {
            measures.served(None, Duration::from_secs_f64(service_s));
        }
        measures.load(slots)
    }

    fn check(rate: u32, service_s: f64, slots: u32, wanted: f64, hurts: bool) {
        let load = load(rate, service_s, slots);
        let found = load.workers_wanted().unwrap();
        assert!(
            (found / wanted - 1.0).abs() < 0.02,
            "{load:?} wants {found}, not {wanted}"
        );
        assert_eq!(load.end_would_hurt(true), hurts, "{load:?}");
        assert!(!load.end_would_hurt(false), "{load:?}");
    }

    #[test]
    fn it_asks_for_workers_while_we_shed() {
        check(10, 2.0, 40, 20.0, false);
        check(10, 2.0, 10, 20.0, true);
        check(100, 0.5, 49, 50.0, true);
    }

    #[test]
    fn nothing_is_claimed_before_it_is_known() {
        let load = Measures::default().load(8);
        assert_eq!((load.capacity(), load.workers_wanted()), (None, None));
        assert!(!load.end_would_hurt(true));
    }

    #[test]
    fn a_queue_that_fell_silent_wants_nobody() {
        let mut measures = Measures::default();
        for number in 0..1_000 {
            measures.offered(
                Duration::from_millis(number * 100),
                Some(Duration::from_secs(600)),
            );
        }
        assert!(measures.load(8).offered > 9.0);
        measures.caught_up(Duration::from_secs(300));
        assert_eq!(measures.load(8).offered, 0.0);
    }
}
