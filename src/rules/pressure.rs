//! Back-pressure: when may the next message go to a target that takes only so many?
//!
//! A target that is full says so to each message that it does not take. Asking it again and again would cost more than the work;
//! not asking would leave its workers idle. So one refusal is a short rest for the target, 10 ms, doubled with each further one
//! up to 1 s; then exactly one message, the probe, asks whether there is room. When one is taken the target is open again, at
//! first for two messages at once, and with each one taken for one more, so that little is sent in vain while it is nearly full.
//!
//! Answers come late and in any order: each message remembers the round in which it was sent, a refusal begins another round,
//! and what an earlier round answers proves nothing.

use std::time::Duration;

/// The rest after a first refusal.
const FIRST_REST: Duration = Duration::from_millis(10);
/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// So many may go at once when a probe was taken.
const AT_ONCE_AFTER_A_PROBE: usize = 2;

/// The number of a round: all that was sent between two refusals that counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round(u32);

/// What a target is known to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It takes messages, at most so many at once.
    Open { at_once: usize },
    /// It is left alone until then.
    Resting { until: Duration },
    /// One message asks whether there is room.
    Probing,
}

/// Whether the next message may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Now.
    Now,
    /// Not before this time (since the clock's start).
    At(Duration),
    /// Not before one of those that are at the target has come back.
    AfterAnAnswer,
}

/// The back-pressure of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    state: State,
    round: u32,
    next_rest: Duration,
}

impl Default for Pressure {
    /// A target that takes whatever comes, until it says no.
    fn default() -> Self {
        Self {
            state: State::Open {
                at_once: usize::MAX,
            },
            round: 0,
            next_rest: FIRST_REST,
        }
    }
}

impl Pressure {
    /// Whether another message may go now, when so many are at the target.
    #[must_use]
    pub fn room(&self, now: Duration, at_target: usize) -> Room {
        match self.state {
            State::Open { at_once } if at_target < at_once => Room::Now,
            State::Resting { until } if until <= now => Room::Now,
            State::Resting { until } => Room::At(until),
            State::Open { .. } | State::Probing => Room::AfterAnAnswer,
        }
    }

    /// Whether it takes messages without being asked by a probe first.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// A message goes; only when there is [`Room::Now`]. Its answer is told with the round that this gives.
    pub fn sent(&mut self) -> Round {
        if !self.is_open() {
            self.state = State::Probing;
        }
        Round(self.round)
    }

    /// A message of this round was taken.
    pub fn taken(&mut self, round: Round) {
        if round.0 != self.round {
            return;
        }
        self.state = match self.state {
            State::Open { at_once } => State::Open {
                at_once: at_once.saturating_add(1),
            },
            State::Probing | State::Resting { .. } => {
                self.next_rest = FIRST_REST;
                State::Open {
                    at_once: AT_ONCE_AFTER_A_PROBE,
                }
            }
        };
    }

    /// A message of this round was not taken.
    pub fn refused(&mut self, round: Round, now: Duration) {
        if round.0 == self.round {
            self.rest(now);
        }
    }

    /// It is known that nothing would be taken now, though nothing was sent.
    pub fn rest(&mut self, now: Duration) {
        self.round = self.round.wrapping_add(1);
        let until = now + self.next_rest;
        self.state = State::Resting { until };
        self.next_rest = (self.next_rest * 2).min(LONGEST_REST);
    }

