//! What relief would do: the messages of a live queue pass by two made-up ones with the same workers, one that does everything in
//! its turn and one with the automatic valve. Nobody's message is touched.
//!
//! Both begin empty, and every job takes as long as was said. The relieved one asks the valve as the worker does: when a slot is
//! free, of the oldest that waits. The fair share is only watched. Rules of flags (`protect`, `degrade`, …) are not asked.

use std::collections::VecDeque;
use std::time::Duration;

use super::fair::{BadActor, FairShare};
use super::load::{Load, Measures};
use super::service::REMEMBERED;
use super::valve::{AutoValve, Bounds, Candidate};
use crate::rules::facts::Key;

/// Messages that wait in the relieved queue at most; the oldest make room.
const MOST_WAITING: usize = 500_000;

/// The workers, and what is expected of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers {
    /// Jobs that may be done at once, at least 1.
    pub slots: u32,
    /// How long a job takes, above zero.
    pub service: Duration,
}

/// A message that passes by.
#[derive(Debug, Clone)]
pub struct Passing {
    /// How long ago it was published; `None`: not known, and it counts as new.
    pub age: Option<Duration>,
    /// From its publishing until it is useless; `None`: never.
    pub deadline: Option<Duration>,
    /// Its account.
    pub account: Option<Key>,
    /// Its priority.
    pub priority: u8,
    /// What it draws, from 0 to 1.
    pub lot: f64,
}

/// How both queues did, so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Score {
    /// Messages that came.
    pub came: u64,
    /// Jobs done without a valve, on time or late: what the workers could do of what came.
    pub done_now: u64,
    /// Jobs done on time without a valve.
    pub on_time_now: u64,
    /// Jobs done on time with relief.
    pub on_time_relieved: u64,
    /// Messages that relief shed.
    pub shed: u64,
    /// Messages that relief gave to a worker.
    pub begun: u64,
}

impl Score {
    /// What was added since an earlier one.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            came: self.came - earlier.came,
            done_now: self.done_now - earlier.done_now,
            on_time_now: self.on_time_now - earlier.on_time_now,
            on_time_relieved: self.on_time_relieved - earlier.on_time_relieved,
            shed: self.shed - earlier.shed,
            begun: self.begun - earlier.begun,
        }
    }

    /// The share of what relief decided on that it shed, from 0 to 1; `None`: it decided on nothing.
    #[must_use]
    pub fn shed_share(&self) -> Option<f64> {
        let decided = self.shed + self.begun;
        (decided > 0).then(|| self.shed as f64 / decided as f64)
    }
}

/// Two made-up queues.
#[derive(Debug)]
pub struct Rehearsal {
    workers: Workers,
    plain: Plain,
    relieved: Relieved,
    score: Score,
    now: Duration,
}

impl Rehearsal {
    /// Two empty queues, for jobs that are useless after `deadline`.
    #[must_use]
    pub fn new(workers: Workers, deadline: Duration) -> Self {
        let mut measures = Measures::default();
        // As if enough jobs had been measured: the operator knows how long they take.
        for _ in 0..REMEMBERED {
            measures.served(None, workers.service);
        }
        Self {
            workers,
            plain: Plain::default(),
            relieved: Relieved {
                workers,
                valve: AutoValve::new(Bounds::default()),
                fair: FairShare::for_deadline(deadline),
                measures,
                waiting: VecDeque::new(),
                at_work: VecDeque::new(),
            },
            score: Score::default(),
            now: Duration::ZERO,
        }
    }

    /// A message passes by.
    pub fn came(&mut self, now: Duration, message: Passing) {
        self.pass(now);
        self.score.came += 1;
        let useless_at = message.deadline.map(|deadline| {
            let age = message.age.unwrap_or_default();
            (now + deadline).saturating_sub(age)
        });
        self.plain.came(now, self.workers, useless_at);
        self.relieved
            .came(now, message, useless_at, &mut self.score);
    }

    /// Time passes.
    pub fn pass(&mut self, now: Duration) {
        self.now = now;
        self.score.on_time_now += self.plain.pass(now);
        self.relieved.pass(now, &mut self.score);
    }

    /// How both did, until time passed last.
    #[must_use]
    pub fn score(&self) -> Score {
        let undone = self.plain.undone(self.now, self.workers.service);
        Score {
            done_now: self.score.came - undone.min(self.score.came),
            ..self.score
        }
    }

    /// The load on the workers, when so many messages come per second.
    #[must_use]
    pub fn load(&self, offered: f64) -> Load {
        Load {
            offered,
            service_s: Some(self.workers.service.as_secs_f64()),
            slots: self.workers.slots,
        }
    }

