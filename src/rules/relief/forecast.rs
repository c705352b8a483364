//! What relief would do to a queue now, as far as its vital signs tell: what goes at once, and what is done on time from then on.

use super::load::Load;
use crate::rules::units::Span;

/// What a deadline is kept free of besides the job itself, as a share: the way there and back.
const TO_SPARE: f64 = 0.01;
/// The oldest message must be at least so old, in seconds, before what waits tells how much comes.
const TELLING_S: f64 = 1.0;

/// The oldest that a message may be when its job begins, so that it is done before the deadline: the deadline less the median
/// service time and a hundredth of itself, at least half of it. Without a service time the deadline itself.
#[must_use]
pub fn max_age(deadline: Span, median_s: Option<f64>) -> Span {
    let deadline_s = deadline.get().as_secs_f64();
    let Some(median_s) = median_s else {
        return deadline;
    };
    let oldest_s = (deadline_s * (1.0 - TO_SPARE) - median_s).max(deadline_s / 2.0);
    Span::from_millis(((oldest_s * 1_000.0) as u64).max(1))
}

/// Whether jobs take so long that less than half of the deadline would be left for waiting.
#[must_use]
pub fn is_too_long(deadline: Span, median_s: f64) -> bool {
    median_s > deadline.get().as_secs_f64() / 2.0
}

/// What is known of a queue before relief.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Before {
    /// Messages that wait at the broker; `None`: unknown.
    pub ready: Option<u64>,
    /// How old the oldest message is, in seconds; `None`: unknown.
    pub oldest_s: Option<f64>,
    /// Jobs done per second.
    pub done: f64,
    /// The share of them that was on time; `None`: none had a deadline.
    pub on_time: Option<f64>,
    /// The load.
    pub load: Load,
}

/// What relief would do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// Messages that are shed at once, because they are too old already; `None`: unknown.
    pub at_once: Option<u64>,
    /// Jobs per second that are offered.
    pub offered: f64,
    /// Jobs per second that the workers can do; `None`: not known yet.
    pub capacity: Option<f64>,
    /// Jobs per second that are done on time now; `None`: nobody knows what is on time.
    pub on_time_now: Option<f64>,
    /// The most jobs per second that are done on time then; `None`: not known yet.
    pub on_time_then: Option<f64>,
    /// The share that is shed from then on, as long as so much comes; `None`: not known yet.
    pub shed_then: Option<f64>,
}

impl Before {
    /// What comes of relief that sheds what is older than `max_age`, and by lot at least the share `skipped`.
    ///
    /// Messages that wait are taken to be spread evenly over their ages, as they are when they came evenly.
    #[must_use]
    pub fn forecast(&self, max_age: Span, skipped: f64) -> Forecast {
        let (offered, capacity) = (self.offered(), self.load.capacity());
        let passes = offered * (1.0 - skipped);
        Forecast {
            at_once: self.too_old(max_age.get().as_secs_f64(), skipped),
            offered,
            capacity,
            on_time_now: self.on_time.map(|share| share * self.done),
            on_time_then: capacity.map(|capacity| passes.min(capacity)),
            shed_then: capacity.map(|capacity| match offered > 0.0 {
                true => (1.0 - passes.min(capacity) / offered).clamp(skipped, 1.0),
                false => skipped,
            }),
        }
    }

    /// What comes. While nothing is shed no more is taken than can be done, and the rest is what waits, over its oldest one's age.
    fn offered(&self) -> f64 {
        let waiting = self
            .ready
            .zip(self.oldest_s.filter(|age| *age >= TELLING_S));
        let piled_up = waiting.map_or(0.0, |(ready, age_s)| ready as f64 / age_s);
        self.load.offered.max(piled_up)
    }

    fn too_old(&self, max_age_s: f64, skipped: f64) -> Option<u64> {
        let (ready, oldest_s) = (self.ready?, self.oldest_s?);
        let younger = (max_age_s / oldest_s.max(1e-9)).min(1.0);
        let stays = younger * (1.0 - skipped);
        Some((ready as f64 * (1.0 - stays)).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str) -> Span {
        text.parse().unwrap()
    }

    #[test]
    fn the_oldest_that_is_worth_starting() {
        let check = |deadline: &str, median_s: Option<f64>, expected: &str| {
            let found = max_age(span(deadline), median_s).to_string();
            assert_eq!(found, expected, "{deadline}, {median_s:?}");
        };
        check("10s", None, "10s");
        check("10s", Some(0.04), "9s 860ms");
        check("30s", Some(2.0), "27s 700ms");
        check("10s", Some(7.0), "5s");
        check("10s", Some(70.0), "5s");
        check("1ms", Some(0.5), "1ms");
        assert!(is_too_long(span("10s"), 5.1) && !is_too_long(span("10s"), 4.9));
    }

    /// Eight slots, 40 ms for a job: 200 a second.
    fn before(ready: Option<u64>, oldest_s: Option<f64>, on_time: Option<f64>) -> Before {
        let load = Load {
            offered: 200.0,
            service_s: Some(0.04),
            slots: 8,
        };
        Before {
            ready,
            oldest_s,
            done: 200.0,
            on_time,
            load,
        }
    }

    fn near(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
    }

    #[test]
    fn behind_a_backlog_more_comes_than_is_taken() {
        let told = before(Some(12_000), Some(20.0), Some(0.0)).forecast(span("10s"), 0.0);
        assert_eq!((told.at_once, told.offered), (Some(6_000), 600.0));
        near(told.on_time_now, 0.0);
        near(told.on_time_then, 200.0);
        near(told.shed_then, 2.0 / 3.0);
    }

    #[test]
    fn a_share_by_hand_goes_too_and_may_be_too_much() {
        let half = before(Some(12_000), Some(20.0), Some(0.5)).forecast(span("10s"), 0.5);
        assert_eq!(half.at_once, Some(9_000));
        near(half.on_time_now, 100.0);
        near(half.on_time_then, 200.0);
        near(half.shed_then, 2.0 / 3.0);
        let most = before(Some(12_000), Some(20.0), None).forecast(span("10s"), 0.9);
        near(most.on_time_then, 60.0);
        near(most.shed_then, 0.9);
        assert_eq!(most.on_time_now, None);
    }

    #[test]
    fn nothing_is_claimed_that_is_not_known() {
        let mut unknown = before(None, None, None);
        unknown.load.service_s = None;
        let told = unknown.forecast(span("10s"), 0.0);
        assert_eq!(
            (told.at_once, told.capacity, told.on_time_then),
            (None, None, None)
        );
        let calm = before(Some(0), Some(0.01), Some(1.0)).forecast(span("10s"), 0.0);
        assert_eq!(calm.at_once, Some(0));
        near(calm.shed_then, 0.0);
    }
}
