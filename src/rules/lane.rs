//! Lanes: the queue of one throttled key.
//!
//! What a key cannot send now goes to a queue of its own, and is taken from there at the key's pace: in order, without hops, and
//! with an answer to "when will it be my turn?".

use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::lots::KeyHash;

/// A queue has so many lanes of single keys; the keys above that share one.
pub const MOST_LANES: usize = 64;
/// A lane that was empty for so long, and from which and to which nothing is on its way, is removed.
pub const QUIET: Duration = Duration::from_secs(30);
/// The longest wait in hand of a message from the shared lane; what must wait longer makes room for other keys.
pub const LONGEST_TURN: Duration = Duration::from_secs(1);

/// What is taken from a lane covers so much of its time: what waits in hand waits about as long.
const AHEAD: Duration = Duration::from_secs(2);
/// The broker says that nothing is there, again after so long: then that is so.
const SURE_AFTER: Duration = Duration::from_secs(2);
/// At most so many messages of a key that is limited are out at once.
const MOST_AHEAD: u16 = 64;
/// So many are out when no limit stands any more; up to 64 lanes may be emptied at once.
const AT_FULL_SPEED: u16 = 64;
/// So many are out of the shared lane, where those of many keys stand in a row.
const OF_THE_SHARED: u16 = 250;

/// One lane of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// That of one key.
    Own(KeyHash),
    /// The one that the keys above [`MOST_LANES`] share.
    Shared,
}

/// The lane that a key gets when there are `own` lanes of single keys already.
#[must_use]
pub fn lane_for(key: KeyHash, own: usize) -> Lane {
    if own < MOST_LANES {
        Lane::Own(key)
    } else {
        Lane::Shared
    }
}

/// What is believed to lie in a lane. A lane that may hold an earlier message of its key must never be believed empty; so we count
/// from when it was surely empty: when it was new, or when the broker said so twice while nothing moved. (RabbitMQ says 0 for a
/// queue that has just no leader, and does not see what is on its way.) Until then what it says is only an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Belief {
    messages: u64,
    known: bool,
    counted: bool,
    /// Since when the broker says that nothing is there, while nothing moves.
    nothing_since: Option<Duration>,
}

impl Belief {
    /// Of a lane that is new, and so surely empty.
    #[must_use]
    pub fn new_lane() -> Self {
        Self {
            known: true,
            counted: true,
            ..Self::default()
        }
    }

    /// How many messages, about; `None`: not known.
    #[must_use]
    pub fn messages(self) -> Option<u64> {
        self.known.then_some(self.messages)
    }

    /// Whether nothing lies there for sure.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.counted && self.messages == 0
    }

    /// One more was put there, or went back.
    pub fn one_more(&mut self) {
        self.messages += 1;
        self.nothing_since = None;
    }

    /// One was taken out.
    pub fn one_less(&mut self) {
        self.messages = self.messages.saturating_sub(1);
        self.nothing_since = None;
    }

    /// The broker said at `now` that so many are ready, while so many were on their way to it.
    pub fn told(&mut self, ready: u64, under_way: usize, now: Duration) {
        self.known = true;
        if ready > 0 || under_way > 0 {
            self.nothing_since = None;
            // More than we know of: somebody else put it there.
            self.counted &= self.messages > 0 || under_way > 0;
        } else if now.saturating_sub(*self.nothing_since.get_or_insert(now)) >= SURE_AFTER {
            (self.counted, self.messages) = (true, 0);
        }
        if !self.counted {
            self.messages = ready;
        }
    }

    /// It is not known what became of something: nothing is sure until the broker has spoken.
    pub fn lost(&mut self) {
        *self = Self::default();
    }
}

/// Whether a lane may be removed: it was `quiet` for long enough, nothing lies in it, and nothing is out or on its way to it.
#[must_use]
pub fn may_be_removed(belief: Belief, out: usize, under_way: usize, quiet: Duration) -> bool {
    belief.is_empty() && out == 0 && under_way == 0 && quiet >= QUIET
}

