//! What was seen so far, as numbers: from each copy, to a report now and then.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::report::{Dropped, Over, Quantiles, Rehearsed, Relief, Report, Share, Theirs, Unknown};
use crate::amqp::beside::{Fill, MOST, MOST_BYTES, PREFETCH};
use crate::cli::TapOptions;
use crate::clock::Clock;
use crate::config::Queue;
use crate::rules::arrivals::{Arrivals, Came, Stretch};
use crate::rules::asks::Asks;
use crate::rules::context::{Context, Slot};
use crate::rules::facts::{Facts, Reading};
use crate::rules::message::Raw;
use crate::rules::relief::rehearsal::{Passing, Rehearsal, Score, Workers};
use crate::rules::top::Heavy;

/// Accounts and types that are named.
const NAMED: usize = 10;
/// The turn by which the automatic valve draws lots here; any will do.
const TURN: u32 = 23;
/// For the fair share, where no deadline is known beforehand.
const USUAL_DEADLINE: Duration = Duration::from_secs(30);

/// What was seen so far.
pub(super) struct Seen {
    clock: Clock,
    began: Duration,
    reading: Reading,
    asks: Arc<Asks>,
    /// Where the attribute `type` is, if the settings name one.
    type_slot: Option<Slot>,
    deadline: Option<Duration>,
    deadline_after: Option<Duration>,
    slots: u32,
    arrivals: Arrivals,
    unreadable: u64,
    not_yet: u64,
    rehearsal: Result<Rehearsal, String>,
    earlier: Score,
    own: Own,
    theirs: Option<Fill>,
    lines: u64,
}

/// Our own queue: whether anything may have fallen out of it.
#[derive(Debug, Default)]
struct Own {
    waiting: u64,
    /// Messages and bytes that came since the last look, and the largest message of all.
    count: u64,
    bytes: u64,
    largest: u64,
    may_have_dropped: bool,
    dropped_at_least: u64,
}

impl Own {
    fn came(&mut self, size: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(size);
        self.largest = self.largest.max(size);
    }

    /// If it was full since the last look, then all that lay in it then has come since, is on its way, or still waits. When that
    /// cannot be as much as it holds, it was surely not full, however short the while.
    fn looked(&mut self, waiting: u64) {
        let elsewhere = waiting + u64::from(PREFETCH);
        let bytes = elsewhere.saturating_mul(self.largest) + self.bytes;
        self.may_have_dropped |= self.count + elsewhere >= MOST || bytes >= MOST_BYTES;
        (self.waiting, self.count, self.bytes) = (waiting, 0, 0);
    }

    fn wants_a_look(&self) -> bool {
        self.count >= MOST / 4 || self.bytes >= MOST_BYTES / 4
    }
}

impl Seen {
    pub(super) fn new(clock: Clock, queue: &Queue, options: &TapOptions) -> Self {
        let reading = queue.reading.clone();
        let deadline = options.deadline.map(|span| span.get());
        let slots = options.slots.unwrap_or(queue.slots);
        let began = clock.mono();
        let is_type = |(_, name): &(Slot, &Arc<str>)| name.as_ref() == "type";
        let mut places = (0..).map(Slot).zip(reading.attributes.keys());
        Self {
            clock,
            began,
            type_slot: places.find(is_type).map(|(slot, _)| slot),
            asks: reading.asks(),
            rehearsal: rehearsal(queue, options, slots),
            reading,
            deadline,
            deadline_after: queue.deadline_after,
            slots,
            arrivals: Arrivals::since(began),
            unreadable: 0,
            not_yet: 0,
            earlier: Score::default(),
            own: Own::default(),
            theirs: None,
            lines: 0,
        }
    }

    /// When it began.
    pub(super) fn since(&self) -> Instant {
        self.clock.instant(self.began)
    }