    /// The accounts that bring more than their fair share.
    pub fn bad_actors(&self) -> impl Iterator<Item = &BadActor> {
        self.relieved.fair.bad_actors()
    }
}

/// A queue that does everything in its turn.
#[derive(Debug, Default)]
struct Plain {
    /// When each slot is free, the soonest first: all jobs take the same time, so they end in the order of their beginning.
    free_at: VecDeque<Duration>,
    /// When the jobs end that will be done on time. No more than slots can do within a deadline.
    on_time: VecDeque<Duration>,
}

impl Plain {
    fn came(&mut self, now: Duration, workers: Workers, useless_at: Option<Duration>) {
        let free = if self.free_at.len() < workers.slots.max(1) as usize {
            None
        } else {
            self.free_at.pop_front()
        };
        let end = free.map_or(now, |free| free.max(now)) + workers.service;
        self.free_at.push_back(end);
        if useless_at.is_none_or(|useless| end <= useless) {
            self.on_time.push_back(end);
        }
    }

    fn pass(&mut self, now: Duration) -> u64 {
        let done = self.on_time.partition_point(|end| *end <= now);
        self.on_time.drain(..done);
        done as u64
    }

    /// Jobs that are begun or wait: in each slot they follow each other without a gap.
    fn undone(&self, now: Duration, service: Duration) -> u64 {
        let left = self.free_at.iter().map(|free| free.saturating_sub(now));
        left.map(|left| {
            (left.as_secs_f64() / service.as_secs_f64() - 1e-9)
                .ceil()
                .max(0.0) as u64
        })
        .sum()
    }
}

#[derive(Debug)]
struct Waiting {
    message: Passing,
    came: Duration,
    useless_at: Option<Duration>,
}

#[derive(Debug)]
struct AtWork {
    end: Duration,
    account: Option<Key>,
    useless_at: Option<Duration>,
}

/// A queue with the automatic valve.
#[derive(Debug)]
struct Relieved {
    workers: Workers,
    valve: AutoValve,
    fair: FairShare,
    measures: Measures,
    waiting: VecDeque<Waiting>,
    at_work: VecDeque<AtWork>,
}