/// How fast the messages of one key may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// The time between two of them, when there is a rate.
    pub interval: Option<Duration>,
    /// How many at once, when that is limited.
    pub at_once: Option<u32>,
    /// How long until the next one may go.
    pub next_in: Duration,
}

impl Pace {
    /// Whether any limit of single keys stands.
    #[must_use]
    pub fn is_limited(self) -> bool {
        self.interval.is_some() || self.at_once.is_some()
    }

    /// How many messages of the key's own lane may be out at once; `None`: none is taken yet, because it would wait here for long.
    #[must_use]
    pub fn prefetch(self) -> Option<u16> {
        if !self.is_limited() {
            return Some(AT_FULL_SPEED);
        }
        if self.next_in > AHEAD {
            return None;
        }
        let by_rate = self
            .interval
            .map(|interval| AHEAD.as_nanos() / interval.as_nanos().max(1));
        let by_count = self.at_once.map(|at_once| u128::from(at_once) * 2);
        let most = by_rate.into_iter().chain(by_count).min();
        let most = most.and_then(|most| u16::try_from(most).ok());
        Some(most.unwrap_or(MOST_AHEAD).clamp(1, MOST_AHEAD))
    }

    /// When a message runs before which so many of its key wait, if a job takes `service` (zero: not known yet); `None`: unknown.
    #[must_use]
    pub fn eta(self, before_it: u64, service: Duration) -> Option<Duration> {
        let turns = u32::try_from(before_it).unwrap_or(u32::MAX);
        let by_rate = self
            .interval
            .map(|interval| self.next_in.saturating_add(interval.saturating_mul(turns)));
        let by_count = match self.at_once {
            Some(_) if service.is_zero() => return None,
            at_once => at_once.map(|at_once| service.saturating_mul(turns) / at_once.max(1)),
        };
        by_rate.into_iter().chain(by_count).max()
    }
}

/// How many messages of the shared lane may be out at once.
#[must_use]
pub fn shared_prefetch() -> u16 {
    OF_THE_SHARED
}

/// One key of the shared lane, whose messages go round: what cannot run soon is put at the tail again, while new ones join there.
/// So each has a number, and here stands where in the lane which of them are; one may run when no earlier one is left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Round {
    /// Those in the lane in the order in which they lie there, in runs of numbers in a row.
    inside: VecDeque<RangeInclusive<u64>>,
    /// Those that went back to the head.
    returned: BTreeSet<u64>,
    /// Those that wait in hand to be put at the tail.
    turning: BTreeSet<u64>,
    last: u64,
}