    /// Reports so far.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// A copy came.
    pub(super) fn came(&mut self, raw: &Raw) {
        let now = self.clock.now();
        let size = raw.body.len() as u64;
        self.own.came(size);
        let Ok(facts) = self.reading.read(raw, &self.asks) else {
            self.unreadable += 1;
            let message = Came {
                age: None,
                size,
                account: None,
                job_type: None,
            };
            return self.arrivals.came(now.mono, &message);
        };
        let facts = facts.with_possible_times(now.ms);
        let age = facts.age_ms(now.ms).and_then(|ms| u64::try_from(ms).ok());
        let age = age.map(Duration::from_millis);
        let declared = self.type_slot.and_then(|slot| facts.attribute(slot));
        let message = Came {
            age,
            size,
            account: facts.key.as_ref(),
            job_type: declared
                .map(|attribute| attribute.text().as_ref())
                .or(raw.properties.kind.as_deref()),
        };
        self.arrivals.came(now.mono, &message);
        if facts.not_yet(now.ms).is_some() {
            // It comes to a worker at another time, which is not looked for here.
            self.not_yet += 1;
            return;
        }
        let deadline = self.deadline_of(&facts, now.ms);
        if let Ok(rehearsal) = &mut self.rehearsal {
            let passing = Passing {
                age,
                deadline,
                account: facts.key.clone(),
                priority: facts.priority,
                lot: facts.lot.draw(TURN),
            };
            rehearsal.came(now.mono, passing);
        }
    }

    /// From when its age counts until it is useless: as was typed, else as the message says, else as the settings do.
    fn deadline_of(&self, facts: &Facts, now_ms: i64) -> Option<Duration> {
        let own = facts.deadline_ms.map(|at_ms| {
            let since_ms = facts.counts_from_ms().unwrap_or(now_ms);
            Duration::from_millis(u64::try_from(at_ms.saturating_sub(since_ms)).unwrap_or(0))
        });
        self.deadline.or(own).or(self.deadline_after)
    }

    /// So many wait in our own queue.
    pub(super) fn looked(&mut self, waiting: u64) {
        self.own.looked(waiting);
    }

    /// Whether so much came that it may have been full since the last look, if that is put off.
    pub(super) fn wants_a_look(&self) -> bool {
        self.own.wants_a_look()
    }

    /// How full the queue itself is.
    pub(super) fn theirs(&mut self, fill: Fill) {
        self.theirs = Some(fill);
    }

    /// Whether everything that was published came to us, or will.
    pub(super) fn surely_complete(&self) -> bool {
        !self.own.may_have_dropped
    }

    /// So many were published to our queue, some seconds ago; those that did not come, do not wait and are not under way fell out.
    pub(super) fn published(&mut self, count: u64) {
        let came = self.arrivals.whole.count + self.own.waiting + u64::from(PREFETCH);
        let dropped = count.saturating_sub(came);
        self.own.dropped_at_least = self.own.dropped_at_least.max(dropped);
    }

    /// What was seen since the last report; or, at the end, in all.
    pub(super) fn report(&mut self, whole: bool) -> Report {
        let now = self.clock.mono();
        if let Ok(rehearsal) = &mut self.rehearsal {
            rehearsal.pass(now);
        }
        self.lines += 1;
        let lately = self.arrivals.turn(now);
        let stretch = if whole { &self.arrivals.whole } else { &lately };
        let relief = self.relief(stretch, now, whole);
        if let Ok(rehearsal) = &self.rehearsal {
            self.earlier = rehearsal.score();
        }
        Report {
            whole,
            seconds: now.saturating_sub(self.began).as_secs_f64(),
            came: stretch.count,
            per_second: stretch.per_second(now),
            most_per_second: self.arrivals.most_per_second,
            bytes_per_second: stretch.bytes as f64
                / now.saturating_sub(stretch.since).as_secs_f64().max(0.001),
            age_seconds: Quantiles::of(&stretch.ages, 1_000.0),
            without_age: stretch.ageless,
            size_bytes: Quantiles::of(&stretch.sizes, 1.0),
            unreadable: self.unreadable,
            not_yet: self.not_yet,
            accounts: self
                .reading
                .key
                .is_some()
                .then(|| named(self.arrivals.accounts(now, NAMED))),
            types: named(self.arrivals.types(now, NAMED)),
            queue: self.theirs.map(|fill| Theirs {
                ready: fill.ready,
                consumers: fill.consumers,
            }),
            dropped: Dropped {
                surely_none: !self.own.may_have_dropped,
                at_least: self.own.dropped_at_least,
            },
            relief,
        }
    }