impl Relieved {
    fn came(
        &mut self,
        now: Duration,
        message: Passing,
        useless_at: Option<Duration>,
        score: &mut Score,
    ) {
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.pop_front();
            score.shed += 1;
        }
        self.waiting.push_back(Waiting {
            message,
            came: now,
            useless_at,
        });
        self.begin(now, score);
    }

    /// Jobs end, and others begin in their slots.
    fn pass(&mut self, now: Duration, score: &mut Score) {
        while let Some(done) = self.at_work.pop_front_if(|job| job.end <= now) {
            let took = self.workers.service;
            self.measures.served(None, took);
            if let Some((account, _)) = done.account {
                self.fair.served(account, took, took.as_secs_f64());
            }
            let on_time = done.useless_at.is_none_or(|useless| done.end <= useless);
            if done.useless_at.is_some() {
                self.valve.finished(on_time);
            }
            score.on_time_relieved += u64::from(on_time);
            self.begin(done.end, score);
        }
    }

    /// Fills the free slots from what waits.
    fn begin(&mut self, now: Duration, score: &mut Score) {
        while self.at_work.len() < self.workers.slots.max(1) as usize {
            let Some(next) = self.waiting.pop_front() else {
                self.measures.caught_up(now);
                self.valve.caught_up(now);
                self.fair.caught_up(now);
                return;
            };
            let age = next
                .message
                .age
                .map(|age| age + now.saturating_sub(next.came));
            let candidate = self.candidate(now, age, &next.message);
            if self.valve.decide(now, &candidate).sheds() {
                self.valve.shed();
                score.shed += 1;
                continue;
            }
            self.valve.began(now);
            score.begun += 1;
            self.at_work.push_back(AtWork {
                end: now + self.workers.service,
                account: next.message.account,
                useless_at: next.useless_at,
            });
        }
    }

    /// What the valve is asked, after it and all others were told that the message came.
    fn candidate(&mut self, now: Duration, age: Option<Duration>, message: &Passing) -> Candidate {
        let (slots, usual_s) = (self.workers.slots, self.workers.service.as_secs_f64());
        self.measures.offered(now, age);
        if let Some((account, name)) = &message.account {
            self.fair.offered(now, age, (*account, name), usual_s);
            self.fair.tick(now, slots, usual_s);
        }
        let candidate = Candidate {
            age,
            ahead: Duration::ZERO,
            deadline: message.deadline,
            protected: false,
            priority: message.priority,
            over_share: false,
            job_type: None,
            lot: message.lot,
        };
        self.valve.arrived(now, &candidate);
        self.valve.tick(now, &self.measures.service, slots);
        candidate
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::lots::KeyHash;

    const WORKERS: Workers = Workers {
        slots: 8,
        service: Duration::from_millis(100),
    };
    const DEADLINE: Duration = Duration::from_secs(10);

    fn passing(number: u64, deadline: Option<Duration>) -> Passing {
        // One account brings most of it.
        let account = if number % 10 < 7 { 0 } else { number % 97 };
        let hash = KeyHash::of(&account.to_le_bytes());
        Passing {
            age: Some(Duration::ZERO),
            deadline,
            account: Some((hash, account.to_string().into())),
            priority: 0,
            lot: KeyHash::of(&number.to_le_bytes()).draw(5),
        }
    }

    /// So many times what the workers can do, for ten minutes.
    fn rehearsed(load: f64) -> Rehearsal {
        let mut rehearsal = Rehearsal::new(WORKERS, DEADLINE);
        let rate = 80.0 * load;
        for number in 0..(600.0 * rate) as u64 {
            let now = Duration::from_secs_f64(number as f64 / rate);
            rehearsal.came(now, passing(number, Some(DEADLINE)));
        }
        rehearsal.pass(Duration::from_secs(600));
        rehearsal
    }

    #[test]
    fn overload_is_lost_without_relief_and_bends_with_it() {
        let score = rehearsed(3.0).score();
        let possible = 80.0 * 600.0;
        let share = |done: u64| done as f64 / possible;
        assert!((share(score.done_now) - 1.0).abs() < 0.01, "{score:?}");
        assert!(share(score.on_time_now) < 0.05, "{score:?}");
        assert!(share(score.on_time_relieved) > 0.95, "{score:?}");
        let shed = score.shed_share().unwrap();
        assert!((0.6..0.72).contains(&shed), "{score:?}");
    }

    #[test]
    fn without_overload_relief_changes_nothing() {
        let rehearsal = rehearsed(0.8);
        let score = rehearsal.score();
        assert_eq!(score.shed, 0);
        assert_eq!(score.on_time_now, score.on_time_relieved);
        assert!(score.came - score.on_time_now <= 8, "{score:?}");
        assert_eq!(rehearsal.bad_actors().count(), 0);
    }

    #[test]
    fn the_load_and_who_brings_too_much_are_told() {
        let rehearsal = rehearsed(2.0);
        let load = rehearsal.load(160.0);
        assert_eq!(load.capacity(), Some(80.0));
        assert!(
            (load.workers_wanted().unwrap() / 16.0 - 1.0).abs() < 0.05,
            "{load:?}"
        );
        let named: Vec<_> = rehearsal.bad_actors().map(|one| one.name.clone()).collect();
        assert_eq!(named, [Some("0".into())]);
    }

    #[test]
    fn without_a_deadline_everything_is_on_time_and_nothing_is_shed() {
        let mut rehearsal = Rehearsal::new(WORKERS, DEADLINE);
        for number in 0..2_000 {
            rehearsal.came(Duration::ZERO, passing(number, None));
        }
        rehearsal.pass(Duration::from_secs(25));
        let score = rehearsal.score();
        assert_eq!(
            (score.on_time_now, score.on_time_relieved, score.shed),
            (2_000, 2_000, 0)
        );
    }

    proptest! {
        #[test]
        fn every_message_is_shed_begun_or_waits(gaps in proptest::collection::vec(0..400_u64, 1..300), slots in 1..9_u32) {
            let workers = Workers { slots, ..WORKERS };
            let mut rehearsal = Rehearsal::new(workers, Duration::from_secs(1));
            let mut now = Duration::ZERO;
            for (number, gap) in (0..).zip(&gaps) {
                now += Duration::from_millis(*gap / 4);
                rehearsal.came(now, passing(number, Some(Duration::from_secs(1))));
            }
            let score = rehearsal.score();
            let waits = rehearsal.relieved.waiting.len() as u64;
            prop_assert_eq!(score.came, score.shed + score.begun + waits);
            rehearsal.pass(now + Duration::from_secs(60));
            let score = rehearsal.score();
            prop_assert_eq!(score.came, score.shed + score.begun);
            prop_assert!(score.on_time_relieved <= score.begun);
        }
    }
}
