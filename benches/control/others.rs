//! What else people put in front of a queue, each as its source describes it, in the same virtual time.

use std::collections::VecDeque;

use crate::queue::{DEADLINE, Draws, Job, Valve, View};

/// Everything is started.
pub(crate) struct Nothing;

impl Valve for Nothing {
    fn starts(&mut self, _: &View, _: &Job) -> bool {
        true
    }
}

/// A share is skipped at random, whatever happens.
pub(crate) struct FixedSkip(pub f64, pub Draws);

impl Valve for FixedSkip {
    fn starts(&mut self, _: &View, _: &Job) -> bool {
        self.1.unit() >= self.0
    }
}

/// What is late already is dropped: the broker's TTL.
pub(crate) struct Expiry;

impl Valve for Expiry {
    fn starts(&mut self, view: &View, job: &Job) -> bool {
        view.age <= job.deadline
    }
}

/// What would be late after a usual service time is dropped.
pub(crate) struct Predict {
    quantile: f64,
    latest: VecDeque<f64>,
    usual: f64,
}

impl Predict {
    pub(crate) fn at(quantile: f64) -> Self {
        Self {
            quantile,
            latest: VecDeque::new(),
            usual: 0.0,
        }
    }
}

impl Valve for Predict {
    fn starts(&mut self, view: &View, job: &Job) -> bool {
        view.age + view.ahead as f64 + self.usual <= job.deadline
    }

    fn done(&mut self, _: f64, _: &Job, took: f64, _: bool) {
        self.latest.push_back(took);
        if self.latest.len() > 100 {
            self.latest.pop_front();
        }
        let mut sorted: Vec<f64> = self.latest.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let rank = (self.quantile * sorted.len() as f64).ceil() as usize;
        self.usual = sorted[rank.clamp(1, sorted.len()) - 1];
    }
}

/// CoDel as Facebook runs it (Maurer, "Fail at Scale", 2015): a hard limit on the age, short while the queue has not been empty
/// for a while, else long.
pub(crate) struct FacebookCodel {
    short: f64,
    long: f64,
    empty_at: f64,
}

impl FacebookCodel {
    pub(crate) fn of(workers: usize) -> Self {
        Self {
            short: (DEADLINE / 20.0).max(1.0 / workers as f64),
            long: DEADLINE,
            empty_at: 0.0,
        }
    }
}

impl Valve for FacebookCodel {
    fn starts(&mut self, view: &View, _: &Job) -> bool {
        if view.waiting == 0 {
            self.empty_at = view.now;
        }
        let standing = view.now - self.empty_at > self.long;
        view.age + view.ahead as f64 <= if standing { self.short } else { self.long }
    }

    fn caught_up(&mut self, now: f64) {
        self.empty_at = now;
    }
}

/// CoDel's control law (RFC 8289): at ever shorter distances one is dropped while the waiting time stands above a target.
pub(crate) struct Codel {
    target: f64,
    interval: f64,
    first_above: f64,
    drop_next: f64,
    count: f64,
    last_count: f64,
    dropping: bool,
}

impl Codel {
    pub(crate) fn new() -> Self {
        Self {
            target: DEADLINE / 20.0,
            interval: DEADLINE,
            first_above: 0.0,
            drop_next: 0.0,
            count: 0.0,
            last_count: 0.0,
            dropping: false,
        }
    }

    fn may_drop(&mut self, view: &View) -> bool {
        if view.age < self.target || view.waiting == 0 {
            self.first_above = 0.0;
            return false;
        }
        if self.first_above == 0.0 {
            self.first_above = view.now + self.interval;
            return false;
        }
        view.now >= self.first_above
    }
}

impl Valve for Codel {
    fn starts(&mut self, view: &View, _: &Job) -> bool {
        let may = self.may_drop(view);
        if self.dropping {
            if !may {
                self.dropping = false;
            } else if view.now >= self.drop_next {
                self.count += 1.0;
                self.drop_next += self.interval / self.count.sqrt();
                return false;
            }
        } else if may {
            self.dropping = true;
            let delta = self.count - self.last_count;
            let lately = view.now - self.drop_next < 16.0 * self.interval;
            self.count = if delta > 1.0 && lately { delta } else { 1.0 };
            self.drop_next = view.now + self.interval / self.count.sqrt();
            self.last_count = self.count;
            return false;
        }
        true
    }
}

/// The newest first while the queue stands, and what is late is dropped (Maurer, 2015).
pub(crate) struct AdaptiveLifo {
    empty_at: f64,
}

impl AdaptiveLifo {
    pub(crate) fn new() -> Self {
        Self { empty_at: 0.0 }
    }
}

impl Valve for AdaptiveLifo {
    fn newest_first(&mut self, now: f64, waiting: usize) -> bool {
        if waiting <= 1 {
            self.empty_at = now;
        }
        now - self.empty_at > DEADLINE / 20.0
    }

    fn starts(&mut self, view: &View, job: &Job) -> bool {
        view.age <= job.deadline
    }

    fn caught_up(&mut self, now: f64) {
        self.empty_at = now;
    }
}

/// PIE (RFC 8033): a chance to drop that follows the waiting time and its trend, with the gains of the RFC in units of the target.
pub(crate) struct Pie {
    /// Whether it is asked at the head of the queue, with the age of that very job, and not at the tail as in the RFC.
    at_head: bool,
    chance: f64,
    age: f64,
    before: f64,
    next: f64,
    draws: Draws,
}

