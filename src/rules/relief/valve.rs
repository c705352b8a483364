//! The automatic valve of one queue: which messages are worth starting now. See [`super::fresh`] for the limit itself.
//!
//! The worker tells it of each message once when it [`arrived`](AutoValve::arrived), asks it to [`decide`](AutoValve::decide) when a
//! slot is free (and on arrival, if it likes: asking changes nothing), and tells it what it did: [`began`](AutoValve::began) or
//! [`shed`](AutoValve::shed), and later [`finished`](AutoValve::finished). Each [`tick`](AutoValve::tick) finds new limits.
//!
//! It comes after `max_age`, `degrade`, `skip` and the fair share, and composes with them: any of them may shed. In `observe` the
//! worker asks and tells the same, and runs what is to be shed all the same.

use std::time::Duration;

use super::classes::{Class, Classes};
use super::deadlines::Deadlines;
use super::decision::{Decision, Grounds, Numbers, Pass};
use super::fresh::{Fresh, Limit};
use super::load::published_s;
use super::service::ServiceByType;
use crate::rules::lots::KeyHash;
use crate::rules::units::Ratio;

/// The share of outranked messages that is let pass, so that it is seen when that need not be.
const PROBED: f64 = 0.01;
/// Messages by which what was shed may run ahead of the ceiling, and stay behind it.
const LEEWAY: f64 = 20.0;
/// The shortest and the longest time between ticks, in seconds; between them, a tenth of the deadline.
const TICK_S: (f64, f64) = (0.1, 1.0);
/// The shortest time without any beginning after which one message is a probe, in seconds; else the deadline.
const PROBE_AFTER_S: f64 = 1.0;

/// What an operator allows the valve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// The share that is shed in any case, drawn by lot.
    pub floor: Ratio,
    /// The share that is shed at most.
    pub ceiling: Ratio,
    /// By so much the share that is shed may rise from one tick to the next; it may fall at once.
    pub step: Ratio,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            floor: Ratio::ZERO,
            ceiling: Ratio::ONE,
            step: Ratio::ONE,
        }
    }
}

/// What the valve asks of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// How long ago it was published; `None`: not known.
    pub age: Option<Duration>,
    /// How long it will still wait for its slot: zero when it has one, else jobs in hand before it × mean service time ÷ slots.
    pub ahead: Duration,
    /// From its publishing until it is useless; `None`: never.
    pub deadline: Option<Duration>,
    /// Whether `protect` exempts it.
    pub protected: bool,
    /// Its priority; above 9 is 9.
    pub priority: u8,
    /// Whether its account brings more than its fair share; see [`super::fair`].
    pub over_share: bool,
    /// Its type, when the queue tells types apart.
    pub job_type: Option<KeyHash>,
    /// What it draws, from 0 to 1; always the same for the same message, and independent of its draw for `skip`.
    pub lot: f64,
}

impl Candidate {
    fn class(&self) -> Class {
        match (self.exempt(), self.over_share) {
            (Some(_), _) => Class::Exempt,
            (None, true) => Class::OverShare,
            (None, false) => Class::Priority(self.priority),
        }
    }

    fn exempt(&self) -> Option<Pass> {
        match (self.protected, self.age, self.deadline) {
            (true, ..) => Some(Pass::Protected),
            (_, Some(_), Some(_)) => None,
            _ => Some(Pass::Ageless),
        }
    }
}

/// The automatic valve.
#[derive(Debug, Clone)]
pub struct AutoValve {
    bounds: Bounds,
    fresh: Fresh,
    deadlines: Deadlines,
    classes: Classes,
    /// Types with service times of their own, and what their jobs need in seconds.
    needs: Vec<(KeyHash, f64)>,
    /// Messages that may not be shed any more, because of ceiling or step.
    owed: f64,
    /// The share that may be shed until the next tick.
    allowed: f64,
    last_began: Option<Duration>,
    next_tick: Duration,
    /// Shed and begun since the last tick.
    lately: (u32, u32),
    shed_share: f64,
}