    /// A message of this round came back and says nothing of the target: if it was the probe, another may go.
    pub fn said_nothing(&mut self, round: Round, now: Duration) {
        if round.0 == self.round && self.state == State::Probing {
            self.state = State::Resting { until: now };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// What happens, a step after the other: `send`, `taken`, `refused`, `nothing` of the last one sent, `late` ones of the round
    /// before it; then whether another may go at `ms` with `at_target` there.
    fn check(what: &str, steps: &[(&str, u64)], ms: u64, at_target: usize, expected: Room) {
        let mut pressure = Pressure::default();
        let (mut before, mut last) = (Round(0), Round(0));
        for (step, ms) in steps {
            match *step {
                "send" => (before, last) = (last, pressure.sent()),
                "taken" => pressure.taken(last),
                "refused" => pressure.refused(last, at(*ms)),
                "late taken" => pressure.taken(before),
                "late refused" => pressure.refused(before, at(*ms)),
                "nothing" => pressure.said_nothing(last, at(*ms)),
                other => panic!("{other}"),
            }
        }
        assert_eq!(pressure.room(at(ms), at_target), expected, "{what}");
    }

    #[test]
    fn when_the_next_may_go() {
        use Room::{AfterAnAnswer, At, Now};
        let full = [("send", 0), ("refused", 5)];
        let probing = [("send", 0), ("refused", 5), ("send", 15)];
        let and = |more: &[(&'static str, u64)]| [&probing[..], more].concat();
        check("at first, whatever comes", &[], 0, 10_000, Now);
        check("a refusal is a rest", &full, 5, 0, At(at(15)));
        check("after it, a probe", &full, 15, 900, Now);
        check("and only one", &probing, 999, 1, AfterAnAnswer);
        check(
            "not taken: twice the rest",
            &and(&[("refused", 20)]),
            20,
            0,
            At(at(40)),
        );
        check("taken: open for two", &and(&[("taken", 20)]), 20, 1, Now);
        check(
            "and for no more yet",
            &and(&[("taken", 20)]),
            20,
            2,
            AfterAnAnswer,
        );
        check(
            "each taken makes room for one more",
            &and(&[("taken", 20), ("send", 20), ("taken", 21)]),
            21,
            2,
            Now,
        );
        check(
            "a straggler that was taken proves nothing",
            &and(&[("late taken", 20)]),
            20,
            1,
            AfterAnAnswer,
        );
        check(
            "nor does one that was not",
            &[("send", 0), ("refused", 5), ("late refused", 9)],
            9,
            0,
            At(at(15)),
        );
        check(
            "a probe without an answer makes way for another",
            &and(&[("nothing", 20)]),
            20,
            0,
            Now,
        );
        let again = and(&[("taken", 20), ("send", 20), ("refused", 30)]);
        check("open again, a short rest again", &again, 30, 0, At(at(40)));
    }

    #[test]
    fn rests_double_up_to_a_second() {
        let (mut pressure, mut now, mut rests) = (Pressure::default(), at(0), vec![]);
        for _ in 0..9 {
            let round = pressure.sent();
            pressure.refused(round, now);
            let Room::At(until) = pressure.room(now, 0) else {
                panic!("it rests")
            };
            rests.push((until - now).as_millis());
            now = until;
        }
        assert_eq!(rests, [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
    }

    proptest! {
        /// A target of any size that answers in any order: after a refusal only one goes until one is taken, no rest is longer
        /// than a second, and it is never given up.
        #[test]
        fn one_probe_at_a_time_and_never_stuck(steps in proptest::collection::vec((0u8..4, any::<prop::sample::Index>(), 0u64..400), 1..200)) {
            let (mut pressure, mut now) = (Pressure::default(), Duration::ZERO);
            let mut out: Vec<(Round, bool)> = vec![];
            for (step, which, later) in steps {
                now += at(later);
                if step == 0 || out.is_empty() {
                    match pressure.room(now, out.len()) {
                        Room::Now => {
                            let probes = !pressure.is_open();
                            prop_assert!(!probes || out.iter().all(|(round, _)| *round != Round(pressure.round)), "a second probe");
                            out.push((pressure.sent(), probes));
                        }
                        Room::At(until) => {
                            prop_assert!(until > now && until - now <= LONGEST_REST);
                            now = until;
                        }
                        Room::AfterAnAnswer => prop_assert!(!out.is_empty(), "stuck"),
                    }
                    continue;
                }
                let (round, _) = out.remove(which.index(out.len()));
                match step {
                    1 => pressure.taken(round),
                    2 => pressure.refused(round, now),
                    _ => pressure.said_nothing(round, now),
                }
            }
        }
    }
}