impl Pie {
    const TARGET: f64 = DEADLINE / 5.0;

    pub(crate) fn at_tail(seed: u64) -> Self {
        Self {
            at_head: false,
            chance: 0.0,
            age: 0.0,
            before: 0.0,
            next: 0.0,
            draws: Draws::of(seed ^ 77),
        }
    }

    pub(crate) fn at_head(seed: u64) -> Self {
        Self {
            at_head: true,
            ..Self::at_tail(seed)
        }
    }
}

impl Pie {
    fn look(&mut self, now: f64, age: f64) {
        while self.next <= now {
            self.next += DEADLINE / 100.0;
            let mut step =
                (0.125 * (age - Self::TARGET) + 1.25 * (age - self.before)) / Self::TARGET;
            step *= match self.chance {
                p if p < 0.000_001 => 1.0 / 2_048.0,
                p if p < 0.000_01 => 1.0 / 512.0,
                p if p < 0.000_1 => 1.0 / 128.0,
                p if p < 0.001 => 1.0 / 32.0,
                p if p < 0.01 => 1.0 / 8.0,
                p if p < 0.1 => 1.0 / 2.0,
                _ => 1.0,
            };
            if self.chance >= 0.1 {
                step = step.min(0.02);
            }
            self.chance = (self.chance + step).clamp(0.0, 1.0);
            if age == 0.0 && self.before == 0.0 {
                self.chance *= 0.98;
            }
            self.before = age;
        }
    }

    fn lets_pass(&mut self, waiting: usize) -> bool {
        let calm = self.before < Self::TARGET / 2.0 && self.chance < 0.2;
        calm || waiting <= 2 || self.draws.unit() >= self.chance
    }
}

impl Valve for Pie {
    fn enters(&mut self, now: f64, _: &Job, waiting: usize) -> bool {
        if self.at_head {
            return true;
        }
        self.look(now, if waiting == 0 { 0.0 } else { self.age });
        self.lets_pass(waiting)
    }

    fn starts(&mut self, view: &View, _: &Job) -> bool {
        self.age = view.age;
        if !self.at_head {
            return true;
        }
        self.look(view.now, view.age);
        self.lets_pass(view.waiting)
    }
}

/// Adaptive throttling (Beyer et al., "Site Reliability Engineering", 2016): publishers drop what exceeds K times what was
/// accepted lately; accepted is what was done on time.
pub(crate) struct Throttling {
    k: f64,
    window: f64,
    asked: VecDeque<f64>,
    accepted: VecDeque<f64>,
    draws: Draws,
}

impl Throttling {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            k: 2.0,
            window: 3.0 * DEADLINE,
            asked: VecDeque::new(),
            accepted: VecDeque::new(),
            draws: Draws::of(seed ^ 78),
        }
    }

    fn forget(&mut self, now: f64) {
        for times in [&mut self.asked, &mut self.accepted] {
            while times.front().is_some_and(|at| now - at > self.window) {
                times.pop_front();
            }
        }
    }
}

impl Valve for Throttling {
    fn enters(&mut self, now: f64, _: &Job, _: usize) -> bool {
        self.forget(now);
        let (asked, accepted) = (self.asked.len() as f64, self.accepted.len() as f64);
        self.asked.push_back(now);
        self.draws.unit() >= (asked - self.k * accepted) / (asked + 1.0)
    }

    fn starts(&mut self, _: &View, _: &Job) -> bool {
        true
    }

    fn done(&mut self, now: f64, _: &Job, _: f64, on_time: bool) {
        if on_time {
            self.accepted.push_back(now);
        }
    }
}

/// A skip rate that grows by steps while jobs are late, and shrinks slowly while they are not.
pub(crate) struct Aimd {
    rate: f64,
    next: f64,
    late: bool,
    draws: Draws,
}

impl Aimd {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rate: 0.0,
            next: 0.0,
            late: false,
            draws: Draws::of(seed ^ 79),
        }
    }
}

impl Valve for Aimd {
    fn starts(&mut self, view: &View, _: &Job) -> bool {
        while self.next <= view.now {
            self.next += DEADLINE;
            self.rate = if self.late {
                1.0 - (1.0 - self.rate) / 2.0
            } else {
                (self.rate - 0.05).max(0.0)
            };
            self.rate = self.rate.min(0.99);
            self.late = false;
        }
        self.draws.unit() >= self.rate
    }

    fn done(&mut self, _: f64, _: &Job, _: f64, on_time: bool) {
        self.late |= !on_time;
    }
}

/// So many jobs per second for each account, whatever the load: five times what a good one usually sends.
pub(crate) struct Quota {
    each: f64,
    credit: Vec<(f64, f64)>,
}

impl Quota {
    pub(crate) fn of(each: f64, accounts: usize) -> Self {
        Self {
            each,
            credit: vec![(5.0, 0.0); accounts],
        }
    }
}

impl Valve for Quota {
    fn starts(&mut self, view: &View, job: &Job) -> bool {
        let (credit, at) = &mut self.credit[job.account as usize];
        *credit = (*credit + (view.now - *at) * self.each).min(5.0);
        *at = view.now;
        let passes = *credit >= 1.0 && view.age <= job.deadline;
        *credit -= f64::from(u8::from(passes));
        passes
    }
}