impl AutoValve {
    /// A valve that has seen nothing yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            fresh: Fresh::default(),
            deadlines: Deadlines::default(),
            classes: Classes::default(),
            needs: Vec::new(),
            owed: 0.0,
            allowed: bounds.step.get().min(bounds.ceiling.get()),
            last_began: None,
            next_tick: Duration::ZERO,
            lately: (0, 0),
            shed_share: 0.0,
        }
    }

    /// Other bounds from now on.
    pub fn bound(&mut self, bounds: Bounds) {
        self.bounds = bounds;
        self.allowed = self.allowed.min(bounds.ceiling.get());
    }

    /// A message came that no other valve sheds; once for each.
    pub fn arrived(&mut self, now: Duration, message: &Candidate) {
        let published_s = published_s(now, message.age);
        self.classes.count(message.class(), published_s);
        if let Some(deadline) = message.deadline {
            self.deadlines.count(deadline.as_secs_f64());
        }
        self.owed = (self.owed + 1.0 - self.allowed).min(LEEWAY);
        self.last_began.get_or_insert(now);
    }

    /// Nothing waits any more, at the broker or in hand.
    pub fn caught_up(&mut self, now: Duration) {
        self.classes.caught_up(now.as_secs_f64());
    }

    /// What is to become of a message. Asking changes nothing.
    #[must_use]
    pub fn decide(&self, now: Duration, message: &Candidate) -> Decision {
        if let Some(pass) = message.exempt() {
            return Decision::Pass(pass);
        }
        let Some((grounds, numbers)) = self.grounds(message) else {
            return Decision::Pass(Pass::Fresh);
        };
        if self.owed >= 1.0 && grounds != Grounds::Floor {
            return Decision::Pass(Pass::Ceiling);
        }
        if self.is_probe(now, &numbers) {
            return Decision::Pass(Pass::Probe);
        }
        Decision::Shed(grounds, numbers)
    }

    /// A message goes to its slot.
    pub fn began(&mut self, now: Duration) {
        self.last_began = Some(now);
        self.owed = (self.owed - 1.0).max(-LEEWAY);
        self.lately.1 = self.lately.1.saturating_add(1);
    }

    /// A message was shed by this valve.
    pub fn shed(&mut self) {
        self.lately.0 = self.lately.0.saturating_add(1);
    }

    /// A job that had a deadline was done, on time or late.
    pub fn finished(&mut self, on_time: bool) {
        self.fresh.finished(on_time);
    }

    /// Finds new limits when it is time for that: with service times as measured, for so many slots. Cheap until then, so it may
    /// be called for every message.
    pub fn tick(&mut self, now: Duration, service: &ServiceByType, slots: u32) {
        if now < self.next_tick {
            return;
        }
        let Some(deadline_s) = self.deadlines.tightest_s() else {
            return;
        };
        let wait_s = (deadline_s / 10.0).clamp(TICK_S.0, TICK_S.1);
        self.next_tick = now + Duration::from_secs_f64(wait_s);
        let capacity = service.all.mean_s().map(|mean| f64::from(slots) / mean);
        self.classes
            .tick(deadline_s, &mut self.fresh, &service.all, capacity);
        self.needs = service.medians_s().collect();
        let (shed, begun) = (f64::from(self.lately.0), f64::from(self.lately.1));
        if shed + begun > 0.0 {
            self.shed_share = shed / (shed + begun);
            self.lately = (0, 0);
        }
        let risen = self.shed_share + self.bounds.step.get();
        self.allowed = risen.min(self.bounds.ceiling.get());
    }

    /// The limit for messages of this class; `None`: those of higher ones take all, or nothing is known yet. For explanations and
    /// metrics.
    #[must_use]
    pub fn limit(&self, class: Class) -> Option<Limit> {
        let (limit, outranked) = self.classes.limit(class)?;
        (!outranked).then_some(limit)
    }

    /// The share of messages that was shed between the last ticks.
    #[must_use]
    pub fn shed_share(&self) -> f64 {
        self.shed_share
    }

    /// The share that it will come to shed as things stand: what is offered beyond the capacity. What `observe` shows, for without
    /// relief nearly everything is too old.
    #[must_use]
    pub fn expected_share(&self) -> f64 {
        self.classes.excess().clamp(
            self.bounds.floor.get(),
            self.bounds.ceiling.get().max(self.bounds.floor.get()),
        )
    }

    fn grounds(&self, message: &Candidate) -> Option<(Grounds, Numbers)> {
        let deadline_s = message.deadline?.as_secs_f64();
        let age_s = message.age?.as_secs_f64() + message.ahead.as_secs_f64();
        let known = self.classes.limit(message.class());
        let (limit, outranked) = known.unwrap_or((Limit::of_deadline(deadline_s), false));
        let need_s = self.need_s(message.job_type, &limit).min(deadline_s / 2.0);
        let numbers = Numbers {
            age_s,
            deadline_s,
            need_s,
            limit,
        };
        let grounds = if message.lot < self.bounds.floor.get() {
            Grounds::Floor
        } else if deadline_s - age_s < need_s {
            Grounds::NoTime
        } else if age_s > limit.oldest_s() {
            Grounds::TooOld
        } else if outranked && message.lot >= PROBED {
            Grounds::Outranked
        } else {
            return None;
        };
        Some((grounds, numbers))
    }

    fn need_s(&self, job_type: Option<KeyHash>, limit: &Limit) -> f64 {
        let own = job_type.and_then(|wanted| self.needs.iter().find(|(one, _)| *one == wanted));
        own.map_or(limit.need_s, |(_, need_s)| *need_s)
    }

    fn is_probe(&self, now: Duration, numbers: &Numbers) -> bool {
        let after = Duration::from_secs_f64(numbers.limit.deadline_s.clamp(PROBE_AFTER_S, 1e9));
        self.last_began
            .is_some_and(|began| now.saturating_sub(began) >= after)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn candidate(age_s: f64) -> Candidate {
        Candidate {
            age: Some(at(age_s)),
            ahead: Duration::ZERO,
            deadline: Some(at(10.0)),
            protected: false,
            priority: 0,
            over_share: false,
            job_type: None,
            lot: 0.5,
        }
    }

    fn ratio(share: f64) -> Ratio {
        Ratio::try_from(share).unwrap()
    }

    /// Service times of a second, but those of type 1, which take four.
    fn service() -> ServiceByType {
        let mut service = ServiceByType::default();
        for number in 0..200 {
            let long = number % 10 == 0;
            service.add(long.then_some(KeyHash(1)), at(if long { 4.0 } else { 1.0 }));
        }
        for _ in 0..30 {
            service.add(Some(KeyHash(1)), at(4.0));
        }
        for _ in 0..100 {
            service.add(None, at(1.0));
        }
        service
    }

    /// A valve that has seen ten seconds of three times the load.
    fn loaded(bounds: Bounds) -> (AutoValve, Duration) {
        let mut valve = AutoValve::new(bounds);
        for number in 0..240 {
            let now = at(f64::from(number) / 24.0);
            valve.arrived(now, &candidate(0.0));
            valve.tick(now, &service(), 8);
            if number % 3 == 0 {
                valve.began(now);
            } else {
                valve.shed();
            }
        }
        let now = at(11.5);
        valve.tick(now, &service(), 8);
        valve.began(now);
        (valve, now)
    }

    #[test]
    fn the_reasons_in_their_order() {
        let (valve, now) = loaded(Bounds::default());
        let check = |what: &str, message: Candidate, expected: &str| {
            let said = match valve.decide(now, &message) {
                Decision::Pass(pass) => format!("{pass:?}"),
                Decision::Shed(grounds, _) => grounds.word().to_owned(),
            };
            assert_eq!(said, expected, "{what}");
        };
        let fresh = candidate(0.1);
        check("fresh", fresh, "Fresh");
        check("late", candidate(11.0), "no_time");
        check("old", candidate(8.9), "too_old");
        check(
            "it will be old",
            Candidate {
                ahead: at(8.8),
                ..fresh
            },
            "too_old",
        );
        let old = candidate(11.0);
        check(
            "protected",
            Candidate {
                protected: true,
                ..old
            },
            "Protected",
        );
        check("of unknown age", Candidate { age: None, ..old }, "Ageless");
        check(
            "without a deadline",
            Candidate {
                deadline: None,
                ..old
            },
            "Ageless",
        );
        let long = Candidate {
            job_type: Some(KeyHash(1)),
            deadline: Some(at(20.0)),
            ..candidate(16.5)
        };
        check("too little time for a long job", long, "no_time");
        let busy = Candidate {
            deadline: Some(at(60.0)),
            ..candidate(5.0)
        };
        check("much time left, and fresh", busy, "Fresh");
        let limit = valve.limit(Class::Priority(0)).unwrap();
        assert!(
            (limit.offered - 24.0).abs() < 1.5 && limit.capacity == Some(8.0),
            "{limit}"
        );
        assert!((valve.expected_share() - 2.0 / 3.0).abs() < 0.05);
        assert!((valve.shed_share() - 2.0 / 3.0).abs() < 0.05);
    }

    #[test]
    fn floor_ceiling_and_step_bound_what_is_shed() {
        let share = |bounds: Bounds, ages: fn(u32) -> f64| {
            let (mut valve, from) = (AutoValve::new(bounds), at(1.0));
            let mut shed = 0.0;
            for number in 0..2_000_u32 {
                let now = from + at(f64::from(number) / 100.0);
                let lot = f64::from(number * 7_919 % 2_000) / 2_000.0;
                let message = Candidate {
                    lot,
                    ..candidate(ages(number))
                };
                valve.arrived(now, &message);
                valve.tick(now, &service(), 8);
                if valve.decide(now, &message).sheds() {
                    valve.shed();
                    shed += 1.0;
                } else {
                    valve.began(now);
                }
            }
            shed / 2_000.0
        };
        let bounds = |floor, ceiling, step| Bounds {
            floor: ratio(floor),
            ceiling: ratio(ceiling),
            step: ratio(step),
        };
        let near = |found: f64, expected: f64| {
            assert!((found - expected).abs() < 0.02, "{found}, not {expected}")
        };
        near(share(bounds(0.3, 1.0, 1.0), |_| 0.0), 0.3);
        near(share(bounds(0.0, 0.4, 1.0), |_| 9.5), 0.4);
        near(share(bounds(0.0, 1.0, 1.0), |_| 9.5), 1.0);
        near(
            share(bounds(0.0, 0.4, 1.0), |number| {
                f64::from(number % 4 / 3) * 9.5
            }),
            0.25,
        );
        let slowly = share(bounds(0.0, 1.0, 0.05), |_| 9.5);
        assert!(
            (0.3..0.7).contains(&slowly),
            "five points more each second, for twenty seconds: {slowly}"
        );
    }

    /// A message, the seconds until it comes, how long its job takes, and whether it is on time.
    type Happening = (Candidate, f64, f64, bool);

    fn happening() -> impl Strategy<Value = Happening> {
        let parts = (
            0.0..40.0,
            0.0..5.0,
            prop::bool::weighted(0.1),
            0_u8..12,
            prop::bool::weighted(0.2),
            0.0..1.0,
        );
        (parts, 0.0..0.5, 0.0..30.0, any::<bool>()).prop_map(
            |((age_s, ahead_s, protected, priority, over_share, lot), wait_s, took_s, on_time)| {
                let message = Candidate {
                    ahead: at(ahead_s),
                    protected,
                    priority,
                    over_share,
                    lot,
                    ..candidate(age_s)
                };
                (message, wait_s, took_s, on_time)
            },
        )
    }

    /// Plays what happens, and looks at each decision, with the longest time since a beginning.
    fn play(
        history: &[Happening],
        mut look: impl FnMut(&Candidate, &Decision),
    ) -> (AutoValve, Duration, Duration) {
        let (mut valve, mut now) = loaded(Bounds::default());
        let mut service = service();
        let (mut began, mut longest) = (now, Duration::ZERO);
        for (message, wait_s, took_s, on_time) in history {
            now += at(*wait_s);
            valve.arrived(now, message);
            valve.tick(now, &service, 8);
            let decision = valve.decide(now, message);
            look(message, &decision);
            if decision.sheds() {
                valve.shed();
                longest = longest.max(now - began);
            } else {
                valve.began(now);
                began = now;
                service.add(None, at(*took_s));
                valve.finished(*on_time);
            }
        }
        valve.tick(now + at(1.0), &service, 8);
        (valve, now + at(1.0), longest)
    }

    proptest! {
        #[test]
        fn it_never_refuses_everything_for_longer_than_the_probe(
            history in prop::collection::vec(happening(), 1..400), age_s in 0.0..40.0,
        ) {
            let stale: Vec<Happening> = history.iter()
                .map(|(message, ..)| (Candidate { age: Some(at(9.3 + age_s)), protected: false, ..*message }, 0.1, 1.0, true))
                .collect();
            let (_, _, longest) = play(&history, |_, _| {});
            prop_assert!(longest < at(10.0));
            let (_, _, longest) = play(&stale, |_, _| {});
            prop_assert!(longest < at(10.0));
        }

        #[test]
        fn it_never_sheds_what_is_protected(history in prop::collection::vec(happening(), 1..400)) {
            let mut shed = 0;
            play(&history, |message, decision| shed += u32::from(message.protected && decision.sheds()));
            prop_assert_eq!(shed, 0);
        }

        #[test]
        fn whatever_happened_it_is_not_locked(
            mut history in prop::collection::vec(happening(), 1..400),
        ) {
            // Who is protected may take everything: then the rest are probes.
            history.iter_mut().for_each(|(message, ..)| message.protected = false);
            let (valve, now, _) = play(&history, |_, _| {});
            let new = Candidate { priority: 9, ..candidate(0.0) };
            prop_assert_eq!(valve.decide(now, &new), Decision::Pass(Pass::Fresh));
        }
    }
}