impl Round {
    /// How many there are.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let inside: u64 = self
            .inside
            .iter()
            .map(|run| run.end() - run.start() + 1)
            .sum();
        inside + (self.returned.len() + self.turning.len()) as u64
    }

    /// The number of a new one.
    pub fn joins(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// This one is put at the tail.
    pub fn to_the_tail(&mut self, number: u64) {
        self.turning.remove(&number);
        self.last = self.last.max(number);
        match self.inside.back_mut() {
            Some(run) if run.end() + 1 == number => *run = *run.start()..=number,
            _ => self.inside.push_back(number..=number),
        }
    }

    /// The one at the head was taken. One that is not known is the newest.
    pub fn taken(&mut self) -> u64 {
        if let Some(number) = self.returned.pop_first() {
            return number;
        }
        let Some(run) = self.inside.pop_front() else {
            return self.joins();
        };
        let (first, last) = run.into_inner();
        if first < last {
            self.inside.push_front(first + 1..=last);
        }
        first
    }

    /// Whether none of those inside or turning comes before this one.
    #[must_use]
    pub fn may_run(&self, number: u64) -> bool {
        let mut runs = self.inside.iter();
        let mut others = [self.returned.first(), self.turning.first()]
            .into_iter()
            .flatten();
        runs.all(|run| *run.start() > number) && others.all(|other| *other > number)
    }

    /// This one cannot run soon, and waits in hand to be put at the tail.
    pub fn turns(&mut self, number: u64) {
        self.last = self.last.max(number);
        self.turning.insert(number);
    }

    /// This one, which was taken, went back to the head.
    pub fn returns(&mut self, number: u64) {
        self.turning.remove(&number);
        self.last = self.last.max(number);
        self.returned.insert(number);
    }

    /// This one, which was on its way to the tail or waited for that, is not in the lane after all.
    pub fn forget(&mut self, number: u64) {
        self.turning.remove(&number);
        self.returned.remove(&number);
        let Some(at) = self.inside.iter().rposition(|run| run.contains(&number)) else {
            return;
        };
        let Some(run) = self.inside.remove(at) else {
            return;
        };
        let (first, last) = run.into_inner();
        for part in [number + 1..=last, first..=number - 1] {
            if !part.is_empty() {
                self.inside.insert(at, part);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_keys_have_a_lane_each_and_the_rest_share_one() {
        let key = KeyHash(7);
        assert_eq!(lane_for(key, 0), Lane::Own(key));
        assert_eq!(lane_for(key, MOST_LANES - 1), Lane::Own(key));
        assert_eq!(lane_for(key, MOST_LANES), Lane::Shared);
    }

    /// What is believed after these events, two seconds apart: `new`, `t5` the broker tells 5, `T5` while one is on its way there,
    /// `+` one is put there, `-` one is taken, `?` it is lost.
    fn check(what: &str, events: &str, expected: &str) {
        let mut belief = Belief::default();
        for (event, now) in events.split(' ').zip((0..).map(|n| SECOND * 2 * n)) {
            match event.split_at(1) {
                ("n", _) => belief = Belief::new_lane(),
                ("+", _) => belief.one_more(),
                ("-", _) => belief.one_less(),
                ("?", _) => belief.lost(),
                (told, ready) => {
                    belief.told(ready.parse().unwrap(), usize::from(told == "T"), now);
                }
            }
        }
        let said = match (belief.is_empty(), belief.messages()) {
            (true, _) => "empty".to_owned(),
            (false, Some(about)) => format!("about {about}"),
            (false, None) => "unknown".to_owned(),
        };
        assert_eq!(said, expected, "{what}");
    }

    #[test]
    fn what_lies_in_a_lane_is_counted_and_corrected() {
        check("nothing is known", "+", "unknown");
        check("the broker has spoken", "t5", "about 5");
        check("it is counted on", "t5 + + -", "about 6");
        check("0 said once proves nothing", "t0", "about 0");
        check("nor while something moves", "t0 + - t0", "about 0");
        check("nor while one is on its way", "t0 T0 t0", "about 0");
        check("said twice it does", "+ - t0 t0", "empty");
        check(
            "a new one is counted from the start",
            "new + + - -",
            "empty",
        );
        check("whatever a late report says", "new + t0", "about 1");
        check(
            "or one that saw what is not yet confirmed",
            "new + T9 t9",
            "about 1",
        );
        check("one that was emptied by hand", "new + t1 t0 t0", "empty");
        check("or filled", "new t3", "about 3");
        check("a loss forgets", "new + - ?", "unknown");
    }

    #[test]
    fn when_a_lane_may_be_removed() {
        let (mut empty, mut full) = (Belief::default(), Belief::default());
        empty.told(0, 0, Duration::ZERO);
        empty.told(0, 0, SURE_AFTER);
        full.told(1, 0, SURE_AFTER);
        for (what, belief, out, under_way, quiet, may) in [
            ("empty and quiet", empty, 0, 0, QUIET, true),
            ("something lies in it", full, 0, 0, QUIET, false),
            ("nobody knows", Belief::default(), 0, 0, QUIET, false),
            ("one is out", empty, 1, 0, QUIET, false),
            ("one comes", empty, 0, 1, QUIET, false),
            ("it was in use a moment ago", empty, 0, 0, SECOND, false),
        ] {
            assert_eq!(may_be_removed(belief, out, under_way, quiet), may, "{what}");
        }
    }

    fn pace(interval: Option<Duration>, at_once: Option<u32>, next_in: Duration) -> Pace {
        Pace {
            interval,
            at_once,
            next_in,
        }
    }

    #[test]
    fn how_much_is_taken_from_a_lane() {
        let hour = SECOND * 3_600;
        for (what, pace, expected) in [
            ("no limit", Pace::default(), Some(AT_FULL_SPEED)),
            ("1/s", pace(Some(SECOND), None, Duration::ZERO), Some(2)),
            ("10/s", pace(Some(MILLI * 100), None, MILLI), Some(20)),
            ("1000/s", pace(Some(MILLI), None, MILLI), Some(64)),
            ("1/h, due soon", pace(Some(hour), None, SECOND), Some(1)),
            ("1/h, not due", pace(Some(hour), None, hour / 2), None),
            ("two at once", pace(None, Some(2), Duration::ZERO), Some(4)),
            ("the tighter", pace(Some(MILLI), Some(1), MILLI), Some(2)),
        ] {
            assert_eq!(pace.prefetch(), expected, "{what}");
        }
    }

    #[test]
    fn when_a_message_that_joins_now_will_run() {
        let no = Duration::ZERO;
        for (what, pace, service, expected) in [
            ("no limit", Pace::default(), SECOND, None),
            (
                "2/s",
                pace(Some(MILLI * 500), None, MILLI),
                no,
                Some(MILLI * 50_001),
            ),
            (
                "2 at once, 1 s each",
                pace(None, Some(2), no),
                SECOND,
                Some(SECOND * 50),
            ),
            (
                "nobody knows how long a job takes",
                pace(None, Some(2), no),
                no,
                None,
            ),
            (
                "the slower",
                pace(Some(MILLI), Some(1), no),
                SECOND,
                Some(SECOND * 100),
            ),
        ] {
            assert_eq!(pace.eta(100, service), expected, "{what}");
        }
    }

    proptest! {
        /// Whatever is due when, a key of the shared lane keeps its order, though its messages go round and new ones join.
        #[test]
        fn a_key_that_goes_round_keeps_its_order(steps in proptest::collection::vec(0u8..5, 1..300)) {
            let (mut round, mut lane, mut turning, mut ran) = (Round::default(), VecDeque::new(), Vec::new(), Vec::new());
            let mut step_of = |step: u8| match step {
                0 => {
                    let number = round.joins();
                    round.to_the_tail(number);
                    lane.push_back(number);
                }
                1 => for number in turning.drain(..) {
                    round.to_the_tail(number);
                    lane.push_back(number);
                },
                2 if !lane.is_empty() => {
                    let number = round.taken();
                    assert_eq!(Some(number), lane.front().copied());
                    round.returns(number);
                }
                step => if let Some(message) = lane.pop_front() {
                    let number = round.taken();
                    assert_eq!(number, message);
                    if step == 3 && round.may_run(number) {
                        ran.push(message);
                    } else {
                        round.turns(number);
                        turning.push(number);
                    }
                },
            };
            steps.iter().for_each(|step| step_of(*step));
            let rest = steps.len() as u64 + 1;
            for _ in 0..rest {
                (0..rest).for_each(|_| step_of(3));
                step_of(1);
            }
            prop_assert!(ran.is_sorted(), "{ran:?}");
            prop_assert_eq!((round.waiting(), ran.len()), (0, steps.iter().filter(|step| **step == 0).count()));
        }
    }

    #[test]
    fn one_that_did_not_arrive_is_forgotten() {
        let mut round = Round::default();
        for _ in 0..5 {
            let number = round.joins();
            round.to_the_tail(number);
        }
        round.forget(3);
        round.forget(5);
        assert_eq!([round.taken(), round.taken(), round.taken()], [1, 2, 4]);
        assert_eq!((round.waiting(), round.taken()), (0, 6));
    }
}