    fn relief(&self, stretch: &Stretch, now: Duration, whole: bool) -> Relief {
        let rehearsal = match &self.rehearsal {
            Ok(rehearsal) => rehearsal,
            Err(why) => {
                let rate = stretch.per_second(now);
                let keeps_up = (rate > 0.0).then(|| f64::from(self.slots) / rate);
                return Relief::Unknown(Unknown {
                    unknown: why.clone(),
                    slots: self.slots,
                    keeps_up_below_service_seconds: keeps_up,
                });
            }
        };
        let score = if whole {
            rehearsal.score()
        } else {
            rehearsal.score().since(&self.earlier)
        };
        let load = rehearsal.load(stretch.per_second(now));
        let share = |count: u64, of: u64| (of > 0).then(|| (count as f64 / of as f64).min(1.0));
        let over = rehearsal.bad_actors().map(|one| Over {
            account: one.name.as_deref().unwrap_or("not known yet").to_owned(),
            slots: one.work,
            fair_slots: one.fair,
            share: one.share,
        });
        Relief::Rehearsed(Rehearsed {
            slots: self.slots,
            offered_per_second: load.offered,
            capacity_per_second: load.capacity().unwrap_or_default(),
            slots_wanted: load.workers_wanted().unwrap_or_default(),
            on_time_now: share(score.on_time_now, score.came),
            on_time_relieved: share(score.on_time_relieved, score.came),
            on_time_of_possible_now: share(score.on_time_now, score.done_now),
            on_time_of_possible_relieved: share(score.on_time_relieved, score.done_now),
            shed: score.shed_share(),
            over_fair_share: over.collect(),
        })
    }
}

/// What the rehearsal needs to be told, or why there is none.
fn rehearsal(queue: &Queue, options: &TapOptions, slots: u32) -> Result<Rehearsal, String> {
    let known = queue.reading.deadline.is_some();
    let deadline = options.deadline.map(|span| span.get());
    let deadline = deadline.or(queue.deadline_after);
    let deadline = deadline.or(known.then_some(USUAL_DEADLINE));
    match (deadline, options.service) {
        (Some(deadline), Some(service)) => {
            let service = service.get();
            Ok(Rehearsal::new(Workers { slots, service }, deadline))
        }
        (None, Some(_)) => {
            Err("when a job is useless is not known: say it by `--deadline 30s`".to_owned())
        }
        (Some(_), None) => {
            Err("how long a job takes is not known: say it by `--service 100ms`".to_owned())
        }
        (None, None) => Err(
            "how long a job takes and when it is useless is not known: say it by `--service 100ms --deadline 30s`"
                .to_owned(),
        ),
    }
}

fn named(heavy: Vec<Heavy>) -> Vec<Share> {
    let share = |one: Heavy| Share {
        name: one.key,
        share: one.at_least,
    };
    heavy.into_iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(what: &str, rounds: &[(u64, u64, u64)], may_have_dropped: bool) {
        let mut own = Own::default();
        for (count, size, waiting) in rounds {
            for _ in 0..*count {
                own.came(*size);
            }
            own.looked(*waiting);
        }
        assert_eq!(own.may_have_dropped, may_have_dropped, "{what}");
    }

    #[test]
    fn nothing_fell_out_where_it_cannot_have_been_full() {
        check("a quiet queue", &[(10, 1_000, 0), (0, 0, 0)], false);
        check(
            "it keeps up",
            &[(2_500, 1_000, 10), (2_600, 1_000, 300)],
            false,
        );
        check("it lags", &[(2_500, 100, 4_000)], false);
        check("it is full", &[(2_500, 100, MOST)], true);
        check("it may have been", &[(6_000, 100, 3_900)], true);
        check("it was", &[(100, 100, MOST), (2_500, 100, 0)], true);
        check("large ones", &[(60, 1 << 20, 4)], true);
        check("a few large ones", &[(6, 100 << 10, 4)], false);
    }

    #[test]
    fn a_look_is_wanted_before_it_could_have_been_full_unseen() {
        let mut own = Own::default();
        for _ in 0..MOST / 4 {
            assert!(!own.wants_a_look());
            own.came(10);
        }
        assert!(own.wants_a_look());
        own.looked(0);
        assert!(!own.wants_a_look() && !own.may_have_dropped);
    }
}
