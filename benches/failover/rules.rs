//! The contenders: ours, and the rules of Envoy, Hystrix and resilience4j with their defaults.

use std::collections::VecDeque;
use std::time::Duration;

use sluicegate::rules::breaker::{Breaker, Odds, Said, Standing};
use sluicegate::rules::lots::KeyHash;

/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(3);

/// A rule that says when a provider rests. Calls are answered at once.
pub(crate) trait Rule {
    /// Whether a call may begin.
    fn may(&self, now: Duration, lot: f64) -> bool;
    /// A call was made, and answered.
    fn called(&mut self, good: bool, now: Duration);
    /// Whether it passes, if only for a part.
    fn passes(&self, now: Duration) -> bool;
}

struct Ours(Breaker);

impl Rule for Ours {
    fn may(&self, now: Duration, lot: f64) -> bool {
        self.0.may(now, lot)
    }

    fn called(&mut self, good: bool, now: Duration) {
        let call = self.0.begin(now);
        let said = if good { Said::Good } else { Said::Bad };
        self.0.answered(call, said, now);
    }

    fn passes(&self, now: Duration) -> bool {
        self.0.view(now).standing == Standing::Passing
    }
}

/// Five failures in a row, thirty seconds of rest for each time it rested.
#[derive(Default)]
struct Envoy {
    in_a_row: u32,
    times: u32,
    until: Duration,
}

impl Rule for Envoy {
    fn may(&self, now: Duration, _: f64) -> bool {
        self.passes(now)
    }

    fn called(&mut self, good: bool, now: Duration) {
        self.in_a_row = if good { 0 } else { self.in_a_row + 1 };
        if self.in_a_row >= 5 {
            self.in_a_row = 0;
            self.times += 1;
            self.until = now + Duration::from_secs(30) * self.times;
        }
    }

    fn passes(&self, now: Duration) -> bool {
        self.until <= now
    }
}

/// Half of a window failing; after a rest so many calls decide.
struct Window {
    least: usize,
    within: Duration,
    rest: Duration,
    trials: u32,
    calls: VecDeque<(Duration, bool)>,
    until: Option<Duration>,
    tried: (u32, u32),
}

impl Window {
    fn hystrix() -> Self {
        Self::of(20, Duration::from_secs(10), Duration::from_secs(5), 1)
    }

    fn resilience4j() -> Self {
        Self::of(100, Duration::MAX, Duration::from_secs(60), 10)
    }

    fn of(least: usize, within: Duration, rest: Duration, trials: u32) -> Self {
        Self {
            least,
            within,
            rest,
            trials,
            calls: VecDeque::new(),
            until: None,
            tried: (0, 0),
        }
    }
}

impl Rule for Window {
    fn may(&self, now: Duration, _: f64) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    fn called(&mut self, good: bool, now: Duration) {
        if self.until.is_some() {
            self.tried.0 += 1;
            self.tried.1 += u32::from(!good);
            if self.tried.0 == self.trials {
                let ill = self.tried.1 * 2 >= self.trials;
                self.until = ill.then_some(now + self.rest);
                self.tried = (0, 0);
                self.calls.clear();
            }
            return;
        }
        self.calls.push_back((now, good));
        let old = |(at, _): &(Duration, bool)| now.saturating_sub(*at) > self.within;
        while self.calls.front().is_some_and(old) {
            self.calls.pop_front();
        }
        if self.within == Duration::MAX && self.calls.len() > self.least {
            self.calls.pop_front();
        }
        let failed = self.calls.iter().filter(|(_, good)| !good).count();
        if self.calls.len() >= self.least && failed * 2 >= self.calls.len() {
            self.until = Some(now + self.rest);
        }
    }

    fn passes(&self, _: Duration) -> bool {
        self.until.is_none()
    }
}

/// The contenders.
pub(crate) const RULES: [&str; 4] = ["ours", "Envoy", "Hystrix", "resilience4j"];

/// One of them at its start.
pub(crate) fn rule(name: &str, seed: u64) -> Box<dyn Rule> {
    match name {
        "Envoy" => Box::new(Envoy::default()),
        "Hystrix" => Box::new(Window::hystrix()),
        "resilience4j" => Box::new(Window::resilience4j()),
        _ => Box::new(Ours(Breaker::new(Odds::default(), DEADLINE, KeyHash(seed)))),
    }
}
